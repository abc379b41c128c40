"""How long a provider asks to wait before the next try."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import cast

from ._evidence import attribute, fields, header, parsed

_LONGEST = 7 * 86_400.0


def stated_wait(error: BaseException) -> float | None:
    """Seconds that this exception states, not looking at those that it wraps."""
    for headers in _headers(error):
        if (seconds := wait_in_headers(headers)) is not None:
            return seconds
    for name in ("details", "body"):
        if (seconds := _google_wait(parsed(attribute(error, name)))) is not None:
            return seconds
    return None


def wait_in_headers(headers: object) -> float | None:
    """Seconds by `retry-after-ms` (OpenAI, Azure) or `retry-after` (RFC 9110: seconds or a date).

    Azure sends `retry-after-ms: 0` beside `retry-after: 1`: a zero only counts when nothing else is said.
    """
    milliseconds = _number(header(headers, "retry-after-ms"))
    exact = None if milliseconds is None else _sane(milliseconds / 1000)
    if exact:
        return exact
    plain = header(headers, "retry-after")
    if plain is None:
        return exact
    number = _number(plain)
    coarse = _until(plain) if number is None else _sane(number)
    return exact if coarse is None else coarse


def _headers(error: BaseException) -> Iterator[object]:
    response = attribute(error, "response")
    if isinstance(response, dict):
        metadata = fields(response.get("ResponseMetadata"))
        yield (metadata or {}).get("HTTPHeaders")
    else:
        yield attribute(response, "headers")
    yield attribute(error, "headers")


def _google_wait(body: object) -> float | None:
    """`google.rpc.RetryInfo.retryDelay` (a protobuf Duration in JSON: `"48.9s"`) in an error's details."""
    if isinstance(body, list):
        body = cast("list[object]", body)[0] if body else None
    if not isinstance(body, dict):
        return None
    error = body.get("error", body)
    details: object = error.get("details") if isinstance(error, dict) else None
    for detail in cast("list[object]", details)[:20] if isinstance(details, list) else ():
        delay = detail.get("retryDelay") if isinstance(detail, dict) else None
        if isinstance(delay, str) and (seconds := _number(delay.removesuffix("s"))) is not None:
            return _sane(seconds)
    return None


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text[:40])
    except ValueError:
        return None


def _until(date: str) -> float | None:
    from email.utils import parsedate_to_datetime

    try:
        return _sane(max(0.0, parsedate_to_datetime(date[:60]).timestamp() - time.time()))
    except (ValueError, OverflowError):
        return None


def _sane(seconds: float) -> float | None:
    return seconds if math.isfinite(seconds) and 0 <= seconds <= _LONGEST else None
