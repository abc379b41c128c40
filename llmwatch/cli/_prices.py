"""`llmwatch prices`: the price of a model, where it comes from and why; what is wrong with a price file."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING, Any

from llmwatch.cli._refusal import RefusalError

if TYPE_CHECKING:
    from llmwatch.pricing import PriceBook


def add(commands: Any) -> None:
    """Adds the command to the others."""
    prices = commands.add_parser(
        "prices",
        help="show the price of a model, or check a price file",
        description="Show the price that would be used for a model, where it comes from, and why.",
    )
    prices.add_argument("model", nargs="?", help="as the response names it, or as a gateway does (openai/gpt-4o)")
    prices.add_argument("--provider", metavar="NAME", help="OpenTelemetry's or genai-prices' name of the provider")
    prices.add_argument("--tier", metavar="NAME", help="the service tier (batch, flex, priority, …)")
    prices.add_argument("--prices", metavar="FILE", help="prices of your own (default: LLMWATCH_PRICES)")
    prices.add_argument("--check", metavar="FILE", help="say what is wrong with a price file, or that nothing is")
    prices.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Shows the price, or checks the file; 1 when there is none, or when something is wrong with it."""
    from llmwatch.pricing import PriceBook, PriceFileError, render

    if not arguments.check and not arguments.model:
        raise RefusalError("name a model, or a price file with --check")
    file = arguments.check or arguments.prices or os.environ.get("LLMWATCH_PRICES") or None
    try:
        book = PriceBook(file)
    except (PriceFileError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    if arguments.check:
        print(f"{arguments.check}: no mistakes")
    if not arguments.model:
        return 0
    price = book.explain(arguments.model, arguments.provider, service_tier=arguments.tier)
    if price is not None and not arguments.provider:  # as it would be for a call, whose provider is known
        price = book.explain(arguments.model, price.provider, service_tier=arguments.tier) or price
    print(render(price) if price is not None else _unpriced(book, arguments.model, arguments.provider))
    return 0 if price is not None else 1


def _unpriced(book: PriceBook, model: str, provider: str | None) -> str:
    """That there is no price, and where there would be one."""
    at = f" at {provider}" if provider else ""
    said = f"{model} has no known price{at}: its calls stay unpriced"
    elsewhere = book.providers_of(model)
    return f"{said}; it has one with --provider {' or '.join(elsewhere)}" if elsewhere else said
