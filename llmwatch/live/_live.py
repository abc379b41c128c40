"""What is remembered of one page, and the document that it makes."""

from __future__ import annotations

import json
import threading
import time
import weakref
from collections.abc import Callable, Iterable
from typing import Any

from llmwatch.live._document import Past, document
from llmwatch.live._history import History
from llmwatch.live._points import Point
from llmwatch.live._span import HOUR
from llmwatch.live._tally import ALL, FIRST_CHUNK, Look, Tally

_EVERY = 3.0  # seconds after which a viewer asks again
_SHARE = 0.008  # of a core that this may take; where it would be more, viewers ask less often
_FRESH = 2 / 3  # of that time, in which all who ask are given the same
_IDLE = 30.0  # seconds between two samples while nobody looks
_YOUNG, _IDLE_YOUNG = 300.0, 5.0  # so that whoever comes in the first minutes sees more than a dot
_LOOKS, _TOTALS = 32, 240  # moments that are remembered: with all tables, and for the charts
_FOR_CHARTS = (ALL, FIRST_CHUNK)


class Live:
    """The last hour of what a page shows.

    Args:
        collect: Collects what is there, point by point.
        report: Takes what goes wrong beside requests.
        began: Seconds of the clock when all totals were 0; `None` where nobody knows, as with other workers.
        keep: Whether it is sampled though nobody looks; where it is not, that ends an hour after the last one did.
        clock: Monotonic seconds.
        wall: Seconds since 1970.
    """

    def __init__(
        self,
        collect: Callable[[], Iterable[Point]],
        report: Callable[[Exception], None],
        began: float | None = None,
        keep: Callable[[], bool] = lambda: False,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._collect = collect
        self._report = report
        self._keep = keep
        self._clock = clock
        self._wall = wall
        self._lock = threading.Lock()
        self._tally = Tally()
        self._looks: History[Look] = History(_LOOKS, HOUR)
        self._totals: History[Look] = History(_TOTALS, HOUR)
        self._encoded: tuple[float, bytes] | None = None
        self._sampled: float | None = None
        self._asked: float | None = None
        self._spent: float | None = None
        self._watching = False
        if began is not None:
            self._remember(began, Look())

    def sample(self) -> None:
        """Takes a look, unless there is one of a moment ago."""
        with self._lock:
            self._sample()

    def document(self, **facts: Any) -> bytes:
        """The last hour as JSON, made anew every two seconds or less often, whoever asks.

        Args:
            facts: What else it says, as JSON has it.
        """
        self.watch()
        with self._lock:
            self._asked = self._clock()
            began = time.thread_time()
            self._sample()
            if self._encoded is None or self._encoded[0] != self._looks.times[-1]:
                self._encoded = self._looks.times[-1], self._encode(facts)
                self._note(time.thread_time() - began)
            return self._encoded[1]

    @property
    def remembers(self) -> bool:
        """Whether there is anything to compare with."""
        return len(self._looks) > 0

    @property
    def _pause(self) -> float:
        """Seconds after which a viewer asks again."""
        return max(_EVERY, (self._spent or 0.0) / _SHARE)

    def _note(self, seconds: float) -> None:
        """Takes note of what a document took; not of the first, for which modules and prices are loaded."""
        if self._spent is None:
            self._spent = 0.0
        else:
            self._spent = (self._spent + seconds) / 2 if self._spent else seconds

    def watch(self) -> None:
        """Sees to it that it is sampled twice a minute from now on, until nobody has it any more."""
        with self._lock:
            if self._watching:
                return
            self._watching = True
        gone = threading.Event()
        weakref.finalize(self, gone.set).atexit = False
        arguments = (weakref.ref(self), gone)
        threading.Thread(target=_watch, args=arguments, name="llmwatch-live", daemon=True).start()

    def idle(self) -> float:
        """Takes a look where nobody has asked for one lately; never raises. Seconds after which to come again."""
        with self._lock:
            every = self._every()
            if self._is_since(self._sampled, every / 2) or not (self._keep() or self._is_since(self._asked, HOUR)):
                return every
            try:
                self._sample()
            except Exception as error:
                self._report(error)
            return every

    def _every(self) -> float:
        times = self._looks.times
        return _IDLE if times and self._clock() - times[0] > _YOUNG else _IDLE_YOUNG

    def _sample(self) -> None:
        if self._is_since(self._sampled, _FRESH * self._pause):
            return
        points = list(self._collect())
        self._sampled = self._clock()
        self._remember(self._sampled, self._tally.take(points, self._sampled))

    def _is_since(self, at: float | None, seconds: float) -> bool:
        return at is not None and self._clock() - at < seconds

    def _remember(self, at: float, look: Look) -> None:
        self._looks.add(at, look)
        rows = {subject: look.rows[subject] for subject in _FOR_CHARTS if subject in look.rows}
        active = {ALL: look.active[ALL]} if ALL in look.active else {}
        self._totals.add(at, Look(rows, active))

    def _encode(self, facts: dict[str, Any]) -> bytes:
        past = Past(self._looks, self._totals, self._tally.last, (self._wall() - self._clock()) * 1000)
        made = {**facts, "every": self._pause, **document(past)}
        return json.dumps(made, separators=(",", ":"), allow_nan=False).encode()


def _watch(reference: weakref.ref[Live], gone: threading.Event) -> None:
    """Samples what nobody looks at, at once only where it is not known when all was 0."""
    every = 0.0 if (live := reference()) is not None and not live.remembers else _IDLE_YOUNG
    while True:
        del live
        gone.wait(every)
        if (live := reference()) is None:
            return
        every = live.idle()
