"""The catalogue: every metric's name, kind, unit, labels and buckets, declared once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

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
_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 7.5, 10.0, 15.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0)
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
    "llmwatch_internal_errors", "counter", "{error}", ("where",), "Failures inside llmwatch that your program did not see."
)
LABEL_OVERFLOW = Metric(
    "llmwatch_label_overflow", "counter", "{value}", ("label",), "Label values that were folded into `other`."
)
BUILD_INFO = Metric(
    "llmwatch_build_info", "gauge", "{build}", ("version", "price_table"), "1, with the versions in use as labels."
)
PRICE_TABLE_AGE = Metric("ai_price_table_age", "gauge", "s", (), "Age of the price table in use.")

OPERATION_DURATION = Metric(
    "gen_ai.client.operation.duration",
    "histogram",
    "s",
    (*_CLIENT, "error.type"),
    "GenAI operation duration, as llmwatch saw it.",
    _CONVENTION_SECONDS,
    set="legacy",
)
TOKEN_USAGE = Metric(
    "gen_ai.client.token.usage",
    "histogram",
    "{token}",
    (*_CLIENT, "gen_ai.token.type"),
    "Number of input and output tokens used, as llmwatch saw it.",
    _CONVENTION_TOKENS,
    set="legacy",
)
OPERATION_FIRST_CHUNK = Metric(
    "gen_ai.client.operation.time_to_first_chunk",
    "histogram",
    "s",
    _CLIENT,
    "Time to the first chunk of a stream, as llmwatch saw it.",
    _CONVENTION_SECONDS,
    set="legacy",
)
OPERATION_CHUNK = Metric(
    "gen_ai.client.operation.time_per_output_chunk",
    "histogram",
    "s",
    _CLIENT,
    "Mean time between the chunks of a stream, one value a stream, as llmwatch saw it.",
    _CONVENTION_SECONDS,
    set="legacy",
)
INFERENCE_DURATION = Metric(
    "gen_ai.client.inference.duration",
    "histogram",
    "s",
    (*_CLIENT, "error.type"),
    "GenAI inference duration, as llmwatch saw it.",
    _CONVENTION_SECONDS,
    set="latest",
)
INFERENCE_FIRST_CHUNK = Metric(
    "gen_ai.client.inference.time_to_first_chunk",
    "histogram",
    "s",
    _CLIENT,
    "Time to the first chunk of a stream, as llmwatch saw it.",
    _CONVENTION_SECONDS,
    set="latest",
)
INFERENCE_CHUNK = Metric(
    "gen_ai.client.inference.time_per_output_chunk",
    "histogram",
    "s",
    _CLIENT,
    "Mean time between the chunks of a stream, one value a stream, as llmwatch saw it.",
    _CONVENTION_SECONDS,
    set="latest",
)


def _inference_tokens(name: str, description: str) -> Metric:
    name = f"gen_ai.client.inference.usage.{name}"
    return Metric(name, "counter", "{token}", (*_CLIENT, "gen_ai.token.modality"), description, set="latest")


def _tokens_per_inference(direction: str) -> Metric:
    name = f"gen_ai.client.inference.operation.{direction}_tokens"
    description = f"Distribution of {direction} tokens over calls, as llmwatch saw it."
    return Metric(
        name, "histogram", "{token}", (*_CLIENT, "error.type"), description, _CONVENTION_TOKENS, set="latest"
    )


INPUT_TOKENS = _inference_tokens("input_tokens", "Input tokens, cached ones included, as llmwatch saw it.")
OUTPUT_TOKENS = _inference_tokens("output_tokens", "Output tokens, reasoning included, as llmwatch saw it.")
CACHE_READ_TOKENS = _inference_tokens("cache_read.input_tokens", "Input tokens read from a cache, as llmwatch saw it.")
CACHE_WRITE_TOKENS = _inference_tokens("cache_write.input_tokens", "Input tokens written to a cache, as llmwatch saw it.")
REASONING_TOKENS = _inference_tokens("reasoning.output_tokens", "Output tokens of reasoning, as llmwatch saw it.")
INPUT_TOKENS_PER_CALL = _tokens_per_inference("input")
OUTPUT_TOKENS_PER_CALL = _tokens_per_inference("output")

CATALOGUE: tuple[Metric, ...] = tuple(value for value in globals().values() if isinstance(value, Metric))
"""All metrics, in the order in which they stand here."""


def enabled(semconv: Semconv) -> tuple[Metric, ...]:
    """The metrics that a choice of convention records: ours always, and its own."""
    sets = {"legacy": {"legacy"}, "latest": {"latest"}, "both": {"legacy", "latest"}, "none": set()}[semconv]
    return tuple(metric for metric in CATALOGUE if metric.set == "ai" or metric.set in sets)
