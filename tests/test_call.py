"""One call as a state machine: one record, of the first end, whatever comes in whatever order."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmwatch._call import Call, CallRecord
from llmwatch.errors import ErrorKind
from llmwatch.extractors import Gist, Reading
from llmwatch.usage import Usage

STATUSES = ("success", "error", "cancelled", "abandoned")


def ended(call: Call, now: float = 1.0, status: Any = "success", error: ErrorKind | None = None) -> CallRecord:
    record = call.end(now, status, error)
    assert record is not None
    return record


def test_a_call_gives_its_labels_its_status_and_its_duration() -> None:
    record = ended(Call({"feature": "chat"}, 10.0), 12.5)
    assert (record.labels, record.status, record.error) == ({"feature": "chat"}, "success", None)
    assert record.duration == 2.5
    assert (record.streamed, record.nested, record.reading, record.usage) == (False, False, None, None)


def test_only_the_first_end_counts() -> None:
    call = Call({}, 0.0)
    first = call.end(3.0, "error", ErrorKind.TIMEOUT)
    later = [call.end(4.0, status) for status in ("success", "cancelled", "abandoned")]
    assert first is not None
    assert (first.status, first.error, first.duration) == ("error", ErrorKind.TIMEOUT, 3.0)
    assert later == [None, None, None]
    assert call.ended


def test_later_statements_win_over_earlier_ones() -> None:
    given_labels = {"model": "small", "feature": "chat"}
    call = Call(given_labels, 0.0)
    call.state({"model": "large"})
    call.state({"agent": "tester"})
    assert ended(call).labels == {"model": "large", "feature": "chat", "agent": "tester"}
    assert given_labels == {"model": "small", "feature": "chat"}


def test_a_stream_lasts_until_its_last_chunk_and_not_until_somebody_notices_its_end() -> None:
    call = Call({}, 0.0)
    for now in (1.0, 2.0, 4.0):
        call.chunk(now)
    record = ended(call, 9.0)
    assert (record.duration, record.first_chunk, record.chunk_gap) == (4.0, 1.0, 1.5)


@pytest.mark.parametrize("status", ["error", "cancelled", "abandoned"])
def test_a_stream_that_is_not_complete_lasts_until_its_end(status: Any) -> None:
    call = Call({}, 0.0)
    call.chunk(1.0)
    record = ended(call, 9.0, status)
    assert (record.duration, record.first_chunk, record.chunk_gap) == (9.0, 1.0, None)


def test_a_call_without_chunks_has_no_time_to_the_first_one() -> None:
    record = ended(Call({}, 0.0))
    assert (record.first_chunk, record.chunk_gap) == (None, None)


def test_the_usages_of_several_responses_add_up_and_the_last_one_names_the_model() -> None:
    call = Call({}, 0.0)
    call.read(Reading(model="first", usage=Usage(input_tokens=10, output_tokens=1)))
    call.read(None)
    call.read(Reading(model="second", usage=Usage(input_tokens=5, output_tokens=2)))
    record = ended(call)
    assert record.usage == Usage(input_tokens=15, output_tokens=3)
    assert record.reading is not None
    assert record.reading.model == "second"


def test_an_answer_that_reports_a_failure_makes_a_success_an_error() -> None:
    call = Call({}, 0.0)
    call.read(Reading(error=ErrorKind.QUOTA))
    record = ended(call)
    assert (record.status, record.error) == ("error", ErrorKind.QUOTA)


def test_an_answer_that_reports_a_failure_leaves_another_end_as_it_is() -> None:
    call = Call({}, 0.0)
    call.read(Reading(error=ErrorKind.QUOTA))
    record = ended(call, 1.0, "cancelled")
    assert (record.status, record.error) == ("cancelled", None)


def test_the_innermost_call_that_reads_usage_owns_it() -> None:
    outer = Call({}, 0.0)
    middle = Call({}, 0.0, outer)
    inner = Call({}, 0.0, middle)
    used = Usage(input_tokens=7, output_tokens=3)
    for call in (inner, middle, outer):
        call.read(Reading(model="m", usage=used))
    records = [ended(call) for call in (inner, middle, outer)]
    assert [record.usage for record in records] == [used, None, None]
    assert [record.nested for record in records] == [False, True, True]
    assert all(record.reading is not None for record in records)


def test_a_call_around_calls_that_read_nothing_keeps_what_it_reads() -> None:
    outer = Call({}, 0.0)
    ended(Call({}, 0.0, outer), 1.0, "error", ErrorKind.TIMEOUT)
    outer.read(Reading(usage=Usage(input_tokens=7)))
    assert ended(outer).usage == Usage(input_tokens=7)


def test_what_an_ended_call_is_told_too_late_is_not_taken_from_the_calls_around_it() -> None:
    outer = Call({}, 0.0)
    inner = Call({}, 0.0, outer)
    ended(inner)
    inner.read(Reading(usage=Usage(input_tokens=1)))
    inner.consume(Usage(input_tokens=1))
    outer.consume(Usage(input_tokens=7))
    assert ended(outer).usage == Usage(input_tokens=7)


def test_of_many_threads_that_end_a_call_one_gets_the_record() -> None:
    threads = 8
    calls = [Call({}, 0.0) for _ in range(200)]
    records: list[CallRecord | None] = []
    start = threading.Barrier(threads)

    def end_all(status: Any) -> None:
        start.wait()
        for call in calls:
            records.append(call.end(1.0, status))

    workers = [threading.Thread(target=end_all, args=(STATUSES[i % 4],)) for i in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(records) == threads * len(calls)
    assert len([record for record in records if record is not None]) == len(calls)


class Kept:
    """A shape whose responses say 7 tokens."""

    api = provider = "kept"

    def read(self, response: Any) -> Reading:
        return Reading(usage=Usage(input_tokens=7))


GIST = Gist(cast("Any", Kept()), {}, None)


def test_what_was_kept_of_a_response_is_not_counted_beside_what_a_call_inside_has_read() -> None:
    outer = Call({}, 0.0)
    assert outer.keep(GIST)
    inner = Call({}, 0.0, outer)
    inner.consume(Usage(input_tokens=3))
    assert [ended(call).understood().usage for call in (inner, outer)] == [Usage(input_tokens=3), None]


def test_what_was_kept_of_a_response_adds_up_with_what_was_counted_before_it_and_after_it() -> None:
    call = Call({}, 0.0)
    assert call.keep(GIST)
    assert not call.keep(GIST)
    call.consume(Usage(input_tokens=1))
    call.consume(Usage(input_tokens=1))
    assert ended(call).understood().usage == Usage(input_tokens=9)


def test_threads_that_tell_one_call_of_their_responses_at_once_all_count() -> None:
    """Each takes turns with the others in the middle of all it does."""
    threads, times = 8, 50
    calls = [Call({}, 0.0) for _ in range(20)]
    start = threading.Barrier(threads)

    def tell() -> None:
        for call in calls:
            start.wait()
            for _ in range(times):
                if not call.keep(GIST):
                    call.read(GIST.reading())

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(threads) as pool:
            for telling in [pool.submit(tell) for _ in range(threads)]:
                telling.result()
    finally:
        sys.setswitchinterval(before)
    told = [ended(call).understood().usage for call in calls]
    assert told == [Usage(input_tokens=7 * threads * times)] * len(calls)


# A tree of calls: each opens inside another one that was opened before, or inside none.
@dataclass
class Expected:
    """What one call should record, kept by the rules and not by the machine."""

    call: Call
    outer: int | None
    used: Usage | None = None
    taken: bool = False
    readings: list[Reading] = field(default_factory=list)
    chunks: list[float] = field(default_factory=list)
    inner: bool = False
    first_end: tuple[float, str, ErrorKind | None] | None = None
    records: list[CallRecord] = field(default_factory=list)


counts = st.one_of(st.none(), st.integers(0, 1000))
usages = st.builds(Usage, input_tokens=counts, output_tokens=counts)
kinds = st.sampled_from(list(ErrorKind))
readings = st.builds(
    Reading,
    model=st.sampled_from([None, "a", "b"]),
    usage=st.one_of(st.none(), usages),
    error=st.one_of(st.none(), st.none(), kinds),
)
events = st.one_of(
    st.tuples(st.just("open"), st.none()),
    st.tuples(st.just("chunk"), st.none()),
    st.tuples(st.just("read"), st.one_of(st.none(), readings)),
    st.tuples(st.just("consume"), usages),
    st.tuples(st.just("state"), st.dictionaries(st.sampled_from(["model", "agent"]), st.text(max_size=3))),
    st.tuples(st.just("end"), st.tuples(st.sampled_from(STATUSES), kinds)),
)
# Clocks of other threads may be read a little earlier than they are told.
steps = st.lists(st.tuples(st.integers(0, 50), st.floats(-0.5, 10.0), events), max_size=60)


def _consumed(tree: list[Expected], at: int, usage: Usage) -> None:
    node = tree[at]
    if node.first_end is not None:
        return
    node.used = usage if node.used is None else node.used + usage
    outer = node.outer
    while outer is not None:
        tree[outer].taken |= tree[outer].first_end is None
        outer = tree[outer].outer


def _play(tree: list[Expected], at: int, now: float, kind: str, value: Any) -> None:
    node = tree[at]
    match kind:
        case "open":
            node.inner |= node.first_end is None
            tree.append(Expected(Call({}, now, node.call), at))
        case "chunk":
            node.call.chunk(now)
            if node.first_end is None:
                node.chunks.append(now)
        case "read":
            node.call.read(value)
            if value is not None and node.first_end is None:
                node.readings.append(value)
                if value.usage is not None:
                    _consumed(tree, at, value.usage)
        case "consume":
            node.call.consume(value)
            _consumed(tree, at, value)
        case "state":
            node.call.state(value)
        case "end":
            _end(node, now, *value)


def _end(node: Expected, now: float, status: Any, error: ErrorKind) -> None:
    record = node.call.end(now, status, error if status == "error" else None)
    if record is not None:
        node.records.append(record)
    if node.first_end is None:
        node.first_end = now, status, error if status == "error" else None


@settings(max_examples=300, deadline=None)
@given(steps)
def test_any_order_of_events_gives_one_record_of_the_first_end_and_owns_usage_once(
    played: list[tuple[int, float, tuple[str, Any]]],
) -> None:
    tree = [Expected(Call({}, 0.0), None)]
    now = 0.0
    for at, passed, (kind, value) in played:
        now += passed
        _play(tree, at % len(tree), now, kind, value)
    for node in tree:
        _end(node, now, "abandoned", ErrorKind.OTHER)
    for node in tree:
        _check(node)


def _check(node: Expected) -> None:
    assert len(node.records) == 1
    (record,) = node.records
    assert node.first_end is not None
    _, status, error = node.first_end
    reported = node.readings[-1].error if node.readings else None
    if status == "success" and reported is not None:
        status, error = "error", reported
    assert (record.status, record.error) == (status, error)
    assert record.usage == (None if node.taken else node.used)
    assert record.nested == node.inner
    assert record.reading == (node.readings[-1] if node.readings else None)
    assert record.duration >= 0
    assert (record.first_chunk is None) == (not node.chunks)
    assert (record.chunk_gap is None) == (len(node.chunks) < 2)
    assert record.first_chunk is None or record.first_chunk >= 0
    assert record.chunk_gap is None or record.chunk_gap >= 0
