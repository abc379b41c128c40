"""The phrases in providers' messages that make a vague error exact."""

from __future__ import annotations

import re

from ._rules import ErrorKind

_QUOTA = (
    "credit balance", "insufficient balance", "insufficient credit", "insufficient funds", "insufficient quota",
    "insufficient_quota", "enough credits", "out of credits", "any credits", "more credits", "credits are depleted",
    "billing hard limit", "billing_not_active", "account is not active", "api usage limits", "payment instrument",
    "payment_instrument", "payment method", "spending limit", "spend limit", "spending cap", "overdue-payment",
    "arrears", "exceeded its budget", "budget has been exceeded", "billing to be enabled",
)  # fmt: skip
_CONTENT_FILTER = (
    "content filter", "content_filter", "content management policy", "content policy", "content_policy",
    "safety system", "safety filter", "usage policy", "usage policies", "usage guidelines", "inappropriate content",
    "responsible ai", "flagged", "prohibited content", "prohibited_content", "requires moderation",
)  # fmt: skip
_AUTHENTICATION = (
    "incorrect api key", "invalid api key", "invalid api-key", "invalid_api_key", "api key not valid",
    "api key is invalid", "api key expired", "api key not found", "api key is missing", "invalid x-api-key",
    "invalid authentication", "invalid token provided", "expired token",
)  # fmt: skip
_CONTEXT_LENGTH = (
    "context length", "context_length", "context window", "context size", "context limit", "exceed context",
    "prompt is too long", "prompt too long", "prompt length", "input is too long", "input too long",
    "too many tokens", "too many input tokens", "input tokens exceed", "number of input tokens", "input token count",
    "maximum number of tokens", "token limit", "tokens limit", "exceeds maximum length", "`max_new_tokens` must be <=",
    "range of input length", "expected maxlength", "is too large to process",
)  # fmt: skip
_NOT_FOUND = (
    "not a valid model", "model identifier is invalid", "supported api model names", "unknown model",
    "model not found", "model not exist", "invalid model:", "invalid model id", "invalid model name",
)  # fmt: skip
_PERMISSION = (
    "location is not supported",
    "region is not supported",
    "country is not supported",
    "organization has been disabled",
)

_REFUSED = (
    (_QUOTA, ErrorKind.QUOTA),
    (_CONTENT_FILTER, ErrorKind.CONTENT_FILTER),
    (_AUTHENTICATION, ErrorKind.AUTHENTICATION),
    (_CONTEXT_LENGTH, ErrorKind.CONTEXT_LENGTH),
    (_NOT_FOUND, ErrorKind.NOT_FOUND),
    (_PERMISSION, ErrorKind.PERMISSION),
)
# What is already exact is only made more so where a vendor is known to say something else than it means.
_REFINEMENTS: dict[ErrorKind | None, tuple[tuple[tuple[str, ...], ErrorKind], ...]] = {
    None: _REFUSED,
    ErrorKind.INVALID_REQUEST: _REFUSED,
    ErrorKind.PERMISSION: _REFUSED[:2],
    ErrorKind.RATE_LIMIT: _REFUSED[:1],
    ErrorKind.SERVER_ERROR: ((_CONTEXT_LENGTH, ErrorKind.CONTEXT_LENGTH),),  # local servers
    ErrorKind.OVERLOADED: ((("failed to connect",), ErrorKind.CONNECTION),),  # gRPC's UNAVAILABLE
}

_MISSING_MODEL = re.compile(
    r"\bmodel:? ?[`'\"]?[\w./:@-]{1,200}[`'\"]? (?:does not exist|doesn't exist|(?:is |was )?not found)"
)


def refine(kind: ErrorKind | None, text: str, *, coded: bool) -> ErrorKind | None:
    """The kind that the message (in lower case) gives to an error that is `kind` by all other evidence.

    `coded`: a provider code said so. OpenAI's words for spent credit are also in Gemini's per-minute limits, whose
    code says `RESOURCE_EXHAUSTED`.
    """
    if not text:
        return kind
    for phrases, exact in _REFINEMENTS.get(kind, ()):
        for phrase in phrases:  # `any` with a generator would take twice as long
            if phrase in text:
                return exact
    if "model" in text and kind in (None, ErrorKind.INVALID_REQUEST) and _MISSING_MODEL.search(text):
        return ErrorKind.NOT_FOUND
    if not coded and kind is ErrorKind.RATE_LIMIT and "exceeded your current quota" in text:
        return ErrorKind.QUOTA
    return kind
