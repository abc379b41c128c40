"""Causes: the contributions to a change, put together where they are of one kind, the largest first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from llmwatch._explain._consumption import Caller, Consumption, together
from llmwatch._explain._profile import VOLUME
from llmwatch._explain._split import MIX, Change

# From who exactly to all together: what explains most of a change is called by the most exact name that does.
_LEVELS = (
    Caller._fields,
    ("feature", "agent", "operation"),
    ("feature", "agent"),
    ("feature",),
    ("agent",),
    ("provider", "model"),
    ("provider",),
    (),
)
_ACROSS_MODELS = _LEVELS[1:5] + _LEVELS[7:]
_MOST = 0.6
_HALF = 0.5
_SOME = 0.05
_ALSO = 0.2
"""A further cause is named when those before explain less than half, or when it explains so much itself."""


@dataclass(frozen=True, slots=True)
class Cause:
    """One factor, among those who are in common.

    Attributes:
        factor: Of `ALL_FACTORS`.
        who: What the callers have in common, by label.
        amount: What it contributed to the change.
        share: The same as a share of the change.
        changes: The changes of these callers.
    """

    factor: str
    who: Mapping[str, str]
    amount: float
    share: float
    changes: tuple[Change, ...]

    @property
    def before(self) -> Consumption:
        """What these callers consumed before."""
        return together(change.before for change in self.changes)

    @property
    def after(self) -> Consumption:
        """What these callers consume now."""
        return together(change.after for change in self.changes)

    @property
    def whole(self) -> float:
        """All that changed in what these callers cost, by whichever factor."""
        return sum(change.amount for change in self.changes)

    def of(self, factor: str) -> float:
        """What a factor contributed among them."""
        return sum(change.factors[factor] for change in self.changes)


def causes(changes: Sequence[Change], change: float) -> list[Cause]:
    """What explains a change of the total, from what explains most of it on; none when there is no change."""
    if not change:
        return []
    largest = (max(_cells(changes, change, level), key=_share, default=None) for level in _LEVELS)
    first = next((cause for cause in largest if cause is not None and cause.share >= _MOST), None)
    ranked = sorted(_cells(changes, change, _LEVELS[0]), key=_share, reverse=True)
    named = [first] if first is not None else ranked[:1]
    for cause in ranked:
        explained = sum(each.share for each in named)
        if len(named) < 3 and not _overlap(cause, named) and _is_worth_naming(cause, explained):
            named.append(cause)
    return named


def _is_worth_naming(cause: Cause, explained: float) -> bool:
    return cause.share >= (_ALSO if explained >= _HALF else _ALSO / 2)


def _overlap(cause: Cause, named: Sequence[Cause]) -> bool:
    callers = {change.caller for change in cause.changes}
    return any(cause.factor == each.factor and callers & {change.caller for change in each.changes} for each in named)


def _share(cause: Cause) -> float:
    return cause.share


def _cells(changes: Sequence[Change], change: float, level: tuple[str, ...]) -> list[Cause]:
    """All factors of all that have the labels of a level in common; a mix of models has no one model."""
    cells: defaultdict[tuple[str, tuple[str, ...], tuple[str, ...]], list[Change]] = defaultdict(list)
    exchanging = {each.caller[:3] for each in changes if abs(each.factors[MIX]) > _SOME * abs(change)}
    for each in changes:
        if level == ("agent",) and not each.caller.agent:  # to have none is nothing in common
            continue
        for factor in each.factors:
            # Where calls moved between models, their number is that of all models together.
            of_all = factor == MIX or (factor == VOLUME and each.caller[:3] in exchanging)
            names = _LEVELS[1] if of_all and level not in _ACROSS_MODELS else level
            cells[factor, names, tuple(getattr(each.caller, name) for name in names)].append(each)
    return [
        Cause(factor, dict(zip(names, values, strict=True)), amount, amount / change, tuple(members))
        for (factor, names, values), members in cells.items()
        for amount in [sum(each.factors[factor] for each in members)]
    ]
