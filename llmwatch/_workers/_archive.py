"""The archive: what workers that are gone have left, in one file; what they counted outlives them."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from llmwatch._workers import _files
from llmwatch._workers._folder import ARCHIVE, ARCHIVE_LOCK, Folder
from llmwatch._workers._totals import LASTING, Totals, add, document, restored

_REMEMBERED = 3600.0  # seconds; whoever has read a worker's file has long made its page by then


@dataclass(frozen=True, slots=True)
class Contents:
    """What the archive holds.

    Attributes:
        generation: How often it was written.
        absorbed: Whose totals are in it, and when they were put there: what remains of their files does not count.
        totals: What they add up to.
    """

    generation: int = 0
    absorbed: dict[str, float] = field(default_factory=dict)
    totals: Totals = field(default_factory=dict)


class Archive:
    """The archive of one folder, as this process knows it.

    Args:
        folder: Where it is.
        failed: Takes an archive that cannot be read.
    """

    def __init__(self, folder: Folder, failed: Callable[[Exception], None]) -> None:
        self._folder = folder
        self._file = folder.path / ARCHIVE
        self._failed = failed
        self._seen: _files.Stamp | None = None
        self._known = Contents()
        self._lost = False
        self._lock = threading.Lock()

    def read(self) -> Contents:
        """What it holds; where the file is lost or damaged, what it held when it was last read."""
        with self._lock:
            try:
                stamp = _files.stamp(self._file)
                if stamp is None or stamp != self._seen:
                    found, self._seen = self._contents(), stamp
                    self._lost = found.generation < self._known.generation
                    if not self._lost:
                        self._known = found
            except OSError as error:
                self._failed(error)
            return self._known

    def _contents(self) -> Contents:
        try:
            generation, absorbed, families = _files.read(self._file)
            return Contents(generation, absorbed, restored(families))
        except FileNotFoundError:
            return Contents()
        except (ValueError, TypeError, LookupError) as error:
            self._failed(error)
            return Contents()

    @property
    def lost(self) -> bool:
        """Whether more is known here than is in the file; it is written again with the next that is absorbed."""
        return self._lost

    def absorb(self, left: dict[str, Totals]) -> bool:
        """Takes over the totals of workers that are gone, and removes their files; whether it could.

        Each goes in once, also when somebody else tries at the same time or dies in between: the file that holds
        the totals names those whose they are.
        """
        with self._only_one() as mine:
            if not mine:
                return False
            before = self.read()
            now = time.time()
            totals: Totals = {}
            fresh = [worker for worker in left if worker not in before.absorbed]
            for worker in fresh:
                add(totals, left[worker], LASTING)
            add(totals, before.totals)
            if fresh or self._lost:
                absorbed = _remembered(before.absorbed, self._folder.workers(), now) | dict.fromkeys(fresh, now)
                self._write(Contents(before.generation + 1, absorbed, totals))
            for worker in left:
                self._folder.remove(worker)
            return True

    def _write(self, contents: Contents) -> None:
        _files.write(self._file, [contents.generation, contents.absorbed, document(contents.totals)])
        with self._lock:
            self._known, self._seen, self._lost = contents, _files.stamp(self._file), False

    @contextmanager
    def _only_one(self) -> Iterator[bool]:
        """Whether nobody else is about to write it."""
        descriptor = os.open(self._folder.path / ARCHIVE_LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            yield False
            return
        try:
            yield True
        finally:
            fcntl.flock(descriptor, fcntl.LOCK_UN)  # a child that was forked meanwhile would keep it
            os.close(descriptor)


def _remembered(absorbed: dict[str, float], present: Iterable[str], now: float) -> dict[str, float]:
    """Those that somebody may still have read, or whose files are still there."""
    here = set(present)
    return {worker: at for worker, at in absorbed.items() if worker in here or abs(now - at) < _REMEMBERED}
