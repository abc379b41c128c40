"""A real Prometheus scrapes a program that calls simulated vendors with the vendors' own clients."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from recording import ALL, DECLARABLE, ERROR_TYPES, LATEST, OURS, STATUSES, apart
from support import require, require_module

import llmwatch
from llmwatch import observe_llm, track_request

pytestmark = pytest.mark.filterwarnings("ignore:The model:DeprecationWarning")

GPT, CLAUDE = "gpt-4o-mini-2024-07-18", "claude-sonnet-4-5"
PATIENCE = 30.0  # seconds, after which something that ought to come does not come any more
# Labels that only some of a metric's calls can have; without a value they are absent in Prometheus.
SELDOM = {"agent", "tier", "error_type", "price_table", "model", "account"}


@dataclass(frozen=True)
class Prometheus:
    """A running server, asked by its HTTP API."""

    url: str

    def get(self, path: str, **parameters: str) -> Any:
        query = urllib.parse.urlencode({name.replace("match", "match[]"): value for name, value in parameters.items()})
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{query}", timeout=10) as answer:
            return json.load(answer)["data"]

    def value(self, query: str) -> float | None:
        """The one value of an expression; `None` while there is none."""
        result = self.get("query", query=query)["result"]
        return float(result[0]["value"][1]) if result else None


def until(condition: Callable[[], object], what: str) -> None:
    """Waits for something that another process does."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come"
        time.sleep(0.1)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[int], Prometheus]]:
    """Starts a server that scrapes a port of loopback once a second."""
    program = require("prometheus")
    running: list[subprocess.Popen[bytes]] = []

    def start(target: int) -> Prometheus:
        folder, port = tmp_path_factory.mktemp("prometheus"), free_port()
        settings = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
            "scrape_configs": [{"job_name": "app", "static_configs": [{"targets": [f"127.0.0.1:{target}"]}]}],
        }
        (folder / "prometheus.yml").write_text(json.dumps(settings))
        running.append(serving(program, folder, port))
        until(lambda: answers(f"http://127.0.0.1:{port}/-/ready"), "Prometheus")
        return Prometheus(f"http://127.0.0.1:{port}")

    try:
        yield start
    finally:
        for process in running:
            process.terminate()
            process.wait(20)


def serving(program: str, folder: Path, port: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [
            program,
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--log.level=error",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


@observe_llm(feature="chat", provider="openai", model=GPT)
def chat(client: Any) -> Any:
    return client.chat.completions.create(model=GPT, messages=[{"role": "user", "content": "Which way? " * 200}])


@observe_llm(feature="chat", provider="openai", model=GPT)
def stream(client: Any) -> Any:
    return client.chat.completions.create(
        model=GPT,
        messages=[{"role": "user", "content": "Which way?"}],
        stream=True,
        stream_options={"include_usage": True},
    )


@observe_llm(feature="summary", provider="anthropic", model=CLAUDE, agent="writer", tier="pro")
def summarise(client: Any) -> Any:
    return client.messages.create(
        model=CLAUDE, max_tokens=200, messages=[{"role": "user", "content": "Sum up. " * 200}]
    )


def make_calls() -> None:
    """Whatever gives a metric something to count."""
    anthropic, openai = require_module("anthropic"), require_module("openai")
    simulate = require_module("llmwatch.simulate")
    busy = simulate.Behaviour(answer_tokens=40, cached_share=0.4, cache_write_share=0.2, reasoning_share=0.2)
    with (
        simulate.Vendors(7, {"openai": busy, "anthropic": busy}, time_scale=0.0) as vendors,
        openai.OpenAI(base_url=vendors.openai_url, api_key="sk-none", max_retries=0) as gpt,
        anthropic.Anthropic(base_url=vendors.anthropic_url, api_key="sk-none", max_retries=0) as claude,
    ):
        llmwatch.watch(gpt, account="team")
        with llmwatch.observe_agent("planner"), llmwatch.attribute(tier="free"):
            for _ in range(3):
                chat(gpt)
            list(stream(gpt))
            look_up()
        for _ in range(2):
            summarise(claude)
        vendors.next("openai", "rate_limit")
        with pytest.raises(openai.RateLimitError):
            chat(gpt)
        vendors.next("anthropic", "overloaded")
        with pytest.raises(anthropic.APIStatusError):
            summarise(claude)
    with track_request(
        feature="odd", provider="openai", model="nobody-prices-it", agent="third", tier="pro"
    ) as request:
        request.record(input_tokens=3, output_tokens=2)
    with track_request(feature="odd", provider="openai", model=GPT, tier="free", nobody_declared="this"):
        pass
    with pytest.raises(TimeoutError):
        fail_after_usage()
    with pytest.raises(TimeoutError):
        get_lost()


@llmwatch.observe_agent("planner")
def get_lost() -> None:
    with llmwatch.observe_tool("map"):
        raise TimeoutError


@llmwatch.observe_tool
def look_up() -> None:
    llmwatch.record_guard("pii", "allowed", stage="output", feature="chat")


def fail_after_usage() -> None:
    with track_request(feature="odd", provider="openai", model=GPT) as request:
        request.record(input_tokens=3, output_tokens=2)
        raise TimeoutError


@pytest.fixture(scope="module")
def scraped(prometheus: Callable[[int], Prometheus]) -> Iterator[Prometheus]:
    """A Prometheus that has seen the program before its first call, and after its last."""
    with apart() as faults:
        faults.expected = {"labels"}
        configuration = llmwatch.configure(
            service_name="shop",
            port=0,
            labels={"tier": ["free", "pro"]},
            label_limits={"agent": 2},
            semconv="both",
        )
        observe_llm(feature="chat", provider="openai", model=GPT, agent="planner", tier="free")(chat)
        server = prometheus(configuration.port)
        until(lambda: server.value('ai_requests_total{agent="planner",status="success"}') == 0, "the first scrape")
        make_calls()
        until(lambda: (server.value('sum(ai_requests_total{feature="odd"})') or 0) >= 3, "the last calls")
        until(lambda: server.value('ai_requests_total{agent="planner",status="success"}') == 4, "the first calls")
        yield server


@dataclass(frozen=True)
class Series:
    """All series of a metric: the label sets, without those that Prometheus adds."""

    labels: list[frozenset[str]]

    @property
    def all(self) -> frozenset[str]:
        return frozenset().union(*self.labels)


def metric_of(series: str) -> str:
    """The metric that a series belongs to, under its instrument's name; the series' own name when it is unknown."""
    by_name = {row.prometheus: name for name, row in ALL.items()}
    for suffix in ("_bucket", "_sum", "_count"):
        name = by_name.get(series.removesuffix(suffix))
        if series.endswith(suffix) and name is not None and ALL[name].kind == "histogram":
            return name
    return by_name.get(series, series)


def everything(server: Prometheus) -> dict[str, Series]:
    found: dict[str, list[frozenset[str]]] = {}
    for series in server.get("series", match='{__name__=~"(ai|gen_ai|llmwatch)_.+"}'):
        labels = frozenset(series) - {"__name__", "instance", "job", "le"}
        found.setdefault(metric_of(series["__name__"]), []).append(labels)
    return {name: Series(labels) for name, labels in found.items()}


def catalogued(name: str) -> set[str]:
    labels = {label.replace(".", "_") for label in ALL[name].labels}
    return labels | {"tier"} if name in DECLARABLE else labels


def test_prometheus_finds_the_program_healthy(scraped: Prometheus) -> None:
    (target,) = scraped.get("targets")["activeTargets"]

    assert (target["health"], target["lastError"]) == ("up", "")
    assert scraped.value('scrape_samples_scraped{job="app"}') == scraped.value(
        'scrape_samples_post_metric_relabeling{job="app"}'
    )


def test_every_catalogued_metric_that_the_program_can_produce_is_scraped(scraped: Prometheus) -> None:
    assert set(ALL) - set(everything(scraped)) == set()


def test_every_scraped_series_is_catalogued(scraped: Prometheus) -> None:
    assert set(everything(scraped)) - set(ALL) == set()


@pytest.mark.parametrize("name", ALL)
def test_a_metric_has_exactly_its_catalogued_labels(scraped: Prometheus, name: str) -> None:
    series = everything(scraped)[name]

    assert series.all == catalogued(name)
    if name in OURS:
        assert {labels for labels in series.labels if not labels >= catalogued(name) - SELDOM} == set()


def test_prometheus_knows_the_type_of_every_metric(scraped: Prometheus) -> None:
    types = {"counter": "counter", "histogram": "histogram", "gauge": "gauge", "updown": "gauge"}
    told = scraped.get("metadata")

    for name, row in ALL.items():
        metadata = told.get(row.prometheus) or told[row.prometheus.removesuffix("_total")]
        assert {entry["type"] for entry in metadata} == {types[row.kind]}, name


def test_the_first_calls_can_be_seen_as_an_increase(scraped: Prometheus) -> None:
    calls = 'ai_requests_total{feature="chat",agent="planner",tier="free",status="success"}'

    assert scraped.value(f"min_over_time({calls}[5m])") == 0
    assert scraped.value(f"max_over_time({calls}[5m])") == 4


def test_the_numbers_in_prometheus_are_the_calls_that_were_made(scraped: Prometheus) -> None:
    assert scraped.value("sum(ai_requests_total)") == 11
    assert scraped.value('sum(ai_requests_total{status="error"})') == 3
    assert scraped.value('sum(ai_errors_total{error_type="rate_limit",feature="chat"})') == 1
    assert scraped.value('sum(ai_errors_total{error_type="overloaded",feature="summary"})') == 1
    assert scraped.value('sum(ai_request_duration_seconds_count{feature="chat"})') == 5
    assert scraped.value('sum(ai_request_duration_seconds_bucket{le="+Inf"})') == 11
    assert scraped.value("sum(ai_active_requests)") == 0
    assert scraped.value("sum(ai_tokens_total) == sum(gen_ai_client_token_usage_sum)") is not None
    assert (scraped.value('sum(ai_cost_dollars_total{kind="cache_write"})') or 0) > 0


def test_alerts_find_a_series_for_every_status_and_error(scraped: Prometheus) -> None:
    selector = 'feature="chat",agent="planner",tier="free"'

    assert scraped.value(f"count(ai_requests_total{{{selector}}})") == len(STATUSES)
    assert scraped.value(f"count(ai_errors_total{{{selector}}})") == len(ERROR_TYPES)
    assert scraped.value('histogram_quantile(0.95, sum by (le) (ai_request_duration_seconds_bucket{feature="chat"}))')


def test_no_series_carries_scope_labels(scraped: Prometheus) -> None:
    assert [label for label in scraped.get("labels") if label.startswith("otel_scope")] == []


def test_the_target_s_service_is_named(scraped: Prometheus) -> None:
    (target,) = scraped.get("series", match="target_info")

    assert target["service_name"] == "shop"


# What nothing in the demo brings about: it declares no labels, has no failure of its own and records one convention.
NOT_IN_THE_DEMO = {"llmwatch_internal_errors", "llmwatch_label_overflow", "ai_unpriced_requests"} | set(LATEST)


@pytest.fixture(scope="module")
def demo(prometheus: Callable[[int], Prometheus]) -> Iterator[Prometheus]:
    """A Prometheus that has watched the demo, as the README starts it, for some seconds."""
    port = free_port()
    arguments = ["--plain", "--seed", "1", "--rate", "12", "--seconds", "25", "--port", str(port)]
    with subprocess.Popen(
        [sys.executable, "-m", "llmwatch", "demo", *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as running:
        try:
            until(lambda: answers(f"http://127.0.0.1:{port}/metrics"), "the demo's page")
            server = prometheus(port)
            for status in STATUSES:
                until(lambda status=status: server.value(f'sum(ai_requests_total{{status="{status}"}}) > 0'), status)
            yield server
        finally:
            running.terminate()
            running.wait(30)


def test_every_metric_that_the_demo_can_produce_is_scraped_from_it(demo: Prometheus) -> None:
    expected = set(ALL) - NOT_IN_THE_DEMO

    assert expected - set(everything(demo)) == set()


def test_the_demo_s_series_are_catalogued_with_exactly_their_labels(demo: Prometheus) -> None:
    for name, series in everything(demo).items():
        assert name in ALL
        labels = {label.replace(".", "_") for label in ALL[name].labels}
        assert series.all <= labels, name
        if name in OURS:
            always = labels - SELDOM - {"model", "provider"}
            assert [kept for kept in series.labels if not kept >= always] == [], name
    assert [label for label in demo.get("labels") if label.startswith("otel_scope")] == []


def test_the_three_questions_of_the_demo_s_introduction_have_answers(demo: Prometheus) -> None:
    cost = demo.get("query", query="topk(3, sum by (feature, model) (ai_cost_dollars_total))")["result"]
    tokens = demo.get("query", query="topk(1, sum by (agent) (ai_tokens_total{agent!=''}))")["result"]
    quantile = "histogram_quantile(0.95, sum by (le, provider) (ai_request_duration_seconds_bucket))"
    slow = demo.get("query", query=quantile)["result"]

    assert len(cost) == 3
    assert tokens[0]["metric"]["agent"] in {"researcher", "writer"}
    assert {"openai", "anthropic"} <= {found["metric"].get("provider") for found in slow}
