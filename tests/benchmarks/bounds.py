"""What must hold of llmwatch, as the issue has it that asked for these benchmarks, and whether it does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import calls
import holdups
import pages
import peers
import processes
import streams
from ours import OURS
from results import Bound, Line

_BIG = 10_000


def bounds(lines: Sequence[Line]) -> list[Bound]:
    """The bounds of whose figures there are lines."""
    found = _Found(lines)
    return [
        bound
        for bound in (*_of_calls(found), *_of_streams(found), *_of_pages(found), *_of_processes(found))
        if bound is not None
    ]


class _Found:
    """The figures, by section, line and name."""

    def __init__(self, lines: Sequence[Line]) -> None:
        self._figures = {(line.section, line.name): line.figures for line in lines}

    def all(self, section: str, figure: str) -> list[float]:
        """A figure of all lines of a section that have it."""
        return [
            value
            for (where, _), figures in self._figures.items()
            if where == section and (value := figures.get(figure)) is not None
        ]

    def figure(self, section: str, name: str, figure: str) -> float | None:
        """A figure, if it was measured."""
        return self._figures.get((section, name), {}).get(figure)

    def bound(self, text: str, limit: float, where: tuple[str, str, str], aim: float | None = None) -> Bound | None:
        """The bound of a figure, if it was measured."""
        measured = self.figure(*where)
        return None if measured is None else Bound(text, limit, measured, aim)


def _of_calls(found: _Found) -> Iterator[Bound | None]:
    yield found.bound("caller's time ÷ by hand, sync", 0.15, (calls.CALLS, OURS, "sync ÷ floor"), 0.10)
    yield found.bound("caller's time ÷ by hand, async", 0.15, (calls.CALLS, OURS, "async ÷ floor"), 0.10)
    scraped = calls.COLLECTED, OURS
    yield found.bound("caller's time ÷ by hand, 1000 calls a scrape", 0.15, (*scraped, "caller ÷ floor"), 0.10)
    yield found.bound(
        "processor's time with the scrape of 1000 calls ÷ by hand", 0.35, (*scraped, "with the scrape ÷ floor"), 0.25
    )
    yield found.bound("failing call ÷ successful one", 2.0, (calls.CALLS, OURS, "error ÷ sync"))
    yield found.bound("a call on 16 threads ÷ on 1, wall", 1.5, (calls.THREADS, OURS, "16 ÷ 1"))


def _of_streams(found: _Found) -> Iterator[Bound | None]:
    for kind, stream, limit in (("", "a stream", 0.6), ("async ", "an async stream", 1.0)):
        chunk = streams.STREAMS, OURS, f"{kind}chunk, µs"
        yield found.bound(f"chunk of {stream} over the bare loop, µs", limit, chunk)
        figure = f"{kind}chunk ÷ floor's call"
        ours, theirs = found.figure(streams.STREAMS, OURS, figure), found.all(peers.SECTION, figure)
        if ours is not None and theirs:
            yield Bound(f"chunk of {stream} ÷ the cheapest other tool's", 0.2, ours / min(theirs))


def _of_pages(found: _Found) -> Iterator[Bound | None]:
    yield found.bound(
        "scrape at 10,000 series ÷ the stock reader's", 1.0, (pages.SCRAPES, pages.named(OURS, _BIG), "÷ stock")
    )
    yield found.bound(
        "longest call during such a scrape, ms",
        1.0,
        (holdups.held_up_by(_BIG), OURS, "longest but for garbage collections, ms"),
    )


def _of_processes(found: _Found) -> Iterator[Bound | None]:
    yield found.bound(
        "growth over a million calls, MB", 1.0, (processes.MEMORY, processes.many(1_000_000), "grown, MB")
    )
    yield found.bound(
        "import llmwatch ÷ import opentelemetry.metrics",
        0.5,
        (processes.IMPORTS, processes.IMPORTED, f"÷ {processes.REFERENCE}"),
    )
