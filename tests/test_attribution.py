"""Whom calls are for: what wins over what, and how it comes into tasks, threads, processes and other services."""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import logging
import multiprocessing
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from typing import Any

import anyio.lowlevel
import anyio.to_thread
import pytest
import tenacity
from opentelemetry import baggage, context
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from recording import REPLY, Faults, apart, recording
from support import REPOSITORY

from llmwatch import attribute, bind, observe_llm, outgoing_baggage, track_request
from llmwatch.attribution import current_scope
from llmwatch.testing import Capture, capture


@pytest.fixture
def seen() -> Iterator[Capture]:
    with capture() as caught:
        yield caught


@pytest.fixture
def faults() -> Iterator[Faults]:
    with apart() as faults:
        yield faults


def labels(seen: Capture, *names: str) -> list[tuple[str | None, ...]]:
    """Labels of the calls, in the order of their ends."""
    return [tuple(record.labels.get(name) for name in names) for record in seen.calls]


def call(**stated: Any) -> None:
    with track_request(**stated):
        pass


def where() -> dict[str, str]:
    """The labels that hold here."""
    return dict(current_scope().labels)


# --- What wins


def test_a_block_is_weaker_than_a_decorator_and_a_decorator_than_what_a_call_is_told(seen: Capture) -> None:
    with attribute(feature="block", agent="block", tier="block"):
        call()
        call(feature="call", agent="call")
        observe_llm(feature="decorator", agent="decorator")(lambda: None)()
        with track_request(feature="call") as request:
            request.set(feature="told", tier="told")

    assert labels(seen, "feature", "agent", "tier") == [
        ("block", "block", "block"),
        ("call", "call", "block"),
        ("decorator", "decorator", "block"),
        ("told", "block", "told"),
    ]


def test_the_innermost_block_wins_label_by_label(seen: Capture) -> None:
    with attribute(feature="outer", agent="outer", tier="outer"), attribute(agent="middle"), attribute(tier="inner"):
        call()

    assert labels(seen, "feature", "agent", "tier") == [("outer", "middle", "inner")]


def test_what_is_told_too_late_or_not_at_all_changes_nothing(seen: Capture) -> None:
    with attribute(feature="block"), track_request() as request:
        request.set(feature=None)
    call()

    assert labels(seen, "feature") == [("block",), (None,)]


def test_decorators_in_decorators_each_keep_what_they_state_and_share_what_is_around_them(seen: Capture) -> None:
    @observe_llm(feature="innermost")
    def innermost() -> None:
        pass

    @observe_llm(feature="middle", agent="middle")
    def middle() -> None:
        with attribute(tier="inside"):
            innermost()

    @observe_llm(feature="outermost")
    def outermost() -> None:
        middle()

    with attribute(agent="around"):
        outermost()

    assert labels(seen, "feature", "agent", "tier") == [
        ("innermost", "around", "inside"),
        ("middle", "middle", None),
        ("outermost", "around", None),
    ]


# --- Tasks and threads


def test_attribution_goes_through_tasks_of_tasks_and_the_threads_they_use(seen: Capture) -> None:
    async def leaf(name: str) -> None:
        with attribute(tier=name):
            await asyncio.sleep(0)
            await asyncio.to_thread(call)

    async def branch(agent: str) -> None:
        async with attribute(agent=agent), asyncio.TaskGroup() as tasks:
            for name in ("free", "pro"):
                tasks.create_task(leaf(name))
                await asyncio.sleep(0)

    async def root() -> None:
        with attribute(feature="f"):
            await asyncio.gather(branch("a"), branch("b"))
        call()

    asyncio.run(root())
    assert sorted(labels(seen, "feature", "agent", "tier")[:-1]) == [  # type: ignore[type-var]
        ("f", agent, tier) for agent in ("a", "b") for tier in ("free", "pro")
    ]
    assert labels(seen, "feature", "agent", "tier")[-1] == (None, None, None)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_attribution_goes_through_anyio_s_task_groups_and_threads(seen: Capture, backend: str) -> None:
    async def work(agent: str) -> None:
        async with attribute(agent=agent):
            await anyio.lowlevel.checkpoint()
            call()
            await anyio.to_thread.run_sync(call)

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            with attribute(feature="f"):
                for agent in ("a", "b", "c"):
                    tasks.start_soon(work, agent)
            tasks.start_soon(work, "outside")

    anyio.run(main, backend=backend)
    expected = [("f", agent) for agent in ("a", "b", "c")] + [(None, "outside")]
    assert sorted(labels(seen, "feature", "agent"), key=str) == sorted(expected * 2, key=str)


def test_a_callback_of_the_event_loop_has_the_attribution_of_where_it_was_asked_for(seen: Capture) -> None:
    async def main() -> None:
        with attribute(feature="f"):
            asyncio.get_running_loop().call_soon(call)
        await asyncio.sleep(0)

    asyncio.run(main())
    assert labels(seen, "feature") == [("f",)]


def test_a_bound_function_of_a_plain_thread_has_the_attribution_of_where_it_was_bound(seen: Capture) -> None:
    with attribute(feature="f"):
        thread = threading.Thread(target=bind(call), kwargs={"agent": "a"})
    thread.start()
    thread.join(10)

    assert labels(seen, "feature", "agent") == [("f", "a")]


# --- Executors


def test_a_bound_executor_gives_each_call_the_attribution_of_where_it_was_submitted(seen: Capture) -> None:
    with bind(concurrent.futures.ThreadPoolExecutor(1)) as pool:
        with attribute(feature="a"):
            first = pool.submit(where)
        with attribute(feature="b"):
            second = pool.submit(where)
        third = pool.submit(where)

        assert (first.result(10), second.result(10), third.result(10)) == ({"feature": "a"}, {"feature": "b"}, {})


def test_a_bound_executor_maps_with_the_attribution_of_where_map_was_called(seen: Capture) -> None:
    with bind(concurrent.futures.ThreadPoolExecutor(4)) as pool:
        with attribute(feature="f"):
            results = pool.map(lambda a, b: (a + b, where()), range(3), range(3), timeout=10)
        assert list(results) == [(0, {"feature": "f"}), (2, {"feature": "f"}), (4, {"feature": "f"})]


def test_calls_in_a_bound_executor_s_threads_are_nested_in_the_call_around_the_submission(seen: Capture) -> None:
    with bind(concurrent.futures.ThreadPoolExecutor(1)) as pool, track_request(feature="outer"):
        pool.submit(observe_llm(lambda: REPLY)).result(10)

    assert [record.nested for record in seen.calls] == [False, True]


def test_a_bound_executor_passes_on_values_exceptions_and_arguments_as_they_are(seen: Capture) -> None:
    error = LookupError("none")

    def fail(*args: Any, fn: Any = None) -> Any:
        if args:
            return args, fn
        raise error

    with bind(concurrent.futures.ThreadPoolExecutor(1)) as pool:
        assert pool.submit(fail, 1, fn=2).result(10) == ((1,), 2)
        assert pool.submit(fail).exception(10) is error


def test_a_bound_executor_is_shut_down_as_the_one_that_it_is_around() -> None:
    inner = concurrent.futures.ThreadPoolExecutor(1)
    pool = bind(inner)
    assert isinstance(pool, concurrent.futures.Executor)
    release = threading.Event()
    running, waiting = pool.submit(release.wait, 10), pool.submit(where)
    pool.shutdown(wait=False, cancel_futures=True)
    release.set()

    assert running.result(10) is True
    assert waiting.cancelled()
    with pytest.raises(RuntimeError, match="shutdown"):
        inner.submit(where)


def test_an_event_loop_runs_in_a_bound_executor(seen: Capture) -> None:
    async def main() -> dict[str, str]:
        with bind(concurrent.futures.ThreadPoolExecutor(1)) as pool, attribute(feature="f"):
            return await asyncio.get_running_loop().run_in_executor(pool, where)

    assert asyncio.run(main()) == {"feature": "f"}


@pytest.mark.parametrize("method", ["spawn", "fork", "forkserver"])
# Python warns of every fork beside threads, of which a test run has some.
@pytest.mark.filterwarnings("ignore:.*use of fork.. may lead to deadlocks:DeprecationWarning")
def test_a_bound_process_pool_takes_the_labels_along(method: str) -> None:
    processes = concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context(method))
    with bind(processes) as pool:
        with attribute(feature="f", tier="pro"), track_request(feature="around"):
            submitted, mapped = pool.submit(where), pool.map(in_process, range(3), chunksize=2)
        afterwards = pool.submit(where)

        assert submitted.result(60) == {"feature": "f", "tier": "pro"}
        assert list(mapped) == [(number, {"feature": "f", "tier": "pro"}, False) for number in range(3)]
        assert afterwards.result(60) == {}


def in_process(number: int) -> tuple[int, dict[str, str], bool]:
    return number, where(), current_scope().call is not None


def test_a_label_value_that_is_of_no_use_does_not_keep_a_function_from_another_process() -> None:
    processes = concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
    with bind(processes) as pool, attribute(tier=object()):
        assert pool.submit(where).result(60) == {"tier": ""}


# --- Baggage


@pytest.fixture
def incoming(faults: Faults) -> Iterator[Callable[[str], None]]:
    """Sets the baggage as a server's instrumentation does, from the header of a request."""
    tokens = []

    def arrives(header: str) -> None:
        tokens.append(context.attach(W3CBaggagePropagator().extract({"baggage": header})))

    yield arrives
    while tokens:
        context.detach(tokens.pop())


def sent() -> dict[str, str]:
    """The baggage that a client's instrumentation would send along now."""
    headers: dict[str, str] = {}
    W3CBaggagePropagator().inject(headers)
    header = headers.get("baggage", "")
    return dict(entry.split("=", 1) for entry in header.split(",")) if header else {}


ANSWERED = {"status": "success"}


def test_nothing_is_read_from_baggage_unless_it_is_named(incoming: Callable[[str], None]) -> None:
    _, (reader,) = recording("memory", labels={"tier": ["pro"]})
    incoming("llmwatch.tier=pro,llmwatch.feature=search")
    call()

    assert [point.labels["feature"] for point in reader.collect().of("ai_requests", **ANSWERED)] == [""]


def test_named_labels_come_from_baggage_where_nothing_else_says_what_they_are(incoming: Callable[[str], None]) -> None:
    _, (reader,) = recording("memory", labels={"tier": ["free", "pro"]}, baggage=["tier", "feature"])
    incoming("llmwatch.tier=pro,llmwatch.feature=search,llmwatch.agent=spy,tier=free")
    call()
    with attribute(feature="inside"):
        call()
    call(tier="free")

    found = [point.labels for point in reader.collect().of("ai_requests", **ANSWERED) if point.value]
    assert sorted((found["feature"], found["tier"], found["agent"]) for found in found) == [
        ("inside", "pro", ""),
        ("search", "free", ""),
        ("search", "pro", ""),
    ]


def test_what_comes_as_baggage_goes_into_tasks_and_bound_threads(incoming: Callable[[str], None]) -> None:
    _, (reader,) = recording("memory", baggage=["feature"])
    incoming("llmwatch.feature=search")

    async def main() -> None:
        await asyncio.create_task(asyncio.to_thread(call))

    asyncio.run(main())
    with bind(concurrent.futures.ThreadPoolExecutor(1)) as pool:
        pool.submit(call).result(10)
        pool.submit(bind(call)).result(10)

    assert reader.collect().total("ai_requests", feature="search", **ANSWERED) == 3


def test_values_from_outside_are_bounded_as_all_others(incoming: Callable[[str], None]) -> None:
    _, (reader,) = recording(
        "memory", labels={"tier": ["pro"]}, label_limits={"feature": 2}, baggage=["tier", "feature"]
    )
    for number in range(5):
        incoming(f"llmwatch.feature=made-up-{number},llmwatch.tier={'x' * 3000}")
        call()
    found = reader.collect()

    assert found.values("ai_requests", "feature") == {"made-up-0", "made-up-1", "other"}
    assert found.values("ai_requests", "tier") == {"other"}
    assert found.total("llmwatch_label_overflow", label="tier") == 5


@pytest.mark.parametrize("value", [3, b"pro", ["pro"], "", object()])
def test_baggage_that_is_no_text_is_no_label(value: object, faults: Faults) -> None:
    _, (reader,) = recording("memory", baggage=["feature"])
    token = context.attach(baggage.set_baggage("llmwatch.feature", value))
    try:
        call()
    finally:
        context.detach(token)

    assert reader.collect().total("ai_requests", feature="", **ANSWERED) == 1


def test_named_labels_of_the_scope_go_out_as_baggage_inside_the_block_only(faults: Faults) -> None:
    recording("memory", labels={"tier": ["free", "pro"], "region": 5}, baggage=["tier", "feature"])
    with attribute(feature="a b", tier="pro", region="eu"):
        before = sent()
        with outgoing_baggage():
            inside = sent()
        after = sent()

    assert (before, after) == ({}, {})
    assert inside == {"llmwatch.feature": "a+b", "llmwatch.tier": "pro"}


def test_what_other_libraries_put_into_the_baggage_stays_there(incoming: Callable[[str], None]) -> None:
    recording("memory", baggage=["feature"])
    incoming("user=7,llmwatch.feature=theirs")
    with attribute(feature="ours"), outgoing_baggage():
        assert sent() == {"user": "7", "llmwatch.feature": "ours"}
    assert sent() == {"user": "7", "llmwatch.feature": "theirs"}


def test_what_goes_out_comes_in_again(incoming: Callable[[str], None]) -> None:
    _, (reader,) = recording("memory", labels={"tier": 5}, baggage=["feature", "tier"])
    headers: dict[str, str] = {}
    with attribute(feature="sök, då", tier="pro;1"), outgoing_baggage():
        W3CBaggagePropagator().inject(headers)
    incoming(headers["baggage"])
    call()

    assert reader.collect().total("ai_requests", feature="sök, då", tier="pro;1", **ANSWERED) == 1


def test_without_the_setting_and_without_labels_nothing_goes_out(faults: Faults) -> None:
    with attribute(feature="f"), outgoing_baggage():
        assert sent() == {}
    recording("memory", baggage=["feature"])
    with outgoing_baggage():
        assert sent() == {}
    with attribute(feature="x" * 200), outgoing_baggage():
        assert sent() == {}


def test_the_block_can_be_used_again_and_inside_itself(faults: Faults) -> None:
    recording("memory", baggage=["feature"])
    block = outgoing_baggage()
    with attribute(feature="a"), block:
        with attribute(feature="b"), block:
            assert sent() == {"llmwatch.feature": "b"}
        assert sent() == {"llmwatch.feature": "a"}
    assert sent() == {}


def test_a_block_that_ends_in_another_task_or_thread_complains_about_nothing(
    faults: Faults, caplog: pytest.LogCaptureFixture
) -> None:
    recording("memory", baggage=["feature"])

    async def outgoing() -> AsyncGenerator[int]:
        with attribute(feature="f"), outgoing_baggage():
            yield 1

    async def main() -> None:
        generator = outgoing()
        await asyncio.create_task(anext(generator))  # type: ignore[arg-type]
        await asyncio.create_task(generator.aclose())  # type: ignore[arg-type]
        assert sent() == {}

    asyncio.run(main())
    block = outgoing_baggage()
    block.__enter__()
    thread = threading.Thread(target=block.__exit__)
    thread.start()
    thread.join(10)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_a_broken_context_of_opentelemetry_breaks_no_call(faults: Faults, monkeypatch: pytest.MonkeyPatch) -> None:
    faults.expected = {"baggage"}
    _, (reader,) = recording("memory", baggage=["feature"])

    def broken(*_: Any) -> Any:
        raise RuntimeError("no context here")

    monkeypatch.setattr(baggage, "get_all", broken)
    monkeypatch.setattr(baggage, "set_baggage", broken)
    with attribute(feature="f"), outgoing_baggage():
        call()

    assert reader.collect().total("ai_requests", feature="f", **ANSWERED) == 1


def test_baggage_is_not_even_imported_unless_it_is_asked_for() -> None:
    program = (
        "import sys, llmwatch\n"
        "llmwatch.configure(labels={'tier': ['pro']})\n"
        "with llmwatch.attribute(tier='pro'), llmwatch.outgoing_baggage(), llmwatch.track_request(): pass\n"
        "print('opentelemetry.baggage' in sys.modules)\n"
        "llmwatch.configure(labels={'tier': ['pro']}, baggage=['tier'])\n"
        "print('opentelemetry.baggage' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]


# --- Retries, blocks and decorators around and inside each other


def tokens(seen: Capture) -> int:
    """Output tokens of all calls together."""
    return sum(record.usage.output_tokens or 0 for record in seen.calls if record.usage is not None)


def statuses(seen: Capture) -> list[str]:
    return [record.status for record in seen.calls]


def flaky(failures: int) -> Callable[[], Any]:
    """Fails so often, and then answers with 20 output tokens, for ever."""
    outcomes: Iterator[Any] = iter([TimeoutError()] * failures)

    def ask() -> Any:
        if error := next(outcomes, None):
            raise error
        return REPLY

    return ask


retried: Callable[[Callable[..., Any]], Callable[..., Any]] = tenacity.retry(
    stop=tenacity.stop_after_attempt(3), retry=tenacity.retry_if_exception_type(TimeoutError), reraise=True
)


def test_tenacity_around_an_observed_function_makes_each_attempt_a_call(seen: Capture) -> None:
    with attribute(feature="f"):
        assert retried(observe_llm(flaky(2)))() is REPLY

    assert statuses(seen) == ["error", "error", "success"]
    assert labels(seen, "feature") == [("f",)] * 3
    assert tokens(seen) == 20


def test_tenacity_inside_an_observed_function_is_one_call(seen: Capture) -> None:
    assert observe_llm(retried(flaky(2)))() is REPLY

    assert statuses(seen) == ["success"]
    assert tokens(seen) == 20


def test_tenacity_of_coroutines_between_two_observed_layers_counts_tokens_once(seen: Capture) -> None:
    ask = flaky(1)

    @observe_llm(feature="outer")
    @retried
    @observe_llm(feature="attempt")
    async def answer() -> Any:
        await asyncio.sleep(0)
        return ask()

    assert asyncio.run(answer()) is REPLY
    assert labels(seen, "feature") == [("attempt",), ("attempt",), ("outer",)]
    assert statuses(seen) == ["error", "success", "success"]
    assert tokens(seen) == 20


def test_an_attempt_that_failed_after_it_was_billed_is_counted_with_the_one_that_did_not(seen: Capture) -> None:
    attempts = iter([ValueError("no JSON"), None])

    @observe_llm(feature="outer")
    def answer() -> None:
        while True:
            try:
                with track_request(feature="attempt") as request:
                    request.observe(REPLY)
                    if error := next(attempts):
                        raise error
                return
            except ValueError:
                continue

    answer()
    assert statuses(seen) == ["error", "success", "success"]
    assert tokens(seen) == 40


def test_a_block_that_is_told_what_a_decorated_function_has_read_counts_it_once(seen: Capture) -> None:
    with track_request(feature="block") as request:
        request.observe(observe_llm(feature="decorated")(lambda: REPLY)())

    assert labels(seen, "feature") == [("decorated",), ("block",)]
    assert tokens(seen) == 20


def test_blocks_in_blocks_count_tokens_once_and_those_beside_each_other_all(seen: Capture) -> None:
    with track_request(feature="outer") as outer:
        for _ in range(2):
            with track_request(feature="inner") as inner:
                inner.observe(REPLY)
        outer.record(output_tokens=40)

    assert labels(seen, "feature") == [("inner",), ("inner",), ("outer",)]
    assert tokens(seen) == 40


def test_methods_that_call_each_other_through_a_partial_count_tokens_once(seen: Capture) -> None:
    class Client:
        @observe_llm(feature="low")
        def low(self, question: str) -> Any:
            return REPLY

        @observe_llm(feature="high")
        def high(self) -> Any:
            return functools.partial(self.low, question="q")()

    Client().high()
    assert labels(seen, "feature") == [("low",), ("high",)]
    assert tokens(seen) == 20


def test_parallel_calls_inside_an_observed_one_are_each_counted_once(seen: Capture) -> None:
    @observe_llm(feature="part")
    async def part() -> Any:
        await asyncio.sleep(0)
        return REPLY

    @observe_llm(feature="all")
    async def together() -> Any:
        return await asyncio.gather(*(part() for _ in range(5)))

    asyncio.run(together())
    assert tokens(seen) == 5 * 20


def test_a_generator_over_an_observed_stream_counts_its_tokens_once(seen: Capture) -> None:
    chunk = {"object": "chat.completion.chunk", "model": "m", "choices": [], "usage": REPLY["usage"]}

    @observe_llm(feature="inner")
    def inner() -> Generator[Any]:
        yield chunk

    @observe_llm(feature="outer")
    def outer() -> Generator[Any]:
        with track_request(feature="block") as request:
            yield from request.stream(inner())

    assert list(outer()) == [chunk]
    assert sorted(labels(seen, "feature")) == [("block",), ("inner",), ("outer",)]  # type: ignore[type-var]
    assert tokens(seen) == 20
