"""A worker: this process's share of the page, written to its file so that it outlives the process."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from contextlib import suppress

from llmwatch._workers import _files
from llmwatch._workers._folder import BELL, TOTALS, WORKER, Folder, Held, OpenFile, new_id
from llmwatch._workers._totals import LASTING, Family, Key, Reading, Totals, document

_POLL = 0.025  # seconds between two looks at the bell
_ROUND = 1.0  # seconds within which all that is new is written, and the files are looked after
# Of so many seconds one goes into writing while there is always something new, and of so many when nothing more comes,
# unless that would take longer than a round: many processes end without notice, but only after their work.
_BUSY, _QUIET = 100, 8
_LULL = 0.1  # seconds without anything new


class Worker:
    """This process among the workers of its application.

    Args:
        folder: Where they meet.
        collect: Collects what this process has.
        changes: Something that is another whenever there is something new; `None` when only collecting can tell.
        failed: Takes what goes wrong.

    Attributes:
        id: Its name among the workers.
        folder: Where they meet.
        totals: What it has written last; until that is done for the first time, what it would have written.
    """

    def __init__(
        self,
        folder: Folder,
        collect: Callable[[], Totals],
        changes: Callable[[], Hashable | None],
        failed: Callable[[Exception], None],
    ) -> None:
        self.id = new_id()
        self.folder = folder
        self.totals: Totals = {}
        self._collect = collect
        self._changes = changes
        self._failed = failed
        self._failing: set[str] = set()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._held: Held | None = None
        self._bell: OpenFile | None = None
        self._known: Hashable | None = None  # what `changes` said before what was collected last
        self._stamp: _files.Stamp | None = None  # of the file as it was written last; `None` when it must be again
        self._durable = False
        self._answered = 0
        self._gauges: dict[tuple[Family, Key], Reading] = {}

    def appear(self) -> None:
        """Takes its place in the folder, or makes again what is not there any more of it."""
        with self._lock:
            try:
                self._take_place()
                self._failing.discard("files")
            except OSError as error:
                self._fault("files", error)

    def start(self, tidy: Callable[[], None]) -> None:
        """Begins to write, whenever there is something new or somebody asks.

        Args:
            tidy: Done now and then on its thread.
        """
        try:
            threading.Thread(target=self._run, args=(tidy,), name="llmwatch-worker", daemon=True).start()
        except RuntimeError as error:  # no thread can be started: scrapes and the end of the process write
            self._fault("thread", error)

    def close(self) -> None:
        """Writes what there is, and leaves; again is nothing."""
        if self._stop.is_set():
            return
        self._stop.set()
        self.flush()
        with self._lock:
            self._let_go()

    def leave(self) -> None:
        """Leaves, and writes nothing more; again is nothing."""
        self._stop.set()
        with self._lock:
            self._let_go()

    def abandon(self) -> None:
        """In a forked child: all of it belongs to the parent."""
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._stop.set()
        self._let_go(inherited=True)

    def flush(self, *, asked: bool = True) -> None:
        """Collects and writes, unless nothing has changed.

        Args:
            asked: Whether somebody waits for it; otherwise it is not worth writing that only gauges have changed.
        """
        with self._lock:
            began = time.monotonic_ns()
            try:
                self._write_changes(asked=asked)
                self._failing.discard("flush")
            except Exception as error:
                self._fault("flush", error)
            self._answered = began  # for better or worse: nobody shall wait for what cannot be written
            if asked:
                self._note()

    def _write_changes(self, *, asked: bool) -> None:
        before = self._changes()
        if self._stamp is not None and self._stamp != _files.stamp(self.folder.file(self.id, TOTALS)):
            self._stamp = None
        if before is None or before != self._known or self._stamp is None:
            if found := self._collect():
                self._keep(self._dated(found), asked=asked)
            self._known = before

    def _note(self) -> None:
        if self._held is not None:
            with suppress(OSError):
                self._held.note(self._answered)

    def _keep(self, totals: Totals, *, asked: bool) -> None:
        if self._stamp is not None and not _differ(totals, self.totals, gauges=asked):
            return
        if not self._durable:
            self.totals = totals
        self._take_place()
        if self._held is None:
            return
        path = self.folder.file(self.id, TOTALS)
        _files.write(path, document(totals))
        self._stamp = _files.stamp(path)
        self.totals, self._durable = totals, True

    def _dated(self, totals: Totals) -> Totals:
        """The same, each gauge with the moment since which it has its value, for the latest of all workers' wins.

        By the clock that all processes of the machine share: the time of day may be set back.
        """
        for family, table in totals.items():
            if family.kind == "gauge":
                for key, reading in table.points.items():
                    known = self._gauges.get((family, key))
                    if known is None or known.value != reading.value:
                        known = self._gauges[family, key] = Reading(time.monotonic_ns(), reading.value)
                    table.points[key] = known
        return totals

    def _run(self, tidy: Callable[[], None]) -> None:
        heard, next_round, rounds = 0, 0.0, 0
        pace = Pace()
        while not self._stop.wait(_POLL):
            now = time.monotonic()
            try:
                if (rung := self._listen()) != heard:
                    heard = rung
                    self._answer(rung)
                elif pace.due(now, self._changes(), self._known):
                    self.flush(asked=False)
                    pace.took(now, time.monotonic())
                if now >= next_round:
                    next_round, rounds = now + _ROUND, rounds + 1
                    self.appear()
                    if rounds % 30 == 5:
                        tidy()
            except Exception as error:
                self._fault("run", error)

    def _answer(self, rung: int) -> None:
        if self._answered < rung:  # a scrape of this process has done it otherwise
            self.flush()

    def _listen(self) -> int:
        return self._bell.moment() if self._bell is not None else 0

    def _take_place(self) -> None:
        """Makes what is not there: at first all of it, later what somebody has removed; nothing when it has left."""
        if self._stop.is_set() and self._held is None:
            return
        if self._held is None or not self._held.in_place:
            self._let_go()
            self.folder.prepare()
            self._held = Held(self.folder.file(self.id, WORKER), hidden=True)
        if self._bell is None or not self._bell.in_place:
            self._bell = OpenFile(self.folder.path / BELL)

    def _let_go(self, *, inherited: bool = False) -> None:
        if self._held is not None:
            self._held.close() if inherited else self._held.release()
        if self._bell is not None:
            self._bell.close()
        self._held = self._bell = None

    def _fault(self, where: str, error: Exception) -> None:
        """Reports the first of a series of failures."""
        if where not in self._failing:
            self._failing.add(where)
            with suppress(Exception):
                self._failed(error)


class Pace:
    """When it is worth writing: soon, but not all the time."""

    def __init__(self) -> None:
        self._latest: Hashable | None = None
        self._changed = self._ended = self._cost = 0.0

    def due(self, now: float, changes: Hashable | None, written: Hashable | None) -> bool:
        """Whether what is new should be written now.

        Args:
            now: Monotonic seconds.
            changes: What tells whether something is new; `None` when only a look can.
            written: The same of what was written last.
        """
        if changes is None:
            return now >= self._ended + _ROUND
        if changes != self._latest:
            self._latest, self._changed = changes, now
        share = _QUIET if now >= self._changed + _LULL else _BUSY
        return changes != written and now >= self._ended + min(_ROUND, share * self._cost)

    def took(self, began: float, ended: float) -> None:
        """It was written."""
        self._ended, self._cost = ended, ended - began


def _differ(some: Totals, others: Totals, *, gauges: bool) -> bool:
    if some.keys() != others.keys():
        return True
    return any(
        table.points != others[family].points for family, table in some.items() if gauges or family.kind in LASTING
    )
