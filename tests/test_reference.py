"""The reference: pdoc builds it from the docstrings of all public modules, by the command that the README gives."""

from __future__ import annotations

import importlib
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from support import REPOSITORY, require_module
from test_architecture import PUBLIC

# The constructor of a named tuple is of no module in which pdoc could look its annotations up.
_OF_A_NAMED_TUPLE = re.compile(
    r"Warn: Error parsing type annotation ForwardRef\(.+\) for ([\w.]+)\.__init__\. Import of \w+ failed: .*"
)


def command() -> list[str]:
    """The words of the README's command, as bash spreads them."""
    (line,) = re.findall(r"^pdoc .+$", (REPOSITORY / "README.md").read_text("utf-8"), re.MULTILINE)
    return shlex.split(re.sub(r"(\S*)\{(.+?)\}", lambda word: " ".join(map(word[1].__add__, word[2].split(","))), line))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """The folder of the reference, and the lines that pdoc had to say about it."""
    require_module("pdoc")
    folder = tmp_path_factory.mktemp("reference")
    words = [str(folder) if word == "reference" else word for word in command()[1:]]
    done = subprocess.run(
        [sys.executable, "-m", "pdoc", *words], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder, done.stderr.splitlines()


def test_the_command_names_each_public_module() -> None:
    named = [word for word in command()[1:] if word.split(".")[0] == "llmwatch"]

    assert len(named) == len(set(named))
    assert set(named) == {*PUBLIC, "llmwatch.exposition.gunicorn"}


def test_it_is_built_without_a_warning_about_our_docstrings(built: tuple[Path, list[str]]) -> None:
    _, said = built
    of_tuples = [match[1] for line in said if (match := _OF_A_NAMED_TUPLE.fullmatch(line.partition(" (/")[0]))]

    assert len(of_tuples) == len(said), said
    for name in set(of_tuples):
        module, _, cls = name.rpartition(".")
        assert issubclass(getattr(importlib.import_module(module), cls), tuple)


def test_each_public_name_has_its_place_with_a_text(built: tuple[Path, list[str]]) -> None:
    folder, _ = built
    for name in PUBLIC:
        page = (folder / f"{name.replace('.', '/')}.html").read_text("utf-8")
        for public in importlib.import_module(name).__all__:
            assert f'id="{public}"' in page, f"{name}.{public}"
