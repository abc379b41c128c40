"""Where the time goes: samples of what runs, taken by a timer of the processor's time, which slows nothing down.

    python tests/benchmarks/hotspots.py [--seconds 4] [--top 20] [--only call,fold]

A profiler that sees every call makes small functions look expensive; samples do not.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import answers
from ours import OURS, ours
from pages import Ours
from timing import nothing
from tools import Functions, Tool

from llmwatch import _runtime

_INTERVAL = 0.0005  # seconds of the processor's between two samples
_PAUSE = 400  # calls after which the page is collected, unsampled, as a scrape would do
_STREAMS = 20


@dataclass(frozen=True, slots=True)
class Spot:
    """One function.

    Attributes:
        function: Its file, line and name.
        own: Its share of the samples.
        within: The share of the samples in which it was running or waiting for what it had called.
    """

    function: str
    own: float
    within: float


def spots(work: Callable[[], int], seconds: float, between: Callable[[], object]) -> tuple[float, list[Spot]]:
    """Where the time of some work goes.

    Args:
        work: Does some of it, and says how many units that were.
        seconds: How long to do it.
        between: What is to be done in between, unsampled.

    Returns:
        Seconds per unit, and the functions, those that take the most themselves first.
    """
    own: Counter[str] = Counter()
    within: Counter[str] = Counter()

    def sample(_: int, frame: FrameType | None) -> None:
        stack = list(_stack(frame))
        own[stack[0]] += 1
        within.update(set(stack))

    previous = signal.signal(signal.SIGPROF, sample)
    units, spent = 0, 0.0
    try:
        while spent < seconds:
            signal.setitimer(signal.ITIMER_PROF, _INTERVAL, _INTERVAL)
            began = time.thread_time()
            units += work()
            spent += time.thread_time() - began
            signal.setitimer(signal.ITIMER_PROF, 0)
            between()
    finally:
        signal.signal(signal.SIGPROF, previous)
    total = own.total() or 1
    found = [Spot(name, own[name] / total, count / total) for name, count in within.items()]
    return spent / units, sorted(found, key=lambda spot: (-spot.own, -spot.within))


def _stack(frame: FrameType | None) -> Iterator[str]:
    while frame is not None and frame.f_code.co_filename != __file__:
        code = frame.f_code
        path = Path(code.co_filename)
        yield f"{'/'.join(path.parts[-2:])}:{code.co_firstlineno} {code.co_qualname}"
        frame = frame.f_back
    yield "the benchmark itself"


def _table(title: str, unit: float, found: list[Spot], top: int) -> str:
    lines = [
        f"\n## {title}: {unit * 1e6:.2f} µs each\n",
        "| own | own µs | with what it calls, µs | function |",
        "|--|--|--|--|",
    ]
    lines += [
        f"| {spot.own:.1%} | {spot.own * unit * 1e6:.3f} | {spot.within * unit * 1e6:.3f} | {spot.function} |"
        for spot in found[:top]
    ]
    return "\n".join(lines)


def _calls(call: Callable[[], Any]) -> int:
    for _ in range(_PAUSE):
        call()
    return _PAUSE


def _failing(functions: Functions) -> Callable[[], None]:
    def fail() -> None:
        try:
            functions.failing()
        except Exception:
            return

    return fail


def _streams(functions: Functions, chunks: list[Any]) -> int:
    for _ in range(_STREAMS):
        for _ in functions.stream(chunks):
            pass
    return _STREAMS * len(chunks)


async def _async_streams(functions: Functions, chunks: list[Any]) -> int:
    for _ in range(_STREAMS):
        async for _ in await functions.async_stream(chunks):
            pass
    return _STREAMS * len(chunks)


def _one(render: Callable[[], object]) -> int:
    render()
    return 1


@dataclass(frozen=True, slots=True)
class Scene:
    """Something to look at.

    Attributes:
        title: What a unit of it is.
        work: Does some of it, and says how many units that were.
        between: What is done in between, unsampled.
    """

    title: str
    work: Callable[[], int]
    between: Callable[[], object]


def _scenes(tool: Tool, runner: asyncio.Runner) -> dict[str, Callable[[], Scene]]:
    runtime, functions = _runtime.installed(), tool.functions
    settle, collect, chunks = runtime.recorder.settle, tool.collect, answers.chunks(answers.CHUNKS)

    def folded() -> int:
        settle()
        return _PAUSE

    def parked() -> None:
        settle()
        _calls(functions.sync)

    def page_of_many() -> Scene:
        big = Ours(10_000)
        return Scene("a page of 10,000 sample lines", lambda: _one(big.render), nothing)

    return {
        "call": lambda: Scene("a call", lambda: _calls(functions.sync), collect),
        "fail": lambda: Scene("a call that fails", lambda: _calls(_failing(functions)), collect),
        "chunk": lambda: Scene("a chunk of a stream", lambda: _streams(functions, chunks), collect),
        "async": lambda: Scene(
            "a chunk of an async stream", lambda: runner.run(_async_streams(functions, chunks)), collect
        ),
        "fold": lambda: Scene("folding a call at a collection", folded, parked),
        "few": lambda: Scene("a page of few series", lambda: _one(collect), nothing),
        "many": page_of_many,
    }


def main() -> int:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--top", type=int, default=20)
    parser.add_argument("--only", default="")
    chosen = parser.parse_args()
    (tool,) = [each for each in ours() if each.name == OURS]
    tool.install()
    with asyncio.Runner() as runner:
        for name, scene in _scenes(tool, runner).items():
            if not chosen.only or name in chosen.only.split(","):
                shown = scene()
                shown.between()
                sys.stdout.write(
                    _table(shown.title, *spots(shown.work, chosen.seconds, shown.between), chosen.top) + "\n"
                )
    return 0


if __name__ == "__main__":
    sys.exit(main())
