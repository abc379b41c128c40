"""configure(), flush(), shutdown() and session(): arguments and environment to a runtime, and its end."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from llmwatch import _runtime
from llmwatch._aside import aside
from llmwatch._sender import flush_all, within
from llmwatch._setup import install, uninstall
from llmwatch.cardinality import Label
from llmwatch.exposition import Endpoint

if TYPE_CHECKING:
    from os import PathLike
    from ssl import SSLContext

    from opentelemetry.metrics import MeterProvider

    from llmwatch.metrics import Semconv

__all__ = ["Configuration", "configure", "flush", "session", "shutdown"]

_SECONDS = 5.0  # that a program waits for what is to be sent
_FOR_EVER = 1e12  # milliseconds: a collection that the SDK breaks off is in the next one again


class _Gate:
    """One configuration at a time; a signal handler in the middle of one does not wait for the thread it interrupts."""

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """Begins anew, as a forked child must: nobody there would release the lock."""
        self._lock = threading.RLock()
        self._busy = False
        self.afterwards: Callable[[], None] | None = None

    @contextmanager
    def passed(self) -> Iterator[bool]:
        """Whether this thread may go on: it may not in the middle of its own configuration."""
        with self._lock:
            if self._busy:
                yield False
                return
            self._busy = True
            try:
                yield True
            finally:
                self._busy = False
                afterwards, self.afterwards = self.afterwards, None
                if afterwards is not None:
                    afterwards()


_gate = _Gate()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_gate.renew)


class Configuration:
    """What `configure` has set up.

    Attributes:
        url: Where the page is served, without a path (`http://127.0.0.1:9464`); empty when it is not.
        port: Its port; 0 when it is not served.
    """

    def __init__(self, endpoint: Endpoint | None) -> None:
        self._endpoint = endpoint
        self.url = endpoint.url if endpoint is not None else ""
        self.port = endpoint.port if endpoint is not None else 0

    def close(self) -> None:
        """Stops serving; recording goes on."""
        if self._endpoint is not None:
            self._endpoint.close()


def configure(
    *,
    service_name: str | None = None,
    meter_provider: MeterProvider | None = None,
    port: int | None = None,
    host: str | None = None,
    labels: Mapping[str, Iterable[str] | int | Label] | None = None,
    label_limits: Mapping[str, int] | None = None,
    baggage: Iterable[str] | None = None,
    prices: str | PathLike[str] | Mapping[str, Any] | None = None,
    semconv: Semconv | None = None,
    auth: tuple[str, str] | str | None = None,
    tls: tuple[str | PathLike[str], str | PathLike[str]] | str | PathLike[str] | SSLContext | None = None,
    insecure: bool | None = None,
    otlp: str | bool | None = None,
    pushgateway: str | None = None,
    worker_dir: str | PathLike[str] | None = None,
    live: bool | None = None,
) -> Configuration:
    """Sets up where calls are recorded. Optional, and may be called again: no count is lost or doubled.

    Each argument that is not given is taken from the environment, from the variables named below.

    Args:
        service_name: `service.name` of the metrics (`LLMWATCH_SERVICE_NAME`, `OTEL_SERVICE_NAME`).
        meter_provider: An OpenTelemetry provider to record on; otherwise the global one if somebody has set one, else
            a private one with a Prometheus reader and a registry of its own.
        port: Serves `/metrics` there; 0 picks a free port (`LLMWATCH_PORT`; `OTEL_EXPORTER_PROMETHEUS_PORT` where no
            provider of yours follows it already, as it does under `opentelemetry-instrument`).
        host: The address to serve on, `127.0.0.1` unless given (`LLMWATCH_HOST`; `OTEL_EXPORTER_PROMETHEUS_HOST` in the
            same way).
        labels: Labels of your own, by name: the allowed values, or how many values there may be
            (`LLMWATCH_LABELS="tier=free|pro,region=20"`), or a `Label`, which takes both and a mapper. The same may be
            said of `feature`, `agent` and `model`.
        label_limits: How many values a label may show before the rest say `other`; `series` limits all series of the
            process together (`LLMWATCH_LABEL_LIMITS="feature=50,series=20000"`).
        baggage: The labels, `feature`, `agent` or some of your own, that are taken from OpenTelemetry's baggage
            (`llmwatch.tier`) where nothing inside this process says otherwise, and that `outgoing_baggage` puts there
            (`LLMWATCH_BAGGAGE="tier,feature"`). Whoever sends requests to the process can set them.
        prices: A price file or its content, whose entries win over the price table (`LLMWATCH_PRICES`).
        semconv: Which generation of the `gen_ai.client.*` metrics is recorded beside `ai_*`: `legacy`, which today's
            dashboards read, `latest`, `both`, or `none`, for where another instrumentation records them already on the
            same provider (`LLMWATCH_SEMCONV`).
        auth: What requests for the page must bring: `("user", "password")`, or a bearer token
            (`LLMWATCH_AUTH="user:password"`, or the token). `/healthz` is open to all.
        tls: The files of a certificate and its key in PEM, one file with both, or an `ssl.SSLContext`
            (`LLMWATCH_TLS="cert.pem,key.pem"`).
        insecure: Serves on an address that other machines can reach though neither `auth` nor `tls` is there
            (`LLMWATCH_INSECURE=true`).
        otlp: Sends the metrics to this receiver, too: `http://collector:4318`, or `grpc://collector:4317`; `True` for
            where OpenTelemetry's variables say, `False` for nowhere (`LLMWATCH_OTLP`). Without it those variables
            (`OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_METRICS_EXPORTER=otlp`) count where there is no provider of yours that
            follows them. They also say how often (`OTEL_METRIC_EXPORT_INTERVAL`), with which headers, certificates and
            temporality. Needs `llmwatch[otlp]`.
        pushgateway: Puts the page on this Prometheus Pushgateway, `host:9091` or a URL, at each `flush()`, at
            `shutdown()`, and when the program ends (`LLMWATCH_PUSHGATEWAY`).
        worker_dir: For applications of several processes: each keeps its totals in this directory, and whichever is
            scraped answers for all of them; of those that are told the same `port` one serves it at a time. It must be
            on a disk of this machine, and may be shared with other applications, which are told apart by the name of
            the service (`LLMWATCH_WORKER_DIR`, `PROMETHEUS_MULTIPROC_DIR`). What workers that are gone have counted
            is kept there, also over a restart of all of them.
        live: Whether browsers see the live page at `/`, and all at `/live`, beside `/metrics`; they do, unless this is
            false (`LLMWATCH_LIVE=false`). Its charts need `llmwatch[live]`.

    Returns:
        An object with `url`, `port` and `close()`.

    Raises:
        ValueError: When an argument or a variable is of no use, or when others could read the page though nothing
            guards it; the message says what to change.
        ImportError: When `otlp` needs an extra that is not installed.
        OSError: When the port cannot be bound.
        RuntimeError: In a signal handler that has interrupted a `configure()` or `shutdown()`.
    """
    arguments = dict(locals())
    from llmwatch._settings import settings

    chosen = settings(arguments)
    with _gate.passed() as free:
        if not free:
            raise RuntimeError("configure() was called by a signal handler in the middle of another configuration")
        runtime = install(chosen)
    return Configuration(runtime.endpoint)


def flush(timeout: float = _SECONDS) -> bool:
    """Sends what has been recorded so far: for a function that is frozen after each call, such as an AWS Lambda.

    Over OTLP, to a Pushgateway, by `force_flush()` of a provider of yours, and into the workers' directory; a page that
    is scraped needs none.

    Args:
        timeout: Seconds to wait for that; what takes longer goes on without anybody waiting for it.

    Returns:
        Whether all of it got there in time.
    """
    runtime = _runtime.current()
    deadline = time.monotonic() + timeout
    if runtime.page is not None and runtime.page.team is not None:
        runtime.page.team.worker.flush()
    theirs = None if runtime.private else getattr(runtime.provider, "force_flush", None)
    flushed = theirs is None or within(timeout, lambda: theirs(_FOR_EVER))
    return flush_all(runtime.senders, deadline - time.monotonic()) and flushed


def shutdown(timeout: float = _SECONDS) -> None:
    """Sends what is left, stops serving and closes what `configure` opened; a provider of yours is left as it is.

    Decorated functions go on to work, and count for a later `configure()`.

    Args:
        timeout: Seconds to wait for what is sent.
    """
    with _gate.passed() as free:
        if free:
            uninstall(timeout)
        else:
            _gate.afterwards = lambda: shutdown(timeout)


class _Arguments(TypedDict, total=False):
    """The arguments of `configure()`."""

    service_name: str | None
    meter_provider: MeterProvider | None
    port: int | None
    host: str | None
    labels: Mapping[str, Iterable[str] | int | Label] | None
    label_limits: Mapping[str, int] | None
    baggage: Iterable[str] | None
    prices: str | PathLike[str] | Mapping[str, Any] | None
    semconv: Semconv | None
    auth: tuple[str, str] | str | None
    tls: tuple[str | PathLike[str], str | PathLike[str]] | str | PathLike[str] | SSLContext | None
    insecure: bool | None
    otlp: str | bool | None
    pushgateway: str | None
    worker_dir: str | PathLike[str] | None
    live: bool | None


class session:  # noqa: N801 - it is used as a function is
    """A configuration for a block: `configure()` at its beginning; at its end all is sent, and `shutdown()`.

    For scripts, jobs and tests: `with llmwatch.session(service_name="import", pushgateway="gateway:9091"):`, and
    `async with`, which leaves the event loop free while it sends. What was configured
    before is not put back.

    Args:
        timeout: Seconds to wait at the end for what is sent.
        settings: The arguments of `configure()`.
    """

    def __init__(self, *, timeout: float = _SECONDS, **settings: Unpack[_Arguments]) -> None:
        self._timeout = timeout
        self._settings = settings

    def __enter__(self) -> Configuration:
        return configure(**self._settings)

    def __exit__(self, *_: object) -> None:
        shutdown(self._timeout)

    async def __aenter__(self) -> Configuration:
        return self.__enter__()

    async def __aexit__(self, *_: object) -> None:
        await aside(lambda: shutdown(self._timeout), "llmwatch-shutdown")
