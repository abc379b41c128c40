"""The application that the demo watches, and the example to copy from: a help desk with agents, tools and guards.

Nothing here knows that the vendors are simulated; the clients come configured, as in any application.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from anthropic import Anthropic, AsyncAnthropic
from anthropic.lib.streaming import AsyncMessageStreamManager
from anthropic.types import Message
from openai import AsyncOpenAI, AsyncStream, OpenAI, Stream, Timeout
from openai.types import CreateEmbeddingResponse
from openai.types.chat import ChatCompletionChunk, ChatCompletionMessageParam
from openai.types.responses import ResponseStreamEvent

from llmwatch import attribute, observe_agent, observe_llm, observe_tool, record_guard, track_request
from llmwatch.demo._backoffice import Backoffice

# With its date, as the answers name it: so a call that fails counts for the same model as one that is answered.
GPT = "gpt-4o-mini-2024-07-18"
DEAR_GPT = "gpt-4o-2024-08-06"
EMBEDDING = "text-embedding-3-small"
CLAUDE = "claude-sonnet-4-6"


class RefusedError(Exception):
    """A guard has refused what a visitor asks."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """What changes with a deployment, for better or worse.

    Attributes:
        turns_kept: How much of its history a chat sends along; all of it with `None`.
        research_rounds: How often the researcher searches before it is content.
        triage_model: What sorts the tickets.
    """

    turns_kept: int | None = 2
    research_rounds: int = 1
    triage_model: str = GPT


@dataclass(frozen=True)
class HelpDesk:
    """Chats, searches the handbook, summarises documents and sorts tickets."""

    openai: OpenAI
    async_openai: AsyncOpenAI
    embeddings: OpenAI
    anthropic: Anthropic
    async_anthropic: AsyncAnthropic
    backoffice: Backoffice
    deployment: Callable[[], Deployment]

    @attribute(feature="chat")
    async def chat(self, question: str, patience: float | None = None) -> AsyncStream[ChatCompletionChunk]:
        """The answer as a stream.

        Raises:
            RefusedError: When the question must not go to a vendor.
        """
        self._screen(question)
        client = self.async_openai
        if patience is not None:  # of the visitor: to ask again would take longer
            client = client.with_options(timeout=Timeout(4.0, read=patience), max_retries=0)
        return await self._reply(client, question)

    @observe_llm(feature="chat", provider="openai", model=GPT)
    async def _reply(self, client: AsyncOpenAI, question: str) -> AsyncStream[ChatCompletionChunk]:
        """A stream that is returned: the call lasts until its last chunk is read, or its reader leaves."""
        return await client.chat.completions.create(
            model=GPT,
            messages=[*self._history(), {"role": "user", "content": question}],
            stream=True,
            stream_options={"include_usage": True},  # or OpenAI does not say what a stream consumed
        )

    def _history(self) -> list[ChatCompletionMessageParam]:
        turns = self.backoffice.earlier_turns(self.deployment().turns_kept)
        return [
            {"role": "assistant", "content": turn} if place % 2 else {"role": "user", "content": turn}
            for place, turn in enumerate(turns)
        ]

    @attribute(feature="search")
    def search(self, question: str) -> str:
        """An answer from the handbook.

        Raises:
            RefusedError: When the question must not go to a vendor.
        """
        self._screen(question)
        answer = self._research(question)
        with record_guard("grounding", stage="output") as guard:
            if not self.backoffice.grounded(answer):
                guard.reject()
                answer = "The handbook does not say."
        return answer

    @observe_agent("researcher")
    def _research(self, question: str) -> str:
        """Whatever is called inside, a tool's own calls of a model included, is this agent's."""
        answer, passages = "", list[str]()
        for _ in range(self.deployment().research_rounds):
            passages += self._search_handbook(question)
            events = self._conclude(question, passages)
            answer = "".join(event.delta for event in events if event.type == "response.output_text.delta")
        return answer

    @observe_tool("search_handbook")
    def _search_handbook(self, question: str) -> list[str]:
        self._embed(question)
        return self.backoffice.passages(question)

    @observe_llm(feature="search", provider="openai", model=EMBEDDING, operation="embeddings")
    def _embed(self, text: str) -> CreateEmbeddingResponse:
        return self.embeddings.embeddings.create(model=EMBEDDING, input=text)

    @observe_llm(feature="search", provider="openai", model=GPT)
    def _conclude(self, question: str, passages: list[str]) -> Stream[ResponseStreamEvent]:
        return self.openai.responses.create(model=GPT, input="\n".join([*passages, question]), stream=True)

    @attribute(feature="summarise")
    @observe_agent("writer")
    async def summarise(self, document: str) -> str:
        """A vendor's stream helper: it is used as always, and observed all the same."""
        async with self._draft(await self._house_style(), document) as stream:
            return "".join([text async for text in stream.text_stream])

    @observe_tool("house_style")
    async def _house_style(self) -> str:
        return await self.backoffice.house_style()

    @observe_llm(feature="summarise", provider="anthropic", model=CLAUDE)
    def _draft(self, style: str, document: str) -> AsyncMessageStreamManager[None]:
        return self.async_anthropic.messages.stream(
            model=CLAUDE, max_tokens=1024, system=style, messages=[{"role": "user", "content": f"Sum up:\n{document}"}]
        )

    @attribute(feature="triage")
    def triage(self, ticket: str, *, urgent: bool = False) -> str:
        """The queue that a ticket belongs to."""
        text = self.backoffice.redacted(ticket)
        record_guard("pii", "allowed" if text == ticket else "redacted", "input")
        try:
            order = self._look_up_order(text)
        except LookupError:
            order = "No order."
        return self._judge(f"{text}\n{order}") if urgent else self._sort(f"{text}\n{order}")

    @observe_tool("look_up_order")
    def _look_up_order(self, ticket: str) -> str:
        return self.backoffice.order(ticket)

    def _sort(self, ticket: str) -> str:
        """A block instead of a decorator: for a call that is no function of its own, or whose model is not fixed."""
        model = self.deployment().triage_model
        with track_request(feature="triage", provider="openai", model=model) as request:
            completion = self.openai.chat.completions.create(
                model=model, messages=[{"role": "user", "content": f"Sort:\n{ticket}"}]
            )
            request.observe(completion)
        return completion.choices[0].message.content or ""

    def _judge(self, ticket: str) -> str:
        message = self._ask_claude(f"Judge:\n{ticket}")
        return "".join(block.text for block in message.content if block.type == "text")

    @observe_llm(feature="triage", provider="anthropic", model=CLAUDE)
    def _ask_claude(self, text: str) -> Message:
        """A client that retries: its attempts and their waits are one call."""
        return self.anthropic.messages.create(
            model=CLAUDE, max_tokens=1024, messages=[{"role": "user", "content": text}]
        )

    def _screen(self, question: str) -> None:
        with record_guard("pii", stage="input") as guard:
            if self.backoffice.personal(question):
                guard.reject()
                raise RefusedError("Please ask without addresses.")
