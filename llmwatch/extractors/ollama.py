"""Ollama's own interface: plain totals on the last line; the prompt's is absent where older versions had it cached."""

from __future__ import annotations

from llmwatch.extractors._tabular import Tabular

CHAT = Tabular(
    api="ollama.chat",
    provider="ollama",
    marks=frozenset({"model", "done"}),
    event_marks=frozenset({"model", "done"}),
    counts={"input_tokens": "prompt_eval_count", "output_tokens": "eval_count"},
    reasons="done_reason",
    absent=frozenset({"embeddings"}),
)
EMBED = Tabular(
    api="ollama.embed",
    provider="ollama",
    marks=frozenset({"model", "embeddings"}),
    counts={"input_tokens": "prompt_eval_count"},
    operation="embeddings",
)
