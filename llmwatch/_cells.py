"""Cells: the process's running totals, one per metric and label set, bounded in number."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping

from llmwatch.metrics import Metric

Key = tuple[str, ...]
Amount = int | float

SETS = 2000
"""Label sets of a metric, where nobody says how many its readers take: the default of OpenTelemetry's specification."""


class Cells:
    """Totals of counters, and histogram values that no instrument has taken yet.

    Not safe for threads by itself: the recorder uses it under its lock.

    Args:
        limit: The number of series, as Prometheus would count them, from which on new label sets are folded.
        fold: Turns a label set that is over a limit into one that is shared by all such; by all that are alike in what
            llmwatch itself says, and in the end by all whatever, as the step from 0 to 2 asks.

    Attributes:
        room: How many label sets each metric may have, where that is not `SETS`.
        parked: How many histogram values wait.
        folded: How often a label set was folded.
    """

    def __init__(self, limit: int, fold: Callable[[Metric, Key, int], Key]) -> None:
        self.room: dict[str, int] = {}
        self._limit = limit
        self._fold = fold
        self._totals: defaultdict[str, dict[Key, list[Amount]]] = defaultdict(dict)
        self._values: dict[str, tuple[Metric, dict[Key, list[float]]]] = {}
        self._series = 0
        self.parked = 0
        self.folded = 0

    def full(self, metric: Metric) -> bool:
        """Whether a new label set of this metric would be folded."""
        return self._series >= self._limit or len(self._totals[metric.name]) >= self._own_room(metric)

    @property
    def series(self) -> int:
        """How many series there are, as Prometheus would count them."""
        return self._series

    def add(self, metric: Metric, key: Key, amount: Amount) -> Key:
        """Adds to a total, 0 shows it; the label set that it was added to, folded if it had to be."""
        total, key = self.total(metric, key, counting=bool(amount))
        total[0] += amount
        return key

    def put(self, metric: Metric, key: Key, value: Amount) -> None:
        """Puts a gauge's value in the place of the one before."""
        self.total(metric, key)[0][0] = value

    def total(self, metric: Metric, key: Key, *, counting: bool = True) -> tuple[list[Amount], Key]:
        """Where a total stands, for whoever is going to add to it often, and the label set that it is shown under."""
        totals = self._totals[metric.name]
        total = totals.get(key)
        if total is None:
            key = self._admit(metric, key, totals, counting=counting)
            total = totals.setdefault(key, [0])
        return total, key

    def park(self, metric: Metric, key: Key, value: float) -> None:
        """Keeps a histogram's value until `take` asks for it."""
        self.values(metric, key)[0].append(value)
        self.parked += 1

    def values(self, metric: Metric, key: Key) -> tuple[list[float], Key]:
        """Where the values of a histogram wait, and the label set that they are shown under."""
        _, values = self._values.setdefault(metric.name, (metric, {}))
        waiting = values.get(key)
        if waiting is None:
            key = self._admit(metric, key, values)
            waiting = values.setdefault(key, [])
        return waiting, key

    def totals(self, metric: Metric) -> list[tuple[Key, Amount]]:
        """A counter's totals by label set."""
        return [(key, total[0]) for key, total in self._totals[metric.name].items()]

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
                    taken = values.copy()
                    values.clear()
                    yield metric, key, taken

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
        """Moves everything over from the cells of an earlier configuration; what was shown keeps its series."""
        limit, self._limit = self._limit, max(self._limit, self._series + earlier._series)
        for metric in metrics:
            take = self.put if metric.kind == "gauge" else self.add
            for key, total in earlier._totals.pop(metric.name, {}).items():
                take(metric, rekey(metric, key), total[0])
        for metric, by_key in earlier._values.values():
            for key, values in by_key.items():
                self.parked += len(values)
                self.values(metric, rekey(metric, key))[0].extend(values)
        earlier._values.clear()
        earlier.parked = 0
        self.folded += earlier.folded
        self._limit = limit

    def _admit(self, metric: Metric, key: Key, shown: Mapping[Key, object], *, counting: bool = True) -> Key:
        if self._series + metric.weight > self._limit or len(shown) >= self._own_room(metric):
            self.folded += counting
            key = self._shared(metric, key, shown)
        if key not in shown:
            self._series += metric.weight
        return key

    def _own_room(self, metric: Metric) -> int:
        """How many label sets may stand for themselves; the rest of the metric's room is for those that are folded."""
        room = self.room.get(metric.name, SETS)
        return room - max(3, room // 4)

    def _shared(self, metric: Metric, key: Key, shown: Mapping[Key, object]) -> Key:
        room = self.room.get(metric.name, SETS)
        for step, most in enumerate((room - max(2, room // 8), room - 1)):
            shared = self._fold(metric, key, step)
            if shared in shown or len(shown) < most:
                return shared
        return self._fold(metric, key, 2)
