"""Calls of every kind and end, on threads and in tasks, against a count of one's own; `soak.py` has the long run."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from recording import apart, parsed
from soak import BLOCKS, RESIDENT, Calls, Truth, scrape, soak_calls

import llmwatch

CALLS = int(os.environ.get("LLMWATCH_SOAK_CALLS", "20000"))


@pytest.fixture(autouse=True)
def _apart() -> Iterator[None]:
    with apart():
        yield


@pytest.mark.no_cover  # a tracer makes it as long as the long run
def test_calls_of_every_kind_and_end_are_counted_to_the_last_token_and_leave_nothing_behind() -> None:
    outcome = soak_calls(CALLS)

    assert outcome.calls >= CALLS
    assert outcome.grown.blocks < BLOCKS
    assert outcome.grown.resident < RESIDENT
    threads, files = outcome.after
    assert threads <= outcome.before[0]
    assert files.items() <= outcome.before[1].items()  # what other tests had left open may be closed by now


def test_the_soak_notices_a_call_that_is_lost_and_a_token_that_is_doubled() -> None:
    soak = Calls(llmwatch.configure(port=0, live=False).port, threads=2, loops=1, tasks=2)
    soak.run(100)
    soak.verify()
    soak.truth.call("function", "openai", "success", tokens={("input", "text"): 1_000_000})
    page = parsed(scrape(soak.port, open_metrics=False, compressed=False).text)
    found = {line.partition(":")[0].partition(",")[0].strip("('") for line in soak.truth.differences(page)}

    assert found == {
        "ai_requests",
        "ai_request_duration",
        "ai_tokens",
        "ai_cost_dollars",
        "the convention's durations",
        "the convention's input",
    }


def test_the_soak_prices_by_the_vendors_price_pages() -> None:
    truth = Truth()
    truth.call("f", "openai", "success", tokens={("input", "cache_read"): 1_000_000, ("output", "text"): 500_000})
    truth.call("f", "anthropic", "success", tokens={("input", "cache_write"): 2_000_000})
    dollars = {(name, labels[1], *labels[5:7]): float(amount) for (name, labels), amount in truth.dollars().items()}

    assert dollars == {
        ("ai_cost_dollars", "openai", "input", "cache_read"): 0.075,
        ("ai_cache_savings_dollars", "openai"): 0.075,
        ("ai_cost_dollars", "openai", "output", "text"): 0.30,
        ("ai_cost_dollars", "anthropic", "input", "cache_write"): 7.50,
    }
