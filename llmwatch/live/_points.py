"""Points: what one collection found of our own metrics, wherever it was made."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricsData

    from llmwatch.metrics import Metric

Point = tuple[str, Mapping[str, Any], Any]
"""An instrument's name, a label set, and a number or the SDK's point of a histogram."""

_SCOPE = "llmwatch"


def of_publication(found: Iterable[tuple[Metric, Iterable[tuple[Mapping[str, Any], Any]]]]) -> Iterator[Point]:
    """Those of this process, as its own publication lists them."""
    for metric, points in found:
        for labels, value in points:
            yield metric.name, labels, value


def of_reader(data: MetricsData | None) -> Iterator[Point]:
    """Those that a reader of the SDK has collected; what other libraries have recorded is left out."""
    for resource in data.resource_metrics if data is not None else ():
        for scope in resource.scope_metrics:
            if scope.scope.name == _SCOPE:
                for metric in scope.metrics:
                    for point in metric.data.data_points:
                        yield metric.name, point.attributes or {}, getattr(point, "value", point)
