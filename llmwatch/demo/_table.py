"""The numbers as people read them: a live table for a terminal, and lines of text for everything else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Self

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from llmwatch.demo._numbers import History, Line, Numbers, Place

_ENDINGS = {"success": "answered", "error": "failed", "cancelled": "cancelled", "abandoned": "left early"}
_UNKNOWN = "-"
_LINE = 3.0  # seconds between two lines of text


@dataclass(frozen=True, slots=True)
class Moment:
    """What there is to be seen at one moment.

    Attributes:
        seconds: Since the start.
        numbers: The totals since then.
        history: What leads up to them.
        remark: What is going on beyond the everyday.
        over: Whether this is the last one.
    """

    seconds: float
    numbers: Numbers
    history: History
    remark: str = ""
    over: bool = False


class TableScreen:
    """A table that is drawn anew in its place at each moment.

    Attributes:
        every: Seconds between two moments.
    """

    every = 0.5

    def __init__(self, console: Console, url: str) -> None:
        self._live = Live(console=console, auto_refresh=False)
        self._url = url

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, moment: Moment) -> None:
        """Draws it."""
        self._live.update(table(moment, self._url), refresh=True)


class LineScreen:
    """A line of text every few seconds.

    Attributes:
        every: Seconds between two moments.
    """

    every = 1.0

    def __init__(self, console: Console) -> None:
        self._console = console
        self._due = _LINE
        self._remark = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """There is nothing to put back."""

    def show(self, moment: Moment) -> None:
        """Prints it when it is time for one."""
        if moment.remark != self._remark and not moment.over:
            self._remark = moment.remark
            self._console.print(f"       {moment.remark or 'back to normal'}")
        if moment.seconds >= self._due:
            self._due += _LINE
            self._console.print(line(moment), soft_wrap=True)


def introduction(application: str, url: str, prometheus: str = "") -> str:
    """Where to look, and what to ask."""
    alerts = f"\nAlerts:      [bold]{prometheus}/alerts[/] (rules in seconds, not minutes)" * bool(prometheus)
    return rf"""
Live page:   [bold]{url}/[/]{alerts}
Application: [bold]{application}[/] (POST /chat /search /summaries /tickets)
Incidents:   curl -X POST {application}/incidents/rate-limit
Metrics:     [bold]{url}/metrics[/] - once Prometheus scrapes it, ask:
  Which feature costs how many dollars an hour?
    [cyan]sum by (feature) (rate(ai_cost_dollars_total\[5m])) * 3600[/]
  Which agent eats the tokens?
    [cyan]sum by (agent, direction) (rate(ai_tokens_total\[5m]))[/]
  Why do calls fail, and whose?
    [cyan]sum by (provider, error_type) (rate(ai_errors_total\[5m])) > 0[/]
Ctrl-C ends the demo.
"""


def table(moment: Moment, url: str) -> RenderableType:
    """The table, made for 80 columns."""
    rows = Table(box=SIMPLE_HEAD, padding=0, pad_edge=False, show_edge=False, show_footer=True)
    total = list(_cells(moment.numbers.total, moment.history, None))
    rows.add_column("feature", "total", no_wrap=True, footer_style="bold")
    rows.add_column("model", no_wrap=True, style="cyan")
    for (name, width), cell in zip(_COLUMNS.items(), total, strict=True):
        rows.add_column(name, cell, justify="right", no_wrap=True, min_width=width, footer_style="bold")
    previous = ""
    for place, line in moment.numbers.lines.items():
        feature, model = place
        rows.add_row(feature if feature != previous else "", model or _UNKNOWN, *_cells(line, moment.history, place))
        previous = feature
    return Group(_headline(moment), rows, Text(), *_footer(moment, url))


# With the widths that they come to need, so that nothing moves when numbers grow.
_COLUMNS = {"calls": 5, "err": 3, "stop": 4, "P95": 5, "in": 5, "out": 5, "tok/s": 5, "cost": 7}


def _headline(moment: Moment) -> Text:
    headline = Text.assemble(
        ("llmwatch demo", "bold cyan"), f"   {clock(moment.seconds)}   ", (f"{moment.numbers.active} open", "bold")
    )
    if moment.remark:
        headline.append(f"   {moment.remark}", "bold yellow")
    return headline


def _cells(line: Line, history: History, place: Place | None) -> Iterator[Text]:
    yield Text(count(line.calls))
    yield _alarming(line.count("error"), "red")
    yield _alarming(_stopped(line), "yellow")
    yield Text(duration(history.p95(place)))
    yield Text(count(line.count("input")))
    yield Text(count(line.count("output")))
    yield Text(count(history.tokens_per_second(place)))
    yield Text(money(line.dollars), "green")


def _stopped(line: Line) -> int:
    return line.count("cancelled") + line.count("abandoned")


def _alarming(number: int, style: str) -> Text:
    return Text(count(number), style if number else "dim")


def _footer(moment: Moment, url: str) -> Iterator[Text]:
    yield Text(f"errors: {_listed(moment.numbers.errors)}", "dim", no_wrap=True, overflow="ellipsis")
    yield Text("stop: cancelled, or left before the end   P95: of the last minute", "dim", no_wrap=True)
    if not moment.over:
        yield Text.assemble((f"{url}/metrics", "underline"), ("   Ctrl-C ends the demo", "dim"), no_wrap=True)


def _listed(errors: Mapping[str, int]) -> str:
    ordered = sorted(errors.items(), key=lambda item: -item[1])
    return ", ".join(f"{number} {name}" for name, number in ordered) or "none yet"


def line(moment: Moment) -> str:
    """One line of text for one moment, for logs and pipes."""
    total = moment.numbers.total
    parts = (
        f"{moment.seconds:4.0f}s",
        f"{count(total.calls)} calls",
        f"{count(total.count('error'))} err",
        f"{count(_stopped(total))} stop",
        f"{moment.numbers.active} open",
        f"P95 {duration(moment.history.p95())}",
        f"{count(moment.history.tokens_per_second())} tok/s",
        money(total.dollars),
    )
    return "  ".join(parts)


def summary(moment: Moment) -> str:
    """The last words: how all calls ended, and what they took."""
    total = moment.numbers.total
    endings = ", ".join(f"{total.count(status):,} {word}" for status, word in _ENDINGS.items())
    return (
        f"{total.calls:,} calls: {endings}\n"
        f"{count(total.tokens)} tokens, {money(total.dollars)}, in {moment.seconds:.0f} s; {moment.numbers.active} open"
    )


def count(number: float | None) -> str:
    """At most five characters: 940, 9,999, 12.3k, 4.56M."""
    if number is None:
        return _UNKNOWN
    if number < 9_999.5:
        return f"{number:,.0f}"
    for unit, factor in (("k", 1e3), ("M", 1e6), ("G", 1e9)):
        if number < 999.5 * factor:
            return f"{number / factor:.3g}{unit}" if number >= 99.95 * factor else f"{number / factor:.1f}{unit}"
    return f"{number:.0e}"


def duration(seconds: float | None) -> str:
    """Seconds to two places, or to one from ten on."""
    return _UNKNOWN if seconds is None else f"{seconds:.2f}s" if seconds < 9.995 else f"{seconds:.1f}s"


def money(dollars: float | None) -> str:
    """US dollars, with as many places as seven characters have room for; `-` when the price is not known."""
    if dollars is None:
        return _UNKNOWN
    if 0 < dollars < 0.00005:
        return "<$.0001"
    places = 4 if dollars < 9.99995 else 2 if dollars < 999.995 else 0
    return f"${dollars:,.{places}f}"


def clock(seconds: float) -> str:
    """Minutes and seconds."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
