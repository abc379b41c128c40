"""HuggingFace's text generation: details, where asked for, count what was generated, and in streams the prompt."""

from __future__ import annotations

from llmwatch.extractors._tabular import Tabular

TEXT_GENERATION = Tabular(
    api="text_generation",
    provider="huggingface",
    marks=frozenset({"generated_text"}),
    event_marks=frozenset({"token", "generated_text"}),
    counts={"input_tokens": "details.input_length", "output_tokens": "details.generated_tokens"},
    reasons="details.finish_reason",
)
