"""What each recorded response of the corpus should read as, by the vendors' rules and never by our code.

The corpus gives the numbers as each provider wrote them; this module turns them into inclusive totals with the rules
of the corpus' own README, one hand-written row for each interface.
"""

from __future__ import annotations

import json
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import support
from support import CORPUS, has_corpus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from llmwatch.usage import Usage

Item = dict[str, Any]
Events = list[Any]


class Counts(NamedTuple):
    """Tokens as inclusive totals, and the parts that are inside them; `None` is what nobody reported."""

    input: int | None = None
    output: int | None = None
    cache_read: int | None = None
    cache_write: int | None = None
    reasoning: int | None = None
    audio_input: int | None = None
    audio_output: int | None = None


NOTHING = Counts()


def counts_of(usage: Usage | None) -> Counts:
    """What llmwatch read, to be compared."""
    if usage is None:
        return NOTHING
    return Counts(
        usage.input_tokens,
        usage.output_tokens,
        usage.cache_read_tokens,
        usage.cache_write_tokens,
        usage.reasoning_tokens,
        usage.audio_input_tokens,
        usage.audio_output_tokens,
    )


@cache
def items() -> tuple[Item, ...]:
    """All items in the order of their ids; empty without a corpus."""
    return tuple(json.loads(file.read_bytes()) for file in sorted((CORPUS / "responses").glob("*.json")))


def params(wanted: Callable[[Item], object]) -> list[Any]:
    """The items as pytest parameters; without a corpus a lone `None`, which `require_corpus` keeps from the test."""
    if not has_corpus():
        return [pytest.param(None, id="corpus-is-missing")]
    return [pytest.param(item, id=item["id"]) for item in items() if wanted(item)]


def require_corpus() -> tuple[Item, ...]:
    """All items; skips the test without a corpus, fails it in CI."""
    support.require_corpus()
    return items()


def payloads(item: Item) -> Iterator[Any]:
    """The parsed events of a recorded stream, as a client of the vendor would hand them on."""
    for raw in item["sse"]:
        text = _sse_data(raw) if item["framing"] == "sse" else raw
        if text is None or text.strip() in ("", "[DONE]"):
            continue
        event = json.loads(text)
        if item["framing"] == "aws-eventstream" and "bytes" in event.get("chunk", {}):
            event["chunk"]["bytes"] = event["chunk"]["bytes"].encode()
        yield event


def _sse_data(raw: str) -> str | None:
    lines = (line for line in raw.splitlines() if line.startswith("data:"))
    data = [line.removeprefix("data:").removeprefix(" ") for line in lines]
    return "\n".join(data) if data else None


NOT_READ_APIS = {
    "count_tokens": "the count is the answer, nothing was consumed",
    "images": "no text is generated; priced by the image, and most report no tokens",
    "invoke_agent": "the answer reports nothing; counts stand only in trace events, which are optional, and belong to "
    "the single model calls inside the agent",
    "models": "a list of models consumes nothing",
    "moderations": "free of charge, no tokens reported",
    "rerank": "neither text nor vectors; priced by search units or by the query",
    "rerank.v1": "priced by search units",
    "rerank.v2": "priced by search units",
}
NOT_READ_ITEMS = {
    "openai-audio_transcriptions-json-0b5bc0ff": "usage is in seconds, not tokens",
    "openai-audio_translations-json-6908f654": "text only: nothing is reported",
    "venice-audio_transcriptions-json-49f0b22b": "the length of the audio only: nothing is reported",
}


def is_http_error(item: Item) -> bool:
    """Whether the exchange failed as a whole; errors inside a successful one are in-band."""
    return item["error"] is not None and "in_band" not in item["error"]


def decided_against(item: Item) -> str | None:
    """Why a successful response is deliberately not read; `None` when it is to be read."""
    return None if is_http_error(item) else NOT_READ_APIS.get(item["api"]) or NOT_READ_ITEMS.get(item["id"])


def is_read(item: Item) -> bool:
    """Whether the response is one that must read exactly."""
    return not is_http_error(item) and decided_against(item) is None


def as_written(item: Item) -> Counts:
    """Totals that include their parts: what the provider wrote is what is meant."""
    e = item["expected"]
    return Counts(
        _whole(e["input_tokens"]),
        _whole(e["output_tokens"]),
        e["cache_read_tokens"],
        e["cache_write_tokens"],
        e["reasoning_tokens"],
        e["audio_input_tokens"],
        e["audio_output_tokens"],
    )


def cache_outside_input(item: Item) -> Counts:
    """Anthropic, Bedrock Converse, Nova: three disjoint counts make the input."""
    counts = as_written(item)
    return counts._replace(input=_add(counts.input, counts.cache_read, counts.cache_write))


def with_compactions(item: Item) -> Counts:
    """Anthropic messages: compactions run on the same model, and are billed beside the totals.

    Advisors are billed beside them too, but they are another model's tokens, at another price: not this model's.
    """
    counts = cache_outside_input(item)
    beside = [each for each in item["expected_extra"].get("iterations") or () if each["type"] == "compaction"]
    for each in beside:
        read, written = each["cache_read_input_tokens"], each["cache_creation_input_tokens"]
        counts = counts._replace(
            input=_add(counts.input, each["input_tokens"], read, written),
            output=_add(counts.output, each["output_tokens"]),
            cache_read=_add(counts.cache_read, read),
            cache_write=_add(counts.cache_write, written),
        )
    return counts


def audio_outside_input(item: Item) -> Counts:
    """Mistral: `prompt_tokens` counts the text only."""
    counts = as_written(item)
    return counts._replace(input=_add(counts.input, counts.audio_input))


def reasoning_outside_output(item: Item) -> Counts:
    """Chat completions of xAI: `completion_tokens` counts the answer only."""
    counts = as_written(item)
    return counts._replace(output=_add(counts.output, counts.reasoning))


def google(item: Item) -> Counts:
    """generateContent, Live, interactions: thoughts stand beside the candidates, tool-use prompts beside the prompt."""
    counts, extra = as_written(item), item["expected_extra"]
    tool_use = extra.get("toolUsePromptTokenCount", extra.get("total_tool_use_tokens"))
    return counts._replace(input=_add(counts.input, tool_use), output=_add(counts.output, counts.reasoning))


def unreported_thoughts(item: Item) -> Counts:
    """Gemini's OpenAI-compatible endpoint: thoughts are in no count but the total, and billed as output."""
    counts, total = as_written(item), item["expected_extra"]["total_tokens"]
    thoughts = total - (counts.input or 0) - (counts.output or 0)
    return counts._replace(output=_add(counts.output, thoughts), reasoning=thoughts)


def total_is_input(item: Item) -> Counts:
    """Voyage: an embedding has no output, so its only count is the input."""
    return Counts(input=item["expected_extra"]["total_tokens"])


def prompt_in_body(item: Item) -> Counts:
    """Ollama's OpenAI-compatible embeddings: the corpus looked for native counts, the body has OpenAI's."""
    return Counts(input=item["body"]["usage"]["prompt_tokens"])


def per_family(item: Item) -> Counts:
    """Bedrock invoke_model: the model family's own convention."""
    separate = any(family in item["request_model"] for family in ("anthropic.", "amazon.nova"))
    return (cache_outside_input if separate else as_written)(item)


def gateway(item: Item) -> Counts:
    """Vercel's gateway: of Gemini models the reasoning stands beside the completion, of all others inside."""
    model = item["expected"]["response_model"] or ""
    return (reasoning_outside_output if model.startswith("google/") else as_written)(item)


def session(item: Item) -> Counts:
    """Realtime: each response reports itself; the session is their sum. Input transcription is another model's."""
    usages = [event.get("usage") or event["response"].get("usage") for event in payloads(item) if _is_done(event)]
    return Counts(
        _total(usages, "input_tokens"),
        _total(usages, "output_tokens"),
        _total(usages, "input_token_details", "cached_tokens"),
        None,
        _total(usages, "output_token_details", "reasoning_tokens"),
        _total(usages, "input_token_details", "audio_tokens"),
        _total(usages, "output_token_details", "audio_tokens"),
    )


def _is_done(event: Any) -> bool:
    return bool(event.get("type") == "response.done")


def _total(usages: list[Any], *path: str) -> int | None:
    found = usages
    for name in path:
        found = [(value or {}).get(name) for value in found]
    return _add(*found)


def _add(*counts: int | None) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def _whole(value: float | None) -> int | None:
    if value is not None and value != int(value):
        raise ValueError(value)
    return None if value is None else int(value)


RULES: dict[Callable[[Item], Counts], dict[str, str]] = {
    as_written: {
        "ai21": "chat.completions",
        "aleph_alpha": "complete",
        "alibaba": "chat.completions",
        "anthropic": "complete",
        "avian": "chat.completions",
        "azure": "chat.completions completions embeddings responses",
        "bedrock_mantle": "chat.completions responses",
        "cerebras": "chat.completions",
        "chatgpt_codex": "responses",
        "cohere": "chat.v1 chat.v2 embed.v1 embed.v2 generate.v1",
        "copilot": "chat.completions embeddings responses",
        "crusoe": "chat.completions",
        "deepseek": "chat.completions responses",
        "doubleword": "chat.completions embeddings",
        "gemini": "embeddings",
        "gpustack": "chat.completions",
        "groq": "chat.completions",
        "heroku": "chat.completions",
        "huggingface": "chat.completions completions",
        "litellm_proxy": "chat.completions",
        "llamacpp": "chat.completions embeddings responses",
        "lmstudio": "responses",
        "mistralrs": "chat.completions",
        "ollama": "chat chat.completions generate",
        "openai": "audio.transcriptions chat.completions completions embeddings responses responses.compact "
        "threads.runs",
        "openrouter": "audio.transcriptions chat.completions responses",
        "perplexity": "chat.completions",
        "portkey": "completions",
        "replicate": "predictions",
        "sagemaker": "invoke_endpoint",
        "snowflake": "chat.completions",
        "together": "chat.completions completions",
        "venice": "chat.completions",
        "vertex": "embeddings predict",
        "vllm": "chat.completions completions",
        "watsonx": "generation",
        "writer": "chat",
        "xai": "responses",
        "zai": "chat.completions",
    },
    cache_outside_input: {"bedrock": "converse"},
    with_compactions: {"anthropic": "messages", "vertex": "messages"},
    audio_outside_input: {"mistral": "agents.completions audio.transcriptions chat.completions embeddings fim"},
    reasoning_outside_output: {"xai": "chat.completions"},
    google: {"gemini": "generateContent interactions live", "vertex": "generateContent live"},
    unreported_thoughts: {"gemini_openai_compat": "chat.completions"},
    total_is_input: {"voyage": "embeddings"},
    prompt_in_body: {"ollama": "embeddings"},
    per_family: {"bedrock": "invoke_model"},
    gateway: {"vercel_ai_gateway": "chat.completions"},
    session: {"azure": "realtime", "openai": "realtime", "xai": "realtime"},
}
RULE_OF = {
    (provider, api): rule for rule, cells in RULES.items() for provider, apis in cells.items() for api in apis.split()
}

CUT = {
    # MiniMax through OpenRouter: 11 reasoning tokens inside 10 completion tokens, and the total (53) counts the 10.
    "openrouter-chat_completions-stream-25022940": {"reasoning": 10},
}
CORRECTED = {
    # `prompt_tokens_details.cached_tokens` is 0 in the body; the corpus did not look there.
    "mistral-audio_transcriptions-json-0e573bc4": {"cache_read": 0},
}
TOTAL_EXCEPTIONS = {
    "gemini-live-stream-adeecc62": "the total (602) is prompt + response and leaves out 46 thoughts; they are not "
    "inside the response either: its 61 tokens are all audio",
}


def expected_counts(item: Item) -> Counts:
    """The exact reading: the numbers of the corpus by the interface's rule, and what single items need beside it."""
    counts = RULE_OF[item["provider"], item["api"]](item)
    return counts._replace(**CUT.get(item["id"], {}), **CORRECTED.get(item["id"], {}))


def stated_total(item: Item) -> int | None:
    """The total that the provider gave itself; of a realtime session the sum of what its responses gave."""
    if item["api"] == "realtime":
        usages = [event.get("usage") or event["response"].get("usage") for event in payloads(item) if _is_done(event)]
        return _total(usages, "total_tokens")
    extra = item["expected_extra"]
    names = ("total_tokens", "totalTokens", "totalTokenCount", "usage_total_tokens")
    return next((extra[name] for name in names if extra.get(name) is not None), None)


def expected_cost(item: Item) -> Decimal | None:
    """What the provider says the call costs, in USD (xAI: 10^10 ticks to the dollar)."""
    extra = item["expected_extra"]
    if ticks := extra.get("cost_in_usd_ticks"):
        return Decimal(ticks) / 10**10
    cost = extra.get("cost", extra.get("usage_cost"))
    if isinstance(cost, dict):
        cost = cost["total_cost"]
    return None if cost is None else Decimal(str(cost))


_OTEL_PROVIDERS = {
    "azure": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "bedrock_mantle": "aws.bedrock",
    "chatgpt_codex": "openai",
    "gemini": "gcp.gemini",
    "gemini_openai_compat": "gcp.gemini",
    "mistral": "mistral_ai",
    "vertex": "gcp.vertex_ai",
    "watsonx": "ibm.watsonx.ai",
    "xai": "x_ai",
}


# Responses that name their provider themselves, against what the corpus took them for.
SELF_NAMED = {
    # a fixture without URL: `trafficType` exists on Vertex only ("not supported in Gemini API", says google-genai)
    "gemini-generateContent-stream-4ccc58e7": "gcp.vertex_ai",
}


def provider_hint(item: Item) -> str:
    """The provider in OpenTelemetry's words (`gen_ai.provider.name`); those it has no word for keep their own."""
    return str(_OTEL_PROVIDERS.get(item["provider"], item["provider"]))


def api_hint(item: Item) -> str:
    """The shape as a caller would state it."""
    return "chat.completions" if item["provider"] == "writer" else str(item["api"])


NORMALISED = {
    "COMPLETE": "stop",
    "ERROR": "error",
    "FINISH": "stop",
    "LENGTH": "length",
    "MAX_TOKENS": "length",
    "OTHER": "other",
    "RECITATION": "content_filter",
    "SAFETY": "content_filter",
    "STOP": "stop",
    "STOP_SEQUENCE": "stop",
    "TOOL_CALL": "tool_calls",
    "UNEXPECTED_TOOL_CALL": "error",
    "content_filter": "content_filter",
    "end_turn": "stop",
    "endoftext": "stop",
    "eos": "stop",
    "eos_token": "stop",
    "length": "length",
    "max_tokens": "length",
    "maximum_tokens": "length",
    "stop": "stop",
    "stop_sequence": "stop",
    "tool_calls": "tool_calls",
    "tool_use": "tool_calls",
    # statuses and the reasons of incomplete answers, where there is no finish reason (responses, interactions, runs)
    "completed": "stop",
    "failed": "error",
    "incomplete": "length",
    "max_output_tokens": "length",
    "max_prompt_tokens": "length",
}
_ENDED = ("completed", "incomplete", "failed", "cancelled")
_STATUS_APIS = ("responses", "interactions", "threads.runs")


def expected_finish_reasons(item: Item) -> tuple[str, ...]:
    """The provider's own words, one for each choice that ended; of an interface with statuses, how it ended."""
    if item["api"] == "realtime":
        return tuple(event["response"]["status"] for event in payloads(item) if _is_done(event))
    if item["api"] in _STATUS_APIS:
        status, reason = item["expected_extra"].get("status"), _incomplete_reason(item)
        return (str(reason or status),) if status in _ENDED else ()
    return tuple(reason for reason in item["expected"]["finish_reasons"] or () if reason)


def _incomplete_reason(item: Item) -> str | None:
    details = {"reason": item["expected_extra"].get("incomplete_reason")}
    if item["api"] == "threads.runs" and item["streaming"]:
        details = list(payloads(item))[-1].get("incomplete_details") or {}
    return details.get("reason")


def expected_model(item: Item) -> str | None:
    """The model as the response names it; an empty name is none."""
    model: str | None = item["expected"]["response_model"]
    return model or None


def unstreamed(item: Item, events: Events) -> Any:
    """The body that the interface gives without streaming; `None` where there are only sessions (realtime, live)."""
    build = _BUILDERS.get(item["api"])
    return None if build is None else build(events)


def _chat(events: Events) -> Any:
    body: dict[str, Any] = {"object": "chat.completion", "choices": []}
    ended: dict[int, Any] = {}
    for event in events:
        for choice in event.get("choices") or ():
            ended.setdefault(choice.get("index", 0), {"index": choice.get("index", 0), "message": {}})
            if choice.get("finish_reason"):
                ended[choice.get("index", 0)]["finish_reason"] = choice["finish_reason"]
        body.update({name: event[name] for name in ("id", "model", "usage", "error") if event.get(name)})
        if "usage" in (event.get("x_groq") or {}):
            body.setdefault("usage", event["x_groq"]["usage"])
    return {**body, "choices": list(ended.values())}


def _completions(events: Events) -> Any:
    return {**_chat(events), "object": "text_completion"}


def _message(events: Events) -> Any:
    start = next(event["message"] for event in events if event["type"] == "message_start")
    usage, reason = dict(start["usage"]), None
    for event in events:
        if event["type"] == "message_delta":
            usage.update({name: value for name, value in event.get("usage", {}).items() if value is not None})
            reason = event["delta"].get("stop_reason") or reason
    return {**start, "stop_reason": reason, "usage": usage}


def _claude_complete(events: Events) -> Any:
    return [event for event in events if event["type"] == "completion"][-1]


def _response(events: Events) -> Any:
    return [event["response"] for event in events if "response" in event][-1]


def _run(events: Events) -> Any:
    return [event for event in events if event.get("object") == "thread.run"][-1]


def _interaction(events: Events) -> Any:
    return [event["interaction"] for event in events if "interaction" in event][-1]


def _transcription(events: Events) -> Any:
    done = events[-1]
    return {"text": done["text"], "usage": done["usage"]}


def _gemini(events: Events) -> Any:
    body: dict[str, Any] = {}
    ended: dict[int, Any] = {}
    for event in events:
        for candidate in event.get("candidates") or ():
            ended.setdefault(candidate.get("index", 0), {}).update(candidate)
        body.update(event)
    return {**body, "candidates": list(ended.values())} if ended else body


def _converse(events: Events) -> Any:
    stop = next(event["messageStop"] for event in events if "messageStop" in event)
    metadata = next(event["metadata"] for event in events if "metadata" in event)
    message = {"role": "assistant", "content": []}
    return {"output": {"message": message}, "stopReason": stop["stopReason"], "usage": metadata["usage"], "metrics": {}}


def _cohere_v1(events: Events) -> Any:
    return next(event["response"] for event in events if event.get("event_type") == "stream-end")


def _cohere_v2(events: Events) -> Any:
    end = next(event["delta"] for event in events if event["type"] == "message-end")
    return {"id": "1", "message": {"role": "assistant"}, **end}


def _ollama(events: Events) -> Any:
    return next(event for event in events if event["done"])


def _titan(events: Events) -> Any:
    last = events[-1]
    result = {"tokenCount": last["totalOutputTextTokenCount"], "completionReason": last.get("completionReason")}
    return {"inputTextTokenCount": last["inputTextTokenCount"], "results": [result]}


def _invoke_model(events: Events) -> Any:
    inner = [json.loads(event["chunk"]["bytes"]) for event in events]
    first, last = inner[0], inner[-1]
    if first.get("type") == "message_start":
        return _message(inner)
    if "messageStart" in first:
        return _converse(inner)
    if "choices" in first:
        return _chat(inner)
    return _cohere_v1(inner) if last.get("event_type") == "stream-end" else _titan(inner)


_BUILDERS: dict[str, Callable[[Events], Any]] = {
    "audio.transcriptions": _transcription,
    "chat": lambda events: _chat(events) if "choices" in events[0] else _ollama(events),
    "chat.completions": _chat,
    "chat.v1": _cohere_v1,
    "chat.v2": _cohere_v2,
    "complete": _claude_complete,
    "completions": _completions,
    "converse": _converse,
    "fim": _chat,
    "generate": _ollama,
    "generate.v1": _cohere_v1,
    "generateContent": _gemini,
    "interactions": _interaction,
    "invoke_model": _invoke_model,
    "messages": _message,
    "responses": _response,
    "threads.runs": _run,
}
