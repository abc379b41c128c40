"""Label sets: the values of all labels of a series, bounded label by label and as a whole."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from llmwatch.attribution import Unusable
from llmwatch.cardinality import OTHER, Budgets
from llmwatch.metrics import CALL_LABELS, Metric

if TYPE_CHECKING:
    from llmwatch._shield import Shield

Key = tuple[str, ...]


class LabelSets:
    """Turns labels by name into the key of a series.

    Args:
        shield: Where misuse of labels is reported.
        budgets: How many values each label may show.
        declared: The names of the labels that the application declares, in their order.
        full: Whether there is room for no more series.
        overflowed: Takes the label of each value that was folded.

    Attributes:
        folds: How often a call's whole label set was folded.
    """

    def __init__(
        self,
        shield: Shield,
        budgets: Budgets,
        declared: tuple[str, ...],
        full: Callable[[], bool],
        overflowed: Callable[[str], None],
    ) -> None:
        self.folds = 0
        self._shield = shield
        self._budgets = budgets
        self._declared = declared
        self._full = full
        self._overflowed = overflowed
        self._names = CALL_LABELS + declared
        self._known = frozenset(self._names)
        self._admitted: set[Key] = set()

    def names_of(self, metric: Metric) -> Key:
        """A metric's labels, those that the application declares included."""
        return metric.labels + self._declared if metric.call else metric.labels

    def of(self, metric: Metric, labels: Mapping[str, str], *, counting: bool = True) -> Key:
        """The key of one metric's series, each value bounded."""
        return tuple([self._bound(name, labels.get(name, ""), counting) for name in self.names_of(metric)])

    def of_call(self, labels: Mapping[str, str], *, counting: bool) -> tuple[Key, Key, bool]:
        """A call's labels, what the application declares behind them, and whether they are there for the first time."""
        stated = tuple([labels.get(name, "") for name in self._names])
        if not labels.keys() <= self._known:
            self._report_undeclared(labels)
        key, new = stated, False
        if key not in self._admitted:
            key = tuple([self._bound(name, value, counting) for name, value in zip(self._names, stated, strict=True)])
            if self._full() and key not in self._admitted:
                self.folds += 1
                key = _folded(self._names, key)
            new = key not in self._admitted
            self._admitted.add(key)
        return key[: len(CALL_LABELS)], key[len(CALL_LABELS) :], new

    def folded(self, metric: Metric, key: Key) -> Key:
        """The label set that all share whose own there is no room for."""
        return _folded(self.names_of(metric), key)

    def _bound(self, label: str, value: str, counting: bool) -> str:
        if isinstance(value, Unusable):
            self._shield.warn_once("labels", f"label {label!r} is left out: {value.why}")
        admitted = self._budgets.of(_OURS.get(label, label)).admit(value)
        if counting and admitted == OTHER != value:
            self._overflowed(label)
        return admitted

    def _report_undeclared(self, labels: Mapping[str, str]) -> None:
        for name in labels:
            if name not in self._known:
                self._shield.warn_once("labels", f"label {name!r} is left out: declare it in configure(labels=...)")


# The convention's names of labels that share a budget with ours.
_OURS = {"gen_ai.agent.name": "agent", "gen_ai.tool.name": "tool"}

# Labels whose values llmwatch itself chooses, or nearly so: they keep their values in a folded label set.
_CLOSED = frozenset(
    "provider operation status direction kind cost_source error_type reason where label version price_table outcome "
    "resource account stage gen_ai.provider.name gen_ai.operation.name gen_ai.token.type gen_ai.token.modality "
    "error.type".split()
)


def _folded(names: Key, key: Key) -> Key:
    return tuple([value if name in _CLOSED else OTHER for name, value in zip(names, key, strict=True)])
