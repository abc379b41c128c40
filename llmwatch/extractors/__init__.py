"""Extractors: what a response says about its call, read from the vendors' objects or from parsed JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from llmwatch.extractors._plugins import load_plugins
from llmwatch.extractors._reading import Accumulator, Reading, normalise
from llmwatch.extractors._registry import E, Extractor, Gist, Match, Registry, apply, check_extractor, completed
from llmwatch.extractors._shapes import SHAPES, VENDORS
from llmwatch.extractors.bedrock import held_stream

__all__ = [
    "Accumulator",
    "Extractor",
    "Gist",
    "Reading",
    "accumulate",
    "apply",
    "check_extractor",
    "completed",
    "gist",
    "held_stream",
    "is_registered",
    "load_plugins",
    "normalise",
    "read",
    "read_stream",
    "register_extractor",
    "unregister_extractor",
    "vendor_of",
]

_registry = Registry(SHAPES, VENDORS)


def register_extractor(match: Match) -> Callable[[E], E]:
    """Registers an extractor for responses of your own; it is asked before all that are known.

    Args:
        match: A class (its subclasses too), a class name (`"Reply"` or `"my.package.Reply"`), or a predicate.

    Returns:
        A decorator for a function `response -> Usage | Reading | None`, which also takes a path mapping
        (`register_extractor(Reply)({"input_tokens": "meta.tokens_in"})`) or an accumulator class for a stream's
        events (`add(event)`, `reading()`; `match` is then asked of the stream's first events).

    Raises:
        TypeError: When `match` or the extractor is of no such kind.
    """

    def register(extractor: E) -> E:
        _registry.register(match, extractor)
        return extractor

    return register


def unregister_extractor(extractor: Extractor) -> None:
    """Takes an extractor out again, wherever it is registered."""
    _registry.forget(extractor)


def read(response: Any, *, provider: str | None = None, api: str | None = None) -> Reading | None:
    """Reads a whole response: a vendor's object, or its parsed JSON.

    Args:
        response: Anything; what nobody knows gives `None`.
        provider: The provider that the caller states; it stands unless the response names one itself.
        api: The shape (`chat.completions`, `responses`, `embeddings`, `messages`, …) where it is known.
    """
    return _registry.read(response, provider, api)


def gist(response: Any, *, provider: str | None = None) -> Gist | None:
    """What to keep of a response, to be read later; `None` where it must be read now."""
    return _registry.gist(response, provider)


def read_stream(events: Iterable[Any], *, provider: str | None = None, api: str | None = None) -> Reading | None:
    """Reads the events of a whole stream, in their order: a vendor's objects, or parsed JSON.

    Returns `None` when no event belongs to a known shape, or when the stream says nothing about its call.
    """
    found = None
    for event in events:
        if found is None:
            found = _registry.accumulator(event, api)
        if found is not None:
            found[0].add(event)
    return None if found is None else completed(found[0].reading(), provider, found[1])


def accumulate(event: Any, api: str | None = None) -> tuple[Accumulator, str | None] | None:
    """An accumulator for the stream that begins with this event, and the provider it would be from."""
    return _registry.accumulator(event, api)


def is_registered(response: Any) -> bool:
    """Whether somebody has registered an extractor for this response, so that it is none of the known streams."""
    return _registry.own(response) is not None


def vendor_of(cls: type) -> str | None:
    """The provider whose client library defines the class (`openai` for `openai.RateLimitError`), or `None`."""
    return _registry.vendor_of(cls)
