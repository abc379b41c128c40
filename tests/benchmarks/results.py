"""Line: what was measured of one tool in one comparison; Bound: what must hold of it; and the table of both."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table.

    Attributes:
        section: The comparison, whose lines were measured in turns.
        name: What was measured.
        records: What it records of a call; empty where that is no question.
        figures: Its figures by their names, which end with their unit; `None` where a tool cannot do such a thing.
    """

    section: str
    name: str
    records: str
    figures: Mapping[str, float | None]


@dataclass(frozen=True, slots=True)
class Bound:
    """What must hold.

    Attributes:
        text: What is bounded.
        limit: What it must not exceed.
        aim: What it should not exceed.
        measured: What it is.
    """

    text: str
    limit: float
    measured: float
    aim: float | None = None

    @property
    def met(self) -> bool:
        """Whether it holds."""
        return self.measured <= self.limit

    @property
    def verdict(self) -> str:
        """Met or missed, and the aim if there is one."""
        if not self.met or self.aim is None:
            return "met" if self.met else "MISSED"
        return "met, aim too" if self.measured <= self.aim else "met"


def table(lines: Sequence[Line]) -> str:
    """The lines as tables in Markdown, one for each comparison, and what each tool records beneath them."""
    parts = [_section(section, [*group]) for section, group in groupby(lines, key=lambda line: line.section)]
    records = {line.name: line.records for line in lines if line.records}
    said = [f"* {name}: {what}." for name, what in records.items()]
    return "\n\n".join([*parts, "\n".join(["What they record of a call:", "", *said])] if said else parts)


def verdicts(bounds: Iterable[Bound]) -> str:
    """The bounds as a table in Markdown."""
    head = ("bound", "limit", "aim", "measured", "")
    rows = [
        (bound.text, shown(bound.limit), shown(bound.aim), shown(bound.measured), bound.verdict) for bound in bounds
    ]
    return "\n".join(_aligned([head, *rows]))


def shown(figure: float | None) -> str:
    """A figure with three digits that say something."""
    if figure is None or not math.isfinite(figure):
        return "-"
    if figure == 0 or abs(figure) >= 100:
        return f"{figure:,.0f}"
    return f"{figure:.{max(0, 2 - math.floor(math.log10(abs(figure))))}f}" if abs(figure) >= 0.001 else f"{figure:.4f}"


def _section(title: str, lines: Sequence[Line]) -> str:
    names = list(dict.fromkeys(name for line in lines for name in line.figures))
    rows = [(line.name, *(shown(line.figures.get(name)) for name in names)) for line in lines]
    return "\n".join([f"## {title}", "", *_aligned([("", *names), *rows])])


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    head, *rest = [" | ".join(_padded(row, widths)) for row in rows]
    yield f"| {head} |"
    yield f"|{'|'.join(_rule(number, width) for number, width in enumerate(widths))}|"
    yield from (f"| {row} |" for row in rest)


def _padded(row: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
    for number, (cell, width) in enumerate(zip(row, widths, strict=True)):
        yield cell.rjust(width) if number else cell.ljust(width)


def _rule(number: int, width: int) -> str:
    return "-" * (width + 1) + ":" if number else "-" * (width + 2)
