"""The budget of each label: how many values it may show before the rest say `other`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

__all__ = [
    "DEFAULT_LIMIT",
    "DEFAULT_LIMITS",
    "LONGEST",
    "OTHER",
    "SERIES",
    "Budget",
    "Budgets",
    "Folded",
    "FoldedValue",
    "Label",
]

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
    "guard": 50,
    "account": 50,
    SERIES: 10_000,
}
DEFAULT_LIMIT = 50
LONGEST = 128
"""Characters of a label value, above which it is `other`."""
_MOST = 1000
_SAMPLE = 20


@dataclass(frozen=True, slots=True)
class Label:
    """What is declared about a label: `configure(labels={"tier": Label(["free", "pro"], mapper=tier_of)})`.

    Attributes:
        values: The values that always keep their place; without a `limit` they are the only ones.
        limit: How many values it may show, those in `values` included.
        mapper: Turns what the program states (a user id) into the value that is shown (a tier). It is asked when calls
            are folded into the totals, at the latest when somebody collects, and never on the caller's path; its
            answers are kept until then. It must be quick, and ask nobody over a network. `None` or an empty string is
            no value; when it raises, the value is `other`. What it is given is never shown, listed or logged.

    Raises:
        ValueError: When a value is no string or empty, the limit is below 1, or the mapper cannot be called.
    """

    values: Iterable[str] = ()
    limit: int | None = None
    mapper: Callable[[str], str | None] | None = None

    def __post_init__(self) -> None:
        if isinstance(self.values, str | bytes) or not isinstance(self.values, Iterable):
            raise ValueError("values: list them, as strings")
        object.__setattr__(self, "values", tuple(self.values))
        if not all(isinstance(value, str) and value for value in self.values):
            raise ValueError("values: each must be a string, and not empty")
        if self.limit is not None and (type(self.limit) is not int or self.limit < 1):
            raise ValueError(f"limit: must be an integer, at least 1, not {self.limit!r}")
        if self.mapper is not None and not callable(self.mapper):
            raise ValueError("mapper: must be a function from a value to the value that is shown")


class FoldedValue(NamedTuple):
    """A value that was folded into `other`, and how often: exactly, or within these bounds.

    Attributes:
        value: The value, cut off where it is very long.
        at_least: How often for certain.
        at_most: How often if all that was forgotten meanwhile was this value.
    """

    value: str
    at_least: int
    at_most: int


class Folded:
    """How often a label's values were folded, and which ones most: a sample of fixed size.

    Space-saving (Metwally, Agrawal, El Abbadi 2005): a value that was folded in more than a twentieth of all cases is
    sure to be in it.
    """

    def __init__(self) -> None:
        self.total = 0
        self._sample: dict[str, tuple[int, int]] = {}  # at most so often, at least so often

    def add(self, value: str, times: int = 1, *, unsure: int = 0) -> None:
        """The value was folded."""
        self.total += times
        if len(value) > LONGEST:
            value = f"{value[:LONGEST]}…"
        most, least = self._sample.get(value) or (self._forget_one(), 0)
        self._sample[value] = (most + times, least + times - unsure)

    def count(self, times: int) -> None:
        """Values were folded that nobody may see, or that nobody knows any more."""
        self.total += times

    def inherit(self, earlier: Folded, *, values: bool) -> None:
        """Adds what was folded before, with the values themselves or without."""
        listed = earlier.heaviest() if values else []
        for value, at_least, at_most in listed:
            self.add(value, at_most, unsure=at_most - at_least)
        self.total += earlier.total - sum(folded.at_most for folded in listed)

    def heaviest(self) -> list[FoldedValue]:
        """The sample, what was folded most first."""
        listed = [FoldedValue(value, least, most) for value, (most, least) in self._sample.items()]
        return sorted(listed, key=lambda folded: (-folded.at_least, -folded.at_most, folded.value))

    def _forget_one(self) -> int:
        """Makes room for a value that is not in the sample; how often it may have been folded before."""
        if len(self._sample) < _SAMPLE:
            return 0
        rarest = min(self._sample, key=self._sample.__getitem__)
        return self._sample.pop(rarest)[0]


class Budget:
    """One label's values: declared ones always keep their place, others come until the budget is spent.

    A value that was shown once is shown for ever. The empty string, which stands for no value, and `other` are free.
    Not safe for threads by itself: the recorder asks under its lock.

    Attributes:
        limit: How many values it may show.
        declared: The values that were declared.
        hidden: Whether the values that are folded are nobody's business, as those of a label with a mapper.
        folded: What was folded, as the recorder noted it.
    """

    def __init__(self, limit: int, declared: Iterable[str] = (), *, hidden: bool = False) -> None:
        self.limit = limit
        self.declared = tuple(declared)
        self.hidden = hidden
        self.folded = Folded()
        self._shown = {"", OTHER, *self.declared}
        self._room = max(0, limit - len(self._shown) + 2)

    @property
    def shown(self) -> int:
        """How many values have a place."""
        return len(self._shown) - 2

    def admit(self, value: str) -> str:
        """The value itself, or `other` when there is no room for it."""
        if value in self._shown:
            return value
        if not value.isascii() and (encodable := _encodable(value)) != value:
            return self.admit(encodable)
        if self._room and len(value) <= LONGEST:
            self._room -= 1
            self._shown.add(value)
            return value
        return OTHER

    def declare(self, value: str) -> None:
        """Gives a value its place beside the budget, as long as such values stay within reason."""
        if len(self._shown) < _MOST and len(value) <= LONGEST:
            self._shown.add(_encodable(value))

    def fold(self, value: str) -> bool:
        """Notes that the value was folded; whether it is the first one of this label."""
        if self.hidden:
            self.folded.count(1)
        else:
            self.folded.add(value)
        return self.folded.total == 1

    def inherit(self, earlier: Budget) -> None:
        """Takes over what an earlier budget has shown; it keeps its place and takes its room."""
        inherited = earlier._shown - self._shown
        self._room = max(0, self._room - len(inherited))
        self._shown |= inherited
        self.folded.inherit(earlier.folded, values=not self.hidden)

    def report(self) -> dict[str, Any]:
        """The budget as a document: `limit`, `declared`, `shown`, `folded`, `mapped` and the heaviest `values`."""
        values = [] if self.hidden else [folded._asdict() for folded in self.folded.heaviest()]
        return {
            "limit": self.limit,
            "declared": list(self.declared),
            "shown": self.shown,
            "folded": self.folded.total,
            "mapped": self.hidden,
            "values": values,
        }


class Budgets:
    """The budgets of all labels of a process.

    Args:
        limits: Values per label, over `DEFAULT_LIMITS`; `series` limits all series together.
        labels: What is declared about labels; `limits` win over theirs.
    """

    def __init__(self, limits: Mapping[str, int] | None = None, labels: Mapping[str, Label] | None = None) -> None:
        self._limits = {**DEFAULT_LIMITS, **(limits or {})}
        self._stated = frozenset(limits or ())
        self._labels = dict(labels or {})
        self._budgets: dict[str, Budget] = {}
        self.series = self._limits[SERIES]
        self.mappers = {name: label.mapper for name, label in self._labels.items() if label.mapper is not None}

    def of(self, label: str) -> Budget:
        """The budget of one label."""
        budget = self._budgets.get(label)
        if budget is None:
            declared = self._labels.get(label, _UNDECLARED)
            values, hidden = tuple(declared.values), declared.mapper is not None
            budget = self._budgets[label] = Budget(self._limit(label, declared), values, hidden=hidden)
        return budget

    def inherit(self, earlier: Budgets) -> None:
        """Keeps the values that an earlier configuration has shown."""
        for label, budget in earlier._budgets.items():
            self.of(label).inherit(budget)

    def report(self) -> dict[str, dict[str, Any]]:
        """The budget of each label that has shown a value or is declared, as a document."""
        return {label: self.of(label).report() for label in (*self._budgets, *self._labels)}

    def _limit(self, label: str, declared: Label) -> int:
        if label not in self._stated:
            if declared.limit is not None:
                return declared.limit
            if values := tuple(declared.values):
                return len(values)
        return self._limits.get(label, DEFAULT_LIMIT)


_UNDECLARED = Label()


def _encodable(value: str) -> str:
    """What cannot be encoded would break whole scrapes."""
    return value.encode("utf-8", "replace").decode()
