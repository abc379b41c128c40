"""Pricing: what a call cost in US dollars, where that price comes from, and an honest "unknown".

Prices are those of genai-prices, which is imported when it is first needed, and never as `llmwatch.pricing` is.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from llmwatch.pricing._book import PriceBook
from llmwatch.pricing._money import DOLLAR
from llmwatch.pricing._override_file import PriceFileError, Problem, load_overrides
from llmwatch.pricing._render import render
from llmwatch.pricing._rules import Overrides
from llmwatch.pricing._values import Cost, Part, Price, PriceTier, Reason, Source, Unpriced

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from llmwatch.usage import Usage

__all__ = [
    "DOLLAR",
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
    "follow",
    "load_overrides",
    "render",
]


class _InUse:
    """Where the book of the running configuration is found, which stands above this package."""

    find: Callable[[], PriceBook | None] = staticmethod(lambda: None)


_in_use = _InUse()


def follow(find: Callable[[], PriceBook | None]) -> None:
    """Makes `cost` price with the book that this finds, if any; called once, by who holds the running configuration."""
    _in_use.find = find


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
    """What a call cost by the prices of `configure(prices=...)` and the price table; `None` when that is unknown.

    The first call of all loads the price table on this thread, which takes 0.3 s, unless `configure` has.

    Args:
        usage: Its tokens.
        provider: Its provider, as OpenTelemetry, genai-prices or a gateway writes it.
        model: The model that answered.
        at: When it began; now, if not given. Without a time zone it is UTC.
        service_tier: The tier that served it, as the response names it (`batch`, `flex`, `priority`, …).
    """
    book = _in_use.find() or default_book()
    found = book.cost(usage, provider=provider, model=model, at=at, service_tier=service_tier)
    return found if isinstance(found, Cost) else None
