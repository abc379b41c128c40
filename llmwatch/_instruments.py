"""Cells → instruments on the shared meter: the only place that touches OpenTelemetry.

Counters are observable: at collection they report the running totals. Histograms are filled at the beginning of the
same collection, from the values that were parked since the last one, so any reader sees them in it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from llmwatch import metrics
from llmwatch._bound import record_all
from llmwatch._version import __version__
from llmwatch.metrics import Metric

if TYPE_CHECKING:
    from opentelemetry.metrics import CallbackOptions, Meter, MeterProvider, Observation

    from llmwatch._cells import Key
    from llmwatch._recorder import Recorder

Callback = Callable[["CallbackOptions"], "Iterable[Observation]"]


class Publication:
    """One meter, its instruments, and the recorder whose totals they report at the moment.

    An instrument can be created only once on a meter, so a provider keeps its publication, and a new configuration
    changes the recorder behind it.
    """

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._instruments: dict[Metric, Any] = {}
        self._lock = threading.Lock()
        self.recorder: Recorder | None = None

    def show(self, recorder: Recorder, *adopted: Recorder) -> None:
        """Reports this recorder's totals from now on, with all that earlier ones have; no collection sees less."""
        # The first instrument to be asked at a collection settles the accounts for all.
        for metric in (metrics.BUILD_INFO, *recorder.metrics):
            if metric not in self._instruments:  # made outside our lock: the SDK's own lock is around our reports
                self._instruments[metric] = self._create(metric)
        with self._lock:
            for earlier in adopted:
                recorder.adopt(earlier)
            recorder.outlet = self
            self.recorder = recorder

    def _create(self, metric: Metric) -> Any:
        if metric.kind == "histogram":
            return self._meter.create_histogram(
                metric.name,
                metric.unit,
                metric.description,
                explicit_bucket_boundaries_advisory=metric.buckets,
            )
        create = {
            "counter": self._meter.create_observable_counter,
            "updown": self._meter.create_observable_up_down_counter,
            "gauge": self._meter.create_observable_gauge,
        }[metric.kind]
        return create(metric.name, [self._reporter(metric)], metric.unit, metric.description)

    def _reporter(self, metric: Metric) -> Callback:
        from opentelemetry.metrics import Observation

        def report(options: CallbackOptions) -> Iterable[Observation]:
            with self._lock:
                recorder = self.recorder
                if recorder is None or metric not in recorder.metrics:
                    return ()
                if metric is metrics.BUILD_INFO:
                    recorder.settle(collecting=True)
                names, totals = recorder.label_names(metric), recorder.totals(metric)
            return [
                Observation(value if isinstance(value, int) else float(value), _attributes(metric, names, key))
                for key, value in totals
            ]

        return report

    def take_some(self, recorder: Recorder, most: int) -> None:
        """Hands up to so many histogram values to their instruments, outside of a collection."""
        for metric, key, value in recorder.cells.take(most):
            self._instruments[metric].record(value, _attributes(metric, recorder.label_names(metric), key))

    def take_all(self, recorder: Recorder) -> None:
        """Hands all histogram values to their instruments, inside a collection."""
        for metric, key, values in recorder.cells.take_all():
            record_all(self._instruments[metric], values, _attributes(metric, recorder.label_names(metric), key))


_publications: WeakKeyDictionary[MeterProvider, Publication] = WeakKeyDictionary()


def publication_on(provider: MeterProvider) -> Publication:
    """The publication of this provider, made on first use."""
    publication = _publications.get(provider)
    if publication is None:
        publication = _publications[provider] = Publication(provider.get_meter("llmwatch", __version__))
    return publication


def _attributes(metric: Metric, names: Iterable[str], key: Key) -> Mapping[str, str]:
    """A label set as attributes.

    Our own labels are empty when they have no value. The convention leaves out what is not known; so are the labels
    that the application declares, which makes series from before they were declared the same as those without a value.
    """
    pairs = zip(names, key, strict=True)
    ours = metric.labels if metric.set == "ai" else ()
    return {name: value for name, value in pairs if value or name in ours}
