"""The Anthropic messages shape: `input_tokens` leaves the cache out, so the total is the sum of three counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from llmwatch.extractors._assembled import Assembled, failure
from llmwatch.extractors._fields import count, excerpt, fields_of, get, items, text, total
from llmwatch.extractors._reading import Reading
from llmwatch.usage import Usage


class Messages(Assembled):
    """Messages of Anthropic, also through Bedrock and Vertex, which their ids name."""

    api = "messages"
    provider = "anthropic"

    def recognises(self, response: Any) -> bool:
        fields = fields_of(response)
        return fields.get("type") == "message" and "role" in fields

    def recognises_event(self, event: Any) -> bool:
        fields = fields_of(event)
        kind = fields.get("type")
        if kind == "error":
            return text(fields, "error", "type") is not None
        return isinstance(kind, str) and kind in _EVENTS

    def read(self, response: Any) -> Reading:
        usage, reason = get(response, "usage"), text(response, "stop_reason")
        platform = (text(response, "id") or "").rpartition("_")[0]
        return Reading(
            provider=_PLATFORMS.get(platform),
            model=text(response, "model"),
            usage=_read_usage(usage),
            finish_reasons=(reason,) if reason else (),
            service_tier="fast" if text(usage, "speed") == "fast" else text(usage, "service_tier"),
        )

    def gist(self, response: Any) -> Mapping[str, Any]:
        return excerpt(response, ("id", "model", "usage", "stop_reason"))

    def absorb(self, whole: dict[str, Any], event: Any) -> None:
        """The start gives input and cache; each delta restates what it knows, cumulatively."""
        fields = fields_of(event)
        kind = fields.get("type")
        if kind == "message_start":
            message = fields.get("message")
            whole.update(id=get(message, "id"), model=get(message, "model"), usage={})
            _restate(whole, get(message, "usage"), _USAGE)
        elif kind == "message_delta":
            whole["stop_reason"] = text(fields, "delta", "stop_reason") or whole.get("stop_reason")
            _restate(whole, fields.get("usage"), _USAGE)


class Completions(Assembled):
    """The older text completions, also those of Bedrock; they state no usage."""

    api = "complete"
    provider = "anthropic"

    def recognises(self, response: Any) -> bool:
        fields = fields_of(response)
        return "completion" in fields and "stop_reason" in fields

    def recognises_event(self, event: Any) -> bool:
        return self.recognises(event)

    def read(self, response: Any) -> Reading:
        reason = text(response, "stop_reason")
        return Reading(
            model=text(response, "model"),
            finish_reasons=(reason,) if reason else (),
            error=failure(get(response, "error")),
        )

    def absorb(self, whole: dict[str, Any], event: Any) -> None:
        fields = fields_of(event)
        whole.update((name, fields[name]) for name in ("model", "stop_reason") if fields.get(name))


_EVENTS = frozenset(
    "message_start message_delta message_stop content_block_start content_block_delta content_block_stop".split()
)
_PLATFORMS = {"msg_bdrk": "aws.bedrock", "msg_vrtx": "gcp.vertex_ai"}
_COUNTS = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
_USAGE = (*_COUNTS, "output_tokens_details", "cache_creation", "iterations", "service_tier", "speed")


def _restate(whole: dict[str, Any], usage: Any, names: Iterable[str]) -> None:
    known = whole.setdefault("usage", {})
    for name in names:
        value = get(usage, name)
        if value is not None:
            known[name] = value


def _read_usage(usage: Any) -> Usage | None:
    """Usage of the message and of its compactions, which are billed beside the totals.

    Advisors are billed beside them too, but as another model's tokens, at another price: they are left out.
    """
    iterations = [each for each in items(usage, "iterations") if text(each, "type") != "advisor_message"]
    parts = (usage, *(each for each in iterations if text(each, "type") == "compaction"))
    fresh, outputs, read, written = (total(*(count(part, name) for part in parts)) for name in _COUNTS)
    if fresh is None and outputs is None:
        return None
    long_lived = total(*(count(each, *_LONG_LIVED) for each in iterations))
    return Usage(
        input_tokens=None if fresh is None else total(fresh, read, written),
        output_tokens=outputs,
        cache_read_tokens=read,
        cache_write_tokens=written,
        cache_write_1h_tokens=count(usage, *_LONG_LIVED) if long_lived is None else long_lived,
        reasoning_tokens=count(usage, "output_tokens_details", "thinking_tokens"),
    )


_LONG_LIVED = ("cache_creation", "ephemeral_1h_input_tokens")
