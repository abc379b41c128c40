"""A returned stream stays the stream, and its call ends once, however the stream does."""

# A lambda is a function of its own here, which gives what another one makes.

from __future__ import annotations

import asyncio
import collections.abc
import contextlib
import contextvars
import gc
import inspect
import io
import logging
import pathlib
import subprocess
import sys
import textwrap
import threading
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio
import pytest
import trio

from llmwatch import ErrorKind, attribute, observe_llm, register_extractor, track_request
from llmwatch.attribution import current_scope
from llmwatch.extractors import unregister_extractor
from llmwatch.testing import Capture, ManualClock, capture
from llmwatch.usage import Usage

pytestmark = [pytest.mark.filterwarnings("error"), pytest.mark.usefixtures("quick_collections")]

CHUNKS = 3
consumers = contextvars.ContextVar("consumers", default="unset")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def seen(clock: ManualClock, caplog: pytest.LogCaptureFixture) -> Iterator[Capture]:
    """What is recorded; afterwards no call is open, and nobody has complained."""
    caplog.set_level(logging.WARNING)
    before = current_scope()
    with capture(clock) as recorder:
        yield recorder
        gc.collect()
        assert recorder.active == 0
        assert recorder.shield.counts() == {}
    assert current_scope() is before
    assert caplog.messages == []


def statuses(seen: Capture) -> list[str]:
    return [record.status for record in seen.calls]


class FailureError(Exception):
    """The stream's own."""


class SyncStream:
    """A stream as client libraries have them: iterable, an iterator, a block, closable; it says what was done to it."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.model = "m"
        self.done: list[str] = []
        self._error = error
        self._left = CHUNKS

    def __iter__(self) -> SyncStream:
        return self

    def __next__(self) -> dict[str, Any]:
        if not self._left:
            raise StopIteration
        if self._error is not None and self._left == 1:
            raise self._error
        self._left -= 1
        return {"n": CHUNKS - self._left}

    def __enter__(self) -> SyncStream:
        self.done.append("enter")
        return self

    def __exit__(self, *exception: object) -> None:
        self.done.append("exit")
        self.close()

    def close(self) -> None:
        self.done.append("close")


class AsyncStream:
    """The same, to be awaited."""

    def __init__(self, error: BaseException | None = None, waits: Any = None) -> None:
        self.model = "m"
        self.done: list[str] = []
        self._inner = SyncStream(error)
        self._waits = waits

    def __aiter__(self) -> AsyncStream:
        return self

    async def __anext__(self) -> dict[str, Any]:
        if self._waits is not None and self._inner._left == 1:
            await self._waits()
        try:
            return next(self._inner)
        except StopIteration:
            raise StopAsyncIteration from None

    async def __aenter__(self) -> AsyncStream:
        self.done.append("enter")
        return self

    async def __aexit__(self, *exception: object) -> None:
        self.done.append("exit")
        await self.aclose()

    async def aclose(self) -> None:
        self.done.append("close")


class Iterated(SyncStream):
    """As openai's and anthropic's: what it gives to be iterated is a generator over what it holds."""

    def __iter__(self) -> Iterator[dict[str, Any]]:  # type: ignore[override]
        with contextlib.suppress(StopIteration):
            while True:
                yield next(self)


class AsyncIterated(AsyncStream):
    """The same, to be awaited."""

    async def __aiter__(self) -> AsyncIterator[dict[str, Any]]:  # type: ignore[override]
        try:
            while True:
                try:
                    chunk = await self.__anext__()
                except StopAsyncIteration:
                    return
                yield chunk
        finally:
            self.done.append("iteration over")


def pieces(error: BaseException | None = None) -> Generator[dict[str, Any]]:
    yield from SyncStream(error)


async def async_pieces(error: BaseException | None = None, waits: Any = None) -> AsyncGenerator[dict[str, Any]]:
    async for chunk in AsyncStream(error, waits):
        yield chunk


async def later(make: Callable[..., Any], *args: Any) -> Any:
    await asyncio.sleep(0)
    return make(*args)


# Each way in which a function gives a stream to its caller.
SYNC: dict[str, Callable[..., Any]] = {
    "generator function": observe_llm(pieces),
    "returned generator": observe_llm(lambda *args: pieces(*args)),
    "returned stream": observe_llm(lambda *args: SyncStream(*args)),
    "returned stream like openai's": observe_llm(lambda *args: Iterated(*args)),
    "observed twice": observe_llm(observe_llm(lambda *args: SyncStream(*args))),
}
ASYNC: dict[str, Callable[..., Any]] = {
    "generator function": observe_llm(async_pieces),
    "returned generator": observe_llm(lambda *args: async_pieces(*args)),
    "returned stream": observe_llm(lambda *args: AsyncStream(*args)),
    "returned stream like openai's": observe_llm(lambda *args: AsyncIterated(*args)),
    "observed twice": observe_llm(observe_llm(lambda *args: AsyncStream(*args))),
}
sync_ways = pytest.mark.parametrize("way", SYNC)
async_ways = pytest.mark.parametrize("way", ASYNC)


def all_ended(seen: Capture, way: str, status: str, error: ErrorKind | None = None) -> None:
    gc.collect()
    assert seen.active == 0
    ends = [(record.status, record.error, record.streamed) for record in seen.calls]
    assert ends == [(status, error, True)] * (2 if way == "observed twice" else 1)


# How a stream can end.


@sync_ways
def test_a_stream_that_is_exhausted_is_a_success_of_the_time_until_its_last_chunk(
    way: str, seen: Capture, clock: ManualClock
) -> None:
    stream = SYNC[way]()
    got = []
    for chunk in stream:
        got.append(chunk["n"])
        assert seen.active == (2 if way == "observed twice" else 1)
        clock.advance(2.0)
    assert got == [1, 2, 3]
    assert list(stream) == []
    with pytest.raises(StopIteration):
        next(stream)
    stream.close()
    all_ended(seen, way, "success")
    assert {(r.duration, r.first_chunk, r.chunk_gap) for r in seen.calls} == {(4.0, 0.0, 2.0)}


@async_ways
def test_an_async_stream_that_is_exhausted_is_a_success(way: str, seen: Capture, clock: ManualClock) -> None:
    async def main() -> None:
        stream = ASYNC[way]()
        clock.advance(1.0)
        got = []
        async for chunk in stream:
            got.append(chunk["n"])
            clock.advance(2.0)
        assert got == [1, 2, 3]
        assert [chunk async for chunk in stream] == []
        await stream.aclose()

    asyncio.run(main())
    all_ended(seen, way, "success")
    assert {(r.duration, r.first_chunk, r.chunk_gap) for r in seen.calls} == {(5.0, 1.0, 2.0)}


@sync_ways
@pytest.mark.parametrize("chunks", [0, 1, 2])
def test_a_stream_that_is_closed_early_is_abandoned(way: str, chunks: int, seen: Capture) -> None:
    stream = SYNC[way]()
    for _ in range(chunks):
        next(stream)
    stream.close()
    all_ended(seen, way, "abandoned")
    stream.close()
    all_ended(seen, way, "abandoned")
    if chunks == 0:
        assert {r.first_chunk for r in seen.calls} == {None}


@async_ways
@pytest.mark.parametrize("chunks", [0, 1, 2])
def test_an_async_stream_that_is_closed_early_is_abandoned(way: str, chunks: int, seen: Capture) -> None:
    async def main() -> None:
        stream = ASYNC[way]()
        for _ in range(chunks):
            await anext(stream)
        await stream.aclose()
        await stream.aclose()

    asyncio.run(main())
    all_ended(seen, way, "abandoned")


@sync_ways
def test_a_loop_that_is_broken_off_abandons_the_stream_as_soon_as_nobody_has_it(way: str, seen: Capture) -> None:
    gc.disable()
    try:
        for _ in SYNC[way]():
            break
        assert seen.active == 0
    finally:
        gc.enable()
    all_ended(seen, way, "abandoned")


@async_ways
def test_an_async_loop_that_is_broken_off_abandons_the_stream_as_soon_as_nobody_has_it(way: str, seen: Capture) -> None:
    async def main() -> None:
        async for _ in ASYNC[way]():
            break
        assert seen.active == 0

    asyncio.run(main())
    all_ended(seen, way, "abandoned")


@sync_ways
@pytest.mark.parametrize("error", [None, FailureError(), KeyboardInterrupt()])
def test_a_loop_that_is_broken_off_in_a_block_abandons_the_stream(
    way: str, error: BaseException | None, seen: Capture
) -> None:
    stream = SYNC[way]()
    block: Any = contextlib.closing(stream) if "generator" in way else stream
    with contextlib.suppress(FailureError, KeyboardInterrupt), block as entered:
        assert entered is stream
        for _ in entered:
            if error is not None:
                raise error
            break
    cancelled = isinstance(error, KeyboardInterrupt) and "generator" not in way
    all_ended(seen, way, "cancelled" if cancelled else "abandoned")


@async_ways
def test_an_async_loop_that_is_broken_off_in_a_block_abandons_the_stream(way: str, seen: Capture) -> None:
    async def main() -> None:
        stream = ASYNC[way]()
        block: Any = contextlib.aclosing(stream) if "generator" in way else stream
        async with block as entered:
            assert entered is stream
            async for _ in entered:
                break

    asyncio.run(main())
    all_ended(seen, way, "abandoned")


@sync_ways
def test_a_stream_that_is_never_iterated_is_abandoned(way: str, seen: Capture) -> None:
    stream = SYNC[way]()
    assert seen.calls == []
    del stream
    all_ended(seen, way, "abandoned")


@async_ways
def test_an_async_stream_that_is_never_iterated_is_abandoned(way: str, seen: Capture) -> None:
    async def main() -> None:
        ASYNC[way]()

    asyncio.run(main())
    all_ended(seen, way, "abandoned")


# Iterations: what is broken off can be gone on with.


@sync_ways
def test_a_loop_that_is_broken_off_can_be_gone_on_with(way: str, seen: Capture, clock: ManualClock) -> None:
    stream = SYNC[way]()
    clock.advance(1.0)
    got = []
    for chunk in stream:
        got.append(chunk["n"])
        clock.advance(2.0)
        break
    gc.collect()
    assert seen.calls == []
    got.append(next(stream)["n"])
    clock.advance(4.0)
    for chunk in stream:
        got.append(chunk["n"])
        clock.advance(8.0)
    assert got == [1, 2, 3]
    all_ended(seen, way, "success")
    assert {(r.duration, r.first_chunk, r.chunk_gap) for r in seen.calls} == {(7.0, 1.0, 3.0)}


@async_ways
def test_an_async_loop_that_is_broken_off_can_be_gone_on_with(way: str, seen: Capture, clock: ManualClock) -> None:
    async def main() -> None:
        stream = ASYNC[way]()
        clock.advance(1.0)
        got = []
        async for chunk in stream:
            got.append(chunk["n"])
            clock.advance(2.0)
            break
        await asyncio.sleep(0)
        assert seen.calls == []
        got.append((await anext(stream))["n"])
        clock.advance(4.0)
        async for chunk in stream:
            got.append(chunk["n"])
            clock.advance(8.0)
        assert got == [1, 2, 3]

    asyncio.run(main())
    all_ended(seen, way, "success")
    assert {(r.duration, r.first_chunk, r.chunk_gap) for r in seen.calls} == {(7.0, 1.0, 3.0)}


@sync_ways
def test_two_iterations_of_one_stream_share_its_chunks_and_its_end(way: str, seen: Capture) -> None:
    stream = SYNC[way]()
    one, other = iter(stream), iter(stream)
    assert [next(one)["n"], next(other)["n"], next(one)["n"]] == [1, 2, 3]
    assert next(other, None) is None
    all_ended(seen, way, "success")
    assert next(one, None) is None
    assert list(stream) == []
    all_ended(seen, way, "success")


@pytest.mark.parametrize("make", [SyncStream, Iterated, pieces])
def test_what_is_iterated_is_the_stream_itself_where_it_is_so_without_us(
    make: Callable[[], Any], seen: Capture
) -> None:
    plain, stream = make(), observe_llm(lambda: make())()
    assert (iter(stream) is stream) == (iter(plain) is plain)
    assert inspect.isgenerator(iter(stream)) == inspect.isgenerator(iter(plain))


@pytest.mark.parametrize("make", [AsyncStream, AsyncIterated, async_pieces])
def test_what_is_iterated_asynchronously_is_the_stream_itself_where_it_is_so_without_us(
    make: Callable[[], Any], seen: Capture
) -> None:
    async def main() -> None:
        plain, stream = make(), observe_llm(lambda: make())()
        assert (aiter(stream) is stream) == (aiter(plain) is plain)
        assert inspect.isasyncgen(aiter(stream)) == inspect.isasyncgen(aiter(plain))
        assert hasattr(aiter(stream), "aclose") == hasattr(aiter(plain), "aclose")

    asyncio.run(main())


def test_an_iteration_that_is_closed_leaves_its_stream_open(seen: Capture) -> None:
    stream = SYNC["returned stream like openai's"]()
    with contextlib.closing(iter(stream)) as iteration:
        next(iteration)
    assert seen.calls == []
    assert [chunk["n"] for chunk in stream] == [2, 3]
    assert statuses(seen) == ["success"]


def test_an_async_iteration_that_is_closed_leaves_its_stream_open(seen: Capture) -> None:
    async def main() -> None:
        stream = ASYNC["returned stream like openai's"]()
        async with contextlib.aclosing(aiter(stream)) as iteration:
            await anext(iteration)
        assert stream.done == ["iteration over"]
        assert seen.calls == []
        assert [chunk["n"] async for chunk in stream] == [2, 3]

    asyncio.run(main())
    assert statuses(seen) == ["success"]


def test_an_iteration_that_outlives_the_stream_keeps_its_call_open(seen: Capture) -> None:
    stream = SYNC["returned stream like openai's"]()
    iteration = iter(stream)
    next(iteration)
    del stream
    gc.collect()
    assert seen.calls == []
    assert [chunk["n"] for chunk in iteration] == [2, 3]
    assert statuses(seen) == ["success"]


def test_the_event_loop_ends_a_vendors_iteration_that_is_broken_off_as_soon_as_without_us(seen: Capture) -> None:
    async def main(stream: Any) -> tuple[list[str], list[str]]:
        async for _ in stream:
            break
        at_once = list(stream.done)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return at_once, list(stream.done)

    plain = asyncio.run(main(AsyncIterated()))
    assert plain == ([], ["iteration over"])
    assert asyncio.run(main(ASYNC["returned stream like openai's"]())) == plain
    gc.collect()
    assert statuses(seen) == ["abandoned"]


def test_a_stream_that_cannot_be_iterated_raises_as_without_us_and_has_failed(seen: Capture) -> None:
    class Consumed(SyncStream):
        def __iter__(self) -> SyncStream:
            raise FailureError

    stream = observe_llm(lambda: Consumed())()
    with pytest.raises(FailureError):
        iter(stream)
    assert statuses(seen) == ["error"]


@pytest.mark.parametrize("way", ["returned stream", "returned stream like openai's", "returned generator"])
def test_an_accumulator_that_fails_in_the_middle_fails_once_and_the_chunks_go_on(way: str) -> None:
    class Failing(Counting):
        def add(self, event: Any) -> None:
            super().add(event)
            if event["n"] > 1:
                raise FailureError

    async def consume(stream: Any) -> list[int]:
        return [chunk["n"] async for chunk in stream]

    with capture(strict=False) as seen:
        makers = {"returned stream": SyncStream, "returned generator": pieces}
        make, make_async = makers.get(way, Iterated), {"returned stream": AsyncStream}.get(way, AsyncIterated)
        assert [chunk["n"] for chunk in observe_llm(extractor=Failing)(lambda: make())()] == [1, 2, 3]
        assert asyncio.run(consume(observe_llm(extractor=Failing)(lambda: make_async())())) == [1, 2, 3]
    assert [(r.status, r.usage) for r in seen.calls] == [("success", Usage(output_tokens=3))] * 2
    assert seen.shield.counts() == {"stream": 2}


def test_a_stream_in_a_reference_cycle_is_abandoned_when_the_cycle_is_collected(seen: Capture) -> None:
    class Holder:
        stream: Any
        me: Any

    holder = Holder()
    holder.me, holder.stream = holder, SYNC["returned stream"]()
    next(holder.stream)
    del holder
    gc.collect()
    assert statuses(seen) == ["abandoned"]


@sync_ways
@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (FailureError(), "error", ErrorKind.OTHER),
        (TimeoutError(), "error", ErrorKind.TIMEOUT),
        (KeyboardInterrupt(), "cancelled", None),
    ],
)
def test_a_stream_that_fails_in_the_middle_raises_the_very_exception(
    way: str, error: BaseException, status: str, kind: ErrorKind | None, seen: Capture
) -> None:
    stream = SYNC[way](error)
    with pytest.raises(type(error)) as caught:
        list(stream)
    assert caught.value is error
    assert caught.value.__cause__ is None
    stream.close()
    all_ended(seen, way, status, kind)
    assert {r.first_chunk for r in seen.calls} == {0.0}


@async_ways
@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (FailureError(), "error", ErrorKind.OTHER),
        (ConnectionResetError(), "error", ErrorKind.CONNECTION),
        (asyncio.CancelledError(), "cancelled", None),
    ],
)
def test_an_async_stream_that_fails_in_the_middle_raises_the_very_exception(
    way: str, error: BaseException, status: str, kind: ErrorKind | None, seen: Capture
) -> None:
    async def main() -> None:
        stream = ASYNC[way](error)
        with pytest.raises(type(error)) as caught:
            async for _ in stream:
                pass
        assert caught.value is error
        await stream.aclose()

    asyncio.run(main())
    all_ended(seen, way, status, kind)


# Cancellation.


@async_ways
def test_a_task_that_is_cancelled_while_it_waits_for_a_chunk_cancels_the_call(way: str, seen: Capture) -> None:
    async def main() -> None:
        waiting = asyncio.Event()

        async def wait() -> None:
            waiting.set()
            await asyncio.Event().wait()

        async def consume() -> None:
            async for _ in ASYNC[way](None, wait):
                pass

        task = asyncio.create_task(consume())
        await waiting.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert seen.active == 0

    asyncio.run(main())
    all_ended(seen, way, "cancelled")


@async_ways
def test_a_timeout_around_the_wait_for_a_chunk_cancels_the_call_and_comes_out_as_a_timeout(
    way: str, seen: Capture
) -> None:
    async def main() -> None:
        with pytest.raises(TimeoutError):  # noqa: PT012
            async with asyncio.timeout(0.001):
                async for _ in ASYNC[way](None, asyncio.Event().wait):
                    pass

    asyncio.run(main())
    all_ended(seen, way, "cancelled")


def test_a_timeout_inside_the_function_is_an_error_of_the_call(seen: Capture) -> None:
    @observe_llm
    async def ask() -> None:
        async with asyncio.timeout(0.001):
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        asyncio.run(ask())
    assert [(r.status, r.error) for r in seen.calls] == [("error", ErrorKind.TIMEOUT)]


@async_ways
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_an_anyio_scope_that_is_cancelled_cancels_the_call(way: str, backend: str, seen: Capture) -> None:
    async def main() -> None:
        with anyio.move_on_after(0.001) as scope:
            async with contextlib.aclosing(ASYNC[way](None, anyio.sleep_forever)) as stream:
                async for _ in stream:
                    pass
        assert scope.cancelled_caught

    anyio.run(main, backend=backend)
    all_ended(seen, way, "cancelled")


@async_ways
def test_a_trio_scope_that_is_cancelled_cancels_the_call(way: str, seen: Capture) -> None:
    async def main() -> None:
        with trio.move_on_after(0.001) as scope:
            async with contextlib.aclosing(ASYNC[way](None, trio.sleep_forever)) as stream:
                async for _ in stream:
                    pass
        assert scope.cancelled_caught

    trio.run(main)
    all_ended(seen, way, "cancelled")


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_coroutine_that_is_cancelled_is_a_cancelled_call(backend: str, seen: Capture) -> None:
    @observe_llm
    async def ask() -> None:
        await anyio.sleep_forever()

    async def main() -> None:
        with anyio.move_on_after(0.001):
            await ask()

    anyio.run(main, backend=backend)
    assert statuses(seen) == ["cancelled"]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_block_in_a_cancelled_scope_is_left_without_awaiting_anything_of_ours(backend: str, seen: Capture) -> None:
    streams: list[Any] = []

    async def main() -> None:
        with anyio.CancelScope() as scope:
            async with ASYNC["returned stream"]() as stream:
                streams.append(stream)
                await anext(stream)
                scope.cancel()
                await anyio.sleep_forever()

    anyio.run(main, backend=backend)
    assert streams[0].done == ["enter", "exit", "close"]
    assert statuses(seen) == ["cancelled"]


# Elsewhere: another task, thread or context.


@async_ways
def test_a_stream_can_be_advanced_and_finished_in_other_tasks(way: str, seen: Capture) -> None:
    async def main() -> None:
        stream = ASYNC[way]()

        async def step() -> Any:
            return await anext(stream, None)

        got = [await asyncio.create_task(step()) for _ in range(CHUNKS + 1)]
        assert got == [{"n": 1}, {"n": 2}, {"n": 3}, None]

    asyncio.run(main())
    all_ended(seen, way, "success")


@async_ways
def test_a_stream_can_be_closed_in_another_task(way: str, seen: Capture) -> None:
    async def main() -> None:
        stream = ASYNC[way]()
        await anext(stream)
        await asyncio.create_task(stream.aclose())

    asyncio.run(main())
    all_ended(seen, way, "abandoned")


@sync_ways
def test_a_stream_can_be_advanced_in_one_thread_and_finished_in_another(way: str, seen: Capture) -> None:
    stream = SYNC[way]()
    next(stream)
    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as other:
        assert one.submit(next, stream).result(10) == {"n": 2}
        assert other.submit(list, stream).result(10) == [{"n": 3}]
    all_ended(seen, way, "success")


@sync_ways
def test_a_stream_can_be_finished_in_another_context(way: str, seen: Capture) -> None:
    stream = contextvars.copy_context().run(SYNC[way])
    contextvars.Context().run(next, stream)
    assert contextvars.copy_context().run(list, stream) == [{"n": 2}, {"n": 3}]
    all_ended(seen, way, "success")


@sync_ways
def test_a_stream_that_is_iterated_through_to_thread_as_web_frameworks_do_it(way: str, seen: Capture) -> None:
    async def main() -> None:
        stream = SYNC[way]()
        got = []
        while (chunk := await asyncio.to_thread(next, stream, None)) is not None:
            got.append(chunk["n"])
        assert got == [1, 2, 3]

    asyncio.run(main())
    all_ended(seen, way, "success")


def test_interleaved_streams_stay_apart(seen: Capture) -> None:
    streams = [way(*()) for way in SYNC.values()]
    for row in zip(*streams, strict=True):
        assert len({chunk["n"] for chunk in row}) == 1
        assert current_scope().call is None
    assert statuses(seen) == ["success"] * 6


def test_threads_that_end_one_stream_at_the_same_time_give_one_record(seen: Capture) -> None:
    for _ in range(50):
        stream = SYNC["returned stream"]()
        start = threading.Barrier(4)

        def end(stream: Any = stream, start: threading.Barrier = start) -> None:
            start.wait(10)
            stream.close()

        threads = [threading.Thread(target=end) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert statuses(seen) == ["abandoned"] * 50


# Contexts.


@pytest.mark.parametrize("way", ["generator function", "returned generator"])
def test_between_two_steps_the_consumers_context_is_its_own(way: str, seen: Capture) -> None:
    with attribute(agent="consumer"):
        mine = current_scope()
        stream = SYNC[way]()
        assert current_scope() is mine
        for _ in stream:
            assert current_scope() is mine
        stream.close()
        assert current_scope() is mine
        other = SYNC[way](FailureError())
        with contextlib.suppress(FailureError):
            for _ in other:
                assert current_scope() is mine
        assert current_scope() is mine


@pytest.mark.parametrize("way", ["generator function", "returned generator"])
def test_between_two_async_steps_the_consumers_context_is_its_own(way: str, seen: Capture) -> None:
    async def main() -> None:
        with attribute(agent="consumer"):
            mine = current_scope()
            async for _ in ASYNC[way]():
                assert current_scope() is mine
                await asyncio.sleep(0)
                assert current_scope() is mine
            async for _ in ASYNC[way]():
                break
            await asyncio.sleep(0)
            assert current_scope() is mine

    asyncio.run(main())


def test_a_generator_can_set_context_variables_of_its_own_as_without_us(seen: Capture) -> None:
    @observe_llm
    def ask() -> Generator[str]:
        consumers.set("set inside")
        yield consumers.get()
        yield consumers.get()

    def main() -> list[str]:
        got = []
        for value in ask():
            got += [value, consumers.get()]
        return got

    assert contextvars.copy_context().run(main) == ["set inside"] * 4


def test_calls_that_a_generator_makes_in_its_steps_are_nested_and_the_consumers_are_not(seen: Capture) -> None:
    inner = observe_llm(feature="inner")(lambda: None)
    consumer = observe_llm(feature="consumer")(lambda: None)

    @observe_llm(feature="outer")
    def ask() -> Generator[None]:
        inner()
        yield
        inner()
        yield

    outers: list[Any] = []
    for _ in ask():
        consumer()
        outers.append(current_scope().call)
    assert outers == [None, None]
    assert [r.labels["feature"] for r in seen.calls] == ["inner", "consumer", "inner", "consumer", "outer"]
    assert [r.nested for r in seen.calls] == [False, False, False, False, True]


SCENARIO = """
import asyncio, contextlib, gc, logging, sys
logging.basicConfig(level=logging.DEBUG, format="LOGGED %(message)s")
logging.getLogger("asyncio").setLevel(logging.WARNING)
from llmwatch import observe_llm, track_request
from llmwatch.testing import capture

@observe_llm
async def ask(n):
    for i in range(n):
        await asyncio.sleep(0)
        yield i

@observe_llm
async def make(n):
    return ask(n)

async def consume(n, stop):
    async for i in await make(n):
        if i == stop:
            break

async def main():
    await consume(3, None)
    await consume(3, 1)
    ask(2)
    stream = ask(3)
    await anext(stream)
    await asyncio.create_task(stream.aclose())
    task = asyncio.create_task(consume(10**9, None))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    async with track_request() as request:
        async for _ in request.stream(ask(3)):
            break
    leaked = ask(3)
    await anext(leaked)

with capture() as seen:
    asyncio.run(main(), debug=True)
    gc.collect()
    print(sorted(r.status for r in seen.calls).count("success"), len(seen.calls), seen.active)
"""


def test_asyncios_debug_mode_and_warnings_as_errors_have_nothing_to_say() -> None:
    root = pathlib.Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", textwrap.dedent(SCENARIO)],
        capture_output=True, text=True, timeout=60, cwd=root, check=False,
    )  # fmt: skip
    assert done.stderr == ""
    assert done.stdout.split() == ["2", "11", "0"]


# What a returned stream is.


def test_a_returned_stream_is_the_stream_in_every_respect(seen: Capture) -> None:
    made = SyncStream()
    stream = observe_llm(lambda: made)()
    assert isinstance(stream, SyncStream)
    assert stream.__class__ is SyncStream
    assert stream == made
    assert made == stream
    assert hash(stream) == hash(made)
    assert repr(stream) == repr(made)
    assert set(dir(stream)) == set(dir(made))
    assert stream.model == "m"
    stream.model = "changed"
    assert made.model == "changed"
    del stream.model
    assert not hasattr(stream, "model")
    with pytest.raises(AttributeError, match="'SyncStream' object has no attribute 'nothing'"):
        _ = stream.nothing
    assert weakref.ref(stream)() is stream
    with stream as entered:
        assert entered is stream
        assert next(entered) == {"n": 1}
    assert made.done == ["enter", "exit", "close"]


PROTOCOLS = [
    collections.abc.Iterable,
    collections.abc.Iterator,
    collections.abc.Generator,
    collections.abc.AsyncIterable,
    collections.abc.AsyncIterator,
    collections.abc.AsyncGenerator,
    collections.abc.Awaitable,
    collections.abc.Sized,
    collections.abc.Callable,
    contextlib.AbstractContextManager,
    contextlib.AbstractAsyncContextManager,
]
PREDICATES = [inspect.isgenerator, inspect.isasyncgen, inspect.iscoroutine, inspect.isawaitable, callable]


@pytest.mark.parametrize("make", [SyncStream, AsyncStream, Iterated, AsyncIterated, pieces, async_pieces])
def test_a_returned_stream_has_the_protocols_of_the_stream_and_no_others(
    make: Callable[[], Any], seen: Capture
) -> None:
    plain, stream = make(), observe_llm(lambda: make())()
    assert [isinstance(stream, it) for it in PROTOCOLS] == [isinstance(plain, it) for it in PROTOCOLS]
    assert [it(stream) for it in PREDICATES] == [it(plain) for it in PREDICATES]
    names = ["__enter__", "__exit__", "__aenter__", "__aexit__", "__iter__", "__next__", "__aiter__", "__anext__"]
    assert [hasattr(stream, name) for name in names] == [hasattr(plain, name) for name in names]
    del stream


def test_a_generator_is_no_block_with_us_either(seen: Capture) -> None:
    with pytest.raises(TypeError, match="context manager protocol"), SYNC["returned generator"]():
        pass


class Rich(SyncStream):
    """A stream that can do more."""

    def __len__(self) -> int:
        return 5

    def __bool__(self) -> bool:
        return False

    def __getitem__(self, key: str) -> str:
        return key * 2

    def __contains__(self, item: object) -> bool:
        return item == "a"

    def __call__(self, value: int) -> int:
        return value + 1

    def __str__(self) -> str:
        return "rich"

    def __await__(self) -> Generator[Any, Any, str]:
        yield from asyncio.sleep(0).__await__()
        return "awaited"


def test_what_else_a_stream_can_do_works_on_the_returned_one_too(seen: Capture) -> None:
    stream = observe_llm(lambda: Rich())()

    async def main() -> Any:
        return await stream

    assert (len(stream), bool(stream), stream["k"], "a" in stream, stream(1)) == (5, False, "kk", True, 2)
    assert (str(stream), f"{stream}") == ("rich", "rich")
    assert asyncio.run(main()) == "awaited"
    assert list(stream) == [{"n": 1}, {"n": 2}, {"n": 3}]


def test_methods_of_a_stream_that_raise_or_are_missing_do_so_as_without_us(seen: Capture) -> None:
    stream = SYNC["generator function"]()
    with pytest.raises(AttributeError):
        _ = stream.text_stream
    with pytest.raises(TypeError, match="can't send non-None value to a just-started generator"):
        stream.send(1)
    assert statuses(seen) == ["error"]


def test_a_block_that_swallows_an_exception_still_does(seen: Capture) -> None:
    class Swallowing(SyncStream):
        def __exit__(self, *exception: object) -> bool:  # type: ignore[override]
            return True

    with observe_llm(lambda: Swallowing())():
        raise FailureError
    assert statuses(seen) == ["abandoned"]


def test_a_stream_whose_closing_fails_raises_that_and_is_over(seen: Capture) -> None:
    class Failing(SyncStream):
        def close(self) -> None:
            raise FailureError

    stream = observe_llm(lambda: Failing())()
    next(stream)
    with pytest.raises(FailureError):
        stream.close()
    assert statuses(seen) == ["abandoned"]


def test_what_is_iterable_and_no_iterator_is_iterated_from_its_beginning_each_time(seen: Capture) -> None:
    class Replayed:
        def __iter__(self) -> Iterator[int]:
            return iter([1, 2])

    with track_request() as request:
        events = request.stream(Replayed())
        assert (list(events), list(events)) == ([1, 2], [1, 2])
    assert statuses(seen) == ["success"]


class Bare:
    """An iterator that cannot be iterated again: it has `__next__`, and nothing else."""

    def __init__(self) -> None:
        self._left = [3, 2, 1]

    def __next__(self) -> int:
        if not self._left:
            raise StopIteration
        return self._left.pop()


class Guarded(Bare):
    """An iterator whose `__iter__` would begin something else, and end it when it is forgotten."""

    def __iter__(self) -> Iterator[int]:
        try:
            yield from [1, 2, 3]
        finally:
            self._left.clear()


@pytest.mark.parametrize("kind", [Bare, Guarded])
def test_the_iterator_that_a_stream_gives_is_advanced_and_never_iterated_itself(
    kind: type[Bare], seen: Capture
) -> None:
    class Stream:
        def __iter__(self) -> Any:
            return kind()

    with track_request() as request:
        assert list(request.stream(Stream())) == [1, 2, 3]
    assert statuses(seen) == ["success"]


def test_the_iterator_of_a_stream_may_be_shared_by_threads(seen: Capture) -> None:
    class Stream:
        def __iter__(self) -> Any:
            return iter(range(3000))

    with track_request() as request:
        steps = iter(request.stream(Stream()))
        with ThreadPoolExecutor(3) as pool:
            parts = [*pool.map(lambda _: list(steps), range(3))]
    assert sorted(number for part in parts for number in part) == [*range(3000)]


async def test_an_async_step_may_be_asked_of_the_class_as_the_language_reference_spells_it(seen: Capture) -> None:
    stream = observe_llm(lambda: AsyncStream())()
    steps = type(stream).__aiter__(stream)
    assert [(await type(steps).__anext__(steps))["n"] for _ in range(CHUNKS)] == [1, 2, 3]
    with pytest.raises(StopAsyncIteration):
        await type(steps).__anext__(steps)
    assert statuses(seen) == ["success"]


def test_a_chunk_is_the_very_object(seen: Capture) -> None:
    chunks = [object(), None, {}]

    def ask() -> Generator[Any]:
        yield from chunks

    assert all(one is other for one, other in zip(observe_llm(ask)(), chunks, strict=True))


# What is no stream.


@pytest.mark.parametrize(
    "make",
    [
        lambda: ["a", "b"],
        lambda: ("a", "b"),
        lambda: {"a": 1},
        lambda: "text",
        lambda: b"bytes",
        lambda: bytearray(b"bytes"),
        lambda: range(3),
        lambda: iter(["a", "b"]),
        lambda: iter({"a": 1}.items()),
        lambda: map(str, [1, 2]),
        lambda: zip([1], [2], strict=True),
        lambda: enumerate([1]),
        lambda: io.StringIO("a\nb"),
        lambda: io.BytesIO(b"a"),
        lambda: None,
        lambda: 7,
        lambda: object(),
        lambda: SyncStream,
    ],
)
def test_what_is_whole_is_no_stream(make: Callable[[], Any], seen: Capture) -> None:
    value = make()
    assert observe_llm(lambda: value)() is value
    assert [(r.status, r.streamed) for r in seen.calls] == [("success", False)]


def test_a_file_is_no_stream(tmp_path: pathlib.Path, seen: Capture) -> None:
    (tmp_path / "answer").write_text("a\nb\n")
    with observe_llm(lambda: (tmp_path / "answer").open())() as file:
        assert isinstance(file, io.TextIOWrapper)
        assert type(file) is io.TextIOWrapper
        assert list(file) == ["a\n", "b\n"]
    assert [(r.status, r.streamed) for r in seen.calls] == [("success", False)]


# What a stream says about its call.


START = {
    "type": "message_start",
    "message": {
        "type": "message", "role": "assistant", "model": "claude-x", "content": [],
        "usage": {"input_tokens": 30, "output_tokens": 1},
    },
}  # fmt: skip
DELTA = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "a"}}


class Messages(SyncStream):
    """Anthropic's events up to the middle of an answer."""

    def __next__(self) -> dict[str, Any]:
        super().__next__()
        return START if self._left == CHUNKS - 1 else DELTA


@pytest.mark.parametrize("end", ["drop", "close", "block", "fail"])
def test_what_has_come_before_a_stream_is_left_is_read(end: str, seen: Capture) -> None:
    stream = observe_llm(lambda: Messages(FailureError() if end == "fail" else None))()
    next(stream)
    next(stream)
    match end:
        case "close":
            stream.close()
        case "block":
            with stream:
                pass
        case "fail":
            with contextlib.suppress(FailureError):
                next(stream)
    del stream
    (record,) = seen.calls
    assert record.status == ("error" if end == "fail" else "abandoned")
    assert record.reading is not None
    assert (record.reading.model, record.usage) == ("claude-x", Usage(input_tokens=30, output_tokens=1))


@pytest.mark.parametrize("end", ["drop", "close"])
def test_what_has_come_before_an_async_generator_is_left_is_read(end: str, seen: Capture) -> None:
    @observe_llm
    async def ask() -> AsyncIterator[Any]:
        for event in (START, DELTA, DELTA):
            yield event

    async def main() -> None:
        stream: Any = ask()
        await anext(stream)
        if end == "close":
            await stream.aclose()

    asyncio.run(main())
    (record,) = seen.calls
    assert (record.status, record.usage) == ("abandoned", Usage(input_tokens=30, output_tokens=1))


class Counting:
    """An accumulator of the user's own."""

    def __init__(self) -> None:
        self._chunks = 0

    def add(self, event: Any) -> None:
        self._chunks += event["n"]

    def reading(self) -> Any:
        from llmwatch.extractors import Reading

        return Reading(model="counted", usage=Usage(output_tokens=self._chunks))


def test_an_accumulator_of_ones_own_reads_the_chunks(seen: Capture) -> None:
    ask = observe_llm(extractor=Counting)(lambda: SyncStream())
    assert len(list(ask())) == CHUNKS
    assert len(list(ask())) == CHUNKS
    assert [record.usage for record in seen.calls] == [Usage(output_tokens=6)] * 2


@pytest.mark.parametrize("extractor", [{"output_tokens": "usage.out"}, lambda response: Usage(output_tokens=4)])
def test_an_extractor_for_whole_responses_does_not_end_a_stream_early(
    extractor: Any, seen: Capture, clock: ManualClock
) -> None:
    for chunk in observe_llm(extractor=extractor)(lambda: SyncStream())():
        assert chunk["n"] > 0
        assert seen.calls == []
        clock.advance(1.0)
    assert [(r.status, r.streamed, r.duration) for r in seen.calls] == [("success", True, 2.0)]


def test_a_response_that_somebody_registered_is_read_even_if_it_could_be_iterated(seen: Capture) -> None:
    class Whole(SyncStream):
        tokens = 7

    @register_extractor(Whole)
    def read_whole(response: Whole) -> Usage:
        return Usage(output_tokens=response.tokens)

    whole = Whole()
    try:
        assert observe_llm(lambda: whole)() is whole
    finally:
        unregister_extractor(read_whole)
    assert statuses(seen) == ["success"]
    assert seen.calls[0].usage == Usage(output_tokens=7)
    assert whole.done == []
