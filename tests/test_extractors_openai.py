"""The OpenAI-shaped extractors: one payload for each dialect and trap, hostile bodies, and the real client's objects.

Structure and numbers of the payloads are those of recorded responses, shortened; what is expected was worked out by
hand from the vendors' rules.
"""

from __future__ import annotations

import asyncio
import copy
import json
from collections import UserDict
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmwatch.errors import ErrorKind
from llmwatch.extractors import accumulate, read, read_stream
from llmwatch.usage import Usage


def chat(usage: Any, *, model: str = "m", **fields: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": "-"}, "finish_reason": "stop"}
    return {"id": "-", "object": "chat.completion", "model": model, "choices": [choice], "usage": usage, **fields}


def chunk(*, reason: str | None = None, index: int = 0, model: str = "m", **fields: Any) -> dict[str, Any]:
    choice = {"index": index, "delta": {"content": "-"}, "finish_reason": reason}
    return {"id": "-", "object": "chat.completion.chunk", "model": model, "choices": [choice], **fields}


def counts(prompt: int, completion: int, total: int | None = None, **rest: Any) -> dict[str, Any]:
    total = prompt + completion if total is None else total
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total, **rest}


XAI = counts(
    526, 27, 625,
    prompt_tokens_details={"text_tokens": 526, "audio_tokens": 0, "image_tokens": 0, "cached_tokens": 512},
    completion_tokens_details={"reasoning_tokens": 72, "audio_tokens": 0},
    num_sources_used=0, cost_in_usd_ticks=1615400,
)  # fmt: skip
PERPLEXITY = counts(
    24, 52,
    search_context_size="low",
    cost={"input_tokens_cost": 2e-05, "output_tokens_cost": 5e-05, "request_cost": 0.005, "total_cost": 0.00508},
)  # fmt: skip
VERCEL_GEMINI = counts(
    20, 13,
    completion_tokens_details={"reasoning_tokens": 64}, cache_creation_input_tokens=0, cost=0.0005, market_cost=0.0005,
)  # fmt: skip
BYOK = counts(10, 5, cost=0.00001, is_byok=True, cost_details={"upstream_inference_cost": 0.0002})
NO_AUDIO = {"audio_input_tokens": 0, "audio_output_tokens": 0}

# dialect, body, usage as it must be read
CHATS: list[tuple[str, dict[str, Any], Usage]] = [
    ("openai cached and reasoning", chat(counts(
        9299, 577,
        prompt_tokens_details={"cached_tokens": 8448, "audio_tokens": 0},
        completion_tokens_details={"reasoning_tokens": 512, "audio_tokens": 0},
    )), Usage(9299, 577, cache_read_tokens=8448, reasoning_tokens=512, **NO_AUDIO)),
    ("openai cache written", chat(counts(
        1220, 100,
        prompt_tokens_details={"cached_tokens": 0, "cache_write_tokens": 1217},
        completion_tokens_details={"reasoning_tokens": 100},
    )), Usage(1220, 100, cache_read_tokens=0, cache_write_tokens=1217, reasoning_tokens=100)),
    ("openai audio", chat(counts(
        64, 9,
        prompt_tokens_details={"audio_tokens": 44, "cached_tokens": 0, "image_tokens": 0, "text_tokens": 20},
        completion_tokens_details={"audio_tokens": 0, "reasoning_tokens": 0, "text_tokens": 9},
    )), Usage(64, 9, cache_read_tokens=0, reasoning_tokens=0, image_input_tokens=0, audio_input_tokens=44,
              audio_output_tokens=0)),
    ("legacy completion that generated nothing", {"object": "text_completion", "model": "m", "choices": [],
     "usage": {"prompt_tokens": 11, "total_tokens": 11}}, Usage(11)),
    ("xai: reasoning outside", chat(XAI, model="grok-code-fast-1"),
     Usage(526, 99, cache_read_tokens=512, reasoning_tokens=72, image_input_tokens=0, **NO_AUDIO)),
    ("mistral: audio outside", chat(counts(
        11, 15, 401, prompt_audio_seconds=5, prompt_tokens_details={"audio_tokens": 375, "cached_tokens": 9},
        service_tier="standard",
    )), Usage(386, 15, cache_read_tokens=9, audio_input_tokens=375)),
    ("gemini: thoughts in the total alone", chat(counts(66, 6, 100), model="gemini-2.5-pro-preview-05-06"),
     Usage(66, 34, reasoning_tokens=28)),
    ("vertex: reasoning outside and named", chat(
        counts(66, 6, 100, completion_tokens_details={"reasoning_tokens": 28}), model="google/gemini-2.5-pro"),
     Usage(66, 34, reasoning_tokens=28)),
    ("a larger total that nobody explains", chat(counts(66, 6, 100), model="other"), Usage(66, 6)),
    ("vercel before gemini: reasoning in no total", chat(VERCEL_GEMINI, model="google/gemini-2.5-flash"),
     Usage(20, 77, cache_write_tokens=0, reasoning_tokens=64)),
    ("vercel before openai: reasoning inside", chat(counts(
        19, 93, completion_tokens_details={"reasoning_tokens": 64}, market_cost=0.00159375), model="openai/gpt-5"),
     Usage(19, 93, reasoning_tokens=64)),
    ("openrouter before gemini: reasoning inside", chat(counts(
        20, 93, completion_tokens_details={"reasoning_tokens": 64}, cost=0.1), model="google/gemini-2.5-flash"),
     Usage(20, 93, reasoning_tokens=64)),
    ("perplexity", chat(PERPLEXITY, model="sonar"), Usage(24, 52)),
    ("perplexity deep research: citations and reasoning in no total", chat(counts(
        33, 11395, citation_tokens=19028, num_search_queries=21, reasoning_tokens=193947),
        model="sonar-deep-research"), Usage(19061, 205342, reasoning_tokens=193947)),
    ("deepseek", chat(counts(
        5129, 4, prompt_cache_hit_tokens=5120, prompt_cache_miss_tokens=9,
        completion_tokens_details={"reasoning_tokens": 0})),
     Usage(5129, 4, cache_read_tokens=5120, reasoning_tokens=0)),
    ("together and huggingface", chat(counts(203, 18, cached_tokens=7)), Usage(203, 18, cache_read_tokens=7)),
    ("vllm", chat(counts(203, 18, num_cached_tokens=7, prompt_tokens_details=None)),
     Usage(203, 18, cache_read_tokens=7)),
    ("assistants and writer: singular details", chat(counts(
        381, 89, prompt_token_details={"cached_tokens": 5}, completion_tokens_details={"reasoning_tokens": 0})),
     Usage(381, 89, cache_read_tokens=5, reasoning_tokens=0)),
    ("copilot: reasoning beside the totals", chat(counts(
        184, 32, prompt_tokens_details={"cached_tokens": 0}, reasoning_tokens=4)),
     Usage(184, 32, cache_read_tokens=0, reasoning_tokens=4)),
    ("doubleword: anthropic's cache names, inside", chat(counts(
        20, 10, cache_creation={"ephemeral_1h_input_tokens": 2, "ephemeral_5m_input_tokens": 3},
        cache_creation_input_tokens=5, cache_read_input_tokens=4, prompt_tokens_details={"cached_tokens": 4})),
     Usage(20, 10, cache_read_tokens=4, cache_write_tokens=5, cache_write_1h_tokens=2)),
    ("a gateway that leaves anthropic's cache outside", chat(counts(
        20, 10, 130, cache_creation_input_tokens=30, cache_read_input_tokens=70)),
     Usage(120, 10, cache_read_tokens=70, cache_write_tokens=30)),
    ("null details", chat(counts(448, 38, prompt_tokens_details=None, completion_tokens_details=None)),
     Usage(448, 38)),
    ("null parts", chat(counts(20, 10, completion_tokens_details={"reasoning_tokens": 0, "audio_tokens": None})),
     Usage(20, 10, reasoning_tokens=0)),
    ("groq, llama.cpp, mistral.rs: fractions beside", chat(counts(18, 43, queue_time=0.01, avg_tok_per_sec=21.8)),
     Usage(18, 43)),
    ("ollama, prompt cached", chat(counts(0, 26)), Usage(0, 26)),
]  # fmt: skip
IDS = [name for name, *_ in CHATS]


def as_stream(body: dict[str, Any]) -> list[dict[str, Any]]:
    """The same response in chunks: the last with usage and no choices, as OpenAI sends it."""
    head = {"object": body["object"] + ".chunk", "model": body["model"], "usage": None}
    deltas = [{**head, "choices": [{"index": 0, "delta": {}, "finish_reason": reason}]} for reason in (None, "stop")]
    return [*deltas, {**body, "object": head["object"], "choices": []}]


@pytest.mark.parametrize(("body", "expected"), [case[1:] for case in CHATS], ids=IDS)
def test_each_dialect_of_chat_completions_is_read_by_its_rule(body, expected):
    found = read(body).usage
    assert found == expected
    assert found.anomalies == ()


@pytest.mark.parametrize(("body", "expected"), [case[1:] for case in CHATS], ids=IDS)
def test_a_stream_and_the_same_response_unstreamed_give_the_same_usage(body, expected):
    found = read_stream(as_stream(body))
    assert found.usage == expected
    assert found.finish_reasons == ("stop",)
    assert found.cost == read(body).cost


def test_a_part_beyond_its_total_is_cut_and_named():
    # OpenRouter, minimax-m2: 11 reasoning of 10 generated; Azure-hosted grok: more cached than sent
    found = read(chat(counts(43, 10, completion_tokens_details={"reasoning_tokens": 11}))).usage
    assert (found.output_tokens, found.reasoning_tokens, found.anomalies) == (10, 10, ("reasoning_tokens",))
    found = read(chat(counts(205, 18, prompt_tokens_details={"cached_tokens": 210}))).usage
    assert (found.input_tokens, found.cache_read_tokens, found.anomalies) == (205, 205, ("cache_read_tokens",))


@pytest.mark.parametrize("usage", [None, {}, {"prompt_tokens": None}, "-", 7, [], {"cost": 0.1}])
def test_usage_that_states_no_total_is_no_usage(usage):
    assert read(chat(usage)).usage is None


@pytest.mark.parametrize(
    ("usage", "fields", "cost"),
    [
        (counts(279, 72, cost=0.0006228, is_byok=False, cost_details={"upstream_inference_cost": 0.0006228}), {},
         "0.0006228"),
        (counts(612, 2, cost=0, is_byok=False), {}, "0"),
        (BYOK, {}, "0.00021"),
        ({**BYOK, "cost_details": {"upstream_inference_cost": None}}, {}, None),
        (PERPLEXITY, {}, "0.00508"),
        (counts(24, 5, cost={"input_tokens_cost": 0, "output_tokens_cost": 0, "total_cost": 0}), {}, None),
        (XAI, {}, "0.00016154"),
        (counts(205, 18, cost_in_usd_ticks=0), {}, None),
        (counts(1074, 18), {"cost": {"diem": 0, "usd": 0.0001051875}}, "0.0001051875"),
        (counts(1, 1), {}, None),
        (counts(1, 1, cost=-1), {}, None),
        (counts(1, 1, cost=float("nan")), {}, None),
        (counts(1, 1, cost=10**5000), {}, None),
        (counts(1, 1, cost="0.1"), {}, None),
    ],
    ids=["openrouter", "free", "byok", "byok unknown", "perplexity", "perplexity on the way", "xai", "xai on azure",
         "venice", "none", "negative", "nan", "huge", "text"],
)  # fmt: skip
def test_the_cost_that_the_provider_states_is_read_exactly(usage, fields, cost):
    assert read(chat(usage, **fields)).cost == (None if cost is None else Decimal(cost))


def test_a_response_that_names_its_provider_is_believed_and_others_get_the_default():
    assert read(chat(counts(1, 1), x_groq={"id": "req_1"})).provider == "groq"
    assert read(chat(counts(1, 1), x_groq={"id": "req_1"}), provider="proxy").provider == "groq"
    assert read(chat(counts(1, 1), venice_parameters={"enable_web_search": "off"})).provider == "venice"
    assert read(chat(counts(1, 1)), provider="deepseek").provider == "deepseek"
    assert read(chat(counts(1, 1))).provider == "openai"


def test_what_a_response_says_beside_its_usage():
    body = chat(counts(1, 1), model="", service_tier="default")
    body["choices"] = [{"finish_reason": reason} for reason in ("length", "", None, "eos")]
    found = read(body)
    assert (found.model, found.service_tier, found.operation) == (None, "default", None)
    assert found.finish_reasons == ("length", "eos")
    assert found.normalised_finish_reasons == ("length", "stop")
    assert read({**body, "object": "text_completion"}).operation == "text_completion"
    assert read(chat(counts(1, 1, service_tier="standard"))).service_tier == "standard"  # Mistral


@pytest.mark.parametrize(
    ("reason", "normalised"),
    [("stop", "stop"), ("eos", "stop"), ("length", "length"), ("model_length", "length"),
     ("max_prompt_tokens", "length"), ("tool_calls", "tool_calls"), ("function_call", "tool_calls"),
     ("content_filter", "content_filter"), ("sensitive", "content_filter"), ("error", "error"),
     ("insufficient_system_resource", "error"), ("something new", "other")],
)  # fmt: skip
def test_finish_reasons_have_one_vocabulary(reason, normalised):
    body = chat(counts(1, 1))
    body["choices"][0]["finish_reason"] = reason
    assert read(body).normalised_finish_reasons == (normalised,)


def test_an_error_inside_of_a_response_is_classified():
    body = chat(counts(5, 0), error={"code": 502, "message": "-"})
    assert (read(body).error, read(body).usage) == (ErrorKind.SERVER_ERROR, Usage(5, 0))
    body = {**chat(None), "choices": [{"finish_reason": "error", "error": {"code": 429, "message": "-"}}]}
    assert read(body).error is ErrorKind.RATE_LIMIT
    found = read({"error": {"code": 429, "message": "-"}}, api="chat.completions")
    assert (found.error, found.usage) == (ErrorKind.RATE_LIMIT, None)
    assert read(chat(counts(1, 1), error=None)).error is None


# --- streams of chat completions


def test_a_stream_without_usage_has_none():
    found = read_stream([chunk(), chunk(usage=None), chunk(reason="stop", usage={})])
    assert (found.usage, found.finish_reasons, found.model) == (None, ("stop",), "m")


def test_usage_is_taken_from_wherever_it_rides_and_the_last_one_stands():
    growing = [chunk(usage=counts(24, n)) for n in (5, 8, 13)]  # Perplexity: cumulative, on every chunk
    assert read_stream([*growing, chunk(reason="stop", usage=counts(24, 16))]).usage == Usage(24, 16)
    assert read_stream([chunk(usage=counts(24, 16)), chunk(usage=None), chunk(usage={})]).usage == Usage(24, 16)
    assert read_stream([chunk(usage=counts(2, 1)), chunk(usage={"prompt_tokens": None})]).usage == Usage(2, 1)
    assert read_stream([chunk(), {"usage": counts(3, 4)}]).usage == Usage(3, 4)


def test_groq_states_usage_under_its_own_name_and_again_under_the_common_one():
    first = chunk(x_groq={"id": "req_1", "seed": 1})
    last = chunk(reason="tool_calls", x_groq={"id": "req_1", "usage": counts(93, 32, queue_time=0.2)})
    common = {**chunk(usage=counts(93, 32)), "choices": []}
    for events in ([first, chunk(), last], [first, chunk(), last, common]):
        found = read_stream(events)
        assert (found.usage, found.provider, found.finish_reasons) == (Usage(93, 32), "groq", ("tool_calls",))


def test_azure_begins_with_a_chunk_that_names_nothing():
    first = {"choices": [], "id": "", "model": "", "object": "", "prompt_filter_results": [{"prompt_index": 0}]}
    found = read_stream([first, chunk(model="o4-mini"), chunk(model="o4-mini", reason="stop", service_tier="default")])
    assert (found.model, found.service_tier, found.finish_reasons) == ("o4-mini", "default", ("stop",))


def test_finish_reasons_are_one_for_each_choice_in_their_order_however_often_they_are_sent():
    twice = [chunk(reason="stop"), {**chunk(reason="stop"), "usage": counts(808, 4, cost=0.0002524)}]  # OpenRouter
    found = read_stream([chunk(), *twice])
    assert (found.finish_reasons, found.usage, found.cost) == (("stop",), Usage(808, 4), Decimal("0.0002524"))
    both = [chunk(index=1, reason="length"), chunk(index=0), chunk(index=0, reason="stop")]
    assert read_stream(both).finish_reasons == ("stop", "length")


def test_an_error_in_the_middle_of_a_stream_keeps_what_was_reported():
    limit = {"code": 400, "message": "Token limit reached"}
    usage = counts(43, 10, cost=0, completion_tokens_details={"reasoning_tokens": 11})
    found = read_stream([chunk(), chunk(reason="length"), chunk(error=limit, usage=usage)])  # OpenRouter
    assert (found.usage.input_tokens, found.usage.output_tokens, found.cost) == (43, 10, 0)
    assert (found.error, found.finish_reasons) == (ErrorKind.CONTEXT_LENGTH, ("length",))
    found = read_stream([chunk(usage=counts(5, 1)), {"error": {"message": "-", "type": "rate_limit_exceeded"}}])
    assert (found.error, found.usage) == (ErrorKind.RATE_LIMIT, Usage(5, 1))


def test_a_stream_is_recognised_by_its_first_chunk_and_unknown_events_do_no_harm():
    assert read_stream([]) is None
    assert read_stream([{"unknown": 1}, "data", None, 5]) is None
    odd = [None, 5, "x", [], {}, {"choices": None}, {"choices": [None]}, {"choices": 3}, SimpleNamespace(), object()]
    assert read_stream([chunk(), *odd, chunk(usage=counts(1, 2))]).usage == Usage(1, 2)


def test_wrapped_chunks_and_foreign_mappings_are_read_like_plain_ones():
    events = [chunk(), chunk(reason="stop"), chunk(usage=counts(7, 8))]
    for wrap in (
        lambda event: SimpleNamespace(type="chunk", chunk=event),  # openai's helper streams
        lambda event: SimpleNamespace(data=event),  # mistralai's client
        UserDict,
    ):
        found = read_stream([wrap(event) for event in events])
        assert (found.usage, found.finish_reasons, found.model) == (Usage(7, 8), ("stop",), "m")


# --- responses


def response(usage: Any, status: str = "completed", **fields: Any) -> dict[str, Any]:
    return {"id": "-", "object": "response", "model": "m", "status": status, "output": [], "usage": usage, **fields}


def made(given: int, made: int, **rest: Any) -> dict[str, Any]:
    return {"input_tokens": given, "output_tokens": made, "total_tokens": given + made, **rest}


RESPONSES = [
    ("openai", made(9299, 577, input_tokens_details={"cached_tokens": 8448},
                    output_tokens_details={"reasoning_tokens": 512}),
     Usage(9299, 577, cache_read_tokens=8448, reasoning_tokens=512)),
    ("openrouter, cache written", made(4020, 5, input_tokens_details={"cache_write_tokens": 4012, "cached_tokens": 0}),
     Usage(4020, 5, cache_read_tokens=0, cache_write_tokens=4012)),
    ("xai: reasoning inside", made(5913, 364, input_tokens_details={"cached_tokens": 2048},
                                   output_tokens_details={"reasoning_tokens": 263},
                                   context_details={"input_tokens": 4860, "output_tokens": 269}),
     Usage(5913, 364, cache_read_tokens=2048, reasoning_tokens=263)),
    ("llama.cpp", made(25, 18), Usage(25, 18)),
    ("all zero", made(0, 0), Usage(0, 0)),
    ("none", None, None),
]  # fmt: skip


@pytest.mark.parametrize(("usage", "expected"), [case[1:] for case in RESPONSES], ids=[case[0] for case in RESPONSES])
def test_responses_are_read_whole_and_from_the_event_that_carries_them(usage, expected):
    body = response(usage)
    events = [
        {"type": "response.created", "response": response(None, "in_progress")},
        {"type": "response.output_text.delta", "delta": "-"},
        {"type": "response.completed", "response": body},
    ]
    for found in (read(body), read_stream(events)):
        assert (found.usage, found.model, found.finish_reasons) == (expected, "m", ("completed",))


def test_a_responses_end_is_its_status_or_why_it_is_incomplete():
    incomplete = response(made(16, 0), "incomplete", incomplete_details={"reason": "max_output_tokens"})
    assert read(incomplete).finish_reasons == ("max_output_tokens",)
    assert read(incomplete).normalised_finish_reasons == ("length",)
    assert read(response(None, "queued")).finish_reasons == ()
    assert read(response(None, "in_progress")).finish_reasons == ()
    assert read(response(None, "cancelled")).normalised_finish_reasons == ("error",)


def test_a_compaction_is_read_and_a_token_count_is_not_taken_for_one():
    compacted = {"id": "-", "object": "response.compaction", "output": [], "usage": made(133, 204)}
    assert read(compacted).usage == Usage(133, 204)
    assert read(compacted).finish_reasons == ()
    assert read({"object": "response.input_tokens", "input_tokens": 16}) is None


def test_a_failed_response_says_why():
    quota = {"code": "insufficient_quota", "message": "-"}
    failed = response(None, "failed", error=quota)
    assert read(failed).error is ErrorKind.QUOTA
    assert read(response(None, "failed", error=None)).error is ErrorKind.SERVER_ERROR
    events = [
        {"type": "response.created", "response": response(None, "in_progress")},
        {"type": "error", "error": {"type": "insufficient_quota", **quota}},
    ]
    assert read_stream(events).error is ErrorKind.QUOTA
    assert read_stream([*events, {"type": "response.failed", "response": failed}]).error is ErrorKind.QUOTA
    bare = {"type": "error", "code": "rate_limit_exceeded", "message": "-"}
    assert read_stream([bare], api="responses").error is ErrorKind.RATE_LIMIT


def test_usage_that_a_responses_stream_reported_stays_when_a_later_event_has_none():
    events = [
        {"type": "response.in_progress", "response": response(made(9, 1, cost=0.5))},
        {"type": "response.failed", "response": response(None, "failed", error={"code": "server_error"})},
    ]
    found = read_stream(events)
    assert (found.usage, found.cost, found.error) == (Usage(9, 1), Decimal("0.5"), ErrorKind.SERVER_ERROR)


def test_the_cost_of_a_response_is_read():
    assert read(response(made(46, 3, cost=5.8e-06, is_byok=False))).cost == Decimal("0.0000058")
    assert read(response(made(5913, 364, cost_in_usd_ticks=161508500))).cost == Decimal("0.01615085")


# --- assistants


def run(status: str, usage: Any = None, **fields: Any) -> dict[str, Any]:
    return {"id": "-", "object": "thread.run", "model": "gpt-4", "status": status, "usage": usage, **fields}


@pytest.mark.parametrize("wrap", [lambda data: data, lambda data: SimpleNamespace(event=data["object"], data=data)])
def test_a_runs_usage_is_that_of_its_steps_together(wrap):
    steps = [
        {"object": "thread.run.step", "status": "completed", "usage": counts(*pair)} for pair in ((154, 62), (227, 27))
    ]
    ended = run("incomplete", counts(381, 89, prompt_token_details={"cached_tokens": 0}),
                incomplete_details={"reason": "max_prompt_tokens"})  # fmt: skip
    found = read_stream(
        wrap(data) for data in (run("queued"), steps[0], {"object": "thread.message.delta"}, steps[1], ended)
    )
    assert found == read(ended)
    assert (found.usage, found.finish_reasons) == (Usage(381, 89, cache_read_tokens=0), ("max_prompt_tokens",))


def test_a_run_that_goes_on_or_failed():
    assert (read(run("queued")).usage, read(run("queued")).finish_reasons) == (None, ())
    assert read(run("failed", last_error={"code": "rate_limit_exceeded", "message": "-"})).error is ErrorKind.RATE_LIMIT


# --- embeddings, and what looks like them

VECTORS = [{"object": "embedding", "index": 0, "embedding": [0.1, 0.2]}]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"object": "list", "data": VECTORS, "model": "m", "usage": {"prompt_tokens": 8, "total_tokens": 8}}, Usage(8)),
        ({"data": VECTORS, "usage": {"prompt_tokens": 31, "total_tokens": 31}}, Usage(31)),
        (
            {"object": "list", "data": VECTORS, "model": "m", "usage": counts(11, 0, prompt_token_details=None)},
            Usage(11, 0),
        ),
        ({"object": "list", "data": VECTORS, "model": "m", "usage": {"total_tokens": 3}}, Usage(3)),
        ({"object": "list", "data": VECTORS, "model": "m", "usage": None}, None),
    ],
    ids=["openai", "copilot", "mistral", "voyage: only the total", "none"],
)
def test_embeddings_read_what_was_embedded(body, expected):
    assert (read(body).usage, read(body).operation) == (expected, "embeddings")


@pytest.mark.parametrize(
    "body",
    [
        {"data": [{"b64_json": "-"}], "usage": made(14, 272)},
        {"data": [{"url": "-"}], "usage": {"cost_in_usd_ticks": 700000000}},
        {"object": "list", "data": [{"relevance_score": 0.7, "index": 3}], "usage": {"total_tokens": 57}},
        {"model": "m", "results": [{"flagged": False}]},
    ],
    ids=["images", "xai images", "rerank", "moderation"],
)
def test_images_reranks_and_moderations_are_no_embeddings(body):
    assert read(body) is None


# --- transcriptions


def test_transcriptions_count_tokens_and_not_seconds():
    tokens = {"type": "tokens", **made(1, 5), "input_token_details": {"text_tokens": 0, "audio_tokens": 1}}
    found = read({"text": "-", "usage": tokens})
    assert (found.usage, found.operation) == (Usage(1, 5, audio_input_tokens=1), "transcription")
    assert read({"text": "-", "duration": 5.4, "usage": {"type": "duration", "seconds": 6}}).usage is None
    assert read({"text": "-", "duration": 5.4}).usage is None
    found = read({"text": "-", "usage": made(37, 12, cost=0.00010625)})  # OpenRouter
    assert (found.usage, found.cost) == (Usage(37, 12), Decimal("0.00010625"))


def test_mistrals_transcriptions_leave_the_audio_outside():
    usage = counts(5, 20, 400, prompt_audio_seconds=3, prompt_tokens_details={"cached_tokens": 0, "audio_tokens": 375})
    body = {"model": "voxtral-mini-latest", "text": "-", "language": None, "segments": [], "usage": usage}
    expected = Usage(380, 20, cache_read_tokens=0, audio_input_tokens=375)
    assert (read(body).usage, read(body).model) == (expected, "voxtral-mini-latest")
    assert (
        read_stream([{"type": "transcription.text.delta", "text": "-"}, {"type": "transcription.done", **body}]).usage
        == expected
    )


def test_a_transcription_stream_has_usage_on_its_last_event():
    usage = {"type": "tokens", **made(37, 145), "input_token_details": {"text_tokens": 0, "audio_tokens": 37}}
    events = [
        {"type": "transcript.text.delta", "delta": "-"},
        {"type": "transcript.text.done", "text": "-", "usage": usage},
    ]
    assert read_stream(events).usage == Usage(37, 145, audio_input_tokens=37)


def test_text_and_usage_in_a_body_of_another_kind_are_no_transcription():
    assert read({"text": "-", "usage": made(1, 1), "answer": 42}) is None
    assert read(SimpleNamespace(text="-", usage=made(1, 1))) is None


# --- realtime sessions


def done(within: Any, status: str = "completed", details: Any = None, **beside: Any) -> dict[str, Any]:
    inner = {"object": "realtime.response", "id": "-", "status": status, "status_details": details, "usage": within}
    return {"type": "response.done", "event_id": "-", "response": inner, **beside}


SESSION = {
    "type": "session.created",
    "event_id": "-",
    "session": {"object": "realtime.session", "model": "gpt-realtime"},
}
FIRST = made(
    95, 24, input_token_details={"text_tokens": 69, "audio_tokens": 26, "image_tokens": 0, "cached_tokens": 0},
    output_token_details={"text_tokens": 24, "audio_tokens": 0},
)  # fmt: skip
SECOND = made(
    122, 97,
    input_token_details={
        "text_tokens": 96, "audio_tokens": 26, "image_tokens": 0, "cached_tokens": 64,
        "cached_tokens_details": {"text_tokens": 60, "audio_tokens": 4, "image_tokens": 0},
    },
    output_token_details={"text_tokens": 28, "audio_tokens": 69},
)  # fmt: skip


def test_a_session_adds_up_the_usage_of_its_responses_and_leaves_the_transcription_out():
    heard = {"type": "conversation.item.input_audio_transcription.completed", "event_id": "-", "usage": made(26, 9)}
    created = {"type": "response.created", "event_id": "-", "response": {"object": "realtime.response", "usage": None}}
    found = read_stream([SESSION, heard, created, done(FIRST), created, done(SECOND)])
    assert found.usage == Usage(
        217, 121, cache_read_tokens=64, audio_input_tokens=52, audio_output_tokens=69, image_input_tokens=0,
        audio_cache_read_tokens=4, image_cache_read_tokens=0,
    )  # fmt: skip
    assert (found.model, found.finish_reasons, found.error) == ("gpt-realtime", ("completed", "completed"), None)


def test_xai_writes_the_usage_beside_the_response():
    pairs = [(7, 83, 76), (0, 309, 287)]
    events = [
        done({}, details="unimplemented", usage=made(given, out, output_token_details={"audio_tokens": audio}))
        for given, out, audio in pairs
    ]
    assert read_stream([SESSION, *events]).usage == Usage(7, 392, audio_output_tokens=363)
    assert read(events[0]).usage == Usage(7, 83, audio_output_tokens=76)


def test_a_session_met_in_its_middle_is_told_from_a_responses_stream():
    created = {"type": "response.created", "event_id": "-", "response": {"object": "realtime.response", "usage": None}}
    assert read_stream([created, done(FIRST), done(SECOND)]).usage.input_tokens == 217
    assert read(done(FIRST)["response"]).usage.input_tokens == 95


def test_a_failed_response_of_a_session_is_its_error_unless_a_later_one_ends_well():
    failed = done(None, "failed", {"type": "failed", "error": {"type": "tokens", "code": "rate_limit_exceeded"}})
    assert read_stream([SESSION, done(FIRST), failed]).error is ErrorKind.RATE_LIMIT
    assert read_stream([SESSION, done(FIRST), failed]).usage.input_tokens == 95
    assert read_stream([SESSION, failed, done(FIRST)]).error is None
    assert read_stream([SESSION, done(None, "failed")]).error is ErrorKind.SERVER_ERROR
    cut = done(FIRST, "incomplete", {"type": "incomplete", "reason": "max_output_tokens"})
    assert read_stream([SESSION, cut]).finish_reasons == ("max_output_tokens",)
    broken = {"type": "error", "event_id": "-", "error": {"type": "server_error", "code": None, "message": "-"}}
    assert read_stream([SESSION, broken]).error is ErrorKind.SERVER_ERROR


# --- hostile bodies

BODIES: dict[str, list[Any]] = {
    "chat.completions": [body for _, body, _ in CHATS] + [chat(XAI, x_groq={"usage": XAI}, cost={"usd": 0.1})],
    "responses": [response(usage, error={"code": "server_error"}) for _, usage, _ in RESPONSES],
    "realtime": [done(FIRST), done({}, usage=SECOND), done(None, "failed", {"error": {"code": "x"}})],
    "threads.runs": [run("failed", counts(1, 2), last_error={"code": "server_error"})],
    "embeddings": [{"data": VECTORS, "usage": {"total_tokens": 3}}],
    "audio.transcriptions": [{"text": "-", "usage": {"type": "tokens", **FIRST}}],
}
STREAMS: dict[str, list[Any]] = {
    "chat.completions": [
        chunk(usage=XAI, x_groq={"usage": XAI}),
        chunk(reason="stop", error={"code": 5}),
        chunk(cost=1),
    ],
    "responses": [{"type": "response.created", "response": response(FIRST)}, {"type": "error", "error": {"code": "x"}}],
    "realtime": [SESSION, done(FIRST), done({}, usage=SECOND)],
    "threads.runs": [run("queued"), {"event": "thread.run.completed", "data": run("completed", counts(1, 2))}],
    "audio.transcriptions": [{"type": "transcript.text.done", "text": "-", "usage": FIRST}],
}
JUNK = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5),
    st.sampled_from([10**400, -1, 2**60, "5"]),
    st.lists(st.integers(), max_size=2), st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
    st.just([[[[[[[[]]]]]]]]), st.builds(object),
)  # fmt: skip


def spots(node: Any) -> list[tuple[Any, Any]]:
    """Every place in a JSON value where another value may be put: its container and its key."""
    if not isinstance(node, dict | list):
        return []
    keys = list(node) if isinstance(node, dict) else range(len(node))
    return [(node, key) for key in keys] + [spot for key in keys for spot in spots(node[key])]


@st.composite
def mutated(draw: st.DrawFn, sources: dict[str, list[Any]], whole: bool) -> tuple[str, Any]:
    api = draw(st.sampled_from(sorted(sources)))
    value = copy.deepcopy(sources[api][draw(st.integers(0, len(sources[api]) - 1))] if whole else sources[api])
    for _ in range(draw(st.integers(1, 4))):
        places = spots(value)
        if places:
            container, key = places[draw(st.integers(0, len(places) - 1))]
            if isinstance(container, dict) and draw(st.booleans()):
                del container[key]
            else:
                container[key] = copy.deepcopy(draw(JUNK))
    return api, value


def assert_valid(found: Any) -> None:
    usage = found.usage if found is not None else None
    if usage is None:
        return
    kinds = list(usage.parts())
    assert all(tokens >= 0 for *_, tokens in kinds)
    for direction, total in (("input", usage.input_tokens), ("output", usage.output_tokens)):
        if total is not None:
            assert sum(tokens for where, _, tokens in kinds if where == direction) == total
    assert found.cost is None or (found.cost.is_finite() and found.cost >= 0)


FUZZ = settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))


@FUZZ
@given(mutated(BODIES, whole=True))
def test_mutated_bodies_never_raise_and_give_only_valid_usage(case):
    api, body = case
    assert_valid(read(body))
    assert_valid(read(body, api=api))


@FUZZ
@given(mutated(STREAMS, whole=False))
def test_mutated_streams_never_raise_and_give_only_valid_usage(case):
    api, events = case
    assert_valid(read_stream(events))
    assert_valid(read_stream(events, api=api))


@FUZZ
@given(st.lists(JUNK, max_size=4), st.sampled_from(sorted(STREAMS)))
def test_streams_of_anything_never_raise(events, api):
    assert_valid(read_stream(events))
    assert_valid(read_stream(events, api=api))


# --- the real client's objects


def sse(events: list[Any]) -> bytes:
    names = [f"event: {event['type']}\n" if "type" in event else "" for event in events]
    frames = [f"{name}data: {json.dumps(event)}\n\n" for name, event in zip(names, events, strict=True)]
    return "".join([*frames, "data: [DONE]\n\n"]).encode()


def client_for(body: Any, *, asynchronous: bool = False) -> Any:
    """The vendor's client, answered from memory: one body as JSON, or a list of events as a stream."""
    openai = pytest.importorskip("openai")
    transport = pytest.importorskip("httpx2" if int(openai.__version__.partition(".")[0]) >= 3 else "httpx")

    def answer(_: Any) -> Any:
        kind, content = (
            ("text/event-stream", sse(body)) if isinstance(body, list) else ("application/json", json.dumps(body))
        )
        return transport.Response(200, headers={"content-type": kind}, content=content)

    mock = transport.MockTransport(answer)
    if asynchronous:
        return openai.AsyncOpenAI(
            api_key="-", base_url="http://test", http_client=transport.AsyncClient(transport=mock)
        )
    return openai.OpenAI(api_key="-", base_url="http://test", http_client=transport.Client(transport=mock))


ASKED: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "-"}]}


@pytest.mark.parametrize(("body", "expected"), [case[1:] for case in CHATS], ids=IDS)
def test_the_clients_object_reads_like_its_json(body, expected):
    completion = client_for(body).chat.completions.create(**ASKED)
    assert read(completion).usage == expected
    assert read(completion).cost == read(body).cost


@pytest.mark.parametrize(("body", "expected"), [case[1:] for case in CHATS], ids=IDS)
def test_the_clients_stream_reads_like_its_json(body, expected):
    stream = client_for(as_stream(body)).chat.completions.create(**ASKED, stream=True)
    assert read_stream(stream).usage == expected


def test_the_asynchronous_clients_stream_reads_alike():
    async def collect() -> list[Any]:
        client = client_for(as_stream(CHATS[0][1]), asynchronous=True)
        return [event async for event in await client.chat.completions.create(**ASKED, stream=True)]

    assert read_stream(asyncio.run(collect())).usage == CHATS[0][2]


def of_choices(*reasons: str | None, **fields: Any) -> dict[str, Any]:
    pieces = [chunk(reason=reason, index=index)["choices"][0] for index, reason in enumerate(reasons)]
    return {**chunk(**fields), "choices": pieces}


@pytest.mark.parametrize(
    ("events", "reasons", "usage"),
    [
        ([chunk(), chunk(usage=counts(24, 5)), chunk(), chunk(usage=counts(24, 8))], (), Usage(24, 8)),
        ([chunk(), chunk(index=1, reason="length"), chunk(), chunk(), chunk(reason="stop")], ("stop", "length"), None),
        ([of_choices(None, None), of_choices("stop", None), of_choices(None, "length")], ("stop", "length"), None),
        ([chunk(reason="stop"), chunk(), chunk(usage=None), chunk(usage=counts(1, 2))], ("stop",), Usage(1, 2)),
        ([chunk(model=""), chunk(model=""), chunk(), chunk(reason="stop", model="")], ("stop",), None),
        ([{**chunk(), "choices": []}, chunk(), {**chunk(usage=counts(3, 4)), "choices": []}], (), Usage(3, 4)),
    ],
    ids=["usage in between", "an early end", "two in a chunk", "more after the end", "named late", "without choices"],
)
def test_chunks_of_the_client_that_say_nothing_hide_none_that_say_something(events, reasons, usage):
    streamed = client_for(events).chat.completions.create(**ASKED, stream=True)
    for found in (read_stream(streamed), read_stream(events)):
        assert (found.finish_reasons, found.usage, found.model) == (reasons, usage, "m")


def test_the_clients_helper_stream_reads_alike():
    with client_for(as_stream(CHATS[0][1])).chat.completions.stream(**ASKED) as stream:
        events = list(stream)
    assert {type(event).__name__ for event in events} & {"ChunkEvent"}
    assert read_stream(events).usage == CHATS[0][2]


def test_groqs_own_usage_is_found_where_the_client_hides_it_among_the_extras():
    usage = {"id": "req_1", "usage": counts(93, 32)}
    body = [chunk(x_groq={"id": "req_1"}), chunk(), chunk(reason="stop", x_groq=usage)]
    found = read_stream(client_for(body).chat.completions.create(**ASKED, stream=True))
    assert (found.usage, found.provider) == (Usage(93, 32), "groq")


def test_usage_on_an_object_that_does_not_declare_it_is_found():
    pydantic = pytest.importorskip("pydantic")

    class Choice(pydantic.BaseModel):
        finish_reason: str | None = None

    class Chunk(pydantic.BaseModel, extra="allow"):  # as LiteLLM's, which sets usage on the last
        choices: list[Choice]
        model: str = "m"

    last = Chunk(choices=[Choice()], usage=counts(3, 4))
    assert read_stream([Chunk(choices=[Choice()]), last]).usage == Usage(3, 4)


def test_the_clients_responses_read_like_their_json():
    usage, expected = RESPONSES[0][1:]
    body = response(usage, created_at=1, parallel_tool_calls=True, tool_choice="auto", tools=[])
    events = [
        {
            "type": "response.created",
            "sequence_number": 0,
            "response": {**body, "status": "in_progress", "usage": None},
        },
        {"type": "response.output_text.delta", "sequence_number": 1, "delta": "-", "item_id": "-", "output_index": 0},
        {"type": "response.completed", "sequence_number": 2, "response": body},
    ]
    assert read(client_for(body).responses.create(model="m", input="-")).usage == expected
    found = read_stream(client_for(events).responses.create(model="m", input="-", stream=True))
    assert (found.usage, found.finish_reasons) == (expected, ("completed",))


def test_the_clients_embeddings_and_transcriptions_read_like_their_json():
    vectors = {"object": "list", "data": VECTORS, "model": "m", "usage": {"prompt_tokens": 8, "total_tokens": 8}}
    assert read(client_for(vectors).embeddings.create(model="m", input="-", encoding_format="float")).usage == Usage(8)
    usage = {"type": "tokens", **made(1, 5), "input_token_details": {"text_tokens": 0, "audio_tokens": 1}}
    spoken = client_for({"text": "-", "usage": usage}).audio.transcriptions.create(model="m", file=b"-")
    assert (read(spoken).usage, read(spoken).operation) == (Usage(1, 5, audio_input_tokens=1), "transcription")


def test_realtime_events_of_the_client_read_like_their_json():
    realtime = pytest.importorskip("openai.types.realtime")
    events = [realtime.SessionCreatedEvent.model_construct(**SESSION)]
    events += [realtime.ResponseDoneEvent.model_construct(**done(usage)) for usage in (FIRST, SECOND)]
    assert read_stream(events).usage.input_tokens == 217


def test_mistrals_sentinels_for_what_is_not_there_are_no_values():
    models = pytest.importorskip("mistralai.client.models")
    message = {"role": "assistant", "content": "-"}
    whole = {
        "id": "-", "object": "chat.completion", "model": "m", "created": 1, "usage": counts(30, 2),
        "choices": [{"index": 0, "message": message, "finish_reason": "length"}],
    }  # fmt: skip
    found = read(models.ChatCompletionResponse.model_validate(whole))
    assert (found.usage, found.provider, found.service_tier) == (Usage(30, 2), "mistral_ai", None)
    deltas = [{**chunk(reason=reason), "created": 1} for reason in (None, "stop")]
    deltas[1]["usage"] = counts(9, 100)
    events = [models.CompletionEvent.model_validate({"data": delta}) for delta in deltas]
    assert read_stream(events).usage == Usage(9, 100)


def test_an_accumulator_says_what_it_knows_at_any_time():
    found, provider = accumulate(chunk())
    assert provider == "openai"
    found.add(chunk(usage=counts(1, 2)))
    assert found.reading().usage == Usage(1, 2)
    found.add(chunk(usage=counts(1, 3)))
    assert found.reading().usage == Usage(1, 3)
