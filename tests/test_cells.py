"""The cap on all series of a process: how far the cross product of the labels goes, and what it folds into."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from recording import STATUSES, Collected, Faults, answering, apart, recording

import llmwatch
from llmwatch import _runtime, track_request

LIMIT = 600
FOLDED = 600  # what may come on top: one folded label set for each metric, of values that llmwatch itself chooses


@pytest.fixture(autouse=True)
def faults() -> Iterator[Faults]:
    with apart() as faults:
        yield faults


def crowd(features: int, agents: int) -> int:
    """Calls of many label sets, none of whose labels is over its budget; how many calls."""
    for feature in range(features):
        for agent in range(agents):
            answering({"usage": None}, feature=f"feature-{feature}", agent=f"agent-{agent}", provider="openai")()
    return features * agents


def series(registry: CollectorRegistry) -> int:
    """How many series Prometheus would see."""
    lines = generate_latest(registry).decode().splitlines()
    return sum(not line.startswith("#") for line in lines)


def test_the_cross_product_of_labels_stops_at_the_cap() -> None:
    _, (reader,) = recording("prometheus", label_limits={"series": LIMIT})
    crowd(20, 20)

    assert LIMIT / 2 < series(reader.registry) <= LIMIT + FOLDED


def test_without_a_cap_of_one_s_own_10_000_series_are_the_end() -> None:
    llmwatch.configure()
    crowd(90, 20)

    assert 5000 < series(_runtime.current().page.registry) <= 10_000 + FOLDED


def test_what_is_over_the_cap_is_folded_and_lost_nowhere() -> None:
    _, readers = recording("memory", "memory delta", "prometheus", label_limits={"series": LIMIT})
    calls = crowd(20, 20)
    for reader in readers:
        reader.collect()

        assert reader.total("ai_requests", status="success") == calls
        assert reader.count("ai_request_duration") == calls
        assert reader.count("gen_ai.client.operation.duration") == calls
        assert reader.total("ai_active_requests") == 0
        assert reader.total("ai_requests", feature="other", agent="other", status="success") > calls / 2


def test_folded_calls_keep_their_provider_and_how_they_ended() -> None:
    _, (reader,) = recording("memory", label_limits={"series": LIMIT})
    crowd(20, 20)
    with track_request(feature="late", provider="anthropic", agent="late"):
        pass
    with pytest.raises(TimeoutError), track_request(feature="late", provider="anthropic", agent="late"):
        raise TimeoutError
    found = reader.collect()

    folded = {"feature": "other", "agent": "other", "provider": "anthropic"}
    assert {status: found.total("ai_requests", status=status, **folded) for status in STATUSES} == {
        "success": 1,
        "error": 1,
        "cancelled": 0,
        "abandoned": 0,
    }
    assert found.total("ai_errors", error_type="timeout", **folded) == 1


def test_a_series_that_was_shown_before_the_cap_goes_on() -> None:
    _, (reader,) = recording("memory", label_limits={"series": LIMIT})
    first = answering(None, feature="first", agent="first")
    first()
    reader.collect()
    crowd(20, 20)
    first()
    found = reader.collect()

    assert found.total("ai_requests", feature="first", agent="first", status="success") == 2
    assert found.count("ai_request_duration", feature="first") == 2


def test_the_cap_is_counted_as_an_overflow_of_series() -> None:
    _, (reader,) = recording("memory", label_limits={"series": LIMIT})
    crowd(20, 20)
    found = reader.collect()

    assert found.total("llmwatch_label_overflow", label="series") > 0
    assert found.values("llmwatch_label_overflow", "label") == {"series"}


def test_calls_beyond_the_cap_leave_nothing_behind() -> None:
    _, (reader,) = recording("memory", label_limits={"series": LIMIT})

    def blocks_after_a_crowd() -> int:
        crowd(40, 40)
        reader.collect()
        reader.history.clear()
        gc.collect()
        return sys.getallocatedblocks()

    crowd(20, 20)
    before, after = blocks_after_a_crowd(), blocks_after_a_crowd()
    found = reader.collect()

    assert after - before < 1600, "an object a call"
    assert found.total("ai_requests", status="success") == 400 + 2 * 1600
    assert len(found.points) < LIMIT + FOLDED


def gauge(found: Collected) -> set[float]:
    return {point.value for point in found.of("ai_active_requests")}


def test_a_call_that_was_opened_beyond_the_cap_is_closed_where_it_was_opened() -> None:
    provider, (reader,) = recording("memory", label_limits={"series": LIMIT})
    crowd(20, 20)
    with track_request(feature="late", provider="openai", model="m"):
        reader.collect()
        llmwatch.configure(meter_provider=provider, label_limits={"series": 10 * LIMIT})
        assert reader.collect().total("ai_active_requests") == 1

    assert gauge(reader.collect()) == {0}
