"""Rate cards: a price compiled to one exact factor for each disjoint sort of tokens."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Context as DecimalContext
from decimal import Decimal
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

from llmwatch.pricing._values import Cost, Part, PriceTier, Reason, Source

if TYPE_CHECKING:
    from llmwatch.usage import Usage

# Our own context: the host's may round to any precision. Sums of money never come near this many digits.
EXACT = DecimalContext(prec=200)
ZERO = Decimal(0)
_ONE, _MILLION = Decimal(1), Decimal(1_000_000)

Dimensions = Mapping[str, str]

# What each rate prices, in the terms of genai-prices (`data_units.py` of 0.2): the more dimensions, the narrower.
DIMENSIONS: Mapping[str, Dimensions] = {
    "input": {"direction": "input"},
    "cache_read": {"direction": "input", "token_type": "cache_read"},
    "cache_write": {"direction": "input", "token_type": "cache_write"},
    "cache_write_1h": {"direction": "input", "token_type": "cache_write", "cache_ttl": "1h"},
    "audio_input": {"direction": "input", "modality": "audio"},
    "audio_cache_read": {"direction": "input", "token_type": "cache_read", "modality": "audio"},
    "image_input": {"direction": "input", "modality": "image"},
    "image_cache_read": {"direction": "input", "token_type": "cache_read", "modality": "image"},
    "output": {"direction": "output"},
    "reasoning": {"direction": "output", "token_type": "reasoning"},
    "audio_output": {"direction": "output", "modality": "audio"},
    "image_output": {"direction": "output", "modality": "image"},
}


class Sort(NamedTuple):
    """One of the disjoint sorts of tokens that a `Usage` tells apart."""

    part: Part
    dimensions: Dimensions
    uncached: int | None = None


_TEXT = {"modality": "text"}
_FIVE_MINUTES = {"cache_ttl": "5m"}
SORTS = (
    Sort(("input", "text"), {**DIMENSIONS["input"], **_TEXT}),
    Sort(("input", "cache_read"), {**DIMENSIONS["cache_read"], **_TEXT}, uncached=0),
    Sort(("input", "cache_read"), DIMENSIONS["audio_cache_read"], uncached=5),
    Sort(("input", "cache_read"), DIMENSIONS["image_cache_read"], uncached=6),
    Sort(("input", "cache_write"), {**DIMENSIONS["cache_write"], **_TEXT, **_FIVE_MINUTES}),
    Sort(("input", "audio"), DIMENSIONS["audio_input"]),
    Sort(("input", "image"), DIMENSIONS["image_input"]),
    Sort(("input", "cache_write"), {**DIMENSIONS["cache_write_1h"], **_TEXT}),
    Sort(("output", "text"), {**DIMENSIONS["output"], **_TEXT}),
    Sort(("output", "reasoning"), {**DIMENSIONS["reasoning"], **_TEXT}),
    Sort(("output", "audio"), DIMENSIONS["audio_output"]),
    Sort(("output", "image"), DIMENSIONS["image_output"]),
)
_FIRST_OUTPUT = 8

_multiply, _add = EXACT.multiply, EXACT.add
_counts = attrgetter(
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "cache_write_1h_tokens",
    "audio_input_tokens",
    "image_input_tokens",
    "audio_cache_read_tokens",
    "image_cache_read_tokens",
    "reasoning_tokens",
    "audio_output_tokens",
    "image_output_tokens",
)


class Priced(NamedTuple):
    """A sort of tokens on a card: its part and rate, what the cache saves on each, if it is audio at text's rate."""

    part: Part
    rate: Decimal
    saved: Decimal | None
    as_text: bool


Row = tuple[Priced | None, ...]


@dataclass(frozen=True, slots=True)
class Rate:
    """A rate per token and whatever narrower kind of it has no rate of its own.

    Attributes:
        name: One of `DIMENSIONS`, or the price list's own name for what we do not tell apart.
        dimensions: What it prices.
        base: US dollars per token.
        tiers: `(above, US dollars per token)` by rising number of input tokens.
    """

    name: str
    dimensions: Dimensions
    base: Decimal
    tiers: tuple[tuple[int, Decimal], ...] = ()

    def at(self, threshold: int | None) -> Decimal:
        """The rate of calls with more input tokens than the threshold; `None` is below all of them."""
        passed = [rate for above, rate in self.tiers if threshold is not None and above <= threshold]
        return passed[-1] if passed else self.base

    def times(self, factor: Decimal) -> Rate:
        """The rate under a discount or an uplift."""
        tiers = tuple((above, EXACT.multiply(rate, factor)) for above, rate in self.tiers)
        return Rate(self.name, self.dimensions, EXACT.multiply(self.base, factor), tiers)


class Card:
    """What the tokens of a call cost: within a tier, the sum over their sorts of tokens times rate.

    Args:
        rates: One for each priced kind of tokens.
        fee: US dollars per call.
    """

    __slots__ = ("_charges", "_rows", "_thresholds", "fee", "rates")

    def __init__(self, rates: Iterable[Rate], fee: Decimal | None = None) -> None:
        self.rates = tuple(rates)
        self.fee = fee
        self._thresholds = tuple(sorted({above for rate in self.rates for above, _ in rate.tiers}))
        rows = tuple(_row(self.rates, threshold) for threshold in (None, *self._thresholds))
        self._rows = rows
        self._charges = (
            any(priced and priced.rate for row in rows for priced in row[:_FIRST_OUTPUT]),
            any(priced and priced.rate for row in rows for priced in row[_FIRST_OUTPUT:]),
        )

    def cost(self, usage: Usage, source: Source, *, estimated: bool = False) -> Cost | Reason:
        """What a usage costs, or why that is unknown."""
        inputs, outputs, *narrower = counts = _counts(usage)
        if (inputs is None or outputs is None) and self._is_incomplete(inputs, outputs):
            return "missing_usage"
        row = self._rows[bisect_left(self._thresholds, inputs or 0)]
        sorts = _sorts(*counts) if any(narrower) else ((0, inputs), (_FIRST_OUTPUT, outputs))
        parts: dict[Part, Decimal] = {}
        total = savings = ZERO
        for index, tokens in sorts:
            if not tokens:
                continue
            priced = row[index]
            if priced is None:
                return "missing_rate"
            part, rate, saved, as_text = priced
            amount = _multiply(rate, tokens)
            total = _add(total, amount)
            parts[part] = _add(parts[part], amount) if part in parts else amount
            if saved:
                savings = _add(savings, _multiply(saved, tokens))
            if as_text and source == "table":
                estimated = True
        if self.fee:
            parts["request", "fee"] = self.fee
            total = _add(total, self.fee)
        return Cost(total, parts, source, savings, estimated)

    def times(self, factor: Decimal) -> Card:
        """The card under a discount or an uplift."""
        fee = None if self.fee is None else EXACT.multiply(self.fee, factor)
        return Card((rate.times(factor) for rate in self.rates), fee)

    def listed(self) -> tuple[Mapping[str, Decimal], tuple[PriceTier, ...]]:
        """The rates as price lists write them, in US dollars per million tokens: the usual ones, and the tiers."""
        tiers = []
        for threshold in self._thresholds:
            changed = {rate.name: per_million(rate.at(threshold)) for rate in self.rates if rate.tiers}
            tiers.append(PriceTier(threshold, changed))
        return {rate.name: per_million(rate.base) for rate in self.rates}, tuple(tiers)

    def _is_incomplete(self, inputs: int | None, outputs: int | None) -> bool:
        """Whether an unknown total is charged for, or decides on the tier."""
        charges_input, charges_output = self._charges
        if inputs is None and (outputs is None or charges_input or self._thresholds):
            return True
        return outputs is None and charges_output


def per_million(per_token: Decimal) -> Decimal:
    """US dollars per million tokens, without trailing zeros."""
    value = EXACT.multiply(per_token, _MILLION)
    whole = value.to_integral_value(context=EXACT)
    return whole.quantize(_ONE, context=EXACT) if value == whole else value.normalize(EXACT)


def _row(rates: tuple[Rate, ...], threshold: int | None) -> Row:
    nearest = [_nearest(rates, sort.dimensions) for sort in SORTS]
    charged = [None if rate is None else rate.at(threshold) for rate in nearest]
    return tuple(_priced(index, rate, charged) if rate is not None else None for index, rate in enumerate(nearest))


def _priced(index: int, rate: Rate, charged: list[Decimal | None]) -> Priced:
    part, dimensions, uncached = SORTS[index]
    price, full = charged[index], None if uncached is None else charged[uncached]
    as_text = dimensions.get("modality") == "audio" and "modality" not in rate.dimensions
    saved = None if full is None or price is None or full <= price else EXACT.subtract(full, price)
    return Priced(part, price or ZERO, saved, as_text)


def _nearest(rates: Iterable[Rate], dimensions: Dimensions) -> Rate | None:
    """The narrowest rate that covers what has these dimensions; of two equally narrow ones, that of the cache."""
    covering = [rate for rate in rates if rate.dimensions.items() <= dimensions.items()]
    return max(covering, key=lambda rate: (len(rate.dimensions), "token_type" in rate.dimensions), default=None)


def _sorts(inputs: int | None, outputs: int | None, *narrower: int | None) -> Iterable[tuple[int, int | None]]:
    """The tokens of each sort, as `(index in SORTS, tokens)`, from the counts in the order of `_counts`."""
    read, written, written_1h, audio, image, audio_read, image_read, *named = [count or 0 for count in narrower]
    audio -= audio_read
    image -= image_read
    return enumerate(
        (
            0 if inputs is None else inputs - read - written - audio - image,
            read - audio_read - image_read,
            audio_read,
            image_read,
            written - written_1h,
            audio,
            image,
            written_1h,
            0 if outputs is None else outputs - sum(named),
            *named,
        )
    )
