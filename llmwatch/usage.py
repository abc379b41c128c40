"""Usage: the tokens of one call by kind, as inclusive totals whose disjoint parts add up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from operator import index
from typing import NamedTuple, SupportsIndex

__all__ = ["INPUT_KINDS", "KINDS", "OUTPUT_KINDS", "Count", "Usage"]

Count = int | None

INPUT_KINDS = ("text", "cache_read", "cache_write", "audio", "image")
OUTPUT_KINDS = ("text", "reasoning", "audio", "image")
KINDS = (*(("input", kind) for kind in INPUT_KINDS), *(("output", kind) for kind in OUTPUT_KINDS))
"""The kinds that tokens are told apart by, as `(direction, kind)`."""


class _Counts(NamedTuple):
    """The counts of a `Usage`, whatever they are: a tuple, because one is made at the end of every call."""

    input_tokens: Count = None
    output_tokens: Count = None
    cache_read_tokens: Count = None
    cache_write_tokens: Count = None
    cache_write_1h_tokens: Count = None
    reasoning_tokens: Count = None
    audio_input_tokens: Count = None
    audio_output_tokens: Count = None
    image_input_tokens: Count = None
    image_output_tokens: Count = None
    audio_cache_read_tokens: Count = None
    image_cache_read_tokens: Count = None
    anomalies: tuple[str, ...] = ()


class Usage(_Counts):
    """What one call consumed, in tokens.

    Totals include their parts, as in the OpenTelemetry GenAI convention (`gen_ai.usage.*`): `input_tokens` contains
    cache reads, cache writes, audio and image tokens; `output_tokens` contains reasoning, audio and image tokens.
    A count that nobody reported is `None`, never 0.

    Usages add up with `+`, kind by kind. A value is valid by construction: what is not a whole number of at least
    0 becomes `None`, and a part is cut to what its total leaves room for. Each such correction is named in
    `anomalies`.

    Attributes:
        input_tokens: All tokens sent, cached ones included.
        output_tokens: All tokens generated, reasoning included.
        cache_read_tokens: Part of the input that was read from the provider's prompt cache.
        cache_write_tokens: Part of the input that was written to it, whatever its time to live.
        cache_write_1h_tokens: Part of `cache_write_tokens` that was written with a time to live of one hour
            (Anthropic's `cache_creation.ephemeral_1h_input_tokens`); the rest lives five minutes.
        reasoning_tokens: Part of the output that was reasoning ("thinking", "thoughts").
        audio_input_tokens: Audio part of the input, cached audio included.
        audio_output_tokens: Audio part of the output.
        image_input_tokens: Image part of the input, cached images included.
        image_output_tokens: Image part of the output.
        audio_cache_read_tokens: Audio part of `cache_read_tokens`.
        image_cache_read_tokens: Image part of `cache_read_tokens`.
        anomalies: Names of the counts that were corrected; not part of the value's identity.
    """

    __slots__ = ()

    def __new__(  # noqa: D102 - the class says it
        cls,
        input_tokens: Count = None,
        output_tokens: Count = None,
        cache_read_tokens: Count = None,
        cache_write_tokens: Count = None,
        cache_write_1h_tokens: Count = None,
        reasoning_tokens: Count = None,
        audio_input_tokens: Count = None,
        audio_output_tokens: Count = None,
        image_input_tokens: Count = None,
        image_output_tokens: Count = None,
        audio_cache_read_tokens: Count = None,
        image_cache_read_tokens: Count = None,
        anomalies: tuple[str, ...] = (),
    ) -> Usage:
        counts = (
            input_tokens,
            output_tokens,
            cache_read_tokens,
            cache_write_tokens,
            cache_write_1h_tokens,
            reasoning_tokens,
            audio_input_tokens,
            audio_output_tokens,
            image_input_tokens,
            image_output_tokens,
            audio_cache_read_tokens,
            image_cache_read_tokens,
        )
        return tuple.__new__(cls, (*counts, anomalies) if _fits(counts) else _corrected(counts, anomalies))

    @classmethod
    def exact(cls, counts: tuple[Count, ...]) -> Usage | None:
        """The usage with these counts in the order of its fields; `None` where one of them had to be corrected."""
        return tuple.__new__(cls, (*counts, ())) if _fits(counts) else None

    @classmethod
    def of_all(cls, usages: Iterable[Usage]) -> Usage:
        """The tokens of many calls: their sums are not held to what one call can have, and unknown counts are 0."""
        *counts, _ = zip(*usages, strict=True)
        return tuple.__new__(cls, (*[sum(filter(None, column)) for column in counts], ()))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Usage) and self[:-1] == other[:-1]

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(self[:-1])

    def __add__(self, other: object) -> Usage:
        if not isinstance(other, Usage):
            return NotImplemented
        counts: dict[str, Count] = {name: _sum(getattr(self, name), getattr(other, name)) for name in _NAMES}
        return Usage(**counts, anomalies=self.anomalies + other.anomalies)

    def __radd__(self, other: object) -> Usage:
        return self if other == 0 else NotImplemented

    @property
    def totals(self) -> tuple[Count, Count]:
        """Input and output."""
        return self.input_tokens, self.output_tokens

    @property
    def is_known(self) -> bool:
        """Whether a total was reported, be it 0."""
        return self.input_tokens is not None or self.output_tokens is not None

    @property
    def total_tokens(self) -> Count:
        """Input plus output; `None` when either is unknown."""
        if self.input_tokens is None or self.output_tokens is None:
            return None
        return self.input_tokens + self.output_tokens

    def amounts(self) -> tuple[Count, ...]:
        """The tokens of each of `KINDS`, disjoint: those of a direction add up to its total.

        `text` is what no other kind claims, and is known whenever the total is; what is 0 of the others is `None`.
        """
        inputs, outputs, read, written, _, reasoning, audio, audio_out, image, image_out, *cached, _ = self
        audio_read, image_read = cached
        if audio_read and audio:
            audio -= audio_read
        if image_read and image:
            image -= image_read
        if inputs is not None:
            inputs -= (read or 0) + (written or 0) + (audio or 0) + (image or 0)
        if outputs is not None:
            outputs -= (reasoning or 0) + (audio_out or 0) + (image_out or 0)
        return (
            inputs,
            read or None,
            written or None,
            audio or None,
            image or None,
            outputs,
            reasoning or None,
            audio_out or None,
            image_out or None,
        )

    def parts(self) -> Iterator[tuple[str, str, int]]:
        """Yields `(direction, kind, tokens)` for each of `amounts()` that there is."""
        for (direction, kind), tokens in zip(KINDS, self.amounts(), strict=True):
            if tokens is not None:
                yield direction, kind, tokens


_NAMES = _Counts._fields[:-1]
_MODALITIES = (
    ("audio_input_tokens", "audio_cache_read_tokens"),
    ("image_input_tokens", "image_cache_read_tokens"),
)
_LARGEST = 2**53  # beyond it a count is no longer exact in any exporter


def _fits(counts: tuple[Count, ...]) -> bool:
    """Whether nothing has to be corrected: a quick look at what nearly every usage is."""
    for count in counts:
        if count is not None and (type(count) is not int or not 0 <= count <= _LARGEST):
            return False
    inputs, outputs, read, written, hour, reasoning, audio, audio_out, image, image_out, audio_read, image_read = counts
    if hour and written is not None and hour > written:
        return False
    inside, made = (read or 0) + (written or 0), reasoning or 0
    if audio or image or audio_out or image_out or audio_read or image_read:
        heard, seen = audio_read or 0, image_read or 0
        if heard > (audio or 0) or seen > (image or 0) or (read is not None and heard + seen > read):
            return False
        inside, made = inside + (audio or 0) - heard + (image or 0) - seen, made + (audio_out or 0) + (image_out or 0)
    return (inputs is None or inside <= inputs) and (outputs is None or made <= outputs)


def _corrected(counts: tuple[Count, ...], anomalies: tuple[str, ...]) -> tuple[Count | tuple[str, ...], ...]:
    """The counts made whole numbers and cut to what their totals leave room for, and which of them were not so."""
    known = dict(zip(_NAMES, counts, strict=True))
    corrections = [*anomalies]

    def correct(name: str, value: Count) -> None:
        if value != known[name]:
            corrections.append(name)
        known[name] = value

    def fit(total: Count, *names: str) -> None:
        if total is None:
            return
        for name in names:
            correct(name, None if (value := known[name]) is None else min(value, total))
            total -= known[name] or 0

    for name, value in known.items():
        correct(name, _whole(value))
    fit(known["cache_read_tokens"], "audio_cache_read_tokens", "image_cache_read_tokens")
    fit(known["audio_input_tokens"] or 0, "audio_cache_read_tokens")
    fit(known["image_input_tokens"] or 0, "image_cache_read_tokens")
    fit(known["cache_write_tokens"], "cache_write_1h_tokens")
    fit(known["input_tokens"], "cache_read_tokens", "cache_write_tokens")
    if known["input_tokens"] is not None:
        room = known["input_tokens"] - (known["cache_read_tokens"] or 0) - (known["cache_write_tokens"] or 0)
        for name, cached in _MODALITIES:
            shared = known[cached] or 0
            fit(room + shared, name)
            room -= (known[name] or shared) - shared
    fit(known["output_tokens"], "reasoning_tokens", "audio_output_tokens", "image_output_tokens")
    return *known.values(), tuple(corrections)


def _whole(value: object) -> Count:
    """A count as the vendors write it: an integer, or a float without a fraction (Cohere); all else is unknown."""
    if isinstance(value, bool) or not isinstance(value, SupportsIndex | float):
        return None
    if isinstance(value, float):
        return int(value) if 0 <= value <= _LARGEST and value.is_integer() else None
    number = index(value)
    return number if 0 <= number <= _LARGEST else None


def _sum(left: Count, right: Count) -> Count:
    if left is None or right is None:
        return right if left is None else left
    return left + right
