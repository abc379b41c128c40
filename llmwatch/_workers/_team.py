"""A team: the workers of one application, and what all of them together have counted."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Hashable
from contextlib import suppress
from typing import TYPE_CHECKING

from llmwatch._workers import _files
from llmwatch._workers._archive import Archive
from llmwatch._workers._folder import CORRUPT, TOTALS, Folder
from llmwatch._workers._totals import LASTING, Kind, Totals, add, metrics_data, restored
from llmwatch._workers._worker import Worker

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricsData

_PATIENCE = 3.0  # seconds that a scrape waits for the other workers
_SHORT_PATIENCE = 0.2  # and for those that have not answered the last one
_LOOK = 0.003
# Seconds after which a worker whose lock is gone is taken for dead for good, and one whose file is gone: by then it
# would have made them again if it lived.
_DEAD, _LOST = 2.0, 60.0


class Team:
    """What the workers of one application have, with this process among them.

    Args:
        folder: Where they meet.
        collect: Collects what this process has.
        changes: Something that is another whenever there is something new here; `None` when only collecting can tell.
        report: Takes what goes wrong.

    Attributes:
        folder: Where they meet.
        worker: This process.
    """

    def __init__(
        self,
        folder: Folder,
        collect: Callable[[], Totals],
        changes: Callable[[], Hashable | None],
        report: Callable[[Exception], None],
    ) -> None:
        self.folder = folder
        self.worker = Worker(folder, collect, changes, report)
        self._report = report
        self._reported: set[str] = set()
        self._archive = Archive(folder, lambda error: self._once("archive", error))
        self._seen: dict[str, tuple[_files.Stamp, Totals]] = {}
        self._corrupt: set[str] = set()
        self._gone: dict[str, float] = {}
        self._slow: set[str] = set()
        self._started = False
        self._lock = threading.Lock()

    def start(self) -> None:
        """Begins to write what this process has; again is nothing."""
        if not self._started:
            self._started = True
            self.worker.start(self.tidy)

    def gather(self) -> MetricsData:
        """What all workers have, each asked for its latest numbers; those of dead ones included that outlive them."""
        moment = 0
        with suppress(OSError):  # without the bell each one's numbers are a second old
            moment = self.folder.ring()
        self.worker.flush()
        with suppress(OSError):
            self._await(moment)
        with self._lock:
            return metrics_data(self._together())

    def tidy(self) -> None:
        """Moves what dead workers have left to the archive, also when nobody ever scrapes."""
        with self._lock:
            self._together()

    def leave(self, *staying: Kind) -> None:
        """Leaves the team with what this process has counted, which is going to be counted elsewhere.

        Args:
            staying: The kinds of metrics that stay with the team.
        """
        self.worker.leave()
        left: Totals = {}
        add(left, self.worker.totals, staying)
        with suppress(OSError), self._lock:
            if not self._archive.absorb({self.worker.id: left}):
                self.folder.remove(self.worker.id)

    def _await(self, moment: int) -> None:
        waiting = {worker for worker in self.folder.workers() if worker != self.worker.id and self.folder.alive(worker)}
        patience = _PATIENCE if waiting - self._slow else _SHORT_PATIENCE
        deadline = time.monotonic() + patience
        looks = 0
        while waiting and moment and time.monotonic() < deadline:
            looks += 1
            waiting = {worker for worker in waiting if self.folder.answered(worker) < moment}
            if waiting and looks % 32 == 0:
                waiting = {worker for worker in waiting if self.folder.alive(worker)}
            time.sleep(_LOOK if waiting else 0)
        self._slow = waiting

    def _together(self) -> Totals:
        living, left = self._members()
        archive = self._archive.read()  # after the files: who was absorbed meanwhile is counted here
        totals: Totals = {}
        add(totals, self.worker.totals)
        for worker, found in living.items():
            if worker not in archive.absorbed:
                add(totals, found)
        for worker, found in left.items():
            if worker not in archive.absorbed:
                add(totals, found, LASTING)
        add(totals, archive.totals)
        self._bury(left, archive.absorbed)
        return totals

    def _members(self) -> tuple[dict[str, Totals], dict[str, Totals]]:
        """The totals of the others: of those that live, and of those that do not."""
        living: dict[str, Totals] = {}
        left: dict[str, Totals] = {}
        present: set[str] = set()
        with suppress(OSError):
            present = self.folder.workers()
        now = time.monotonic()
        for worker in (present | self._seen.keys()) - {self.worker.id}:
            totals = self._read(worker)
            try:
                alive = self.folder.alive(worker)
            except OSError:
                alive = True
            if alive:
                self._gone.pop(worker, None)
                living[worker] = totals
            else:
                # With its lock file gone, a living worker may be about to make it again.
                self._gone.setdefault(worker, now + (_DEAD if alive is False else _LOST))
                left[worker] = totals
        return living, left

    def _read(self, worker: str) -> Totals:
        """A worker's totals, or the last ones that could be read."""
        path = self.folder.file(worker, TOTALS)
        stamp, known = None, self._seen.get(worker)
        try:
            stamp = _files.stamp(path)
            if stamp is not None and (known is None or stamp != known[0]):
                known = self._seen[worker] = stamp, restored(_files.read(path))
                self._corrupt.discard(worker)
        except FileNotFoundError:
            pass
        except (OSError, ValueError, TypeError, LookupError) as error:
            if isinstance(error, ValueError):
                self._corrupt.add(worker)
            self._once(worker, error)
        return known[1] if known is not None else {}

    def _bury(self, left: dict[str, Totals], absorbed: dict[str, float]) -> None:
        """Archives those that are dead for good, and forgets those that are archived."""
        now = time.monotonic()
        dead = {worker: found for worker, found in left.items() if self._gone[worker] <= now or worker in absorbed}
        with suppress(KeyError, OSError):
            for worker in self._corrupt & dead.keys():
                os.replace(self.folder.file(worker, TOTALS), self.folder.file(worker, CORRUPT))
        try:
            done = bool(dead or self._archive.lost) and self._archive.absorb(dead)
            self._reported.discard("absorb")
        except OSError as error:
            self._once("absorb", error)
            return
        for worker in dead if done else ():
            for memory in (self._seen, self._gone):
                memory.pop(worker, None)
            self._corrupt.discard(worker)
            self._reported.discard(worker)

    def _once(self, what: str, error: Exception) -> None:
        if what not in self._reported:
            self._reported.add(what)
            with suppress(Exception):
                self._report(error)
