"""The budget of each label: how many values it may show before the rest say `other`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

__all__ = ["DEFAULT_LIMIT", "DEFAULT_LIMITS", "OTHER", "SERIES", "Budget", "Budgets"]

OTHER = "other"
SERIES = "series"
"""The name, in `label_limits`, of the limit on all series of the process together."""

DEFAULT_LIMITS: Mapping[str, int] = {
    "feature": 100,
    "provider": 30,
    "model": 100,
    "operation": 20,
    "agent": 100,
    "tool": 100,
    SERIES: 10_000,
}
DEFAULT_LIMIT = 50
_LONGEST = 128
_MOST = 1000


class Budget:
    """One label's values: declared ones always keep their place, others come until the budget is spent.

    A value that was shown once is shown for ever. The empty string, which stands for no value, and `other` are free.
    Not safe for threads by itself: the recorder asks under its lock.
    """

    def __init__(self, limit: int, declared: Iterable[str] = ()) -> None:
        self._shown = {"", OTHER, *declared}
        self._room = max(0, limit - len(self._shown) + 2)

    def admit(self, value: str) -> str:
        """The value itself, or `other` when there is no room for it."""
        if value in self._shown:
            return value
        if not value.isascii():  # what cannot be encoded would break whole scrapes
            value = value.encode("utf-8", "replace").decode()
            if value in self._shown:
                return value
        if self._room and len(value) <= _LONGEST:
            self._room -= 1
            self._shown.add(value)
            return value
        return OTHER

    def declare(self, value: str) -> None:
        """Gives a value its place beside the budget, as long as such values stay within reason."""
        if len(self._shown) < _MOST:
            self._shown.add(value)

    def inherit(self, earlier: Budget) -> None:
        """Takes over what an earlier budget has shown; it keeps its place and takes its room."""
        inherited = earlier._shown - self._shown
        self._room = max(0, self._room - len(inherited))
        self._shown |= inherited


class Budgets:
    """The budgets of all labels of a process.

    Args:
        limits: Values per label, over `DEFAULT_LIMITS`; `series` limits all series together.
        declared: Values per label that always keep their place.
    """

    def __init__(self, limits: Mapping[str, int] | None = None, declared: Mapping[str, Iterable[str]] | None = None):
        self._limits = {**DEFAULT_LIMITS, **(limits or {})}
        self._declared = dict(declared or {})
        self._budgets: dict[str, Budget] = {}
        self.series = self._limits[SERIES]

    def of(self, label: str) -> Budget:
        """The budget of one label."""
        budget = self._budgets.get(label)
        if budget is None:
            limit = self._limits.get(label, DEFAULT_LIMIT)
            budget = self._budgets[label] = Budget(limit, self._declared.get(label, ()))
        return budget

    def inherit(self, earlier: Budgets) -> None:
        """Keeps the values that an earlier configuration has shown."""
        for label, budget in earlier._budgets.items():
            self.of(label).inherit(budget)
