"""Google's interactions: thoughts stand beside the output, tool use beside the input; a stream restates all of it."""

from __future__ import annotations

from typing import Any

from llmwatch.extractors._assembled import Assembled, failure
from llmwatch.extractors._fields import count, fields_of, get, text, total
from llmwatch.extractors._reading import Reading
from llmwatch.extractors.google import modalities
from llmwatch.extractors.openai_responses import ending
from llmwatch.usage import Usage


class Interactions(Assembled):
    """Interactions of Gemini; their end is a status, as that of responses is."""

    api = "interactions"
    provider = "gcp.gemini"

    def recognises(self, response: Any) -> bool:
        return fields_of(response).get("object") == "interaction" or type(response).__name__ == "Interaction"

    def recognises_event(self, event: Any) -> bool:
        return (text(event, "event_type") or "").startswith(("interaction.", "step."))

    def read(self, response: Any) -> Reading:
        ended = ending(response)
        return Reading(
            model=text(response, "model"),
            usage=_read_usage(get(response, "usage")),
            finish_reasons=(ended,) if ended else (),
            service_tier=text(response, "service_tier"),
            error=failure(get(response, "error")),
        )

    def absorb(self, whole: dict[str, Any], event: Any) -> None:
        fields = fields_of(event)
        interaction, usage = fields.get("interaction"), get(fields.get("metadata"), "usage")
        if usage is not None:
            whole["usage"] = usage
        for name in ("model", "usage", "status", "service_tier"):
            value = get(interaction, name)
            if value is not None:
                whole[name] = value


def _read_usage(usage: Any) -> Usage | None:
    prompt, tools = count(usage, "total_input_tokens"), count(usage, "total_tool_use_tokens")
    made, thoughts = count(usage, "total_output_tokens"), count(usage, "total_thought_tokens")
    if prompt is None and made is None:
        return None
    return Usage(
        input_tokens=total(prompt, tools),
        output_tokens=total(made, thoughts),
        cache_read_tokens=count(usage, "total_cached_tokens"),
        reasoning_tokens=thoughts,
        **modalities(usage, _DETAILS, "tokens"),
    )


_DETAILS = {
    "input": ("input_tokens_by_modality", "tool_use_tokens_by_modality"),
    "output": ("output_tokens_by_modality",),
    "cache_read": ("cached_tokens_by_modality",),
}
