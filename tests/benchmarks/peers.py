"""The other tools: each in an environment of its own, as what they pin does not go together; made with uv.

Their requirements are the dependency groups `peer-…` of `pyproject.toml`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path

from results import Line

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
PROJECT = REPOSITORY / "pyproject.toml"
CACHE = REPOSITORY / ".venv-peers"
SECTION = "other tools, each beside the floor in its own process"
_GROUP = "peer-"


def names() -> list[str]:
    """The tools that there are groups for."""
    groups = tomllib.loads(PROJECT.read_text())["dependency-groups"]
    return [group.removeprefix(_GROUP) for group in groups if group.startswith(_GROUP)]


def environment(name: str) -> Path:
    """The Python of a tool's environment, made if it is not there, or not what the group asks for any more."""
    folder = CACHE / name
    python, marker = folder / "bin" / "python", folder / "requirements.json"
    wanted = json.dumps(tomllib.loads(PROJECT.read_text())["dependency-groups"][_GROUP + name])
    if marker.exists() and marker.read_text() == wanted:
        return python
    uv = shutil.which("uv", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
    if uv is None:
        raise FileNotFoundError("the other tools need uv, which makes an environment for each: pip install uv")
    subprocess.run([uv, "venv", "-q", "--clear", "--python", sys.executable, str(folder)], check=True)
    group = f"{PROJECT}:{_GROUP}{name}"
    subprocess.run([uv, "pip", "install", "-q", "--python", str(python), "--group", group], check=True)
    marker.write_text(wanted)
    return python


def peers(chosen: Sequence[str], rounds: int) -> Iterator[Line]:
    """One line for each tool; one that fails is said on stderr, and left out."""
    for name in chosen:
        try:
            yield _measured(environment(name), name, rounds)
        except (subprocess.CalledProcessError, ValueError) as error:
            said = getattr(error, "stderr", None) or error
            sys.stderr.write(f"{name} is left out: {str(said)[-2000:]}\n")


def _measured(python: Path, name: str, rounds: int) -> Line:
    """What `peer.py` finds in an environment."""
    command = [str(python), str(HERE / "peer.py"), name, "--rounds", str(rounds)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    return Line(section=SECTION, **json.loads(run.stdout))
