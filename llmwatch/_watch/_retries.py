"""Which failed request a request repeats, and how long its client has waited between the two."""

from __future__ import annotations

from typing import Any

Failures = dict[int, list[float]]
"""When failed attempts ended, the latest last, by what would be tried again."""

_MOST = 1000  # ends kept of one request
_REQUESTS = 1000  # requests of which ends are kept: many have failed for good

# After these a client tries again by itself; where it says which try this is, after any failure.
_PASSING = frozenset({"rate_limit", "timeout", "connection", "overloaded", "server_error"})


def waited(failures: Failures, request: Any, now: float, *, told: bool = False) -> float | None:
    """Seconds since the end of the failed attempt that this request repeats; `None` when it repeats none.

    The latest one it could be: of requests that are alike, some have failed for good, long ago. Which of several that
    fail at the same time is whose does not matter to the sum.

    Args:
        failures: What has failed so far.
        request: The request that begins.
        now: Its start.
        told: Only where the client says that it is a retry.
    """
    if not failures:
        return None
    retries, same = _told(request)
    if retries == 0 or (told and retries is None):
        return None
    try:
        ended = failures[_key(same, None if retries is None else retries - 1)].pop()
    except (KeyError, IndexError):
        return None
    return max(0.0, now - ended)


def failed(failures: Failures, request: Any, now: float, outcome: str) -> None:
    """An attempt has failed, and may be tried again."""
    retries, same = _told(request)
    if retries is None and outcome not in _PASSING:
        return
    if len(failures) >= _REQUESTS:
        failures.clear()
    ends = failures.setdefault(_key(same, retries), [])
    ends.append(now)
    del ends[:-_MOST]


def _told(request: Any) -> tuple[int | None, tuple[object, ...]]:
    """How often the client has tried before, if it says so, and what all tries of a request have in common.

    The clients that Stainless generates (openai, anthropic, groq and more) count in `x-stainless-retry-count` from 0,
    botocore in `amz-sdk-request: attempt=1; max=3`, with the same `amz-sdk-invocation-id` on all.
    """
    headers = request.headers
    same = (request.method, str(request.url), headers.get("content-length"), headers.get("amz-sdk-invocation-id"))
    retries = _number(headers.get("x-stainless-retry-count"))
    if retries is None:
        _, _, attempt = _text(headers.get("amz-sdk-request")).partition("attempt=")
        number = _number(attempt.partition(";")[0])
        retries = None if not number else number - 1
    return retries, same


def _key(same: tuple[object, ...], retries: int | None) -> int:
    return hash((*same, retries))  # not the URL itself: some vendors take their key in it


def _text(value: str | bytes | None) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value or ""


def _number(value: str | bytes | None) -> int | None:
    text = _text(value).strip()
    return int(text) if text.isdecimal() and len(text) < 5 else None
