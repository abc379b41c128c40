"""The shape of speech to text: what was said, and usage in tokens of audio and text, or in seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmwatch.extractors._fields import fields_of, get, text
from llmwatch.extractors._last import Last
from llmwatch.extractors._openai_usage import reading_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from llmwatch.extractors._reading import Accumulator, Reading


class Transcriptions:
    """Transcriptions of OpenAI, OpenRouter and Mistral; usage in seconds (`whisper-1`) is no usage in tokens."""

    api = "audio.transcriptions"
    provider = "openai"

    def recognises(self, response: Any) -> bool:
        fields = fields_of(response)
        if type(response) is dict:
            return "text" in fields and bool(_TELLING & fields.keys()) and fields.keys() <= _FIELDS
        return "text" in fields and any(base.__name__.startswith("Transcription") for base in type(response).__mro__)

    def recognises_event(self, event: Any) -> bool:
        return (text(event, "type") or "").startswith(("transcript.", "transcription."))

    def read(self, response: Any) -> Reading:
        return reading_of(response, get(response, "usage"), operation="transcription")

    def accumulator(self) -> Accumulator:
        return Last(self, _done)


# A dict is taken for a transcription only when it holds nothing else: `text` and `usage` are anybody's names.
_FIELDS = frozenset(
    {"text", "usage", "duration", "language", "languages", "logprobs", "segments", "words", "task", "model"}
    | {"finish_reason"}
)
_TELLING = frozenset({"usage", "duration"})


def _done(fields: Mapping[str, Any]) -> Any:
    return fields if "usage" in fields else None
