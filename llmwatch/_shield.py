"""The shield: telemetry never breaks the program that it observes."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

_logger = logging.getLogger("llmwatch")


class Shield:
    """Counts what went wrong inside llmwatch, logs it once per place, and lets none of it through.

    Attributes:
        strict: Raise instead, as llmwatch's own tests do.
    """

    def __init__(self, *, strict: bool = False) -> None:
        self.strict = strict
        self._lock = threading.RLock()
        self._counts: dict[str, int] = {}
        self._silences = 0
        self._held: list[tuple[Any, ...]] = []

    def report(self, where: str, error: Exception) -> None:
        """Counts an exception that was caught in `where`; the first one of a place is logged with its traceback."""
        with self._lock:
            known = self._counts.get(where, 0)
            self._counts[where] = known + 1
        if self.strict:
            raise error
        if not known:
            self._log("llmwatch failed in %s; your program goes on, with less telemetry", where, error)

    def warn_once(self, where: str, message: str) -> None:
        """Counts a misuse that can only be seen at run time; the first one of a place is logged."""
        with self._lock:
            known = self._counts.get(where, 0)
            self._counts[where] = known + 1
        if not known:
            self._log("%s", message, None)

    def advise(self, message: str) -> None:
        """Logs what the operator should know, though nothing has failed; who calls it sees to it that it is once."""
        self._log("%s", message, None)

    @contextmanager
    def silence(self, *, aside: bool = False) -> Iterator[None]:
        """A block under locks, in which nothing is logged: a logging handler may do anything, observed calls included.

        Args:
            aside: Log afterwards on a thread of its own, as there are locks around the block too.
        """
        with self._lock:
            self._silences += 1
        try:
            yield
        finally:
            with self._lock:
                self._silences -= 1
                messages = [] if self._silences else self._held
                self._held = self._held if self._silences else []
            if messages and aside:
                threading.Thread(target=self._log_all, args=(messages,), name="llmwatch-log", daemon=True).start()
            else:
                self._log_all(messages)

    def begin_anew(self) -> None:
        """In a forked child: nothing has failed, and no thread of the parent's holds the lock."""
        self._lock = threading.RLock()
        self._counts, self._silences, self._held = {}, 0, []

    def counts(self) -> dict[str, int]:
        """How often each place has failed so far."""
        with self._lock:
            return dict(self._counts)

    def _log(self, *message: Any) -> None:
        with self._lock:
            if self._silences:  # on whatever thread: the last one to leave its block logs for all
                self._held.append(message)
                return
        self._log_all([message])

    @staticmethod
    def _log_all(messages: list[tuple[Any, ...]]) -> None:
        for text, argument, error in messages:
            try:
                _logger.warning(text, argument, exc_info=None if error is None else _told(error))
            except Exception:  # a logging handler of the host's own
                continue


def _told(error: Exception) -> tuple[type[Exception], Exception, TracebackType | None]:
    """An exception as it may be logged: its message could quote an answer, unless it is the system's or our own."""
    cls = type(error)
    if not isinstance(error, OSError) and not cls.__module__.startswith("llmwatch."):
        stand_in = type(cls.__qualname__, (Exception,), {"__module__": cls.__module__})
        return cls, stand_in("(its message is not logged: it might quote what a call was about)"), error.__traceback__
    return cls, error, error.__traceback__
