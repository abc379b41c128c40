"""The real openai and anthropic clients under observation, against the ledger of what the simulated vendors served."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import inspect
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import anthropic
import openai
import pytest
from pydantic import BaseModel

from llmwatch import ErrorKind, observe_llm, track_request
from llmwatch.metrics import TOKENS
from llmwatch.simulate import Behaviour, Served, Vendors
from llmwatch.testing import Capture, capture

# anthropic warns of models that are near their end of life.
pytestmark = [
    pytest.mark.filterwarnings("ignore:The model:DeprecationWarning"),
    pytest.mark.usefixtures("quick_collections"),
]

GPT, GPT_DATED = "gpt-4o-mini", "gpt-4o-mini-2024-07-18"
CLAUDE, CLAUDE_DATED = "claude-sonnet-4-5", "claude-sonnet-4-5-20250929"
ADA = "text-embedding-3-small"
PROMPT: list[Any] = [{"role": "user", "content": "Which way to the harbour? " * 8}]
CHAT: dict[str, Any] = {"model": GPT, "messages": PROMPT}
COUNTED: dict[str, Any] = {**CHAT, "stream_options": {"include_usage": True}}
RESPONSE: dict[str, Any] = {"model": GPT, "input": PROMPT[0]["content"]}
MESSAGE: dict[str, Any] = {"model": CLAUDE, "max_tokens": 200, "messages": PROMPT}
BUSY = Behaviour(
    answer_tokens=40, cached_share=0.5, cache_write_share=0.25, reasoning_share=0.25, retry_after=0.01
)  # fmt: skip


@dataclass
class Sync:
    """Running vendors and the real clients."""

    vendors: Vendors
    gpt: Any
    claude: Any


@pytest.fixture(scope="module")
def vendors() -> Iterator[Vendors]:
    with Vendors(7, {"openai": BUSY, "anthropic": BUSY}, 0.0) as running:
        yield running


@contextlib.contextmanager
def clients(vendors: Vendors, **options: Any) -> Iterator[Sync]:
    options = {"api_key": "sk-none", "max_retries": 0, **options}
    # Not verifying anything saves each client from loading all certificates.
    with (
        openai.OpenAI(
            base_url=vendors.openai_url, http_client=openai.DefaultHttpxClient(verify=False), **options
        ) as gpt,
        anthropic.Anthropic(
            base_url=vendors.anthropic_url, http_client=anthropic.DefaultHttpxClient(verify=False), **options
        ) as claude,
    ):
        yield Sync(vendors, gpt, claude)


@contextlib.asynccontextmanager
async def async_clients(vendors: Vendors, **options: Any) -> AsyncIterator[Sync]:
    options = {"api_key": "sk-none", "max_retries": 0, **options}
    async with (
        openai.AsyncOpenAI(
            base_url=vendors.openai_url, http_client=openai.DefaultAsyncHttpxClient(verify=False), **options
        ) as gpt,
        anthropic.AsyncAnthropic(
            base_url=vendors.anthropic_url, http_client=anthropic.DefaultAsyncHttpxClient(verify=False), **options
        ) as claude,
    ):
        yield Sync(vendors, gpt, claude)


@pytest.fixture(scope="module")
def shared(vendors: Vendors) -> Iterator[Sync]:
    with clients(vendors) as running:
        yield running


@pytest.fixture
def seen() -> Iterator[Capture]:
    with capture() as recorder:
        yield recorder
        gc.collect()
        assert recorder.active == 0
        assert recorder.shield.counts() == {}


@dataclass
class Watch:
    """What the vendors have served since the test began."""

    vendors: Vendors
    begun: int

    @property
    def served(self) -> tuple[Served, ...]:
        assert self.vendors.wait_idle()
        return self.vendors.served[self.begun :]


@pytest.fixture
def ledger(vendors: Vendors) -> Watch:
    assert vendors.wait_idle()
    return Watch(vendors, len(vendors.served))


def recorded(seen: Capture) -> Counter[str]:
    """Tokens over all series, by direction and by the kinds that the ledger knows."""
    seen.settle()
    found: Counter[str] = Counter()
    for (*_, direction, kind), amount in seen.totals(TOKENS):
        found[direction] += int(amount)
        if kind in {"cache_read", "cache_write", "reasoning"}:
            found[kind] += int(amount)
    return +found


def served(ledger: Watch) -> Counter[str]:
    """The same of what the vendors said."""
    said: Counter[str] = Counter()
    for entry in ledger.served:
        said["input"] += entry.input_tokens or 0
        said["output"] += entry.output_tokens or 0
        said["cache_read"] += entry.cache_read_tokens or 0
        said["cache_write"] += entry.cache_write_tokens or 0
        said["reasoning"] += entry.reasoning_tokens or 0
    return +said


def outcome(seen: Capture) -> tuple[str, str | None, bool]:
    (record,) = seen.calls
    return record.status, record.error and record.error.value, record.streamed


def vendor_and_model(seen: Capture) -> tuple[str | None, str | None]:
    (record,) = seen.calls
    assert record.reading is not None
    return record.reading.provider, record.reading.model


class Answer(BaseModel):
    """What a parsed answer is parsed to."""

    harbour: str


# Whole answers.

PLAIN: dict[str, tuple[Callable[[Any], Any], str, str, str]] = {
    "chat": (lambda c: c.gpt.chat.completions.create(**CHAT), "openai", GPT_DATED, "ChatCompletion"),
    "chat parse": (lambda c: c.gpt.chat.completions.parse(**CHAT), "openai", GPT_DATED, "ParsedChatCompletion"),
    "responses": (lambda c: c.gpt.responses.create(**RESPONSE), "openai", GPT_DATED, "Response"),
    "responses parse": (lambda c: c.gpt.responses.parse(**RESPONSE), "openai", GPT_DATED, "ParsedResponse"),
    "embeddings": (
        lambda c: c.gpt.embeddings.create(model=ADA, input=["a b c", "d"]), "openai", ADA, "CreateEmbeddingResponse",
    ),
    "messages": (lambda c: c.claude.messages.create(**MESSAGE), "anthropic", CLAUDE_DATED, "Message"),
}  # fmt: skip


@pytest.mark.parametrize("api", PLAIN)
def test_a_whole_answer_is_read_and_comes_back_as_it_is(api: str, shared: Sync, seen: Capture, ledger: Watch) -> None:
    ask, provider, model, name = PLAIN[api]
    got: list[Any] = []

    @observe_llm
    def watched() -> Any:
        got.append(ask(shared))
        return got[0]

    answer = watched()
    assert answer is got[0]
    assert type(answer).__name__.partition("[")[0] == name
    assert outcome(seen) == ("success", None, False)
    assert vendor_and_model(seen) == (provider, model)
    assert recorded(seen) == served(ledger) != Counter()


@pytest.mark.parametrize("api", PLAIN)
def test_a_whole_answer_of_an_async_client_is_read(api: str, vendors: Vendors, seen: Capture, ledger: Watch) -> None:
    ask, provider, model, name = PLAIN[api]

    async def main() -> Any:
        async with async_clients(vendors) as c:

            @observe_llm
            async def awaited() -> Any:
                return await ask(c)

            # A plain function that gives the client's own coroutine is as good.
            return await awaited(), await observe_llm(lambda: ask(c))()

    for answer in asyncio.run(main()):
        assert type(answer).__name__.partition("[")[0] == name
    assert [(r.status, r.streamed) for r in seen.calls] == [("success", False)] * 2
    assert [r.reading and (r.reading.provider, r.reading.model) for r in seen.calls] == [(provider, model)] * 2
    assert recorded(seen) == served(ledger) != Counter()


def test_embeddings_are_an_operation_of_their_own(shared: Sync, seen: Capture) -> None:
    observe_llm(lambda: PLAIN["embeddings"][0](shared))()
    assert seen.calls[0].reading is not None
    assert seen.calls[0].reading.operation == "embeddings"


RAW: dict[str, Callable[[Any], Any]] = {
    "chat": lambda c: c.gpt.chat.completions.with_raw_response.create(**CHAT),
    "responses": lambda c: c.gpt.responses.with_raw_response.create(**RESPONSE),
    "messages": lambda c: c.claude.messages.with_raw_response.create(**MESSAGE),
}


@pytest.mark.parametrize("api", RAW)
def test_a_raw_response_is_read_and_can_still_be_parsed(api: str, shared: Sync, seen: Capture, ledger: Watch) -> None:
    raw = observe_llm(lambda: RAW[api](shared))()
    assert raw.headers["content-type"] == "application/json"
    assert raw.parse().id
    assert outcome(seen) == ("success", None, False)
    assert recorded(seen) == served(ledger) != Counter()


@pytest.mark.parametrize("api", RAW)
def test_a_raw_response_of_an_async_client_is_read(api: str, vendors: Vendors, seen: Capture, ledger: Watch) -> None:
    async def main() -> None:
        async with async_clients(vendors) as c:

            @observe_llm
            async def ask() -> Any:
                return await RAW[api](c)

            parsed = (await ask()).parse()
            assert (await parsed if inspect.isawaitable(parsed) else parsed).id

    asyncio.run(main())
    assert outcome(seen) == ("success", None, False)
    assert recorded(seen) == served(ledger) != Counter()


def test_the_body_of_a_raw_stream_is_left_to_the_caller(shared: Sync, seen: Capture) -> None:
    raw = observe_llm(lambda: shared.gpt.chat.completions.with_raw_response.create(**COUNTED, stream=True))()
    chunks = list(raw.parse())
    assert chunks[-1].usage.completion_tokens > 0
    assert [r.status for r in seen.calls] == ["success"]


def test_a_streamed_raw_response_is_left_to_the_caller(shared: Sync, seen: Capture) -> None:
    with observe_llm(lambda: shared.gpt.chat.completions.with_streaming_response.create(**CHAT))() as raw:
        assert raw.parse().usage.completion_tokens > 0
    assert [r.status for r in seen.calls] == ["success"]


# Streams.

STREAMS: dict[str, tuple[Callable[[Any], Any], str, str, type[Any], type[Any]]] = {
    "chat": (
        lambda c: c.gpt.chat.completions.create(**COUNTED, stream=True),
        "openai", GPT_DATED, openai.Stream, openai.AsyncStream,
    ),
    "responses": (
        lambda c: c.gpt.responses.create(**RESPONSE, stream=True),
        "openai", GPT_DATED, openai.Stream, openai.AsyncStream,
    ),
    "messages": (
        lambda c: c.claude.messages.create(**MESSAGE, stream=True),
        "anthropic", CLAUDE_DATED, anthropic.Stream, anthropic.AsyncStream,
    ),
}  # fmt: skip


@pytest.mark.parametrize("api", STREAMS)
def test_a_stream_is_read_on_its_way_and_is_still_the_clients_stream(
    api: str, shared: Sync, seen: Capture, ledger: Watch
) -> None:
    ask, provider, model, cls, _ = STREAMS[api]
    stream = observe_llm(lambda: ask(shared))()
    assert isinstance(stream, cls)
    assert stream.response.status_code == 200
    assert seen.active == 1
    first = next(stream)
    rest = list(stream)
    assert len(rest) > 3
    assert first.__class__.__module__.startswith(provider)
    assert outcome(seen) == ("success", None, True)
    assert vendor_and_model(seen) == (provider, model)
    assert recorded(seen) == served(ledger) != Counter()
    (record,) = seen.calls
    assert record.first_chunk is not None
    assert record.chunk_gap is not None
    assert 0 <= record.first_chunk <= record.duration


@pytest.mark.parametrize("api", STREAMS)
@pytest.mark.parametrize("kind", ["coroutine", "function", "generator"])
def test_an_async_stream_is_read_on_its_way(
    api: str, kind: str, vendors: Vendors, seen: Capture, ledger: Watch
) -> None:
    ask, provider, model, _, cls = STREAMS[api]

    async def main() -> None:
        async with async_clients(vendors) as c:

            @observe_llm
            async def coroutine() -> Any:
                return await ask(c)

            @observe_llm
            def function() -> Awaitable[Any]:
                return ask(c)  # type: ignore[no-any-return]

            @observe_llm
            async def generator() -> AsyncIterator[Any]:
                async for chunk in await ask(c):
                    yield chunk

            if kind == "generator":
                stream: Any = generator()
            else:
                stream = await {"coroutine": coroutine, "function": function}[kind]()
                assert isinstance(stream, cls)
                assert stream.response.status_code == 200
            async with contextlib.aclosing(stream) if kind == "generator" else stream as entered:
                assert len([chunk async for chunk in entered]) > 3

    asyncio.run(main())
    assert outcome(seen) == ("success", None, True)
    assert vendor_and_model(seen) == (provider, model)
    assert recorded(seen) == served(ledger) != Counter()


def test_a_stream_that_was_not_asked_for_usage_has_none_and_is_not_changed(
    shared: Sync, seen: Capture, ledger: Watch
) -> None:
    chunks = list(observe_llm(lambda: shared.gpt.chat.completions.create(**CHAT, stream=True))())
    assert all(chunk.choices for chunk in chunks)
    assert outcome(seen) == ("success", None, True)
    assert vendor_and_model(seen) == ("openai", GPT_DATED)
    assert seen.calls[0].usage is None
    assert recorded(seen) == served(ledger) == Counter()


@pytest.mark.parametrize("api", STREAMS)
@pytest.mark.parametrize("end", ["close", "block", "drop"])
def test_a_stream_that_is_left_early_is_abandoned(api: str, end: str, shared: Sync, seen: Capture) -> None:
    ask, _, model, _, _ = STREAMS[api]
    stream = observe_llm(lambda: ask(shared))()
    if end == "block":
        with stream as entered:
            assert entered is stream
            next(entered)
    else:
        next(stream)
    if end == "close":
        stream.close()
        assert stream.response.is_closed
    del stream
    assert outcome(seen) == ("abandoned", None, True)
    assert seen.calls[0].reading is not None
    assert seen.calls[0].reading.model == model
    if api == "messages":
        assert seen.calls[0].usage is not None
        assert (seen.calls[0].usage.input_tokens or 0) > 0


def test_streams_and_answers_can_be_told_to_a_block(shared: Sync, seen: Capture, ledger: Watch) -> None:
    with track_request(feature="f", provider="openai") as request:
        request.observe(shared.gpt.chat.completions.create(**CHAT))
    with track_request(feature="f") as request:
        assert len(list(request.stream(STREAMS["messages"][0](shared)))) > 3
    assert [r.status for r in seen.calls] == ["success"] * 2
    assert recorded(seen) == served(ledger) != Counter()


# Stream helpers and their managers.


def _texts(stream: Any) -> None:
    assert "".join(stream.text_stream)


def _final(stream: Any) -> None:
    assert stream.get_final_message().usage.output_tokens > 0


def _iterated(stream: Any) -> None:
    assert len(list(stream)) > 3


def _iterated_and_final(stream: Any) -> None:
    for _ in stream:
        break
    _final(stream)
    _final(stream)


def _texts_and_final(stream: Any) -> None:
    for _ in stream.text_stream:
        break
    _texts(stream)
    _final(stream)


CLAUDE_USES: dict[str, Callable[[Any], None]] = {
    "text_stream": _texts,
    "get_final_message": _final,
    "get_final_text": lambda stream: bool(stream.get_final_text()) or pytest.fail("no text"),
    "until_done": lambda stream: stream.until_done(),
    "iteration": _iterated,
    "iteration, then get_final_message": _iterated_and_final,
    "text_stream, then get_final_message": _texts_and_final,
}


@pytest.mark.parametrize("use", CLAUDE_USES)
def test_a_message_stream_that_a_function_returns_is_read_however_it_is_used(
    use: str, shared: Sync, seen: Capture, ledger: Watch
) -> None:
    manager = observe_llm(lambda: shared.claude.messages.stream(**MESSAGE))()
    assert isinstance(manager, anthropic.MessageStreamManager)
    assert seen.active == 1
    with manager as stream:
        assert isinstance(stream, anthropic.MessageStream)
        CLAUDE_USES[use](stream)
    assert outcome(seen) == ("success", None, True)
    assert vendor_and_model(seen) == ("anthropic", CLAUDE_DATED)
    assert recorded(seen) == served(ledger) != Counter()
    assert seen.calls[0].first_chunk is not None
    assert seen.calls[0].chunk_gap is not None


@pytest.mark.parametrize("use", ["text_stream", "get_final_message", "until_done", "iteration"])
def test_an_async_message_stream_that_a_function_returns_is_read_however_it_is_used(
    use: str, vendors: Vendors, seen: Capture, ledger: Watch
) -> None:
    async def main() -> None:
        async with async_clients(vendors) as c:
            manager = observe_llm(lambda: c.claude.messages.stream(**MESSAGE))()
            assert isinstance(manager, anthropic.AsyncMessageStreamManager)
            async with manager as stream:
                assert isinstance(stream, anthropic.AsyncMessageStream)
                match use:
                    case "text_stream":
                        assert "".join([text async for text in stream.text_stream])
                    case "get_final_message":
                        assert (await stream.get_final_message()).usage.output_tokens > 0
                    case "until_done":
                        await stream.until_done()
                    case "iteration":
                        assert len([event async for event in stream]) > 3

    asyncio.run(main())
    assert outcome(seen) == ("success", None, True)
    assert vendor_and_model(seen) == ("anthropic", CLAUDE_DATED)
    assert recorded(seen) == served(ledger) != Counter()


@pytest.mark.parametrize("use", ["iteration", "text_stream"])
def test_a_message_stream_that_is_left_early_is_abandoned_and_what_came_is_read(
    use: str, shared: Sync, seen: Capture
) -> None:
    with observe_llm(lambda: shared.claude.messages.stream(**MESSAGE))() as stream:
        for _ in stream.text_stream if use == "text_stream" else stream:
            break
    assert outcome(seen) == ("abandoned", None, True)
    assert vendor_and_model(seen) == ("anthropic", CLAUDE_DATED)
    assert seen.calls[0].usage is not None
    assert (seen.calls[0].usage.input_tokens or 0) > 0


@pytest.mark.parametrize("use", ["iteration", "text_stream"])
def test_an_async_message_stream_that_is_left_early_is_abandoned(use: str, vendors: Vendors, seen: Capture) -> None:
    async def main() -> None:
        async with (
            async_clients(vendors) as c,
            observe_llm(lambda: c.claude.messages.stream(**MESSAGE))() as stream,
        ):
            async for _ in stream.text_stream if use == "text_stream" else stream:
                break

    asyncio.run(main())
    assert outcome(seen) == ("abandoned", None, True)
    assert vendor_and_model(seen) == ("anthropic", CLAUDE_DATED)


def test_a_manager_that_is_never_entered_is_abandoned_and_asks_nobody(
    shared: Sync, seen: Capture, ledger: Watch
) -> None:
    observe_llm(lambda: shared.claude.messages.stream(**MESSAGE))()
    assert outcome(seen) == ("abandoned", None, True)
    assert vendor_calls(ledger) == []


def vendor_calls(ledger: Watch) -> list[str]:
    return [entry.api for entry in ledger.served]


GPT_HELPERS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "chat": (lambda c: c.gpt.chat.completions.stream(**COUNTED), "get_final_completion"),
    "responses": (lambda c: c.gpt.responses.stream(**RESPONSE), "get_final_response"),
}


@pytest.mark.parametrize("api", GPT_HELPERS)
@pytest.mark.parametrize("use", ["iteration", "final", "iteration, then final", "until_done"])
def test_openais_stream_helpers_are_read_however_they_are_used(
    api: str, use: str, shared: Sync, seen: Capture, ledger: Watch
) -> None:
    make, final = GPT_HELPERS[api]
    with observe_llm(lambda: make(shared))() as stream:
        if "iteration" in use:
            assert len(list(stream)) > 3
        if "final" in use:
            assert getattr(stream, final)().usage is not None
        if use == "until_done":
            stream.until_done()
    assert outcome(seen) == ("success", None, True)
    assert vendor_and_model(seen) == ("openai", GPT_DATED)
    assert recorded(seen) == served(ledger) != Counter()


@pytest.mark.parametrize("api", GPT_HELPERS)
@pytest.mark.parametrize("use", ["iteration", "final"])
def test_openais_async_stream_helpers_are_read_however_they_are_used(
    api: str, use: str, vendors: Vendors, seen: Capture, ledger: Watch
) -> None:
    make, final = GPT_HELPERS[api]

    async def main() -> None:
        async with async_clients(vendors) as c, observe_llm(lambda: make(c))() as stream:
            if use == "iteration":
                assert len([event async for event in stream]) > 3
            else:
                assert (await getattr(stream, final)()).usage is not None

    asyncio.run(main())
    assert outcome(seen) == ("success", None, True)
    assert vendor_and_model(seen) == ("openai", GPT_DATED)
    assert recorded(seen) == served(ledger) != Counter()


@pytest.mark.parametrize("api", GPT_HELPERS)
def test_openais_stream_helpers_that_are_left_early_are_abandoned(api: str, shared: Sync, seen: Capture) -> None:
    with observe_llm(lambda: GPT_HELPERS[api][0](shared))() as stream:
        for _ in stream:
            break
    assert outcome(seen) == ("abandoned", None, True)
    assert vendor_and_model(seen) == ("openai", GPT_DATED)


def test_a_helper_that_is_used_inside_the_function_is_read_from_its_message(
    shared: Sync, seen: Capture, ledger: Watch
) -> None:
    @observe_llm
    def ask() -> Any:
        with shared.claude.messages.stream(**MESSAGE) as stream:
            return stream.get_final_message()

    assert ask().usage.output_tokens > 0
    assert outcome(seen) == ("success", None, False)
    assert recorded(seen) == served(ledger) != Counter()


def test_a_generator_that_yields_text_only_can_be_read_by_a_block_inside(
    shared: Sync, seen: Capture, ledger: Watch
) -> None:
    @observe_llm(feature="outer")
    def ask() -> Iterator[str]:
        with track_request(feature="inner") as request:
            for chunk in request.stream(STREAMS["chat"][0](shared)):
                if chunk.choices and chunk.choices[0].delta.content:
                    yield chunk.choices[0].delta.content

    assert "".join(ask())
    assert [(r.status, r.nested) for r in seen.calls] == [("success", False), ("success", True)]
    assert recorded(seen) == served(ledger) != Counter()


# Failures.

FAILURES = [
    ("openai", "rate_limit", ErrorKind.RATE_LIMIT, openai.RateLimitError),
    ("openai", "quota", ErrorKind.QUOTA, openai.RateLimitError),
    ("openai", "server_error", ErrorKind.SERVER_ERROR, openai.InternalServerError),
    ("openai", "authentication", ErrorKind.AUTHENTICATION, openai.AuthenticationError),
    ("openai", "context_length", ErrorKind.CONTEXT_LENGTH, openai.BadRequestError),
    ("openai", "not_found", ErrorKind.NOT_FOUND, openai.NotFoundError),
    ("anthropic", "rate_limit", ErrorKind.RATE_LIMIT, anthropic.RateLimitError),
    ("anthropic", "server_error", ErrorKind.SERVER_ERROR, anthropic.InternalServerError),
    ("anthropic", "overloaded", ErrorKind.OVERLOADED, anthropic.APIStatusError),
    ("anthropic", "permission", ErrorKind.PERMISSION, anthropic.PermissionDeniedError),
]


def _call(provider: str, c: Sync, **options: Any) -> Any:
    if provider == "openai":
        return c.gpt.chat.completions.create(**CHAT, **options)
    return c.claude.messages.create(**MESSAGE, **options)


@pytest.mark.parametrize(("provider", "fault", "kind", "cls"), FAILURES)
@pytest.mark.parametrize("streamed", [False, True])
def test_a_refusal_is_an_error_of_its_kind_and_its_provider(
    provider: str, fault: Any, kind: ErrorKind, cls: type[Exception], streamed: bool, shared: Sync, seen: Capture
) -> None:  # fmt: skip
    shared.vendors.next(provider, fault)
    raised: list[Exception] = []

    @observe_llm
    def ask() -> Any:
        try:
            return _call(provider, shared, stream=streamed)
        except Exception as error:
            raised.append(error)
            raise

    with pytest.raises(cls) as caught:
        ask()
    assert caught.value is raised[0]
    assert outcome(seen) == ("error", kind, False)
    assert seen.calls[0].labels.get("provider") == provider


def test_a_refusal_that_a_manager_meets_when_it_is_entered_is_an_error_of_its_provider(
    shared: Sync, seen: Capture
) -> None:
    shared.vendors.next("anthropic", "overloaded")
    with pytest.raises(anthropic.APIStatusError), observe_llm(lambda: shared.claude.messages.stream(**MESSAGE))():
        pytest.fail("it was entered")
    assert outcome(seen) == ("error", ErrorKind.OVERLOADED, True)
    assert seen.calls[0].labels.get("provider") == "anthropic"


@pytest.mark.parametrize("api", STREAMS)
@pytest.mark.parametrize("fault", ["stream_error", "broken_stream"])
def test_a_stream_that_fails_in_the_middle_is_an_error_with_what_came_before(
    api: str, fault: Any, shared: Sync, seen: Capture, ledger: Watch
) -> None:
    ask, provider, model, _, _ = STREAMS[api]
    shared.vendors.next(provider, fault)
    stream = observe_llm(lambda: ask(shared))()
    with pytest.raises(Exception, match=r".") as caught:
        list(stream)
    assert isinstance(caught.value, Exception)
    kinds = {
        "broken_stream": ErrorKind.CONNECTION,
        "stream_error": ErrorKind.OVERLOADED if provider == "anthropic" else ErrorKind.SERVER_ERROR,
    }
    assert outcome(seen) == ("error", kinds[fault], True)
    assert vendor_and_model(seen) == (provider, model)
    assert seen.calls[0].first_chunk is not None
    assert recorded(seen) == served(ledger)


@pytest.mark.parametrize("use", ["text_stream", "get_final_message"])
def test_a_message_stream_that_fails_in_the_middle_is_an_error_with_what_came_before(
    use: str, shared: Sync, seen: Capture, ledger: Watch
) -> None:
    shared.vendors.next("anthropic", "stream_error")
    with pytest.raises(anthropic.APIStatusError), observe_llm(lambda: shared.claude.messages.stream(**MESSAGE))() as s:
        CLAUDE_USES[use](s)
    assert outcome(seen) == ("error", ErrorKind.OVERLOADED, True)
    assert recorded(seen) == served(ledger) != Counter()


def test_an_answer_that_breaks_off_is_a_connection_error(shared: Sync, seen: Capture) -> None:
    shared.vendors.next("openai", "broken_stream")
    with pytest.raises(openai.APIConnectionError):
        observe_llm(lambda: shared.gpt.chat.completions.create(**CHAT))()
    assert outcome(seen) == ("error", ErrorKind.CONNECTION, False)


@pytest.mark.parametrize(
    ("provider", "faults"),
    [
        ("openai", ["rate_limit", "rate_limit"]),
        ("openai", ["server_error"]),
        ("anthropic", ["rate_limit", "rate_limit"]),
        ("anthropic", ["overloaded"]),
    ],
)
def test_retries_inside_a_client_are_inside_the_duration_of_one_call(
    provider: str, faults: list[Any], vendors: Vendors, ledger: Watch
) -> None:
    # Time is what has been served, so that a call lasts as many seconds as it takes requests.
    with clients(vendors, max_retries=2) as c, capture(lambda: float(len(vendors.served))) as seen:
        vendors.next(provider, *faults, "ok")
        answer = observe_llm(lambda: _call(provider, c).usage)()
    assert answer is not None
    assert [entry.outcome for entry in ledger.served] == [*("error" for _ in faults), "ok"]
    assert [(r.status, r.duration) for r in seen.calls] == [("success", len(faults) + 1.0)]


def test_retries_that_do_not_help_are_one_error(vendors: Vendors, ledger: Watch, seen: Capture) -> None:
    with clients(vendors, max_retries=1) as c:
        vendors.next("openai", "rate_limit", "rate_limit")
        with pytest.raises(openai.RateLimitError):
            observe_llm(lambda: _call("openai", c))()
    assert len(ledger.served) == 2
    assert outcome(seen) == ("error", ErrorKind.RATE_LIMIT, False)


# Waiting: the vendors take their time.


@pytest.fixture(scope="module")
def slow() -> Iterator[Vendors]:
    behaviour = Behaviour(latency=0.0, chunk_gap=30.0, answer_tokens=40)
    with Vendors(7, {"openai": behaviour, "anthropic": behaviour}) as running:
        yield running


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_a_timeout_of_the_client_is_a_timeout(provider: str, slow: Vendors, seen: Capture) -> None:
    with clients(slow, timeout=0.05) as c, pytest.raises((openai.APITimeoutError, anthropic.APITimeoutError)):
        observe_llm(lambda: _call(provider, c))()
    assert outcome(seen) == ("error", ErrorKind.TIMEOUT, False)
    assert seen.calls[0].labels.get("provider") == provider


@pytest.mark.parametrize("api", STREAMS)
def test_a_timeout_in_the_middle_of_a_stream_is_a_timeout(api: str, slow: Vendors, seen: Capture) -> None:
    with clients(slow, timeout=0.05) as c:
        stream = observe_llm(lambda: STREAMS[api][0](c))()
        with pytest.raises(Exception, match=r"(?i)time"):
            list(stream)
    assert outcome(seen) == ("error", ErrorKind.TIMEOUT, True)
    assert seen.calls[0].first_chunk is not None


@pytest.mark.parametrize("api", STREAMS)
def test_a_task_that_is_cancelled_while_it_waits_for_a_chunk_cancels_the_call(
    api: str, slow: Vendors, seen: Capture
) -> None:
    async def main() -> None:
        async with async_clients(slow) as c:

            @observe_llm
            async def ask() -> Any:
                return await STREAMS[api][0](c)

            arrived = asyncio.Event()

            async def consume() -> None:
                async for _ in await ask():
                    arrived.set()

            task = asyncio.create_task(consume())
            await arrived.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())
    assert outcome(seen) == ("cancelled", None, True)


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_a_call_that_is_cancelled_while_it_waits_for_an_answer_is_cancelled(
    provider: str, slow: Vendors, seen: Capture
) -> None:
    async def main() -> None:
        async with async_clients(slow) as c:

            @observe_llm
            async def ask() -> Any:
                return await _call(provider, c)

            with pytest.raises(TimeoutError):
                await asyncio.wait_for(ask(), 0.05)

    asyncio.run(main())
    assert outcome(seen) == ("cancelled", None, False)


# Many at once.


def test_many_concurrent_calls_of_all_kinds_add_up_to_what_was_served(
    vendors: Vendors, seen: Capture, ledger: Watch
) -> None:
    async def main() -> int:
        async with async_clients(vendors) as c:

            @observe_llm
            async def plain(api: str) -> Any:
                return await PLAIN[api][0](c)

            @observe_llm
            async def stream(api: str) -> Any:
                return await STREAMS[api][0](c)

            async def consume(api: str) -> None:
                async for _ in await stream(api):
                    pass

            work = [plain(api) for api in PLAIN] * 1 + [consume(api) for api in STREAMS for _ in range(4)]
            await asyncio.gather(*work)
            return len(work)

    count = asyncio.run(main())
    assert [r.status for r in seen.calls] == ["success"] * count
    assert len(ledger.served) == count
    assert recorded(seen) == served(ledger) != Counter()
