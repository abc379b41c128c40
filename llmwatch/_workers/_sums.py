"""Sums that do not depend on how their parts are grouped, to the last bit.

Prometheus takes any decrease for a restart, so a total must not shrink by a rounding when a worker's share moves to the
archive. All parts are added as if with infinite precision, and rounded once, when they are shown.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

Number = int | float


def total(parts: Sequence[Number]) -> Number:
    """What the parts add up to, rounded once."""
    if len(parts) == 1:
        return parts[0]
    if all(isinstance(part, int) for part in parts):
        return sum(parts)
    try:
        return math.fsum(parts)
    except (OverflowError, ValueError):  # beyond what a float can hold, or infinities of both signs
        return float("nan") if any(math.isnan(part) for part in parts) else sum(map(float, parts))


def condensed(parts: Sequence[Number]) -> list[Number]:
    """As few parts as add up to exactly the same (Shewchuk 1997: non-overlapping partial sums)."""
    whole, exact = 0, list[float]()
    for part in parts:
        if isinstance(part, int):
            whole += part
        elif math.isfinite(part):
            _grow(exact, part)
        else:
            return [total(parts)]
    return [whole, *exact] if whole or not exact else [*exact]


def _grow(exact: list[float], part: float) -> None:
    kept = 0
    for partial in exact:
        larger, smaller = (part, partial) if abs(part) >= abs(partial) else (partial, part)
        part = larger + smaller
        if rest := smaller - (part - larger):
            exact[kept] = rest
            kept += 1
    exact[kept:] = [part]
