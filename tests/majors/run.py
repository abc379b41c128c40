#!/usr/bin/env python3
"""Tests llmwatch with old major versions of the clients, in an environment of its own for each; needs uv.

    python tests/majors/run.py                  # makes what is missing under .venv-majors, then runs everything
    python tests/majors/run.py "0.39" -x        # the environments whose name has this in it; the rest is for pytest

Ends with a table, and with 1 when anything failed.
"""

# ruff: noqa: T201 - what it prints is its answer

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
CACHE = REPOSITORY / ".venv-majors"
UV = shutil.which("uv", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])) or "uv"

ENVIRONMENTS = {
    # this anthropic hands `proxies` to httpx, which 0.28 no longer takes
    "openai 1, anthropic 0.39": ["openai==1.109.1", "anthropic==0.39.0", "httpx<0.28"],
    "openai 2.0, anthropic 0.75": ["openai==2.0.0", "anthropic==0.75.0"],
    "openai 2, anthropic 1": ["openai>=2,<3", "anthropic>=1,<2"],
    "today's": ["openai>=3", "anthropic>=2"],
}
NEEDED = ["starlette>=1", "uvicorn>=0.40", "pytest>=9"]  # of the simulated vendors, and of the tests


def environment(name: str) -> Path:
    """The Python of an environment, made and brought up to date."""
    folder = CACHE / re.sub(r"[^a-z0-9.]+", "-", name)
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([UV, "venv", "-q", "--python", sys.executable, str(folder)], check=True)
    wanted = ["-e", str(REPOSITORY), *NEEDED, *ENVIRONMENTS[name]]
    subprocess.run([UV, "pip", "install", "-q", "--python", str(python), *wanted], check=True)
    return python


def versions(python: Path) -> str:
    """The clients that are in an environment."""
    code = "import importlib.metadata as m; print(*(f'{n} {m.version(n)}' for n in ('openai', 'anthropic')), sep=', ')"
    return subprocess.run([str(python), "-c", code], check=True, capture_output=True, text=True).stdout.strip()


def outcomes(python: Path, options: list[str]) -> dict[str, str]:
    """What became of each test in an environment."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [str(python), "-m", "pytest", "-q", "--no-header", "-c", str(HERE / "pytest.ini")]
        subprocess.run([*command, f"--junitxml={report}", *options, str(HERE / "clients.py")], check=False)
        cases = ET.parse(report).getroot().iter("testcase") if report.exists() else ()
        return {case.attrib["name"]: _outcome(case) for case in cases}


def _outcome(case: ET.Element) -> str:
    return next((name for name in ("failure", "error", "skipped") if case.find(name) is not None), "ok")


def table(found: dict[str, dict[str, str]]) -> str:
    """Each kind of test by environment: how many passed, of how many."""
    kinds = list(dict.fromkeys(name.partition("[")[0] for tests in found.values() for name in tests))
    rows = [["", *found]]
    for kind in kinds:
        mine = [[what for name, what in tests.items() if name.partition("[")[0] == kind] for tests in found.values()]
        rows.append([kind.removeprefix("test_").replace("_", " "), *map(_tally, mine)])
    rows.append(["all", *(_tally(list(tests.values())) for tests in found.values())])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)


def _tally(whats: list[str]) -> str:
    passed, skipped = whats.count("ok"), whats.count("skipped")
    failed = "" if passed + skipped == len(whats) else "  FAILED"
    return f"{passed}/{len(whats)}{failed}" if whats else "-"


def main(arguments: list[str]) -> int:
    """Runs the environments that are asked for."""
    wanted = arguments.pop(0) if arguments and not arguments[0].startswith("-") else ""
    found = {}
    for name in ENVIRONMENTS:
        if wanted in name:
            python = environment(name)
            clients = versions(python)
            print(f"--- {name}: {clients}", flush=True)
            found[clients] = outcomes(python, arguments)
    print(table(found) if found else f"no environment has {wanted!r} in its name: {'; '.join(ENVIRONMENTS)}")
    good = found and all(tests and {"ok", "skipped"} >= set(tests.values()) for tests in found.values())
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
