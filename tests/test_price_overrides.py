"""Overrides: a company's own prices by provider, model, day and tier, and a mistake in them named by its line."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from llmwatch.pricing import Cost, PriceBook, PriceFileError, Unpriced, load_overrides, render
from llmwatch.usage import Usage

AT = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
USAGE = Usage(input_tokens=1000, output_tokens=100)


def charge(book: PriceBook, usage: Usage | None, provider: str | None, model: str, **rest: Any) -> Cost:
    found = book.cost(usage, provider=provider, model=model, **{"at": AT, **rest})
    assert isinstance(found, Cost), found
    return found


def book(*entries: dict[str, Any]) -> PriceBook:
    return PriceBook({"price": list(entries)})


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "prices.toml"
    file.write_text(text, encoding="utf-8")
    return file


FILE = """\
# Prices of our contract.
[[price]]
provider = "azure"
model = "support-bot-*"
note = "contract 4711"
per_million = { input = 2.2, cache_read = 1.1, output = 8.8 }

[[price]]
provider = "openai"
multiplier = 0.85

[[price]]
model = "llama-at-home"
per_hour = 3.6
parallel = 2

[[price]]
model = ["tiny", "echo-*"]
free = true

[[price]]
model = "long"
per_request = 0.001
[price.per_million]
input = 1
output = 2
[[price.tiers]]
above = 100_000
input = 4
[[price.tiers]]
above = 200_000
input = 8
output = 16
"""


@pytest.fixture
def contract(tmp_path: Path) -> PriceBook:
    return PriceBook(written(tmp_path, FILE))


# --- what an entry charges -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("provider", ["azure", "azure.ai.openai", "az.ai.openai", "Azure"])
def test_a_deployment_is_priced_by_override_alone(contract: PriceBook, provider: str) -> None:
    usage = Usage(input_tokens=1000, cache_read_tokens=400, output_tokens=100, reasoning_tokens=50)
    found = charge(contract, usage, provider, "support-bot-eu")
    assert found.parts == {
        ("input", "text"): Decimal("0.00132"),
        ("input", "cache_read"): Decimal("0.00044"),
        ("output", "text"): Decimal("0.00044"),
        ("output", "reasoning"): Decimal("0.00044"),
    }
    assert found.total == Decimal("0.00264")
    assert found.savings == Decimal("0.00044")
    assert (found.source, found.estimated) == ("override", False)


def test_a_multiplier_takes_the_contracts_discount_off_the_table(contract: PriceBook) -> None:
    found = charge(contract, USAGE, "openai", "gpt-4o")  # $2.50 and $10
    assert (found.total, found.source) == (Decimal("0.0035") * Decimal("0.85"), "override")


def test_a_multiplier_with_all_the_digits_of_a_float_is_exact() -> None:
    usage = Usage(input_tokens=1, cache_read_tokens=1, output_tokens=0)
    third = charge(book({"provider": "openai", "multiplier": 1 / 3}), usage, "openai", "gpt-4o-mini")
    assert third.total == Decimal("0.000000075") * Decimal("0.3333333333333333")


def test_a_multiplier_follows_the_tables_tiers_batches_and_long_contexts() -> None:
    half = book({"provider": "*", "multiplier": "0.5"})
    batch = charge(half, USAGE, "openai", "gpt-5", service_tier="batch")
    assert batch.total == (Decimal("0.000625") + Decimal("0.0005")) / 2
    long = charge(half, Usage(input_tokens=300_000, output_tokens=0), "gcp.gemini", "gemini-2.5-pro")
    assert long.total == Decimal("0.375")


def test_a_multiplier_scales_the_fee_of_a_request_too() -> None:
    found = charge(book({"model": "sonar", "multiplier": 2}), USAGE, "perplexity", "sonar")
    assert found.parts["request", "fee"] == Decimal("0.024")


def test_a_multiplier_on_an_unknown_model_leaves_it_unpriced(contract: PriceBook) -> None:
    assert contract.cost(USAGE, provider="openai", model="gpt-99", at=AT) == Unpriced("unknown_model")


@pytest.mark.parametrize("like", ["gpt-4o", "azure/gpt-4o", "openai/gpt-4o"])
@pytest.mark.parametrize("provider", ["azure.ai.openai", "our-gateway"])
def test_a_deployment_can_take_the_price_of_a_model_in_the_table(like: str, provider: str) -> None:
    prices = book({"model": "chat-prod", "like": like, "multiplier": 1})
    assert charge(prices, USAGE, provider, "chat-prod").total == Decimal("0.0035")


def test_a_self_hosted_model_costs_its_share_of_the_hour_as_an_estimate(contract: PriceBook) -> None:
    found = charge(contract, None, "vllm", "llama-at-home", duration=2.0)
    assert found.parts == {("request", "time"): Decimal("0.001")}  # 2 s of $3.60 an hour, shared by two
    assert (found.total, found.source, found.estimated) == (Decimal("0.001"), "override", True)


@pytest.mark.parametrize("duration", [None, float("nan"), float("inf"), -1.0])
def test_a_model_by_the_hour_is_unpriced_without_a_duration(contract: PriceBook, duration: float | None) -> None:
    found = contract.cost(USAGE, provider="vllm", model="llama-at-home", at=AT, duration=duration)
    assert found == Unpriced("missing_usage")


@pytest.mark.parametrize("model", ["tiny", "echo-7b"])
@pytest.mark.parametrize("usage", [USAGE, None])
def test_a_free_model_costs_nothing_whatever_it_used(contract: PriceBook, model: str, usage: Usage | None) -> None:
    found = charge(contract, usage, "ollama", model)
    assert (found.total, found.parts, found.source) == (Decimal(0), {}, "override")


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [(100_000, "0.103"), (100_001, "0.403004"), (200_000, "0.803"), (200_001, "1.617008")],
)
def test_tiers_and_a_fee_per_request_are_charged(contract: PriceBook, tokens: int, expected: str) -> None:
    usage = Usage(input_tokens=tokens, output_tokens=1000)
    assert charge(contract, usage, "home", "long").total == Decimal(expected)


def test_a_fee_alone_prices_a_call_without_tokens() -> None:
    found = charge(book({"model": "ocr", "per_request": "0.01"}), Usage(input_tokens=0, output_tokens=0), None, "ocr")
    assert found.parts == {("request", "fee"): Decimal("0.01")}


def test_each_kind_can_have_a_rate_of_its_own() -> None:
    kinds = {
        "input": 1, "cache_read": 2, "cache_write": 3, "cache_write_1h": 4, "audio_input": 5, "audio_cache_read": 6,
        "image_input": 7, "image_cache_read": 8, "output": 9, "reasoning": 10, "audio_output": 11, "image_output": 12,
    }  # fmt: skip
    usage = Usage(
        input_tokens=7_000_000,
        cache_read_tokens=3_000_000,
        audio_cache_read_tokens=1_000_000,
        image_cache_read_tokens=1_000_000,
        cache_write_tokens=2_000_000,
        cache_write_1h_tokens=1_000_000,
        audio_input_tokens=2_000_000,
        image_input_tokens=1_000_000,
        output_tokens=4_000_000,
        reasoning_tokens=1_000_000,
        audio_output_tokens=1_000_000,
        image_output_tokens=1_000_000,
    )
    found = charge(book({"model": "m", "per_million": kinds}), usage, None, "m")
    assert found.parts == {
        ("input", "text"): 1,
        ("input", "cache_read"): 2 + 6 + 8,
        ("input", "cache_write"): 3 + 4,
        ("input", "audio"): 5,
        ("output", "text"): 9,
        ("output", "reasoning"): 10,
        ("output", "audio"): 11,
        ("output", "image"): 12,
    }


def test_tokens_without_any_rate_leave_a_call_unpriced() -> None:
    prices = book({"model": "m", "per_million": {"output": 1}})
    assert prices.cost(USAGE, provider=None, model="m", at=AT) == Unpriced("missing_rate")


def test_a_float_in_a_mapping_is_the_decimal_that_it_is_written_as() -> None:
    found = charge(book({"model": "m", "per_million": {"input": 0.1, "output": 0}}), USAGE, None, "m")
    assert found.total == Decimal("0.0001")


# --- which entry counts --------------------------------------------------------------------------------------------


def test_what_the_provider_reports_comes_before_overrides(contract: PriceBook) -> None:
    found = charge(contract, USAGE, "azure", "support-bot-eu", reported=Decimal("0.5"))
    assert (found.total, found.source) == (Decimal("0.5"), "provider")


def test_a_call_that_no_entry_is_for_is_priced_by_the_table(contract: PriceBook) -> None:
    assert charge(contract, USAGE, "anthropic", "claude-haiku-4-5").source == "table"


def test_the_first_entry_that_matches_counts() -> None:
    prices = book(
        {"model": "gpt-4o-mini", "per_million": {"input": 1, "output": 0}},
        {"model": "gpt-4o*", "per_million": {"input": 2, "output": 0}},
        {"model": "*", "free": True},
    )
    totals = [charge(prices, USAGE, "openai", model).total for model in ("gpt-4o-mini", "gpt-4o", "o3")]
    assert totals == [Decimal("0.001"), Decimal("0.002"), Decimal(0)]


@pytest.mark.parametrize(
    "model",
    ["gpt-4o", "GPT-4o", "gpt-4o-2024-08-06", "gpt-4o-20240806", "openai/gpt-4o", "openai/gpt-4o-2024-11-20"],
)
def test_an_entry_is_for_a_model_under_all_its_names(model: str) -> None:
    prices = book({"provider": "openai", "model": "gpt-4o", "free": True})
    assert charge(prices, USAGE, "openai", model).source == "override"


@pytest.mark.parametrize("model", ["gpt-4o-mini", "gpt-4", "my-gpt-4o", "gpt-4o-audio-preview-2024-12-17"])
def test_a_name_without_wildcards_is_for_no_other_model(model: str) -> None:
    prices = book({"provider": "openai", "model": "gpt-4o", "free": True})
    found = prices.cost(USAGE, provider="openai", model=model, at=AT)
    assert not isinstance(found, Cost) or found.source == "table"


def test_an_entry_is_for_its_providers_only() -> None:
    prices = book({"provider": ["aws.*", "azure"], "model": "*", "free": True})
    assert charge(prices, USAGE, "aws.bedrock", "amazon.nova-pro-v1:0").source == "override"
    assert charge(prices, USAGE, "azure.ai.openai", "gpt-4o").source == "override"
    assert charge(prices, USAGE, "openai", "gpt-4o").source == "table"
    assert charge(prices, USAGE, None, "azure/gpt-4o").source == "override"


def test_an_entry_holds_from_its_first_day_to_its_last() -> None:
    prices = book({"model": "m", "free": True, "valid_from": "2026-03-01", "valid_to": "2026-03-31"})
    days = {
        datetime(2026, 2, 28, 23, 59, 59, tzinfo=UTC): Unpriced,
        datetime(2026, 3, 1, tzinfo=UTC): Cost,
        datetime(2026, 3, 31, 23, 59, 59, tzinfo=UTC): Cost,
        datetime(2026, 4, 1, tzinfo=UTC): Unpriced,
    }
    for at, expected in days.items():
        assert isinstance(prices.cost(USAGE, provider=None, model="m", at=at), expected), at


def test_dates_in_toml_are_dates(tmp_path: Path) -> None:
    file = written(tmp_path, '[[price]]\nmodel = "m"\nfree = true\nvalid_from = 2026-03-01\n')
    prices = PriceBook(file)
    assert isinstance(prices.cost(None, provider=None, model="m", at=datetime(2026, 3, 1, tzinfo=UTC)), Cost)
    assert isinstance(prices.cost(None, provider=None, model="m", at=datetime(2026, 2, 1, tzinfo=UTC)), Unpriced)


def test_an_entry_can_be_for_one_service_tier() -> None:
    prices = book({"provider": "openai", "model": "gpt-5", "service_tier": "priority", "free": True})
    assert charge(prices, USAGE, "openai", "gpt-5", service_tier="priority").source == "override"
    assert charge(prices, USAGE, "openai", "gpt-5").source == "table"


def test_a_book_without_entries_prices_by_the_table() -> None:
    assert charge(PriceBook({}), USAGE, "openai", "gpt-4o").source == "table"
    assert charge(PriceBook(load_overrides({"price": []})), USAGE, "openai", "gpt-4o").source == "table"


# --- explaining ----------------------------------------------------------------------------------------------------


def test_an_override_is_explained_by_its_place_in_the_file(contract: PriceBook) -> None:
    price = contract.explain("support-bot-eu", "azure", AT)
    assert price is not None
    assert price.source == "override"
    assert "prices.toml:2" in price.why
    assert "entry 1" in price.why
    assert "contract 4711" in price.why
    assert price.rates == {"input": Decimal("2.2"), "cache_read": Decimal("1.1"), "output": Decimal("8.8")}


def test_a_multiplier_is_explained_with_the_price_that_it_is_on(contract: PriceBook) -> None:
    price = contract.explain("gpt-4o", "openai", AT)
    assert price is not None
    assert "prices.toml:8" in price.why
    assert "0.85 times" in price.why
    assert price.rates["input"] == Decimal("2.125")


def test_an_hourly_price_is_rendered(contract: PriceBook) -> None:
    price = contract.explain("llama-at-home", "vllm", AT)
    assert price is not None
    assert "  $1.80 an hour of a call's time" in render(price).splitlines()


# --- mistakes ------------------------------------------------------------------------------------------------------

# text, line of the mistake, entry, field, and words of the message
MISTAKES = {
    "a rate misspelt in an inline table": (
        FILE.replace("output = 8.8 }", "ouput = 8.8 }"), 6, 1, "per_million.ouput", "did you mean 'output'",
    ),
    "a field misspelt": (FILE.replace("multiplier", "mutliplier"), 10, 2, "mutliplier", "did you mean 'multiplier'"),
    "a table misspelt": (FILE.replace("[[price]]\nprovider = \"azure\"", "[[prices]]\nprovider = \"azure\"").replace(
        "[[price]]\n", "[[x]]\n").replace("[price.per", "[x.per").replace("[[price.", "[[x."), 2, None, "prices",
        "did you mean 'price'"),
    "a rate misspelt in a table of its own": (
        FILE.replace("input = 1\n", "inputs = 1\n"), 25, 5, "per_million.inputs", "did you mean 'input'",
    ),
    "a rate misspelt in a tier": (
        FILE.replace("input = 8\n", "inptu = 8\n"), 32, 5, "tiers.2.inptu", "did you mean 'input'",
    ),
    "a negative rate": (FILE.replace("input = 4", "input = -4"), 29, 5, "tiers.1.input", "greater than or equal to 0"),
    "a rate that is no number": (
        FILE.replace("input = 1\n", 'input = "cheap"\n'), 25, 5, "per_million.input", "decimal",
    ),
    "a rate that is true": (FILE.replace("input = 1\n", "input = true\n"), 25, 5, "per_million.input", "no numbers"),
    "a rate beyond all money": (FILE.replace("input = 1\n", "input = 1e99\n"), 25, 5, "per_million.input", "less than"),
    "a rate that is not finite": (FILE.replace("input = 1\n", "input = inf\n"), 25, 5, "per_million.input", "finite"),
    "free that is false": (FILE.replace("free = true", "free = false"), 19, 4, "free", "True"),
    "no calls at once": (FILE.replace("parallel = 2", "parallel = 0"), 15, 3, "parallel", "greater than or equal to 1"),
    "a multiplier of zero": (FILE.replace("0.85", "0"), 10, 2, "multiplier", "greater than 0"),
    "two ways to charge": (
        FILE.replace("free = true", "free = true\nmultiplier = 2"), 17, 4, None, "it has multiplier and free",
    ),
    "no way to charge": (FILE.replace("free = true\n", ""), 17, 4, None, "it has none"),
    "a match for everything by omission": (
        FILE.replace('provider = "openai"\n', ""), 8, 2, None, "neither a provider nor a model",
    ),
    "an end before the beginning": (
        FILE.replace("free = true", "free = true\nvalid_from = 2026-02-01\nvalid_to = 2026-01-01"),
        17, 4, None, "before",
    ),
    "a date that is none": (FILE.replace("free = true", 'free = true\nvalid_to = "soon"'), 20, 4, "valid_to", "date"),
    "a kind that only a tier has": (
        FILE.replace("input = 8\n", "input = 8\nreasoning = 9\n"), 21, 5, None, "not in per_million",
    ),
    "no TOML": (FILE.replace('model = "llama-at-home"', "model = llama"), 13, None, None, "not TOML"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "line", "entry", "field", "words"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_an_error_that_names_file_line_entry_and_field(
    tmp_path: Path, text: str, line: int, entry: int | None, field: str | None, words: str
) -> None:
    file = written(tmp_path, text)
    with pytest.raises(PriceFileError) as caught:
        PriceBook(file)
    error = caught.value
    assert (error.file, error.line, error.entry, error.field) == (str(file), line, entry, field)
    first = str(error).splitlines()[0]
    assert first.startswith(f"{file}:{line}: ")
    assert words in first


def test_all_mistakes_are_named_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = FILE.replace("output = 8.8", "ouput = 8.8").replace("parallel = 2", "paralel = 2")
    with pytest.raises(PriceFileError) as caught:
        load_overrides(written(tmp_path, text))
    assert [problem.line for problem in caught.value.problems] == [6, 15]
    assert len(str(caught.value).splitlines()) == 2


def test_a_comment_or_a_name_with_the_fields_word_is_not_taken_for_the_field(tmp_path: Path) -> None:
    text = '[[price]]\n# multipler = 3\nmodel = "multipler = 3"\nnote = "x"\nmultipler = 2\nfree = true\n'
    with pytest.raises(PriceFileError) as caught:
        load_overrides(written(tmp_path, text))
    assert caught.value.line == 5


def test_a_mistake_in_a_mapping_names_entry_and_field() -> None:
    with pytest.raises(PriceFileError) as caught:
        book({"model": "m", "free": True}, {"model": "n", "per_milion": {"input": 1}, "free": True})
    error = caught.value
    assert (error.file, error.line, error.entry, error.field) == (None, None, 2, "per_milion")
    assert str(error) == "prices: entry 2, field 'per_milion': is not a field; did you mean 'per_million'?"


def test_a_file_that_is_not_there_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(PriceFileError, match=r"nowhere\.toml: cannot be read"):
        PriceBook(tmp_path / "nowhere.toml")


def test_a_file_that_is_no_text_is_an_error_that_names_it(tmp_path: Path) -> None:
    file = tmp_path / "prices.toml"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(PriceFileError, match=r"prices\.toml: is not UTF-8"):
        load_overrides(str(file))


def test_a_file_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    file = tmp_path / "prices.toml"
    file.write_text('[[price]]\nmodel = "m"\nfree = true\n', encoding="utf-8-sig")
    assert charge(PriceBook(file), None, None, "m").total == 0


def test_the_error_is_a_value_error_that_can_be_pickled() -> None:
    with pytest.raises(ValueError, match="entry 1") as caught:
        book({"model": "m"})
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.entry) == (str(caught.value), 1)
