"""Slower or quicker: the split of a change in the mean duration of a provider's calls by what they spend it on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from llmwatch._explain._shapley import shapley
from llmwatch._explain._timing import Model, Timing

MIX, WAITING, FAILING, LENGTH, PACE, OUTSIDE = (
    "model mix",
    "waiting",
    "failed attempts",
    "answer size",
    "pace",
    "beside attempts",
)
FACTORS = (MIX, WAITING, FAILING, LENGTH, PACE, OUTSIDE)


@dataclass(frozen=True, slots=True)
class Spent:
    """What a mean call of a model spends its time on, in seconds.

    That is `share x (waiting + failing + length x pace + outside)`.

    Attributes:
        share: The share of the model in the calls of its provider.
        waiting: Between attempts.
        failing: In attempts that failed.
        length: Tokens of its answer; 1 where there are none.
        pace: Seconds of the attempt that was answered, for each of them.
        outside: Neither in attempts nor between them.
    """

    share: float
    waiting: float
    failing: float
    length: float
    pace: float
    outside: float


def slower(
    provider: str, before: Mapping[Model, Timing], after: Mapping[Model, Timing], *, with_attempts: bool
) -> Mapping[str, float]:
    """What each factor contributed to the change of the mean seconds of a provider's calls; they add up to it.

    Args:
        provider: Whose calls.
        before: The timing of each model before.
        after: The timing of each model now.
        with_attempts: Whether the attempts are those of the same calls; else all that a call does not wait is pace.
    """
    models = [model for model in {*before, *after} if model[0] == provider]
    was, now = ({model: _spent(model, models, of, with_attempts) for model in models} for of in (before, after))
    found = dict.fromkeys(FACTORS, 0.0)
    for model in models:
        old, new = was[model], now[model]
        for factor, amount in _contributions(old or _none_of(new), new or _none_of(old)).items():
            found[factor] += amount
    return found


def _spent(model: Model, models: list[Model], timings: Mapping[Model, Timing], with_attempts: bool) -> Spent | None:
    timing = timings.get(model)
    if timing is None:
        return None
    calls = timing.calls
    known = with_attempts and sum(timing.attempt_seconds.values()) > 0
    answered = timing.attempt_seconds.get("ok", 0.0) / calls if known else timing.mean - timing.wait
    failing = (sum(timing.attempt_seconds.values()) / calls - answered) if known else 0.0
    length = timing.output / calls if timing.output else 1.0
    return Spent(
        calls / sum(timings[each].calls for each in models if each in timings),
        timing.wait,
        failing,
        length,
        answered / length,
        timing.mean - timing.wait - failing - answered,
    )


def _none_of(other: Spent | None) -> Spent:
    """Calls that there were none of, as the others are."""
    assert other is not None
    return Spent(0.0, other.waiting, other.failing, other.length, other.pace, other.outside)


def _contributions(was: Spent, now: Spent) -> Mapping[str, float]:
    def value(changed: frozenset[str]) -> float:
        share, waiting, failing, length, pace, outside = (
            getattr(now if factor in changed else was, name)
            for factor, name in zip(FACTORS, Spent.__slots__, strict=True)
        )
        return float(share * (waiting + failing + length * pace + outside))

    return shapley(FACTORS, value)
