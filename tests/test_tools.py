"""Tools: each call is counted once, for the agent that makes it; `test_agents.py` has what they share with agents."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import AsyncGenerator, Generator, Iterator

import pytest
from recording import STATUSES, Faults, Reader, answering, apart, recording

from llmwatch import attribute, bind, observe_agent, observe_llm, observe_tool
from llmwatch.testing import ManualClock

pytestmark = [pytest.mark.filterwarnings("error"), pytest.mark.usefixtures("quick_collections")]

TOKENS = 120  # of one call of `ask`: 100 in and 20 out
ask = answering()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def faults(clock: ManualClock) -> Iterator[Faults]:
    with apart(clock) as faults:
        yield faults


@pytest.fixture
def reader(faults: Faults) -> Reader:
    _, (reader,) = recording("memory")
    return reader


def calls(reader: Reader) -> dict[tuple[str, str, str], int]:
    """Calls by agent, tool and status, those that were made."""
    return {
        (point.labels["agent"], point.labels["tool"], point.labels["status"]): int(point.value)
        for point in reader.collect().of("ai_tool_calls")
        if point.value
    }


def test_a_tools_call_has_the_name_of_the_agent_around_it(reader: Reader) -> None:
    @observe_tool
    def search() -> None: ...

    search()
    with attribute(agent="block"):
        search()
    with observe_agent("outer"):
        search()
        with observe_agent("inner"):
            search()
            with attribute(agent="nearest"):
                search()
        search()
    assert calls(reader) == {
        ("", "search", "success"): 1,
        ("block", "search", "success"): 1,
        ("outer", "search", "success"): 2,
        ("inner", "search", "success"): 1,
        ("nearest", "search", "success"): 1,
    }


def test_a_stated_agent_wins_and_holds_for_the_calls_of_models_inside(reader: Reader) -> None:
    @observe_tool("search", agent="librarian")
    def search() -> None:
        ask()
        answering(agent="own")()
        with observe_tool("index"):
            ask()

    with observe_agent("a"):
        search()
    search()
    assert calls(reader) == {("librarian", "search", "success"): 2, ("librarian", "index", "success"): 2}
    found = reader.collect()
    assert found.total("ai_requests", agent="librarian") == 4
    assert found.total("ai_requests", agent="own") == 2
    # Made by the run of `a` all the same, as by its hand.
    assert found.total("ai_agent_run_requests", agent="a") == 3
    assert found.total("gen_ai.invoke_agent.tool_calls", gen_ai__agent__name="a") == 2


def test_a_tool_that_calls_a_model_leaves_the_call_what_it_is(reader: Reader, clock: ManualClock) -> None:
    @observe_llm(feature="summaries", model="gpt-4o-mini")
    async def summarise() -> dict[str, object]:
        clock.advance(2.0)
        return {}

    @observe_tool
    async def read() -> None:
        clock.advance(1.0)
        await summarise()

    async def main() -> None:
        async with observe_agent("a"):
            await read()

    asyncio.run(main())
    found = reader.collect()
    assert found.one("ai_tool_duration", tool="read", agent="a").value == 3.0
    assert found.one("ai_request_duration", feature="summaries").value == 2.0
    assert found.one("ai_requests", status="success", agent="a", feature="summaries").value == 1


def test_the_convention_has_the_same_calls_under_its_own_names(reader: Reader, clock: ManualClock) -> None:
    @observe_tool("search")
    def search(*, fail: bool) -> None:
        clock.advance(0.25)
        if fail:
            raise ConnectionRefusedError

    with observe_agent("a"):
        search(fail=False)
        with pytest.raises(ConnectionRefusedError):
            search(fail=True)
    points = reader.collect().of("gen_ai.execute_tool.duration")
    assert sorted((point.labels.get("error.type", ""), point.value, point.count) for point in points) == [
        ("", 0.25, 1),
        ("connection", 0.25, 1),
    ]
    assert {(point.labels["gen_ai.tool.name"], point.labels["gen_ai.agent.name"]) for point in points} == {
        ("search", "a")
    }


def test_tools_that_run_at_once_are_each_counted_to_their_run(reader: Reader) -> None:
    @observe_tool
    async def later(*, fail: bool = False) -> None:
        await asyncio.sleep(0)
        ask()
        if fail:
            raise ValueError

    @observe_tool
    def threaded() -> None:
        ask()

    @observe_agent("a")
    async def work() -> None:
        await asyncio.gather(later(), later(), later(fail=True), asyncio.to_thread(threaded), return_exceptions=True)
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            pool.submit(bind(threaded)).result(10)

    async def main() -> None:
        await asyncio.gather(work(), work())

    asyncio.run(main())
    assert calls(reader) == {
        ("a", "later", "success"): 4,
        ("a", "later", "error"): 2,
        ("a", "threaded", "success"): 4,
    }
    found = reader.collect()
    tools = found.one("gen_ai.invoke_agent.tool_calls")
    assert (tools.value, tools.count) == (10, 2)
    assert (found.total("ai_agent_run_requests"), found.total("ai_agent_run_tokens")) == (10, 10 * TOKENS)


def test_a_tool_that_yields_is_the_agents_in_each_step_and_not_its_consumers(reader: Reader) -> None:
    @observe_tool
    def lines() -> Generator[str]:
        for line in "ab":
            ask()
            yield line

    @observe_tool
    async def pages() -> AsyncGenerator[str]:
        for page in "ab":
            ask()
            yield page

    @observe_agent("a")
    async def work() -> None:
        for _ in lines():
            ask()
        async for _ in pages():
            ask()

    asyncio.run(work())
    assert calls(reader) == {("a", "lines", "success"): 1, ("a", "pages", "success"): 1}
    assert reader.collect().total("ai_agent_run_requests") == 8


def test_a_generator_of_an_agents_tool_is_counted_where_it_was_called(reader: Reader) -> None:
    @observe_tool("lines", agent="librarian")
    def lines() -> Generator[str]:
        for line in "ab":
            ask()
            yield line

    with observe_agent("a"):
        pieces = lines()
        next(pieces)
    with observe_agent("b"):
        assert list(pieces) == ["b"]
        ask()
    found = reader.collect()
    assert found.total("ai_requests", agent="librarian") == 2
    assert found.total("ai_agent_run_requests", agent="a") == 1
    assert found.total("ai_agent_run_requests", agent="b") == 1
    assert found.total("gen_ai.invoke_agent.tool_calls") == 0  # it ended after the run of `a`
    assert calls(reader) == {("librarian", "lines", "success"): 1}


def test_a_tool_is_there_at_0_when_its_agent_is_known_and_else_from_its_first_call_on(reader: Reader) -> None:
    observe_tool("stated", agent="a")(ask)
    search = observe_tool("search")(ask)
    with observe_tool("block"):
        pass
    found = reader.collect()
    stated = found.of("ai_tool_calls", tool="stated")
    assert {(point.labels["agent"], point.labels["status"], point.value) for point in stated} == {
        ("a", status, 0) for status in STATUSES
    }
    assert found.of("ai_tool_calls", tool="search") == []
    with observe_agent("b"):
        search()
    for tool, agent in (("search", "b"), ("block", "")):
        points = reader.collect().of("ai_tool_calls", tool=tool)
        assert {point.labels["status"]: point.value for point in points} == {**dict.fromkeys(STATUSES, 0), "success": 1}
        assert {point.labels["agent"] for point in points} == {agent}


def test_tools_beyond_the_budget_of_their_label_say_other(reader: Reader) -> None:
    for i in range(103):
        with observe_tool(f"tool-{i}"):
            pass
    found = reader.collect()
    assert len(found.values("ai_tool_calls", "tool")) == 101
    assert found.total("ai_tool_calls", tool="other") == 3
    assert found.count("gen_ai.execute_tool.duration", gen_ai__tool__name="other") == 3
    assert found.total("llmwatch_label_overflow", label="tool") == 3
