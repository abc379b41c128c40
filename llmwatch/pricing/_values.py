"""What pricing gives: the cost of a call, why it has none, or the price that would be used."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

Source = Literal["provider", "override", "table"]
Reason = Literal["no_model", "unknown_model", "missing_usage", "missing_rate"]
Part = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Cost:
    """What one call cost, in US dollars.

    Attributes:
        total: The sum of `parts`, exactly.
        parts: Dollars by `(direction, kind)`. What tokens cost has the directions and kinds of `Usage.parts()`, a
            kind that was not used is left out. What no token can be charged with has the direction `request`, and as
            its kind what it was for: `fee` (a price per request), `time` (a price per hour), or `reported` (the
            provider names one sum for the whole call).
        source: Who set the price: the provider for this very call, the user's overrides, or the price table.
        savings: What the tokens read from the prompt cache would have cost uncached, less what they cost; at least 0.
        estimated: Whether `total` rests on anything but a price published or agreed for just this: a share of a
            machine's hourly price, the list price of a service tier that the table has no price for, or audio at the
            rate of text.
    """

    total: Decimal
    parts: Mapping[Part, Decimal]
    source: Source
    savings: Decimal = Decimal(0)
    estimated: bool = False


@dataclass(frozen=True, slots=True)
class Unpriced:
    """A call whose cost is unknown, which is not to say that it was free.

    Attributes:
        reason: `no_model` (no model is named), `unknown_model` (nobody has a price for it), `missing_usage` (a count
            that is charged for is unknown, or the duration where time is), `missing_rate` (there is a price, but none
            for a kind of tokens that was used).
    """

    reason: Reason


@dataclass(frozen=True, slots=True)
class PriceTier:
    """Rates of long requests: of all tokens of a call with more than `above` input tokens.

    Attributes:
        above: Input tokens, cached ones included.
        rates: US dollars per million tokens, of the kinds whose rate changes.
    """

    above: int
    rates: Mapping[str, Decimal]


@dataclass(frozen=True, slots=True)
class Price:
    """The price that would be used for a model, and why that one.

    Attributes:
        provider: Whose price it is: a provider of the table, or the pattern of an override.
        model: The table's name of the model, or the pattern of an override.
        source: `override` or `table`.
        why: How it was found, in words.
        rates: US dollars per million tokens by kind (`input`, `output`, `cache_read`, …). A kind without a rate costs
            what the nearest kind around it costs: cache reads and images as `input`, reasoning as `output`.
        tiers: Other rates for long requests, by rising threshold.
        per_request: US dollars per call, beside its tokens.
        per_hour: US dollars per hour that a call takes.
        free: Whether calls are stated to cost nothing.
        estimated: Whether costs at this price are estimates.
        unmeasured: What the provider charges for beside these, and nobody measures here (`web_searches`, …).
    """

    provider: str
    model: str
    source: Literal["override", "table"]
    why: str
    rates: Mapping[str, Decimal] = field(default_factory=dict)
    tiers: tuple[PriceTier, ...] = ()
    per_request: Decimal | None = None
    per_hour: Decimal | None = None
    free: bool = False
    estimated: bool = False
    unmeasured: tuple[str, ...] = ()
