"""The numbers of the table, read from the page that Prometheus scrapes."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from prometheus_client.parser import text_string_to_metric_families

from llmwatch.metrics import ACTIVE_REQUESTS, COST, ERRORS, REQUEST_DURATION, REQUESTS, TOKENS

K = TypeVar("K")
Place = tuple[str, str]
"""A feature and a model."""

_DURATION_BUCKET = f"{REQUEST_DURATION.prometheus}_bucket"
_FIELDS: dict[str, Callable[[Mapping[str, str]], str]] = {
    REQUESTS.prometheus: lambda labels: labels["status"],
    TOKENS.prometheus: lambda labels: labels["direction"],
    COST.prometheus: lambda _: "dollars",
}
_READ = (*_FIELDS, _DURATION_BUCKET, ERRORS.prometheus, ACTIVE_REQUESTS.prometheus)


@dataclass(frozen=True, slots=True)
class Line:
    """What happened since the start, for one feature and model or for all.

    Attributes:
        amounts: Calls by status, tokens by direction, and `dollars` if anything could be priced.
        buckets: Calls by the upper bound of their duration in seconds, cumulative as Prometheus has them.
    """

    amounts: dict[str, float] = field(default_factory=dict)
    buckets: dict[float, float] = field(default_factory=dict)

    def count(self, name: str) -> int:
        """An amount that is a count."""
        return int(self.amounts.get(name, 0))

    @property
    def calls(self) -> int:
        """Calls that have ended, however."""
        return sum(self.count(status) for status in ("success", "error", "cancelled", "abandoned"))

    @property
    def tokens(self) -> int:
        """Tokens in and out."""
        return self.count("input") + self.count("output")

    @property
    def dollars(self) -> float | None:
        """What it cost; `None` when the price is unknown."""
        return self.amounts.get("dollars")


@dataclass(frozen=True, slots=True)
class Numbers:
    """One look at the page: a line for each feature and model, failures by type, and the calls that are open."""

    lines: Mapping[Place, Line] = field(default_factory=dict)
    errors: Mapping[str, int] = field(default_factory=dict)
    active: int = 0

    @property
    def total(self) -> Line:
        """All lines together."""
        amounts: dict[str, float] = {}
        buckets: dict[float, float] = {}
        for line in self.lines.values():
            _add(amounts, line.amounts)
            _add(buckets, line.buckets)
        return Line(amounts, buckets)


def read(page: str) -> Numbers:
    """Sums up a page in Prometheus' text format by feature and model."""
    lines: defaultdict[Place, Line] = defaultdict(Line)
    errors: dict[str, float] = {}
    active = 0.0
    relevant = "\n".join(line for line in page.splitlines() if line.startswith(_READ))
    for family in text_string_to_metric_families(f"{relevant}\n"):
        for name, labels, value, *_ in family.samples:
            line = lines[labels["feature"], labels["model"]]
            if name == ACTIVE_REQUESTS.prometheus:
                active += value
            elif name == ERRORS.prometheus:
                _add(errors, {labels["error_type"]: value})
            elif name == _DURATION_BUCKET:
                _add(line.buckets, {float(labels["le"]): value})
            else:
                _add(line.amounts, {_FIELDS[name](labels): value})
    happened = {name: round(value) for name, value in errors.items() if value}
    return Numbers(dict(sorted(lines.items())), happened, round(active))


def _add(sums: dict[K, float], more: Mapping[K, float]) -> None:
    for key, value in more.items():
        sums[key] = sums.get(key, 0.0) + value


def quantile(q: float, buckets: Mapping[float, float]) -> float | None:
    """Prometheus' `histogram_quantile` of cumulative buckets; `None` when they are empty.

    Linear inside a bucket, the lowest of which begins at 0; in the last, the bound below it.
    """
    bounds = sorted(buckets)
    total = buckets[bounds[-1]] if bounds else 0
    if total <= 0:
        return None
    rank, below, count_below = q * total, 0.0, 0.0
    for bound in bounds:
        count = buckets[bound]
        if count >= rank:
            inside = count - count_below
            return below if bound == float("inf") else below + (bound - below) * (rank - count_below) / inside
        below, count_below = bound, count
    return None


class History:
    """The numbers of the last minute, for what is said of the recent past."""

    def __init__(self) -> None:
        self._past: deque[tuple[float, Numbers]] = deque([(0.0, Numbers())])

    def add(self, at: float, numbers: Numbers) -> None:
        """Takes the numbers of this moment, in seconds since the start."""
        self._past.append((at, numbers))
        while len(self._past) > 2 and self._past[1][0] <= at - 60.0:
            self._past.popleft()

    def p95(self, place: Place | None = None) -> float | None:
        """The 95th percentile of the duration over the last minute, in seconds."""
        then, now = _line(self._past[0][1], place), _line(self._past[-1][1], place)
        return quantile(0.95, {bound: count - then.buckets.get(bound, 0.0) for bound, count in now.buckets.items()})

    def tokens_per_second(self, place: Place | None = None) -> float | None:
        """Tokens per second, in and out, over the last ten seconds."""
        end, now = self._past[-1]
        start, then = next(entry for entry in self._past if entry[0] >= end - 10.0)
        return (_line(now, place).tokens - _line(then, place).tokens) / (end - start) if end > start else None


def _line(numbers: Numbers, place: Place | None) -> Line:
    return numbers.total if place is None else numbers.lines.get(place, Line())
