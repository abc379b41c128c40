"""Templates: the files that stand in the package as people read them, with a word of the options here and there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import resources
from importlib.resources.abc import Traversable
from string import Template

_ROOT = resources.files("llmwatch.ops") / "files"


class _Text(Template):
    """A text with placeholders `@@{name}`: `$` and `{{` are Prometheus', Compose's and the shell's."""

    delimiter = "@@"


def filled(folder: str, values: Mapping[str, str]) -> dict[str, str]:
    """The files of a folder of ours by their path below it, with the values in place of the placeholders.

    Raises:
        KeyError: When a file asks for a value that there is not; a mistake of ours.
    """
    return {path: _Text(file.read_text("utf-8")).substitute(values) for path, file in _files(_ROOT / folder, "")}


def _files(folder: Traversable, prefix: str) -> Iterator[tuple[str, Traversable]]:
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir():
            yield from _files(entry, f"{prefix}{entry.name}/")
        else:
            yield f"{prefix}{entry.name}", entry
