"""The recorded responses, read by the vendors' own clients in observed functions: the totals are the expected ones."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterator
from inspect import isawaitable
from typing import Any, NamedTuple
from urllib.request import urlopen

import pytest
from corpus_rules import (
    NOTHING,
    Counts,
    Item,
    decided_against,
    expected_counts,
    expected_finish_reasons,
    expected_model,
    is_http_error,
    is_read,
    items,
    provider_hint,
    require_corpus,
)
from prometheus_client.parser import text_string_to_metric_families
from replay import Replay
from vendor_clients import Transports, Way
from vendor_ways import WAYS

import llmwatch
from llmwatch import metrics, observe_llm
from llmwatch._call import CallRecord
from llmwatch.testing import Capture, capture


class World(NamedTuple):
    """What all tests share: the server, the transports, and the loop of the asynchronous clients."""

    replay: Replay
    transports: Transports
    loop: asyncio.AbstractEventLoop


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    transports, loop = Transports(), asyncio.new_event_loop()
    with Replay(items()) as replay:
        yield World(replay, transports, loop)
        for client in transports.forget_all():
            if hasattr(client, "aclose"):
                loop.run_until_complete(client.aclose())
            else:
                client.close()
        loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


def asked(world: World, way: Way, item: Item, **stated: Any) -> None:
    """One observed call of a synchronous program, its answer read to the end."""
    client = way.client(world.transports, world.replay.of(item))

    @observe_llm(**stated)
    def ask() -> Any:
        return way.ask(client, item)

    way.read(ask(), item)


async def aasked(world: World, way: Way, item: Item, **stated: Any) -> None:
    """The same of an asynchronous program."""
    client = way.client(world.transports, world.replay.of(item), asynchronous=True)

    @observe_llm(**stated)
    async def ask() -> Any:
        answer = way.ask(client, item)
        return await answer if isawaitable(answer) else answer

    await way.aread(await ask(), item)


def ask(world: World, way: Way, item: Item, asynchronous: bool, **stated: Any) -> None:
    """One observed call in either kind of program."""
    if asynchronous:
        world.loop.run_until_complete(aasked(world, way, item, **stated))
    else:
        asked(world, way, item, **stated)


def cases(wanted: Callable[[Item], object]) -> list[Any]:
    """Each item, with each way to ask for it, in each kind of program."""
    found = [
        pytest.param(item, way, asynchronous, id=f"{item['id']}, {way.name}{', async' if asynchronous else ''}")
        for item in items()
        if wanted(item)
        for way in WAYS
        if way.reads(item)
        for asynchronous in way.kinds
    ]
    return found or [pytest.param(None, None, False, id="corpus-is-missing")]


def counts_of(record: CallRecord) -> Counts:
    usage = record.usage
    if usage is None:
        return NOTHING
    return Counts(
        usage.input_tokens,
        usage.output_tokens,
        usage.cache_read_tokens,
        usage.cache_write_tokens,
        usage.reasoning_tokens,
        usage.audio_input_tokens,
        usage.audio_output_tokens,
    )


def directions(seen: Capture) -> dict[str, int]:
    """What the counter has, by direction."""
    seen.settle()
    place = seen.label_names(metrics.TOKENS).index("direction")
    totals: Counter[str] = Counter()
    for key, amount in seen.totals(metrics.TOKENS):
        totals[key[place]] += int(amount)
    return {direction: amount for direction, amount in totals.items() if amount}


@pytest.mark.parametrize(("item", "way", "asynchronous"), cases(is_read))
def test_a_client_reads_a_recorded_response_and_its_tokens_are_counted(
    item: Item, way: Way, asynchronous: bool, world: World
) -> None:
    require_corpus()
    with capture() as seen:
        ask(world, way, item, asynchronous)
    (record,) = seen.calls
    expected = expected_counts(item)
    assert counts_of(record) == expected
    assert record.reading is None or record.reading.model == expected_model(item)
    assert record.reading is None or record.reading.finish_reasons == expected_finish_reasons(item)
    assert directions(seen) == {
        name: amount for name, amount in (("input", expected.input), ("output", expected.output)) if amount
    }
