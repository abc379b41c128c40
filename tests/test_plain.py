"""Plain completions: what is taken of them at once says the same as the response, read as any other."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from corpus_rules import require_corpus
from hypothesis import given
from hypothesis import strategies as st
from openai._models import construct_type
from openai.types.chat import ChatCompletion
from pydantic import BaseModel

from llmwatch.extractors._plain import Plain, form_of
from llmwatch.extractors.openai import ChatCompletions
from llmwatch.usage import Usage

SHAPE = ChatCompletions()
BODY: dict[str, Any] = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "gpt-4o-mini-2024-07-18",
    "service_tier": "default",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "what was said"}}],
    "usage": {
        "prompt_tokens": 1200,
        "completion_tokens": 90,
        "total_tokens": 1290,
        "prompt_tokens_details": {"cached_tokens": 1024, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 64,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    },
}


def completion(body: Any) -> Any:
    """The object that OpenAI's client makes of a body, whatever is in it."""
    return construct_type(type_=ChatCompletion, value=copy.deepcopy(body))


def changed(**usage: Any) -> dict[str, Any]:
    return {**BODY, "usage": {**BODY["usage"], **usage}}


def test_a_completion_of_openai_s_client_is_plain_and_says_what_its_body_does() -> None:
    kept = SHAPE.gist(completion(BODY))
    reading = SHAPE.read(kept)

    assert type(kept) is Plain
    assert reading.usage == Usage(
        input_tokens=1200,
        output_tokens=90,
        cache_read_tokens=1024,
        reasoning_tokens=64,
        audio_input_tokens=0,
        audio_output_tokens=0,
    )
    assert (reading.model, reading.service_tier, reading.finish_reasons) == (BODY["model"], "default", ("stop",))
    assert "what was said" not in str(kept)


def test_what_was_taken_stays_as_it_was_when_a_program_adds_usages_up_in_place() -> None:
    response = completion(BODY)
    kept = SHAPE.gist(response)
    response.usage.prompt_tokens += 10_000
    response.usage.prompt_tokens_details.cached_tokens += 10_000
    response.choices.clear()

    assert SHAPE.read(kept) == SHAPE.read(BODY)


@pytest.mark.parametrize(
    "body",
    [
        {**BODY, "usage": None},
        {**BODY, "choices": None},
        {**BODY, "choices": []},
        {**BODY, "choices": [*BODY["choices"], {"index": 1, "finish_reason": "length"}]},
        {**BODY, "choices": [{"index": 0, "finish_reason": "error", "error": {"code": 429, "message": "slow down"}}]},
        {**BODY, "object": "text_completion"},
        {**BODY, "service_tier": None},
        {**BODY, "model": None},
        {**BODY, "x_groq": {"id": "req"}},
        {**BODY, "error": {"code": 502, "message": "upstream"}},
        changed(cost=0.25),
        changed(cost_in_usd_ticks=25_000),
        changed(total_tokens=1354),
        changed(total_tokens=None),
        changed(prompt_tokens=None),
        changed(prompt_tokens=-1),
        changed(prompt_tokens_details=None),
        changed(prompt_tokens_details={"cached_tokens": 5000}),
        changed(prompt_tokens_details={"cached_tokens": 3, "cached_tokens_details": {"audio_tokens": 2}}),
        changed(completion_tokens_details={"reasoning_tokens": 3.0}),
        changed(completion_tokens_details=[]),
        {**{name: value for name, value in BODY.items() if name != "usage"}},
    ],
)
def test_what_is_not_as_it_should_be_is_read_as_it_is_in_a_body(body: dict[str, Any]) -> None:
    response = completion(body)

    assert SHAPE.read(SHAPE.gist(response)) == SHAPE.read(response) == SHAPE.read(body)


COUNTS = st.one_of(st.none(), st.integers(-5, 3000), st.booleans(), st.floats(), st.text(max_size=3))
DETAILS = st.one_of(st.none(), st.dictionaries(st.sampled_from(["cached_tokens", "audio_tokens", "x"]), COUNTS))


@given(
    st.dictionaries(st.sampled_from(["prompt_tokens", "completion_tokens", "total_tokens", "other"]), COUNTS), DETAILS
)
def test_any_counts_are_read_as_they_are_in_a_body(counts: dict[str, Any], details: dict[str, Any] | None) -> None:
    response = completion(changed(**counts, prompt_tokens_details=details))

    assert SHAPE.read(SHAPE.gist(response)) == SHAPE.read(response)


def test_what_any_provider_answers_to_openai_s_client_is_read_as_it_is_in_a_body() -> None:
    plain, bodies = 0, [item["body"] for item in require_corpus() if not item["streaming"]]
    for body in filter(SHAPE.recognises, bodies):
        response = completion(body)
        kept = SHAPE.gist(response)
        plain += type(kept) is Plain
        assert SHAPE.read(kept) == SHAPE.read(response), body
    assert plain > 20


def test_a_class_that_names_a_gateway_or_a_cost_is_not_plain() -> None:
    class Usages(BaseModel):
        prompt_tokens: int
        completion_tokens: int

    class Priced(Usages):
        cost: float

    class Choice(BaseModel):
        finish_reason: str

    class Completion(BaseModel):
        model: str
        object: str
        service_tier: str | None
        choices: list[Choice]
        usage: Usages | None

    class FromGroq(Completion):
        x_groq: dict[str, Any] | None

    class WithCost(Completion):
        usage: Priced | None

    class Untyped(Completion):
        usage: Any

    assert form_of(Completion) is not None
    assert [form_of(cls) for cls in (FromGroq, WithCost, Untyped)] == [None, None, None]
