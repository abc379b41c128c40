"""OpenAI's errors: statuses, types, codes and texts, and the wait that a 429 asks for."""

from __future__ import annotations

import math

from llmwatch.simulate._dialect import Complaint, Headers, Json, Refusal

BROKEN_OFF = "The server had an error while processing your request. Sorry about that!"
_NO_QUOTA = (
    "You exceeded your current quota, please check your plan and billing details. For more information on this error, "
    "read the docs: https://platform.openai.com/docs/guides/error-codes/api-errors."
)
# kind: status, type, param, code, message
_ERRORS: dict[str, tuple[int, str, str | None, str | None, str]] = {
    "rate_limit": (429, "requests", None, "rate_limit_exceeded", "Rate limit reached for {model}{detail}."),
    "quota": (429, "insufficient_quota", None, "insufficient_quota", _NO_QUOTA),
    "invalid_request": (400, "invalid_request_error", None, None, "Invalid request."),
    "context_length": (
        400,
        "invalid_request_error",
        "messages",
        "context_length_exceeded",
        "Your input exceeds the context window of this model. Please adjust your input and try again.",
    ),
    "authentication": (
        401,
        "invalid_request_error",
        None,
        "invalid_api_key",
        "Incorrect API key provided. You can find your API key at https://platform.openai.com/account/api-keys.",
    ),
    "permission": (403, "invalid_request_error", None, None, "You are not allowed to use this model"),
    "not_found": (
        404,
        "invalid_request_error",
        None,
        "model_not_found",
        "The model `{model}` does not exist or you do not have access to it.",
    ),
    "server_error": (500, "server_error", None, None, BROKEN_OFF),
    "overloaded": (503, "server_error", None, None, "The engine is currently overloaded, please try again later"),
}


def error_body(kind: str, message: str, param: str | None = None, type_: str | None = None) -> Json:
    _, known_type, known_param, code, _ = _ERRORS[kind]
    return {"message": message, "type": type_ or known_type, "param": param or known_param, "code": code}


def refuse(complaint: Complaint) -> Refusal:
    status, _, _, _, text = _ERRORS[complaint.kind]
    shortage = complaint.shortage
    message = complaint.message or text.format(model=complaint.model, detail=_detail(complaint))
    body = {"error": error_body(complaint.kind, message, complaint.param, shortage.resource if shortage else None)}
    headers: Headers = {}
    if complaint.retry_after is not None:
        headers["retry-after-ms"] = f"{math.ceil(complaint.retry_after * 1000)}"
        headers["retry-after"] = f"{math.ceil(complaint.retry_after)}"
    return Refusal(status, body, headers)


def _detail(complaint: Complaint) -> str:
    wait = f" Please try again in {duration(complaint.retry_after or 0.0)}"
    if complaint.shortage is None or complaint.limit is None:
        return f" on requests per min (RPM).{wait}"
    name = "requests per min (RPM)" if complaint.shortage.resource == "requests" else "tokens per min (TPM)"
    asked = 1 if complaint.shortage.resource == "requests" else complaint.tokens
    used = complaint.limit.limit - complaint.limit.remaining
    return f" on {name}: Limit {complaint.limit.limit}, Used {used}, Requested {asked}.{wait}"


def duration(seconds: float) -> str:
    """As in OpenAI's reset headers: `0s`, `6ms`, `22.564s`, `1m3.57s`, `14m24s`."""
    if seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms" if seconds > 0 else "0s"
    minutes, rest = divmod(round(seconds, 3), 60)
    return (f"{minutes:.0f}m" if minutes else "") + f"{round(rest, 3):g}s"
