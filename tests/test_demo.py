"""The demo as its audience sees it, and its numbers against the ledger of what the simulated vendors really served."""

from __future__ import annotations

import http.client
import io
import re
import signal
import socket
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from itertools import combinations
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample
from rich.console import Console

from llmwatch.demo import Performance, run
from llmwatch.demo._numbers import History, Line, Numbers, quantile, read
from llmwatch.demo._table import LineScreen, Moment, TableScreen, count, duration, introduction, money, summary, table
from llmwatch.simulate import Served
from llmwatch.testing import capture

ROOT = Path(__file__).parent.parent
GPT, EMBEDDING, CLAUDE = "gpt-4o-mini-2024-07-18", "text-embedding-3-small", "claude-sonnet-4-6"
INF = float("inf")


def samples(page: str) -> list[Sample]:
    return [sample for family in text_string_to_metric_families(page) for sample in family.samples]


def summed(page: str, name: str, *labels: str, **only: str) -> dict[tuple[str, ...], float]:
    """What PromQL's `sum by (labels) (name{only})` says, without what is 0."""
    sums: Counter[tuple[str, ...]] = Counter()
    for sample in samples(page):
        if sample.name == name and only.items() <= sample.labels.items():
            sums[tuple(sample.labels[label] for label in labels)] += sample.value  # type: ignore[assignment]
    return {key: value for key, value in sums.items() if value}


@pytest.fixture(scope="module")
def shown() -> tuple[Performance, str]:
    """One run in this process, in an environment with a proxy that is not there, and what it printed."""
    output = io.StringIO()
    with capture(strict=False), pytest.MonkeyPatch.context() as environment:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            environment.setenv(name, "http://127.0.0.1:9")
        for name in ("NO_PROXY", "no_proxy"):
            environment.delenv(name, raising=False)
        performance = run(seconds=7, seed=1, rate=12, port=0, console=Console(file=output, width=80))
    return performance, output.getvalue()


@pytest.fixture(scope="module")
def performance(shown: tuple[Performance, str]) -> Performance:
    return shown[0]


def tokens(entries: Iterable[Served]) -> tuple[float, float]:
    """In and out."""
    both = [(entry.input_tokens or 0, entry.output_tokens or 0) for entry in entries]
    return sum(into for into, _ in both), sum(out for _, out in both)


@pytest.fixture(scope="module")
def heard(performance: Performance) -> list[Served]:
    """What the vendors served, without the streams that they had written to their end when the reader left.

    A busy machine has some: bytes that lie in a socket are served to the vendor, and unread to the application. They
    are found by what they would add to the books, and may be no more than the chats that were left.
    """
    left = sum(
        int(sum(summed(performance.page, "ai_requests_total", feature="chat", status=status).values()))
        for status in ("abandoned", "cancelled")
    )
    counted = summed(performance.page, "ai_tokens_total", "direction", model=GPT)
    answered = [entry for entry in performance.served if entry.response_model == GPT]
    stated = tokens(answered)
    surplus = stated[0] - counted["input",], stated[1] - counted["output",]
    chats = [entry for entry in answered if entry.api == "chat" and entry.streamed and entry.outcome == "ok"]
    for size in range(left + 1):
        for unheard in combinations(chats, size):
            if tokens(unheard) == surplus:
                return [entry for entry in performance.served if not any(entry is it for it in unheard)]
    pytest.fail(f"tokens that were served and not counted, though nobody left: {surplus}")


class TestThePage:
    def test_it_counts_as_answered_what_the_vendors_served_in_full(
        self, performance: Performance, heard: list[Served]
    ) -> None:
        served = Counter((entry.response_model,) for entry in heard if entry.outcome == "ok")
        assert summed(performance.page, "ai_requests_total", "model", status="success") == served

    def test_its_tokens_are_those_that_the_vendors_stated(self, performance: Performance, heard: list[Served]) -> None:
        stated: Counter[tuple[str, ...]] = Counter()
        for entry in heard:
            if entry.response_model is not None:
                stated[entry.response_model, "input"] += entry.input_tokens or 0
                stated[entry.response_model, "output"] += entry.output_tokens or 0
        assert summed(performance.page, "ai_tokens_total", "model", "direction") == +stated

    def test_its_tokens_from_and_to_the_cache_are_those_that_the_vendors_stated(
        self, performance: Performance, heard: list[Served]
    ) -> None:
        stated: Counter[tuple[str, ...]] = Counter()
        for entry in heard:
            if entry.response_model is not None:
                stated[entry.response_model, "cache_read"] += entry.cache_read_tokens or 0
                stated[entry.response_model, "cache_write"] += entry.cache_write_tokens or 0
        counted = summed(performance.page, "ai_tokens_total", "model", "kind")
        assert {key: value for key, value in counted.items() if key[1].startswith("cache")} == +stated

    def test_its_dollars_are_the_tokens_at_the_vendors_list_prices(
        self, performance: Performance, heard: list[Served]
    ) -> None:
        # Dollars for a million tokens of input, cache read, cache write and output: openai.com/api/pricing and
        # claude.com/pricing.
        prices = {
            GPT: ("0.15", "0.075", "0", "0.60"),
            EMBEDDING: ("0.02", "0", "0", "0"),
            CLAUDE: ("3", "0.30", "3.75", "15"),
        }
        dollars: defaultdict[str, Decimal] = defaultdict(Decimal)
        for entry in heard:
            if entry.response_model is not None:
                text, read, write, out = (Decimal(price) / 1_000_000 for price in prices[entry.response_model])
                cached, written = entry.cache_read_tokens or 0, entry.cache_write_tokens or 0
                fresh = (entry.input_tokens or 0) - cached - written
                dollars[entry.response_model] += fresh * text + cached * read + written * write
                dollars[entry.response_model] += (entry.output_tokens or 0) * out
        charged = summed(performance.page, "ai_cost_dollars_total", "model")
        assert charged == {(model,): pytest.approx(float(value)) for model, value in dollars.items()}

    def test_every_way_in_which_a_call_can_end_appears(self, performance: Performance) -> None:
        endings = summed(performance.page, "ai_requests_total", "status")
        assert endings.keys() == {("success",), ("error",), ("cancelled",), ("abandoned",)}

    def test_every_failed_call_has_its_reason_and_none_fails_by_a_mistake_of_the_demo(
        self, performance: Performance
    ) -> None:
        reasons = summed(performance.page, "ai_errors_total", "error_type")
        assert sum(reasons.values()) == sum(summed(performance.page, "ai_requests_total", status="error").values())
        assert ("timeout",) in reasons
        assert reasons.keys() <= {
            (kind,) for kind in ("timeout", "rate_limit", "server_error", "overloaded", "connection")
        }

    def test_no_call_is_open_at_the_end(self, performance: Performance) -> None:
        gauges = [sample.value for sample in samples(performance.page) if sample.name == "ai_active_requests"]
        assert gauges
        assert set(gauges) == {0.0}

    def test_calls_belong_to_the_features_models_and_agents_that_make_them(self, performance: Performance) -> None:
        made = summed(performance.page, "ai_requests_total", "feature", "provider", "model", "operation", "agent")
        assert made.keys() == {
            ("chat", "openai", GPT, "chat", ""),
            ("search", "openai", EMBEDDING, "embeddings", "researcher"),
            ("search", "openai", GPT, "chat", "researcher"),
            ("summarise", "anthropic", CLAUDE, "chat", "writer"),
            ("triage", "openai", GPT, "chat", ""),
            ("triage", "anthropic", CLAUDE, "chat", ""),
        }

    def test_every_attempt_is_a_request_that_a_vendor_dealt_with(self, performance: Performance) -> None:
        dealt_with = Counter((entry.provider,) for entry in performance.served)
        assert summed(performance.page, "ai_attempts_total", "provider") == dealt_with
        assert summed(performance.page, "ai_attempt_duration_seconds_count", "provider") == dealt_with
        of_openai = Counter((entry.model,) for entry in performance.served if entry.provider == "openai")
        assert summed(performance.page, "ai_attempts_total", "model", provider="openai") == of_openai

    def test_attempts_fail_as_often_and_for_the_reasons_that_the_vendors_say(self, performance: Performance) -> None:
        refused = Counter(
            (entry.provider, entry.error) for entry in performance.served if entry.error and entry.status >= 400
        )
        outcomes = summed(performance.page, "ai_attempts_total", "provider", "outcome")
        assert {key: outcomes.get(key) for key in refused} == refused
        assert outcomes.keys() - refused.keys() <= {
            (provider, outcome)
            for provider in ("openai", "anthropic")
            for outcome in ("ok", "timeout", "connection", "cancelled")
        }

    def test_what_the_vendors_limits_leave_is_known_for_each_account_and_model(self, performance: Performance) -> None:
        told = summed(performance.page, "ai_rate_limit_limit", "provider", "account", "model", "resource")
        limits = {key: limit for key, limit in told.items() if key[2]}
        # As set for the simulated vendors; OpenAI counts tokens together, Anthropic by direction.
        assert limits == {
            ("openai", "demo-openai", GPT, "requests"): 5_000,
            ("openai", "demo-openai", GPT, "tokens"): 12_000_000,
            ("openai", "demo-openai", EMBEDDING, "requests"): 10_000,
            ("openai", "demo-openai", EMBEDDING, "tokens"): 12_000_000,
            ("anthropic", "demo-anthropic", CLAUDE, "requests"): 10_000,
            ("anthropic", "demo-anthropic", CLAUDE, "input_tokens"): 10_000_000,
            ("anthropic", "demo-anthropic", CLAUDE, "output_tokens"): 2_000_000,
            ("anthropic", "demo-anthropic", CLAUDE, "tokens"): 12_000_000,
        }
        left = summed(performance.page, "ai_rate_limit_remaining", "provider", "account", "model", "resource")
        assert left.keys() == told.keys()
        assert all(0.9 * told[key] < left[key] <= told[key] for key in left)  # seconds of use, of a minute's worth

    def test_llmwatch_has_met_no_failure_of_its_own(self, performance: Performance) -> None:
        assert summed(performance.page, "llmwatch_internal_errors_total", "where") == {}

    def test_every_call_of_the_demo_has_a_price(self, performance: Performance) -> None:
        assert summed(performance.page, "ai_unpriced_requests_total", "model", "reason") == {}

    def test_a_proxy_of_the_environment_keeps_no_call_from_loopback(self, performance: Performance) -> None:
        answered = summed(performance.page, "ai_requests_total", "provider", status="success")
        assert answered.keys() == {("openai",), ("anthropic",)}

    def test_it_says_whose_it_is(self, performance: Performance) -> None:
        assert summed(performance.page, "target_info", "service_name") == {("llmwatch-demo",): 1.0}


class TestOnePageFromTheRequestToTheModel:
    """By hand: a visitor's request, the guard that looks at it, the agent, its tools, and the calls that they make."""

    def test_its_http_requests_are_those_of_the_visitors(self, performance: Performance) -> None:
        visited: Counter[tuple[str, ...]] = Counter()
        for (path, _), visits in performance.visits.items():
            visited[path,] += visits
        assert summed(performance.page, "http_server_request_duration_seconds_count", "http_route") == visited

    def test_its_http_statuses_are_those_that_the_visitors_got(self, performance: Performance) -> None:
        labels = ("http_route", "http_response_status_code")
        answered = summed(performance.page, "http_server_request_duration_seconds_count", *labels)
        got = Counter({key: visits for key, visits in performance.visits.items() if key[1] != "left"})
        left = sum(visits for (_, status), visits in performance.visits.items() if status == "left")
        assert all(answered[key] >= visits for key, visits in got.items())
        assert sum(answered.values()) - sum(got.values()) == left
        assert left
        assert {status for _, status in answered} <= {"200", "422", "502", "504"}

    def test_tools_and_guards_are_used_as_often_as_the_systems_behind_them_say(self, performance: Performance) -> None:
        tools = summed(performance.page, "ai_tool_calls_total", "tool", "status")
        guards = summed(performance.page, "ai_guard_decisions_total", "guard", "decision")
        failed_inside = {("search_handbook", "error")}  # the embedding failed, and the handbook was not asked
        counted = {key: count for key, count in (tools | guards).items() if key not in failed_inside}
        assert counted == performance.journal
        assert {name for name, _ in counted} == {"search_handbook", "house_style", "look_up_order", "pii", "grounding"}

    def test_each_request_is_looked_at_by_one_guard(self, performance: Performance) -> None:
        requests = summed(performance.page, "http_server_request_duration_seconds_count", "http_route")
        looked_at = summed(performance.page, "ai_guard_decisions_total", "feature", guard="pii", stage="input")
        routes = {"/chat": "chat", "/search": "search", "/tickets": "triage"}
        assert looked_at == {(feature,): requests[route,] for route, feature in routes.items()}

    def test_a_search_is_a_run_of_the_researcher_which_uses_a_tool_that_calls_a_model(
        self, performance: Performance
    ) -> None:
        page = performance.page
        requests = summed(page, "http_server_request_duration_seconds_count", http_route="/search")[()]
        runs = summed(page, "ai_agent_runs_total", "agent", "status")
        tools = summed(page, "ai_tool_calls_total", "agent", "tool", "status")
        embeddings = summed(page, "ai_requests_total", "agent", "status", model=EMBEDDING)
        conclusions = summed(page, "ai_requests_total", "agent", "status", feature="search", model=GPT)
        checked = summed(page, "ai_guard_decisions_total", guard="grounding", stage="output", feature="search")[()]
        assert runs["researcher", "success"] + runs.get(("researcher", "error"), 0) == requests
        for status in ("success", "error"):
            used = tools.get(("researcher", "search_handbook", status), 0)
            assert embeddings.get(("researcher", status), 0) == used
        assert sum(conclusions.values()) == tools["researcher", "search_handbook", "success"]
        assert conclusions["researcher", "success"] == runs["researcher", "success"] == checked

    def test_a_summary_is_a_run_of_the_writer_with_one_tool_and_one_call(self, performance: Performance) -> None:
        page = performance.page
        requests = summed(page, "http_server_request_duration_seconds_count", http_route="/summaries")
        assert summed(page, "ai_agent_runs_total", agent="writer") == requests
        assert summed(page, "ai_tool_calls_total", agent="writer", tool="house_style") == requests
        assert summed(page, "ai_requests_total", agent="writer") == requests
        per_run = summed(page, "ai_agent_run_requests_sum", agent="writer")
        assert per_run == summed(page, "ai_agent_run_requests_count", agent="writer") == requests

    def test_what_the_agents_runs_consumed_is_what_their_calls_consumed(self, performance: Performance) -> None:
        for agent in ("researcher", "writer"):
            consumed = summed(performance.page, "ai_tokens_total", agent=agent)
            assert summed(performance.page, "ai_agent_run_tokens_sum", agent=agent) == consumed

    def test_nothing_of_it_is_left_open(self, performance: Performance) -> None:
        assert summed(performance.page, "http_server_active_requests") == {}

    def test_no_label_of_it_names_the_scope_that_it_comes_from(self, performance: Performance) -> None:
        assert {label for sample in samples(performance.page) for label in sample.labels if "otel" in label} == set()


class TestTheWords:
    def test_they_say_where_to_look_and_what_to_ask(self, shown: tuple[Performance, str]) -> None:
        assert re.search(r"Metrics: +http://127\.0\.0\.1:\d+/metrics", shown[1])
        assert re.search(r"Application: +http://127\.0\.0\.1:\d+ ", shown[1])
        assert re.search(r"curl -X POST http://127\.0\.0\.1:\d+/incidents/rate-limit", shown[1])
        assert len(re.findall(r"^    sum by .*\[5m\]", shown[1], re.MULTILINE)) == 3
        assert "Ctrl-C" in shown[1]

    def test_every_metric_in_them_is_on_the_page(self, shown: tuple[Performance, str]) -> None:
        named = set(re.findall(r"ai_\w+", introduction("http://127.0.0.1:9465", "http://127.0.0.1:9464")))
        assert len(named) == 3
        assert named <= {sample.name for sample in samples(shown[0].page)}

    def test_the_last_of_them_say_what_the_page_says(self, shown: tuple[Performance, str]) -> None:
        endings = summed(shown[0].page, "ai_requests_total", "status")
        ended = [int(endings[status,]) for status in ("success", "error", "cancelled", "abandoned")]
        words = f"{sum(ended)} calls: {{}} answered, {{}} failed, {{}} cancelled, {{}} left early"
        *_, calls, amounts = shown[1].splitlines()
        assert calls == words.format(*ended)
        assert amounts.endswith("; 0 open")

    def test_they_fit_into_80_columns(self, shown: tuple[Performance, str]) -> None:
        assert max(len(text) for text in shown[1].splitlines()) <= 80


@contextmanager
def demo(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The demo in a process of its own: the process, and the port of its metrics."""
    command = [sys.executable, "-m", "llmwatch", "demo", "--plain", "--seed", "1", "--port", "0", *arguments]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        for text in process.stdout:
            if found := re.search(r"http://127\.0\.0\.1:(\d+)/metrics", text):
                break
        assert found, process.communicate()
        yield process, int(found[1])
    finally:
        process.kill()
        process.communicate()


def scraped(port: int) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", "/metrics")
    return connection.getresponse().read().decode()


def wait_for_answers(port: int, least: float) -> float:
    """Scrapes until so many calls have been answered; how many have been."""
    while (answers := sum(summed(scraped(port), "ai_requests_total", status="success").values())) < least:
        time.sleep(0.2)
    return answers


class TestTheProcess:
    def test_its_metrics_can_be_scraped_while_it_runs_and_it_ends_by_itself(self) -> None:
        with demo("--seconds", "6") as (process, port):
            first = wait_for_answers(port, 1)
            second = wait_for_answers(port, first + 1)
            output, errors = process.communicate(timeout=60)
        last = int(re.findall(r"(\d+) answered", output)[-1])
        assert first < second <= last
        assert (process.returncode, errors) == (0, "")
        assert output.endswith("; 0 open\n")

    def test_ctrl_c_ends_it_in_good_order(self) -> None:
        with demo() as (process, port):
            wait_for_answers(port, 1)
            process.send_signal(signal.SIGINT)
            output, errors = process.communicate(timeout=60)
        assert (process.returncode, errors) == (0, "")
        assert output.endswith("; 0 open\n")

    def test_a_second_ctrl_c_does_not_wait_for_open_calls(self) -> None:
        with demo() as (process, port):
            wait_for_answers(port, 1)
            process.send_signal(signal.SIGINT)
            process.send_signal(signal.SIGINT)
            output, errors = process.communicate(timeout=60)
        assert (process.returncode, errors) == (0, "")
        assert output.endswith("; 0 open\n")


def test_a_port_that_is_taken_is_replaced_by_a_free_one_and_said_so() -> None:
    output = io.StringIO()
    with capture(strict=False), socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        run(seconds=0.2, port=port, console=Console(file=output, width=200))
    used = re.search(r"http://127\.0\.0\.1:(\d+)/metrics", output.getvalue())
    assert used
    assert int(used[1]) != port
    assert f"Port {port} cannot be had (Address already in use): using {used[1]} instead." in output.getvalue()


PAGE = f"""
# TYPE ai_requests_total counter
ai_requests_total{{agent="a",feature="chat",model="m",operation="chat",provider="p",status="success"}} 3.0
ai_requests_total{{agent="b",feature="chat",model="m",operation="chat",provider="p",status="success"}} 4.0
ai_requests_total{{agent="b",feature="chat",model="m",operation="chat",provider="p",status="error"}} 2.0
ai_requests_total{{agent="b",feature="chat",model="{GPT}",operation="chat",provider="p",status="abandoned"}} 1.0
ai_tokens_total{{agent="",direction="input",feature="chat",kind="text",model="m",operation="chat",provider="p"}} 10.0
ai_tokens_total{{agent="",direction="input",feature="chat",kind="audio",model="m",operation="chat",provider="p"}} 5.0
ai_tokens_total{{agent="",direction="output",feature="chat",kind="text",model="m",operation="chat",provider="p"}} 7.0
ai_errors_total{{agent="",error_type="timeout",feature="chat",model="m",operation="chat",provider="p"}} 2.0
ai_errors_total{{agent="",error_type="quota",feature="chat",model="m",operation="chat",provider="p"}} 0.0
ai_active_requests{{feature="chat",model="m",provider="p"}} 2.0
ai_cost_dollars_total{{cost_source="table",direction="input",feature="chat",kind="text",model="m"}} 0.5
ai_request_duration_seconds_bucket{{feature="chat",le="1.0",model="m",status="success"}} 3.0
ai_request_duration_seconds_bucket{{feature="chat",le="1.0",model="m",status="error"}} 1.0
ai_request_duration_seconds_bucket{{feature="chat",le="+Inf",model="m",status="success"}} 7.0
ai_request_duration_seconds_bucket{{feature="chat",le="+Inf",model="m",status="error"}} 2.0
ai_request_duration_seconds_count{{feature="chat",model="m",status="success"}} 7.0
gen_ai_client_token_usage_count{{gen_ai_request_model="m"}} 2.0
"""


class TestReading:
    def test_a_page_is_summed_up_by_feature_and_model(self) -> None:
        numbers = read(PAGE)
        line = numbers.lines["chat", "m"]
        assert list(numbers.lines) == [("chat", GPT), ("chat", "m")]
        assert (line.calls, line.count("success"), line.count("error")) == (9, 7, 2)
        assert (line.count("input"), line.count("output"), line.tokens) == (15, 7, 22)
        assert line.buckets == {1.0: 4.0, INF: 9.0}
        assert line.dollars == 0.5
        assert numbers.errors == {"timeout": 2}
        assert numbers.active == 2

    def test_the_total_is_that_of_all_lines(self) -> None:
        total = read(PAGE).total
        assert (total.calls, total.count("abandoned"), total.tokens, total.dollars) == (10, 1, 22, 0.5)
        assert total.buckets == {1.0: 4.0, INF: 9.0}

    def test_what_has_no_known_price_costs_nobody_knows_what(self) -> None:
        assert read(PAGE).lines["chat", GPT].dollars is None

    def test_an_empty_page_has_no_lines(self) -> None:
        assert read("") == Numbers()

    # As histogram_quantile is described in Prometheus' documentation, worked out by hand.
    @pytest.mark.parametrize(
        ("q", "buckets", "value"),
        [
            (0.5, {1.0: 10, INF: 10}, 0.5),  # the lowest bucket begins at 0
            (0.95, {0.5: 0, 1.0: 100, INF: 100}, 0.975),
            (0.95, {0.1: 90, 0.5: 94, 1.0: 98, INF: 100}, 0.625),  # a quarter into the bucket from 0.5 to 1
            (0.9, {1.0: 5, 2.0: 9, INF: 10}, 2.0),  # on a bound
            (0.95, {1.0: 5, 2.0: 9, INF: 10}, 2.0),  # beyond the last bound: that bound
            (0.95, {1.0: 0, INF: 0}, None),
            (0.95, {}, None),
        ],
    )
    def test_quantiles_are_those_of_prometheus(
        self, q: float, buckets: dict[float, float], value: float | None
    ) -> None:
        assert quantile(q, buckets) == (None if value is None else pytest.approx(value))


PLACE = ("chat", "m")


def history(*past: tuple[float, Line]) -> History:
    made = History()
    for at, entry in past:
        made.add(at, Numbers({PLACE: entry}))
    return made


class TestTheRecentPast:
    def test_tokens_per_second_are_those_of_the_last_ten_seconds(self) -> None:
        made = history(*[(at, Line({"input": 50.0 * at, "output": 50.0 * at})) for at in range(0, 21, 5)])
        made.add(25, Numbers({PLACE: Line({"input": 2000.0, "output": 2000.0})}))
        assert made.tokens_per_second(PLACE) == pytest.approx((4000 - 1500) / 10)
        assert made.tokens_per_second() == pytest.approx((4000 - 1500) / 10)

    def test_at_the_beginning_they_are_those_since_the_start(self) -> None:
        assert history((2.0, Line({"input": 30.0}))).tokens_per_second(PLACE) == 15.0

    def test_the_95th_percentile_forgets_what_is_older_than_a_minute(self) -> None:
        slow = Line(buckets={1.0: 0, 10.0: 100, INF: 100})
        then_fast = Line(buckets={1.0: 100, 10.0: 200, INF: 200})
        assert history((1.0, slow), (2.0, then_fast)).p95(PLACE) == pytest.approx(9.1)
        assert history((1.0, slow), (30.0, slow), (61.0, then_fast)).p95(PLACE) == pytest.approx(0.95)

    def test_nothing_is_known_of_calls_that_have_not_ended(self) -> None:
        assert History().p95() is None
        assert History().tokens_per_second() is None


BUSY = Moment(
    seconds=3725.0,
    numbers=Numbers(
        {
            ("summarise", EMBEDDING): Line(
                {"success": 98_765.0, "error": 432.0, "cancelled": 99.0, "abandoned": 900.0}
                | {"input": 12_345_678.0, "output": 4_321_000.0, "dollars": 1234.5},
                {0.5: 10.0, 20.0: 100.0, INF: 100.0},
            ),
            ("triage", GPT): Line({"success": 7.0, "input": 940.0}),
            ("triage", CLAUDE): Line({"success": 8.0, "input": 9_999.0, "dollars": 0.0123}),
        },
        {"rate_limit": 400, "timeout": 30, "server_error": 2},
        active=12,
    ),
    history=History(),
    remark="OpenAI limits the rate",
)
BUSY.history.add(BUSY.seconds - 10.0, Numbers())
BUSY.history.add(BUSY.seconds, BUSY.numbers)


def drawn(moment: Moment) -> str:
    console = Console(file=io.StringIO(), width=80)
    with console.capture() as captured:
        console.print(table(moment, "http://127.0.0.1:9464"))
    return captured.get()


class TestTheTable:
    def test_at_80_columns_it_shows_everything(self) -> None:
        texts = [text.split() for text in drawn(BUSY).splitlines()]
        assert "feature model calls err stop P95 in out tok/s cost".split() in texts
        busiest = ["summarise", EMBEDDING, "100k", "432", "999", "18.9s", "12.3M", "4.3M", "1.7M", "$1,234"]
        assert busiest in texts
        assert ["triage", GPT, "7", "0", "0", "-", "940", "0", "94", "-"] in texts
        assert [CLAUDE, "8", "0", "0", "-", "9,999", "0", "1,000", "$0.0123"] in texts  # the feature is named once

    def test_at_80_columns_no_line_is_cut_or_broken(self) -> None:
        texts = drawn(BUSY).splitlines()
        assert max(len(text) for text in texts) <= 80
        assert not any("…" in text for text in texts)

    def test_it_says_what_goes_on(self) -> None:
        text = drawn(BUSY)
        assert "62:05" in text
        assert "12 open" in text
        assert "OpenAI limits the rate" in text
        assert "errors: 400 rate_limit, 30 timeout, 2 server_error" in text
        assert "http://127.0.0.1:9464/metrics" in text

    def test_no_column_moves_while_the_numbers_grow(self) -> None:
        lines = {place: Line({"success": 1.0}) for place in BUSY.numbers.lines}
        header = "feature   model                  calls err stop   P95    in   out tok/s    cost"
        assert header in drawn(BUSY).splitlines()
        assert header in drawn(Moment(1.0, Numbers(lines), History())).splitlines()

    def test_when_it_is_over_it_points_to_no_page_any_more(self) -> None:
        assert "http" not in drawn(replace(BUSY, over=True))

    def test_before_the_first_call_it_is_empty_but_there(self) -> None:
        text = drawn(Moment(0.0, Numbers(), History()))
        assert "feature" in text
        assert "errors: none yet" in text

    def test_a_terminal_without_unicode_gets_none(self) -> None:
        output = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
        with TableScreen(Console(file=output, width=80, force_terminal=True), "http://127.0.0.1:9464") as screen:
            screen.show(BUSY)
        output.flush()
        assert b"summarise" in output.buffer.getvalue()  # type: ignore[attr-defined]

    def test_text_is_a_line_every_few_seconds(self) -> None:
        output = io.StringIO()
        with LineScreen(Console(file=output, width=80)) as screen:
            for seconds in (0.0, 1.0, 2.9, 3.1, 3.5, 5.9, 6.2):
                screen.show(Moment(seconds, BUSY.numbers, BUSY.history))
        first, second = output.getvalue().splitlines()
        assert first.split()[:3] == ["3s", "100k", "calls"]
        assert second.split()[0] == "6s"
        assert len(first) <= 80

    def test_text_tells_what_goes_wrong_and_when_it_is_over(self) -> None:
        output = io.StringIO()
        with LineScreen(Console(file=output, width=80)) as screen:
            for remark in ("", "Anthropic is slow", "Anthropic is slow", ""):
                screen.show(Moment(0.0, Numbers(), History(), remark))
        assert [text.strip() for text in output.getvalue().splitlines()] == ["Anthropic is slow", "back to normal"]

    def test_the_last_words_fit_into_80_columns(self) -> None:
        assert max(len(text) for text in summary(BUSY).splitlines()) <= 80


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (None, "-"),
        (0, "0"),
        (940, "940"),
        (9_999, "9,999"),
        (9_999.6, "10.0k"),
        (12_345, "12.3k"),
        (99_960, "100k"),
        (999_400, "999k"),
        (999_600, "1.0M"),
        (4_560_000, "4.6M"),
        (123_456_789, "123M"),
    ],
)
def test_counts_take_at_most_five_characters(number: float | None, text: str) -> None:
    assert count(number) == text
    assert len(text) <= 5


@pytest.mark.parametrize(("seconds", "text"), [(None, "-"), (0.0449, "0.04s"), (9.99, "9.99s"), (9.999, "10.0s")])
def test_durations_are_in_seconds(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("dollars", "text"),
    [
        (None, "-"),
        (0.0, "$0.0000"),
        (0.00001, "<$.0001"),
        (0.01234, "$0.0123"),
        (9.99999, "$10.00"),
        (123.456, "$123.46"),
        (1234.6, "$1,235"),
    ],
)
def test_money_is_never_shown_as_nothing_when_it_is_something(dollars: float | None, text: str) -> None:
    assert money(dollars) == text
