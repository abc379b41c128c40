"""Extractors as data: where in a response each count stands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmwatch.extractors._fields import count, text
from llmwatch.extractors._reading import Reading
from llmwatch.usage import Usage

_COUNTS = frozenset(Usage._fields) - {"anomalies"}
_TEXTS = frozenset({"provider", "model", "service_tier", "finish_reason"})


def check(paths: Mapping[str, object]) -> None:
    """Raises `TypeError` when a key is no field of a reading or a path is no string."""
    unknown = sorted(set(paths) - _COUNTS - _TEXTS)
    if unknown:
        raise TypeError(f"unknown field {unknown[0]!r} in a path mapping; known are {sorted(_COUNTS | _TEXTS)}")
    for name, path in paths.items():
        if not isinstance(path, str) or not path:
            raise TypeError(f"the path of {name!r} must be a string like 'usage.prompt_tokens', not {path!r}")


def read(paths: Mapping[str, str], response: Any) -> Reading:
    """Reads a response along the paths; what a path does not lead to is unknown."""
    counts = {name: count(response, *path.split(".")) for name, path in paths.items() if name in _COUNTS}
    texts = {name: text(response, *path.split(".")) for name, path in paths.items() if name in _TEXTS}
    reason = texts.pop("finish_reason", None)
    usage = Usage(**counts)
    return Reading(**texts, usage=usage if usage.is_known else None, finish_reasons=(reason,) if reason else ())  # type: ignore[arg-type]
