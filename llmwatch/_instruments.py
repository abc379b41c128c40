"""Cells → instruments on the shared meter: the only place that touches OpenTelemetry.

Counters are observable: at collection they report the running totals. Histograms are filled at the beginning of the
same collection, from the values that were parked since the last one, so any reader sees them in it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, ref

from llmwatch import metrics
from llmwatch._bound import begin_anew, capacity, collecting, reads_only, record_all
from llmwatch._neighbours import advice, neighbours
from llmwatch._version import __version__
from llmwatch.metrics import Metric

if TYPE_CHECKING:
    from opentelemetry.metrics import CallbackOptions, Meter, MeterProvider, Observation

    from llmwatch._cells import Key
    from llmwatch._recorder import Recorder

Callback = Callable[["CallbackOptions"], "Iterable[Observation]"]
Point = tuple[Mapping[str, Any], Any]
"""Attributes, and a total or the SDK's point of a histogram."""


class Publication:
    """One meter, its instruments, and the recorder whose totals they report at the moment.

    An instrument can be created only once on a meter, so a provider keeps its publication, and a new configuration
    changes the recorder behind it.
    """

    def __init__(self, meter: Meter, provider: MeterProvider) -> None:
        self._meter = meter
        self._provider: ref[MeterProvider] | None = ref(provider)  # until its neighbours have been spoken of
        self._instruments: dict[Metric, Any] = {}
        self._lock = threading.Lock()
        self.recorder: Recorder | None = None

    def show(self, recorder: Recorder, *adopted: Recorder) -> None:
        """Reports this recorder's totals from now on, with all that earlier ones have; no collection sees less."""
        # The first instrument to be asked at a collection settles the accounts for all.
        for metric in (metrics.BUILD_INFO, *recorder.metrics):
            if metric not in self._instruments:  # made outside our lock: the SDK's own lock is around our reports
                self._instruments[metric] = self._create(metric)
        recorder.make_room(*self._room())
        with self._lock:
            for earlier in adopted:
                recorder.adopt(earlier)
            recorder.outlet = self
            self.recorder = recorder

    def changes(self) -> Hashable:
        """Something that is another whenever a collection would find something new."""
        return self.recorder.changes() if self.recorder is not None else 0

    def begin_anew(self) -> None:
        """In a forked child: shows nothing until it is told what, and no reader has seen anything of it."""
        self._lock = threading.Lock()
        self.recorder = None
        begin_anew(self._instruments.values())

    def _room(self) -> tuple[dict[str, int], list[str]]:
        """How many label sets the readers take of each metric, and the metrics of which they were given more."""
        capacities = {metric.name: capacity(instrument) for metric, instrument in list(self._instruments.items())}
        room = {name: limit for name, (limit, _) in capacities.items() if limit is not None}
        return room, [name for name, (_, cut) in capacities.items() if cut]

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
                    self._settle(recorder)
                names, totals = recorder.label_names(metric), recorder.totals(metric)
            return [
                Observation(value if isinstance(value, int) else float(value), _attributes(metric, names, key))
                for key, value in totals
            ]

        return report

    def _settle(self, recorder: Recorder) -> None:
        recorder.make_room(*self._room())  # of readers, too, that have come since
        recorder.settle(collecting=True)
        self._look_around(recorder)

    def _look_around(self, recorder: Recorder) -> None:
        """Advises, once, where another instrumentation counts the same calls in metrics of the same names."""
        if self._provider is None:
            return
        names = {metric.name for metric in recorder.metrics if metric.set in ("legacy", "latest")}
        try:
            if found := neighbours(self._provider(), names, self._meter.name):
                self._provider = None
                with recorder.shield.silence(aside=True):
                    recorder.shield.advise(advice(found))
        except Exception as error:  # another SDK's provider, or a logging handler of the host's own
            recorder.shield.report("neighbours", error)

    def is_all_of(self, reader: Any) -> bool:
        """Whether this reader reads nothing but our instruments; `False` where that cannot be found out."""
        return reads_only(reader, self._instruments.values())

    def snapshot(self, reader: Any) -> list[tuple[Metric, list[Point]]] | None:
        """What a cumulative reader would collect of our instruments, at a fifth of the cost.

        `None` where only the reader itself can do that.
        """
        if self.recorder is None:
            return []
        with collecting(self._instruments.get(metrics.BUILD_INFO), reader) as points_of:
            if points_of is None:
                return None
            with self._lock:
                recorder = self.recorder  # by now it may be another one
                self._settle(recorder)
                found = [(metric, self._totals(recorder, metric)) for metric in recorder.metrics]
            return [(metric, totals or self._distributions(metric, points_of)) for metric, totals in found]

    def _totals(self, recorder: Recorder, metric: Metric) -> list[Point]:
        names = recorder.label_names(metric)
        return [(_attributes(metric, names, key), value) for key, value in recorder.totals(metric)]

    def _distributions(self, metric: Metric, points_of: Callable[[Any], list[Any]]) -> list[Point]:
        found = points_of(self._instruments[metric]) if metric.kind == "histogram" else []
        return [(point.attributes, point) for point in found]

    def take_some(self, recorder: Recorder, most: int) -> None:
        """Hands up to so many histogram values to their instruments, outside of a collection."""
        for metric, key, value in recorder.cells.take(most):
            if instrument := self._instruments.get(metric):  # none, where its set was given up before it was shown
                instrument.record(value, _attributes(metric, recorder.label_names(metric), key))

    def take_all(self, recorder: Recorder) -> None:
        """Hands all histogram values to their instruments, inside a collection."""
        for metric, key, values in recorder.cells.take_all():
            if instrument := self._instruments.get(metric):
                record_all(instrument, values, _attributes(metric, recorder.label_names(metric), key))


_publications: WeakKeyDictionary[MeterProvider, Publication] = WeakKeyDictionary()


def publication_on(provider: MeterProvider) -> Publication:
    """The publication of this provider, made on first use."""
    publication = _publications.get(provider)
    if publication is None:
        publication = _publications[provider] = Publication(provider.get_meter("llmwatch", __version__), provider)
    return publication


def begin_anew_on(provider: MeterProvider) -> None:
    """In a forked child: the provider's publication, if it has one, begins anew."""
    if (publication := _publications.get(provider)) is not None:
        publication.begin_anew()


def _attributes(metric: Metric, names: Iterable[str], key: Key) -> Mapping[str, str]:
    """A label set as attributes.

    Our own labels are empty when they have no value. The convention leaves out what is not known; so are the labels
    that the application declares, which makes series from before they were declared the same as those without a value.
    """
    pairs = zip(names, key, strict=True)
    ours = metric.labels if metric.set == "ai" else ()
    return {name: value for name, value in pairs if value or name in ours}
