"""Whole calls: what a tool adds to one, sync, async and failing; with collections; and on many threads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from itertools import repeat
from time import process_time
from typing import Any

from results import Line
from timing import Timing, Turn, in_turns
from tools import Functions, Tool, with_bare

CALLS, COLLECTED, THREADS = "calls", "1000 calls and a scrape, per call", "a call on many threads, all together"
_BETWEEN_SCRAPES = 1000  # calls
_CALLS = 250  # in a turn: those of a process between two scrapes, where it is not in a hurry
_NUMBERS = 1, 4, 16  # of threads
_SHARED = 4000  # calls of a turn, on however many threads

Work = Callable[[], None]


def sync_calls(functions: Functions, number: int) -> Work:
    """So many calls."""

    def work() -> None:
        call = functions.sync
        for _ in repeat(None, number):
            call()

    return work


def failing_calls(functions: Functions, number: int) -> Work:
    """So many that fail, their exceptions caught."""

    def work() -> None:
        call = functions.failing
        for _ in repeat(None, number):
            try:
                call()
            except Exception:
                continue

    return work


def async_calls(functions: Functions, number: int, runner: asyncio.Runner) -> Work:
    """So many, awaited one after the other."""

    async def work() -> None:
        call = functions.coroutine
        for _ in repeat(None, number):
            await call()

    return lambda: runner.run(work())


def calls(tools: Sequence[Tool], floor: Tool, rounds: int) -> list[Line]:
    """What each tool adds to a call, and that in multiples of what the floor adds to the same."""
    with asyncio.Runner() as runner:
        kinds: Mapping[str, Callable[[Functions, int], Work]] = {
            "sync": sync_calls,
            "async": lambda functions, number: async_calls(functions, number, runner),
            "error": failing_calls,
        }
        timings = in_turns(
            {
                f"{tool.name} {kind}": Turn(work(tool.functions, _CALLS), _CALLS, tool.install, tool.collect)
                for kind, work in kinds.items()
                for tool in with_bare(tools)
                if kind not in tool.lacks
            },
            rounds=rounds,
        )
    found = {
        kind: {tool.name: added(timings, tool, f" {kind}") for tool in with_bare(tools) if kind not in tool.lacks}
        for kind in kinds
    }
    return [Line(CALLS, tool.name, tool.records, _figures(tool, floor, found)) for tool in with_bare(tools)]


def added(timings: Mapping[str, Timing], tool: Tool, part: str = "") -> Timing:
    """What a tool takes more than its bare call; the bare call's as it is."""
    timing = timings[tool.name + part]
    return timing.minus(timings[tool.bare.name + part]) if tool.bare is not None else timing


def _figures(tool: Tool, floor: Tool, found: Mapping[str, Mapping[str, Timing]]) -> dict[str, float | None]:
    figures: dict[str, float | None] = {}
    for kind, timings in found.items():
        timing = timings.get(tool.name)
        figures[f"{kind}, µs"] = timing.median * 1e6 if timing else None
        figures[f"{kind}, wall µs"] = timing.by_the_wall.median * 1e6 if timing else None
        figures[f"{kind} ÷ floor"] = timing.ratio(timings[floor.name]) if timing and tool.bare else None
    error, sync = (found[kind].get(tool.name) for kind in ("error", "sync"))
    figures["error ÷ sync"] = error.ratio(sync) if error and sync and tool.bare else None
    return figures


def collections(tools: Sequence[Tool], floor: Tool, rounds: int) -> list[Line]:
    """What a thousand calls and the scrape after them cost together, per call."""
    turns: dict[str, Turn] = {}
    for tool in with_bare(tools):
        work = sync_calls(tool.functions, _BETWEEN_SCRAPES)
        turns[f"{tool.name} calls"] = Turn(work, _BETWEEN_SCRAPES, tool.install, tool.collect)
        turns[f"{tool.name} all"] = Turn(_followed(work, tool.collect), _BETWEEN_SCRAPES, tool.install)
    timings = in_turns(turns, rounds=rounds, clock=process_time)
    lines = []
    for tool in tools:
        figures: dict[str, float | None] = {}
        for part, said in ((" calls", "caller"), (" all", "with the scrape")):
            more = added(timings, tool, part)
            figures |= {f"{said}, µs": more.median * 1e6, f"{said} ÷ floor": more.ratio(added(timings, floor, part))}
        lines.append(Line(COLLECTED, tool.name, tool.records, figures))
    return lines


def _followed(work: Work, collect: Callable[[], Any]) -> Work:
    def both() -> None:
        work()
        collect()

    return both


def threads(tools: Sequence[Tool], rounds: int) -> list[Line]:
    """Seconds of the wall per call when so many threads make them, all threads together."""
    turns = {
        f"{tool.name} {number}": Turn(_on_threads(tool.functions, number), _SHARED, tool.install, tool.collect)
        for tool in tools
        for number in _NUMBERS
    }
    timings = in_turns(turns, rounds=rounds, clock=process_time)
    lines = []
    for tool in tools:
        alone, *_, many = (timings[f"{tool.name} {number}"] for number in _NUMBERS)
        figures: dict[str, float | None] = {
            f"{number} threads, wall µs": timings[f"{tool.name} {number}"].by_the_wall.median * 1e6
            for number in _NUMBERS
        }
        figures["16 ÷ 1"] = many.by_the_wall.ratio(alone.by_the_wall)
        figures["16 ÷ 1, of the processors'"] = many.ratio(alone)
        lines.append(Line(THREADS, tool.name, tool.records, figures))
    return lines


def _on_threads(functions: Functions, number: int) -> Work:
    work = sync_calls(functions, _SHARED // number)

    def run() -> None:
        running = [threading.Thread(target=work) for _ in range(number)]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()

    return run
