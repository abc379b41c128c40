"""What a simulated vendor does: how fast, how much, how often it fails, and within which limits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from types import MappingProxyType
from typing import Literal, get_args

Outcome = Literal[
    "ok",
    "rate_limit",
    "quota",
    "invalid_request",
    "context_length",
    "authentication",
    "permission",
    "not_found",
    "server_error",
    "overloaded",
    "stream_error",
    "broken_stream",
    "slow_start",
    "slow_stream",
]
OUTCOMES: tuple[str, ...] = get_args(Outcome)

_SHARES = ("cached_share", "cache_write_share", "reasoning_share")
_TIMES = ("latency", "chunk_gap", "retry_after", "least_wait")
_FACTORS = ("latency_spread", "answer_spread", "prompt_scale", "slow_factor")
_SIZES = ("chunk_tokens", "answer_tokens")
_LIMITS = ("requests_per_minute", "input_tokens_per_minute", "output_tokens_per_minute")


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How one vendor answers. Times are seconds, sizes are tokens, shares and rates are fractions of 1.

    A plain answer takes as long as the same answer takes when streamed: the latency, then a gap for each further chunk.
    Raises ValueError when a value cannot be meant.
    """

    latency: float = 0.5
    """Median time to the first byte of a good answer; errors come in a tenth of it."""
    latency_spread: float = 0.3
    """Sigma of the log-normal latency; 0 makes it constant."""
    chunk_gap: float = 0.03
    """Mean time between two chunks of text."""
    chunk_tokens: int = 4
    """Tokens in one chunk of text."""
    prompt_scale: float = 1.0
    """Counted input tokens for each token (4 characters) of the prompt that was sent."""
    answer_tokens: int = 100
    """Median size of an answer, reasoning included, before the request's own limit cuts it."""
    answer_spread: float = 0.4
    """Sigma of the log-normal answer size; 0 makes it constant."""
    cached_share: float = 0.0
    """Share of the input that is read from the prompt cache."""
    cache_write_share: float = 0.0
    """Share of the input that is written to the prompt cache (5 minutes' kind)."""
    reasoning_share: float = 0.0
    """Share of the output that is reasoning."""
    faults: Mapping[Outcome, float] = field(default_factory=dict)
    """How often each outcome other than `ok` happens. On a plain request a `stream_error` is a `server_error`, and a
    `broken_stream` breaks the connection in the middle of the body."""
    slow_factor: float = 10.0
    """How many times longer the latency of `slow_start` and the gaps of `slow_stream` are."""
    retry_after: float = 1.0
    """Seconds that a `rate_limit` fault asks the client to wait. (An exhausted limit asks for what is true.)"""
    least_wait: float = 0.0
    """Seconds below which an exhausted limit never asks, as vendors that round up to whole ones do."""
    requests_per_minute: float | None = 10_000
    """Real requests per real minute, whatever the time scale; beyond them comes a 429. None is unlimited."""
    input_tokens_per_minute: float | None = 10_000_000
    """OpenAI has one limit for input and output together: the sum of both; None in either makes it unlimited."""
    output_tokens_per_minute: float | None = 2_000_000
    others_requests_per_minute: float = 0.0
    """What others take of `requests_per_minute` on the same account. They have used up what there was when this
    begins, and the limit refills by so much less."""

    def __post_init__(self) -> None:
        for name in _SHARES:
            self._check(name, 0.0 <= getattr(self, name) <= 1.0, "must be between 0 and 1")
        for name in (*_TIMES, *_FACTORS):
            self._check(name, 0.0 <= getattr(self, name) < math.inf, "must not be negative")
        for name in _SIZES:
            self._check(name, getattr(self, name) >= 1, "must be at least 1")
        for name in _LIMITS:
            limit = getattr(self, name)
            self._check(name, limit is None or 0 < limit < math.inf, "must be more than 0, or None for unlimited")
        others, requests = self.others_requests_per_minute, self.requests_per_minute
        fits = others == 0 if requests is None else 0 <= others < requests
        self._check("others_requests_per_minute", fits, "must be less than requests_per_minute")
        self._check("cached_share", self.cached_share + self.cache_write_share <= 1.0, "and cache_write_share exceed 1")
        for kind, rate in self.faults.items():
            check_outcome(kind)
            self._check("faults", kind != "ok" and 0.0 <= rate <= 1.0, f"has a bad entry: {kind}={rate}")
        self._check("faults", sum(self.faults.values()) <= 1.0 + 1e-9, "must not add up to more than 1")
        object.__setattr__(self, "faults", MappingProxyType(dict(self.faults)))

    def _check(self, name: str, good: bool, complaint: str) -> None:
        if not good:
            raise ValueError(f"Behaviour.{name}={getattr(self, name)!r} {complaint}")


def check_outcome(name: str) -> None:
    """Raises ValueError when `name` is not one of `OUTCOMES`."""
    if name not in OUTCOMES:
        raise ValueError(f"unknown outcome {name!r}; known are {', '.join(OUTCOMES)}")


@dataclass(frozen=True, slots=True)
class Plan:
    """What one request will meet: an outcome, the times in unscaled seconds, and the size of the answer."""

    outcome: Outcome
    first_byte: float
    gap: float
    answer_tokens: int


def plan(behaviour: Behaviour, random: Random, scripted: Outcome | None) -> Plan:
    """Draw one request's fate, always by the same number of draws, so that its sizes hang on nothing but the seed."""
    chance = random.random()
    latency = behaviour.latency * math.exp(random.gauss(0.0, 1.0) * behaviour.latency_spread)
    gap = behaviour.chunk_gap * random.uniform(0.8, 1.2)
    size = round(behaviour.answer_tokens * math.exp(random.gauss(0.0, 1.0) * behaviour.answer_spread))
    outcome = scripted or _by_chance(behaviour.faults, chance)
    return Plan(
        outcome=outcome,
        first_byte=latency * (behaviour.slow_factor if outcome == "slow_start" else 1.0),
        gap=gap * (behaviour.slow_factor if outcome == "slow_stream" else 1.0),
        answer_tokens=max(1, size),
    )


def _by_chance(faults: Mapping[Outcome, float], chance: float) -> Outcome:
    for kind, rate in faults.items():
        if chance < rate:
            return kind
        chance -= rate
    return "ok"
