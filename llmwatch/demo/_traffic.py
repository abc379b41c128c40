"""Traffic: visitors of the application, who come by chance, and not all of whom wait for their answer."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import cycle
from random import Random
from typing import Self

from llmwatch.demo._application import HelpDesk
from llmwatch.demo._stage import INCIDENTS, Stage

_CALM, _TROUBLE = 30.0, 12.0  # seconds without and with an incident
_THREADS = 64  # synchronous calls at a time

_QUESTIONS = (
    "How do I change the address of an order that has been shipped?",
    "Which plan includes single sign-on?",
    "My invoice of last month is too high, why is that?",
    "Can I get the raw data of my account as a file?",
)
_DOCUMENT = "The harbour office reports on berths, tides and the state of the quay. "


async def _chat(desk: HelpDesk, random: Random) -> None:
    async with await desk.chat(random.choice(_QUESTIONS)) as chunks:
        async for _ in chunks:
            pass


async def _chat_and_leave(desk: HelpDesk, random: Random) -> None:
    async with await desk.chat(random.choice(_QUESTIONS)) as chunks:
        for _ in range(3):
            await anext(chunks)


async def _chat_without_patience(desk: HelpDesk, random: Random) -> None:
    async with asyncio.timeout(random.uniform(0.15, 0.3)):
        await _chat(desk, random)


async def _chat_in_a_hurry(desk: HelpDesk, random: Random) -> None:
    await desk.chat(random.choice(_QUESTIONS), patience=0.05)


async def _search(desk: HelpDesk, random: Random) -> None:
    await asyncio.to_thread(desk.search, random.choice(_QUESTIONS))


async def _summarise(desk: HelpDesk, random: Random) -> None:
    await desk.summarise(_DOCUMENT * random.randint(2, 12))


async def _file(desk: HelpDesk, random: Random) -> None:
    await asyncio.to_thread(desk.triage, random.choice(_QUESTIONS))


async def _escalate(desk: HelpDesk, random: Random) -> None:
    await asyncio.to_thread(desk.escalate, random.choice(_QUESTIONS))


@dataclass(frozen=True, slots=True)
class _Visit:
    """What one visitor does, and how many calls of a model that makes."""

    make: Callable[[HelpDesk, Random], Awaitable[None]]
    calls: int = 1


# Dealt like cards, so that the rare ones come soon and in any short run.
_DECK = (
    *[_Visit(_chat)] * 13,
    *[_Visit(_search, calls=2)] * 6,
    *[_Visit(_summarise)] * 7,
    *[_Visit(_file)] * 7,
    *[_Visit(_escalate)] * 2,
    _Visit(_chat_and_leave),
    _Visit(_chat_without_patience),
    _Visit(_chat_in_a_hurry),
)


class Traffic:
    """Sends visitors from `with` until `close_doors()`; after the block nobody is inside any more.

    Args:
        stage: Where they go.
        seed: What decides who comes when.
        rate: Calls of a model per second, on average.
    """

    def __init__(self, stage: Stage, seed: int, rate: float) -> None:
        self._stage = stage
        self._random = Random(seed)
        self._rate = rate
        self._executor = ThreadPoolExecutor(1, "llmwatch-demo")
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop
        self._everything: asyncio.Task[None]
        self._doors_closed: asyncio.Event

    def __enter__(self) -> Self:
        self._run = self._executor.submit(self._run_loop)
        self._ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        if self.busy:
            with suppress(RuntimeError):  # it has ended this very moment
                self._loop.call_soon_threadsafe(self._everything.cancel)
            self._stage.close()
        self._executor.shutdown()
        self._run.result()

    @property
    def busy(self) -> bool:
        """Whether there are visitors, or more will come."""
        return not self._run.done()

    def close_doors(self) -> None:
        """Nobody comes any more; those who are inside get their answers."""
        if self.busy:
            with suppress(RuntimeError):  # likewise
                self._loop.call_soon_threadsafe(self._doors_closed.set)

    def _run_loop(self) -> None:
        with asyncio.Runner() as runner:
            self._loop = runner.get_loop()
            self._loop.set_default_executor(ThreadPoolExecutor(_THREADS, "llmwatch-demo-call"))
            self._doors_closed = asyncio.Event()
            with suppress(asyncio.CancelledError):
                runner.run(self._open())

    async def _open(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._everything = task
        self._ready.set()
        async with self._stage.help_desk() as desk:
            try:
                async with asyncio.TaskGroup() as inside:
                    await self._let_in(desk, inside)
            finally:  # the clients must outlive the threads that use them
                await self._loop.shutdown_default_executor()

    async def _let_in(self, desk: HelpDesk, inside: asyncio.TaskGroup) -> None:
        incidents = inside.create_task(self._incidents())
        due = self._loop.time()
        for visit in self._visitors():
            due += visit.calls * self._random.uniform(0.2, 1.8) / self._rate
            if await self._closed_by(due):
                break
            inside.create_task(_visited(visit, desk, Random(self._random.random())))
        incidents.cancel()

    def _visitors(self) -> Iterator[_Visit]:
        while True:
            yield from self._random.sample(_DECK, len(_DECK))

    async def _closed_by(self, due: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout_at(due):
                await self._doors_closed.wait()
        return self._doors_closed.is_set()

    async def _incidents(self) -> None:
        for incident in cycle(INCIDENTS):
            await asyncio.sleep(_CALM)
            self._stage.begin(incident)
            await asyncio.sleep(_TROUBLE)
            self._stage.begin(None)


async def _visited(visit: _Visit, desk: HelpDesk, random: Random) -> None:
    with suppress(Exception):  # the visitor is told to come back later
        await visit.make(desk, random)
