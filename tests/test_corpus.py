"""Every recorded response of the corpus reads exactly, whatever the caller says about where it came from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from corpus_rules import (
    CORRECTED,
    CUT,
    NORMALISED,
    NOT_READ_APIS,
    NOT_READ_ITEMS,
    NOTHING,
    RULE_OF,
    SELF_NAMED,
    TOTAL_EXCEPTIONS,
    Counts,
    Item,
    api_hint,
    counts_of,
    decided_against,
    expected_cost,
    expected_counts,
    expected_finish_reasons,
    expected_model,
    is_http_error,
    is_read,
    params,
    payloads,
    provider_hint,
    require_corpus,
    stated_total,
    unstreamed,
)

from llmwatch import extractors
from llmwatch.errors import ErrorKind
from llmwatch.extractors._shapes import SHAPES

if TYPE_CHECKING:
    from llmwatch.extractors import Reading

HINTS = ("no hint", "provider", "provider and api")


@pytest.fixture(autouse=True)
def _corpus_is_there() -> None:
    require_corpus()


def read(item: Item, hints: str = "no hint") -> Reading | None:
    """What llmwatch reads, told nothing or something about where the response came from."""
    stated: dict[str, str] = {}
    if "provider" in hints:
        stated["provider"] = provider_hint(item)
    if "api" in hints:
        stated["api"] = api_hint(item)
    if item["streaming"]:
        return extractors.read_stream(list(payloads(item)), **stated)
    return extractors.read(item["body"], **stated)


def carries_usage(item: Item) -> bool:
    """Whether anything is reported."""
    return bool(expected_counts(item) != NOTHING)


def mentions_usage(event: Any) -> bool:
    """Whether an event may be one that reports counts."""
    text = json.dumps(event, default=bytes.decode)
    return any(word in text for word in ("sage", "billed_units", "eval_count", "TokenCount"))


def whole_body(item: Item) -> Any:
    """What the interface would have answered without streaming; `None` where there are only sessions."""
    return unstreamed(item, list(payloads(item)))


def says_something(item: Item) -> bool:
    """Whether there is anything in the response that a reading would hold."""
    return bool(expected_model(item) or expected_finish_reasons(item) or expected_counts(item) != NOTHING)


@pytest.mark.parametrize("hints", HINTS)
@pytest.mark.parametrize("item", params(is_read))
def test_a_recorded_response_reads_exactly(item: Item, hints: str) -> None:
    reading = read(item, hints)
    assert counts_of(reading.usage if reading is not None else None) == expected_counts(item)
    if says_something(item):
        assert reading is not None
        assert reading.model == expected_model(item)
        assert reading.finish_reasons == expected_finish_reasons(item)


@pytest.mark.parametrize("item", params(lambda item: is_read(item) and expected_counts(item) == NOTHING))
def test_a_response_without_usage_gives_unknown_usage_not_zero(item: Item) -> None:
    for hints in HINTS:
        reading = read(item, hints)
        assert reading is None or reading.usage is None


@pytest.mark.parametrize("hints", HINTS)
@pytest.mark.parametrize("item", params(decided_against))
def test_what_is_deliberately_not_read_gives_no_usage(item: Item, hints: str) -> None:
    reading = read(item, hints)
    assert reading is None or reading.usage is None, decided_against(item)


@pytest.mark.parametrize("item", params(is_http_error))
def test_an_http_error_has_no_usage(item: Item) -> None:
    for hints in HINTS:
        reading = read(item, hints)
        assert reading is None or reading.usage is None


@pytest.mark.parametrize("item", params(lambda item: is_read(item) and says_something(item)))
def test_the_stated_provider_stands_unless_the_response_names_its_own(item: Item) -> None:
    reading = read(item, "provider")
    assert reading is not None
    assert reading.provider == SELF_NAMED.get(item["id"], provider_hint(item))


@pytest.mark.parametrize("item", params(lambda item: is_read(item) and expected_finish_reasons(item)))
def test_finish_reasons_have_one_vocabulary(item: Item) -> None:
    reading = read(item)
    assert reading is not None
    assert reading.normalised_finish_reasons == tuple(NORMALISED[reason] for reason in expected_finish_reasons(item))


@pytest.mark.parametrize("item", params(lambda item: is_read(item) and expected_cost(item) is not None))
def test_the_cost_that_a_provider_reports_is_read(item: Item) -> None:
    reading = read(item, "provider")
    assert reading is not None
    assert reading.cost == expected_cost(item)


@pytest.mark.parametrize("item", params(lambda item: is_read(item) and item["expected_extra"].get("cache_creation")))
def test_cache_writes_for_an_hour_are_told_apart(item: Item) -> None:
    reading = read(item)
    assert reading is not None
    assert reading.usage is not None
    hour = item["expected_extra"]["cache_creation"]["ephemeral_1h_input_tokens"]
    assert reading.usage.cache_write_1h_tokens == hour


@pytest.mark.parametrize(
    "item", params(lambda item: item["api"] == "invoke_model" and item["expected_extra"].get("header_counts"))
)
def test_bedrock_counts_that_stand_only_in_headers_are_read_from_the_clients_envelope(item: Item) -> None:
    counts = item["expected_extra"]["header_counts"]
    envelope = {
        "ResponseMetadata": {"HTTPStatusCode": 200, "HTTPHeaders": {**item["headers"], **counts}, "RetryAttempts": 0},
        "contentType": "application/json",
        "body": object(),
    }
    reading = extractors.read(envelope)
    stated = {name.removeprefix("x-amzn-bedrock-"): int(value) for name, value in counts.items()}
    read_, written = stated.get("cache-read-input-token-count"), stated.get("cache-write-input-token-count")
    assert reading is not None
    assert counts_of(reading.usage if reading is not None else None) == Counts(
        stated["input-token-count"] + (read_ or 0) + (written or 0), stated["output-token-count"], read_, written
    )


@pytest.mark.parametrize("item", params(lambda item: is_read(item) and item["streaming"] and whole_body(item)))
def test_a_stream_and_the_same_response_unstreamed_read_alike(item: Item) -> None:
    streamed, whole = read(item, "provider"), extractors.read(whole_body(item), provider=provider_hint(item))
    assert whole is not None
    assert streamed is not None
    assert (whole.usage, whole.model, whole.finish_reasons) == (streamed.usage, streamed.model, streamed.finish_reasons)


@pytest.mark.parametrize("item", params(lambda item: is_read(item) and item["streaming"] and carries_usage(item)))
def test_a_stream_that_breaks_after_its_usage_keeps_it(item: Item) -> None:
    events = list(payloads(item))
    last = max(position for position, event in enumerate(events) if mentions_usage(event))
    reading = extractors.read_stream(events[: last + 1])
    assert reading is not None
    assert counts_of(reading.usage if reading is not None else None) == expected_counts(item)


@pytest.mark.parametrize("item", params(lambda item: item["api"] == "messages" and item["streaming"]))
def test_a_message_that_breaks_at_once_keeps_its_input(item: Item) -> None:
    start = next(event for event in payloads(item) if event["type"] == "message_start")
    stated = start["message"]["usage"]
    reading = extractors.read_stream([start])
    assert reading is not None
    assert reading.usage is not None
    parts = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    assert reading.usage.input_tokens == sum(stated.get(name) or 0 for name in parts)


def test_errors_inside_a_successful_exchange_are_seen() -> None:
    found = {item["id"]: read(item, "provider") for item in require_corpus() if "in_band" in (item["error"] or {})}
    kinds = {name: reading and reading.error for name, reading in found.items()}
    assert kinds == {
        "openai-responses-stream-75c7ae96": ErrorKind.QUOTA,
        "openrouter-chat_completions-stream-25022940": ErrorKind.CONTEXT_LENGTH,
    }


def test_each_item_is_an_http_error_or_read_or_decided_against() -> None:
    for item in require_corpus():
        places = [is_http_error(item), decided_against(item) is not None, is_read(item)]
        assert places.count(True) == 1, item["id"]
        assert not is_read(item) or (item["provider"], item["api"]) in RULE_OF, item["id"]


def test_no_rule_and_no_decision_is_without_an_item() -> None:
    successful = [item for item in require_corpus() if not is_http_error(item)]
    assert set(RULE_OF) == {(item["provider"], item["api"]) for item in successful if is_read(item)}
    exceptions = (NOT_READ_ITEMS, CUT, CORRECTED, SELF_NAMED, TOTAL_EXCEPTIONS)
    assert {name for exception in exceptions for name in exception} <= {item["id"] for item in successful}
    assert set(NOT_READ_APIS) <= {item["api"] for item in require_corpus()}


def test_the_expected_totals_are_those_that_the_providers_state() -> None:
    compared = 0
    for item in filter(is_read, require_corpus()):
        total, counts = stated_total(item), expected_counts(item)
        if total is None or item["id"] in TOTAL_EXCEPTIONS:
            continue
        assert (counts.input or 0) + (counts.output or 0) == total, item["id"]
        compared += 1
    assert compared > 0.7 * sum(map(carries_usage, filter(is_read, require_corpus())))


def test_the_parts_expected_are_within_their_totals() -> None:
    for item in filter(is_read, require_corpus()):
        counts = expected_counts(item)
        assert (counts.cache_read or 0) + (counts.cache_write or 0) <= (counts.input or 0), item["id"]
        assert (counts.reasoning or 0) + (counts.audio_output or 0) <= (counts.output or 0), item["id"]
        assert (counts.audio_input or 0) <= (counts.input or 0), item["id"]


def test_a_part_that_had_to_be_cut_is_named_as_an_anomaly() -> None:
    for item in filter(is_read, require_corpus()):
        reading = read(item, "provider")
        cut = {f"{part}_tokens" for part in CUT.get(item["id"], {})}
        anomalies = reading.usage.anomalies if reading is not None and reading.usage is not None else ()
        assert set(anomalies) == cut, item["id"]


def test_every_finish_reason_of_the_corpus_has_a_hand_written_meaning() -> None:
    words = {word for item in filter(is_read, require_corpus()) for word in expected_finish_reasons(item)}
    assert words == set(NORMALISED)


def strings(value: Any) -> Iterator[str]:
    """Every string inside a value."""
    if isinstance(value, str):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ():
        yield from strings(inner)


@pytest.mark.parametrize("item", params(lambda item: not item["streaming"] and isinstance(item["body"], dict)))
def test_what_is_kept_of_a_response_says_the_same_as_the_response_and_none_of_its_content(item: Item):
    body = item["body"]
    keeping = [shape for shape in SHAPES if hasattr(shape, "gist") and shape.recognises(body)]

    for shape in keeping:
        assert shape.read(shape.gist(body)) == shape.read(body)
        assert [
            text for text in strings(shape.gist(body)) if len(text) > 200 and text not in str(body.get("error"))
        ] == []
