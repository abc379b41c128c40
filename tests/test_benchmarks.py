"""The benchmarks run, and their tables have all their lines. How fast anything is, is no question here."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support import REPOSITORY

BENCHMARKS = REPOSITORY / "tests" / "benchmarks"
BY_HAND = [
    "by hand: OpenTelemetry",
    "by hand: OpenTelemetry, dicts made once",
    "by hand: prometheus_client, .labels()",
    "by hand: prometheus_client, children kept",
]
OURS = ["llmwatch, semconv='none'", "llmwatch"]
STOCK = "stock PrometheusMetricReader"
LINES = {
    "calls": ["bare call", *BY_HAND, *OURS],
    "streams": ["bare call", "bare, streams in a generator", *BY_HAND, *OURS],
    "1000 calls and a scrape, per call": [*BY_HAND, *OURS],
    "a call on many threads, all together": [BY_HAND[0], "llmwatch"],
    "real client, mock transport": ["bare call", BY_HAND[0], "llmwatch", "llmwatch, watch(client) too"],
    "scrape": ["llmwatch, 100 series", f"{STOCK}, 100 series"],
    "calls during a scrape of 100 series": ["llmwatch", STOCK, "nobody: a thread that computes"],
    "import": ["llmwatch", "llmwatch, a function decorated", "opentelemetry.metrics"],
    "from the import to the first page": ["llmwatch, its price table loaded", "by hand: OpenTelemetry, one counter"],
    "memory": ["2,000 calls, a scrape every 1000"],
}
# Those of issue 9 that can be told from a quick run.
BOUNDED = [
    "caller's time ÷ by hand, sync",
    "caller's time ÷ by hand, async",
    "caller's time ÷ by hand, 1000 calls a scrape",
    "processor's time with the scrape of 1000 calls ÷ by hand",
    "failing call ÷ successful one",
    "a call on 16 threads ÷ on 1, wall",
    "chunk of a stream over the bare loop, µs",
    "chunk of an async stream over the bare loop, µs",
    "import llmwatch ÷ import opentelemetry.metrics",
]
PEERS = "openllmetry otel-genai otel-v2 openlit openinference logfire langfuse autometrics litellm".split()


def run(*arguments: str) -> str:
    path = os.pathsep.join([str(REPOSITORY), str(BENCHMARKS)])
    done = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": path, "PYTHONIOENCODING": "utf-8"},
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any]]:
    """What a quick run prints, and what it writes."""
    found = tmp_path_factory.mktemp("benchmarks") / "found.json"
    printed = run(str(BENCHMARKS), "--quick", "--json", str(found))
    return printed, json.loads(found.read_text(encoding="utf-8"))


def test_every_comparison_has_all_its_lines(quick: tuple[str, dict[str, Any]]) -> None:
    found: dict[str, list[str]] = {}
    for line in quick[1]["lines"]:
        found.setdefault(line["section"], []).append(line["name"])
    assert found == LINES


def test_every_figure_is_a_number(quick: tuple[str, dict[str, Any]]) -> None:
    figures = [
        (line["section"], line["name"], name, figure)
        for line in quick[1]["lines"]
        for name, figure in line["figures"].items()
    ]
    assert len(figures) > 100
    assert [each for each in figures if each[3] is not None and not math.isfinite(each[3])] == []
    # A bare call is no multiple of the floor.
    assert {name for _, name, _, figure in figures if figure is None} == {"bare call"}


def test_what_must_hold_is_there_with_its_verdict(quick: tuple[str, dict[str, Any]]) -> None:
    bounds = quick[1]["bounds"]
    assert [bound["text"] for bound in bounds] == BOUNDED
    for bound in bounds:
        assert (bound["verdict"] == "MISSED") == (bound["measured"] > bound["limit"])


def test_the_printed_tables_have_the_lines_and_say_what_each_records(quick: tuple[str, dict[str, Any]]) -> None:
    printed, _ = quick
    for section, names in LINES.items():
        table = printed.split(f"\n## {section}\n\n")[1].split("\n\n")[0].splitlines()
        assert [row.split("|")[1].strip() for row in table[2:]] == names
    said = printed.split("What they record of a call:\n\n")[1].split("\n\n")[0]
    for name in {*BY_HAND, *OURS, "llmwatch, watch(client) too"}:
        assert f"* {name}: requests, duration, tokens" in said
    for text in BOUNDED:
        assert f"| {text} " in printed


def test_a_section_alone_can_be_asked_for(tmp_path: Path) -> None:
    found = tmp_path / "found.json"
    run(str(BENCHMARKS), "--quick", "--only", "memory", "--json", str(found))
    assert [line["section"] for line in json.loads(found.read_text())["lines"]] == ["memory"]


def test_every_other_tool_has_an_environment_and_the_code_that_puts_it_in_place() -> None:
    code = "import peers; print(*peers.names()); import peer; print(*peer.PEERS)"
    assert run("-c", code).splitlines() == [" ".join(PEERS)] * 2


def test_the_profile_names_functions_of_ours() -> None:
    printed = run(str(BENCHMARKS / "hotspots.py"), "--only", "call", "--seconds", "0.3", "--top", "100")
    assert "## a call: " in printed
    assert "llmwatch/_functions.py" in printed


def test_a_stream_is_told_from_its_chunks() -> None:
    # Of a made-up tool that takes 50 µs a stream and 3 µs a chunk where the bare loop takes 1 and 0.5.
    code = """
from calls import added
from timing import Timing
from tools import BARE, Tool
def taken(name, stream, chunk, number):
    return Timing(f"{name} {number}", (stream + chunk * number,) * 3)
long, short = taken("", 50, 3, 200), taken("", 50, 3, 20)
chunk = long.minus(short).over(180)
stream = short.minus(chunk.over(1 / 20))
timings = {"tool chunk": chunk, "tool stream": stream, "bare call chunk": Timing("", (0.5,) * 3),
           "bare call stream": Timing("", (1,) * 3)}
tool = Tool("tool", "", BARE.functions, bare=BARE)
print(added(timings, tool, " chunk").median, added(timings, tool, " stream").median)
"""
    assert [float(figure) for figure in run("-c", code).split()] == [2.5, 49.0]


def test_figures_are_shown_with_three_digits() -> None:
    figures = (None, 0.0, 0.1234, -2.345, 12.34, 1234.5, 2e-5)
    shown = run("-c", f"import results; print(*map(results.shown, {figures!r}))")
    assert shown.split() == ["-", "0", "0.123", "-2.35", "12.3", "1,234", "0.0000"]
