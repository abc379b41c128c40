"""The price of a recorded call: of the moment when it began, of the tier that the response names, by one's contract."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from corpus_rules import items, payloads, require_corpus
from genai_prices import Usage as TheirUsage
from genai_prices import calc_price
from recording import apart
from support import require_module

import llmwatch
from llmwatch import Usage, _runtime, extractors, metrics, observe_llm, track_request
from llmwatch._recorder import Recorder
from llmwatch._runtime import Runtime
from llmwatch._shield import Shield
from llmwatch.pricing import Cost, PriceBook, cost, default_book
from llmwatch.testing import ManualClock

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
SECOND = 1.0


class Wall(ManualClock):
    """Seconds since 1970, as somebody has set them."""

    def set(self, moment: datetime) -> None:
        """Makes it that moment."""
        self.now = moment.timestamp()


@contextmanager
def pricing(wall: Wall, book: PriceBook) -> Iterator[Recorder]:
    """Records what is called inside the block, at prices of this book."""
    shield = Shield(strict=True)
    recorder = Recorder(shield, book=book, wall=wall)
    replaced = _runtime.install(Runtime(shield, recorder, configured=True))
    try:
        yield recorder
    finally:
        _runtime.install(replaced)


@pytest.fixture
def wall() -> Wall:
    return Wall(NOW.timestamp())


@pytest.fixture
def loaded() -> PriceBook:
    book = PriceBook()
    book.load()
    return book


def charged(recorder: Recorder) -> dict[tuple[str, str], float]:
    """US dollars by direction and kind, of all calls together."""
    recorder.settle()
    names = recorder.label_names(metrics.COST)
    dollars: dict[tuple[str, str], float] = {}
    for key, amount in recorder.totals(metrics.COST):
        labels = dict(zip(names, key, strict=True))
        part = labels["direction"], labels["kind"]
        dollars[part] = dollars.get(part, 0) + amount
    return dollars


def unpriced(recorder: Recorder) -> float:
    recorder.settle()
    return sum(amount for _, amount in recorder.totals(metrics.UNPRICED_REQUESTS))


def call(provider: str, model: str, **usage: int) -> None:
    with track_request(provider=provider, model=model) as request:
        request.record(**{"input_tokens": 1_000_000, "output_tokens": 0, **usage})


# --- when the call began -------------------------------------------------------------------------------------------

MIDNIGHT = datetime(2026, 12, 1, tzinfo=UTC)
DEARER_IN_DECEMBER = {
    "price": [
        {"model": "m", "valid_to": date(2026, 11, 30), "per_million": {"input": "1", "output": "1"}},
        {"model": "m", "valid_from": date(2026, 12, 1), "per_million": {"input": "2", "output": "2"}},
    ]
}


@pytest.fixture
def dearer(loaded: PriceBook) -> PriceBook:
    return PriceBook(DEARER_IN_DECEMBER)


def test_a_call_before_midnight_that_is_collected_after_it_costs_the_price_of_its_day(
    wall: Wall, dearer: PriceBook
) -> None:
    with pricing(wall, dearer) as recorder:
        wall.set(MIDNIGHT)
        wall.advance(-SECOND)
        call("mine", "m")
        wall.advance(2 * SECOND)
        assert charged(recorder) == {("input", "text"): 1.0}


def test_a_call_that_goes_on_past_midnight_costs_the_price_of_its_beginning(wall: Wall, dearer: PriceBook) -> None:
    with pricing(wall, dearer) as recorder:
        wall.set(MIDNIGHT)
        wall.advance(-SECOND)
        with track_request(provider="mine", model="m") as request:
            wall.advance(2 * SECOND)
            request.record(input_tokens=1_000_000, output_tokens=0)
        assert charged(recorder) == {("input", "text"): 1.0}


def test_a_stream_that_is_read_past_midnight_costs_the_price_of_its_beginning(wall: Wall, dearer: PriceBook) -> None:
    chunk = {"object": "chat.completion.chunk", "model": "m", "choices": [{"index": 0, "delta": {"content": "-"}}]}
    with pricing(wall, dearer) as recorder:
        wall.set(MIDNIGHT)
        wall.advance(-SECOND)
        with track_request(provider="mine") as request:
            stream = request.stream([chunk, {**chunk, "choices": [], "usage": _COUNTS}])
            wall.advance(2 * SECOND)
            assert len(list(stream)) == 2
        assert charged(recorder) == {("input", "text"): 1.0}


def test_calls_of_both_sides_of_midnight_that_are_collected_together_cost_each_its_own(
    wall: Wall, dearer: PriceBook
) -> None:
    with pricing(wall, dearer) as recorder:
        for step in (-1, 1, -1, 1, 1):
            wall.set(MIDNIGHT)
            wall.advance(step * SECOND)
            call("mine", "m")
        wall.set(NOW)
        assert charged(recorder) == {("input", "text"): 2 * 1.0 + 3 * 2.0}


def test_a_call_that_began_under_an_earlier_configuration_costs_the_price_of_its_beginning(
    wall: Wall, dearer: PriceBook
) -> None:
    with pricing(wall, PriceBook()) as earlier:
        wall.set(MIDNIGHT)
        wall.advance(-SECOND)
        with track_request(provider="mine", model="m") as request:
            wall.advance(2 * SECOND)
            later = Recorder(Shield(strict=True), book=dearer, wall=wall)
            later.adopt(earlier)
            request.record(input_tokens=1_000_000, output_tokens=0)
        assert charged(later) == {("input", "text"): 1.0}


class Slow(PriceBook):
    """A book whose table takes its time."""

    ready = False

    def preload(self) -> None:
        """Takes longer than anybody waits."""


def test_a_call_that_is_priced_when_the_table_is_there_at_last_costs_the_price_of_its_beginning(
    wall: Wall, loaded: PriceBook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmwatch._recorder._TABLE_IMPORT", 0.0)
    book = Slow(DEARER_IN_DECEMBER)
    with pricing(wall, book) as recorder:
        wall.set(MIDNIGHT)
        wall.advance(-SECOND)
        call("mine", "m")
        wall.advance(2 * SECOND)
        assert charged(recorder) == {}
        book.ready = True
        assert charged(recorder) == {("input", "text"): 1.0}


# OpenAI cut o3 from $10 to $2 on 2025-06-10 (openai.com/index/introducing-o3-and-o4-mini).
@pytest.mark.parametrize(
    ("began", "dollars"),
    [(datetime(2025, 6, 9, 23, 59, 59, tzinfo=UTC), 10.0), (datetime(2025, 6, 10, tzinfo=UTC), 2.0)],
)
def test_a_dated_price_of_the_table_is_that_of_the_call_s_beginning(
    wall: Wall, loaded: PriceBook, began: datetime, dollars: float
) -> None:
    with pricing(wall, loaded) as recorder:
        wall.set(began)
        call("openai", "o3")
        wall.set(NOW)
        assert charged(recorder) == {("input", "text"): dollars}


# DeepSeek's cheaper hours of 2025, 16:30 to 00:30 UTC: $0.135 instead of $0.27 (api-docs.deepseek.com/news/news250226).
@pytest.mark.parametrize(
    ("hour", "minute", "second", "dollars"),
    [
        (0, 0, 0, 0.135),
        (0, 29, 59, 0.135),
        (0, 30, 0, 0.27),
        (12, 0, 0, 0.27),
        (16, 29, 59, 0.27),
        (16, 30, 0, 0.135),
        (23, 59, 59, 0.135),
    ],
)
def test_a_price_by_the_time_of_day_is_that_of_the_call_s_beginning(
    wall: Wall, loaded: PriceBook, hour: int, minute: int, second: int, dollars: float
) -> None:
    with pricing(wall, loaded) as recorder:
        wall.set(datetime(2026, 11, 20, hour, minute, second, tzinfo=UTC))
        with track_request(provider="deepseek", model="deepseek-chat") as request:
            wall.advance(12 * 3600)
            request.record(input_tokens=1_000_000, output_tokens=0)
        assert charged(recorder) == {("input", "text"): dollars}


def test_a_moment_may_be_given_in_seconds_since_1970(dearer: PriceBook) -> None:
    usage = Usage(input_tokens=1_000_000, output_tokens=0)
    moments = (MIDNIGHT, MIDNIGHT.timestamp(), MIDNIGHT.timestamp() - 0.001)
    found = [dearer.cost(usage, provider=None, model="m", at=moment) for moment in moments]
    assert [one.total for one in found if isinstance(one, Cost)] == [2, 2, 1]


def test_money_is_added_up_without_drift(wall: Wall, loaded: PriceBook) -> None:
    """Ten thousand calls of a ten-thousandth of a dollar are one dollar; as floats they are not."""
    with pricing(wall, loaded) as recorder:
        for _ in range(10_000):
            call("openai", "text-embedding-3-small", input_tokens=5_000)  # at $0.02 a million
        assert charged(recorder) == {("input", "text"): 1.0}
    assert sum([0.0001] * 10_000) != 1.0


# --- what the response says ----------------------------------------------------------------------------------------

_CHOICE = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "-"}}
_COUNTS = {"prompt_tokens": 1_000_000, "completion_tokens": 0, "total_tokens": 1_000_000}


def openai_chat(model: str, tier: str | None, tokens: int = 1_000_000) -> Any:
    from openai.types.chat import ChatCompletion

    counts = {"prompt_tokens": tokens, "completion_tokens": 0, "total_tokens": tokens}
    body = {"id": "-", "object": "chat.completion", "created": 1, "model": model, "choices": [_CHOICE]}
    return ChatCompletion.model_validate({**body, "usage": counts, "service_tier": tier})


def openai_response(model: str, tier: str) -> Any:
    from openai.types.responses import Response

    details = {"input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}}
    usage = {"input_tokens": 1_000_000, "output_tokens": 0, "total_tokens": 1_000_000, **details}
    body = {"id": "-", "object": "response", "created_at": 1, "model": model, "output": [], "status": "completed"}
    return Response.model_construct(**body, usage=usage, service_tier=tier, error=None)


def claude(model: str, **usage: Any) -> Any:
    from anthropic.types import Message

    body = {"id": "-", "type": "message", "role": "assistant", "model": model, "content": [], "stop_reason": "end_turn"}
    return Message.model_validate({**body, "usage": {"input_tokens": 0, "output_tokens": 0, **usage}})


def gemini(model: str, traffic: str | None, tokens: int = 1_000_000) -> Any:
    require_module("google.genai")
    from google.genai.types import GenerateContentResponse

    usage = {"promptTokenCount": tokens, "candidatesTokenCount": 0, "totalTokenCount": tokens, "trafficType": traffic}
    return GenerateContentResponse.model_validate({"modelVersion": model, "usageMetadata": usage})


def groq_chat(model: str, tier: str) -> Any:
    require_module("groq")
    from groq.types.chat import ChatCompletion

    body = {"id": "-", "object": "chat.completion", "created": 1, "model": model, "choices": [_CHOICE]}
    return ChatCompletion.model_validate({**body, "usage": _COUNTS, "service_tier": tier})


def converse(tier: str) -> dict[str, Any]:
    usage = {"inputTokens": 1_000_000, "outputTokens": 0, "totalTokens": 1_000_000}
    body = {"output": {"message": {"role": "assistant", "content": []}}, "stopReason": "end_turn", "metrics": {}}
    return {**body, "usage": usage, "serviceTier": {"type": tier}, "ResponseMetadata": {}}


_WRITTEN = {
    "cache_creation_input_tokens": 1_000_000,
    "cache_creation": {"ephemeral_5m_input_tokens": 400_000, "ephemeral_1h_input_tokens": 600_000},
}
# What the vendor's client gives, what was stated about the call, and dollars for a million tokens of input: the
# published rates of `PUBLISHED` in test_pricing.py, and what they are doubled or halved to.
SAID: dict[str, tuple[Any, dict[str, str], float]] = {
    "openai chat, no tier": (lambda: openai_chat("gpt-5-2025-08-07", None), {}, 1.25),
    "openai chat, default": (lambda: openai_chat("gpt-5-2025-08-07", "default"), {}, 1.25),
    "openai chat, flex": (lambda: openai_chat("gpt-5-2025-08-07", "flex"), {}, 0.625),
    "openai chat, priority": (lambda: openai_chat("gpt-5-2025-08-07", "priority"), {}, 2.5),
    "openai chat, fast": (lambda: openai_chat("gpt-5.4", "fast"), {}, 5.0),
    "openai responses, flex": (lambda: openai_response("gpt-5-2025-08-07", "flex"), {}, 0.625),
    "openai responses, priority": (lambda: openai_response("gpt-5-2025-08-07", "priority"), {}, 2.5),
    "openai, long": (lambda: openai_chat("gpt-5.4", "default"), {}, 5.0),
    "openai, long and flex": (lambda: openai_chat("gpt-5.4", "flex"), {}, 2.5),
    "anthropic, standard": (
        lambda: claude("claude-haiku-4-5-20251001", input_tokens=1_000_000, service_tier="standard"),
        {},
        1.0,
    ),
    "anthropic, batch": (
        lambda: claude("claude-haiku-4-5-20251001", input_tokens=1_000_000, service_tier="batch"),
        {},
        0.5,
    ),
    "anthropic, batch, written to the cache": (
        lambda: claude("claude-haiku-4-5-20251001", service_tier="batch", **_WRITTEN),
        {},
        0.4 * 0.625 + 0.6 * 1.0,
    ),
    "anthropic, fast": (
        lambda: claude("claude-opus-5", input_tokens=1_000_000, service_tier="standard", speed="fast"),
        {},
        10.0,
    ),
    "anthropic, long": (lambda: claude("claude-haiku-5-5", input_tokens=1_000_000, service_tier="standard"), {}, 0.5),
    "google, on demand": (lambda: gemini("gemini-2.5-flash", "ON_DEMAND"), {}, 0.3),
    "google, flex": (lambda: gemini("gemini-3.8-flash-tts", "ON_DEMAND_FLEX"), {}, 0.25),
    "google, priority": (lambda: gemini("gemini-3.8-flash-tts", "ON_DEMAND_PRIORITY"), {}, 0.9),
    "google, long": (lambda: gemini("gemini-2.5-pro", "ON_DEMAND"), {}, 2.5),
    "groq, on demand": (lambda: groq_chat("openai/gpt-oss-120b", "on_demand"), {}, 0.15),
    "bedrock, default": (lambda: converse("default"), {"model": "amazon.nova-pro-v1:0"}, 0.8),
}


@pytest.mark.parametrize(("response", "stated", "dollars"), SAID.values(), ids=SAID)
def test_a_call_costs_what_its_response_says_that_it_was(
    wall: Wall, loaded: PriceBook, response: Any, stated: dict[str, str], dollars: float
) -> None:
    with pricing(wall, loaded) as recorder:
        observe_llm(**stated)(response)()
        assert sum(charged(recorder).values()) == pytest.approx(dollars, rel=1e-12)
        assert unpriced(recorder) == 0


def test_a_stream_costs_what_its_last_chunks_say_that_it_was(wall: Wall, loaded: PriceBook) -> None:
    from openai.types.chat import ChatCompletionChunk

    body = {"id": "-", "object": "chat.completion.chunk", "created": 1, "model": "gpt-5-2025-08-07"}
    delta = {"index": 0, "delta": {"content": "-"}}
    chunks = [{"choices": [delta], "service_tier": "auto"}, {"choices": [], "usage": _COUNTS, "service_tier": "flex"}]
    with pricing(wall, loaded) as recorder:
        with track_request() as request:
            list(request.stream(ChatCompletionChunk.model_validate({**body, **chunk}) for chunk in chunks))
        assert charged(recorder) == {("input", "text"): 0.625}


def test_a_tier_of_a_vendor_that_the_table_has_no_price_for_costs_the_list_price_as_an_estimate(
    loaded: PriceBook,
) -> None:
    for response, model, dollars in (
        (gemini("gemini-2.5-pro", "PROVISIONED_THROUGHPUT", 100_000), "gemini-2.5-pro", "0.125"),
        (converse("flex"), "amazon.nova-pro-v1:0", "0.8"),
        (openai_chat("gpt-5-2025-08-07", "scale"), "gpt-5-2025-08-07", "1.25"),
        (claude("claude-haiku-4-5", input_tokens=1_000_000, service_tier="priority"), "claude-haiku-4-5", "1"),
    ):
        reading = extractors.read(response)
        assert reading is not None
        found = loaded.cost(
            reading.usage, provider=reading.provider, model=model, at=NOW, service_tier=reading.service_tier
        )
        assert isinstance(found, Cost)
        assert (found.total, found.estimated) == (Decimal(dollars), True)


THEIR_PROVIDERS = {"bedrock": "aws", "gemini": "google", "vertex": "google", "xai": "x-ai"}


def of_a_usual_tier() -> Iterator[Any]:
    """Recorded responses that name their tier, all the usual one, and what genai-prices takes for them."""
    for item in items():
        stated = item["provider"]
        if item["streaming"]:
            read = extractors.read_stream(payloads(item), provider=stated)
        else:
            read = extractors.read(item["body"], provider=stated)
        if read is None or read.service_tier is None or read.usage is None or None in read.usage[:2]:
            continue
        if read.usage.audio_input_tokens:  # the table has no rates of audio for some of these models
            continue
        theirs = TheirUsage(
            input_tokens=read.usage.input_tokens,
            output_tokens=read.usage.output_tokens,
            cache_read_tokens=read.usage.cache_read_tokens,
            cache_write_tokens=read.usage.cache_write_tokens,
            cache_write_1h_tokens=read.usage.cache_write_1h_tokens,
        )
        provider, model = THEIR_PROVIDERS.get(stated, stated), read.model or item["request_model"]
        with suppress(LookupError):
            price = calc_price(theirs, model, provider_id=provider, genai_request_timestamp=NOW)
            if price.total_price:  # where it lists no rates at all, it says 0
                yield pytest.param(read, read.provider or stated, model, price.total_price, id=item["id"])


RECORDED = list(of_a_usual_tier())


@pytest.mark.parametrize(("reading", "provider", "model", "expected"), RECORDED)
def test_a_recorded_response_of_the_usual_tier_costs_the_usual_price(
    reading: extractors.Reading, provider: str, model: str, expected: Decimal, loaded: PriceBook
) -> None:
    found = loaded.cost(reading.usage, provider=provider, model=model, at=NOW, service_tier=reading.service_tier)
    assert isinstance(found, Cost)
    assert (found.total, found.estimated) == (expected, False)


def test_there_are_recorded_responses_of_a_usual_tier() -> None:
    require_corpus()
    tiers = {parameters.values[0].service_tier for parameters in RECORDED}
    assert tiers >= {"default", "standard", "on_demand", "ON_DEMAND"}


# --- our own contract ----------------------------------------------------------------------------------------------

CONTRACT = {"price": [{"model": "gpt-4o-mini", "per_million": {"input": "7", "output": "7"}}]}
_MILLION = Usage(input_tokens=1_000_000, output_tokens=0)


def of_a_million() -> tuple[Decimal, str]:
    found = cost(_MILLION, provider="openai", model="gpt-4o-mini", at=NOW)
    assert found is not None
    return found.total, found.source


LISTED = (Decimal("0.15"), "table")


def test_cost_follows_the_prices_of_the_running_configuration() -> None:
    with apart():
        assert of_a_million() == LISTED
        llmwatch.configure(prices=CONTRACT)
        assert of_a_million() == (Decimal(7), "override")
        llmwatch.configure()
        assert of_a_million() == LISTED
        llmwatch.configure(prices=CONTRACT)
        llmwatch.shutdown()
        assert of_a_million() == LISTED


def test_a_configuration_that_fails_leaves_the_prices_as_they_are() -> None:
    with apart():
        llmwatch.configure(prices=CONTRACT)
        with pytest.raises(ValueError, match="prices"):
            llmwatch.configure(prices={"price": [{"model": "m"}]})
        assert of_a_million() == (Decimal(7), "override")


def test_the_default_book_has_the_table_s_prices_whatever_is_configured() -> None:
    with apart():
        llmwatch.configure(prices=CONTRACT)
        found = default_book().cost(_MILLION, provider="openai", model="gpt-4o-mini", at=NOW)
        assert isinstance(found, Cost)
        assert found.source == "table"


# --- loading -------------------------------------------------------------------------------------------------------

WATCHED = """
import asyncio, sys, threading

class Watch:
    threads = set()
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "genai_prices":
            self.threads.add(threading.current_thread().name)

sys.meta_path.insert(0, Watch())
import llmwatch
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

reader = InMemoryMetricReader()
reply = {
    "id": "-", "object": "chat.completion", "model": "gpt-4o-mini",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "-"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 1000, "completion_tokens": 0, "total_tokens": 1000},
}

@llmwatch.observe_llm(provider="openai")
async def answer():
    return reply

def dollars():
    data = reader.get_metrics_data()
    points = [
        point.value
        for resource in data.resource_metrics for scope in resource.scope_metrics for metric in scope.metrics
        if metric.name == "ai_cost_dollars" for point in metric.data.data_points
    ]
    return sum(points)

async def main():
    CONFIGURE_INSIDE
    for _ in range(3000):  # more than are kept without being folded
        await answer()
    while dollars() < 3000 * 1000 * 0.15e-6 * 0.999:
        await asyncio.sleep(0.01)
    print(sorted(Watch.threads), "genai_prices" in sys.modules, threading.current_thread() is threading.main_thread())

CONFIGURE_BEFORE
asyncio.run(main())
"""


@pytest.mark.parametrize("place", ["CONFIGURE_BEFORE", "CONFIGURE_INSIDE"])
def test_the_price_table_is_never_imported_on_the_thread_of_the_event_loop(place: str) -> None:
    program = WATCHED.replace(place, "llmwatch.configure(meter_provider=MeterProvider([reader]))")
    program = program.replace("CONFIGURE_BEFORE", "").replace("CONFIGURE_INSIDE", "pass")
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=False, timeout=60
    )
    assert run.stdout.strip() == "['llmwatch-prices'] True True", run.stderr
