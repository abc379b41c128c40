"""Expressions: what is asked of the server, made from the catalogue's names and labels."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from llmwatch import metrics
from llmwatch.metrics import Metric


def selector(metric: Metric, only: Mapping[str, tuple[str, ...]], suffix: str = "", where: str = "") -> str:
    """A metric's series, those that carry the values asked for; a label that it does not have asks nothing of it.

    Args:
        metric: Whose series.
        only: Allowed values by label.
        suffix: `_bucket`, `_sum` or `_count` of a histogram.
        where: More matchers, written out.
    """
    known = {*metric.prometheus_labels, "job"}
    matchers = [f"{label}=~{_pattern(values)}" for label, values in only.items() if label in known and values]
    return f"{metric.prometheus}{suffix}{{{','.join([*matchers, *filter(None, [where])])}}}"


def added(
    metric: Metric,
    by: Iterable[str],
    seconds: int,
    only: Mapping[str, tuple[str, ...]],
    suffix: str = "",
    where: str = "",
) -> str:
    """What was added to a counter, or to a histogram, in so many seconds.

    `increase()` cannot see the amount that a series begins with. Where the process was already watched when the time
    began and the series was not there yet, all that it has is of this time; of a new process nobody can know.
    """
    series = selector(metric, only, suffix, where)
    watched = selector(metrics.BUILD_INFO, only)
    new = f"({series} unless {series} offset {seconds}s) and on (job, instance) {watched} offset {seconds}s"
    return f"sum by ({', '.join(by)}) (({new}) or increase({series}[{seconds}s]))"


def _pattern(values: Iterable[str]) -> str:
    """A string of PromQL that matches these values and no others."""
    pattern = "|".join(re.escape(value) for value in values)
    return '"' + pattern.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
