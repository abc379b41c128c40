"""The Bedrock extractors: Converse, invoke_model through its many body shapes and headers, and the streams of both.

Structure and numbers of the payloads are those of recorded responses, shortened; what is expected was worked out by
hand: `inputTokens` leaves the cache out, and each cache count may stand twice.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from llmwatch.errors import ErrorKind
from llmwatch.extractors import Reading, read, read_stream
from llmwatch.extractors.bedrock import held_stream
from llmwatch.usage import Usage


def converse(usage: Any, **fields: Any) -> dict[str, Any]:
    output = {"message": {"role": "assistant", "content": [{"text": "-"}]}}
    return {"output": output, "stopReason": "end_turn", "usage": usage, "metrics": {"latencyMs": 1}, **fields}


def converse_stream(usage: Any, **fields: Any) -> list[dict[str, Any]]:
    return [
        {"messageStart": {"role": "assistant"}},
        {"contentBlockDelta": {"delta": {"text": "-"}, "contentBlockIndex": 0}},
        {"messageStop": {"stopReason": "end_turn"}},
        {"metadata": {"usage": usage, "metrics": {"latencyMs": 1}, **fields}},
    ]


def chunks(*bodies: Any) -> list[dict[str, Any]]:
    """The bodies as boto3 gives those of `invoke_model_with_response_stream`."""
    return [{"chunk": {"bytes": json.dumps(body).encode()}} for body in bodies]


def some(response: Any, **stated: Any) -> Reading:
    found = read_stream(response, **stated) if isinstance(response, list) else read(response, **stated)
    assert found is not None
    return found


# what, usage as the vendor writes it, usage as it must be read
USAGES: list[tuple[str, dict[str, Any], Usage]] = [
    ("plain", {"inputTokens": 23, "outputTokens": 4, "totalTokens": 27, "serverToolUsage": {}}, Usage(23, 4)),
    ("cache counts stand twice", {"inputTokens": 10, "outputTokens": 4, "totalTokens": 7365,
     "cacheReadInputTokens": 7351, "cacheReadInputTokenCount": 7351, "cacheWriteInputTokens": 0,
     "cacheWriteInputTokenCount": 0}, Usage(7361, 4, 7351, 0)),
    ("read and written", {"inputTokens": 3, "outputTokens": 121, "totalTokens": 2072, "cacheReadInputTokens": 1712,
     "cacheWriteInputTokens": 236, "cacheDetails": [{"inputTokens": 236, "ttl": "5m"}]}, Usage(1951, 121, 1712, 236)),
    ("written for an hour", {"inputTokens": 3, "outputTokens": 1, "cacheWriteInputTokens": 300,
     "cacheDetails": [{"inputTokens": 200, "ttl": "1h"}, {"inputTokens": 100, "ttl": "5m"}]},
     Usage(303, 1, None, 300, 200)),
    ("nova's body", {"inputTokens": 6, "outputTokens": 3, "cacheReadInputTokenCount": 0,
     "cacheWriteInputTokenCount": 14922}, Usage(14928, 3, 0, 14922)),
]  # fmt: skip


@pytest.mark.parametrize(("usage", "expected"), [case[1:] for case in USAGES], ids=[case[0] for case in USAGES])
def test_converse_its_stream_and_the_same_through_invoke_model_read_alike(usage: Any, expected: Usage) -> None:
    whole = some(converse(usage))
    assert (whole.provider, whole.model, whole.finish_reasons) == ("aws.bedrock", None, ("end_turn",))
    assert whole.usage == expected
    assert whole.usage.anomalies == ()
    assert whole == some(converse_stream(usage)) == some(chunks(*converse_stream(usage)))
    assert whole == some({"ResponseMetadata": {"HTTPHeaders": {}, "RetryAttempts": 0}, **converse(usage)})


def test_converse_names_its_tier_and_the_model_that_a_router_chose() -> None:
    routed = {
        "trace": {"promptRouter": {"invokedModelId": "arn:aws:bedrock:eu:1:inference-profile/anthropic.claude-m"}}
    }
    fields = {**routed, "serviceTier": {"type": "flex"}}
    found = some(converse(USAGES[0][1], **fields))
    assert (found.model, found.service_tier) == ("anthropic.claude-m", "flex")
    assert found == some(converse_stream(USAGES[0][1], **fields))


@pytest.mark.parametrize(
    ("reason", "normalised"),
    [("guardrail_intervened", "content_filter"), ("content_filtered", "content_filter"), ("tool_use", "tool_calls"),
     ("max_tokens", "length"), ("malformed_tool_use", "error"), ("model_context_window_exceeded", "length")],
)  # fmt: skip
def test_converse_reasons_have_a_common_word(reason: str, normalised: str) -> None:
    found = some(converse(USAGES[0][1], stopReason=reason))
    assert (found.finish_reasons, found.normalised_finish_reasons) == ((reason,), (normalised,))


def test_an_exception_among_the_events_is_the_stream_s_error() -> None:
    fault = {"throttlingException": {"message": "Too many tokens, please wait before trying again."}}
    begun = converse_stream(None)[:2]
    assert some([*begun, fault]).error is ErrorKind.RATE_LIMIT
    assert some([*chunks(*begun), fault]).error is ErrorKind.RATE_LIMIT


class OnceOnly:
    """A body that must not be touched."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"the caller's body was asked for {name!r}")


HEADERS = {"x-amzn-requestid": "-", "x-amzn-bedrock-input-token-count": "3", "x-amzn-bedrock-output-token-count": "44"}
CACHED = {
    **HEADERS,
    "x-amzn-bedrock-cache-read-input-token-count": "9511",
    "x-amzn-bedrock-cache-write-input-token-count": "1956",
}


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (HEADERS, Usage(3, 44)),
        (CACHED, Usage(11470, 44, 9511, 1956)),
        ({"x-amzn-bedrock-input-token-count": "12a", "x-amzn-bedrock-output-token-count": ""}, None),
        ({"x-amzn-bedrock-input-token-count": "9" * 5000}, None),
        ({}, None),
        (None, None),
    ],
)
def test_an_unread_body_is_counted_by_its_headers_and_left_untouched(headers: Any, expected: Usage | None) -> None:
    response = {"ResponseMetadata": {"HTTPHeaders": headers}, "contentType": "application/json", "body": OnceOnly()}
    found = some({**response, "serviceTier": "default"})
    assert (found.provider, found.usage, found.service_tier) == ("aws.bedrock", expected, "default")


CLAUDE: dict[str, Any] = {
    "type": "message", "role": "assistant", "id": "msg_bdrk_01Pw", "model": "claude-m", "stop_reason": "end_turn",
    "usage": {"input_tokens": 3, "cache_read_input_tokens": 9511, "cache_creation_input_tokens": 1956,
              "cache_creation": {"ephemeral_1h_input_tokens": 0}, "output_tokens": 44},
}  # fmt: skip
JAMBA = {
    "id": "-", "model": "jamba-m", "choices": [{"index": 0, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 17, "completion_tokens": 8, "total_tokens": 25},
}  # fmt: skip
COMMAND = {"id": "-", "prompt": "-", "generations": [{"finish_reason": "MAX_TOKENS"}, {"finish_reason": "COMPLETE"}]}
# model family, body, usage, finish reasons
BODIES: list[tuple[str, dict[str, Any], Usage | None, tuple[str, ...]]] = [
    ("claude", CLAUDE, Usage(11470, 44, 9511, 1956, 0), ("end_turn",)),
    ("claude 2", {"completion": "-", "stop_reason": "stop_sequence", "stop": "\n\nHuman:"}, None, ("stop_sequence",)),
    ("nova", converse(USAGES[4][1]), USAGES[4][2], ("end_turn",)),
    ("titan", {"inputTextTokenCount": 9, "results": [{"tokenCount": 17, "completionReason": "FINISH"}]}, Usage(9, 17),
     ("FINISH",)),
    ("titan embeddings", {"embedding": [0.1], "inputTextTokenCount": 6}, Usage(6), ()),
    ("llama", {"generation": "-", "prompt_token_count": 5, "generation_token_count": 10, "stop_reason": "length"},
     Usage(5, 10), ("length",)),
    ("jamba", JAMBA, Usage(17, 8), ("stop",)),
    ("jurassic", {"id": 1234, "prompt": {"tokens": []}, "completions": [{"finishReason": {"reason": "endoftext"}}]},
     None, ("endoftext",)),
    ("command", COMMAND, None, ("MAX_TOKENS", "COMPLETE")),
    ("mistral", {"outputs": [{"text": "-", "stop_reason": "stop"}]}, None, ("stop",)),
]  # fmt: skip


@pytest.mark.parametrize(("body", "usage", "reasons"), [case[1:] for case in BODIES], ids=[case[0] for case in BODIES])
def test_a_parsed_body_reads_by_its_model_s_shape(body: Any, usage: Usage | None, reasons: tuple[str, ...]) -> None:
    found = some(body, api="invoke_model", provider="aws.bedrock")
    assert (found.provider, found.usage, found.finish_reasons) == ("aws.bedrock", usage, reasons)
    assert some(body).usage == usage


METRICS = {"inputTokenCount": 7, "outputTokenCount": 9, "invocationLatency": 182, "firstByteLatency": 98}
LAST = {"amazon-bedrock-invocationMetrics": METRICS}
COHERE_END = {
    "is_finished": True, "event_type": "stream-end", "finish_reason": "COMPLETE",
    "response": {"generation_id": "-", "finish_reason": "COMPLETE",
                 "meta": {"billed_units": {"input_tokens": 7, "output_tokens": 7},
                          "tokens": {"input_tokens": 73, "output_tokens": 8}}},
}  # fmt: skip
# model family, bodies of the chunks, usage, finish reasons
STREAMS: list[tuple[str, list[dict[str, Any]], Usage | None, tuple[str, ...]]] = [
    ("claude", [
        {"type": "message_start", "message": {**CLAUDE, "stop_reason": None}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "-"}},
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 54}},
        {"type": "message_stop", **LAST},
    ], Usage(11470, 54, 9511, 1956, 0), ("tool_use",)),
    ("claude 2", [{"completion": "-", "stop_reason": None}, {"completion": "", "stop_reason": "stop_sequence", **LAST}],
     Usage(7, 9), ("stop_sequence",)),
    ("titan in one chunk", [{"outputText": "-", "index": 0, "totalOutputTextTokenCount": 10, "inputTextTokenCount": 5,
     "completionReason": "LENGTH", **LAST}], Usage(5, 10), ("LENGTH",)),
    ("titan counts in floats", [{"outputText": "-", "totalOutputTextTokenCount": 3.0, "inputTextTokenCount": 6.0}],
     Usage(6, 3), ()),
    ("titan in several", [
        {"outputText": "-", "totalOutputTextTokenCount": None, "inputTextTokenCount": 5, "completionReason": None},
        {"outputText": "-", "totalOutputTextTokenCount": 12, "inputTextTokenCount": None, "completionReason": "FINISH"},
    ], Usage(5, 12), ("FINISH",)),
    ("llama counts the prompt once", [
        {"generation": "-", "prompt_token_count": 5, "generation_token_count": 1, "stop_reason": None},
        {"generation": "-", "prompt_token_count": None, "generation_token_count": 2, "stop_reason": "stop", **LAST},
    ], Usage(5, 2), ("stop",)),
    ("jamba counts on every chunk", [
        {"choices": [{"index": 0, "finish_reason": None}], "usage": {**JAMBA["usage"], "completion_tokens": 0}},
        {"id": "-", "choices": [{"index": 0, "finish_reason": "stop"}], "usage": JAMBA["usage"]}, LAST,
    ], Usage(17, 8), ("stop",)),
    ("command r's own count stands over the metrics", [
        {"is_finished": False, "event_type": "text-generation", "text": "-"}, {**COHERE_END, **LAST},
    ], Usage(73, 8), ("COMPLETE",)),
    ("mistral has the metrics alone", [
        {"outputs": [{"text": "-", "stop_reason": None}]}, {"outputs": [{"text": "", "stop_reason": "length"}], **LAST},
    ], Usage(7, 9), ("length",)),
    ("nobody's shape", [{"who": "knows"}, {"still": "not"}, LAST], Usage(7, 9), ()),
]  # fmt: skip


@pytest.mark.parametrize(
    ("bodies", "usage", "reasons"), [case[1:] for case in STREAMS], ids=[case[0] for case in STREAMS]
)
def test_a_streamed_body_reads_by_its_model_s_shape(bodies: Any, usage: Any, reasons: tuple[str, ...]) -> None:
    found = some(chunks(*bodies))
    assert (found.provider, found.usage, found.finish_reasons) == ("aws.bedrock", usage, reasons)


def test_the_cache_stands_outside_of_the_metrics_input_too() -> None:
    metrics = {**METRICS, "cacheReadInputTokenCount": 100, "cacheWriteInputTokenCount": 20}
    assert some(chunks({"amazon-bedrock-invocationMetrics": metrics})).usage == Usage(127, 9, 100, 20)


@pytest.mark.parametrize("data", [b"The best time to visit", b"", b"[" * 100_000, b"3", b'"x"', "text", None, 7])
def test_chunks_that_are_no_json_objects_say_nothing(data: Any) -> None:
    found = some([{"chunk": {"bytes": b"{}"}}, {"chunk": {"bytes": data}}])
    assert (found.usage, found.finish_reasons, found.error) == (None, (), None)


def test_a_response_s_event_stream_is_found_and_its_document_is_not() -> None:
    made = type("EventStream", (), {})
    about: dict[str, Any] = {"ResponseMetadata": {}}
    assert held_stream({**about, "stream": made()}) == "stream"
    assert held_stream({**about, "body": made(), "contentType": "-"}) == "body"
    assert held_stream({**about, "completion": made()}) == "completion"
    assert held_stream({**about, "body": OnceOnly()}) is None
    assert held_stream({"stream": made()}) is None
    assert held_stream(made()) is None


def test_other_responses_of_bedrock_are_not_read() -> None:
    assert read({"results": [{"index": 0, "relevanceScore": 0.5}]}) is None
    assert read({"inputTokens": 14}) is None
    conversation = {"object": "conversation.response", "outputs": [{"type": "message.output"}]}
    found = read(conversation)
    assert found is None or found.provider != "aws.bedrock"
