"""llmwatch beside others that watch the same calls: OpenTelemetry's GenAI instrumentations, anthropic's own spans."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from support import REPOSITORY, require_module

import llmwatch
from llmwatch._neighbours import neighbours

GENAI = "opentelemetry.instrumentation.genai.openai"
V2 = "opentelemetry.instrumentation.openai_v2"
ADVICE = "llmwatch.configure(semconv='none')"

# Two calls that are answered, one of them a stream, and one that is refused; what vendor and page say of them.
OPENAI = """
import importlib, json, logging, sys
import openai
from urllib.request import urlopen
from opentelemetry.sdk.metrics import MeterProvider
import llmwatch
from llmwatch.simulate import Vendors

module, semconv, apart = json.loads(sys.argv[1])
log = []
handler = logging.Handler()
handler.emit = lambda record: log.append(record.getMessage())
logging.getLogger("llmwatch").addHandler(handler)
provider = MeterProvider(shutdown_on_exit=False)

page = llmwatch.configure(meter_provider=provider, port=0, semconv=semconv)
if module:
    theirs = MeterProvider(shutdown_on_exit=False) if apart else provider
    importlib.import_module(module).OpenAIInstrumentor().instrument(meter_provider=theirs)

@llmwatch.observe_llm(feature="chat", provider="openai", model="gpt-4o-mini-2024-07-18")
def ask(client, **options):
    messages = [{"role": "user", "content": "Which way to the harbour?"}]
    return client.chat.completions.create(model="gpt-4o-mini-2024-07-18", messages=messages, **options)

with Vendors(1, time_scale=0) as vendors, openai.OpenAI(
    base_url=vendors.openai_url, api_key="none", max_retries=0
) as client:
    ask(client)
    list(ask(client, stream=True, stream_options={"include_usage": True}))
    vendors.next("openai", "rate_limit")
    try:
        ask(client)
    except openai.RateLimitError:
        pass
    served = [[entry.input_tokens, entry.output_tokens] for entry in vendors.served]
pages = [urlopen(page.url + "/metrics").read().decode() for _ in range(3)]
import threading
for thread in threading.enumerate():
    if thread.name == "llmwatch-log":
        thread.join()
print(json.dumps({"page": pages[-1], "log": log, "served": served}))
"""

# One call that is asked again after a refusal, and one stream, each with a span of the client's own.
ANTHROPIC = """
import json
import anthropic
from urllib.request import urlopen
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
import llmwatch
from llmwatch.simulate import Behaviour, Vendors

spans = InMemorySpanExporter()
tracing = TracerProvider(shutdown_on_exit=False)
tracing.add_span_processor(SimpleSpanProcessor(spans))
trace.set_tracer_provider(tracing)
provider = MeterProvider(shutdown_on_exit=False)
page = llmwatch.configure(meter_provider=provider, port=0, semconv="both")

@llmwatch.observe_llm(feature="chat", provider="anthropic", model="claude-sonnet-4-6")
def ask(client, **options):
    messages = [{"role": "user", "content": "Which way to the harbour?"}]
    return client.messages.create(model="claude-sonnet-4-6", max_tokens=99, messages=messages, **options)

with Vendors(1, {"anthropic": Behaviour(retry_after=0.01)}, time_scale=0) as vendors, anthropic.Anthropic(
    base_url=vendors.anthropic_url, api_key="none", max_retries=2
) as client:
    llmwatch.watch(client)
    vendors.next("anthropic", "rate_limit")
    ask(client)
    list(ask(client, stream=True))
    served = [[entry.input_tokens, entry.output_tokens] for entry in vendors.served]
names = [[span.instrumentation_scope.name, span.name] for span in spans.get_finished_spans()]
text = urlopen(page.url + "/metrics").read().decode()
print(json.dumps({"page": text, "log": [], "served": served, "spans": names}))
"""


@dataclass(frozen=True)
class Told:
    """What a program has seen: its page, what llmwatch logged, and the tokens in and out of each request served."""

    page: str
    log: list[str]
    served: list[list[int | None]]
    spans: list[list[str]] = ()  # type: ignore[assignment]

    def series(self, name: str) -> list[tuple[dict[str, str], float]]:
        """All series of a metric, without the labels that are empty: to Prometheus those are absent."""
        families = text_string_to_metric_families(self.page)
        return [
            ({label: value for label, value in sample.labels.items() if value}, sample.value)
            for family in families
            for sample in family.samples
            if sample.name == name
        ]

    def total(self, name: str, **only: str) -> float:
        return sum(value for labels, value in self.series(name) if only.items() <= labels.items())

    @property
    def tokens(self) -> dict[str, int]:
        """As the vendor has them."""
        directions = zip(*self.served, strict=True)
        return {name: sum(filter(None, found)) for name, found in zip(("input", "output"), directions, strict=True)}

    @property
    def advice(self) -> list[str]:
        return [line for line in self.log if ADVICE in line]


def run(program: str, *settings: Any) -> Told:
    done = subprocess.run(
        [sys.executable, "-c", program, json.dumps(settings)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return Told(**json.loads(done.stdout.splitlines()[-1]))


def beside(module: str | None, semconv: str | None = None, *, apart: bool = False) -> Told:
    return run(OPENAI, module, semconv, apart)


@pytest.fixture(scope="module", params=[GENAI, V2])
def module(request: pytest.FixtureRequest) -> str:
    """An instrumentation of OpenTelemetry's for openai: the one that is kept, and the one before it."""
    name: str = request.param
    if name == V2:
        pytest.importorskip(
            name, reason="its last release needs httpx and an older util-genai than its successor", exc_type=ImportError
        )
    require_module(name)
    return name


@pytest.fixture(scope="module")
def both(module: str) -> Told:
    """Both on one meter provider, as each is by default."""
    return beside(module)


def is_theirs(labels: dict[str, str]) -> bool:
    return not any(value == "rate_limit" or label == "gen_ai_token_modality" for label, value in labels.items()) and (
        "server_address" in labels or "gen_ai_system" in labels
    )


class TestBothOnOneMeterProvider:
    def test_our_own_metrics_count_each_call_once(self, both: Told) -> None:
        assert both.total("ai_requests_total", status="success") == 2
        assert both.total("ai_requests_total", status="error") == 1
        assert both.total("ai_errors_total", error_type="rate_limit") == 1
        for direction, tokens in both.tokens.items():
            assert both.total("ai_tokens_total", direction=direction) == tokens

    def test_the_conventions_metrics_are_there_twice_and_that_is_said_once(self, both: Told, module: str) -> None:
        assert both.total("gen_ai_client_operation_duration_seconds_count") == 2 * 3
        (advice,) = both.advice
        assert module in advice
        assert "gen_ai.client.operation.duration, " in advice
        assert "gen_ai.client.token.usage " in advice

    def test_the_series_of_both_can_be_told_apart_and_ours_are_right(self, both: Told) -> None:
        usage = both.series("gen_ai_client_token_usage_sum")
        ours = [(labels, tokens) for labels, tokens in usage if not is_theirs(labels)]
        assert {frozenset(labels) for labels, _ in ours} == {
            frozenset(
                {
                    "gen_ai_operation_name",
                    "gen_ai_provider_name",
                    "gen_ai_request_model",
                    "gen_ai_response_model",
                    "gen_ai_token_type",
                }
            )
        }
        assert {labels["gen_ai_token_type"]: tokens for labels, tokens in ours} == both.tokens
        assert len(usage) > len(ours)

    def test_no_series_is_there_twice(self, both: Told) -> None:
        for name in ("gen_ai_client_token_usage_count", "gen_ai_client_operation_duration_seconds_count"):
            found = [frozenset(labels.items()) for labels, _ in both.series(name)]
            assert len(found) == len(set(found))


class TestAvoidingIt:
    def test_with_ours_off_the_conventions_metrics_count_once_and_nothing_is_said(self, module: str) -> None:
        told = beside(module, "none")
        durations = told.series("gen_ai_client_operation_duration_seconds_count")
        assert sum(count for _, count in durations) == 3
        assert all(is_theirs(labels) for labels, _ in durations)
        assert told.total("ai_requests_total") == 3
        assert told.advice == []

    def test_the_newest_convention_has_other_names_than_they_use(self, module: str) -> None:
        told = beside(module, "latest")
        assert told.total("gen_ai_client_operation_duration_seconds_count") == 3
        assert told.total("gen_ai_client_inference_duration_seconds_count") == 3
        assert told.advice == []

    def test_on_a_provider_of_its_own_there_is_nothing_to_say(self, module: str) -> None:
        told = beside(module, apart=True)
        assert told.total("gen_ai_client_operation_duration_seconds_count") == 3
        assert told.advice == []

    def test_without_another_instrumentation_there_is_nothing_to_say(self) -> None:
        told = beside(None)
        assert told.total("gen_ai_client_operation_duration_seconds_count") == 3
        assert told.log == []


@pytest.fixture(scope="module")
def told() -> Told:
    require_module("anthropic._tracing")
    return run(ANTHROPIC)


class TestTheSpansOfAnthropic:
    """From version 1 on the client makes a span for each call, but records no metric."""

    def test_each_call_has_one_span_and_is_counted_once(self, told: Told) -> None:
        assert [scope for scope, _ in told.spans] == ["com.anthropic.sdk.python"] * 2
        assert told.total("ai_requests_total") == told.total("ai_requests_total", status="success") == 2

    def test_its_attempts_are_counted_once(self, told: Told) -> None:
        assert told.total("ai_attempts_total") == len(told.served) == 3
        assert told.total("ai_attempts_total", outcome="rate_limit") == 1

    def test_its_tokens_are_counted_once(self, told: Told) -> None:
        for direction, tokens in told.tokens.items():
            assert told.total("ai_tokens_total", direction=direction) == tokens
            assert told.total("gen_ai_client_token_usage_sum", gen_ai_token_type=direction) == tokens
            assert told.total(f"gen_ai_client_inference_usage_{direction}_tokens_total") == tokens

    def test_every_metric_of_the_page_is_ours(self, told: Told) -> None:
        names = {family.name for family in text_string_to_metric_families(told.page)}
        assert {name for name in names if not name.startswith(("ai_", "gen_ai_", "llmwatch_"))} == {"target_info"}


class Elsewhere:
    """A meter provider that is not the SDK's."""

    _meters = "none of your business"


@pytest.mark.parametrize("provider", [None, object(), Elsewhere()])
def test_a_provider_that_cannot_be_looked_into_has_no_neighbours(provider: object) -> None:
    assert neighbours(provider, {"gen_ai.client.token.usage"}, "llmwatch") == {}


def test_the_advice_names_a_setting_that_there_is() -> None:
    require_module("opentelemetry.sdk.metrics")
    with pytest.raises(ValueError, match="'none'"):
        llmwatch.configure(semconv="nothing")  # type: ignore[arg-type]
