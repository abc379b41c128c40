"""Rate limits as the vendors run them: a bucket for each resource, refilled continuously, a minute's worth deep."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LimitState:
    """One resource as the response headers tell it: the limit, what remains, seconds until it is full again."""

    limit: int
    remaining: int
    reset: float


@dataclass(frozen=True, slots=True)
class Shortage:
    """Why a request is refused: the resource that is exhausted and the seconds until it suffices."""

    resource: str
    wait: float


@dataclass(slots=True)
class _Bucket:
    per_minute: float
    level: float
    others: float = 0.0  # per minute, on the same account

    def need(self, amount: float) -> float:
        # What exceeds a whole minute's worth could never be served, so it is let through once the bucket is full.
        return min(amount, self.per_minute)

    def wait(self, amount: float) -> float:
        return max(0.0, self.need(amount) - self.level) / self.refill_rate

    @property
    def refill_rate(self) -> float:
        """What comes back in a second, and is not taken by others."""
        return (self.per_minute - self.others) / 60.0

    def refill(self, seconds: float) -> None:
        self.level = min(self.per_minute, self.level + seconds * self.refill_rate)

    def state(self) -> LimitState:
        return LimitState(
            limit=round(self.per_minute),
            remaining=max(0, int(self.level)),
            reset=(self.per_minute - self.level) / self.refill_rate,
        )


class RateLimits:
    """The buckets of one vendor account. Not thread-safe: the caller locks."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: dict[str, _Bucket] = {}
        self._at = clock()

    def configure(self, limits: Mapping[str, float | None], others: Mapping[str, float] | None = None) -> None:
        """Set the limits per minute; what remains of a known resource is kept as far as it fits.

        `others` is what somebody else takes of a resource per minute, who has taken what remained of it, too.
        """
        self._refill()
        others = others or {}
        kept = {name: bucket.level for name, bucket in self._buckets.items()}
        self._buckets = {
            name: _Bucket(limit, 0.0 if others.get(name) else min(limit, kept.get(name, limit)), others.get(name, 0.0))
            for name, limit in limits.items()
            if limit is not None
        }

    def take(self, needs: Mapping[str, float], *, force: bool = False) -> Shortage | None:
        """Take the needs, or with a shortage nothing; `force` takes what there is without a refusal."""
        self._refill()
        wanted = [(name, bucket, needs.get(name, 0)) for name, bucket in self._buckets.items()]
        short = max((Shortage(name, bucket.wait(amount)) for name, bucket, amount in wanted), key=_wait, default=None)
        if short is not None and short.wait > 0 and not force:
            return short
        for _, bucket, amount in wanted:
            bucket.level = max(0.0, bucket.level - amount)
        return None

    def states(self) -> dict[str, LimitState]:
        self._refill()
        return {name: bucket.state() for name, bucket in self._buckets.items()}

    def _refill(self) -> None:
        now = self._clock()
        for bucket in self._buckets.values():
            bucket.refill(now - self._at)
        self._at = now


def _wait(shortage: Shortage) -> float:
    return shortage.wait
