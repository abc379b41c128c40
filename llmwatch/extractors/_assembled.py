"""Accumulators: a stream read as the whole response that its events make up, as their sum, or as what they wrap."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

from llmwatch.errors import ErrorKind, classify_body
from llmwatch.extractors._fields import fields_of
from llmwatch.extractors._reading import Accumulator, Reading, Shape
from llmwatch.usage import Usage


class Assembled(ABC):
    """Base of the shapes whose stream is put together to a whole response, so that both read the same."""

    @abstractmethod
    def read(self, response: Any) -> Reading:
        """Reads a whole response, or what `absorb` has made of a stream."""

    @abstractmethod
    def absorb(self, whole: dict[str, Any], event: Any) -> None:
        """Writes into the whole what this event adds to it; constant, small work."""

    def accumulator(self) -> Accumulator:
        return _Assembly(self)


class _Assembly:
    """The whole response as far as it has come, and the error that came instead of the rest."""

    __slots__ = ("_error", "_shape", "_whole")

    def __init__(self, shape: Assembled) -> None:
        self._shape = shape
        self._whole: dict[str, Any] = {}
        self._error: Any = None

    def add(self, event: Any) -> None:
        fields = event if type(event) is dict else fields_of(event)
        if error := fields.get("error"):
            self._error = error
        self._shape.absorb(self._whole, event)

    def reading(self) -> Reading | None:
        if not self._error:
            return self._shape.read(self._whole) if self._whole else None
        return self._shape.read(self._whole)._replace(error=failure(self._error))


class Sum:
    """Adds up what each event says by itself."""

    __slots__ = ("_read", "_reading")

    def __init__(self, read: Callable[[Any], Reading | None]) -> None:
        self._read = read
        self._reading: Reading | None = None

    def add(self, event: Any) -> None:
        found = self._read(event)
        if found is not None:
            self._reading = found if self._reading is None else joined(self._reading, found)

    def reading(self) -> Reading | None:
        return self._reading


class Relay:
    """Hands on what each event wraps to the shape that knows it."""

    __slots__ = ("_inner", "_shape", "_shapes", "_unwrap")

    def __init__(self, shapes: Sequence[Shape], unwrap: Callable[[Any], Any]) -> None:
        self._shapes = shapes
        self._unwrap = unwrap
        self._shape: Shape | None = None
        self._inner: Accumulator | None = None

    @property
    def is_settled(self) -> bool:
        """Whether an event was recognised, so that it is known who reads the others."""
        return self._inner is not None

    def add(self, event: Any) -> None:
        inner = self._unwrap(event)
        if inner is None:
            return
        if self._inner is None:
            self._shape = next((shape for shape in self._shapes if shape.recognises_event(inner)), None)
            self._inner = None if self._shape is None else self._shape.accumulator()
        if self._inner is not None:
            self._inner.add(inner)

    def reading(self) -> Reading | None:
        return None if self._inner is None else _by(self._shape, self._inner.reading())


def relayed(shapes: Sequence[Shape], response: Any) -> Reading:
    """What the shape that knows a wrapped response reads in it; an empty reading where none does."""
    shape = next((shape for shape in shapes if shape.recognises(response)), None)
    return _by(shape, None if shape is None else shape.read(response)) or Reading()


def joined(earlier: Reading, later: Reading) -> Reading:
    """Two readings of one call: usages add up, of all else the later one stands where it says anything."""
    return Reading(
        provider=later.provider or earlier.provider,
        model=later.model or earlier.model,
        usage=_added(earlier.usage, later.usage),
        finish_reasons=later.finish_reasons or earlier.finish_reasons,
        operation=later.operation or earlier.operation,
        service_tier=later.service_tier or earlier.service_tier,
        cost=later.cost if later.cost is not None else earlier.cost,
        error=later.error or earlier.error,
    )


def failure(error: Any) -> ErrorKind | None:
    """The kind of an error that stands in a response or an event; `None` when there is none."""
    if not error:
        return None
    return classify_body(None, {"error": error if isinstance(error, str) else dict(fields_of(error))})


def _by(shape: Shape | None, found: Reading | None) -> Reading | None:
    """The reading with the shape's vendor, unless the shape is OpenAI's, which others speak who may be stated."""
    if shape is None or shape.provider == "openai" or found is None or found.provider is not None:
        return found
    return found._replace(provider=shape.provider)


def _added(earlier: Usage | None, later: Usage | None) -> Usage | None:
    if earlier is None or later is None:
        return later if earlier is None else earlier
    return earlier + later
