"""The stage: simulated vendors with tempers of their own, and the real clients that talk to them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any, Self, TypeVar

import anthropic
import openai

from llmwatch import watch
from llmwatch.demo._application import Deployment, HelpDesk
from llmwatch.demo._backoffice import Backoffice
from llmwatch.demo._incidents import EMBEDDINGS, INCIDENTS, USUAL, Incident
from llmwatch.simulate import Behaviour, Served, Vendors

T = TypeVar("T")


class Stage:
    """The vendors, from `with` to the end of its block, and what goes wrong with them and with the application.

    Args:
        seed: What decides how the vendors answer, and which of their answers fail.
        rate: Calls of a model per second that the traffic makes.

    Attributes:
        backoffice: The application's other systems.
        incident: The name of what is going wrong at present beyond the everyday.
        by_hand: Whether somebody has begun or ended an incident, who is not to be interfered with.
    """

    def __init__(self, seed: int, rate: float) -> None:
        self._vendors = Vendors(seed, USUAL)
        self._embeddings = Vendors(seed, {"openai": EMBEDDINGS})
        self._rate = rate
        self._deployment = Deployment()
        self.backoffice = Backoffice()
        self.incident: str | None = None
        self.by_hand = False

    def __enter__(self) -> Self:
        self._vendors.start()
        self._embeddings.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._vendors.close()
        self._embeddings.close()

    @property
    def served(self) -> tuple[Served, ...]:
        """What the vendors did, request by request: the truth that the metrics should tell."""
        return self._vendors.served + self._embeddings.served

    @property
    def headline(self) -> str:
        """What is going wrong, in words; empty when nothing is."""
        return INCIDENTS[self.incident].headline if self.incident else ""

    def begin(self, name: str | None) -> None:
        """Lets an incident happen, or everything be as usual again."""
        incident = INCIDENTS[name] if name else Incident("")
        self.incident = name
        self._deployment = replace(Deployment(), **incident.deployed)
        for provider, behaviour in incident.behaviours(self._rate).items():
            self._vendors.set(provider, behaviour)

    def take_over(self, name: str | None) -> None:
        """As `begin`, for somebody who is not to be interfered with from now on."""
        self.by_hand = True
        self.begin(name)

    def break_off(self) -> None:
        """Ends whatever the vendors still do; who asks again is told not to."""
        closed = Behaviour(latency=0.0, faults={"permission": 1.0})
        for vendors in (self._vendors, self._embeddings):
            for provider in USUAL:
                vendors.set(provider, closed)
            vendors.hang_up()

    @asynccontextmanager
    async def help_desk(self) -> AsyncIterator[HelpDesk]:
        """The application, with clients that are watched, and closed after the block."""
        gpt, claude = self._vendors.openai_url, self._vendors.anthropic_url
        async with AsyncExitStack() as stack:
            enter, enter_async = stack.enter_context, stack.enter_async_context
            yield HelpDesk(
                openai=enter(_client(openai.OpenAI, gpt, openai.DefaultHttpxClient)),
                async_openai=await enter_async(_client(openai.AsyncOpenAI, gpt, openai.DefaultAsyncHttpxClient)),
                embeddings=enter(_client(openai.OpenAI, self._embeddings.openai_url, openai.DefaultHttpxClient)),
                anthropic=enter(_client(anthropic.Anthropic, claude, anthropic.DefaultHttpxClient)),
                async_anthropic=await enter_async(
                    _client(anthropic.AsyncAnthropic, claude, anthropic.DefaultAsyncHttpxClient)
                ),
                backoffice=self.backoffice,
                deployment=lambda: self._deployment,
            )


def _client(kind: Callable[..., T], url: str, http: Callable[..., Any]) -> T:
    client = kind(
        base_url=url,
        api_key="sk-simulated",
        timeout=4.0,
        max_retries=6,  # so many that a call outlasts a limit, which asks for waits of a second
        http_client=http(mounts={"all://127.0.0.1": None}),  # a proxy of the environment would be asked for it too
    )
    return watch(client, account=f"demo-{kind.__module__.partition('.')[0]}")
