"""Tool: one way to observe calls, put around the same functions as all others; and the one that observes nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any, Protocol

import answers

Answering = Callable[[], Any]


def nothing() -> None:
    """What is to be done before or after a turn of a tool that has no such needs."""


@dataclass(frozen=True, slots=True)
class Functions:
    """The functions that call a model, each observed or not.

    Attributes:
        sync: Gives a whole answer.
        coroutine: The same, awaited.
        failing: Raises what the client raises when it has given up.
        stream: Given the chunks, returns the client's stream of them.
        async_stream: The same, awaited, for `async for`.
    """

    sync: Answering
    coroutine: Answering
    failing: Answering
    stream: Callable[[Any], Any]
    async_stream: Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Tool:
    """One way to observe calls.

    Attributes:
        name: As it stands in the table.
        records: What it records of a call.
        functions: What it makes of the functions.
        install: Puts it in place, before its turn.
        collect: What a scrape makes it do.
        lacks: The kinds of calls that it cannot observe: `sync`, `async`, `error`, `stream`.
        bare: The same functions unobserved, whose time is taken off; none for those themselves.
    """

    name: str
    records: str
    functions: Functions
    install: Callable[[], object] = nothing
    collect: Callable[[], object] = nothing
    lacks: frozenset[str] = frozenset()
    bare: Tool | None = None


def answer() -> Any:
    """A call that is answered at once."""
    return answers.completion()


async def answer_async() -> Any:
    """The same, awaited."""
    return answers.completion()


def refused() -> Any:
    """A call that fails at once."""
    raise answers.refusal()


def streamed(chunks: Any) -> Any:
    """A call that is answered by a stream."""
    return answers.stream(chunks)


async def streamed_async(chunks: Any) -> Any:
    """The same, asynchronous."""
    return answers.async_stream(chunks)


BARE = Tool("bare call", "nothing", Functions(answer, answer_async, refused, streamed, streamed_async))


async def _passed_on(chunks: Any) -> Any:
    return answers.passed_on_async(await streamed_async(chunks))


PASSED_ON = Tool(
    "bare, streams in a generator",
    "nothing",
    replace(BARE.functions, stream=lambda chunks: answers.passed_on(streamed(chunks)), async_stream=_passed_on),
    bare=BARE,
)


def with_bare(tools: Iterable[Tool]) -> list[Tool]:
    """The tools, after what they are measured against, each once."""
    tools = list(tools)
    return list({tool.name: tool for tool in [*(tool.bare for tool in tools if tool.bare), *tools]}.values())


class Recording(Protocol):
    """Lines that somebody wrote by hand, to be put around a call."""

    def opened(self) -> None:
        """A call has begun."""

    def answered(self, usage: Any, seconds: float) -> None:
        """It has been answered, and this is what it consumed."""

    def failed(self, error: Exception, seconds: float) -> None:
        """It has failed."""


def by_hand(recording: Recording) -> Functions:
    """The functions with lines of somebody's own around each call."""
    lines = _ByHand(recording)
    return Functions(lines.sync, lines.coroutine, lines.failing, lines.stream, lines.async_stream)


class _ByHand:
    def __init__(self, recording: Recording) -> None:
        self._recording = recording

    def sync(self) -> Any:
        self._recording.opened()
        began = perf_counter()
        try:
            response = answer()
        except Exception as error:
            self._recording.failed(error, perf_counter() - began)
            raise
        self._recording.answered(response.usage, perf_counter() - began)
        return response

    async def coroutine(self) -> Any:
        self._recording.opened()
        began = perf_counter()
        try:
            response = await answer_async()
        except Exception as error:
            self._recording.failed(error, perf_counter() - began)
            raise
        self._recording.answered(response.usage, perf_counter() - began)
        return response

    def failing(self) -> Any:
        self._recording.opened()
        began = perf_counter()
        try:
            return refused()
        except Exception as error:
            self._recording.failed(error, perf_counter() - began)
            raise

    def stream(self, chunks: Any) -> Iterator[Any]:
        self._recording.opened()
        began, usage = perf_counter(), None
        for chunk in streamed(chunks):
            if chunk.usage is not None:
                usage = chunk.usage
            yield chunk
        self._recording.answered(usage, perf_counter() - began)

    async def async_stream(self, chunks: Any) -> AsyncIterator[Any]:
        self._recording.opened()
        return self._counted(await streamed_async(chunks), perf_counter())

    async def _counted(self, stream: Any, began: float) -> AsyncIterator[Any]:
        usage = None
        async for chunk in stream:
            if chunk.usage is not None:
                usage = chunk.usage
            yield chunk
        self._recording.answered(usage, perf_counter() - began)
