"""The GenAI convention: what one call adds to the `gen_ai.client.*` metrics of either generation."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from llmwatch import metrics
from llmwatch._call import CallRecord
from llmwatch.metrics import Metric

Addition = tuple[Metric, tuple[str, ...], int | float]


@dataclass(frozen=True, slots=True)
class Subject:
    """A call under the convention's names, its values bounded: the common client attributes, and what failed."""

    operation: str
    provider: str
    request_model: str
    response_model: str
    error_type: str

    @property
    def client(self) -> tuple[str, ...]:
        """The values of the attributes that all client metrics share."""
        return self.operation, self.provider, self.request_model, self.response_model


Convention = Callable[[CallRecord, Subject], Iterator[Addition]]


def conventions(enabled: Collection[Metric]) -> tuple[Convention, ...]:
    """The generations that have a metric among the enabled ones."""
    sets = {metric.set for metric in enabled}
    return tuple(record for name, record in (("legacy", _legacy), ("latest", _latest)) if name in sets)


def _legacy(record: CallRecord, subject: Subject) -> Iterator[Addition]:
    client = subject.client
    yield metrics.OPERATION_DURATION, (*client, subject.error_type), record.duration
    yield from _chunks(record, client, metrics.OPERATION_FIRST_CHUNK, metrics.OPERATION_CHUNK)
    if record.usage is not None:
        for direction, tokens in (("input", record.usage.input_tokens), ("output", record.usage.output_tokens)):
            if tokens is not None:
                yield metrics.TOKEN_USAGE, (*client, direction), tokens


def _latest(record: CallRecord, subject: Subject) -> Iterator[Addition]:
    client = subject.client
    yield metrics.INFERENCE_DURATION, (*client, subject.error_type), record.duration
    yield from _chunks(record, client, metrics.INFERENCE_FIRST_CHUNK, metrics.INFERENCE_CHUNK)
    usage = record.usage
    if usage is None:
        return
    for metric, tokens in (
        (metrics.INPUT_TOKENS_PER_CALL, usage.input_tokens),
        (metrics.OUTPUT_TOKENS_PER_CALL, usage.output_tokens),
    ):
        if tokens is not None:
            yield metric, (*client, subject.error_type), tokens
    for direction, kind, tokens in usage.parts():
        modality = kind if kind in _MODALITIES else "unknown"
        yield _TOTALS[direction], (*client, modality), tokens
        if kind in _SUBSETS:
            yield _SUBSETS[kind], (*client, modality), tokens


def _chunks(record: CallRecord, client: tuple[str, ...], first: Metric, gap: Metric) -> Iterator[Addition]:
    if record.first_chunk is not None:
        yield first, client, record.first_chunk
    if record.chunk_gap is not None:
        yield gap, client, record.chunk_gap


_MODALITIES = frozenset({"audio", "image"})
_TOTALS = {"input": metrics.INPUT_TOKENS, "output": metrics.OUTPUT_TOKENS}
_SUBSETS = {
    "cache_read": metrics.CACHE_READ_TOKENS,
    "cache_write": metrics.CACHE_WRITE_TOKENS,
    "reasoning": metrics.REASONING_TOKENS,
}
