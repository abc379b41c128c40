"""A sender: one thread that delivers at intervals, when asked, and a last time; nobody waits for it beyond a bound."""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, Protocol

_logger = logging.getLogger("llmwatch")
_HOPE = 0.5  # seconds for a last delivery where those before have failed
_AFTERMATH = 0.2  # and for the thread to notice that it was broken off
_FAILING = "llmwatch cannot send metrics to %s: %s; further failures in a row are not logged"


class Delivery(Protocol):
    """What a sender sends by.

    Attributes:
        target: What it is sent to, as it was configured.
        to: The same, in words for the log, without secrets.
    """

    target: Any
    to: str

    def attach(self, provider: Any) -> None:
        """Sends what this provider has, from now on."""

    def name(self, service_name: str | None) -> None:
        """Sends under this name of the service, or under that of the resource."""

    def deliver(self) -> None:
        """Sends what there is; raises when it did not get there."""

    def hasten(self) -> None:
        """From now on the program waits: what has failed for good need not be tried again."""

    def stop(self) -> None:
        """Breaks off a delivery that goes on, without waiting for it; again is nothing."""

    def finish(self) -> None:
        """Lets go of all that delivering needed, after the last one."""


class Sender:
    """The thread that does the deliveries, all of them, so that no caller ever waits for a network.

    Args:
        delivery: What it sends by.
        interval: Seconds between two deliveries; `None` delivers only when asked, and at the end.
    """

    def __init__(self, delivery: Delivery, interval: float | None) -> None:
        self.delivery = delivery
        self._interval = interval
        self._changed = threading.Condition()
        self._asked = self._answered = 0
        self._delivered = False
        self._closing = False
        self._down = False
        self._process = os.getpid()
        self._thread = threading.Thread(target=self._run, name="llmwatch-sender", daemon=True)

    def start(self) -> None:
        """Begins with the intervals."""
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether it delivers: it does not in a forked child, which has inherited its locks, but no thread."""
        return os.getpid() == self._process and self._thread.is_alive()

    @property
    def healthy(self) -> bool:
        """Whether it delivers, and the last delivery, if there was one, got there."""
        return self.alive and not self._down

    def ask(self) -> int:
        """Asks for a delivery that begins after now; gives the number of the request."""
        if not self.alive:
            return 0
        with self._changed:
            self._asked += 1
            self._changed.notify_all()
            return self._asked

    def wait(self, request: int, timeout: float) -> bool:
        """Waits for up to so many seconds for the delivery that was asked for; whether it got there."""
        if not self.alive:
            return False
        with self._changed:
            self._changed.wait_for(lambda: self._answered >= request, timeout)
            return self._answered >= request and self._delivered

    def end(self) -> None:
        """Asks for a last delivery, after which the thread ends."""
        if self.alive:
            self.delivery.hasten()
            with self._changed:
                self._closing = True
                self._changed.notify_all()

    def join(self, timeout: float) -> None:
        """Waits for up to so many seconds for the end, and breaks off what still goes on then."""
        if os.getpid() != self._process:
            return
        self._thread.join(max(min(timeout, _HOPE) if self._down else timeout, 0.0))
        if self._thread.is_alive():
            self._quietly(self.delivery.stop)
            self._thread.join(_AFTERMATH)
        if self._thread.is_alive():
            self._complain("no answer in time")

    def _run(self) -> None:
        _suppress_instrumentation()
        closing = False
        while not closing:
            with self._changed:
                self._changed.wait_for(lambda: self._closing or self._asked > self._answered, self._interval)
                asked, closing = self._asked, self._closing
            delivered = self._attempt()
            with self._changed:
                self._answered, self._delivered = asked, delivered
                self._changed.notify_all()
        self._quietly(self.delivery.finish)

    def _attempt(self) -> bool:
        """One delivery; whether it got there."""
        try:
            self.delivery.deliver()
        except Exception as error:
            self._complain(error)
            return False
        if self._down:
            self._log(logging.INFO, "llmwatch sends metrics to %s again", self.delivery.to)
        self._down = False
        return True

    def _complain(self, problem: object) -> None:
        """Logs the first of several failures in a row."""
        if not self._down:
            self._down = True
            self._log(logging.WARNING, _FAILING, self.delivery.to, problem)

    def _log(self, level: int, message: str, *arguments: object) -> None:
        self._quietly(lambda: _logger.log(level, message, *arguments))

    @staticmethod
    def _quietly(call: Callable[[], Any]) -> None:
        try:
            call()
        except Exception:  # a logging handler of the host's own, or a library that was already shut down
            return


def flush_all(senders: Iterable[Sender], timeout: float) -> bool:
    """Asks all of them for a delivery and waits for up to so many seconds; whether all got there."""
    deadline = time.monotonic() + timeout
    requests = [(sender, sender.ask()) for sender in senders]
    results = [sender.wait(request, max(deadline - time.monotonic(), 0.0)) for sender, request in requests]
    return all(results)


def close_all(senders: Iterable[Sender], timeout: float) -> None:
    """Asks all of them for a last delivery, and waits for up to so many seconds."""
    deadline = time.monotonic() + timeout
    ending = list(senders)
    for sender in ending:
        sender.end()
    for sender in ending:
        sender.join(deadline - time.monotonic())


def at_exit(ending: Callable[[], None]) -> None:
    """Has this called when the process ends; those that multiprocessing and celery fork do not come to `atexit`."""
    atexit.unregister(ending)
    atexit.register(ending)  # again, so that it comes before what has been registered meanwhile
    for name in ("multiprocessing", "billiard"):
        process, util = sys.modules.get(f"{name}.process"), sys.modules.get(f"{name}.util")
        if util is not None and getattr(process, "parent_process", lambda: True)() is not None:
            util.Finalize(None, ending, exitpriority=0)


def within(timeout: float, call: Callable[[], Any]) -> bool:
    """Whether a call that may wait for a network was true in time; it goes on without us otherwise."""
    results: list[bool] = []

    def run() -> None:
        try:
            results.append(bool(call()))
        except Exception:  # the SDK raises what its readers could not do
            results.append(False)

    try:
        thread = threading.Thread(target=run, name="llmwatch-flush", daemon=True)
        thread.start()
        thread.join(timeout)
    except RuntimeError:  # no thread can be had, at the end of the program for instance
        return False
    return results == [True]


def _suppress_instrumentation() -> None:
    """Keeps instrumentation of HTTP clients, if the program has any, from observing what this thread sends."""
    from opentelemetry import context

    key = getattr(context, "_SUPPRESS_INSTRUMENTATION_KEY", None)
    if key is not None:
        context.attach(context.set_value(key, True))
