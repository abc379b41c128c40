"""OpenAI's dialect: endpoints, model names, limits and headers."""

from __future__ import annotations

from collections.abc import Mapping

from llmwatch.simulate._behaviour import Behaviour
from llmwatch.simulate._dialect import Dialect, Headers, Reply, hexadecimal
from llmwatch.simulate._limits import LimitState
from llmwatch.simulate._openai_chat import CHAT, EMBEDDINGS
from llmwatch.simulate._openai_errors import duration, refuse
from llmwatch.simulate._openai_responses import RESPONSES

# Aliases and what the API answered for them in recorded responses of 2024 to 2026.
_DATED_MODELS = {
    "gpt-3.5-turbo": "gpt-3.5-turbo-0125",
    "gpt-4": "gpt-4-0613",
    "gpt-4o": "gpt-4o-2024-08-06",
    "gpt-4o-mini": "gpt-4o-mini-2024-07-18",
    "gpt-4.1": "gpt-4.1-2025-04-14",
    "gpt-4.1-mini": "gpt-4.1-mini-2025-04-14",
    "gpt-4.1-nano": "gpt-4.1-nano-2025-04-14",
    "gpt-5": "gpt-5-2025-08-07",
    "gpt-5-mini": "gpt-5-mini-2025-08-07",
    "gpt-5-nano": "gpt-5-nano-2025-08-07",
    "gpt-5.1": "gpt-5.1-2025-11-13",
    "gpt-5.6": "gpt-5.6-sol",
    "o3": "o3-2025-04-16",
    "o4-mini": "o4-mini-2025-04-16",
}


def _limits(behaviour: Behaviour) -> dict[str, float | None]:
    both = (behaviour.input_tokens_per_minute, behaviour.output_tokens_per_minute)
    return {"requests": behaviour.requests_per_minute, "tokens": None if None in both else sum(filter(None, both))}


def _needs(reply: Reply) -> dict[str, float]:
    return {"requests": 1, "tokens": reply.input + reply.output}


def _headers(request_id: str, states: Mapping[str, LimitState], seconds: float) -> Headers:
    headers = {
        "x-request-id": request_id,
        "openai-version": "2020-10-01",
        "openai-processing-ms": f"{seconds * 1000:.0f}",
    }
    for resource, state in states.items():
        headers[f"x-ratelimit-limit-{resource}"] = f"{state.limit}"
        headers[f"x-ratelimit-remaining-{resource}"] = f"{state.remaining}"
        headers[f"x-ratelimit-reset-{resource}"] = duration(state.reset)
    return headers


OPENAI = Dialect(
    provider="openai",
    apis=(CHAT, RESPONSES, EMBEDDINGS),
    key_headers=frozenset({"authorization"}),
    limits_told_on=frozenset({200, 400, 429}),
    dated_models=_DATED_MODELS,
    limits=_limits,
    needs=_needs,
    refuse=refuse,
    headers=_headers,
    request_id=lambda random: f"req_{hexadecimal(random, 32)}",
)
