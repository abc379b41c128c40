"""Accounts: what calls of one label set add to, each place looked up once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmwatch._cells import Amount, Cells, Key
from llmwatch.metrics import Metric


class Account:
    """The totals of one label set in every metric.

    Args:
        cells: Where they stand.
        labels: The values that the metrics' keys begin with, by the metrics' names for them.
        extra: The values of the labels that the application declares, which end the keys of the metrics of calls.

    Attributes:
        labels: As given.
        clients: Accounts of the same calls under other names, by whatever tells these apart.
    """

    __slots__ = ("_cells", "_extra", "_places", "clients", "labels")

    def __init__(self, cells: Cells, labels: Mapping[str, str], extra: Key = ()) -> None:
        self.clients: dict[Key, Account] = {}
        self._cells = cells
        self.labels = labels
        self._extra = extra
        self._places: dict[tuple[Metric, Key], list[Any]] = {}

    def add(self, metric: Metric, amount: Amount, *rest: str) -> None:
        """Adds to a counter, 0 shows it, or gives a histogram a value; `rest` are the labels that the account lacks."""
        place = self._places.get((metric, rest))
        if place is None:
            place = self._find(metric, rest, counting=bool(amount))
        if metric.kind == "histogram":
            place.append(amount)
            self._cells.parked += 1
        else:
            place[0] += amount

    def _find(self, metric: Metric, rest: Key, *, counting: bool) -> list[Any]:
        stated = tuple([self.labels[name] for name in metric.labels if name in self.labels])
        key = stated + rest + (self._extra if metric.call else ())
        place: list[Any]
        if metric.kind == "histogram":
            place, shown = self._cells.values(metric, key)
        else:
            place, shown = self._cells.total(metric, key, counting=counting)
        if shown == key:  # what is folded is counted each time
            self._places[metric, rest] = place
        return place
