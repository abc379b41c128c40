"""The queries of the page that llmwatch grew from, run against our metrics: who copies that page gets answers.

They are the page's word for word, but for `ai_cost_dollars`, whose name in Prometheus ends in `_total`. That page's own
metrics answer three of them with nothing, or without a name.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
from operations import Prometheus, blocks, prometheus

DAY, HOUR = 86400, 3600
NOW = int(time.time()) // 60 * 60 - 2 * HOUR
LABELS = {
    "chat": 'feature="chat",provider="openai",model="gpt-4o-mini",operation="chat",agent=""',
    "sort": 'feature="sort",provider="anthropic",model="claude-haiku-4-5",operation="chat",agent=""',
}


def steadily(a_second: float, *, lately: float | None = None) -> Callable[[float], float]:
    """A counter that grows at a rate, and at another one in the last hour."""

    def value(at: float) -> float:
        extra = max(0.0, at - (NOW - HOUR)) * ((lately if lately is not None else a_second) - a_second)
        return (at - (NOW - 27 * HOUR)) * a_second + extra

    return value


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A day of two features; in its last hour chat fails often, is slow, and costs three times as much."""
    folder = tmp_path_factory.mktemp("seed")
    chat, sort = LABELS.values()
    duration = "ai_request_duration_seconds_bucket"
    families = {
        "ai_requests counter": {
            f'ai_requests_total{{{chat},status="success"}}': steadily(2, lately=1),
            f'ai_requests_total{{{chat},status="error"}}': steadily(0, lately=1),
            f'ai_requests_total{{{sort},status="success"}}': steadily(1),
            f'ai_requests_total{{{sort},status="error"}}': steadily(0),
        },
        "ai_errors counter": {
            f'ai_errors_total{{{chat},error_type="rate_limit"}}': steadily(0, lately=1),
            f'ai_errors_total{{{chat},error_type="timeout"}}': steadily(0),
            f'ai_errors_total{{{sort},error_type="timeout"}}': steadily(0),
        },
        "ai_tokens counter": {
            f'ai_tokens_total{{{chat},direction="input",kind="text"}}': steadily(200),
            f'ai_tokens_total{{{chat},direction="output",kind="text"}}': steadily(100),
            f'ai_tokens_total{{{sort},direction="input",kind="text"}}': steadily(100),
        },
        "ai_cost_dollars counter": {
            f'ai_cost_dollars_total{{{chat},direction="input",kind="text",cost_source="table"}}': steadily(
                0.001, lately=0.003
            ),
            f'ai_cost_dollars_total{{{sort},direction="input",kind="text",cost_source="table"}}': steadily(0.0001),
        },
        "ai_request_duration_seconds histogram": {
            f'{duration}{{{chat},status="success",le="5.0"}}': steadily(2, lately=0),
            f'{duration}{{{chat},status="success",le="10.0"}}': steadily(2),
            f'{duration}{{{chat},status="success",le="+Inf"}}': steadily(2),
            f'{duration}{{{sort},status="success",le="5.0"}}': steadily(1),
            f'{duration}{{{sort},status="success",le="10.0"}}': steadily(1),
            f'{duration}{{{sort},status="success",le="+Inf"}}': steadily(1),
        },
    }
    config = folder / "prometheus.yml"
    config.write_text("{}")
    data = blocks(folder, families, range(NOW - 27 * HOUR, NOW + 60, 60))
    with prometheus(config, data) as server:
        yield server


def answer(server: Prometheus, expression: str, label: str = "", *, at: int = NOW) -> dict[str, float]:
    """The values of an expression by the label that the page's legend shows."""
    found = server.query(expression, at)
    assert all(set(series["metric"]) == ({label} if label else set()) for series in found)
    return {series["metric"].get(label, ""): float(series["value"][1]) for series in found}


def test_the_request_rate_by_feature(shop: Prometheus) -> None:
    rates = answer(shop, "sum(rate(ai_requests_total[5m])) by (feature)", "feature")

    assert rates == pytest.approx({"chat": 2, "sort": 1})


def test_the_p95_by_model(shop: Prometheus) -> None:
    expression = "histogram_quantile(0.95, sum(rate(ai_request_duration_seconds_bucket[5m])) by (le, model))"

    # all of chat's calls are between 5 and 10 s, all of sort's between 0 and 5 s
    assert answer(shop, expression, "model") == pytest.approx({"gpt-4o-mini": 9.75, "claude-haiku-4-5": 4.75})


def test_token_usage_by_feature(shop: Prometheus) -> None:
    tokens = answer(shop, "sum(increase(ai_tokens_total[24h])) by (feature)", "feature")

    assert tokens == pytest.approx({"chat": 300 * DAY, "sort": 100 * DAY}, rel=0.001)


def test_the_error_rate(shop: Prometheus) -> None:
    expression = "sum(rate(ai_errors_total[5m])) / sum(rate(ai_requests_total[5m])) > 0.05"

    assert answer(shop, expression) == pytest.approx({"": 1 / 3})
    assert answer(shop, expression, at=NOW - 2 * HOUR) == {}


def test_the_latency(shop: Prometheus) -> None:
    expression = "histogram_quantile(0.95, sum(rate(ai_request_duration_seconds_bucket[5m])) by (le)) > 5"

    # of three calls a second one is below 5 s; the 0.95 * 3 - 1 = 1.85th of the other two is at 5 s + 1.85 / 2 * 5 s
    assert answer(shop, expression) == pytest.approx({"": 9.625})
    assert answer(shop, expression, at=NOW - 2 * HOUR) == {}


def test_the_cost_spike(shop: Prometheus) -> None:
    expression = "sum(increase(ai_cost_dollars_total[1h])) > sum(increase(ai_cost_dollars_total[1h] offset 1d)) * 2"

    assert answer(shop, expression) == pytest.approx({"": 0.0031 * HOUR}, rel=0.02)
    assert answer(shop, expression, at=NOW - 2 * HOUR) == {}
