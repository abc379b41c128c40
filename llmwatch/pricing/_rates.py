"""Rates: what a token costs, as price lists name it, and compiled to one rate for each disjoint sort of tokens."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from llmwatch.pricing._money import EXACT, whole

if TYPE_CHECKING:
    from llmwatch.usage import Usage

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

# The disjoint sorts of tokens that a `Usage` tells apart.
_TEXT = {"modality": "text"}
SORTS: Mapping[str, Dimensions] = {
    "text": {**DIMENSIONS["input"], **_TEXT},
    "cache_read": {**DIMENSIONS["cache_read"], **_TEXT},
    "cache_write": {**DIMENSIONS["cache_write"], **_TEXT, "cache_ttl": "5m"},
    "cache_write_1h": {**DIMENSIONS["cache_write_1h"], **_TEXT},
    "audio": DIMENSIONS["audio_input"],
    "audio_cache_read": DIMENSIONS["audio_cache_read"],
    "image": DIMENSIONS["image_input"],
    "image_cache_read": DIMENSIONS["image_cache_read"],
    "output": {**DIMENSIONS["output"], **_TEXT},
    "reasoning": {**DIMENSIONS["reasoning"], **_TEXT},
    "audio_output": DIMENSIONS["audio_output"],
    "image_output": DIMENSIONS["image_output"],
}
_AUDIO = ("audio", "audio_cache_read", "audio_output")


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


class MissingRateError(Exception):
    """There are tokens of a sort that has no rate."""


class _Unlisted(int):
    """The rate of a sort that has none, 0 for no tokens: to ask at each product whether there is a rate takes time."""

    def __rmul__(self, tokens: int) -> int:
        if tokens:
            raise MissingRateError
        return 0


class Media(NamedTuple):
    """The audio and the images of a call: how many tokens they are, and what they cost.

    Attributes:
        inputs: Tokens of the input, cached ones included.
        cached: Those of `inputs` that were read from the cache.
        outputs: Tokens of the output.
        amounts: What they cost, in the order of the kinds `audio`, `image`, `cache_read`, `audio`, `image`.
        saved: What the cache saved.
        as_text: Whether audio is among them that has only the rate of text.
    """

    inputs: int
    cached: int
    outputs: int
    amounts: tuple[int | None, ...]
    saved: int
    as_text: bool


@dataclass(frozen=True, slots=True)
class Tier:
    """What one token of each of `SORTS` costs in calls of a certain length, in quectodollars.

    Attributes:
        saves: What the cache saves on each token of text that is read from it.
        saves_audio: Likewise of audio.
        saves_image: Likewise of an image.
        as_text: The sorts of audio that have only the rate of text.
    """

    text: int
    cache_read: int
    cache_write: int
    cache_write_1h: int
    audio: int
    audio_cache_read: int
    image: int
    image_cache_read: int
    output: int
    reasoning: int
    audio_output: int
    image_output: int
    saves: int
    saves_audio: int
    saves_image: int
    as_text: tuple[str, ...]

    @classmethod
    def of(cls, rates: Iterable[Rate], threshold: int | None) -> Tier:
        """The rates of calls with more input tokens than the threshold; `None` is below all of them."""
        nearest = {sort: _nearest(rates, dimensions) for sort, dimensions in SORTS.items()}
        costs = {sort: _Unlisted() if rate is None else whole(rate.at(threshold)) for sort, rate in nearest.items()}
        return cls(
            **costs,
            saves=max(0, costs["text"] - costs["cache_read"]),
            saves_audio=max(0, costs["audio"] - costs["audio_cache_read"]),
            saves_image=max(0, costs["image"] - costs["image_cache_read"]),
            as_text=tuple(sort for sort in _AUDIO if (rate := nearest[sort]) and "modality" not in rate.dimensions),
        )

    @property
    def charges(self) -> tuple[bool, bool]:
        """Whether anything costs something in the input, and in the output."""
        costs = {sort: bool(getattr(self, sort)) for sort in SORTS}
        inputs, outputs = (
            any(costs[sort] for sort in SORTS if SORTS[sort]["direction"] == way) for way in ("input", "output")
        )
        return inputs, outputs

    def writes(self, tokens: int, of_an_hour: int | None) -> int:
        """What is written to the cache, some of it for an hour."""
        for_an_hour = of_an_hour or 0
        return (tokens - for_an_hour) * self.cache_write + for_an_hour * self.cache_write_1h

    def media(self, usage: Usage) -> Media:
        """What is audio and images in a usage; raises `MissingRateError`."""
        audio, audio_read = usage.audio_input_tokens or 0, usage.audio_cache_read_tokens or 0
        image, image_read = usage.image_input_tokens or 0, usage.image_cache_read_tokens or 0
        audio_output, image_output = usage.audio_output_tokens or 0, usage.image_output_tokens or 0
        found = {"audio": audio - audio_read, "audio_cache_read": audio_read, "audio_output": audio_output}
        read = audio_read * self.audio_cache_read + image_read * self.image_cache_read
        return Media(
            inputs=audio + image,
            cached=audio_read + image_read,
            outputs=audio_output + image_output,
            amounts=(
                (audio - audio_read) * self.audio if audio > audio_read else None,
                (image - image_read) * self.image if image > image_read else None,
                read if audio_read or image_read else None,
                audio_output * self.audio_output if audio_output else None,
                image_output * self.image_output if image_output else None,
            ),
            saved=audio_read * self.saves_audio + image_read * self.saves_image,
            as_text=any(found[sort] for sort in self.as_text),
        )


def _nearest(rates: Iterable[Rate], dimensions: Dimensions) -> Rate | None:
    """The narrowest rate that covers what has these dimensions; of two equally narrow ones, that of the cache."""
    covering = [rate for rate in rates if rate.dimensions.items() <= dimensions.items()]
    return max(covering, key=lambda rate: (len(rate.dimensions), "token_type" in rate.dimensions), default=None)
