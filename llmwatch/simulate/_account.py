"""The state of one simulated vendor: its present behaviour, the script of what comes next, and its rate limits."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from random import Random

from llmwatch.simulate._behaviour import Behaviour, Outcome, Plan, check_outcome, plan
from llmwatch.simulate._dialect import Dialect, Reply
from llmwatch.simulate._limits import LimitState, RateLimits, Shortage


@dataclass(frozen=True, slots=True)
class Turn:
    """What a vendor's n-th request gets: the behaviour of the moment, its plan, and a source of chance of its own."""

    behaviour: Behaviour
    plan: Plan
    random: Random
    scripted: bool


class Account:
    """One vendor. Thread-safe: requests come on the server's thread, changes from anywhere."""

    def __init__(self, dialect: Dialect, seed: int, behaviour: Behaviour) -> None:
        self.dialect = dialect
        self._seed = seed
        self._behaviour = behaviour
        self._script: deque[Outcome] = deque()
        self._count = 0
        self._limits = RateLimits()
        self._lock = threading.Lock()
        self.set(behaviour)

    def set(self, behaviour: Behaviour) -> None:
        others = {"requests": behaviour.others_requests_per_minute}
        with self._lock:
            self._behaviour = behaviour
            self._limits.configure(self.dialect.limits(behaviour), others)

    def script(self, outcomes: Iterable[Outcome]) -> None:
        wanted = tuple(outcomes)
        for outcome in wanted:
            check_outcome(outcome)
        with self._lock:
            self._script.extend(wanted)

    def turn(self) -> Turn:
        with self._lock:
            random = Random(f"{self._seed}:{self.dialect.provider}:{self._count}")
            self._count += 1
            scripted = self._script.popleft() if self._script else None
            behaviour = self._behaviour
        return Turn(behaviour, plan(behaviour, random, scripted), random, scripted is not None)

    def take(self, reply: Reply, *, force: bool) -> Shortage | None:
        with self._lock:
            return self._limits.take(self.dialect.needs(reply), force=force)

    def states(self) -> dict[str, LimitState]:
        with self._lock:
            return self._limits.states()
