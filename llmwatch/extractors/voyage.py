"""Voyage's embeddings, as its client gives them: only a total, which is all input."""

from __future__ import annotations

from llmwatch.extractors._tabular import Tabular

EMBEDDINGS = Tabular(
    api="voyage.embeddings",
    provider="voyage",
    marks=frozenset({"embeddings", "total_tokens"}),
    counts={"input_tokens": "total_tokens"},
    operation="embeddings",
)
