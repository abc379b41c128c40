"""Grafana: the dashboards that ship, with the data source, the service and the declared labels of the options."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from importlib import resources
from typing import Any

from llmwatch.metrics import CATALOGUE
from llmwatch.ops._options import Options

_FOLDER = resources.files("llmwatch.ops") / "files/grafana/dashboards"
_DECLARABLE = {metric.prometheus for metric in CATALOGUE if metric.call}
_SELECTOR = re.compile(r"([a-zA-Z_]+?)(_bucket|_sum|_count)?(\{[^{}]*)\}")

Json = dict[str, Any]


def grafana(options: Options) -> dict[str, str]:
    """Each dashboard's JSON, by its path."""
    files = sorted(_FOLDER.iterdir(), key=lambda file: file.name)
    return {f"grafana/dashboards/{file.name}": _adapted(json.loads(file.read_text("utf-8")), options) for file in files}


def _adapted(dashboard: Json, options: Options) -> str:
    variables: list[Json] = dashboard["templating"]["list"]
    current = {
        "datasource": {"text": options.datasource, "value": options.datasource},
        "service": {"text": [options.service], "value": [options.service]},
    }
    for variable in variables:
        if variable["name"] in current:
            variable["current"] = current[variable["name"]]
    if any(variable["name"] == "feature" for variable in variables):  # so it is about calls of ours
        _declare(dashboard, options.labels)
    return json.dumps(dashboard, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _declare(dashboard: Json, labels: Sequence[str]) -> None:
    """Lets people choose by the declared labels, beside the labels that each call has."""
    variables: list[Json] = dashboard["templating"]["list"]
    names = {label: _name(label, variables) for label in labels}
    for label, name in names.items():
        place = max(index for index, variable in enumerate(variables) if variable["type"] == "query")
        variables.insert(place + 1, _choice(variables[place], label, name))
    matchers = "".join(f',{label}=~"${name}"' for label, name in names.items())
    links = "".join(f"&${{{name}:queryparam}}" for name in names.values())
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            target["expr"] = chosen(target["expr"], matchers)
        for link in _links(panel):
            link["url"] = link["url"].replace("&var-feature=", f"{links}&var-feature=")


def _name(label: str, variables: Sequence[Json]) -> str:
    return f"{label}_label" if label in {variable["name"] for variable in variables} else label


def _choice(before: Json, label: str, name: str) -> Json:
    """A variable like the one before it, among what that one leaves."""
    series, _, known = before["definition"].removeprefix("label_values(").removesuffix(")").rpartition(", ")
    series = f'{series.removesuffix("}")},{known}=~"${before["name"]}"}}'
    made = f"label_values({series}, {label})"
    return {
        **before,
        "name": name,
        "label": label.replace("_", " ").capitalize(),
        "description": "A label that the application declares.",
        "definition": made,
        "query": made,
    }


def chosen(expression: str, matchers: str) -> str:
    """The expression with further matchers of calls, if all that it asks for has the declared labels.

    What stands for something else than calls (attempts, waits, runs of agents) has none; to divide one by the other
    would be to compare different calls, so then the expression stays as it is.
    """
    asked = {found[1] for found in _SELECTOR.finditer(expression)} - {"llmwatch_build_info"}
    if not asked <= _DECLARABLE:
        return expression

    def added(found: re.Match[str]) -> str:
        return f"{found[0][:-1]}{matchers}}}" if found[1] in _DECLARABLE else found[0]

    return _SELECTOR.sub(added, expression)


def _links(panel: Json) -> Iterator[Json]:
    """The links of a panel's values."""
    settings = panel.get("fieldConfig", {"defaults": {}, "overrides": []})
    yield from settings["defaults"].get("links", ())
    for override in settings.get("overrides", ()):
        for each in override["properties"]:
            if each["id"] == "links":
                yield from each["value"]
