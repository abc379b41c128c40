"""Reads a field from whatever came: a dict, a pydantic model, or any other object."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from functools import lru_cache
from math import inf
from typing import Any


def get(source: Any, name: str) -> Any:
    """The field's value, or `None` where there is none.

    Instance dictionaries are looked into first: asking a pydantic model for a field that it does not have takes 3
    to 6 µs, and asking a hostile object may do anything.
    """
    if type(source) is dict:
        return source.get(name)
    values = getattr(source, "__dict__", None)
    if values is not None and name in values:
        return values[name]
    return _elsewhere(source, name, type(source))


def _elsewhere(source: Any, name: str, cls: Any) -> Any:
    """A field that is not in the instance's dictionary: of a mapping, an undeclared one, or one of the class."""
    place = _place(cls, name)
    if place == "mapping":
        return source.get(name)
    if place == "extra":
        extra = source.__pydantic_extra__
        return extra.get(name) if extra else None
    return getattr(source, name, None) if place == "class" else None


@lru_cache(maxsize=4096)
def _place(cls: Any, name: str) -> str:
    """Where objects of a class keep what their dictionaries lack; of pydantic models only properties count."""
    if issubclass(cls, Mapping):
        return "mapping"
    if any(name in base.__dict__ for base in cls.__mro__):
        return "class"
    if any("__pydantic_extra__" in base.__dict__ for base in cls.__mro__):
        return "extra"
    return "class" if any("__getattr__" in base.__dict__ for base in cls.__mro__) else "nowhere"


def dig(source: Any, *names: str) -> Any:
    """The value at the end of a path of fields, or `None` where the path ends early."""
    for name in names:
        if source is None:
            return None
        source = get(source, name)
    return source


def count(source: Any, *names: str) -> Any:
    """The number at the end of a path; anything else that stands there, sentinels included, is unknown."""
    return number(dig(source, *names))


def number(value: Any) -> Any:
    """The value when it is a number, else `None`."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def total(*counts: Any) -> Any:
    """The sum of the counts that are known; `None` when none is."""
    known = [value for value in counts if value is not None]
    try:
        return sum(known) if known else None
    except OverflowError:  # an integer beyond every float, next to a float: no count, and `Usage` will say so
        return inf


def text(source: Any, *names: str) -> str | None:
    """The non-empty string at the end of a path, or `None`; an enum member gives its value."""
    return word(dig(source, *names))


def word(value: Any) -> str | None:
    """The value when it is a non-empty string, or an enum member of one, else `None`."""
    if type(value) is str or value is None:
        return value or None
    if isinstance(value, Enum):
        value = value.value
    elif not isinstance(value, str | Mapping):
        value = getattr(value, "value", value)
    return value if isinstance(value, str) and value else None


def label(source: Any, *names: str) -> str | None:
    """Like `text`, for what is written as a number too: an integer gives its digits, a numbered enum its name."""
    value = dig(source, *names)
    if isinstance(value, int) and not isinstance(value, bool):
        return value.name if isinstance(value, Enum) else str(value) if abs(value) < _FEW else None
    return text(source, *names)


def items(source: Any, *names: str) -> list[Any] | tuple[Any, ...]:
    """The list at the end of a path; anything else counts as empty."""
    value = dig(source, *names)
    return value if isinstance(value, list | tuple) else ()


def fields_of(source: Any) -> Mapping[str, Any]:
    """The fields that the source itself holds, for a look at which there are; empty for what has none."""
    if type(source) is dict:
        return source
    values = getattr(source, "__dict__", None)
    if type(values) is dict and not isinstance(source, Mapping):
        return values
    return source if isinstance(source, Mapping) else {}


def everything(source: Any) -> Mapping[str, Any]:
    """The fields that the source holds, those included that a pydantic model was given without declaring them."""
    if type(source) is dict:
        return source
    try:
        extra = source.__pydantic_extra__
    except AttributeError:
        return fields_of(source)
    values = source.__dict__ if isinstance(extra, dict) else fields_of(source)
    return {**values, **extra} if extra and values is not extra else values


def excerpt(source: Any, names: Iterable[str]) -> dict[str, Any]:
    """Some of the fields that the source holds, its usage as it is now: programs add others up in that object."""
    fields = everything(source)
    found = {name: fields[name] for name in names if name in fields}
    if found.get("usage"):
        found["usage"] = _as_now(found["usage"])
    return found


def _as_now(source: Any) -> dict[str, Any]:
    """A copy of the fields that the source holds, and of those of the objects in them."""
    fields = {**everything(source)}
    for name, value in fields.items():
        cls: Any = type(value)
        if cls not in _UNCHANGING and (cls is dict or hasattr(cls, "__pydantic_fields__")):
            fields[name] = {**everything(value)}
    return fields


_UNCHANGING = frozenset({int, str, float, bool, type(None)})
_FEW = 1_000  # no vendor numbers more finish reasons than that
