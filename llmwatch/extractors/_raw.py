"""Raw responses: looks into what `with_raw_response` returns, without reading what the caller has not read."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

_NAMES = frozenset({"LegacyAPIResponse", "APIResponse", "AsyncAPIResponse"})


def unwrap(response: Any) -> Any:
    """The parsed JSON body of a vendor's raw response; everything else as it came.

    A body that has not been received yet is left alone: reading it would take it from the caller.
    """
    cls: Any = type(response)
    if not _is_raw(cls):
        return response
    http_response = response.http_response
    if not http_response.is_closed or "json" not in http_response.headers.get("content-type", ""):
        return None
    return http_response.json()


@lru_cache(maxsize=1024)
def _is_raw(cls: Any) -> bool:
    return any(base.__name__ in _NAMES for base in cls.__mro__)
