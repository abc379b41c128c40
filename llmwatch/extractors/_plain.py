"""Plain completions: those of OpenAI's own client, as most calls bring them, taken in a few steps and read in a few.

The caller waits while a response is looked at. For classes in which nothing is to be puzzled out (no field names a
gateway, a cost or an error, and each count has one place), getters are made once that take what tells at the speed of
C; a collection reads it. What does not fit, in a class or in a response, goes the way of all others, to the same end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any, NamedTuple, get_args

from llmwatch.extractors._fields import word
from llmwatch.extractors._openai_usage import PUZZLES, USAGE
from llmwatch.extractors._reading import Reading
from llmwatch.usage import Usage


class Plain(NamedTuple):
    """What a plain completion says, as it was when it was taken.

    Attributes:
        alike: What many of them have in common: the form, the model, the service tier, the `object`, and why each
            choice ended.
        usage: The tokens.
    """

    alike: tuple[Any, ...]
    usage: dict[str, Any]

    def reading(self) -> Reading | None:
        """What it says; `None` where that takes a closer look at `fields()`."""
        alike = self.alike
        try:
            usage, reading = alike[0].usage(self.usage), _reading(alike)
        except TypeError:  # something stands where a name should, and cannot be hashed
            return None
        if usage is None or reading is None:
            return None
        return tuple.__new__(Reading, (*reading[:2], usage, *reading[3:]))

    def fields(self) -> dict[str, Any]:
        """The same as parsed JSON."""
        _, model, service_tier, kind, *reasons = self.alike
        choices = [{"finish_reason": reason} for reason in reasons]
        return {
            "model": model,
            "service_tier": service_tier,
            "object": kind,
            "choices": choices,
            "usage": self.usage,
        }


@lru_cache(maxsize=1024)
def _reading(alike: tuple[Any, ...]) -> Reading | None:
    """What such completions say but for their tokens; `None` where it is not what it seems."""
    _, model, service_tier, kind, *reasons = alike
    if kind != "chat.completion":
        return None
    said = tuple([reason for each in reasons if (reason := word(each))])
    return Reading(None, word(model), None, said, None, word(service_tier))


class Form:
    """Where the values of one class of completions stand.

    Args:
        usage: The class of its usage.
        choice: The class of its choices.
        places: The path of each count below the usage: a field, or a field of an object in it, all of one by one.
    """

    def __init__(self, usage: type, choice: type, places: Sequence[tuple[str, ...]]) -> None:
        self._usage: Any = usage
        self._choice: Any = choice
        flat = [name for name, *inside in places if not inside]
        outer = dict.fromkeys(place[0] for place in places[len(flat) :])
        inside = {name: [place[1] for place in places if place[0] == name] for name in outer}
        self._flat = _getter(flat)
        self._inside = [(name, _getter(names), (None,) * len(names)) for name, names in inside.items()]
        self._classes = [(name, _class_in(usage, name)) for name in inside]
        ours = [_spot(place)[0] for place in places]
        self._total = ours.index("total_tokens") if "total_tokens" in ours else len(ours)
        self._pick = itemgetter(*(ours.index(name) if name in ours else len(ours) for name in Usage._fields[:-1]))

    def take(self, response: Any) -> Plain | None:
        """What a response says; `None` where it is not as plain as its class."""
        try:
            usage, choices, model, service_tier, kind = _facts(response.__dict__)
            if type(usage) is not self._usage or usage.__pydantic_extra__ or response.__pydantic_extra__:
                return None
            counts = usage.__dict__.copy()  # as they are now: programs add others up in that object
            for name, cls in self._classes:
                inside = counts[name]
                if type(inside) is cls and not inside.__pydantic_extra__:
                    counts[name] = inside.__dict__.copy()
                elif inside is not None:
                    return None
            alike = [self, model, service_tier, kind]
            for choice in choices:
                if type(choice) is not self._choice or choice.__pydantic_extra__:
                    return None
                alike.append(choice.finish_reason)
        except (AttributeError, KeyError, TypeError):
            return None
        return tuple.__new__(Plain, (tuple(alike), counts))

    def usage(self, stated: dict[str, Any]) -> Usage | None:
        """The tokens, where they are as they should be: whole numbers that add up."""
        try:
            counts = self._flat(stated)
            for name, get, nothing in self._inside:
                inside = stated[name]
                counts += nothing if inside is None else get(inside)
        except KeyError:
            return None
        counts += (None,)
        picked, total = self._pick(counts), counts[self._total]
        inputs, outputs = picked[:2]
        if not (type(inputs) is type(outputs) is int) or (total is not None and total != inputs + outputs):
            return None
        return Usage.exact(picked)


_NEEDED = ("usage", "choices", "model", "service_tier", "object")
_facts = itemgetter(*_NEEDED)  # of the dictionary: asking a pydantic model takes three times as long


def _getter(names: Sequence[str]) -> Callable[[Any], tuple[Any, ...]]:
    """Takes the values of these fields out of a dictionary."""
    return itemgetter(*names) if len(names) > 1 else lambda fields: tuple([fields[name] for name in names])


@lru_cache(maxsize=1024)
def form_of(response: type) -> Form | None:
    """The form of a class of completions; `None` where it is not plain."""
    usage, choice = _class_in(response, "usage"), _class_in(response, "choices")
    fields = _names(response)
    if usage is None or choice is None or not fields.issuperset(_NEEDED):
        return None
    if PUZZLES & (fields.difference(_NEEDED) | _names(usage) | _names(choice)):
        return None
    places = sorted(_places(usage), key=lambda place: (len(place), place))
    ours = [_spot(place) for place in places]
    if any(type(spot) is not tuple for spot in ours) or len({spot[0] for spot in ours}) < len(ours):
        return None
    return Form(usage, choice, places)


def _places(usage: type) -> Iterator[tuple[str, ...]]:
    """The paths of all counts that a class of usage objects declares."""
    for name in _names(usage) & USAGE.keys():
        cls, spots = _class_in(usage, name), USAGE[name]
        if cls is not None and type(spots) is dict:
            yield from ((name, inside) for inside in _names(cls) & spots.keys())
        else:
            yield (name,)


def _spot(place: tuple[str, ...]) -> Any:
    spot: Any = USAGE
    for name in place:
        spot = spot[name]
    return spot


def _names(cls: type | None) -> frozenset[str]:
    return frozenset(getattr(cls, "__pydantic_fields__", ()))


def _class_in(cls: type, field: str) -> Any:
    """The class of a field's objects: the first model in its annotation."""
    declared = getattr(cls, "__pydantic_fields__", {}).get(field)
    waiting = [declared.annotation] if declared is not None else []
    while waiting:
        found = waiting.pop(0)
        if hasattr(found, "__pydantic_fields__"):
            return found
        waiting += get_args(found)
    return None
