"""A price in words, for people at a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from decimal import Decimal

    from llmwatch.pricing._values import Price


def render(price: Price) -> str:
    """The price, where it comes from, and why, as a few lines of text."""
    return "\n".join(_lines(price))


def _lines(price: Price) -> Iterator[str]:
    yield f"{price.model} ({price.provider})"
    yield from _rates(price.rates, "")
    for tier in price.tiers:
        yield from _rates(tier.rates, f" of calls with more than {tier.above:,} input tokens")
    if price.per_request is not None:
        yield f"  {_dollars(price.per_request)} a request"
    if price.per_hour is not None:
        yield f"  {_dollars(price.per_hour)} an hour of a call's time"
    if price.free:
        yield "  free"
    elif not price.rates and price.per_request is None and price.per_hour is None:
        yield "  no rate that is charged by the token: calls stay unpriced"
    if price.estimated:
        yield "  costs at this price are estimates"
    if price.unmeasured:
        yield f"  charged for beside these, and not measured: {', '.join(price.unmeasured)}"
    yield f"source: {price.source}"
    yield f"why: {price.why}"


def _rates(rates: Mapping[str, Decimal], condition: str) -> Iterator[str]:
    for name, rate in rates.items():
        yield f"  {_dollars(rate)} a million {name} tokens{condition}"


def _dollars(amount: Decimal) -> str:
    """At most twelve digits, and at least cents."""
    text = f"{amount:.12f}".rstrip("0")
    whole, _, fraction = text.partition(".")
    return f"${whole}.{fraction:0<2}"
