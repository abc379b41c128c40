"""Traffic: visitors of the application, who come by chance over HTTP, and not all of whom wait for their answer."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import cycle
from random import Random
from typing import Any, Self

from httpx2 import AsyncClient, HTTPError, Limits

from llmwatch.demo._incidents import INCIDENTS
from llmwatch.demo._stage import Stage

_CALM, _TROUBLE = 30.0, 12.0  # seconds without and with an incident
_PATIENCE = 60.0  # seconds of a visitor: longer than the application needs in any incident

_QUESTIONS = (
    "How do I change the address of an order that has been shipped?",
    "Which plan includes single sign-on?",
    "My invoice of last month is too high, why is that?",
    "Can I get the raw data of my account as a file?",
)
_TICKETS = (
    "The parcel of order #4711 has a dent, what now?",
    "Order #1337 came without its second half.",
    "I never got a confirmation at ada@example.org for order #2042!",
    "Nothing has come so far, and I do not know why.",
)
_DOCUMENT = "The harbour office reports on berths, tides and the state of the quay. "


@dataclass(frozen=True, slots=True)
class _Visit:
    """What one visitor asks, how many calls of a model that makes, and after how many pieces the visitor leaves."""

    path: str
    ask: Callable[[Random], dict[str, Any]]
    calls: int = 1
    stay: int | None = None

    async def make(self, client: AsyncClient, random: Random) -> str:
        """The HTTP status of the answer, or `left`."""
        async with client.stream("POST", self.path, json=self.ask(random)) as answer:
            pieces = 0
            async for _ in answer.aiter_raw():
                pieces += 1
                if pieces == self.stay:
                    return "left"
            return str(answer.status_code)


def _question(**how: Any) -> Callable[[Random], dict[str, Any]]:
    return lambda random: {"text": random.choice(_QUESTIONS), **how}


def _ticket(**how: Any) -> Callable[[Random], dict[str, Any]]:
    return lambda random: {"text": random.choice(_TICKETS), **how}


# Dealt like cards, so that the rare ones come soon and in any short run.
_DECK = (
    *[_Visit("/chat", _question())] * 12,
    *[_Visit("/search", _question(), calls=2)] * 6,
    *[_Visit("/summaries", lambda random: {"text": _DOCUMENT * random.randint(2, 12)})] * 7,
    *[_Visit("/tickets", _ticket())] * 7,
    *[_Visit("/tickets", _ticket(urgent=True))] * 2,
    _Visit("/chat", _question(), stay=3),
    _Visit("/chat", _question(brief=True)),
    _Visit("/chat", _question(patience=0.05)),
    _Visit("/chat", lambda _: {"text": "Will you write to ada@example.org?"}, calls=0),
)


@dataclass(frozen=True, slots=True)
class Plan:
    """What goes wrong when: an incident after so many seconds; with `None` each in turn, with calm between them."""

    incident: str | None = None
    after: float = _CALM


class Traffic:
    """Sends visitors from `with` until `close_doors()`; after the block nobody is inside any more.

    Args:
        stage: Whose incidents are begun and ended.
        url: Where the application is.
        seed: What decides who comes when.
        rate: Calls of a model per second, on average.
        plan: What goes wrong when.

    Attributes:
        visits: How many visitors got what, by path and HTTP status; `left` for those who did not stay to the end.
    """

    def __init__(self, stage: Stage, url: str, seed: int, rate: float, plan: Plan) -> None:
        self.visits: Counter[tuple[str, str]] = Counter()
        self._stage = stage
        self._url = url
        self._random = Random(seed)
        self._rate = rate
        self._plan = plan
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
            self._stage.break_off()
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
            self._doors_closed = asyncio.Event()
            with suppress(asyncio.CancelledError):
                runner.run(self._open())

    async def _open(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._everything = task
        self._ready.set()
        limits = Limits(max_connections=None, max_keepalive_connections=None)
        async with (
            AsyncClient(base_url=self._url, timeout=_PATIENCE, limits=limits, trust_env=False) as client,
            asyncio.TaskGroup() as inside,
        ):
            await self._let_in(client, inside)

    async def _let_in(self, client: AsyncClient, inside: asyncio.TaskGroup) -> None:
        course = inside.create_task(self._course())
        due = self._loop.time()
        for visit in self._visits():
            due += visit.calls * self._random.uniform(0.2, 1.8) / self._rate
            if await self._closed_by(due):
                break
            inside.create_task(self._visited(visit, client, Random(self._random.random())))
        course.cancel()

    def _visits(self) -> Iterator[_Visit]:
        while True:
            yield from self._random.sample(_DECK, len(_DECK))

    async def _closed_by(self, due: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout_at(due):
                await self._doors_closed.wait()
        return self._doors_closed.is_set()

    async def _visited(self, visit: _Visit, client: AsyncClient, random: Random) -> None:
        status = "left"
        try:
            status = await visit.make(client, random)
        except HTTPError:  # the application has broken off
            return
        finally:
            self.visits[visit.path, status] += 1

    async def _course(self) -> None:
        """What goes wrong by itself, unless somebody takes the incidents into their own hands."""
        names = [self._plan.incident] if self._plan.incident else cycle(INCIDENTS)
        for name in names:
            await asyncio.sleep(self._plan.after)
            self._unless_by_hand(name)
            if not self._plan.incident:
                await asyncio.sleep(_TROUBLE)
                self._unless_by_hand(None)

    def _unless_by_hand(self, name: str | None) -> None:
        if not self._stage.by_hand:
            self._stage.begin(name)
