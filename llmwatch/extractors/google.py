"""Google generateContent: the cache is inside the prompt; tool-use prompts and thoughts stand beside the totals."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from llmwatch.errors import ErrorKind
from llmwatch.extractors._assembled import Assembled, Sum, failure
from llmwatch.extractors._fields import dig, fields_of, get, items, label, number, text, total
from llmwatch.extractors._reading import Accumulator, Reading
from llmwatch.usage import Usage


class GenerateContent(Assembled):
    """generateContent of Gemini and Vertex, as JSON and as objects of the old and the new clients.

    A prompt that was blocked gets no candidates, and so no finish reason: it reads as an error.
    """

    api = "generateContent"
    provider = "gcp.gemini"

    def recognises(self, response: Any) -> bool:
        fields, cls = fields_of(response), type(response)
        if _OTHERS & fields.keys():
            return False
        return bool(_MARKS & fields.keys()) or (hasattr(cls, "candidates") and hasattr(cls, "prompt_feedback"))

    def recognises_event(self, event: Any) -> bool:
        return self.recognises(event)

    def read(self, response: Any) -> Reading:
        candidates, usage = field(response, "candidates"), field(response, "usage_metadata")
        ended = candidates.values() if isinstance(candidates, dict) else items(candidates)
        blocked = label(field(response, "prompt_feedback", "block_reason"))
        return Reading(
            provider=_platform(usage),
            model=text(field(response, "model_version")),
            usage=read_usage(usage),
            finish_reasons=tuple(reason for reason in map(_reason, ended) if reason),
            service_tier=text(field(usage, "service_tier")) or text(field(usage, "traffic_type")),
            error=ErrorKind.CONTENT_FILTER if blocked and blocked not in _UNSPECIFIED else None,
        )

    def absorb(self, whole: dict[str, Any], event: Any) -> None:
        """Chunks are whole responses; usage is cumulative, without counts (Vertex: a traffic type alone), or absent."""
        for name in ("model_version", "prompt_feedback"):
            value = field(event, name)
            if value is not None:
                whole[name] = value
        usage = field(event, "usage_metadata")
        if usage is not None and ("usage_metadata" not in whole or _says_counts(usage)):
            whole["usage_metadata"] = usage
        for position, candidate in enumerate(items(field(event, "candidates"))):
            if _reason(candidate):
                index = get(candidate, "index")
                whole.setdefault("candidates", {})[index if type(index) is int else position] = candidate


class GoogleEmbeddings:
    """Embeddings of Gemini (which states usage for its newer models only) and of Vertex, there for each text."""

    api = "google.embeddings"
    provider = "gcp.gemini"

    def recognises(self, response: Any) -> bool:
        fields = fields_of(response)
        single, many, predicted = (fields.get(name) for name in ("embedding", "embeddings", "predictions"))
        first = next(iter(items(many)), None)
        return "values" in fields_of(single) or "values" in fields_of(first) or bool(_predicted(predicted))

    def recognises_event(self, event: Any) -> bool:
        return False

    def read(self, response: Any) -> Reading:
        each = [*items(response, "embeddings"), *_predicted(get(response, "predictions"))]
        tokens = total(*(number(field(one, "statistics", "token_count")) for one in each))
        return Reading(
            provider=None if tokens is None else "gcp.vertex_ai",
            usage=read_usage(field(response, "usage_metadata")) or (None if tokens is None else Usage(tokens)),
            operation="embeddings",
        )

    def accumulator(self) -> Accumulator:
        return Sum(self.read)


class Live:
    """Live sessions: each turn states its own usage, and they add up."""

    api = "live"
    provider = "gcp.gemini"

    def recognises(self, response: Any) -> bool:
        return bool(_LIVE & fields_of(response).keys())

    def recognises_event(self, event: Any) -> bool:
        return self.recognises(event)

    def read(self, response: Any) -> Reading:
        usage = field(response, "usage_metadata")
        return Reading(
            provider=_platform(usage),
            usage=read_usage(usage),
            service_tier=text(field(usage, "service_tier")) or text(field(usage, "traffic_type")),
            error=failure(get(response, "error")),
        )

    def accumulator(self) -> Accumulator:
        return Sum(self.read)


def read_usage(usage: Any) -> Usage | None:
    """`usageMetadata`; `None` for one that counts nothing. Live sessions say `response…` for `candidates…`."""
    thoughts, made = _count(usage, "thoughts_token_count"), _count(usage, "candidates_token_count")
    inputs = total(_count(usage, "prompt_token_count"), _count(usage, "tool_use_prompt_token_count"))
    outputs = total(_count(usage, "response_token_count") if made is None else made, thoughts)
    if inputs is None and outputs is None:
        return None
    return Usage(
        input_tokens=inputs,
        output_tokens=outputs,
        cache_read_tokens=_count(usage, "cached_content_token_count"),
        reasoning_tokens=thoughts,
        **modalities(usage, _DETAILS, "token_count"),
    )


def modalities(usage: Any, lists: Mapping[str, tuple[str, ...]], tokens: str) -> dict[str, Any]:
    """The audio and image parts of a usage that lists, for each direction, the tokens of each modality."""
    parts: dict[str, Any] = {}
    for direction, names in lists.items():
        for entry in (entry for name in names for entry in items(field(usage, name))):
            part = f"{(text(entry, 'modality') or '').lower()}_{direction}_tokens"
            if part in _PARTS:
                parts[part] = total(parts.get(part), _count(entry, tokens))
    return parts


def field(source: Any, *names: str) -> Any:
    """The value at the end of a path of fields, which objects write `like_this` and JSON `likeThis`."""
    for name in names:
        value = get(source, name)
        source = get(source, _camel(name)) if value is None else value
    return source


_MARKS = frozenset("candidates usageMetadata promptFeedback prompt_feedback".split())
_LIVE = frozenset(
    "setupComplete setup_complete serverContent server_content toolCall toolCallCancellation goAway".split()
)
_OTHERS = _LIVE | {"embedding", "embeddings"}  # their answers may hold a `usageMetadata` too
_UNSPECIFIED = frozenset({"0", "FINISH_REASON_UNSPECIFIED", "BLOCKED_REASON_UNSPECIFIED", "BLOCK_REASON_UNSPECIFIED"})
_TOTALS = ("prompt_token_count", "candidates_token_count", "thoughts_token_count", "tool_use_prompt_token_count")
_PLACES = ("input", "output", "cache_read")
_PARTS = frozenset(f"{kind}_{place}_tokens" for kind in ("audio", "image") for place in _PLACES)
_DETAILS = {
    "input": ("prompt_tokens_details", "prompt_token_details", "tool_use_prompt_tokens_details"),
    "output": ("candidates_tokens_details", "response_tokens_details"),
    "cache_read": ("cache_tokens_details",),
}


@cache
def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(map(str.capitalize, others))


def _count(usage: Any, name: str) -> Any:
    return number(field(usage, name))


def _says_counts(usage: Any) -> bool:
    return any(_count(usage, name) is not None for name in _TOTALS)


def _reason(candidate: Any) -> str | None:
    reason = label(field(candidate, "finish_reason"))
    return None if reason in _UNSPECIFIED else reason


def _platform(usage: Any) -> str | None:
    """Vertex alone states a traffic type."""
    return "gcp.vertex_ai" if field(usage, "traffic_type") else None


def _predicted(predictions: Any) -> list[Any]:
    found = [get(one, "embeddings") for one in items(predictions)]
    return [one for one in found if dig(one, "statistics") is not None]
