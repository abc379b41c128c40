"""The OpenAI responses shape: totals include their parts; a stream's last event carries the whole response."""

from __future__ import annotations

from operator import methodcaller
from typing import TYPE_CHECKING, Any

from llmwatch.errors import ErrorKind
from llmwatch.extractors._fields import excerpt, fields_of, get, text
from llmwatch.extractors._last import Last
from llmwatch.extractors._openai_usage import read_error, reading_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from llmwatch.extractors._reading import Accumulator, Reading


class Responses:
    """Responses of OpenAI and of those who speak their language; their end is a status, not a finish reason."""

    api = "responses"
    provider = "openai"

    def recognises(self, response: Any) -> bool:
        return fields_of(response).get("object") in ("response", "response.compaction")

    def recognises_event(self, event: Any) -> bool:
        kind = fields_of(event).get("type")
        return isinstance(kind, str) and kind.startswith("response.")

    def read(self, response: Any) -> Reading:
        ended, failed = ending(response), text(response, "status") == "failed"
        return reading_of(
            response,
            get(response, "usage"),
            finish_reasons=(ended,) if ended else (),
            error=read_error(response) or (ErrorKind.SERVER_ERROR if failed else None),
        )

    def gist(self, response: Any) -> Mapping[str, Any]:
        return excerpt(response, _TELLING)

    def accumulator(self) -> Accumulator:
        return Last(self, methodcaller("get", "response"))


def ending(response: Any) -> str | None:
    """Why a response or run ended: the reason why it is incomplete, else its status; `None` while it goes on."""
    status = text(response, "status")
    return text(response, "incomplete_details", "reason") or (None if status in _GOING_ON else status)


_TELLING = ("model", "usage", "status", "incomplete_details", "error", "service_tier", "cost", "choices")
_GOING_ON = frozenset({"queued", "in_progress", "cancelling"})
