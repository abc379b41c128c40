"""PromQL of the dashboards: selectors made from the catalogue, and the few forms that all queries are built from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from llmwatch import metrics
from llmwatch.metrics import Metric

Where = Mapping[str, str]
NOWHERE: Where = {}
RATE, RANGE = "$__rate_interval", "$__range"
AGAINST = "$against"

_FILTERS = {
    "provider": "provider",
    "feature": "feature",
    "model": "model",
    "agent": "agent",
    "gen_ai_provider_name": "provider",
    "gen_ai_request_model": "model",
    "gen_ai_agent_name": "agent",
}
"""The labels that a variable of the dashboards chooses, each with that variable."""

JOB = 'job=~"$service"'
"""What stands in every query."""


def select(metric: Metric, suffix: str = "", *, like: Metric | None = None, where: Where = NOWHERE) -> str:
    """The series of a metric that the variables choose: by each label that it has a variable for.

    Args:
        metric: One of the catalogue.
        suffix: `_bucket`, `_sum` or `_count` of a histogram.
        like: A metric that it is divided by, or that is divided by it: only labels that both have choose, or else a
            ratio would be of different calls.
        where: Further matchers by their labels, with the operator: `{"status": '="success"'}`.
    """
    shared = set(metric.prometheus_labels) & set((like or metric).prometheus_labels) & set(_FILTERS)
    chosen = [f'{label}=~"${_FILTERS[label]}"' for label in metric.prometheus_labels if label in shared]
    further = [f"{label}{matcher}" for label, matcher in where.items()]
    return f"{metric.prometheus}{suffix}{{{','.join([JOB, *chosen, *further])}}}"


def by(labels: Sequence[str], expression: str, how: str = "sum") -> str:
    """An aggregation; without labels over all."""
    return f"{how} by ({', '.join(labels)}) ({expression})" if labels else f"{how}({expression})"


def rate(metric: Metric, *labels: str, suffix: str = "", like: Metric | None = None, where: Where = NOWHERE) -> str:
    """How much a second."""
    return by(labels, f"rate({select(metric, suffix, like=like, where=where)}[{RATE}])")


def grown(
    metric: Metric, *labels: str, suffix: str = "", offset: str = "", like: Metric | None = None, where: Where = NOWHERE
) -> str:
    """How much in the time range, or in one that was so long ago."""
    ago = f" offset {offset}" if offset else ""
    return by(labels, f"increase({select(metric, suffix, like=like, where=where)}[{RANGE}]{ago})")


def grown_from_nothing(metric: Metric, *labels: str, span: str = RANGE, where: Where = NOWHERE) -> str:
    """How much in the time range, for series that begin with their first amount: `increase()` cannot see that one.

    A series that was not there when the range began counts with its whole value, if its process was watched already;
    what an unwatched one had counted before is not of this range.
    """
    series = select(metric, where=where)
    new = f"({series} unless {series} offset {span})"
    watched = f"llmwatch_build_info{{{JOB}}} offset {span}"
    return by(labels, f"({new} and on (job, instance) {watched}) or increase({series}[{span}])")


def quantile(q: float, metric: Metric, *labels: str, where: Where = NOWHERE) -> str:
    """A percentile over time."""
    return f"histogram_quantile({q:g}, {rate(metric, *labels, 'le', suffix='_bucket', where=where)})"


def whole(q: float, metric: Metric, *labels: str, where: Where = NOWHERE) -> str:
    """A percentile of all values in the time range."""
    return f"histogram_quantile({q:g}, {grown(metric, *labels, 'le', suffix='_bucket', where=where)})"


def waiting(count: Callable[..., str], *labels: str) -> str:
    """Seconds that a call waits between attempts, on average."""
    calls = count(metrics.REQUESTS, *labels, like=metrics.RETRY_WAIT)
    return ratio(count(metrics.RETRY_WAIT, *labels), calls)


def ratio(numerator: str, denominator: str) -> str:
    """A division that gives nothing, not NaN, where there is nothing to divide by."""
    return f"({numerator}) / ({denominator} > 0)"


def share(part: str, whole: str) -> str:
    """A ratio that is 0 where the part has no series yet."""
    return f"({part} or 0 * {whole}) / ({whole} > 0)"


SUCCESS = {"status": '="success"'}
OK = {"outcome": '="ok"'}
ENDED = '=~"success|error"'
"""Calls that came to an end of their own: who cancels a call or leaves a stream says nothing of its quality."""


def failing(*labels: str) -> str:
    """The share of calls that fail."""
    return share(rate(metrics.ERRORS, *labels), rate(metrics.REQUESTS, *labels, where={"status": ENDED}))


def either(*expressions: str) -> str:
    """The first expression that has something to say, for each label set."""
    return "\nor\n".join(expressions)


def based(expression: str, offset: str) -> str:
    """A comparison with the past, or nothing where the past is not wholly known.

    A service that Prometheus watched for two of the three hours that it is compared with would seem to have grown by
    half. So each service that is there in the time range must have been there in nine of ten five-minute steps of the
    earlier one.
    """
    here = f"group by (job) (max_over_time(llmwatch_build_info{{{JOB}}}[{RANGE}]))"
    steps = f"count_over_time((group by (job) (llmwatch_build_info{{{JOB}}}))[{RANGE}:5m] offset {offset})"
    return f"({expression})\nunless on () (\n  {here}\n  unless on (job)\n  {steps} >= 0.9 * $__range_s / 300\n)"
