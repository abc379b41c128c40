"""Anthropic's dialect: messages, plain and as a stream of typed events, errors, headers and limits."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from llmwatch.simulate._behaviour import Behaviour
from llmwatch.simulate._dialect import (
    Api,
    Ask,
    BadRequestError,
    Complaint,
    Dialect,
    Frame,
    Headers,
    Json,
    Refusal,
    Reply,
    Tokens,
    base62,
    optional_count,
    prompt_tokens,
    required,
    sse,
)
from llmwatch.simulate._limits import LimitState

# Aliases and what the API answered for them in recorded responses of 2025 and 2026; names from claude-sonnet-4-6 on
# are answered as they are.
_DATED_MODELS = {
    "claude-3-5-haiku-latest": "claude-3-5-haiku-20241022",
    "claude-sonnet-4-0": "claude-sonnet-4-20250514",
    "claude-opus-4-1": "claude-opus-4-1-20250805",
    "claude-sonnet-4-5": "claude-sonnet-4-5-20250929",
    "claude-haiku-4-5": "claude-haiku-4-5-20251001",
    "claude-opus-4-5": "claude-opus-4-5-20251101",
}
_CONTEXT_WINDOW = 200_000
_MESSAGE_OVERHEAD = 3  # tokens that frame each message
_NO_CREDIT = (
    "Your credit balance is too low to access the Anthropic API. "
    "Please go to Plans & Billing to upgrade or purchase credits."
)
# kind: status, type, whether a retry can help, message
_ERRORS: dict[str, tuple[int, str, bool, str]] = {
    "rate_limit": (429, "rate_limit_error", True, "This request would exceed your organization's rate limit{detail}."),
    "quota": (400, "invalid_request_error", False, _NO_CREDIT),
    "invalid_request": (400, "invalid_request_error", False, "messages.0: Input does not match the expected shape."),
    "context_length": (
        400,
        "invalid_request_error",
        False,
        "prompt is too long: {tokens} tokens > {window} maximum",
    ),
    "authentication": (401, "authentication_error", False, "invalid x-api-key"),
    "permission": (
        403,
        "permission_error",
        False,
        "Your API key does not have permission to use the specified resource.",
    ),
    "not_found": (404, "not_found_error", False, "model: {model}"),
    "server_error": (500, "api_error", True, "Internal server error"),
    "overloaded": (529, "overloaded_error", True, "Overloaded"),
}


def _read(body: Json) -> Ask:
    try:
        messages = required(body, "messages", list)
        model = required(body, "model", str)
        required(body, "max_tokens", int)
        limit = optional_count(body, "max_tokens")
    except BadRequestError as bad:
        raise BadRequestError(f"{bad.param}: Field required" if bad.param not in body else bad.message) from None
    text = prompt_tokens(messages, body.get("system"), body.get("tools"))
    return Ask(
        model=model,
        prompt_tokens=text + _MESSAGE_OVERHEAD * len(messages),
        streamed=body.get("stream") is True,
        max_tokens=limit,
        body=body,
    )


def _input_usage(reply: Reply) -> Json:
    return {
        "input_tokens": reply.input - reply.cache_read - reply.cache_write,
        "cache_creation_input_tokens": reply.cache_write,
        "cache_read_input_tokens": reply.cache_read,
    }


def _usage(reply: Reply, output: int) -> Json:
    return {
        **_input_usage(reply),
        "cache_creation": {"ephemeral_5m_input_tokens": reply.cache_write, "ephemeral_1h_input_tokens": 0},
        "output_tokens": output,
        "service_tier": "standard",
        "inference_geo": "not_available",
    }


def _thinking(reply: Reply) -> Json:
    # The API names thinking tokens only for models that think.
    return {"output_tokens_details": {"thinking_tokens": reply.reasoning}} if reply.reasoning else {}


def _tokens(reply: Reply) -> Tokens:
    return Tokens(reply.input, reply.output, reply.cache_read, reply.cache_write, reply.reasoning or None)


def _stop(reply: Reply) -> Json:
    reason = "max_tokens" if reply.truncated else "end_turn"
    return {"stop_reason": reason, "stop_sequence": None, "stop_details": None}


def _message(reply: Reply, content: list[Json], stop: Json, usage: Json) -> Json:
    return {
        "model": reply.model,
        "id": f"msg_01{base62(reply.random, 22)}",
        "type": "message",
        "role": "assistant",
        "content": content,
        **stop,
        "usage": usage,
    }


def _plain(reply: Reply) -> tuple[Json, Tokens]:
    content = [{"type": "text", "text": reply.text}]
    return _message(reply, content, _stop(reply), {**_usage(reply, reply.output), **_thinking(reply)}), _tokens(reply)


def _event(kind: str, **fields: object) -> bytes:
    return sse({"type": kind, **fields}, kind)


def _frames(reply: Reply) -> list[Frame]:
    first = min(reply.output, reply.random.randint(1, 8))  # message_start counts what is there already
    unstopped: Json = {"stop_reason": None, "stop_sequence": None, "stop_details": None}
    start = _message(reply, [], unstopped, _usage(reply, first))
    started = Tokens(reply.input, first, reply.cache_read, reply.cache_write)
    last = {**_input_usage(reply), "output_tokens": reply.output, **_thinking(reply)}
    return [
        Frame(_event("message_start", message=start), tokens=started),
        Frame(_event("content_block_start", index=0, content_block={"type": "text", "text": ""})),
        Frame(_event("ping")),
        *(
            Frame(_event("content_block_delta", index=0, delta={"type": "text_delta", "text": piece}), text=True)
            for piece in reply.pieces
        ),
        Frame(_event("content_block_stop", index=0)),
        Frame(_event("message_delta", delta=_stop(reply), usage=last), tokens=_tokens(reply)),
        Frame(_event("message_stop")),
    ]


def _error(kind: str, message: str, request_id: str) -> Json:
    _, type_, _, _ = _ERRORS[kind]
    details = {"details": None} if kind == "overloaded" else {}
    return {"type": "error", "error": {**details, "type": type_, "message": message}, "request_id": request_id}


def _interrupt(_reply: Reply, _sent: Sequence[Frame], request_id: str) -> list[Frame]:
    return [Frame(sse(_error("overloaded", "Overloaded", request_id), "error"))]


def _refuse(complaint: Complaint) -> Refusal:
    status, _, helps, text = _ERRORS[complaint.kind]
    detail = ""
    if complaint.shortage is not None and complaint.limit is not None:
        detail = f" of {complaint.limit.limit} {complaint.shortage.resource.replace('_', ' ')} per minute"
    # A scripted fault has to make sense whatever was sent.
    sizes = {"tokens": _CONTEXT_WINDOW + complaint.tokens, "window": _CONTEXT_WINDOW}
    message = complaint.message or text.format(model=complaint.model, detail=detail, **sizes)
    headers = {"x-should-retry": "true" if helps else "false"}
    if complaint.retry_after is not None:
        headers["retry-after"] = _whole_seconds(complaint)
    return Refusal(status, _error(complaint.kind, message, complaint.request_id), headers)


def _whole_seconds(complaint: Complaint) -> str:
    # The vendor sends whole seconds; a configured wait below one stays as it is, so that tests need not wait.
    wait = complaint.retry_after or 0.0
    return f"{wait:g}" if complaint.shortage is None else f"{max(1, math.ceil(wait))}"


def _headers(request_id: str, states: Mapping[str, LimitState], _seconds: float) -> Headers:
    headers = {"request-id": request_id}
    for resource, state in _with_sum(states).items():
        reset = datetime.now(UTC) + timedelta(seconds=math.ceil(state.reset))
        name = f"anthropic-ratelimit-{resource.replace('_', '-')}"
        headers[f"{name}-limit"] = f"{state.limit}"
        headers[f"{name}-remaining"] = f"{state.remaining}"
        headers[f"{name}-reset"] = reset.strftime("%Y-%m-%dT%H:%M:%SZ")
    return headers


def _with_sum(states: Mapping[str, LimitState]) -> dict[str, LimitState]:
    """With `tokens`, which in the vendor's headers is the sum of the input's and the output's limits."""
    parts = [state for resource, state in states.items() if resource != "requests"]
    if len(parts) < 2:
        return dict(states)
    total = LimitState(sum(it.limit for it in parts), sum(it.remaining for it in parts), max(it.reset for it in parts))
    return {**states, "tokens": total}


def _limits(behaviour: Behaviour) -> dict[str, float | None]:
    return {
        "requests": behaviour.requests_per_minute,
        "input_tokens": behaviour.input_tokens_per_minute,
        "output_tokens": behaviour.output_tokens_per_minute,
    }


def _needs(reply: Reply) -> dict[str, float]:
    # Input read from the cache does not count towards the limit.
    return {"requests": 1, "input_tokens": reply.input - reply.cache_read, "output_tokens": reply.output}


ANTHROPIC = Dialect(
    provider="anthropic",
    apis=(Api("messages", "/v1/messages", _read, _plain, _frames, _interrupt, "overloaded"),),
    key_headers=frozenset({"x-api-key", "authorization"}),
    limits_told_on=frozenset({200, 429}),
    dated_models=_DATED_MODELS,
    limits=_limits,
    needs=_needs,
    refuse=_refuse,
    headers=_headers,
    request_id=lambda random: f"req_011C{base62(random, 20)}",
)
