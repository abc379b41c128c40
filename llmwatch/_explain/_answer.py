"""Answers: sentences, tables and notes, as text that fits a terminal and as a document for machines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from textwrap import wrap
from typing import Literal

from llmwatch._explain._numbers import GLUE
from llmwatch._explain._question import Subject

WIDTH = 100
_CELL = 26
"""No cell is wider, so that a long name leaves room for the numbers."""

Finding = Literal["rose", "fell", "usual", "unknown"]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells.

    Attributes:
        columns: Their heads.
        rows: The cells of each row.
        words: The places of the columns that hold words; the others hold numbers.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: tuple[int, ...] = (0,)


@dataclass(frozen=True, slots=True)
class Answer:
    """What is to be said.

    Attributes:
        subject: What was asked about.
        finding: Whether it rose or fell, nothing stands out, or nobody can tell.
        heading: Which times are compared.
        sentences: The answer in words, paragraph by paragraph.
        tables: The numbers.
        notes: What limits the answer.
        data: The same for machines.
    """

    subject: Subject
    finding: Finding
    heading: str
    sentences: tuple[str, ...]
    tables: tuple[Table, ...] = ()
    notes: tuple[str, ...] = ()
    data: Mapping[str, object] = field(default_factory=dict)

    @property
    def document(self) -> dict[str, object]:
        """All of it, of what JSON knows."""
        return {
            "subject": self.subject,
            "finding": self.finding,
            "text": [_plain(text) for text in self.sentences],
            "notes": [_plain(text) for text in self.notes],
            **self.data,
        }


def rendered(answer: Answer) -> str:
    """The text of an answer, with no line longer than `WIDTH`."""
    blocks = [f"{answer.subject.capitalize()}: {answer.heading}"]
    blocks += ["\n".join(wrap(text, WIDTH)) for text in answer.sentences]
    blocks += ["\n".join(_drawn(table)) for table in answer.tables if table.rows]
    blocks += ["\n".join(wrap(f"Note: {text}", WIDTH)) for text in answer.notes]
    return _plain("\n\n".join(blocks))


def _drawn(table: Table) -> Iterator[str]:
    lines = [table.columns, *(tuple(map(_shortened, row)) for row in table.rows)]
    # A column of words that says nothing is left out.
    shown = [
        place for place in range(len(table.columns)) if place not in table.words or any(row[place] for row in lines[1:])
    ]
    widths = {place: max(len(line[place]) for line in lines) for place in shown}
    for line in lines:
        cells = (f"{line[place]:{'<' if place in table.words else '>'}{widths[place]}}" for place in shown)
        yield "  ".join(cells).rstrip()


def _shortened(cell: str) -> str:
    return cell if len(cell) <= _CELL else f"{cell[: _CELL - 1]}…"


def _plain(text: str) -> str:
    return "".join(char if char.isprintable() or char == "\n" else repr(char)[1:-1] for char in text.replace(GLUE, " "))


def top(rows: Sequence[tuple[str, ...]], most: int, rest: tuple[str, ...] | None) -> tuple[tuple[str, ...], ...]:
    """The first rows, and one for the rest of them."""
    return (*rows[:most], *([rest] if rest is not None and len(rows) > most else []))
