"""The command line: `llmwatch demo`, `llmwatch labels`, `llmwatch prices`, `llmwatch ops` and `llmwatch explain`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from llmwatch._version import __version__
from llmwatch.cli import _demo, _explain, _labels, _ops, _prices
from llmwatch.cli._refusal import RefusalError

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit code: 0, 1 for an answer in the negative, or 2 when it cannot be run."""
    arguments = _parser().parse_args(argv)
    try:
        code = int(arguments.run(arguments))
        sys.stdout.flush()
        return code
    except RefusalError as reason:
        print(f"llmwatch: {reason}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # nobody reads on, as with `| head`; nor may the flush at the end of Python fail
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:  # before or after the demo itself, which takes it for its end
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("llmwatch", description="Metrics for applications that call LLMs.")
    parser.add_argument("--version", action="version", version=f"llmwatch {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="command", required=True)
    for command in (_demo, _labels, _prices, _ops, _explain):
        command.add(commands)
    return parser
