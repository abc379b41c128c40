"""Replicate's predictions: the metrics of a finished one count plain input and output, for language models alone."""

from __future__ import annotations

from llmwatch.extractors._tabular import Tabular

PREDICTIONS = Tabular(
    api="predictions",
    provider="replicate",
    marks=frozenset({"version", "status", "input", "urls"}),
    counts={"input_tokens": "metrics.input_token_count", "output_tokens": "metrics.output_token_count"},
    reasons="",
)
