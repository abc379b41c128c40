"""The shape of OpenAI's assistants: a thread's run, its usage that of all its steps together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmwatch.extractors._fields import fields_of, get, text
from llmwatch.extractors._last import Last
from llmwatch.extractors._openai_usage import read_error, reading_of
from llmwatch.extractors.openai_responses import ending

if TYPE_CHECKING:
    from collections.abc import Mapping

    from llmwatch.extractors._reading import Accumulator, Reading


class Runs:
    """Runs of an assistant; the vendor counts as for chat completions, and states usage only once a run has ended."""

    api = "threads.runs"
    provider = "openai"

    def recognises(self, response: Any) -> bool:
        return fields_of(response).get("object") == "thread.run"

    def recognises_event(self, event: Any) -> bool:
        return (text(event, "object") or text(event, "event") or "").startswith("thread.")

    def read(self, response: Any) -> Reading:
        ended = ending(response)
        return reading_of(
            response,
            get(response, "usage"),
            finish_reasons=(ended,) if ended else (),
            error=read_error({"error": get(response, "last_error")}),
        )

    def accumulator(self) -> Accumulator:
        return Last(self, _run)


def _run(fields: Mapping[str, Any]) -> Any:
    """The run that an event carries: openai's client wraps it as `data`, on the wire it is the event's data itself."""
    found = fields.get("data", fields)
    return found if fields_of(found).get("object") == "thread.run" else None
