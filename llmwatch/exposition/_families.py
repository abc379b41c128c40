"""Families: our own metrics as OpenTelemetry's exporter for Prometheus makes them, straight from their publication.

On its way through the SDK each total would become an observation, a measurement, an aggregation and a data point, which
is most of what a scrape costs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

if TYPE_CHECKING:
    from prometheus_client.core import Metric as Family

    from llmwatch._instruments import Point
    from llmwatch.metrics import Kind, Metric

_FAMILIES: Mapping[Kind, Any] = {
    "counter": CounterMetricFamily,
    "updown": GaugeMetricFamily,
    "gauge": GaugeMetricFamily,
    "histogram": HistogramMetricFamily,
}


def families(found: Iterable[tuple[Metric, list[Point]]]) -> Iterator[Family]:
    """What `Publication.snapshot` has found, one family after the other."""
    for metric, points in found:
        if points:
            yield _family(metric, points)


def _family(metric: Metric, points: list[Point]) -> Family:
    names = sorted({name for labels, _ in points for name in labels})
    family: Any = _FAMILIES[metric.kind](
        _shown(metric.name),
        metric.description,
        labels=[_shown(name) for name in names],
        unit="seconds" if metric.unit == "s" else "",
    )
    for labels, value in points:
        values = [labels.get(name, "") for name in names]
        if metric.kind == "histogram":
            family.add_metric(values, _buckets(value), value.sum)
        else:
            family.add_metric(values, value)
    shown: Family = family
    return shown


def _buckets(point: Any) -> list[tuple[str, int]]:
    bounds = [*map(str, point.explicit_bounds), "+Inf"]
    return list(zip(bounds, accumulate(point.bucket_counts), strict=True))


def _shown(name: str) -> str:
    return name.replace(".", "_")
