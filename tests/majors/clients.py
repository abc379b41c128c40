"""The clients of openai and anthropic, whichever major version is there, against the simulated vendors' own ledger."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from inspect import isawaitable
from typing import Any, NamedTuple

import anthropic
import openai
import pytest

from llmwatch import observe_llm, watch
from llmwatch._call import CallRecord
from llmwatch.simulate import Behaviour, Served, Vendors
from llmwatch.testing import capture

BUSY = Behaviour(
    latency=0.0,
    chunk_gap=0.0,
    answer_tokens=40,
    cached_share=0.5,
    cache_write_share=0.25,
    reasoning_share=0.25,
    retry_after=0.01,
)
MESSAGES: list[Any] = [{"role": "user", "content": "Which way to the harbour?"}]
GPT: dict[str, Any] = {"model": "gpt-4o-mini", "messages": MESSAGES}
GPT_RESPONSE: dict[str, Any] = {"model": "gpt-4o-mini", "input": "Which way to the harbour?"}
CLAUDE: dict[str, Any] = {"model": "claude-sonnet-4-5", "messages": MESSAGES, "max_tokens": 500}
WITH_USAGE = {"stream": True, "stream_options": {"include_usage": True}}


@pytest.fixture(scope="module", autouse=True)
def _no_root_certificates() -> Iterator[None]:
    """Nothing here is encrypted, and reading the machine's roots is most of what making a client costs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ssl.SSLContext, "load_verify_locations", lambda *args, **options: None)
        yield


@pytest.fixture(scope="module")
def vendors() -> Iterator[Vendors]:
    with Vendors(7, {"openai": BUSY, "anthropic": BUSY}, time_scale=0.0) as running:
        yield running


@dataclass(frozen=True)
class Way:
    """One way to ask: the request, and how its stream is read (entered, iterated, by an attribute or a method)."""

    name: str
    provider: str
    ask: Callable[[Any], Any]
    reading: str = "whole"
    entered: bool = False


def chat_helper(client: Any) -> Any:
    """The stream helper of chat completions, which was in `beta` once."""
    stable = hasattr(client.chat.completions, "stream")
    completions = client.chat.completions if stable else client.beta.chat.completions
    return completions.stream(**GPT, stream_options={"include_usage": True})


PLAIN = [
    Way("chat", "openai", lambda client: client.chat.completions.create(**GPT)),
    Way("responses", "openai", lambda client: client.responses.create(**GPT_RESPONSE)),
    Way("embeddings", "openai", lambda client: client.embeddings.create(model="text-embedding-3-small", input="Hi")),
    Way("messages", "anthropic", lambda client: client.messages.create(**CLAUDE)),
]
RAW = [
    Way("chat, raw", "openai", lambda client: client.chat.completions.with_raw_response.create(**GPT)),
    Way("responses, raw", "openai", lambda client: client.responses.with_raw_response.create(**GPT_RESPONSE)),
    Way("messages, raw", "anthropic", lambda client: client.messages.with_raw_response.create(**CLAUDE)),
]
STREAMS = [
    Way("chat, stream", "openai", lambda client: client.chat.completions.create(**GPT, **WITH_USAGE), "iterated"),
    Way("responses, stream", "openai", lambda client: client.responses.create(**GPT_RESPONSE, stream=True), "iterated"),
    Way("messages, stream", "anthropic", lambda client: client.messages.create(**CLAUDE, stream=True), "iterated"),
]
ENTERED = [replace(way, name=f"{way.name}, entered", entered=True) for way in STREAMS]
HELPERS = [
    Way("chat, helper", "openai", chat_helper, "iterated", True),
    Way("chat, helper, final", "openai", chat_helper, "get_final_completion", True),
    Way("responses, helper", "openai", lambda client: client.responses.stream(**GPT_RESPONSE), "iterated", True),
    Way("responses, helper, final", "openai", lambda client: client.responses.stream(**GPT_RESPONSE),
        "get_final_response", True),
    Way("messages, helper", "anthropic", lambda client: client.messages.stream(**CLAUDE), "iterated", True),
    Way("messages, helper, texts", "anthropic", lambda client: client.messages.stream(**CLAUDE), "text_stream", True),
    Way("messages, helper, final", "anthropic", lambda client: client.messages.stream(**CLAUDE), "get_final_message",
        True),
    Way("messages, helper, final text", "anthropic", lambda client: client.messages.stream(**CLAUDE),
        "get_final_text", True),
    Way("messages, helper, until done", "anthropic", lambda client: client.messages.stream(**CLAUDE), "until_done",
        True),
]  # fmt: skip


def ways(*lists: list[Way]) -> Any:
    return pytest.mark.parametrize("way", [pytest.param(way, id=way.name) for found in lists for way in found])


both_kinds = pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])


def made(way: Way, vendors: Vendors, asynchronous: bool, *, watched: bool = False, **options: Any) -> Any:
    client = _made(way, vendors, asynchronous, **options)
    return watch(client, account="majors") if watched else client


def _made(way: Way, vendors: Vendors, asynchronous: bool, **options: Any) -> Any:
    options = {"api_key": "sk-none", "max_retries": 0, **options}
    if way.provider == "openai":
        made = openai.AsyncOpenAI if asynchronous else openai.OpenAI
        return made(base_url=vendors.openai_url, **options)
    return (anthropic.AsyncAnthropic if asynchronous else anthropic.Anthropic)(
        base_url=vendors.anthropic_url, **options
    )


def read(way: Way, answer: Any) -> None:
    if way.entered:
        with answer as stream:
            _read(way.reading, stream)
    else:
        _read(way.reading, answer)


def _read(reading: str, stream: Any) -> None:
    if reading in ("iterated", "text_stream"):
        for _ in stream if reading == "iterated" else stream.text_stream:
            pass
    elif reading != "whole":
        getattr(stream, reading)()


async def aread(way: Way, answer: Any) -> None:
    if way.entered:
        async with answer as stream:
            await _aread(way.reading, stream)
    else:
        await _aread(way.reading, answer)


async def _aread(reading: str, stream: Any) -> None:
    if reading in ("iterated", "text_stream"):
        async for _ in stream if reading == "iterated" else stream.text_stream:
            pass
    elif reading != "whole":
        await getattr(stream, reading)()


def asked(way: Way, vendors: Vendors, **options: Any) -> Any:
    with made(way, vendors, False, **options) as client:

        @observe_llm(feature="majors")
        def ask() -> Any:
            return way.ask(client)

        answer = ask()
        read(way, answer)
        return answer


async def aasked(way: Way, vendors: Vendors, **options: Any) -> Any:
    async with made(way, vendors, True, **options) as client:

        @observe_llm(feature="majors")
        async def ask() -> Any:
            answer = way.ask(client)
            return await answer if isawaitable(answer) else answer

        answer = await ask()
        await aread(way, answer)
        return answer


class Outcome(NamedTuple):
    """One observed call: its record, what the vendor says that it served, and what the program got."""

    record: CallRecord
    served: Served
    answer: Any
    raised: Exception | None


def observe(way: Way, vendors: Vendors, asynchronous: bool, **options: Any) -> Outcome:
    answer, raised = None, None
    with capture() as seen:
        try:
            answer = asyncio.run(aasked(way, vendors, **options)) if asynchronous else asked(way, vendors, **options)
        except Exception as error:
            raised = error
    assert vendors.wait_idle()
    (record,) = seen.calls
    return Outcome(record, vendors.served[-1], answer, raised)


Tokens = tuple[int | None, ...]


def tokens(record: CallRecord) -> Tokens:
    usage = record.usage
    if usage is None:
        return (None,) * 5
    return (
        usage.input_tokens,
        usage.output_tokens,
        usage.cache_read_tokens,
        usage.cache_write_tokens,
        usage.reasoning_tokens,
    )


def ledger(served: Served) -> Tokens:
    return (
        served.input_tokens,
        served.output_tokens,
        served.cache_read_tokens,
        served.cache_write_tokens,
        served.reasoning_tokens,
    )


@both_kinds
@ways(PLAIN, RAW, STREAMS, ENTERED, HELPERS)
def test_the_tokens_are_those_that_the_vendor_served(way: Way, asynchronous: bool, vendors: Vendors) -> None:
    record, served, _, raised = observe(way, vendors, asynchronous)
    assert raised is None
    assert record.status == "success"
    assert served.input_tokens
    assert tokens(record) == ledger(served)
    assert record.reading is not None
    assert (record.reading.provider, record.reading.model) == (way.provider, served.response_model)
    assert record.streamed == served.streamed


@both_kinds
@ways(RAW)
def test_a_raw_response_can_still_be_parsed(way: Way, asynchronous: bool, vendors: Vendors) -> None:
    answer = observe(way, vendors, asynchronous).answer
    parsed = answer.parse()
    if isawaitable(parsed):

        async def awaited() -> Any:
            return await parsed

        parsed = asyncio.run(awaited())
    assert parsed.usage is not None
    assert answer.headers["content-type"].startswith("application/json")


def test_a_stream_without_usage_has_none(vendors: Vendors) -> None:
    way = Way("", "openai", lambda client: client.chat.completions.create(**GPT, stream=True), "iterated")
    record, served, _, _ = observe(way, vendors, False)
    assert (record.status, record.streamed, record.usage) == ("success", True, None)
    assert ledger(served) == (None,) * 5


REFUSALS = (
    "rate_limit quota invalid_request context_length authentication permission not_found server_error overloaded"
).split()


@both_kinds
@pytest.mark.parametrize("outcome", REFUSALS)
@ways(PLAIN, STREAMS)
def test_a_refusal_is_of_the_kind_that_the_vendor_means(
    way: Way, outcome: Any, asynchronous: bool, vendors: Vendors
) -> None:
    vendors.next(way.provider, outcome)
    record, served, _, raised = observe(way, vendors, asynchronous)
    assert raised is not None
    assert served.error == outcome
    assert (record.status, record.error) == ("error", outcome)
    assert record.usage is None


@both_kinds
@ways(STREAMS, ENTERED, HELPERS)
def test_an_error_inside_a_stream_is_of_its_kind_and_what_came_before_counts(
    way: Way, asynchronous: bool, vendors: Vendors
) -> None:
    vendors.next(way.provider, "stream_error")
    record, served, _, raised = observe(way, vendors, asynchronous)
    assert raised is not None
    assert (served.status, served.outcome) == (200, "error")
    assert (record.status, record.error) == ("error", served.error)
    assert tokens(record) == ledger(served)


@both_kinds
@ways(STREAMS, ENTERED, HELPERS)
def test_a_stream_that_breaks_is_a_connection_error_and_what_came_before_counts(
    way: Way, asynchronous: bool, vendors: Vendors
) -> None:
    vendors.next(way.provider, "broken_stream")
    record, served, _, raised = observe(way, vendors, asynchronous)
    assert raised is not None
    assert served.outcome == "broken"
    assert (record.status, record.error) == ("error", "connection")
    assert tokens(record) == ledger(served)


@both_kinds
@ways(PLAIN)
def test_a_retry_inside_the_client_is_one_call(way: Way, asynchronous: bool, vendors: Vendors) -> None:
    vendors.next(way.provider, "rate_limit", "server_error", "ok")
    before = len(vendors.served)
    record, served, _, raised = observe(way, vendors, asynchronous, max_retries=2)
    assert raised is None
    assert [each.error for each in vendors.served[before:]] == ["rate_limit", "server_error", None]
    assert tokens(record) == ledger(served)


@both_kinds
@ways(PLAIN, RAW, STREAMS, ENTERED, HELPERS)
def test_each_try_of_a_watched_client_is_an_attempt(way: Way, asynchronous: bool, vendors: Vendors) -> None:
    vendors.next(way.provider, "rate_limit", "server_error", "ok")
    record, served, _, raised = observe(way, vendors, asynchronous, max_retries=2, watched=True)
    assert raised is None
    assert (record.status, tokens(record)) == ("success", ledger(served))
    assert [attempt.outcome for attempt in record.attempts] == ["rate_limit", "server_error", "ok"]
    first, *waits = [attempt.wait for attempt in record.attempts]
    assert first is None
    assert None not in waits
    assert {(attempt.provider, attempt.account) for attempt in record.attempts} == {(way.provider, "majors")}
    assert {limit.resource for limit in record.attempts[-1].limits} >= {"requests", "tokens"}


@both_kinds
@ways(STREAMS)
def test_the_attempt_of_a_stream_that_breaks_is_a_connection_error(
    way: Way, asynchronous: bool, vendors: Vendors
) -> None:
    vendors.next(way.provider, "broken_stream")
    record, _, _, raised = observe(way, vendors, asynchronous, watched=True)
    assert raised is not None
    assert [attempt.outcome for attempt in record.attempts] == ["connection"]


@both_kinds
@ways(PLAIN)
def test_an_answer_that_does_not_come_in_time_is_a_timeout(way: Way, asynchronous: bool) -> None:
    slow = replace(BUSY, latency=0.05, slow_factor=1000)
    with Vendors(7, {"openai": slow, "anthropic": slow}) as vendors:
        vendors.next(way.provider, "slow_start")
        record, _, _, raised = observe(way, vendors, asynchronous, timeout=0.2)
    assert raised is not None
    assert (record.status, record.error) == ("error", "timeout")


@both_kinds
@ways(PLAIN)
def test_a_vendor_that_is_not_there_is_a_connection_error(way: Way, asynchronous: bool) -> None:
    with Vendors() as vendors:
        client = made(way, vendors, asynchronous)
    with capture() as seen:

        @observe_llm
        def ask() -> Any:
            return way.ask(client)

        async def aask() -> Any:
            async with client:
                return await ask()

        with pytest.raises((openai.APIConnectionError, anthropic.APIConnectionError)):
            asyncio.run(aask()) if asynchronous else ask()
    if not asynchronous:
        client.close()
    (record,) = seen.calls
    assert (record.status, record.error) == ("error", "connection")


@ways(STREAMS)
def test_a_stream_that_is_closed_early_is_abandoned_and_what_came_before_counts(way: Way) -> None:
    pausing = replace(BUSY, chunk_gap=60.0)
    with Vendors(7, {"openai": pausing, "anthropic": pausing}) as vendors, made(way, vendors, False) as client:
        with capture() as seen:
            stream = observe_llm(lambda: way.ask(client))()
            next(iter(stream))
            stream.close()
        assert vendors.wait_idle()
        (record,) = seen.calls
        assert record.status == "abandoned"
        assert tokens(record) == ledger(vendors.served[-1])
