"""An observed function stays what it is, its callers get what they got, and each call is recorded once."""

# A lambda is a function of its own here, which gives what another one makes.

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import copy
import functools
import gc
import inspect
import pickle
import threading
import typing
import weakref
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator
from typing import Any
from unittest.mock import MagicMock

import pytest

from llmwatch import ErrorKind, attribute, bind, observe_llm, track_request
from llmwatch.metrics import TOKENS
from llmwatch.testing import Capture, ManualClock, capture
from llmwatch.usage import Usage

pytestmark = [pytest.mark.filterwarnings("error"), pytest.mark.usefixtures("quick_collections")]

REPLY = {
    "object": "chat.completion",
    "model": "gpt-4o-mini-2024-07-18",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Left."}}],
    "usage": {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15},
}


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def seen(clock: ManualClock) -> typing.Iterator[Capture]:
    with capture(clock) as recorder:
        yield recorder


def statuses(seen: Capture) -> list[str]:
    """How the calls have ended, after a look that none is open."""
    gc.collect()
    assert seen.active == 0
    return [record.status for record in seen.calls]


def tokens(seen: Capture) -> float:
    """All tokens in all series."""
    seen.settle()
    return sum(amount for _, amount in seen.totals(TOKENS))


# What people decorate, undecorated, each with what a call gives.


def function(question: str, *, times: int = 1) -> str:
    """Answers."""
    return question * times


async def coroutine(question: str, *, times: int = 1) -> str:
    """Answers later."""
    return question * times


def generator(question: str, *, times: int = 1) -> Generator[str, str, int]:
    """Answers in pieces."""
    for _ in range(times):
        yield question
    return times


async def async_generator(question: str, *, times: int = 1) -> AsyncGenerator[str, str]:
    """Answers in pieces, later."""
    for _ in range(times):
        yield question


PLAIN = [function, coroutine, generator, async_generator]
watched_function = observe_llm(feature="f")(function)
KIND_FLAGS: list[Callable[[Any], bool]] = [
    inspect.isfunction,
    inspect.isroutine,
    inspect.iscoroutinefunction,
    inspect.isgeneratorfunction,
    inspect.isasyncgenfunction,
    inspect.ismethod,
    inspect.isclass,
    callable,
]


@observe_llm
def pickled_function(question: str) -> str:
    return question


@observe_llm(feature="f")
async def pickled_coroutine(question: str) -> str:
    return question


class Plain:
    """Undecorated."""

    def __init__(self, name: str = "plain") -> None:
        self.name = name

    def method(self, question: str) -> tuple[Any, str]:
        """Answers."""
        return self.name, question

    async def coroutine(self, question: str) -> tuple[Any, str]:
        """Answers later."""
        return self.name, question

    def generator(self, question: str) -> Generator[Any]:
        yield self.name, question

    @staticmethod
    def static(question: str) -> tuple[Any, str]:
        return "static", question

    @classmethod
    def cls(cls, question: str) -> tuple[Any, str]:
        return cls.__name__, question

    @staticmethod
    async def static_coroutine(question: str) -> tuple[Any, str]:
        return "static", question


class Watched(Plain):
    """The same, decorated."""

    @observe_llm
    def method(self, question: str) -> tuple[Any, str]:
        """Answers."""
        return self.name, question

    @observe_llm(feature="f")
    async def coroutine(self, question: str) -> tuple[Any, str]:
        """Answers later."""
        return self.name, question

    @observe_llm
    def generator(self, question: str) -> Generator[Any]:
        yield self.name, question

    @observe_llm
    @staticmethod
    def static(question: str) -> tuple[Any, str]:
        return "static", question

    @observe_llm
    @classmethod
    def cls(cls, question: str) -> tuple[Any, str]:
        return cls.__name__, question

    @staticmethod
    @observe_llm
    def inner_static(question: str) -> tuple[Any, str]:
        return "static", question

    @classmethod
    @observe_llm
    def inner_cls(cls, question: str) -> tuple[Any, str]:
        return cls.__name__, question

    @observe_llm
    @staticmethod
    async def static_coroutine(question: str) -> tuple[Any, str]:
        return "static", question


class CallableObject:
    """A callable object, to be copied by what it holds."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, question: str) -> str:
        self.asked.append(question)
        return question


class AsyncCallable:
    async def __call__(self, question: str) -> str:
        await asyncio.sleep(0)
        return question


# What it is.


@pytest.mark.parametrize("fn", PLAIN)
@pytest.mark.parametrize("flag", KIND_FLAGS)
def test_an_observed_function_is_of_the_same_kind(fn: Any, flag: Callable[[Any], bool]) -> None:
    assert flag(observe_llm(fn)) == flag(fn)
    assert flag(observe_llm(feature="f")(fn)) == flag(fn)


@pytest.mark.parametrize("fn", PLAIN)
def test_an_observed_function_keeps_signature_hints_name_and_documentation(fn: Any) -> None:
    watched = observe_llm(fn)
    assert inspect.signature(watched) == inspect.signature(fn)
    assert typing.get_type_hints(watched) == typing.get_type_hints(fn)
    for name in ("__name__", "__qualname__", "__module__", "__doc__", "__annotations__", "__kwdefaults__"):
        assert getattr(watched, name) == getattr(fn, name)
    assert inspect.getsource(watched) == inspect.getsource(fn)
    assert inspect.unwrap(watched) is fn
    assert isinstance(watched, type(fn))


@pytest.mark.parametrize("name", ["method", "coroutine", "generator", "static", "cls", "static_coroutine"])
@pytest.mark.parametrize("flag", KIND_FLAGS)
def test_an_observed_method_is_of_the_same_kind_on_the_class_and_on_its_objects(
    name: str, flag: Callable[[Any], bool]
) -> None:
    for watched, plain in ((Watched, Plain), (Watched(), Plain())):
        assert flag(getattr(watched, name)) == flag(getattr(plain, name))


@pytest.mark.parametrize("name", ["method", "coroutine", "static", "cls"])
def test_an_observed_method_has_the_same_signature_on_the_class_and_on_its_objects(name: str) -> None:
    for watched, plain in ((Watched, Plain), (Watched(), Plain())):
        assert inspect.signature(getattr(watched, name)) == inspect.signature(getattr(plain, name))


def test_an_abstract_method_stays_abstract() -> None:
    class Base(ABC):
        @observe_llm
        @abstractmethod
        def ask(self) -> str: ...

    with pytest.raises(TypeError, match="abstract"):
        Base()  # type: ignore[abstract]


def test_a_partial_and_a_callable_object_keep_their_attributes() -> None:
    part = observe_llm(functools.partial(function, "q", times=2))
    assert (part.func, part.args, part.keywords) == (function, ("q",), {"times": 2})
    ask = observe_llm(CallableObject())
    assert isinstance(ask, CallableObject)
    assert ask("q") == "q"
    assert ask.asked == ["q"]


@pytest.mark.parametrize("fn", [pickled_function, pickled_coroutine, Watched.inner_static])
def test_an_observed_function_is_pickled_and_copied_as_the_function_itself(fn: Any) -> None:
    assert pickle.loads(pickle.dumps(fn)) is fn
    assert copy.copy(fn) is fn
    assert copy.deepcopy(fn) is fn
    assert copy.deepcopy({"hooks": [fn]})["hooks"][0] is fn


@pytest.mark.parametrize("name", ["method", "coroutine", "static", "cls", "inner_static", "inner_cls"])
@pytest.mark.parametrize("way", [copy.copy, copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))])
def test_a_method_taken_from_an_object_can_be_pickled_and_copied(
    name: str, way: Callable[[Any], Any], seen: Capture
) -> None:
    bound = way(getattr(Watched("mine"), name))
    answer = asyncio.run(bound("q")) if name == "coroutine" else bound("q")
    expected = {"method": "mine", "coroutine": "mine", "cls": "Watched", "inner_cls": "Watched"}
    assert answer == (expected.get(name, "static"), "q")
    assert statuses(seen) == ["success"]


@pytest.mark.parametrize("name", ["method", "static", "cls", "inner_static", "inner_cls"])
@pytest.mark.parametrize("way", [copy.copy, copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))])
def test_a_method_taken_from_the_class_can_be_pickled_and_copied(
    name: str, way: Callable[[Any], Any], seen: Capture
) -> None:
    taken = way(getattr(Watched, name))
    answer = taken(Watched("mine"), "q") if name == "method" else taken("q")
    assert answer == ({"method": "mine", "cls": "Watched", "inner_cls": "Watched"}.get(name, "static"), "q")
    assert statuses(seen) == ["success"]


def test_a_deep_copy_of_an_object_takes_its_bound_methods_to_the_copy() -> None:
    original = Watched("mine")
    original.hook = original.method  # type: ignore[attr-defined]
    clone = copy.deepcopy(original)
    clone.name = "yours"
    assert clone.hook("q") == ("yours", "q")  # type: ignore[attr-defined]


@pytest.mark.parametrize("way", [copy.copy, copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))])
def test_a_copy_of_an_observed_callable_object_is_observed_and_apart(way: Callable[[Any], Any], seen: Capture) -> None:
    ask = observe_llm(feature="f")(CallableObject())
    clone = way(ask)
    assert clone("q") == "q"
    assert clone.asked == ["q"]
    assert ask.asked == (["q"] if way is copy.copy else [])
    assert [record.labels["feature"] for record in seen.calls] == ["f"]


@pytest.mark.parametrize("way", [copy.copy, copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))])
def test_a_copy_of_an_observed_partial_is_observed(way: Callable[[Any], Any], seen: Capture) -> None:
    part = way(observe_llm(feature="f")(functools.partial(function, "q")))
    assert part(times=2) == "qq"
    assert [record.labels["feature"] for record in seen.calls] == ["f"]


def test_an_observed_function_can_be_sent_to_another_process() -> None:
    with concurrent.futures.ProcessPoolExecutor(1) as pool:
        assert pool.submit(pickled_function, "q").result(timeout=30) == "q"


# What a call gives.


def test_a_function_gives_the_very_value(seen: Capture, clock: ManualClock) -> None:
    answer = object()

    @observe_llm
    def ask() -> object:
        clock.advance(2.0)
        return answer

    assert ask() is answer
    assert statuses(seen) == ["success"]
    assert seen.calls[0].duration == 2.0


def test_a_coroutine_gives_the_very_value_and_lasts_until_it_is_there(seen: Capture, clock: ManualClock) -> None:
    answer = object()

    @observe_llm
    async def ask() -> object:
        await asyncio.sleep(0)
        clock.advance(2.0)
        return answer

    assert asyncio.run(ask()) is answer
    assert statuses(seen) == ["success"]
    assert seen.calls[0].duration == 2.0


class RefusalError(Exception):
    """The caller's own."""


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (RefusalError("no"), "error", ErrorKind.OTHER),
        (TimeoutError(), "error", ErrorKind.TIMEOUT),
        (ConnectionResetError(), "error", ErrorKind.CONNECTION),
        (KeyboardInterrupt(), "cancelled", None),
        (SystemExit(3), "cancelled", None),
        (StopIteration(4), "error", ErrorKind.OTHER),
    ],
)
def test_an_exception_is_the_very_exception_and_keeps_its_cause(
    error: BaseException, status: str, kind: ErrorKind | None, seen: Capture
) -> None:
    cause = ValueError("why")

    @observe_llm
    def ask() -> None:
        raise error from cause

    with pytest.raises(type(error)) as caught:
        ask()
    assert caught.value is error
    assert caught.value.__cause__ is cause
    assert caught.value.__context__ is None
    assert statuses(seen) == [status]
    assert seen.calls[0].error == kind


@pytest.mark.parametrize(
    ("error", "status"), [(RefusalError("no"), "error"), (asyncio.CancelledError("stop"), "cancelled")]
)
def test_a_coroutines_exception_is_the_very_exception(error: BaseException, status: str, seen: Capture) -> None:
    @observe_llm
    async def ask() -> None:
        await asyncio.sleep(0)
        raise error

    async def main() -> None:
        with pytest.raises(type(error)) as caught:
            await ask()
        assert caught.value is error
        assert caught.value.__cause__ is None
        assert caught.value.__context__ is None

    asyncio.run(main())
    assert statuses(seen) == [status]


@pytest.mark.parametrize("way", ["observed", "plain"])
def test_nothing_keeps_a_response_or_an_exception_alive(way: str, seen: Capture) -> None:
    class Response(dict[str, Any]):
        """A response that can be watched."""

    class WatchedError(Exception):
        """An exception that can be watched."""

    kept: list[weakref.ref[Any]] = []

    def ask(*, fail: bool) -> Response:
        if fail:
            error = WatchedError()
            kept.append(weakref.ref(error))
            try:
                raise error
            finally:
                del error
        response = Response(REPLY)
        kept.append(weakref.ref(response))
        return response

    asked: Any = observe_llm(ask) if way == "observed" else ask
    gc.collect()
    gc.disable()
    try:
        asked(fail=False)
        with contextlib.suppress(WatchedError):
            asked(fail=True)
        assert [ref() for ref in kept] == [None, None]
    finally:
        gc.enable()


def test_a_coroutine_that_is_never_awaited_was_never_a_call(seen: Capture) -> None:
    asked = observe_llm(coroutine)("q")
    assert inspect.iscoroutine(asked)
    assert seen.active == 0
    asked.close()
    assert statuses(seen) == []


def test_a_coroutine_is_called_by_its_own_name_in_warnings_and_tasks() -> None:
    asked = observe_llm(coroutine)("q")
    plain = coroutine("q")
    names = asked.__name__, asked.__qualname__
    expected = plain.__name__, plain.__qualname__
    asked.close()
    plain.close()
    assert names == expected


@pytest.mark.parametrize("closing", ["close", "drop"])
def test_a_coroutine_that_is_given_up_half_way_is_abandoned(closing: str, seen: Capture) -> None:
    cleaned: list[str] = []

    @observe_llm
    async def ask() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.append("up")

    async def main() -> None:
        asked = ask()
        asked.send(None)
        assert seen.active == 1
        if closing == "close":
            asked.close()
        del asked

    asyncio.run(main())
    assert cleaned == ["up"]
    assert statuses(seen) == ["abandoned"]


def test_a_wrong_call_raises_the_functions_own_type_error(seen: Capture) -> None:
    with pytest.raises(TypeError, match=r"function\(\) missing 1 required positional argument: 'question'"):
        watched_function()  # type: ignore[call-arg]
    assert statuses(seen) == ["error"]


# Functions that give a coroutine, a task or a future.


def test_a_function_that_returns_a_coroutine_is_observed_until_the_coroutines_end(
    seen: Capture, clock: ManualClock
) -> None:
    @observe_llm
    def ask(question: str) -> Coroutine[Any, Any, str]:
        return coroutine(question)

    async def main() -> None:
        asked = ask("q")
        assert inspect.iscoroutine(asked)
        clock.advance(3.0)
        assert seen.calls == []
        assert await asked == "q"

    asyncio.run(main())
    assert statuses(seen) == ["success"]
    assert seen.calls[0].duration == 3.0


def test_a_returned_coroutine_that_fails_raises_the_very_exception(seen: Capture) -> None:
    error = RefusalError()

    async def fail() -> None:
        raise error

    @observe_llm
    def ask() -> Coroutine[Any, Any, None]:
        return fail()

    with pytest.raises(RefusalError) as caught:
        asyncio.run(ask())
    assert caught.value is error
    assert statuses(seen) == ["error"]


def test_a_returned_task_is_the_very_task_and_the_call_ends_with_it(seen: Capture) -> None:
    made: list[Any] = []

    @observe_llm
    def ask(outcome: Awaitable[Any]) -> asyncio.Future[Any]:
        made.append(asyncio.ensure_future(outcome))
        return made[-1]

    async def fail() -> None:
        raise RefusalError

    async def forever() -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        good, bad, cancelled = ask(coroutine("q")), ask(fail()), ask(forever())
        assert [good, bad, cancelled] == made
        assert seen.active == 3
        assert await good == "q"
        with pytest.raises(RefusalError):
            await bad
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled

    asyncio.run(main())
    assert statuses(seen) == ["success", "error", "cancelled"]


def test_a_returned_task_whose_exception_nobody_takes_is_still_reported_by_asyncio(seen: Capture) -> None:
    complaints: list[str] = []

    async def fail() -> None:
        raise RefusalError

    @observe_llm
    def ask() -> asyncio.Future[None]:
        return asyncio.ensure_future(fail())

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context["message"]))
        ask()
        await asyncio.sleep(0.001)
        gc.collect()

    asyncio.run(main())
    assert statuses(seen) == ["error"]
    assert complaints == ["Task exception was never retrieved"]


def test_a_returned_future_of_a_thread_pool_ends_the_call_when_it_is_done(seen: Capture, clock: ManualClock) -> None:
    release = threading.Event()

    def work() -> dict[str, Any]:
        release.wait(10)
        clock.advance(4.0)
        return REPLY

    with concurrent.futures.ThreadPoolExecutor(1) as pool:

        @observe_llm
        def ask() -> concurrent.futures.Future[Any]:
            return pool.submit(work)

        future = ask()
        assert seen.active == 1
        release.set()
        assert future.result(10) is REPLY
    assert statuses(seen) == ["success"]
    assert seen.calls[0].duration == 4.0
    assert seen.calls[0].usage == Usage(input_tokens=12, output_tokens=3)


def test_a_future_that_is_done_already_ends_the_call_at_once(seen: Capture) -> None:
    future: concurrent.futures.Future[Any] = concurrent.futures.Future()
    future.set_exception(TimeoutError())
    assert observe_llm(lambda: future)() is future
    assert statuses(seen) == ["error"]
    assert seen.calls[0].error == ErrorKind.TIMEOUT


# Generators.


def echo() -> Generator[Any, Any, str]:
    """Answers what it is sent; takes a ValueError; says what it was closed with."""
    got: Any = "ready"
    while got != "stop":
        try:
            got = yield got
        except ValueError as error:
            got = error
    return "the end"


def test_a_generator_takes_send_and_throw_and_gives_its_return_value(seen: Capture) -> None:
    talk = observe_llm(echo)()
    error = ValueError()
    assert inspect.isgenerator(talk)
    assert next(talk) == "ready"
    assert talk.send("a") == "a"
    assert talk.throw(error) is error
    with pytest.raises(StopIteration) as stop:
        talk.send("stop")
    assert stop.value.value == "the end"
    assert statuses(seen) == ["success"]


def test_yield_from_an_observed_generator_passes_everything_through(seen: Capture) -> None:
    watched = observe_llm(echo)

    def delegate() -> Generator[Any, Any, tuple[str, str]]:
        return ("delegated", (yield from watched()))

    talk = delegate()
    error = ValueError()
    assert next(talk) == "ready"
    assert talk.send("a") == "a"
    assert talk.throw(error) is error
    with pytest.raises(StopIteration) as stop:
        talk.send("stop")
    assert stop.value.value == ("delegated", "the end")
    assert statuses(seen) == ["success"]


def test_a_generator_begins_only_when_it_is_iterated_and_is_cleaned_up_when_it_is_closed(seen: Capture) -> None:
    went: list[str] = []

    @observe_llm
    def ask() -> Generator[int]:
        went.append("begun")
        try:
            yield 1
            yield 2
        finally:
            went.append("cleaned up")

    pieces = ask()
    assert went == []
    assert next(pieces) == 1
    pieces.close()
    pieces.close()
    assert went == ["begun", "cleaned up"]
    assert list(pieces) == []
    assert statuses(seen) == ["abandoned"]


def test_a_generator_that_ignores_its_closing_raises_as_it_would(seen: Capture) -> None:
    @observe_llm
    def stubborn() -> Generator[int]:
        while True:
            with contextlib.suppress(GeneratorExit):
                yield 1
                return
            yield 2

    pieces = stubborn()
    next(pieces)
    with pytest.raises(RuntimeError, match="generator ignored GeneratorExit"):
        pieces.close()
    list(pieces)
    del pieces
    assert statuses(seen) == ["abandoned"]


def test_an_exception_thrown_into_a_generator_comes_out_as_the_very_object(seen: Capture) -> None:
    pieces = observe_llm(generator)("q", times=3)
    error = RefusalError()
    next(pieces)
    with pytest.raises(RefusalError) as caught:
        pieces.throw(error)
    assert caught.value is error
    assert statuses(seen) == ["error"]


def test_an_async_generator_takes_asend_athrow_and_aclose(seen: Capture) -> None:
    went: list[str] = []

    @observe_llm
    async def talk() -> AsyncGenerator[Any, Any]:
        got: Any = "ready"
        try:
            while True:
                try:
                    got = yield got
                except ValueError as error:
                    got = error
        finally:
            await asyncio.sleep(0)
            went.append("cleaned up")

    async def main() -> None:
        pieces = talk()
        error = ValueError()
        assert inspect.isasyncgen(pieces)
        assert await anext(pieces) == "ready"
        assert await pieces.asend("a") == "a"
        assert await pieces.athrow(error) is error
        assert went == []
        await pieces.aclose()
        assert went == ["cleaned up"]
        with pytest.raises(StopAsyncIteration):
            await anext(pieces)

    asyncio.run(main())
    assert statuses(seen) == ["abandoned"]


def test_anext_gives_its_default_at_the_end(seen: Capture) -> None:
    async def main() -> list[Any]:
        pieces = observe_llm(async_generator)("q", times=1)
        return [await anext(pieces, "none"), await anext(pieces, "none")]

    assert asyncio.run(main()) == ["q", "none"]
    assert statuses(seen) == ["success"]


def test_an_observed_generator_makes_a_context_manager(seen: Capture) -> None:
    @contextlib.contextmanager
    @observe_llm
    def session() -> Generator[str]:
        try:
            yield "open"
        except RefusalError:
            return

    with session() as state:
        assert state == "open"
        raise RefusalError
    with pytest.raises(KeyError), session():
        raise KeyError
    assert statuses(seen) == ["success", "error"]


def test_an_observed_async_generator_makes_an_async_context_manager(seen: Capture) -> None:
    @contextlib.asynccontextmanager
    @observe_llm
    async def session() -> AsyncGenerator[str]:
        try:
            yield "open"
        except RefusalError:
            return

    async def main() -> None:
        async with session() as state:
            assert state == "open"
            raise RefusalError

    asyncio.run(main())
    assert statuses(seen) == ["success"]


# Methods, class methods, static methods, callable objects, partials.


@pytest.mark.parametrize("name", ["method", "static", "cls", "inner_static", "inner_cls"])
def test_methods_of_every_sort_are_called_on_what_they_belong_to(name: str, seen: Capture) -> None:
    class Derived(Watched):
        pass

    expected = {"method": "mine", "cls": "Derived", "inner_cls": "Derived"}.get(name, "static")
    assert getattr(Derived("mine"), name)("q") == (expected, "q")
    if name != "method":
        assert getattr(Derived, name)("q") == (expected, "q")
        assert statuses(seen) == ["success"] * 2
    else:
        assert Derived.method(Derived("mine"), question="q") == ("mine", "q")
        assert super(Derived, Derived("mine")).method("q") == ("mine", "q")
        assert statuses(seen) == ["success"] * 3


def test_coroutine_methods_are_awaited_and_generator_methods_iterated(seen: Capture) -> None:
    watched = Watched("mine")
    assert asyncio.run(watched.coroutine("q")) == ("mine", "q")
    assert asyncio.run(Watched.static_coroutine("q")) == ("static", "q")
    assert list(watched.generator("q")) == [("mine", "q")]
    assert [record.streamed for record in seen.calls] == [False, False, True]
    assert statuses(seen) == ["success"] * 3


def test_methods_taken_twice_are_equal_and_can_be_keys() -> None:
    watched = Watched()
    first, second = watched.method, watched.method
    assert first == second
    assert hash(first) == hash(second)
    assert first.__self__ is watched  # type: ignore[attr-defined]
    assert observe_llm(function) == function


def test_partials_callable_objects_and_partial_methods_are_observed(seen: Capture) -> None:
    class Holder:
        def ask(self, question: str, times: int) -> str:
            return question * times

        twice = observe_llm(functools.partialmethod(ask, times=2))

    assert observe_llm(functools.partial(function, times=2))("q") == "qq"
    assert observe_llm(CallableObject())("q") == "q"
    assert observe_llm(Watched("mine").method)("q") == ("mine", "q")
    assert observe_llm(len)("abc") == 3
    assert Holder().twice("q") == "qq"
    assert len(seen.calls) == 6  # the observed method is observed twice
    assert set(statuses(seen)) == {"success"}


def test_partials_and_callable_objects_of_coroutines_last_until_these_are_done(
    seen: Capture, clock: ManualClock
) -> None:
    async def ask(question: str) -> str:
        clock.advance(1.0)
        return question

    class Ask:
        async def __call__(self, question: str) -> str:
            return await ask(question)

    assert asyncio.run(observe_llm(functools.partial(ask, "q"))()) == "q"
    assert asyncio.run(observe_llm(Ask())("q")) == "q"
    assert asyncio.run(observe_llm(functools.partial(Ask(), "q"))()) == "q"
    assert [record.duration for record in seen.calls] == [1.0] * 3


def test_a_callable_object_whose_call_is_a_generator_is_observed_to_its_end(seen: Capture) -> None:
    class Ask:
        def __call__(self, question: str) -> Generator[str]:
            yield question

    pieces = observe_llm(Ask())("q")
    assert seen.active == 1
    assert list(pieces) == ["q"]
    assert statuses(seen) == ["success"]


def test_singledispatch_and_lru_cache_work_on_observed_functions(seen: Capture) -> None:
    ask = functools.lru_cache(observe_llm(function))
    assert (ask("q"), ask("q")) == ("q", "q")

    @functools.singledispatch
    @observe_llm
    def kind(value: object) -> str:
        return "object"

    kind.register(int, observe_llm(lambda value: "int"))
    assert (kind(1), kind("a")) == ("int", "object")
    assert statuses(seen) == ["success"] * 3


@pytest.mark.parametrize("times", [1, 4])
def test_a_mock_that_stands_for_a_response_comes_back_as_itself(times: int, seen: Capture) -> None:
    mock = MagicMock()
    ask = observe_llm(lambda: mock)
    for _ in range(times):
        assert ask() is mock
    assert statuses(seen) == ["success"] * times


# Bad arguments.


@pytest.mark.parametrize(
    ("decorate", "message"),
    [
        (lambda: observe_llm(Plain), "Plain: decorate its methods"),
        (lambda: observe_llm("chat"), "'chat'; its own arguments are keywords"),
        (lambda: observe_llm(None)(3), "decorates a callable, not 3"),
        (lambda: observe_llm(property(function)), "decorates a callable"),
        (lambda: observe_llm(feature=["chat"]), r"observe_llm\(feature=...\): a label takes a string"),
        (lambda: observe_llm(tier=object()), r"observe_llm\(tier=...\): a label takes a string"),
        (lambda: observe_llm(model=b"gpt"), r"observe_llm\(model=...\): a label takes a string"),
        (lambda: observe_llm(extractor=3), "an extractor is a function of the response"),
        (lambda: observe_llm(extractor={"tokens": "usage.n"}), "unknown field 'tokens' in a path mapping"),
        (lambda: observe_llm(extractor={"input_tokens": 3}), "the path of 'input_tokens' must be a string"),
        (lambda: observe_llm(extractor=Plain), "an accumulator class with add"),
        (lambda: track_request(extractor=3), "an extractor is a function of the response"),
        (lambda: observe_llm(function, "chat"), "positional"),
        (lambda: attribute(feature="f")(generator), "use `with attribute"),
        (lambda: attribute(feature="f")(async_generator), "use `with attribute"),
        (lambda: bind(generator), "generator function"),
        (lambda: bind(functools.partial(async_generator, "q")), "generator function"),
    ],
)
def test_bad_arguments_raise_at_once_and_say_what_to_change(decorate: Callable[[], Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        decorate()


def test_labels_are_strings_numbers_and_members_of_enums_and_none_is_no_label(seen: Capture) -> None:
    @observe_llm(feature=None, tier=3, kind=ErrorKind.QUOTA, share=0.5)
    def ask() -> None: ...

    ask()
    assert seen.calls[0].labels == {"operation": "chat", "tier": "3", "kind": "quota", "share": "0.5"}


# attribute and bind.


@observe_llm
def labelled() -> None:
    """Its record says who it is for."""


def who(seen: Capture) -> list[tuple[str | None, str | None]]:
    return [(record.labels.get("feature"), record.labels.get("agent")) for record in seen.calls]


def test_inner_blocks_win_over_outer_ones_and_the_decorators_own_keywords_over_both(seen: Capture) -> None:
    with attribute(feature="outer", agent="a"):
        labelled()
        with attribute(feature="inner"):
            labelled()
            observe_llm(feature="own")(function)("q")
        labelled()
    labelled()
    assert who(seen) == [("outer", "a"), ("inner", "a"), ("own", "a"), ("outer", "a"), (None, None)]


def test_a_block_ends_with_an_exception_too_and_can_be_used_again_and_inside_itself(seen: Capture) -> None:
    block = attribute(feature="f")
    with pytest.raises(RefusalError), block:
        raise RefusalError
    labelled()
    with block, block:
        labelled()
    labelled()
    assert who(seen) == [(None, None), ("f", None), (None, None)]


def test_attribute_decorates_functions_and_coroutine_functions(seen: Capture) -> None:
    block = attribute(feature="f")

    @block
    def ask(question: str) -> str:
        """Asks."""
        labelled()
        return question

    @block
    async def ask_later(question: str) -> str:
        await asyncio.sleep(0)
        labelled()
        return question

    assert ask("q") == "q"
    assert (ask.__name__, ask.__doc__) == ("ask", "Asks.")
    assert inspect.iscoroutinefunction(ask_later)
    assert asyncio.run(ask_later("q")) == "q"
    labelled()
    assert who(seen) == [("f", None), ("f", None), (None, None)]


def test_attribute_decorates_callable_objects_that_are_coroutines(seen: Capture) -> None:
    class Ask:
        async def __call__(self) -> None:
            labelled()

    asyncio.run(attribute(feature="f")(Ask())())
    asyncio.run(attribute(feature="f")(lambda: Ask()())())
    assert who(seen) == [("f", None)] * 2


def test_attribution_reaches_tasks_and_to_thread_and_stays_apart_between_tasks(seen: Capture) -> None:
    async def work(agent: str) -> None:
        async with attribute(agent=agent):
            await asyncio.sleep(0)
            await asyncio.create_task(asyncio.to_thread(labelled))

    async def main() -> None:
        with attribute(feature="f"):
            await asyncio.gather(*(work(f"a{i}") for i in range(5)))
        labelled()

    asyncio.run(main())
    assert sorted(who(seen)[:-1]) == [("f", f"a{i}") for i in range(5)]  # type: ignore[type-var]
    assert who(seen)[-1] == (None, None)


def test_a_block_inside_an_observed_generator_holds_from_step_to_step_and_not_between_them(seen: Capture) -> None:
    @observe_llm
    def ask() -> Generator[int]:
        with attribute(agent="inside"):
            for i in range(3):
                labelled()
                yield i

    for _ in ask():
        observe_llm(feature="consumer")(function)("q")
    labels = [(record.labels.get("feature"), record.labels.get("agent")) for record in seen.calls]
    assert labels[:-1] == [(None, "inside"), ("consumer", None)] * 3


def test_a_block_inside_an_observed_async_generator_holds_from_step_to_step(seen: Capture) -> None:
    @observe_llm
    async def ask() -> AsyncGenerator[int]:
        with attribute(agent="inside"):
            for i in range(3):
                await asyncio.sleep(0)
                labelled()
                yield i

    async def main() -> None:
        async for _ in ask():
            observe_llm(feature="consumer")(function)("q")

    asyncio.run(main())
    labels = [(record.labels.get("feature"), record.labels.get("agent")) for record in seen.calls]
    assert labels[:-1] == [(None, "inside"), ("consumer", None)] * 3


def test_a_plain_thread_has_no_attribution_and_bind_brings_it_there(seen: Capture) -> None:
    with attribute(feature="f", agent="a"), concurrent.futures.ThreadPoolExecutor(1) as pool:
        pool.submit(labelled).result(10)
        pool.submit(bind(labelled)).result(10)
        pool.submit(labelled).result(10)
    assert who(seen) == [(None, None), ("f", "a"), (None, None)]


def test_one_bound_function_runs_in_many_threads_at_the_same_time(seen: Capture) -> None:
    threads = 8
    together = threading.Barrier(threads)

    def work(i: int) -> int:
        together.wait(10)
        for _ in range(20):
            labelled()
        together.wait(10)
        return i

    with attribute(feature="f"):
        bound = bind(work)
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        assert list(pool.map(bound, range(threads))) == list(range(threads))
        assert list(pool.map(lambda _: labelled(), range(threads))) == [None] * threads
    assert sorted(who(seen), key=str) == sorted([("f", None)] * 160 + [(None, None)] * threads, key=str)


def test_a_bound_function_keeps_its_value_its_exception_and_its_kind(seen: Capture) -> None:
    error = RefusalError()

    def fail() -> None:
        raise error

    with attribute(feature="f"):
        bound, failing, later = bind(function), bind(fail), bind(coroutine)
    assert bound("q", times=2) == "qq"
    assert bound.__name__ == "function"
    with pytest.raises(RefusalError) as caught:
        failing()
    assert caught.value is error
    assert inspect.iscoroutinefunction(later)
    assert asyncio.run(later("q")) == "q"
    labelled()
    assert who(seen) == [(None, None)]


def test_a_bound_callable_object_that_is_a_coroutine_has_the_attribution(seen: Capture) -> None:
    class Ask:
        async def __call__(self) -> None:
            await asyncio.sleep(0)
            labelled()

    with attribute(feature="f"):
        bound = bind(Ask())
    asyncio.run(bound())
    assert who(seen) == [("f", None)]


def test_calls_in_a_bound_function_are_nested_in_the_call_around_it(seen: Capture) -> None:
    @observe_llm(feature="outer")
    def outer() -> dict[str, Any]:
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            return pool.submit(bind(observe_llm(lambda: REPLY))).result(10)

    outer()
    assert [record.nested for record in seen.calls] == [False, True]
    assert tokens(seen) == 15


# track_request.


def test_a_block_records_what_it_is_told(seen: Capture, clock: ManualClock) -> None:
    with track_request(feature="f", provider="anthropic", model="asked") as request:
        clock.advance(1.5)
        assert request.observe(REPLY) is REPLY
        request.set(agent="a", tier="pro")
    (record,) = seen.calls
    assert (record.status, record.duration) == ("success", 1.5)
    assert record.labels == {
        "feature": "f", "provider": "anthropic", "model": "asked", "operation": "chat", "agent": "a", "tier": "pro",
    }  # fmt: skip
    assert record.usage == Usage(input_tokens=12, output_tokens=3)
    assert record.reading is not None
    assert record.reading.model == "gpt-4o-mini-2024-07-18"


def test_counts_of_your_own_add_up(seen: Capture) -> None:
    with track_request() as request:
        request.record(input_tokens=10, cache_read_tokens=4)
        request.record(input_tokens=5, output_tokens=2, reasoning_tokens=1)
    assert seen.calls[0].usage == Usage(input_tokens=15, output_tokens=2, cache_read_tokens=4, reasoning_tokens=1)


def test_a_block_reads_with_the_extractor_that_it_was_given(seen: Capture) -> None:
    with track_request(extractor={"input_tokens": "in", "output_tokens": "out", "model": "name"}) as request:
        request.observe({"in": 3, "out": 4, "name": "mine"})
    assert seen.calls[0].usage == Usage(input_tokens=3, output_tokens=4)
    assert seen.calls[0].reading is not None
    assert seen.calls[0].reading.model == "mine"


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize(
    ("error", "status"),
    [
        (None, "success"),
        (RefusalError(), "error"),
        (asyncio.CancelledError(), "cancelled"),
        (KeyboardInterrupt(), "cancelled"),
    ],
)
def test_a_block_ends_as_its_body_does(
    asynchronous: bool,
    error: BaseException | None,
    status: str,
    seen: Capture,
) -> None:
    def body() -> None:
        assert seen.active == 1
        if error is not None:
            raise error

    async def main() -> None:
        async with track_request():
            body()

    def run() -> None:
        if asynchronous:
            with contextlib.closing(main()) as running:
                running.send(None)
        else:
            with track_request():
                body()

    with pytest.raises(type(error or StopIteration())) if error or asynchronous else contextlib.nullcontext() as caught:
        run()
    if error is not None:
        assert caught is not None
        assert caught.value is error
    assert statuses(seen) == [status]


def test_a_block_can_be_used_again_and_each_use_is_a_call_of_its_own(seen: Capture) -> None:
    request = track_request(feature="f")
    with pytest.raises(RefusalError), request:
        raise RefusalError
    with request:
        request.record(input_tokens=1)
    assert statuses(seen) == ["error", "success"]
    assert [record.usage for record in seen.calls] == [None, Usage(input_tokens=1)]


def test_a_block_that_is_used_inside_itself_gives_two_calls_and_leaves_nothing_behind(seen: Capture) -> None:
    request = track_request(feature="f")
    with request, request:
        labelled()
    assert statuses(seen) == ["success"] * 3
    labelled()
    assert seen.calls[-2].nested is True
    with track_request() as later:
        later.record(input_tokens=5)
    assert seen.calls[-1].usage == Usage(input_tokens=5)


def test_what_is_told_outside_the_block_changes_nothing_and_raises_nothing(
    seen: Capture, caplog: pytest.LogCaptureFixture
) -> None:
    request = track_request()
    for _ in range(2):
        request.record(input_tokens=1)
        assert request.observe(REPLY) is REPLY
        request.set(model="m")
        assert list(request.stream(iter([1, 2]))) == [1, 2]
        with request:
            pass
    assert [record.usage for record in seen.calls] == [None, None]
    assert ["outside its block" in message for message in caplog.messages] == [True]


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_stream_in_a_block_yields_the_same_items_and_is_read(asynchronous: bool, seen: Capture) -> None:
    chunks: list[dict[str, Any]] = [
        {"object": "chat.completion.chunk", "model": "m", "choices": [{"index": 0, "delta": {"content": "a"}}]},
        {"object": "chat.completion.chunk", "model": "m", "choices": [], "usage": REPLY["usage"]},
    ]
    got: list[Any] = []

    async def later() -> AsyncGenerator[Any]:
        for chunk in chunks:
            yield chunk

    async def main() -> None:
        async with track_request() as request:
            got.extend([chunk async for chunk in request.stream(later())])

    if asynchronous:
        asyncio.run(main())
    else:
        with track_request() as request:
            got.extend(request.stream(iter(chunks)))
    assert all(one is other for one, other in zip(got, chunks, strict=True))
    assert statuses(seen) == ["success"]
    (record,) = seen.calls
    assert record.usage == Usage(input_tokens=12, output_tokens=3)
    assert record.streamed


@pytest.mark.parametrize("held", [False, True])
def test_a_stream_in_a_block_that_is_left_early_is_abandoned_and_what_came_is_read(held: bool, seen: Capture) -> None:
    start = {"type": "message_start", "message": {
        "type": "message", "role": "assistant", "model": "claude", "content": [],
        "usage": {"input_tokens": 30, "output_tokens": 1},
    }}  # fmt: skip
    delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "a"}}
    kept: list[Any] = []
    with track_request() as request:
        events = request.stream(iter([start, delta, delta]))
        if held:
            kept.append(events)
        next(events)
        next(events)
        del events
    assert statuses(seen) == ["abandoned"]
    assert seen.calls[0].reading is not None
    assert seen.calls[0].reading.model == "claude"
    assert seen.calls[0].usage == Usage(input_tokens=30, output_tokens=1)


def test_a_block_goes_on_after_its_stream_and_ends_as_the_block(seen: Capture) -> None:
    with pytest.raises(RefusalError), track_request() as request:  # noqa: PT012
        assert list(request.stream(iter([1]))) == [1]
        raise RefusalError
    assert statuses(seen) == ["error"]


def test_a_list_can_be_streamed_and_iterated_twice(seen: Capture) -> None:
    with track_request() as request:
        events = request.stream([1, 2])
        assert (list(events), list(events)) == ([1, 2], [1, 2])
    assert statuses(seen) == ["success"]


# Nested calls.


def test_a_decorator_in_a_decorator_counts_tokens_once_and_both_calls(seen: Capture) -> None:
    inner = observe_llm(feature="inner")(lambda: REPLY)
    outer = observe_llm(feature="outer")(lambda: inner())
    assert outer() is REPLY
    assert [record.labels["feature"] for record in seen.calls] == ["inner", "outer"]
    assert [record.nested for record in seen.calls] == [False, True]
    assert tokens(seen) == 15


def test_decorators_on_top_of_each_other_count_tokens_once(seen: Capture) -> None:
    @observe_llm(feature="outer")
    @observe_llm(feature="inner")
    async def ask() -> dict[str, Any]:
        return REPLY

    assert asyncio.run(ask()) is REPLY
    assert tokens(seen) == 15
    assert statuses(seen) == ["success"] * 2


def test_a_block_in_a_decorator_counts_tokens_once(seen: Capture) -> None:
    @observe_llm(feature="outer")
    async def ask() -> dict[str, Any]:
        async with track_request(feature="inner") as request:
            return request.observe(REPLY)

    asyncio.run(ask())
    assert tokens(seen) == 15
    assert [record.nested for record in seen.calls] == [False, True]


def test_an_observed_stream_that_passes_on_an_observed_stream_counts_tokens_once(seen: Capture) -> None:
    chunk = {"object": "chat.completion.chunk", "model": "m", "choices": [], "usage": REPLY["usage"]}

    @observe_llm(feature="inner")
    def inner() -> Generator[Any]:
        yield chunk

    @observe_llm(feature="passes it on")
    def middle() -> Generator[Any]:
        return inner()

    @observe_llm(feature="yields from it")
    def outer() -> Generator[Any]:
        yield from middle()

    assert list(outer()) == [chunk]
    assert tokens(seen) == 15
    assert statuses(seen) == ["success"] * 3
    assert {record.labels["feature"]: record.nested for record in seen.calls} == {
        "inner": False, "passes it on": True, "yields from it": True,
    }  # fmt: skip


def retry(fn: Callable[[], Any]) -> Callable[[], Any]:
    @functools.wraps(fn)
    def retrying() -> Any:
        for _ in range(2):
            with contextlib.suppress(TimeoutError):
                return fn()
        return fn()

    return retrying


def flaky() -> Callable[[], Any]:
    outcomes = iter([TimeoutError(), TimeoutError(), REPLY])

    def ask() -> Any:
        outcome = next(outcomes)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return ask


def test_a_retry_outside_makes_each_attempt_a_call_and_a_retry_inside_makes_them_one(seen: Capture) -> None:
    retry(observe_llm(flaky()))()
    assert statuses(seen) == ["error", "error", "success"]
    assert tokens(seen) == 15
    observe_llm(retry(flaky()))()
    assert statuses(seen)[3:] == ["success"]
    assert tokens(seen) == 30


def test_attempts_that_are_observed_inside_an_observed_retry_count_tokens_once(seen: Capture) -> None:
    observe_llm(feature="all")(retry(observe_llm(feature="attempt")(flaky())))()
    assert statuses(seen) == ["error", "error", "success", "success"]
    assert tokens(seen) == 15
    assert seen.calls[-1].labels["feature"] == "all"


def test_a_task_that_outlives_the_call_it_was_started_in_is_a_call_of_its_own(seen: Capture) -> None:
    background: list[asyncio.Task[Any]] = []

    async def later(release: asyncio.Event) -> None:
        await release.wait()
        observe_llm(feature="late")(lambda: REPLY)()

    async def main() -> None:
        release = asyncio.Event()

        @observe_llm(feature="early")
        async def early() -> None:
            background.append(asyncio.create_task(later(release)))

        await early()
        release.set()
        await background[0]

    asyncio.run(main())
    assert [(r.labels["feature"], r.nested) for r in seen.calls] == [("early", False), ("late", False)]
    assert tokens(seen) == 15


def test_concurrent_calls_are_not_nested_in_each_other(seen: Capture) -> None:
    @observe_llm
    async def ask() -> dict[str, Any]:
        await asyncio.sleep(0)
        return REPLY

    async def main() -> None:
        await asyncio.gather(*(ask() for _ in range(10)))

    asyncio.run(main())
    assert [record.nested for record in seen.calls] == [False] * 10
    assert tokens(seen) == 150


def test_functions_are_observed_from_many_threads(seen: Capture) -> None:
    ask = observe_llm(lambda: REPLY)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for future in [pool.submit(ask) for _ in range(400)]:
            assert future.result(10) is REPLY
    assert statuses(seen) == ["success"] * 400
    assert tokens(seen) == 400 * 15
