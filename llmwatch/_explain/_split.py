"""The split of a change: what of it each caller and each factor contributed. All contributions add up to the change."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from llmwatch._explain._consumption import NOTHING, Caller, Consumption
from llmwatch._explain._profile import (
    FACTORS,
    VOLUME,
    Profile,
    completed,
    cost,
    mean,
    mixed,
    profile,
    resized,
)
from llmwatch._explain._shapley import shapley

MIX = "model mix"
ALL_FACTORS = (VOLUME, MIX, *FACTORS[1:])


@dataclass(frozen=True, slots=True)
class Change:
    """What became of the calls of one caller.

    Attributes:
        caller: Who.
        before: What they consumed before.
        after: What they consume now.
        factors: What each factor contributed to the change of the total.
    """

    caller: Caller
    before: Consumption
    after: Consumption
    factors: Mapping[str, float]

    @property
    def amount(self) -> float:
        """The change of the total."""
        return self.after.total - self.before.total


def split(before: Mapping[Caller, Consumption], after: Mapping[Caller, Consumption]) -> list[Change]:
    """The change of each caller, by factor.

    Calls that one model of a feature, agent and operation lost and another one got have moved from the one to the
    other; what that does to the cost is the model mix. All other change of the number of calls is volume. A model that
    calls moved to is taken to have had, before, prompts and answers as long as those of the calls that moved.
    """
    groups: defaultdict[tuple[str, ...], list[Caller]] = defaultdict(list)
    for caller in sorted({*before, *after}):
        if before.get(caller, NOTHING).total or after.get(caller, NOTHING).total:
            groups[caller[:3]].append(caller)
    return [change for callers in groups.values() for change in _of_group(callers, before, after)]


def _of_group(
    callers: list[Caller], before: Mapping[Caller, Consumption], after: Mapping[Caller, Consumption]
) -> Iterable[Change]:
    was = {caller: profile(before.get(caller, NOTHING)) for caller in callers}
    now = {caller: profile(after.get(caller, NOTHING)) for caller in callers}
    moves = moved({caller: now[caller].calls - was[caller].calls for caller in callers})
    lost = [(-calls, was[caller]) for caller, calls in moves.items() if calls < 0]
    prompt, answer = (mean((calls, getattr(of, size)) for calls, of in lost) for size in ("prompt", "answer"))
    for caller in callers:
        more = now[caller].calls - was[caller].calls
        share = moves[caller] / more if more else 0.0
        old = completed(was[caller], _as_moved(now[caller], share, prompt, answer))
        factors = dict(_contributions(old, completed(now[caller], was[caller])))
        factors[MIX] = share * factors[VOLUME]
        factors[VOLUME] -= factors[MIX]
        yield Change(caller, before.get(caller, NOTHING), after.get(caller, NOTHING), factors)


def moved(more: Mapping[Caller, float]) -> Mapping[Caller, float]:
    """How many calls came to each from the others, or went to them; these add up to 0."""
    got = sum(calls for calls in more.values() if calls > 0)
    gone = -sum(calls for calls in more.values() if calls < 0)
    exchanged = min(got, gone)
    if not exchanged:
        return dict.fromkeys(more, 0.0)
    return {caller: calls * exchanged / (got if calls > 0 else gone) for caller, calls in more.items()}


def _as_moved(now: Profile, share: float, prompt: float | None, answer: float | None) -> Profile:
    """How the calls were before, of which so large a share came from other models, whose calls had these sizes."""

    def size(own: float | None, others: float | None) -> float | None:
        return mean([(share, others), (1 - share, own)]) if share > 0 and own else own

    return resized(now, size(now.prompt, prompt), size(now.answer, answer))


def _contributions(was: Profile, now: Profile) -> Mapping[str, float]:
    def value(changed: frozenset[str]) -> float:
        chosen = mixed(was, now, changed)
        return cost(chosen.calls, chosen)

    return shapley(FACTORS, value)
