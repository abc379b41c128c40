"""Ways to ask through vendors' client libraries, and to read what comes as a program would."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from corpus_rules import Item


class Transports:
    """HTTP clients for the vendors' clients to share; making one costs more than many requests."""

    def __init__(self) -> None:
        self._made: dict[str, Any] = {}

    def of(self, library: str, *, asynchronous: bool) -> Any:
        """The client of `httpx` or `httpx2` for either kind of program."""
        name = "AsyncClient" if asynchronous else "Client"
        return self.once(f"{library}.{name}", lambda: getattr(importlib.import_module(library), name)(verify=False))

    def once(self, name: str, make: Callable[[], Any]) -> Any:
        """A client that is made the first time."""
        if name not in self._made:
            self._made[name] = make()
        return self._made[name]

    def forget_all(self) -> Iterator[Any]:
        """Hands all of them out, to be closed."""
        while self._made:
            yield self._made.popitem()[1]


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

    @property
    def is_installed(self) -> bool:
        """Whether the library is there."""
        try:
            return importlib.util.find_spec(self.module) is not None
        except ModuleNotFoundError:
            return False

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


def cells(*named: str, streaming: bool | None = None) -> Callable[[Item], bool]:
    """Whether an item is of one of these cells (`*/chat.completions`, `groq/*`), streamed or not where that is said."""
    split = [cell.split("/") for cell in named]

    def wanted(item: Item) -> bool:
        place = (item["provider"], item["api"])
        found = any(all(part in ("*", own) for part, own in zip(cell, place, strict=True)) for cell in split)
        return found and streaming in (None, item["streaming"])

    return wanted
