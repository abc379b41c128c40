"""What the observed functions answer: objects of the real openai client, made once, so that no call waits for a vendor.

Read by all that is measured, the other tools included, with whichever version of the client they stand.
"""

from __future__ import annotations

import random
import sys
from collections.abc import AsyncIterator, Iterator
from itertools import cycle
from typing import Any

import openai
from openai.types.chat import ChatCompletion, ChatCompletionChunk

MODEL = "gpt-4o-mini"
ANSWERED_BY = "gpt-4o-mini-2024-07-18"
REQUEST: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "Which way to the harbour?"}]}
CHUNKS = 200  # of an ordinary stream
FEW = 20  # of the short one, by whose side the cost of a chunk is told from that of a stream

USAGE: dict[str, Any] = {
    "prompt_tokens": 1000,
    "completion_tokens": 200,
    "total_tokens": 1200,
    "prompt_tokens_details": {"cached_tokens": 300, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
}
BODY: dict[str, Any] = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1_795_000_000,
    "model": ANSWERED_BY,
    "service_tier": "default",
    "choices": [
        {
            "index": 0,
            "finish_reason": "stop",
            "logprobs": None,
            "message": {"role": "assistant", "content": "To the left, and down the stairs.", "refusal": None},
        }
    ],
    "usage": USAGE,
}
_random = random.Random(0)


def _completion(number: int) -> ChatCompletion:
    asked, answered = _random.randint(300, 3000), _random.randint(10, 500)
    counted = {"prompt_tokens": asked, "completion_tokens": answered, "total_tokens": asked + answered}
    return ChatCompletion.model_validate({**BODY, "id": f"chatcmpl-{number}", "usage": {**USAGE, **counted}})


_completions = cycle([_completion(number) for number in range(50)])  # few enough to be as near as one just parsed


def completion() -> ChatCompletion:
    """An answer; the next one has consumed other numbers of tokens, as answers do."""
    return next(_completions)


_HTTP: Any = sys.modules.get("httpx2") or sys.modules["httpx"]  # openai 3 speaks through the one, 2 through the other
_REFUSED = _HTTP.Response(429, json={}, request=_HTTP.Request("POST", "https://api.openai.com/v1/chat/completions"))
_WHY = {"message": "Rate limit reached", "type": "requests", "param": None, "code": "rate_limit_exceeded"}


def refusal() -> openai.RateLimitError:
    """What the client raises when it has given up."""
    return openai.RateLimitError("Rate limit reached", response=_REFUSED, body=_WHY)


def chunks(number: int) -> list[ChatCompletionChunk]:
    """So many chunks, of which the last one but one tells the finish reason, and the last one the usage."""
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}, *({"content": " left"},) * (number - 3), {}]
    bodies = [_chunk({"index": 0, "delta": delta, "finish_reason": None}) for delta in deltas]
    bodies[-1]["choices"][0]["finish_reason"] = "stop"
    return [ChatCompletionChunk.model_validate(body) for body in [*bodies, {**_chunk(), "usage": USAGE}]]


def _chunk(*choices: dict[str, Any]) -> dict[str, Any]:
    return {**BODY, "object": "chat.completion.chunk", "choices": list(choices), "usage": None}


def stream(ready: list[ChatCompletionChunk]) -> Any:
    """The client's own stream, whose chunks are there already."""
    made = object.__new__(openai.Stream)
    made.response, made._iterator = NOTHING, iter(ready)
    return made


def async_stream(ready: list[ChatCompletionChunk]) -> Any:
    """The same of the asynchronous client."""
    made = object.__new__(openai.AsyncStream)
    made.response, made._iterator = NOTHING, Ready(ready)
    return made


class Ready:
    """An async iterator over chunks that never waits."""

    def __init__(self, ready: list[ChatCompletionChunk]) -> None:
        self._chunks = iter(ready)

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        try:
            return next(self._chunks)
        except StopIteration:
            raise StopAsyncIteration from None


class Nothing:
    """A connection that is closed already."""

    is_closed = True

    def close(self) -> None:
        pass

    async def aclose(self) -> None:
        pass


NOTHING: Any = Nothing()


def passed_on(answer: Iterator[Any]) -> Iterator[Any]:
    """The least that can be around a stream: a generator that sees each chunk."""
    for chunk in answer:  # noqa: UP028 - `yield from` would not see them
        yield chunk


async def passed_on_async(answer: AsyncIterator[Any]) -> AsyncIterator[Any]:
    """The same of an asynchronous one."""
    async for chunk in answer:
        yield chunk
