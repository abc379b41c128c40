"""Providers compared: how long the calls of each took then and now, and whether that is more than usual."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from llmwatch._explain._history import CannotTellError, History
from llmwatch._explain._server import Server
from llmwatch._explain._slower import slower
from llmwatch._explain._timing import Model, Timing, by_provider, limits, p95s, timed
from llmwatch._explain._usual import Usual

_FEW = 20
"""Calls, below which there is no 95th percentile to speak of."""
_FLOOR = 0.1
_PER_CALL = 1.3
"""How far the 95th percentile of log-normal durations goes astray, as a share of it, by the root of the calls."""


@dataclass(frozen=True, slots=True)
class Provider:
    """The calls of one provider, then and now.

    Attributes:
        name: Of the provider.
        before: Their timing before.
        after: Their timing now.
        stands_out: Whether the 95th percentile changed more than it usually does.
        factors: What contributed to the change of the mean, in seconds.
        limit: The share of its limit that was used, and of which.
        shares: The share of each model in its calls, then and now.
    """

    name: str
    before: Timing
    after: Timing
    stands_out: bool
    factors: Mapping[str, float]
    limit: tuple[float, str] | None
    shares: Mapping[str, tuple[float, float]]

    @property
    def change(self) -> float:
        """How many seconds the 95th percentile is longer."""
        return (self.after.p95 or 0.0) - (self.before.p95 or 0.0)


def compared(server: Server, known: History) -> list[Provider]:
    """All providers that were called, those first whose calls changed most.

    Raises:
        CannotTellError: When nothing was called.
        UnreachableError: When the server does not answer.
    """
    question = known.question
    before, after = (timed(server, question, end) for end in (question.before, question.at))
    if not after:
        raise CannotTellError(
            f"there were no calls in the window; there were {sum(each.calls for each in before.values()):,.0f} at the "
            "time to compare with."
            if before
            else "there were no calls, neither in the window nor in the time to compare with."
        )
    usual: defaultdict[str, list[float]] = defaultdict(list)
    for end in known.earlier:
        for name, value in p95s(server, question, end).items():
            usual[name].append(value)
    used = limits(server, question)
    found = [
        _provider(known, name, before, after, Usual(tuple(usual[name])), used.get(name))
        for name in {model[0] for model in after}
    ]
    return sorted(found, key=lambda each: (not each.stands_out, -abs(each.change) * each.after.calls, each.name))


def _provider(
    known: History,
    name: str,
    before: Mapping[Model, Timing],
    after: Mapping[Model, Timing],
    usual: Usual,
    limit: tuple[float, str] | None,
) -> Provider:
    was, now = by_provider(before).get(name, Timing()), by_provider(after)[name]
    stands_out = False
    if was.p95 is not None and now.p95 is not None and min(was.calls, now.calls) >= _FEW:
        chance = _PER_CALL * (was.p95**2 / was.calls + now.p95**2 / now.calls) ** 0.5
        stands_out = abs(now.p95 - was.p95) > usual.least(was.p95, _FLOOR, chance)
    factors = slower(name, before, after, with_attempts=not known.question.only.get("feature"))
    shares = {
        model[1]: (_part(before, model, was.calls), _part(after, model, now.calls))
        for model in {*before, *after}
        if model[0] == name
    }
    return Provider(name, was, now, stands_out, factors, limit, shares)


def _part(timings: Mapping[Model, Timing], model: Model, calls: float) -> float:
    return timings[model].calls / calls if model in timings else 0.0
