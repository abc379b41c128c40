"""Programs under test: a runtime apart from all others, the readers of what it records, and the catalogue by hand."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import (
    Counter,
    Histogram,
    MeterProvider,
    ObservableCounter,
    ObservableGauge,
    ObservableUpDownCounter,
    UpDownCounter,
)
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    InMemoryMetricReader,
    MetricExporter,
    MetricExportResult,
    PeriodicExportingMetricReader,
)
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

import llmwatch
from llmwatch import _runtime, observe_llm
from llmwatch._recorder import Recorder
from llmwatch._runtime import Runtime
from llmwatch._shield import Shield

CALL = ("feature", "provider", "model", "operation", "agent")
STREAM = ("feature", "provider", "model")
STATUSES = ("success", "error", "cancelled", "abandoned")
ERROR_TYPES = (
    "rate_limit quota timeout connection authentication permission not_found context_length content_filter "
    "invalid_request overloaded server_error other"
).split()


@dataclass(frozen=True)
class Row:
    """One metric as the design page has it; `unit` is `None` where that page gives none."""

    kind: str
    unit: str | None
    prometheus: str
    labels: tuple[str, ...]


OUTCOME = ("provider", "model", "outcome")
RATE_LIMIT = ("provider", "account", "model", "resource")

# Section 3 of the design page, and the histograms of a run.
OURS: dict[str, Row] = {
    "ai_requests": Row("counter", "{request}", "ai_requests_total", (*CALL, "status")),
    "ai_request_duration": Row(
        "histogram", "s", "ai_request_duration_seconds", ("feature", "provider", "model", "operation", "status")
    ),
    "ai_tokens": Row("counter", "{token}", "ai_tokens_total", (*CALL, "direction", "kind")),
    "ai_active_requests": Row("updown", "{request}", "ai_active_requests", STREAM),
    "ai_errors": Row("counter", "{error}", "ai_errors_total", (*CALL, "error_type")),
    "ai_cost_dollars": Row("counter", "{USD}", "ai_cost_dollars_total", (*CALL, "direction", "kind", "cost_source")),
    "ai_cache_savings_dollars": Row("counter", "{USD}", "ai_cache_savings_dollars_total", CALL),
    "ai_time_to_first_chunk": Row("histogram", "s", "ai_time_to_first_chunk_seconds", STREAM),
    "ai_time_per_output_chunk": Row("histogram", "s", "ai_time_per_output_chunk_seconds", STREAM),
    "ai_attempts": Row("counter", "{attempt}", "ai_attempts_total", OUTCOME),
    "ai_attempt_duration": Row("histogram", "s", "ai_attempt_duration_seconds", OUTCOME),
    "ai_retry_wait": Row("counter", "s", "ai_retry_wait_seconds_total", STREAM),
    "ai_rate_limit_remaining": Row("gauge", "{unit}", "ai_rate_limit_remaining", RATE_LIMIT),
    "ai_rate_limit_limit": Row("gauge", "{unit}", "ai_rate_limit_limit", RATE_LIMIT),
    "ai_finish_reasons": Row("counter", "{choice}", "ai_finish_reasons_total", (*STREAM, "reason")),
    "ai_tool_calls": Row("counter", None, "ai_tool_calls_total", ("agent", "tool", "status")),
    "ai_tool_duration": Row("histogram", "s", "ai_tool_duration_seconds", ("agent", "tool", "status")),
    "ai_agent_runs": Row("counter", None, "ai_agent_runs_total", ("agent", "status")),
    "ai_agent_duration": Row("histogram", "s", "ai_agent_duration_seconds", ("agent", "status")),
    "ai_agent_run_requests": Row("histogram", "{request}", "ai_agent_run_requests", ("agent", "status")),
    "ai_agent_run_tokens": Row("histogram", "{token}", "ai_agent_run_tokens", ("agent", "status")),
    "ai_guard_decisions": Row(
        "counter", "{decision}", "ai_guard_decisions_total", ("feature", "guard", "stage", "decision")
    ),
    "ai_usage_missing": Row("counter", None, "ai_usage_missing_total", ("provider", "model", "reason")),
    "ai_unpriced_requests": Row("counter", None, "ai_unpriced_requests_total", ("provider", "model", "reason")),
    "llmwatch_internal_errors": Row("counter", None, "llmwatch_internal_errors_total", ("where",)),
    "llmwatch_label_overflow": Row("counter", None, "llmwatch_label_overflow_total", ("label",)),
    "llmwatch_build_info": Row("gauge", None, "llmwatch_build_info", ("version", "price_table")),
    "ai_price_table_age": Row("gauge", "s", "ai_price_table_age_seconds", ()),
}
# What happens beside the calls themselves: attempts and limits, agents, tools and guards.
BESIDE_CALLS = {
    name for name in OURS if name.startswith(("ai_attempt", "ai_retry", "ai_rate", "ai_tool", "ai_agent", "ai_guard"))
}
DECLARABLE = {
    "ai_requests",
    "ai_request_duration",
    "ai_tokens",
    "ai_errors",
    "ai_cost_dollars",
    "ai_cache_savings_dollars",
}

CLIENT = ("gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model", "gen_ai.response.model")
FAILING = (*CLIENT, "error.type")
MODAL = (*CLIENT, "gen_ai.token.modality")
CONVENTION_SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
CONVENTION_TOKENS = (
    *(1.0, 4.0, 16.0, 64.0, 256.0, 1024.0, 4096.0, 16384.0),
    *(65536.0, 262144.0, 1048576.0, 4194304.0, 16777216.0, 67108864.0),
)
_OPERATION, _INFERENCE = "gen_ai_client_operation", "gen_ai_client_inference"

# The convention until 1.44, and the one of the GenAI repository since 2026-10.
LEGACY: dict[str, Row] = {
    "gen_ai.client.operation.duration": Row("histogram", "s", f"{_OPERATION}_duration_seconds", FAILING),
    "gen_ai.client.token.usage": Row(
        "histogram", "{token}", "gen_ai_client_token_usage", (*CLIENT, "gen_ai.token.type")
    ),
    "gen_ai.client.operation.time_to_first_chunk": Row(
        "histogram", "s", f"{_OPERATION}_time_to_first_chunk_seconds", CLIENT
    ),
    "gen_ai.client.operation.time_per_output_chunk": Row(
        "histogram", "s", f"{_OPERATION}_time_per_output_chunk_seconds", CLIENT
    ),
}
LATEST: dict[str, Row] = {
    "gen_ai.client.inference.duration": Row("histogram", "s", f"{_INFERENCE}_duration_seconds", FAILING),
    "gen_ai.client.inference.time_to_first_chunk": Row(
        "histogram", "s", f"{_INFERENCE}_time_to_first_chunk_seconds", CLIENT
    ),
    "gen_ai.client.inference.time_per_output_chunk": Row(
        "histogram", "s", f"{_INFERENCE}_time_per_output_chunk_seconds", CLIENT
    ),
    "gen_ai.client.inference.usage.input_tokens": Row(
        "counter", "{token}", f"{_INFERENCE}_usage_input_tokens_total", MODAL
    ),
    "gen_ai.client.inference.usage.output_tokens": Row(
        "counter", "{token}", f"{_INFERENCE}_usage_output_tokens_total", MODAL
    ),
    "gen_ai.client.inference.usage.cache_read.input_tokens": Row(
        "counter", "{token}", f"{_INFERENCE}_usage_cache_read_input_tokens_total", MODAL
    ),
    "gen_ai.client.inference.usage.cache_write.input_tokens": Row(
        "counter", "{token}", f"{_INFERENCE}_usage_cache_write_input_tokens_total", MODAL
    ),
    "gen_ai.client.inference.usage.reasoning.output_tokens": Row(
        "counter", "{token}", f"{_INFERENCE}_usage_reasoning_output_tokens_total", MODAL
    ),
    "gen_ai.client.inference.operation.input_tokens": Row(
        "histogram", "{token}", f"{_INFERENCE}_operation_input_tokens", FAILING
    ),
    "gen_ai.client.inference.operation.output_tokens": Row(
        "histogram", "{token}", f"{_INFERENCE}_operation_output_tokens", FAILING
    ),
}
# What the convention has for agents and tools since 2026-10, recorded beside either generation.
AGENTS: dict[str, Row] = {
    "gen_ai.invoke_agent.duration": Row(
        "histogram", "s", "gen_ai_invoke_agent_duration_seconds", ("gen_ai.agent.name", "error.type")
    ),
    "gen_ai.invoke_agent.inference_calls": Row(
        "histogram", "{inference_call}", "gen_ai_invoke_agent_inference_calls", ("gen_ai.agent.name",)
    ),
    "gen_ai.invoke_agent.tool_calls": Row(
        "histogram", "{tool_call}", "gen_ai_invoke_agent_tool_calls", ("gen_ai.agent.name",)
    ),
    "gen_ai.execute_tool.duration": Row(
        "histogram",
        "s",
        "gen_ai_execute_tool_duration_seconds",
        ("gen_ai.tool.name", "gen_ai.agent.name", "error.type"),
    ),
}
ALL = OURS | LEGACY | LATEST | AGENTS
PROMETHEUS = {row.prometheus: name for name, row in ALL.items()}

# An answer of OpenAI: 60 input tokens of text and 40 from the cache, 15 output tokens of text and 5 of reasoning.
REPLY: dict[str, Any] = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "gpt-4o-mini-2024-07-18",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "To the left."}}],
    "usage": {
        "prompt_tokens": 100,
        "completion_tokens": 20,
        "total_tokens": 120,
        "prompt_tokens_details": {"cached_tokens": 40},
        "completion_tokens_details": {"reasoning_tokens": 5},
    },
}
MODEL = "gpt-4o-mini-2024-07-18"
PARTS = {("input", "text"): 60, ("input", "cache_read"): 40, ("output", "text"): 15, ("output", "reasoning"): 5}


@dataclass
class Faults:
    """What went wrong inside llmwatch, and what a test expects of it."""

    shield: Shield
    expected: set[str] = field(default_factory=set)


class _Complaints(logging.Handler):
    """Errors that the OpenTelemetry SDK has only logged: those of our callbacks among them."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(
            f"{record.getMessage()} {record.exc_info[1]!r}" if record.exc_info else record.getMessage()
        )


@contextmanager
def apart(clock: Callable[[], float] | None = None) -> Iterator[Faults]:
    """An unconfigured runtime, put away at the end; failures inside llmwatch that nobody expected fail the test."""
    shield = Shield()
    faults = Faults(shield)
    timing: dict[str, Any] = {} if clock is None else {"clock": clock}
    replaced = _runtime.install(Runtime(shield, Recorder(shield), **timing))
    complaints = _Complaints()
    logging.getLogger("opentelemetry").addHandler(complaints)
    try:
        yield faults
    finally:
        logging.getLogger("opentelemetry").removeHandler(complaints)
        llmwatch.shutdown()
        _runtime.install(replaced)
        while _providers:
            _providers.pop().shutdown()
    assert set(shield.counts()) == faults.expected
    assert complaints.messages == []


def answering(response: Any = REPLY, **stated: Any) -> Callable[[], Any]:
    """An observed function that gives this response, or raises it."""

    @observe_llm(**stated)
    def answer() -> Any:
        if isinstance(response, BaseException):
            raise response
        return response

    return answer


@dataclass(frozen=True)
class Point:
    """One series of a collection; `value` is a histogram's sum, `count` is only there for histograms."""

    name: str
    labels: Mapping[str, str]
    value: float
    count: int | None = None
    bounds: tuple[float, ...] = ()
    buckets: tuple[int, ...] = ()


class Collected:
    """What one collection brought."""

    def __init__(self, points: Iterable[Point], units: Mapping[str, str] | None = None) -> None:
        self.points = list(points)
        self.units = dict(units or {})
        # To Prometheus an empty label is no label.
        series = [(point.name, frozenset(pair for pair in point.labels.items() if pair[1])) for point in self.points]
        assert len(series) == len(set(series)), "a series is there twice"

    @property
    def names(self) -> set[str]:
        return {point.name for point in self.points}

    def of(self, name: str, **labels: str) -> list[Point]:
        """A metric's points with these label values among theirs; `__` stands for a dot in a label's name."""
        wanted = {label.replace("__", "."): value for label, value in labels.items()}
        return [
            point
            for point in self.points
            if point.name == name and all(point.labels.get(label) == value for label, value in wanted.items())
        ]

    def one(self, name: str, **labels: str) -> Point:
        (point,) = self.of(name, **labels)
        return point

    def total(self, name: str, **labels: str) -> float:
        return sum(point.value for point in self.of(name, **labels))

    def count(self, name: str, **labels: str) -> int:
        return sum(point.count or 0 for point in self.of(name, **labels))

    def values(self, name: str, label: str) -> set[str]:
        """All values of a label."""
        return {point.labels[label] for point in self.of(name)}


def _points(data: Any) -> Iterator[tuple[Point, str]]:
    for resource in data.resource_metrics if data is not None else ():
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                for point in metric.data.data_points:
                    labels = dict(point.attributes)
                    if hasattr(point, "bucket_counts"):
                        bounds, buckets = tuple(point.explicit_bounds), tuple(point.bucket_counts)
                        yield Point(metric.name, labels, point.sum, point.count, bounds, buckets), metric.unit
                    else:
                        yield Point(metric.name, labels, point.value), metric.unit


def collected(data: Any) -> Collected:
    """A collection of OpenTelemetry's own."""
    pairs = list(_points(data))
    return Collected((point for point, _ in pairs), {point.name: unit for point, unit in pairs})


def parsed(page: str) -> Collected:
    """A page in the text format, its series under the names of their instruments, unknown ones under their own."""
    points: dict[tuple[str, frozenset[tuple[str, str]]], dict[str, float]] = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            if sample.name.endswith("_bucket"):
                continue
            base, part = sample.name, "value"
            for suffix, name in (("_sum", "value"), ("_count", "count")):
                if family.type == "histogram" and sample.name.endswith(suffix):
                    base, part = sample.name.removesuffix(suffix), name
            values = points.setdefault((PROMETHEUS.get(base, base), frozenset(sample.labels.items())), {})
            assert part not in values, f"{sample.name}{sample.labels} is there twice"
            values[part] = sample.value
    return Collected(
        Point(name, dict(labels), values["value"], int(values["count"]) if "count" in values else None)
        for (name, labels), values in points.items()
    )


DELTA: dict[Any, AggregationTemporality] = dict.fromkeys(
    (Counter, ObservableCounter, Histogram), AggregationTemporality.DELTA
) | dict.fromkeys((UpDownCounter, ObservableUpDownCounter, ObservableGauge), AggregationTemporality.CUMULATIVE)


class Kept(MetricExporter):
    """An exporter that keeps what it is given, as one over OTLP would send it."""

    def __init__(self, temporality: dict[Any, AggregationTemporality] | None = None) -> None:
        super().__init__(preferred_temporality=temporality)
        self.exports: list[Collected] = []

    def export(self, metrics_data: Any, timeout_millis: float = 10_000, **_: Any) -> MetricExportResult:
        self.exports.append(collected(metrics_data))
        return MetricExportResult.SUCCESS

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        return True

    def shutdown(self, timeout_millis: float = 30_000, **_: Any) -> None:
        return None


class Reader:
    """One way to read a provider; adds up what it reads where that comes in pieces.

    Args:
        kind: `memory`, `exporter`, either with ` delta` behind, or `prometheus`.
    """

    KINDS = ("memory", "memory delta", "exporter", "exporter delta", "prometheus")

    def __init__(self, kind: str) -> None:
        self.delta = kind.endswith("delta")
        temporality = DELTA if self.delta else None
        self.registry = CollectorRegistry()
        self.exporter = Kept(temporality)
        self.otel: Any
        if kind == "prometheus":
            self.otel = PrometheusMetricReader(True, registry=self.registry, scope_info_enabled=False)
        elif kind.startswith("memory"):
            self.otel = InMemoryMetricReader(preferred_temporality=temporality)
        else:
            self.otel = PeriodicExportingMetricReader(self.exporter, export_interval_millis=3_600_000)
        self.history: list[Collected] = []

    def collect(self) -> Collected:
        """One collection, as it comes."""
        if isinstance(self.otel, PrometheusMetricReader):
            found = parsed(generate_latest(self.registry).decode())
        elif isinstance(self.otel, InMemoryMetricReader):
            found = collected(self.otel.get_metrics_data())
        else:
            before = len(self.exporter.exports)
            self.otel.force_flush()
            found = self.exporter.exports[-1] if len(self.exporter.exports) > before else Collected(())
        self.history.append(found)
        return found

    def total(self, name: str, **labels: str) -> float:
        """A metric's total (a histogram's sum) according to all collections so far."""
        return sum(found.total(name, **labels) for found in self._relevant(name))

    def count(self, name: str, **labels: str) -> int:
        """A histogram's number of values according to all collections so far."""
        return sum(found.count(name, **labels) for found in self._relevant(name))

    def _relevant(self, name: str) -> list[Collected]:
        return self.history if self.delta and ALL[name].kind in ("counter", "histogram") else self.history[-1:]


_providers: list[MeterProvider] = []


def recording(*kinds: str, views: Iterable[Any] = (), **settings: Any) -> tuple[MeterProvider, list[Reader]]:
    """Configures llmwatch on a provider of the program's own, read by readers of these kinds."""
    readers = [Reader(kind) for kind in kinds]
    provider = MeterProvider([reader.otel for reader in readers], views=list(views), shutdown_on_exit=False)
    _providers.append(provider)
    llmwatch.configure(meter_provider=provider, **settings)
    return provider, readers
