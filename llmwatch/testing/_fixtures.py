"""What the pytest plugin's fixtures do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import wraps

from llmwatch import _runtime
from llmwatch._call import CallRecord
from llmwatch._recorder import Recorder
from llmwatch._runtime import Runtime
from llmwatch._shield import Shield
from llmwatch.pricing import PriceBook
from llmwatch.testing._calls import Calls, pricing
from llmwatch.testing._capture import ManualClock


@contextmanager
def calls() -> Iterator[Calls]:
    """Keeps every record that any recorder is given inside the block; the first of them shows them nowhere."""
    records: list[CallRecord] = []
    shield = Shield()
    apart = Runtime(shield, Recorder(shield), _runtime.installed().clock, configured=True)
    closed = Recorder.closed

    @wraps(closed)
    def kept(recorder: Recorder, record: CallRecord) -> None:
        records.append(record)
        closed(recorder, record)

    table = PriceBook()
    replaced = _runtime.install(apart)
    Recorder.closed = kept  # type: ignore[assignment,method-assign]
    try:
        yield Calls(
            lambda: records, pricing(lambda: _runtime.installed().recorder.book or replaced.recorder.book or table)
        )
    finally:
        Recorder.closed = closed  # type: ignore[method-assign]
        _runtime.install(replaced)


@contextmanager
def clock() -> Iterator[ManualClock]:
    """Times all calls that begin inside the block by a clock that is moved by hand."""
    stopped = ManualClock()
    before = _runtime.installed().clock
    _runtime.install(replace(_runtime.installed(), clock=stopped))
    try:
        yield stopped
    finally:
        _runtime.install(replace(_runtime.installed(), clock=before))
