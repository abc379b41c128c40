"""configure() and shutdown(): arguments and environment to a runtime."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from llmwatch import _runtime
from llmwatch._instruments import publication_on
from llmwatch._recorder import Recorder
from llmwatch._runtime import Runtime
from llmwatch._shield import Shield
from llmwatch.cardinality import Budgets
from llmwatch.exposition import Endpoint, Page
from llmwatch.extractors import load_plugins
from llmwatch.pricing import PriceBook

if TYPE_CHECKING:
    from os import PathLike

    from opentelemetry.metrics import MeterProvider

    from llmwatch._settings import Settings
    from llmwatch.metrics import Semconv

__all__ = ["Configuration", "configure", "shutdown"]

_lock = threading.Lock()


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
    labels: Mapping[str, Iterable[str] | int] | None = None,
    label_limits: Mapping[str, int] | None = None,
    prices: str | PathLike[str] | Mapping[str, Any] | None = None,
    semconv: Semconv | None = None,
) -> Configuration:
    """Sets up where calls are recorded. Optional, and may be called again: no count is lost or doubled.

    Each argument that is not given is taken from the environment, from the variables named below.

    Args:
        service_name: `service.name` of the metrics (`LLMWATCH_SERVICE_NAME`, `OTEL_SERVICE_NAME`).
        meter_provider: An OpenTelemetry provider to record on; otherwise the global one if somebody has set one, else
            a private one with a Prometheus reader and a registry of its own.
        port: Serves `/metrics` there; 0 picks a free port (`LLMWATCH_PORT`, `OTEL_EXPORTER_PROMETHEUS_PORT`).
        host: The address to serve on, `127.0.0.1` unless given (`LLMWATCH_HOST`, `OTEL_EXPORTER_PROMETHEUS_HOST`).
        labels: Labels of your own, by name: the allowed values, or how many values there may be
            (`LLMWATCH_LABELS="tier=free|pro,region=20"`).
        label_limits: How many values a label may show before the rest say `other`; `series` limits all series of the
            process together (`LLMWATCH_LABEL_LIMITS="feature=50,series=20000"`).
        prices: A price file or its content, whose entries win over the price table (`LLMWATCH_PRICES`).
        semconv: Which generation of the `gen_ai.client.*` metrics is recorded beside `ai_*`: `legacy`, which today's
            dashboards read, `latest`, `both` or `none` (`LLMWATCH_SEMCONV`).

    Returns:
        An object with `url`, `port` and `close()`.

    Raises:
        ValueError: When an argument or a variable is of no use; the message names it.
        OSError: When the port cannot be bound.
    """
    from llmwatch._settings import settings

    chosen = settings(
        {
            "service_name": service_name,
            "meter_provider": meter_provider,
            "port": port,
            "host": host,
            "labels": labels,
            "label_limits": label_limits,
            "prices": prices,
            "semconv": semconv,
        }
    )
    with _lock:
        return _install(chosen)


def shutdown() -> None:
    """Stops serving and closes what `configure` opened; a provider of yours is left as it is.

    Decorated functions go on to work, and count for a later `configure()`.
    """
    with _lock:
        shield = Shield(strict=_runtime.current().shield.strict)
        stopped = _runtime.install(Runtime.unpublished(shield, configured=True))
        _dismiss(stopped, None, None)


def _install(chosen: Settings) -> Configuration:
    previous = _runtime.current()
    declared = tuple(chosen.labels)
    load_plugins(previous.shield.report)
    book = PriceBook(chosen.prices)
    recorder = Recorder(
        previous.shield,
        budgets=_budgets(chosen),
        declared=declared,
        semconv=chosen.semconv,
        book=book,
    )
    page, provider, private = _provider(chosen, previous)
    endpoint = _endpoint(chosen, page, previous.endpoint)
    if page is not None:
        page.name(chosen.service_name, provider)
        if not private and page is not previous.page:
            provider.add_metric_reader(page.reader)
    publication = publication_on(provider)
    adopted = [publication.recorder] if publication.recorder is not None else []
    if previous.private or _shows_nothing(previous.provider):
        adopted.append(previous.recorder)
    publication.show(recorder, *adopted)
    _runtime.install(
        Runtime(previous.shield, recorder, previous.clock, True, provider, private, page, endpoint),
    )
    _dismiss(previous, page, endpoint)
    book.preload()
    return Configuration(endpoint)


def _dismiss(previous: Runtime, page: Page | None, endpoint: Endpoint | None) -> None:
    """Closes what the next configuration has not taken over from the one before."""
    if previous.endpoint is not None and previous.endpoint is not endpoint:
        previous.endpoint.close()
    if previous.page is None or previous.page is page:
        return
    if previous.private:
        previous.provider.shutdown()
    elif hasattr(previous.provider, "remove_metric_reader"):
        with suppress(KeyError):  # its owner has shut it down, and the reader with it
            previous.provider.remove_metric_reader(previous.page.reader)


def _provider(chosen: Settings, previous: Runtime) -> tuple[Page | None, Any, bool]:
    """The page, the provider and whether that is ours alone; those of before where they will do."""
    provider = chosen.meter_provider if chosen.meter_provider is not None else _global_provider()
    if provider is None:
        if previous.private and previous.page is not None:
            return previous.page, previous.provider, True
        page = Page(chosen.service_name)
        return page, page.private_provider(), True
    if previous.provider is provider and previous.page is not None:
        return previous.page, provider, False
    if chosen.port is None:
        return None, provider, False
    if not hasattr(provider, "add_metric_reader"):
        raise ValueError("configure(port=...): this meter provider takes no further reader; serve its own instead")
    return Page(chosen.service_name), provider, False


def _global_provider() -> Any:
    from opentelemetry.metrics import get_meter_provider

    provider = get_meter_provider()
    return None if _shows_nothing(provider) else provider


def _shows_nothing(provider: Any) -> bool:
    return provider is None or type(provider).__name__ in ("_ProxyMeterProvider", "NoOpMeterProvider")


def _endpoint(chosen: Settings, page: Page | None, running: Endpoint | None) -> Endpoint | None:
    """Who serves the page from now on; the one before goes on until the new one is there."""
    if chosen.port is None or page is None:
        return None
    if running is not None and running.serves(page, chosen.host, chosen.port):
        return running
    if running is not None and running.port == chosen.port:  # it stands in the new one's way
        running.close()
    try:
        return Endpoint(page, chosen.host, chosen.port)
    except OSError as error:
        raise OSError(
            error.errno, f"configure(port={chosen.port}): cannot serve on {chosen.host}: {error.strerror}"
        ) from None


def _budgets(chosen: Settings) -> Budgets:
    limits, declared = dict(chosen.label_limits), {}
    for name, values in chosen.labels.items():
        if isinstance(values, int):
            limits.setdefault(name, values)
        else:
            declared[name] = values
            limits.setdefault(name, len(values))
    return Budgets(limits, declared)
