"""The tally: what each collection found more than the one before, added up by subject."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from math import isnan, nan
from typing import Any

from llmwatch import metrics
from llmwatch.live._points import Point
from llmwatch.live._quantile import fitted

Subject = tuple[str, ...]
"""What a row is about: `("all",)`, `("feature", name)`, `("error", type, feature, model)` and the like."""

REQUESTS, ERRORS, STOPPED, INPUT, OUTPUT, DOLLARS = range(6)
"""The columns of a row about calls; the buckets of their durations follow."""
DURATIONS = 6
BOUNDS = metrics.REQUEST_DURATION.buckets
FIRST_CHUNK_BOUNDS = metrics.TIME_TO_FIRST_CHUNK.buckets

ALL: Subject = ("all",)
FIRST_CHUNK: Subject = ("first_chunk",)
DIMENSIONS = ("feature", "agent", "model", "provider")

_CALLS = array("d", [0.0] * 5 + [nan] + [0.0] * (len(BOUNDS) + 1))  # nan: nothing has been priced yet
_CHUNKS = array("d", [0.0] * (len(FIRST_CHUNK_BOUNDS) + 1))
_ONE = array("d", [0.0])
_COLUMNS = {"error": ERRORS, "cancelled": STOPPED, "abandoned": STOPPED, "input": INPUT, "output": OUTPUT}


@dataclass(frozen=True, slots=True)
class Look:
    """What was there at one moment.

    Attributes:
        rows: The totals of each subject; they never fall.
        active: Calls that were open, by subject.
        limits: What each provider allowed and what was left, by provider, account, model and resource.
    """

    rows: Mapping[Subject, array[float]] = field(default_factory=dict)
    active: Mapping[Subject, float] = field(default_factory=dict)
    limits: Mapping[Subject, Mapping[str, float]] = field(default_factory=dict)


class Tally:
    """Turns collections into looks.

    A total that falls has lost something, as when a worker's file is gone: this process would know if everything had
    begun anew. It counts as nothing, and further growth counts from there.

    Attributes:
        last: When a subject that is about something wrong was last seen to grow, in seconds of the caller's clock.
    """

    def __init__(self) -> None:
        self.last: dict[Subject, float] = {}
        self._seen: dict[Any, Any] = {}
        self._rows: dict[Subject, array[float]] = {}
        self._own: set[Subject] = set()  # rows that no look has yet
        self._active: dict[Subject, float] = {}
        self._limits: dict[Subject, dict[str, float]] = {}
        self._at = 0.0

    def take(self, points: Iterable[Point], at: float) -> Look:
        """The look of this moment."""
        self._at = at
        self._active, self._limits = {}, {}
        for name, labels, value in points:
            taker = _TAKERS.get(name)
            if taker is not None:
                taker(self, name, labels, value)
        self._own = set()
        return Look({**self._rows}, self._active, self._limits)

    def _row(self, subject: Subject, empty: array[float]) -> array[float]:
        """A row to write in; looks keep the one of before."""
        if subject in self._own:
            return self._rows[subject]
        row = self._rows[subject] = array("d", self._rows.get(subject, empty))
        self._own.add(subject)
        return row

    def _rise(self, name: str, labels: Mapping[str, Any], value: float) -> float:
        key = name, *labels.items()
        before: float = self._seen.get(key, 0)
        self._seen[key] = value
        return max(0, value - before)

    def _rows_of(self, labels: Mapping[str, Any]) -> Iterable[array[float]]:
        yield self._row(ALL, _CALLS)
        for dimension in DIMENSIONS:
            if dimension in labels:
                yield self._row((dimension, labels[dimension]), _CALLS)

    def _add(self, labels: Mapping[str, Any], column: int, rise: float) -> None:
        for row in self._rows_of(labels):
            row[column] = rise if isnan(row[column]) else row[column] + rise

    def requests(self, name: str, labels: Mapping[str, Any], value: float) -> None:
        """Calls, by how they ended."""
        if rise := self._rise(name, labels, value):
            self._add(labels, REQUESTS, rise)
            if (column := _COLUMNS.get(labels["status"])) is not None:
                self._add(labels, column, rise)

    def tokens(self, name: str, labels: Mapping[str, Any], value: float) -> None:
        """Tokens, by direction."""
        if rise := self._rise(name, labels, value):
            self._add(labels, _COLUMNS[labels["direction"]], rise)

    def dollars(self, name: str, labels: Mapping[str, Any], value: float) -> None:
        """Dollars; 0 of them are a price, too."""
        new = (name, *labels.items()) not in self._seen
        if (rise := self._rise(name, labels, value)) or new:
            self._add(labels, DOLLARS, rise)

    def durations(self, name: str, labels: Mapping[str, Any], point: Any) -> None:
        """Durations, by bucket."""
        if grown := self._growth(name, labels, point, BOUNDS):
            for row in self._rows_of(labels):
                for place, rise in grown:
                    row[DURATIONS + place] += rise

    def first_chunks(self, name: str, labels: Mapping[str, Any], point: Any) -> None:
        """Times to the first chunk, by bucket."""
        if grown := self._growth(name, labels, point, FIRST_CHUNK_BOUNDS):
            row = self._row(FIRST_CHUNK, _CHUNKS)
            for place, rise in grown:
                row[place] += rise

    def _growth(
        self, name: str, labels: Mapping[str, Any], point: Any, bounds: tuple[float, ...]
    ) -> list[tuple[int, float]]:
        key = name, *labels.items()
        counts = point.bucket_counts
        before = self._seen.get(key)
        if counts == before:
            return []
        self._seen[key] = [*counts]
        if before is None or len(before) != len(counts):
            before = [0] * len(counts)
        rises = [max(0, now - then) for now, then in zip(counts, before, strict=True)]
        if tuple(point.explicit_bounds) != bounds:
            rises = fitted(point.explicit_bounds, rises, bounds)
        return [(place, rise) for place, rise in enumerate(rises) if rise]

    def trouble(self, name: str, labels: Mapping[str, Any], value: float) -> None:
        """Something that is wrong, by what the table below says."""
        if rise := self._rise(name, labels, value):
            kind, *named = _TROUBLES[name]
            subject = (kind, *(str(labels.get(label, "")) for label in named))
            self._row(subject, _ONE)[0] += rise
            self.last[subject] = self._at

    def open_calls(self, name: str, labels: Mapping[str, Any], value: float) -> None:
        """Calls that are open."""
        for subject in (ALL, *((dimension, labels[dimension]) for dimension in DIMENSIONS if dimension in labels)):
            self._active[subject] = self._active.get(subject, 0) + value

    def limit(self, name: str, labels: Mapping[str, Any], value: float) -> None:
        """A rate limit."""
        subject = tuple(str(labels.get(label, "")) for label in metrics.RATE_LIMIT_LIMIT.labels)
        which = "limit" if name == metrics.RATE_LIMIT_LIMIT.name else "remaining"
        self._limits.setdefault(subject, {})[which] = value


_NOT_A_CALL = ("provider", "model", "reason")
_TROUBLES = {
    metrics.ERRORS.name: ("error", "error_type", "feature", "model"),
    metrics.UNPRICED_REQUESTS.name: ("unpriced", *_NOT_A_CALL),
    metrics.USAGE_MISSING.name: ("missing", *_NOT_A_CALL),
    metrics.LABEL_OVERFLOW.name: ("overflow", "label"),
    metrics.INTERNAL_ERRORS.name: ("internal", "where"),
}
_TAKERS: dict[str, Callable[[Tally, str, Mapping[str, Any], Any], None]] = {
    metrics.REQUESTS.name: Tally.requests,
    metrics.TOKENS.name: Tally.tokens,
    metrics.COST.name: Tally.dollars,
    metrics.REQUEST_DURATION.name: Tally.durations,
    metrics.TIME_TO_FIRST_CHUNK.name: Tally.first_chunks,
    metrics.ACTIVE_REQUESTS.name: Tally.open_calls,
    metrics.RATE_LIMIT_LIMIT.name: Tally.limit,
    metrics.RATE_LIMIT_REMAINING.name: Tally.limit,
    **dict.fromkeys(_TROUBLES, Tally.trouble),
}
