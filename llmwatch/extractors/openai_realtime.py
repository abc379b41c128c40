"""The OpenAI realtime shape: a session of many responses, each with a usage of its own, which add up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmwatch.errors import ErrorKind, classify_body
from llmwatch.extractors._fields import fields_of, get, text
from llmwatch.extractors._openai_usage import read_error, read_usage
from llmwatch.extractors._reading import Accumulator, Reading

if TYPE_CHECKING:
    from llmwatch.usage import Usage


class Realtime:
    """Realtime sessions of OpenAI, Azure and xAI.

    Totals include cached and audio tokens. The transcription of what the user says has a usage of its own, for
    another model, and is left out.
    """

    api = "realtime"
    provider = "openai"

    def recognises(self, response: Any) -> bool:
        fields = fields_of(response)
        return fields.get("object") == "realtime.response" or fields.get("type") == "response.done"

    def recognises_event(self, event: Any) -> bool:
        fields = fields_of(event)
        return "event_id" in fields and (text(event, "type") or "").startswith(_EVENTS)

    def read(self, response: Any) -> Reading:
        """Reads one response of a session, or the event that ends it."""
        inner = get(response, "response") or response
        # xAI writes the usage beside the response, and inside it an empty one
        usage = read_usage(get(inner, "usage")) or read_usage(get(response, "usage"))
        status, details = text(inner, "status"), get(inner, "status_details")
        ended = (text(details, "reason") if status == "incomplete" else None) or status
        return Reading(
            model=text(inner, "model"),
            usage=usage,
            finish_reasons=(ended,) if ended and ended != "in_progress" else (),
            error=_failure(details) if status == "failed" else None,
        )

    def accumulator(self) -> Accumulator:
        return _Session(self)


_EVENTS = ("session.", "conversation.", "response.", "input_audio_buffer.", "rate_limits.")


class _Session:
    """The events of one session; an error is the session's unless a response ends well after it."""

    __slots__ = ("_error", "_model", "_reasons", "_seen", "_shape", "_usage")

    def __init__(self, shape: Realtime) -> None:
        self._shape = shape
        self._seen = False
        self._model: str | None = None
        self._usage: Usage | None = None
        self._reasons: list[str] = []
        self._error: ErrorKind | None = None

    def add(self, event: Any) -> None:
        fields = fields_of(event)
        self._seen = True
        kind = fields.get("type")
        if kind == "response.done":
            self._add_response(self._shape.read(event))
        elif kind == "error":
            self._error = classify_body(None, event)
        elif "session" in fields:
            self._model = text(fields["session"], "model") or self._model

    def reading(self) -> Reading | None:
        if not self._seen:
            return None
        return Reading(model=self._model, usage=self._usage, finish_reasons=tuple(self._reasons), error=self._error)

    def _add_response(self, found: Reading) -> None:
        self._model = found.model or self._model
        self._reasons += found.finish_reasons
        self._error = found.error
        if found.usage is not None:
            self._usage = found.usage if self._usage is None else self._usage + found.usage


def _failure(details: Any) -> ErrorKind:
    return read_error(details) or ErrorKind.SERVER_ERROR
