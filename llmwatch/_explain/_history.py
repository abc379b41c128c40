"""History: whether there is data of the times that are compared, and which earlier ones say what is usual."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from llmwatch import metrics
from llmwatch._explain._numbers import clock, span
from llmwatch._explain._promql import selector
from llmwatch._explain._question import Question
from llmwatch._explain._server import Server

_DAY = 86400
_EARLIER = 7
"""So many times before the window are looked at: a week of the same hours."""
_MOST_POINTS, _FINE = 2000, 300
_EDGE = 0.1
"""The share of a time at whose beginning and end it must have been scraped, for it to be compared."""


class CannotTellError(Exception):
    """There is no answer, for this reason."""


@dataclass(frozen=True, slots=True)
class History:
    """What can be compared.

    Attributes:
        question: As asked, or with another time to compare with.
        earlier: Unix times at which other windows end, from the latest on, of which there is data.
        interval: Seconds between two scrapes.
        notes: What was not as asked, and why.
    """

    question: Question
    earlier: tuple[float, ...]
    interval: float
    notes: tuple[str, ...] = ()

    @property
    def every(self) -> int:
        """How many seconds lie between two of the earlier times."""
        return min(self.question.against, _DAY)


class _Presence:
    """At which instants of a grid there was data, from `began` to `ended`."""

    def __init__(self, times: set[int], step: int) -> None:
        self._times, self._step = times, step
        self.began, self.ended = min(times) * step, max(times) * step

    def covers(self, start: float, end: float) -> bool:
        """Whether a time was scraped at its beginning, at its end, and more often than not: counters bridge gaps."""
        first, last = -int(-start // self._step), int(end // self._step)
        edge = max(1, round((last - first) * _EDGE))
        there = [place in self._times for place in range(first, last + 1)]
        return any(there[: 1 + edge]) and any(there[-1 - edge :]) and 2 * sum(there) >= len(there)


def history(server: Server, question: Question) -> History:
    """What of the question can be compared.

    Raises:
        CannotTellError: When there is nothing to compare.
        UnreachableError: When the server does not answer.
    """
    presence = _present(server, question)
    if not presence.covers(question.at - question.window, question.at):
        raise CannotTellError(_too_short(presence, question))
    interval = _interval(server, question)
    if question.window < 2 * interval:
        raise CannotTellError(
            f"the service is scraped every {span(interval)}: a window of {span(question.window)} cannot be measured. "
            f"Ask for at least four times as much as the interval, as --window {4 * round(interval)}s."
        )
    chosen, notes = _base(presence, question)
    ends = (question.at - number * min(chosen.against, _DAY) for number in range(1, _EARLIER + 1))
    earlier = (end for end in ends if abs(end - chosen.before) > 1 and presence.covers(end - question.window, end))
    return History(chosen, tuple(earlier), interval, notes)


def _present(server: Server, question: Question) -> _Presence:
    reach = max(_EARLIER * min(question.against, _DAY), question.against) + question.window
    step = max(5, int(max(min(question.window / 12, _FINE), reach / _MOST_POINTS)))
    end = question.at // step * step
    for metric in (metrics.BUILD_INFO, metrics.REQUESTS):
        found = server.matrix(f"count({selector(metric, _job(question))})", end - reach // step * step, end, step)
        if found:
            return _Presence({round(time / step) for time, _ in found[0].points}, step)
    raise CannotTellError(_nothing(server, question, reach))


def _interval(server: Server, question: Question) -> float:
    """Seconds between two scrapes, of the target that is scraped most often."""
    for metric in (metrics.BUILD_INFO, metrics.REQUESTS):
        expression = f"max(count_over_time({selector(metric, _job(question))}[{question.window}s]))"
        if found := server.vector(expression, question.at):
            return question.window / max(1.0, found[0].value)
    return float(question.window)


def _base(presence: _Presence, question: Question) -> tuple[Question, tuple[str, ...]]:
    """The question with a time to compare with that there is data of, and what is to be said about that."""
    if presence.covers(question.before - question.window, question.before):
        return question, ()
    other = question.instead(question.window)
    why = f"there is no data of {question.base}"
    if presence.began > question.before - question.window:
        why = f"there are only {span(question.at - presence.began)} of history"
    if question.against == question.window or not presence.covers(other.before - other.window, other.before):
        raise CannotTellError(
            f"{why}. Ask again later, or for a shorter window: --window and --against together must fit into it."
        )
    return other, (f"{_capital(why)}; comparing with {other.base} instead of {question.base}.",)


def _too_short(presence: _Presence, question: Question) -> str:
    if presence.ended < question.at - question.window / 5:
        return (
            f"the data ends at {clock(presence.ended, question.at)}: is the service up, and scraped? "
            f"--at {clock(presence.ended, presence.ended)} asks about the time before."
        )
    if presence.began > question.at - question.window:
        return (
            f"there are only {span(question.at - presence.began)} of history, less than the window of "
            f"{span(question.window)}; ask for a shorter one with --window."
        )
    return f"much of the last {span(question.window)} was not scraped."


def _nothing(server: Server, question: Question, reach: float) -> str:
    job = selector(metrics.BUILD_INFO, {})
    jobs = sorted({found.labels.get("job", "") for found in server.vector(f"count by (job) ({job})", question.at)})
    if jobs and _job(question):
        return f"no such service: those watched now are {', '.join(jobs)}."
    return (
        f"{server.url} has no metric of llmwatch in the last {span(reach)}: neither {metrics.BUILD_INFO.prometheus} "
        f"nor {metrics.REQUESTS.prometheus}. Is the service scraped?"
    )


def _job(question: Question) -> Mapping[str, tuple[str, ...]]:
    return {label: values for label, values in question.only.items() if label == "job"}


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
