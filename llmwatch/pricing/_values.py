"""What pricing gives: the cost of a call, why it has none, or the price that would be used."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Literal, NamedTuple

from llmwatch.pricing._money import dollars

if TYPE_CHECKING:
    from collections.abc import Mapping

Source = Literal["provider", "override", "table"]
Reason = Literal["no_model", "unknown_model", "missing_usage", "missing_rate"]
Part = tuple[str, str]


class Cost(NamedTuple):
    """What one call cost.

    A tuple of whole quectodollars (`llmwatch.pricing._money`), because one is made for every call, and most are only
    added up. `parts`, `total` and `savings` are the same in US dollars, exactly.

    Attributes:
        kinds: What can be paid for, as `(direction, kind)`. Tokens have the directions and kinds of `Usage.parts()`.
            What no token can be charged with has the direction `request`, and as its kind what it was for: `fee` (a
            price per request), `time` (a price per hour), or `reported` (the provider names one sum for the whole
            call).
        amounts: Quectodollars for each of `kinds`; `None` for what was not used.
        saved: Quectodollars that the cache saved.
        source: Who set the price: the provider for this very call, the user's overrides, or the price table.
        estimated: Whether `total` rests on anything but a price published or agreed for just this: a share of a
            machine's hourly price, the list price of a service tier that the table has no price for, or audio at the
            rate of text.
    """

    kinds: tuple[Part, ...]
    amounts: tuple[int | None, ...]
    saved: int
    source: Source
    estimated: bool

    @property
    def total(self) -> Decimal:
        """US dollars: the sum of `parts`, exactly."""
        return dollars(sum(filter(None, self.amounts)))

    @property
    def parts(self) -> Mapping[Part, Decimal]:
        """US dollars by `(direction, kind)`; what was not used is left out."""
        amounts: dict[Part, int] = {}
        for part, amount in self.charged():
            amounts[part] = amounts.get(part, 0) + amount
        return {part: dollars(amount) for part, amount in amounts.items()}

    @property
    def savings(self) -> Decimal:
        """US dollars that tokens read from the cache would have cost uncached, less what they cost; at least 0."""
        return dollars(self.saved)

    def charged(self) -> list[tuple[Part, int]]:
        """Quectodollars for what was used; a part that has tokens at several rates may come more than once."""
        return [(part, amount) for part, amount in zip(self.kinds, self.amounts, strict=True) if amount is not None]

    def __repr__(self) -> str:
        shown = {name: getattr(self, name) for name in ("total", "parts", "source", "savings", "estimated")}
        return f"Cost({', '.join(f'{name}={value!r}' for name, value in shown.items())})"


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
