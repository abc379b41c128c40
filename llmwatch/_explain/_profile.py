"""Profiles: consumption as the factors that multiply to its cost, so that each can be changed alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from llmwatch._explain._consumption import REPORTED, Consumption, Part
from llmwatch.metrics import DIRECTIONS

VOLUME, PROMPTS, ANSWERS, CACHING, PRICES, FEES = "volume", "prompt size", "answer size", "caching", "prices", "fees"
FACTORS = (VOLUME, PROMPTS, ANSWERS, CACHING, PRICES, FEES)
"""What can change the cost of the calls of one model. Caching stands for what kinds the input is of."""


@dataclass(frozen=True, slots=True)
class Profile:
    """The cost of calls is `calls x (prompt x kinds x prices + answer x kinds x prices + fees)`.

    Attributes:
        calls: How many.
        prompt: Tokens of input for each call; `None` without calls.
        answer: Tokens of output for each call.
        inputs: The share of each kind in the input; `None` without input.
        outputs: The share of each kind in the output.
        prices: Dollars per token, of the kinds that there are.
        fees: Dollars for each call beside those for tokens.
    """

    calls: float
    prompt: float | None
    answer: float | None
    inputs: Mapping[Part, float] | None
    outputs: Mapping[Part, float] | None
    prices: Mapping[Part, float]
    fees: float | None


def profile(consumption: Consumption) -> Profile:
    """The factors of what some calls consumed; multiplied, they give its total again."""
    tokens = {part: number for part, number in consumption.tokens.items() if number > 0 and part[0] in DIRECTIONS}
    # Calls that failed are not counted, but what was charged must have been called.
    calls = consumption.calls or (1.0 if tokens or consumption.total else 0.0)
    everything = sum(tokens.values())
    # One sum for a whole call is spread over its tokens alike.
    reported = consumption.dollars.get(REPORTED, 0.0) if everything else 0.0
    prices = {
        part: consumption.dollars.get(part, 0.0) / number + reported / everything for part, number in tokens.items()
    }
    paid = {part: amount for part, amount in consumption.dollars.items() if part not in tokens}
    fees = sum(paid.values()) - reported
    return Profile(
        calls,
        consumption.of("input") / calls if calls else None,
        consumption.of("output") / calls if calls else None,
        _shares(tokens, "input"),
        _shares(tokens, "output"),
        prices,
        fees / calls if calls else None,
    )


def cost(calls: float, of: Profile) -> float:
    """What so many calls cost that are like these."""
    return calls * (
        (of.prompt or 0.0) * _mean_price(of.inputs, of.prices)
        + (of.answer or 0.0) * _mean_price(of.outputs, of.prices)
        + (of.fees or 0.0)
    )


def completed(known: Profile, other: Profile) -> Profile:
    """A profile in which what is unknown, for there was none of it, is as in another."""
    return Profile(
        known.calls,
        other.prompt if known.prompt is None else known.prompt,
        other.answer if known.answer is None else known.answer,
        other.inputs if known.inputs is None else known.inputs,
        other.outputs if known.outputs is None else known.outputs,
        {**other.prices, **known.prices},
        other.fees if known.fees is None else known.fees,
    )


def mixed(before: Profile, after: Profile, changed: frozenset[str]) -> Profile:
    """The profile in which these factors are as after, the others as before."""

    def chosen(factor: str) -> Profile:
        return after if factor in changed else before

    return Profile(
        chosen(VOLUME).calls,
        chosen(PROMPTS).prompt,
        chosen(ANSWERS).answer,
        chosen(CACHING).inputs,
        chosen(ANSWERS).outputs,
        chosen(PRICES).prices,
        chosen(FEES).fees,
    )


def resized(of: Profile, prompt: float | None, answer: float | None) -> Profile:
    """The same with other sizes, where they are known."""
    return replace(of, prompt=of.prompt if prompt is None else prompt, answer=of.answer if answer is None else answer)


def mean(values: Iterable[tuple[float, float | None]]) -> float | None:
    """The mean of values by their weights, of those that are known."""
    known = [(weight, value) for weight, value in values if value is not None and weight > 0]
    return sum(weight * value for weight, value in known) / sum(weight for weight, _ in known) if known else None


def _shares(tokens: Mapping[Part, float], direction: str) -> Mapping[Part, float] | None:
    of = {part: number for part, number in tokens.items() if part[0] == direction}
    return {part: number / sum(of.values()) for part, number in of.items()} if of else None


def _mean_price(shares: Mapping[Part, float] | None, prices: Mapping[Part, float]) -> float:
    return sum(share * prices.get(part, 0.0) for part, share in (shares or {}).items())
