"""Override files: read from TOML or a mapping, and complained about by file, line, entry and field."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from llmwatch.pricing._rules import Overrides

Path_ = tuple[int | str, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with an override file.

    Attributes:
        message: What is wrong.
        entry: Number of the `[[price]]` entry, from 1; `None` when it is the file as a whole.
        field: The field, as a dotted path inside the entry; `None` when it is the entry as a whole.
        line: Line of the file, from 1; `None` when the overrides are no file.
    """

    message: str
    entry: int | None = None
    field: str | None = None
    line: int | None = None

    def __str__(self) -> str:
        place = [f"entry {self.entry}"] if self.entry is not None else []
        place += [f"field {self.field!r}"] if self.field is not None else []
        return f"{', '.join(place)}: {self.message}" if place else self.message


class PriceFileError(ValueError):
    """Overrides that cannot be used.

    Attributes:
        file: The file; `None` when the overrides came as a mapping.
        problems: All that is wrong, in the order of the file.
        entry: The entry of the first problem, from 1.
        field: Its field.
        line: Its line.
    """

    def __init__(self, file: str | None, problems: tuple[Problem, ...]) -> None:
        self.file = file
        self.problems = problems
        first = problems[0]
        self.entry, self.field, self.line = first.entry, first.field, first.line
        super().__init__("\n".join(self._written(problem) for problem in problems))

    def __reduce__(self) -> tuple[type[PriceFileError], tuple[str | None, tuple[Problem, ...]]]:
        return type(self), (self.file, self.problems)

    def _written(self, problem: Problem) -> str:
        file = self.file or "prices"
        return f"{file}:{problem.line}: {problem}" if problem.line is not None else f"{file}: {problem}"


def load_overrides(source: str | os.PathLike[str] | Mapping[str, Any]) -> Overrides:
    """Reads prices of your own.

    Each `[[price]]` entry names a `provider` and a `model` (shell patterns, or lists of them; at least one of the
    two), may be limited by `valid_from` and `valid_to` (UTC days, both included) and `service_tier`, and has exactly
    one of: `per_million` (US dollars per million tokens by kind, with `tiers` by input tokens) and `per_request`;
    `multiplier` on the price table, with `like` for a deployment whose name the table does not know; `per_hour` of
    the time that calls take, shared by `parallel` calls; or `free = true`. The first entry that matches a call counts.

    Args:
        source: Path of a TOML file, or a mapping of the same shape: `{"price": [{"model": …, …}]}`.

    Raises:
        PriceFileError: When it cannot be read or has a mistake in it; names file, line, entry and field.
    """
    if isinstance(source, Mapping):
        return _checked(source, None, "")
    file = os.fspath(source)
    data, text = _parsed(file)
    return _checked(data, file, text)


def _parsed(file: str) -> tuple[dict[str, Any], str]:
    try:
        text = Path(file).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise PriceFileError(file, (Problem(f"cannot be read: {error.strerror or error}"),)) from error
    except UnicodeDecodeError as error:
        raise PriceFileError(file, (Problem("is not UTF-8"),)) from error
    try:
        return tomllib.loads(text, parse_float=Decimal), text
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"line (\d+)", str(error))
        where = int(line[1]) if line else len(text.splitlines())
        raise PriceFileError(file, (Problem(f"is not TOML: {error}", line=where),)) from error


def _checked(data: Mapping[str, Any], file: str | None, text: str) -> Overrides:
    from pydantic import ValidationError

    from llmwatch.pricing._override_model import File

    try:
        entries = File.model_validate(dict(data)).price
    except ValidationError as error:
        problems = tuple(_problem(details, text) for details in error.errors(include_url=False))
        raise PriceFileError(file, tuple(sorted(problems, key=lambda problem: problem.line or 0))) from None
    rules = []
    for index, entry in enumerate(entries):
        line = line_of(text, ("price", index))
        place = f"{file}:{line}" if file and line else file or "the given prices"
        rules.append(entry.rule(f"entry {index + 1} of {place}"))
    return Overrides(tuple(rules), file)


def _problem(details: Any, text: str) -> Problem:
    from llmwatch.pricing._override_model import fields_at

    path: Path_ = details["loc"]
    message = details["msg"].removeprefix("Value error, ")
    if details["type"] == "extra_forbidden":
        close = get_close_matches(str(path[-1]), fields_at(path), n=1)
        message = "is not a field" + (f"; did you mean {close[0]!r}?" if close else "")
    numbered = len(path) > 1 and path[0] == "price" and isinstance(path[1], int)
    inner = path[2:] if numbered else path
    return Problem(
        message=message,
        entry=int(path[1]) + 1 if numbered else None,
        field=".".join(str(step + 1 if isinstance(step, int) else step) for step in inner) or None,
        line=line_of(text, path),
    )


def line_of(text: str, path: Path_) -> int | None:
    """The line of a TOML text, from 1, where the value at a path stands, or the nearest one around it."""
    if not text:
        return None
    lines = text.splitlines()
    here, end = 0, len(lines)
    tables: list[str] = []
    for step in path:
        if isinstance(step, str):
            tables.append(step)
            found = next(_places(lines[here:end], tables), None)
        else:
            headers = list(_headers(lines[here:end], tables))
            found = headers[step] if step < len(headers) else None
            if found is not None and step + 1 < len(headers):
                end = here + headers[step + 1]
        here = here if found is None else here + found
    return here + 1


def _places(lines: list[str], tables: list[str]) -> Iterator[int]:
    """Where a key is given a value, or has a table of its own."""
    key = re.escape(tables[-1])
    given = re.compile(rf"(?:^|[{{,\s.])[\"']?{key}[\"']?\s*[.=]")
    header = re.compile(rf"^\s*\[+\s*{_dotted(tables)}\s*\]")
    yield from (at for at, line in enumerate(lines) if given.search(_bare(line)) or header.search(line))


def _headers(lines: list[str], tables: list[str]) -> Iterator[int]:
    header = re.compile(rf"^\s*\[\[\s*{_dotted(tables)}\s*\]\]")
    yield from (at for at, line in enumerate(lines) if header.search(line))


def _dotted(tables: list[str]) -> str:
    return r"\s*\.\s*".join(rf"[\"']?{re.escape(table)}[\"']?" for table in tables)


_STRING_VALUE = re.compile(r"""("[^"]*"|'[^']*')(?!\s*[.=])""")


def _bare(line: str) -> str:
    """The line without comments and without the texts of its values."""
    return _STRING_VALUE.sub('""', line).partition("#")[0]
