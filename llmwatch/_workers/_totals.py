"""Totals: what the instruments of one process, or of many, add up to, by metric and label set."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from llmwatch._workers._sums import Number, condensed, total

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricsData

Kind = Literal["counter", "updown", "gauge", "histogram"]
Key = tuple[tuple[str, ...], tuple[str, ...]]
"""Label names in their order, and their values."""

LASTING: tuple[Kind, ...] = ("counter", "histogram")
"""The kinds that outlive their process; the others say how things are."""


class Family(NamedTuple):
    """One metric; of two processes' metrics, those that agree in all of this are one."""

    scope: str
    name: str
    unit: str
    kind: Kind


class Reading(NamedTuple):
    """A gauge's value.

    Attributes:
        at: Nanoseconds, by whatever clock, at which it was seen to have this value.
        value: The value.
    """

    at: int
    value: Number


@dataclass(slots=True)
class Distribution:
    """A histogram of one label set.

    Attributes:
        bounds: The upper bounds of all buckets but the last.
        counts: How many values are in each bucket.
        sums: Parts of the sum of all values.
    """

    bounds: tuple[float, ...]
    counts: list[int]
    sums: list[Number]

    def add(self, other: Distribution) -> None:
        """Adds another one's values; where its buckets differ, each moves to the first that is as high."""
        self.sums += other.sums
        if other.bounds == self.bounds:
            self.counts = [ours + theirs for ours, theirs in zip(self.counts, other.counts, strict=True)]
            return
        for bound, count in zip((*other.bounds, float("inf")), other.counts, strict=True):
            place = next((n for n, ours in enumerate(self.bounds) if ours >= bound), len(self.bounds))
            self.counts[place] += count


@dataclass(slots=True)
class Table:
    """One metric's values by label set: parts of a sum, a `Reading`, or a `Distribution`."""

    description: str
    points: dict[Key, Any] = field(default_factory=dict)


Totals = dict[Family, Table]


def collected(data: MetricsData) -> Totals:
    """Totals from what a reader of the SDK has collected, cumulative; kinds that Prometheus lacks are left out."""
    totals: Totals = {}
    for resource in data.resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                if (kind := _kind(metric.data)) is not None:
                    family = Family(scope.scope.name, metric.name, metric.unit or "", kind)
                    table = totals.setdefault(family, Table(metric.description or ""))
                    for point in metric.data.data_points:
                        _put(table.points, kind, _key(point.attributes or {}), _value(kind, point))
    return totals


def counted(found: Iterable[tuple[Any, Iterable[tuple[Mapping[str, Any], Any]]]], scope: str) -> Totals:
    """Totals from metrics of our own catalogue, each with its points."""
    totals: Totals = {}
    now = time.time_ns()
    for metric, points in found:
        table = Table(metric.description)
        for attributes, amount in points:
            key = tuple(attributes), tuple(attributes.values())
            if metric.kind == "histogram":
                table.points[_sorted(key)] = _value("histogram", amount)
            else:
                value = amount if isinstance(amount, int) else float(amount)
                table.points[_sorted(key)] = Reading(now, value) if metric.kind == "gauge" else [value]
        if table.points:
            totals[Family(scope, metric.name, metric.unit, metric.kind)] = table
    return totals


def _kind(data: Any) -> Kind | None:
    name = type(data).__name__
    if name == "Sum":
        return "counter" if data.is_monotonic else "updown"
    return "gauge" if name == "Gauge" else "histogram" if name == "Histogram" else None


def _key(attributes: Mapping[str, Any]) -> Key:
    values = tuple([value if type(value) is str else json.dumps(value, default=str) for value in attributes.values()])
    return _sorted((tuple(attributes), values))


def _sorted(key: Key) -> Key:
    order = _order(key[0])
    return key if order is None else (tuple(sorted(key[0])), order(key[1]))


@lru_cache(1024)
def _order(names: tuple[str, ...]) -> Any:
    """Puts values in the order of their names, where they are not."""
    order = sorted(range(len(names)), key=names.__getitem__)
    return None if order == list(range(len(names))) else itemgetter(*order)


def _value(kind: Kind, point: Any) -> Any:
    if kind == "histogram":
        return Distribution(tuple(point.explicit_bounds), list(point.bucket_counts), [point.sum])
    return Reading(point.time_unix_nano, point.value) if kind == "gauge" else [point.value]


def _put(points: dict[Key, Any], kind: Kind, key: Key, value: Any) -> None:
    """Adds a value to the points; it may become part of them."""
    known = points.get(key)
    if known is None:
        points[key] = value
    elif kind == "gauge":
        points[key] = max(known, value)
    elif kind == "histogram":
        known.add(value)
    else:
        known += value


def add(totals: Totals, other: Totals, kinds: Iterable[Kind] | None = None) -> None:
    """Adds to totals the others, or only those of some kinds; the others stay as they are."""
    for family, table in other.items():
        if kinds is not None and family.kind not in kinds:
            continue
        mine = totals.setdefault(family, Table(table.description))
        for key, value in table.points.items():
            _put(mine.points, family.kind, key, value if family.kind == "gauge" else _copied(value))


def _copied(value: Any) -> Any:
    if isinstance(value, Distribution):
        return Distribution(value.bounds, [*value.counts], [*value.sums])
    return [*value]


def document(totals: Totals) -> list[Any]:
    """Totals as JSON has them: a family, its description, and its rows grouped by label names and bounds."""
    families = []
    for family, table in totals.items():
        groups: dict[Any, list[list[Any]]] = {}
        for (names, values), value in table.points.items():
            bounds = value.bounds if isinstance(value, Distribution) else ()
            groups.setdefault((names, bounds), []).append([*values, *_numbers(value)])
        grouped = [[names, bounds, rows] for (names, bounds), rows in groups.items()]
        families.append([*family, table.description, grouped])
    return families


def _numbers(value: Any) -> Sequence[Any]:
    if isinstance(value, Distribution):
        return (_compact(value.sums), *value.counts)
    return value if isinstance(value, Reading) else (_compact(value),)


def _compact(parts: list[Number]) -> Any:
    return parts[0] if len(parts) == 1 else condensed(parts)


def restored(families: list[Any]) -> Totals:
    """Totals from their document.

    Raises:
        ValueError, TypeError, LookupError: When it is none.
    """
    totals: Totals = {}
    for scope, name, unit, kind, description, groups in families:
        table = totals[Family(scope, name, unit, kind)] = Table(description)
        for group in groups:
            names, bounds, rows = tuple(group[0]), tuple(group[1]), group[2]
            width = len(names)
            for row in rows:
                table.points[names, tuple(row[:width])] = _parsed(kind, bounds, row[width:])
    return totals


def _parsed(kind: Kind, bounds: tuple[float, ...], numbers: list[Any]) -> Any:
    if kind == "gauge":
        return Reading(*numbers)
    parts = numbers[0] if isinstance(numbers[0], list) else [numbers[0]]
    if kind != "histogram":
        return parts
    if len(numbers) != len(bounds) + 2:
        raise ValueError("a histogram's row has another length than its bounds")
    return Distribution(bounds, numbers[1:], parts)


def metrics_data(totals: Totals) -> MetricsData:
    """Totals as a reader of the SDK would collect them."""
    from opentelemetry.sdk.metrics import export
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    scopes: dict[str, list[Any]] = {}
    for family, table in totals.items():
        metric = export.Metric(family.name, table.description, family.unit, _data(family.kind, table))
        scopes.setdefault(family.scope, []).append(metric)
    return export.MetricsData(
        [
            export.ResourceMetrics(
                Resource.get_empty(),
                [export.ScopeMetrics(InstrumentationScope(name), found, "") for name, found in scopes.items()],
                "",
            )
        ]
    )


def _data(kind: Kind, table: Table) -> Any:
    from opentelemetry.sdk.metrics.export import (
        AggregationTemporality,
        Gauge,
        Histogram,
        HistogramDataPoint,
        NumberDataPoint,
        Sum,
    )

    always = AggregationTemporality.CUMULATIVE
    labelled = [(dict(zip(*key, strict=True)), value) for key, value in table.points.items()]
    if kind == "histogram":
        return Histogram(
            [
                HistogramDataPoint(labels, 0, 0, sum(one.counts), total(one.sums), one.counts, one.bounds, 0.0, 0.0)
                for labels, one in labelled
            ],
            always,
        )
    if kind == "gauge":
        return Gauge([NumberDataPoint(labels, 0, 0, reading.value) for labels, reading in labelled])
    return Sum([NumberDataPoint(labels, 0, 0, total(parts)) for labels, parts in labelled], always, kind == "counter")
