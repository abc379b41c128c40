"""Hold-ups: how long calls take while another thread scrapes a big page, beside the stock reader's page."""

from __future__ import annotations

import gc
import math
import resource
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any

from ours import OURS
from pages import STOCK, Ours, Stock
from results import Line

_NOBODY = "nobody: a thread that computes"
_PAUSE = 0.0002  # seconds between two calls of a caller who waits for a vendor
_LONG = 0.001


def held_up_by(size: int) -> str:
    """The section of calls during a scrape of so many series."""
    return f"calls during a scrape of {size:,} series"


@dataclass(frozen=True, slots=True)
class Taken:
    """One call during a scrape.

    Attributes:
        seconds: How long it took.
        collecting: Whether the garbage collector ran in it, which runs in whichever thread asks for memory.
    """

    seconds: float
    collecting: bool


def hold_ups(size: int, scrapes: int) -> list[Line]:
    """How long calls take while another thread scrapes, again and again, and while it does something else instead."""
    ours = Ours(size)
    stock = Stock(ours.metrics())
    ours.take_place()
    page_seconds = _seconds(ours.render)
    pages: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        OURS: (ours.call, ours.render),
        STOCK: (stock.calls_by_hand(), stock.render),
        _NOBODY: (ours.call, lambda: _compute(page_seconds)),
    }
    taken: dict[str, list[Sequence[Taken]]] = {name: [] for name in pages}
    with _collections() as collected:
        for _ in range(scrapes):
            for name, (call, scrape) in pages.items():
                taken[name].append(_calls_beside(call, scrape, collected))
                ours.render()
    return [Line(held_up_by(size), name, "", _held_up(each)) for name, each in taken.items()]


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _compute(seconds: float) -> None:
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        sum(range(100))


@contextmanager
def _collections() -> Iterator[Counter[int]]:
    """How often the garbage collector has run, by thread."""
    counted: Counter[int] = Counter()

    def count(phase: str, _: Any) -> None:
        counted[threading.get_ident()] += phase == "start"

    gc.callbacks.append(count)
    try:
        yield counted
    finally:
        gc.callbacks.remove(count)


def _calls_beside(call: Callable[[], object], scrape: Callable[[], object], collected: Counter[int]) -> Sequence[Taken]:
    """Each call that is made while a scrape goes on, of which there is one at least.

    Those in which the system gave the processor to another process are left out, as they say nothing.
    """
    taken: list[Taken] = []
    me, thread = threading.get_ident(), threading.Thread(target=scrape)
    thread.start()
    while thread.is_alive() or not taken:
        time.sleep(_PAUSE)
        preempted, collections = _preempted(), collected[me]
        seconds = _seconds(call)
        if _preempted() == preempted:
            taken.append(Taken(seconds, collected[me] != collections))
    thread.join()
    return taken


def _preempted() -> int:
    """How often the system has taken the processor away from this thread; waiting for a lock is something else."""
    return resource.getrusage(resource.RUSAGE_THREAD).ru_nivcsw if sys.platform == "linux" else 0


def _held_up(taken: Sequence[Sequence[Taken]]) -> dict[str, float | None]:
    together = sorted(each.seconds for scrape in taken for each in scrape)
    apart = [each.seconds for scrape in taken for each in scrape if not each.collecting] or together
    return {
        "longest, ms": together[-1] * 1e3,
        "longest but for garbage collections, ms": max(apart) * 1e3,
        "longest of a scrape, median, ms": median(max(each.seconds for each in scrape) for scrape in taken) * 1e3,
        "p99.9, ms": together[math.ceil(len(together) * 0.999) - 1] * 1e3,
        "median, ms": median(together) * 1e3,
        "calls": len(together),
        "calls of 1 ms or more": sum(seconds >= _LONG for seconds in together),
        "… but for garbage collections": sum(seconds >= _LONG for seconds in apart),
    }
