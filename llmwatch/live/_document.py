"""The document that the page shows: the last hour in numbers, as JSON has them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from llmwatch.live._changes import Halves, factors, movers
from llmwatch.live._history import History
from llmwatch.live._quantile import quantile
from llmwatch.live._remedies import remedy
from llmwatch.live._span import Span
from llmwatch.live._tally import ALL, DIMENSIONS, FIRST_CHUNK, FIRST_CHUNK_BOUNDS, Look, Subject

_NARROW, _WIDE = 10.0, 120.0  # seconds that one point of a chart stands for, at least and at most
_IN_TABLES = ("requests", "errors", "p95", "input", "output", "dollars")
_LEAST_HALF = 5.0  # seconds, below which a half says nothing


class Past(NamedTuple):
    """What is remembered.

    Attributes:
        looks: All of it, at few moments.
        totals: What the charts draw, at many: the rows about all calls, and how many are open.
        last: When each trouble was last seen to grow.
        epoch: Milliseconds since 1970 when the monotonic clock was at 0.
    """

    looks: History[Look]
    totals: History[Look]
    last: dict[Subject, float]
    epoch: float

    def wall(self, at: float) -> int:
        """Milliseconds since 1970."""
        return round(self.epoch + at * 1000)


def document(past: Past) -> dict[str, Any]:
    """What is there to be shown; its first look is where the span begins."""
    looks = past.looks
    now = looks.values[-1]
    span = Span(looks.values[0], now, looks.times[-1] - looks.times[0])
    halves = _halves(looks)
    return {
        "at": past.wall(looks.times[-1]),
        "since": past.wall(looks.times[0]),
        "seconds": span.seconds,
        "active": now.active.get(ALL, 0),
        "total": {**span.figures(), **span.first_chunk()},
        "halves": [{**half.figures(), **half.first_chunk()} for half in halves] if halves else None,
        "charts": _charts(past),
        "tables": {dimension: list(_table(dimension, span, halves)) for dimension in DIMENSIONS},
        "factors": factors(halves) if halves else None,
        "movers": movers(halves) if halves else [],
        "limits": list(_limits(now)),
        "errors": _errors(span, past),
        **{kind: list(_troubles(kind, span, past)) for kind in ("unpriced", "missing", "overflow", "internal")},
    }


def _halves(looks: History[Look]) -> Halves | None:
    times = looks.times
    place = looks.around((times[0] + times[-1]) / 2)
    if min(times[place] - times[0], times[-1] - times[place]) < _LEAST_HALF:
        return None
    first, middle, last = looks.values[0], looks.values[place], looks.values[-1]
    return Halves(Span(first, middle, times[place] - times[0]), Span(middle, last, times[-1] - times[place]))


def _table(dimension: str, span: Span, halves: Halves | None) -> Iterator[dict[str, Any]]:
    """Who has made calls in the span, or makes some now."""
    names = {subject[1]: None for subject, _ in span.grown(dimension)}
    active = {subject: count for subject, count in span.after.active.items() if subject[0] == dimension}
    names |= {subject[1]: None for subject, count in active.items() if count}
    for name in names:
        subject = dimension, name
        all_figures = span.figures(subject)
        row: dict[str, Any] = {"name": name, **{figure: all_figures[figure] for figure in _IN_TABLES}}
        # Neither durations nor open calls are counted by agent.
        row |= {"p95": None} if dimension == "agent" else {"active": active.get(subject, 0)}
        if halves:
            both = [half.figures(subject) for half in halves]
            row["halves"] = {
                figure: [_short(half[figure]) for half in both] for figure in ("per_second", "dollars_per_hour")
            }
        yield row


def _charts(past: Past) -> dict[str, list[Any]]:
    """Points in time, each with what the time before it brought."""
    times, values = past.totals.times, past.totals.values
    wide = min(_WIDE, max(_NARROW, (times[-1] - times[0]) / 30))
    charts: dict[str, list[Any]] = {"at": []}
    for place in range(1, len(times)):
        then = min(past.totals.before(times[place] - wide), place - 1)
        charts["at"].append(past.wall(times[place]))
        for name, value in _moment(Span(values[then], values[place], times[place] - times[then])).items():
            charts.setdefault(name, []).append(_short(value))
    return charts


def _moment(span: Span) -> dict[str, float | None]:
    all_figures = span.figures()
    names = ("per_second", "p50", "p95", "input_per_second", "output_per_second", "dollars_per_hour")
    chunks = span.growth(FIRST_CHUNK) or ()
    errors = all_figures["errors"]
    return {
        **{name: all_figures[name] for name in names},
        "errors_per_second": errors / span.seconds if errors is not None else None,
        "first_chunk_p50": quantile(0.5, FIRST_CHUNK_BOUNDS, chunks),
        "active": span.after.active.get(ALL, 0),
    }


def _short(value: float | None) -> float | None:
    return float(f"{value:.4g}") if value is not None else None


def _limits(look: Look) -> Iterator[dict[str, Any]]:
    for (provider, account, model, resource), found in sorted(look.limits.items()):
        limit, remaining = found.get("limit"), found.get("remaining")
        known = limit is not None and remaining is not None and limit > 0
        yield {
            "provider": provider,
            "account": account,
            "model": model,
            "resource": resource,
            "limit": limit,
            "remaining": remaining,
            "used": 1 - remaining / limit if known and limit and remaining is not None else None,
        }


def _errors(span: Span, past: Past) -> list[dict[str, Any]]:
    """Errors by type, the latest first, with the feature and model that most of them are of."""
    by_type: dict[str, list[tuple[float, Subject]]] = {}
    for subject, growth in span.grown("error"):
        by_type.setdefault(subject[1], []).append((growth[0], subject))
    found = []
    for kind, entries in by_type.items():
        most, (_, _, feature, model) = max(entries)
        found.append(
            {
                "type": kind,
                "count": sum(count for count, _ in entries),
                "last": past.wall(max(past.last.get(subject, 0.0) for _, subject in entries)),
                "mostly": {"feature": feature, "model": model, "count": most},
            }
        )
    return sorted(found, key=lambda error: -error["last"])


def _troubles(kind: str, span: Span, past: Past) -> Iterator[dict[str, Any]]:
    for subject, growth in sorted(span.grown(kind), key=lambda each: -each[1][0]):
        names = {3: ("provider", "model", "reason"), 1: ("name",)}[len(subject) - 1]
        yield {
            **dict(zip(names, subject[1:], strict=True)),
            "count": growth[0],
            "last": past.wall(past.last.get(subject, 0.0)),
            "remedy": remedy(kind, *subject[1:]),
        }
