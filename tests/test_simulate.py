"""The simulated vendors, as the vendors' own clients see them, against the ledger of what was served."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import anthropic
import openai
import pytest

from llmwatch.simulate import OUTCOMES, Behaviour, Served, Vendors
from llmwatch.simulate._limits import RateLimits

# anthropic warns of models that are near their end of life.
pytestmark = pytest.mark.filterwarnings("ignore:The model:DeprecationWarning")

GPT = "gpt-4o-mini"
CLAUDE = "claude-sonnet-4-5"
PROMPT: list[Any] = [{"role": "user", "content": "Which way to the harbour?"}]
BUSY = Behaviour(
    answer_tokens=40,
    cached_share=0.5,
    cache_write_share=0.25,
    reasoning_share=0.25,
    retry_after=0.01,
    latency_spread=0.0,
)


@dataclass
class Clients:
    """Running vendors and the real clients of both."""

    vendors: Vendors
    openai: openai.OpenAI
    anthropic: anthropic.Anthropic

    @property
    def last(self) -> Served:
        return self.vendors.served[-1]


@contextmanager
def running(
    *, max_retries: int = 0, time_scale: float = 0.0, seed: int = 7, **behaviours: Behaviour
) -> Iterator[Clients]:
    with (
        Vendors(seed, behaviours or {"openai": BUSY, "anthropic": BUSY}, time_scale) as vendors,
        openai.OpenAI(base_url=vendors.openai_url, api_key="sk-none", max_retries=max_retries) as gpt,
        anthropic.Anthropic(base_url=vendors.anthropic_url, api_key="sk-none", max_retries=max_retries) as claude,
    ):
        yield Clients(vendors, gpt, claude)


@pytest.fixture(scope="module")
def shared() -> Iterator[Clients]:
    with running() as clients:
        yield clients


@dataclass
class Wire:
    """A response as bytes have it."""

    status: int
    headers: dict[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)

    @property
    def events(self) -> list[tuple[str | None, Any]]:
        """(event line or None, payload) of each server-sent event."""
        found = []
        for block in self.text.removesuffix("\n\n").split("\n\n"):
            match = re.fullmatch(r"(?:event: (\S+)\n)?data: (.+)", block)
            assert match is not None, block
            found.append((match[1], match[2] if match[2] == "[DONE]" else json.loads(match[2])))
        return found


def post(vendors: Vendors, path: str, body: object, key_header: str = "authorization") -> Wire:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"content-type": "application/json", key_header: "sk-none"}
    request = urllib.request.Request(vendors.anthropic_url + path, data, headers)
    try:
        response = urllib.request.urlopen(request, timeout=20)
    except urllib.error.HTTPError as error:
        response = error
    with response:
        names = {name.lower(): value for name, value in response.headers.items()}
        return Wire(response.status, names, response.read().decode())


def counts(served: Served) -> tuple[int | None, ...]:
    return (
        served.input_tokens,
        served.output_tokens,
        served.cache_read_tokens,
        served.cache_write_tokens,
        served.reasoning_tokens,
    )


def gpt_counts(usage: Any) -> tuple[int | None, ...]:
    """Of a chat completion's usage, where input includes the cache."""
    prompt, completion = usage.prompt_tokens_details, usage.completion_tokens_details
    return (
        usage.prompt_tokens,
        usage.completion_tokens,
        prompt.cached_tokens,
        prompt.cache_write_tokens,
        completion.reasoning_tokens,
    )


def responses_counts(usage: Any) -> tuple[int | None, ...]:
    details = usage.input_tokens_details
    reasoning = usage.output_tokens_details.reasoning_tokens
    return (usage.input_tokens, usage.output_tokens, details.cached_tokens, details.cache_write_tokens, reasoning)


def claude_counts(usage: Any) -> tuple[int | None, ...]:
    """Of a message's usage, where input excludes the cache."""
    read, written = usage.cache_read_input_tokens, usage.cache_creation_input_tokens
    thinking = usage.model_dump().get("output_tokens_details") or {}  # unknown to older clients, but kept
    return (usage.input_tokens + read + written, usage.output_tokens, read, written, thinking.get("thinking_tokens"))


@contextmanager
def transport_error() -> Iterator[None]:
    """The block fails in the transport; whether the client wraps that in an error of its own depends on its version."""
    with pytest.raises(Exception) as caught:  # noqa: PT011
        yield
    names = {cls.__name__ for error in (caught.value, caught.value.__cause__) for cls in type(error).__mro__}
    assert "TransportError" in names


def ask_gpt(clients: Clients, **options: Any) -> Any:
    return clients.openai.chat.completions.create(model=GPT, messages=PROMPT, **options)


def ask_responses(clients: Clients, **options: Any) -> Any:
    return clients.openai.responses.create(model="gpt-4.1", input="Which way to the harbour?", **options)


def ask_claude(clients: Clients, **options: Any) -> Any:
    return clients.anthropic.messages.create(**{"model": CLAUDE, "messages": PROMPT, "max_tokens": 500, **options})


ASK: Mapping[str, Callable[..., Any]] = {"openai": ask_gpt, "anthropic": ask_claude}


# What the clients see


def test_a_plain_chat_completion_says_what_the_ledger_says(shared: Clients) -> None:
    reply = ask_gpt(shared)
    assert gpt_counts(reply.usage) == counts(shared.last)
    assert all(count for count in counts(shared.last))
    assert reply.model == shared.last.response_model == "gpt-4o-mini-2024-07-18"
    assert reply.choices[0].finish_reason == "stop"
    served = shared.last
    assert served.output_tokens is not None
    assert served.reasoning_tokens is not None
    assert len(reply.choices[0].message.content.split()) == served.output_tokens - served.reasoning_tokens
    assert (served.provider, served.api, served.model, served.status) == ("openai", "chat", GPT, 200)
    assert (served.streamed, served.outcome, served.error) == (False, "ok", None)


def test_a_chat_stream_states_its_usage_only_when_it_is_asked_to(shared: Clients) -> None:
    silent = list(ask_gpt(shared, stream=True))
    assert [chunk.usage for chunk in silent] == [None] * len(silent)
    assert all(chunk.choices for chunk in silent)
    assert counts(shared.last) == (None,) * 5
    counted = list(ask_gpt(shared, stream=True, stream_options={"include_usage": True}))
    assert [bool(chunk.usage) for chunk in counted] == [False] * (len(counted) - 1) + [True]
    assert counted[-1].choices == []
    assert gpt_counts(counted[-1].usage) == counts(shared.last)
    assert shared.last.streamed


def test_the_chat_stream_helper_of_the_client_assembles_the_answer(shared: Clients) -> None:
    with shared.openai.chat.completions.stream(
        model=GPT, messages=PROMPT, stream_options={"include_usage": True}
    ) as stream:
        final = stream.get_final_completion()
    assert gpt_counts(final.usage) == counts(shared.last)
    assert final.choices[0].finish_reason == "stop"


def test_a_plain_response_says_what_the_ledger_says(shared: Clients) -> None:
    reply = ask_responses(shared)
    assert responses_counts(reply.usage) == counts(shared.last)
    assert (reply.status, shared.last.api) == ("completed", "responses")
    assert reply.output_text


def test_a_response_stream_ends_with_the_usage(shared: Clients) -> None:
    events = list(ask_responses(shared, stream=True))
    assert events[-1].type == "response.completed"
    assert responses_counts(events[-1].response.usage) == counts(shared.last)
    deltas = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert deltas == events[-1].response.output_text
    with shared.openai.responses.stream(model="gpt-4.1", input="Which way?") as stream:
        assert responses_counts(stream.get_final_response().usage) == counts(shared.last)


@pytest.mark.parametrize(
    ("options", "size"), [({}, 1536), ({"dimensions": 8}, 8), ({"encoding_format": "float"}, 1536)]
)
def test_embeddings_come_in_the_size_and_encoding_that_was_asked_for(
    shared: Clients, options: dict[str, Any], size: int
) -> None:
    reply = shared.openai.embeddings.create(model="text-embedding-3-small", input=["abcd" * 5, "abcd" * 2], **options)
    assert [len(item.embedding) for item in reply.data] == [size, size]
    assert reply.model == "text-embedding-3-small"
    assert (reply.usage.prompt_tokens, reply.usage.total_tokens) == (7, 7)
    assert counts(shared.last) == (7, None, None, None, None)


def test_a_plain_message_says_what_the_ledger_says(shared: Clients) -> None:
    reply = ask_claude(shared)
    assert claude_counts(reply.usage) == counts(shared.last)
    assert all(count for count in counts(shared.last))
    assert reply.usage.cache_creation.ephemeral_5m_input_tokens == shared.last.cache_write_tokens
    assert reply.model == shared.last.response_model == "claude-sonnet-4-5-20250929"
    assert reply.stop_reason == "end_turn"
    assert (shared.last.provider, shared.last.api) == ("anthropic", "messages")


def test_message_streams_say_what_the_ledger_says(shared: Clients) -> None:
    events = list(ask_claude(shared, stream=True))
    ending = events[-2].usage
    assert ending.output_tokens == shared.last.output_tokens
    assert ending.model_dump()["output_tokens_details"]["thinking_tokens"] == shared.last.reasoning_tokens
    with shared.anthropic.messages.stream(model=CLAUDE, messages=PROMPT, max_tokens=500) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert claude_counts(final.usage)[:4] == counts(shared.last)[:4]  # older clients drop the thinking tokens here
    assert final.content[0].text == text  # type: ignore[union-attr]


def test_asynchronous_clients_see_the_same() -> None:
    async def main(vendors: Vendors) -> None:
        async with (
            openai.AsyncOpenAI(base_url=vendors.openai_url, api_key="sk-none") as gpt,
            anthropic.AsyncAnthropic(base_url=vendors.anthropic_url, api_key="sk-none") as claude,
        ):
            reply = await gpt.chat.completions.create(model=GPT, messages=PROMPT)
            assert gpt_counts(reply.usage) == counts(vendors.served[-1])
            chunks = await gpt.chat.completions.create(
                model=GPT, messages=PROMPT, stream=True, stream_options={"include_usage": True}
            )
            usages = [chunk.usage async for chunk in chunks]
            assert gpt_counts(usages[-1]) == counts(vendors.served[-1])
            response = await gpt.responses.create(model="gpt-4.1", input="Which way?")
            assert responses_counts(response.usage) == counts(vendors.served[-1])
            message = await claude.messages.create(model=CLAUDE, messages=PROMPT, max_tokens=500)
            assert claude_counts(message.usage) == counts(vendors.served[-1])
            async with claude.messages.stream(model=CLAUDE, messages=PROMPT, max_tokens=500) as stream:
                final = await stream.get_final_message()
            assert claude_counts(final.usage)[:4] == counts(vendors.served[-1])[:4]

    with Vendors(7, {"openai": BUSY, "anthropic": BUSY}, time_scale=0) as vendors:
        asyncio.run(main(vendors))
        assert [served.outcome for served in vendors.served] == ["ok"] * 5


def test_an_answer_over_the_requests_own_limit_is_cut_and_says_so(shared: Clients) -> None:
    chat = ask_gpt(shared, max_completion_tokens=4)
    assert (chat.choices[0].finish_reason, chat.usage.completion_tokens) == ("length", 4)
    response = ask_responses(shared, max_output_tokens=4)
    assert (response.status, response.usage.output_tokens) == ("incomplete", 4)
    assert response.incomplete_details.reason == "max_output_tokens"
    assert list(ask_responses(shared, stream=True, max_output_tokens=4))[-1].type == "response.incomplete"
    message = ask_claude(shared, max_tokens=4)
    assert (message.stop_reason, message.usage.output_tokens) == ("max_tokens", 4)


def test_concurrent_clients_together_see_what_the_ledger_has() -> None:
    with running() as clients, ThreadPoolExecutor(4) as pool:
        replies = list(pool.map(lambda _: ask_gpt(clients), range(24)))
        served = clients.vendors.served
    assert sorted(gpt_counts(reply.usage) for reply in replies) == sorted(counts(one) for one in served)


# Sizes


def test_input_tokens_are_a_quarter_of_the_characters_of_the_prompt(shared: Clients) -> None:
    def message(text: str, **options: Any) -> int | None:
        ask_claude(shared, messages=[{"role": "user", "content": text}], **options)
        return shared.last.input_tokens

    short = message("x" * 400)
    assert short is not None
    assert message("x" * 4000) == short + 900
    assert message("x" * 400, system="y" * 2000) == short + 500
    parts: list[Any] = [{"type": "text", "text": "x" * 400}, {"type": "text", "text": "y" * 400}]
    ask_claude(shared, messages=[{"role": "user", "content": parts}])
    assert shared.last.input_tokens == short + 100
    assert short in range(100, 110)


def test_shares_and_scales_of_a_behaviour_show_in_the_usage() -> None:
    shares = Behaviour(prompt_scale=10, cached_share=0.8, reasoning_share=0.5, answer_tokens=200, answer_spread=0)
    with running(openai=shares) as clients:
        ask_gpt(clients, max_tokens=1000)
        served = clients.last
    assert (served.output_tokens, served.reasoning_tokens) == (200, 100)
    assert served.input_tokens == 100  # 25 characters are 7 tokens, and 3 for the message
    assert served.cache_read_tokens == 80


def test_a_seed_decides_every_vendors_sizes_whatever_the_other_does() -> None:
    def sizes(seed: int, *, disturbed: bool) -> list[tuple[int | None, ...]]:
        with running(seed=seed) as clients:
            for _ in range(6):
                ask_gpt(clients)
                if disturbed:
                    ask_claude(clients)
            return [counts(served) for served in clients.vendors.served if served.provider == "openai"]

    first = sizes(7, disturbed=False)
    assert first == sizes(7, disturbed=True)
    assert len(set(first)) > 3
    assert first != sizes(8, disturbed=False)


# The wire

OPENAI_HEADERS = {
    "x-request-id",
    "openai-processing-ms",
    "openai-version",
    "x-ratelimit-limit-requests",
    "x-ratelimit-limit-tokens",
    "x-ratelimit-remaining-requests",
    "x-ratelimit-remaining-tokens",
    "x-ratelimit-reset-requests",
    "x-ratelimit-reset-tokens",
}
ANTHROPIC_HEADERS = {"request-id"} | {
    f"anthropic-ratelimit-{resource}-{field}"
    for resource in ("requests", "tokens", "input-tokens", "output-tokens")
    for field in ("limit", "remaining", "reset")
}
CHAT_USAGE = {
    "prompt_tokens": 0,
    "completion_tokens": 0,
    "total_tokens": 0,
    "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
    "completion_tokens_details": {
        "reasoning_tokens": 0,
        "audio_tokens": 0,
        "accepted_prediction_tokens": 0,
        "rejected_prediction_tokens": 0,
    },
}
RESPONSE_FIELDS = [
    "id",
    "object",
    "created_at",
    "status",
    "background",
    "completed_at",
    "error",
    "frequency_penalty",
    "incomplete_details",
    "instructions",
    "max_output_tokens",
    "max_tool_calls",
    "model",
    "output",
    "parallel_tool_calls",
    "presence_penalty",
    "previous_response_id",
    "prompt_cache_key",
    "prompt_cache_retention",
    "reasoning",
    "safety_identifier",
    "service_tier",
    "store",
    "temperature",
    "text",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "truncation",
    "usage",
    "user",
    "metadata",
]
MESSAGE_FIELDS = ["model", "id", "type", "role", "content", "stop_reason", "stop_sequence", "stop_details", "usage"]
MESSAGE_INPUT = ["input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens"]
MESSAGE_USAGE = [*MESSAGE_INPUT, "cache_creation", "output_tokens", "service_tier", "inference_geo"]


def shape(value: Any) -> Any:
    """The structure of a document with its keys in order; the numbers are 0, so that shapes can be compared."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    return 0 if isinstance(value, int) else value


@pytest.fixture(scope="module")
def plainest() -> Iterator[Vendors]:
    """Vendors that neither think nor cache: the recordings that the lists stem from did not."""
    small = Behaviour(answer_tokens=8, answer_spread=0.0, chunk_tokens=4)
    with Vendors(7, {"openai": small, "anthropic": small}, time_scale=0) as vendors:
        yield vendors


def test_a_chat_completion_has_the_recorded_fields_and_headers(plainest: Vendors) -> None:
    wire = post(plainest, "/v1/chat/completions", {"model": GPT, "messages": PROMPT})
    fields = ["id", "object", "created", "model", "choices", "usage", "service_tier", "system_fingerprint"]
    assert list(wire.json) == fields
    assert list(wire.json["choices"][0]) == ["index", "message", "logprobs", "finish_reason"]
    assert list(wire.json["choices"][0]["message"]) == ["role", "content", "refusal", "annotations"]
    assert shape(wire.json["usage"]) == CHAT_USAGE
    assert re.fullmatch(r"chatcmpl-\w{29}", wire.json["id"])
    assert wire.headers.keys() >= OPENAI_HEADERS
    assert wire.headers["content-type"] == "application/json"
    assert wire.headers["x-ratelimit-limit-requests"] == "10000"
    assert re.fullmatch(r"\d+ms|0s", wire.headers["x-ratelimit-reset-requests"])


def test_a_chat_stream_has_the_recorded_chunks_in_order(plainest: Vendors) -> None:
    options = {"include_usage": True}
    body = {"model": GPT, "messages": PROMPT, "stream": True, "stream_options": options}
    wire = post(plainest, "/v1/chat/completions", body)
    assert [event for event, _ in wire.events] == [None] * len(wire.events)
    *chunks, done = [payload for _, payload in wire.events]
    assert done == "[DONE]"
    head = ["id", "object", "created", "model", "service_tier", "system_fingerprint", "choices", "usage", "obfuscation"]
    assert [list(chunk) for chunk in chunks] == [head] * 5
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks[:-1]]
    assert [list(delta) for delta in deltas] == [["role", "content", "refusal"], ["content"], ["content"], []]
    finishes = [chunk["choices"][0]["finish_reason"] for chunk in chunks[:-1]]
    assert finishes == [None, None, None, "stop"]
    assert (chunks[-1]["choices"], shape(chunks[-1]["usage"])) == ([], CHAT_USAGE)
    assert len({chunk["id"] for chunk in chunks}) == 1
    assert wire.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert wire.headers.keys() >= OPENAI_HEADERS


def test_a_response_stream_has_the_recorded_events_in_order(plainest: Vendors) -> None:
    wire = post(plainest, "/v1/responses", {"model": "gpt-4.1", "input": "Which way?", "stream": True})
    assert [event for event, _ in wire.events] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    payloads = [payload for _, payload in wire.events]
    assert [payload["type"] for payload in payloads] == [event for event, _ in wire.events]
    assert [payload["sequence_number"] for payload in payloads] == list(range(10))
    assert list(payloads[-1]["response"]) == RESPONSE_FIELDS
    assert shape(payloads[-1]["response"]["usage"]) == {
        "input_tokens": 0,
        "input_tokens_details": {"cache_write_tokens": 0, "cached_tokens": 0},
        "output_tokens": 0,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 0,
    }
    assert payloads[0]["response"]["usage"] is None
    assert {payload["response"]["id"] for payload in payloads if "response" in payload} == {
        payloads[0]["response"]["id"]
    }
    delta = {"type", "content_index", "delta", "item_id", "logprobs", "obfuscation", "output_index", "sequence_number"}
    assert set(payloads[4]) == delta


def test_plain_responses_and_embeddings_have_the_recorded_fields(plainest: Vendors) -> None:
    response = post(plainest, "/v1/responses", {"model": "gpt-4.1", "input": "Which way?"}).json
    assert list(response) == RESPONSE_FIELDS
    assert list(response["output"][0]) == ["id", "type", "status", "content", "role"]
    assert list(response["output"][0]["content"][0]) == ["type", "annotations", "logprobs", "text"]
    body = {"model": "text-embedding-3-small", "input": "abcdefgh", "encoding_format": "base64"}
    embeddings = post(plainest, "/v1/embeddings", body).json
    assert list(embeddings) == ["object", "data", "model", "usage"]
    assert list(embeddings["data"][0]) == ["object", "index", "embedding"]
    assert embeddings["usage"] == {"prompt_tokens": 2, "total_tokens": 2}


def test_a_message_has_the_recorded_fields_and_headers(plainest: Vendors) -> None:
    body = {"model": CLAUDE, "messages": PROMPT, "max_tokens": 100}
    wire = post(plainest, "/v1/messages", body, "x-api-key")
    assert list(wire.json) == MESSAGE_FIELDS
    assert list(wire.json["content"][0]) == ["type", "text"]
    assert list(wire.json["usage"]) == MESSAGE_USAGE
    assert list(wire.json["usage"]["cache_creation"]) == ["ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens"]
    assert wire.headers.keys() >= ANTHROPIC_HEADERS
    limits = [wire.headers[f"anthropic-ratelimit-{part}-limit"] for part in ("input-tokens", "output-tokens", "tokens")]
    assert limits == ["10000000", "2000000", "12000000"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", wire.headers["anthropic-ratelimit-requests-reset"])


def test_a_message_stream_has_the_recorded_events_in_order(plainest: Vendors) -> None:
    body = {"model": CLAUDE, "messages": PROMPT, "max_tokens": 100, "stream": True}
    wire = post(plainest, "/v1/messages", body, "x-api-key")
    assert [event for event, _ in wire.events] == [
        "message_start",
        "content_block_start",
        "ping",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    payloads = [payload for _, payload in wire.events]
    assert [payload["type"] for payload in payloads] == [event for event, _ in wire.events]
    assert list(payloads[0]["message"]) == MESSAGE_FIELDS
    assert list(payloads[0]["message"]["usage"]) == MESSAGE_USAGE
    assert payloads[3]["delta"].keys() == {"type", "text"}
    assert list(payloads[6]["delta"]) == ["stop_reason", "stop_sequence", "stop_details"]
    assert list(payloads[6]["usage"]) == [*MESSAGE_INPUT, "output_tokens"]


# Faults

FAULTS: list[tuple[str, str, type[Exception], int, str | None]] = [
    ("openai", "rate_limit", openai.RateLimitError, 429, "rate_limit_exceeded"),
    ("openai", "quota", openai.RateLimitError, 429, "insufficient_quota"),
    ("openai", "invalid_request", openai.BadRequestError, 400, None),
    ("openai", "context_length", openai.BadRequestError, 400, "context_length_exceeded"),
    ("openai", "authentication", openai.AuthenticationError, 401, "invalid_api_key"),
    ("openai", "permission", openai.PermissionDeniedError, 403, None),
    ("openai", "not_found", openai.NotFoundError, 404, "model_not_found"),
    ("openai", "server_error", openai.InternalServerError, 500, None),
    ("openai", "overloaded", openai.InternalServerError, 503, None),
    ("anthropic", "rate_limit", anthropic.RateLimitError, 429, "rate_limit_error"),
    ("anthropic", "quota", anthropic.BadRequestError, 400, "invalid_request_error"),
    ("anthropic", "invalid_request", anthropic.BadRequestError, 400, "invalid_request_error"),
    ("anthropic", "context_length", anthropic.BadRequestError, 400, "invalid_request_error"),
    ("anthropic", "authentication", anthropic.AuthenticationError, 401, "authentication_error"),
    ("anthropic", "permission", anthropic.PermissionDeniedError, 403, "permission_error"),
    ("anthropic", "not_found", anthropic.NotFoundError, 404, "not_found_error"),
    ("anthropic", "server_error", anthropic.InternalServerError, 500, "api_error"),
    ("anthropic", "overloaded", anthropic.APIStatusError, 529, "overloaded_error"),
]


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize(("provider", "kind", "error", "status", "name"), FAULTS)
def test_each_fault_reaches_the_client_as_the_vendors_own_error(
    shared: Clients, provider: str, kind: Any, error: type[Exception], status: int, name: str | None, stream: bool
) -> None:
    shared.vendors.next(provider, kind)
    with pytest.raises(error) as caught:
        ASK[provider](shared, stream=stream)
    seen: Any = caught.value
    assert seen.status_code == status
    assert (seen.body["error"]["type"] if provider == "anthropic" else seen.code) == name
    assert seen.request_id.startswith("req_")
    assert ("retry-after" in seen.response.headers) == (kind == "rate_limit")
    served = shared.last
    assert (served.provider, served.status, served.outcome, served.error) == (provider, status, "error", kind)
    assert (served.streamed, counts(served), served.response_model) == (stream, (None,) * 5, None)


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_retries_of_the_client_are_requests_of_their_own(provider: str) -> None:
    with running(max_retries=2) as clients:
        clients.vendors.next(provider, "rate_limit", "rate_limit", "ok", "rate_limit", "rate_limit", "rate_limit")
        ASK[provider](clients)
        assert [served.error for served in clients.vendors.served] == ["rate_limit", "rate_limit", None]
        with pytest.raises((openai.RateLimitError, anthropic.RateLimitError)):
            ASK[provider](clients)
        assert [served.outcome for served in clients.vendors.served[3:]] == ["error"] * 3


@pytest.mark.parametrize("ask", [ask_gpt, ask_responses], ids=["chat", "responses"])
def test_an_error_in_an_openai_stream_comes_after_some_of_the_answer(shared: Clients, ask: Callable[..., Any]) -> None:
    shared.vendors.next("openai", "stream_error")
    seen = []
    with pytest.raises(openai.APIError) as caught:
        seen.extend(ask(shared, stream=True))
    assert seen
    assert not isinstance(caught.value, openai.APIStatusError | openai.APIConnectionError)
    assert (shared.last.status, shared.last.outcome, shared.last.error) == (200, "error", "server_error")
    assert counts(shared.last) == (None,) * 5


def test_an_error_in_a_message_stream_has_status_200_and_an_error_event(shared: Clients) -> None:
    shared.vendors.next("anthropic", "stream_error", "stream_error")
    seen: list[Any] = []
    with pytest.raises(anthropic.APIStatusError) as caught:
        seen.extend(ask_claude(shared, stream=True))
    assert caught.value.status_code == 200
    assert claude_counts(seen[0].message.usage)[:4] == counts(shared.last)[:4]
    assert (shared.last.status, shared.last.outcome, shared.last.error) == (200, "error", "overloaded")
    body = {"model": CLAUDE, "messages": PROMPT, "max_tokens": 100, "stream": True}
    event, payload = post(shared.vendors, "/v1/messages", body, "x-api-key").events[-1]
    assert (event, payload["error"]["type"]) == ("error", "overloaded_error")


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_a_broken_stream_ends_in_a_transport_error_after_some_of_the_answer(shared: Clients, provider: str) -> None:
    shared.vendors.next(provider, "broken_stream")
    seen = []
    with transport_error():
        seen.extend(ASK[provider](shared, stream=True))
    assert seen
    assert (shared.last.status, shared.last.outcome, shared.last.error) == (200, "broken", None)
    assert shared.last.reasoning_tokens is None


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_faults_of_streams_befall_plain_requests_too(shared: Clients, provider: str) -> None:
    shared.vendors.next(provider, "broken_stream", "stream_error")
    with transport_error():
        ASK[provider](shared)
    assert (shared.last.outcome, counts(shared.last)) == ("broken", (None,) * 5)
    with pytest.raises((openai.InternalServerError, anthropic.InternalServerError)):
        ASK[provider](shared)
    assert shared.last.error == "server_error"


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_a_slow_start_outlasts_a_clients_patience(provider: str) -> None:
    slow = replace(BUSY, latency=0.05, slow_factor=1000)
    with running(time_scale=1.0, openai=slow, anthropic=slow) as clients:
        clients.vendors.next(provider, "slow_start")
        with pytest.raises((openai.APITimeoutError, anthropic.APITimeoutError)):
            ASK[provider](clients, timeout=0.5)
        assert clients.vendors.wait_idle()
        assert (clients.last.outcome, clients.last.status) == ("client_gone", 0)


def test_a_slow_stream_has_long_gaps_after_its_first_text() -> None:
    slow = replace(BUSY, latency=0.01, chunk_gap=0.05, slow_factor=1000)
    with running(time_scale=1.0, openai=slow) as clients:
        clients.vendors.next("openai", "slow_stream")
        stream = ask_gpt(clients, stream=True, timeout=1.5)
        texts: list[str | None] = []
        with transport_error():
            texts.extend(chunk.choices[0].delta.content for chunk in stream)
        assert len([text for text in texts if text]) == 1


def test_a_client_that_leaves_in_the_middle_is_noticed() -> None:
    with running(time_scale=1.0, anthropic=replace(BUSY, latency=0.0, chunk_gap=60.0)) as clients:
        stream = ask_claude(clients, stream=True)
        first = next(iter(stream))
        stream.close()
        assert clients.vendors.wait_idle()
        assert (clients.last.outcome, clients.last.status) == ("client_gone", 200)
        assert counts(clients.last)[:4] == claude_counts(first.message.usage)[:4]


def test_closing_the_vendors_breaks_off_what_is_under_way_and_keeps_the_ledger() -> None:
    with running(time_scale=1.0, openai=replace(BUSY, latency=0.0, chunk_gap=60.0)) as clients:
        stream = ask_gpt(clients, stream=True)
        next(iter(stream))
        clients.vendors.close()
        with transport_error():
            list(stream)
        assert clients.last.outcome == "broken"
        with pytest.raises(RuntimeError, match="not running"):
            _ = clients.vendors.openai_url


def test_hanging_up_breaks_off_what_is_under_way_and_nothing_that_comes_later() -> None:
    with running(time_scale=1.0, openai=replace(BUSY, latency=0.0, chunk_gap=60.0)) as clients:
        stream = ask_gpt(clients, stream=True)
        next(iter(stream))
        clients.vendors.hang_up()
        with transport_error():
            list(stream)
        assert clients.last.outcome == "broken"
        clients.vendors.set("openai", replace(BUSY, latency=0.0, chunk_gap=0.0))
        assert ask_gpt(clients).choices
    clients.vendors.hang_up()


def test_closing_the_vendors_breaks_the_connection_of_who_still_waits_for_an_answer() -> None:
    with running(time_scale=1.0, openai=replace(BUSY, latency=60.0)) as clients, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(ask_gpt, clients)
        while clients.vendors.wait_idle(timeout=0) and not waiting.done():
            time.sleep(0.005)
        clients.vendors.close()
        with transport_error():
            waiting.result(timeout=20)
        assert clients.last.outcome == "broken"


def test_chance_faults_follow_their_rates() -> None:
    with running(openai=replace(BUSY, faults={"overloaded": 0.3, "not_found": 0.2})) as clients:
        for _ in range(200):
            try:
                ask_gpt(clients, max_tokens=1)
            except openai.APIStatusError:
                continue
        errors = [served.error for served in clients.vendors.served]
    # Four standard deviations around the rates, and the seed is fixed.
    assert 34 <= errors.count("overloaded") <= 86
    assert 18 <= errors.count("not_found") <= 62
    assert set(errors) == {None, "overloaded", "not_found"}


def test_a_behaviour_can_change_while_the_vendors_run() -> None:
    with running() as clients:
        clients.vendors.set("openai", replace(BUSY, faults={"server_error": 1.0}))
        with pytest.raises(openai.InternalServerError):
            ask_gpt(clients)
        ask_claude(clients)
        clients.vendors.next("openai", "ok")
        ask_gpt(clients)
        assert [served.error for served in clients.vendors.served] == ["server_error", None, None]


@pytest.mark.parametrize(
    ("path", "body", "key"),
    [
        ("/v1/chat/completions", {"messages": []}, "authorization"),
        ("/v1/chat/completions", {"model": GPT, "messages": "hello"}, "authorization"),
        ("/v1/responses", {"model": GPT}, "authorization"),
        ("/v1/embeddings", [], "authorization"),
        ("/v1/messages", {"model": CLAUDE, "messages": []}, "x-api-key"),
        ("/v1/messages", {"model": CLAUDE, "messages": [], "max_tokens": 0}, "x-api-key"),
        ("/v1/messages", b"{", "x-api-key"),
    ],
)
def test_a_malformed_request_is_a_400_in_the_vendors_own_form(shared: Clients, path: str, body: Any, key: str) -> None:
    wire = post(shared.vendors, path, body, key)
    assert (wire.status, wire.json["error"]["type"]) == (400, "invalid_request_error")
    assert (shared.last.status, shared.last.error) == (400, "invalid_request")


def test_a_request_without_a_key_is_a_401(shared: Clients) -> None:
    wire = post(shared.vendors, "/v1/chat/completions", {"model": GPT, "messages": PROMPT}, "x-nothing")
    assert (wire.status, wire.json["error"]["code"]) == (401, "invalid_api_key")


# Rate limits


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_an_exhausted_token_limit_is_a_429_whose_wait_is_true(provider: str) -> None:
    # Ten tokens a second: the first prompt takes all 600, the second needs about two seconds' worth.
    tight = Behaviour(input_tokens_per_minute=300, output_tokens_per_minute=300, answer_tokens=1, answer_spread=0.0)
    if provider == "anthropic":
        tight = replace(tight, input_tokens_per_minute=600)
    big, small = ([{"role": "user", "content": "x" * size}] for size in (2800, 60))
    with running(max_retries=1, openai=tight, anthropic=tight) as clients:
        model = {"model": CLAUDE, "max_tokens": 10} if provider == "anthropic" else {"model": GPT}
        create: Any = clients.anthropic.messages if provider == "anthropic" else clients.openai.chat.completions
        create.create(messages=big, **model)
        create.create(messages=small, **model)
        errors = [served.error for served in clients.vendors.served]
    assert errors == [None, "rate_limit", None]


def test_an_exhausted_request_limit_shows_in_the_headers_of_that_vendor_only() -> None:
    with running(openai=replace(BUSY, requests_per_minute=2)) as clients:
        body = {"model": GPT, "messages": PROMPT}
        answers = [post(clients.vendors, "/v1/chat/completions", body) for _ in range(3)]
        ask_claude(clients)
    assert [wire.status for wire in answers] == [200, 200, 429]
    assert [wire.headers["x-ratelimit-limit-requests"] for wire in answers] == ["2"] * 3
    assert [wire.headers["x-ratelimit-remaining-requests"] for wire in answers] == ["1", "0", "0"]
    refused = answers[2]
    assert 0 < int(refused.headers["retry-after-ms"]) <= 30_000
    assert 0 < int(refused.headers["retry-after"]) <= 30
    assert (refused.json["error"]["type"], refused.json["error"]["code"]) == ("requests", "rate_limit_exceeded")
    assert "requests per min (RPM): Limit 2" in refused.json["error"]["message"]


def test_without_limits_there_are_no_limit_headers() -> None:
    free = replace(BUSY, requests_per_minute=None, input_tokens_per_minute=None, output_tokens_per_minute=None)
    with running(openai=free, anthropic=free) as clients:
        chat = post(clients.vendors, "/v1/chat/completions", {"model": GPT, "messages": PROMPT})
        message = post(clients.vendors, "/v1/messages", {"model": CLAUDE, "messages": PROMPT, "max_tokens": 9})
    assert not [name for name in {**chat.headers, **message.headers} if "ratelimit" in name]


def test_a_bucket_refills_with_time_and_says_how_long_it_takes() -> None:
    now = [100.0]
    limits = RateLimits(clock=lambda: now[0])
    limits.configure({"requests": 60, "tokens": 600, "unlimited": None})
    assert limits.take({"requests": 1, "tokens": 600}) is None
    shortage = limits.take({"requests": 1, "tokens": 50})
    assert shortage is not None
    assert (shortage.resource, shortage.wait) == ("tokens", 5.0)
    assert limits.states()["requests"].remaining == 59  # a refusal takes nothing
    now[0] += 4.9
    assert limits.take({"requests": 1, "tokens": 50}) is not None
    now[0] += 0.1
    assert limits.take({"requests": 1, "tokens": 50}) is None
    assert (limits.states()["tokens"].remaining, limits.states()["tokens"].reset) == (0, 60.0)
    assert "unlimited" not in limits.states()


def test_what_others_take_of_a_limit_is_gone_at_once_and_does_not_come_back() -> None:
    now = [100.0]
    limits = RateLimits(clock=lambda: now[0])
    limits.configure({"requests": 600, "tokens": 600}, {"requests": 540})
    assert (limits.states()["requests"].limit, limits.states()["requests"].remaining) == (600, 0)
    shortage = limits.take({"requests": 1, "tokens": 1})
    assert shortage is not None
    assert (shortage.resource, shortage.wait) == ("requests", 1.0)  # 60 a minute are left to us
    now[0] += 2.0
    assert limits.take({"requests": 1, "tokens": 1}) is None
    assert (limits.states()["requests"].remaining, limits.states()["requests"].reset) == (1, 599.0)
    assert limits.states()["tokens"].remaining == 599
    limits.configure({"requests": 600, "tokens": 600})
    now[0] += 1.0
    assert limits.states()["requests"].remaining == 11


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_a_limit_that_others_use_up_stays_what_it_is_in_the_headers_and_has_nothing_left(provider: str) -> None:
    crowded = replace(BUSY, requests_per_minute=6000, others_requests_per_minute=5940)
    paths = {"openai": "/v1/chat/completions", "anthropic": "/v1/messages"}
    names = {"openai": "x-ratelimit-{}-requests", "anthropic": "anthropic-ratelimit-requests-{}"}
    with running(openai=crowded, anthropic=crowded) as clients:
        body = {"model": GPT, "messages": PROMPT, "max_tokens": 9}
        wire = post(clients.vendors, paths[provider], body, "authorization")
    told = [wire.headers[names[provider].format(field)] for field in ("limit", "remaining")]
    assert (wire.status, told) == (429, ["6000", "0"])
    assert int(wire.headers["retry-after"]) == 1


@pytest.mark.parametrize(
    ("provider", "header", "wait"), [("openai", "retry-after-ms", 3000), ("anthropic", "retry-after", 3)]
)
def test_an_exhausted_limit_never_asks_for_less_than_the_least_wait(provider: str, header: str, wait: int) -> None:
    crowded = replace(BUSY, requests_per_minute=6000, others_requests_per_minute=5940, least_wait=3.0)
    path = "/v1/messages" if provider == "anthropic" else "/v1/chat/completions"
    with running(openai=crowded, anthropic=crowded) as clients:
        wire = post(clients.vendors, path, {"model": GPT, "messages": PROMPT, "max_tokens": 9})
    assert (wire.status, int(wire.headers[header])) == (429, wait)


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_a_client_that_waits_as_it_is_told_gets_through_a_limit_that_others_use_up(provider: str) -> None:
    crowded = replace(BUSY, requests_per_minute=6000, others_requests_per_minute=5940)
    with running(max_retries=2, openai=crowded, anthropic=crowded) as clients:
        ASK[provider](clients)
        assert [served.error for served in clients.vendors.served] == ["rate_limit", None]


def test_new_limits_keep_what_remains_as_far_as_it_fits() -> None:
    limits = RateLimits(clock=lambda: 0.0)
    limits.configure({"requests": 100})
    limits.take({"requests": 95})
    limits.configure({"requests": 50})
    assert limits.states()["requests"].remaining == 5
    limits.configure({"requests": 2})
    assert (limits.states()["requests"].limit, limits.states()["requests"].remaining) == (2, 2)


# Set-up


def test_importing_the_module_loads_no_server_and_no_vendor_package() -> None:
    heavy = ("starlette", "uvicorn", "openai", "anthropic", "httpx", "httpx2", "pydantic")
    code = f"import sys, llmwatch.simulate; print([name for name in {heavy} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert found.stdout.strip() == "[]"


def test_without_the_extra_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "llmwatch.simulate._server", raising=False)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(ImportError, match=re.escape("pip install 'llmwatch[demo]'")):
        Vendors().start()


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: Behaviour(cached_share=1.5), "cached_share"),
        (lambda: Behaviour(cached_share=0.6, cache_write_share=0.6), "cached_share"),
        (lambda: Behaviour(latency=-1), "latency"),
        (lambda: Behaviour(chunk_tokens=0), "chunk_tokens"),
        (lambda: Behaviour(requests_per_minute=0), "requests_per_minute"),
        (lambda: Behaviour(requests_per_minute=60, others_requests_per_minute=60), "others_requests_per_minute"),
        (lambda: Behaviour(requests_per_minute=None, others_requests_per_minute=1), "others_requests_per_minute"),
        (lambda: Behaviour(least_wait=-1), "least_wait"),
        (lambda: Behaviour(faults={"overloaded": 1.5}), "faults"),
        (lambda: Behaviour(faults={"overloaded": 0.7, "quota": 0.7}), "faults"),
        (lambda: Behaviour(faults={"gremlins": 0.1}), "unknown outcome 'gremlins'"),  # type: ignore[dict-item]
        (lambda: Vendors().next("openai", "gremlins"), "unknown outcome 'gremlins'"),  # type: ignore[arg-type]
        (lambda: Vendors().set("cohere", Behaviour()), "unknown provider 'cohere'"),
        (lambda: Vendors(behaviours={"cohere": Behaviour()}), "unknown provider 'cohere'"),
        (lambda: Vendors(time_scale=-1), "time_scale"),
    ],
)
def test_what_cannot_be_meant_is_refused_at_set_up(make: Callable[[], object], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        make()


def test_vendors_cannot_be_started_twice_and_can_be_closed_twice() -> None:
    vendors = Vendors()
    with vendors, pytest.raises(RuntimeError, match="running already"):
        vendors.start()
    vendors.close()
    assert vendors.served == ()


def test_every_outcome_is_tested_above() -> None:
    tested = {kind for _, kind, *_ in FAULTS} | {"ok", "stream_error", "broken_stream", "slow_start", "slow_stream"}
    assert tested == set(OUTCOMES)
