"""Answers about cost and tokens: what changed, and who consumes the most."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from llmwatch._explain import _words as words
from llmwatch._explain._answer import Answer, Finding, Table, top
from llmwatch._explain._causes import Cause
from llmwatch._explain._measure import COST, TOKENS, Measure
from llmwatch._explain._numbers import count, joined, moment, percent, signed
from llmwatch._explain._question import Question, times
from llmwatch._explain._runs import runs
from llmwatch._explain._server import Server
from llmwatch._explain._spending import Spending, spending
from llmwatch._explain._split import ALL_FACTORS, Change

_MOST_ROWS = 8
_NEGLIGIBLE, _LARGE = 0.003, 0.3


def cost(server: Server, question: Question) -> Answer:
    """Why the cost changed.

    Raises:
        CannotTellError: When there is nothing to compare.
        UnreachableError: When the server does not answer.
    """
    found = spending(server, question, COST)
    return _answer(server, found, COST, ())


def tokens(server: Server, question: Question) -> Answer:
    """Who consumes the tokens, and what changed.

    Raises:
        CannotTellError: When there is nothing to compare.
        UnreachableError: When the server does not answer.
    """
    found = spending(server, question, TOKENS)
    return _answer(server, found, TOKENS, tuple(_consumers(found)))


def _answer(server: Server, found: Spending, measure: Measure, opening: tuple[str, ...]) -> Answer:
    sentences = [*opening, *_sentences(found, measure)]
    if found.causes and (told := runs(server, found.question, found.causes[0])):
        sentences.append(told)
    sentences += _what_is_usual(found, measure)
    finding: Finding = "usual" if not found.stands_out else "rose" if found.change > 0 else "fell"
    return Answer(
        measure.subject,
        finding,
        times(found.question),
        tuple(sentences),
        (_movers(found, measure), *([_factors(found, measure)] if found.stands_out else [])),
        found.notes,
        _data(found, measure),
    )


def _sentences(found: Spending, measure: Measure) -> Iterator[str]:
    question, was, now = found.question, found.before.total, found.after.total
    if found.stands_out:
        yield words.change(question, measure, was, now, found.onset)
        yield from _reasons(found.causes, question, measure, rose=found.change > 0)
    elif not found.causes:
        yield f"Nothing stands out: {_levels(found, measure)}."
    else:
        members = found.causes[0].changes
        feature = members[0].caller.feature
        mine = [change for change in found.changes if change.caller.feature == feature]
        before, after = sum(each.before.total for each in mine), sum(each.after.total for each in mine)
        yield f"In total nothing stands out: {_levels(found, measure)}. But one feature does."
        yield words.change(question, measure, before, after, found.onset, f"feature `{feature}`")
        yield from _reasons(found.causes, question, measure, rose=after > before)


def _reasons(causes: Sequence[Cause], question: Question, measure: Measure, *, rose: bool) -> Iterator[str]:
    if causes:
        yield words.first(causes[0], question, measure, rose=rose)
        yield from (words.further(cause, question) for cause in causes[1:])


def _levels(found: Spending, measure: Measure) -> str:
    question, was, now = found.question, found.before.total, found.after.total
    unit = question.per[1]
    by = f" ({signed(percent(now / was - 1))})" if was else ""
    return (
        f"{measure.name[:1].lower()}{measure.name[1:]} is {measure.written(question.rate(now))}{unit} and was "
        f"{measure.written(question.rate(was))}{unit} {_in(question.base)}{by}{_by_chance(found)}"
    )


def _by_chance(found: Spending) -> str:
    """Why a change that looks large does not stand out."""
    large = abs(found.change) > _LARGE * found.before.total
    return ", which may be chance, for the calls are few, or no more than usual" if large else ""


def _in(base: str) -> str:
    return f"at {base}" if base.startswith("the same") else f"in {base}"


def _what_is_usual(found: Spending, measure: Measure) -> Iterator[str]:
    question = found.question
    if found.usual.is_known and question.against % 86400 == 0:
        middle, unit = measure.written(question.rate(found.usual.middle)), question.per[1]
        days = len(found.usual.values)
        yield f"On {days} other days it was {middle}{unit} {question.hour_of_day} (the median of them)."


def _consumers(found: Spending) -> Iterator[str]:
    """Who consumes the most: agents, if calls have some, and features."""
    total = found.after.total
    for label, without in (("agent", "no agent"), ("feature", "no feature")):
        shares = _by(found.changes, label)
        if not total or set(shares) == {""}:
            continue
        ranked = sorted(((amount, name) for name, amount in shares.items() if amount), reverse=True)
        best = next(((amount, name) for amount, name in ranked if name), None)
        if best is None:
            continue
        others = [f"{name or without} {percent(amount / total)}" for amount, name in ranked if name != best[1]][:3]
        yield (
            f"The {label} that consumes the most is {best[1]}: {count(best[0])} of {count(total)} tokens "
            f"({percent(best[0] / total)}); {joined(others) if others else 'there is no other'}."
        )


def _by(changes: Sequence[Change], label: str) -> Mapping[str, float]:
    found: defaultdict[str, float] = defaultdict(float)
    for change in changes:
        found[getattr(change.caller, label)] += change.after.total
    return found


def _movers(found: Spending, measure: Measure) -> Table:
    rate, unit = found.question.rate, found.question.per[1]
    key = (lambda change: -abs(change.amount)) if measure is COST else (lambda change: -change.after.total)
    rows = [
        (
            change.caller.feature or "(none)",
            change.caller.agent,
            change.caller.model,
            *(measure.cell(rate(each.total)) for each in (change.before, change.after)),
            signed(measure.cell(rate(change.amount))),
            _main_factor(change) if found.causes else "",
        )
        for change in sorted(found.changes, key=key)
    ]
    amount = sum(change.amount for change in sorted(found.changes, key=key)[_MOST_ROWS:])
    rest = (f"({len(rows) - _MOST_ROWS} others)", "", "", "", "", signed(measure.cell(rate(amount))), "")
    columns = ("feature", "agent", "model", f"before{unit}", f"now{unit}", "change", "most by")
    return Table(columns, top(rows, _MOST_ROWS, rest), words=(0, 1, 2, 6))


def _main_factor(change: Change) -> str:
    factor = max(change.factors, key=lambda factor: abs(change.factors[factor]))
    least = _NEGLIGIBLE * max(change.before.total, change.after.total)
    return factor if abs(change.factors[factor]) > least else ""


def _factors(found: Spending, measure: Measure) -> Table:
    """What each factor contributed; the rows add up to the change."""
    rate, unit = found.question.rate, found.question.per[1]
    sums = {factor: sum(change.factors[factor] for change in found.changes) for factor in ALL_FACTORS}
    least = _NEGLIGIBLE * max(map(abs, sums.values()))
    rows = [
        (factor, signed(measure.cell(rate(amount))), percent(amount / found.change))
        if abs(amount) >= least
        else (factor, "0", "")
        for factor, amount in sums.items()
        if factor in measure.factors
    ]
    return Table(("by", f"change{unit}", "of it"), (*rows, ("all", signed(measure.cell(rate(found.change))), "")))


def _data(found: Spending, measure: Measure) -> dict[str, object]:
    question = found.question
    return {
        "window": _period(question.at - question.window, question.at),
        "against": _period(question.before - question.window, question.before),
        "unit": "USD" if measure is COST else "token",
        "before": found.before.total,
        "now": found.after.total,
        "usual": found.usual.middle if found.usual.is_known else None,
        "since": moment(found.onset.began) if found.onset else None,
        "until": moment(found.onset.ended) if found.onset and found.onset.ended else None,
        "causes": [
            {"factor": cause.factor, **cause.who, "change": cause.amount, "share": cause.share}
            for cause in found.causes
        ],
        "changes": [
            {
                **change.caller._asdict(),
                "before": change.before.total,
                "now": change.after.total,
                "factors": dict(change.factors),
            }
            for change in sorted(found.changes, key=lambda change: -abs(change.amount))
        ],
    }


def _period(began: float, ended: float) -> dict[str, str]:
    return {"from": moment(began), "to": moment(ended)}
