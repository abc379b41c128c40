"""Private parts of the SDK: a histogram's aggregations for one label set, and how many label sets a reader takes.

The SDK copies, checks and hashes the attributes of every single measurement, which is nine tenths of what it costs.
Prometheus clients bind labels once; OpenTelemetry has no such call, so this reaches for private parts of the SDK, in
this one place. Where a version of it has other parts, the public way is taken, which is slower and no less right.

A reader puts label sets beyond its limit into a series of its own, silently. No public call tells that limit.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import repeat
from typing import Any


class _Value:
    """As much of a measurement as an aggregation looks at."""

    __slots__ = ("value",)

    def __init__(self, value: float) -> None:
        self.value = value


def record_all(histogram: Any, values: Sequence[float], attributes: Mapping[str, str]) -> None:
    """Records all values with the same attributes.

    Only inside a collection: a reader that collects meanwhile would take away what was found.
    """
    histogram.record(values[0], attributes)  # so that every reader has an aggregation for these attributes
    rest = values[1:]
    aggregations = _aggregations(histogram, attributes) if rest else ()
    if aggregations is None:
        for value in rest:
            histogram.record(value, attributes)
        return
    for aggregation in aggregations:
        if not _count_in(aggregation, rest):
            for value in rest:
                aggregation.aggregate(_Value(value), False)


def _count_in(aggregation: Any, values: Sequence[float]) -> bool:
    """Adds all values to a histogram of explicit buckets under its lock, once; whether it is one."""
    if not getattr(aggregation, "__dict__", {}).keys() >= _BUCKETS:
        return False
    with aggregation._lock:
        counts = aggregation._value = aggregation._value or aggregation._get_empty_bucket_counts()
        bounds = aggregation._boundaries
        for bucket, number in Counter(map(bisect_left, repeat(bounds), values)).items():
            counts[bucket] += number
        aggregation._sum += sum(values)
        if aggregation._record_min_max:
            aggregation._min = min(aggregation._min, *values)
            aggregation._max = max(aggregation._max, *values)
    return True


_BUCKETS = frozenset({"_lock", "_value", "_boundaries", "_sum", "_record_min_max", "_min", "_max"})


def capacity(instrument: Any) -> tuple[int | None, bool]:
    """How many label sets the narrowest reader or view takes of this instrument, and whether one was given more.

    `None` where that cannot be found out.
    """
    try:
        matches = list(_matches(instrument))
        limit = min((match._cardinality_limit for match in matches), default=None)
        return limit, any(len(match._attributes_aggregation) > match._cardinality_limit for match in matches)
    except (AttributeError, TypeError):
        return None, False


def reads_only(reader: Any, instruments: Iterable[Any]) -> bool:
    """Whether a reader reads these instruments and no others; `False` where that cannot be found out."""
    try:
        ours = list(instruments)
        consumer = ours[0]._measurement_consumer
        measured = consumer._reader_storages[reader]._instrument_view_instrument_matches
        return {*consumer._async_instruments, *measured} <= {*ours}
    except (AttributeError, LookupError, TypeError):
        return False


@contextmanager
def collecting(instrument: Any, reader: Any) -> Iterator[Callable[[Any], list[Any]] | None]:
    """A block in which no reader collects, and what gives this reader's points of a histogram in it.

    A collection makes observations of totals that are there already, which is most of what it costs. `None` where the
    SDK has other parts.
    """
    try:
        consumer = instrument._measurement_consumer
        lock, storage = consumer._lock, consumer._reader_storages[reader]
    except (AttributeError, KeyError):
        yield None
        return
    with lock:
        yield partial(_points, storage)


def _points(storage: Any, histogram: Any) -> list[Any]:
    from opentelemetry.sdk.metrics.export import AggregationTemporality

    cumulative, now = AggregationTemporality.CUMULATIVE, time.time_ns()
    matches = storage._get_or_init_view_instrument_match(histogram)
    return [point for match in matches for point in match.collect(cumulative, now) or ()]


def begin_anew(instruments: Iterable[Any]) -> None:
    """In a forked child: no reader has seen anything of these instruments, and nobody holds a lock.

    The SDK (1.45) renews none of the locks that a collection holds. A child that was forked in the middle of one would
    wait forever, in its first collection or measurement. What other instruments have recorded stays.
    """
    try:
        ours = {id(instrument) for instrument in instruments}
        for consumer in {id(each): each for each in (_consumer(one) for one in instruments)}.values():
            consumer._lock = threading.Lock()
            for storage in consumer._reader_storages.values():
                storage._lock = threading.RLock()
                for instrument, matches in storage._instrument_view_instrument_matches.items():
                    for match in matches:
                        _free(match, emptied=id(instrument) in ours)
    except (AttributeError, TypeError):
        return


def _consumer(instrument: Any) -> Any:
    return instrument._measurement_consumer


def _free(match: Any, *, emptied: bool) -> None:
    match._lock = threading.Lock()
    if emptied:
        match._attributes_aggregation = {}
    for aggregation in match._attributes_aggregation.values():
        if aggregation._lock.locked():
            aggregation._lock = threading.Lock()


def _matches(instrument: Any) -> Iterator[Any]:
    """The instrument's stores, one for each reader and view."""
    for storage in instrument._measurement_consumer._reader_storages.values():
        yield from storage._get_or_init_view_instrument_match(instrument)


def _aggregations(histogram: Any, attributes: Mapping[str, str]) -> Sequence[Any] | None:
    """The aggregations of every reader and view, or `None` where they are not where they were."""
    try:
        from opentelemetry.sdk.metrics._internal._view_instrument_match import _hash_attributes

        found = []
        for match in _matches(histogram):
            kept = match._view._attribute_keys
            seen = {name: value for name, value in attributes.items() if kept is None or name in kept}
            found.append(match._attributes_aggregation[_hash_attributes(seen)])
    except (ImportError, AttributeError, KeyError, TypeError):
        return None
    return found
