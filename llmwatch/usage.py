"""Usage: the tokens of one call by kind, as inclusive totals whose disjoint parts add up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from operator import attrgetter, index
from typing import SupportsIndex

__all__ = ["INPUT_KINDS", "OUTPUT_KINDS", "Count", "Usage"]

Count = int | None

INPUT_KINDS = ("text", "cache_read", "cache_write", "audio", "image")
OUTPUT_KINDS = ("text", "reasoning", "audio", "image")


@dataclass(frozen=True, slots=True)
class Usage:
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
    anomalies: tuple[str, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        counts = _read_counts(self)
        for position, value in enumerate(counts):
            if value is not None and (type(value) is not int or not 0 <= value <= _LARGEST):
                self._correct(_COUNTS[position], _whole(value))
        if any(counts[2:]):
            self._fit_parts()

    def __add__(self, other: object) -> Usage:
        if not isinstance(other, Usage):
            return NotImplemented
        counts = {name: _sum(getattr(self, name), getattr(other, name)) for name in _COUNTS}
        return Usage(**counts, anomalies=self.anomalies + other.anomalies)

    def __radd__(self, other: object) -> Usage:
        return self if other == 0 else NotImplemented

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

    def parts(self) -> Iterator[tuple[str, str, int]]:
        """Yields `(direction, kind, tokens)`, disjoint: the kinds of a direction add up to its total.

        `text` is what no other kind claims, and is given whenever the total is known, other kinds when they are not
        0. Of a direction without a total only the known kinds are given.
        """
        inputs = self.input_tokens, self._input_parts()
        outputs = self.output_tokens, self._output_parts()
        for direction, (total, named) in (("input", inputs), ("output", outputs)):
            if total is not None:
                yield direction, "text", total - sum(tokens for _, tokens in named)
            for kind, tokens in named:
                if tokens:
                    yield direction, kind, tokens

    def _input_parts(self) -> tuple[tuple[str, int], ...]:
        return (
            ("cache_read", self.cache_read_tokens or 0),
            ("cache_write", self.cache_write_tokens or 0),
            ("audio", (self.audio_input_tokens or 0) - (self.audio_cache_read_tokens or 0)),
            ("image", (self.image_input_tokens or 0) - (self.image_cache_read_tokens or 0)),
        )

    def _output_parts(self) -> tuple[tuple[str, int], ...]:
        return (
            ("reasoning", self.reasoning_tokens or 0),
            ("audio", self.audio_output_tokens or 0),
            ("image", self.image_output_tokens or 0),
        )

    def _fit_parts(self) -> None:
        self._fit(self.cache_read_tokens, "audio_cache_read_tokens", "image_cache_read_tokens")
        self._fit(self.audio_input_tokens or 0, "audio_cache_read_tokens")
        self._fit(self.image_input_tokens or 0, "image_cache_read_tokens")
        self._fit(self.cache_write_tokens, "cache_write_1h_tokens")
        self._fit(self.input_tokens, "cache_read_tokens", "cache_write_tokens")
        self._fit_modalities()
        self._fit(self.output_tokens, "reasoning_tokens", "audio_output_tokens", "image_output_tokens")

    def _fit_modalities(self) -> None:
        if self.input_tokens is None:
            return
        room = self.input_tokens - (self.cache_read_tokens or 0) - (self.cache_write_tokens or 0)
        for name, cached in _MODALITIES:
            value = getattr(self, name)
            if value is not None:
                shared = getattr(self, cached) or 0
                if value - shared > room:
                    self._correct(name, room + shared)
                room -= getattr(self, name) - shared

    def _fit(self, total: Count, *names: str) -> None:
        if total is None:
            return
        for name in names:
            value = getattr(self, name)
            if value is not None and value > total:
                self._correct(name, total)
            total -= getattr(self, name) or 0

    def _correct(self, name: str, value: Count) -> None:
        if value != getattr(self, name):
            object.__setattr__(self, "anomalies", (*self.anomalies, name))
        object.__setattr__(self, name, value)


_COUNTS = tuple(f.name for f in fields(Usage) if f.name != "anomalies")
_read_counts = attrgetter(*_COUNTS)
_MODALITIES = (
    ("audio_input_tokens", "audio_cache_read_tokens"),
    ("image_input_tokens", "image_cache_read_tokens"),
)
_LARGEST = 2**53  # beyond it a count is no longer exact in any exporter


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
