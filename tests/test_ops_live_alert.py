"""An incident of the demo becomes a notification, in real time, by way of a real Prometheus and Alertmanager."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from operations import answers, free_port, prometheus, until
from support import REPOSITORY
from test_ops_alertmanager import Webhook, alertmanager, program

from llmwatch.ops import Options, Receiver, write


def hurry(root: Path) -> None:
    """Seconds in place of minutes, in the written files; nothing else of them is changed."""
    for path in [root / "prometheus/prometheus.yml", *(root / "prometheus/rules").glob("*.yml")]:
        text = path.read_text()
        text = re.sub(r"(scrape_interval|evaluation_interval|interval): \w+", r"\1: 1s", text)
        text = re.sub(r"for: \d+m", "for: 2s", text).replace("[5m]", "[10s]")
        path.write_text(text)
    routes = root / "alertmanager/alertmanager.yml"
    # Whichever alert about the provider is first makes the group; the others are told an interval later.
    routes.write_text(re.sub(r"(group_wait|group_interval): \w+", r"\1: 1s", routes.read_text()))


def test_a_provider_that_limits_the_rate_is_reported_to_whom_it_concerns(tmp_path: Path) -> None:
    program()
    webhook, port = Webhook(), free_port()
    demo = [sys.executable, "-m", "llmwatch", "demo", "--plain", "--seconds", "99", "--rate", "20", "--port", str(port)]
    incident = ["--incident", "rate-limit", "--incident-after", "1"]
    with (
        webhook.serving() as url,
        subprocess.Popen([*demo, *incident], cwd=REPOSITORY, stdout=subprocess.DEVNULL) as running,
    ):
        try:
            until(lambda: answers(f"http://127.0.0.1:{port}/metrics"), "the demo's page")
            write(tmp_path, Options(scrape=[f"127.0.0.1:{port}"], receivers=[Receiver("ticket", "webhook", url)]))
            hurry(tmp_path)
            with alertmanager(tmp_path / "alertmanager/alertmanager.yml", tmp_path / "am") as address:
                config = tmp_path / "prometheus/prometheus.yml"
                config.write_text(config.read_text().replace("alertmanager:9093", address))
                with prometheus(config, tmp_path / "data"):
                    until(lambda: throttled(webhook), "the notification", 90)
        finally:
            running.terminate()
    (alert, *_) = throttled(webhook)

    assert alert["status"] == "firing"
    assert alert["labels"] == {
        "alertname": "LLMThrottled",
        "job": "llmwatch-demo",
        "provider": "openai",
        "model": "gpt-4o-mini-2024-07-18",
        "severity": "warning",
        "topic": "limits",
    }
    assert re.fullmatch(
        r"openai, gpt-4o-mini-2024-07-18: [\d.]+% of the attempts are refused because of the rate limit",
        alert["annotations"]["summary"],
    )
    assert (tmp_path / alert["annotations"]["runbook_url"]).is_file()


def throttled(webhook: Webhook) -> list[dict]:
    """What has been reported of throttling so far."""
    alerts = [alert for notification in webhook.taken for alert in notification["alerts"]]
    return [alert for alert in alerts if alert["labels"]["alertname"] == "LLMThrottled"]
