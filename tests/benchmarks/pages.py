"""Pages: how long a scrape takes beside the stock reader's with the same series."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import tools
from answers import MODEL
from by_hand import Fresh, Instruments
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import (
    Counter,
    Histogram,
    MeterProvider,
    ObservableCounter,
    ObservableGauge,
    ObservableUpDownCounter,
    UpDownCounter,
)
from opentelemetry.sdk.metrics.export import Gauge as Gauges
from opentelemetry.sdk.metrics.export import Histogram as Histograms
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, Metric
from ours import OURS, configured
from prometheus_client import CollectorRegistry, generate_latest
from results import Line
from timing import Turn, in_turns
from tools import by_hand

import llmwatch
from llmwatch import _runtime

SCRAPES = "scrape"
STOCK = "stock PrometheusMetricReader"
_KINDS: tuple[Any, ...] = (
    Counter,
    UpDownCounter,
    Histogram,
    ObservableCounter,
    ObservableUpDownCounter,
    ObservableGauge,
)
_UNLIMITED = dict.fromkeys(_KINDS, 1_000_000)  # label sets: more than any page here shows


def named(page: str, size: int) -> str:
    """The line of a page with so many series."""
    return f"{page}, {size:,} series"


class Ours:
    """Our page with so many sample lines, or a few more."""

    def __init__(self, lines: int) -> None:
        self._runtime = configured(label_limits={"feature": lines, "series": 10 * lines})
        self._memory = InMemoryMetricReader(cardinality_limits=_UNLIMITED)
        self._runtime.provider.add_metric_reader(self._memory)
        self._observed = llmwatch.observe_llm(provider="openai", model=MODEL)(tools.answer)
        self._call_for(1)
        few, number = sample_lines(self.render()), 1
        while (shown := sample_lines(self.render())) < lines:
            more = max(1, (lines - shown) // max(1, (shown - few) // max(1, number - 1)) if number > 1 else 1)
            for _ in range(more):
                number += 1
                self._call_for(number)

    def render(self) -> bytes:
        page: bytes = self._runtime.page.render()[0]
        return page

    def call(self) -> object:
        return self._call_for(1)

    def take_place(self) -> object:
        """The calls that follow are recorded here."""
        return _runtime.install(self._runtime)

    def metrics(self) -> list[Metric]:
        """What is on it; asked once, as a second reader costs something."""
        data: Any = self._memory.get_metrics_data()
        self._runtime.provider.remove_metric_reader(self._memory)
        return [metric for each in data.resource_metrics for scope in each.scope_metrics for metric in scope.metrics]

    def _call_for(self, number: int) -> object:
        with llmwatch.attribute(feature=f"feature-{number}"):
            return self._observed()


class Stock:
    """The same series, counted by instruments of the SDK, on the page of its reader for Prometheus."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._registry = CollectorRegistry()
        reader = PrometheusMetricReader(
            registry=self._registry, scope_info_enabled=False, cardinality_limits=_UNLIMITED
        )
        self.provider = MeterProvider([reader], shutdown_on_exit=False)
        meter = self.provider.get_meter("stock")
        self._again = [_replay(meter, metric) for metric in metrics]

    def render(self) -> bytes:
        return generate_latest(self._registry)

    def call(self) -> object:
        """Records something, so that no page is the same as the one before."""
        return [again() for again in self._again]

    def calls_by_hand(self) -> Callable[[], object]:
        """An observed call whose metrics are on the page, too."""
        return by_hand(Fresh(Instruments(self.provider, "by_hand_"))).sync


def _replay(meter: Any, metric: Metric) -> Callable[[], object]:
    """Counts with an instrument of the SDK's what a metric shows, each of its label sets once; counts one again."""
    name, unit, said = metric.name, metric.unit, metric.description
    points: Sequence[Any] = metric.data.data_points
    put: Callable[[float, Any], None]
    if isinstance(metric.data, Histograms):
        put = meter.create_histogram(
            name, unit, said, explicit_bucket_boundaries_advisory=points[0].explicit_bounds
        ).record
    elif isinstance(metric.data, Gauges):
        put = meter.create_gauge(name, unit, said).set
    else:
        sums: Any = metric.data
        make = meter.create_counter if sums.is_monotonic else meter.create_up_down_counter
        put = make(name, unit, said).add
    values = [point.max if isinstance(metric.data, Histograms) else point.value for point in points]
    for value, point in zip(values, points, strict=True):
        put(value, point.attributes)
    return partial(put, values[0], points[0].attributes)


def sample_lines(page: bytes) -> int:
    """How many series a page shows."""
    return sum(1 for line in page.splitlines() if not line.startswith(b"#"))


def scrapes(sizes: Sequence[int], rounds: int) -> list[Line]:
    """Milliseconds of a scrape, each after a call, beside the stock reader's."""
    lines = []
    for size in sizes:
        ours = Ours(size)
        stock = Stock(ours.metrics())
        timings = in_turns(
            {
                OURS: Turn(ours.render, 1, lambda ours=ours: (ours.take_place(), ours.call())),
                STOCK: Turn(stock.render, 1, stock.call),
            },
            rounds=rounds,
        )
        for name, page in ((OURS, ours), (STOCK, stock)):
            figures: dict[str, float | None] = {
                "ms": timings[name].median * 1e3,
                "÷ stock": timings[name].ratio(timings[STOCK]),
                "sample lines": sample_lines(page.render()),
            }
            lines.append(Line(SCRAPES, named(name, size), "", figures))
    return lines
