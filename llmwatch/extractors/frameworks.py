"""Result objects of frameworks: LiteLLM's and LlamaIndex's hold a vendor's shape, the others count by themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llmwatch.extractors._assembled import Relay, Sum, relayed
from llmwatch.extractors._fields import count, dig, fields_of, get, text, total
from llmwatch.extractors._openai_usage import read_cost, read_usage
from llmwatch.extractors._reading import Accumulator, Reading, Shape
from llmwatch.extractors.openai_responses import Responses
from llmwatch.usage import Usage


class LiteLLM:
    """LiteLLM's responses: OpenAI's shapes, with the vendor and LiteLLM's own estimate of the cost beside them."""

    api = "litellm"
    provider = "openai"

    def __init__(self, shapes: Sequence[Shape]) -> None:
        self._shapes = shapes

    def recognises(self, response: Any) -> bool:
        return _is_of(response, "litellm") and any(shape.recognises(response) for shape in self._shapes)

    def recognises_event(self, event: Any) -> bool:
        return _is_of(event, "litellm") and any(shape.recognises_event(event) for shape in self._shapes)

    def read(self, response: Any) -> Reading:
        return _of_litellm(relayed(self._shapes, response), response)

    def accumulator(self) -> Accumulator:
        return _LiteLLMChunks(self._shapes)


class _LiteLLMChunks(Relay):
    """The chunks of one LiteLLM stream; each names the vendor."""

    __slots__ = ("_first",)

    def __init__(self, shapes: Sequence[Shape]) -> None:
        super().__init__(shapes, lambda chunk: chunk)
        self._first: Any = None

    def add(self, event: Any) -> None:
        if self._first is None:
            self._first = event
        super().add(event)

    def reading(self) -> Reading | None:
        found = super().reading()
        return None if found is None else _of_litellm(found, self._first)


class LlamaIndex:
    """LlamaIndex's chat and completion responses, which keep the vendor's object, or its event, as `raw`."""

    api = "llama_index"
    provider = "openai"

    def __init__(self, shapes: Sequence[Shape]) -> None:
        self._shapes = shapes

    def recognises(self, response: Any) -> bool:
        return {"raw", "additional_kwargs", "logprobs"} <= fields_of(response).keys()

    def recognises_event(self, event: Any) -> bool:
        return self.recognises(event)

    def read(self, response: Any) -> Reading:
        return relayed(self._shapes, get(response, "raw"))

    def accumulator(self) -> Accumulator:
        return Relay(self._shapes, _raw)


class LangChain:
    """LangChain's messages: totals include their parts; the chunks of a stream add up, as LangChain adds them."""

    api = "langchain"
    provider = "langchain"

    def recognises(self, response: Any) -> bool:
        return {"usage_metadata", "response_metadata"} <= fields_of(response).keys()

    def recognises_event(self, event: Any) -> bool:
        return self.recognises(event)

    def read(self, response: Any) -> Reading:
        about = get(response, "response_metadata")
        reason = _first_text(about, "finish_reason", "stop_reason", "done_reason", "stopReason")
        return Reading(
            provider=provider_id(text(about, "model_provider")),
            model=_first_text(about, "model_name", "model", "model_id"),
            usage=_of_langchain(get(response, "usage_metadata")),
            finish_reasons=(reason,) if reason else (),
            service_tier=text(about, "service_tier"),
        )

    def accumulator(self) -> Accumulator:
        return Sum(self._part)

    def _part(self, chunk: Any) -> Reading | None:
        says_something = get(chunk, "usage_metadata") or get(chunk, "response_metadata")
        return self.read(chunk) if says_something else None


class PydanticAI:
    """pydantic-ai's model responses, and runs of an agent, whose usage is that of all of its calls together.

    Totals include their parts, and 0 is also what a vendor did not report.
    """

    api = "pydantic_ai"
    provider = "pydantic_ai"

    def recognises(self, response: Any) -> bool:
        return _is_of(response, "pydantic_ai") and _is_named(response, "ModelResponse", "AgentRunResult")

    def recognises_event(self, event: Any) -> bool:
        return _is_of(event, "pydantic_ai") and self.recognises(get(event, "result"))

    def read(self, response: Any) -> Reading:
        usage, last = get(response, "usage"), _last_response(response)
        reason = text(last, "provider_details", "finish_reason") or text(last, "finish_reason")
        return Reading(
            provider=provider_id(text(last, "provider_name")),
            model=text(last, "model_name"),
            usage=_of_pydantic_ai(usage() if callable(usage) else usage),
            finish_reasons=(reason,) if reason else (),
        )

    def accumulator(self) -> Accumulator:
        return Sum(self._result)

    def _result(self, event: Any) -> Reading | None:
        return self.read(get(event, "result")) if self.recognises_event(event) else None


class OpenAIAgents:
    """openai-agents' runs and model responses: totals include their parts; a run's are those of all of its calls."""

    api = "openai_agents"
    provider = "openai"

    def recognises(self, response: Any) -> bool:
        fields = fields_of(response).keys()
        return {"raw_responses", "context_wrapper"} <= fields or {"output", "usage", "response_id"} <= fields

    def recognises_event(self, event: Any) -> bool:
        return _is_of(event, "agents") and "type" in fields_of(event)

    def read(self, response: Any) -> Reading:
        usage = get(response, "usage") or dig(response, "context_wrapper", "usage")
        # a run that is still being streamed has counted nothing yet
        return Reading(usage=read_usage(usage) if count(usage, "requests") else None)

    def accumulator(self) -> Accumulator:
        return Sum(_ended)


def provider_id(name: str | None) -> str | None:
    """OpenTelemetry's name (`gen_ai.provider.name`) of a provider that a framework names in its own way."""
    return None if name is None else _PROVIDERS.get(name.lower().replace("-", "_"), name)


_PROVIDERS: Mapping[str, str] = {
    name: ours
    for ours, names in {
        "aws.bedrock": "bedrock bedrock_converse amazon_bedrock",
        "azure.ai.inference": "azure_ai",
        "azure.ai.openai": "azure azure_openai azure_text",
        "cohere": "cohere_chat",
        "gcp.gemini": "gemini google google_gla google_genai",
        "gcp.vertex_ai": "vertex_ai vertex_ai_beta google_vertex google_vertexai google_cloud",
        "ibm.watsonx.ai": "watsonx watsonx_text ibm",
        "mistral_ai": "mistral mistralai codestral",
        "moonshot_ai": "moonshot moonshotai",
        "ollama": "ollama_chat",
        "openai": "openai_chat openai_responses text_completion_openai",
        "x_ai": "xai grok",
    }.items()
    for name in names.split()
}


def _is_of(value: Any, package: str) -> bool:
    return any(base.__module__.partition(".")[0] == package for base in type(value).__mro__)


def _is_named(value: Any, *names: str) -> bool:
    return any(base.__name__ in names for base in type(value).__mro__)


def _first_text(source: Any, *names: str) -> str | None:
    return next((value for name in names if (value := text(source, name))), None)


def _raw(event: Any) -> Any:
    return fields_of(event).get("raw")


def _of_litellm(found: Reading, response: Any) -> Reading:
    hidden = getattr(response, "_hidden_params", None)  # a private attribute of a pydantic model
    cost = read_cost({"cost": get(hidden, "response_cost")})
    return found._replace(
        provider=provider_id(text(hidden, "custom_llm_provider")) or found.provider,
        cost=found.cost if cost is None else cost,
    )


def _of_langchain(usage: Any) -> Usage | None:
    inputs, outputs = count(usage, "input_tokens"), count(usage, "output_tokens")
    if inputs is None and outputs is None:
        return None
    details, made = get(usage, "input_token_details"), get(usage, "output_token_details")
    hour, minutes = count(details, "ephemeral_1h_input_tokens"), count(details, "ephemeral_5m_input_tokens")
    # langchain-anthropic sets `cache_creation` to 0 where it splits it by time to live
    return Usage(
        input_tokens=inputs,
        output_tokens=outputs,
        cache_read_tokens=count(details, "cache_read"),
        cache_write_tokens=count(details, "cache_creation") or total(hour, minutes),
        cache_write_1h_tokens=hour,
        reasoning_tokens=count(made, "reasoning"),
        audio_input_tokens=count(details, "audio"),
        audio_output_tokens=count(made, "audio"),
    )


def _last_response(response: Any) -> Any:
    try:
        return get(response, "response") or response
    except ValueError:  # a run that ended without a response says so
        return response


def _of_pydantic_ai(usage: Any) -> Usage | None:
    counts: dict[str, Any] = {name: count(usage, theirs) or None for name, theirs in _PYDANTIC_AI.items()}
    found = Usage(**counts)
    if not found.is_known or (count(usage, "unmeasured_requests") and not hasattr(usage, "tool_calls")):
        return None
    return Usage(found.input_tokens or 0, found.output_tokens or 0, *found[2:])


_PYDANTIC_AI = {
    "input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
    "cache_read_tokens": "cache_read_tokens",
    "cache_write_tokens": "cache_write_tokens",
    "cache_write_1h_tokens": "cache_write_1h_tokens",
    "reasoning_tokens": "output_reasoning_tokens",
    "audio_input_tokens": "input_audio_tokens",
    "audio_output_tokens": "output_audio_tokens",
    "audio_cache_read_tokens": "cache_audio_read_tokens",
}


def _ended(event: Any) -> Reading | None:
    """What an event of a streamed run says: those that end a response carry it."""
    return _RESPONSES.read(dig(event, "data", "response")) if text(event, "data", "type") in _ENDS else None


_RESPONSES = Responses()
_ENDS = frozenset({"response.completed", "response.incomplete", "response.failed"})
