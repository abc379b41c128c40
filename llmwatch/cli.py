"""The command line: `llmwatch demo` and `llmwatch prices`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from llmwatch._version import __version__

__all__ = ["main"]

_DEMO_NEEDS = ("anthropic", "openai", "rich", "starlette", "uvicorn")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit code: 0, 1 for an answer in the negative, or 2 when it cannot be run."""
    arguments = _parser().parse_args(argv)
    try:
        return int(arguments.run(arguments))
    except KeyboardInterrupt:  # before or after the demo itself, which takes it for its end
        return 0


def _demo(arguments: argparse.Namespace) -> int:
    missing = [name for name in _DEMO_NEEDS if find_spec(name) is None]
    if missing:
        return _refused(f"the demo needs {', '.join(missing)}: pip install 'llmwatch[demo]'")
    from llmwatch.demo import SetupError, run

    try:
        run(
            seconds=arguments.seconds,
            seed=arguments.seed,
            rate=arguments.rate,
            port=arguments.port,
            plain=arguments.plain,
        )
    except SetupError as error:
        return _refused(str(error))
    return 0


def _prices(arguments: argparse.Namespace) -> int:
    from llmwatch.pricing import PriceBook, PriceFileError, render

    if not arguments.check and not arguments.model:
        return _refused("name a model, or a price file with --check")
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
    print(render(price) if price is not None else f"{arguments.model} has no known price: its calls stay unpriced")
    return 0 if price is not None else 1


def _refused(reason: str) -> int:
    print(f"llmwatch: {reason}", file=sys.stderr)
    return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("llmwatch", description="Metrics for applications that call LLMs.")
    parser.add_argument("--version", action="version", version=f"llmwatch {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="command", required=True)
    demo = commands.add_parser(
        "demo",
        help="watch an application call simulated vendors",
        description="Watch an application call simulated vendors: a live table here, and /metrics for Prometheus. "
        "Nothing outside this machine is contacted.",
    )
    demo.add_argument("--seconds", type=_positive, metavar="N", help="end after N seconds (default: at Ctrl-C)")
    demo.add_argument("--seed", type=int, default=0, metavar="N", help="another course of events (default: 0)")
    demo.add_argument("--rate", type=_rate, default=8.0, metavar="N", help="calls per second, at most 50 (default: 8)")
    demo.add_argument("--port", type=_port, default=9464, metavar="N", help="of /metrics, 0 for any (default: 9464)")
    demo.add_argument("--plain", action="store_true", help="lines of text instead of a live table")
    demo.set_defaults(run=_demo)
    _add_prices(commands)
    return parser


def _add_prices(commands: Any) -> None:
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
    prices.set_defaults(run=_prices)


def _positive(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"must be more than 0, not {text}")
    return number


def _rate(text: str) -> float:
    if (number := _positive(text)) > 50:
        raise argparse.ArgumentTypeError(f"must be at most 50, not {text}")
    return number


def _port(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 65535:
        raise argparse.ArgumentTypeError(f"must be between 0 and 65535, not {text}")
    return number
