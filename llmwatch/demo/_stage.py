"""The stage: simulated vendors with tempers of their own, and the real clients that talk to them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Self

import anthropic
import openai

from llmwatch.demo._application import HelpDesk
from llmwatch.simulate import Behaviour, Served, Vendors

_OPENAI = Behaviour(
    latency=0.3,
    latency_spread=0.4,
    chunk_gap=0.02,
    answer_tokens=80,
    answer_spread=0.3,
    prompt_scale=25.0,  # as if each question came with its instructions and its history
    cached_share=0.4,
    retry_after=0.5,
    slow_factor=5.0,
    faults={
        "rate_limit": 0.08,
        "server_error": 0.02,
        "stream_error": 0.015,
        "broken_stream": 0.015,
        "slow_start": 0.02,
        "slow_stream": 0.01,
    },
)
# OpenAI limits and serves each model by itself, and embeddings are quick.
_EMBEDDINGS = Behaviour(
    latency=0.2, latency_spread=0.35, chunk_gap=0.0, retry_after=0.5, faults={"rate_limit": 0.03, "server_error": 0.02}
)
_ANTHROPIC = Behaviour(
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
        "overloaded": 0.08,
        "rate_limit": 0.03,
        "server_error": 0.02,
        "stream_error": 0.015,
        "broken_stream": 0.015,
        "slow_start": 0.02,
        "slow_stream": 0.01,
    },
)


@dataclass(frozen=True, slots=True)
class Incident:
    """A vendor's bad quarter of an hour, in short."""

    headline: str
    provider: str
    behaviour: Behaviour


INCIDENTS = (
    Incident("OpenAI limits the rate", "openai", replace(_OPENAI, faults={**_OPENAI.faults, "rate_limit": 0.5})),
    Incident("Anthropic is slow", "anthropic", replace(_ANTHROPIC, latency=1.8)),
    Incident("Anthropic is overloaded", "anthropic", replace(_ANTHROPIC, faults={"overloaded": 0.6})),
)


class Stage:
    """The vendors, from `with` to the end of its block.

    Attributes:
        incident: What is going wrong at present beyond the everyday.
    """

    def __init__(self, seed: int) -> None:
        self._vendors = Vendors(seed, {"openai": _OPENAI, "anthropic": _ANTHROPIC})
        self._embeddings = Vendors(seed, {"openai": _EMBEDDINGS})
        self.incident: Incident | None = None

    def __enter__(self) -> Self:
        self._vendors.start()
        self._embeddings.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Breaks off whatever the vendors still do. Idempotent."""
        self._vendors.close()
        self._embeddings.close()

    @property
    def served(self) -> tuple[Served, ...]:
        """What the vendors did, request by request: the truth that the metrics should tell."""
        return self._vendors.served + self._embeddings.served

    def begin(self, incident: Incident | None) -> None:
        """Lets an incident happen, or everything be as usual again."""
        self.incident = incident
        usual = {"openai": _OPENAI, "anthropic": _ANTHROPIC}
        for provider, behaviour in (usual | ({incident.provider: incident.behaviour} if incident else {})).items():
            self._vendors.set(provider, behaviour)

    @asynccontextmanager
    async def help_desk(self) -> AsyncIterator[HelpDesk]:
        """The application, with clients that are closed after the block."""
        gpt, embeddings = _settings(self._vendors.openai_url), _settings(self._embeddings.openai_url)
        claude = _settings(self._vendors.anthropic_url)
        async with AsyncExitStack() as stack:
            enter, enter_async = stack.enter_context, stack.enter_async_context
            yield HelpDesk(
                openai=enter(openai.OpenAI(**gpt, http_client=openai.DefaultHttpxClient(**_DIRECT))),
                async_openai=await enter_async(
                    openai.AsyncOpenAI(**gpt, http_client=openai.DefaultAsyncHttpxClient(**_DIRECT))
                ),
                embeddings=enter(openai.OpenAI(**embeddings, http_client=openai.DefaultHttpxClient(**_DIRECT))),
                anthropic=enter(anthropic.Anthropic(**claude, http_client=anthropic.DefaultHttpxClient(**_DIRECT))),
                async_anthropic=await enter_async(
                    anthropic.AsyncAnthropic(**claude, http_client=anthropic.DefaultAsyncHttpxClient(**_DIRECT))
                ),
            )


# A proxy of the environment would be asked for loopback too.
_DIRECT: dict[str, Any] = {"mounts": {"all://127.0.0.1": None}}


def _settings(url: str) -> dict[str, Any]:
    return {"base_url": url, "api_key": "sk-simulated", "timeout": 4.0, "max_retries": 1}
