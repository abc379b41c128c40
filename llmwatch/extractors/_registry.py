"""The registry: finds who can read a response, the user's extractors before our own shapes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeVar, cast

from llmwatch.extractors import _paths, _raw
from llmwatch.extractors._fields import fields_of
from llmwatch.extractors._reading import Accumulator, Reading, Shape
from llmwatch.usage import Usage

Match = type | str | Callable[[Any], bool]
Reader = Callable[[Any], Reading | Usage | None]
Extractor = Reader | Mapping[str, str] | type[Accumulator]
E = TypeVar("E", bound=Extractor)


class Gist(NamedTuple):
    """What is worth keeping of a response until somebody reads it: nothing of the answer itself.

    Attributes:
        shape: Whose `read` understands it.
        kept: The fields that are kept.
        provider: The provider that the caller states, or whose class the response is of.
    """

    shape: Shape
    kept: Mapping[str, Any]
    provider: str | None

    def reading(self) -> Reading | None:
        """What the response says."""
        return completed(self.shape.read(self.kept), self.provider, self.shape.provider)


class Registry:
    """Readers by class, by class name or by predicate; later registrations are asked first."""

    def __init__(self, shapes: Iterable[Shape], vendors: Mapping[str, str]) -> None:
        self._shapes = tuple(shapes)
        self._vendors = vendors
        self._custom: list[tuple[Callable[[Any], bool], Extractor]] = []
        self._known: dict[type, Shape] = {}
        self._known_events: dict[type, Shape] = {}

    def register(self, match: Match, extractor: Extractor) -> None:
        """Puts an extractor before all earlier ones.

        Raises:
            TypeError: When either argument is of no kind that can be used.
        """
        self._custom.insert(0, (_predicate(match), check_extractor(extractor)))

    def forget(self, extractor: Extractor) -> None:
        """Takes an extractor out again."""
        self._custom = [entry for entry in self._custom if entry[1] is not extractor]

    def read(self, response: Any, provider: str | None, api: str | None) -> Reading | None:
        """Reads a whole response, or gives `None` when nobody knows it."""
        if response is None or isinstance(response, _PLAIN):
            return None
        extractor = self.own(response)
        if extractor is not None:
            return completed(apply(extractor, response), provider, None)
        response = _raw.unwrap(response)
        shape = self._find(response, api)
        if shape is None:
            return None
        return completed(shape.read(response), provider or self.vendor_of(type(response)), shape.provider)

    def gist(self, response: Any, provider: str | None) -> Gist | None:
        """What to keep of a response in place of reading it now; `None` where it has to be read as it is."""
        cls = type(response)
        shape = self._known.get(cls)
        take = getattr(shape, "gist", None)
        if shape is None or take is None or (self._custom and self.own(response) is not None):
            return None
        return tuple.__new__(Gist, (shape, take(response), provider or self.vendor_of(cls)))

    def own(self, response: Any) -> Extractor | None:
        """The extractor that somebody has registered for this response, if any."""
        for matches, extractor in self._custom:
            if not _is_accumulator(extractor) and matches(response):
                return extractor
        return None

    def accumulator(self, event: Any, api: str | None) -> tuple[Accumulator, str | None] | None:
        """An accumulator for the stream that this event begins, and the provider it would be from."""
        for matches, extractor in self._custom:
            if _is_accumulator(extractor) and matches(event):
                return cast("type[Accumulator]", extractor)(), None
        shape = self._known_events.get(type(event)) if api is None else None
        if shape is None:
            shape = self._best(api, lambda shape: shape.recognises_event(event))
            if api is None and self.vendor_of(type(event)) is not None:  # a program's own class may stand for several
                _remember(self._known_events, type(event), shape)
        return None if shape is None else (shape.accumulator(), self.vendor_of(type(event)) or shape.provider)

    def vendor_of(self, cls: type) -> str | None:
        """The provider whose client library defines the class or one of its bases."""
        for base in cls.__mro__:
            package, _, rest = base.__module__.partition(".")
            vendor = self._vendors.get(package) or self._vendors.get(f"{package}.{rest.partition('.')[0]}")
            if vendor is not None:
                return vendor
        return None

    def _find(self, response: Any, api: str | None) -> Shape | None:
        cls = type(response)
        shape = self._known.get(cls)
        if shape is not None or not fields_of(response):
            return shape
        shape = self._best(api, lambda shape: shape.recognises(response))
        _remember(self._known, cls, shape)
        return shape

    def _best(self, api: str | None, recognises: Callable[[Shape], bool]) -> Shape | None:
        """The stated shape where it recognises what came, else whichever does, else the stated one all the same."""
        stated = [shape for shape in self._shapes if shape.api == api]
        for shape in (*stated, *self._shapes):
            if recognises(shape):
                return shape
        return stated[0] if stated else None


def _remember(known: dict[type, Shape], cls: type, shape: Shape | None) -> None:
    """A class of models says what it says in one shape."""
    if shape is not None and hasattr(cls, "__pydantic_fields__") and len(known) < _KNOWN_CLASSES:
        known[cls] = shape


_PLAIN = (str, bytes, int, float, list, tuple)
_KNOWN_CLASSES = 1024  # classes can be made without end (generic models); beyond this they are looked at each time


def apply(extractor: Extractor, response: Any) -> Reading | Usage | None:
    """What a function or a path mapping makes of a response."""
    if isinstance(extractor, Mapping):
        return _paths.read(extractor, response)
    return cast("Reader", extractor)(response)


def completed(found: Reading | Usage | None, stated: str | None, fallback: str | None) -> Reading | None:
    """The reading with a provider: the one it names itself, else the one that the caller states, else the shape's."""
    if found is None:
        return None
    if not isinstance(found, Reading):
        if not isinstance(found, Usage):
            raise TypeError(f"an extractor must return Reading, Usage or None, not {type(found).__name__}")
        found = Reading(usage=found)
    provider = found.provider or stated or fallback
    return found if provider == found.provider else tuple.__new__(Reading, (provider, *found[1:]))


def check_extractor(extractor: object) -> Extractor:
    """Returns it, or raises `TypeError` when it is neither function, path mapping nor accumulator class."""
    if isinstance(extractor, Mapping):
        _paths.check(extractor)
    elif not callable(extractor) or (isinstance(extractor, type) and not _is_accumulator(extractor)):
        raise TypeError(
            "an extractor is a function of the response, a mapping such as {'input_tokens': 'usage.prompt_tokens'}, "
            f"or an accumulator class with add(event) and reading(); got {extractor!r}"
        )
    return cast("Extractor", extractor)


def _is_accumulator(extractor: object) -> bool:
    return isinstance(extractor, type) and hasattr(extractor, "add") and hasattr(extractor, "reading")


def _predicate(match: Match) -> Callable[[Any], bool]:
    if isinstance(match, type):
        cls: type = match
        return lambda response: isinstance(response, cls)
    if isinstance(match, str):
        return lambda response: match in _class_names(type(response))
    if callable(match):
        return match
    raise TypeError(f"register_extractor takes a class, a class name or a predicate, not {match!r}")


def _class_names(cls: type) -> set[str]:
    names = {base.__qualname__ for base in cls.__mro__}
    return names | {f"{base.__module__}.{base.__qualname__}" for base in cls.__mro__}
