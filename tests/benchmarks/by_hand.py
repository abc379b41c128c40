"""What a careful user writes by hand to record six metrics: with OpenTelemetry, and with prometheus_client.

Six metrics in seven operations a call: active requests up and down, requests, duration, input and output tokens, cost;
one more for an error, which has no tokens and no cost. Labels are those of the pages that teach it, three or four each.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import prometheus_client
from answers import MODEL
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from tools import BARE, Recording, Tool, by_hand

FEATURE, PROVIDER = "chat", "openai"
SIX = "requests, duration, tokens in and out, active requests, errors, cost"
INPUT_PRICE, CACHE_READ_PRICE, OUTPUT_PRICE = 0.15e-6, 0.075e-6, 0.6e-6  # dollars per token of gpt-4o-mini
SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)


def dollars(usage: Any) -> float:
    """What a call costs."""
    cached = usage.prompt_tokens_details.cached_tokens or 0
    whole = (usage.prompt_tokens - cached) * INPUT_PRICE + cached * CACHE_READ_PRICE
    return float(whole + usage.completion_tokens * OUTPUT_PRICE)


class Instruments:
    """The six metrics as instruments of an SDK provider."""

    def __init__(self, provider: MeterProvider, prefix: str = "ai_") -> None:
        meter = provider.get_meter("by-hand")
        self.active = meter.create_up_down_counter(f"{prefix}active_requests", "{request}")
        self.requests = meter.create_counter(f"{prefix}requests", "{request}")
        self.seconds = meter.create_histogram(
            f"{prefix}request_duration", "s", explicit_bucket_boundaries_advisory=list(SECONDS)
        )
        self.tokens = meter.create_counter(f"{prefix}tokens", "{token}")
        self.errors = meter.create_counter(f"{prefix}errors", "{error}")
        self.cost = meter.create_counter(f"{prefix}cost_dollars", "{USD}")


class Fresh:
    """OpenTelemetry, its attributes in a dict where they are needed, as the documentation shows."""

    def __init__(self, to: Instruments) -> None:
        self._to = to

    def opened(self) -> None:
        self._to.active.add(1, {"feature": FEATURE, "provider": PROVIDER, "model": MODEL})

    def answered(self, usage: Any, seconds: float) -> None:
        to = self._to
        to.active.add(-1, {"feature": FEATURE, "provider": PROVIDER, "model": MODEL})
        to.requests.add(1, {"feature": FEATURE, "provider": PROVIDER, "model": MODEL, "status": "success"})
        to.seconds.record(seconds, {"feature": FEATURE, "provider": PROVIDER, "model": MODEL, "status": "success"})
        to.tokens.add(
            usage.prompt_tokens, {"feature": FEATURE, "provider": PROVIDER, "model": MODEL, "direction": "input"}
        )
        to.tokens.add(
            usage.completion_tokens, {"feature": FEATURE, "provider": PROVIDER, "model": MODEL, "direction": "output"}
        )
        to.cost.add(dollars(usage), {"feature": FEATURE, "provider": PROVIDER, "model": MODEL})

    def failed(self, error: Exception, seconds: float) -> None:
        to, kind = self._to, type(error).__name__
        to.active.add(-1, {"feature": FEATURE, "provider": PROVIDER, "model": MODEL})
        to.requests.add(1, {"feature": FEATURE, "provider": PROVIDER, "model": MODEL, "status": "error"})
        to.seconds.record(seconds, {"feature": FEATURE, "provider": PROVIDER, "model": MODEL, "status": "error"})
        to.errors.add(1, {"feature": FEATURE, "provider": PROVIDER, "model": MODEL, "error_type": kind})


class Prebuilt:
    """OpenTelemetry, its attributes in dicts that are made once."""

    def __init__(self, to: Instruments) -> None:
        self._to = to
        self._call = {"feature": FEATURE, "provider": PROVIDER, "model": MODEL}
        self._success = {**self._call, "status": "success"}
        self._error = {**self._call, "status": "error"}
        self._input = {**self._call, "direction": "input"}
        self._output = {**self._call, "direction": "output"}
        self._kinds: dict[str, dict[str, str]] = {}

    def opened(self) -> None:
        self._to.active.add(1, self._call)

    def answered(self, usage: Any, seconds: float) -> None:
        to = self._to
        to.active.add(-1, self._call)
        to.requests.add(1, self._success)
        to.seconds.record(seconds, self._success)
        to.tokens.add(usage.prompt_tokens, self._input)
        to.tokens.add(usage.completion_tokens, self._output)
        to.cost.add(dollars(usage), self._call)

    def failed(self, error: Exception, seconds: float) -> None:
        to, kind = self._to, type(error).__name__
        to.active.add(-1, self._call)
        to.requests.add(1, self._error)
        to.seconds.record(seconds, self._error)
        to.errors.add(1, self._kinds.setdefault(kind, {**self._call, "error_type": kind}))


class Families:
    """The six metrics as prometheus_client has them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        call = ["feature", "provider", "model"]
        self.active = Gauge("ai_active_requests", "", call, registry=registry)
        self.requests = Counter("ai_requests", "", [*call, "status"], registry=registry)
        self.seconds = Histogram(
            "ai_request_duration_seconds", "", [*call, "status"], buckets=SECONDS, registry=registry
        )
        self.tokens = Counter("ai_tokens", "", [*call, "direction"], registry=registry)
        self.errors = Counter("ai_errors", "", [*call, "error_type"], registry=registry)
        self.cost = Counter("ai_cost_dollars", "", call, registry=registry)


class Labelled:
    """prometheus_client, `labels()` where they are needed."""

    def __init__(self, to: Families) -> None:
        self._to = to

    def opened(self) -> None:
        self._to.active.labels(FEATURE, PROVIDER, MODEL).inc()

    def answered(self, usage: Any, seconds: float) -> None:
        to = self._to
        to.active.labels(FEATURE, PROVIDER, MODEL).dec()
        to.requests.labels(FEATURE, PROVIDER, MODEL, "success").inc()
        to.seconds.labels(FEATURE, PROVIDER, MODEL, "success").observe(seconds)
        to.tokens.labels(FEATURE, PROVIDER, MODEL, "input").inc(usage.prompt_tokens)
        to.tokens.labels(FEATURE, PROVIDER, MODEL, "output").inc(usage.completion_tokens)
        to.cost.labels(FEATURE, PROVIDER, MODEL).inc(dollars(usage))

    def failed(self, error: Exception, seconds: float) -> None:
        to = self._to
        to.active.labels(FEATURE, PROVIDER, MODEL).dec()
        to.requests.labels(FEATURE, PROVIDER, MODEL, "error").inc()
        to.seconds.labels(FEATURE, PROVIDER, MODEL, "error").observe(seconds)
        to.errors.labels(FEATURE, PROVIDER, MODEL, type(error).__name__).inc()


class Children:
    """prometheus_client, with children that are looked up once."""

    def __init__(self, to: Families) -> None:
        call = FEATURE, PROVIDER, MODEL
        self._errors = to.errors
        self._active, self._cost = to.active.labels(*call), to.cost.labels(*call)
        self._success, self._error = to.requests.labels(*call, "success"), to.requests.labels(*call, "error")
        self._seconds, self._error_seconds = to.seconds.labels(*call, "success"), to.seconds.labels(*call, "error")
        self._input, self._output = to.tokens.labels(*call, "input"), to.tokens.labels(*call, "output")

    def opened(self) -> None:
        self._active.inc()

    def answered(self, usage: Any, seconds: float) -> None:
        self._active.dec()
        self._success.inc()
        self._seconds.observe(seconds)
        self._input.inc(usage.prompt_tokens)
        self._output.inc(usage.completion_tokens)
        self._cost.inc(dollars(usage))

    def failed(self, error: Exception, seconds: float) -> None:
        self._active.dec()
        self._error.inc()
        self._error_seconds.observe(seconds)
        self._errors.labels(FEATURE, PROVIDER, MODEL, type(error).__name__).inc()


FLOOR = "by hand: OpenTelemetry"


def instruments() -> tuple[Instruments, CollectorRegistry]:
    """The instruments, and the registry in which a Prometheus reader shows them."""
    registry = CollectorRegistry()
    provider = MeterProvider([PrometheusMetricReader(registry=registry)], shutdown_on_exit=False)
    return Instruments(provider), registry


def families() -> tuple[Families, CollectorRegistry]:
    """The same with prometheus_client alone."""
    registry = CollectorRegistry()
    return Families(registry), registry


def hand_written() -> list[Tool]:
    """Each way once, the floor that all others are multiples of first."""
    prometheus_client.disable_created_metrics()
    ways: dict[str, tuple[Recording, CollectorRegistry]] = {}
    to, registry = instruments()
    ways[FLOOR] = Fresh(to), registry
    to, registry = instruments()
    ways["by hand: OpenTelemetry, dicts made once"] = Prebuilt(to), registry
    kept, registry = families()
    ways["by hand: prometheus_client, .labels()"] = Labelled(kept), registry
    kept, registry = families()
    ways["by hand: prometheus_client, children kept"] = Children(kept), registry
    return [
        Tool(name, SIX, by_hand(recording), collect=partial(generate_latest, registry), bare=BARE)
        for name, (recording, registry) in ways.items()
    ]
