"""Guards: each check is one decision, said at once, in a block or in a function."""

from __future__ import annotations

import asyncio
import collections
import concurrent.futures
import copy
import functools
import pickle
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from typing import Any

import pytest
import trio
from recording import Faults, Reader, answering, apart, recording

import llmwatch
from llmwatch import attribute, bind, observe_agent, observe_llm, observe_tool, record_guard, track_request

pytestmark = [pytest.mark.filterwarnings("error"), pytest.mark.usefixtures("quick_collections")]


@pytest.fixture
def faults() -> Iterator[Faults]:
    with apart() as faults:
        yield faults


@pytest.fixture
def reader(faults: Faults) -> Reader:
    _, (reader,) = recording("memory")
    return reader


def decisions(reader: Reader) -> dict[tuple[str, str, str, str], int]:
    """By feature, guard, stage and decision, those that were taken."""
    return {
        tuple(point.labels[name] for name in ("feature", "guard", "stage", "decision")): int(point.value)  # type: ignore[misc]
        for point in reader.collect().of("ai_guard_decisions")
        if point.value
    }


def decided(reader: Reader) -> dict[str, int]:
    """By decision alone."""
    return {key[-1]: count for key, count in decisions(reader).items()}


class BlockedError(Exception):
    """The application's own."""


# At once.


def test_a_decision_is_counted_at_once_for_its_guard_and_stage(reader: Reader) -> None:
    assert record_guard("pii", "allowed") is None
    record_guard("pii", "rejected", stage="output")
    record_guard("pii", "rejected", "output", feature="chat")
    record_guard("topic", decision="escalated")
    assert decisions(reader) == {
        ("", "pii", "input", "allowed"): 1,
        ("", "pii", "output", "rejected"): 1,
        ("chat", "pii", "output", "rejected"): 1,
        ("", "topic", "input", "escalated"): 1,
    }


def test_the_feature_is_that_of_the_nearest_block_or_call_around(reader: Reader) -> None:
    def check() -> None:
        record_guard("g", "allowed")

    def in_a_block() -> None:
        with attribute(feature="inside"):
            check()

    with attribute(feature="block"):
        check()
        observe_llm(feature="call")(check)()
        observe_llm(check)()
        observe_llm(feature="call")(in_a_block)()
        observe_llm(feature="call")(observe_tool("t")(check))()
        observe_llm(feature="call")(observe_agent("a", feature="agent")(check))()
        observe_llm(feature="call")(observe_llm(feature="inner call")(check))()
        with track_request() as request:
            request.set(feature="said later")
            check()
        with track_request(feature="stated"), record_guard("another"):
            check()
        record_guard("g", "allowed", feature="own")
    check()
    counts: collections.Counter[str] = collections.Counter()
    for (feature, *_), count in decisions(reader).items():
        counts[feature] += count
    assert counts == {
        "block": 2, "call": 2, "inside": 1, "agent": 1, "inner call": 1, "said later": 1, "stated": 2, "own": 1, "": 1,
    }  # fmt: skip


def test_a_call_that_has_ended_lends_its_feature_to_nobody(reader: Reader) -> None:
    async def later(release: asyncio.Event) -> None:
        await release.wait()
        record_guard("g", "allowed")

    async def main() -> None:
        release = asyncio.Event()

        @observe_llm(feature="early")
        async def early() -> asyncio.Event:
            tasks.append(asyncio.create_task(later(release)))
            return release

        with attribute(feature="block"):
            await early()
        release.set()
        await tasks[0]

    tasks: list[asyncio.Task[None]] = []
    asyncio.run(main())
    assert decisions(reader) == {("block", "g", "input", "allowed"): 1}


# A block.


def test_a_block_decides_what_it_was_told_and_allows_by_default(reader: Reader) -> None:
    with record_guard("pii"):
        pass
    with record_guard("pii", stage="output", feature="chat") as guard:
        guard.reject()
    with record_guard("pii", stage="output") as guard:
        guard.reject()
        guard.decide("redacted")
    assert decisions(reader) == {
        ("", "pii", "input", "allowed"): 1,
        ("chat", "pii", "output", "rejected"): 1,
        ("", "pii", "output", "redacted"): 1,
    }


def test_a_block_is_entered_by_async_with_too(reader: Reader) -> None:
    async def main() -> None:
        async with record_guard("pii") as guard:
            await asyncio.sleep(0)
            guard.reject()
        async with record_guard("pii"):
            await asyncio.sleep(0)

    asyncio.run(main())
    assert decided(reader) == {"rejected": 1, "allowed": 1}


def test_an_exception_is_the_decision_error_unless_something_was_decided_before(reader: Reader) -> None:
    error = BlockedError()
    with pytest.raises(BlockedError) as caught, record_guard("pii"):
        raise error
    assert caught.value is error
    with pytest.raises(BlockedError), record_guard("pii") as guard:  # noqa: PT012
        guard.reject()
        raise error
    assert decided(reader) == {"error": 1, "rejected": 1}


def test_a_cancelled_check_is_cancelled(reader: Reader) -> None:
    async def main() -> None:
        with trio.move_on_after(0):
            async with record_guard("pii"):
                await trio.sleep_forever()

    trio.run(main)
    with pytest.raises(KeyboardInterrupt), record_guard("pii"):
        raise KeyboardInterrupt
    assert decided(reader) == {"cancelled": 2}


def test_one_guard_checks_many_things_at_once_and_each_has_its_own_verdict(reader: Reader) -> None:
    pii = record_guard("pii")

    async def check(decision: str | None) -> None:
        async with pii as guard:
            await asyncio.sleep(0)
            if decision is not None:
                guard.decide(decision)
            await asyncio.sleep(0)

    async def main() -> None:
        await asyncio.gather(*(check(decision) for decision in (None, "rejected", "redacted", None, "rejected")))

    asyncio.run(main())
    with pii as outer, pii as inner:
        inner.reject()
        assert outer is not inner
    assert decided(reader) == {"allowed": 3, "rejected": 3, "redacted": 1}


def test_a_verdict_may_come_from_any_thread(reader: Reader) -> None:
    with record_guard("pii") as guard, concurrent.futures.ThreadPoolExecutor(1) as pool:
        pool.submit(guard.reject).result(10)
    assert decided(reader) == {"rejected": 1}


def test_calls_inside_a_guard_are_whose_they_were(reader: Reader) -> None:
    ask = answering()
    with observe_agent("a"), record_guard("moderation"):
        ask()
    found = reader.collect()
    assert found.total("ai_requests", agent="a") == found.total("ai_agent_run_requests", agent="a") == 1


# A function.

pii = record_guard("pii", stage="output")


def undecorated(text: str) -> str:
    pii.decide("redacted")
    return text


@pii
def checked(text: str) -> str:
    """Refuses numbers."""
    if text.isdigit():
        pii.reject()
        raise BlockedError
    if "@" in text:
        pii.decide("redacted")
        return text.replace("@", "*")
    return text


def test_each_call_of_a_guards_function_is_a_decision(reader: Reader) -> None:
    assert (checked("a"), checked("a@b"), checked("b")) == ("a", "a*b", "b")
    with pytest.raises(BlockedError):
        checked("12")
    with pytest.raises(AttributeError):
        checked(12)  # type: ignore[arg-type]
    assert decisions(reader) == {
        ("", "pii", "output", "allowed"): 2,
        ("", "pii", "output", "redacted"): 1,
        ("", "pii", "output", "rejected"): 1,
        ("", "pii", "output", "error"): 1,
    }


def test_a_guard_decides_in_coroutines_generators_threads_and_whatever_they_call(reader: Reader) -> None:
    guard = record_guard("pii")

    def deeper() -> None:
        with attribute(agent="a"):
            guard.reject()

    @guard
    async def later() -> None:
        await asyncio.sleep(0)
        await asyncio.to_thread(deeper)

    @guard
    def pieces() -> Generator[int]:
        yield 1
        deeper()
        yield 2

    @guard
    async def async_pieces() -> AsyncGenerator[int]:
        yield 1
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            pool.submit(bind(deeper)).result(10)
        yield 2

    async def main() -> None:
        await asyncio.gather(later(), later())
        assert [piece async for piece in async_pieces()] == [1, 2]

    asyncio.run(main())
    assert list(pieces()) == [1, 2]
    next(pieces())
    assert decided(reader) == {"rejected": 4, "abandoned": 1}


def test_guards_inside_each_other_decide_each_for_itself(reader: Reader) -> None:
    outer, inner = record_guard("outer"), record_guard("inner")

    @outer
    @inner
    def check() -> None:
        outer.reject()

    check()
    assert decisions(reader) == {("", "outer", "input", "rejected"): 1, ("", "inner", "input", "allowed"): 1}


@pytest.mark.parametrize("way", [copy.copy, copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))])
def test_a_guard_decides_in_a_copy_of_its_function_too(way: Callable[[Any], Any], reader: Reader) -> None:
    part = way(pii(functools.partial(undecorated, "a")))
    assert part() == "a"
    assert decided(reader) == {"redacted": 1}


# Zero, readers, budgets.


@pytest.mark.parametrize("see", ["record", "block"])
def test_a_guard_that_is_seen_for_the_first_time_has_allowed_and_rejected_at_0(see: str, reader: Reader) -> None:
    if see == "record":
        record_guard("pii", "redacted", feature="chat")
    else:
        with record_guard("pii", feature="chat") as guard:
            guard.decide("redacted")
    points = reader.collect().of("ai_guard_decisions", feature="chat", guard="pii", stage="input")
    assert {point.labels["decision"]: point.value for point in points} == {"allowed": 0, "rejected": 0, "redacted": 1}
    record_guard("pii", "allowed", feature="chat")
    record_guard("pii", "allowed", feature="search")
    found = reader.collect()
    assert found.one("ai_guard_decisions", feature="chat", decision="allowed").value == 1
    assert found.one("ai_guard_decisions", feature="search", decision="rejected").value == 0


def test_a_guard_on_a_function_is_there_at_0_when_its_feature_is_known(reader: Reader) -> None:
    record_guard("known", feature="chat")(str.upper)
    record_guard("unknown")(str.upper)
    points = reader.collect().of("ai_guard_decisions")
    assert {(point.labels["guard"], point.labels["decision"], point.value) for point in points} == {
        ("known", "allowed", 0),
        ("known", "rejected", 0),
    }


@pytest.mark.parametrize("kind", Reader.KINDS)
def test_every_reader_sees_the_same_decisions_through_a_reconfiguration(kind: str, faults: Faults) -> None:
    provider, (reader,) = recording(kind)
    record_guard("pii", "rejected")
    reader.collect()
    with record_guard("pii") as guard:
        llmwatch.configure(meter_provider=provider, semconv="none")
        guard.reject()
    record_guard("pii", "allowed")
    reader.collect()
    assert reader.total("ai_guard_decisions", guard="pii", stage="input", decision="rejected") == 2
    assert reader.total("ai_guard_decisions", guard="pii", decision="allowed") == 1


def test_decisions_that_are_as_many_as_texts_are_bounded(reader: Reader) -> None:
    for i in range(60):
        record_guard("pii", f"found {i}")
    found = reader.collect()
    assert len([point for point in found.of("ai_guard_decisions") if point.value]) <= 51
    assert found.total("ai_guard_decisions") == 60
    assert found.total("ai_guard_decisions", decision="other") > 0


# Misuse.


@pytest.mark.parametrize("stage", ["both", "", None, 3, ["input"]])
def test_another_stage_raises_where_a_block_is_made_and_is_recorded_as_given_with_a_decision(
    stage: Any, reader: Reader, faults: Faults, caplog: pytest.LogCaptureFixture
) -> None:
    faults.expected |= {"record_guard"} | ({"labels"} if isinstance(stage, list) else set())
    with pytest.raises(ValueError, match="a guard's stage is 'input' or 'output', not"):
        record_guard("pii", stage=stage)
    for _ in range(2):
        record_guard("pii", "allowed", stage)
    shown = str(stage) if isinstance(stage, str | int) else ""
    assert decisions(reader) == {("", "pii", shown, "allowed"): 2}
    assert len([message for message in caplog.messages if message.startswith("record_guard(stage=")]) == 1


@pytest.mark.parametrize("decision", [None, "", object()])
def test_a_decision_that_is_no_word_is_counted_without_one(decision: Any, reader: Reader, faults: Faults) -> None:
    faults.expected |= {"record_guard"} | ({"labels"} if type(decision) is object else set())
    record_guard("pii", decision)
    assert decided(reader) == {"": 1}


def test_a_verdict_that_comes_too_late_or_outside_is_not_counted_and_is_said_once(
    reader: Reader, faults: Faults, caplog: pytest.LogCaptureFixture
) -> None:
    faults.expected.add("record_guard")
    with pii as guard:
        pass
    guard.reject()
    pii.reject()
    assert decided(reader) == {"allowed": 1}
    assert len(caplog.messages) == 1


def test_values_that_are_no_labels_raise_where_a_function_is_decorated_and_never_at_run_time(
    reader: Reader, faults: Faults
) -> None:
    faults.expected.add("labels")
    with pytest.raises(TypeError, match="record_guard, guard: a label takes a string"):
        record_guard(["pii"])(checked)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="record_guard decorates functions, not the class int"):
        record_guard("pii")(int)
    with record_guard(["pii"]) as guard:  # type: ignore[call-overload]
        guard.decide("fine")
    record_guard("pii", "allowed", feature=object())  # type: ignore[call-overload]
    assert decisions(reader) == {("", "", "input", "fine"): 1, ("", "pii", "input", "allowed"): 1}
