"""No broken body or chunk makes an extractor raise, or report usage that is negative or does not add up."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

from corpus_rules import is_http_error, items, payloads
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from llmwatch import extractors
from llmwatch.extractors import Reading
from llmwatch.usage import Usage

fuzz = settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])

# Each shape in small: enough to be recognised, with every kind of count that it has.
BODIES: list[Any] = [
    {
        "object": "chat.completion",
        "model": "m",
        "service_tier": "default",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "x"}}],
        "usage": {
            "prompt_tokens": 30,
            "completion_tokens": 20,
            "total_tokens": 50,
            "cost": 0.5,
            "prompt_cache_hit_tokens": 10,
            "cache_read_input_tokens": 10,
            "num_cached_tokens": 10,
            "prompt_tokens_details": {"cached_tokens": 10, "cache_write_tokens": 2, "audio_tokens": 3},
            "completion_tokens_details": {"reasoning_tokens": 5, "audio_tokens": 4},
        },
        "x_groq": {"usage": {"prompt_tokens": 30, "completion_tokens": 20}},
    },
    {
        "object": "list",
        "data": [{"object": "embedding", "embedding": [0.5]}],
        "model": "m",
        "usage": {"total_tokens": 3},
    },
    {
        "object": "response",
        "status": "incomplete",
        "incomplete_details": {"reason": "max_output_tokens"},
        "error": {"code": "insufficient_quota", "message": "x"},
        "model": "m",
        "output": [],
        "usage": {
            "input_tokens": 30,
            "output_tokens": 20,
            "total_tokens": 50,
            "cost_in_usd_ticks": 5,
            "input_tokens_details": {"cached_tokens": 10, "cache_write_tokens": 2},
            "output_tokens_details": {"reasoning_tokens": 5},
        },
    },
    {
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [],
        "stop_reason": "end_turn",
        "usage": {
            "input_tokens": 3,
            "output_tokens": 20,
            "cache_read_input_tokens": 10,
            "cache_creation_input_tokens": 7,
            "cache_creation": {"ephemeral_5m_input_tokens": 3, "ephemeral_1h_input_tokens": 4},
            "output_tokens_details": {"thinking_tokens": 5},
            "iterations": [{"type": "message", "input_tokens": 3, "output_tokens": 20}],
            "service_tier": "standard",
        },
    },
    {
        "modelVersion": "m",
        "candidates": [{"finishReason": "STOP", "content": {"parts": []}}],
        "promptFeedback": {"blockReason": "SAFETY"},
        "usageMetadata": {
            "promptTokenCount": 30,
            "candidatesTokenCount": 20,
            "thoughtsTokenCount": 5,
            "toolUsePromptTokenCount": 4,
            "cachedContentTokenCount": 10,
            "totalTokenCount": 59,
            "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 3}, {"modality": "IMAGE", "tokenCount": 3}],
            "candidatesTokensDetails": [{"modality": "AUDIO", "tokenCount": 3}],
            "cacheTokensDetails": [{"modality": "AUDIO", "tokenCount": 1}],
        },
    },
    {
        "object": "interaction",
        "status": "completed",
        "model": "m",
        "usage": {"total_input_tokens": 3, "total_output_tokens": 4, "total_thought_tokens": 5, "total_tokens": 12},
    },
    {
        "output": {"message": {"role": "assistant", "content": []}},
        "stopReason": "end_turn",
        "usage": {
            "inputTokens": 3,
            "outputTokens": 20,
            "cacheReadInputTokens": 10,
            "cacheWriteInputTokens": 7,
            "cacheDetails": [{"inputTokens": 7, "ttl": "1h"}],
        },
    },
    {
        "ResponseMetadata": {
            "HTTPHeaders": {"x-amzn-bedrock-input-token-count": "3", "x-amzn-bedrock-output-token-count": "4"}
        },
        "contentType": "application/json",
        "body": None,
    },
    {"inputTextTokenCount": 3, "results": [{"tokenCount": 4, "completionReason": "FINISH"}]},
    {"generation": "x", "prompt_token_count": 3, "generation_token_count": 4, "stop_reason": "length"},
    {
        "id": "x",
        "finish_reason": "COMPLETE",
        "message": {"role": "assistant"},
        "usage": {
            "billed_units": {"input_tokens": 3.0, "output_tokens": 4.0},
            "tokens": {"input_tokens": 30.0, "output_tokens": 4.0, "reasoning_tokens": 2},
            "cached_tokens": 10,
        },
    },
    {
        "generation_id": "x",
        "text": "x",
        "finish_reason": "COMPLETE",
        "meta": {"billed_units": {"input_tokens": 3, "output_tokens": 4}, "tokens": {"input_tokens": 30}},
    },
    {"model": "m", "done": True, "done_reason": "stop", "response": "x", "prompt_eval_count": 3, "eval_count": 4},
    {"model_id": "m", "results": [{"input_token_count": 3, "generated_token_count": 4, "stop_reason": "eos_token"}]},
    {"predictions": [{"embeddings": {"statistics": {"token_count": 3}}}, {"embeddings": {"values": [0.5]}}]},
    {
        "status": "succeeded",
        "version": "v",
        "input": {},
        "urls": {},
        "metrics": {"input_token_count": 3, "output_token_count": 4},
    },
    {
        "object": "thread.run",
        "status": "completed",
        "model": "m",
        "usage": {"prompt_tokens": 3, "completion_tokens": 4},
    },
    {"text": "x", "usage": {"type": "tokens", "input_tokens": 3, "input_token_details": {"audio_tokens": 3}}},
    {
        "modelVersion": "m",
        "candidates": [],
        "usageMetadata": {
            "promptTokenCount": 5,
            "cachedContentTokenCount": 3,
            "cacheTokensDetails": [{"modality": "AUDIO", "tokenCount": 3}, {"modality": "IMAGE", "tokenCount": 3}],
        },
    },
    {
        "type": "response.done",
        "event_id": "2",
        "response": {
            "status": "completed",
            "usage": {
                "input_tokens": 30,
                "output_tokens": 20,
                "input_token_details": {
                    "cached_tokens": 10,
                    "audio_tokens": 5,
                    "cached_tokens_details": {"audio_tokens": 2},
                },
                "output_token_details": {"audio_tokens": 4, "reasoning_tokens": 5},
            },
        },
    },
]
STREAMS: list[list[Any]] = [
    [
        {"object": "chat.completion.chunk", "model": "m", "choices": [{"index": 0, "delta": {}}], "usage": None},
        {"object": "chat.completion.chunk", "model": "m", "choices": [{"index": 0, "finish_reason": "length"}]},
        {"object": "chat.completion.chunk", "model": "m", "choices": [], "usage": BODIES[0]["usage"]},
    ],
    [
        {"type": "response.created", "response": {"object": "response", "status": "in_progress", "usage": None}},
        {"type": "response.incomplete", "response": BODIES[2]},
    ],
    [
        {"type": "message_start", "message": BODIES[3]},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "x"}},
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 30}},
        {"type": "message_stop"},
    ],
    [{"candidates": [{"content": {}}], "usageMetadata": {"trafficType": "ON_DEMAND"}}, BODIES[4]],
    [
        {"messageStart": {"role": "assistant"}},
        {"messageStop": {"stopReason": "end_turn"}},
        {"metadata": {"usage": BODIES[6]["usage"], "metrics": {}}},
    ],
    [
        {"chunk": {"bytes": b'{"outputText": "x", "inputTextTokenCount": 3, "totalOutputTextTokenCount": 4}'}},
        {"chunk": {"bytes": b'{"amazon-bedrock-invocationMetrics": {"inputTokenCount": 3, "outputTokenCount": 4}}'}},
    ],
    [
        {"type": "message-start", "id": "x", "delta": {"message": {"role": "assistant"}}},
        {"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": BODIES[10]["usage"]}},
    ],
    [
        {"event_type": "text-generation", "is_finished": False, "text": "x"},
        {"event_type": "stream-end", "is_finished": True, "finish_reason": "COMPLETE", "response": BODIES[11]},
    ],
    [{"model": "m", "done": False, "response": "x"}, BODIES[12]],
    [
        {"type": "session.created", "event_id": "1", "session": {"model": "m"}},
        BODIES[-1],
        {
            "type": "response.done",
            "event_id": "3",
            "response": {"usage": {}},
            "usage": {"input_tokens": 3, "output_tokens": 4},
        },
    ],
    [
        {"event_type": "interaction.created", "interaction": {"status": "in_progress"}},
        {"event_type": "interaction.completed", "interaction": BODIES[5]},
    ],
]
PROVIDERS = [None, "openai", "x_ai", "mistral_ai", "azure.ai.openai", "gcp.gemini", "aws.bedrock", "cohere", "nobody"]
APIS = [
    *(None, "chat.completions", "completions", "responses", "embeddings", "messages", "generateContent", "converse"),
    *("invoke_model", "chat", "chat.v1", "chat.v2", "realtime", "live", "interactions", "generate", "nothing"),
]
REASONS = {"stop", "length", "tool_calls", "content_filter", "refusal", "error", "other"}


def nested(depth: int) -> Any:
    """A tree that is deeper than any stack."""
    tree: Any = {}
    for level in range(depth):
        tree = {"usage": tree} if level % 2 else [tree]
    return tree


BOTTOMLESS = nested(20_000)
ODDITIES: list[Any] = [
    *(None, True, False, -1, 0, 1, 7, 2**53, 2**53 + 1, 2**63, 10**400, -(10**400)),
    *(0.5, -0.0, 1e308, -1e308, math.nan, math.inf, -math.inf, 3.0, Decimal(5), Decimal("NaN")),
    *(
        "",
        "7",
        "-7",
        "seven",
        "9" * 5000,
        "\ud800",
        "stop",
        b"",
        b"\xff",
        b"{}",
        b"[1]",
        b'{"usage": 3}',
        bytearray(b"{}"),
    ),
    *([], {}, [[]], [None], [{}], {"": None}, {1: 2}, (), set(), BOTTOMLESS, object(), int, len),
]
numbers = st.one_of(
    st.integers(-3, 60),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.booleans(),
    st.none(),
)
Mutation = Callable[[Any], Any]


def replaced_at(picks: list[int], change: Callable[[Any], Any]) -> Mutation:
    """Changes one place of a tree, found by picking a child at each level."""

    def mutate(tree: Any) -> Any:
        if not picks or tree is BOTTOMLESS or not isinstance(tree, dict | list) or not tree:
            return change(tree)
        keys = list(tree) if isinstance(tree, dict) else range(len(tree))
        key = keys[picks[0] % len(keys)]
        changed = replaced_at(picks[1:], change)(tree[key])
        copied = copy.copy(tree)
        if changed is MISSING:
            del copied[key]
        else:
            copied[key] = changed
        return copied

    return mutate


def renumbered(values: list[Any]) -> Mutation:
    """Puts other numbers in the place of all, in turn."""
    position = 0

    def mutate(tree: Any) -> Any:
        nonlocal position
        if tree is BOTTOMLESS:
            return tree
        if isinstance(tree, dict):
            return {key: mutate(value) for key, value in tree.items()}
        if isinstance(tree, list):
            return [mutate(value) for value in tree]
        if isinstance(tree, int | float) and not isinstance(tree, bool):
            position += 1
            return values[position % len(values)]
        return tree

    return mutate


MISSING = object()
oddities = st.integers(0, len(ODDITIES) - 1)  # by place: some have no end, and could not be printed
paths = st.lists(st.integers(0, 40), min_size=1, max_size=6)
mutations = st.one_of(
    st.builds(replaced_at, paths, oddities.map(lambda odd: lambda _: ODDITIES[odd])),
    st.builds(replaced_at, paths, st.just(lambda _: MISSING)),
    st.builds(replaced_at, paths, st.just(lambda value: [value])),
    st.builds(replaced_at, paths, st.just(lambda value: {"usage": value, "response": value, "message": value})),
    st.builds(renumbered, st.lists(numbers, min_size=1, max_size=12)),
)
hints = st.fixed_dictionaries({"provider": st.sampled_from(PROVIDERS), "api": st.sampled_from(APIS)})


def recorded(*, streaming: bool) -> list[Any]:
    """What was really received, when the corpus is there."""
    found = [item for item in items() if item["streaming"] is streaming and not is_http_error(item)]
    return [_ends(list(payloads(item))) if streaming else item["body"] for item in found]


def _ends(events: list[Any]) -> list[Any]:
    return events[:4] + events[4:][-8:]


bodies = st.sampled_from(BODIES) | st.sampled_from(recorded(streaming=False) or BODIES)
streams = st.sampled_from(STREAMS) | st.sampled_from(recorded(streaming=True) or STREAMS)


def mutated(tree: Any, changes: list[Mutation]) -> Any:
    """The tree after all changes."""
    for change in changes:
        tree = change(tree)
    return None if tree is MISSING else tree


def as_object(tree: Any) -> Any:
    """The same as a client library would give it: objects with attributes."""
    if tree is BOTTOMLESS:
        return SimpleNamespace(usage=tree)
    if isinstance(tree, dict) and all(isinstance(key, str) for key in tree):
        return SimpleNamespace(**{key: as_object(value) for key, value in tree.items()})
    return [as_object(value) for value in tree] if isinstance(tree, list) else tree


def assert_sound(reading: Any) -> None:
    """Fails unless all that a reading says is of its kind."""
    if reading is None:
        return
    assert issubclass(reading.__class__, Reading)
    for name in (reading.provider, reading.model, reading.service_tier, reading.operation):
        assert name is None or (isinstance(name, str) and name)
    assert all(isinstance(reason, str) and reason for reason in reading.finish_reasons)
    assert REASONS.issuperset(reading.normalised_finish_reasons)
    assert reading.cost is None or (
        isinstance(reading.cost, Decimal) and reading.cost.is_finite() and reading.cost >= 0
    )
    if reading.usage is not None:
        assert_adds_up(reading.usage)


def assert_adds_up(usage: Any) -> None:
    """Fails unless every count is whole, and the parts of each direction add up to it."""
    for name in Usage.__slots__:
        value = getattr(usage, name)
        assert name == "anomalies" or value is None or (type(value) is int and value >= 0), name
    parts = list(usage.parts())
    assert all(tokens >= 0 for _, _, tokens in parts)
    for direction, total in (("input", usage.input_tokens), ("output", usage.output_tokens)):
        if total is not None:
            assert sum(tokens for side, _, tokens in parts if side == direction) == total


@fuzz
@given(bodies, st.lists(mutations, max_size=4), hints)
def test_a_broken_body_neither_raises_nor_gives_unsound_usage(
    body: Any, changes: list[Mutation], stated: dict[str, Any]
) -> None:
    broken = mutated(body, changes)
    assert_sound(extractors.read(broken, **stated))


@fuzz
@given(streams, st.lists(mutations, max_size=4), st.lists(st.integers(0, 12), max_size=3), hints)
def test_a_broken_stream_neither_raises_nor_gives_unsound_usage(
    events: list[Any], changes: list[Mutation], moved: list[int], stated: dict[str, Any]
) -> None:
    broken = mutated(events, changes)
    broken = list(broken) if isinstance(broken, list | tuple) else [broken]
    for place in moved:
        broken.append(broken[place % len(broken)] if broken else None)
        del broken[place % len(broken)]
    assert_sound(extractors.read_stream(broken, **stated))


@fuzz
@given(st.sampled_from(BODIES), st.lists(mutations, max_size=3), hints)
def test_a_broken_object_neither_raises_nor_gives_unsound_usage(
    body: Any, changes: list[Mutation], stated: dict[str, Any]
) -> None:
    broken = as_object(mutated(body, changes))
    assert_sound(extractors.read(broken, **stated))


@fuzz
@given(st.sampled_from(STREAMS), st.lists(mutations, max_size=3), hints)
def test_a_stream_of_broken_objects_neither_raises_nor_gives_unsound_usage(
    events: list[Any], changes: list[Mutation], stated: dict[str, Any]
) -> None:
    broken = as_object(mutated(events, changes))
    assert_sound(extractors.read_stream(broken if isinstance(broken, list) else [broken], **stated))


@fuzz
@given(st.sampled_from(STREAMS + BODIES), oddities, hints)
def test_anything_at_all_may_come_as_a_body_or_as_events(known: Any, odd: int, stated: dict[str, Any]) -> None:
    thing = ODDITIES[odd]
    events = [*known, thing] if isinstance(known, list) else [known, thing]
    assert_sound(extractors.read(thing, **stated))
    assert_sound(extractors.read_stream([thing, *events], **stated))
    assert_sound(extractors.read_stream(events, **stated))


def test_every_distilled_payload_is_read_and_sound_before_it_is_broken() -> None:
    readings = [extractors.read(body) for body in BODIES] + [extractors.read_stream(events) for events in STREAMS]
    for payload, reading in zip([*BODIES, *STREAMS], readings, strict=True):
        assert reading is not None, payload
        assert reading.usage is not None, payload
        assert_sound(reading)


class Event(BaseModel):
    """A program's own model of a server-sent event, whichever provider it is from."""

    type: str | None = None
    choices: list[Any] | None = None
    message: Any = None
    delta: Any = None
    usage: Any = None
    model: str | None = None


def test_events_of_one_class_may_be_those_of_several_providers() -> None:
    def of_openai() -> list[Event]:
        usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
        return [
            Event(model="gpt-4o", choices=[{"delta": {"content": "x"}, "finish_reason": None}]),
            Event(model="gpt-4o", choices=[{"delta": {}, "finish_reason": "stop"}], usage=usage),
        ]

    started = {"model": "claude-sonnet-4-5", "usage": {"input_tokens": 7, "output_tokens": 1}}
    of_anthropic = [
        Event(type="message_start", message=started),
        Event(type="message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 9}),
        Event(type="message_stop"),
    ]
    found = [extractors.read_stream(events) for events in (of_openai(), of_anthropic, of_openai())]

    assert [(each.model, *each.usage.totals) for each in found] == [
        ("gpt-4o", 3, 2),
        ("claude-sonnet-4-5", 7, 9),
        ("gpt-4o", 3, 2),
    ]
