"""The extractors of frameworks' result objects: LiteLLM, LlamaIndex, LangChain, pydantic-ai, openai-agents.

The classes here have the names, the modules and the fields of the frameworks' own, which were looked at in
litellm 1.106, llama-index-core 0.14, langchain-core 1.7, pydantic-ai 2.68 and openai-agents 0.24.
"""

from __future__ import annotations

from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
import test_extractors_anthropic as anthropic
import test_extractors_google as google

from llmwatch.extractors import Reading, read, read_stream
from llmwatch.extractors.frameworks import provider_id
from llmwatch.usage import Usage


def made(module: str, name: str, **fields: Any) -> Any:
    """An object of a class of that name, defined in that module."""
    found = type(name, (), {"__module__": module})()
    found.__dict__.update(fields)
    return found


def some(found: Reading | None) -> Reading:
    assert found is not None
    return found


USAGE = {"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 30}


def litellm(*, vendor: str | None, cost: Any = None, **fields: Any) -> Any:
    hidden = {"custom_llm_provider": vendor, "response_cost": cost}
    return made("litellm.types.utils", "ModelResponse", _hidden_params=hidden, **fields)


def test_litellm_names_the_vendor_and_the_cost_beside_openai_s_shape() -> None:
    choices = [{"index": 0, "finish_reason": "stop"}]
    found = some(read(litellm(vendor="vertex_ai", cost=0.00033, model="m", choices=choices, usage=USAGE)))
    assert (found.provider, found.model, found.usage) == ("gcp.vertex_ai", "m", Usage(10, 20))
    assert (found.cost, found.finish_reasons) == (Decimal("0.00033"), ("stop",))


def test_litellm_s_chunks_name_the_vendor_and_the_last_of_them_counts() -> None:
    first = litellm(vendor="bedrock", model="m", choices=[{"index": 0, "finish_reason": None}])
    last = litellm(vendor="bedrock", model="m", choices=[{"index": 0, "finish_reason": "length"}], usage=USAGE)
    found = some(read_stream([first, last]))
    assert (found.provider, found.usage, found.finish_reasons) == ("aws.bedrock", Usage(10, 20), ("length",))
    assert found.cost is None


def test_litellm_without_a_vendor_leaves_the_provider_to_the_caller() -> None:
    response = litellm(vendor=None, cost=-1, model="m", choices=[], usage=USAGE)
    found = some(read(response, provider="together_ai"))
    assert (found.provider, found.cost) == ("together_ai", None)


def test_what_is_not_of_litellm_s_shapes_is_not_read() -> None:
    assert read(litellm(vendor="openai", something="else")) is None


def llama(raw: Any) -> SimpleNamespace:
    return SimpleNamespace(message=None, raw=raw, delta=None, logprobs=None, additional_kwargs={})


def test_llama_index_reads_what_the_vendor_said() -> None:
    message = anthropic.message({"input_tokens": 3, "output_tokens": 7, "cache_read_input_tokens": 4516})
    whole = some(read(llama(message)))
    assert whole == read(message)
    assert whole.provider == "anthropic"
    content = google.content({"promptTokenCount": 35, "candidatesTokenCount": 8})
    assert some(read(llama(google.snake(content)))) == read(content)


def test_llama_index_hands_on_the_vendor_s_events() -> None:
    events = anthropic.stream({"input_tokens": 27, "output_tokens": 1}, {"output_tokens": 15})
    assert some(read_stream([llama(None), *map(llama, events)])) == read_stream(events)


def test_openai_s_shape_inside_of_llama_index_leaves_the_provider_to_the_caller() -> None:
    raw = {"model": "m", "choices": [], "usage": USAGE}
    assert some(read(llama(raw), provider="together_ai")).provider == "together_ai"
    assert some(read(llama(raw))).provider == "openai"


@pytest.mark.parametrize("raw", [None, {}, {"who": "knows"}, 3])
def test_llama_index_without_a_known_response_says_nothing(raw: Any) -> None:
    assert some(read(llama(raw))).usage is None
    assert read_stream([llama(raw)]) is None


def langchain(usage: Any, **about: Any) -> SimpleNamespace:
    return SimpleNamespace(content="-", type="ai", usage_metadata=usage, response_metadata=about)


def counted(inputs: int, outputs: int, *, of_input: Any = None, of_output: Any = None) -> dict[str, Any]:
    details = {"input_token_details": of_input or {}, "output_token_details": of_output or {}}
    return {"input_tokens": inputs, "output_tokens": outputs, "total_tokens": inputs + outputs, **details}


# what, usage_metadata, usage as it must be read
LANGCHAIN: list[tuple[str, dict[str, Any], Usage]] = [
    ("plain", {"input_tokens": 350, "output_tokens": 240, "total_tokens": 590}, Usage(350, 240)),
    ("all kinds", counted(350, 240, of_input={"audio": 10, "cache_creation": 200, "cache_read": 100},
     of_output={"audio": 10, "reasoning": 200}),
     Usage(350, 240, 100, 200, reasoning_tokens=200, audio_input_tokens=10, audio_output_tokens=10)),
    ("writes split by time to live", counted(22218, 104, of_input={"cache_creation": 0, "cache_read": 12880,
     "ephemeral_5m_input_tokens": 9000, "ephemeral_1h_input_tokens": 335}), Usage(22218, 104, 12880, 9335, 335)),
    ("writes and their split", counted(500, 1, of_input={"cache_creation": 400, "ephemeral_5m_input_tokens": 400}),
     Usage(500, 1, None, 400)),
]  # fmt: skip


@pytest.mark.parametrize(("usage", "expected"), [case[1:] for case in LANGCHAIN], ids=[case[0] for case in LANGCHAIN])
def test_langchain_counts_inclusively(usage: Any, expected: Usage) -> None:
    about = {"model_name": "m", "finish_reason": "stop", "model_provider": "google_genai", "service_tier": "default"}
    found = some(read(langchain(usage, **about)))
    assert (found.usage, found.provider, found.model) == (expected, "gcp.gemini", "m")
    assert (found.finish_reasons, found.service_tier) == (("stop",), "default")
    assert found == read_stream([langchain(None), langchain(usage), langchain(None, **about)])


def test_the_chunks_of_langchain_add_up() -> None:
    start = langchain(counted(22218, 0, of_input={"cache_read": 12880}), model="claude-m", model_provider="anthropic")
    found = some(read_stream([start, langchain(None), langchain(counted(0, 104), stop_reason="tool_use")]))
    assert (found.usage, found.model, found.finish_reasons) == (Usage(22218, 104, 12880), "claude-m", ("tool_use",))


def request_usage(**counts: Any) -> SimpleNamespace:
    names = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "output_reasoning_tokens")
    return SimpleNamespace(**{**dict.fromkeys(names, 0), "unmeasured_requests": 0, **counts})


def model_response(usage: Any, **fields: Any) -> Any:
    about = {"model_name": "claude-m", "provider_name": "google-vertex", "finish_reason": "stop", "parts": []}
    return made(
        "pydantic_ai.messages", "ModelResponse", **{**about, "usage": usage, "provider_details": None, **fields}
    )


def test_pydantic_ai_counts_inclusively_and_its_zeros_say_nothing() -> None:
    usage = request_usage(input_tokens=4519, output_tokens=7, cache_read_tokens=4516)
    found = some(read(model_response(usage, provider_details={"finish_reason": "end_turn"})))
    assert (found.usage, found.provider, found.model) == (Usage(4519, 7, 4516), "gcp.vertex_ai", "claude-m")
    assert found.finish_reasons == ("end_turn",)
    assert some(read(model_response(request_usage(input_tokens=5)))).usage == Usage(5, 0)


@pytest.mark.parametrize("usage", [request_usage(), request_usage(unmeasured_requests=1, input_tokens=3), None])
def test_pydantic_ai_without_counts_has_no_usage(usage: Any) -> None:
    assert some(read(model_response(usage))).usage is None


@pytest.mark.parametrize("as_method", [False, True])
def test_a_run_of_pydantic_ai_is_read_with_the_usage_of_all_of_its_calls(as_method: bool) -> None:
    total, last = request_usage(input_tokens=50, output_tokens=9, tool_calls=1), request_usage(input_tokens=20)
    usage = (lambda: total) if as_method else total
    run = made("pydantic_ai.run", "AgentRunResult", output="-", usage=usage, response=model_response(last))
    found = some(read(run))
    assert (found.usage, found.model, found.finish_reasons) == (Usage(50, 9), "claude-m", ("stop",))
    events = [made("pydantic_ai.messages", "PartDeltaEvent", index=0), made("pydantic_ai.run", "Result", result=run)]
    assert read_stream(events) == found


def agents_usage(inputs: int, outputs: int, requests: int = 1) -> SimpleNamespace:
    return SimpleNamespace(
        requests=requests,
        input_tokens=inputs,
        output_tokens=outputs,
        input_tokens_details=SimpleNamespace(cached_tokens=30, cache_write_tokens=0),
        output_tokens_details=SimpleNamespace(reasoning_tokens=2),
    )


def test_a_run_of_openai_agents_is_read_with_the_usage_of_all_of_its_calls() -> None:
    responses = [SimpleNamespace(output=[], usage=agents_usage(38, 6), response_id="-") for _ in range(2)]
    run = SimpleNamespace(raw_responses=responses, context_wrapper=SimpleNamespace(usage=agents_usage(76, 12, 2)))
    assert some(read(run)).usage == Usage(76, 12, 30, 0, reasoning_tokens=2)
    assert some(read(responses[0])).usage == Usage(38, 6, 30, 0, reasoning_tokens=2)


def test_a_streamed_run_counts_nothing_before_its_events_and_adds_up_its_responses() -> None:
    unread = SimpleNamespace(raw_responses=[], context_wrapper=SimpleNamespace(usage=agents_usage(0, 0, 0)))
    assert some(read(unread)).usage is None

    def raw(kind: str, **fields: Any) -> Any:
        return made("agents.stream_events", "RawResponsesStreamEvent", type="raw_response_event",
                    data=SimpleNamespace(type=kind, **fields))  # fmt: skip

    response = SimpleNamespace(object="response", model="gpt-m", status="completed", usage=agents_usage(100, 5))
    ended = raw("response.completed", response=response)
    started = made("agents.stream_events", "AgentUpdatedStreamEvent", type="agent_updated_stream_event")
    found = some(read_stream([started, raw("response.created", response=response), ended, started, ended]))
    assert (found.model, found.usage) == ("gpt-m", Usage(200, 10, 60, 0, reasoning_tokens=4))


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [("google-gla", "gcp.gemini"), ("vertex_ai", "gcp.vertex_ai"), ("bedrock_converse", "aws.bedrock"),
     ("azure", "azure.ai.openai"), ("mistralai", "mistral_ai"), ("xai", "x_ai"), ("watsonx", "ibm.watsonx.ai"),
     ("anthropic", "anthropic"), ("Together-AI", "Together-AI"), (None, None)],
)  # fmt: skip
def test_the_frameworks_names_of_providers_become_opentelemetry_s(theirs: str | None, ours: str | None) -> None:
    assert provider_id(theirs) == ours
