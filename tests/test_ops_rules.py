"""The rules on Debian's promtool: each alert fires when it should, is silent when not, and asks for what there is."""

from __future__ import annotations

import re
import subprocess
import urllib.request
from collections import defaultdict
from pathlib import Path
from typing import Any

import operations
import pytest
import yaml
from operations import CASES, SHOP, run
from recording import apart
from support import require

import llmwatch
from llmwatch.ops import Options, write

QUERY = re.compile(r"```promql\n(.*?)```", re.DOTALL)
TEMPLATE_QUERY = re.compile(r'(?:printf|query) "((?:[^"\\]|\\.)*)"')


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shop")
    write(folder, SHOP)
    return folder


def rule_files(root: Path) -> list[Path]:
    return sorted((root / "prometheus/rules").glob("*.yml"))


def alerts(root: Path) -> list[dict[str, Any]]:
    return operations.rules(root, "alert")


def told(case: Path) -> list[dict[str, Any]]:
    """All that a file of unit tests says of alerts."""
    return [
        told for test in yaml.safe_load(case.read_text("utf-8"))["tests"] for told in test.get("alert_rule_test", [])
    ]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_alerts_and_records_say_what_their_unit_tests_expect(case: Path, root: Path, tmp_path: Path) -> None:
    operations.write_groups(root, tmp_path, "summary")
    (tmp_path / case.name).write_text(case.read_text("utf-8"), "utf-8")
    done = run("promtool", "test", "rules", case.name, cwd=tmp_path)

    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_unit_test_in_which_it_fires_and_one_in_which_it_is_silent(root: Path) -> None:
    fires, silent = set(), set()
    for case in [one for file in CASES for one in told(file)]:
        expected = case.get("exp_alerts") or []
        fires |= {(case["alertname"], one["exp_labels"].get("window")) for one in expected}
        silent |= set() if expected else {case["alertname"]}

    every = {(rule["alert"], rule["labels"].get("window")) for rule in alerts(root)}
    assert every - fires == set()
    assert {name for name, _ in every} - silent == set()


def test_every_unit_test_is_of_an_alert_that_there_is(root: Path) -> None:
    assert {one["alertname"] for case in CASES for one in told(case)} == {rule["alert"] for rule in alerts(root)}


@pytest.mark.parametrize("options", [SHOP, Options(), Options(features=["a b", "größe"], budgets={"a b": 0.5})])
def test_promtool_finds_nothing_to_say_of_the_rules(options: Options, tmp_path: Path) -> None:
    write(tmp_path, options)
    done = run("promtool", "check", "rules", "--lint=all", "--lint-fatal", *rule_files(tmp_path))

    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_finds_nothing_to_say_of_the_metrics() -> None:
    with apart():
        configuration = llmwatch.configure(service_name="shop", port=0)
        with llmwatch.track_request(feature="chat", provider="openai", model="gpt-4o-mini", agent="planner") as request:
            request.record(input_tokens=3, output_tokens=2)
        with pytest.raises(TimeoutError):
            fail()
        with urllib.request.urlopen(f"{configuration.url}/metrics", timeout=10) as answer:
            page = answer.read().decode()
    command = [require("promtool"), "check", "metrics"]
    done = subprocess.run(command, input=page, capture_output=True, text=True, check=False)

    assert "ai_errors_total{" in page
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@llmwatch.observe_llm(feature="sort", provider="openai", model="gpt-4o-mini")
def fail() -> None:
    raise TimeoutError


def test_records_are_named_level_metric_operation_and_the_level_is_the_labels_that_are_left(root: Path) -> None:
    known = operations.series_with_records(root)
    for rule in operations.rules(root, "record"):
        level, metric, operation = rule["record"].split(":")
        labels = known[rule["record"]]
        expected = set() if level in {"job", "call"} else set(level.split("_"))
        assert metric
        assert re.fullmatch(r"(ratio_|p95_)?(rate|increase)\d+[mhd](_median7d)?|per_day|expected", operation)
        if level == "call":
            assert {"job", "provider", "model"} <= labels
            assert "instance" not in labels
        else:
            assert labels == expected | {"job"}, rule["record"]


def test_every_metric_and_label_in_every_rule_is_catalogued_or_recorded(root: Path) -> None:
    known = operations.series_with_records(root)
    wrong = {
        rule.get("alert", rule.get("record")): unknown
        for kind in ("alert", "record")
        for rule in operations.rules(root, kind)
        if (unknown := list(operations.unknown(rule["expr"], known)))
    }
    assert wrong == {}


def test_every_metric_and_label_in_the_texts_of_alerts_is_there(root: Path) -> None:
    known = operations.series_with_records(root)
    asked = []
    for rule in alerts(root):
        for text in rule["annotations"].values():
            asked += [query.replace("%q", '"x"').replace('\\"', '"') for query in TEMPLATE_QUERY.findall(text)]
    queries = [query for query in asked if "{" in query]

    assert len(queries) >= 6
    assert [unknown for query in queries for unknown in operations.unknown(query, known)] == []


def test_labels_in_the_texts_of_alerts_are_labels_of_the_alert(root: Path) -> None:
    known = operations.series_with_records(root)
    for rule in alerts(root):
        has = operations.promql.labels_of(rule["expr"], known) | (
            {"job"} if rule["expr"].startswith("absent(") else set()
        )
        used = {label for text in rule["annotations"].values() for label in re.findall(r"\$labels\.(\w+)", text)}
        assert used <= has, rule["alert"]
        assert "job" in has, rule["alert"]


def test_every_query_in_the_documents_asks_for_what_is_there(root: Path) -> None:
    known = operations.series_with_records(root)
    queries = {file: QUERY.findall(file.read_text("utf-8")) for file in root.rglob("*.md")}

    assert sum(map(len, queries.values())) > 30
    every = [query for each in queries.values() for query in each]
    assert [unknown for query in every for unknown in operations.unknown(query, known)] == []


def test_every_metric_that_a_document_names_is_there(root: Path) -> None:
    known = {*operations.series_with_records(root)}
    families = {name.removesuffix(suffix) for name in known for suffix in ("_bucket", "_sum", "_count", "_total")}
    for file in root.rglob("*.md"):
        named = set(re.findall(r"`((?:ai|llmwatch|gen_ai)_[a-z_]+)`", file.read_text("utf-8")))
        assert named <= known | families, file.name


def test_every_alert_says_how_bad_it_is_who_it_is_and_what_to_do_first(root: Path) -> None:
    for rule in alerts(root):
        labels, annotations = rule["labels"], rule["annotations"]
        assert re.fullmatch(r"LLM[A-Z][A-Za-z]+", rule["alert"])
        assert labels["severity"] in {"critical", "warning"}
        assert labels["topic"] in {"errors", "latency", "cost", "limits", "quality", "pipeline"}
        assert set(annotations) == {"summary", "description", "runbook_url", "dashboard_url"}
        assert "First step: " in annotations["description"]
        assert "$labels." in annotations["summary"] or "shop" in annotations["summary"]


def test_every_alert_has_a_runbook_and_every_runbook_an_alert(root: Path) -> None:
    names = {rule["alert"] for rule in alerts(root)}

    assert {file.stem for file in (root / "runbooks").iterdir()} == names
    for rule in alerts(root):
        runbook = root / rule["annotations"]["runbook_url"]
        assert runbook.read_text("utf-8").startswith(f"# {rule['alert']}\n")


def test_the_index_lists_every_alert_with_its_severity(root: Path) -> None:
    listed = dict(
        re.findall(
            r"^\| \[(LLM\w+)\]\(runbooks/\1\.md\) \| ([a-z, ]+) \|", (root / "README.md").read_text(), re.MULTILINE
        )
    )
    severities: defaultdict[str, set[str]] = defaultdict(set)
    for rule in alerts(root):
        severities[rule["alert"]].add(rule["labels"]["severity"])

    assert {name: set(text.split(", ")) for name, text in listed.items()} == severities


@pytest.fixture(scope="module")
def rendered(root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, str]]]:
    """The annotations of every alert that fires in some unit test, as Prometheus fills them in.

    Promtool shows them where they differ from what is expected; so here nothing is expected.
    """
    folder = tmp_path_factory.mktemp("rendered")
    operations.write_groups(root, folder, "summary", "description", "runbook_url", "dashboard_url")
    found: defaultdict[str, list[dict[str, str]]] = defaultdict(list)
    for case in [case for case in CASES if case.stem != "burn"]:  # its alerts fire in errors.yml too, sooner
        content = yaml.safe_load(case.read_text("utf-8"))
        for one in [told for test in content["tests"] for told in test.get("alert_rule_test", [])]:
            one["exp_alerts"] = []
        (folder / case.name).write_text(yaml.safe_dump(content), "utf-8")
        said = run("promtool", "test", "rules", case.name, cwd=folder)
        for line in re.findall(r"Annotations:\{(.*dashboard_url=.*)\}\s*$", said.stdout + said.stderr, re.MULTILINE):
            pairs = re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', line)
            texts = {name: text.replace('\\"', '"') for name, text in pairs}
            found[Path(texts["runbook_url"]).stem].append(texts)
    return found


def test_the_texts_of_alerts_are_filled_in_and_link_to_dashboards_that_ship(
    root: Path, rendered: dict[str, list[dict[str, str]]]
) -> None:
    assert set(rendered) == {rule["alert"] for rule in alerts(root)}
    for texts in [texts for each in rendered.values() for texts in each]:
        whole = "\n".join(texts.values())
        assert [mark for mark in ("{{", "}}", "<no value>", "<error", "%!", "\n\n") if mark in whole] == []
        assert "  " not in texts["description"]
        assert re.fullmatch(
            r"http://localhost:3000/d/llmwatch-(overview|feature|debug)\?from=now-\d+h&to=now&var-service=shop"
            r"(&var-(feature|provider|model|agent)=[\w.+%-]*)*",
            texts["dashboard_url"],
        )


def test_an_alert_says_which_error_it_mostly_is(rendered: dict[str, list[dict[str, str]]]) -> None:
    said = [texts["description"] for texts in rendered["LLMHighErrorRate"]]

    assert any(text.startswith("Mostly overloaded. First step: ") for text in said)
