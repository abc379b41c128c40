"""Alertmanager's configuration, on Debian's: who is told of what, what is held back, what a notification says."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from operations import SHOP, answers, free_port, rules, run, until
from support import missing

from llmwatch.ops import Options, Receiver, write

PAGE = Receiver("page", "pagerduty", "/etc/alertmanager/secrets/pagerduty")
TICKET = Receiver("ticket", "slack", "https://hooks.slack.example/services/T0/B0/x")
COST = Receiver("cost", "email", "finance@example.org")
ALL = {"receivers": (PAGE, TICKET, COST), "smtp": "mail.example.org:587"}


def written(root: Path, **options: Any) -> Path:
    write(root, Options(**{"service": "shop", **options}))
    return root / "alertmanager/alertmanager.yml"


@pytest.mark.parametrize(
    "options",
    [
        {},
        ALL,
        {"receivers": [Receiver("ticket", "slack", "/run/slack"), Receiver("ticket", "webhook", "http://a.example/b")]},
        {"receivers": [Receiver("page", "pagerduty", "0123456789abcdef0123456789abcdef")]},
    ],
    ids=["none", "all", "two for tickets", "only a page"],
)
def test_amtool_accepts_the_configuration(options: dict[str, Any], tmp_path: Path) -> None:
    done = run("amtool", "check-config", written(tmp_path, **options))

    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 templates" in done.stdout


ROUTES = [
    ("LLMHighErrorRate", {"severity": "critical", "topic": "errors"}, "page"),
    ("LLMMetricsAbsent", {"severity": "critical", "topic": "pipeline"}, "page"),
    ("LLMHighLatency", {"severity": "warning", "topic": "latency"}, "ticket"),
    ("LLMCostSpike", {"severity": "warning", "topic": "cost"}, "cost"),
    ("LLMCostBudgetExceeded", {"severity": "critical", "topic": "cost"}, "cost,page"),
    ("SomebodyElses", {}, "ticket"),
]


@pytest.mark.parametrize(("alert", "labels", "receivers"), ROUTES)
def test_an_alert_goes_to_whom_it_concerns(alert: str, labels: dict[str, str], receivers: str, tmp_path: Path) -> None:
    assert told(written(tmp_path, **ALL), alert, labels) == receivers


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        ((), {"warning": "ticket", "page": "ticket", "cost": "ticket", "both": "ticket"}),
        ((TICKET,), {"warning": "ticket", "page": "ticket", "cost": "ticket", "both": "ticket"}),
        ((PAGE,), {"warning": "ticket", "page": "page", "cost": "ticket", "both": "ticket,page"}),
        ((COST,), {"warning": "ticket", "page": "ticket", "cost": "cost", "both": "cost,ticket"}),
    ],
    ids=["nobody", "ticket", "page", "cost"],
)
def test_a_role_that_nobody_has_goes_to_the_tickets_and_nobody_is_told_twice(
    named: tuple[Receiver, ...], expected: dict[str, str], tmp_path: Path
) -> None:
    config = written(tmp_path, receivers=named, smtp="mail.example.org:587")
    found = {
        "warning": told(config, "A", {"severity": "warning", "topic": "errors"}),
        "page": told(config, "A", {"severity": "critical", "topic": "errors"}),
        "cost": told(config, "A", {"severity": "warning", "topic": "cost"}),
        "both": told(config, "A", {"severity": "critical", "topic": "cost"}),
    }

    assert found == expected


def test_every_alert_of_ours_has_a_way(tmp_path: Path) -> None:
    config = written(tmp_path, **ALL)
    for rule in rules(tmp_path, "alert"):
        expected = {"page"} if rule["labels"]["severity"] == "critical" else set()
        expected |= {"cost"} if rule["labels"]["topic"] == "cost" else set()
        assert set(told(config, rule["alert"], rule["labels"]).split(",")) == (expected or {"ticket"})


def told(config: Path, alert: str, labels: dict[str, str]) -> str:
    pairs = [f"{name}={value}" for name, value in {"alertname": alert, "job": "shop", **labels}.items()]
    done = run("amtool", "config", "routes", "test", f"--config.file={config}", *pairs)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_secrets_stay_in_files_unless_they_are_given(tmp_path: Path) -> None:
    receivers = {each["name"]: each for each in yaml.safe_load(written(tmp_path, **ALL).read_text())["receivers"]}

    assert receivers["page"]["pagerduty_configs"][0]["routing_key_file"] == PAGE.target
    assert "routing_key" not in receivers["page"]["pagerduty_configs"][0]
    assert receivers["ticket"]["slack_configs"][0]["api_url"] == TICKET.target
    assert receivers["cost"]["email_configs"][0]["to"] == COST.target


class Webhook:
    """Takes notifications."""

    def __init__(self) -> None:
        self.taken: list[dict[str, Any]] = []

    @contextmanager
    def serving(self) -> Iterator[str]:
        taken = self.taken

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                taken.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            yield f"http://127.0.0.1:{server.server_port}/"
            server.shutdown()


def program() -> str:
    """Alertmanager's name, which Debian has prefixed."""
    return shutil.which("prometheus-alertmanager") or shutil.which("alertmanager") or missing("Alertmanager")


@contextmanager
def alertmanager(config: Path, data: Path) -> Iterator[str]:
    """An Alertmanager on loopback, by its address, for as long as the block lasts."""
    address = f"127.0.0.1:{free_port()}"
    command = [
        program(),
        f"--config.file={config}",
        f"--storage.path={data}",
        f"--web.listen-address={address}",
        "--cluster.listen-address=",
        "--log.level=error",
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ) as process:
        try:
            until(lambda: answers(f"http://{address}/-/ready"), "Alertmanager")
            yield address
        finally:
            process.terminate()


def post(address: str, *alerts: dict[str, str]) -> None:
    now = datetime.now(UTC).isoformat()
    body = [
        {"labels": {"job": "shop", **labels}, "annotations": {"summary": labels["alertname"]}, "startsAt": now}
        for labels in alerts
    ]
    request = urllib.request.Request(
        f"http://{address}/api/v2/alerts", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10).close()


def held_back(address: str) -> dict[str, bool]:
    """Whether each alert is inhibited, by its name and window."""
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
        f"http://{address}/api/v2/alerts", timeout=10
    ) as answer:
        alerts = json.load(answer)
    return {
        alert["labels"]["alertname"] + alert["labels"].get("window", ""): bool(alert["status"]["inhibitedBy"])
        for alert in alerts
        if alert["status"]["state"] != "unprocessed"
    }


CHAT = {"feature": "chat", "provider": "openai"}
CRITICAL, WARNING = {"severity": "critical"}, {"severity": "warning"}
INHIBITIONS = {
    "a page makes the warnings about the same feature at the same provider superfluous": (
        [
            {"alertname": "LLMHighErrorRate", **CRITICAL, **CHAT},
            {"alertname": "LLMErrorBudgetBurn", "window": "1d", **WARNING, **CHAT},
            {"alertname": "LLMHighLatency", **WARNING, "feature": "chat", "provider": "anthropic"},
            {"alertname": "LLMAbandonedStreams", **WARNING, "feature": "chat"},
        ],
        {"LLMErrorBudgetBurn1d"},
    ),
    "throttling explains slowness and burning budget at the provider, but no page": (
        [
            {"alertname": "LLMThrottled", **WARNING, "provider": "openai"},
            {"alertname": "LLMHighLatency", **WARNING, **CHAT},
            {"alertname": "LLMErrorBudgetBurn", "window": "1d", **WARNING, **CHAT},
            {"alertname": "LLMErrorBudgetBurn", "window": "1h", **CRITICAL, "feature": "sort", "provider": "openai"},
            {"alertname": "LLMAbandonedStreams", **WARNING, "feature": "chat"},
        ],
        {"LLMHighLatency", "LLMErrorBudgetBurn1d"},
    ),
    "absent metrics hold back all of that service": (
        [
            {"alertname": "LLMMetricsAbsent", **CRITICAL},
            {"alertname": "LLMHighErrorRate", **CRITICAL, **CHAT},
            {"alertname": "LLMTargetDown", **WARNING, "instance": "a"},
            {"alertname": "LLMThrottled", **WARNING, "provider": "openai", "job": "other"},
        ],
        {"LLMHighErrorRate", "LLMTargetDown"},
    ),
    "a page of no feature holds nothing back that has none either": (
        [
            {"alertname": "LLMCostBudgetExceeded", **CRITICAL},
            {"alertname": "LLMCostBudgetBurn", **WARNING},
            {"alertname": "LLMInternalErrors", **WARNING, "where": "page"},
            {"alertname": "LLMCostSpike", **WARNING, "feature": "chat"},
        ],
        {"LLMCostBudgetBurn"},
    ),
}


@pytest.mark.parametrize("name", INHIBITIONS)
def test_what_is_held_back(name: str, tmp_path: Path) -> None:
    alerts, expected = INHIBITIONS[name]
    with alertmanager(written(tmp_path), tmp_path / "data") as address:
        post(address, *alerts)
        until(lambda: len(held_back(address)) == len(alerts), "all alerts")
        until(lambda: {alert for alert, held in held_back(address).items() if held} >= expected, "the inhibitions")

        assert {alert for alert, held in held_back(address).items() if held} == expected


def test_one_notification_for_one_feature_at_one_provider(tmp_path: Path) -> None:
    webhook = Webhook()
    with webhook.serving() as url:
        config = written(tmp_path, receivers=[Receiver("ticket", "webhook", url)])
        config.write_text(config.read_text().replace("group_wait: 10s", "group_wait: 1s"))
        with alertmanager(config, tmp_path / "data") as address:
            post(
                address,
                {"alertname": "LLMHighErrorRate", **CRITICAL, **CHAT},
                {"alertname": "LLMErrorBudgetBurn", "window": "1h", **CRITICAL, **CHAT},
            )
            until(lambda: webhook.taken, "the notification")

    (notification,) = webhook.taken
    assert notification["groupLabels"] == {"job": "shop", **CHAT}
    assert len(notification["alerts"]) == 2


def test_the_words_of_a_notification_are_the_alert_s(tmp_path: Path) -> None:
    written(tmp_path, **ALL)
    data = {
        "receiver": "ticket",
        "status": "firing",
        "alerts": [
            {
                "status": "firing",
                "labels": {"alertname": "LLMThrottled"},
                "annotations": {
                    "summary": "openai refuses",
                    "description": "First step: x",
                    "runbook_url": "r.md",
                    "dashboard_url": "http://d",
                },
            }
        ],
        "groupLabels": {"job": "shop", "provider": "openai"},
        "commonLabels": {"alertname": "LLMThrottled"},
        "commonAnnotations": {},
        "externalURL": "",
    }
    (tmp_path / "data.json").write_text(json.dumps(data))
    arguments = f"--template.glob={tmp_path}/alertmanager/*.tmpl", f"--template.data={tmp_path}/data.json"
    title = run("amtool", "template", "render", *arguments, '--template.text={{ template "llmwatch.title" . }}').stdout
    text = run("amtool", "template", "render", *arguments, '--template.text={{ template "llmwatch.text" . }}').stdout

    assert title.strip() == "[FIRING 1] LLMThrottled · openai · shop"
    assert text.strip().splitlines() == [
        "openai refuses",
        "First step: x",
        "Runbook: r.md",
        "Dashboard: http://d",
    ]


def test_labels_that_routes_and_inhibitions_look_at_are_on_the_alerts(tmp_path: Path) -> None:
    config = yaml.safe_load(written(tmp_path).read_text())
    alerts = {rule["alert"]: rule["labels"] for rule in rules(tmp_path, "alert")}
    matchers = [one for route in config["route"]["routes"] for one in route["matchers"]]
    matchers += [one for rule in config["inhibit_rules"] for one in rule["source_matchers"] + rule["target_matchers"]]

    for name, values in [(one.partition("=")[0], one.partition("=")[2].strip('~"')) for one in matchers]:
        if name == "alertname" and values != "LLM.+":
            assert set(values.split("|")) <= set(alerts)
        elif name in {"severity", "topic"}:
            assert values in {labels[name] for labels in alerts.values()}


def test_the_shop_s_options_are_good_for_routes_too(tmp_path: Path) -> None:
    write(tmp_path, SHOP)

    assert run("amtool", "check-config", tmp_path / "alertmanager/alertmanager.yml").returncode == 0
