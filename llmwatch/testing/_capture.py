"""Catches what a piece of code records, with a clock that is moved by hand."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from llmwatch import _runtime
from llmwatch._call import CallRecord
from llmwatch._recorder import Recorder
from llmwatch._runtime import Clock, Runtime
from llmwatch._shield import Shield


class ManualClock:
    """Seconds that pass only when told to."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        """Lets time pass."""
        self.now += seconds


class Capture(Recorder):
    """A recorder that also keeps every record.

    Attributes:
        calls: One record for each call that has ended, in the order of their ends.
    """

    def __init__(self, shield: Shield) -> None:
        super().__init__(shield)
        self.calls: list[CallRecord] = []

    def closed(self, record: CallRecord) -> None:
        """Keeps it, and records it as usual."""
        record = record.understood()
        self.calls.append(record)
        super().closed(record)

    @property
    def active(self) -> int:
        """How many calls are open."""
        from llmwatch.metrics import ACTIVE_REQUESTS

        self.settle()
        return int(sum(value for _, value in self.totals(ACTIVE_REQUESTS)))


@contextmanager
def capture(clock: Clock | None = None, *, strict: bool = True) -> Iterator[Capture]:
    """Catches what is recorded inside the block, apart from whatever is configured.

    Args:
        clock: Seconds, for instance a `ManualClock`.
        strict: Raise failures of llmwatch's own instead of counting them.
    """
    shield = Shield(strict=strict)
    recorder = Capture(shield)
    replaced = _runtime.install(Runtime(shield, recorder, clock or time.perf_counter, configured=True))
    try:
        yield recorder
    finally:
        _runtime.install(replaced)
