"""The vendor taken away from the real client: its calls get what is ready, at once, whatever tool has wrapped them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_origin

import answers
import openai
import tools
from openai.resources.chat.completions import AsyncCompletions, Completions
from tools import Functions, Tool


class Vendor:
    """What comes back from the vendor: what is ready, at once.

    Attributes:
        respond: Gives the answer of the next call.
        chunks: The chunks of the next stream.
    """

    respond: Callable[[], Any] = staticmethod(tools.answer)
    chunks: Any = None


def _create(completions: Any, **request: Any) -> Any:
    return answers.stream(Vendor.chunks) if request.get("stream") else Vendor.respond()


async def _create_async(completions: Any, **request: Any) -> Any:
    return answers.async_stream(Vendor.chunks) if request.get("stream") else Vendor.respond()


def _request(client: Any, *_: object, stream: bool = False, stream_cls: Any = None, **__: object) -> Any:
    return _of_class(stream_cls) if stream else Vendor.respond()


async def _request_async(client: Any, *_: object, stream: bool = False, stream_cls: Any = None, **__: object) -> Any:
    return _of_class(stream_cls) if stream else Vendor.respond()


def _of_class(stream_class: Any) -> Any:
    """A stream of the class that the client was asked for."""
    made = object.__new__(get_origin(stream_class) or stream_class)
    made.response, made._iterator = answers.NOTHING, made.__stream__()
    return made


def no_vendor(*, below_create: bool) -> Tool:
    """Takes the vendor away: either `create` itself gives what is ready, or only the request that it would make.

    Returns:
        The bare call that remains, which no tool that comes now can observe.
    """
    if below_create:
        openai.OpenAI.request, openai.AsyncOpenAI.request = _request, _request_async  # type: ignore[assignment]
        openai.Stream.__stream__ = lambda _: iter(Vendor.chunks)  # type: ignore[assignment]
        openai.AsyncStream.__stream__ = lambda _: answers.Ready(Vendor.chunks)  # type: ignore[assignment]
        functions = through(Unobserved(api_key="none"), UnobservedAsync(api_key="none"))
    else:
        Completions.create, AsyncCompletions.create = _create, _create_async  # type: ignore[assignment]
        functions = through(*usual())
    return Tool("bare call of the client", "nothing", functions)


class Unobserved(openai.OpenAI):
    """A client that is left as it is, whatever a tool does to the usual one."""

    request = _request


class UnobservedAsync(openai.AsyncOpenAI):
    """The same, asynchronous."""

    request = _request_async


_STREAMED = {**answers.REQUEST, "stream": True, "stream_options": {"include_usage": True}}


def through(client: openai.OpenAI, asynchronous: openai.AsyncOpenAI) -> Functions:
    """The functions, each a call of a client's `create`, which does all that it does but send the request."""
    create, create_async = client.chat.completions.create, asynchronous.chat.completions.create

    def sync() -> Any:
        Vendor.respond = tools.answer
        return create(**answers.REQUEST)

    async def coroutine() -> Any:
        Vendor.respond = tools.answer
        return await create_async(**answers.REQUEST)

    def failing() -> Any:
        Vendor.respond = tools.refused
        return create(**answers.REQUEST)

    def stream(chunks: Any) -> Any:
        Vendor.chunks = chunks
        return create(**_STREAMED)

    async def async_stream(chunks: Any) -> Any:
        Vendor.chunks = chunks
        return await create_async(**_STREAMED)

    return Functions(sync, coroutine, failing, stream, async_stream)


def usual() -> tuple[openai.OpenAI, openai.AsyncOpenAI]:
    """The clients that a program has."""
    return openai.OpenAI(api_key="none"), openai.AsyncOpenAI(api_key="none")
