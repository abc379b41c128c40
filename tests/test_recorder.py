"""What calls add up to, as every kind of reader sees it, under threads, views, finalizers and user code."""

from __future__ import annotations

import gc
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.metrics.view import DropAggregation, ExplicitBucketHistogramAggregation, View
from recording import (
    ALL,
    BESIDE_CALLS,
    CALL,
    CONVENTION_SECONDS,
    DECLARABLE,
    ERROR_TYPES,
    LATEST,
    LEGACY,
    MODEL,
    OURS,
    PARTS,
    REPLY,
    STATUSES,
    Collected,
    Faults,
    Reader,
    answering,
    apart,
    recording,
)

import llmwatch
from llmwatch import _runtime, attribute, observe_llm, track_request
from llmwatch.testing import ManualClock

BUSY_THREADS = 16
CALLS = 300
every_reader = pytest.mark.parametrize("kind", Reader.KINDS)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(autouse=True)
def faults(clock: ManualClock) -> Iterator[Faults]:
    with apart(clock) as faults:
        yield faults


@observe_llm(feature="stream", provider="openai", model="gpt-4o-mini")
def chunks(clock: ManualClock, waits: tuple[float, ...]) -> Iterator[dict[str, Any]]:
    """A stream of OpenAI's wire format without usage, its chunks apart by these seconds."""
    for wait in waits:
        clock.advance(wait)
        yield {"object": "chat.completion.chunk", "model": MODEL, "choices": [{"index": 0, "delta": {"content": "a"}}]}


def fail(error: BaseException, **stated: Any) -> None:
    with pytest.raises(type(error)):
        answering(error, **stated)()


def finished(action: Callable[[], object], seconds: float = 20.0) -> bool:
    """Whether an action comes to its end, on a thread of its own."""
    thread = threading.Thread(target=action, daemon=True)
    thread.start()
    thread.join(seconds)
    return not thread.is_alive()


# --- Readers


@every_reader
def test_every_reader_sees_all_that_calls_add_up_to(kind: str) -> None:
    _, (reader,) = recording(kind)
    answer = answering(feature="chat", provider="openai")
    for _ in range(3):
        answer()
    reader.collect()
    answer()
    fail(TimeoutError(), feature="chat", provider="openai", model=MODEL)
    reader.collect()

    assert reader.total("ai_requests", model=MODEL, status="success") == 4
    assert reader.total("ai_requests", model=MODEL, status="error") == 1
    assert reader.total("ai_errors", error_type="timeout") == reader.total("ai_errors") == 1
    assert reader.count("ai_request_duration", status="success") == 4
    assert reader.count("ai_request_duration", status="error") == 1
    assert reader.total("ai_finish_reasons", reason="stop") == 4
    assert reader.total("ai_active_requests") == 0
    assert {
        (direction, kind): reader.total("ai_tokens", direction=direction, kind=kind) for direction, kind in PARTS
    } == {part: 4 * tokens for part, tokens in PARTS.items()}
    assert reader.total("ai_tokens") == 4 * 120


@every_reader
def test_a_histogram_value_is_in_the_first_collection_after_it(kind: str, clock: ManualClock) -> None:
    _, (reader,) = recording(kind, semconv="both")
    answer = answering(feature="chat", provider="openai")
    for number in range(1, 5):
        list(chunks(clock, (1.0, 0.25, 0.75)))
        answer()
        reader.collect()

        assert reader.count("ai_request_duration", feature="stream") == number
        assert reader.total("ai_request_duration", feature="stream") == 2.0 * number
        assert reader.count("ai_time_to_first_chunk") == number
        assert reader.total("ai_time_to_first_chunk") == 1.0 * number
        assert reader.total("ai_time_per_output_chunk") == 0.5 * number

    for name in ("gen_ai.client.operation.duration", "gen_ai.client.inference.duration"):
        assert reader.count(name) == 8
        assert reader.total(name) == 8.0
    assert reader.total("gen_ai.client.operation.time_to_first_chunk") == 4.0
    assert reader.total("gen_ai.client.inference.time_per_output_chunk") == 2.0
    assert reader.total("gen_ai.client.inference.operation.input_tokens") == 400


def test_several_readers_of_one_provider_each_see_everything() -> None:
    _, readers = recording(*Reader.KINDS)
    answer = answering(feature="chat", provider="openai")
    for turn, reader in enumerate((*readers, *reversed(readers), *readers)):
        for _ in range(turn + 1):
            answer()
        reader.collect()
    for reader in readers:
        reader.collect()

    calls = sum(range(1, 3 * len(readers) + 1))
    assert [reader.total("ai_requests", status="success") for reader in readers] == [calls] * len(readers)
    assert [reader.count("ai_request_duration") for reader in readers] == [calls] * len(readers)
    assert [reader.total("ai_tokens") for reader in readers] == [120 * calls] * len(readers)
    assert [reader.total("gen_ai.client.token.usage") for reader in readers] == [120 * calls] * len(readers)


@pytest.mark.parametrize("kind", ["memory delta", "exporter delta"])
def test_a_delta_reader_gets_no_call_twice(kind: str) -> None:
    _, (reader,) = recording(kind)
    answer = answering(feature="chat", provider="openai")
    answer()
    reader.collect()
    quiet = reader.collect()

    assert quiet.total("ai_requests") == 0
    assert quiet.count("ai_request_duration") == 0
    assert reader.total("ai_requests") == 1


def test_a_value_falls_into_the_bucket_that_it_belongs_to(clock: ManualClock) -> None:
    _, (reader,) = recording("memory")
    for seconds in (0.01, 0.011, 4.0, 601.0):
        with track_request(feature="chat"):
            clock.advance(seconds)
    found = reader.collect().one("ai_request_duration", status="success")

    below = dict(zip((*found.bounds, float("inf")), found.buckets, strict=True))
    assert found.count == 4
    assert {bound: count for bound, count in below.items() if count} == {0.01: 1, 0.025: 1, 5.0: 1, float("inf"): 1}


# --- Views


def test_a_view_that_keeps_two_labels_keeps_the_sums() -> None:
    kept = {"feature", "status"}
    views = [View(instrument_name=name, attribute_keys=kept) for name in ("ai_requests", "ai_request_duration")]
    _, readers = recording("memory", "memory delta", "prometheus", views=views)
    for model in ("a", "b", "c"):
        answering(None, feature="chat", provider="openai", model=model)()
    for reader in readers:
        found = reader.collect()

        assert [set(point.labels) for point in found.of("ai_requests")] == [kept] * len(STATUSES)
        assert reader.total("ai_requests", feature="chat", status="success") == 3
        assert reader.count("ai_request_duration", feature="chat", status="success") == 3


def test_a_view_may_rename_an_instrument_and_choose_other_buckets(clock: ManualClock) -> None:
    views = [
        View(instrument_name="ai_requests", name="shop_requests"),
        View(instrument_name="ai_request_duration", aggregation=ExplicitBucketHistogramAggregation([1.0, 2.0])),
    ]
    _, (reader,) = recording("memory", views=views)
    with track_request(feature="chat"):
        clock.advance(1.5)
    found = reader.collect()

    assert found.total("shop_requests", status="success") == 1
    assert found.of("ai_requests") == []
    assert found.one("ai_request_duration").bounds == (1.0, 2.0)
    assert found.one("ai_request_duration").buckets == (0, 1, 0)


@pytest.mark.parametrize("dropped", OURS | LEGACY)
def test_dropping_any_one_metric_leaves_the_others_whole(dropped: str) -> None:
    _, (reader,) = recording("memory", views=[View(instrument_name=dropped, aggregation=DropAggregation())])
    answering(feature="chat", provider="openai")()
    found = reader.collect()

    assert found.of(dropped) == []
    for name, count in {"ai_request_duration": 1, "gen_ai.client.token.usage": 2}.items():
        assert name == dropped or found.count(name) == count
    assert dropped == "ai_requests" or found.total("ai_requests") == 1


# --- Labels and what they are worth


@pytest.mark.parametrize("kind", ["memory", "prometheus"])
def test_every_series_has_exactly_the_labels_of_the_catalogue(kind: str, clock: ManualClock, faults: Faults) -> None:
    faults.expected = {"labels", "test"}
    _, (reader,) = recording(kind, labels={"tier": ["free", "pro"]}, label_limits={"agent": 1})
    answering(feature="chat", provider="openai", agent="a", tier="pro")()
    answering(feature="chat", provider="openai", agent="b", undeclared="x")()
    list(chunks(clock, (1.0, 1.0)))
    fail(TimeoutError())
    faults.shield.report("test", ValueError())
    found = reader.collect()

    named = set(OURS) - BESIDE_CALLS - {"ai_active_requests"}
    assert named <= found.names
    for name in found.names & set(OURS):
        declared = {"tier"} if name in DECLARABLE else set()
        labels = {frozenset(point.labels) - declared for point in found.of(name)}
        assert labels == {frozenset(OURS[name].labels)}, name
        assert declared <= frozenset().union(*(point.labels for point in found.of(name))), name
    assert found.names <= set(ALL)


def test_a_label_without_a_value_is_the_empty_string() -> None:
    _, (reader,) = recording("memory")
    answering(None)()
    (found,) = (point for point in reader.collect().of("ai_requests", status="success") if point.value)

    assert found.labels == {
        "feature": "",
        "provider": "",
        "model": "",
        "operation": "chat",
        "agent": "",
        "status": "success",
    }


def test_the_response_names_provider_and_model_better_than_the_caller() -> None:
    _, (reader,) = recording("memory")
    answering(feature="chat", provider="my-gateway", model="fast")()
    found = reader.collect()

    assert found.total("ai_requests", model=MODEL, status="success") == 1
    assert found.total("ai_requests", model="fast", status="success") == 0


def test_costs_are_exact_and_carry_their_source() -> None:
    prices = {"price": [{"model": MODEL, "per_million": {"input": "1", "output": "10"}}]}
    _, (reader,) = recording("memory", prices=prices)
    answer = answering(feature="chat", provider="openai")
    for _ in range(1000):
        answer()
    found = reader.collect()

    assert found.values("ai_cost_dollars", "cost_source") == {"override"}
    assert found.total("ai_cost_dollars", direction="input", kind="text") == pytest.approx(0.06, rel=1e-12)
    assert found.total("ai_cost_dollars", direction="output") == pytest.approx(0.2, rel=1e-12)


def test_an_unknown_price_is_counted_as_unpriced_and_costs_nothing() -> None:
    _, (reader,) = recording("memory")
    answering({**REPLY, "model": "nobody-knows-it"}, feature="chat", provider="openai")()
    found = reader.collect()

    assert found.total("ai_unpriced_requests", model="nobody-knows-it") == 1
    assert found.of("ai_cost_dollars", model="nobody-knows-it") == []


def test_a_call_in_flight_is_in_the_gauge_until_it_ends() -> None:
    _, readers = recording(*Reader.KINDS)
    with track_request(feature="chat", provider="openai", model="m"):
        open_calls = [reader.collect().total("ai_active_requests", model="m") for reader in readers]
    closed = [reader.collect().total("ai_active_requests", model="m") for reader in readers]

    assert open_calls == [1] * len(readers)
    assert closed == [0] * len(readers)


# --- Series that begin at 0


def assert_at_zero(found: Collected, **labels: str) -> None:
    assert {point.labels["status"]: point.value for point in found.of("ai_requests", **labels)} == dict.fromkeys(
        STATUSES, 0
    )
    assert {point.labels["error_type"]: point.value for point in found.of("ai_errors", **labels)} == dict.fromkeys(
        ERROR_TYPES, 0
    )
    tokens = {point.labels["direction"]: point.value for point in found.of("ai_tokens", kind="text", **labels)}
    assert tokens == {"input": 0, "output": 0}


@every_reader
def test_a_decorated_function_shows_its_series_at_0_before_any_call(kind: str) -> None:
    _, (reader,) = recording(kind)
    answering(feature="chat", provider="openai", model="gpt-4o-mini", agent="planner")

    assert_at_zero(reader.collect(), feature="chat", provider="openai", model="gpt-4o-mini", agent="planner")


def test_a_function_that_is_decorated_before_configure_shows_its_series_at_0_too() -> None:
    answering(feature="early", provider="openai", model="gpt-4o-mini")
    _, (reader,) = recording("memory")

    assert_at_zero(reader.collect(), feature="early", provider="openai", model="gpt-4o-mini")


def test_a_declared_label_is_among_the_series_of_a_function_that_is_decorated_before_configure() -> None:
    answering(feature="early", provider="openai", model="gpt-4o-mini", tier="pro")
    _, (reader,) = recording("memory", labels={"tier": ["free", "pro"]})

    assert_at_zero(reader.collect(), feature="early", provider="openai", model="gpt-4o-mini", tier="pro")


def test_a_call_shows_its_series_at_0_while_it_is_under_way() -> None:
    _, (reader,) = recording("memory")
    with llmwatch.attribute(agent="planner"), track_request(feature="first", provider="openai", model="gpt-4o-mini"):
        found = reader.collect()

    assert_at_zero(found, feature="first", provider="openai", model="gpt-4o-mini", agent="planner")


def test_the_first_call_of_a_label_set_shows_the_ends_that_it_did_not_have() -> None:
    _, (reader,) = recording("memory")
    answering(feature="chat", provider="openai")()
    found = reader.collect()

    ends = {point.labels["status"]: point.value for point in found.of("ai_requests", model=MODEL)}
    assert ends == {"success": 1, "error": 0, "cancelled": 0, "abandoned": 0}
    assert found.values("ai_errors", "error_type") == set(ERROR_TYPES)


# --- The GenAI convention


def conventional(semconv: str, clock: ManualClock) -> Collected:
    _, (reader,) = recording("memory", semconv=semconv)
    answering(feature="chat", provider="openai", model="gpt-4o-mini")()
    fail(TimeoutError(), provider="openai", model="gpt-4o-mini")
    list(chunks(clock, (1.0, 1.0, 1.0)))
    return reader.collect()


@pytest.mark.parametrize(
    ("semconv", "names"),
    [
        ("legacy", set(LEGACY)),
        ("latest", set(LATEST) - {"gen_ai.client.inference.usage.cache_write.input_tokens"}),
        ("both", {*LEGACY, *LATEST} - {"gen_ai.client.inference.usage.cache_write.input_tokens"}),
        ("none", set()),
    ],
)
def test_the_chosen_generation_of_the_convention_is_recorded(semconv: str, names: set[str], clock: ManualClock) -> None:
    found = conventional(semconv, clock)

    assert {name for name in found.names if name.startswith("gen_ai")} == names
    assert {name: found.units[name] for name in names} == {name: ALL[name].unit for name in names}
    assert found.total("ai_requests") == 3


def test_a_convention_s_attributes_are_there_when_they_are_known_and_absent_when_not(clock: ManualClock) -> None:
    found = conventional("both", clock)
    asked = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o-mini",
    }
    answered = asked | {"gen_ai.response.model": MODEL}
    failed = asked | {"error.type": "timeout"}

    for name in ("gen_ai.client.operation.duration", "gen_ai.client.inference.duration"):
        assert sorted((dict(point.labels) for point in found.of(name)), key=len) in (
            [answered, failed],
            [failed, answered],
        )
    usage = {point.labels["gen_ai.token.type"]: point for point in found.of("gen_ai.client.token.usage")}
    assert {kind: point.labels for kind, point in usage.items()} == {
        kind: {**answered, "gen_ai.token.type": kind} for kind in ("input", "output")
    }
    assert {kind: (point.count, point.value) for kind, point in usage.items()} == {"input": (1, 100), "output": (1, 20)}
    assert usage["input"].buckets[4] == 1, "100 tokens are above 64 and at most 256"
    for name in ("gen_ai.client.operation.time_to_first_chunk", "gen_ai.client.inference.time_to_first_chunk"):
        assert found.one(name).labels == answered
        assert found.one(name).bounds == CONVENTION_SECONDS


def test_the_latest_token_counters_are_inclusive_and_carry_a_modality(clock: ManualClock) -> None:
    found = conventional("latest", clock)
    usage = "gen_ai.client.inference.usage"

    totals = {name.removeprefix(f"{usage}."): found.total(name) for name in found.names if name.startswith(f"{usage}.")}
    assert totals == {
        "input_tokens": 100,
        "output_tokens": 20,
        "cache_read.input_tokens": 40,
        "reasoning.output_tokens": 5,
    }
    for name in found.names & {f"{usage}.{part}" for part in totals}:
        assert found.values(name, "gen_ai.token.modality") <= {"text", "image", "audio", "unknown"}
        assert {frozenset(point.labels) for point in found.of(name)} == {frozenset(LATEST[name].labels)}
    per_call = found.one("gen_ai.client.inference.operation.output_tokens")
    assert (per_call.count, per_call.value) == (1, 20)
    assert "error.type" not in per_call.labels


def test_what_is_not_known_of_a_call_is_no_attribute_of_the_convention() -> None:
    _, (reader,) = recording("memory", semconv="both")
    answering(None)()
    found = reader.collect()

    for name in ("gen_ai.client.operation.duration", "gen_ai.client.inference.duration"):
        assert found.one(name).labels == {"gen_ai.operation.name": "chat"}


# --- Threads


def lagging(reader: Reader, finished_calls: list[int], done: threading.Event) -> int:
    """Collects until it is told to stop; how many collections missed a call that had ended before them."""
    late = 0
    while not done.is_set():
        certain = sum(finished_calls)
        reader.collect()
        late += min(reader.total("ai_requests"), reader.count("ai_request_duration")) < certain
    return late


def busy(number: int, finished_calls: list[int]) -> None:
    answer = answering(feature=f"feature-{number % 4}", provider="openai")
    for _ in range(CALLS):
        answer()
        finished_calls[number] += 1


@pytest.mark.no_cover  # a tracer makes turns so dear that a collection takes longer than the SDK gives it
@pytest.mark.parametrize("kinds", [("memory", "memory delta"), ("prometheus", "exporter delta")], ids="+".join)
def test_16_threads_lose_and_double_nothing_while_two_readers_collect(kinds: tuple[str, str]) -> None:
    _, readers = recording(*kinds)
    finished_calls, done = [0] * BUSY_THREADS, threading.Event()
    with ThreadPoolExecutor(len(readers)) as collectors, ThreadPoolExecutor(BUSY_THREADS) as workers:
        late = [collectors.submit(lagging, reader, finished_calls, done) for reader in readers]
        list(workers.map(busy, range(BUSY_THREADS), [finished_calls] * BUSY_THREADS))
        done.set()
    for reader in readers:
        reader.collect()

        assert reader.total("ai_requests", status="success") == BUSY_THREADS * CALLS
        for number in range(4):
            feature = f"feature-{number}"
            assert reader.total("ai_requests", feature=feature) == BUSY_THREADS * CALLS / 4
            assert reader.count("ai_request_duration", feature=feature) == BUSY_THREADS * CALLS / 4
        assert reader.total("ai_tokens", direction="input", kind="cache_read") == 40 * BUSY_THREADS * CALLS
        assert reader.count("gen_ai.client.token.usage") == 2 * BUSY_THREADS * CALLS
        assert reader.total("gen_ai.client.token.usage") == 120 * BUSY_THREADS * CALLS
        assert reader.total("ai_active_requests") == 0
    assert [found.result() for found in late] == [0, 0]


def test_running_totals_never_go_back_between_collections() -> None:
    _, (reader,) = recording("memory")
    answer = answering(feature="chat", provider="openai")
    seen = []
    for _ in range(50):
        answer()
        found = reader.collect()
        seen.append((found.total("ai_requests"), found.total("ai_tokens"), found.count("ai_request_duration")))

    assert seen == [(number, 120 * number, number) for number in range(1, 51)]


# --- Nobody collects


def growth(action: Callable[[], object], calls: int) -> int:
    """How many objects so many calls leave behind, in a program that has made as many before."""
    for _ in range(calls):
        action()
    gc.collect()
    before = sys.getallocatedblocks()
    for _ in range(calls):
        action()
    gc.collect()
    return sys.getallocatedblocks() - before


def test_calls_that_nobody_collects_take_no_more_memory_and_are_all_there_in_the_end() -> None:
    _, (reader,) = recording("memory")
    reader.collect()  # loads the price table
    left_behind = growth(answering(feature="chat", provider="openai"), 5000)
    reader.collect()

    assert left_behind < 2500, "half an object a call"
    assert reader.total("ai_requests", status="success") == 10_000
    assert reader.count("ai_request_duration") == 10_000
    assert reader.count("gen_ai.client.token.usage") == 20_000
    assert reader.total("ai_tokens") == 10_000 * 120
    assert reader.total("ai_active_requests") == 0


def test_calls_without_any_configuration_are_counted_for_a_later_one_in_bounded_memory() -> None:
    left_behind = growth(answering(feature="chat", provider="openai"), 9000)
    _, (reader,) = recording("memory")
    reader.collect()

    assert left_behind < 4500, "half an object a call"
    assert reader.total("ai_requests", status="success") == 18_000
    assert reader.total("ai_tokens") == 18_000 * 120
    durations, tokens = reader.count("ai_request_duration"), reader.count("gen_ai.client.token.usage")
    assert durations >= tokens / 4, "what is forgotten of the histograms is not all of one of them"


# --- User code


def test_a_collection_does_not_wait_for_a_user_s_extractor() -> None:
    _, (reader,) = recording("memory")
    outcome: list[bool] = []

    def slow(response: object) -> llmwatch.Usage:
        outcome.append(finished(reader.collect))
        return llmwatch.Usage(input_tokens=1, output_tokens=1)

    answering(feature="chat", extractor=slow)()

    assert outcome == [True]


def test_a_label_value_may_make_calls_and_collect_while_it_is_turned_into_text() -> None:
    _, (reader,) = recording("memory")
    inner = answering(feature="inner")

    class Busy(str):
        __slots__ = ()

        def __str__(self) -> str:
            inner()
            reader.collect()
            return "busy"

    assert finished(answering(feature=Busy()))
    assert reader.collect().total("ai_requests", feature="busy") == 1


def test_a_logging_handler_may_decorate_and_observe_functions(faults: Faults) -> None:
    faults.expected = {"labels"}
    _, (reader,) = recording("memory")
    handled = []

    class Busy(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            handled.append(record.getMessage())
            answering(feature="handler")()
            reader.collect()

    logger, handler = logging.getLogger("llmwatch"), Busy()
    handler.lock = None  # or a handler that is stuck keeps the interpreter from ending
    logger.addHandler(handler)
    try:
        answer = answering(None, feature="chat")

        def work() -> None:
            with llmwatch.attribute(agent="new", nobody_declared_this="x"):
                answer()
            reader.collect()

        assert finished(work, 5.0), "a handler that observes a call waits for a lock that llmwatch holds"
    finally:
        logger.removeHandler(handler)
    assert any("nobody_declared_this" in message for message in handled)
    assert reader.collect().total("ai_requests", feature="handler") == len(handled)


def test_a_failing_extractor_and_a_hostile_answer_are_counted_and_reach_nobody(faults: Faults) -> None:
    faults.expected = {"extractor"}
    _, (reader,) = recording("memory")

    def broken(response: object) -> llmwatch.Usage:
        raise RuntimeError("broken")

    assert answering("text", feature="chat", extractor=broken)() == "text"
    found = reader.collect()

    assert found.total("llmwatch_internal_errors", where="extractor") == 1
    assert found.total("ai_requests", feature="chat", status="success") == 1


# --- Finalizers


def abandoned_in_a_cycle() -> None:
    """Leaves an unread stream behind that only the cyclic garbage collector can find."""
    stream = observe_llm(feature="dropped")(lambda: iter_forever())()
    cycle: list[Any] = [stream]
    cycle.append(cycle)


def iter_forever() -> Iterator[int]:
    while True:
        yield 1


@pytest.mark.parametrize("kind", ["memory", "prometheus", "exporter delta"])
def test_finalizers_that_end_calls_in_the_middle_of_a_collection_do_not_lock_up(kind: str) -> None:
    _, (reader,) = recording(kind)
    answer = answering(feature="chat", provider="openai")
    gc.collect()
    thresholds = gc.get_threshold()
    gc.disable()
    try:
        for number in range(200):
            answering(feature=f"feature-{number % 20}", provider="openai")()
            abandoned_in_a_cycle()
        answer()
        gc.set_threshold(5, 1, 1)
        gc.enable()
        assert finished(reader.collect), "a finalizer waits for a lock that its own thread holds"
    finally:
        gc.set_threshold(*thresholds)
        gc.enable()
    gc.collect()
    reader.collect()

    assert reader.total("ai_requests", feature="dropped", status="abandoned") == 200
    assert reader.total("ai_requests", status="success") == 201
    assert reader.total("ai_active_requests") == 0


def test_every_label_of_a_call_is_bounded_before_it_is_shown() -> None:
    limits = dict.fromkeys(CALL, 1)
    _, (reader,) = recording("memory", label_limits=limits)
    for number in range(3):
        values = {name: f"{name}-{number}" for name in CALL}
        answering(None, **values)()
    found = reader.collect()

    for name in CALL:
        assert found.values("ai_requests", name) <= {f"{name}-0", "other", ""}


# --- What comes late


def test_a_report_of_the_labels_by_a_recorder_that_was_replaced_takes_nothing_from_the_next_one() -> None:
    provider, (reader,) = recording("memory")
    replaced = _runtime.current().recorder
    with track_request(feature="chat"):
        llmwatch.configure(meter_provider=provider)
    replaced.label_report()

    reader.collect()
    assert reader.total("ai_requests") == 1


def test_a_program_that_adds_usages_up_in_the_object_of_one_of_them_changes_no_count() -> None:
    chat = pytest.importorskip("openai.types.chat")
    _, (reader,) = recording("memory")
    answers = [answering(chat.ChatCompletion.model_validate(REPLY)) for _ in range(3)]
    answers[0]()  # the first answer of a class is read at once
    together = answers[1]().usage
    for _ in range(4):
        usage = answers[2]().usage
        together.prompt_tokens += usage.prompt_tokens
        together.completion_tokens += usage.completion_tokens
        together.prompt_tokens_details.cached_tokens += usage.prompt_tokens_details.cached_tokens

    reader.collect()
    assert {
        (direction, kind): reader.total("ai_tokens", direction=direction, kind=kind) for direction, kind in PARTS
    } == {part: 6 * tokens for part, tokens in PARTS.items()}


def test_a_label_value_of_no_use_is_reported_though_calls_without_that_label_came_before(faults: Faults) -> None:
    recording("memory")
    answer = answering(provider="openai")
    answer()
    _runtime.current().recorder.settle()
    faults.expected.add("labels")
    with attribute(feature=object()):
        answer()
    _runtime.current().recorder.settle()


COUNT = st.integers(0, 2**50)


@st.composite
def consumptions(draw: st.DrawFn) -> tuple[dict[str, int | None], dict[tuple[str, str], int]]:
    """What a call has consumed, kind by kind: as it is stated of the call, and as it is to be shown."""
    kinds = {kind: draw(COUNT) for kind in ("text", "cache_read", "cache_write", "audio")}
    made = {kind: draw(COUNT) for kind in ("text", "reasoning", "audio")}
    shown = {("input", kind): count for kind, count in kinds.items()} | {
        ("output", kind): count for kind, count in made.items()
    }
    stated: dict[str, int | None] = {
        "input_tokens": sum(kinds.values()),
        "output_tokens": sum(made.values()),
        "cache_read_tokens": kinds["cache_read"],
        "cache_write_tokens": kinds["cache_write"],
        "audio_input_tokens": kinds["audio"],
        "reasoning_tokens": made["reasoning"],
        "audio_output_tokens": made["audio"],
    }
    for name, direction in (("input_tokens", "input"), ("output_tokens", "output")):
        if draw(st.booleans()):  # a total that nobody tells: what is text is not known then
            stated[name] = None
            shown[direction, "text"] = 0
    return stated, shown


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(consumptions(), min_size=1, max_size=12))
def test_tokens_of_calls_that_are_entered_together_add_up_kind_by_kind(calls: list[Any]) -> None:
    with apart():
        _, (reader,) = recording("memory")
        expected: dict[tuple[str, str], int] = {}
        for stated, shown in calls:
            with track_request(feature="sums", provider="openai", model=MODEL) as request:
                request.record(**stated)
            for kind, count in shown.items():
                expected[kind] = expected.get(kind, 0) + count
        found = reader.collect()

    for (direction, kind), count in expected.items():
        assert found.total("ai_tokens", feature="sums", direction=direction, kind=kind) == count
    assert found.total("ai_requests", feature="sums", status="success") == len(calls)
