"""Spending: the comparison of two times in cost or in tokens, and the judgement of what of it counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from llmwatch._explain._causes import Cause, causes
from llmwatch._explain._consumption import Caller, Consumption, consumed, together, totals
from llmwatch._explain._history import CannotTellError, History, history
from llmwatch._explain._measure import Measure
from llmwatch._explain._onset import Onset
from llmwatch._explain._question import Question
from llmwatch._explain._server import Server
from llmwatch._explain._since import since
from llmwatch._explain._split import Change, split
from llmwatch._explain._usual import Usual, chance

_TENTH = 0.1
"""The share of all by which a feature must change, to be named while the total does not."""


@dataclass(frozen=True, slots=True)
class Spending:
    """Two times compared.

    Attributes:
        question: What is compared in the end.
        before: All that was consumed before.
        after: All that is consumed now.
        usual: The totals of earlier times.
        changes: What became of each caller.
        stands_out: Whether the total changed more than it usually does.
        causes: Why, the first cause first; of a feature that changed alone, where the total did not.
        onset: Since when.
        notes: What limits the comparison.
    """

    question: Question
    before: Consumption
    after: Consumption
    usual: Usual
    changes: tuple[Change, ...]
    stands_out: bool
    causes: tuple[Cause, ...]
    onset: Onset | None
    notes: tuple[str, ...]

    @property
    def change(self) -> float:
        """How much more it is."""
        return self.after.total - self.before.total


def spending(server: Server, question: Question, measure: Measure) -> Spending:
    """Compares, with another time than asked for where that one has no data or was itself unusual.

    Raises:
        CannotTellError: When there is nothing to compare.
        UnreachableError: When the server does not answer.
    """
    known = history(server, question)
    after = _consumed(server, known.question, measure, known.question.at)
    by_feature = {end: totals(server, measure.metric, known.question, end) for end in known.earlier}
    usual = Usual(tuple(sum(features.values()) for features in by_feature.values()))
    before = _consumed(server, known.question, measure, known.question.before)
    _require_something(before, after, measure)
    if other := _usual_time(known, measure, usual, by_feature, before, after):
        note = (
            f"{_capital(known.question.base)} was unusual itself ({measure.written(_rate(known, before))}"
            f"{known.question.per[1]}); comparing with {other.base} instead."
        )
        known = replace(known, question=other, notes=(*known.notes, note))
        before = _consumed(server, other, measure, other.before)
    return _judged(server, known, measure, usual, by_feature, before, after)


def _judged(
    server: Server,
    known: History,
    measure: Measure,
    usual: Usual,
    by_feature: Mapping[float, Mapping[str, float]],
    before: Mapping[Caller, Consumption],
    after: Mapping[Caller, Consumption],
) -> Spending:
    was, now = together(before.values()), together(after.values())
    changes, change = split(before, after), now.total - was.total
    stands_out = _counts(known, measure, usual, changes)
    found = causes(changes, change) if stands_out else _in_some_feature(known, measure, by_feature, changes)
    started = since(server, known, measure.metric, found[0]) if found else None
    return Spending(known.question, was, now, usual, tuple(changes), stands_out, tuple(found), started, known.notes)


def _counts(known: History, measure: Measure, usual: Usual, changes: Iterable[Change]) -> bool:
    """Whether the sum of some changes is more than usual, and more than chance makes it."""
    members = [*changes]
    few = chance((each.total, each.calls) for change in members for each in (change.before, change.after))
    least = usual.least(sum(change.before.total for change in members), _floor(known, measure), few)
    return abs(sum(change.amount for change in members)) > least


def _floor(known: History, measure: Measure) -> float:
    return measure.floor * known.question.window / 3600


def _in_some_feature(
    known: History,
    measure: Measure,
    by_feature: Mapping[float, Mapping[str, float]],
    changes: Sequence[Change],
) -> list[Cause]:
    """Why the feature changed that changed most, if one did while the total did not."""
    everything = sum(change.before.total for change in changes)
    found: list[tuple[float, list[Change]]] = []
    for feature in {change.caller.feature for change in changes}:
        members = [change for change in changes if change.caller.feature == feature]
        amount = sum(change.amount for change in members)
        usual = Usual(tuple(features.get(feature, 0.0) for features in by_feature.values()))
        if abs(amount) > _TENTH * everything and _counts(known, measure, usual, members):
            found.append((amount, members))
    if not found:
        return []
    amount, members = max(found, key=lambda each: abs(each[0]))
    return causes(members, amount)


def _usual_time(
    known: History,
    measure: Measure,
    usual: Usual,
    by_feature: Mapping[float, Mapping[str, float]],
    before: Mapping[Caller, Consumption],
    after: Mapping[Caller, Consumption],
) -> Question | None:
    """The question with a time that was as usual, where the one asked for was not and differs from now."""
    if not usual.is_known or not _counts(known, measure, usual, split(before, after)):
        return None
    was = sum(each.total for each in before.values())
    few = chance((each.total, each.calls) for each in before.values())
    if abs(was - usual.middle) <= usual.least(usual.middle, _floor(known, measure), few):
        return None
    nearest = min(by_feature, key=lambda end: abs(sum(by_feature[end].values()) - usual.middle))
    return known.question.instead(round(known.question.at - nearest))


def _consumed(server: Server, question: Question, measure: Measure, end: float) -> dict[Caller, Consumption]:
    found = consumed(server, question, end)
    return {caller: measure.read(consumption) for caller, consumption in found.items()}


def _require_something(
    before: Mapping[Caller, Consumption], after: Mapping[Caller, Consumption], measure: Measure
) -> None:
    was, now = together(before.values()), together(after.values())
    if was.total or now.total:
        return
    if not was.calls and not now.calls:
        raise CannotTellError("there were no calls, neither in the window nor in the time to compare with.")
    if was.tokens or now.tokens:
        raise CannotTellError(
            f"there were {was.calls + now.calls:,.0f} calls, but {measure.metric.prometheus} has nothing of them: none "
            "has a price. ai_unpriced_requests_total says why; `llmwatch prices MODEL` tells what is known of a model."
        )
    raise CannotTellError(
        f"there were {was.calls + now.calls:,.0f} calls, but {measure.metric.prometheus} has nothing of them: what "
        "they consumed is unknown. ai_usage_missing_total says why."
    )


def _rate(known: History, consumptions: Mapping[Caller, Consumption]) -> float:
    return known.question.rate(together(consumptions.values()).total)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
