"""Attempts: the HTTP requests that a call is made of, one value each, and what each one adds to the totals."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from llmwatch import metrics
from llmwatch._rate_limits import Limit
from llmwatch.metrics import Metric

OK = "ok"
CANCELLED = "cancelled"

_SERIES = 10_000  # gauges whose order is kept

Addition = tuple[Mapping[str, str], tuple[tuple[Metric, int | float], ...]]


class Attempt(NamedTuple):
    """One HTTP request of a vendor's client, from its start to the last byte of its answer.

    Attributes:
        outcome: `ok`, `cancelled`, or a value of `ErrorKind`.
        duration: Seconds.
        wait: Seconds from the end of the failed attempt that this one repeats to its start; `None` when it is a first.
        retry_after: Seconds that the vendor asks to wait; `None` where it does not say.
        provider: Whose it is, from the outside: what was stated of the client, else by the host's name.
        account: The configured alias of the account.
        limits: What the answer says about rate limits.
        order: Counts up with the answers of the process, by the arrival of their headers.
    """

    outcome: str
    duration: float
    wait: float | None = None
    retry_after: float | None = None
    provider: str = ""
    account: str = ""
    limits: tuple[Limit, ...] = ()
    order: int = 0


class Reported(float):
    """A gauge's value with its place in the order of reports: one that comes late does not replace a newer one."""

    __slots__ = ("order",)
    order: int

    @classmethod
    def at(cls, order: int, value: float) -> Reported:
        """The value in its place."""
        reported = cls(value)
        reported.order = order
        return reported


class Gauges:
    """Puts the values of gauges in the order of their reports, whatever the order in which calls end.

    Args:
        put: Takes a value that is not older than the last one of its series.
    """

    def __init__(self, put: Callable[[Metric, tuple[str, ...], float], object]) -> None:
        self._put = put
        self._orders: dict[tuple[str, tuple[str, ...]], int] = {}

    def put(self, metric: Metric, key: tuple[str, ...], value: float) -> None:
        """Puts a value, unless a newer one is there."""
        if isinstance(value, Reported):
            series = (metric.name, key)
            if self._orders.get(series, -1) > value.order:
                return
            if len(self._orders) < _SERIES:
                self._orders[series] = value.order
            value = float(value)
        self._put(metric, key, value)

    def adopt(self, earlier: Gauges) -> None:
        """Takes over the orders of an earlier ledger's gauges."""
        self._orders |= earlier._orders


def of_call(attempts: Sequence[Attempt], labels: Mapping[str, str]) -> Iterator[Addition]:
    """What the attempts of one call add to the totals, by the labels of that call.

    A call may fall back to another vendor, or ask two. Its provider and model are those of the vendor that answered,
    so attempts that went elsewhere keep the provider that is known of them, and no model.
    """
    feature, provider, model = (labels.get(name, "") for name in ("feature", "provider", "model"))
    theirs = {attempt.provider for attempt in attempts}
    answering = provider if provider and provider in theirs else attempts[-1].provider
    for attempt in attempts:
        if attempt.provider in ("", answering):
            whose = {"feature": feature, "provider": provider or attempt.provider, "model": model}
        else:
            whose = {"feature": feature, "provider": attempt.provider, "model": ""}
        yield from _of_one(attempt, whose)


def _of_one(attempt: Attempt, whose: Mapping[str, str]) -> Iterator[Addition]:
    yield (
        {**whose, "outcome": attempt.outcome},
        (
            (metrics.ATTEMPTS, 1),
            (metrics.ATTEMPT_DURATION, attempt.duration),
            (metrics.RETRY_WAIT, attempt.wait or 0.0),
        ),
    )
    for resource, limit, remaining in attempt.limits:
        amounts = []
        if limit is not None:
            amounts.append((metrics.RATE_LIMIT_LIMIT, Reported.at(attempt.order, limit)))
        if remaining is not None:
            amounts.append((metrics.RATE_LIMIT_REMAINING, Reported.at(attempt.order, remaining)))
        yield {**whose, "account": attempt.account, "resource": resource}, tuple(amounts)
