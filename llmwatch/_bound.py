"""A histogram's aggregations for one label set, found once: many values without the SDK's checks of each.

The SDK copies, checks and hashes the attributes of every single measurement, which is nine tenths of what it costs.
Prometheus clients bind labels once; OpenTelemetry has no such call, so this reaches for private parts of the SDK, in
this one place. Where a version of it has other parts, the public way is taken, which is slower and no less right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    for value in rest:
        measurement = _Value(value)
        for aggregation in aggregations:
            aggregation.aggregate(measurement, False)


def _aggregations(histogram: Any, attributes: Mapping[str, str]) -> Sequence[Any] | None:
    """The aggregations of every reader and view, or `None` where they are not where they were."""
    try:
        from opentelemetry.sdk.metrics._internal._view_instrument_match import _hash_attributes

        found = []
        for storage in histogram._measurement_consumer._reader_storages.values():
            for match in storage._get_or_init_view_instrument_match(histogram):
                kept = match._view._attribute_keys
                seen = {name: value for name, value in attributes.items() if kept is None or name in kept}
                found.append(match._attributes_aggregation[_hash_attributes(seen)])
    except (ImportError, AttributeError, KeyError, TypeError):
        return None
    return found
