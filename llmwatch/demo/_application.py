"""The application that the demo watches, and the example to copy from: a help desk with four features and two agents.

Nothing here knows that the vendors are simulated; the clients come configured, as in any application.
"""

from __future__ import annotations

from dataclasses import dataclass

from anthropic import Anthropic, AsyncAnthropic
from anthropic.lib.streaming import AsyncMessageStreamManager
from openai import AsyncOpenAI, AsyncStream, OpenAI, Stream
from openai.types import CreateEmbeddingResponse
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import ResponseStreamEvent

from llmwatch import attribute, observe_llm, track_request

# With its date, as the answers name it: so a call that fails counts for the same model as one that is answered.
GPT = "gpt-4o-mini-2024-07-18"
EMBEDDING = "text-embedding-3-small"
CLAUDE = "claude-sonnet-4-6"


@dataclass(frozen=True)
class HelpDesk:
    """Chats, searches the handbook, summarises documents and sorts tickets."""

    openai: OpenAI
    async_openai: AsyncOpenAI
    embeddings: OpenAI
    anthropic: Anthropic
    async_anthropic: AsyncAnthropic

    @observe_llm(feature="chat", provider="openai", model=GPT)
    async def chat(self, question: str, patience: float = 4.0) -> AsyncStream[ChatCompletionChunk]:
        """A stream that is returned: the call lasts until its last chunk is read, or its reader leaves."""
        return await self.async_openai.chat.completions.create(
            model=GPT,
            messages=[{"role": "user", "content": question}],
            stream=True,
            stream_options={"include_usage": True},  # or OpenAI does not say what a stream consumed
            timeout=patience,
        )

    @attribute(agent="researcher")
    def search(self, question: str) -> str:
        """Two calls on behalf of one agent; the second is a stream that is read right here."""
        self._embed(question)
        events = self._conclude(question)
        return "".join(event.delta for event in events if event.type == "response.output_text.delta")

    @observe_llm(feature="search", provider="openai", model=EMBEDDING, operation="embeddings")
    def _embed(self, text: str) -> CreateEmbeddingResponse:
        return self.embeddings.embeddings.create(model=EMBEDDING, input=text)

    @observe_llm(feature="search", provider="openai", model=GPT)
    def _conclude(self, question: str) -> Stream[ResponseStreamEvent]:
        return self.openai.responses.create(model=GPT, input=question, stream=True)

    async def summarise(self, document: str) -> str:
        """A vendor's stream helper: it is used as always, and observed all the same."""
        with attribute(agent="writer"):
            async with self._draft(document) as stream:
                return "".join([text async for text in stream.text_stream])

    @observe_llm(feature="summarise", provider="anthropic", model=CLAUDE)
    def _draft(self, document: str) -> AsyncMessageStreamManager[None]:
        return self.async_anthropic.messages.stream(
            model=CLAUDE, max_tokens=1024, messages=[{"role": "user", "content": f"Summarise:\n{document}"}]
        )

    @observe_llm(feature="triage", provider="openai", model=GPT)
    def triage(self, ticket: str) -> ChatCompletion:
        """A client that retries: its attempts and their waits are one call."""
        patient = self.openai.with_options(max_retries=3)
        return patient.chat.completions.create(model=GPT, messages=[{"role": "user", "content": f"Sort:\n{ticket}"}])

    def escalate(self, ticket: str) -> str:
        """A block instead of a decorator, for a call that is no function of its own."""
        with track_request(feature="triage", provider="anthropic", model=CLAUDE) as request:
            message = self.anthropic.messages.create(
                model=CLAUDE, max_tokens=1024, messages=[{"role": "user", "content": f"Judge:\n{ticket}"}]
            )
            request.observe(message)
        return "".join(block.text for block in message.content if block.type == "text")
