"""The catalogue: every metric's name, kind, unit, labels and buckets, declared once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = [
    "ACTIVE_REQUESTS",
    "BUILD_INFO",
    "CACHE_READ_TOKENS",
    "CACHE_SAVINGS",
    "CACHE_WRITE_TOKENS",
    "CALL_LABELS",
    "CATALOGUE",
    "COST",
    "DIRECTIONS",
    "ERRORS",
    "FINISH_REASONS",
    "INFERENCE_CHUNK",
    "INFERENCE_DURATION",
    "INFERENCE_FIRST_CHUNK",
    "INPUT_TOKENS",
    "INPUT_TOKENS_PER_CALL",
    "INTERNAL_ERRORS",
    "LABEL_OVERFLOW",
    "OPERATION_CHUNK",
    "OPERATION_DURATION",
    "OPERATION_FIRST_CHUNK",
    "OUTPUT_TOKENS",
    "OUTPUT_TOKENS_PER_CALL",
    "PRICE_TABLE_AGE",
    "REASONING_TOKENS",
    "REQUESTS",
    "REQUEST_DURATION",
    "STATUSES",
    "TIME_PER_OUTPUT_CHUNK",
    "TIME_TO_FIRST_CHUNK",
    "TOKENS",
    "TOKEN_USAGE",
    "UNPRICED_REQUESTS",
    "USAGE_MISSING",
    "Kind",
    "Metric",
    "Semconv",
    "Set",
    "enabled",
]

Kind = Literal["counter", "updown", "gauge", "histogram"]
Set = Literal["ai", "legacy", "latest"]
Semconv = Literal["legacy", "latest", "both", "none"]

CALL_LABELS = ("feature", "provider", "model", "operation", "agent")
STATUSES = ("success", "error", "cancelled", "abandoned")
DIRECTIONS = ("input", "output")


@dataclass(frozen=True, slots=True)
class Metric:
    """One instrument, and the series that Prometheus makes of it.

    Attributes:
        name: The OpenTelemetry instrument's name.
        kind: What it counts like.
        unit: Its unit, in UCUM as OpenTelemetry writes it.
        labels: The labels that each of its series carries, in their order.
        description: One sentence for people.
        buckets: The upper bounds of a histogram.
        call: Whether the labels that the application declares stand behind `labels`.
        set: The set that it belongs to: ours, or one of the two generations of the GenAI convention.
    """

    name: str
    kind: Kind
    unit: str
    labels: tuple[str, ...]
    description: str
    buckets: tuple[float, ...] = ()
    call: bool = False
    set: Set = "ai"

    @property
    def prometheus(self) -> str:
        """The name of its series in Prometheus, without `_bucket`, `_sum` and `_count`."""
        name = self.name.replace(".", "_")
        if self.unit == "s":
            name += "_seconds"
        return name + "_total" if self.kind == "counter" else name

    @property
    def prometheus_labels(self) -> tuple[str, ...]:
        """Its labels as Prometheus writes them, without `le`."""
        return tuple(label.replace(".", "_") for label in self.labels)

    @property
    def weight(self) -> int:
        """How many series one label set makes."""
        return len(self.buckets) + 3 if self.kind == "histogram" else 1


# From 10 ms, for a local embedding, to the 600 s at which client libraries give up.
_SECONDS = (
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.0,
    3.0,
    5.0,
    7.5,
    10.0,
    15.0,
    20.0,
    30.0,
    60.0,
    120.0,
    300.0,
    600.0,
)
_CHUNK_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
# The buckets that the GenAI convention prescribes for durations and for token counts.
_CONVENTION_SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
_CONVENTION_TOKENS = tuple(float(4**power) for power in range(14))

_STREAM_LABELS = ("feature", "provider", "model")
_CLIENT = ("gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model", "gen_ai.response.model")
_NOT_A_CALL = ("provider", "model", "reason")

REQUESTS = Metric(
    "ai_requests", "counter", "{request}", (*CALL_LABELS, "status"), "Calls of a model, by how they ended.", call=True
)
REQUEST_DURATION = Metric(
    "ai_request_duration",
    "histogram",
    "s",
    ("feature", "provider", "model", "operation", "status"),
    "Time from the call to the last byte of its answer, retries inside.",
    _SECONDS,
    call=True,
)
TOKENS = Metric(
    "ai_tokens",
    "counter",
    "{token}",
    (*CALL_LABELS, "direction", "kind"),
    "Tokens consumed; the kinds of a direction add up to it.",
    call=True,
)
ACTIVE_REQUESTS = Metric(
    "ai_active_requests", "updown", "{request}", ("feature", "provider", "model"), "Calls that have not ended yet."
)
ERRORS = Metric(
    "ai_errors", "counter", "{error}", (*CALL_LABELS, "error_type"), "Calls that failed, by why they did.", call=True
)
COST = Metric(
    "ai_cost_dollars",
    "counter",
    "{USD}",
    (*CALL_LABELS, "direction", "kind", "cost_source"),
    "What the calls cost in US dollars, by what was paid for.",
    call=True,
)
CACHE_SAVINGS = Metric(
    "ai_cache_savings_dollars",
    "counter",
    "{USD}",
    CALL_LABELS,
    "US dollars that the prompt cache saved.",
    call=True,
)
TIME_TO_FIRST_CHUNK = Metric(
    "ai_time_to_first_chunk",
    "histogram",
    "s",
    _STREAM_LABELS,
    "Time from the call to the first chunk of its stream.",
    _SECONDS,
)
TIME_PER_OUTPUT_CHUNK = Metric(
    "ai_time_per_output_chunk",
    "histogram",
    "s",
    _STREAM_LABELS,
    "Mean time between the chunks of a stream, one value a stream.",
    _CHUNK_SECONDS,
)
FINISH_REASONS = Metric(
    "ai_finish_reasons", "counter", "{choice}", (*_STREAM_LABELS, "reason"), "Choices of an answer, by why they ended."
)
USAGE_MISSING = Metric(
    "ai_usage_missing", "counter", "{request}", _NOT_A_CALL, "Calls whose usage is unknown or contradicts itself."
)
UNPRICED_REQUESTS = Metric(
    "ai_unpriced_requests", "counter", "{request}", _NOT_A_CALL, "Calls whose price is unknown, never counted as free."
)
INTERNAL_ERRORS = Metric(
    "llmwatch_internal_errors",
    "counter",
    "{error}",
    ("where",),
    "Failures of llmwatch's own, hidden from your program.",
)
LABEL_OVERFLOW = Metric(
    "llmwatch_label_overflow", "counter", "{value}", ("label",), "Label values that were folded into `other`."
)
BUILD_INFO = Metric(
    "llmwatch_build_info", "gauge", "{build}", ("version", "price_table"), "1, with the versions in use as labels."
)
PRICE_TABLE_AGE = Metric("ai_price_table_age", "gauge", "s", (), "Age of the price table in use.")


def _seconds(name: str, description: str, *labels: str, set: Set) -> Metric:
    name, description = f"gen_ai.client.{name}", f"{description}, as llmwatch saw it."
    return Metric(name, "histogram", "s", (*_CLIENT, *labels), description, _CONVENTION_SECONDS, set=set)


def _tokens(name: str, kind: Kind, description: str, label: str, *, set: Set) -> Metric:
    name, description = f"gen_ai.client.{name}", f"{description}, as llmwatch saw it."
    buckets = _CONVENTION_TOKENS if kind == "histogram" else ()
    return Metric(name, kind, "{token}", (*_CLIENT, label), description, buckets, set=set)


# Our own words at the end of each description keep these apart from another instrumentation's metrics of the same name
# on the same provider, whose labels the Prometheus exporter would mix up with ours.
_FIRST, _GAP = "Time to the first chunk of a stream", "Mean time between the chunks of a stream, one value a stream"
OPERATION_DURATION = _seconds("operation.duration", "GenAI operation duration", "error.type", set="legacy")
TOKEN_USAGE = _tokens(
    "token.usage", "histogram", "Number of input and output tokens used", "gen_ai.token.type", set="legacy"
)
OPERATION_FIRST_CHUNK = _seconds("operation.time_to_first_chunk", _FIRST, set="legacy")
OPERATION_CHUNK = _seconds("operation.time_per_output_chunk", _GAP, set="legacy")
INFERENCE_DURATION = _seconds("inference.duration", "GenAI inference duration", "error.type", set="latest")
INFERENCE_FIRST_CHUNK = _seconds("inference.time_to_first_chunk", _FIRST, set="latest")
INFERENCE_CHUNK = _seconds("inference.time_per_output_chunk", _GAP, set="latest")


def _total(name: str, description: str) -> Metric:
    return _tokens(f"inference.usage.{name}", "counter", description, "gen_ai.token.modality", set="latest")


INPUT_TOKENS = _total("input_tokens", "Input tokens, cached ones included")
OUTPUT_TOKENS = _total("output_tokens", "Output tokens, reasoning included")
CACHE_READ_TOKENS = _total("cache_read.input_tokens", "Input tokens read from a cache")
CACHE_WRITE_TOKENS = _total("cache_write.input_tokens", "Input tokens written to a cache")
REASONING_TOKENS = _total("reasoning.output_tokens", "Output tokens of reasoning")


def _per_call(direction: str) -> Metric:
    name, description = f"inference.operation.{direction}_tokens", f"Distribution of {direction} tokens over calls"
    return _tokens(name, "histogram", description, "error.type", set="latest")


INPUT_TOKENS_PER_CALL = _per_call("input")
OUTPUT_TOKENS_PER_CALL = _per_call("output")

CATALOGUE: tuple[Metric, ...] = tuple(value for value in globals().values() if isinstance(value, Metric))
"""All metrics, in the order in which they stand here."""


def enabled(semconv: Semconv) -> tuple[Metric, ...]:
    """The metrics that a choice of convention records: ours always, and its own."""
    sets = {"legacy": {"legacy"}, "latest": {"latest"}, "both": {"legacy", "latest"}, "none": set()}[semconv]
    return tuple(metric for metric in CATALOGUE if metric.set == "ai" or metric.set in sets)
