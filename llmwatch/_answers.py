"""Answers: whether one of some class is there as a whole, or still to come."""

from __future__ import annotations

import io
from collections.abc import Iterator
from functools import lru_cache
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import Any

from llmwatch import extractors
from llmwatch._streams import Proxy


@lru_cache(maxsize=1024)
def is_whole(cls: type) -> bool:
    """Whether an answer of this class is always there as a whole, as nearly all are."""
    if issubclass(cls, CoroutineType | dict) or hasattr(cls, "add_done_callback"):
        return False
    return not _is_stream_class(cls, True)  # type: ignore[arg-type]


def is_stream(response: Any, *, iterators: bool = True) -> bool:
    """Whether a response is an answer that is still coming: a stream, a stream manager, or a generator.

    A list, a string, a file or a plain iterator is none.

    Args:
        response: What a function has returned.
        iterators: Whether an iterator of an unknown class is one when it holds something open.
    """
    return _is_stream_class(type(response), iterators)  # type: ignore[arg-type]


@lru_cache(maxsize=1024)
def _is_stream_class(cls: type, iterators: bool) -> bool:
    """The same, of its class."""
    if issubclass(cls, GeneratorType | AsyncGeneratorType | Proxy):
        return True
    if any(base.__module__ == "unittest.mock" for base in cls.__mro__):  # has whatever it is asked for
        return False
    if cls.__name__.endswith("StreamManager") and (hasattr(cls, "__enter__") or hasattr(cls, "__aenter__")):
        return True
    if not (hasattr(cls, "__iter__") or hasattr(cls, "__aiter__")) or hasattr(cls, "__pydantic_fields__"):
        return False  # a model, whose fields can be iterated, is no stream, whatever its name
    if extractors.vendor_of(cls) is not None and "Stream" in cls.__name__:
        return True
    return iterators and _is_live_iterator(cls)


def _is_live_iterator(cls: type) -> bool:
    """An async iterator, or an iterator that holds something open: not a list's, not a file."""
    if hasattr(cls, "__aiter__") and hasattr(cls, "__anext__"):
        return True
    return issubclass(cls, Iterator) and hasattr(cls, "close") and not issubclass(cls, io.IOBase)
