"""`llmwatch demo`: an application that calls simulated vendors, to be watched."""

from __future__ import annotations

import argparse
from importlib.util import find_spec
from typing import Any

from llmwatch.cli._refusal import RefusalError

_NEEDS = ("anthropic", "fastapi", "openai", "opentelemetry.instrumentation.fastapi", "rich", "starlette", "uvicorn")
# By name, for the table of them needs the extra.
_INCIDENTS = ("rate-limit", "prompt-growth", "runaway-agent", "model-swap", "slow-provider", "overloaded-provider")


def add(commands: Any) -> None:
    """Adds the command to the others."""
    demo = commands.add_parser(
        "demo",
        help="watch an application call simulated vendors",
        description="Watch an application call simulated vendors: a live page, a table here, and /metrics. "
        "Nothing outside this machine is contacted.",
    )
    demo.add_argument("--seconds", type=_positive, metavar="N", help="end after N seconds (default: at Ctrl-C)")
    demo.add_argument("--seed", type=int, default=0, metavar="N", help="another course of events (default: 0)")
    demo.add_argument("--rate", type=_rate, default=8.0, metavar="N", help="calls per second, at most 50 (default: 8)")
    demo.add_argument(
        "--port", type=_port, default=9464, metavar="N", help="of the live page, 0 for any (default: 9464)"
    )
    demo.add_argument(
        "--incident",
        choices=_INCIDENTS,
        metavar="NAME",
        help=f"what goes wrong: {', '.join(_INCIDENTS)} (default: each for a while)",
    )
    demo.add_argument(
        "--incident-after", type=_positive, default=20.0, metavar="N", help="seconds of calm before it (default: 20)"
    )
    demo.add_argument("--open", action="store_true", help="show the live page in a browser")
    demo.add_argument(
        "--prometheus", action="store_true", help="start a Prometheus with llmwatch's rules, and say which alerts fire"
    )
    demo.add_argument("--plain", action="store_true", help="lines of text instead of a live table")
    demo.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Runs the demo to its end."""
    missing = [name for name in _NEEDS if not _is_there(name)]
    if missing:
        raise RefusalError(f"the demo needs {', '.join(missing)}: pip install 'llmwatch[demo]'")
    from llmwatch import demo

    try:
        demo.run(
            seconds=arguments.seconds,
            seed=arguments.seed,
            rate=arguments.rate,
            port=arguments.port,
            plain=arguments.plain,
            incident=arguments.incident,
            incident_after=arguments.incident_after,
            prometheus=arguments.prometheus,
            open_browser=arguments.open,
        )
    except demo.SetupError as error:
        raise RefusalError(str(error)) from None
    return 0


def _is_there(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # nor the package around it
        return False


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
