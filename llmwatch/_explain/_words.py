"""Words: what happened, by factor, as a person on call would say it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from llmwatch._explain._causes import Cause
from llmwatch._explain._consumption import Consumption, Part
from llmwatch._explain._measure import Measure
from llmwatch._explain._numbers import clock, count, dollars, joined, percent, signed
from llmwatch._explain._onset import Onset
from llmwatch._explain._profile import ANSWERS, CACHING, FEES, PRICES, PROMPTS, VOLUME
from llmwatch._explain._question import Question
from llmwatch._explain._split import MIX

_CALLED = {
    VOLUME: "calls",
    MIX: "models",
    PROMPTS: "prompts",
    ANSWERS: "answers",
    CACHING: "caching",
    PRICES: "prices",
}
_SLIGHT = 0.1
"""The share of a change below which a factor is said not to have changed."""


def change(question: Question, measure: Measure, before: float, after: float, onset: Onset | None, of: str = "") -> str:
    """How much, and since when: `Cost rose 3.1x (+$42.10/h) against the same hour yesterday, since 07:55.`."""
    name = f"{measure.name} of {of}" if of else measure.name
    unit = question.per[1]
    was, now = question.rate(before), question.rate(after)
    difference = f"{signed(measure.written(now - was))}{unit}"
    when = since(onset, question.at)
    if not was:
        return f"{name} is {measure.written(now)}{unit}; there was none {_at(question.base)}{when}."
    if not now:
        return f"{name} fell to nothing: it was {measure.written(was)}{unit} {_at(question.base)}{when}."
    moved = by_how_much(was, now)
    return (
        f"{name} {moved} ({difference}) against {question.base}{when}: it was {measure.written(was)}{unit} "
        f"and is {measure.written(now)}{unit}."
    )


def first(cause: Cause, question: Question, measure: Measure, *, rose: bool) -> str:
    """The first cause, with what did not change: `94 % of it is feature `summarise` (...): its prompts grew ...`."""
    calm = _unchanged(cause, measure)
    calmly = f"; {joined(calm)} did not change" if calm else ""
    told = f"{who(cause.who)}: {what(cause, question)}{calmly}."
    if cause.share > 1.05:
        return f"More than the whole {'rise' if rose else 'fall'} is {told}"
    return f"{percent(min(1.0, cause.share))} of it is {told}"


def further(cause: Cause, question: Question) -> str:
    """Another cause."""
    return f"Another {percent(cause.share)} is {who(cause.who)}: {what(cause, question)}."


def who(labels: Mapping[str, str]) -> str:
    """`feature `summarise` (agent writer, claude-sonnet-4-6)`; what is not said is of no importance."""
    agent = f"agent {labels['agent']}" if labels.get("agent") else ""
    operation = labels.get("operation", "")
    details = [agent, labels.get("model", "") or labels.get("provider", ""), "" if operation == "chat" else operation]
    if "feature" not in labels:
        named = [detail for detail in details if detail]
        return " ".join(named) if named else "all features together"
    feature = f"feature `{labels['feature']}`" if labels["feature"] else "calls without a feature"
    inside = ", ".join(detail for detail in details if detail)
    return f"{feature} ({inside})" if inside else feature


def what(cause: Cause, question: Question) -> str:
    """What the factor did: `its prompts grew from 1,900 to 6,100 tokens`."""
    told = _WHAT[cause.factor](cause, question)
    return told if cause.who else told.replace("its ", "their ").replace("it made", "they made")


def _unchanged(cause: Cause, measure: Measure) -> list[str]:
    """What those who caused a change did as before."""
    whole = max(abs(cause.whole), abs(cause.amount))
    others = [factor for factor in measure.factors if factor in _CALLED and factor != cause.factor]
    return [_CALLED[factor] for factor in others if abs(cause.of(factor)) < _SLIGHT * whole]


def by_how_much(was: float, now: float) -> str:
    """`rose 3.1×`, or `fell by 12%`."""
    return f"rose {now / was:.1f}×" if now >= 1.5 * was else f"{_rose(now > was)} by {percent(abs(now / was - 1))}"


def since(onset: Onset | None, near: float) -> str:
    """`, since 07:55`, or from when until when; nothing where that is not known."""
    if onset is None:
        return ""
    ended = f" until {clock(onset.ended, near)}" if onset.ended is not None else ""
    return f", {'from' if ended else 'since'} {clock(onset.began, near)}{ended}"


def _at(base: str) -> str:
    return f"in {base}" if base.endswith(" before") and not base.startswith("the same") else f"at {base}"


def _rose(rose: bool) -> str:
    return "rose" if rose else "fell"


def _volume(cause: Cause, question: Question) -> str:
    was, now = question.rate(cause.before.calls), question.rate(cause.after.calls)
    if not was:
        return f"it made no calls before, and {count(now)} {question.per[2]} now"
    if not now:
        return f"it made {count(was)} calls {question.per[2]} before, and none now"
    return f"its calls {_rose(now > was)} from {count(was)} to {count(now)} {question.per[2]}"


def _mix(cause: Cause, question: Question) -> str:
    more = sorted((change.after.calls - change.before.calls, change.caller) for change in cause.changes)
    (_, lost), (got, gained) = more[0], more[-1]
    same = lost.model == gained.model
    names = [(each.provider if same else each.model) or "an unnamed model" for each in (lost, gained)]
    return f"{count(question.rate(got))} calls {question.per[2]} moved from {names[0]} to {names[1]}"


def _sizes(name: str, direction: str) -> Callable[[Cause, Question], str]:
    def words(cause: Cause, _: Question) -> str:
        was, now = _size(cause, direction)
        return f"its {name} {'grew' if now > was else 'shrank'} from {count(was)} to {count(now)} tokens"

    return words


def _size(cause: Cause, direction: str) -> tuple[float, float]:
    """Tokens per call; of a model that there was none of before, those of the calls that came to it."""
    was, now = cause.before, cause.after
    return was.of(direction) / (was.calls or 1.0), now.of(direction) / (now.calls or 1.0)


def _caching(cause: Cause, _: Question) -> str:
    kinds = ("cache_read", "cache_write", "audio", "image")
    shares = {kind: (_share(cause.before, kind), _share(cause.after, kind)) for kind in kinds}
    kind = max(kinds, key=lambda kind: (abs(shares[kind][1] - shares[kind][0]), kind == "cache_read"))
    was, now = shares[kind]
    told = {
        "cache_read": "the share of its input that came from the cache",
        "cache_write": "the share of its input that was written to the cache",
    }.get(kind, f"the share of {kind} in its input")
    return f"{told} {_rose(now > was)} from {percent(was)} to {percent(now)}"


def _share(consumption: Consumption, kind: str) -> float:
    return consumption.tokens.get(("input", kind), 0.0) / (consumption.of("input") or 1.0)


def _prices(cause: Cause, _: Question) -> str:
    prices = {part: (_price(cause.before, part), _price(cause.after, part)) for part in cause.after.tokens}
    known = {part: pair for part, pair in prices.items() if None not in pair}
    if not any(was for was, _ in known.values() if was):
        return "what it consumes has a price now, and had none before"
    part = max(known, key=lambda part: cause.after.tokens[part] * abs((known[part][1] or 0) - (known[part][0] or 0)))
    was, now = (1e6 * (price or 0.0) for price in known[part])
    kind = "" if part[1] == "text" else f" ({part[1].replace('_', ' ')})"
    return f"the price of a million tokens of {part[0]}{kind} {_rose(now > was)} from {dollars(was)} to {dollars(now)}"


def _price(consumption: Consumption, part: Part) -> float | None:
    tokens = consumption.tokens.get(part)
    return consumption.dollars.get(part, 0.0) / tokens if tokens else None


def _fees(cause: Cause, _: Question) -> str:
    was, now = (_fee(each) for each in (cause.before, cause.after))
    return f"what a call costs beside its tokens {_rose(now > was)} from {dollars(was)} to {dollars(now)}"


def _fee(consumption: Consumption) -> float:
    beside = sum(amount for part, amount in consumption.dollars.items() if part not in consumption.tokens)
    return beside / (consumption.calls or 1.0)


_WHAT: Mapping[str, Callable[[Cause, Question], str]] = {
    VOLUME: _volume,
    MIX: _mix,
    PROMPTS: _sizes("prompts", "input"),
    ANSWERS: _sizes("answers", "output"),
    CACHING: _caching,
    PRICES: _prices,
    FEES: _fees,
}
