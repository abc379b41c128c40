"""The GenAI convention: what a sheet of calls adds to the `gen_ai.client.*` metrics of either generation."""

from __future__ import annotations

from collections.abc import Callable, Collection

from llmwatch import metrics
from llmwatch._accounts import Account
from llmwatch._entries import Sheet
from llmwatch.metrics import Metric
from llmwatch.usage import KINDS

Convention = Callable[[Sheet, Account], None]


def conventions(enabled: Collection[Metric]) -> tuple[Convention, ...]:
    """The generations that have a metric among the enabled ones."""
    sets = {metric.set for metric in enabled}
    return tuple(record for name, record in (("legacy", _legacy), ("latest", _latest)) if name in sets)


def _legacy(sheet: Sheet, client: Account) -> None:
    client.add_values(metrics.OPERATION_DURATION, sheet.durations, _error_type(sheet))
    client.add_values(metrics.OPERATION_FIRST_CHUNK, sheet.first_chunks)
    client.add_values(metrics.OPERATION_CHUNK, sheet.chunk_gaps)
    for direction, tokens in zip(metrics.DIRECTIONS, _totals(sheet), strict=True):
        client.add_values(metrics.TOKEN_USAGE, tokens, direction)


def _latest(sheet: Sheet, client: Account) -> None:
    client.add_values(metrics.INFERENCE_DURATION, sheet.durations, _error_type(sheet))
    client.add_values(metrics.INFERENCE_FIRST_CHUNK, sheet.first_chunks)
    client.add_values(metrics.INFERENCE_CHUNK, sheet.chunk_gaps)
    inputs, outputs = _totals(sheet)
    client.add_values(metrics.INPUT_TOKENS_PER_CALL, inputs, _error_type(sheet))
    client.add_values(metrics.OUTPUT_TOKENS_PER_CALL, outputs, _error_type(sheet))
    for (direction, kind), amount in zip(KINDS, sheet.amounts(), strict=True):
        if amount is None:
            continue
        modality = kind if kind in _MODALITIES else "unknown"
        client.add(_TOTALS[direction], amount, modality)
        if kind in _SUBSETS:
            client.add(_SUBSETS[kind], amount, modality)


def _totals(sheet: Sheet) -> tuple[list[int], list[int]]:
    """Input and output tokens, call by call, as far as they are known."""
    inputs = [usage.input_tokens for usage in sheet.usages if usage.input_tokens is not None]
    outputs = [usage.output_tokens for usage in sheet.usages if usage.output_tokens is not None]
    return inputs, outputs


def _error_type(sheet: Sheet) -> str:
    return sheet.error.value if sheet.error is not None else ""


_MODALITIES = frozenset({"audio", "image"})
_TOTALS = {"input": metrics.INPUT_TOKENS, "output": metrics.OUTPUT_TOKENS}
_SUBSETS = {
    "cache_read": metrics.CACHE_READ_TOKENS,
    "cache_write": metrics.CACHE_WRITE_TOKENS,
    "reasoning": metrics.REASONING_TOKENS,
}
