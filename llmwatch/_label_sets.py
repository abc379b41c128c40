"""Label sets: the values of all labels of a series, bounded label by label and as a whole."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from llmwatch._mappers import Mappers
from llmwatch.attribution import Unusable
from llmwatch.cardinality import LONGEST, OTHER, Budget, Budgets
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
        mapping: Whether any label has a mapper.
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
        self._mappers = Mappers(shield, budgets.mappers)
        self.mapping = bool(budgets.mappers)
        self.forget_mapped = self._mappers.forget
        self._declared = declared
        self._full = full
        self._overflowed = overflowed
        self._names = CALL_LABELS + declared
        self._known = frozenset(self._names)
        self._admitted: set[Key] = set()

    def names_of(self, metric: Metric) -> Key:
        """A metric's labels, those that the application declares included."""
        return metric.labels + self._declared if metric.call else metric.labels

    def of(self, metric: Metric, labels: Mapping[str, str], counted: set[str] | None = None) -> Key:
        """The key of one metric's series, each value bounded.

        Args:
            metric: The metric.
            labels: Values by the names that the metrics have for them.
            counted: The labels whose overflow is counted already; `None` counts none.
        """
        names = self.names_of(metric)
        return self._bounded(names, self._values(names, labels), counted)

    def of_call(self, labels: Mapping[str, str], *, counting: bool) -> tuple[Key, Key, bool]:
        """A call's labels, what the application declares behind them, and whether they are there for the first time."""
        stated = self._values(self._names, labels)
        if not labels.keys() <= self._known:
            self._report_undeclared(labels)
        key, new = stated, False
        if key not in self._admitted or Unusable in map(type, key):
            key = self._bounded(self._names, stated, set() if counting else None)
            if key not in self._admitted and self._full():
                self.folds += counting
                key = _folded(self._names, key, _CLOSED)
            new = key not in self._admitted
            self._admitted.add(key)
        return key[: len(CALL_LABELS)], key[len(CALL_LABELS) :], new

    def plain(self, labels: Mapping[str, str]) -> Key | None:
        """What is stated of a call's labels, where nothing maps them, none is undeclared, and all can be used."""
        if self.mapping or not labels.keys() <= self._known:
            return None
        key = tuple([labels.get(name, "") for name in self._names])
        return None if Unusable in map(type, key) else key

    def inherit(self, earlier: LabelSets) -> None:
        """Keeps the label sets of calls that an earlier configuration has shown."""
        self.folds += earlier.folds
        for key in earlier._admitted:
            values = dict(zip(earlier._names, key, strict=True))
            self._admitted.add(tuple([values.get(name, "") for name in self._names]))

    def shown(self, label: str, value: str) -> str:
        """What is shown for a value that does not come with its label set; an overflow is not counted again."""
        return self._budgets.of(label).admit(self._mappers.of(label, value))

    def declare(self, label: str, value: str) -> None:
        """Gives a value its place beside the budget."""
        self._budgets.of(label).declare(self._mappers.of(label, value))

    def folded(self, metric: Metric, key: Key, step: int) -> Key:
        """The label set that all share whose own there is no room for: at each step more do, at the last one all."""
        return _folded(self.names_of(metric), key, (_CLOSED, _FIXED, frozenset[str]())[step])

    def report(self) -> dict[str, dict[str, Any]]:
        """The budget of each label as a document, without those whose values llmwatch itself chooses."""
        return {name: budget for name, budget in self._budgets.report().items() if name not in _FIXED}

    def _values(self, names: Key, labels: Mapping[str, str]) -> Key:
        """What is stated for these labels, or what their mappers make of it."""
        if not self.mapping:
            return tuple([labels.get(name, "") for name in names])
        return tuple([self._mappers.of(_OURS.get(name, name), labels.get(name, "")) for name in names])

    def _bounded(self, names: Key, values: Key, counted: set[str] | None) -> Key:
        return tuple([self._bound(name, value, counted) for name, value in zip(names, values, strict=True)])

    def _bound(self, name: str, value: str, counted: set[str] | None) -> str:
        label = _OURS.get(name, name)
        if not value and isinstance(value, Unusable):
            self._shield.warn_once("labels", f"label {label!r} is left out: {value.why}")
        budget = self._budgets.of(label)
        admitted = budget.admit(value)
        if admitted == OTHER != value and counted is not None and label not in counted:
            counted.add(label)
            self._overflowed(label)
            if budget.fold(value):
                self._shield.advise(_advice(label, budget))
        return admitted

    def _report_undeclared(self, labels: Mapping[str, str]) -> None:
        for name in labels:
            if name not in self._known:
                self._shield.warn_once("labels", f"label {name!r} is left out: declare it in configure(labels=...)")


def _advice(label: str, budget: Budget) -> str:
    remedy = (
        f"raise configure(label_limits={{{label!r}: {budget.limit}}}), or declare them in configure(labels=...)"
        if budget.limit > len(budget.declared)
        else "declare them too, in configure(labels=...)"
    )
    return (
        f"label {label!r} says 'other' from now on for some values: it may show {budget.limit}, of at most {LONGEST} "
        f"characters each. See what they are with `llmwatch labels`; if you want to see them apart, {remedy}"
    )


# The convention's names of labels that share a budget with ours.
_OURS = {"gen_ai.agent.name": "agent", "gen_ai.tool.name": "tool"}

# Labels whose values llmwatch itself chooses, and with them those for which that is nearly so: they keep their values
# in a folded label set.
_FIXED = frozenset(
    "status direction kind cost_source error_type reason where label version price_table outcome resource stage "
    "gen_ai.token.type gen_ai.token.modality error.type".split()
)
_CLOSED = _FIXED | frozenset("provider operation account gen_ai.provider.name gen_ai.operation.name".split())


def _folded(names: Key, key: Key, kept: frozenset[str]) -> Key:
    return tuple([value if name in kept else OTHER for name, value in zip(names, key, strict=True)])
