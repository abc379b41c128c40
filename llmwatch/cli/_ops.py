"""`llmwatch ops write`: what an operator deploys, as files in a folder."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from llmwatch.cli._refusal import RefusalError


def add(commands: Any) -> None:
    """Adds the command to the others."""
    ops = commands.add_parser("ops", help="write what an operator deploys", description=_SAYS)
    write = ops.add_subparsers(dest="action", metavar="action", required=True).add_parser(
        "write", help="write dashboards, rules, alerts, routes and a compose file into a folder", description=_SAYS
    )
    write.add_argument("directory", metavar="DIR", type=Path, help="the folder; it is created if need be")
    write.add_argument("--force", action="store_true", help="replace files that are not ours, or were changed since")
    for option, metavar, says in _SINGLE:
        write.add_argument(f"--{option}", metavar=metavar, help=says)
    for option, metavar, says in _LISTS:
        write.add_argument(f"--{option}", metavar=metavar, action="append", default=[], help=says)
    write.set_defaults(run=run)


_SAYS = (
    "Write dashboards, recording rules, alerts with runbooks, Prometheus', Alertmanager's and a collector's "
    "configuration, retention in tiers, and a compose file that starts it all with the demo."
)
_SINGLE = (
    ("service", "NAME", "the job that Prometheus scrapes the service as (default: the demo's)"),
    ("slo", "PERCENT", "of the calls that shall not fail, as 99.5 (default: 99)"),
    ("p95", "SECONDS", "that 95 of 100 successful calls shall not exceed (default: 10)"),
    ("spike", "USD", "an hour, below which no rise in cost is worth an alert (default: 5)"),
    ("datasource", "NAME", "of the data source in Grafana (default: Prometheus)"),
    ("prometheus", "URL", "where Grafana and the collector find Prometheus (default: http://prometheus:9090)"),
    ("grafana", "URL", "where people find Grafana; alerts link to it (default: http://localhost:3000)"),
    ("runbooks", "URL", "where you publish the runbooks; alerts link to them (default: the folder itself)"),
    ("smtp", "HOST:PORT", "the mail server, for receivers by email"),
)
_RECEIVER = (
    "ticket, page or cost = slack:URL, pagerduty:KEY, webhook:URL or email:ADDRESS; for a URL or a key the path of a "
    "file will do, which Alertmanager reads; again for another"
)
_LISTS = (
    ("features", "NAME,…", "the features that must be there; one that is missing is an alert"),
    ("labels", "NAME,…", "labels that the application declares, to be kept for years"),
    ("budget", "[FEATURE=]USD[/day]", "that a feature, or all together, may cost a day; again for another"),
    ("scrape", "HOST:PORT,…", "pages of metrics (default: the demo's)"),
    ("alertmanager", "HOST:PORT,…", "where Prometheus sends alerts (default: alertmanager:9093)"),
    (
        "receiver",
        "ROLE=KIND:TARGET",
        _RECEIVER,
    ),
)


def run(arguments: argparse.Namespace) -> int:
    """Writes the files and says which."""
    from llmwatch.ops import NotOursError, write

    try:
        paths = write(arguments.directory, _options(arguments), force=arguments.force)
    except NotOursError as error:
        names = "\n  ".join(str(path) for path in error.paths)
        raise RefusalError(f"not written by llmwatch, or changed since; --force replaces them:\n  {names}") from None
    except (ValueError, OSError) as error:
        raise RefusalError(str(error)) from None
    print(f"{len(paths)} files in {arguments.directory}; begin with {arguments.directory / 'README.md'}")
    return 0


def _options(arguments: argparse.Namespace) -> Any:
    from llmwatch.ops import Options, Receiver

    budget, budgets = _budgets(arguments.budget)
    given: dict[str, Any] = {
        "service": arguments.service,
        "features": _split(arguments.features),
        "labels": _split(arguments.labels),
        "slo": _number("--slo", arguments.slo),
        "p95_seconds": _number("--p95", arguments.p95),
        "spike_dollars": _number("--spike", arguments.spike),
        "budget": budget,
        "budgets": budgets,
        "scrape": _split(arguments.scrape),
        "alertmanagers": _split(arguments.alertmanager),
        "receivers": [Receiver.parse(text) for text in arguments.receiver],
        "smtp": arguments.smtp,
        "datasource": arguments.datasource,
        "prometheus_url": arguments.prometheus,
        "grafana_url": arguments.grafana,
        "runbook_url": arguments.runbooks,
    }
    return Options(**{name: value for name, value in given.items() if value not in (None, [], {})})


def _split(values: list[str]) -> list[str]:
    return [name.strip() for value in values for name in value.split(",") if name.strip()]


def _budgets(texts: list[str]) -> tuple[float | None, dict[str, float]]:
    total: float | None = None
    by_feature: dict[str, float] = {}
    for text in texts:
        feature, _, amount = text.rpartition("=")
        dollars = _number("--budget", amount.removesuffix("/day").removeprefix("$"))
        if feature in by_feature or (not feature and total is not None):
            raise ValueError(f"--budget: {feature or 'the whole'} is there twice")
        if feature:
            by_feature[feature] = dollars or 0.0
        else:
            total = dollars
    return total, by_feature


def _number(option: str, text: str | None) -> float | None:
    try:
        return None if text is None else float(text.removesuffix("%"))
    except ValueError:
        raise ValueError(f"{option}: {text!r} is not a number") from None
