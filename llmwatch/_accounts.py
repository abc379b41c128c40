"""Accounts: what calls of one label set add to, each place looked up once."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
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
        lasting: Whether it stands for what was stated as it was stated, so that whoever states it again may have it.
    """

    __slots__ = ("_cells", "_extra", "_places", "_rows", "clients", "labels", "lasting")

    def __init__(self, cells: Cells, labels: Mapping[str, str], extra: Key = ()) -> None:
        self.clients: dict[tuple[str, bool], Account] = {}
        self.lasting = False
        self._cells = cells
        self.labels = labels
        self._extra = extra
        self._places: dict[tuple[Metric, Key], list[Any]] = {}
        self._rows: dict[Any, list[list[Any] | None]] = {}

    def add(self, metric: Metric, amount: Amount, *rest: str) -> None:
        """Adds to a counter, 0 shows it; `rest` are the labels that the account lacks."""
        place = self._places.get((metric, rest))
        if place is None:
            place = self._find(metric, rest, counting=bool(amount))
        place[0] += amount

    def add_all(self, metric: Metric, kinds: Sequence[Key], amounts: Iterable[Amount | None], *rest: str) -> None:
        """Adds to several totals of a counter: an amount for each of the kinds, `None` where there is none of it.

        Args:
            metric: The counter.
            kinds: The labels in which they differ.
            amounts: What is added, in the order of the kinds.
            rest: The labels behind them.
        """
        row = self._rows.get((metric, kinds, rest))
        if row is None:
            row = self._rows[metric, kinds, rest] = [None] * len(kinds)
        for kind, place, amount in zip(kinds, row, amounts, strict=True):
            if amount is None:
                continue
            if place is None:
                self.add(metric, amount, *kind, *rest)
                row[kinds.index(kind)] = self._places.get((metric, (*kind, *rest)))
            else:
                place[0] += amount

    def add_values(self, metric: Metric, values: Collection[float], *rest: str) -> None:
        """Gives a histogram values; none of them show nothing."""
        if not values:
            return
        place = self._places.get((metric, rest))
        if place is None:
            place = self._find(metric, rest, counting=True)
        place += values
        self._cells.parked += len(values)

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
