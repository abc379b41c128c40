"""Aleph Alpha's completions: two plain totals beside the answers."""

from __future__ import annotations

from llmwatch.extractors._tabular import Tabular

COMPLETIONS = Tabular(
    api="aleph_alpha.complete",
    provider="aleph_alpha",
    marks=frozenset({"completions", "num_tokens_prompt_total"}),
    counts={"input_tokens": "num_tokens_prompt_total", "output_tokens": "num_tokens_generated"},
    model="model_version",
    reasons="completions.*.finish_reason",
)
