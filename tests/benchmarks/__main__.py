"""What observing calls costs: with llmwatch, by hand, and with other tools.

    python tests/benchmarks                             # everything but the other tools and the million calls
    python tests/benchmarks --peers --long --json F     # these too, and all figures in a file
    python tests/benchmarks --only calls,streams --rounds 11

What is compared takes turns in one process, so that ratios hold where times do not; medians over the rounds. Times
are of the processor, with the garbage collector on, less what the bare call takes. The floor is what somebody writes by
hand with OpenTelemetry. The other tools run in environments of their own under `.venv-peers`, made with uv.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import bounds
import calls
import holdups
import pages
import peers
import processes
import streams
from by_hand import FLOOR, hand_written
from clients import clients
from ours import OURS, ours
from results import Bound, Line, table, verdicts
from tools import Tool

SECTIONS = ("calls", "streams", "collection", "threads", "client", "scrape", "holdup", "import", "memory", "peers")


@dataclass(frozen=True, slots=True)
class Chosen:
    """How much of it is to be done.

    Attributes:
        sections: What is measured.
        rounds: Turns that each subject of a comparison has, where they are short.
        sizes: Of pages, in series.
        calls: Of the process whose memory is looked at.
        peers: The other tools.
    """

    sections: frozenset[str]
    rounds: int
    sizes: tuple[int, ...]
    calls: int
    peers: tuple[str, ...]

    def part(self, share: int) -> int:
        """The rounds of a comparison whose turns are longer."""
        return max(1, self.rounds // share)


def measured(chosen: Chosen) -> Iterator[Line]:
    """Line by line, section by section."""
    floor, *others = hand_written()
    tools = (floor, *others, *ours())
    parts: dict[str, Callable[[], Iterable[Line]]] = {
        "calls": lambda: calls.calls(tools, floor, chosen.rounds),
        "streams": lambda: streams.streams(tools, floor, chosen.rounds),
        "collection": lambda: calls.collections(tools, floor, chosen.part(2)),
        "threads": lambda: calls.threads(_few(tools, floor), chosen.part(4)),
        "client": lambda: clients(chosen.rounds),
        "scrape": lambda: pages.scrapes(chosen.sizes, chosen.part(4)),
        "holdup": lambda: holdups.hold_ups(chosen.sizes[-1], chosen.part(4)),
        "import": lambda: processes.imports(chosen.part(2)),
        "memory": lambda: processes.memory(chosen.calls),
        "peers": lambda: peers.peers(chosen.peers, chosen.part(2)),
    }
    for section in SECTIONS:
        if section in chosen.sections:
            sys.stderr.write(f"{section} …\n")
            yield from parts[section]()


def _few(tools: Sequence[Tool], floor: Tool) -> list[Tool]:
    """The floor, and llmwatch as it is."""
    return [tool for tool in tools if tool is floor or tool.name == OURS]


def circumstances() -> dict[str, Any]:
    """What the figures depend on."""
    names = ("llmwatch", "openai", "opentelemetry-sdk", "opentelemetry-exporter-prometheus", "prometheus-client")
    return {
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors",
        "load": [round(each, 1) for each in os.getloadavg()],
        "versions": {name: _version(name) for name in names},
    }


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "from its source"


_LEGEND = f"""Medians; µs of the processor, less what the bare call takes,
which is given as it is. The floor is {FLOOR!r}; a stream is given without its chunks."""


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python tests/benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="", help=f"sections, with commas between them: {', '.join(SECTIONS)}")
    parser.add_argument("--peers", nargs="?", const=",".join(peers.names()), default="", help="other tools, or all")
    parser.add_argument("--rounds", type=int, default=41)
    parser.add_argument("--long", action="store_true", help="a million calls where memory is looked at")
    parser.add_argument("--quick", action="store_true", help="once each: shows that it runs, and says nothing else")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where all figures are written, too")
    return parser.parse_args()


def _chosen(given: argparse.Namespace) -> Chosen:
    others = tuple(filter(None, given.peers.split(",")))
    everything = frozenset(SECTIONS) - (frozenset() if others else {"peers"})
    sections = frozenset(filter(None, given.only.split(","))) or everything
    if unknown := (sections - set(SECTIONS)) | (set(others) - set(peers.names())):
        sys.exit(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}; {', '.join(peers.names())}")
    if given.quick:
        return Chosen(sections, 1, (100,), 2000, others)
    return Chosen(sections, given.rounds, (100, 1000, 10_000), 1_000_000 if given.long else 100_000, others)


def _report(before: dict[str, Any], lines: Sequence[Line], held: Sequence[Bound]) -> str:
    load = f"load {before['load'][0]} before, {os.getloadavg()[0]:.1f} after"
    parts = [f"Python {before['python']}, {before['machine']}; {load}. {_LEGEND}", table(lines)]
    return "\n\n".join([*parts, f"## What must hold\n\n{verdicts(held)}"] if held else parts)


def main() -> int:
    """Prints the tables."""
    given = _arguments()
    before, lines = circumstances(), list(measured(_chosen(given)))
    held = bounds.bounds(lines)
    sys.stdout.write(_report(before, lines, held) + "\n")
    if given.json is not None:
        document = {
            **before,
            "load_after": list(os.getloadavg()),
            "lines": [asdict(line) for line in lines],
            "bounds": [{**asdict(bound), "verdict": bound.verdict} for bound in held],
        }
        given.json.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
