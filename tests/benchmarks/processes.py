"""Whole processes: importing, starting up, and memory over many calls, each in a fresh interpreter."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

from results import Line

REPOSITORY = Path(__file__).resolve().parents[2]
IMPORTS, MEMORY = "import", "memory"
IMPORTED, REFERENCE = "llmwatch", "opentelemetry.metrics"

_IMPORT = """
import time
began, spent = time.perf_counter(), time.process_time()
{statement}
print(time.process_time() - spent, time.perf_counter() - began)
"""
_DECORATED = "import llmwatch; llmwatch.observe_llm(feature='chat')(lambda: None)"
_OURS = """
import time
began, spent = time.perf_counter(), time.process_time()
import llmwatch
from llmwatch import _runtime
llmwatch.configure(service_name="benchmark")
page = _runtime.installed().page.render()
print(time.process_time() - spent, time.perf_counter() - began)
"""
_BY_HAND = """
import time
began, spent = time.perf_counter(), time.process_time()
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource
from prometheus_client import CollectorRegistry, generate_latest
registry = CollectorRegistry()
provider = MeterProvider([PrometheusMetricReader(registry=registry)], Resource.create({"service.name": "benchmark"}))
meter = provider.get_meter("by-hand")
meter.create_counter("ai_requests").add(1)
page = generate_latest(registry)
print(time.process_time() - spent, time.perf_counter() - began)
"""


def python(*arguments: str) -> str:
    """What a fresh interpreter prints; without llmwatch's and OpenTelemetry's variables."""
    path = os.pathsep.join([str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])])
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("LLMWATCH_", "OTEL_"))}
    run = subprocess.run(
        [sys.executable, *arguments],
        env={**inherited, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return run.stdout


def imports(rounds: int) -> list[Line]:
    """Milliseconds of an import, and of what comes before the first page, beside what they stand for."""
    return [
        *_beside(
            IMPORTS,
            {
                IMPORTED: _IMPORT.format(statement="import llmwatch"),
                "llmwatch, a function decorated": _IMPORT.format(statement=_DECORATED),
                REFERENCE: _IMPORT.format(statement="import opentelemetry.metrics"),
            },
            rounds,
        ),
        *_beside(
            "from the import to the first page",
            {"llmwatch, its price table loaded": _OURS, "by hand: OpenTelemetry, one counter": _BY_HAND},
            max(1, rounds // 2),
        ),
    ]


def _beside(section: str, programs: Mapping[str, str], rounds: int) -> list[Line]:
    """Programs in turns; the figures of each beside those of the last one."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in programs}
    for _ in range(rounds + 1):
        for name, program in programs.items():
            spent, passed = python("-c", program).split()
            taken[name].append((float(spent), float(passed)))
    last = [*taken.values()][-1][1:]
    return [
        Line(
            section,
            name,
            "",
            {
                "ms": median(spent for spent, _ in each[1:]) * 1e3,  # the first one writes or reads the bytecode
                "wall ms": median(passed for _, passed in each[1:]) * 1e3,
                f"÷ {[*programs][-1]}": median(
                    mine / other for (mine, _), (other, _) in zip(each[1:], last, strict=True)
                ),
            },
        )
        for name, each in taken.items()
    ]


def many(calls: int) -> str:
    """The line of so many calls."""
    return f"{calls:,} calls, a scrape every 1000"


def memory(calls: int) -> list[Line]:
    """Megabytes by which a process grows over so many calls, after a tenth of them as a warm-up."""
    found: dict[str, Any] = json.loads(python(str(Path(__file__).with_name("memory.py")), str(calls)))
    return [Line(MEMORY, many(calls), "", found)]
