"""What the tests of `llmwatch.ops` have in common: a shop, its rules group by group, servers on loopback."""

from __future__ import annotations

import json
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import promql
import yaml
from recording import ALL, DECLARABLE
from support import require

from llmwatch.ops import Options

SHOP = Options(service="shop", features=("chat", "search"), labels=("tier",), budget=200, budgets={"chat": 50})
"""What the rules are tested with; the unit tests in `tests/ops` know these names and numbers."""

CASES = sorted((Path(__file__).parent / "ops").glob("*.yml"))
_SUFFIXES = {"histogram": ("_bucket", "_sum", "_count")}
_OF_PROMETHEUS = {"up": set(), "ALERTS": {"alertname", "alertstate", "severity"}, "scrape_duration_seconds": set()}


def run(program: str, *arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Runs a program of the machine to its end; skipped where it is missing."""
    command = [require(program), *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300, check=False)


def groups(root: Path) -> dict[str, Any]:
    """The groups of all rule files below the folder that was written, by name."""
    files = sorted((root / "prometheus/rules").glob("*.yml"))
    found = [group for file in files for group in yaml.safe_load(file.read_text("utf-8"))["groups"]]
    assert len({group["name"] for group in found}) == len(found), "two groups have one name"
    return {group["name"]: group for group in found}


def rules(root: Path, kind: str) -> list[dict[str, Any]]:
    """All rules that are an `alert` or a `record`."""
    return [rule for group in groups(root).values() for rule in group["rules"] if kind in rule]


def write_groups(root: Path, folder: Path, *annotations: str) -> None:
    """One rule file for each group, with no other annotations left than these."""
    for name, group in groups(root).items():
        for rule in group["rules"]:
            kept = {key: text for key, text in rule.pop("annotations", {}).items() if key in annotations}
            rule.update({"annotations": kept} if kept else {})
        (folder / f"{name}.yml").write_text(yaml.safe_dump({"groups": [group]}, sort_keys=False), "utf-8")


def series() -> dict[str, set[str]]:
    """The labels of every series that there can be without our rules, by its name in Prometheus."""
    found = {name: labels | {"job", "instance"} for name, labels in _OF_PROMETHEUS.items()}
    for name, row in ALL.items():
        labels = {label.replace(".", "_") for label in row.labels} | {"job", "instance"}
        labels |= {"tier"} if name in DECLARABLE else set()
        for suffix in _SUFFIXES.get(row.kind, ("",)):
            found[row.prometheus + suffix] = labels | ({"le"} if suffix == "_bucket" else set())
    return found


def series_with_records(root: Path) -> dict[str, set[str]]:
    """The same, with what the rules record, each with the labels that its expression leaves."""
    known, waiting = series(), rules(root, "record")
    while waiting:
        ready = [rule for rule in waiting if promql.metrics_and_labels(rule["expr"]).keys() <= known.keys()]
        assert ready, f"no rule records what these ask for: {[rule['record'] for rule in waiting]}"
        for rule in ready:
            known[rule["record"]] = promql.labels_of(rule["expr"], known) | set(rule.get("labels", ()))
        waiting = [rule for rule in waiting if rule not in ready]
    return known


def unknown(expression: str, known: Mapping[str, Iterable[str]]) -> Iterator[str]:
    """What an expression asks for that there is not: metrics, and labels of metrics."""
    for metric, labels in promql.metrics_and_labels(expression).items():
        if metric not in known:
            yield metric
        else:
            yield from (f"{metric}{{{label}}}" for label in sorted(labels - set(known[metric])))


def until(condition: Callable[[], object], what: str, patience: float = 30.0) -> None:
    """Waits for something that another process does, so many seconds at most."""
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come"
        time.sleep(0.1)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


_open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open


def answers(url: str) -> bool:
    """Whether there is a page at this address."""
    try:
        with _open(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


class Prometheus:
    """A running server, asked by its HTTP API."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def get(self, path: str, **parameters: str) -> Any:
        with _open(f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}", timeout=20) as answer:
            return json.load(answer)["data"]

    def query(self, expression: str, at: float | None = None) -> list[dict[str, Any]]:
        """The series of an expression, each with `metric` and `value`."""
        when = {} if at is None else {"time": str(at)}
        return list(self.get("query", query=expression, **when)["result"])


@contextmanager
def prometheus(config: Path, data: Path, *flags: str, port: int | None = None) -> Iterator[Prometheus]:
    """A Prometheus on loopback, for as long as the block lasts."""
    server = Prometheus(port := port or free_port())
    command = [
        require("prometheus"),
        f"--config.file={config}",
        f"--storage.tsdb.path={data}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=error",
        *flags,
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            until(lambda: answers(f"{server.url}/-/ready"), "Prometheus")
            yield server
        finally:
            process.terminate()


def blocks(folder: Path, families: Mapping[str, Mapping[str, Callable[[float], float]]], times: range) -> Path:
    """A history as Prometheus keeps it: each series a function of Unix time, taken at these times.

    Args:
        folder: Where to put it; the answer is the data folder for a server.
        families: By metric family and its type (`ai_requests counter`), the series by their name and labels.
        times: When it was scraped, in Unix seconds.
    """
    text = folder / "history.om"
    with text.open("w", encoding="utf-8") as lines:
        for family, each in families.items():
            lines.write(f"# TYPE {family}\n")
            for name, value in each.items():
                lines.writelines(f"{name} {value(time):.10g} {time}\n" for time in times)
        lines.write("# EOF\n")
    done = run("promtool", "tsdb", "create-blocks-from", "openmetrics", text, folder / "data")
    assert done.returncode == 0, done.stderr
    return folder / "data"
