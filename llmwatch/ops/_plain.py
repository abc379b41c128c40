"""Plain files: all that are hand-written as a whole, with the options' words filled in."""

from __future__ import annotations

import json
from collections.abc import Iterable

from llmwatch._version import __version__
from llmwatch.ops._options import Options
from llmwatch.ops._templates import filled

_DEMO = "demo:9464"


def plain(options: Options) -> dict[str, str]:
    """Everything but the routes of alerts and the dashboards."""
    return filled("plain", values(options))


def values(options: Options) -> dict[str, str]:
    """What the placeholders stand for."""
    return {
        "version": __version__,
        "service": options.service,
        "labels": "".join(f", {label}" for label in options.labels),
        "slo": f"{options.slo:g}",
        "error_budget": f"{(100 - options.slo) / 100:.6g}",
        "p95_seconds": f"{options.p95_seconds:g}",
        "spike_dollars": f"{options.spike_dollars:g}",
        "new_dollars": f"{5 * options.spike_dollars:g}",
        "budgets": _budgets(options),
        "features": _features(options),
        "targets": _quoted(options.scrape),
        "alertmanagers": _quoted(options.alertmanagers),
        "datasource": json.dumps(options.datasource, ensure_ascii=False),
        "prometheus_url": options.prometheus_url.rstrip("/"),
        "grafana_url": options.grafana_url.rstrip("/"),
        "runbook_url": options.runbook_url.rstrip("/"),
        "demo_profiles": "[]" if _DEMO in options.scrape else "[demo]",
    }


def _quoted(names: Iterable[str]) -> str:
    return "[" + ", ".join(json.dumps(name) for name in names) + "]"


def _budgets(options: Options) -> str:
    total = [] if options.budget is None else [("", options.budget)]
    job = _constants("job:ai_budget_dollars:per_day", total, options.service)
    return _rules(job + _constants("feature:ai_budget_dollars:per_day", options.budgets.items(), options.service))


def _features(options: Options) -> str:
    named = ((feature, 1) for feature in options.features)
    return _rules(_constants("feature:ai_features:expected", named, options.service))


def _constants(record: str, by_feature: Iterable[tuple[str, float]], service: str) -> list[str]:
    """Rules that say a number each."""
    return [
        f"      - record: {record}\n        expr: vector({value:.15g})\n        labels: {_label_set(service, feature)}"
        for feature, value in by_feature
    ]


def _label_set(service: str, feature: str) -> str:
    return json.dumps({"job": service} | ({"feature": feature} if feature else {}), ensure_ascii=False)


def _rules(rules: list[str]) -> str:
    return "\n".join(["    rules:", *rules]) if rules else "    rules: []"
