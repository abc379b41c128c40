"""Pricing: equal to what vendors publish and to genai-prices' own calculator, exact, unknown rather than invented."""

from __future__ import annotations

import asyncio
import copy
import os
import pickle
import random
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal, localcontext
from typing import Any

import genai_prices
import pytest
from genai_prices import data_snapshot
from genai_prices.data import providers as genai_providers
from support import REPOSITORY

import llmwatch
from llmwatch.pricing import Cost, Price, PriceBook, Unpriced, cost, default_book, render
from llmwatch.usage import Usage

AT = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
BOOK = PriceBook()


def priced(usage: Usage | None, provider: str | None, model: str | None, **rest: Any) -> Cost:
    found = BOOK.cost(usage, provider=provider, model=model, **{"at": AT, **rest})
    assert isinstance(found, Cost), found
    return found


def reason(usage: Usage | None, provider: str | None, model: str | None, **rest: Any) -> str:
    found = BOOK.cost(usage, provider=provider, model=model, **{"at": AT, **rest})
    assert isinstance(found, Unpriced), found
    return found.reason


# --- the vendors' price pages --------------------------------------------------------------------------------------

# 100,000 tokens of one kind and nothing else (200,000 of a long one), by the fields of Usage that have them.
_KINDS = {
    "input": {"input_tokens": 100_000, "output_tokens": 0},
    "cache_read": {"input_tokens": 100_000, "cache_read_tokens": 100_000, "output_tokens": 0},
    "cache_write": {"input_tokens": 100_000, "cache_write_tokens": 100_000, "output_tokens": 0},
    "cache_write_1h": {
        "input_tokens": 100_000,
        "cache_write_tokens": 100_000,
        "cache_write_1h_tokens": 100_000,
        "output_tokens": 0,
    },
    "audio": {"input_tokens": 100_000, "audio_input_tokens": 100_000, "output_tokens": 0},
    "output": {"input_tokens": 0, "output_tokens": 100_000},
    "reasoning": {"input_tokens": 0, "output_tokens": 100_000, "reasoning_tokens": 100_000},
    "long": {"input_tokens": 200_000, "output_tokens": 0},
}

# The vendors' price pages, and where their figures were compared on 2026-11-23: stored copies of the pages (P), where
# there were any, litellm 1.109.1's `model_prices_and_context_window.json` (L), which names the same pages as the source
# of its entries, and simonw/llm-prices of 2026-08-05 (S).
OPENAI = "developers.openai.com/api/docs/pricing (L, S)"
CLAUDE = "platform.claude.com/docs/en/about-claude/pricing (P, L, S)"
CLAUDE_BATCH = "docs.anthropic.com/en/docs/build-with-claude/batch-processing: half of everything (P, L)"
CLAUDE_FAST = "platform.claude.com/docs/en/build-with-claude/fast-mode: Opus 5 at twice the rates (L)"
GEMINI = "ai.google.dev/gemini-api/docs/pricing (L, S)"
XAI = "docs.x.ai/docs/models (S)"
GROQ = "groq.com/pricing (three projects that read it in 2026)"
COHERE = "cohere.com/pricing (L)"
MISTRAL = "docs.mistral.ai/models/model-cards/mistral-medium-3-5-26-04 (L)"

# US dollars per million tokens, written by hand: source, provider, model, service tier, rates.
PUBLISHED: list[tuple[str, str, str, str | None, dict[str, str]]] = [
    (OPENAI, "openai", "gpt-4o-2024-08-06", None, {"input": "2.50", "cache_read": "1.25", "output": "10"}),
    (OPENAI, "openai", "gpt-4o-2024-08-06", "batch", {"input": "1.25", "output": "5"}),
    (OPENAI, "openai", "gpt-4o-mini", None, {"input": "0.15", "cache_read": "0.075", "output": "0.60"}),
    (OPENAI, "openai", "gpt-4.1-2025-04-14", None, {"input": "2", "cache_read": "0.50", "output": "8"}),
    (OPENAI, "openai", "gpt-4.1-2025-04-14", "priority", {"input": "3.50", "cache_read": "0.875", "output": "14"}),
    (OPENAI, "openai", "gpt-4.1-mini", None, {"input": "0.40", "cache_read": "0.10", "output": "1.60"}),
    (OPENAI, "openai", "gpt-4.1-nano", None, {"input": "0.10", "cache_read": "0.025", "output": "0.40"}),
    (OPENAI, "openai", "gpt-5", None, {"input": "1.25", "cache_read": "0.125", "output": "10", "reasoning": "10"}),
    (OPENAI, "openai", "gpt-5", "flex", {"input": "0.625", "cache_read": "0.0625", "output": "5"}),
    (OPENAI, "openai", "gpt-5", "priority", {"input": "2.50", "cache_read": "0.25", "output": "20"}),
    (OPENAI, "openai", "gpt-5", "batch", {"input": "0.625", "output": "5"}),
    (OPENAI, "openai", "gpt-5-mini", None, {"input": "0.25", "cache_read": "0.025", "output": "2"}),
    (OPENAI, "openai", "gpt-5-nano", None, {"input": "0.05", "cache_read": "0.005", "output": "0.40"}),
    (OPENAI, "openai", "gpt-5.4", None, {"input": "2.50", "cache_read": "0.25", "output": "15"}),
    (OPENAI, "openai", "gpt-5.4", "batch", {"input": "1.25", "cache_read": "0.13", "output": "7.50"}),
    (OPENAI, "openai", "o3-2025-04-16", None, {"input": "2", "cache_read": "0.50", "output": "8", "reasoning": "8"}),
    (OPENAI, "openai", "o3-2025-04-16", "flex", {"input": "1", "cache_read": "0.25", "output": "4"}),
    (OPENAI, "openai", "o4-mini", None, {"input": "1.10", "cache_read": "0.275", "output": "4.40"}),
    (OPENAI, "openai", "o1", None, {"input": "15", "cache_read": "7.50", "output": "60"}),
    (OPENAI, "openai", "text-embedding-3-small", None, {"input": "0.02"}),
    (
        CLAUDE,
        "anthropic",
        "claude-sonnet-4-5-20250929",
        None,
        {"input": "3", "cache_read": "0.30", "cache_write": "3.75", "cache_write_1h": "6", "output": "15"},
    ),
    (
        CLAUDE_BATCH,
        "anthropic",
        "claude-sonnet-4-5-20250929",
        "batch",
        {"input": "1.50", "cache_read": "0.15", "cache_write": "1.875", "cache_write_1h": "3", "output": "7.50"},
    ),
    (
        CLAUDE,
        "anthropic",
        "claude-haiku-4-5",
        None,
        {"input": "1", "cache_read": "0.10", "cache_write": "1.25", "cache_write_1h": "2", "output": "5"},
    ),
    (CLAUDE_BATCH, "anthropic", "claude-haiku-4-5", "batch", {"input": "0.50", "output": "2.50"}),
    (
        CLAUDE,
        "anthropic",
        "claude-opus-4-5",
        None,
        {"input": "5", "cache_read": "0.50", "cache_write": "6.25", "cache_write_1h": "10", "output": "25"},
    ),
    (
        CLAUDE_FAST,
        "anthropic",
        "claude-opus-5",
        "fast",
        {"input": "10", "cache_read": "1", "cache_write": "12.50", "cache_write_1h": "20", "output": "50"},
    ),
    (
        CLAUDE,
        "anthropic",
        "claude-opus-4-1-20250805",
        None,
        {"input": "15", "cache_read": "1.50", "cache_write": "18.75", "cache_write_1h": "30", "output": "75"},
    ),
    (
        CLAUDE,
        "anthropic",
        "claude-3-5-haiku-20241022",
        None,
        {"input": "0.80", "cache_read": "0.08", "cache_write": "1", "cache_write_1h": "1.60", "output": "4"},
    ),
    (
        GEMINI,
        "gcp.gemini",
        "gemini-2.5-pro",
        None,
        {"input": "1.25", "cache_read": "0.125", "output": "10", "reasoning": "10"},
    ),
    (GEMINI, "gcp.gemini", "gemini-2.5-pro", "batch", {"input": "0.625", "cache_read": "0.125", "output": "5"}),
    (
        GEMINI,
        "gcp.gemini",
        "gemini-2.5-flash",
        None,
        {"input": "0.30", "audio": "1", "cache_read": "0.03", "output": "2.50", "reasoning": "2.50"},
    ),
    (GEMINI, "gcp.gemini", "gemini-2.5-flash", "batch", {"input": "0.15", "audio": "0.50", "output": "1.25"}),
    (GEMINI, "gcp.gemini", "gemini-2.5-flash-lite", None, {"input": "0.10", "audio": "0.30", "output": "0.40"}),
    (XAI, "x_ai", "grok-4-0709", None, {"input": "3", "cache_read": "0.75", "output": "15"}),
    (GROQ, "groq", "llama-3.3-70b-versatile", None, {"input": "0.59", "output": "0.79"}),
    (COHERE, "cohere", "command-r-plus-08-2024", None, {"input": "2.50", "output": "10"}),
    (MISTRAL, "mistral_ai", "mistral-medium-latest", None, {"input": "1.50", "cache_read": "0.15", "output": "7.50"}),
]
_ROWS = [
    pytest.param(provider, model, tier, kind, rate, id=f"{model}-{tier or 'standard'}-{kind}")
    for _, provider, model, tier, rates in PUBLISHED
    for kind, rate in rates.items()
]


@pytest.mark.parametrize(("provider", "model", "tier", "kind", "rate"), _ROWS)
def test_a_kind_of_tokens_costs_what_the_vendor_publishes(
    provider: str, model: str, tier: str | None, kind: str, rate: str
) -> None:
    found = priced(Usage(**_KINDS[kind]), provider, model, service_tier=tier)
    assert found.total == Decimal(rate) / 10
    assert (found.source, found.estimated) == ("table", False)


def test_the_hand_written_table_covers_twenty_models() -> None:
    assert len({model for _, _, model, _, _ in PUBLISHED}) >= 20


# Where the vendor's page and genai-prices 0.2.3 disagree: the call, the vendor's price, and genai-prices' price, in US
# dollars per million tokens. We charge what genai-prices says; an override corrects it.
DISAGREEMENTS: list[tuple[str, str, str, str | None, datetime, str, str, str]] = [
    # DeepSeek has had one price for both since V3.2 (2025-09-29), and no cheaper hours since 2025-09-05:
    # api-docs.deepseek.com/quick_start/pricing (L).
    ("deepseek-chat", "deepseek", "deepseek-chat", None, AT, "input", "0.28", "0.27"),
    ("deepseek-chat", "deepseek", "deepseek-chat", None, AT, "cache_read", "0.028", "0.07"),
    ("deepseek-chat", "deepseek", "deepseek-chat", None, AT, "output", "0.42", "1.1"),
    ("deepseek-reasoner", "deepseek", "deepseek-reasoner", None, AT, "output", "0.42", "2.19"),
    # `-latest` has been Large 3 since December 2025: docs.mistral.ai/models/mistral-large-3-25-12 (L).
    ("mistral-large", "mistral_ai", "mistral-large-latest", None, AT, "input", "0.5", "2"),
    ("mistral-large", "mistral_ai", "mistral-large-latest", None, AT, "output", "1.5", "6"),
    # Audio has a rate of its own; the table only has that of text, so ours is marked as an estimate.
    ("gpt-4o-audio", "openai", "gpt-4o-audio-preview", None, AT, "audio", "40", "2.5"),
    # Above 128,000 tokens xAI charges twice as much (S); the table has one price. `_KINDS` are 100,000, hence `long`.
    ("grok-4", "x_ai", "grok-4-0709", None, AT, "long", "6", "3"),
    # Google has had flex and priority for these since 2026 (L); the table has them for two other models only, so its
    # list price stands in, marked as an estimate.
    ("gemini flex", "gcp.gemini", "gemini-2.5-pro", "flex", AT, "input", "0.625", "1.25"),
    ("gemini priority", "gcp.gemini", "gemini-2.5-pro", "priority", AT, "output", "18", "10"),
    ("gemini flash flex", "gcp.gemini", "gemini-2.5-flash", "flex", AT, "output", "1.25", "2.5"),
    # Fast Opus 4.6 cost six times as much (P) before it was taken back; the table begins with Opus 4.8.
    ("opus fast", "anthropic", "claude-opus-4-6", "fast", AT, "input", "30", "5"),
    # OpenAI has halved batches since 2024; the table's batch prices begin on 2026-10-14.
    ("gpt-4o batch", "openai", "gpt-4o", "batch", datetime(2025, 10, 1, tzinfo=UTC), "input", "1.25", "2.5"),
]


@pytest.mark.parametrize(
    ("provider", "model", "tier", "at", "kind", "vendors", "tables"),
    [pytest.param(*row[1:], id=f"{row[0]}-{row[5]}") for row in DISAGREEMENTS],
)
def test_where_vendor_and_table_disagree_the_table_is_charged(
    provider: str, model: str, tier: str | None, at: datetime, kind: str, vendors: str, tables: str
) -> None:
    tokens = _KINDS[kind]
    found = priced(Usage(**tokens), provider, model, service_tier=tier, at=at)
    millions = Decimal(tokens["input_tokens"] + tokens["output_tokens"]) / 1_000_000
    assert found.total == Decimal(tables) * millions
    assert found.total != Decimal(vendors) * millions


def test_perplexity_is_charged_the_fee_of_its_large_search_context() -> None:
    """A disagreement too: sonar's fee is 5, 8 or 12 dollars per thousand by search context, and the table has 12."""
    found = priced(Usage(input_tokens=1000, output_tokens=1000), "perplexity", "sonar")
    assert found.parts == {
        ("input", "text"): Decimal("0.001"),
        ("output", "text"): Decimal("0.001"),
        ("request", "fee"): Decimal("0.012"),
    }
    assert found.total == Decimal("0.014")


@pytest.mark.parametrize(
    ("provider", "model", "tier", "tokens", "expected"),
    [
        # 200,000 tokens and below are cheap: $1.25 and $10; above, all tokens cost $2.50 and $15.
        ("gcp.gemini", "gemini-2.5-pro", None, 200_000, "0.26"),
        ("gcp.gemini", "gemini-2.5-pro", None, 200_001, "0.5150025"),
        ("gcp.gemini", "gemini-2.5-pro", "batch", 300_000, "0.3825"),
        # $3 and $15 up to 200,000 tokens; $6 and $22.50 above (docs.anthropic.com, as long as it had 1M tokens; S).
        ("anthropic", "claude-sonnet-4-5", None, 200_000, "0.615"),
        ("anthropic", "claude-sonnet-4-5", None, 300_000, "1.8225"),
        ("anthropic", "claude-sonnet-4-5", "batch", 300_000, "0.91125"),
        # $0.10 and $0.50 up to 100,000 tokens; $0.50 and $2.50 above (platform.claude.com; L).
        ("anthropic", "claude-haiku-5-5", None, 100_000, "0.0105"),
        ("anthropic", "claude-haiku-5-5", None, 100_001, "0.0525005"),
        # $2.50 and $15 up to 272,000 tokens; $5 and $22.50 above (developers.openai.com; L).
        ("openai", "gpt-5.4", None, 272_000, "0.695"),
        ("openai", "gpt-5.4", None, 300_000, "1.5225"),
        ("openai", "gpt-5.4", "flex", 300_000, "0.76125"),
    ],
)
def test_a_long_context_costs_its_own_rates_for_all_tokens(
    provider: str, model: str, tier: str | None, tokens: int, expected: str
) -> None:
    usage = Usage(input_tokens=tokens, output_tokens=1000)
    assert priced(usage, provider, model, service_tier=tier).total == Decimal(expected)


def test_what_is_cached_counts_towards_the_long_context() -> None:
    usage = Usage(input_tokens=300_000, cache_read_tokens=299_000, output_tokens=0)
    found = priced(usage, "gcp.gemini", "gemini-2.5-pro")
    assert found.total == Decimal("0.0025") + Decimal("0.07475")  # $2.50 and $0.25 a million


def test_a_long_context_has_its_own_rates_for_what_is_cached() -> None:
    usage = Usage(input_tokens=300_000, cache_read_tokens=100_000, cache_write_tokens=200_000, output_tokens=0)
    found = priced(usage, "anthropic", "claude-sonnet-4-5")
    assert found.parts == {  # twice $0.30 and twice $3.75
        ("input", "cache_read"): Decimal("0.06"),
        ("input", "cache_write"): Decimal("1.5"),
    }


def test_a_mixed_call_is_split_by_what_was_paid_for() -> None:
    usage = Usage(
        input_tokens=10_000,
        cache_read_tokens=6_000,
        cache_write_tokens=3_000,
        cache_write_1h_tokens=1_000,
        output_tokens=500,
        reasoning_tokens=200,
    )
    found = priced(usage, "anthropic", "claude-sonnet-4-5-20250929")
    assert found.parts == {
        ("input", "text"): Decimal("0.003"),
        ("input", "cache_read"): Decimal("0.0018"),
        ("input", "cache_write"): Decimal("0.0135"),  # 2,000 at $3.75 and 1,000 at $6
        ("output", "text"): Decimal("0.0045"),
        ("output", "reasoning"): Decimal("0.003"),
    }
    assert found.total == Decimal("0.0258")
    assert found.savings == Decimal("0.0162")  # 6,000 at $3 instead of $0.30


def test_a_model_without_a_cheaper_cache_saves_nothing() -> None:
    usage = Usage(input_tokens=1000, cache_read_tokens=1000, output_tokens=0)
    found = priced(usage, "groq", "llama-3.3-70b-versatile")
    assert (found.total, found.savings) == (Decimal("0.00059"), Decimal(0))


def test_audio_from_the_cache_saves_by_the_rate_of_audio() -> None:
    usage = Usage(
        input_tokens=1000,
        cache_read_tokens=1000,
        audio_input_tokens=1000,
        audio_cache_read_tokens=1000,
        output_tokens=0,
    )
    found = priced(usage, "gcp.gemini", "gemini-2.5-flash")
    assert (found.total, found.savings) == (Decimal("0.0001"), Decimal("0.0009"))


def test_a_price_is_that_of_the_day() -> None:
    usage = Usage(input_tokens=1_000, output_tokens=1_000)
    before = priced(usage, "openai", "o3", at=datetime(2025, 6, 1, tzinfo=UTC))
    after = priced(usage, "openai", "o3", at=datetime(2025, 6, 11, tzinfo=UTC))
    assert (before.total, after.total) == (Decimal("0.05"), Decimal("0.01"))  # $10 and $40, then $2 and $8


def test_the_day_of_a_price_is_that_of_utc() -> None:
    east = timezone(timedelta(hours=9))
    usage = Usage(input_tokens=1_000, output_tokens=0)
    still = priced(usage, "openai", "o3", at=datetime(2025, 6, 10, 8, 59, tzinfo=east))
    changed = priced(usage, "openai", "o3", at=datetime(2025, 6, 10, 9, 0, tzinfo=east))
    naive = priced(usage, "openai", "o3", at=datetime(2025, 6, 10, 0, 0))  # noqa: DTZ001
    assert (still.total, changed.total, naive.total) == (Decimal("0.01"), Decimal("0.002"), Decimal("0.002"))


# --- genai-prices' own calculator ----------------------------------------------------------------------------------

_CONTEXTS: dict[str | None, dict[str, str] | None] = {
    None: None,
    "default": None,
    "standard": None,
    "on_demand": None,
    "batch": {"processing": "batch"},
    "flex": {"service_tier": "flex"},
    "priority": {"service_tier": "priority"},
    "fast": {"service_tier": "fast", "speed": "fast"},
}
_THEIR_NAMES = {
    "input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
    "cache_read_tokens": "cache_read_tokens",
    "cache_write_tokens": "cache_write_tokens",
    "cache_write_1h_tokens": "cache_write_1h_tokens",
    "reasoning_tokens": "output_reasoning_tokens",
    "audio_input_tokens": "input_audio_tokens",
    "audio_output_tokens": "output_audio_tokens",
    "image_input_tokens": "input_image_tokens",
    "image_output_tokens": "output_image_tokens",
    "audio_cache_read_tokens": "cache_audio_read_tokens",
    "image_cache_read_tokens": "cache_image_read_tokens",
}


def _random_usage(rng: random.Random) -> Usage:
    inputs = rng.choice(
        [rng.randrange(5_000), rng.randrange(400_000), rng.choice([128_000, 200_000, 200_001, 272_001])]
    )
    outputs = rng.randrange(20_000)
    read, written = rng.choice([(0, 0), (rng.randint(0, inputs), 0), (rng.randint(0, inputs // 2), inputs // 3)])
    audio, image = rng.choice([(0, 0), (0, 0), (inputs // 9, inputs // 8)])
    return Usage(
        input_tokens=inputs,
        output_tokens=outputs,
        cache_read_tokens=read,
        cache_write_tokens=written,
        cache_write_1h_tokens=rng.randint(0, written),
        reasoning_tokens=rng.choice([0, outputs // 2]),
        audio_input_tokens=audio,
        image_input_tokens=image,
        audio_cache_read_tokens=min(audio, read // 3),
        image_cache_read_tokens=min(image, read // 3),
        audio_output_tokens=rng.choice([0, outputs // 5]),
        image_output_tokens=rng.choice([0, outputs // 6]),
    )


def _reference(model: Any) -> str:
    """A name that the entry is matched by; its own id need not be one."""
    clause = model.match
    while hasattr(clause, "or_"):
        clause = clause.or_[0]
    texts = [getattr(clause, name, None) for name in ("equals", "starts_with", "contains")]
    return next((text for text in texts if text), model.id)


def _random_calls(count: int) -> list[tuple[str, str, Usage, str | None, datetime]]:
    rng = random.Random(20261123)
    calls = []
    varied = [
        (provider.id, _reference(model))
        for provider in genai_providers
        for model in provider.models
        if model.price_variants or isinstance(model.prices, list)
    ]
    while len(calls) < count:
        provider = rng.choice([found for found in genai_providers if found.models])
        names = rng.choice([(provider.id, _reference(rng.choice(provider.models))), rng.choice(varied)])
        at = datetime(2024, 6, 1, tzinfo=UTC) + timedelta(seconds=rng.randrange(1000 * 86_400))
        at = rng.choice([at, AT + timedelta(seconds=rng.randrange(86_400 * 60))])
        calls.append((*names, _random_usage(rng), rng.choice(list(_CONTEXTS)), at))
    return calls


def _theirs(
    provider: str, model: str, usage: Usage, tier: str | None, at: datetime
) -> genai_prices.types.PriceCalculation:
    counts = {theirs: getattr(usage, ours) for ours, theirs in _THEIR_NAMES.items()}
    return genai_prices.calc_price(
        genai_prices.Usage(**counts),
        model,
        provider_id=provider,
        genai_request_timestamp=at,
        price_context=_CONTEXTS[tier],
    )


def _has_no_rate(usage: Usage, price: Any) -> bool:
    """Whether a direction with tokens has no rate, so that genai-prices charges nothing for them."""
    return bool(
        (usage.input_tokens and price.input_mtok is None) or (usage.output_tokens and price.output_mtok is None)
    )


def test_costs_equal_those_of_genai_prices_for_thousands_of_random_calls_to_all_providers() -> None:
    equal, unpriced, seen = 0, 0, set()
    for call in _random_calls(5_000):
        provider, model, usage, tier, at = call
        try:
            theirs = _theirs(*call)
        except LookupError:  # an entry that its first clause alone does not match
            assert isinstance(BOOK.cost(usage, provider=provider, model=model, at=at), Unpriced), call
            continue
        ours = BOOK.cost(usage, provider=provider, model=model, at=at, service_tier=tier)
        seen.add(provider)
        if _has_no_rate(usage, theirs.model_price) and not (
            theirs.model.id.endswith(":free") and isinstance(ours, Cost) and ours.total == theirs.total_price
        ):
            assert ours == Unpriced("missing_rate"), call
            unpriced += 1
            continue
        assert isinstance(ours, Cost), call
        assert ours.total == theirs.total_price == sum(ours.parts.values()), call
        assert sum(v for (way, _), v in ours.parts.items() if way == "input") == theirs.input_price, call
        assert sum(v for (way, _), v in ours.parts.items() if way == "output") == theirs.output_price, call
        assert ours.savings >= 0
        equal += 1
    assert equal > 4_000
    assert unpriced > 20
    assert seen == {found.id for found in genai_providers}


# genai-prices charges 0 where it lists no rates at all. Where the name says `:free` so do we; these we leave unpriced.
LISTED_WITHOUT_RATES = [
    ("cerebras", "qwen-3-coder-480b"),
    ("github-copilot", "gpt-4o"),
    ("google", "gemma-3-27b-it"),
    ("huggingface_together", "prism-ml/Ternary-Bonsai-27B-gguf"),
    ("openrouter", "stealth/crouton-alpha"),
]


@pytest.mark.parametrize(("provider", "model"), LISTED_WITHOUT_RATES)
def test_a_model_that_is_listed_without_any_rate_is_unpriced(provider: str, model: str) -> None:
    usage = Usage(input_tokens=10, output_tokens=10)
    assert _theirs(provider, model, usage, None, AT).total_price == 0
    assert reason(usage, provider, model) == "missing_rate"


def test_a_model_that_is_named_as_free_costs_nothing() -> None:
    found = priced(Usage(input_tokens=10, output_tokens=10), "openrouter", "meta-llama/llama-3.3-70b-instruct:free")
    assert (found.total, found.source) == (Decimal(0), "table")


# --- unknown is not free -------------------------------------------------------------------------------------------

_USAGE = Usage(input_tokens=1000, output_tokens=1000)


@pytest.mark.parametrize("model", ["gpt-99-ultra", "my-deployment", "x" * 10_000])
def test_an_unknown_model_is_unpriced(model: str) -> None:
    assert reason(_USAGE, "openai", model) == "unknown_model"


@pytest.mark.parametrize("provider", ["vllm", "ollama", "my-openai-proxy", "p" * 10_000])
@pytest.mark.parametrize("model", ["gpt-4o", "openai/gpt-oss-20b", "mistralai/Mistral-Large"])
def test_a_known_model_at_an_unknown_provider_is_unpriced(provider: str, model: str) -> None:
    assert reason(_USAGE, provider, model) == "unknown_model"


@pytest.mark.parametrize(
    "model", ["mistralai/Mistral-7B-Instruct-v0.2", "deepseek-ai/DeepSeek-R1", "moonshotai/Kimi-K2"]
)
def test_a_name_from_a_model_hub_is_no_statement_of_the_provider(model: str) -> None:
    assert reason(_USAGE, "openai", model) == "unknown_model"


@pytest.mark.parametrize("model", [None, "", "   "])
def test_a_call_without_a_model_is_unpriced(model: str | None) -> None:
    assert reason(_USAGE, "openai", model) == "no_model"


@pytest.mark.parametrize(
    "usage",
    [None, Usage(), Usage(input_tokens=10), Usage(output_tokens=10), Usage(cache_read_tokens=3, reasoning_tokens=4)],
)
def test_a_call_whose_charged_usage_is_not_fully_known_is_unpriced(usage: Usage | None) -> None:
    assert reason(usage, "openai", "gpt-4o") == "missing_usage"


def test_an_embedding_needs_no_output_tokens() -> None:
    found = priced(Usage(input_tokens=1_000_000), "openai", "text-embedding-3-large")
    assert found.total == Decimal("0.13")


def test_output_tokens_of_a_model_that_has_no_rate_for_them_are_unpriced() -> None:
    assert reason(_USAGE, "openai", "text-embedding-3-large") == "missing_rate"


def test_a_model_that_is_paid_by_the_minute_is_unpriced_by_tokens() -> None:
    assert reason(_USAGE, "groq", "whisper-large-v3") == "missing_rate"


def test_a_call_without_tokens_costs_zero_and_not_nothing_known() -> None:
    found = priced(Usage(input_tokens=0, output_tokens=0), "openai", "gpt-4o")
    assert (found.total, found.parts) == (Decimal(0), {})


def test_the_function_gives_a_cost_or_none() -> None:
    found = cost(_USAGE, provider="openai", model="gpt-4o", at=AT)
    assert found is not None
    assert found.total == Decimal("0.0125")
    assert cost(_USAGE, provider="openai", model="gpt-99") is None
    assert cost(_USAGE, provider="openai", model="gpt-4o") is not None


# --- what the provider reports -------------------------------------------------------------------------------------


def test_what_the_provider_reports_stands() -> None:
    found = priced(_USAGE, "openrouter", "openai/gpt-4o", reported=Decimal("0.00731"))
    assert (found.total, found.source) == (Decimal("0.00731"), "provider")
    assert found.parts == {("request", "reported"): Decimal("0.00731")}


def test_what_the_provider_reports_needs_neither_a_model_nor_usage() -> None:
    assert priced(None, "openrouter", None, reported=Decimal("0.1")).total == Decimal("0.1")
    assert priced(Usage(), "home", "unheard-of", reported=Decimal(0)).total == 0


def test_savings_of_a_reported_cost_are_those_at_the_listed_rates() -> None:
    usage = Usage(input_tokens=1000, cache_read_tokens=1000, output_tokens=0)
    found = priced(usage, "openrouter", "openai/gpt-4o", reported=Decimal("0.0013"))
    assert found.savings == Decimal("0.00125")


@pytest.mark.parametrize("nonsense", [Decimal("NaN"), Decimal("Infinity"), Decimal("-0.1"), Decimal("1e999999")])
def test_a_reported_cost_that_is_no_amount_of_money_is_passed_over(nonsense: Decimal) -> None:
    assert priced(_USAGE, "openai", "gpt-4o", reported=nonsense).source == "table"


# --- names ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("provider", "model", "expected"),
    [
        # gen_ai.provider.name and the older gen_ai.system
        ("azure.ai.openai", "gpt-4o", ("azure", "gpt-4o")),
        ("azure.ai.inference", "gpt-4o-2024-08-06", ("azure", "gpt-4o")),
        ("az.ai.openai", "gpt-4o", ("azure", "gpt-4o")),
        ("aws.bedrock", "amazon.nova-pro-v1:0", ("aws", "amazon.nova-pro-v1:0")),
        ("gcp.gemini", "gemini-2.5-pro", ("google", "gemini-2.5-pro")),
        ("gcp.vertex_ai", "gemini-2.5-pro", ("google", "gemini-2.5-pro")),
        ("gcp.gen_ai", "gemini-2.5-pro", ("google", "gemini-2.5-pro")),
        ("vertex_ai", "gemini-2.5-pro", ("google", "gemini-2.5-pro")),
        ("mistral_ai", "mistral-small-latest", ("mistral", "mistral-small-latest")),
        ("x_ai", "grok-4", ("x-ai", "grok-4-0709")),
        ("moonshot_ai", "kimi-k2-0905-preview", ("moonshotai", "kimi-k2-0905-preview")),
        ("deepseek", "deepseek-chat", ("deepseek", "deepseek-chat")),
        ("perplexity", "sonar", ("perplexity", "sonar")),
        ("OpenAI", "GPT-4o", ("openai", "gpt-4o")),
        # LiteLLM, pydantic-ai
        (
            "together_ai",
            "meta-llama/Llama-3.3-70B-Instruct-Turbo",
            ("together", "meta-llama/Llama-3.3-70B-Instruct-Turbo"),
        ),
        ("google-gla", "gemini-2.5-flash", ("google", "gemini-2.5-flash")),
        ("bedrock_converse", "amazon.nova-pro-v1:0", ("aws", "amazon.nova-pro-v1:0")),
        # prefixes and paths
        (None, "openai/gpt-4o", ("openai", "gpt-4o")),
        ("openai", "openai/gpt-4o", ("openai", "gpt-4o")),
        ("openai", "anthropic/claude-sonnet-4-5", ("anthropic", "claude-sonnet-4-5")),
        ("litellm", "anthropic/claude-sonnet-4-5", ("anthropic", "claude-sonnet-4-5")),
        (None, "azure/gpt-4o", ("azure", "gpt-4o")),
        (None, "vertex_ai/gemini-2.5-flash", ("google", "gemini-2.5-flash")),
        (None, "openrouter/openai/gpt-4o", ("openrouter", "openai/gpt-4o")),
        ("openrouter", "openai/gpt-4o", ("openrouter", "openai/gpt-4o")),
        ("gcp.gemini", "models/gemini-2.5-pro", ("google", "gemini-2.5-pro")),
        (
            "gcp.vertex_ai",
            "projects/p1/locations/europe-west4/publishers/google/models/gemini-2.5-pro",
            ("google", "gemini-2.5-pro"),
        ),
        ("gcp.vertex_ai", "claude-sonnet-4-5@20250929", ("google", "claude-sonnet-4-5")),
        # Bedrock: regions, profiles, routes
        ("aws.bedrock", "us.amazon.nova-pro-v1:0", ("aws", "amazon.nova-pro-v1:0")),
        ("aws.bedrock", "eu.amazon.nova-lite-v1:0", ("aws", "amazon.nova-lite-v1:0")),
        (
            "aws.bedrock",
            "global.anthropic.claude-sonnet-4-5-20250929-v1:0",
            ("aws", "global.anthropic.claude-sonnet-4-5-20250929-v1:0"),
        ),
        (
            "aws.bedrock",
            "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-sonnet-4-5-20250929-v1:0",
            ("aws", "regional.anthropic.claude-sonnet-4-5-20250929-v1:0"),
        ),
        (None, "anthropic.claude-3-haiku-20240307-v1:0", ("aws", "regional.anthropic.claude-3-haiku-20240307-v1:0")),
        (None, "bedrock/us-east-1/amazon.nova-pro-v1:0", ("aws", "amazon.nova-pro-v1:0")),
        # dated ids, dashed and compact; no provider at all
        ("openai", "gpt-4.1-2025-04-14", ("openai", "gpt-4.1")),
        ("openai", "gpt-4.1-20250414", ("openai", "gpt-4.1")),
        ("anthropic", "claude-sonnet-4-5-20250929", ("anthropic", "claude-sonnet-4-5")),
        (None, "claude-sonnet-4-5-20250929", ("anthropic", "claude-sonnet-4-5")),
        (None, "gemini-2.5-pro", ("google", "gemini-2.5-pro")),
    ],
)
def test_a_name_is_resolved(provider: str | None, model: str, expected: tuple[str, str]) -> None:
    price = BOOK.explain(model, provider, AT)
    assert price is not None
    assert (price.provider, price.model) == expected


@pytest.mark.parametrize("provider", genai_providers, ids=lambda provider: provider.id)
def test_every_provider_id_of_the_table_means_that_provider(provider: Any) -> None:
    for model in provider.models:
        if provider.find_model(model.id) is model:
            price = BOOK.explain(model.id, provider.id, AT)
            assert price is not None
            assert (price.provider, price.model) == (provider.id, model.id)


def test_a_named_provider_that_lacks_the_model_is_not_replaced_by_another() -> None:
    assert reason(_USAGE, None, "bedrock/us-east-1/anthropic.claude-v2:1") == "unknown_model"
    assert reason(_USAGE, "anthropic", "gpt-4o") == "unknown_model"


# --- tiers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tier", [None, "", "default", "standard", "on_demand", "ON_DEMAND", "auto"])
def test_a_standard_tier_costs_the_list_price(tier: str | None) -> None:
    found = priced(_USAGE, "openai", "gpt-5", service_tier=tier)
    assert (found.total, found.estimated) == (Decimal("0.01125"), False)


def test_a_tier_that_the_table_does_not_price_costs_the_list_price_as_an_estimate() -> None:
    found = priced(_USAGE, "anthropic", "claude-haiku-4-5", service_tier="priority")
    assert (found.total, found.estimated) == (Decimal("0.006"), True)


def test_googles_traffic_type_names_the_tier() -> None:
    flex = priced(_USAGE, "openai", "gpt-5", service_tier="ON_DEMAND_FLEX")
    assert flex.total == Decimal("0.005625")


def test_audio_at_the_rate_of_text_is_an_estimate() -> None:
    usage = Usage(input_tokens=1000, audio_input_tokens=1000, output_tokens=0)
    assert priced(usage, "openai", "gpt-4o-audio-preview").estimated is True
    assert priced(usage, "gcp.gemini", "gemini-2.5-flash").estimated is False


# --- money ---------------------------------------------------------------------------------------------------------


def test_a_million_calls_of_a_millionth_of_a_dollar_are_one_dollar() -> None:
    usage = Usage(input_tokens=50, output_tokens=0)  # at $0.02 a million
    each = priced(usage, "openai", "text-embedding-3-small").total
    assert each == Decimal("0.000001")
    total = Decimal(0)
    for _ in range(1_000_000):
        total += each
    assert total == Decimal(1)


def test_costs_do_not_depend_on_the_decimal_precision_of_the_host() -> None:
    usage = Usage(input_tokens=123_456_789, output_tokens=987_654_321)
    with localcontext() as context:
        context.prec = 3
        found = PriceBook().cost(usage, provider="openai", model="gpt-4o-mini", at=AT)
    assert isinstance(found, Cost)
    assert found.total == Decimal("18.51851835") + Decimal("592.5925926")


def test_parts_add_up_exactly_for_the_largest_usage() -> None:
    usage = Usage(input_tokens=2**53, cache_read_tokens=2**51 + 1, output_tokens=2**53 - 1, reasoning_tokens=3)
    found = priced(usage, "openai", "gpt-5-nano")
    with localcontext() as context:
        context.prec = 100
        assert sum(found.parts.values()) == found.total


def test_a_cost_is_a_value() -> None:
    found = priced(_USAGE, "openai", "gpt-4o")
    with pytest.raises(AttributeError):
        found.total = Decimal(1)  # type: ignore[misc]
    assert not hasattr(found, "__dict__")
    assert pickle.loads(pickle.dumps(found)) == copy.deepcopy(found) == found


# --- loading -------------------------------------------------------------------------------------------------------


def _in_a_new_process(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_pricing_loads_neither_pydantic_nor_the_table() -> None:
    code = (
        "import sys, llmwatch.pricing as p; b = p.PriceBook(); b.version; b.ready; b.age_seconds();"
        "print([m for m in ('pydantic', 'genai_prices', 'httpx2') if m in sys.modules], b.ready, b.age_seconds())"
    )
    assert _in_a_new_process(code) == "[] False None"


def test_the_table_is_preloaded_once_on_a_thread_of_its_own() -> None:
    code = """
import threading, llmwatch.pricing as p
book = p.PriceBook()
for _ in range(5):
    book.preload()
names = [t.name for t in threading.enumerate() if t.name == "llmwatch-prices"]
daemon = all(t.daemon for t in threading.enumerate() if t.name == "llmwatch-prices")
book.load()
print(names, daemon, book.ready, p.PriceBook().ready)
"""
    assert _in_a_new_process(code) == "['llmwatch-prices'] True True True"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("pause", [0, 0.02, 0.1])
def test_a_child_that_is_forked_while_the_table_loads_can_price(pause: float) -> None:
    code = f"""
import os, time, warnings, llmwatch.pricing as p
from llmwatch.usage import Usage
warnings.simplefilter("ignore")
p.PriceBook().preload()
time.sleep({pause})
child = os.fork()
found = p.cost(Usage(input_tokens=1, output_tokens=1), provider="openai", model="gpt-4o")
if child == 0:
    os._exit(0 if found is not None and p.PriceBook().ready else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), found is not None)
"""
    assert _in_a_new_process(code) == "0 True"


def test_without_genai_prices_everything_is_unknown_and_nothing_raises() -> None:
    code = """
import sys
sys.modules["genai_prices"] = None
import llmwatch.pricing as p
from llmwatch.usage import Usage
book = p.PriceBook()
found = book.cost(Usage(input_tokens=1, output_tokens=1), provider="openai", model="gpt-4o")
print(found, book.ready, book.age_seconds())
"""
    assert _in_a_new_process(code) == "Unpriced(reason='unknown_model') True None"


def test_the_benchmark_of_pricing_runs() -> None:
    script = REPOSITORY / "tests" / "benchmarks" / "pricing.py"
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    run = subprocess.run(
        [sys.executable, script, "--rounds", "1"], capture_output=True, text=True, check=False, env=environment
    )
    assert run.returncode == 0, run.stderr
    assert [line for line in run.stdout.splitlines() if line.startswith("PriceBook.cost")]


def test_many_threads_price_alike() -> None:
    book, found = PriceBook(), []

    def price() -> None:
        found.extend(book.cost(_USAGE, provider="openai", model="gpt-4o", at=AT) for _ in range(50))

    threads = [threading.Thread(target=price) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 400
    assert {item.total for item in found if isinstance(item, Cost)} == {Decimal("0.0125")}


def test_a_loaded_book_can_be_asked_on_an_event_loop() -> None:
    BOOK.load()

    async def ask() -> bool:
        return BOOK.ready and isinstance(BOOK.cost(_USAGE, provider="openai", model="gpt-4o", at=AT), Cost)

    assert asyncio.run(ask()) is True


def test_misses_are_remembered_and_the_memory_is_bounded() -> None:
    book = PriceBook()
    for number in range(6_000):
        book.cost(_USAGE, provider="mine", model=f"model-{number % 5_000}", at=AT)
    kept = book._quotes.cache_info()
    assert kept.currsize <= 4_096
    for _ in range(10):
        book.cost(_USAGE, provider="mine", model="model-999", at=AT)
    assert book._quotes.cache_info().hits == kept.hits + 10


def test_what_other_libraries_do_to_genai_prices_does_not_reach_us() -> None:
    try:
        data_snapshot.set_custom_snapshot(data_snapshot.DataSnapshot(providers=[], from_auto_update=True))
        assert priced(_USAGE, "openai", "gpt-4o-2024-11-20").total == Decimal("0.0125")
    finally:
        data_snapshot.set_custom_snapshot(None)
    assert data_snapshot._custom_snapshot is None


def test_the_tables_version_and_age_are_known() -> None:
    BOOK.load()
    age = BOOK.age_seconds()
    assert BOOK.version == genai_prices.__version__
    assert age is not None
    starts = {
        conditional.constraint.start_date
        for provider in genai_providers
        for model in provider.models
        if isinstance(model.prices, list)
        for conditional in model.prices
        if hasattr(conditional.constraint, "start_date")
    }
    born = (datetime.now(UTC) - timedelta(seconds=age)).date()
    assert min(starts) <= born <= datetime.now(UTC).date()


# --- explaining ----------------------------------------------------------------------------------------------------


def test_a_price_is_explained() -> None:
    price = BOOK.explain("gemini-2.5-pro", "gcp.gemini", AT)
    assert price is not None
    assert isinstance(price, llmwatch.Price)
    assert (price.source, price.free, price.estimated) == ("table", False, False)
    assert price.rates == {"input": Decimal("1.25"), "cache_read": Decimal("0.125"), "output": Decimal(10)}
    (tier,) = price.tiers
    assert tier.above == 200_000
    assert tier.rates == {"input": Decimal("2.5"), "cache_read": Decimal("0.25"), "output": Decimal(15)}
    assert "genai-prices" in price.why
    assert price.unmeasured == ("web_searches",)


def test_an_explanation_says_when_a_tier_has_no_price() -> None:
    price = BOOK.explain("claude-haiku-4-5", "anthropic", AT, service_tier="priority")
    assert price is not None
    assert price.estimated
    assert "'priority'" in price.why


def test_an_unknown_model_has_no_explanation() -> None:
    assert BOOK.explain("gpt-99", "openai") is None
    assert default_book().explain("my-deployment") is None


def test_a_price_is_rendered_for_people() -> None:
    price = BOOK.explain("sonar", "perplexity", AT)
    assert price is not None
    assert render(price).splitlines()[:4] == [
        "sonar (perplexity)",
        "  $1.00 a million input tokens",
        "  $1.00 a million output tokens",
        "  $0.012 a request",
    ]


def test_a_price_without_rates_is_rendered_as_such() -> None:
    text = render(Price("google", "gemma-3", "table", "because"))
    assert "unpriced" in text
    assert text.endswith("source: table\nwhy: because")
