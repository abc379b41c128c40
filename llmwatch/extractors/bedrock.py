"""Amazon Bedrock: Converse counts the cache outside of its input; invoke_model says it in the model's own words."""

from __future__ import annotations

import json
from typing import Any

from llmwatch.errors import ErrorKind
from llmwatch.extractors import bedrock_text
from llmwatch.extractors._assembled import Assembled, Relay, failure
from llmwatch.extractors._fields import count, dig, fields_of, get, items, text, total
from llmwatch.extractors._reading import Accumulator, Reading, Shape
from llmwatch.extractors.anthropic import Completions, Messages
from llmwatch.extractors.cohere import CohereChat
from llmwatch.extractors.openai import ChatCompletions
from llmwatch.usage import Usage


class Converse(Assembled):
    """Converse and ConverseStream, and Nova's bodies, which are of the same shape."""

    api = "converse"
    provider = "aws.bedrock"

    def recognises(self, response: Any) -> bool:
        fields = fields_of(response)
        return "stopReason" in fields and "output" in fields

    def recognises_event(self, event: Any) -> bool:
        return bool(_EVENTS & fields_of(event).keys())

    def read(self, response: Any) -> Reading:
        reason, usage = text(response, "stopReason"), get(response, "usage")
        routed = text(response, "trace", "promptRouter", "invokedModelId")
        return Reading(
            model=routed.rpartition("/")[2] if routed else None,
            usage=_read_usage(usage),
            finish_reasons=(reason,) if reason else (),
            service_tier=text(response, "serviceTier", "type"),
            error=failure(get(response, "error")),
        )

    def absorb(self, whole: dict[str, Any], event: Any) -> None:
        for name, value in fields_of(event).items():
            if name == "messageStop":
                whole["stopReason"] = get(value, "stopReason")
            elif name == "metadata":
                whole.update((part, get(value, part)) for part in ("usage", "trace", "serviceTier"))
            elif _is_exception(name):
                whole["error"] = {"type": name, "message": get(value, "message")}


class InvokeModel:
    """invoke_model and its stream, whose bodies are of many shapes.

    boto3 gives the body as a stream that can be read once; it is the caller's and stays untouched. What it holds is
    then counted in the answer's headers, by Bedrock's own convention: the cache outside of the input.
    """

    api = "invoke_model"
    provider = "aws.bedrock"

    def recognises(self, response: Any) -> bool:
        fields = fields_of(response)
        return "ResponseMetadata" in fields and "body" in fields

    def recognises_event(self, event: Any) -> bool:
        return "bytes" in fields_of(fields_of(event).get("chunk"))

    def read(self, response: Any) -> Reading:
        headers = dig(response, "ResponseMetadata", "HTTPHeaders")
        counts = {name: _digits(get(headers, _HEADER.format(part))) for name, part in _HEADERS.items()}
        return Reading(self.provider, usage=_read_usage(counts), service_tier=text(response, "serviceTier"))

    def accumulator(self) -> Accumulator:
        return _Chunks()


class _Chunks:
    """The chunks of a streamed body, read by the model's shape; Bedrock's own count of it where that counts nothing."""

    __slots__ = ("_error", "_metrics", "_relay")

    def __init__(self) -> None:
        self._relay = Relay(_STREAMED, _itself)
        self._metrics: Any = None
        self._error: ErrorKind | None = None

    def add(self, event: Any) -> None:
        fields = fields_of(event)
        data = get(fields.get("chunk"), "bytes")
        if not isinstance(data, bytes):
            self._error = next((failure({"type": name}) for name in fields if _is_exception(name)), self._error)
        elif not self._relay.is_settled or any(word in data for word in _TELLING):
            body = _parsed(data)
            self._metrics = get(body, _METRICS) or self._metrics
            self._relay.add(body)

    def reading(self) -> Reading:
        found = self._relay.reading() or Reading()
        usage = found.usage or _read_usage(self._metrics)
        return found._replace(provider="aws.bedrock", usage=usage, error=found.error or self._error)


def held_stream(response: Any) -> str | None:
    """The field under which a response of boto3 holds a stream of events, if it does (`stream`, `body`, `completion`).

    Only event streams: the `StreamingBody` of `invoke_model` holds one document, which is the caller's to read.
    """
    if type(response) is not dict or "ResponseMetadata" not in response:
        return None
    for name in ("stream", "body", "completion"):
        if any(base.__name__ == "EventStream" for base in type(response.get(name)).__mro__):
            return name
    return None


def _read_usage(usage: Any) -> Usage | None:
    """Usage of Converse, of Bedrock's headers, or of `invocationMetrics`; where two spellings stand, they repeat."""
    fresh, outputs, read, written = (_first(usage, *names) for names in _COUNTS)
    if fresh is None and outputs is None:
        return None
    long_lived = (count(each, "inputTokens") for each in items(usage, "cacheDetails") if text(each, "ttl") == "1h")
    return Usage(
        input_tokens=None if fresh is None else total(fresh, read, written),
        output_tokens=outputs,
        cache_read_tokens=read,
        cache_write_tokens=written,
        cache_write_1h_tokens=total(*long_lived),
    )


def _first(usage: Any, *names: str) -> Any:
    return next((value for name in names if (value := count(usage, name)) is not None), None)


def _digits(value: Any) -> int | None:
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < _LONG else None


def _parsed(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _itself(body: Any) -> Any:
    return body


def _is_exception(name: Any) -> bool:
    return isinstance(name, str) and name.endswith("Exception")


_STREAMED: tuple[Shape, ...] = (
    Messages(),
    Completions(),
    Converse(),
    ChatCompletions(),
    CohereChat(),
    bedrock_text.TITAN,
    bedrock_text.LLAMA,
    bedrock_text.MISTRAL,
)
_EVENTS = frozenset("messageStart contentBlockStart contentBlockDelta contentBlockStop messageStop".split())
_COUNTS = (
    ("inputTokens", "inputTokenCount"),
    ("outputTokens", "outputTokenCount"),
    ("cacheReadInputTokens", "cacheReadInputTokenCount"),
    ("cacheWriteInputTokens", "cacheWriteInputTokenCount"),
)
_METRICS = "amazon-bedrock-invocationMetrics"
_HEADER = "x-amzn-bedrock-{}-token-count"
_HEADERS = {
    "inputTokens": "input",
    "outputTokens": "output",
    "cacheReadInputTokens": "cache-read-input",
    "cacheWriteInputTokens": "cache-write-input",
}
_LONG = 17  # digits of a number that is no count
# What a chunk must have in it to say anything; of a settled stream only such chunks are parsed.
_TELLING = (b"oken", b'usage"', b"eason", b'error"')
