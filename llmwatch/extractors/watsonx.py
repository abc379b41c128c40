"""watsonx' text generation: plain totals for each result; a stream states the prompt's once, then 0."""

from __future__ import annotations

from typing import Any

from llmwatch.extractors._fields import get, items
from llmwatch.extractors._tabular import Tabular


class _Generation(Tabular):
    """Text generation; in a stream `generated_token_count` is cumulative."""

    __slots__ = ()

    def absorb(self, whole: dict[str, Any], event: Any) -> None:
        whole["model_id"] = get(event, "model_id") or whole.get("model_id")
        for result in items(event, "results")[:1]:
            known = whole.setdefault("results", [{}])[0]
            for name in _KEPT:
                value = get(result, name)
                known[name] = value if value and value != "not_finished" else known.get(name)


_KEPT = ("input_token_count", "generated_token_count", "stop_reason")

GENERATION = _Generation(
    api="generation",
    provider="ibm.watsonx.ai",
    marks=frozenset({"model_id", "results"}),
    event_marks=frozenset({"model_id", "results"}),
    counts={"input_tokens": "results.*.input_token_count", "output_tokens": "results.*.generated_token_count"},
    model="model_id",
    reasons="results.*.stop_reason",
)
