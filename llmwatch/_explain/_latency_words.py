"""Words about latency: what the calls of a provider spend their time on, as a person on call would say it."""

from __future__ import annotations

from collections.abc import Sequence

from llmwatch._explain._compared import Provider
from llmwatch._explain._numbers import count, joined, percent, seconds
from llmwatch._explain._onset import Onset
from llmwatch._explain._question import Question
from llmwatch._explain._slower import FAILING, LENGTH, MIX, PACE, WAITING
from llmwatch._explain._timing import Timing
from llmwatch._explain._words import by_how_much, since

TAIL = "tail"
"""What is said to be the cause when the mean did not change as the 95th percentile did."""
_HURTS = 0.1
"""The share of its time that a call must wait, to speak of it although nothing changed."""
_REFUSED, _NEAR = 0.01, 0.05


def change(question: Question, provider: Provider, onset: Onset | None) -> str:
    """How much slower or quicker, and since when."""
    was, now = provider.before.p95 or 0.0, provider.after.p95 or 0.0
    moved = by_how_much(was, now)
    return (
        f"P95 of the calls of {_name(provider)} {moved} against {question.base}{since(onset, question.at)}: it was "
        f"{seconds(was)} and is {seconds(now)}."
    )


def cause(provider: Provider) -> str:
    """The factor that did most of a change; waiting and failing because of the limit are `rate limit`."""
    sign = 1 if provider.change > 0 else -1
    factor = max(provider.factors, key=lambda factor: sign * provider.factors[factor])
    if sign * provider.factors[factor] <= 0:
        return TAIL
    if factor in {WAITING, FAILING} and _main_failure(provider) == "rate_limit":
        return "rate limit"
    return factor


def reason(provider: Provider) -> str:
    """What did it."""
    factor, was, now = cause(provider), provider.before, provider.after
    if factor == "rate limit":
        return f"{_limit(provider)} {_one_attempt(was, now)}"
    if factor in {WAITING, FAILING}:
        failure = _main_failure(provider).replace("_", " ")
        return f"Failed attempts do it: {_failing(provider, failure)}. {_one_attempt(was, now)}"
    return _REASONS.get(factor, _beside)(provider)


def _by_length(provider: Provider) -> str:
    was, now = provider.before, provider.after
    lengths = f"they went from {count(_length(was))} to {count(_length(now))} tokens"
    return f"The length of its answers does it: {lengths}; a token takes {_pace(now)}, and {_pace(was)} before."


def _by_few(provider: Provider) -> str:
    mean = f"{seconds(provider.before.mean)} before, {seconds(provider.after.mean)} now"
    return f"It is a few calls: the mean of all ({mean}) did not change likewise."


def _beside(_: Provider) -> str:
    return (
        "It is not the provider: what changed is what a call spends neither in attempts nor between them, such as "
        "reading a stream slowly, or waiting for a free connection."
    )


def levels(question: Question, providers: Sequence[Provider]) -> str:
    """How slow calls are, of each provider."""
    each = [
        f"{_name(provider)} {seconds(provider.after.p95)} ({seconds(provider.before.p95)})"
        for provider in providers
        if provider.after.p95 is not None and provider.before.p95 is not None
    ]
    return f"P95 (in brackets that of {question.base}) of {joined(each)}" if each else "there are too few calls to tell"


def rate_limits(providers: Sequence[Provider]) -> str:
    """Whether limits hurt, in one sentence; it is an answer even where nothing changed."""
    hurt = [
        _waiting(provider)
        for provider in providers
        if provider.after.wait > _HURTS * provider.after.mean and (provider.after.refused() or 0) > _REFUSED
    ]
    if hurt:
        return f"Rate limits: {joined(hurt)}."
    known = {_name(provider): share for provider in providers if (share := provider.after.refused()) is not None}
    if not known:
        return "Whether rate limits hurt cannot be told: no attempts are recorded."
    refusing = [f"{name} {percent(share)}" for name, share in known.items() if share > _NEAR]
    if refusing:
        return (
            f"Rate limits hurt little so far: calls hardly wait, but of the attempts are refused: {joined(refusing)}."
        )
    return (
        f"Rate limits do not hurt: of no provider are more than {percent(max(known.values()))} of the attempts refused."
    )


def _waiting(provider: Provider) -> str:
    now = provider.after
    return (
        f"{percent(min(1.0, now.wait / now.mean))} of the time of the calls of {_name(provider)} is waiting "
        f"({seconds(now.wait)} a call; {percent(now.refused() or 0)} of its attempts are refused)"
    )


def _limit(provider: Provider) -> str:
    was, now = provider.before, provider.after
    used = ""
    if provider.limit and provider.limit[0] > 0.5:
        used = f"; its limit of {provider.limit[1].replace('_', ' ')} is used to {percent(min(1.0, provider.limit[0]))}"
    return (
        f"Its rate limit does it: {percent(now.refused() or 0)} of the attempts are refused "
        f"({percent(was.refused() or 0)} before), and a call waits {seconds(now.wait)} for the next one "
        f"({seconds(was.wait)} before){used}."
    )


def _failing(provider: Provider, failure: str) -> str:
    was, now = provider.before, provider.after
    key = failure.replace(" ", "_")
    shares = f"{percent(now.refused(key) or 0)} end with {failure} ({percent(was.refused(key) or 0)} before)"
    return f"{shares}, and a call waits {seconds(now.wait)} between attempts ({seconds(was.wait)} before)"


def _one_attempt(was: Timing, now: Timing) -> str:
    if was.attempt_p95 is None or now.attempt_p95 is None:
        return ""
    if abs(now.attempt_p95 - was.attempt_p95) < 0.1 * was.attempt_p95:
        return f"One attempt takes as long as before (P95 {seconds(now.attempt_p95)})."
    return f"P95 of one attempt went from {seconds(was.attempt_p95)} to {seconds(now.attempt_p95)}."


def _by_pace(provider: Provider) -> str:
    was, now = provider.before, provider.after
    slower = provider.change > 0
    attempts = _one_attempt(was, now)
    lengths = ""
    if was.output and now.output:
        lengths = (
            f", with answers of {count(_length(now))} tokens ({count(_length(was))} before): a token takes "
            f"{_pace(now)}, and {_pace(was)} before"
        )
    return f"The provider itself is {'slower' if slower else 'quicker'}{lengths}. {attempts}".rstrip()


def _by_mix(provider: Provider) -> str:
    model, (was, now) = max(provider.shares.items(), key=lambda item: item[1][1] - item[1][0])
    return (
        f"It is which models are called: {percent(now)} of its calls go to {model or 'an unnamed model'}, and "
        f"{percent(was)} did before. No model became {'slower' if provider.change > 0 else 'quicker'}."
    )


def _main_failure(provider: Provider) -> str:
    """The outcome whose share in the attempts changed most."""
    was, now = provider.before.failures, provider.after.failures
    outcomes = {*was, *now}
    return max(outcomes, key=lambda outcome: abs(now.get(outcome, 0.0) - was.get(outcome, 0.0)), default="error")


def _length(timing: Timing) -> float:
    return timing.output / timing.calls if timing.calls else 0.0


def _pace(timing: Timing) -> str:
    spent = timing.attempt_seconds.get("ok") or timing.seconds - timing.waited
    return seconds(spent / timing.output) if timing.output else "an unknown time"


def _name(provider: Provider) -> str:
    return provider.name or "an unnamed provider"


_REASONS = {LENGTH: _by_length, PACE: _by_pace, MIX: _by_mix, TAIL: _by_few}
