"""The show: raises the curtain, draws the numbers while the traffic goes on, and leaves everything as it was."""

from __future__ import annotations

import http.client
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

from rich.console import Console

import llmwatch
from llmwatch.demo._numbers import History, Numbers, read
from llmwatch.demo._table import LineScreen, Moment, TableScreen, introduction, summary

if TYPE_CHECKING:
    from llmwatch.config import Configuration
    from llmwatch.demo._stage import Stage
    from llmwatch.simulate import Served


class SetupError(Exception):
    """The environment holds settings of llmwatch that are of no use."""


_HOST = "127.0.0.1"
_FRAME = 0.4  # seconds between two looks at the page
_PATIENCE = 4.0  # seconds for the calls that are open when the time is over


@dataclass(frozen=True, slots=True)
class Performance:
    """What was shown, and what was true.

    Attributes:
        page: The last state of `/metrics`.
        numbers: What the table made of it.
        served: What the simulated vendors did, request by request.
    """

    page: str
    numbers: Numbers
    served: tuple[Served, ...]


def run(
    *,
    seconds: float | None = None,
    seed: int = 0,
    rate: float = 8.0,
    port: int = 9464,
    plain: bool = False,
    console: Console | None = None,
) -> Performance:
    """Runs the demo until its time is over or it is interrupted (SIGINT, SIGTERM).

    Args:
        seconds: How long; without end unless given.
        seed: What decides who calls when, how the vendors answer and what fails.
        rate: Calls of a model per second, on average.
        port: Where `/metrics` is served; 0, or a port that cannot be had, picks a free one.
        plain: Lines of text in place of the live table, as for a console that is no terminal.
        console: Where to write.

    Raises:
        ImportError: Without the extra `demo`.
        SetupError: When an environment variable of llmwatch is of no use; the message names it.
    """
    console = console or Console(highlight=False)
    with _Exit() as leaving:
        console.print("Starting an application and its simulated vendors ...", style="dim")
        # The vendors' clients take their time to load: first say so.
        from llmwatch.demo._stage import Stage

        with _served(port, console) as metrics, Stage(seed) as stage:
            console.print(introduction(metrics.url), soft_wrap=True)
            live = console.is_terminal and not console.is_dumb_terminal and not plain
            with TableScreen(console, metrics.url) if live else LineScreen(console) as screen:
                camera = _Camera(metrics.port, screen, stage)
                _perform(camera, seed, rate, seconds, leaving)
                last = camera.look(over=True)
            console.print(summary(last), soft_wrap=True)
            return Performance(camera.page, last.numbers, stage.served)


def _perform(camera: _Camera, seed: int, rate: float, seconds: float | None, leaving: _Exit) -> None:
    from llmwatch.demo._traffic import Traffic

    with Traffic(camera.stage, seed, rate) as traffic:
        end = inf if seconds is None else seconds
        while traffic.busy and not leaving.asked and camera.seconds < end:
            camera.look()
            time.sleep(min(_FRAME, max(0.0, end - camera.seconds)))
        traffic.close_doors()
        end = camera.seconds + _PATIENCE
        while traffic.busy and leaving.asked < 2 and camera.seconds < end:
            camera.look("waiting for the open calls")
            time.sleep(_FRAME / 2)


class _Camera:
    """Looks at the page as Prometheus does, and shows it."""

    def __init__(self, port: int, screen: TableScreen | LineScreen, stage: Stage) -> None:
        self.stage = stage
        self.page = ""
        self._port = port
        self._screen = screen
        self._history = History()
        self._start = time.monotonic()

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self._start

    def look(self, remark: str = "", *, over: bool = False) -> Moment:
        """Scrapes the page and puts it on the screen."""
        self.page = _scraped(self._port)
        numbers, incident = read(self.page), self.stage.incident
        seconds = self.seconds
        self._history.add(seconds, numbers)
        remark = remark or (incident.headline if incident and not over else "")
        moment = Moment(seconds, numbers, self._history, remark, over)
        self._screen.show(moment)
        return moment


class _Exit:
    """Counts how often somebody has asked to leave, by Ctrl-C or by a signal to terminate.

    A plain number: a handler that took a lock might wait for the very thread that it has interrupted.
    """

    _SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self.asked = 0

    def __enter__(self) -> _Exit:
        self._previous = {}
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._ask) for number in self._SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _ask(self, *_: object) -> None:
        self.asked += 1


@contextmanager
def _served(port: int, console: Console) -> Iterator[Configuration]:
    try:
        metrics = llmwatch.configure(service_name="llmwatch-demo", port=port, host=_HOST)
    except ValueError as error:
        raise SetupError(str(error)) from error
    except OSError as error:
        metrics = llmwatch.configure(service_name="llmwatch-demo", port=0, host=_HOST)
        reason = os.strerror(error.errno) if error.errno else str(error)
        console.print(f"Port {port} cannot be had ({reason}): using {metrics.port} instead.", style="yellow")
    try:
        yield metrics
    finally:
        llmwatch.shutdown()


def _scraped(port: int) -> str:
    # No urllib: it would ask a proxy of the environment for loopback.
    connection = http.client.HTTPConnection(_HOST, port, timeout=10)
    try:
        connection.request("GET", "/metrics")
        return connection.getresponse().read().decode()
    finally:
        connection.close()
