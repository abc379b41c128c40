"""`llmwatch explain`: why the cost, the tokens or the latency changed, from what a Prometheus knows."""

from __future__ import annotations

import argparse
import json
import os
import time
from typing import Any

from llmwatch.cli._refusal import RefusalError

_URL = "http://127.0.0.1:9090"
_DAY = 86400
_FILTERS = {"feature": "feature", "agent": "agent", "model": "model", "provider": "provider", "service": "job"}
_SUBJECTS = {
    "cost": "how much it changed, since when, and which feature, model and agent did it by what",
    "tokens": "which agent and feature consume the most tokens, and what changed",
    "latency": "whether the provider's rate limit, its speed, longer answers or failures make calls slow",
}


def add(commands: Any) -> None:
    """Adds the command to the others."""
    says = (
        "Compare a time with an earlier one, and say in words what changed and what did it. The exit code is 0 with an "
        "answer, 1 when nobody can tell, and 2 when the server cannot be asked."
    )
    explain = commands.add_parser("explain", help="say why cost, tokens or latency changed", description=says)
    subjects = explain.add_subparsers(dest="subject", metavar="subject", required=True)
    for subject, told in _SUBJECTS.items():
        parser = subjects.add_parser(subject, help=told, description=f"{told[:1].upper()}{told[1:]}.")
        _add_options(parser, [name for name in _FILTERS if name != "agent" or subject != "latency"])
        parser.set_defaults(run=run)


def _add_options(parser: argparse.ArgumentParser, filters: list[str]) -> None:
    parser.add_argument(
        "--prometheus",
        metavar="URL",
        default=os.environ.get("LLMWATCH_PROMETHEUS") or _URL,
        help=f"a Prometheus, or what speaks its API (default: LLMWATCH_PROMETHEUS, or {_URL}); credentials stand in "
        "the URL, or in LLMWATCH_PROMETHEUS_AUTH as user:password or as a token",
    )
    parser.add_argument("--window", metavar="LENGTH", default="1h", help="the time asked about (default: 1h)")
    parser.add_argument("--against", metavar="LENGTH", help="how much earlier to compare with (default: 1d)")
    parser.add_argument(
        "--at", metavar="TIME", help="when the window ends, as 12:00 or 2026-11-24T12:00 (default: now)"
    )
    for name in filters:
        parser.add_argument(
            f"--{name}", metavar="NAME,…", action="append", default=[], help=f"calls of this {name} only; or of several"
        )
    parser.add_argument("--json", action="store_true", help="a document instead of text")
    parser.add_argument(
        "--timeout", metavar="SECONDS", type=float, default=30.0, help="for each answer of the server (default: 30)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Prints the answer; 1 when there is none."""
    from llmwatch import _explain

    try:
        question = _question(arguments)
        credentials = os.environ.get("LLMWATCH_PROMETHEUS_AUTH", "").strip()
        server = _explain.Server(arguments.prometheus, credentials or None, arguments.timeout)
    except ValueError as error:
        raise RefusalError(str(error)) from None
    try:
        answer = _explain.answered(arguments.subject, server, question)
    except _explain.UnreachableError as error:
        raise RefusalError(str(error)) from None
    if arguments.json:
        print(json.dumps(answer.document, indent=2, ensure_ascii=False))
    else:
        print(_explain.rendered(answer))
    return 1 if answer.finding == "unknown" else 0


def _question(arguments: argparse.Namespace) -> Any:
    from llmwatch._explain import Question, duration, instant

    if not arguments.timeout > 0:
        raise ValueError("--timeout must be more than 0")
    now = time.time()
    window = duration(arguments.window)
    # The same time of another day, at least as long ago as the window is long.
    against = duration(arguments.against) if arguments.against else -(-window // _DAY) * _DAY
    at = instant(arguments.at, now) if arguments.at else now
    if at > now + 60:
        raise ValueError(f"--at {arguments.at}: that is still to come")
    given = {label: _values(getattr(arguments, name, [])) for name, label in _FILTERS.items()}
    only = {label: values for label, values in given.items() if values}
    return Question(at, window, against, only, is_now=arguments.at is None)


def _values(texts: list[str]) -> tuple[str, ...]:
    return tuple(name.strip() for text in texts for name in text.split(",") if name.strip())
