"""Whatever goes wrong inside llmwatch, the caller gets what he got, and it is counted and logged once per place."""

from __future__ import annotations

import asyncio
import enum
import gc
import logging
import threading
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from typing import Any

import pytest

from llmwatch import _runtime, attribute, bind, observe_llm, register_extractor, track_request
from llmwatch._recorder import Recorder
from llmwatch._runtime import Runtime
from llmwatch._shield import Shield
from llmwatch.errors import ErrorKind
from llmwatch.extractors import Reading, unregister_extractor
from llmwatch.metrics import ERRORS, INTERNAL_ERRORS, REQUESTS, TOKENS, USAGE_MISSING
from llmwatch.testing import Capture, capture
from llmwatch.usage import Usage

pytestmark = pytest.mark.filterwarnings("error")


class BrokenError(Exception):
    """What our own parts, or hostile objects, raise."""


def broken(*_: Any, **__: Any) -> Any:
    raise BrokenError


@pytest.fixture
def seen() -> Iterator[Capture]:
    with capture(strict=False) as recorder:
        yield recorder
        gc.collect(0)
        assert recorder.active == 0


def total(recorder: Recorder, metric: Any) -> float:
    recorder.settle()
    return sum(amount for _, amount in recorder.totals(metric))


# Objects that raise wherever they are touched.


def hostile(*names: str, base: type = object) -> Any:
    """An object of a class in which these special methods raise."""
    members: dict[str, Any] = dict.fromkeys(names, broken)
    if "__class__" in names:
        members["__class__"] = property(broken)
    if "__eq__" in names:
        members["__hash__"] = None
    return type("Hostile", (base,), members)()


TOUCHES = [
    ("__getattr__",),
    ("__getattribute__",),
    ("__repr__", "__str__", "__format__"),
    ("__iter__", "__len__", "__getitem__", "__contains__"),
    ("__eq__",),
    ("__hash__",),
    ("__bool__",),
    ("__class__",),
    ("__dir__", "__sizeof__", "__reduce_ex__"),
]
touches = pytest.mark.parametrize("names", TOUCHES, ids=lambda names: names[0])


@touches
@pytest.mark.parametrize("base", [object, dict])
def test_a_hostile_response_comes_back_as_itself(names: tuple[str, ...], base: type, seen: Capture) -> None:
    response = hostile(*names, base=base)

    async def later() -> Any:
        return response

    assert observe_llm(lambda: response)() is response
    assert asyncio.run(observe_llm(later)()) is response
    with track_request() as request:
        assert request.observe(response) is response
    assert [r.status for r in seen.calls] == ["success"] * 3
    assert total(seen, REQUESTS) == 3


@touches
def test_hostile_chunks_go_by_as_themselves(names: tuple[str, ...], seen: Capture) -> None:
    chunks = [hostile(*names) for _ in range(4)]

    def ask() -> Generator[Any]:
        yield from chunks

    async def later() -> AsyncGenerator[Any]:
        for chunk in chunks:
            yield chunk

    async def main() -> list[Any]:
        return [chunk async for chunk in observe_llm(later)()]

    for got in (list(observe_llm(ask)()), asyncio.run(main())):
        assert [one is other for one, other in zip(got, chunks, strict=True)] == [True] * 4
    assert [(r.status, r.streamed) for r in seen.calls] == [("success", True)] * 2
    assert total(seen, REQUESTS) == 2


# Python itself cannot deal with exceptions whose class or attributes cannot be had.
@pytest.mark.parametrize("names", [n for n in TOUCHES if n[0] not in {"__getattribute__", "__class__"}])
def test_a_hostile_exception_comes_out_as_itself(names: tuple[str, ...], seen: Capture) -> None:
    error = hostile(*names, base=Exception)

    def ask() -> None:
        raise error

    caught: list[Any] = []
    try:
        observe_llm(ask)()
    except Exception as raised:
        caught.append(raised)
    assert len(caught) == 1
    assert caught[0] is error
    assert [(r.status, r.error) for r in seen.calls] == [("error", ErrorKind.OTHER)]
    assert total(seen, ERRORS) == 1


class HostileStream:
    """A live iterator that cannot be compared, shown or asked for anything else."""

    def __init__(self) -> None:
        self.left = [1, 2, 3]

    def __iter__(self) -> HostileStream:
        return self

    def __next__(self) -> int:
        if not self.left:
            raise StopIteration
        return self.left.pop(0)

    def close(self) -> None:
        self.left = []

    def __getattr__(self, name: str) -> Any:
        raise BrokenError

    __eq__ = __repr__ = __dir__ = broken  # type: ignore[assignment]
    __hash__ = None  # type: ignore[assignment]


def test_a_hostile_stream_is_iterated_as_without_us(seen: Capture) -> None:
    stream = observe_llm(HostileStream.__iter__)(HostileStream())
    assert list(stream) == [1, 2, 3]
    assert [(r.status, r.streamed) for r in seen.calls] == [("success", True)]


def test_a_stream_that_cannot_be_proxied_comes_back_as_itself(seen: Capture) -> None:
    class Unwrappable(HostileStream):
        def __getattribute__(self, name: str) -> Any:
            raise BrokenError

    made = Unwrappable.__new__(Unwrappable)
    stream = observe_llm(lambda: made)()
    assert stream is made
    assert [r.status for r in seen.calls] == ["success"]


# Extractors and registries.


@pytest.mark.parametrize(
    "extractor",
    [
        broken,
        lambda response: "no reading",
        lambda response: {"input_tokens": 3},
        lambda response: 3,
        {"input_tokens": "a.b.c"},
    ],
)
def test_an_extractor_that_fails_costs_the_usage_and_nothing_else(extractor: Any, seen: Capture) -> None:
    response = hostile("__getattr__") if isinstance(extractor, dict) else object()
    ask = observe_llm(extractor=extractor)(lambda: response)
    for _ in range(3):
        assert ask() is response
    assert [r.status for r in seen.calls] == ["success"] * 3
    assert [r.usage for r in seen.calls] == [None] * 3
    assert total(seen, USAGE_MISSING) == 3
    if not isinstance(extractor, dict):
        assert seen.shield.counts() == {"extractor": 3}


def accumulator(failing: str) -> type[Any]:
    """An accumulator class of which one method raises."""
    methods = {"__init__": lambda self: None, "add": lambda self, event: None, "reading": lambda self: None}
    return type("Failing", (), {**methods, failing: broken})


@pytest.mark.parametrize("failing", ["__init__", "add", "reading"])
@pytest.mark.parametrize("asynchronous", [False, True])
def test_an_accumulator_that_fails_costs_the_usage_and_nothing_else(
    failing: str, asynchronous: bool, seen: Capture
) -> None:  # fmt: skip
    def ask() -> Generator[int]:
        yield from (1, 2, 3)

    async def later() -> AsyncGenerator[int]:
        for chunk in (1, 2, 3):
            yield chunk

    async def main() -> list[int]:
        return [chunk async for chunk in observe_llm(extractor=accumulator(failing))(later)()]

    got = asyncio.run(main()) if asynchronous else list(observe_llm(extractor=accumulator(failing))(ask)())
    assert got == [1, 2, 3]
    assert [r.status for r in seen.calls] == ["success"]
    assert sum(seen.shield.counts().values()) == 1


def test_an_accumulator_that_fails_on_a_chunk_is_not_asked_about_the_next_ones(seen: Capture) -> None:
    ask = observe_llm(extractor=accumulator("add"))
    assert len(list(ask(lambda: (chunk for chunk in range(100)))())) == 100
    assert sum(seen.shield.counts().values()) == 1


def test_a_block_whose_accumulator_fails_gives_the_same_items(seen: Capture) -> None:
    for failing in ("__init__", "add", "reading"):
        with track_request(extractor=accumulator(failing)) as request:
            assert list(request.stream(iter([1, 2, 3]))) == [1, 2, 3]
    assert [r.status for r in seen.calls] == ["success"] * 3
    assert sum(seen.shield.counts().values()) == 3


class Mine:
    """A response of the application's own."""


@pytest.mark.parametrize(("match", "read"), [(Mine, broken), ("Mine", broken), (broken, lambda response: None)])
def test_a_registered_extractor_that_fails_costs_the_usage_and_nothing_else(
    match: Any, read: Callable[[Any], Any], seen: Capture
) -> None:
    register_extractor(match)(read)
    try:
        response = Mine()
        assert observe_llm(lambda: response)() is response
    finally:
        unregister_extractor(read)
    assert [r.status for r in seen.calls] == ["success"]
    assert seen.shield.counts() == {"extractor": 1}


@pytest.mark.parametrize(
    "fields",
    [
        {"model": 123},
        {"model": ["m"]},
        {"provider": 7},
        {"operation": 3.5},
        {"model": "hostile"},
        {"finish_reasons": (None, 3)},
        {"error": "boom"},
        {"usage": {"input_tokens": 3}},
        {"cost": "a lot"},
    ],
    ids=str,
)
def test_a_reading_of_the_wrong_types_does_not_cost_the_request(fields: dict[str, Any], seen: Capture) -> None:
    if fields.get("model") == "hostile":
        fields = {"model": hostile("__repr__", "__str__", "__eq__")}
    reading = Reading(**fields)
    for _ in range(2):
        assert observe_llm(extractor=lambda response: reading)(lambda: 1)() == 1
    assert len(seen.calls) == 2
    assert total(seen, REQUESTS) == 2


@pytest.mark.parametrize("fields", [{"finish_reasons": (None,)}, {"error": "rate_limit"}, {"model": ["m"]}], ids=str)
def test_a_reading_of_the_wrong_types_costs_no_other_call_and_keeps_its_tokens(
    fields: dict[str, Any], seen: Capture
) -> None:
    readings = iter(
        [Reading(usage=Usage(1, 1)), Reading(usage=Usage(10, 10), **fields)] + [Reading(usage=Usage(1, 1))] * 9
    )
    ask = observe_llm(feature="chat", extractor=lambda response: next(readings))(lambda: 1)
    ask()
    assert total(seen, REQUESTS) == 1
    for _ in range(10):
        ask()

    assert total(seen, REQUESTS) == 11
    assert total(seen, TOKENS) == 2 * (10 + 10)


def test_a_model_that_is_a_member_of_an_enumeration_is_the_same_as_its_name(seen: Capture) -> None:
    class Model(enum.StrEnum):
        SMALL = "small"

    for model in (Model.SMALL, "small", Model.SMALL):
        observe_llm(extractor=lambda _, model=model: Reading(model=model, usage=Usage(1, 1)))(lambda: 1)()

    assert {record.reading.model for record in seen.calls if record.reading} == {"small"}
    assert total(seen, REQUESTS) == 3
    assert len({key for key, amount in seen.totals(REQUESTS) if amount}) == 1


# Counts.

NAN, INFINITY = float("nan"), float("inf")


@pytest.mark.parametrize("count", [None, NAN, INFINITY, -1, -(10**30), 10**30, 1.5, True, "12", b"1", [], {}, 1j])
def test_counts_that_cannot_be_are_unknown_and_not_zero(count: Any, seen: Capture) -> None:
    body = {
        "object": "chat.completion",
        "model": "m",
        "choices": [],
        "usage": {"prompt_tokens": count, "completion_tokens": count, "total_tokens": count},
    }
    assert observe_llm(lambda: body)() is body
    with track_request() as request:
        request.record(input_tokens=count, output_tokens=count, reasoning_tokens=count)
    observe_llm(extractor=lambda _: Usage(input_tokens=count, cache_read_tokens=count))(lambda: 1)()
    assert [r.status for r in seen.calls] == ["success"] * 3
    assert [r.usage is None or not r.usage.is_known for r in seen.calls] == [True] * 3
    assert total(seen, TOKENS) == 0
    assert seen.shield.counts() == {}


@pytest.mark.parametrize(
    ("names", "base"),
    [
        (("__index__", "__int__", "__eq__", "__ne__", "__repr__"), object),
        (("__index__",), object),
        (("__class__",), object),
        (("__getattr__", "__ne__"), object),
        (("__gt__", "__lt__", "__ge__", "__le__", "__eq__", "__ne__"), int),
        (("__eq__", "__float__", "is_integer"), float),
    ],
)
def test_hostile_counts_reach_nobody(names: tuple[str, ...], base: type, seen: Capture) -> None:
    count = hostile(*names, base=base)
    body = {"object": "chat.completion", "model": "m", "choices": [], "usage": {"prompt_tokens": count}}
    assert observe_llm(lambda: body)() is body
    with track_request() as request:
        request.record(input_tokens=count, output_tokens=5)
    assert [r.status for r in seen.calls] == ["success"] * 2
    assert total(seen, REQUESTS) == 2


# Labels.


class Colour(enum.Enum):
    """An enum whose member has a value that cannot be a label."""

    RED = object()


class Sly(str):
    """A string that is none."""

    __slots__ = ()
    __hash__ = __eq__ = __len__ = broken  # type: ignore[assignment]

    def __str__(self) -> str:
        return self


LABELS: dict[str, Callable[[], Any]] = {
    "object": object,
    "bytes": lambda: b"bytes",
    "list": lambda: ["list"],
    "enum": lambda: Colour.RED,
    "str": lambda: hostile("__str__", "__repr__", base=str),
    "int": lambda: hostile("__str__", "__repr__", base=int),
    "class": lambda: hostile("__class__"),
    "getattr": lambda: hostile("__getattr__"),
    "eq": lambda: hostile("__eq__", "__bool__"),
    "sly": lambda: Sly("sly"),
}


@pytest.mark.parametrize("name", LABELS)
def test_label_values_that_cannot_be_used_are_left_out_and_the_call_is_counted(name: str, seen: Capture) -> None:
    value = LABELS[name]()
    for _ in range(2):
        with attribute(feature=value, tier=value), track_request(agent=value, model=value) as request:
            request.set(provider=value)
        with attribute(feature=value):
            assert bind(observe_llm(lambda: 7))() == 7
    assert [r.status for r in seen.calls] == ["success"] * 4
    seen.settle()
    requests = {key: amount for key, amount in seen.totals(REQUESTS) if amount}
    assert sum(requests.values()) == 4
    assert {key[0] for key in requests} <= {"", "other"} | ({"sly"} if name == "sly" else set())
    assert name == "sly" or sum(seen.shield.counts().values()) > 0


@pytest.mark.parametrize("value", ["", "x" * 10_000, "line\nbreak", 'quote"', "nul\0", "\ud800", "é", 7, NAN, True])
def test_label_values_that_are_odd_are_recorded_and_can_be_encoded(value: Any, seen: Capture) -> None:
    with attribute(feature=value):
        assert observe_llm(lambda: 7)() == 7
    seen.settle()
    (key,) = [key for key, amount in seen.totals(REQUESTS) if amount]
    assert len(key[0].encode()) <= 512


def test_a_label_that_was_not_declared_is_left_out_and_said_once(
    seen: Capture, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        observe_llm(undeclared="x")(lambda: 7)()
    assert total(seen, REQUESTS) == 3
    messages = [message for message in caplog.messages if "undeclared" in message]
    assert messages == ["label 'undeclared' is left out: declare it in configure(labels=...)"]


# Price tables, clocks, publications.


class BrokenBook:
    """A price table in which everything fails."""

    ready = True
    version = "0"

    def load(self) -> None:
        raise BrokenError

    def cost(self, *_: Any, **__: Any) -> Any:
        raise BrokenError

    def age_seconds(self) -> float:
        raise BrokenError


@pytest.fixture
def unpriced() -> Iterator[Recorder]:
    shield = Shield()
    recorder = Recorder(shield, book=BrokenBook())  # type: ignore[arg-type]
    replaced = _runtime.install(Runtime(shield, recorder, configured=True))
    yield recorder
    _runtime.install(replaced)


def test_a_price_table_that_fails_costs_the_dollars_and_nothing_else(unpriced: Recorder) -> None:
    for _ in range(3):
        with track_request(model="m", provider="openai") as request:
            request.record(input_tokens=5, output_tokens=1)
    unpriced.settle()
    assert total(unpriced, REQUESTS) == 3
    assert total(unpriced, TOKENS) == 18
    assert sum(unpriced.shield.counts().values()) >= 3
    assert total(unpriced, INTERNAL_ERRORS) == sum(unpriced.shield.counts().values())


def test_calls_go_on_when_nobody_collects_and_everything_fails(unpriced: Recorder) -> None:
    unpriced.publish_values = broken
    ask = observe_llm(lambda: 7)
    assert {ask() for _ in range(10_000)} == {7}
    assert sum(unpriced.shield.counts().values()) > 0


# What becomes of failures.


def test_failures_are_counted_by_place_and_logged_once_with_their_cause(
    seen: Capture, caplog: pytest.LogCaptureFixture
) -> None:
    ask = observe_llm(extractor=broken)(lambda: 7)
    assert [ask() for _ in range(5)] == [7] * 5
    stream = observe_llm(extractor=accumulator("add"))(lambda: (i for i in range(3)))
    assert [list(stream()) for _ in range(4)] == [[0, 1, 2]] * 4
    counts = seen.shield.counts()
    assert sorted(counts.values()) == [4, 5]
    seen.settle()
    assert {place: amount for (place,), amount in seen.totals(INTERNAL_ERRORS)} == counts
    logged = [record for record in caplog.records if record.name == "llmwatch"]
    assert len(logged) == 2
    assert all(record.levelno == logging.WARNING for record in logged)
    assert all(record.exc_info is not None and record.exc_info[0] is BrokenError for record in logged)


def test_what_an_exception_says_is_not_logged_but_where_it_came_from_is(
    seen: Capture, caplog: pytest.LogCaptureFixture
) -> None:
    def quoting(response: object) -> None:
        raise KeyError("Why is the sky blue?")

    assert observe_llm(extractor=quoting)(lambda: 7)() == 7
    assert "KeyError" in caplog.text
    assert "in quoting" in caplog.text
    assert "Why is the sky" not in caplog.text.replace('raise KeyError("Why is the sky blue?")', "")  # its source line


def test_a_handler_that_fails_while_we_log_does_not_reach_the_caller(seen: Capture) -> None:
    class BrokenHandler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise BrokenError

    handler = BrokenHandler()
    logging.getLogger("llmwatch").addHandler(handler)
    try:
        assert observe_llm(extractor=broken)(lambda: 7)() == 7
        assert observe_llm(undeclared="x")(lambda: 7)() == 7
        seen.settle()
    finally:
        logging.getLogger("llmwatch").removeHandler(handler)
    assert len(seen.calls) == 2


def test_a_handler_that_makes_observed_calls_itself_does_not_recurse_or_lock(seen: Capture) -> None:
    class Asking(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            observe_llm(extractor=broken)(lambda: 7)()

    handler = Asking()
    logging.getLogger("llmwatch").addHandler(handler)
    try:
        answers: list[int] = []
        thread = threading.Thread(
            target=lambda: answers.append(observe_llm(extractor=broken)(lambda: 7)()), daemon=True
        )
        thread.start()
        thread.join(10)
    finally:
        logging.getLogger("llmwatch").removeHandler(handler)
    assert answers == [7]
    assert len(seen.calls) == 2


def test_failures_from_many_threads_are_all_counted(seen: Capture, caplog: pytest.LogCaptureFixture) -> None:
    ask = observe_llm(extractor=broken)(lambda: 7)
    threads = [threading.Thread(target=lambda: [ask() for _ in range(50)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen.shield.counts() == {"extractor": 400}
    assert len([record for record in caplog.records if record.name == "llmwatch"]) == 1


def test_a_strict_capture_lets_our_own_failures_out() -> None:
    with capture() as seen, pytest.raises(BrokenError):
        observe_llm(extractor=broken)(lambda: 7)()
    assert sum(seen.shield.counts().values()) > 0


def test_what_is_held_back_in_blocks_that_overlap_is_logged_by_the_last_to_leave(
    caplog: pytest.LogCaptureFixture,
) -> None:
    shield = Shield()
    first, second = shield.silence(), shield.silence()
    first.__enter__()
    second.__enter__()
    shield.warn_once("one", "the first message")
    first.__exit__(None, None, None)
    assert caplog.messages == []
    shield.warn_once("two", "the second message")
    second.__exit__(None, None, None)

    assert caplog.messages == ["the first message", "the second message"]
    shield.warn_once("three", "the third message")
    assert caplog.messages[2:] == ["the third message"]
