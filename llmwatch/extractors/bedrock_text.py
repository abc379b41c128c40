"""The text models behind Bedrock's invoke_model that have a shape of their own: plain totals, or none at all."""

from __future__ import annotations

from typing import Any

from llmwatch.extractors._fields import fields_of, items
from llmwatch.extractors._tabular import Tabular


class _MistralText(Tabular):
    """Mistral's own conversations have `outputs` too, but theirs do not end one by one."""

    __slots__ = ()

    def recognises(self, response: Any) -> bool:
        return any("stop_reason" in fields_of(each) for each in items(response, "outputs")[:1])

    def recognises_event(self, event: Any) -> bool:
        return self.recognises(event)


TITAN = Tabular(
    api="titan.text",
    provider="aws.bedrock",
    marks=frozenset({"inputTextTokenCount", "results"}),
    event_marks=frozenset({"outputText", "inputTextTokenCount"}),
    counts={"input_tokens": "inputTextTokenCount", "output_tokens": "totalOutputTextTokenCount results.*.tokenCount"},
    reasons="completionReason results.*.completionReason",
)
TITAN_EMBEDDINGS = Tabular(
    api="titan.embeddings",
    provider="aws.bedrock",
    marks=frozenset({"embedding", "inputTextTokenCount"}),
    counts={"input_tokens": "inputTextTokenCount"},
    operation="embeddings",
)
LLAMA = Tabular(
    api="llama.text",
    provider="aws.bedrock",
    marks=frozenset({"generation", "generation_token_count"}),
    event_marks=frozenset({"generation", "generation_token_count"}),
    counts={"input_tokens": "prompt_token_count", "output_tokens": "generation_token_count"},
    reasons="stop_reason",
)
# The bodies of these two count nothing; `invoke_model` itself states the tokens in its headers.
MISTRAL = _MistralText(
    api="mistral.text",
    provider="aws.bedrock",
    marks=frozenset({"outputs"}),
    counts={},
    reasons="outputs.*.stop_reason",
)
JURASSIC = Tabular(
    api="jurassic.text",
    provider="aws.bedrock",
    marks=frozenset({"prompt", "completions"}),
    counts={},
    reasons="completions.*.finishReason.reason",
)
