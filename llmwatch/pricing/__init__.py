"""Pricing: what a call cost in US dollars, where that price comes from, and an honest "unknown".

Prices are those of genai-prices, which is imported when it is first needed, and never as `llmwatch.pricing` is.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from llmwatch.pricing._book import PriceBook
from llmwatch.pricing._override_file import PriceFileError, Problem, load_overrides
from llmwatch.pricing._render import render
from llmwatch.pricing._rules import Overrides
from llmwatch.pricing._values import Cost, Part, Price, PriceTier, Reason, Source, Unpriced

if TYPE_CHECKING:
    from datetime import datetime

    from llmwatch.usage import Usage

__all__ = [
    "Cost",
    "Overrides",
    "Part",
    "Price",
    "PriceBook",
    "PriceFileError",
    "PriceTier",
    "Problem",
    "Reason",
    "Source",
    "Unpriced",
    "cost",
    "default_book",
    "load_overrides",
    "render",
]


@cache
def default_book() -> PriceBook:
    """The price book without any overrides."""
    return PriceBook()


def cost(
    usage: Usage,
    *,
    provider: str | None,
    model: str | None,
    at: datetime | None = None,
    service_tier: str | None = None,
) -> Cost | None:
    """What a call cost by the price table; `None` when that is unknown.

    Args:
        usage: Its tokens.
        provider: Its provider, as OpenTelemetry, genai-prices or a gateway writes it.
        model: The model that answered.
        at: When it began; now, if not given. Without a time zone it is UTC.
        service_tier: The tier that served it, as the response names it (`batch`, `flex`, `priority`, …).
    """
    found = default_book().cost(usage, provider=provider, model=model, at=at, service_tier=service_tier)
    return found if isinstance(found, Cost) else None
