"""The dashboards as files: made by typed code, valid for Grafana, complete for readers, adapted by options."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grafana
import jsonschema
import operations
import promql
import promql_parser
import pytest
from grafana import FOLDER, LEGEND, VARIABLE, Dashboard, View, coloured
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models import units
from recording import ALL

from llmwatch.ops import Options, write
from llmwatch.ops._dashboards._all import texts
from llmwatch.ops._grafana import chosen

DASHBOARDS = grafana.load()
SCHEMAS = json.loads((Path(__file__).parent / "grafana_schemas.json").read_text("utf-8"))
UNITS = {value for name, value in vars(units).items() if name[0].isupper()}
BUILTIN = {"__range", "__range_s", "__rate_interval", "__interval", "__url_time_range"}
COUNTERS = {row.prometheus for row in ALL.values() if row.kind == "counter"}
HTTP = {"job", "instance", "http_route", "http_response_status_code"}
OLD_HTTP = {"job", "instance", "http_target", "http_status_code"}
NOT_OURS = {
    "http_server_request_duration_seconds_bucket": HTTP | {"le"},
    "http_server_request_duration_seconds_count": HTTP,
    "http_server_duration_milliseconds_bucket": OLD_HTTP | {"le"},
    "http_server_duration_milliseconds_count": OLD_HTTP,
    "scrape_samples_scraped": {"job", "instance"},
}
"""What others make: see `ops_history._http` for where the names are from."""

each_dashboard = pytest.mark.parametrize("dashboard", DASHBOARDS.values(), ids=DASHBOARDS)


def panels() -> Iterator[tuple[Dashboard, dict[str, Any]]]:
    for dashboard in DASHBOARDS.values():
        for panel in dashboard.panels:
            yield dashboard, panel


def queries() -> Iterator[tuple[Dashboard, str]]:
    """Every expression, of panels and annotations."""
    for dashboard, panel in panels():
        for target in panel["targets"]:
            yield dashboard, target["expr"]
    for dashboard in DASHBOARDS.values():
        for annotation in dashboard.annotations:
            yield dashboard, annotation["expr"]


def asked(dashboard: Dashboard, expression: str) -> dict[str, set[str]]:
    """The metrics of an expression and their labels; of one that names them by a pattern, all that match."""
    names = set(operations.series()) | set(NOT_OURS)
    found: dict[str, set[str]] = {}
    for name, labels in promql.metrics_and_labels(dashboard.interpolate(expression, View(0))).items():
        for each in [other for other in names if re.fullmatch(name, other)] or [name]:
            found.setdefault(each, set()).update(labels - {"__name__"})
    return found


def series_of(variable: dict[str, Any]) -> str:
    found = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"])
    assert found is not None
    return f"group by ({found[2]}) ({found[1]})"


# How they are made.


def test_the_json_that_ships_is_what_the_code_makes() -> None:
    assert {path.name: path.read_text("utf-8") for path in FOLDER.iterdir()} == texts()


@each_dashboard
def test_a_dashboard_passes_grafana_s_own_schemas(dashboard: Dashboard) -> None:
    # Where these schemas write "an object" of the next two, Grafana's own dashboards have texts and lists.
    whole = SCHEMAS["dashboard"]
    whole["definitions"]["MatcherConfig"]["properties"]["options"] = {}
    whole["definitions"]["DynamicConfigValue"]["properties"]["value"] = {}
    complaints = list(jsonschema.Draft7Validator(whole).iter_errors(dashboard.content))
    for panel in dashboard.panels:
        kind = SCHEMAS[panel["type"]]
        parts = {"Options": panel["options"], "FieldConfig": panel["fieldConfig"]["defaults"].get("custom", {})}
        for name in parts.keys() & kind["definitions"].keys():
            validator = jsonschema.Draft7Validator({**kind, "$ref": f"#/definitions/{name}"})
            complaints += validator.iter_errors(parts[name])
        for target in panel["targets"]:
            complaints += jsonschema.Draft7Validator(SCHEMAS["prometheus"]).iter_errors(target)

    assert [f"{list(each.absolute_path)}: {each.message[:200]}" for each in complaints] == []


@each_dashboard
def test_grafana_s_own_model_reads_a_dashboard_without_loss(dashboard: Dashboard) -> None:
    read = models.Dashboard.from_json(json.loads(json.dumps(dashboard.content)))
    again = json.loads(json.dumps(read, cls=JSONEncoder))
    for each in [*again["links"], *again["annotations"]["list"]]:  # its default, which it cannot leave out
        assert each.pop("placement") == "inControlsMenu"
    for panel in again["panels"]:
        for link in panel.get("fieldConfig", {}).get("defaults", {}).get("links", []):
            assert link.pop("placement") == "inControlsMenu"

    assert again == dashboard.content


# What Grafana's linter asks for (github.com/grafana/dashboard-linter, docs/index.md). Two of its rules do not fit: it
# wants a variable called `job`, which is `service` here, and `.+` for All, which would leave out calls of no agent.


@each_dashboard
def test_the_data_source_is_a_variable_that_everything_uses(dashboard: Dashboard) -> None:
    (source,) = [variable for variable in dashboard.variables if variable["type"] == "datasource"]
    assert (source["name"], source["label"], source["query"]) == ("datasource", "Data source", "prometheus")
    used = [*dashboard.panels, *dashboard.annotations]
    used += [target for panel in dashboard.panels for target in panel["targets"]]
    used += [variable for variable in dashboard.variables if variable["type"] == "query"]
    assert all(each["datasource"] == {"type": "prometheus", "uid": "${datasource}"} for each in used)


@each_dashboard
def test_variables_are_chained_multiple_with_all_and_follow_the_time_range(dashboard: Dashboard) -> None:
    chosen_from = [variable for variable in dashboard.variables if variable["type"] == "query"]
    assert chosen_from[0]["name"] == "service"
    for index, variable in enumerate(chosen_from):
        assert (variable["multi"], variable["includeAll"], variable["allValue"]) == (True, True, ".*")
        assert variable["refresh"] == 2
        assert variable["current"] == {"text": ["All"], "value": ["$__all"]}
        assert variable["label"]
        assert variable["description"]
        before = {each["name"] for each in chosen_from[:index]}
        used = {name for pair in VARIABLE.findall(variable["query"]) for name in pair if name}
        assert used <= before
        assert not before or "service" in used


def test_the_dashboards_about_calls_choose_by_the_same_variables() -> None:
    names = ["datasource", "service", "provider", "feature", "model", "agent"]
    for uid in ("llmwatch-overview", "llmwatch-feature", "llmwatch-debug"):
        assert [variable["name"] for variable in DASHBOARDS[uid].variables if variable["name"] != "against"] == names


@each_dashboard
def test_every_panel_says_what_it_shows_in_which_unit_and_what_to_do(dashboard: Dashboard) -> None:
    for panel in dashboard.panels:
        assert panel["title"][0].isupper()
        assert panel["description"].endswith(".")
        assert panel["targets"]
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS
        of_columns = [
            each["value"]
            for override in panel["fieldConfig"]["overrides"]
            for each in override["properties"]
            if each["id"] == "unit"
        ]
        assert set(of_columns) <= UNITS
        if panel["type"] == "table":
            assert len(of_columns) == len(panel["targets"])
        else:
            assert all(target["legendFormat"] for target in panel["targets"])


@each_dashboard
def test_lines_have_a_table_with_last_mean_and_max_below_and_a_tooltip_for_all(dashboard: Dashboard) -> None:
    for panel in [panel for panel in dashboard.panels if panel["type"] == "timeseries"]:
        legend = panel["options"]["legend"]
        assert (legend["displayMode"], legend["calcs"]) == ("table", ["lastNotNull", "mean", "max"])
        assert (panel["options"]["tooltip"]["mode"], panel["options"]["tooltip"]["sort"]) == ("multi", "desc")


def test_thresholds_are_our_own_and_never_the_default_of_80() -> None:
    for _, panel in panels():
        steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
        assert steps[0]["value"] is None
        values = [step["value"] for _, each in coloured(panel) for step in each[1:]]
        assert values == sorted(values) or panel["type"] == "table"
        assert 80 not in values


@each_dashboard
def test_a_dashboard_has_a_fixed_uid_and_fixed_ids_is_short_and_nobody_edits_it(dashboard: Dashboard) -> None:
    ids = [panel["id"] for panel in dashboard.content["panels"]]

    assert dashboard.uid == f"llmwatch-{dashboard.uid.rpartition('-')[2]}"
    assert max(Counter(ids).values()) == 1
    assert [panel["id"] for panel in dashboard.panels] == list(range(1, len(dashboard.panels) + 1))
    assert len(dashboard.panels) < 30
    assert dashboard.content["editable"] is False
    assert dashboard.content["tags"] == ["llmwatch"]


@each_dashboard
def test_panels_stand_under_a_question_and_not_upon_each_other(dashboard: Dashboard) -> None:
    first = dashboard.content["panels"][0]
    assert first["type"] == "row"
    taken: set[tuple[int, int]] = set()
    for panel in dashboard.content["panels"]:
        if panel["type"] == "row":
            assert panel["title"].endswith("?")
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken
        assert max(x for x, _ in cells) < 24
        taken |= cells


def test_the_overview_asks_the_questions_of_the_page_that_it_grew_from() -> None:
    rows = [panel["title"] for panel in DASHBOARDS["llmwatch-overview"].content["panels"] if panel["type"] == "row"]

    assert rows == [
        "Is it healthy?",
        "Why did cost move?",
        "Who uses the tokens?",
        "Are we at the provider's limit?",
        "What does it break on?",
    ]


@each_dashboard
def test_rates_follow_the_resolution_and_totals_the_time_range(dashboard: Dashboard) -> None:
    for panel in dashboard.panels:
        for target in panel["targets"]:
            spans = set(re.findall(r"(?:rate|min_over_time|resets)\([^\[]*\[([^\]]+)\]", target["expr"]))
            spans |= set(re.findall(r"increase\([^\[]*\[([^\]]+)\]", target["expr"]))
            instant = target.get("instant", False)
            allowed = {"$__range", "1d"} if instant else {"$__rate_interval"}
            assert spans <= allowed, (panel["title"], spans)


def test_counters_are_only_looked_at_through_what_they_grew_by() -> None:
    """But for the question whether a series is new."""

    def bare(node: Any, inside: bool) -> Iterator[str]:
        match node:
            case promql_parser.VectorSelector():
                if not inside and node.name in COUNTERS:
                    yield node.name
            case promql_parser.Call():
                for argument in node.args:
                    yield from bare(argument, inside or node.func.name in {"rate", "increase", "resets"})
            case promql_parser.MatrixSelector():
                yield from bare(node.vector_selector, inside)
            case promql_parser.BinaryExpr():
                yield from bare(node.lhs, inside or str(node.op) == "unless")
                yield from bare(node.rhs, inside or str(node.op) == "unless")
            case promql_parser.AggregateExpr() | promql_parser.ParenExpr() | promql_parser.SubqueryExpr():
                yield from bare(node.expr, inside)

    for dashboard, expression in queries():
        tree = promql_parser.parse(dashboard.interpolate(expression, View(0)))
        assert list(bare(tree, inside=False)) == [], expression


def test_every_query_is_of_the_chosen_service_and_of_all_else_that_its_metrics_can_be_chosen_by() -> None:
    for _, expression in queries():
        for selector in re.findall(r"(?<![\w)])(?:[a-zA-Z_]\w+)?\{[^{}]*\}", expression):
            assert 'job=~"$service"' in selector, expression
    for _, panel in panels():
        for target in panel["targets"]:
            selectors = re.findall(r"\b(ai_\w+?)(?:_bucket|_sum|_count)?(\{[^{}]*\})", target["expr"])
            labels = [set(next(row.labels for row in ALL.values() if row.prometheus == name)) for name, _ in selectors]
            shared = {"provider", "feature", "model", "agent"}.intersection(*labels) if labels else set()
            for name, matchers in selectors:
                assert {label for label in shared if f'{label}=~"${label}"' not in matchers} == set(), (
                    panel["title"],
                    name,
                )


@each_dashboard
def test_every_variable_in_a_dashboard_is_one_of_its_own_or_of_grafana_s(dashboard: Dashboard) -> None:
    names = {variable["name"] for variable in dashboard.variables}
    for found in re.finditer(r"\$(?:([a-z_]\w*)|\{([a-z_]\w*)(?:[.:][\w.:]+)?\})", json.dumps(dashboard.content)):
        name = found[1] or found[2]
        assert name in names | BUILTIN | {"__all", "__field", "__value"}, found[0]


# What is asked for.


def test_every_metric_and_label_in_every_query_is_in_the_catalogue() -> None:
    known = operations.series() | NOT_OURS
    for dashboard, expression in queries():
        for metric, labels in asked(dashboard, expression).items():
            assert metric in known, expression
            assert labels <= set(known[metric]), (metric, labels - set(known[metric]), expression)


def test_every_label_in_a_legend_or_a_table_is_one_that_its_query_leaves() -> None:
    known = {name: set(labels) for name, labels in (operations.series() | NOT_OURS).items()}
    for dashboard, panel in panels():
        for target in panel["targets"]:
            expression = dashboard.interpolate(target["expr"], View(0)).replace('{__name__=~"', 'up{job=~"')
            left = promql.labels_of(expression, known)
            if panel["type"] == "table":
                headings = panel["transformations"][1]["options"]["renameByName"]
                assert left == {name for name in headings if not name.startswith("Value")}, panel["title"]
            else:
                assert set(LEGEND.findall(target["legendFormat"])) <= left | {"le"}, panel["title"]


def test_every_metric_of_the_catalogue_is_in_some_panel() -> None:
    shown: set[str] = set()
    for dashboard, panel in panels():
        for target in panel["targets"]:
            if "count({__name__" not in target["expr"]:  # how many there are shows none of them
                shown |= set(asked(dashboard, target["expr"]))
    shown = {re.sub("_(bucket|sum|count)$", "", name) for name in shown} | shown
    assert {name for name, row in ALL.items() if row.prometheus not in shown} == set()


def test_every_variable_is_of_series_that_there_are() -> None:
    known = operations.series()
    for dashboard in DASHBOARDS.values():
        for variable in [variable for variable in dashboard.variables if variable["type"] == "query"]:
            for metric, labels in asked(dashboard, series_of(variable)).items():
                assert metric in known
                assert labels <= set(known[metric]), variable["query"]


# How they hang together.


@each_dashboard
def test_a_dashboard_links_to_the_others_with_the_time_and_what_is_chosen(dashboard: Dashboard) -> None:
    (link,) = dashboard.content["links"]
    assert (link["type"], link["tags"], link["includeVars"], link["keepTime"]) == (
        "dashboards",
        ["llmwatch"],
        True,
        True,
    )


def test_a_feature_in_a_line_or_in_a_table_leads_to_its_details() -> None:
    found = 0
    for dashboard, panel in panels():
        (legend, *_) = [target.get("legendFormat", "") for target in panel["targets"]]
        links = [link["url"] for link in _links(panel)]
        if "{{feature}}" in legend or '"Feature"' in json.dumps(panel.get("transformations", "")):
            found += 1
            (url,) = links
            assert url.startswith("/d/llmwatch-feature?${__url_time_range}&${datasource:queryparam}&")
            assert url.partition("var-feature=")[2] in {
                "${__field.labels.feature:percentencode}",
                "${__value.raw:percentencode}",
            }
            kept = set(re.findall(r"\$\{(\w+):queryparam\}", url))
            assert kept == {"datasource", "service", "provider", "model", "agent"}
        else:
            assert links == []
        assert dashboard.uid != "llmwatch-genai" or not links
    assert found >= 10


def _links(panel: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from panel["fieldConfig"]["defaults"].get("links", [])
    for override in panel["fieldConfig"]["overrides"]:
        yield from (link for each in override["properties"] if each["id"] == "links" for link in each["value"])


@each_dashboard
def test_alerts_versions_and_restarts_are_marked(dashboard: Dashboard) -> None:
    alerts, versions, restarts = dashboard.annotations
    assert alerts["expr"].startswith('ALERTS{alertstate="firing",alertname=~"LLM.+"')
    assert "llmwatch_build_info" in versions["expr"]
    assert "resets(ai_requests_total" in restarts["expr"]
    assert all(annotation["enable"] for annotation in dashboard.annotations)


# What the options change.


@pytest.fixture
def written(tmp_path: Path) -> dict[str, Dashboard]:
    write(tmp_path, Options(service="support-bot", labels=["tier", "service"], datasource="Mimir"))
    return {path.stem: Dashboard.load(path) for path in sorted((tmp_path / "grafana/dashboards").iterdir())}


def test_the_dashboards_open_with_the_service_and_the_data_source_that_were_named(
    written: dict[str, Dashboard],
) -> None:
    assert set(written) == set(DASHBOARDS)
    for dashboard in written.values():
        current = {variable["name"]: variable.get("current") for variable in dashboard.variables}
        assert current["service"] == {"text": ["support-bot"], "value": ["support-bot"]}
        assert current["datasource"] == {"text": "Mimir", "value": "Mimir"}


def test_declared_labels_can_be_chosen_by_wherever_calls_have_them(written: dict[str, Dashboard]) -> None:
    for uid in ("llmwatch-overview", "llmwatch-feature", "llmwatch-debug"):
        names = [variable["name"] for variable in written[uid].variables if variable["type"] == "query"]
        assert names == ["service", "provider", "feature", "model", "agent", "tier", "service_label"]
        tier = next(variable for variable in written[uid].variables if variable["name"] == "tier")
        assert tier["query"].endswith(',model=~"$model",agent=~"$agent"}, tier)')
        assert tier["label"] == "Tier"
    with_tier = [
        target["expr"]
        for uid, dashboard in written.items()
        for panel in dashboard.panels
        for target in panel["targets"]
        if "$tier" in target["expr"]
    ]
    assert len(with_tier) > 50
    known = operations.series()
    for expression in with_tier:
        for metric, labels in asked(written["llmwatch-overview"], expression.replace("service=~", "tier=~")).items():
            assert labels <= set(known[metric]), expression


def test_without_declared_labels_the_queries_are_those_that_ship(tmp_path: Path) -> None:
    write(tmp_path, Options())
    for uid, dashboard in DASHBOARDS.items():
        made = Dashboard.load(tmp_path / f"grafana/dashboards/{uid}.json")
        assert made.content["panels"] == dashboard.content["panels"]


def test_links_to_details_keep_the_declared_labels(written: dict[str, Dashboard]) -> None:
    panel = written["llmwatch-overview"].panel("Calls by feature")
    (link,) = panel["fieldConfig"]["defaults"]["links"]

    assert "&${tier:queryparam}&${service_label:queryparam}&var-feature=" in link["url"]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ('rate(ai_requests_total{job="a"}[5m])', 'rate(ai_requests_total{job="a",tier=~"$tier"}[5m])'),
        (
            'rate(ai_request_duration_seconds_bucket{job="a"}[5m])',
            'rate(ai_request_duration_seconds_bucket{job="a",tier=~"$tier"}[5m])',
        ),
        (
            'ai_cost_dollars_total{job="a"} and on (job) llmwatch_build_info{job="a"}',
            'ai_cost_dollars_total{job="a",tier=~"$tier"} and on (job) llmwatch_build_info{job="a"}',
        ),
        ('rate(ai_attempts_total{job="a"}[5m])', 'rate(ai_attempts_total{job="a"}[5m])'),
        (
            'rate(ai_retry_wait_seconds_total{job="a"}[5m]) / rate(ai_requests_total{job="a"}[5m])',
            'rate(ai_retry_wait_seconds_total{job="a"}[5m]) / rate(ai_requests_total{job="a"}[5m])',
        ),
    ],
)
def test_a_declared_label_is_asked_for_where_all_that_is_asked_has_it(expression: str, expected: str) -> None:
    assert chosen(expression, ',tier=~"$tier"') == expected
