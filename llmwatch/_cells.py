"""Cells: the process's running totals, one per metric and label set, bounded in number."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from decimal import Decimal

from llmwatch.metrics import Metric

Key = tuple[str, ...]
Amount = int | float | Decimal


class Cells:
    """Totals of counters, and histogram values that no instrument has taken yet.

    Not safe for threads by itself: the recorder uses it under its lock.

    Args:
        limit: The number of series, as Prometheus would count them, from which on new label sets are folded.
        fold: Turns a label set that is over the limit into one that is shared by all such.

    Attributes:
        parked: How many histogram values wait.
        folded: How often a label set was folded.
    """

    def __init__(self, limit: int, fold: Callable[[Metric, Key], Key]) -> None:
        self._limit = limit
        self._fold = fold
        self._totals: defaultdict[str, dict[Key, Amount]] = defaultdict(dict)
        self._values: dict[str, tuple[Metric, dict[Key, list[float]]]] = {}
        self._series = 0
        self.parked = 0
        self.folded = 0

    @property
    def full(self) -> bool:
        """Whether the limit has been reached."""
        return self._series >= self._limit

    def add(self, metric: Metric, key: Key, amount: Amount) -> Key:
        """Adds to a total, 0 shows it; the label set that it was added to, folded if it had to be."""
        totals = self._totals[metric.name]
        try:
            totals[key] += amount  # type: ignore[operator]
        except KeyError:
            key = self._admit(metric, key, totals)
            totals[key] = totals.get(key, 0) + amount  # type: ignore[operator]
        return key

    def put(self, metric: Metric, key: Key, value: Amount) -> None:
        """Puts a gauge's value in the place of the one before."""
        totals = self._totals[metric.name]
        totals[key if key in totals else self._admit(metric, key, totals)] = value

    def park(self, metric: Metric, key: Key, value: float) -> None:
        """Keeps a histogram's value until `take` asks for it."""
        _, values = self._values.setdefault(metric.name, (metric, {}))
        try:
            values[key].append(value)
        except KeyError:
            values.setdefault(self._admit(metric, key, values), []).append(value)
        self.parked += 1

    def totals(self, metric: Metric) -> list[tuple[Key, Amount]]:
        """A counter's totals by label set."""
        return list(self._totals[metric.name].items())

    def take(self, most: int) -> Iterator[tuple[Metric, Key, float]]:
        """Takes out up to `most` histogram values, each as `(metric, label set, value)`."""
        for metric, by_key in self._values.values():
            for key, values in by_key.items():
                while values and most > 0:
                    most -= 1
                    self.parked -= 1
                    yield metric, key, values.pop()

    def take_all(self) -> Iterator[tuple[Metric, Key, list[float]]]:
        """Takes out all histogram values, each as `(metric, label set, values)`."""
        self.parked = 0
        for metric, by_key in self._values.values():
            for key, values in by_key.items():
                if values:
                    yield metric, key, values
                    by_key[key] = []

    def thin(self, most: int) -> None:
        """Forgets a quarter of all histogram values when they are too many, because nobody has ever come for them."""
        if self.parked <= most:
            return
        self.parked = 0
        for _, by_key in self._values.values():
            for values in by_key.values():
                del values[: len(values) // 4]
                self.parked += len(values)

    def adopt(self, earlier: Cells, rekey: Callable[[Metric, Key], Key], metrics: Iterator[Metric]) -> None:
        """Moves everything over from the cells of an earlier configuration."""
        for metric in metrics:
            take = self.put if metric.kind == "gauge" else self.add
            for key, amount in earlier._totals.pop(metric.name, {}).items():
                take(metric, rekey(metric, key), amount)
        for metric, key, value in earlier.take(earlier.parked):
            self.park(metric, rekey(metric, key), value)
        self.folded += earlier.folded

    def _admit(self, metric: Metric, key: Key, shown: dict[Key, Amount] | dict[Key, list[float]]) -> Key:
        if self._series + metric.weight > self._limit:
            self.folded += 1
            key = self._fold(metric, key)
        if key not in shown:
            self._series += metric.weight
        return key
