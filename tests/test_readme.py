"""The README: what it names is there, and what it shows is what one gets."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ops_history import history, serving
from recording import AGENTS, ALL, CALL, CLIENT, LATEST, LEGACY, PROMETHEUS
from serving import environment, free_port
from support import REPOSITORY

import llmwatch
from llmwatch import _settings
from llmwatch.cli import main
from llmwatch.simulate import Vendors

TEXT = (REPOSITORY / "README.md").read_text("utf-8")
BLOCKS = [(kind, body) for kind, body in re.findall(r"^```(\w*)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)]
PYTHON = [body for kind, body in BLOCKS if kind == "python"]
PROSE = re.sub(r"^```.*?^```$", "", TEXT, flags=re.MULTILINE | re.DOTALL)
SPANS = re.findall(r"`([^`\n]+)`", PROSE)

PARTS_OF_A_HISTOGRAM = ("_bucket", "_sum", "_count")
LABELS = {label.replace(".", "_") for row in ALL.values() for label in row.labels}
NO_METRICS = {"llmwatch_calls"}  # the fixture of the pytest plugin
NO_SETTINGS = {"LLMWATCH_CORPUS"}  # of the tests


def section(title: str) -> str:
    """The text under a heading, to the next one of its level."""
    (found,) = re.findall(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL)
    return str(found)


def rows(text: str) -> Iterator[list[str]]:
    """The cells of the rows of all tables, without their heads."""
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        for line in table.splitlines()[2:]:
            yield [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


# Metrics.


def metric_names() -> set[str]:
    return set(re.findall(r"(?<![\w.])(?:ai|gen_ai|llmwatch)_[a-z0-9_]+(?![\w/.])", TEXT)) - NO_METRICS - LABELS


def test_each_metric_that_it_names_is_one_of_prometheus() -> None:
    def series(name: str) -> str:
        part = next((part for part in PARTS_OF_A_HISTOGRAM if name.endswith(part)), "")
        whole = name.removesuffix(part)
        return whole if part and ALL[PROMETHEUS[whole]].kind == "histogram" else name

    names = metric_names()
    assert names
    assert {name for name in names if name.endswith("_") or series(name) not in PROMETHEUS} == set()


SETS = {"Call labels": CALL, "Client labels": CLIENT}


def test_it_says_which_labels_it_means() -> None:
    text = " ".join(section("What is recorded").split())
    for name, labels in SETS.items():
        assert f"*{name}* are {', '.join(label.replace('.', '_') for label in labels)}" in text


def test_its_tables_of_metrics_have_each_one_with_its_labels() -> None:
    table = {name: cells for cells in rows(section("What is recorded")) for name in re.findall(r"`(\w+)`", cells[0])}
    assert set(table) == set(PROMETHEUS)
    for name, cells in table.items():
        stated = {*re.findall(r"\w+", _written_out(cells[1]))}
        assert {label.replace(".", "_") for label in ALL[PROMETHEUS[name]].labels} <= stated, name


def _written_out(said: str) -> str:
    for short, labels in SETS.items():
        said = said.replace(short.lower(), ", ".join(labels))
    return said.replace(".", "_")


def test_its_table_says_which_choice_of_convention_records_what() -> None:
    for name, choices in {"legacy": LEGACY, "latest": LATEST, "all but `none`": AGENTS}.items():
        stated = {
            metric
            for cells in rows(section("What is recorded"))
            for metric in re.findall(r"`(\w+)`", cells[0])
            if name in "".join(cells[2:])
        }
        assert stated == {row.prometheus for row in choices.values()}


# Configuration.


def test_its_table_of_arguments_has_each_one_with_its_variables() -> None:
    table = {cells[0]: cells[1] for cells in rows(section("Configuration"))}
    arguments = inspect.signature(llmwatch.configure).parameters
    said = {name: cells for names, cells in table.items() for name in re.findall(r"`(\w+)`", names)}
    assert list(said) == list(arguments)
    for name in arguments:
        variables = re.findall(r"\b(?:LLMWATCH|OTEL|PROMETHEUS)_[A-Z_]+", said[name])
        assert {*_settings._VARIABLES.get(name, ())} <= {*variables}, name


def test_each_variable_of_ours_that_it_names_is_read() -> None:
    known = {variable for variables in _settings._VARIABLES.values() for variable in variables}
    assert set(re.findall(r"\bLLMWATCH_[A-Z_]+", TEXT)) <= known | NO_SETTINGS


# Commands.


def commands() -> list[list[str]]:
    """The words of each command line of ours that it shows, from behind `llmwatch` on."""
    lines = [span for span in SPANS if span.startswith("llmwatch ")]
    lines += re.findall(r"^\$ (llmwatch .+?) *(?:#|$)", TEXT, re.MULTILINE)
    for kind, body in BLOCKS:
        if kind == "sh":
            lines += re.findall(r"(?:^|[ /])(llmwatch [a-z].*?)(?:&|#|$)", body, re.MULTILINE)
    return [line.split()[1:] for line in lines]


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_each_command_and_option_that_it_shows_is_there(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    named = [word for word in words if re.fullmatch(r"[a-z]+", word)]
    for depth in (2, 1):  # `ops write`, or a command and its argument
        with pytest.raises(SystemExit) as left:
            main([*named[:depth], "--help"])
        help_text = capsys.readouterr().out
        if left.value.code == 0:
            break
    assert left.value.code == 0
    for option in [word.partition("=")[0] for word in words if word.startswith("--")]:
        assert re.search(rf"(?<![\w-]){option}(?![\w-])", help_text), option


def test_it_shows_all_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    known = set(re.findall(r"^    (\w+) ", capsys.readouterr().out, re.MULTILINE))
    assert known
    assert {words[0] for words in commands()} == known


def test_the_files_that_operators_deploy_are_written_by_the_command_that_it_shows(tmp_path: Path) -> None:
    (words,) = [words for words in commands() if words[:2] == ["ops", "write"]]
    assert main([str(tmp_path) if word == "DIR" else word for word in words]) == 0
    assert (tmp_path / "prometheus" / "prometheus.yml").exists()


def test_the_rows_of_the_dashboard_that_it_names_are_there() -> None:
    folder = REPOSITORY / "llmwatch" / "ops" / "files" / "grafana" / "dashboards"
    panels = json.loads((folder / "llmwatch-overview.json").read_text("utf-8"))["panels"]
    titles = {panel["title"] for panel in panels if panel["type"] == "row"}
    named = set(re.findall(r"(?<!\*)\*([^*\n]+\?)\*(?!\*)", PROSE))
    assert named
    assert named <= titles


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a Prometheus has the history that the README's answers are about."""
    with serving(history(tmp_path_factory.mktemp("history"))) as server:
        yield server.url


@pytest.fixture
def in_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As if the program ran where times are given in UTC."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


ANSWERS = re.findall(r"^\$ llmwatch (explain [^\n]+?) *#[^\n]*\n(.*?)(?=^\$ |^```)", TEXT, re.MULTILINE | re.DOTALL)


@pytest.mark.usefixtures("in_utc")
@pytest.mark.parametrize(("command", "answer"), ANSWERS, ids=[command for command, _ in ANSWERS])
def test_an_answer_that_it_shows_is_the_one_that_is_given(
    command: str, answer: str, prometheus: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LLMWATCH_PROMETHEUS", prometheus)
    assert main(command.split()) == 0
    said = capsys.readouterr().out
    paragraphs = said.split("\n\n")
    assert [shown for shown in answer.strip().split("\n\n") if shown not in paragraphs] == [], said


def test_it_answers_the_three_questions() -> None:
    assert [command.split()[1] for command, _ in ANSWERS] == ["cost", "tokens", "latency"]


@pytest.mark.parametrize("mark", ["demo", "tests"])
def test_a_marked_command_is_one_line_that_begins_with_the_environment(mark: str) -> None:
    (line,) = re.findall(rf"^<!-- {mark} -->\n```sh\n(.+)\n```$", TEXT, re.MULTILINE)
    assert line.startswith("python3 -m venv .venv && ")


# Code.


@pytest.mark.parametrize("source", PYTHON)
def test_a_block_of_python_compiles_and_takes_nothing_from_us_that_is_not_there(source: str) -> None:
    tree = compile(source, "README.md", "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id="llmwatch"), attr=name):
                assert hasattr(llmwatch, name), name
            case ast.ImportFrom(module=str(module), names=names) if module.partition(".")[0] == "llmwatch":
                found = importlib.import_module(module)
                assert [alias.name for alias in names if not hasattr(found, alias.name)] == []
            case ast.Call(func=ast.Attribute(value=ast.Name(id="llmwatch"), attr=called), keywords=keywords):
                assert _takes(getattr(llmwatch, called), [keyword.arg for keyword in keywords]), ast.unparse(node)


def _takes(function: object, keywords: list[str | None]) -> bool:
    assert callable(function)
    parameters = inspect.signature(function).parameters
    open_ended = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters.values())
    return open_ended or {*keywords} <= {*parameters}


def test_each_name_of_ours_in_its_prose_is_there() -> None:
    for path in re.findall(r"`(llmwatch(?:\.\w+)+)", PROSE):
        module, _, name = path.rpartition(".")
        assert hasattr(importlib.import_module(module), name) or importlib.import_module(path), path


def test_the_ten_lines_run_and_show_the_lines_beneath_them() -> None:
    (shown,) = [body for _, body in BLOCKS if body.startswith("ai_requests_total{")]
    port = str(free_port())
    look = f"from urllib.request import urlopen\nprint(urlopen('http://127.0.0.1:{port}/metrics').read().decode())"
    with Vendors(seed=1, time_scale=0) as vendors:
        done = subprocess.run(
            [sys.executable, "-c", f"{PYTHON[0].replace('9464', port)}\n{look}"],
            env=environment(OPENAI_BASE_URL=vendors.openai_url, OPENAI_API_KEY="none"),
            capture_output=True,
            text=True,
            check=True,
        )
    series = {line.rpartition(" ")[0] for line in done.stdout.splitlines()}
    assert len(shown.splitlines()) >= 3
    assert [line for line in shown.splitlines() if line.rpartition(" ")[0] not in series] == []


# Links.


def anchors() -> set[str]:
    titles = re.findall(r"^#+ (.+)$", PROSE, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_each_link_leads_somewhere() -> None:
    targets = re.findall(r"\]\(([^)]+)\)", PROSE)
    assert targets
    for target in targets:
        if target.startswith("#"):
            assert target[1:] in anchors(), target
        elif not target.startswith("https://"):
            assert Path(REPOSITORY, target.partition("#")[0]).exists(), target


def test_it_lists_each_example() -> None:
    examples = {path.name for path in (REPOSITORY / "examples").glob("*.py")} | {"gunicorn"}
    assert {name for name in examples if f"(examples/{name})" not in TEXT} == set()
