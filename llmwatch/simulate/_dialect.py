"""What the vendors' dialects share: a request understood, an answer composed, and the pieces of it on the wire."""

from __future__ import annotations

import json
import math
import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from llmwatch.simulate._behaviour import Behaviour, Plan
from llmwatch.simulate._limits import LimitState, Shortage

Json = dict[str, Any]
Headers = dict[str, str]

_BASE62 = string.ascii_letters + string.digits
_WORDS = ("amber", "basin", "cedar", "delta", "ember", "fjord", "glade", "heron", "inlet", "jetty", "knoll", "larch")
# Fields of a prompt that are not text to be counted: names of parts, ids, binary data.
_OPAQUE = frozenset({"role", "type", "id", "tool_use_id", "tool_call_id", "call_id", "data", "media_type"})


class BadRequestError(Exception):
    """The request does not have the shape that the vendor's API asks for."""

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param


@dataclass(frozen=True, slots=True)
class Ask:
    """A request as the vendor understood it; `max_tokens` is the limit that it sets itself."""

    model: str
    prompt_tokens: int
    streamed: bool
    max_tokens: int | None
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Tokens:
    """Usage as inclusive totals; None is what the vendor does not say."""

    input: int | None = None
    output: int | None = None
    cache_read: int | None = None
    cache_write: int | None = None
    reasoning: int | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """A composed answer: the model it names, its tokens, placeholder words in pieces (one a chunk), the source of ids.

    `mark` is hexadecimal digits for an id that must come out the same twice.
    """

    ask: Ask
    model: str
    input: int
    output: int
    cache_read: int
    cache_write: int
    reasoning: int
    pieces: tuple[str, ...]
    truncated: bool
    created: int
    mark: str
    random: Random

    @property
    def text(self) -> str:
        return "".join(self.pieces)


@dataclass(frozen=True, slots=True)
class Frame:
    """One server-sent event; `tokens` are the usage that the stream has stated with it, `text` one that brings text."""

    data: bytes
    text: bool = False
    tokens: Tokens | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """An HTTP error in the vendor's own words."""

    status: int
    body: Json
    headers: Headers


@dataclass(frozen=True, slots=True)
class Complaint:
    """What an error message is made of, and what it asks for: a kind of `OUTCOMES`, the wait, the exhausted limit."""

    kind: str
    model: str
    request_id: str
    message: str | None = None
    param: str | None = None
    tokens: int = 0
    retry_after: float | None = None
    shortage: Shortage | None = None
    limit: LimitState | None = None


@dataclass(frozen=True, slots=True)
class Api:
    """One endpoint: how it reads a request, what it answers, and how an error looks in the middle of its stream."""

    name: str
    path: str
    read: Callable[[Json], Ask]
    plain: Callable[[Reply], tuple[Json, Tokens]]
    frames: Callable[[Reply], list[Frame]]
    interrupt: Callable[[Reply, Sequence[Frame], str], list[Frame]]
    interruption: str
    """The kind of the error that `interrupt` tells, one of `OUTCOMES`."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """One vendor: its endpoints, its errors, its headers, and which limits it counts."""

    provider: str
    apis: tuple[Api, ...]
    key_headers: frozenset[str]
    limits_told_on: frozenset[int]
    dated_models: Mapping[str, str]
    limits: Callable[[Behaviour], dict[str, float | None]]
    needs: Callable[[Reply], dict[str, float]]
    refuse: Callable[[Complaint], Refusal]
    headers: Callable[[str, Mapping[str, LimitState], float], Headers]
    request_id: Callable[[Random], str]


def compose(ask: Ask, model: str, behaviour: Behaviour, plan: Plan, random: Random, created: int) -> Reply:
    """Fill a plan with numbers and words; a visible token is a word."""
    prompt = max(1, round(ask.prompt_tokens * behaviour.prompt_scale))
    output = plan.answer_tokens if ask.max_tokens is None else min(plan.answer_tokens, ask.max_tokens)
    reasoning = int(output * behaviour.reasoning_share)
    words = [random.choice(_WORDS) for _ in range(output - reasoning)]
    step = behaviour.chunk_tokens
    pieces = [" ".join(words[at : at + step]) for at in range(0, len(words), step)]
    return Reply(
        ask=ask,
        model=model,
        input=prompt,
        output=output,
        cache_read=int(prompt * behaviour.cached_share),
        cache_write=int(prompt * behaviour.cache_write_share),
        reasoning=reasoning,
        pieces=tuple(f" {piece}" if at else piece for at, piece in enumerate(pieces)),
        truncated=output < plan.answer_tokens,
        created=created,
        mark=hexadecimal(random, 48),
        random=random,
    )


def sse(data: Json | str, event: str | None = None) -> bytes:
    """One server-sent event, with or without an `event:` line."""
    text = data if isinstance(data, str) else json.dumps(data, separators=(",", ":"), ensure_ascii=False)
    return (f"event: {event}\n" if event else "").encode() + f"data: {text}\n\n".encode()


def base62(random: Random, length: int) -> str:
    return "".join(random.choices(_BASE62, k=length))


def hexadecimal(random: Random, length: int) -> str:
    return f"{random.getrandbits(length * 4):0{length}x}"


def prompt_tokens(*parts: Any) -> int:
    """About 4 characters a token, over all text in the parts."""
    return math.ceil(sum(_characters(part) for part in parts) / 4)


def _characters(value: Any) -> int:
    if isinstance(value, str):
        return 0 if value.startswith("data:") else len(value)
    if isinstance(value, Mapping):
        return sum(_characters(item) for key, item in value.items() if key not in _OPAQUE)
    if isinstance(value, Sequence):
        return sum(_characters(item) for item in value)
    return 0


def required(body: Json, field: str, kind: type | tuple[type, ...]) -> Any:
    """The field's value; raises BadRequestError when it is missing or of another type."""
    if field not in body:
        raise BadRequestError(f"Missing required parameter: '{field}'.", field)
    value = body[field]
    if not isinstance(value, kind) or isinstance(value, bool):
        raise BadRequestError(f"Invalid type for '{field}'.", field)
    return value


def optional_count(body: Json, *fields: str) -> int | None:
    """The first of the fields that has a number; raises BadRequestError when that is no positive integer."""
    for field in fields:
        value = body.get(field)
        if value is None:
            continue
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise BadRequestError(f"Invalid '{field}': expected an integer of at least 1.", field)
        return value
    return None
