"""Retention on real servers: the tiers get the records and nothing else, and what is missing can be computed again."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest
import yaml
from operations import SHOP, blocks, free_port, prometheus, require, until

from llmwatch.ops import write

HOUR = 3600
CHAT = 'job="shop",instance="a",feature="chat",provider="openai",model="m",operation="chat",tier="pro"'
CALLS = f'ai_requests_total{{{CHAT},status="success"}}'
COST = f'ai_cost_dollars_total{{{CHAT},direction="input",kind="text",cost_source="table"}}'


def test_the_hours_and_days_of_the_past_can_be_computed_again(tmp_path: Path) -> None:
    require("promtool")
    write(tmp_path, SHOP)
    end = int(time.time()) // (2 * HOUR) * (2 * HOUR) - 6 * HOUR
    start = end - 28 * HOUR
    families = {
        "ai_requests counter": {CALLS: lambda at: at - start},  # a call a second
        "ai_cost_dollars counter": {COST: lambda at: (at - start) / HOUR},  # a dollar an hour
    }
    data = blocks(tmp_path, families, range(start, end + 60, 60))
    config = tmp_path / "nothing.yml"
    config.write_text("{}")
    kept = {"hourly": tmp_path / "hourly", "daily": tmp_path / "daily"}
    with prometheus(config, data) as raw:
        backfill(tmp_path, "hourly", raw.url, start + 2 * HOUR, end, kept["hourly"])
    with prometheus(config, kept["hourly"], "--query.lookback-delta=65m") as hourly:
        backfill(tmp_path, "daily", hourly.url, end - 2 * HOUR, end, kept["daily"])
        calls = hourly.query('call:ai_requests:increase1h{feature="chat",tier="pro"}', end)
        names = {series["__name__"] for series in hourly.get("series", **{"match[]": '{__name__=~".+"}'})}
    with prometheus(config, kept["daily"], "--query.lookback-delta=25h") as daily:
        dollars = daily.query("sum by (feature) (last_over_time(call:ai_cost_dollars:increase1d[1d]))", end)

    assert float(calls[0]["value"][1]) == pytest.approx(HOUR, rel=0.01)
    assert names == {"call:ai_requests:increase1h", "call:ai_cost_dollars:increase1h"}
    assert dollars[0]["metric"] == {"feature": "chat"}
    assert float(dollars[0]["value"][1]) == pytest.approx(24, rel=0.05)


def backfill(root: Path, kind: str, url: str, start: int, end: int, output: Path) -> None:
    command = [root / "retention/backfill.sh", kind, url, str(start), str(end), output]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_tiers_are_sent_the_records_and_nothing_else(tmp_path: Path) -> None:
    """With an hour of two seconds, and a target that is Prometheus itself."""
    write(tmp_path, SHOP)
    ports = {"prometheus": free_port(), "hourly": free_port(), "daily": free_port()}
    config = tmp_path / "prometheus/prometheus-tiers.yml"
    text = config.read_text().replace("localhost:9090", f"127.0.0.1:{ports['prometheus']}").replace("15s", "1s")
    for tier in ("hourly", "daily"):
        text = text.replace(f"prometheus-{tier}:9090", f"127.0.0.1:{ports[tier]}")
        squeeze(tmp_path / f"prometheus/rules/llmwatch-{tier}.yml")
    config.write_text(text)
    folder = tmp_path / "retention/prometheus"
    receiving = ("--web.enable-remote-write-receiver",)
    with (
        prometheus(folder / "hourly.yml", tmp_path / "h", *receiving, port=ports["hourly"]) as hourly,
        prometheus(folder / "daily.yml", tmp_path / "d", *receiving, port=ports["daily"]) as daily,
        prometheus(config, tmp_path / "raw", port=ports["prometheus"]) as raw,
    ):
        until(lambda: raw.query("call:ai_requests:increase1h"), "an hour")
        until(lambda: hourly.query("call:ai_requests:increase1h"), "an hour in its tier")
        until(lambda: daily.query("call:ai_requests:increase1d"), "a day in its tier")
        got = [set(each.get("label/__name__/values")) for each in (hourly, daily)]
        assert raw.query("up")

    assert all(name.startswith("call:") and name.endswith(":increase1h") for name in got[0])
    assert all(name.startswith("call:") and name.endswith(":increase1d") for name in got[1])


def squeeze(rules: Path) -> None:
    """Seconds in place of hours and days; and its first record made of what Prometheus itself counts."""
    content = yaml.safe_load(rules.read_text())
    (group,) = content["groups"]
    group["interval"] = "2s"
    hourly = group["name"] == "llmwatch-hourly"
    group["rules"][0]["expr"] = (
        'sum(increase(prometheus_http_requests_total{job="prometheus"}[10s]))'
        if hourly
        else "sum_over_time(call:ai_requests:increase1h[10s])"
    )
    rules.write_text(yaml.safe_dump(content))
