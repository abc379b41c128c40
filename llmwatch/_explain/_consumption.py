"""Consumption: the calls, tokens and dollars of a time, by who made the calls."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from llmwatch import metrics
from llmwatch._explain._promql import added
from llmwatch._explain._question import Question
from llmwatch._explain._server import Server

Part = tuple[str, str]
"""Direction and kind of tokens, or of what is paid for."""
REPORTED: Part = ("request", "reported")
"""What a provider charges for a whole call, without saying what for."""


class Caller(NamedTuple):
    """Who made calls, of what: the labels that all metrics of calls have."""

    feature: str
    agent: str
    operation: str
    provider: str
    model: str


@dataclass(frozen=True, slots=True)
class Consumption:
    """What some calls consumed.

    Attributes:
        calls: How many there were that did not fail.
        tokens: By direction and kind.
        dollars: By what was paid for.
    """

    calls: float
    tokens: Mapping[Part, float]
    dollars: Mapping[Part, float]

    @property
    def total(self) -> float:
        """All dollars."""
        return sum(self.dollars.values())

    def of(self, direction: str) -> float:
        """The tokens of a direction."""
        return sum(number for (side, _), number in self.tokens.items() if side == direction)

    def measured_in_tokens(self) -> Consumption:
        """The same as if each token were a dollar."""
        return Consumption(self.calls, self.tokens, self.tokens)


NOTHING = Consumption(0, {}, {})


def consumed(server: Server, question: Question, end: float) -> dict[Caller, Consumption]:
    """What was consumed in the window that ends then.

    Raises:
        UnreachableError: When the server does not answer.
    """
    calls: defaultdict[Caller, float] = defaultdict(float)
    answered = added(metrics.REQUESTS, Caller._fields, question.window, question.only, where='status!="error"')
    for sample in server.vector(answered, end):
        calls[_caller(sample.labels)] += sample.value
    tokens, dollars = (_parts(server, metric, question, end) for metric in (metrics.TOKENS, metrics.COST))
    return {
        caller: Consumption(calls.get(caller, 0), tokens.get(caller, {}), dollars.get(caller, {}))
        for caller in {*calls, *tokens, *dollars}
    }


def _parts(
    server: Server, metric: metrics.Metric, question: Question, end: float
) -> Mapping[Caller, Mapping[Part, float]]:
    found: defaultdict[Caller, dict[Part, float]] = defaultdict(dict)
    by = (*Caller._fields, "direction", "kind")
    for labels, value in server.vector(added(metric, by, question.window, question.only), end):
        if value > 0:
            found[_caller(labels)][labels.get("direction", ""), labels.get("kind", "")] = value
    return found


def totals(server: Server, metric: metrics.Metric, question: Question, end: float) -> dict[str, float]:
    """What was added to a counter in the window that ends then, by feature.

    Raises:
        UnreachableError: When the server does not answer.
    """
    found = server.vector(added(metric, ("feature",), question.window, question.only), end)
    return {sample.labels.get("feature", ""): sample.value for sample in found}


def together(consumptions: Iterable[Consumption]) -> Consumption:
    """The sum."""
    calls, tokens, dollars = 0.0, defaultdict[Part, float](float), defaultdict[Part, float](float)
    for each in consumptions:
        calls += each.calls
        for part, number in each.tokens.items():
            tokens[part] += number
        for part, amount in each.dollars.items():
            dollars[part] += amount
    return Consumption(calls, tokens, dollars)


def _caller(labels: Mapping[str, str]) -> Caller:
    return Caller(*(labels.get(name, "") for name in Caller._fields))
