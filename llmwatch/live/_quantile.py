"""The quantile of a histogram, as Prometheus computes it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate


def quantile(q: float, bounds: Sequence[float], counts: Sequence[float]) -> float | None:
    """`histogram_quantile` of Prometheus 2 and 3 for classic histograms; `None` where nothing was counted.

    Linear inside a bucket, the lowest of which begins at 0; in the last one, the bound below it.

    Args:
        q: Between 0 and 1, neither of them included.
        bounds: The upper bounds of all buckets but the last, ascending.
        counts: How many values are in each bucket, not cumulative; one more than there are bounds.
    """
    total = sum(counts)
    if total <= 0 or not bounds:
        return None
    rank = q * total
    place = next((place for place, below in enumerate(accumulate(counts)) if below >= rank), len(bounds))
    if place >= len(bounds):
        return bounds[-1]
    if place == 0 and bounds[0] <= 0:
        return bounds[0]
    begin = bounds[place - 1] if place else 0.0
    return begin + (bounds[place] - begin) * (rank - sum(counts[:place])) / counts[place]


def fitted(bounds: Sequence[float], counts: Sequence[float], wanted: Sequence[float]) -> list[float]:
    """The counts in other buckets, where a view has changed them: each moves to the first that is as high."""
    moved = [0.0] * (len(wanted) + 1)
    for bound, count in zip((*bounds, float("inf")), counts, strict=True):
        moved[next((place for place, ours in enumerate(wanted) if ours >= bound), len(wanted))] += count
    return moved
