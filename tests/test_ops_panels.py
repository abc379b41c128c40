"""The dashboards asked on a real Prometheus: every panel answers, and to each question with what truly happened."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grafana
import operations
import pytest
from grafana import Dashboard, View, colour, coloured, latest
from operations import Prometheus
from ops_history import (
    DAY,
    ELSEWHERE,
    GROWTH,
    HOUR,
    INCIDENTS,
    JOB,
    NOON,
    RUNAWAY,
    SWAP,
    THROTTLED,
    Incident,
    unwritten,
)

from llmwatch.ops import Options, write

DASHBOARDS = grafana.load()
OVERVIEW, FEATURE, DEBUG = (DASHBOARDS[f"llmwatch-{name}"] for name in ("overview", "feature", "debug"))
GENAI = DASHBOARDS["llmwatch-genai"]
PANELS = [(dashboard, panel) for dashboard in DASHBOARDS.values() for panel in dashboard.panels]

CAUSES = {"requests": "calls", "tokens_per_request": "tokens per call", "price_per_token": "price per token"}
"""The causes of incidents in the words of the panels."""
FACTORS = [f"{cause.capitalize()} ×" for cause in CAUSES.values()]
TIMES = OVERVIEW.panel("Against yesterday")["fieldConfig"]["defaults"]["thresholds"]["steps"]

each_panel = pytest.mark.parametrize(
    ("dashboard", "panel"), PANELS, ids=[f"{dashboard.uid}-{panel['id']}" for dashboard, panel in PANELS]
)
each_incident_of_cost = pytest.mark.parametrize("incident", [GROWTH, SWAP, RUNAWAY], ids=lambda each: each.name)


def during(incident: Incident) -> View:
    """What somebody looks at who looks at an incident."""
    return View(incident.ended, incident.ended - incident.began)


def values(dashboard: Dashboard, panel: dict[str, Any], server: Prometheus, view: View) -> Iterator[tuple[str, float]]:
    """All that a panel shows, by column or legend."""
    if panel["type"] == "table":
        for row in dashboard.rows(server, panel["title"], view):
            yield from ((heading, value) for heading, value in row.items() if isinstance(value, float))
    else:
        yield from dashboard.numbers(server, panel["title"], view).items()


def alarming(server: Prometheus, view: View) -> set[str]:
    """The panels that show something in the colour of a threshold, of all dashboards."""
    found = set()
    for dashboard, panel in PANELS:
        for column, steps in coloured(panel):
            for heading, value in values(dashboard, panel, server, view):
                if column in {None, heading} and colour(steps, value) in {"orange", "red"}:
                    found.add(f"{dashboard.uid}: {panel['title']}: {heading}")
    return found


# Every query.


def test_the_history_has_every_metric_of_the_catalogue(nine_days: Prometheus) -> None:
    names = nine_days.get("label/__name__/values", start=str(NOON - 9 * DAY), end=str(NOON))

    assert unwritten(set(names)) == set()


@each_panel
def test_every_query_of_a_panel_finds_numbers_with_the_labels_of_its_legend(
    dashboard: Dashboard, panel: dict[str, Any], nine_days: Prometheus
) -> None:
    for target in panel["targets"]:
        found = dashboard.ask(nine_days, target, View(NOON))
        assert found, target["expr"]
        assert not all(math.isnan(latest(series)) for series in found)
        for label in grafana.LEGEND.findall(target.get("legendFormat", "")):
            assert any(series["metric"].get(label) for series in found), label
    if panel["type"] == "table":
        assert dashboard.rows(nine_days, panel["title"], View(NOON))


CHOSEN = {
    "service": [JOB],
    "provider": ["openai", "anthropic"],
    "feature": ["triage", "chat"],
    "model": ["gpt-4o-mini"],
    "agent": ["triage"],
    "against": ["1w"],
}


@each_panel
def test_every_query_is_valid_whatever_is_chosen(
    dashboard: Dashboard, panel: dict[str, Any], nine_days: Prometheus
) -> None:
    for target in panel["targets"]:
        view = View(NOON, HOUR, CHOSEN)
        assert "$" not in dashboard.interpolate(target["expr"], view).replace('"$1"', "")  # of label_replace()
        dashboard.ask(nine_days, target, view)


@pytest.mark.parametrize("dashboard", DASHBOARDS.values(), ids=DASHBOARDS)
def test_every_variable_has_values(dashboard: Dashboard, nine_days: Prometheus) -> None:
    for variable in [variable for variable in dashboard.variables if variable["type"] == "query"]:
        query = dashboard.interpolate(variable["query"], View(NOON))
        series, _, label = query.removeprefix("label_values(").removesuffix(")").rpartition(", ")
        times = {"start": str(NOON - 6 * HOUR), "end": str(NOON)}
        assert nine_days.get(f"label/{label}/values", **{"match[]": series}, **times), query


@pytest.mark.parametrize("name", ["Versions", "Restarts"])
def test_a_deployment_is_marked_when_it_happened_and_at_no_other_time(name: str, nine_days: Prometheus) -> None:
    (annotation,) = [each for each in OVERVIEW.annotations if each["name"] == name]
    # Marks are looked for a minute apart; the shop is scraped more seldom than the expressions expect.
    query = OVERVIEW.interpolate(annotation["expr"], View(NOON)).replace("[5m]", "[30m]").replace("10m", "30m")
    times = {"start": str(NOON - 8 * DAY), "end": str(NOON), "step": "900"}
    found = nine_days.get("query_range", query=query, **times)["result"]

    marked = [int(at) for series in found for at, _ in series["values"]]
    deployed = NOON - 4 * DAY - 12 * HOUR
    assert marked
    assert all(abs(at - deployed) <= HOUR for at in marked)


# Why did cost spike this morning?


def test_this_morning_s_bill_is_three_times_yesterday_s_and_last_week_s(nine_days: Prometheus) -> None:
    for title in ("Against yesterday", "Against last week"):
        assert OVERVIEW.numbers(nine_days, title, during(GROWTH))["cost ×"] == pytest.approx(3, rel=0.02)


@each_incident_of_cost
def test_the_cause_is_the_largest_of_the_factors_and_they_multiply_to_the_cost(
    incident: Incident, nine_days: Prometheus
) -> None:
    factors = OVERVIEW.numbers(nine_days, "Against yesterday", during(incident))
    cost = factors.pop("cost ×")

    assert max(factors, key=factors.__getitem__) == f"{CAUSES[incident.cause]} ×"
    assert math.prod(factors.values()) == pytest.approx(cost)
    assert sum(colour(TIMES, value) != "text" for value in factors.values()) == 1


@each_incident_of_cost
def test_the_first_mover_is_the_feature_the_model_and_the_agent_of_the_incident(
    incident: Incident, nine_days: Prometheus
) -> None:
    first, *others = OVERVIEW.rows(nine_days, "Who moved it", during(incident))

    assert (first["Feature"], first["Model"], first["Agent"]) == (incident.feature, incident.model, incident.agent)
    assert all(abs(row["Change"]) < 0.1 * first["Change"] for row in others)


@pytest.mark.parametrize("incident", [GROWTH, RUNAWAY], ids=lambda each: each.name)
def test_the_first_mover_s_factor_that_moved_is_the_cause(incident: Incident, nine_days: Prometheus) -> None:
    first = OVERVIEW.rows(nine_days, "Who moved it", during(incident))[0]

    assert max(FACTORS, key=lambda heading: float(first[heading])).lower() == f"{CAUSES[incident.cause]} ×"


def test_a_swapped_model_has_nothing_to_compare_with_and_the_one_before_it_is_the_last_row(
    nine_days: Prometheus,
) -> None:
    rows = OVERVIEW.rows(nine_days, "Who moved it", during(SWAP))

    assert rows[0]["Price per token ×"] is None
    assert (rows[-1]["Feature"], rows[-1]["Model"]) == ("chat", "gpt-4o-mini")
    assert rows[-1]["Change"] < 0


@each_incident_of_cost
def test_the_cause_made_most_of_the_dollars_and_all_causes_the_whole_change(
    incident: Incident, nine_days: Prometheus
) -> None:
    dollars = OVERVIEW.numbers(nine_days, "What changed it, in dollars", during(incident))
    spent = "sum(increase(ai_cost_dollars_total[6h]))"
    now, then = (float(nine_days.query(spent, at)[0]["value"][1]) for at in (incident.ended, incident.ended - DAY))

    assert max(dollars, key=dollars.__getitem__) == CAUSES[incident.cause]
    assert dollars[CAUSES[incident.cause]] > 0.8 * (now - then)
    assert math.fsum(dollars.values()) == pytest.approx(now - then, rel=1e-6)


def test_feature_detail_says_the_same_of_the_feature_alone(nine_days: Prometheus) -> None:
    view = View(GROWTH.ended, 6 * HOUR, {"feature": ["summarise"]})
    factors = FEATURE.numbers(nine_days, "Against ${against:text}", view)

    assert factors["tokens per call ×"] == pytest.approx((7.5 * 2500 + 250) / 2750, rel=0.01)
    assert factors["calls ×"] == pytest.approx(1, rel=0.05)
    assert factors["price per token ×"] < 1  # more of it is input, which is cheaper


# Which agent consumes the tokens?


def test_the_runaway_agent_is_the_first_to_consume_tokens(nine_days: Prometheus) -> None:
    first = OVERVIEW.rows(nine_days, "Tokens by feature and agent", during(RUNAWAY))[0]

    assert (first["Feature"], first["Agent"]) == (RUNAWAY.feature, RUNAWAY.agent)
    assert first["Share"] > 0.5


def test_the_runaway_agent_makes_most_calls_per_run(nine_days: Prometheus) -> None:
    first, *others = FEATURE.rows(nine_days, "Agents", during(RUNAWAY))

    assert first["Agent"] == RUNAWAY.agent
    assert first["Calls per run"] == pytest.approx(60, rel=0.01)
    assert all(row["Calls per run"] == pytest.approx(6, rel=0.01) for row in others)


def test_on_an_ordinary_day_another_feature_is_the_first_to_consume_tokens(nine_days: Prometheus) -> None:
    first = OVERVIEW.rows(nine_days, "Tokens by feature and agent", View(RUNAWAY.ended - DAY))[0]

    assert (first["Feature"], first["Agent"]) == ("chat", "")


# Is the provider's rate limit what hurts P95?


def test_the_limit_of_the_provider_that_refuses_is_the_first_row(nine_days: Prometheus) -> None:
    first, second = OVERVIEW.rows(nine_days, "Does the limit cost time?", during(THROTTLED))

    assert first["Provider"] == THROTTLED.provider
    assert first["Most of a limit used"] == 1
    assert first["Attempts refused"] == pytest.approx(0.5, rel=0.02)
    assert first["Waiting per call"] == pytest.approx(18, rel=0.02)
    assert first["Difference"] > 5
    assert (second["Waiting per call"], second["Attempts refused"]) == (0, 0)
    assert abs(second["Difference"]) < 1


def test_only_that_provider_s_calls_take_longer_than_its_attempts(nine_days: Prometheus) -> None:
    shown = OVERVIEW.numbers(nine_days, "P95 of a call and of an attempt", during(THROTTLED))

    assert shown["anthropic: call"] > shown["anthropic: attempt"] + 5
    assert shown["openai: call"] == pytest.approx(shown["openai: attempt"], rel=0.2)


def test_the_limit_that_is_used_up_is_named(nine_days: Prometheus) -> None:
    shown = OVERVIEW.numbers(nine_days, "Limit used", during(THROTTLED))

    used_up = {legend for legend, value in shown.items() if value > 0.9}
    assert used_up == {
        "anthropic main claude-haiku-4-5 input_tokens",
        "anthropic main claude-sonnet-4-5 input_tokens",
    }


def test_the_errors_of_a_rate_limit_are_named_and_belong_to_its_provider(nine_days: Prometheus) -> None:
    shown = OVERVIEW.numbers(nine_days, "Errors by type", during(THROTTLED))
    first = OVERVIEW.rows(nine_days, "Failed calls", during(THROTTLED))[0]

    assert max(shown, key=shown.__getitem__) == "rate_limit"
    assert (first["Provider"], first["Error"]) == ("anthropic", "rate_limit")


# What is coloured.


def test_each_incident_is_coloured_where_one_looks_for_it(nine_days: Prometheus) -> None:
    coloured_by = {incident.name: alarming(nine_days, during(incident)) for incident in INCIDENTS}

    for incident in (GROWTH, SWAP, RUNAWAY):
        assert "llmwatch-overview: Against yesterday: cost ×" in coloured_by[incident.name]
    assert "llmwatch-overview: Against yesterday: tokens per call ×" in coloured_by["prompt growth"]
    assert "llmwatch-overview: Against yesterday: price per token ×" in coloured_by["model swap"]
    assert "llmwatch-overview: Who moved it: Calls ×" in coloured_by["runaway agent"]
    assert "llmwatch-feature: Agents: Calls per run" in coloured_by["runaway agent"]
    assert {
        "llmwatch-overview: Does the limit cost time?: Most of a limit used",
        "llmwatch-overview: Does the limit cost time?: Attempts refused",
        "llmwatch-overview: Failing: failing",
    } <= coloured_by["rate limit"]
    assert not any("×" in where for where in coloured_by["rate limit"])
    assert not any(
        "limit" in where for name in ("prompt growth", "model swap", "runaway agent") for where in coloured_by[name]
    )


@pytest.mark.parametrize("days_ago", [0, 2, 4, 6])
def test_on_quiet_data_nothing_is_blamed(days_ago: int, nine_quiet_days: Prometheus) -> None:
    assert alarming(nine_quiet_days, View(NOON - days_ago * DAY)) == set()


def test_on_quiet_data_nobody_moved_cost(nine_quiet_days: Prometheus) -> None:
    rows = OVERVIEW.rows(nine_quiet_days, "Who moved it", View(NOON))

    assert len(rows) == 6
    assert all(abs(row["Change"]) < 0.05 * row["Then"] + 0.01 for row in rows)


# What is not known.

COMPARISONS = ["Against yesterday", "Against last week", "What changed it, in dollars"]


@pytest.mark.parametrize("title", COMPARISONS)
@pytest.mark.parametrize("hours", [2, 8])
def test_a_comparison_with_a_past_that_is_not_wholly_known_says_no_base(
    title: str, hours: int, nine_days: Prometheus
) -> None:
    """After a day and two hours, only two of the six hours of yesterday are known."""
    began = NOON - 9 * DAY
    until = began + {"Against last week": 7 * DAY}.get(title, DAY) + hours * HOUR
    shown = OVERVIEW.numbers(nine_days, title, View(until))

    assert (shown == {}) == (hours < 6)
    assert OVERVIEW.panel(title)["fieldConfig"]["defaults"]["noValue"] == "no base"


def test_without_a_base_the_movers_still_say_what_is_spent_now(nine_days: Prometheus) -> None:
    rows = OVERVIEW.rows(nine_days, "Who moved it", View(NOON - 9 * DAY + DAY + 2 * HOUR))

    assert len(rows) == 6
    for row in rows:
        assert row["Now"] > 0
        assert [row[heading] for heading in ("Change", "Then", *FACTORS)] == [None] * 5


def test_a_service_that_is_new_has_no_base_even_beside_one_that_is_not(tmp_path: Path) -> None:
    build = "llmwatch_build_info"

    def there(since: int) -> Any:
        return lambda at: 1.0 if at >= since else math.nan

    def spending(since: int) -> Any:
        return lambda at: max(0.0, at - since) if at >= since else math.nan

    long_ago = NOON - 28 * HOUR
    families = {
        f"{build} gauge": {f'{build}{{job="old"}}': there(long_ago), f'{build}{{job="new"}}': there(NOON - HOUR)},
        "ai_cost_dollars counter": {
            'ai_cost_dollars_total{job="old"}': spending(long_ago),
            'ai_cost_dollars_total{job="new"}': spending(NOON - HOUR),
        },
    }
    (tmp_path / "prometheus.yml").write_text("{}")
    data = operations.blocks(tmp_path, families, range(long_ago, NOON + 60, 240))
    with operations.prometheus(tmp_path / "prometheus.yml", data) as server:
        both, old = (
            OVERVIEW.numbers(server, "Against yesterday", View(NOON, 2 * HOUR, chosen, scrape=240))
            for chosen in ({}, {"service": ["old"]})
        )

    assert both == {}
    assert old == {"cost ×": pytest.approx(1)}


def test_a_series_that_begins_with_its_first_amount_counts_from_nothing(nine_days: Prometheus) -> None:
    """The calls without a price began five hours ago, with two at once: `increase()` would miss these."""
    rows = DEBUG.rows(nine_days, "Calls without a price", View(NOON))

    assert [(row["Model"], row["Reason"], row["Calls"]) for row in rows] == [("in-house-7b", "unknown_model", 40)]


# Other instrumentations.


def test_the_dashboard_of_the_convention_works_for_a_service_without_llmwatch(nine_days: Prometheus) -> None:
    view = View(NOON, chosen={"service": [ELSEWHERE]})
    (row,) = GENAI.rows(nine_days, "Tokens by model", view)

    assert (row["Provider"], row["Model"]) == ("openai", "gpt-5-mini")
    assert row["Calls"] == pytest.approx(301 * 4 * 6)
    assert GENAI.numbers(nine_days, "Failing", view)["failing"] == pytest.approx(1 / 301)
    assert set(GENAI.numbers(nine_days, "Errors by type", view)) == {"openai.RateLimitError"}
    assert GENAI.numbers(nine_days, "P95 of a call", view)["P95"] == pytest.approx(2 * math.exp(0.6 * 1.645), rel=0.2)


def test_a_declared_label_chooses_among_the_calls(nine_days: Prometheus, tmp_path: Path) -> None:
    write(tmp_path, Options(service=JOB, labels=["tier"]))
    overview = Dashboard.load(tmp_path / "grafana/dashboards/llmwatch-overview.json")
    spent = {
        tier: overview.numbers(nine_days, "Spent", View(NOON, chosen={"tier": [tier]} if tier else {}))
        for tier in ("", "pro", "free")
    }

    assert spent["pro"] == spent[""] == OVERVIEW.numbers(nine_days, "Spent", View(NOON))
    assert spent["pro"]["spent"] > 0
    assert spent["free"] == {}
