"""What several tests need of the machine: the corpus, programs, modules. Skipped where missing, a failure in CI."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import NoReturn

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
IN_CI = os.environ.get("CI") == "true"


def missing(what: str) -> NoReturn:
    """Skips the test; in CI, where nothing may be missing, it fails."""
    if IN_CI:
        pytest.fail(f"{what} is missing, and this is CI", pytrace=False)
    pytest.skip(f"{what} is missing")


def require(program: str) -> str:
    """The path of a program (`prometheus`)."""
    path = shutil.which(program)
    return path if path is not None else missing(f"the program {program}")


def built_wheel(folder: Path) -> Path:
    """The wheel of the project as it stands, built into a folder."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder]
    subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


def require_module(name: str) -> ModuleType:
    """A module that is not among the dependencies of the tests, or not on every machine."""
    try:
        return importlib.import_module(name)
    except ImportError:
        missing(f"the module {name}")


CORPUS = Path(os.environ.get("LLMWATCH_CORPUS") or REPOSITORY.parent / "shared" / "corpus")
"""Where the recorded responses lie, if they are here: `LLMWATCH_CORPUS`, else beside the repository."""


def has_corpus() -> bool:
    """Whether the recorded responses are here."""
    return (CORPUS / "responses").is_dir()


def require_corpus() -> Path:
    """The folder of recorded responses, `responses/*.json`."""
    return CORPUS if has_corpus() else missing(f"the corpus at {CORPUS} (LLMWATCH_CORPUS)")
