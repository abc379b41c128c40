"""The public API as type checkers see it: never run, checked by mypy and pyright, both strict.

A line that must be an error carries an `ignore` of each checker, and both complain of an `ignore` that is not needed.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any, Protocol, assert_type

import llmwatch
from llmwatch import (
    Label,
    Usage,
    attribute,
    bind,
    observe_agent,
    observe_llm,
    observe_tool,
    outgoing_baggage,
    record_guard,
    register_extractor,
    track_request,
    watch,
)
from llmwatch.config import Configuration
from llmwatch.extractors import Reading


class Reply:
    """A response type of the application's own."""

    tokens_in: int = 0
    tokens_out: int = 0


class Ask(Protocol):
    """The exact type of `plain`: one argument, which may be passed by name."""

    def __call__(self, question: str, *, retries: int = 2) -> Reply: ...


def plain(question: str, *, retries: int = 2) -> Reply:
    return Reply()


# observe_llm: bare and called, it keeps the exact type of every kind of function.

bare_call: Ask = observe_llm(plain)
called_call: Ask = observe_llm(feature="chat")(plain)


@observe_llm
def bare(question: str, *, retries: int = 2) -> Reply:
    return plain(question, retries=retries)


@observe_llm(
    feature="chat",
    provider="openai",
    model="gpt-4o-mini",
    operation="chat",
    agent="researcher",
    extractor=None,
    tier="pro",
)
def called(question: str, *, retries: int = 2) -> Reply:
    return plain(question, retries=retries)


@observe_llm()
async def coroutine(question: str) -> Reply:
    return plain(question)


@observe_llm(feature="chat")
def generator(question: str) -> Generator[str, int, bool]:
    sent = yield question
    return bool(sent)


@observe_llm
async def async_generator(question: str) -> AsyncIterator[bytes]:
    yield question.encode()


def functions() -> None:
    assert_type(bare("why?"), Reply)
    assert_type(called(question="why?", retries=0), Reply)
    bare(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    called("why?", tries=0)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    assert_type(generator("why?"), Generator[str, int, bool])
    assert_type(observe_llm(len)("why?"), int)


async def coroutines() -> None:
    assert_type(await coroutine(question="why?"), Reply)
    async for chunk in async_generator("why?"):
        assert_type(chunk, bytes)
    await coroutine(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


class Bot:
    @observe_llm
    def ask(self, question: str) -> Reply:
        return plain(question)

    @observe_llm(feature="chat")
    async def ask_later(self, question: str) -> Reply:
        return plain(question)

    @staticmethod
    @observe_llm
    def ask_static(question: str) -> Reply:
        return plain(question)

    @classmethod
    @observe_llm(feature="chat")
    def ask_class(cls, question: str) -> Reply:
        return plain(question)

    @observe_llm
    @staticmethod
    def ask_static_below(question: str) -> Reply:
        return plain(question)


async def methods(bot: Bot) -> None:
    assert_type(bot.ask("why?"), Reply)
    assert_type(Bot.ask(bot, question="why?"), Reply)
    assert_type(await bot.ask_later("why?"), Reply)
    assert_type(Bot.ask_static("why?"), Reply)
    assert_type(Bot.ask_class("why?"), Reply)
    assert_type(Bot.ask_static_below("why?"), Reply)
    bot.ask(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def arguments_of_observe_llm() -> None:
    observe_llm(feature=1)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    observe_llm("chat")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]


# track_request: a block, sync or async, whose object gives back what it is given.


def block(reply: Reply, events: Iterator[str]) -> None:
    with track_request(feature="chat", provider="openai", model="gpt-4o-mini", tier="pro") as request:
        assert_type(request, track_request)
        request.observe(reply)
        for event in request.stream(events):
            assert_type(event, str)
        request.record(
            input_tokens=812, output_tokens=64, cache_read_tokens=0, cache_write_tokens=None, reasoning_tokens=12
        )
        request.set(model="gpt-4o", provider="azure.ai.openai")
        request.record(812)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


async def async_block(reply: Reply, events: AsyncIterator[int]) -> None:
    async with track_request(feature="chat") as request:
        assert_type(request, track_request)
        request.observe(reply)
        async for event in request.stream(events):
            assert_type(event, int)


def returns_out_of_a_block() -> Reply:
    """Exceptions pass a block, so that what stands behind a return in it cannot be reached."""
    with track_request(feature="chat"):
        return plain("why?")


# observe_agent, observe_tool and record_guard: decorators that keep the exact type, and blocks.

bare_agent: Ask = observe_agent(plain)
called_agent: Ask = observe_agent("researcher", feature="search", tier="pro")(plain)
bare_tool: Ask = observe_tool(plain)
called_tool: Ask = observe_tool(name="search", agent="researcher")(plain)
guarded: Ask = record_guard("pii", stage="output", feature="chat")(plain)


@observe_agent
async def agent(question: str) -> Reply:
    return plain(question)


@observe_agent()
async def agent_of_pieces(question: str) -> AsyncIterator[bytes]:
    yield question.encode()


class Toolbox:
    @observe_tool
    def search(self, question: str) -> Reply:
        return plain(question)

    @observe_tool("find")
    @classmethod
    def find(cls, question: str) -> Reply:
        return plain(question)


async def agents_and_tools(toolbox: Toolbox) -> None:
    assert_type(await agent(question="why?"), Reply)
    async for chunk in agent_of_pieces("why?"):
        assert_type(chunk, bytes)
    assert_type(toolbox.search("why?"), Reply)
    assert_type(Toolbox.find("why?"), Reply)
    with observe_agent("researcher") as nothing, observe_tool("search", agent="researcher") as neither:
        assert_type((nothing, neither), tuple[None, None])
        toolbox.search(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    async with observe_agent("researcher", tier="pro"), observe_tool("search"):
        await agent(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    observe_agent(1)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    observe_tool("search", feature="chat")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]


def returns_out_of_an_agent() -> Reply:
    with observe_agent("researcher"):
        return plain("why?")


def guards(decision: str) -> None:
    assert_type(record_guard("pii", decision, stage="output"), None)
    with record_guard("pii", stage="output", feature="chat") as guard:
        guard.reject()
        guard.decide(decision)
    pii = record_guard("pii")
    pii.reject()
    record_guard("pii", stage="both")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    record_guard("pii", 1)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]


# attribute and bind.


@attribute(agent="researcher")
def decorated(question: str, *, retries: int = 2) -> Reply:
    return plain(question, retries=retries)


@attribute(feature="search", tier="pro")
async def decorated_coroutine(question: str) -> Reply:
    return plain(question)


decorated_call: Ask = decorated


async def attributed() -> None:
    with attribute(agent="researcher", feature="search", tier="pro"):
        assert_type(decorated("why?"), Reply)
    async with attribute(agent="researcher"):
        assert_type(await decorated_coroutine("why?"), Reply)
    attribute("researcher")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def bound(executor: ThreadPoolExecutor) -> None:
    same: Ask = bind(plain)
    assert_type(same("why?"), Reply)
    assert_type(executor.submit(bind(plain), "why?", retries=0).result(), Reply)
    bind(plain)(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert_type(bind(ThreadPoolExecutor()), Executor)
    with bind(executor) as carrying:
        assert_type(carrying.submit(plain, "why?", retries=0).result(), Reply)
    bind(1)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    with outgoing_baggage() as nothing:
        assert_type(nothing, None)


def bound_coroutine() -> Awaitable[Reply]:
    return bind(decorated_coroutine)("why?")


# watch gives back the client, as what it is.


class Client:
    """A vendor's client."""

    def create(self, question: str) -> Reply:
        return plain(question)


def watched(client: Client) -> None:
    assert_type(watch(client), Client)
    assert_type(watch(client, account="team-a", provider="openai").create("why?"), Reply)
    watch(client, account=1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


# register_extractor returns what it decorates.


@register_extractor(Reply)
def read(reply: Reply) -> Usage | None:
    return Usage(input_tokens=reply.tokens_in, output_tokens=reply.tokens_out)


@register_extractor("my.package.Chunk")
class ChunkAccumulator:
    def __init__(self) -> None:
        self.last: Any = None

    def add(self, event: Any) -> None:
        self.last = event

    def reading(self) -> Reading | None:
        return None


def is_reply(response: object) -> bool:
    return hasattr(response, "tokens_in")


def extractors(reply: Reply) -> None:
    read_again: Callable[[Reply], Usage | None] = read
    assert_type(read(reply), Usage | None)
    assert_type(read_again(reply), Usage | None)
    assert_type(ChunkAccumulator, type[ChunkAccumulator])
    assert_type(register_extractor(Reply)({"input_tokens": "meta.tokens_in"}), dict[str, str])
    register_extractor(is_reply)(read)
    observe_llm(extractor=read)(plain)


# Usage: values that add up.


def usages(usage: Usage) -> None:
    assert_type(usage.input_tokens, int | None)
    assert_type(usage.output_tokens, int | None)
    assert_type(usage.cache_read_tokens, int | None)
    assert_type(usage.cache_write_tokens, int | None)
    assert_type(usage.reasoning_tokens, int | None)
    assert_type(usage + Usage(), Usage)
    usage.input_tokens = 1  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


# configure, session, flush and shutdown.


def tier_of(user: str) -> str | None:
    return "pro" if user.startswith("p") else None


def configuration() -> None:
    configured = llmwatch.configure(
        service_name="support-bot",
        meter_provider=None,
        port=0,
        host="127.0.0.1",
        labels={"tier": ["free", "pro"], "region": 20, "plan": Label(["free", "pro"], limit=2, mapper=tier_of)},
        label_limits={"feature": 50},
        baggage=["feature"],
        prices={"price": [{"model": "in-house-*", "free": True}]},
        semconv="legacy",
        auth=("user", "password"),
        tls=("cert.pem", "key.pem"),
        insecure=False,
        otlp=True,
        pushgateway="gateway:9091",
        worker_dir=None,
        live=False,
    )
    assert_type(configured, Configuration)
    assert_type(configured.url, str)
    assert_type(configured.port, int)
    assert_type(configured.close(), None)
    llmwatch.configure(semconv="newest")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    llmwatch.configure(labels={"tier": 1.5})  # type: ignore[dict-item]  # pyright: ignore[reportArgumentType]
    assert_type(llmwatch.flush(2), bool)
    assert_type(llmwatch.shutdown(timeout=2), None)
    assert_type(llmwatch.ErrorKind("rate_limit"), llmwatch.ErrorKind)


async def sessions() -> None:
    with llmwatch.session(service_name="import", timeout=2, pushgateway="gateway:9091") as configured:
        assert_type(configured, Configuration)
    async with llmwatch.session(port=0) as configured:
        assert_type(configured.port, int)
    llmwatch.session(ports=0)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
