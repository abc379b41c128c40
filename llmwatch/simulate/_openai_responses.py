"""OpenAI's responses API, plain and as a stream of typed, numbered events."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count

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

_IN_TEXT = {"output_index": 0, "content_index": 0}


def _read(body: Json) -> Ask:
    return Ask(
        model=required(body, "model", str),
        prompt_tokens=prompt_tokens(required(body, "input", (str, list)), body.get("instructions"), body.get("tools")),
        streamed=body.get("stream") is True,
        max_tokens=optional_count(body, "max_output_tokens"),
        body=body,
    )


def _usage(reply: Reply) -> tuple[Json, Tokens]:
    usage = {
        "input_tokens": reply.input,
        "input_tokens_details": {"cache_write_tokens": reply.cache_write, "cached_tokens": reply.cache_read},
        "output_tokens": reply.output,
        "output_tokens_details": {"reasoning_tokens": reply.reasoning},
        "total_tokens": reply.input + reply.output,
    }
    return usage, Tokens(reply.input, reply.output, reply.cache_read, reply.cache_write, reply.reasoning)


def _opening(reply: Reply) -> Json:
    """The response object while it is in progress."""
    body = reply.ask.body
    return {
        "id": f"resp_{reply.mark}",
        "object": "response",
        "created_at": reply.created,
        "status": "in_progress",
        "background": False,
        "completed_at": None,
        "error": None,
        "frequency_penalty": 0.0,
        "incomplete_details": None,
        "instructions": body.get("instructions"),
        "max_output_tokens": reply.ask.max_tokens,
        "max_tool_calls": None,
        "model": reply.model,
        "output": [],
        "parallel_tool_calls": True,
        "presence_penalty": 0.0,
        "previous_response_id": None,
        "prompt_cache_key": None,
        "prompt_cache_retention": None,
        "reasoning": {"effort": None, "summary": None},
        "safety_identifier": None,
        "service_tier": "auto",
        "store": True,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}, "verbosity": "medium"},
        "tool_choice": "auto",
        "tools": body.get("tools") or [],
        "top_logprobs": 0,
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": None,
        "user": None,
        "metadata": {},
    }


def _ending(reply: Reply, opening: Json, item: Json, usage: Json) -> Json:
    ended: Json = {"output": [item], "service_tier": "default", "usage": usage}
    if reply.truncated:
        return {**opening, **ended, "status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
    return {**opening, **ended, "status": "completed", "completed_at": reply.created}


def _part(text: str) -> Json:
    return {"type": "output_text", "annotations": [], "logprobs": [], "text": text}


def _item(item_id: str, status: str, content: list[Json]) -> Json:
    return {"id": item_id, "type": "message", "status": status, "content": content, "role": "assistant"}


def _finished_item(reply: Reply, item_id: str) -> Json:
    return _item(item_id, "incomplete" if reply.truncated else "completed", [_part(reply.text)])


def _plain(reply: Reply) -> tuple[Json, Tokens]:
    usage, tokens = _usage(reply)
    opening = _opening(reply)
    item = _finished_item(reply, f"msg_{hexadecimal(reply.random, 48)}")
    return _ending(reply, opening, item, usage), tokens


def _event(kind: str, number: int, **fields: object) -> bytes:
    return sse({"type": kind, **fields, "sequence_number": number}, kind)


def _frames(reply: Reply) -> list[Frame]:
    usage, tokens = _usage(reply)
    opening = _opening(reply)
    item_id = f"msg_{hexadecimal(reply.random, 48)}"
    numbers = count(2)
    begun = _item(item_id, "in_progress", [])
    done = _finished_item(reply, item_id)
    ending = _ending(reply, opening, done, usage)
    kind = f"response.{ending['status']}"
    return [
        Frame(_event("response.created", 0, response=opening)),
        Frame(_event("response.in_progress", 1, response=opening)),
        Frame(_event("response.output_item.added", next(numbers), item=begun, output_index=0)),
        *_text_frames(reply, item_id, numbers),
        Frame(_event("response.output_item.done", next(numbers), item=done, output_index=0)),
        Frame(_event(kind, next(numbers), response=ending), tokens=tokens),
    ]


def _text_frames(reply: Reply, item_id: str, numbers: Iterator[int]) -> Iterator[Frame]:
    where = {**_IN_TEXT, "item_id": item_id}
    yield Frame(_event("response.content_part.added", next(numbers), **where, part=_part("")))
    for piece in reply.pieces:
        more = {"delta": piece, "logprobs": [], "obfuscation": base62(reply.random, reply.random.randint(1, 16))}
        yield Frame(_event("response.output_text.delta", next(numbers), **where, **more), text=True)
    yield Frame(_event("response.output_text.done", next(numbers), **where, logprobs=[], text=reply.text))
    yield Frame(_event("response.content_part.done", next(numbers), **where, part=_part(reply.text)))


def _interrupt(reply: Reply, sent: Sequence[Frame], _request_id: str) -> list[Frame]:
    error = error_body("server_error", BROKEN_OFF)
    failed = {**_opening(reply), "status": "failed", "error": {"code": "server_error", "message": BROKEN_OFF}}
    return [
        Frame(_event("error", len(sent), error={**error, "code": "server_error"})),
        Frame(_event("response.failed", len(sent) + 1, response=failed)),
    ]


RESPONSES = Api("responses", "/v1/responses", _read, _plain, _frames, _interrupt, "server_error")
