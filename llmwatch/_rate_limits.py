"""What response headers say about rate limits: each vendor's names as data, and one pure function over them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import AnyStr, NamedTuple


class Limit(NamedTuple):
    """One resource of which only so much may be used in a while.

    Attributes:
        resource: `requests`, `tokens`, `input_tokens` or `output_tokens`.
        limit: What is allowed; `None` where the vendor does not say.
        remaining: What is left of it; `None` where the vendor does not say.
    """

    resource: str
    limit: float | None
    remaining: float | None


# By resource, the vendors' headers; for `{}` they have `limit` and `remaining`. Pages as of 2026-11.
_HEADERS = {
    "requests": (
        # OpenAI: platform.openai.com/docs/guides/rate-limits. The same names have Azure OpenAI, xAI and DigitalOcean,
        # Groq (a day's requests: console.groq.com/docs/rate-limits), Fireworks and SambaNova.
        "x-ratelimit-{}-requests",
        "anthropic-ratelimit-requests-{}",  # platform.claude.com/docs/en/api/rate-limits
        "x-ratelimit-{}-req-minute",  # Mistral, as it answers: its pages do not list them
        "x-ratelimit-{}-requests-minute",  # Cerebras: inference-docs.cerebras.ai/support/rate-limits
        "x-ratelimit-{}-requests-hour",
        "x-ratelimit-{}-requests-day",  # and SambaNova: docs.sambanova.ai/docs/en/models/rate-limits
        "x-ratelimit-{}",  # OpenRouter (openrouter.ai/docs/api_reference/limits), Together
        "ratelimit-{}",  # draft-ietf-httpapi-ratelimit-headers-03, as gateways send them
    ),
    "tokens": (
        "x-ratelimit-{}-tokens",
        "x-ratelimit-{}-project-tokens",  # OpenAI, where a project has a limit of its own
        "anthropic-ratelimit-tokens-{}",
        "x-ratelimit-{}-tokens-minute",  # Cerebras, Mistral
        "x-ratelimit-{}-tokens-hour",
        "x-ratelimit-{}-tokens-day",
        "x-ratelimit-{}-tokens-per-minute",  # docs.digitalocean.com/products/inference/reference
        "x-ratelimit-{}-tokens-per-day",
        "x-tokenlimit-{}",  # Together, a second's worth: docs.together.ai/docs/rate-limits
        "ratelimitbysize-{}",  # Mistral until 2025
        "x-ratelimitbysize-{}-minute",
    ),
    "input_tokens": (
        "anthropic-ratelimit-input-tokens-{}",
        "x-ratelimit-{}-tokens-prompt",  # Fireworks: docs.fireworks.ai/serverless/rate-limits
        "x-ratelimit-{}-tokens-cache-adjusted-prompt",
    ),
    "output_tokens": (
        "anthropic-ratelimit-output-tokens-{}",
        "x-ratelimit-{}-tokens-generated",
    ),
}

_WINDOWS = [(resource, name) for resource, names in _HEADERS.items() for name in names]
_PLACES = {
    name.format(word): 2 * window + part
    for window, (_, name) in enumerate(_WINDOWS)
    for part, word in enumerate(("limit", "remaining"))
}

_DIGITS = 20
_SPELLINGS = 2000  # names of headers remembered as they come, so that most are looked at once
_spelled: dict[str | bytes, int | None] = {}


def limits_in(headers: Iterable[tuple[AnyStr, AnyStr]]) -> tuple[Limit, ...]:
    """The limits that these headers (`(name, value)`, text or bytes) tell of, one for each resource. Never raises.

    Of several windows of one resource (a minute's, a day's) it is the one of which the smallest share is left, for
    that one refuses first. What is no number, or negative (Azure's -1), has not been said.
    """
    seen = _spelled.get
    telling = [(place, value) for name, value in headers if (place := seen(name, name)) is not None]
    numbers: dict[int, float] = {}
    for place, value in telling:
        known = place if isinstance(place, int) else _place(place)
        if known is not None and (number := _number(value)) is not None:
            numbers[known] = number
    return _tightest(numbers) if numbers else ()


def _place(name: str | bytes) -> int | None:
    text = name.decode("latin-1") if isinstance(name, bytes) else name
    place = _PLACES.get(text.lower())
    if len(_spelled) < _SPELLINGS:
        _spelled[name] = place
    return place


def _number(value: str | bytes) -> float | None:
    if not isinstance(value, bytes):
        value = value.encode("ascii", "replace")
    value = value.strip()
    plain = len(value) <= _DIGITS and value.replace(b".", b"", 1).isdigit()
    return float(value) if plain else None


def _tightest(numbers: dict[int, float]) -> tuple[Limit, ...]:
    kept: dict[str, Limit] = {}
    for window in sorted({place // 2 for place in numbers}):
        resource = _WINDOWS[window][0]
        limit = Limit(resource, numbers.get(2 * window), numbers.get(2 * window + 1))
        known = kept.get(resource)
        if known is None or _share_left(limit) < _share_left(known):
            kept[resource] = limit
    return tuple(kept.values())


def _share_left(limit: Limit) -> float:
    """What is left, as a fraction; 1 where that is not known."""
    if limit.remaining is None:
        return 1.0
    if limit.limit:
        return limit.remaining / limit.limit
    return 1.0 if limit.remaining else 0.0
