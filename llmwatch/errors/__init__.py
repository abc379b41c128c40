"""Why a call failed, in one vocabulary for all providers: `ErrorKind`, and the functions that find it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import islice

from ._evidence import attribute, of_body, of_exception
from ._retry_after import stated_wait
from ._rules import ErrorKind

__all__ = ["ErrorKind", "classify", "classify_body", "is_cancellation", "retry_after"]

_LINKS = 8


def classify(error: BaseException) -> ErrorKind:
    """The kind of any exception, from any client library; `ErrorKind.OTHER` when nothing is known. Never raises.

    Decided by the provider's code or type, then the class's name over the MRO, then the HTTP status (one below 400 says
    nothing: a stream fails after its 200), and the message only where these are vague. An exception that says nothing
    is decided by what it wraps: the members of a group, its cause, its context.
    """
    try:
        if (kind := of_exception(error).decision()) is not None:
            return kind
        for link in islice(_chain(error), 1, None):
            if (kind := of_exception(link).decision()) is not None:
                return kind
    except Exception:
        return ErrorKind.OTHER
    return ErrorKind.OTHER


def classify_body(status: int | None, body: object, headers: Mapping[str, str] | None = None) -> ErrorKind:
    """The kind of an HTTP answer, or of an error inside a stream, by the rules of `classify`. Never raises.

    `body` is the parsed JSON, or text or bytes; `status` None or below 400 is no evidence.
    """
    try:
        return of_body(status, body, headers).decision() or ErrorKind.OTHER
    except Exception:
        return ErrorKind.OTHER


def is_cancellation(error: BaseException) -> bool:
    """Whether the call was called off rather than failed.

    So for every exception that `except Exception` lets through (asyncio's and trio's cancellation, `GeneratorExit`,
    `KeyboardInterrupt`, `SystemExit`), for `concurrent.futures.CancelledError`, and for a group of nothing else.
    Never raises.
    """
    try:
        return _is_cancellation(error, _LINKS)
    except Exception:
        return False


def retry_after(error: BaseException) -> float | None:
    """Seconds (at least 0) that the provider asks to wait, or None where it does not say. Never raises.

    Read from the response headers `retry-after-ms` and `retry-after` and from Google's `RetryInfo`, of the exception or
    of one that it wraps. More than seven days, negative or not a number is taken as not said.
    """
    try:
        for link in _chain(error):
            if (seconds := stated_wait(link)) is not None:
                return seconds
    except Exception:
        return None
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The exception and what it wraps, the nearest first, each once, a few at most."""
    waiting: list[BaseException] = [error]
    seen: set[int] = set()
    while waiting and len(seen) < _LINKS:
        current = waiting.pop(0)
        if id(current) not in seen:
            seen.add(id(current))
            yield current
            waiting.extend(_wrapped(current))


def _wrapped(error: BaseException) -> Iterator[BaseException]:
    if issubclass(type(error), BaseExceptionGroup):
        yield from (attribute(error, "exceptions") or ())[:_LINKS]
    cause = attribute(error, "__cause__")
    if cause is None and attribute(error, "__suppress_context__") is False:
        cause = attribute(error, "__context__")
    if isinstance(cause, BaseException):
        yield cause


def _is_cancellation(error: BaseException, depth: int) -> bool:
    cls = type(error)
    if issubclass(cls, BaseExceptionGroup):
        members: tuple[BaseException, ...] = attribute(error, "exceptions") or ()
        return depth > 0 and bool(members) and all(_is_cancellation(member, depth - 1) for member in members)
    if not issubclass(cls, Exception):
        return True
    return _is_of_executors(cls)  # type: ignore[arg-type]


@lru_cache(maxsize=1024)
def _is_of_executors(cls: type[BaseException]) -> bool:
    """Whether it is `concurrent.futures.CancelledError`."""
    return any(b.__name__ == "CancelledError" and b.__module__.startswith("concurrent.") for b in cls.__mro__)
