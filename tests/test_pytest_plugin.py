"""The pytest plugin, in test runs of its own: a test's calls, and a clock that is moved by hand."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from collections.abc import Callable
from importlib import import_module

import pytest
from recording import REPLY
from support import REPOSITORY, require_module

pytest_plugins = ("pytester",)

PLUGIN = "llmwatch.testing._plugin"
APPLICATION = f"""
import llmwatch

REPLY = {REPLY!r}


@llmwatch.observe_llm(feature="chat", provider="openai", model="gpt-4o-mini")
def answer(error=None, during=lambda: None, reply=REPLY):
    during()
    if error is not None:
        raise error
    return reply


@llmwatch.observe_llm(feature="search", provider="openai")
def search():
    return answer()
"""


Run = Callable[..., pytest.RunResult]


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a test file beside an application; in a process of its own where it configures something, or is told to."""
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # others take their time to load
    pytester.makepyfile(application=APPLICATION)
    pytester.makeini("[pytest]\nfilterwarnings = error\n")
    pytester.syspathinsert()

    def one(tests: str, *arguments: str, apart: bool = False) -> pytest.RunResult:
        pytester.makepyfile(test_application=f"import pytest\nfrom application import REPLY, answer, search\n{tests}")
        run = pytester.runpytest_subprocess if apart else pytester.runpytest_inprocess
        return run("-p", "no:cacheprovider", "-p", PLUGIN, *arguments)

    return one


def test_a_test_s_calls_are_chosen_by_label_and_added_up(run: Run) -> None:
    # gpt-4o-mini: 60 * 0.15 + 40 * 0.075 + 20 * 0.60 dollars for a million tokens.
    run("""
def test_it(llmwatch_calls):
    assert len(llmwatch_calls) == 0
    answer()
    answer()

    calls = llmwatch_calls(feature="chat")
    assert len(calls) == 2
    assert calls.cost == pytest.approx(2 * 24e-6)
    assert calls.cost < 0.01
    assert (calls.input_tokens, calls.output_tokens, calls.tokens) == (200, 40, 240)
    assert calls.errors == 0
    assert len(llmwatch_calls(feature="nothing")) == 0
    assert llmwatch_calls(feature="nothing").cost == 0
""").assert_outcomes(passed=1)


def test_there_is_one_record_for_each_call_with_what_is_known_of_it(run: Run) -> None:
    run("""
import llmwatch

def test_it(llmwatch_calls):
    with llmwatch.attribute(agent="researcher", tier="pro"):
        answer()
    (call,) = llmwatch_calls

    assert (call.feature, call.provider, call.operation, call.agent) == ("chat", "openai", "chat", "researcher")
    assert call.model == "gpt-4o-mini-2024-07-18"  # as the response names it
    assert call.labels["tier"] == "pro"
    assert (call.status, call.error) == ("success", None)
    assert (call.input_tokens, call.output_tokens, call.tokens) == (100, 20, 120)
    assert call.usage.cache_read_tokens == 40
    assert call.cost == pytest.approx(24e-6)
    assert call.first_chunk is None
    assert call in llmwatch_calls(tier="pro")
    assert call in llmwatch_calls(model="gpt-4o-mini")  # as it was stated
    assert call in llmwatch_calls(model="gpt-4o-mini-2024-07-18")
    assert call not in llmwatch_calls(tier="free")
    assert llmwatch_calls[0] == llmwatch_calls[-1] == call
""").assert_outcomes(passed=1)


def test_errors_are_counted_and_cost_nothing(run: Run) -> None:
    run("""
def test_it(llmwatch_calls):
    with pytest.raises(TimeoutError):
        answer(TimeoutError("late"))
    answer()

    assert llmwatch_calls.errors == 1
    assert [call.error for call in llmwatch_calls(status="error")] == ["timeout"]
    assert len(llmwatch_calls(error="timeout")) == 1
    assert llmwatch_calls.cost == pytest.approx(24e-6)
""").assert_outcomes(passed=1)


def test_nested_calls_count_their_tokens_once(run: Run) -> None:
    run("""
def test_it(llmwatch_calls):
    search()

    assert [call.feature for call in llmwatch_calls] == ["chat", "search"]
    assert llmwatch_calls.tokens == 120
    assert llmwatch_calls.cost == pytest.approx(24e-6)
""").assert_outcomes(passed=1)


def test_a_sum_that_nobody_knows_fails_the_test_and_says_which_call_it_is(run: Run) -> None:
    result = run("""
def test_it(llmwatch_calls):
    answer(reply={**REPLY, "model": "my-own-model"})
    assert llmwatch_calls.tokens == 120
    assert llmwatch_calls.cost < 0.01
""")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*UnknownError: the cost of 1 of 1 calls is unknown: *my-own-model*"])


def test_prices_are_those_that_the_program_has_configured(run: Run) -> None:
    run(
        """
import llmwatch

llmwatch.configure(prices={"price": [{"model": "my-own-model", "per_million": {"input": 10, "output": 0}}]})

def test_it(llmwatch_calls):
    answer(reply={**REPLY, "model": "my-own-model"})

    assert llmwatch_calls.cost == pytest.approx(100 * 10e-6)
""",
        apart=True,
    ).assert_outcomes(passed=1)


def test_nothing_of_one_test_is_seen_in_the_next_or_outside(run: Run) -> None:
    run(
        """
import llmwatch
from urllib.request import urlopen

page = llmwatch.configure(port=0)

def test_one(llmwatch_calls):
    answer()
    assert len(llmwatch_calls) == 1

def test_two(llmwatch_calls):
    assert len(llmwatch_calls) == 0

def test_three():
    answer()
    shown = urlopen(f"{page.url}/metrics").read().decode().splitlines()
    counted = [line for line in shown if line.startswith("ai_requests_total") and 'status="success"' in line]
    assert sum(float(line.rpartition(" ")[2]) for line in counted) == 1
""",
        apart=True,
    ).assert_outcomes(passed=3)


def test_a_test_that_configures_by_itself_sees_its_calls_too(run: Run) -> None:
    run(
        """
import llmwatch

def test_it(llmwatch_calls):
    with llmwatch.session(service_name="shop"):
        answer()
    assert llmwatch_calls.tokens == 120
""",
        apart=True,
    ).assert_outcomes(passed=1)


@pytest.mark.parametrize("fixtures", ["llmwatch_calls, llmwatch_clock", "llmwatch_clock, llmwatch_calls"])
def test_calls_take_as_long_as_the_clock_is_told(run: Run, fixtures: str) -> None:
    run(f"""
def test_it({fixtures}):
    answer(during=lambda: llmwatch_clock.advance(2.5))
    answer()

    assert [call.duration for call in llmwatch_calls] == [2.5, 0.0]
    assert llmwatch_calls.duration == 2.5
""").assert_outcomes(passed=1)


def test_calls_in_threads_and_coroutines_are_there(run: Run) -> None:
    run("""
import asyncio
from concurrent.futures import ThreadPoolExecutor

def test_it(llmwatch_calls):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: answer(), range(100)))
    asyncio.run(asyncio.to_thread(answer))
    assert len(llmwatch_calls(feature="chat")) == 101
""").assert_outcomes(passed=1)


def test_under_xdist_each_worker_has_its_own(run: Run) -> None:
    require_module("xdist")
    run(
        """
@pytest.mark.parametrize("times", range(8))
def test_it(llmwatch_calls, times):
    for _ in range(times):
        answer()
    assert len(llmwatch_calls) == times
""",
        *("-p", "xdist", "-n", "2"),
        apart=True,
    ).assert_outcomes(passed=8)


def test_a_run_that_does_not_use_it_loads_nothing_but_the_fixtures(run: Run) -> None:
    heavy = ("opentelemetry", "wrapt", "pydantic", "genai_prices", "llmwatch._runtime", "llmwatch.pricing")
    program = f"import sys, {PLUGIN}; print(*[name for name in sys.modules if name.startswith({heavy!r})])"
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True)

    assert done.stdout.split() == []


def test_the_package_names_it_to_pytest() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]
    (module,) = project["entry-points"]["pytest11"].values()

    assert module == PLUGIN
    assert {"llmwatch_calls", "llmwatch_clock"} <= set(vars(import_module(module)))
