"""A span: what happened between two looks, as figures about a subject."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isnan

from llmwatch.live._quantile import quantile
from llmwatch.live._tally import (
    ALL,
    BOUNDS,
    DOLLARS,
    DURATIONS,
    ERRORS,
    FIRST_CHUNK,
    FIRST_CHUNK_BOUNDS,
    INPUT,
    OUTPUT,
    REQUESTS,
    STOPPED,
    Look,
    Subject,
)

Figures = dict[str, float | None]

HOUR = 3600.0
MONTH = 30 * 24 * HOUR
"""Seconds of a month to which a rate of dollars is projected."""


@dataclass(frozen=True, slots=True)
class Span:
    """From one look to a later one.

    Attributes:
        before: The earlier one.
        after: The later one.
        seconds: How much later.
    """

    before: Look
    after: Look
    seconds: float

    def growth(self, subject: Subject) -> array[float] | None:
        """How much each column of a subject has grown; `None` for a subject that is not there."""
        after = self.after.rows.get(subject)
        if after is None:
            return None
        before = self.before.rows.get(subject)
        if before is None:
            return after
        if before is after:
            return array("d", [value if isnan(value) else 0.0 for value in after])
        return array("d", [now if isnan(then) else now - then for now, then in zip(after, before, strict=True)])

    def grown(self, kind: str) -> Iterator[tuple[Subject, array[float]]]:
        """The subjects of a kind that have grown, with how much."""
        for subject, after in self.after.rows.items():
            if subject[0] == kind and self.before.rows.get(subject) is not after:
                growth = self.growth(subject)
                if growth is not None and growth[0] > 0:
                    yield subject, growth

    def figures(self, subject: Subject = ALL) -> Figures:
        """All that is said of calls: amounts, and what they are in a second or an hour."""
        growth = self.growth(subject)
        return figures(growth, self.seconds) if growth is not None else figures(_NOTHING, self.seconds)

    def first_chunk(self) -> dict[str, float | None]:
        """Seconds from the call to the first chunk of its stream."""
        counts = self.growth(FIRST_CHUNK) or ()
        return {
            "first_chunk_p50": quantile(0.5, FIRST_CHUNK_BOUNDS, counts),
            "first_chunk_p95": quantile(0.95, FIRST_CHUNK_BOUNDS, counts),
        }


_NOTHING = array("d", [0.0] * 5 + [float("nan")] + [0.0] * (len(BOUNDS) + 1))


def figures(growth: Sequence[float], seconds: float) -> Figures:
    """The figures of calls from the growth of their columns; unknown is `None`."""
    requests = growth[REQUESTS]
    dollars = None if isnan(growth[DOLLARS]) else growth[DOLLARS]
    hourly = per(dollars, seconds, HOUR)
    return {
        "requests": requests,
        "per_second": per(requests, seconds),
        "errors": growth[ERRORS],
        "error_share": growth[ERRORS] / requests if requests else None,
        "stopped": growth[STOPPED],
        "p50": quantile(0.5, BOUNDS, growth[DURATIONS:]),
        "p95": quantile(0.95, BOUNDS, growth[DURATIONS:]),
        "input": growth[INPUT],
        "output": growth[OUTPUT],
        "input_per_second": per(growth[INPUT], seconds),
        "output_per_second": per(growth[OUTPUT], seconds),
        "dollars": dollars,
        "dollars_per_hour": hourly,
        "dollars_per_month": hourly * MONTH / HOUR if hourly is not None else None,
    }


def per(amount: float | None, seconds: float, unit: float = 1.0) -> float | None:
    """An amount in so many seconds, as an amount in a unit of time; `None` where either is unknown."""
    return amount / seconds * unit if amount is not None and seconds > 0 else None
