"""Measures: what is added up, in dollars or in tokens, and how people say it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from llmwatch import metrics
from llmwatch._explain._consumption import Consumption
from llmwatch._explain._numbers import count, dollars
from llmwatch._explain._profile import ANSWERS, PROMPTS, VOLUME
from llmwatch._explain._question import Subject
from llmwatch._explain._split import ALL_FACTORS, MIX
from llmwatch.metrics import Metric


def _itself(consumption: Consumption) -> Consumption:
    return consumption


def _number(amount: float) -> str:
    return f"{count(amount)} tokens"


@dataclass(frozen=True, slots=True)
class Measure:
    """What of the consumption is asked about.

    Attributes:
        subject: The question.
        name: What it is called at the beginning of a sentence.
        metric: The counter that has it.
        floor: How much an hour is too little to speak of.
        factors: What can change it.
        read: The consumption, with as many dollars as there is of it.
        written: An amount in words.
        cell: An amount in a table.
    """

    subject: Subject
    name: str
    metric: Metric
    floor: float
    factors: tuple[str, ...]
    read: Callable[[Consumption], Consumption]
    written: Callable[[float], str]
    cell: Callable[[float], str]


COST = Measure("cost", "Cost", metrics.COST, 0.05, ALL_FACTORS, _itself, dollars, dollars)
TOKENS = Measure(
    *("tokens", "Token use", metrics.TOKENS, 1000, (VOLUME, MIX, PROMPTS, ANSWERS)),
    Consumption.measured_in_tokens,
    _number,
    count,
)
