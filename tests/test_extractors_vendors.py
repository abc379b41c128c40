"""The extractors of Cohere, Ollama, watsonx and of the vendors that are a table each; and all of them on broken input.

Structure and numbers of the payloads are those of recorded responses, shortened; what is expected was worked out by
hand from the vendors' rules.
"""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

import pytest
import test_extractors_anthropic as anthropic
import test_extractors_bedrock as bedrock
import test_extractors_google as google
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmwatch.errors import ErrorKind
from llmwatch.extractors import Reading, read, read_stream
from llmwatch.usage import Usage


def some(found: Reading | None) -> Reading:
    assert found is not None
    return found


# --- Cohere ----------------------------------------------------------------------------------------------------------


def billed(inputs: float, outputs: float, **fields: Any) -> dict[str, Any]:
    return {"billed_units": {"input_tokens": inputs, "output_tokens": outputs}, **fields}


REASONED = billed(
    51.0, 66.0, tokens={"input_tokens": 267.0, "output_tokens": 91.0, "reasoning_tokens": 58}, cached_tokens=144.0
)
# what, usage (version 2) or meta (version 1) as written, usage as it must be read
COHERE: list[tuple[str, dict[str, Any], Usage | None]] = [
    ("tokens stand over billed units", billed(25, 9, tokens={"input_tokens": 91, "output_tokens": 11}), Usage(91, 11)),
    ("cache and reasoning are inside", REASONED, Usage(267, 91, 144, reasoning_tokens=58)),
    ("billed units alone", billed(5, 57), Usage(5, 57)),
    ("empty tokens", billed(5, 57, tokens={}), Usage(5, 57)),
    ("nothing", {}, None),
]
CHAT_V2: dict[str, Any] = {"id": "-", "message": {"role": "assistant", "content": []}, "finish_reason": "TOOL_CALL"}
CHAT_V1: dict[str, Any] = {"response_id": "-", "text": "-", "generation_id": "-", "finish_reason": "COMPLETE"}


@pytest.mark.parametrize(("usage", "expected"), [case[1:] for case in COHERE], ids=[case[0] for case in COHERE])
def test_both_versions_of_cohere_s_chat_read_the_same_streamed_or_not(usage: Any, expected: Usage | None) -> None:
    end = {"type": "message-end", "delta": {"finish_reason": "TOOL_CALL", "usage": usage}}
    begin = {"type": "message-start", "id": "-", "delta": {"message": {"role": "assistant"}}}
    second = some(read({**CHAT_V2, "usage": usage}))
    assert second == read_stream([begin, {"type": "content-delta", "index": 0, "delta": {}}, end])
    assert (second.provider, second.usage, second.normalised_finish_reasons) == ("cohere", expected, ("tool_calls",))
    first = some(read({**CHAT_V1, "meta": usage}))
    started = {"event_type": "stream-start", "is_finished": False, "generation_id": "-"}
    ended = {"event_type": "stream-end", "finish_reason": "COMPLETE", "response": {**CHAT_V1, "meta": usage}}
    assert first == read_stream([started, {"event_type": "text-generation", "text": "-"}, ended])
    assert (first.usage, first.finish_reasons) == (expected, ("COMPLETE",))


def test_cohere_s_generate_reads_the_same_streamed_or_not() -> None:
    whole = {
        "id": "-",
        "prompt": "-",
        "generations": [{"id": "-", "finish_reason": "MAX_TOKENS"}],
        "meta": billed(5, 55),
    }
    end = {"event_type": "stream-end", "is_finished": True, "finish_reason": "MAX_TOKENS", "response": whole}
    found = some(read(whole))
    assert found == read_stream([{"event_type": "text-generation", "text": "-", "is_finished": False}, end])
    assert (found.usage, found.finish_reasons) == (Usage(5, 55), ("MAX_TOKENS",))


def test_cohere_s_stream_may_end_in_an_error() -> None:
    message = "your request resulted in an invalid tool generation"
    end = {"finish_reason": "ERROR", "usage": {}, "error": message, "error_type": "INVALID_TOOL_GENERATION"}
    found = some(read_stream([{"type": "message-start", "delta": {}}, {"type": "message-end", "delta": end}]))
    assert (found.usage, found.normalised_finish_reasons, found.error) == (None, ("error",), ErrorKind.OTHER)


@pytest.mark.parametrize(
    ("units", "expected"),
    [({"input_tokens": 3}, Usage(3)), ({"images": 1}, None),
     ({"input_tokens": 7, "image_tokens": 0}, Usage(7, image_input_tokens=0)),
     ({"image_tokens": 1200}, Usage(1200, image_input_tokens=1200))],
)  # fmt: skip
def test_cohere_s_embeddings_are_billed_by_text_and_by_image_tokens(units: Any, expected: Usage | None) -> None:
    body = {"id": "-", "texts": [], "embeddings": {"float": [[0.1]]}, "response_type": "embeddings_by_type"}
    found = some(read({**body, "meta": {"billed_units": units}}))
    assert (found.usage, found.operation) == (expected, "embeddings")


def test_reranking_is_not_read() -> None:
    assert read({"id": "-", "results": [{"index": 0}], "meta": {"billed_units": {"search_units": 1}}}) is None
    assert read(SimpleNamespace(results=[], total_tokens=57)) is None


# --- Ollama and watsonx ----------------------------------------------------------------------------------------------

OLLAMA = {"model": "llama-m", "created_at": "-", "done": True, "done_reason": "stop", "eval_count": 58}


@pytest.mark.parametrize("answer", [{"message": {"role": "assistant", "content": "-"}}, {"response": "-"}])
@pytest.mark.parametrize(("prompt", "expected"), [({"prompt_eval_count": 17}, Usage(17, 58)), ({}, Usage(None, 58))])
def test_ollama_counts_on_the_last_line_and_leaves_out_a_cached_prompt(answer: Any, prompt: Any, expected: Any) -> None:
    whole = {**OLLAMA, **answer, **prompt}
    found = some(read(whole))
    assert found == read_stream([{"model": "llama-m", "created_at": "-", **answer, "done": False}, whole])
    assert (found.provider, found.model, found.usage) == ("ollama", "llama-m", expected)
    assert found.finish_reasons == ("stop",)


def test_an_ollama_stream_that_fails_says_so() -> None:
    found = some(
        read_stream([{"model": "llama-m", "done": False, "response": "-"}, {"error": "llama runner has died"}])
    )
    assert (found.usage, found.error) == (None, ErrorKind.OTHER)


def test_ollama_s_embeddings_are_told_from_its_chat_as_json_and_as_an_object() -> None:
    body = {"model": "nomic", "embeddings": [[0.1]], "total_duration": 1, "prompt_eval_count": 7}
    unset = {"done": None, "done_reason": None, "eval_count": None, "created_at": None}
    for found in (read(body), read(SimpleNamespace(**body, **unset))):
        assert (some(found).usage, some(found).operation) == (Usage(7), "embeddings")


def watsonx(inputs: int, outputs: int, reason: str) -> dict[str, Any]:
    result = {"generated_text": "-", "input_token_count": inputs, "generated_token_count": outputs}
    return {"model_id": "google/flan-ul2", "created_at": "-", "results": [{**result, "stop_reason": reason}]}


def test_watsonx_streams_state_the_prompt_once_and_the_answer_cumulatively() -> None:
    events = [watsonx(7, 0, "not_finished"), watsonx(0, 1, "not_finished"), watsonx(0, 2, "eos_token")]
    found = some(read_stream(events))
    assert found == read(watsonx(7, 2, "eos_token"))
    assert (found.provider, found.model, found.usage) == ("ibm.watsonx.ai", "google/flan-ul2", Usage(7, 2))
    assert found.normalised_finish_reasons == ("stop",)
    assert some(read_stream(events[:2])).finish_reasons == ()


def test_several_results_of_watsonx_add_up() -> None:
    body = watsonx(7, 2, "eos_token")
    assert some(read({**body, "results": body["results"] * 2})).usage == Usage(14, 4)


# --- vendors that are a table ----------------------------------------------------------------------------------------

ALEPH_ALPHA = {
    "completions": [{"completion": "-", "finish_reason": "maximum_tokens"}], "model_version": "2022-04",
    "num_tokens_prompt_total": 9, "num_tokens_generated": 1000,
}  # fmt: skip
REPLICATE = {
    "id": "-", "model": "meta/llama-m", "version": "-", "input": {}, "output": ["-"], "error": None, "urls": {},
    "status": "succeeded", "metrics": {"input_token_count": 12, "output_token_count": 34, "predict_time": 1.5},
}  # fmt: skip
DETAILED = {"generated_text": "-", "details": {"finish_reason": "eos_token", "generated_tokens": 5, "prefill": []}}
# vendor, body, provider, model, usage, normalised finish reasons, operation
TABLES: list[tuple[str, Any, tuple[Any, ...]]] = [
    ("aleph alpha", ALEPH_ALPHA, ("aleph_alpha", "2022-04", Usage(9, 1000), ("length",), None)),
    ("replicate", REPLICATE, ("replicate", "meta/llama-m", Usage(12, 34), (), None)),
    ("replicate at its start", {**REPLICATE, "status": "starting", "metrics": None},
     ("replicate", "meta/llama-m", None, (), None)),
    ("huggingface", DETAILED, ("huggingface", None, Usage(None, 5), ("stop",), None)),
    ("huggingface without details", {"generated_text": "-"}, ("huggingface", None, None, (), None)),
    ("voyage's client", SimpleNamespace(embeddings=[[0.1]], total_tokens=3),
     ("voyage", None, Usage(3), (), "embeddings")),
]  # fmt: skip


@pytest.mark.parametrize(("body", "expected"), [case[1:] for case in TABLES], ids=[case[0] for case in TABLES])
def test_a_table_reads_what_its_paths_lead_to(body: Any, expected: tuple[Any, ...]) -> None:
    for source in (body, SimpleNamespace(**body) if isinstance(body, dict) else body):
        found = some(read(source))
        words = found.normalised_finish_reasons
        assert (found.provider, found.model, found.usage, words, found.operation) == expected
        assert found.error is None


def test_a_failed_prediction_is_an_error() -> None:
    assert some(read({**REPLICATE, "status": "failed", "error": "CUDA out of memory"})).error is ErrorKind.OTHER


def test_huggingface_s_stream_counts_the_prompt_too() -> None:
    token = {"id": 1, "text": "-", "logprob": 0.0, "special": False}
    details = {"finish_reason": "length", "generated_tokens": 2, "input_length": 9}
    events = [{"index": 1, "token": token, "generated_text": None, "details": None}]
    found = some(read_stream([*events, {"index": 2, "token": token, "generated_text": "--", "details": details}]))
    assert (found.usage, found.finish_reasons) == (Usage(9, 2), ("length",))


# --- broken input ----------------------------------------------------------------------------------------------------

STREAMS: list[list[Any]] = [
    *(anthropic.stream({**usage, "output_tokens": 1}, usage) for _, usage, _ in anthropic.USAGES),
    *([google.content(usage, reason=None), google.content(usage)] for _, usage, _ in google.USAGES),
    *([{"serverContent": {}, "usageMetadata": usage}] for _, usage, _ in google.USAGES),
    [{"event_type": "interaction.completed", "interaction": google.INTERACTION}],
    *(bedrock.converse_stream(usage) for _, usage, _ in bedrock.USAGES),
    *([{"type": "message-end", "delta": {"finish_reason": "ERROR", "usage": usage}}] for _, usage, _ in COHERE),
    [{"event_type": "stream-end", "response": {**CHAT_V1, "meta": REASONED}}],
    [watsonx(7, 0, "not_finished"), watsonx(0, 2, "eos_token")],
    [OLLAMA],
]
JUNK: list[Any] = [None, True, -1, 2.5, 10**400, float("nan"), float("inf"), "", "x", b"{", [], {}, [[]], {"a": [None]}]
BODIES: list[Any] = [
    *(anthropic.message(usage) for _, usage, _ in anthropic.USAGES),
    *(google.content(usage) for _, usage, _ in google.USAGES),
    google.INTERACTION,
    *(body for _, body, _, _ in bedrock.BODIES),
    *({**CHAT_V2, "usage": usage} for _, usage, _ in COHERE),
    *(OLLAMA, ALEPH_ALPHA, REPLICATE, DETAILED, watsonx(7, 2, "eos_token")),
]


def places(tree: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) of a tree."""
    pairs = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [place for key, value in pairs for place in ((tree, key), *places(value))]


def broken(tree: Any, changes: list[tuple[int, Any]]) -> Any:
    """A copy of the tree, with junk in some of its places."""
    tree = copy.deepcopy(tree)
    for position, junk in changes:
        if found := places(tree):
            container, key = found[position % len(found)]
            container[key] = copy.deepcopy(junk)
    return tree


def assert_adds_up(found: Reading | None) -> None:
    usage = None if found is None else found.usage
    if usage is None:
        return
    parts = list(usage.parts())
    assert all(tokens >= 0 for _, _, tokens in parts)
    for direction, total in (("input", usage.input_tokens), ("output", usage.output_tokens)):
        assert total is None or sum(tokens for side, _, tokens in parts if side == direction) == total


CHANGES = st.lists(st.tuples(st.integers(0, 60), st.sampled_from(JUNK) | st.integers() | st.floats()), max_size=4)
fuzz = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@fuzz
@given(st.sampled_from(BODIES), CHANGES)
def test_a_broken_body_reads_as_usage_that_adds_up_or_as_none(body: Any, changes: list[tuple[int, Any]]) -> None:
    assert_adds_up(read(broken(body, changes)))


@fuzz
@given(st.sampled_from(STREAMS), CHANGES, st.integers(0, 8))
def test_a_broken_stream_reads_as_usage_that_adds_up_or_as_none(
    events: list[Any], changes: list[tuple[int, Any]], length: int
) -> None:
    assert_adds_up(read_stream(broken(events, changes)[: length or None]))
