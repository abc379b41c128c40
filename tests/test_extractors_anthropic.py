"""The Anthropic extractors: messages, their streams with all that these restate, and the older completions.

Structure and numbers of the payloads are those of recorded responses, shortened; what is expected was worked out by
hand from the vendor's rule: `input_tokens` leaves cache reads and cache writes out.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from llmwatch.errors import ErrorKind
from llmwatch.extractors import read, read_stream
from llmwatch.usage import Usage

UNCACHED: dict[str, Any] = {
    "cache_creation_input_tokens": 0,
    "cache_read_input_tokens": 0,
    "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
}


def message(usage: Any, **fields: Any) -> dict[str, Any]:
    whole = {"id": "msg_01Ab", "type": "message", "role": "assistant", "model": "claude-m", "content": []}
    return {**whole, "stop_reason": "end_turn", "stop_sequence": None, "usage": usage, **fields}


def stream(started: Any, *deltas: Any, **fields: Any) -> list[dict[str, Any]]:
    """A stream whose start and whose deltas state these usages."""
    text = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "-"}}
    ends = [{"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": usage} for usage in deltas]
    start = {"type": "message_start", "message": message(started, stop_reason=None, **fields)}
    return [start, {"type": "ping"}, text, *ends, {"type": "message_stop"}]


def iteration(kind: str, fresh: int, made: int, read: int = 0, written: int = 0, hour: int = 0) -> dict[str, Any]:
    return {
        "type": kind,
        "input_tokens": fresh,
        "output_tokens": made,
        "cache_read_input_tokens": read,
        "cache_creation_input_tokens": written,
        "cache_creation": {"ephemeral_5m_input_tokens": written - hour, "ephemeral_1h_input_tokens": hour},
    }


# what, usage as the vendor writes it, usage as it must be read
USAGES: list[tuple[str, dict[str, Any], Usage]] = [
    ("the first versions", {"input_tokens": 19, "output_tokens": 22}, Usage(19, 22)),
    ("read from the cache", {**UNCACHED, "input_tokens": 3, "cache_read_input_tokens": 4516, "output_tokens": 7},
     Usage(4519, 7, 4516, 0, 0)),
    ("read and written", {**UNCACHED, "input_tokens": 3, "cache_creation_input_tokens": 9335,
     "cache_read_input_tokens": 12880, "cache_creation": {"ephemeral_5m_input_tokens": 9335}, "output_tokens": 104},
     Usage(22218, 104, 12880, 9335)),
    ("written for an hour", {"input_tokens": 10, "output_tokens": 5, "cache_creation_input_tokens": 300,
     "cache_creation": {"ephemeral_5m_input_tokens": 100, "ephemeral_1h_input_tokens": 200}},
     Usage(310, 5, None, 300, 200)),
    ("thinking is inside the output", {"input_tokens": 3, "output_tokens": 101,
     "output_tokens_details": {"thinking_tokens": 22}}, Usage(3, 101, reasoning_tokens=22)),
    ("server tools count themselves", {"input_tokens": 5425, "output_tokens": 286,
     "server_tool_use": {"web_search_requests": 3}}, Usage(5425, 286)),
    ("one iteration is the message", {"input_tokens": 3, "output_tokens": 101, "cache_creation_input_tokens": 1143,
     "cache_read_input_tokens": 0, "iterations": [iteration("message", 3, 101, 0, 1143)]},
     Usage(1146, 101, 0, 1143, 0)),
    ("an advisor is another model's", {**UNCACHED, "input_tokens": 2411, "output_tokens": 145, "iterations": [
     iteration("message", 1128, 135), {**iteration("advisor_message", 2543, 18, 0, 70, 70), "model": "claude-opus-x"},
     iteration("message", 1283, 10)]}, Usage(2411, 145, 0, 0, 0)),
    ("a compaction is billed beside", {"input_tokens": 1000, "output_tokens": 50, "cache_read_input_tokens": 200,
     "cache_creation_input_tokens": 0, "iterations": [iteration("compaction", 60000, 900, 40000, 500, 500),
     iteration("message", 1000, 50, 200)]}, Usage(101_700, 950, 40_200, 500, 500)),
    ("all null but the totals", {"input_tokens": 8, "output_tokens": 12, "cache_creation": None, "iterations": None,
     "cache_read_input_tokens": None, "cache_creation_input_tokens": None}, Usage(8, 12)),
]  # fmt: skip


@pytest.mark.parametrize(("usage", "expected"), [case[1:] for case in USAGES], ids=[case[0] for case in USAGES])
def test_a_message_and_its_stream_read_the_same(usage: dict[str, Any], expected: Usage) -> None:
    whole = read(message(usage))
    streamed = read_stream(stream({**usage, "output_tokens": 1, "iterations": None}, usage))
    assert whole is not None
    assert whole == streamed
    assert whole.usage == expected
    assert whole.usage.anomalies == ()
    assert (whole.provider, whole.model, whole.finish_reasons) == ("anthropic", "claude-m", ("end_turn",))


def test_what_a_delta_restates_replaces_what_the_start_said_and_is_not_added() -> None:
    deltas = ({"input_tokens": 600, "output_tokens": 3}, {"input_tokens": 1250, "output_tokens": 83})
    found = read_stream(stream({**UNCACHED, "input_tokens": 468, "output_tokens": 2}, *deltas))
    assert found is not None
    assert found.usage == Usage(1250, 83, 0, 0, 0)


def test_a_delta_with_output_alone_leaves_the_input_as_the_start_gave_it() -> None:
    found = read_stream(stream({"input_tokens": 27, "output_tokens": 1}, {"output_tokens": 15}))
    assert found is not None
    assert found.usage == Usage(27, 15)


def test_a_stream_that_breaks_keeps_what_it_had_said_and_names_its_error() -> None:
    events = stream({"input_tokens": 27, "output_tokens": 1})[:3]
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    found = read_stream([*events, error])
    assert found is not None
    assert found.usage == Usage(27, 1)
    assert found.error is ErrorKind.OVERLOADED
    assert found.finish_reasons == ()


def test_an_error_that_comes_alone_is_read_without_usage() -> None:
    found = read_stream([{"type": "error", "error": {"type": "rate_limit_error", "message": "-"}}])
    assert found is not None
    assert (found.usage, found.error) == (None, ErrorKind.RATE_LIMIT)


@pytest.mark.parametrize(
    ("identity", "provider"),
    [
        ("msg_bdrk_01Kf", "aws.bedrock"),
        ("msg_vrtx_01Fs", "gcp.vertex_ai"),
        ("msg_01Ab", "anthropic"),
        ("", "anthropic"),
    ],
)
def test_the_id_names_the_platform_that_served_the_message(identity: str, provider: str) -> None:
    usage = {"input_tokens": 476, "output_tokens": 77}
    whole, streamed = read(message(usage, id=identity)), read_stream(stream(usage, id=identity))
    assert whole is not None
    assert streamed is not None
    assert whole.provider == streamed.provider == provider


def test_the_fast_mode_stands_over_the_tier() -> None:
    usage = {"input_tokens": 1, "output_tokens": 1, "service_tier": "standard"}
    standard, fast = read(message(usage)), read(message({**usage, "speed": "fast"}))
    assert standard is not None
    assert fast is not None
    assert (standard.service_tier, fast.service_tier) == ("standard", "fast")


def test_helper_events_between_the_raw_ones_change_nothing() -> None:
    usage = {"input_tokens": 15, "output_tokens": 13}
    raw = stream({"input_tokens": 15, "output_tokens": 3}, usage)
    helpers = [
        SimpleNamespace(type="text", text="-", snapshot="-"),
        SimpleNamespace(type="content_block_stop", index=0, content_block=SimpleNamespace(type="text")),
        SimpleNamespace(type="message_stop", message=SimpleNamespace(**message(usage))),
    ]
    assert read_stream([*raw[:3], *helpers[:2], *raw[3:-1], helpers[2]]) == read_stream(raw)


def test_objects_of_the_oldest_client_hold_dicts_and_read_alike() -> None:
    usage = SimpleNamespace(**USAGES[3][1])
    found = read(SimpleNamespace(**message(usage)))
    assert found is not None
    assert found.usage == USAGES[3][2]


def test_a_token_count_is_an_answer_and_not_consumption() -> None:
    assert read({"input_tokens": 14}) is None


def test_the_older_completions_say_how_they_ended_and_no_usage() -> None:
    last = {"type": "completion", "completion": " Hi", "stop_reason": "max_tokens", "model": "claude-2.1"}
    streamed = read_stream([{**last, "stop_reason": None}, {"type": "ping"}, last])
    assert streamed == read(last)
    assert streamed is not None
    assert (streamed.model, streamed.usage, streamed.finish_reasons) == ("claude-2.1", None, ("max_tokens",))
