"""Incidents of the demo: each shows in the numbers of the page, where it happens and nowhere else."""

from __future__ import annotations

import http.client
import io
import json
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console

from llmwatch.cli import main
from llmwatch.demo import SetupError, run
from llmwatch.demo._incidents import ANTHROPIC, INCIDENTS, OPENAI

ROOT = Path(__file__).parent.parent
GPT, DEAR, EMBEDDING = "gpt-4o-mini-2024-07-18", "gpt-4o-2024-08-06", "text-embedding-3-small"
PATIENCE = 60.0  # seconds, after which something that ought to happen does not happen any more
Labels = frozenset[tuple[str, str]]


class Page:
    """The samples of a page, or what has been added between two."""

    def __init__(self, values: dict[tuple[str, Labels], float]) -> None:
        self.values = values

    @classmethod
    def of(cls, text: str) -> Page:
        families = text_string_to_metric_families(text)
        samples = [sample for family in families for sample in family.samples]
        return cls({(sample.name, frozenset(sample.labels.items())): sample.value for sample in samples})

    def since(self, earlier: Page) -> Page:
        return Page({key: value - earlier.values.get(key, 0.0) for key, value in self.values.items()})

    def sum(self, name: str, **only: str) -> float:
        return sum(value for (found, labels), value in self.values.items() if found == name and only.items() <= labels)

    def mean(self, name: str, **only: str) -> float:
        return self.sum(f"{name}_sum", **only) / self.sum(f"{name}_count", **only)

    def p95(self, name: str, **only: str) -> float:
        """Prometheus' `histogram_quantile(0.95, sum by (le) (...))`."""
        buckets: Counter[float] = Counter()
        for (found, labels), value in self.values.items():
            if found == f"{name}_bucket" and only.items() <= labels:
                buckets[float(dict(labels)["le"])] += value  # type: ignore[assignment]
        rank, below, count = 0.95 * buckets[float("inf")], 0.0, 0.0
        for bound in sorted(buckets):
            if buckets[bound] >= rank:
                return below + (bound - below) * (rank - count) / (buckets[bound] - count)
            below, count = bound, buckets[bound]
        raise AssertionError(f"nothing in {name}")


@dataclass
class Demo:
    """A running demo: its process, its page, and its application."""

    process: subprocess.Popen[str]
    metrics: int
    application: int

    def page(self) -> Page:
        return Page.of(request(self.metrics, "GET", "/metrics")[1])

    def incident(self, method: str = "GET", name: str = "", **headers: str) -> tuple[int, Any]:
        status, body = request(self.application, method, f"/incidents{name and '/'}{name}", headers)
        return status, json.loads(body)

    def until(self, condition: Callable[[Page], bool], since: Page | None = None) -> Page:
        """What has happened since, as soon as it is this."""
        deadline = time.monotonic() + PATIENCE
        while not condition(found := self.page().since(since or Page({}))):
            assert time.monotonic() < deadline, "it did not happen"
            time.sleep(1.0)
        return found


def request(port: int, method: str, path: str, headers: dict[str, str] | None = None) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


@contextmanager
def demo(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "llmwatch", "demo", "--plain", "--seed", "1", "--port", "0", *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def opened(process: subprocess.Popen[str]) -> Demo:
    """As soon as it says where it is."""
    assert process.stdout is not None
    words = ""
    for line in process.stdout:
        words += line
        if "Ctrl-C" in line:
            break
    ports = re.findall(r"(?:Application|Metrics): +http://127\.0\.0\.1:(\d+)", words)
    assert len(ports) == 2, (words, process.communicate())
    return Demo(process, int(ports[1]), int(ports[0]))


@dataclass(frozen=True)
class Course:
    """What happened before an incident, what happened during it, and the page at its end."""

    calm: Page
    during: Page
    end: Page


def begun(running: Demo, name: str) -> Page:
    """All that has happened by the time at which the incident begins by itself."""
    deadline = time.monotonic() + PATIENCE
    page, later = running.page(), running.page()
    while running.incident()[1]["on"] != name:
        assert time.monotonic() < deadline, f"{name} did not begin"
        time.sleep(0.5)
        page, later = later, running.page()
    return page  # the later one may be of after it


def calls(page: Page, **only: str) -> float:
    return page.sum("ai_requests_total", status="success", **only)


ENOUGH: dict[str, Callable[[Page], bool]] = {
    "rate-limit": lambda page: calls(page, provider="openai", model=GPT) >= 50,
    "prompt-growth": lambda page: calls(page, feature="chat") >= 12,
    "model-swap": lambda page: calls(page, feature="triage", model=DEAR) >= 6,
    "runaway-agent": lambda page: page.sum("ai_agent_runs_total", agent="researcher", status="success") >= 3,
}


def one_after_the_other(running: Demo, first: str, *others: str) -> dict[str, Course]:
    """The first begins by itself, the others by hand."""
    calm = begun(running, first)
    found = {}
    for name in (first, *others):
        if name != first:
            assert running.incident("POST", name)[1]["on"] == name
        # What was under way when it began is none of its own; that takes some seconds.
        running.until(lambda page: page.sum("ai_requests_total") >= 15, running.page())
        found[name] = Course(calm, running.until(ENOUGH[name], running.page()), running.page())
    return found


@pytest.fixture(scope="module")
def processes() -> Iterator[tuple[Demo, Demo]]:
    with (
        demo("--rate", "5", "--incident", "rate-limit", "--incident-after", "8") as limited,
        demo("--rate", "6", "--incident", "prompt-growth", "--incident-after", "8") as deployed,
    ):
        yield opened(limited), opened(deployed)


@pytest.fixture(scope="module")
def courses(processes: tuple[Demo, Demo]) -> dict[str, Course]:
    """Two at a time, for most of it is waiting."""
    limited, deployed = processes
    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(one_after_the_other, limited, "rate-limit")
        other = pool.submit(one_after_the_other, deployed, "prompt-growth", "model-swap", "runaway-agent")
        return one.result() | other.result()


class TestARateLimit:
    """OpenAI's limit on requests is used up by others; Anthropic's, and that of embeddings, are not."""

    @pytest.fixture
    def course(self, courses: dict[str, Course]) -> Course:
        return courses["rate-limit"]

    @staticmethod
    def used(page: Page, provider: str, resource: str) -> dict[str, float]:
        """The share of a limit that is used, by model."""
        found = {}
        for (name, labels), limit in page.values.items():
            told = dict(labels)
            if name == "ai_rate_limit_limit" and (told["provider"], told["resource"]) == (provider, resource):
                found[told["model"]] = 1.0 - page.values["ai_rate_limit_remaining", labels] / limit
        return found

    @staticmethod
    def throttled(page: Page, **only: str) -> float:
        attempts = page.sum("ai_attempts_total", **only)
        return page.sum("ai_attempts_total", outcome="rate_limit", **only) / attempts

    @staticmethod
    def wait(page: Page, provider: str) -> float:
        """Seconds of waiting for each call."""
        ended = page.sum("ai_requests_total", provider=provider)
        return page.sum("ai_retry_wait_seconds_total", provider=provider) / ended

    @staticmethod
    def slowdown(page: Page, **only: str) -> float:
        """How many times longer than one attempt a call takes, at the 95th percentile of those that succeed."""
        call = page.p95("ai_request_duration_seconds", status="success", **only)
        return call / page.p95("ai_attempt_duration_seconds", outcome="ok", **only)

    def test_the_limit_is_used_up(self, course: Course) -> None:
        # Of 5,000 requests a minute one or two are left at a time.
        assert self.used(course.end, "openai", "requests")[GPT] > 0.99
        assert self.used(course.calm, "openai", "requests")[GPT] < 0.05

    def test_the_limit_itself_has_not_changed(self, course: Course) -> None:
        limits = {"provider": "openai", "model": GPT, "resource": "requests"}
        assert course.end.sum("ai_rate_limit_limit", **limits) == OPENAI.requests_per_minute

    def test_no_other_limit_is_used_up(self, course: Course) -> None:
        assert self.used(course.end, "openai", "requests")[EMBEDDING] < 0.05
        assert self.used(course.end, "openai", "tokens")[GPT] < 0.05
        for resource in ("requests", "input_tokens", "output_tokens"):
            assert max(self.used(course.end, "anthropic", resource).values()) < 0.05

    def test_attempts_are_throttled(self, course: Course) -> None:
        # The limit lets through 9 of 10 calls, and who is refused asks again each second, so most attempts are refused;
        # otherwise 1 in 100 is.
        assert self.throttled(course.during, provider="openai", model=GPT) > 0.25
        assert self.throttled(course.calm, provider="openai", model=GPT) < 0.15
        assert self.throttled(course.during, provider="anthropic") < 0.15
        assert self.throttled(course.during, provider="openai", model=EMBEDDING) < 0.15

    def test_calls_wait(self, course: Course) -> None:
        # Each refusal costs a second; otherwise 3 in 100 attempts are asked again, after half a second.
        assert self.wait(course.during, "openai") > 0.5
        assert self.wait(course.calm, "openai") < 0.3
        assert self.wait(course.during, "openai") > 3 * self.wait(course.during, "anthropic")

    def test_a_call_takes_far_longer_than_one_attempt(self, course: Course) -> None:
        # An attempt takes 2 seconds at the most, and most calls wait for several more.
        assert self.slowdown(course.during, provider="openai", model=GPT) > 1.8
        assert self.slowdown(course.during, provider="anthropic") < 1.8

    def test_most_calls_get_their_answer_in_the_end(self, course: Course) -> None:
        answered = course.during.sum("ai_requests_total", provider="openai", status="success")
        assert answered > 0.6 * course.during.sum("ai_requests_total", provider="openai")


def tokens_per_call(page: Page, direction: str, **only: str) -> float:
    # Of answered calls, as the others may have been cut short.
    return page.sum("ai_tokens_total", direction=direction, **only) / calls(page, **only)


def dollars_per_token(page: Page, **only: str) -> float:
    return page.sum("ai_cost_dollars_total", **only) / page.sum("ai_tokens_total", **only)


class TestPromptGrowth:
    """Chat sends 7 turns of history in place of 2; a turn is 49 tokens a text, the question beside them some 20."""

    @pytest.fixture
    def course(self, courses: dict[str, Course]) -> Course:
        return courses["prompt-growth"]

    def test_a_chat_takes_three_times_the_input(self, course: Course) -> None:
        growth = tokens_per_call(course.during, "input", feature="chat") / tokens_per_call(
            course.calm, "input", feature="chat"
        )
        assert 2.3 < growth < 4.0

    def test_its_output_and_every_other_feature_stay_as_they_are(self, course: Course) -> None:
        for feature, direction in (
            ("chat", "output"),
            ("search", "input"),
            ("triage", "input"),
            ("summarise", "input"),
        ):
            before = tokens_per_call(course.calm, direction, feature=feature)
            # Sizes vary by chance, and documents of 2 to 12 paragraphs the most.
            assert 0.5 < tokens_per_call(course.during, direction, feature=feature) / before < 2.0

    def test_the_requests_stay_as_they_are(self, course: Course) -> None:
        for page in (course.calm, course.during):
            asked = page.sum("ai_guard_decisions_total", feature="chat", guard="pii", decision="allowed")
            begun = page.sum("ai_requests_total", feature="chat") + page.sum("ai_active_requests", feature="chat")
            assert begun == pytest.approx(asked, abs=2)  # the two are not collected at one moment


class TestAModelSwap:
    """Tickets go to gpt-4o in place of gpt-4o-mini: 2.50 dollars a million of input and not 0.15, in and out alike."""

    @pytest.fixture
    def course(self, courses: dict[str, Course]) -> Course:
        return courses["model-swap"]

    def test_a_token_of_that_feature_costs_a_multiple(self, course: Course) -> None:
        ticket = {"feature": "triage", "provider": "openai"}
        dearer = dollars_per_token(course.during, **ticket) / dollars_per_token(course.calm, **ticket)
        assert 10 < dearer < 25  # 16.7 at the list prices of openai.com/api/pricing, were the answers as long

    def test_it_takes_as_many_tokens_as_before(self, course: Course) -> None:
        ticket = {"feature": "triage", "provider": "openai"}
        for direction in ("input", "output"):
            before = tokens_per_call(course.calm, direction, **ticket)
            assert 0.6 < tokens_per_call(course.during, direction, **ticket) / before < 1.7

    def test_the_model_is_named_and_the_old_one_is_gone(self, course: Course) -> None:
        assert calls(course.during, feature="triage", model=DEAR) >= 6
        assert calls(course.during, feature="triage", model=GPT) == 0
        assert calls(course.calm, model=DEAR) == 0

    def test_other_features_cost_what_they_did(self, course: Course) -> None:
        for feature in ("search", "summarise"):
            before = dollars_per_token(course.calm, feature=feature)
            assert 0.6 < dollars_per_token(course.during, feature=feature) / before < 1.7


class TestARunawayAgent:
    """The researcher takes 6 rounds of one search and one conclusion in place of 1."""

    @pytest.fixture
    def course(self, courses: dict[str, Course]) -> Course:
        return courses["runaway-agent"]

    def test_a_run_takes_many_more_calls_of_models_and_tools(self, course: Course) -> None:
        calls_a_run, tools_a_run = "ai_agent_run_requests", "gen_ai_invoke_agent_tool_calls"
        done = {"agent": "researcher", "status": "success"}
        assert course.calm.mean(calls_a_run, **done) == 2
        assert course.during.mean(calls_a_run, **done) == 12
        assert course.calm.mean(tools_a_run, gen_ai_agent_name="researcher") == 1
        assert course.during.mean(tools_a_run, gen_ai_agent_name="researcher") > 3  # some fail on their way

    def test_it_consumes_a_multiple_of_the_tokens(self, course: Course) -> None:
        done = {"agent": "researcher", "status": "success"}
        assert course.during.mean("ai_agent_run_tokens", **done) > 4 * course.calm.mean("ai_agent_run_tokens", **done)

    def test_the_tokens_by_agent_say_which_one_it_is(self, course: Course) -> None:
        def share(page: Page) -> float:
            found = {agent: page.sum("ai_tokens_total", agent=agent) for agent in ("researcher", "writer")}
            return found["researcher"] / sum(found.values())

        assert share(course.during) > 1.25 * share(course.calm)

    def test_the_other_agent_does_as_before(self, course: Course) -> None:
        for page in (course.calm, course.during):
            assert page.mean("ai_agent_run_requests", agent="writer", status="success") == 1


class TestBeginningAndEnding:
    """The routes of a running demo. The incident that has been begun last is on."""

    def test_it_says_what_there_is_and_what_is_on(self, processes: tuple[Demo, Demo], courses: object) -> None:
        headlines = {name: incident.headline for name, incident in INCIDENTS.items()}
        assert processes[1].incident() == (200, {"on": "runaway-agent", "incidents": headlines})

    def test_an_unknown_incident_is_not_found(self, processes: tuple[Demo, Demo], courses: object) -> None:
        status, answer = processes[1].incident("POST", "earthquake")
        assert (status, processes[1].incident()[1]["on"]) == (404, "runaway-agent")
        assert "rate-limit" in answer["detail"]

    def test_an_incident_that_is_not_on_cannot_be_ended(self, processes: tuple[Demo, Demo], courses: object) -> None:
        assert processes[1].incident("DELETE", "rate-limit")[0] == 404

    @pytest.mark.parametrize(
        "headers", [{"Host": "attacker.example"}, {"Origin": "http://attacker.example"}, {"Origin": "null"}]
    )
    def test_neither_other_sites_nor_other_names_of_this_machine_are_heard(
        self, processes: tuple[Demo, Demo], courses: object, headers: dict[str, str]
    ) -> None:
        assert processes[1].incident("POST", "model-swap", **headers)[0] == 403
        assert processes[1].incident("GET", "", **headers)[0] == 403
        assert processes[1].incident()[1]["on"] == "runaway-agent"

    def test_a_page_of_this_machine_may_do_it(self, processes: tuple[Demo, Demo], courses: object) -> None:
        origin = {"Origin": f"http://127.0.0.1:{processes[0].metrics}"}
        assert processes[0].incident("POST", "rate-limit", **origin)[0] == 200
        asking = {**origin, "Access-Control-Request-Method": "DELETE"}
        status, _ = request(processes[0].application, "OPTIONS", "/incidents/rate-limit", asking)
        assert status == 200

    def test_these_requests_are_none_of_the_help_desk_s(self, processes: tuple[Demo, Demo], courses: object) -> None:
        routes = {dict(labels).get("http_route") for _, labels in processes[1].page().values}
        assert routes == {None, "/chat", "/search", "/summaries", "/tickets"}

    def test_it_ends_by_hand_and_the_demo_has_said_what_went_on(
        self, processes: tuple[Demo, Demo], courses: object
    ) -> None:
        running = processes[1]
        assert running.incident("DELETE", "runaway-agent")[1]["on"] is None
        running.process.send_signal(signal.SIGINT)
        words, errors = running.process.communicate(timeout=PATIENCE)
        assert (running.process.returncode, errors) == (0, "")
        told = [words.index(INCIDENTS[name].headline) for name in ("prompt-growth", "model-swap", "runaway-agent")]
        assert told == sorted(told)


@pytest.mark.parametrize(("name", "code"), [*((name, 0) for name in INCIDENTS), ("earthquake", 2)])
def test_the_command_line_knows_every_incident(name: str, code: int) -> None:
    with pytest.raises(SystemExit) as end:
        main(["demo", "--incident", name, "--help"])
    assert end.value.code == code


def test_an_incident_that_nobody_knows_is_refused_by_name_before_anything_starts() -> None:
    with pytest.raises(SetupError, match="no incident 'earthquake'; there are rate-limit, "):
        run(seconds=1, incident="earthquake", console=Console(file=io.StringIO()))


def test_a_vendor_can_be_slow_or_overloaded_and_the_other_one_is_not() -> None:
    slow, crowded = INCIDENTS["slow-provider"].behaviours(8.0), INCIDENTS["overloaded-provider"].behaviours(8.0)
    assert slow["anthropic"].latency > 2 * ANTHROPIC.latency
    assert crowded["anthropic"].faults["overloaded"] > 5 * ANTHROPIC.faults["overloaded"]
    assert slow["openai"] == crowded["openai"] == OPENAI


def test_headlines_fit_beside_the_clock_of_the_table() -> None:
    assert max(len(incident.headline) for incident in INCIDENTS.values()) <= 42
