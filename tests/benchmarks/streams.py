"""Streams: what a tool adds to each, and to each of its chunks, beside the bare loop and a bare generator around it.

A stream of 200 chunks and one of 20 tell the one from the other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from itertools import repeat
from typing import Any

import answers
from calls import Work, added, sync_calls
from results import Line
from timing import Timing, Turn, in_turns
from tools import PASSED_ON, Functions, Tool, with_bare

STREAMS = "streams"
_CHUNKS = 2000  # in a turn
_CALLS = 50

Lengths = Mapping[int, list[Any]]


def streams(tools: Sequence[Tool], floor: Tool, rounds: int) -> list[Line]:
    """What each tool adds to a stream and to a chunk, and the latter in multiples of what the floor adds to a call."""
    lengths = {number: answers.chunks(number) for number in (answers.CHUNKS, answers.FEW)}
    everyone = [tool for tool in with_bare((PASSED_ON, *tools)) if "stream" not in tool.lacks]
    with asyncio.Runner() as runner:
        sync = _of_kind(everyone, floor, rounds, lengths, sync_streams)
        asynchronous = _of_kind(everyone, floor, rounds, lengths, lambda *each: async_streams(*each, runner=runner))
    return [
        Line(
            STREAMS,
            tool.name,
            tool.records,
            _figures(tool, sync) | _figures(tool, asynchronous, "async "),
        )
        for tool in everyone
    ]


def sync_streams(functions: Functions, chunks: list[Any], number: int) -> Work:
    """So many streams, read to their ends."""

    def work() -> None:
        call = functions.stream
        for _ in repeat(None, number):
            for _ in call(chunks):
                pass

    return work


def async_streams(functions: Functions, chunks: list[Any], number: int, *, runner: asyncio.Runner) -> Work:
    """The same, asynchronous."""

    async def work() -> None:
        call = functions.async_stream
        for _ in repeat(None, number):
            async for _ in await call(chunks):
                pass

    return lambda: runner.run(work())


def _of_kind(
    tools: Sequence[Tool],
    floor: Tool,
    rounds: int,
    lengths: Lengths,
    work: Callable[[Functions, list[Any], int], Work],
) -> dict[str, Timing]:
    """Of each tool seconds per chunk (`… chunk`), and per stream without its chunks (`… stream`); the floor's call."""
    turns = {"": Turn(sync_calls(floor.functions, _CALLS), _CALLS)}
    for tool in tools:
        for length, chunks in lengths.items():
            number = _CHUNKS // length
            turns[f"{tool.name} {length}"] = Turn(
                work(tool.functions, chunks, number), number, tool.install, tool.collect
            )
    timings = in_turns(turns, rounds=rounds)
    found = {"": timings[""]}
    for tool in tools:
        long, short = (timings[f"{tool.name} {length}"] for length in lengths)
        chunk = found[f"{tool.name} chunk"] = long.minus(short).over(answers.CHUNKS - answers.FEW)
        found[f"{tool.name} stream"] = short.minus(chunk.over(1 / answers.FEW))
    return found


def _figures(tool: Tool, found: Mapping[str, Timing], kind: str = "") -> dict[str, float | None]:
    stream, chunk = (added(found, tool, part) for part in (" stream", " chunk"))
    return {
        f"{kind}stream, µs": stream.median * 1e6,
        f"{kind}chunk, µs": chunk.median * 1e6,
        f"{kind}chunk ÷ floor's call": chunk.ratio(found[""]) if tool.bare is not None else None,
    }
