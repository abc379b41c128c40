"""Rate cards: what the tokens of a call cost by the rates of one model."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING

from llmwatch.pricing._money import EXACT, plain, whole
from llmwatch.pricing._rates import MissingRateError, Rate, Tier
from llmwatch.pricing._values import Cost, Part, PriceTier, Source, Unpriced

if TYPE_CHECKING:
    from llmwatch.usage import Usage

_MILLION = Decimal(1_000_000)
_MISSING_USAGE, _MISSING_RATE = Unpriced("missing_usage"), Unpriced("missing_rate")
_TEXT: tuple[Part, ...] = (
    ("input", "text"),
    ("input", "cache_read"),
    ("input", "cache_write"),
    ("output", "text"),
    ("output", "reasoning"),
    ("request", "fee"),
)
_MEDIA: tuple[Part, ...] = (
    ("input", "audio"),
    ("input", "image"),
    ("input", "cache_read"),
    ("output", "audio"),
    ("output", "image"),
)
_new = tuple.__new__  # takes half the time of `Cost(...)`


class Card:
    """What the tokens of a call cost: within a tier, the sum over their sorts of tokens times rate.

    Args:
        rates: One for each priced kind of tokens.
        fee: US dollars per call.
        source: Whose rates they are.
        estimated: Whether they stand in for others that nobody has listed.
    """

    __slots__ = ("_charges", "_estimated", "_fee", "_source", "_thresholds", "_tiers", "fee", "rates")

    def __init__(
        self, rates: Iterable[Rate], fee: Decimal | None = None, *, source: Source = "override", estimated: bool = False
    ) -> None:
        self.rates = tuple(rates)
        self.fee = fee
        self._source = source
        self._estimated = estimated
        self._fee = whole(fee) if fee else None
        self._thresholds = tuple(sorted({above for rate in self.rates for above, _ in rate.tiers}))
        self._tiers = tuple(Tier.of(self.rates, threshold) for threshold in (None, *self._thresholds))
        self._charges = tuple(any(ways) for ways in zip(*(tier.charges for tier in self._tiers), strict=True))

    def cost(self, usage: Usage | None, duration: float | None = None) -> Cost | Unpriced:
        """What a usage costs, or why that is unknown."""
        if usage is None:
            return _MISSING_USAGE
        text, output, read, written, hour, reasoning, audio, audio_output, image, image_output, _, _, _ = usage
        if text is None or output is None:
            if self._is_incomplete(text, output):
                return _MISSING_USAGE
            text, output = _known(usage)
        tier = self._tiers[bisect_left(self._thresholds, text)] if self._thresholds else self._tiers[0]
        media = None
        try:
            if audio or image or audio_output or image_output:  # taken out first: what is left is text
                media = tier.media(usage)
                text, read, output = text - media.inputs, (read or 0) - media.cached, output - media.outputs
            if read:
                text -= read
            if written:
                text -= written
            if reasoning:
                output -= reasoning
            amounts = (
                text * tier.text if text else None,
                read * tier.cache_read if read else None,
                tier.writes(written, hour) if written else None,
                output * tier.output if output else None,
                reasoning * tier.reasoning if reasoning else None,
                self._fee,
            )
        except MissingRateError:
            return _MISSING_RATE
        saved = read * tier.saves if read else 0
        if media is None:
            return _new(Cost, (_TEXT, amounts, saved, self._source, self._estimated))
        estimated = self._estimated or (media.as_text and self._source == "table")
        return Cost(_TEXT + _MEDIA, amounts + media.amounts, saved + media.saved, self._source, estimated)

    def times(self, factor: Decimal) -> Card:
        """The card under a discount or an uplift of the user's own."""
        fee = None if self.fee is None else EXACT.multiply(self.fee, factor)
        return Card((rate.times(factor) for rate in self.rates), fee, estimated=self._estimated)

    def listed(self) -> tuple[Mapping[str, Decimal], tuple[PriceTier, ...]]:
        """The rates as price lists write them, in US dollars per million tokens: the usual ones, and the tiers."""
        tiers = []
        for threshold in self._thresholds:
            changed = {rate.name: _per_million(rate.at(threshold)) for rate in self.rates if rate.tiers}
            tiers.append(PriceTier(threshold, changed))
        return {rate.name: _per_million(rate.base) for rate in self.rates}, tuple(tiers)

    def _is_incomplete(self, inputs: int | None, outputs: int | None) -> bool:
        """Whether an unknown total is charged for, or decides on the tier."""
        charges_input, charges_output = self._charges
        if inputs is None and (outputs is None or charges_input or self._thresholds):
            return True
        return outputs is None and charges_output


def _known(usage: Usage) -> tuple[int, int]:
    """The totals of input and output, an unknown one as far as it is known."""
    inputs, outputs = (
        sum(tokens for way, _, tokens in usage.parts() if way == direction) for direction in ("input", "output")
    )
    return inputs, outputs


def _per_million(per_token: Decimal) -> Decimal:
    return plain(EXACT.multiply(per_token, _MILLION))
