"""OpenAI's chat completions and embeddings, plain and as a stream."""

from __future__ import annotations

import base64
import math
from array import array
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from llmwatch.simulate._dialect import (
    Api,
    Ask,
    Frame,
    Json,
    Reply,
    Tokens,
    base62,
    hexadecimal,
    optional_count,
    prompt_tokens,
    required,
    sse,
)
from llmwatch.simulate._openai_errors import BROKEN_OFF, error_body

_DONE = Frame(sse("[DONE]"))
_MESSAGE_OVERHEAD = 3  # tokens that frame each chat message


def _read_chat(body: Json) -> Ask:
    messages = required(body, "messages", list)
    return Ask(
        model=required(body, "model", str),
        prompt_tokens=prompt_tokens(messages, body.get("tools")) + _MESSAGE_OVERHEAD * len(messages),
        streamed=body.get("stream") is True,
        max_tokens=optional_count(body, "max_completion_tokens", "max_tokens"),
        body=body,
    )


def _chat_usage(reply: Reply) -> tuple[Json, Tokens]:
    # The API names cache writes only for models that bill them.
    written = {"cache_write_tokens": reply.cache_write} if reply.cache_write else {}
    usage = {
        "prompt_tokens": reply.input,
        "completion_tokens": reply.output,
        "total_tokens": reply.input + reply.output,
        "prompt_tokens_details": {"cached_tokens": reply.cache_read, **written, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": reply.reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }
    return usage, Tokens(reply.input, reply.output, reply.cache_read, reply.cache_write or None, reply.reasoning)


def _finish(reply: Reply) -> str:
    return "length" if reply.truncated else "stop"


def _chat(reply: Reply) -> tuple[Json, Tokens]:
    usage, tokens = _chat_usage(reply)
    message: Json = {"role": "assistant", "content": reply.text, "refusal": None, "annotations": []}
    body = {
        "id": f"chatcmpl-{base62(reply.random, 29)}",
        "object": "chat.completion",
        "created": reply.created,
        "model": reply.model,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": _finish(reply)}],
        "usage": usage,
        "service_tier": "default",
        "system_fingerprint": f"fp_{hexadecimal(reply.random, 10)}",
    }
    return body, tokens


def _chat_frames(reply: Reply) -> list[Frame]:
    options = reply.ask.body.get("stream_options")
    options = options if isinstance(options, Mapping) else {}
    counted = options.get("include_usage") is True
    head = {
        "id": f"chatcmpl-{base62(reply.random, 29)}",
        "object": "chat.completion.chunk",
        "created": reply.created,
        "model": reply.model,
        "service_tier": "default",
        "system_fingerprint": f"fp_{hexadecimal(reply.random, 10)}",
    }

    def chunk(choices: list[Json], usage: Json | None = None) -> bytes:
        tail: Json = {"usage": usage} if counted else {}
        if options.get("include_obfuscation") is not False:
            tail["obfuscation"] = base62(reply.random, reply.random.randint(1, 16))
        return sse({**head, "choices": choices, **tail})

    def choice(delta: Json, finish: str | None = None) -> list[Json]:
        return [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]

    frames = [Frame(chunk(choice({"role": "assistant", "content": "", "refusal": None})))]
    frames += [Frame(chunk(choice({"content": piece})), text=True) for piece in reply.pieces]
    frames.append(Frame(chunk(choice({}, _finish(reply)))))
    if counted:
        usage, tokens = _chat_usage(reply)
        frames.append(Frame(chunk([], usage), tokens=tokens))
    return [*frames, _DONE]


def _interrupt(_reply: Reply, _sent: Sequence[Frame], _request_id: str) -> list[Frame]:
    return [Frame(sse({"error": error_body("server_error", BROKEN_OFF)}))]


def _read_embeddings(body: Json) -> Ask:
    texts = required(body, "input", (str, list))
    return Ask(
        model=required(body, "model", str),
        prompt_tokens=sum(_embedding_tokens(item) for item in _inputs(texts)),
        streamed=False,
        max_tokens=None,
        body=body,
    )


def _inputs(value: Any) -> list[Any]:
    """The texts or token lists of one embeddings request: a text, texts, tokens, or lists of tokens."""
    return value if isinstance(value, list) and value and not isinstance(value[0], int) else [value]


def _embedding_tokens(item: Any) -> int:
    return len(item) if isinstance(item, list) else prompt_tokens(item)


def _embeddings(reply: Reply) -> tuple[Json, Tokens]:
    body = reply.ask.body
    size = optional_count(dict(body), "dimensions") or (3072 if reply.ask.model.endswith("-large") else 1536)
    as_text = body.get("encoding_format") == "base64"
    vectors = [_vector(reply.random, size) for _ in _inputs(body["input"])]
    data = [
        {"object": "embedding", "index": at, "embedding": base64.b64encode(it).decode() if as_text else it.tolist()}
        for at, it in enumerate(vectors)
    ]
    usage = {"prompt_tokens": reply.input, "total_tokens": reply.input}
    return {"object": "list", "data": data, "model": reply.model, "usage": usage}, Tokens(input=reply.input)


def _vector(random: Random, size: int) -> array[float]:
    bound = math.sqrt(3.0 / size)  # makes the expected length 1
    return array("f", [random.uniform(-bound, bound) for _ in range(size)])


def _no_frames(_reply: Reply) -> list[Frame]:
    return []


CHAT = Api("chat", "/v1/chat/completions", _read_chat, _chat, _chat_frames, _interrupt, "server_error")
EMBEDDINGS = Api("embeddings", "/v1/embeddings", _read_embeddings, _embeddings, _no_frames, _interrupt, "server_error")
