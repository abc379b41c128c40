"""Since when: the samples of those who caused a change, between one scrape and the next."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean

from llmwatch import metrics
from llmwatch._explain._causes import Cause
from llmwatch._explain._history import History
from llmwatch._explain._onset import Bin, Onset, added, onset, target
from llmwatch._explain._promql import selector
from llmwatch._explain._question import Question
from llmwatch._explain._server import Server
from llmwatch.metrics import Metric

_DAY = 86400
_MOST_BINS, _MOST_SAMPLES = 1000, 1_000_000
_WIDTHS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)


def since(server: Server, known: History, metric: Metric, cause: Cause) -> Onset | None:
    """When a cause of a change set in; `None` where that cannot be seen.

    Raises:
        UnreachableError: When the server does not answer.
    """
    question = known.question
    only = {**question.only, **{label: (value,) for label, value in cause.who.items()}}
    width = _width(server, known, metric, only)
    now = _counted(server, metric, only, question, width)
    return onset(bins(now, question, width), question.at - question.window, rose=cause.amount > 0)


def slower_since(server: Server, known: History, metric: Metric, provider: str, *, rose: bool) -> Onset | None:
    """When the calls of a provider began to take longer, or less long; by the mean, which few calls are enough for.

    Raises:
        UnreachableError: When the server does not answer.
    """
    question, only = known.question, {**known.question.only, "provider": (provider,)}
    width = _width(server, known, metric, only, "_count")
    seconds, calls = (_counted(server, metric, only, question, width, suffix) for suffix in ("_sum", "_count"))
    means = {end: seconds.get(end, 0.0) / number if number else None for end, number in calls.items()}
    return onset(bins(means, question, width), question.at - question.window, rose=rose)


def _width(
    server: Server, known: History, metric: Metric, only: Mapping[str, tuple[str, ...]], suffix: str = ""
) -> int:
    """Seconds that are looked at together: a twelfth of the window, if there are scrapes and room enough."""
    reach = 2 * known.question.against
    found = server.vector(f"count({selector(metric, only, suffix)})", known.question.at)
    series = found[0].value if found else 1.0
    least = max(known.interval, reach / _MOST_BINS, series * reach / _MOST_SAMPLES)
    needed = max(known.question.window / 12, least)
    return next((width for width in _WIDTHS if width >= needed), math.ceil(needed))


def _counted(
    server: Server,
    metric: Metric,
    only: Mapping[str, tuple[str, ...]],
    question: Question,
    width: int,
    suffix: str = "",
) -> Mapping[float, float]:
    """What was added to a counter bin by bin, in the time since the window before and in the time before that.

    Raises:
        UnreachableError: When the server does not answer.
    """
    end = question.at // width * width
    start = end - _reach(question) // width * width
    watched: dict[tuple[str, ...], float] = {}
    for each in server.matrix(selector(metrics.BUILD_INFO, only), start, end, width):
        if each.points:
            first, key = each.points[0][0], target(each.labels)
            watched[key] = min(first, watched.get(key, first))
    return added(server.matrix(selector(metric, only, suffix), start, end, width), watched)


def bins(now: Mapping[float, float | None], question: Question, width: int) -> Sequence[Bin]:
    """Each bin since the time that is compared with, beside what was to be expected.

    That is what there was as long before, where whole days lie between; else the mean of the time that is compared.
    """
    base = [amount for end, amount in now.items() if amount is not None and _is_base(end, question, width)]
    mean = fmean(base) if base else None
    earliest = question.before - (0 if _is_daily(question) else question.window)
    found = []
    for end, amount in sorted(now.items()):
        if end - width < earliest - 1:
            continue
        expected = now.get(round((end - question.against) / width) * width) if _is_daily(question) else mean
        found.append(Bin(end - width, end, amount, mean if expected is None else expected))
    return found


def _is_base(end: float, question: Question, width: int) -> bool:
    return question.before - question.window <= end - width and end <= question.before + 1


def _is_daily(question: Question) -> bool:
    return question.against % _DAY == 0


def _reach(question: Question) -> float:
    return (2 * question.against if _is_daily(question) else question.against) + question.window
