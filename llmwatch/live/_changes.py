"""Changes: what is different in the second half of the span, and which part of the calls it comes from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from llmwatch.live._span import Figures, Span
from llmwatch.live._tally import DIMENSIONS

_MOST, _MOST_ALIKE = 6, 3  # that are named, in all and of one measure
_ENOUGH = 20.0  # calls in each half, below which a share or a percentile says little


class Halves(NamedTuple):
    """The two halves of a span."""

    first: Span
    second: Span


class _Measure(NamedTuple):
    """What may change.

    Attributes:
        figure: Its name among the figures.
        label: What the page calls it.
        change: How much it has changed, as a multiple of what is worth saying; below 1 it is not.
    """

    figure: str
    label: str
    change: Callable[[Figures, Figures, Figures], float]


def factors(halves: Halves) -> dict[str, float] | None:
    """What the change of the cost is the product of; `None` where a half has no calls, tokens or dollars.

    Requests, tokens per request, and dollars per token, each as second half over first half, in the same time.
    """
    first, second = (half.figures() for half in halves)
    parts = []
    for half in (first, second):
        tokens = (half["input"] or 0) + (half["output"] or 0)
        if not (half["per_second"] and tokens and half["dollars"]):
            return None
        parts.append((half["per_second"], tokens / (half["requests"] or 1), half["dollars"] / tokens))
    then, now = parts
    requests, per_request, price = (after / before for before, after in zip(then, now, strict=True))
    return {
        "cost": requests * per_request * price,
        "requests": requests,
        "tokens_per_request": per_request,
        "dollars_per_token": price,
    }


def movers(halves: Halves) -> list[dict[str, Any]]:
    """What has changed most, by feature, agent, model or provider; what comes to the same is said once."""
    whole = halves.first.figures()
    found = sorted(_candidates(halves, whole), key=lambda each: -each[0])
    said: list[dict[str, Any]] = []
    for _, mover in found:
        alike = [each for each in said if each["what"] == mover["what"]]
        same = any((each["before"], each["after"]) == (mover["before"], mover["after"]) for each in alike)
        if not same and len(alike) < _MOST_ALIKE:
            said.append(mover)
    return said[:_MOST]


def _candidates(halves: Halves, whole: Figures) -> Iterator[tuple[float, dict[str, Any]]]:
    for dimension in DIMENSIONS:
        subjects = dict.fromkeys(subject for half in halves for subject, _ in half.grown(dimension))
        for subject in subjects:
            first, second = (half.figures(subject) for half in halves)
            for measure in _MEASURES:
                change = measure.change(first, second, whole)
                if change >= 1:
                    yield (
                        change,
                        {
                            "by": dimension,
                            "name": subject[1],
                            "what": measure.label,
                            "before": first[measure.figure],
                            "after": second[measure.figure],
                        },
                    )


def _of_rate(figure: str) -> Callable[[Figures, Figures, Figures], float]:
    """A rate has changed if it makes a tenth of the whole, and half again as much as, or less than, it was."""

    def change(first: Figures, second: Figures, whole: Figures) -> float:
        before, after = first[figure] or 0.0, second[figure] or 0.0
        if max(before, after) < 1.5 * min(before, after):
            return 0.0
        total = whole[figure] or 0.0
        return min(10.0, abs(after - before) / (0.1 * total)) if total else 0.0

    return change


def _of_errors(first: Figures, second: Figures, _: Figures) -> float:
    """A share of errors has changed if it is 5 points away, of enough calls."""
    before, after = first["error_share"], second["error_share"]
    if before is None or after is None or min(first["requests"] or 0, second["requests"] or 0) < _ENOUGH:
        return 0.0
    return abs(after - before) / 0.05


def _of_duration(first: Figures, second: Figures, _: Figures) -> float:
    """A percentile has changed if it is half again as long or as short, of enough calls."""
    before, after = first["p95"], second["p95"]
    if not before or not after or min(first["requests"] or 0, second["requests"] or 0) < _ENOUGH:
        return 0.0
    return (max(before, after) / min(before, after) - 1) / 0.5


_MEASURES = (
    _Measure("dollars_per_hour", "cost", _of_rate("dollars_per_hour")),
    _Measure("error_share", "errors", _of_errors),
    _Measure("p95", "p95", _of_duration),
    _Measure("input_per_second", "input", _of_rate("input_per_second")),
    _Measure("output_per_second", "output", _of_rate("output_per_second")),
    _Measure("per_second", "requests", _of_rate("per_second")),
)
