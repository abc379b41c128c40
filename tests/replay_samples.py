"""A few responses of our own making, in the form of the corpus: each client is exercised where that is not at hand."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from corpus_rules import Counts

if TYPE_CHECKING:
    from corpus_rules import Item

ANTHROPIC_USAGE = {"input_tokens": 7, "cache_read_input_tokens": 100, "cache_creation_input_tokens": 20}
OPENAI_USAGE = {
    "prompt_tokens": 50,
    "completion_tokens": 12,
    "total_tokens": 62,
    "prompt_tokens_details": {"cached_tokens": 32},
    "completion_tokens_details": {"reasoning_tokens": 4},
}
GOOGLE_USAGE = {
    "promptTokenCount": 40,
    "cachedContentTokenCount": 30,
    "toolUsePromptTokenCount": 5,
    "candidatesTokenCount": 9,
    "thoughtsTokenCount": 6,
    "totalTokenCount": 60,
}
CONVERSE_USAGE = {
    "inputTokens": 3,
    "outputTokens": 8,
    "totalTokens": 22,
    "cacheReadInputTokens": 11,
    "cacheWriteInputTokens": 0,
}


def _item(provider: str, api: str, framing: str, content: Any, headers: dict[str, str] | None = None) -> Item:
    streaming = isinstance(content, list)
    place = {"sse": [json.dumps(event) for event in content]} if streaming else {"body": content}
    return {
        "id": f"own-{provider}-{api.replace('.', '_')}-{framing}",
        "provider": provider,
        "api": api,
        "streaming": streaming,
        "framing": framing,
        "request_model": "stated",
        "status": 200,
        "content_type": None,
        "headers": headers or {},
        "sse_sep": "\n",
        **place,
    }


def _chunk(**fields: Any) -> dict[str, Any]:
    return {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m-1", "choices": [], **fields}


def _choice(reason: str | None = None, **delta: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}


_MESSAGE = {"role": "assistant", "content": "Hi"}
_CHAT = {"id": "c1", "object": "chat.completion", "created": 1, "model": "m-1"} | {
    "choices": [{"index": 0, "finish_reason": "stop", "message": _MESSAGE}]
}
_CANDIDATE = {"content": {"role": "model", "parts": [{"text": "Hi"}]}, "finishReason": "STOP", "index": 0}
_RESPONSE = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1,
    "status": "completed",
    "model": "m-1",
    "output": [],
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "tools": [],
    "usage": {
        "input_tokens": 50,
        "input_tokens_details": {"cached_tokens": 32},
        "output_tokens": 12,
        "output_tokens_details": {"reasoning_tokens": 4},
        "total_tokens": 62,
    },
}
_OLLAMA = {"model": "m-1", "created_at": "2026-01-01T00:00:00Z", "message": _MESSAGE}
_COHERE_USAGE = {
    "billed_units": {"input_tokens": 2, "output_tokens": 3},
    "tokens": {"input_tokens": 70, "output_tokens": 5},
}
_CLAUDE = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m-1", "stop_sequence": None}
_EMPTY_RESPONSE = {**_RESPONSE, "status": "in_progress", "usage": None}

SAMPLES: list[tuple[Item, Counts]] = [
    (_item("openai", "chat.completions", "json", {**_CHAT, "usage": OPENAI_USAGE}),
     Counts(50, 12, cache_read=32, reasoning=4)),
    (_item("openai", "chat.completions", "sse-data-payloads", [
        _chunk(**_choice(role="assistant", content="")), _chunk(**_choice(content="Hi")), _chunk(**_choice("stop")),
        _chunk(usage=OPENAI_USAGE)]),
     Counts(50, 12, cache_read=32, reasoning=4)),
    (_item("openai", "responses", "json", _RESPONSE), Counts(50, 12, cache_read=32, reasoning=4)),
    (_item("openai", "responses", "sse-data-payloads", [
        {"type": "response.created", "sequence_number": 0, "response": _EMPTY_RESPONSE},
        {"type": "response.completed", "sequence_number": 1, "response": _RESPONSE}]),
     Counts(50, 12, cache_read=32, reasoning=4)),
    (_item("anthropic", "messages", "json", {
        **_CLAUDE, "content": [{"type": "text", "text": "Hi"}], "stop_reason": "end_turn",
        "usage": {**ANTHROPIC_USAGE, "output_tokens": 9}}),
     Counts(127, 9, cache_read=100, cache_write=20)),
    (_item("anthropic", "messages", "sse-data-payloads", [
        {"type": "message_start", "message": {
            **_CLAUDE, "content": [], "stop_reason": None, "usage": {**ANTHROPIC_USAGE, "output_tokens": 1}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None},
         "usage": {"output_tokens": 9}},
        {"type": "message_stop"}]),
     Counts(127, 9, cache_read=100, cache_write=20)),
    (_item("gemini", "generateContent", "json", {
        "candidates": [_CANDIDATE], "modelVersion": "m-1", "usageMetadata": GOOGLE_USAGE}),
     Counts(45, 15, cache_read=30, reasoning=6)),
    (_item("gemini", "generateContent", "sse-data-payloads", [
        {"candidates": [{**_CANDIDATE, "finishReason": None}], "modelVersion": "m-1",
         "usageMetadata": {"promptTokenCount": 40, "totalTokenCount": 40}},
        {"candidates": [_CANDIDATE], "modelVersion": "m-1", "usageMetadata": GOOGLE_USAGE}]),
     Counts(45, 15, cache_read=30, reasoning=6)),
    (_item("mistral", "chat.completions", "json", {
        **_CHAT, "usage": {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}}),
     Counts(5, 7)),
    (_item("mistral", "chat.completions", "sse-data-payloads", [
        _chunk(**_choice(content="Hi")),
        _chunk(**_choice("stop", content=""), usage={"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12})]),
     Counts(5, 7)),
    (_item("groq", "chat.completions", "sse-data-payloads", [
        _chunk(**_choice(role="assistant", content="Hi"), x_groq={"id": "req_1"}),
        _chunk(**_choice("stop"), x_groq={"id": "req_1", "usage": OPENAI_USAGE})]),
     Counts(50, 12, cache_read=32, reasoning=4)),
    (_item("cohere", "chat.v2", "json", {
        "id": "1", "finish_reason": "COMPLETE", "message": {"role": "assistant", "content": []},
        "usage": _COHERE_USAGE}),
     Counts(70, 5)),
    (_item("cohere", "chat.v2", "sse-data-payloads", [
        {"type": "message-start", "id": "1", "delta": {"message": {"role": "assistant", "content": []}}},
        {"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": _COHERE_USAGE}}]),
     Counts(70, 5)),
    (_item("cohere", "chat.v1", "json", {
        "response_id": "1", "text": "Hi", "generation_id": "2", "finish_reason": "COMPLETE", "meta": _COHERE_USAGE}),
     Counts(70, 5)),
    (_item("ollama", "chat", "ndjson", [
        {**_OLLAMA, "done": False},
        {**_OLLAMA, "done": True, "done_reason": "stop", "prompt_eval_count": 26, "eval_count": 298}]),
     Counts(26, 298)),
    (_item("bedrock", "converse", "json", {
        "output": {"message": {"role": "assistant", "content": [{"text": "Hi"}]}}, "stopReason": "end_turn",
        "usage": CONVERSE_USAGE, "metrics": {"latencyMs": 1}}),
     Counts(14, 8, cache_read=11, cache_write=0)),
    (_item("bedrock", "converse", "aws-eventstream", [
        {"messageStart": {"role": "assistant"}},
        {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": "Hi"}}},
        {"messageStop": {"stopReason": "end_turn"}},
        {"metadata": {"usage": CONVERSE_USAGE, "metrics": {"latencyMs": 1}}}]),
     Counts(14, 8, cache_read=11, cache_write=0)),
    (_item("bedrock", "invoke_model", "aws-eventstream", [
        {"chunk": {"bytes": json.dumps({"outputText": "Hi", "index": 0, "completionReason": "FINISH",
                                        "inputTextTokenCount": 5, "totalOutputTextTokenCount": 10})}}]),
     Counts(5, 10)),
]  # fmt: skip
