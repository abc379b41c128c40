"""Incidents: how the vendors usually are, and what can go wrong, as a table of data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from llmwatch.demo._application import DEAR_GPT
from llmwatch.simulate import Behaviour

OPENAI = Behaviour(
    latency=0.3,
    latency_spread=0.4,
    chunk_gap=0.04,
    answer_tokens=80,
    answer_spread=0.3,
    prompt_scale=8.0,  # as if each question came with its instructions
    cached_share=0.4,
    retry_after=0.5,
    slow_factor=5.0,
    requests_per_minute=5_000,
    faults={
        "rate_limit": 0.01,
        "server_error": 0.02,
        "stream_error": 0.02,
        "broken_stream": 0.02,
        "slow_start": 0.02,
        "slow_stream": 0.01,
    },
)
# OpenAI limits and serves each model by itself, and embeddings are quick.
EMBEDDINGS = Behaviour(
    latency=0.2, latency_spread=0.35, chunk_gap=0.0, retry_after=0.5, faults={"rate_limit": 0.01, "server_error": 0.02}
)
ANTHROPIC = Behaviour(
    latency=0.7,
    latency_spread=0.4,
    chunk_gap=0.03,
    answer_tokens=120,
    answer_spread=0.35,
    prompt_scale=10.0,
    cached_share=0.5,
    cache_write_share=0.1,
    retry_after=0.5,
    slow_factor=5.0,
    faults={
        "overloaded": 0.05,
        "rate_limit": 0.01,
        "server_error": 0.02,
        "stream_error": 0.02,
        "broken_stream": 0.02,
        "slow_start": 0.02,
        "slow_stream": 0.01,
    },
)
USUAL: Mapping[str, Behaviour] = {"openai": OPENAI, "anthropic": ANTHROPIC}
_OPENAI_CALLS = 0.65  # the share of the traffic's calls of a model that goes to OpenAI's chat models


@dataclass(frozen=True, slots=True)
class Incident:
    """A bad quarter of an hour, in short.

    Attributes:
        headline: What has happened, in words.
        vendors: How vendors behave meanwhile.
        deployed: What the application is deployed with meanwhile, as fields of its `Deployment`.
        squeezed: Vendors whose limit on requests others use up, and how many of our own it still lets through, for
            each call of a model that the traffic makes.
    """

    headline: str
    vendors: Mapping[str, Behaviour] = field(default_factory=dict)
    deployed: Mapping[str, Any] = field(default_factory=dict)
    squeezed: Mapping[str, float] = field(default_factory=dict)

    def behaviours(self, rate: float) -> dict[str, Behaviour]:
        """How all vendors behave while the traffic makes so many calls of a model in a second."""
        found = {**USUAL, **self.vendors}
        for provider, share in self.squeezed.items():
            limit = found[provider].requests_per_minute or 0.0
            others = max(0.0, limit - share * rate * 60.0)
            # Below a second, the clients' retries alone would keep this machine busy.
            found[provider] = replace(found[provider], others_requests_per_minute=others, least_wait=1.0)
        return found


INCIDENTS: Mapping[str, Incident] = {
    "rate-limit": Incident("A batch job uses up the OpenAI limit", squeezed={"openai": 0.9 * _OPENAI_CALLS}),
    "prompt-growth": Incident("Chat no longer truncates its history", deployed={"turns_kept": None}),
    "runaway-agent": Incident("The researcher does not know when to stop", deployed={"research_rounds": 6}),
    "model-swap": Incident("Tickets are sorted by a dearer model", deployed={"triage_model": DEAR_GPT}),
    "slow-provider": Incident("Anthropic is slow", vendors={"anthropic": replace(ANTHROPIC, latency=1.8)}),
    "overloaded-provider": Incident(
        "Anthropic is overloaded", vendors={"anthropic": replace(ANTHROPIC, faults={"overloaded": 0.6})}
    ),
}
