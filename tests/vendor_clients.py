"""The vendors' own client libraries: how each is asked for a response that a loopback server replays."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from inspect import isawaitable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from corpus_rules import Item

MESSAGES = [{"role": "user", "content": "Hi"}]


class Transports:
    """HTTP clients for the vendors' clients to share; making one costs more than many requests."""

    def __init__(self) -> None:
        self._made: dict[tuple[str, str], Any] = {}

    def of(self, library: str, *, asynchronous: bool) -> Any:
        """The client of `httpx` or `httpx2` for either kind of program."""
        name = "AsyncClient" if asynchronous else "Client"
        if (library, name) not in self._made:
            self._made[library, name] = getattr(importlib.import_module(library), name)(verify=False)
        return self._made[library, name]

    def close(self) -> None:
        """Closes those of synchronous programs."""
        for (_, name), client in self._made.items():
            if name == "Client":
                client.close()

    async def aclose(self) -> None:
        """Closes those of asynchronous programs."""
        for (_, name), client in self._made.items():
            if name == "AsyncClient":
                await client.aclose()


Make = Callable[[Transports, str, bool], Any]
Ask = Callable[[Any, "Item"], Any]


@dataclass(frozen=True)
class Way:
    """One way to ask through a client, and to read what comes.

    Attributes:
        name: The client, and what of it is used.
        module: What has to be installed.
        make: Makes a client for a base URL, of a synchronous or an asynchronous program.
        reads: Which items it is to read.
        ask: Sends the request; an asynchronous client may give an awaitable.
        events: Where in the answer the events of a stream are.
        taking: How an entered stream is read: iterated, or by an attribute or method of this name.
        enters: Whether the answer is a manager that gives the stream.
        kinds: Whether there is a client for asynchronous programs too.
    """

    name: str
    module: str
    make: Make
    reads: Callable[[Item], object]
    ask: Ask
    events: Callable[[Any], Any] | None = None
    taking: str = ""
    enters: bool = False
    kinds: tuple[bool, ...] = (False, True)

    def client(self, transports: Transports, url: str, *, asynchronous: bool = False) -> Any:
        """A client; the test is skipped where the library is not installed."""
        pytest.importorskip(self.module, exc_type=ImportError)
        return self.make(transports, url, asynchronous)

    def read(self, answer: Any, item: Item) -> None:
        """Reads a stream to its end, as a program would; a whole answer is there already."""
        if self.enters:
            with answer as stream:
                _take(stream, self.taking)
        elif item["streaming"]:
            _take(self.events(answer) if self.events is not None else answer, self.taking)

    async def aread(self, answer: Any, item: Item) -> None:
        """The same in an asynchronous program."""
        if self.enters:
            async with answer as stream:
                await _atake(stream, self.taking)
        elif item["streaming"]:
            await _atake(answer, self.taking)


def _take(stream: Any, taking: str) -> None:
    taken = getattr(stream, taking) if taking else stream
    for _ in [taken()] if callable(taken) and taking else taken:
        pass


async def _atake(stream: Any, taking: str) -> None:
    taken = getattr(stream, taking) if taking else stream
    if callable(taken) and taking:
        await taken()
        return
    async for _ in taken:
        pass


def _is(*cells: str, streaming: bool | None = None) -> Callable[[Item], bool]:
    """Whether an item is of one of these cells (`*/chat.completions`, `groq/*`), streamed or not where that is said."""
    split = [cell.split("/") for cell in cells]

    def wanted(item: Item) -> bool:
        place = (item["provider"], item["api"])
        found = any(all(part in ("*", own) for part, own in zip(cell, place, strict=True)) for cell in split)
        return found and streaming in (None, item["streaming"])

    return wanted


def _stainless(module: str, cls: str, transport: str, path: str = "", **options: Any) -> Make:
    """A client of the family that openai, anthropic and groq are of."""

    def make(transports: Transports, url: str, asynchronous: bool) -> Any:
        made = getattr(importlib.import_module(module), f"Async{cls}" if asynchronous else cls)
        http = transports.of(transport, asynchronous=asynchronous)
        return made(base_url=url + path, http_client=http, max_retries=0, **options)

    return make


def _model(item: Item) -> str:
    return item["request_model"] or "unknown"


def _openai(client: Any, item: Item) -> Any:
    """The call of the openai client for an interface."""
    streaming = {"stream": True} if item["streaming"] else {}
    chosen: dict[str, tuple[Any, dict[str, Any]]] = {
        "chat": (client.chat.completions.create, {"messages": MESSAGES}),
        "chat.completions": (client.chat.completions.create, {"messages": MESSAGES}),
        "completions": (client.completions.create, {"prompt": "Hi"}),
        "embeddings": (client.embeddings.create, {"input": "Hi"}),
        "responses": (client.responses.create, {"input": "Hi"}),
        "responses.compact": (client.responses.compact, {"input": "Hi"}),
        "count_tokens": (client.responses.input_tokens.count, {"input": "Hi"}),
        "images": (client.images.generate, {"prompt": "Hi"}),
        "models": (lambda model: client.models.retrieve(model), {}),
        "moderations": (client.moderations.create, {"input": "Hi"}),
        "audio.transcriptions": (client.audio.transcriptions.create, {"file": ("a.wav", b"-")}),
        "audio.translations": (client.audio.translations.create, {"file": ("a.wav", b"-")}),
    }
    call, arguments = chosen[item["api"]]
    return call(model=_model(item), **arguments, **streaming)


def _openai_run(client: Any, item: Item) -> Any:
    with pytest.warns(DeprecationWarning, match="Assistants API"):
        return client.beta.threads.runs.create("thread_1", assistant_id="asst_1", stream=item["streaming"])


def _openai_raw(client: Any, item: Item) -> Any:
    if item["api"] == "responses":
        return client.responses.with_raw_response.create(model=_model(item), input="Hi")
    return client.chat.completions.with_raw_response.create(model=_model(item), messages=MESSAGES)


def _openai_parse(client: Any, item: Item) -> Any:
    if item["api"] == "responses":
        return client.responses.parse(model=_model(item), input="Hi")
    return client.chat.completions.parse(model=_model(item), messages=MESSAGES)


def _openai_stream(client: Any, item: Item) -> Any:
    if item["api"] == "responses":
        return client.responses.stream(model=_model(item), input="Hi")
    return client.chat.completions.stream(model=_model(item), messages=MESSAGES)


_make_openai = _stainless("openai", "OpenAI", "httpx2", "/v1", api_key="k")
_OPENAI_APIS = (
    "audio.transcriptions chat.completions completions count_tokens embeddings images models moderations responses "
    "responses.compact"
).split()
_OPENAI = (*(f"*/{api}" for api in _OPENAI_APIS), "openai/audio.translations", "writer/chat")
_FOREIGN = _is("anthropic/*", "cohere/*", "gemini/*", "vertex/*", "bedrock/*")
_PARSED = ("openai/chat.completions", "openai/responses", "azure/chat.completions", "azure/responses")


def _openai_way(name: str, reads: Callable[[Item], object], ask: Ask, **reading: Any) -> Way:
    return Way(name, "openai", _make_openai, lambda item: reads(item) and not _FOREIGN(item), ask, **reading)


OPENAI = [
    _openai_way("openai", _is(*_OPENAI), _openai),
    _openai_way("openai runs", _is("openai/threads.runs"), _openai_run),
    _openai_way("openai raw", _is("*/chat.completions", "*/responses", streaming=False), _openai_raw),
    _openai_way("openai parse", _is(*_PARSED, streaming=False), _openai_parse),
    _openai_way("openai stream helper", _is("*/chat.completions", "*/responses", streaming=True), _openai_stream,
                enters=True),
    _openai_way("openai stream helper, final", _is("*/chat.completions", streaming=True), _openai_stream,
                enters=True, taking="get_final_completion"),
    _openai_way("openai stream helper, final response", _is("*/responses", streaming=True), _openai_stream,
                enters=True, taking="get_final_response"),
]  # fmt: skip


def _anthropic(client: Any, item: Item, resource: str = "create") -> Any:
    if item["api"] == "count_tokens":
        return client.messages.count_tokens(model=_model(item), messages=MESSAGES)
    streaming = {"stream": True} if item["streaming"] and resource != "stream" else {}
    messages = client.messages.with_raw_response if resource == "raw" else client.messages
    ask = getattr(messages, "create" if resource == "raw" else resource)
    return ask(model=_model(item), max_tokens=9, messages=MESSAGES, **streaming)


_make_anthropic = _stainless("anthropic", "Anthropic", "httpx2", api_key="k")
_MESSAGES = ("anthropic/messages", "vertex/messages")


def _anthropic_way(name: str, reads: Callable[[Item], object], resource: str, **reading: Any) -> Way:
    return Way(name, "anthropic", _make_anthropic, reads, partial(_anthropic, resource=resource), **reading)


_vertex = {"region": "us-east5", "project_id": "p", "access_token": "t"}
_aws = {"aws_access_key": "k", "aws_secret_key": "s", "aws_region": "us-east-1"}


def _anthropic_on_bedrock(client: Any, item: Item) -> Any:
    return client.messages.create(model="m", max_tokens=9, messages=MESSAGES, stream=item["streaming"])


ANTHROPIC = [
    _anthropic_way("anthropic", _is(*_MESSAGES, "anthropic/count_tokens"), "create"),
    _anthropic_way("anthropic raw", _is(*_MESSAGES, streaming=False), "raw"),
    _anthropic_way("anthropic stream helper", _is(*_MESSAGES, streaming=True), "stream", enters=True),
    _anthropic_way("anthropic stream helper, texts", _is(*_MESSAGES, streaming=True), "stream",
                   enters=True, taking="text_stream"),
    _anthropic_way("anthropic stream helper, final", _is(*_MESSAGES, streaming=True), "stream",
                   enters=True, taking="get_final_message"),
    Way("anthropic on vertex", "google.auth", _stainless("anthropic", "AnthropicVertex", "httpx2", **_vertex),
        _is("vertex/messages"), _anthropic_on_bedrock),
    Way("anthropic on bedrock", "botocore", _stainless("anthropic", "AnthropicBedrock", "httpx2", **_aws),
        lambda item: item["api"] == "invoke_model" and "anthropic." in _model(item), _anthropic_on_bedrock),
]  # fmt: skip

WAYS = [*OPENAI, *ANTHROPIC]
