"""The page's reader: OpenTelemetry's for Prometheus, with what it cannot show left out instead of failing the page."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics.export import Gauge, Histogram, Metric, MetricsData, ResourceMetrics, ScopeMetrics, Sum
from prometheus_client import CollectorRegistry

if TYPE_CHECKING:
    from prometheus_client.core import Metric as Family

_FOR_EVER = 1e12  # milliseconds: the SDK counts a time-out by a clock that may jump, and doubles what it breaks off


class PageReader(PrometheusMetricReader):
    """Reads what the exporter for Prometheus can show.

    Args:
        skipped: Told the name of a metric that it cannot, once: exponential histograms, to which a view of the
            program's own may have turned some, fail the whole page in 0.66b2.
        settings: Those of `PrometheusMetricReader`.

    Attributes:
        ended: Whether it is shut down, after which there is nothing to show.
    """

    def __init__(self, skipped: Callable[[str], None], **settings: Any) -> None:
        super().__init__(registry=CollectorRegistry(), **settings)  # which nobody asks: the page asks for families
        collector: Any = self._collector
        collector._callback = None  # it translates what it is given
        self.ended = False
        self._skipped = skipped
        self._received = threading.local()
        self._without: set[str] = set()

    def taken(self) -> MetricsData | None:
        """What the provider has; `None` when that is nothing."""
        if self._collect is None:  # not on a provider yet, or not any more
            return None
        self._received.data = None
        self.collect(_FOR_EVER)
        data: MetricsData | None = self._received.data
        self._received.data = None
        return data

    def families(self, data: MetricsData) -> Iterable[Family]:
        """What the exporter makes of data. For one at a time: it would mix those of two."""
        self._collector.add_metrics_data(data)
        families: Iterable[Family] = self._collector.collect()
        return families

    def shutdown(self, timeout_millis: float = 30_000, **_: Any) -> None:
        """Ends it; again is nothing, where the default raises."""
        if not self.ended:
            self.ended = True
            super().shutdown(timeout_millis)

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Nothing is held back here; the default would collect for nobody."""
        return True

    def _receive_metrics(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **_: Any) -> None:
        shown = [self._shown(each) for each in metrics_data.resource_metrics]
        self._received.data = replace(metrics_data, resource_metrics=shown)

    def _shown(self, resource: ResourceMetrics) -> ResourceMetrics:
        return replace(resource, scope_metrics=[self._shown_of(scope) for scope in resource.scope_metrics])

    def _shown_of(self, scope: ScopeMetrics) -> ScopeMetrics:
        shown = [metric for metric in scope.metrics if self._can_show(metric)]
        if scope.scope.name != "llmwatch":  # whose labels are clean already
            shown = [_encodable(metric) for metric in shown]
        return replace(scope, metrics=shown)

    def _can_show(self, metric: Metric) -> bool:
        if isinstance(metric.data, Sum | Gauge | Histogram):
            return True
        if metric.name not in self._without:
            self._without.add(metric.name)
            self._skipped(metric.name)
        return False


def clean(text: str) -> str:
    """The text with `?` in place of what UTF-8 cannot hold: lone halves of surrogate pairs."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _encodable(metric: Metric) -> Metric:
    """The metric with all its strings clean; one of them would fail the whole page."""
    data: Any = metric.data
    points = [_encodable_point(point) for point in data.data_points]
    return replace(metric, description=clean(metric.description or ""), data=replace(data, data_points=points))


def _encodable_point(point: Any) -> Any:
    attributes = point.attributes or {}
    cleaned = {name: clean(value) if isinstance(value, str) else value for name, value in attributes.items()}
    return point if cleaned == attributes else replace(point, attributes=cleaned)
