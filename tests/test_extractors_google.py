"""The Google extractors: generateContent of Gemini and Vertex, embeddings, Live sessions, interactions.

Structure and numbers of the payloads are those of recorded responses, shortened; what is expected was worked out by
hand: thoughts stand beside the candidates, tool-use prompts beside the prompt, cached content inside it.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum
from types import SimpleNamespace
from typing import Any

import pytest

from llmwatch.errors import ErrorKind
from llmwatch.extractors import Reading, read, read_stream
from llmwatch.usage import Usage


def modality(kind: str, tokens: int) -> dict[str, Any]:
    return {"modality": kind, "tokenCount": tokens}


def content(usage: Any = None, *, reason: Any = "STOP", **fields: Any) -> dict[str, Any]:
    candidate = {"content": {"parts": [{"text": "-"}], "role": "model"}, "index": 0}
    whole = {"candidates": [{**candidate, "finishReason": reason} if reason else candidate], "modelVersion": "gemini-m"}
    return {**whole, **({} if usage is None else {"usageMetadata": usage}), **fields}


# what, usageMetadata, usage as it must be read
USAGES: list[tuple[str, dict[str, Any], Usage]] = [
    ("plain", {"promptTokenCount": 35, "candidatesTokenCount": 8, "totalTokenCount": 43}, Usage(35, 8)),
    ("thoughts", {"promptTokenCount": 107, "candidatesTokenCount": 23, "thoughtsTokenCount": 123,
     "totalTokenCount": 253}, Usage(107, 146, reasoning_tokens=123)),
    ("thoughts alone", {"promptTokenCount": 12, "thoughtsTokenCount": 84, "totalTokenCount": 96},
     Usage(12, 84, reasoning_tokens=84)),
    ("no candidates", {"promptTokenCount": 14, "totalTokenCount": 14}, Usage(14)),
    ("tool use", {"promptTokenCount": 208, "candidatesTokenCount": 45, "toolUsePromptTokenCount": 1461,
     "thoughtsTokenCount": 147, "totalTokenCount": 1861}, Usage(1669, 192, reasoning_tokens=147)),
    ("cache", {"promptTokenCount": 568, "candidatesTokenCount": 305, "cachedContentTokenCount": 217,
     "thoughtsTokenCount": 1027, "cacheTokensDetails": [modality("TEXT", 217)]},
     Usage(568, 1332, 217, reasoning_tokens=1027)),
    ("video is text to us", {"promptTokenCount": 3362, "candidatesTokenCount": 212, "promptTokensDetails":
     [modality("VIDEO", 3354), modality("TEXT", 8)]}, Usage(3362, 212)),
    ("audio, in the cache too", {"promptTokenCount": 300, "candidatesTokenCount": 87, "cachedContentTokenCount": 90,
     "promptTokensDetails": [modality("TEXT", 100), modality("AUDIO", 200)],
     "cacheTokensDetails": [modality("AUDIO", 60), modality("TEXT", 30)],
     "candidatesTokensDetails": [modality("TEXT", 12), modality("AUDIO", 75)]},
     Usage(300, 87, 90, audio_input_tokens=200, audio_output_tokens=75, audio_cache_read_tokens=60)),
    ("images in and out", {"promptTokenCount": 267, "candidatesTokenCount": 1300, "toolUsePromptTokenCount": 258,
     "promptTokensDetails": [modality("IMAGE", 258)], "toolUsePromptTokensDetails": [modality("IMAGE", 258)],
     "candidatesTokensDetails": [modality("IMAGE", 1290), modality("TEXT", 10)]},
     Usage(525, 1300, image_input_tokens=516, image_output_tokens=1290)),
]  # fmt: skip
CASES = pytest.mark.parametrize(("usage", "expected"), [case[1:] for case in USAGES], ids=[case[0] for case in USAGES])


def snake(tree: Any) -> Any:
    """The same as the client library gives it: objects, `named_like_this`."""
    if isinstance(tree, list):
        return [snake(value) for value in tree]
    if not isinstance(tree, dict):
        return tree
    names = {key: "".join(f"_{c.lower()}" if c.isupper() else c for c in key) for key in tree}
    return SimpleNamespace(**{names[key]: snake(value) for key, value in tree.items()})


def read_content(*events: Any, **stated: Any) -> Reading:
    found = read(events[0], **stated) if len(events) == 1 else read_stream(events, **stated)
    assert found is not None
    return found


@CASES
def test_json_objects_and_a_stream_read_the_same(usage: dict[str, Any], expected: Usage) -> None:
    whole = read_content(content(usage))
    chunks = [content({"promptTokenCount": 5, "totalTokenCount": 5}, reason=None), content(usage)]
    assert whole == read_content(*chunks)
    assert whole == read_content(snake(content(usage)))
    assert whole == read_content(*map(snake, chunks))
    assert whole.usage == expected
    assert whole.usage.anomalies == ()
    assert (whole.provider, whole.model, whole.finish_reasons) == ("gcp.gemini", "gemini-m", ("STOP",))


@CASES
def test_a_live_turn_says_response_for_candidates_and_reads_the_same(usage: dict[str, Any], expected: Usage) -> None:
    turn = {key.replace("candidates", "response"): value for key, value in usage.items()}
    found = read_content({"setupComplete": {}}, {"serverContent": {"turnComplete": True}, "usageMetadata": turn})
    assert found.usage == expected


def test_the_last_usage_of_a_stream_stands_and_is_not_merged_with_earlier_ones() -> None:
    first = {"promptTokenCount": 91, "thoughtsTokenCount": 66, "totalTokenCount": 157}
    last = {"promptTokenCount": 91, "candidatesTokenCount": 159, "toolUsePromptTokenCount": 898}
    found = read_content(content(first, reason=None), content(first, reason=None), content(last))
    assert found.usage == Usage(989, 159)


def test_a_traffic_type_names_vertex_and_is_no_usage() -> None:
    empty = {"trafficType": "ON_DEMAND"}
    counted = {**USAGES[0][1], **empty}
    chunks = read_content(content(empty, reason=None), content(counted), content(empty, reason=None))
    assert (chunks.provider, chunks.service_tier, chunks.usage) == ("gcp.vertex_ai", "ON_DEMAND", Usage(35, 8))
    alone = read_content(content(empty), provider="gcp.gemini")
    assert (alone.provider, alone.usage) == ("gcp.vertex_ai", None)


def test_the_tier_stands_in_the_usage() -> None:
    assert read_content(content({**USAGES[0][1], "serviceTier": "flex"})).service_tier == "flex"


@pytest.mark.parametrize("usage", [None, {"trafficType": "ON_DEMAND"}, {"promptTokenCount": 7, "totalTokenCount": 7}])
def test_a_blocked_prompt_is_an_error_inside_a_success(usage: Any) -> None:
    blocked = {"promptFeedback": {"blockReason": "SAFETY"}, **({"usageMetadata": usage} if usage else {})}
    for found in (read_content(blocked), read_content(snake(blocked)), read_stream([blocked])):
        assert found is not None
        assert (found.error, found.finish_reasons) == (ErrorKind.CONTENT_FILTER, ())
        assert found.usage == (Usage(7) if usage and "promptTokenCount" in usage else None)


def test_feedback_without_a_reason_blocks_nothing() -> None:
    found = read_content({**content(USAGES[0][1]), "promptFeedback": {"safetyRatings": []}})
    assert found.error is None
    assert read_content({"candidates": [], "promptFeedback": {"blockReasonMessage": "-"}}).error is None


class Reason(IntEnum):
    FINISH_REASON_UNSPECIFIED = 0
    RECITATION = 4


class Word(StrEnum):
    SAFETY = "SAFETY"


@pytest.mark.parametrize(
    ("reason", "raw", "normalised"),
    [
        *(("STOP", "STOP", "stop"), (1, "1", "stop"), ("MAX_TOKENS", "MAX_TOKENS", "length"), (2, "2", "length")),
        *(("RECITATION", "RECITATION", "content_filter"), (Reason.RECITATION, "RECITATION", "content_filter")),
        *((Word.SAFETY, "SAFETY", "content_filter"), ("UNEXPECTED_TOOL_CALL", "UNEXPECTED_TOOL_CALL", "error")),
        *(("OTHER", "OTHER", "other"), ("CONTINUATION", "CONTINUATION", "length"), ("NEW", "NEW", "other")),
    ],
)
def test_finish_reasons_stay_as_written_and_have_a_common_word(reason: Any, raw: str, normalised: str) -> None:
    for found in (read_content(content(reason=reason)), read_content(content(reason=None), content(reason=reason))):
        assert found.finish_reasons == (raw,)
        assert found.normalised_finish_reasons == (normalised,)
        assert type(found.finish_reasons[0]) is str


@pytest.mark.parametrize("reason", [None, "FINISH_REASON_UNSPECIFIED", 0, Reason.FINISH_REASON_UNSPECIFIED, "", []])
def test_a_candidate_that_has_not_ended_has_no_finish_reason(reason: Any) -> None:
    assert read_content(content(reason=reason)).finish_reasons == ()


def test_each_candidate_of_a_stream_ends_by_its_own_last_reason() -> None:
    def ended(index: int, reason: str) -> dict[str, Any]:
        return {"candidates": [{"index": index, "finishReason": reason}]}

    found = read_content(ended(0, "STOP"), ended(1, "MAX_TOKENS"), ended(0, "RECITATION"))
    assert found.finish_reasons == ("RECITATION", "MAX_TOKENS")


def test_an_error_in_a_stream_keeps_the_usage_so_far() -> None:
    error = {"error": {"code": 503, "status": "UNAVAILABLE", "message": "The model is overloaded."}}
    found = read_content(content(USAGES[0][1], reason=None), error)
    assert (found.usage, found.error) == (Usage(35, 8), ErrorKind.OVERLOADED)


EMBEDDED = {"embedding": {"values": [0.1]}}
STATISTICS = {"token_count": 10, "truncated": False}


@pytest.mark.parametrize(
    ("body", "tokens", "provider"),
    [
        (EMBEDDED, None, "gcp.gemini"),
        ({"embeddings": [{"values": [0.1]}, {"values": [0.2]}]}, None, "gcp.gemini"),
        ({**EMBEDDED, "usageMetadata": {"promptTokenCount": 11, "promptTokenDetails": []}}, 11, "gcp.gemini"),
        ({"predictions": [{"embeddings": {"values": [0.1], "statistics": STATISTICS}}] * 2}, 20, "gcp.vertex_ai"),
        (SimpleNamespace(embeddings=[SimpleNamespace(values=[0.1], statistics=SimpleNamespace(token_count=10.0))]), 10,
         "gcp.vertex_ai"),
    ],
)  # fmt: skip
def test_embeddings_count_input_alone_where_they_count_at_all(body: Any, tokens: int | None, provider: str) -> None:
    found = read_content(body)
    assert found.usage == (None if tokens is None else Usage(tokens))
    assert (found.provider, found.operation) == (provider, "embeddings")


def test_images_and_token_counts_are_not_read() -> None:
    assert read({"predictions": [{"bytesBase64Encoded": "-", "mimeType": "image/png"}]}) is None
    assert read({"totalTokens": 36, "promptTokensDetails": [modality("TEXT", 36)]}) is None


def test_the_turns_of_a_live_session_add_up() -> None:
    def turn(prompt: int, made: int, thoughts: int) -> dict[str, Any]:
        usage = {"promptTokenCount": prompt, "responseTokenCount": made, "thoughtsTokenCount": thoughts}
        details = {"responseTokensDetails": [modality("AUDIO", made)]}
        return {"serverContent": {"turnComplete": True}, "usageMetadata": {**usage, **details}}

    session = [{"setupComplete": {}}, turn(541, 61, 46), {"toolCall": {"functionCalls": []}}, turn(600, 30, 0)]
    expected = Usage(1141, 137, reasoning_tokens=46, audio_output_tokens=91)
    assert read_content(*session).usage == expected
    assert read_content(*map(snake, session)).usage == expected


INTERACTION: dict[str, Any] = {
    "object": "interaction",
    "status": "completed",
    "model": "gemini-m",
    "service_tier": "standard",
    "usage": {
        "total_tokens": 427,
        "total_input_tokens": 267,
        "input_tokens_by_modality": [{"modality": "text", "tokens": 9}, {"modality": "image", "tokens": 258}],
        "total_cached_tokens": 0,
        "total_output_tokens": 3,
        "total_tool_use_tokens": 100,
        "total_thought_tokens": 57,
    },
}


def test_an_interaction_and_its_stream_read_the_same() -> None:
    begun = {"object": "interaction", "status": "in_progress", "model": "gemini-m"}
    events = [
        {"event_type": "interaction.created", "interaction": begun},
        {"event_type": "step.delta", "delta": {}, "metadata": {"usage": {"total_input_tokens": 267}}},
        {"event_type": "interaction.completed", "interaction": INTERACTION},
    ]
    whole = read_content(INTERACTION)
    assert whole == read_content(*events)
    assert whole.usage == Usage(367, 60, 0, reasoning_tokens=57, image_input_tokens=258)
    assert (whole.finish_reasons, whole.service_tier) == (("completed",), "standard")
    cut = read_content(*events[:2])
    assert (cut.usage, cut.finish_reasons) == (Usage(267), ())
