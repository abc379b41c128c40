"""What Grafana does with a dashboard, so far as tests need it: variables, queries, tables, colours.

There is no Grafana for the tests to run. Interpolation follows
https://grafana.com/docs/grafana/latest/dashboards/variables/, tables the transformations `merge` and `organize`.
"""

from __future__ import annotations

import json
import math
import re
import urllib.parse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from operations import Prometheus
from support import REPOSITORY

FOLDER = REPOSITORY / "llmwatch/ops/files/grafana/dashboards"
VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)(?::(\w+))?\})")
LEGEND = re.compile(r"\{\{\s*(\w+)\s*\}\}")

Json = dict[str, Any]


@dataclass(frozen=True)
class View:
    """A time range, and what is chosen; a variable that is not named is All, or its default.

    Attributes:
        until: The end, in Unix seconds.
        span: Its length in seconds.
        chosen: Values by variable.
        scrape: Seconds between two scrapes, which `$__rate_interval` must hold four of.
    """

    until: int
    span: int = 6 * 3600
    chosen: Mapping[str, list[str]] = field(default_factory=dict)
    scrape: int = 900

    def builtin(self) -> dict[str, str]:
        step = max(self.span // 200, self.scrape)
        return {
            "__range": f"{self.span}s",
            "__range_s": str(self.span),
            "__interval": f"{step}s",
            "__rate_interval": f"{max(step + self.scrape, 4 * self.scrape)}s",
            "__url_time_range": f"from={self.until - self.span}000&to={self.until}000",
        }


class Dashboard:
    """A dashboard's JSON, and the answers to its queries."""

    def __init__(self, content: Json) -> None:
        self.content = content
        self.uid: str = content["uid"]
        self.variables: list[Json] = content["templating"]["list"]
        self.annotations: list[Json] = content["annotations"]["list"]

    @classmethod
    def load(cls, path: Path) -> Dashboard:
        return cls(json.loads(path.read_text("utf-8")))

    @property
    def panels(self) -> list[Json]:
        """All panels but rows."""
        return [panel for panel in self.content["panels"] if panel["type"] != "row"]

    def panel(self, title: str) -> Json:
        (found,) = [panel for panel in self.panels if panel["title"] == title]
        return dict(found)

    def interpolate(self, text: str, view: View) -> str:
        """The text with the variables' values in it, as a data source for Prometheus formats them."""
        values = view.builtin()
        for variable in self.variables:
            values[variable["name"]] = _value(variable, view.chosen.get(variable["name"]))

        def replaced(match: re.Match[str]) -> str:
            name, form = match[1] or match[2], match[3]
            if name not in values:
                return match[0]
            if form == "text":
                variable = next(variable for variable in self.variables if variable["name"] == name)
                return next(str(each["text"]) for each in variable["options"] if each["value"] == values[name])
            return f"var-{name}={urllib.parse.quote(values[name])}" if form == "queryparam" else values[name]

        return VARIABLE.sub(replaced, text)

    def title(self, panel: Json) -> str:
        """What stands above a panel when nothing is chosen."""
        return self.interpolate(panel["title"], View(0))

    def ask(self, server: Prometheus, target: Json, view: View) -> list[Json]:
        """The series that a query of a panel gives, each with `metric` and `value` or `values`."""
        expression = self.interpolate(target["expr"], view)
        if target.get("instant"):
            return server.query(expression, view.until)
        times = {"start": str(view.until - view.span), "end": str(view.until), "step": view.builtin()["__interval"]}
        return list(server.get("query_range", query=expression, **times)["result"])

    def numbers(self, server: Prometheus, title: str, view: View) -> dict[str, float]:
        """What a panel shows: the latest value of each series by its legend."""
        shown: dict[str, float] = {}
        for target in self.panel(title)["targets"]:
            for series in self.ask(server, target, view):
                shown[legend(target, series)] = latest(series)
        return shown

    def rows(self, server: Prometheus, title: str, view: View) -> list[dict[str, Any]]:
        """The rows of a table by their headings, sorted as the table is; a value that is not there is `None`."""
        panel = self.panel(title)
        merge, organize = panel["transformations"]
        assert (merge["id"], organize["id"]) == ("merge", "organize")
        headings: dict[str, str] = organize["options"]["renameByName"]
        labels = [name for name in headings if not name.startswith("Value")]
        merged: dict[tuple[str, ...], dict[str, Any]] = {}
        for target in panel["targets"]:
            name = f"Value #{target['refId']}" if len(panel["targets"]) > 1 else "Value"
            for series in self.ask(server, target, view):
                key = tuple(series["metric"].get(label, "") for label in labels)
                assert set(series["metric"]) <= set(labels), "a label that would be a column of its own"
                row = merged.setdefault(key, dict.fromkeys(headings.values()))
                row |= {headings[label]: value for label, value in zip(labels, key, strict=True)}
                row[headings[name]] = latest(series)
        (order,) = panel["options"]["sortBy"]
        return sorted(merged.values(), key=lambda row: _sortable(row[order["displayName"]]), reverse=order["desc"])


def load() -> dict[str, Dashboard]:
    """The dashboards that ship, by their uids."""
    return {(made := Dashboard.load(path)).uid: made for path in sorted(FOLDER.glob("*.json"))}


def latest(series: Json) -> float:
    """The last value of a series that is a number; NaN if none is."""
    values = [float(value) for _, value in series.get("values", [series.get("value")])]
    return next((value for value in reversed(values) if not math.isnan(value)), math.nan)


def legend(target: Json, series: Json) -> str:
    return LEGEND.sub(lambda match: str(series["metric"].get(match[1], "")), target["legendFormat"]).strip()


def colour(steps: list[Json], value: float) -> str:
    """The colour of the highest threshold that a value reaches."""
    return next(str(step["color"]) for step in reversed(steps) if step["value"] is None or value >= step["value"])


def coloured(panel: Json) -> Iterator[tuple[str | None, list[Json]]]:
    """The thresholds of a panel, for all that it shows (`None`) or for one column."""
    steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    if len(steps) > 1:
        yield None, steps
    for override in panel["fieldConfig"]["overrides"]:
        for each in override["properties"]:
            if each["id"] == "thresholds":
                yield override["matcher"]["options"], each["value"]["steps"]


def _value(variable: Json, chosen: list[str] | None) -> str:
    current = chosen if chosen is not None else variable.get("current", {}).get("value", "")
    if current == ["$__all"]:
        return str(variable["allValue"])
    if isinstance(current, str):
        return current
    escaped = [re.sub(r"[$^*{}\[\]'+?.()|\\]", r"\\\\\g<0>", value) for value in current]
    return f"({'|'.join(escaped)})" if len(escaped) > 1 else escaped[0]


def _sortable(value: float | None) -> float:
    return -math.inf if value is None or math.isnan(value) else value
