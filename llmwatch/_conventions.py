"""The GenAI convention: what one call adds to the `gen_ai.client.*` metrics of either generation."""

from __future__ import annotations

from collections.abc import Callable, Collection

from llmwatch import metrics
from llmwatch._accounts import Account
from llmwatch._call import CallRecord
from llmwatch.metrics import Metric

Convention = Callable[[CallRecord, Account], None]


def conventions(enabled: Collection[Metric]) -> tuple[Convention, ...]:
    """The generations that have a metric among the enabled ones."""
    sets = {metric.set for metric in enabled}
    return tuple(record for name, record in (("legacy", _legacy), ("latest", _latest)) if name in sets)


def _legacy(record: CallRecord, client: Account) -> None:
    client.add(metrics.OPERATION_DURATION, record.duration, _error_type(record))
    _chunks(record, client, metrics.OPERATION_FIRST_CHUNK, metrics.OPERATION_CHUNK)
    if record.usage is not None:
        for direction, tokens in zip(metrics.DIRECTIONS, record.usage.totals, strict=True):
            if tokens is not None:
                client.add(metrics.TOKEN_USAGE, tokens, direction)


def _latest(record: CallRecord, client: Account) -> None:
    client.add(metrics.INFERENCE_DURATION, record.duration, _error_type(record))
    _chunks(record, client, metrics.INFERENCE_FIRST_CHUNK, metrics.INFERENCE_CHUNK)
    usage = record.usage
    if usage is None:
        return
    for metric, tokens in (
        (metrics.INPUT_TOKENS_PER_CALL, usage.input_tokens),
        (metrics.OUTPUT_TOKENS_PER_CALL, usage.output_tokens),
    ):
        if tokens is not None:
            client.add(metric, tokens, _error_type(record))
    for direction, kind, tokens in usage.parts():
        modality = kind if kind in _MODALITIES else "unknown"
        client.add(_TOTALS[direction], tokens, modality)
        if kind in _SUBSETS:
            client.add(_SUBSETS[kind], tokens, modality)


def _chunks(record: CallRecord, client: Account, first: Metric, gap: Metric) -> None:
    if record.first_chunk is not None:
        client.add(first, record.first_chunk)
    if record.chunk_gap is not None:
        client.add(gap, record.chunk_gap)


def _error_type(record: CallRecord) -> str:
    return record.error.value if record.error is not None else ""


_MODALITIES = frozenset({"audio", "image"})
_TOTALS = {"input": metrics.INPUT_TOKENS, "output": metrics.OUTPUT_TOKENS}
_SUBSETS = {
    "cache_read": metrics.CACHE_READ_TOKENS,
    "cache_write": metrics.CACHE_WRITE_TOKENS,
    "reasoning": metrics.REASONING_TOKENS,
}
