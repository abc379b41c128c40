"""Agents: each run is counted once, with what it did itself; and what agents, tools and guards share with functions."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import contextvars
import copy
import functools
import gc
import inspect
import pickle
import sqlite3
import threading
import typing
import weakref
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

import anyio
import anyio.to_thread
import pytest
import trio
import trio.testing
from recording import REPLY, STATUSES, Collected, Faults, Reader, answering, apart, recording

import llmwatch
from llmwatch import attribute, bind, observe_agent, observe_llm, observe_tool, record_guard, track_request
from llmwatch.testing import ManualClock

pytestmark = [pytest.mark.filterwarnings("error"), pytest.mark.usefixtures("quick_collections")]

TOKENS = 120  # of one `REPLY`: 100 in and 20 out


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


@dataclass(frozen=True)
class Way:
    """One way to observe, and where it is counted."""

    observe: Callable[..., Any]
    counter: str
    seconds: str
    subject: str

    def named(self) -> Any:
        return self.observe("it")

    def ended(self, reader: Reader, name: str = "it") -> dict[str, int]:
        """How often each status was counted, of those that were."""
        gc.collect()
        points = reader.collect().of(self.counter, **{self.subject: name})
        return {point.labels["status"]: int(point.value) for point in points if point.value}


AGENT = Way(observe_agent, "ai_agent_runs", "ai_agent_duration", "agent")
TOOL = Way(observe_tool, "ai_tool_calls", "ai_tool_duration", "tool")
each_way = pytest.mark.parametrize("way", [AGENT, TOOL], ids=["agent", "tool"])
ask = answering()
"""Calls a model once."""


def called_by(found: Collected) -> dict[str, int]:
    """The calls of a model that each agent's name is on."""
    counts: dict[str, int] = {}
    for point in found.of("ai_requests", status="success"):
        counts[point.labels["agent"]] = counts.get(point.labels["agent"], 0) + int(point.value)
    return {agent: count for agent, count in counts.items() if count}


def done_by(found: Collected, agent: str) -> tuple[float, float, float]:
    """What the runs of an agent did themselves: calls of models, tokens, calls of tools."""
    return (
        found.total("ai_agent_run_requests", agent=agent),
        found.total("ai_agent_run_tokens", agent=agent),
        found.total("gen_ai.invoke_agent.tool_calls", gen_ai__agent__name=agent),
    )


class RefusalError(Exception):
    """The caller's own."""


# Every kind of function. Each takes a decorator and a step that lasts, is run to its end, and gives "left".

Step = Callable[[], str]
Decorate = Callable[[Any], Any]


def function(decorate: Decorate, step: Step) -> Any:
    return decorate(lambda: step())()


def coroutine(decorate: Decorate, step: Step) -> Any:
    @decorate
    async def work() -> str:
        await asyncio.sleep(0)
        return step()

    return asyncio.run(work())


def generator(decorate: Decorate, step: Step) -> Any:
    @decorate
    def work() -> Generator[str]:
        yield "un"
        yield step()

    return "".join(work())[2:]


def async_generator(decorate: Decorate, step: Step) -> Any:
    @decorate
    async def work() -> AsyncGenerator[str]:
        yield "un"
        yield step()

    async def main() -> str:
        return "".join([piece async for piece in work()])[2:]

    return asyncio.run(main())


def method(decorate: Decorate, step: Step) -> Any:
    class Worker:
        answer = "left"

        @decorate
        def work(self) -> str:
            assert step() == self.answer
            return self.answer

    return Worker().work()


def static_method(decorate: Decorate, step: Step) -> Any:
    class Worker:
        @staticmethod
        @decorate
        def work() -> str:
            return step()

    return Worker.work()


def static_method_below(decorate: Decorate, step: Step) -> Any:
    class Worker:
        @decorate
        @staticmethod
        async def work() -> str:
            return step()

    return asyncio.run(Worker().work())


def class_method(decorate: Decorate, step: Step) -> Any:
    class Worker:
        @classmethod
        @decorate
        def work(cls) -> str:
            assert cls is Worker
            return step()

    return Worker.work()


def class_method_below(decorate: Decorate, step: Step) -> Any:
    class Worker:
        @decorate
        @classmethod
        def work(cls) -> str:
            assert cls is Worker
            return step()

    return Worker().work()


def partial(decorate: Decorate, step: Step) -> Any:
    return decorate(functools.partial(lambda step: step(), step))()


def partial_method(decorate: Decorate, step: Step) -> Any:
    class Worker:
        def work(self, step: Step) -> str:
            return step()

        done = decorate(functools.partialmethod(work, step))

    return Worker().done()


def callable_object(decorate: Decorate, step: Step) -> Any:
    class Work:
        def __call__(self) -> str:
            return step()

    return decorate(Work())()


def async_callable_object(decorate: Decorate, step: Step) -> Any:
    class Work:
        async def __call__(self) -> str:
            return step()

    return asyncio.run(decorate(Work())())


def returned_coroutine(decorate: Decorate, step: Step) -> Any:
    async def later() -> str:
        await asyncio.sleep(0)
        return step()

    @decorate
    def work() -> Coroutine[Any, Any, str]:
        return later()

    return asyncio.run(work())


def returned_task(decorate: Decorate, step: Step) -> Any:
    async def later() -> str:
        return step()

    @decorate
    def work() -> asyncio.Task[str]:
        return asyncio.create_task(later())

    async def main() -> str:
        return await work()

    return asyncio.run(main())


def returned_future(decorate: Decorate, step: Step) -> Any:
    release = threading.Event()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        future = decorate(lambda: pool.submit(lambda: release.wait(10) and step()))()
        release.set()
        return future.result(10)


def returned_generator(decorate: Decorate, step: Step) -> Any:
    (answer,) = decorate(lambda: (step() for _ in range(1)))()
    return answer


def returned_async_generator(decorate: Decorate, step: Step) -> Any:
    async def later() -> AsyncGenerator[str]:
        yield step()

    async def main() -> str:
        return "".join([piece async for piece in decorate(later)()])

    return asyncio.run(main())


def block(decorate: Any, step: Step) -> Any:
    with decorate:
        return step()


def async_block(decorate: Any, step: Step) -> Any:
    async def work() -> str:
        async with decorate:
            await asyncio.sleep(0)
            return step()

    return asyncio.run(work())


KINDS = [
    function, coroutine, generator, async_generator, method, static_method, static_method_below, class_method,
    class_method_below, partial, partial_method, callable_object, async_callable_object, returned_coroutine,
    returned_task, returned_future, returned_generator, returned_async_generator, block, async_block,
]  # fmt: skip
each_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)


@each_way
@each_kind
def test_every_kind_of_function_and_block_is_counted_once_and_lasts_until_its_end(
    kind: Callable[[Any, Step], Any], way: Way, reader: Reader, clock: ManualClock
) -> None:
    def step() -> str:
        clock.advance(2.5)
        ask()
        return "left"

    assert kind(way.named(), step) == "left"
    assert way.ended(reader) == {"success": 1}
    found = reader.collect()
    seconds = found.one(way.seconds, **{way.subject: "it"})
    assert (seconds.value, seconds.count, seconds.labels["status"]) == (2.5, 1, "success")
    carried = called_by(found) == {"it" if way is AGENT else "": 1}
    assert carried or kind is returned_future  # to a thread without `bind` nothing is carried


@each_way
@each_kind
@pytest.mark.parametrize(
    ("error", "status", "error_type"),
    [
        (RefusalError("no"), "error", "other"),
        (TimeoutError(), "error", "timeout"),
        (ConnectionResetError(), "error", "connection"),
        (asyncio.CancelledError("stop"), "cancelled", ""),
        (concurrent.futures.CancelledError(), "cancelled", ""),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else value or "none",
)
def test_an_exception_is_the_very_exception_and_its_kind_is_the_error_type(
    kind: Callable[[Any, Step], Any], way: Way, error: BaseException, status: str, error_type: str, reader: Reader
) -> None:
    def step() -> str:
        raise error

    with pytest.raises(type(error)) as caught:
        kind(way.named(), step)
    assert caught.value is error or isinstance(error, asyncio.CancelledError)  # asyncio.run makes a new one of those
    assert caught.value.__cause__ is None
    assert way.ended(reader) == {status: 1}
    name = "gen_ai.invoke_agent.duration" if way is AGENT else "gen_ai.execute_tool.duration"
    point = reader.collect().one(name)
    assert (point.labels.get("error.type", ""), point.count) == (error_type, 1)


@each_way
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interruption_is_a_cancellation(way: Way, error: type[BaseException], reader: Reader) -> None:
    def step() -> str:
        raise error

    for kind in (function, generator, block):
        with pytest.raises(error):
            kind(way.named(), step)
    assert way.ended(reader) == {"cancelled": 3}


@each_way
def test_a_cancelled_task_is_cancelled_and_a_timeout_inside_is_an_error(way: Way, reader: Reader) -> None:
    @way.observe("outside")
    async def forever() -> None:
        await asyncio.Event().wait()

    @way.observe("inside")
    async def limited() -> None:
        async with asyncio.timeout(0):
            await asyncio.Event().wait()

    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await forever()
        with pytest.raises(TimeoutError):
            await limited()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0), way.observe("block"):
                await asyncio.Event().wait()

    asyncio.run(main())
    assert way.ended(reader, "outside") == {"cancelled": 1}
    assert way.ended(reader, "block") == {"cancelled": 1}
    assert way.ended(reader, "inside") == {"error": 1}


@each_way
def test_trios_cancellation_is_a_cancellation(way: Way, reader: Reader) -> None:
    async def pieces() -> AsyncGenerator[int]:
        yield 1
        await trio.sleep_forever()

    async def main() -> None:
        with trio.move_on_after(0):
            await way.named()(trio.sleep_forever)()
        with trio.move_on_after(0):
            async with way.named():
                await trio.sleep_forever()
        with trio.CancelScope() as scope:
            async for _ in way.named()(pieces)():
                scope.cancel()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(way.named()(trio.sleep_forever))
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()

    trio.run(main)
    assert way.ended(reader) == {"cancelled": 4}


@each_way
@pytest.mark.parametrize("ending", ["close", "drop", "drop unread", "break"])
def test_a_generator_that_is_not_read_to_its_end_is_abandoned(way: Way, ending: str, reader: Reader) -> None:
    went: list[str] = []

    @way.observe("it")
    def work() -> Generator[int]:
        try:
            yield from range(3)
        finally:
            went.append("cleaned up")

    pieces = work()
    if ending == "break":
        for _ in pieces:
            break
    elif ending != "drop unread":
        assert next(pieces) == 0
    gc.collect()
    gc.disable()
    try:
        if ending == "close":
            pieces.close()
        del pieces
    finally:
        gc.enable()
    assert went == [] if ending == "drop unread" else ["cleaned up"]
    assert way.ended(reader) == {"abandoned": 1}


@each_way
@pytest.mark.parametrize("ending", ["aclose", "drop", "drop unread"])
def test_an_async_generator_that_is_not_read_to_its_end_is_abandoned(way: Way, ending: str, reader: Reader) -> None:
    @way.observe("it")
    async def work() -> AsyncGenerator[int]:
        yield 1
        yield 2

    async def main() -> None:
        pieces = work()
        if ending != "drop unread":
            assert await anext(pieces) == 1
        if ending == "aclose":
            await pieces.aclose()

    asyncio.run(main())
    assert way.ended(reader) == {"abandoned": 1}


@each_way
def test_a_coroutine_given_up_half_way_is_abandoned_and_one_never_awaited_was_none(way: Way, reader: Reader) -> None:
    @way.observe("it")
    async def work() -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        work().close()
        begun = work()
        begun.send(None)
        begun.close()

    asyncio.run(main())
    assert way.ended(reader) == {"abandoned": 1}


@each_way
def test_a_generator_takes_send_and_throw_gives_its_return_value_and_makes_a_context_manager(
    way: Way, reader: Reader
) -> None:
    @way.observe("it")
    def talk() -> Generator[Any, Any, str]:
        got: Any = "ready"
        while got != "stop":
            try:
                got = yield got
            except ValueError as error:
                got = error
        return "the end"

    talking, error = talk(), ValueError()
    assert inspect.isgenerator(talking)
    assert (next(talking), talking.send("a"), talking.throw(error)) == ("ready", "a", error)
    with pytest.raises(StopIteration) as stop:
        talking.send("stop")
    assert stop.value.value == "the end"
    with pytest.raises(RefusalError), contextlib.contextmanager(talk)():
        raise RefusalError
    assert way.ended(reader) == {"success": 1, "error": 1}


@each_way
def test_a_cursor_or_a_list_that_is_returned_is_a_result_and_comes_back_as_itself(way: Way, reader: Reader) -> None:
    with contextlib.closing(sqlite3.connect(":memory:")) as database:
        results = [database.execute("select 1"), iter([1]), [1], {"stream": 1}, (1,), "text", None]
        for result in results:
            assert way.named()(lambda result=result: result)() is result
        assert results[0].fetchall() == [(1,)]  # type: ignore[union-attr]
    assert way.ended(reader) == {"success": 7}


@each_way
def test_nothing_keeps_a_result_or_an_exception_alive(way: Way, reader: Reader) -> None:
    class Result:
        """A result that can be watched."""

    class WatchedError(Exception):
        """An exception that can be watched."""

    kept: list[weakref.ref[Any]] = []

    @way.observe("it")
    def work(*, fail: bool) -> Any:
        made: Any = WatchedError() if fail else Result()
        kept.append(weakref.ref(made))
        if not fail:
            return made
        try:
            raise made
        finally:
            del made

    gc.collect()
    gc.disable()
    try:
        work(fail=False)
        with contextlib.suppress(WatchedError):
            work(fail=True)
        assert [ref() for ref in kept] == [None, None]
    finally:
        gc.enable()


# What it is.


def plain(question: str, *, times: int = 1) -> str:
    """Answers."""
    return question * times


async def plain_coroutine(question: str) -> str:
    """Answers later."""
    return question


def plain_generator(question: str) -> Generator[str]:
    yield question


async def plain_async_generator(question: str) -> AsyncGenerator[str]:
    yield question


@observe_agent
def pickled_agent(question: str) -> str:
    return question


@observe_tool("search")
async def pickled_tool(question: str) -> str:
    return question


@record_guard("pii")
def pickled_guard(question: str) -> str:
    return question


class Team:
    def __init__(self, name: str) -> None:
        self.name = name

    @observe_agent("member")
    def work(self, question: str) -> str:
        return self.name + question

    @observe_tool
    @classmethod
    def look(cls, question: str) -> str:
        return cls.__name__ + question


each_observer = pytest.mark.parametrize(
    "observe", [observe_agent, observe_tool, record_guard("pii")], ids=["agent", "tool", "guard"]
)


@each_observer
@pytest.mark.parametrize("fn", [plain, plain_coroutine, plain_generator, plain_async_generator])
def test_an_observed_function_is_of_the_same_kind_with_signature_hints_and_documentation(
    observe: Callable[[Any], Any], fn: Any, faults: Faults
) -> None:
    observed = observe(fn)
    for flag in ("isfunction", "iscoroutinefunction", "isgeneratorfunction", "isasyncgenfunction", "isroutine"):
        assert getattr(inspect, flag)(observed) == getattr(inspect, flag)(fn)
    assert inspect.signature(observed) == inspect.signature(fn)
    assert typing.get_type_hints(observed) == typing.get_type_hints(fn)
    for name in ("__name__", "__qualname__", "__module__", "__doc__"):
        assert getattr(observed, name) == getattr(fn, name)
    assert inspect.unwrap(observed) is fn


@pytest.mark.parametrize("fn", [pickled_agent, pickled_tool, pickled_guard])
def test_an_observed_function_is_pickled_and_copied_as_the_function_itself(fn: Any) -> None:
    assert pickle.loads(pickle.dumps(fn)) is fn
    assert copy.copy(fn) is fn
    assert copy.deepcopy(fn) is fn


@pytest.mark.parametrize("way", [copy.copy, copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))])
def test_observed_methods_and_partials_are_observed_after_a_copy(way: Callable[[Any], Any], reader: Reader) -> None:
    assert way(Team("a").work)("?") == "a?"
    assert way(Team.look)("?") == "Team?"
    assert way(observe_agent("part")(functools.partial(plain, "q")))() == "q"
    assert way(observe_tool("part")(functools.partial(plain, "q")))() == "q"
    assert AGENT.ended(reader, "member") == AGENT.ended(reader, "part") == {"success": 1}
    assert TOOL.ended(reader, "look") == TOOL.ended(reader, "part") == {"success": 1}


def test_an_agent_runs_in_another_process() -> None:
    with concurrent.futures.ProcessPoolExecutor(1) as pool:
        assert pool.submit(pickled_agent, "q").result(30) == "q"


class Names(Enum):
    BY_MEMBER = "member"


@each_way
def test_the_name_is_the_functions_own_unless_another_is_given(way: Way, reader: Reader) -> None:
    class Searcher:
        def __call__(self) -> None: ...

    def search() -> None: ...

    def find() -> None: ...

    way.observe(search)()
    way.observe()(search)()
    way.observe(functools.partial(search))()
    way.observe(staticmethod(search))()
    way.observe(Searcher())()
    way.observe("Another")(search)()
    way.observe(name="Another")(find)()
    unnamed = way.observe()
    unnamed(find)()
    unnamed(search)()
    with way.observe(Names.BY_MEMBER):
        pass
    expected = {"search": 5, "find": 1, "Searcher": 1, "Another": 2, "member": 1}
    assert reader.collect().values(way.counter, way.subject) == set(expected)
    assert {name: way.ended(reader, name)["success"] for name in expected} == expected


@pytest.mark.parametrize(
    ("decorate", "message"),
    [
        (lambda: observe_agent(Team), "observe_agent decorates functions, not the class Team"),
        (lambda: observe_tool(Team), "observe_tool decorates functions, not the class Team"),
        (lambda: observe_agent("a")(3), "observe_agent decorates a callable, not 3"),
        (lambda: observe_tool(property(plain)), "observe_tool decorates a callable"),
        (lambda: observe_agent(["a"])(plain), "observe_agent, agent: a label takes a string"),
        (lambda: observe_agent("a", feature=[])(plain), "observe_agent, feature: a label takes a string"),
        (lambda: observe_agent("a", agent="b"), "first argument or as name"),
        (lambda: observe_tool(b"t")(plain), "observe_tool, tool: a label takes a string"),
        (lambda: observe_tool("t", agent=[])(plain), "observe_tool, agent: a label takes a string"),
        (lambda: observe_tool("t", feature="f"), "feature"),
    ],
)
def test_bad_arguments_raise_where_a_function_is_decorated_and_say_what_to_change(
    decorate: Callable[[], Any], message: str
) -> None:
    with pytest.raises(TypeError, match=message):
        decorate()


@each_way
def test_a_block_without_a_usable_name_goes_on_and_says_so(way: Way, reader: Reader, faults: Faults) -> None:
    faults.expected |= {way.observe.__name__, "labels"}
    with way.observe():
        pass
    with way.observe(object()):
        pass
    assert way.ended(reader, "") == {"success": 2}


# Whose calls: the agent's name and the run reach every call inside.


def test_the_agents_name_reaches_every_call_inside_at_any_depth(reader: Reader) -> None:
    @observe_tool
    def search() -> None:
        ask()
        with track_request() as request:
            request.record(input_tokens=5)

    def deeper() -> None:
        search()

    @observe_agent("researcher", feature="research")
    def research() -> None:
        deeper()
        ask()

    research()
    ask()
    found = reader.collect()
    assert called_by(found) == {"researcher": 3, "": 1}
    assert found.total("ai_requests", feature="research", agent="researcher") == 3
    assert found.total("ai_tokens", agent="researcher", direction="input") == 2 * 100 + 5
    assert done_by(found, "researcher") == (3, 2 * TOKENS + 5, 1)


def test_blocks_yield_to_decorators_and_decorators_to_what_a_call_states(reader: Reader) -> None:
    with attribute(agent="block outside"), observe_agent("run"):
        ask()
        with attribute(agent="block inside"):
            ask()
            answering(agent="decorator")()
            with track_request(agent="block's own") as request:
                pass
            with track_request(agent="unsaid") as request:
                request.set(agent="call")
        observe_tool("t", agent="tool's")(ask)()
    found = reader.collect()
    expected = ["run", "block inside", "decorator", "block's own", "call", "tool's"]
    assert called_by(found) == dict.fromkeys(expected, 1)
    assert done_by(found, "run")[0] == 6  # whatever name they have, this run has made them


def test_further_labels_reach_the_calls_inside(faults: Faults) -> None:
    _, (reader,) = recording("memory", labels={"tier": ["free", "pro"]})
    with observe_agent("a", tier="pro"):
        ask()
    assert reader.collect().one("ai_requests", status="success").labels["tier"] == "pro"


def test_calls_of_tasks_threads_and_bound_functions_are_counted_to_the_run(reader: Reader) -> None:
    @observe_llm
    async def ask_later() -> dict[str, Any]:
        await asyncio.sleep(0)
        return REPLY

    @observe_agent("a")
    async def work() -> None:
        await asyncio.gather(*(ask_later() for _ in range(5)))
        await asyncio.gather(*(asyncio.to_thread(ask) for _ in range(4)))
        async with asyncio.TaskGroup() as group:
            group.create_task(ask_later())
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            for future in [pool.submit(bind(ask)) for _ in range(3)]:
                future.result(10)
            pool.submit(ask).result(10)  # not bound, and nobody's

    asyncio.run(work())
    found = reader.collect()
    assert called_by(found) == {"a": 13, "": 1}
    assert done_by(found, "a") == (13, 13 * TOKENS, 0)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_calls_of_anyios_task_groups_and_threads_are_counted_to_the_run(backend: str, reader: Reader) -> None:
    @observe_agent("a")
    async def work() -> None:
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(anyio.to_thread.run_sync, ask)

    anyio.run(work, backend=backend)
    assert done_by(reader.collect(), "a") == (3, 3 * TOKENS, 0)


def test_calls_that_fail_are_counted_and_tokens_only_where_some_are_known(reader: Reader) -> None:
    failing = answering(TimeoutError())
    silent = answering({"no": "usage"})

    @observe_agent
    def partly() -> None:
        for call in (failing, silent, ask):
            with contextlib.suppress(TimeoutError):
                call()

    @observe_agent
    def nothing_known() -> None:
        silent()

    @observe_agent
    def only_input() -> None:
        with track_request() as request:
            request.record(input_tokens=7)

    partly()
    nothing_known()
    only_input()
    observe_agent("idle")(lambda: None)()
    found = reader.collect()
    assert [done_by(found, agent)[0] for agent in ("partly", "nothing_known", "only_input", "idle")] == [3, 1, 1, 0]
    assert {point.labels["agent"]: point.value for point in found.of("ai_agent_run_tokens")} == {
        "partly": TOKENS,
        "only_input": 7,
    }
    assert found.total("gen_ai.invoke_agent.inference_calls", gen_ai__agent__name="partly") == 3


def test_of_calls_inside_each_other_tokens_are_counted_once(reader: Reader) -> None:
    @observe_agent("a")
    def work() -> None:
        observe_llm(feature="outer")(lambda: ask())()

    work()
    found = reader.collect()
    assert called_by(found) == {"a": 2}
    assert done_by(found, "a") == (2, TOKENS, 0)


def test_a_call_around_an_agent_is_not_the_agents(reader: Reader) -> None:
    observe_llm(feature="outer")(observe_agent("a")(lambda: ask()))()
    found = reader.collect()
    assert called_by(found) == {"a": 1, "": 1}
    assert done_by(found, "a") == (1, TOKENS, 0)
    assert found.total("ai_tokens") == TOKENS


def test_a_nested_agent_owns_its_calls_its_tokens_and_its_tools(reader: Reader) -> None:
    search = observe_tool("search")(lambda: ask())

    @observe_agent
    def inner() -> None:
        ask()
        search()

    @observe_tool("delegate")
    def delegate() -> None:
        inner()

    @observe_agent
    def outer() -> None:
        ask()
        delegate()
        ask()
        inner()

    outer()
    found = reader.collect()
    assert called_by(found) == {"outer": 2, "inner": 4}
    assert done_by(found, "outer") == (2, 2 * TOKENS, 1)
    assert done_by(found, "inner") == (4, 4 * TOKENS, 2)
    assert found.count("ai_agent_run_requests", agent="inner") == 2
    assert {(point.labels["agent"], point.labels["tool"]) for point in found.of("ai_tool_calls")} == {
        ("outer", "delegate"),
        ("inner", "search"),
    }


def test_an_agent_inside_itself_is_two_runs(reader: Reader) -> None:
    block = observe_agent("a")
    with block:
        ask()
        with block:
            ask()
            ask()
    ask()
    found = reader.collect()
    assert called_by(found) == {"a": 3, "": 1}
    (point,) = found.of("ai_agent_run_requests")
    assert (point.value, point.count) == (3, 2)


def test_calls_that_end_after_the_run_have_its_name_and_are_not_counted_to_it(reader: Reader) -> None:
    tasks: list[asyncio.Task[Any]] = []

    async def main() -> None:
        release = asyncio.Event()

        @observe_llm
        async def slow() -> dict[str, Any]:
            await release.wait()
            return REPLY

        async def background() -> None:
            await slow()
            ask()
            observe_tool("t")(lambda: None)()

        @observe_agent("inner")
        async def inner() -> None:
            ask()
            tasks.append(asyncio.create_task(background()))
            await asyncio.sleep(0)

        @observe_agent("outer")
        async def outer() -> None:
            await inner()
            release.set()
            await tasks[0]

        await outer()

    asyncio.run(main())
    found = reader.collect()
    assert called_by(found) == {"inner": 3}
    assert done_by(found, "inner") == (1, TOKENS, 0)
    assert done_by(found, "outer") == (0, 0, 0)


def test_two_runs_of_one_agent_at_once_count_each_their_own(reader: Reader) -> None:
    shared = observe_agent("block")

    @observe_agent("function")
    async def run(calls: int) -> None:
        async with shared:
            for _ in range(calls):
                await asyncio.sleep(0)
                ask()
        for _ in range(calls):
            await asyncio.sleep(0)
            ask()

    async def main() -> None:
        await asyncio.gather(run(1), run(4), run(2))

    asyncio.run(main())
    found = reader.collect()
    for agent in ("function", "block"):
        requests = found.one("ai_agent_run_requests", agent=agent)
        # Upper bounds 1, 2, 3, 5, ...: runs of 1, 2 and 4 calls.
        assert (requests.value, requests.count, requests.buckets[:5]) == (7, 3, (1, 1, 0, 1, 0))
        assert done_by(found, agent)[1] == 7 * TOKENS
    assert AGENT.ended(reader, "block") == {"success": 3}


@pytest.mark.usefixtures("hurried")
def test_runs_in_many_threads_are_counted_exactly(reader: Reader) -> None:
    shared = observe_agent("block")
    search = observe_tool("search")(ask)

    @observe_agent("function")
    def run() -> None:
        search()
        ask()
        with shared:
            ask()

    def work() -> None:
        for _ in range(25):
            run()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = reader.collect()
    assert done_by(found, "function") == (400, 400 * TOKENS, 200)
    assert done_by(found, "block") == (200, 200 * TOKENS, 0)
    assert AGENT.ended(reader, "function") == AGENT.ended(reader, "block") == {"success": 200}


@pytest.mark.usefixtures("hurried")
def test_calls_of_one_run_on_many_threads_are_counted_exactly(reader: Reader) -> None:
    with observe_agent("a"), concurrent.futures.ThreadPoolExecutor(8) as pool:
        for future in [pool.submit(bind(ask)) for _ in range(400)]:
            future.result(10)
    assert done_by(reader.collect(), "a") == (400, 400 * TOKENS, 0)


# Generators: nothing of a run is left with the consumer between two steps.


def test_calls_that_the_consumer_of_an_agents_generator_makes_are_not_the_agents(reader: Reader) -> None:
    @observe_agent("a")
    def work() -> Generator[int]:
        for i in range(3):
            ask()
            with observe_agent("nested"):
                ask()
            yield i

    for _ in work():
        ask()
        observe_tool("mine")(ask)()
    found = reader.collect()
    assert called_by(found) == {"a": 3, "nested": 3, "": 6}
    assert done_by(found, "a") == (3, 3 * TOKENS, 0)
    assert found.values("ai_tool_calls", "agent") == {""}


def test_calls_that_the_consumer_of_an_agents_async_generator_makes_are_not_the_agents(reader: Reader) -> None:
    @observe_agent("a")
    async def work() -> AsyncGenerator[int]:
        with attribute(feature="inside"):
            for i in range(3):
                await asyncio.sleep(0)
                ask()
                yield i

    async def main() -> None:
        with attribute(agent="consumer"):
            async for _ in work():
                await asyncio.to_thread(ask)
                ask()
        ask()

    asyncio.run(main())
    found = reader.collect()
    assert called_by(found) == {"a": 3, "consumer": 6, "": 1}
    assert found.total("ai_requests", agent="consumer", feature="inside") == 0
    assert done_by(found, "a") == (3, 3 * TOKENS, 0)


def test_generators_of_two_agents_that_take_turns_stay_apart(reader: Reader) -> None:
    def pieces(calls: int) -> Generator[None]:
        for _ in range(calls):
            ask()
            yield

    one, two = observe_agent("one")(pieces)(3), observe_agent("two")(pieces)(3)
    for _ in zip(one, two, strict=True):
        ask()
    found = reader.collect()
    assert called_by(found) == {"one": 3, "two": 3, "": 3}
    assert (done_by(found, "one")[0], done_by(found, "two")[0]) == (3, 3)
    assert AGENT.ended(reader, "one") == AGENT.ended(reader, "two") == {"success": 1}


def test_a_generator_that_is_read_in_another_task_than_it_was_begun_in_fails_nowhere(reader: Reader) -> None:
    @observe_agent("a")
    async def work() -> AsyncGenerator[int]:
        async with observe_tool("t"):
            for i in range(2):
                ask()
                yield i

    async def main() -> None:
        pieces = work()
        for _ in range(2):
            await asyncio.create_task(anext(pieces))  # type: ignore[arg-type]
        with pytest.raises(StopAsyncIteration):
            await asyncio.create_task(anext(pieces))  # type: ignore[arg-type]

    asyncio.run(main())
    assert done_by(reader.collect(), "a") == (2, 2 * TOKENS, 1)
    assert AGENT.ended(reader, "a") == {"success": 1}
    assert TOOL.ended(reader, "t") == {"success": 1}


def test_a_block_that_is_left_in_another_context_than_it_was_entered_in_is_counted(reader: Reader) -> None:
    def fixture() -> Generator[None]:
        with observe_agent("a"):
            yield

    running = fixture()
    contextvars.copy_context().run(next, running)
    ask()
    contextvars.copy_context().run(lambda: list(running))
    abandoned = fixture()
    contextvars.copy_context().run(next, abandoned)
    abandoned.close()
    assert AGENT.ended(reader, "a") == {"success": 1, "abandoned": 1}
    assert called_by(reader.collect()) == {"": 1}


class AsyncStream:
    """As openai's: iterated, entered and closed."""

    __module__ = "openai"

    def __init__(self, chunks: list[Any]) -> None:
        self._chunks = iter(chunks)

    def __aiter__(self) -> AsyncStream:
        return self

    async def __anext__(self) -> Any:
        for chunk in self._chunks:
            return chunk
        raise StopAsyncIteration

    async def __aenter__(self) -> AsyncStream:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("ending", "status"), [("read", "success"), ("leave", "abandoned"), ("close", "abandoned"), ("drop", "abandoned")]
)
def test_a_run_that_returns_its_models_stream_counts_the_call_however_the_stream_ends(
    ending: str, status: str, reader: Reader, clock: ManualClock
) -> None:
    usage = {"object": "chat.completion.chunk", "model": "m", "choices": [], "usage": REPLY["usage"]}

    @observe_agent("a")
    async def work() -> AsyncStream:
        return await observe_llm(read)()

    async def read() -> AsyncStream:
        return AsyncStream([usage, {}, {}])

    async def main() -> None:
        stream = await work()
        assert isinstance(stream, AsyncStream)
        clock.advance(3.0)
        assert await anext(stream) is usage
        if ending == "read":
            assert [chunk async for chunk in stream] == [{}, {}]
        elif ending == "leave":
            async with stream as same:
                assert same is stream
        elif ending == "close":
            await stream.close()

    asyncio.run(main())
    assert AGENT.ended(reader, "a") == {status: 1}
    found = reader.collect()
    assert done_by(found, "a") == (1, TOKENS, 0)
    assert found.one("ai_agent_duration").value == 3.0


# What is shown, and to whom.


def test_a_decorated_agent_is_there_at_0_before_its_first_run(reader: Reader) -> None:
    observe_agent("a")(plain)
    observe_agent(plain)
    found = reader.collect()
    assert {(point.labels["agent"], point.labels["status"], point.value) for point in found.of("ai_agent_runs")} == {
        (agent, status, 0) for agent in ("a", "plain") for status in STATUSES
    }
    assert found.of("ai_agent_duration") == []


def test_an_agent_in_a_block_has_all_its_statuses_from_its_first_run_on(reader: Reader) -> None:
    with observe_agent("a"):
        assert reader.collect().of("ai_agent_runs") == []
    points = reader.collect().of("ai_agent_runs", agent="a")
    assert {point.labels["status"]: point.value for point in points} == {**dict.fromkeys(STATUSES, 0), "success": 1}


def test_decorated_before_and_after_a_configuration_it_is_shown_the_same(faults: Faults) -> None:
    run = observe_agent("a")(ask)
    run()
    _, (reader,) = recording("memory")
    run()
    assert AGENT.ended(reader, "a") == {"success": 2}
    assert done_by(reader.collect(), "a") == (2, 2 * TOKENS, 0)


@pytest.mark.parametrize("kind", Reader.KINDS)
def test_counts_survive_reconfiguration_and_a_run_that_is_open_meanwhile_is_counted_whole(
    kind: str, faults: Faults, clock: ManualClock
) -> None:
    provider, (reader,) = recording(kind)
    observe_agent("a")(observe_tool("t")(ask))()
    reader.collect()
    with observe_agent("a"):
        ask()
        llmwatch.configure(meter_provider=provider, label_limits={"agent": 50})
        ask()
        clock.advance(1.0)
    reader.collect()
    assert reader.total("ai_agent_runs", agent="a") == 2
    assert (reader.total("ai_agent_duration"), reader.count("ai_agent_duration")) == (1.0, 2)
    assert (reader.total("ai_agent_run_requests"), reader.count("ai_agent_run_requests")) == (3, 2)
    assert reader.total("ai_agent_run_tokens") == 3 * TOKENS
    assert reader.total("ai_tool_calls") == reader.count("ai_tool_duration") == 1


@pytest.mark.parametrize("kind", Reader.KINDS)
def test_every_reader_sees_the_same_runs_and_calls_of_tools(kind: str, faults: Faults, clock: ManualClock) -> None:
    _, (reader,) = recording(kind)

    @observe_tool("search")
    def search(*, fail: bool) -> None:
        clock.advance(0.5)
        ask()
        if fail:
            raise TimeoutError

    @observe_agent("a")
    def run(*, fail: bool = False) -> None:
        clock.advance(1.0)
        ask()
        search(fail=fail)

    reader.collect()
    run()
    run()
    reader.collect()
    with pytest.raises(TimeoutError):
        run(fail=True)
    reader.collect()
    reader.collect()
    assert reader.total("ai_agent_runs", agent="a", status="success") == 2
    assert reader.total("ai_agent_runs", agent="a", status="error") == 1
    assert reader.total("ai_agent_runs") == 3
    assert (reader.total("ai_agent_duration"), reader.count("ai_agent_duration")) == (4.5, 3)
    assert (reader.total("ai_agent_run_requests"), reader.count("ai_agent_run_requests")) == (6, 3)
    assert (reader.total("ai_agent_run_tokens"), reader.count("ai_agent_run_tokens")) == (6 * TOKENS, 3)
    assert reader.total("ai_tool_calls", agent="a", tool="search", status="error") == 1
    assert reader.total("ai_tool_calls") == 3
    assert (reader.total("ai_tool_duration"), reader.count("ai_tool_duration")) == (1.5, 3)
    # In Prometheus' format a dot is an underscore.
    dot = "_" if kind == "prometheus" else "."
    failed = {f"error{dot}type": "timeout"}
    assert reader.count("gen_ai.invoke_agent.duration", **failed, **{f"gen_ai{dot}agent{dot}name": "a"}) == 1
    assert reader.count("gen_ai.invoke_agent.duration") == 3
    assert reader.total("gen_ai.invoke_agent.inference_calls") == 6
    assert reader.total("gen_ai.invoke_agent.tool_calls") == 3
    assert reader.count("gen_ai.execute_tool.duration", **failed, **{f"gen_ai{dot}tool{dot}name": "search"}) == 1


def test_without_the_convention_only_our_own_metrics_are_recorded(faults: Faults) -> None:
    _, (reader,) = recording("memory", semconv="none")
    observe_agent("a")(observe_tool("t")(ask))()
    names = reader.collect().names
    assert {"ai_agent_runs", "ai_agent_run_tokens", "ai_tool_calls"} <= names
    assert not [name for name in names if name.startswith("gen_ai.")]


def test_agents_beyond_the_budget_say_other_in_both_vocabularies(faults: Faults) -> None:
    _, (reader,) = recording("memory", label_limits={"agent": 2})
    for name in ("a", "b", "c", "d"):
        with observe_agent(name):
            ask()
    found = reader.collect()
    assert found.values("ai_agent_runs", "agent") == {"a", "b", "other"}
    assert found.values("gen_ai.invoke_agent.duration", "gen_ai.agent.name") == {"a", "b", "other"}
    assert done_by(found, "other") == (2, 2 * TOKENS, 0)


def test_before_any_configuration_runs_are_kept_for_the_one_that_comes(faults: Faults) -> None:
    observe_agent("a")(ask)()
    observe_tool("t")(ask)()
    record_guard("g", "allowed")
    _, (reader,) = recording("memory")
    found = reader.collect()
    assert found.total("ai_agent_runs") == found.total("ai_tool_calls") == found.total("ai_guard_decisions") == 1


def test_after_a_shutdown_runs_go_on(faults: Faults) -> None:
    recording("memory")
    llmwatch.shutdown()
    assert observe_agent("a")(plain)("q") == "q"
    _, (reader,) = recording("memory")
    assert AGENT.ended(reader, "a") == {"success": 1}
