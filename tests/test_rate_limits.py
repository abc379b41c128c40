"""Rate-limit headers, vendor by vendor as their public pages show them, and what is read from them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmwatch._rate_limits import limits_in

Read = dict[str, tuple[float | None, float | None]]

# The vendors' own examples where their page has some; where it only names the headers, numbers of ours.
VENDORS: dict[str, tuple[dict[str, str], Read]] = {
    # https://platform.openai.com/docs/guides/rate-limits
    "openai": (
        {
            "x-ratelimit-limit-requests": "60",
            "x-ratelimit-limit-tokens": "150000",
            "x-ratelimit-remaining-requests": "59",
            "x-ratelimit-remaining-tokens": "149984",
            "x-ratelimit-reset-requests": "1s",
            "x-ratelimit-reset-tokens": "6m0s",
        },
        {"requests": (60, 59), "tokens": (150000, 149984)},
    ),
    # the same page: "Project-token headers may be present when a project-scoped token limit applies"
    "openai, project": (
        {
            "x-ratelimit-limit-tokens": "150000",
            "x-ratelimit-remaining-tokens": "149984",
            "x-ratelimit-limit-project-tokens": "60000",
            "x-ratelimit-remaining-project-tokens": "57000",
            "x-ratelimit-reset-project-tokens": "3s",
        },
        {"tokens": (60000, 57000)},
    ),
    # https://learn.microsoft.com/en-us/azure/ai-foundry/openai/how-to/quota: at first only what remains
    "azure": (
        {"x-ratelimit-remaining-requests": "119", "x-ratelimit-remaining-tokens": "119730"},
        {"requests": (None, 119), "tokens": (None, 119730)},
    ),
    # https://learn.microsoft.com/en-us/answers/questions/5625878: -1 where Azure does not know
    "azure, unknown": (
        {
            "x-ratelimit-limit-tokens": "-1",
            "x-ratelimit-remaining-tokens": "-1",
            "x-ratelimit-reset-tokens": "0",
        },
        {},
    ),
    # https://platform.claude.com/docs/en/api/rate-limits, numbers of an answer of 2025-08
    "anthropic": (
        {
            "anthropic-ratelimit-requests-limit": "1000",
            "anthropic-ratelimit-requests-remaining": "999",
            "anthropic-ratelimit-requests-reset": "2025-08-21T12:40:59Z",
            "anthropic-ratelimit-tokens-limit": "96000",
            "anthropic-ratelimit-tokens-remaining": "95000",
            "anthropic-ratelimit-input-tokens-limit": "80000",
            "anthropic-ratelimit-input-tokens-remaining": "79000",
            "anthropic-ratelimit-output-tokens-limit": "16000",
            "anthropic-ratelimit-output-tokens-remaining": "16000",
        },
        {
            "requests": (1000, 999),
            "tokens": (96000, 95000),
            "input_tokens": (80000, 79000),
            "output_tokens": (16000, 16000),
        },
    ),
    # https://console.groq.com/docs/rate-limits: requests are those of a day, tokens those of a minute
    "groq": (
        {
            "retry-after": "2",
            "x-ratelimit-limit-requests": "14400",
            "x-ratelimit-limit-tokens": "18000",
            "x-ratelimit-remaining-requests": "14370",
            "x-ratelimit-remaining-tokens": "17997",
            "x-ratelimit-reset-requests": "2m59.56s",
            "x-ratelimit-reset-tokens": "7.66s",
        },
        {"requests": (14400, 14370), "tokens": (18000, 17997)},
    ),
    # https://docs.mistral.ai/deployment/laplateforme/tier has the limits; the headers are those of its answers
    "mistral": (
        {
            "x-ratelimit-limit-req-minute": "50",
            "x-ratelimit-remaining-req-minute": "49",
            "x-ratelimit-limit-tokens-minute": "50000",
            "x-ratelimit-remaining-tokens-minute": "47300",
            "x-ratelimit-tokens-query-cost": "1300",
        },
        {"requests": (50, 49), "tokens": (50000, 47300)},
    ),
    "mistral, until 2025": (
        {"ratelimitbysize-limit": "500000", "ratelimitbysize-remaining": "499900", "ratelimitbysize-reset": "28"},
        {"tokens": (500000, 499900)},
    ),
    # https://openrouter.ai/docs/api_reference/limits: on the error answer
    "openrouter": (
        {"X-RateLimit-Limit": "20", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1741305600000"},
        {"requests": (20, 0)},
    ),
    # https://docs.together.ai/docs/rate-limits: of a second
    "together": (
        {
            "x-ratelimit-limit": "10",
            "x-ratelimit-remaining": "9",
            "x-ratelimit-reset": "1",
            "x-tokenlimit-limit": "3000.5",
            "x-tokenlimit-remaining": "2990",
        },
        {"requests": (10, 9), "tokens": (3000.5, 2990)},
    ),
    # https://docs.fireworks.ai/guides/quotas_usage/rate-limits
    "fireworks": (
        {
            "x-ratelimit-limit-requests": "60",
            "x-ratelimit-remaining-requests": "59",
            "x-ratelimit-limit-tokens-prompt": "60000",
            "x-ratelimit-remaining-tokens-prompt": "59000",
            "x-ratelimit-limit-tokens-generated": "6000",
            "x-ratelimit-remaining-tokens-generated": "5900",
            "x-ratelimit-over-limit": "no",
        },
        {"requests": (60, 59), "input_tokens": (60000, 59000), "output_tokens": (6000, 5900)},
    ),
    # https://docs.fireworks.ai/serverless/rate-limits: only the limits
    "fireworks, serverless": (
        {"X-Ratelimit-Limit-Tokens-Prompt": "11250000", "X-Ratelimit-Limit-Tokens-Generated": "36000"},
        {"input_tokens": (11250000, None), "output_tokens": (36000, None)},
    ),
    # https://inference-docs.cerebras.ai/support/rate-limits
    "cerebras": (
        {
            "x-ratelimit-limit-requests-day": "1000000000",
            "x-ratelimit-limit-tokens-minute": "1000000000",
            "x-ratelimit-remaining-requests-day": "999997455",
            "x-ratelimit-remaining-tokens-minute": "999998298",
            "x-ratelimit-reset-requests-day": "33011.382867097855",
            "x-ratelimit-reset-tokens-minute": "11.382867097854614",
        },
        {"requests": (1000000000, 999997455), "tokens": (1000000000, 999998298)},
    ),
    # https://docs.sambanova.ai/docs/en/models/rate-limits: a minute's and a day's
    "sambanova": (
        {
            "x-ratelimit-limit-requests": "60",
            "x-ratelimit-remaining-requests": "59",
            "x-ratelimit-limit-requests-day": "12000",
            "x-ratelimit-remaining-requests-day": "12",
        },
        {"requests": (12000, 12)},
    ),
    # https://docs.x.ai/developers/rate-limits has the limits, under OpenAI's names in its answers
    "xai": (
        {
            "x-ratelimit-limit-requests": "480",
            "x-ratelimit-remaining-requests": "479",
            "x-ratelimit-limit-tokens": "2000000",
            "x-ratelimit-remaining-tokens": "2000000",
        },
        {"requests": (480, 479), "tokens": (2000000, 2000000)},
    ),
    # https://docs.digitalocean.com/products/inference/reference/quota-specific-response-headers/
    "digitalocean": (
        {
            "x-ratelimit-limit-requests": "120",
            "x-ratelimit-remaining-requests": "118",
            "x-ratelimit-limit-tokens-per-day": "1000000",
            "x-ratelimit-remaining-tokens-per-day": "900000",
            "x-ratelimit-limit-tokens-per-minute": "10000",
            "x-ratelimit-remaining-tokens-per-minute": "2000",
        },
        {"requests": (120, 118), "tokens": (10000, 2000)},
    ),
    # https://api-docs.deepseek.com/quick_start/rate_limit: none
    "deepseek": ({"x-ds-trace-id": "1", "content-type": "application/json"}, {}),
    # https://datatracker.ietf.org/doc/html/draft-ietf-httpapi-ratelimit-headers-03
    "gateways": (
        {"RateLimit-Limit": "100", "RateLimit-Remaining": "50", "RateLimit-Reset": "50"},
        {"requests": (100, 50)},
    ),
}


def read(headers: dict[str, str]) -> Read:
    return {limit.resource: (limit.limit, limit.remaining) for limit in limits_in(headers.items())}


@pytest.mark.parametrize("vendor", VENDORS)
def test_limits_are_read_as_the_vendor_documents_them(vendor: str) -> None:
    headers, expected = VENDORS[vendor]
    assert read(headers) == expected


@pytest.mark.parametrize("vendor", VENDORS)
def test_names_are_read_in_any_spelling_and_as_bytes(vendor: str) -> None:
    headers, expected = VENDORS[vendor]
    assert read({name.upper(): f" {value} " for name, value in headers.items()}) == expected
    as_bytes = [(name.title().encode(), value.encode()) for name, value in headers.items()]
    assert {limit.resource: limit[1:] for limit in limits_in(as_bytes)} == expected


@pytest.mark.parametrize(
    "value", ["", "-1", "nan", "inf", "1e9", "1_000", "1,000", "60;w=60", "0x10", "²", "9" * 21, "1.2.3", ".", "many"]
)
def test_what_is_no_number_has_not_been_said(value: str) -> None:
    assert read({"x-ratelimit-limit-requests": value}) == {}
    assert read({"x-ratelimit-limit-requests": value, "x-ratelimit-remaining-requests": "7"}) == {"requests": (None, 7)}


def test_of_two_windows_the_one_that_refuses_first_is_shown() -> None:
    minute = {"x-ratelimit-limit-tokens-minute": "1000", "x-ratelimit-remaining-tokens-minute": "10"}
    day = {"x-ratelimit-limit-tokens-day": "100000", "x-ratelimit-remaining-tokens-day": "90000"}
    assert read({**minute, **day}) == {"tokens": (1000, 10)}
    spent = {"x-ratelimit-limit-tokens-day": "100000", "x-ratelimit-remaining-tokens-day": "5"}
    assert read({**minute, **spent}) == {"tokens": (100000, 5)}


def test_a_limit_of_nothing_is_the_tightest() -> None:
    none = {"x-ratelimit-limit-requests-day": "0", "x-ratelimit-remaining-requests-day": "0"}
    assert read({"x-ratelimit-limit-requests": "60", "x-ratelimit-remaining-requests": "1", **none}) == {
        "requests": (0, 0)
    }


@given(st.lists(st.tuples(st.sampled_from(["x-ratelimit-limit-requests", "Host", "é"]), st.text())))
def test_no_headers_make_it_fail(headers: list[tuple[str, str]]) -> None:
    found: Any = limits_in(headers)
    assert all(limit.resource == "requests" and limit.remaining is None and limit.limit >= 0 for limit in found)
