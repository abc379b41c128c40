"""The command line: `llmwatch demo`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib.util import find_spec

from llmwatch._version import __version__

__all__ = ["main"]

_DEMO_NEEDS = ("anthropic", "openai", "rich", "starlette", "uvicorn")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit code: 0, or 2 when it cannot be run as asked."""
    arguments = _parser().parse_args(argv)
    try:
        return _demo(arguments)
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
    return parser


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
