"""OTLP: a reader of its own on the provider, whose metrics an exporter sends to a receiver."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from opentelemetry.sdk.metrics import Counter, Histogram, ObservableCounter, ObservableUpDownCounter
from opentelemetry.sdk.metrics.export import (
    MetricExporter,
    MetricExportResult,
    MetricsData,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.resources import Resource

from llmwatch._targets import OtlpTarget

_SERIES = 100_000  # our own budgets come first, as on the page
_BATCH = 5_000  # points in a request over gRPC, whose receivers take 4 MiB unless told otherwise
_FOR_EVER = 1e12  # milliseconds: the SDK counts a time-out by a clock that may jump


class OtlpDelivery:
    """Sends a provider's metrics to a receiver.

    Args:
        target: The receiver.

    Raises:
        ImportError: When the exporter is not installed; the message names the extra.
        ValueError: When the exporter refuses what OpenTelemetry's variables tell it.
    """

    def __init__(self, target: OtlpTarget) -> None:
        self.target = target
        self.to = target.shown
        self._exporter = _Watched(_exporter(target))
        kinds = (Counter, Histogram, ObservableCounter, ObservableUpDownCounter)
        limits: Any = dict.fromkeys(kinds, _SERIES)
        self._reader = _Reader(self._exporter, math.inf, cardinality_limits=limits)
        self._provider: Any = None

    def attach(self, provider: Any) -> None:
        """Reads this provider from now on."""
        self._provider = provider
        provider.add_metric_reader(self._reader)

    def name(self, service_name: str | None) -> None:
        """Sends under another `service.name` than the provider's, if one is given."""
        self._exporter.service_name = service_name

    def deliver(self) -> None:
        """One collection, sent; raises when the receiver has not taken it."""
        self._exporter.problem = None
        self._reader.collect(_FOR_EVER)
        if self._exporter.problem is not None:
            raise ConnectionError(self._exporter.problem)

    def hasten(self) -> None:
        """Has exports given up when nobody listens there."""
        self._exporter.hurried = True

    def stop(self) -> None:
        """Breaks off an export that goes on, where that can be done."""
        self._exporter.shutdown()

    def finish(self) -> None:
        """Takes the reader off the provider."""
        self._exporter.shutdown()
        provider, self._provider = self._provider, None
        if provider is not None:
            provider.remove_metric_reader(self._reader)


class _Reader(PeriodicExportingMetricReader):
    """Without a thread of its own; others may shut it down, too, when they do so with all readers of a provider."""

    _ended = False

    def shutdown(self, timeout_millis: float = 30_000, **_: Any) -> None:
        """Ends it; again is nothing, where the default logs a warning."""
        if not self._ended:
            self._ended = True
            super().shutdown(timeout_millis)


class _Watched(MetricExporter):
    """An exporter whose failures are kept for whoever delivers, instead of being logged each time."""

    def __init__(self, exporter: Any) -> None:
        super().__init__(exporter._preferred_temporality, exporter._preferred_aggregation)
        self._exporter = exporter
        self._ended = False
        self.service_name: str | None = None
        self.problem: str | None = None
        self.hurried = False

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **_: Any) -> MetricExportResult:
        """Sends them; what went wrong is in `problem` afterwards."""
        with _Aside(self._heard) as said:
            try:
                result: MetricExportResult = self._exporter.export(self._named(metrics_data))
            except Exception as error:
                self.problem = repr(error)
                return MetricExportResult.FAILURE
        if result is not MetricExportResult.SUCCESS:
            self.problem = said[0] if said else "the export failed"
        return result

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Nothing is held back here."""
        return True

    def shutdown(self, timeout_millis: float = 30_000, **_: Any) -> None:
        """Ends the exporter, and an export that goes on where it can be; again is nothing."""
        if not self._ended:
            self._ended = True
            with _Aside(lambda _: None):
                self._exporter.shutdown()

    def _heard(self, said: str) -> None:
        """What the exporter logs just before it waits for its next try."""
        if self.hurried and "refused" in said:
            for waiting in (self._exporter, getattr(self._exporter, "_client", None)):
                for name in ("_shutdown_event", "_shutdown_in_progress"):  # over HTTP and over gRPC
                    event = getattr(waiting, name, None)
                    if isinstance(event, threading.Event):
                        event.set()

    def _named(self, data: MetricsData) -> MetricsData:
        if self.service_name is None:
            return data
        name = Resource({"service.name": self.service_name})
        return MetricsData([replace(each, resource=each.resource.merge(name)) for each in data.resource_metrics])


class _Aside(logging.Filter):
    """Keeps what the exporters log on this thread from the log, for as long as the block lasts.

    Other threads, and so other exporters of the same kind, log as ever.
    """

    def __init__(self, heard: Callable[[str], None]) -> None:
        super().__init__()
        self._heard = heard
        self._thread = threading.get_ident()
        self._said: list[str] = []

    def filter(self, record: logging.LogRecord) -> bool:
        if threading.get_ident() != self._thread:
            return True
        self._said.append(record.getMessage())
        self._heard(self._said[-1])
        return False

    def __enter__(self) -> list[str]:
        for name in _LOGGERS:
            logging.getLogger(name).addFilter(self)
        return self._said

    def __exit__(self, *_: object) -> None:
        for name in _LOGGERS:
            logging.getLogger(name).removeFilter(self)


_LOGGERS = (
    "opentelemetry.exporter.otlp.proto.http.metric_exporter",
    "opentelemetry.exporter.otlp.proto.grpc.metric_exporter",
    "opentelemetry.exporter.otlp.proto.grpc.exporter",
    "opentelemetry.exporter.otlp.proto.common._internal",
    "opentelemetry.exporter.otlp.common.http",
)


def _exporter(target: OtlpTarget) -> Any:
    arguments: dict[str, Any] = {} if target.endpoint is None else {"endpoint": target.endpoint}
    try:
        if target.protocol == "grpc":
            from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as Grpc

            return Grpc(max_export_batch_size=_BATCH, **arguments)
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as Http

        return Http(**arguments)
    except ValueError as error:
        raise ValueError(
            f"configure(otlp=...): the exporter refuses what OpenTelemetry's variables say: {error}"
        ) from None
    except ImportError as error:
        raise ImportError(
            f"configure(otlp=...) needs OpenTelemetry's exporter: pip install 'llmwatch[otlp]' ({error})"
        ) from None
