"""The show: raises the curtain, draws the numbers while the traffic goes on, and leaves everything as it was."""

from __future__ import annotations

import http.client
import os
import signal
import threading
import time
import webbrowser
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any

from rich.console import Console

import llmwatch
from llmwatch.demo._numbers import History, Numbers, read
from llmwatch.demo._table import LineScreen, Moment, TableScreen, introduction, summary

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics import MeterProvider

    from llmwatch.config import Configuration
    from llmwatch.demo._alerts import Alerts
    from llmwatch.demo._serving import Serving
    from llmwatch.demo._stage import Stage
    from llmwatch.demo._traffic import Plan, Traffic
    from llmwatch.simulate import Served


class SetupError(Exception):
    """The environment holds settings of llmwatch that are of no use."""


_HOST = "127.0.0.1"
_MOMENT = 0.2  # seconds between two looks while the last calls end
_PATIENCE = 8.0  # seconds for the calls that are open when the time is over


@dataclass(frozen=True, slots=True)
class Performance:
    """What was shown, and what was true.

    Attributes:
        page: The last state of `/metrics`.
        numbers: What the table made of it.
        served: What the simulated vendors did, request by request.
        journal: What the application's other systems did, by tool or guard and outcome.
        visits: What the visitors got, by path and HTTP status; `left` for those who did not stay to the end.
    """

    page: str
    numbers: Numbers
    served: tuple[Served, ...]
    journal: Mapping[tuple[str, ...], int]
    visits: Mapping[tuple[str, str], int]


def run(
    *,
    seconds: float | None = None,
    seed: int = 0,
    rate: float = 8.0,
    port: int = 9464,
    plain: bool = False,
    incident: str | None = None,
    incident_after: float = 20.0,
    prometheus: bool = False,
    open_browser: bool = False,
    console: Console | None = None,
) -> Performance:
    """Runs the demo until its time is over or it is interrupted (SIGINT, SIGTERM).

    Args:
        seconds: How long; without end unless given.
        seed: What decides who calls when, how the vendors answer and what fails.
        rate: Calls of a model per second, on average.
        port: Where the live page and `/metrics` are served; 0, or a port that cannot be had, picks a free one.
        plain: Lines of text in place of the live table, as for a console that is no terminal.
        incident: What goes wrong, one of `INCIDENTS`; each of them for a while, unless given.
        incident_after: Seconds of calm before it.
        prometheus: Whether a Prometheus scrapes it, with the rules that llmwatch ships, and says which alerts fire.
        open_browser: Whether a browser shows the live page.
        console: Where to write.

    Raises:
        ImportError: Without the extra `demo`.
        SetupError: When an environment variable of llmwatch, or the incident, is of no use, or Prometheus is not
            installed; the message says what.
    """
    console = console or Console(highlight=False)
    with _Exit() as leaving:
        console.print("Starting an application and its simulated vendors ...", style="dim")
        # The vendors' clients take their time to load: first say so.
        from llmwatch.demo._stage import Stage
        from llmwatch.demo._traffic import Traffic

        plan = _plan(incident, incident_after)
        with (
            _metered(port, console) as (provider, metrics),
            Stage(seed, rate) as stage,
            _opened(stage, provider, metrics.port) as application,
            _watched(metrics.port, console) if prometheus else nullcontext() as alerts,
        ):
            console.print(introduction(application.url, metrics.url, alerts.url if alerts else ""), soft_wrap=True)
            if open_browser:
                webbrowser.open(f"{metrics.url}/")
            with _screen(console, metrics.url, plain=plain) as screen:
                camera = _Camera(metrics.port, screen, stage)
                with Traffic(stage, application.url, seed, rate, plan) as traffic:
                    _film(camera, traffic, seconds, leaving)
                application.close()  # nobody waits any more, but what they asked for may still be under way
                last = camera.look(over=True)
            console.print(summary(last), soft_wrap=True)
            return Performance(camera.page, last.numbers, stage.served, stage.backoffice.journal, traffic.visits)


def _plan(incident: str | None, after: float) -> Plan:
    from llmwatch.demo._incidents import INCIDENTS
    from llmwatch.demo._traffic import Plan

    if incident is not None and incident not in INCIDENTS:
        raise SetupError(f"there is no incident {incident!r}; there are {', '.join(INCIDENTS)}")
    return Plan(incident, after) if incident else Plan()


def _screen(console: Console, url: str, *, plain: bool) -> TableScreen | LineScreen:
    live = console.is_terminal and not console.is_dumb_terminal and not plain
    return TableScreen(console, url) if live else LineScreen(console)


def _film(camera: _Camera, traffic: Traffic, seconds: float | None, leaving: _Exit) -> None:
    end = inf if seconds is None else seconds
    while traffic.busy and not leaving.asked and camera.seconds < end:
        camera.look()
        time.sleep(min(camera.every, max(0.0, end - camera.seconds)))
    traffic.close_doors()
    end = camera.seconds + _PATIENCE
    while traffic.busy and leaving.asked < 2 and camera.seconds < end:
        camera.look("waiting for the open calls")
        time.sleep(_MOMENT)


class _Camera:
    """Looks at the page as Prometheus does, and shows it."""

    def __init__(self, port: int, screen: TableScreen | LineScreen, stage: Stage) -> None:
        self.page = ""
        self.every = screen.every
        self._stage = stage
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
        numbers = read(self.page)
        seconds = self.seconds
        self._history.add(seconds, numbers)
        remark = remark or ("" if over else self._stage.headline)
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
def _metered(port: int, console: Console) -> Iterator[tuple[MeterProvider, Configuration]]:
    """A meter provider as an application has it: its web framework and llmwatch record on it, one page shows both."""
    from opentelemetry.sdk.metrics import MeterProvider

    provider = MeterProvider(shutdown_on_exit=False)
    settings: dict[str, Any] = {"service_name": "llmwatch-demo", "meter_provider": provider}
    try:
        metrics = llmwatch.configure(port=port, **settings)
    except ValueError as error:
        raise SetupError(str(error)) from error
    except OSError as error:
        metrics = llmwatch.configure(port=0, **settings)
        reason = os.strerror(error.errno) if error.errno else str(error)
        console.print(f"Port {port} cannot be had ({reason}): using {metrics.port} instead.", style="yellow")
    try:
        yield provider, metrics
    finally:
        llmwatch.shutdown()
        provider.shutdown()


def _opened(stage: Stage, provider: MeterProvider, metrics_port: int) -> Serving:
    """The application on the port after that of the metrics, if it can be had."""
    from llmwatch.demo._controls import incident_routes
    from llmwatch.demo._serving import Serving
    from llmwatch.demo._web import web_application

    app = web_application(stage.help_desk, provider, incident_routes(stage))
    return Serving(app, metrics_port + 1)


def _watched(metrics_port: int, console: Console) -> Alerts:
    from llmwatch.demo._alerts import Alerts, program

    if program() is None:
        raise SetupError("--prometheus needs Prometheus: on Debian, apt-get install prometheus")
    return Alerts(metrics_port, lambda line: console.print(line, style="bold", markup=False, soft_wrap=True))


def _scraped(port: int) -> str:
    # No urllib: it would ask a proxy of the environment for loopback.
    connection = http.client.HTTPConnection(_HOST, port, timeout=10)
    try:
        connection.request("GET", "/metrics")
        return connection.getresponse().read().decode()
    finally:
        connection.close()
