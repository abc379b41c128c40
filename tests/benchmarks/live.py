"""What the live page costs the application, as a share of one core: closed, and open in a browser.

`python tests/benchmarks/live.py`. CPU seconds of this process, which does nothing else meanwhile but a few calls that
are made before each look; the browser's own are not among them.
"""

from __future__ import annotations

import random
import statistics
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from time import process_time

sys.path.insert(0, str(Path(__file__).parents[1]))

from recording import REPLY, answering, apart

import llmwatch
from llmwatch import _runtime
from llmwatch.exposition import Request
from llmwatch.live import Live

_HOUR, _LOOKS = 240, 40  # looks that fill what is remembered, and those that are timed
_CLOSED = 30.0  # seconds between two looks


def main() -> None:
    """Prints one line for each size of application."""
    sys.stdout.write("series       a look     a document   closed     open              /metrics      memory\n")
    for features, models in ((5, 2), (30, 4), (100, 4)):
        with apart():
            sys.stdout.write(_line(features, models) + "\n")


def _line(features: int, models: int) -> str:
    llmwatch.configure(label_limits={"feature": 1000})
    functions = [
        answering({**REPLY, "model": f"gpt-4o-mini-{model}"}, feature=f"feature-{feature}", provider="openai")
        for feature in range(features)
        for model in range(models)
    ]
    for function in functions:
        function()
    site = _runtime.current().site
    now = 0.0
    live = _remembered(site, lambda: now)
    looks, documents, pages = list[float](), list[float](), list[float]()
    for number in range(_HOUR + _LOOKS):
        for function in random.sample(functions, min(len(functions), 20)):
            function()
        now += 15.0
        if number < _HOUR:
            looks.append(_seconds(live.sample))
        else:
            documents.append(_seconds(lambda: zlib.compress(live.document(), 4)))
    for _ in range(5):
        pages.append(_seconds(lambda: site.answer(Request("GET", "/metrics"))))
    series = _runtime.current().recorder.cells.series
    look, document, page = (statistics.median(each[-_LOOKS:]) for each in (looks, documents, pages))
    return (
        f"{series:6} {look * 1000:9.1f} ms {document * 1000:11.1f} ms {look / _CLOSED:8.3%} "
        f"{document / live._pause:7.2%} every {live._pause:3.1f} s {page * 1000:7.1f} ms "
        f"{_kilobytes(live):7.0f} kB"
    )


def _seconds(work: Callable[[], object]) -> float:
    began = process_time()
    work()
    return process_time() - began


def _remembered(site: object, clock: object) -> Live:
    site.answer(Request("GET", "/live.json"))  # type: ignore[attr-defined]
    collect = _runtime.current().page.live[1]._collect
    return Live(collect, print, 0.0, clock=clock)  # type: ignore[arg-type]


def _kilobytes(live: Live) -> float:
    """What is remembered, each row once."""
    looks = [*live._looks.values, *live._totals.values]
    rows = {id(row): sys.getsizeof(row) for look in looks for row in look.rows.values()}
    tables = sum(sys.getsizeof(look.rows) for look in looks)
    seen = sum(sys.getsizeof(key) + sys.getsizeof(value) for key, value in live._tally._seen.items())
    return (sum(rows.values()) + tables + seen) / 1000


if __name__ == "__main__":
    main()
