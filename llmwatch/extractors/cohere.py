"""Cohere: `tokens` are what ran; `billed_units`, smaller and without preamble, stand in where they lack."""

from __future__ import annotations

from typing import Any

from llmwatch.errors import ErrorKind
from llmwatch.extractors._assembled import Assembled, Sum, failure
from llmwatch.extractors._fields import count, fields_of, get, items, text, total
from llmwatch.extractors._reading import Accumulator, Reading
from llmwatch.usage import Usage


class CohereChat(Assembled):
    """Chat in both versions, and the older generate; also that of Bedrock, whose bodies count less."""

    api = "cohere.chat"
    provider = "cohere"

    def recognises(self, response: Any) -> bool:
        fields = fields_of(response)
        return any(marks <= fields.keys() for marks in _MARKS)

    def recognises_event(self, event: Any) -> bool:
        fields = fields_of(event)
        return text(fields, "event_type") in _VERSION_1 or text(fields, "type") in _VERSION_2

    def read(self, response: Any) -> Reading:
        reasons = [text(each, "finish_reason") for each in (response, *items(response, "generations"))]
        return Reading(
            usage=_read_usage(_counted(response)),
            finish_reasons=tuple(reason for reason in reasons if reason),
            error=_failure(response),
        )

    def absorb(self, whole: dict[str, Any], event: Any) -> None:
        """Only the last event counts: it carries the response (version 1) or the end of it (version 2)."""
        fields = fields_of(event)
        if text(fields, "event_type") == "stream-end":
            end = fields.get("response")
            whole.update((name, get(end, name)) for name in ("finish_reason", "generations", "meta"))
        elif text(fields, "type") == "message-end":
            end = fields.get("delta")
            whole.update((name, get(end, name)) for name in ("finish_reason", "usage", "error", "error_type"))


class CohereEmbeddings:
    """Embeddings: billed units of text and of images, which are disjoint, or a number of images and no tokens."""

    api = "cohere.embed"
    provider = "cohere"

    def recognises(self, response: Any) -> bool:
        fields = fields_of(response)
        return "embeddings" in fields and ("response_type" in fields or "texts" in fields)

    def recognises_event(self, event: Any) -> bool:
        return False

    def read(self, response: Any) -> Reading:
        billed = get(get(response, "meta"), "billed_units")
        words, images = count(billed, "input_tokens"), count(billed, "image_tokens")
        tokens = total(words, images)
        usage = None if tokens is None else Usage(input_tokens=tokens, image_input_tokens=images)
        return Reading(usage=usage, operation="embeddings")

    def accumulator(self) -> Accumulator:
        return Sum(self.read)


_MARKS = ({"generation_id", "text"}, {"generations", "id"}, {"finish_reason", "message"})
_VERSION_1 = frozenset(
    "stream-start text-generation stream-end citation-generation search-queries-generation search-results "
    "tool-calls-generation tool-calls-chunk".split()
)
_VERSION_2 = frozenset(
    "message-start content-start content-delta content-end tool-plan-delta tool-call-start tool-call-delta "
    "tool-call-end citation-start citation-end message-end".split()
)


def _counted(response: Any) -> Any:
    usage = get(response, "usage")
    return get(response, "meta") if usage is None else usage


def _read_usage(usage: Any) -> Usage | None:
    tokens = get(usage, "tokens")
    source = get(usage, "billed_units") if total(*(count(tokens, name) for name in _TOTALS)) is None else tokens
    inputs, outputs = (count(source, name) for name in _TOTALS)
    if inputs is None and outputs is None:
        return None
    return Usage(
        input_tokens=inputs,
        output_tokens=outputs,
        cache_read_tokens=count(usage, "cached_tokens"),
        reasoning_tokens=count(source, "reasoning_tokens"),
    )


_TOTALS = ("input_tokens", "output_tokens")


def _failure(response: Any) -> ErrorKind | None:
    message, kind = get(response, "error"), text(response, "error_type")
    return failure({"message": message, "type": kind} if kind else message)
