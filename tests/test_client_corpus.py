"""The recorded responses, read by the vendors' own clients in observed functions: the totals are the expected ones."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator
from inspect import isawaitable
from typing import Any, NamedTuple, TypeVar
from urllib.request import urlopen

import pytest
from corpus_rules import (
    NOTHING,
    SELF_NAMED,
    Counts,
    Item,
    counts_of,
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
from recording import apart
from replay import Replay
from replay_samples import SAMPLES
from test_errors import READ
from vendor_clients import Transports, Way
from vendor_ways import WAYS

import llmwatch
from llmwatch import metrics, observe_llm
from llmwatch.testing import Capture, capture

pytestmark = [
    # openai: of its helper, which serialises kinds of output that it does not know; of interfaces that are going away
    pytest.mark.filterwarnings("ignore:Pydantic serializer warnings:UserWarning"),
    pytest.mark.filterwarnings("ignore:The Assistants API is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:deprecated$:DeprecationWarning"),
    # cohere: of its own use of pydantic
    pytest.mark.filterwarnings("ignore:The `parse_obj` method is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Accessing the 'model_fields' attribute:DeprecationWarning"),
]

NOT_ASKED = {
    ("aleph_alpha", "complete"): "its client is none of those that are tested",
    ("anthropic", "complete"): "its client no longer has the older completions",
    ("azure", "realtime"): "a session over a WebSocket",
    ("gemini", "live"): "a session over a WebSocket",
    ("openai", "realtime"): "a session over a WebSocket",
    ("replicate", "predictions"): "its client is none of those that are tested",
    ("vertex", "live"): "a session over a WebSocket",
    ("watsonx", "generation"): "its client is none of those that are tested",
    ("xai", "realtime"): "a session over a WebSocket",
}


class Refusal(NamedTuple):
    """A client raises: what, why, and whether the tokens are counted all the same."""

    error: str
    why: str
    counted: bool = False


_HELPER = "openai stream helper"
# By item and by what the name of the way begins with.
REFUSED: dict[tuple[str, str], Refusal] = {
    ("ai21-chat_completions-stream-b31572ee", f"{_HELPER}, final"): Refusal(
        "AssertionError", "the helper drops chunks whose object is not chat.completion.chunk; none is left"
    ),
    ("azure-chat_completions-json-28358dec", "openai parse"): Refusal(
        "LengthFinishReasonError", "parsing refuses what was cut by max_tokens; the exception holds the answer", True
    ),
    ("bedrock-converse-json-855990db", "boto3"): Refusal(
        "ResponseParserError", "a reasoningContent that is empty, which the service's model does not allow"
    ),
    ("bedrock_mantle-responses-stream-8adf7ab6", _HELPER): Refusal(
        "IndexError", "the recording lacks events that the helper builds on"
    ),
    ("copilot-chat_completions-stream-4a6525d2", f"{_HELPER}, final"): Refusal(
        "AssertionError", "the helper drops chunks whose object is not chat.completion.chunk; none is left"
    ),
    ("copilot-responses-stream-c69a61c8", _HELPER): Refusal(
        "RuntimeError", "a foreign dialect: the id of the response is another one in each event"
    ),
    ("mistral-chat_completions-stream-4d721c50", f"{_HELPER}, final"): Refusal(
        "LengthFinishReasonError", "the helper refuses what was cut by max_tokens", True
    ),
    ("mistral-chat_completions-stream-b7950628", _HELPER): Refusal(
        "TypeError", "a foreign dialect: tool calls without an index"
    ),
    ("openai-chat_completions-json-06f9cf52", "openai parse"): Refusal(
        "LengthFinishReasonError", "parsing refuses what was cut by max_tokens; the exception holds the answer", True
    ),
    ("openai-responses-stream-53f5d526", f"{_HELPER}, final"): Refusal(
        "RuntimeError", "the helper wants response.completed, the response was incomplete", True
    ),
    ("openai-responses-stream-75c7ae96", "openai"): Refusal(
        "APIError", "the stream ends with an error; no usage", True
    ),
    ("openai-responses-stream-75d760eb", f"{_HELPER}, final"): Refusal(
        "RuntimeError", "the helper wants response.completed, the response was incomplete", True
    ),
    ("openrouter-chat_completions-stream-25022940", "openai"): Refusal(
        "APIError", "the usage is in the chunk that carries the error, and the exception has only the error"
    ),
}
# What a client keeps from the program, and so from us, without raising; by item and way, likewise.
DROPPED: dict[tuple[str, str], tuple[tuple[str, ...], str]] = {
    ("ai21-chat_completions-stream-b31572ee", _HELPER): (
        ("usage", "finish_reasons"), "the helper drops chunks whose object is not chat.completion.chunk",
    ),
    ("copilot-chat_completions-stream-4a6525d2", _HELPER): (
        ("usage", "finish_reasons"), "the helper drops chunks whose object is not chat.completion.chunk",
    ),
    ("perplexity-chat_completions-stream-55e8d3de", _HELPER): (
        ("finish_reasons",), "the helper drops the last chunk: its object is chat.completion.done",
    ),
    ("perplexity-chat_completions-stream-8062e8ff", _HELPER): (
        ("finish_reasons",), "the helper drops the last chunk: its object is chat.completion.done",
    ),
}  # fmt: skip
ENVELOPE = "boto3 invoke_model"  # its body can be read once, by the program: only the headers' counts are known


D = TypeVar("D")


def decision(table: dict[tuple[str, str], D], item: Item, way: Way) -> D | None:
    """What is decided of an item for a way to ask for it."""
    found = (entry for (name, prefix), entry in table.items() if name == item["id"] and way.name.startswith(prefix))
    return next(found, None)


class World(NamedTuple):
    """What all tests share: the server, the transports, and the loop of the asynchronous clients."""

    replay: Replay
    transports: Transports
    loop: asyncio.AbstractEventLoop


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    transports, loop = Transports(), asyncio.new_event_loop()
    with Replay([*items(), *(item for item, _ in SAMPLES)]) as replay:
        yield World(replay, transports, loop)
        for client in transports.forget_all():
            closing = (client.aclose if hasattr(client, "aclose") else client.close)()
            if isawaitable(closing):
                loop.run_until_complete(_await(closing))
        loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


async def _await(closing: Awaitable[Any]) -> None:
    await closing


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


ANY = "any error"


def recorded(world: World, way: Way, item: Item, asynchronous: bool, error: str | None = None) -> tuple[Capture, Any]:
    """What one observed call leaves behind: all of it, and its record. The error, if any, is one of this class."""
    with capture() as seen:
        try:
            if asynchronous:
                world.loop.run_until_complete(aasked(world, way, item))
            else:
                asked(world, way, item)
        except Exception as raised:
            if error not in (ANY, type(raised).__name__):
                raise
        else:
            assert error is None, f"{error} was not raised"
    (record,) = seen.calls
    return seen, record


def cases(wanted: Callable[[Item], object], from_: Iterable[Item] = items()) -> list[Any]:
    """Each item, with each way to ask for it, in each kind of program."""
    found = [
        pytest.param(item, way, asynchronous, id=f"{item['id']}, {way.name}{', async' if asynchronous else ''}")
        for item in from_
        if wanted(item)
        for way in WAYS
        if way.reads(item)
        for asynchronous in way.kinds
    ]
    return found or [pytest.param(None, None, False, id="corpus-is-missing")]


def directions(counts: Counts) -> dict[str, int]:
    return {name: tokens for name, tokens in (("input", counts.input), ("output", counts.output)) if tokens}


def counted(seen: Capture) -> dict[str, int]:
    """What the counter has, by direction."""
    seen.settle()
    place = seen.label_names(metrics.TOKENS).index("direction")
    totals: Counter[str] = Counter()
    for key, amount in seen.totals(metrics.TOKENS):
        totals[key[place]] += int(amount)
    return dict(+totals)


def header_counts(item: Item) -> Counts:
    """What Bedrock's headers say, by its own convention: the cache outside of the input."""
    stated = {name: int(value) for name, value in item["headers"].items() if name.endswith("-token-count")}
    tokens = {name.removeprefix("x-amzn-bedrock-").removesuffix("-token-count"): n for name, n in stated.items()}
    if not tokens:
        return NOTHING
    read, written = tokens.get("cache-read-input"), tokens.get("cache-write-input")
    return Counts(tokens["input"] + (read or 0) + (written or 0), tokens["output"], read, written)


def expected_of(item: Item, way: Way) -> Counts:
    """What a program that asks in this way gets to see of the expected counts."""
    if way.name == ENVELOPE and not item["streaming"]:
        return header_counts(item)
    dropped = decision(DROPPED, item, way)
    return NOTHING if dropped is not None and "usage" in dropped[0] else expected_counts(item)


def is_whole(item: Item, way: Way) -> bool:
    """Whether a program that asks in this way sees the whole answer."""
    return decision(DROPPED, item, way) is None and (way.name != ENVELOPE or item["streaming"])


@pytest.mark.parametrize(("item", "way", "asynchronous"), cases(is_read))
def test_the_tokens_of_a_recorded_response_are_counted_exactly_when_a_client_reads_it(
    item: Item, way: Way, asynchronous: bool, world: World
) -> None:
    require_corpus()
    refusal = decision(REFUSED, item, way)
    seen, record = recorded(world, way, item, asynchronous, refusal and refusal.error)
    if refusal is not None:
        expected = expected_counts(item) if refusal.counted else NOTHING
    else:
        expected = expected_of(item, way)
    assert counts_of(record.usage) == expected
    assert counted(seen) == directions(expected)
    if refusal is None and record.reading is not None:
        assert record.status == ("success" if record.reading.error is None else "error")
    if refusal is None and is_whole(item, way) and (expected != NOTHING or record.reading is not None):
        assert record.reading.model == expected_model(item)
        assert record.reading.finish_reasons == expected_finish_reasons(item)


@pytest.mark.parametrize(("item", "way", "asynchronous"), cases(decided_against))
def test_a_client_s_answer_that_is_deliberately_not_read_counts_no_tokens(
    item: Item, way: Way, asynchronous: bool, world: World
) -> None:
    require_corpus()
    seen, record = recorded(world, way, item, asynchronous)
    assert record.status == "success"
    assert counts_of(record.usage) == NOTHING
    assert counted(seen) == {}


def is_known_http_error(item: Item) -> bool:
    """Whether it failed with a known status: of one error only the body was saved."""
    return is_http_error(item) and item["status"] is not None


@pytest.mark.parametrize(("item", "way", "asynchronous"), cases(is_known_http_error))
def test_a_recorded_error_that_a_client_raises_is_counted_as_what_its_text_says(
    item: Item, way: Way, asynchronous: bool, world: World
) -> None:
    require_corpus()
    seen, record = recorded(world, way, item, asynchronous, ANY)
    assert record.status == "error"
    assert item["id"] in READ[record.error].split()
    assert counted(seen) == {}


@pytest.mark.parametrize(("item", "way", "asynchronous"), cases(bool, (item for item, _ in SAMPLES)))
def test_the_tokens_of_a_response_of_our_own_are_counted_exactly_when_a_client_reads_it(
    item: Item, way: Way, asynchronous: bool, world: World
) -> None:
    (expected,) = (counts for sample, counts in SAMPLES if sample is item)
    seen, record = recorded(world, way, item, asynchronous)
    assert counts_of(record.usage) == expected
    assert counted(seen) == directions(expected)


def natively(item: Item) -> Way | None:
    """The way of the vendor's own client, if it is installed; `None` where no client may read the item to its end."""
    ways = [way for way in WAYS if way.reads(item) and not decision(REFUSED, item, way) and is_whole(item, way)]
    plain = [way for way in ways if not way.enters and "," not in way.name]
    return next((way for way in reversed(plain) if way.is_installed), None)


def test_a_scrape_after_all_of_them_at_once_has_the_expected_sums(world: World) -> None:
    expected: Counter[tuple[str, str, str]] = Counter()
    chosen = [(item, way) for item in require_corpus() if is_read(item) and (way := natively(item)) is not None]
    for item, _ in chosen:
        provider = SELF_NAMED.get(item["id"], provider_hint(item))
        model = expected_model(item) or item["request_model"] or "unknown"
        for direction, tokens in directions(expected_counts(item)).items():
            expected[provider, model, direction] += tokens
    with apart():
        page = llmwatch.configure(port=0, label_limits={"model": 500, "provider": 100, "series": 100_000})
        world.loop.run_until_complete(_all_at_once(world, chosen))
        text = urlopen(f"{page.url}/metrics").read().decode()
    samples = [each for family in text_string_to_metric_families(text) for each in family.samples]
    found: Counter[tuple[str, str, str]] = Counter()
    for each in samples:
        if each.name == "ai_tokens_total":
            found[each.labels["provider"], each.labels["model"], each.labels["direction"]] += int(each.value)
    assert dict(+found) == dict(expected)
    assert sum(each.value for each in samples if each.name == "ai_requests_total") == len(chosen)


async def _all_at_once(world: World, chosen: list[tuple[Item, Way]]) -> None:
    """All calls in one program, the asynchronous ones interleaved, those without such a client in threads."""
    calls = []
    for item, way in chosen:
        stated = {"provider": provider_hint(item), "model": item["request_model"] or "unknown"}
        if True in way.kinds:
            calls.append(aasked(world, way, item, **stated))
        else:
            calls.append(asyncio.to_thread(asked, world, way, item, **stated))
    await asyncio.gather(*calls)


def test_every_response_that_is_read_is_read_through_a_client_or_decided_against() -> None:
    unasked = {
        (item["provider"], item["api"])
        for item in require_corpus()
        if is_read(item) and not any(way.reads(item) for way in WAYS)
    }
    assert unasked == set(NOT_ASKED)


def test_no_decision_is_without_an_item_and_a_way() -> None:
    known = {item["id"]: item for item in require_corpus()}
    for name, prefix in [*REFUSED, *DROPPED]:
        assert any(way.reads(known[name]) and way.name.startswith(prefix) for way in WAYS), name
