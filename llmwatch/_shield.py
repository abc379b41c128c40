"""The shield: telemetry never breaks the program that it observes."""

from __future__ import annotations

import logging
import threading

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

    def counts(self) -> dict[str, int]:
        """How often each place has failed so far."""
        with self._lock:
            return dict(self._counts)

    @staticmethod
    def _log(message: str, argument: str, error: Exception | None) -> None:
        try:
            _logger.warning(message, argument, exc_info=error)
        except Exception:  # a logging handler of the host's own
            return
