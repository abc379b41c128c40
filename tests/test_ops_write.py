"""`llmwatch ops write`: which files there are, what the options change in them, and whose files are left alone."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from operations import SHOP, answers, free_port, groups, run, until
from support import REPOSITORY, built_wheel, missing

from llmwatch.cli import main
from llmwatch.metrics import CATALOGUE
from llmwatch.ops import NotOursError, Options, Receiver, write

COMPOSE = ("docker-compose.yml",)
COMPOSITIONS = [
    COMPOSE,
    (*COMPOSE, "docker-compose.tiers.yml"),
    ("retention/thanos/docker-compose.yml",),
    ("retention/victoriametrics/docker-compose.yml",),
]


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text("utf-8"))


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shop")
    write(folder, SHOP)
    return folder


def files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


# Which files.


def test_everything_that_the_index_names_is_there(shop: Path) -> None:
    text = (shop / "README.md").read_text("utf-8")
    named = re.findall(r"`([\w./-]+/[\w./-]*|[\w-]+\.yml)`|\]\(([\w./]+)\)", text)

    assert len(named) > 30
    absent = [name for pair in named for name in pair if name and not (shop / name).exists()]
    assert absent in ([], ["alertmanager/secrets/"])


def test_every_file_is_told_and_in_utf_8_with_unix_line_ends(tmp_path: Path) -> None:
    paths = write(tmp_path, SHOP)

    assert sorted(paths) == paths
    assert {str(path.relative_to(tmp_path)) for path in paths} == set(files(tmp_path)) - {".llmwatch-ops"}
    for path in paths:
        assert b"\r" not in path.read_bytes()
        assert "@@" not in path.read_text("utf-8")


def test_yaml_and_json_can_be_read(shop: Path) -> None:
    for path in shop.rglob("*.yml"):
        assert load(path), path
    for path in shop.rglob("*.json"):
        assert json.loads(path.read_text("utf-8")), path


def test_scripts_can_be_run_and_say_how(shop: Path) -> None:
    done = subprocess.run([shop / "retention/backfill.sh"], capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert "backfill.sh hourly SOURCE_URL FROM TO OUTPUT_DIR" in done.stdout


# Whose files.


def test_what_it_wrote_itself_is_replaced(tmp_path: Path) -> None:
    write(tmp_path, SHOP)
    write(tmp_path, replace(SHOP, slo=99.9))

    assert "ratio_rate1h / 0.001 > 14.4" in (tmp_path / "prometheus/rules/llmwatch-alerts.yml").read_text()


def test_again_with_the_same_options_changes_nothing(tmp_path: Path) -> None:
    write(tmp_path, SHOP)
    before = files(tmp_path)
    write(tmp_path, SHOP)

    assert files(tmp_path) == before


@pytest.mark.parametrize("content", ["mine", ""])
def test_somebody_else_s_file_is_left_alone_and_then_nothing_is_written(tmp_path: Path, content: str) -> None:
    theirs = tmp_path / "docker-compose.yml"
    theirs.write_text(content)
    with pytest.raises(NotOursError, match=r"docker-compose\.yml") as refusal:
        write(tmp_path, SHOP)

    assert refusal.value.paths == [theirs]
    assert files(tmp_path) == {"docker-compose.yml": content.encode()}


def test_a_file_that_was_changed_since_is_somebody_else_s(tmp_path: Path) -> None:
    write(tmp_path, SHOP)
    changed = tmp_path / "prometheus/rules/llmwatch-alerts.yml"
    changed.write_text(changed.read_text().replace("> 0.05", "> 0.2"))
    with pytest.raises(NotOursError) as refusal:
        write(tmp_path, replace(SHOP, slo=99.9))

    assert refusal.value.paths == [changed]
    assert "> 0.2" in changed.read_text()


def test_by_force_it_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    write(tmp_path, SHOP, force=True)

    assert (tmp_path / "README.md").read_text().startswith("# Operating shop\n")


def test_what_else_is_in_the_folder_stays(tmp_path: Path) -> None:
    (tmp_path / "prometheus").mkdir()
    (tmp_path / "prometheus/mine.yml").write_text("mine")
    write(tmp_path, SHOP)

    assert (tmp_path / "prometheus/mine.yml").read_text() == "mine"


def test_the_list_of_what_was_written_can_be_checked_by_sha256sum(tmp_path: Path) -> None:
    write(tmp_path, SHOP)
    for line in (tmp_path / ".llmwatch-ops").read_text().splitlines():
        digest, path = line.split("  ")
        assert hashlib.sha256((tmp_path / path).read_bytes()).hexdigest() == digest


# Options.


def test_options_are_a_value() -> None:
    with pytest.raises(FrozenInstanceError):
        SHOP.service = "other"  # type: ignore[misc]
    with pytest.raises(TypeError):
        SHOP.budgets["chat"] = 1  # type: ignore[index]
    assert Options(features=["a"]) == Options(features=("a",))


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"service": ""}, "service=''"),
        ({"service": 'a"b'}, "service='a\"b'"),
        ({"features": ["a'b"]}, "without quotes"),
        ({"features": ["a{{b"]}, "without quotes"),
        ({"features": ["a", "a"]}, "twice"),
        ({"labels": ["tier", "a-b"]}, "labels='a-b'"),
        ({"labels": ["model"]}, "llmwatch's own"),
        ({"slo": 0.99}, "slo=0.99: a percentage"),
        ({"slo": 100}, "slo=100: a percentage"),
        ({"slo": float("nan")}, "slo=nan: a percentage"),
        ({"p95_seconds": 0}, "p95_seconds=0: more than 0"),
        ({"spike_dollars": -1}, "spike_dollars=-1: more than 0"),
        ({"budget": 0}, "budget=0: more than 0"),
        ({"budgets": {"chat": float("inf")}}, "budgets.chat.=inf: more than 0"),
        ({"features": ["search"], "budgets": {"chat": 1}}, "no such feature among search"),
        ({"scrape": ["http://a:1"]}, "host:port"),
        ({"scrape": ["a:70000"]}, "host:port"),
        ({"scrape": []}, "at least one host:port"),
        ({"alertmanagers": ["am"]}, "alertmanagers='am': host:port"),
        ({"prometheus_url": "prometheus:9090"}, "is not a URL"),
        ({"grafana_url": "x"}, "is not a URL"),
        ({"runbook_url": "books"}, "is not a URL"),
        ({"datasource": ""}, "datasource=''"),
        ({"smtp": "mail"}, "smtp='mail': host:port"),
        ({"receivers": [Receiver("page", "email", "a@b.example")]}, "needs smtp"),
    ],
)
def test_an_option_of_no_use_is_refused_by_name(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Options(**options)


def test_the_service_is_the_job_everywhere(tmp_path: Path) -> None:
    write(tmp_path, Options(service="support-bot"))
    rules = "\n".join(path.read_text() for path in (tmp_path / "prometheus/rules").iterdir())

    assert set(re.findall(r'job="([^"]+)"', rules)) == {"support-bot"}
    scraped = [config["job_name"] for config in load(tmp_path / "prometheus/prometheus.yml")["scrape_configs"]]
    assert scraped == ["support-bot", "prometheus"]


def test_declared_labels_are_kept_for_years_on_what_has_them_and_on_nothing_else(tmp_path: Path) -> None:
    write(tmp_path, Options(labels=["tier", "region"]))
    declarable = {metric.prometheus.removesuffix("_total") for metric in CATALOGUE if metric.call}
    for rule in groups(tmp_path)["llmwatch-hourly"]["rules"]:
        metric = re.sub("_(bucket|sum)$", "", rule["record"].split(":")[1])
        assert (", tier, region)" in rule["expr"]) == (metric in declarable), rule["record"]


def test_budgets_and_features_are_series_of_their_own(shop: Path) -> None:
    found = groups(shop)

    assert found["llmwatch-budgets"]["rules"] == [
        {"record": "job:ai_budget_dollars:per_day", "expr": "vector(200)", "labels": {"job": "shop"}},
        {
            "record": "feature:ai_budget_dollars:per_day",
            "expr": "vector(50)",
            "labels": {"job": "shop", "feature": "chat"},
        },
    ]
    assert [rule["labels"]["feature"] for rule in found["llmwatch-features"]["rules"]] == ["chat", "search"]


def test_the_slo_and_the_limits_stand_in_the_rules_and_in_the_words(tmp_path: Path) -> None:
    write(tmp_path, Options(slo=99.95, p95_seconds=2.5, spike_dollars=0.5))
    alerts = (tmp_path / "prometheus/rules/llmwatch-alerts.yml").read_text()

    assert "ratio_rate1h / 0.0005 > 14.4" in alerts
    assert "an SLO of 99.95 % allows" in alerts
    assert "p95_rate10m > 2.5" in alerts
    assert "increase1h > 0.5\n" in alerts
    assert ") > 2.5\n" in alerts


def test_alerts_link_to_where_people_find_grafana_and_the_runbooks(tmp_path: Path) -> None:
    write(tmp_path, Options(grafana_url="https://graf.example/", runbook_url="https://wiki.example/llm/"))
    for group in groups(tmp_path).values():
        for rule in group["rules"]:
            if "alert" in rule:
                assert rule["annotations"]["dashboard_url"].startswith("https://graf.example/d/llmwatch-")
                assert rule["annotations"]["runbook_url"] == f"https://wiki.example/llm/{rule['alert']}.md"


def test_targets_and_alertmanagers_are_those_that_were_named(tmp_path: Path) -> None:
    write(tmp_path, Options(scrape=["a:1", "[::1]:2"], alertmanagers=["am:9093"], prometheus_url="http://p:9"))
    for path in (tmp_path / "prometheus").glob("prometheus*.yml"):
        content = load(path)
        assert content["alerting"]["alertmanagers"] == [{"static_configs": [{"targets": ["am:9093"]}]}]
    assert load(tmp_path / "prometheus/prometheus.yml")["scrape_configs"][0]["static_configs"] == [
        {"targets": ["a:1", "[::1]:2"]}
    ]
    assert json.loads((tmp_path / "prometheus/targets/workers.json").read_text())[0]["targets"] == ["a:1", "[::1]:2"]
    (source,) = load(tmp_path / "grafana/provisioning/datasources/prometheus.yml")["datasources"]
    assert (source["name"], source["url"]) == ("Prometheus", "http://p:9")


def test_the_demo_is_started_only_where_it_is_what_is_watched(tmp_path: Path) -> None:
    write(tmp_path / "demo", Options())
    write(tmp_path / "own", Options(scrape=["host.docker.internal:9464"]))

    assert load(tmp_path / "demo/docker-compose.yml")["services"]["demo"]["profiles"] == []
    assert load(tmp_path / "own/docker-compose.yml")["services"]["demo"]["profiles"] == ["demo"]


# Prometheus, the collector, compose.


@pytest.mark.parametrize("name", ["prometheus", "prometheus-workers", "prometheus-tiers"])
def test_promtool_accepts_the_configuration(shop: Path, name: str) -> None:
    done = run("promtool", "check", "config", "--lint=all", "--lint-fatal", shop / f"prometheus/{name}.yml")

    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_accepts_the_configuration_of_the_otlp_receiver(shop: Path) -> None:
    version = run("promtool", "--version").stdout
    if "version 2." in version:
        pytest.skip("only Prometheus 3 knows the section `otlp`")
    done = run("promtool", "check", "config", shop / "prometheus/prometheus-otlp.yml")

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["retention/prometheus/hourly", "retention/prometheus/daily"])
def test_promtool_accepts_the_configuration_of_the_tiers(shop: Path, name: str) -> None:
    done = run("promtool", "check", "config", shop / f"{name}.yml")

    assert done.returncode == 0, done.stdout + done.stderr


def test_the_four_configurations_differ_in_how_metrics_come_in_and_in_nothing_else(shop: Path) -> None:
    every = [load(path) for path in sorted((shop / "prometheus").glob("prometheus*.yml"))]

    assert len(every) == 4
    assert len({json.dumps([each["rule_files"], each["alerting"]]) for each in every}) == 1
    listed = {Path(name).name for name in every[0]["rule_files"]}
    assert listed == {path.name for path in (shop / "prometheus/rules").iterdir()}


CORE = {
    "receivers": {"otlp"},
    "processors": {"memory_limiter", "batch"},
    "exporters": {"otlp", "otlphttp", "otlp_grpc", "otlp_http", "debug"},
}


@pytest.mark.parametrize("name", ["otel-collector", "otel-collector-contrib"])
def test_a_collector_s_pipelines_use_what_is_defined_and_all_of_it(shop: Path, name: str) -> None:
    content = load(shop / f"collector/{name}.yml")
    for kind in CORE:
        used = {part for pipeline in content["service"]["pipelines"].values() for part in pipeline[kind]}
        assert used == set(content[kind])
    for pipeline in content["service"]["pipelines"].values():
        assert (pipeline["processors"][0], pipeline["processors"][-1]) == ("memory_limiter", "batch")


def test_the_default_collector_has_core_parts_only(shop: Path) -> None:
    content = load(shop / "collector/otel-collector.yml")
    for kind, parts in CORE.items():
        assert {name.partition("/")[0] for name in content[kind]} <= parts


def docker_compose(root: Path, *arguments: str, files: tuple[str, ...] = COMPOSE) -> subprocess.CompletedProcess[str]:
    if shutil.which("docker-compose") is None:
        missing("the program docker-compose")
    if "version 1." in run("docker-compose", "--version").stdout:
        missing("docker-compose 2")
    chosen = [word for name in files for word in ("-f", name)]
    return run("docker-compose", *chosen, "--profile", "*", *arguments, cwd=root)


@pytest.mark.parametrize("files", COMPOSITIONS, ids=" ".join)
def test_docker_compose_accepts_the_file_and_every_image_has_a_fixed_tag(shop: Path, files: tuple[str, ...]) -> None:
    done = docker_compose(shop, "config", "-q", files=files)
    images = set(docker_compose(shop, "config", "--images", files=files).stdout.split()) - {"llmwatch-demo"}

    assert done.returncode == 0, done.stderr
    assert images
    for image in images:
        assert re.fullmatch(r"[\w./-]+:v?\d+\.\d+\.\d+", image)
    assert re.search(r"^FROM \S+:\d+\.\d+\.\d+-\S+$", (shop / "demo/Dockerfile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("files", COMPOSITIONS, ids=" ".join)
def test_what_a_container_is_given_is_there_and_it_is_reachable_from_this_machine_only(
    shop: Path, files: tuple[str, ...]
) -> None:
    for name in files:
        for service, settings in load(shop / name)["services"].items():
            for volume in settings.get("volumes", []):
                source = volume.partition(":")[0]
                given = source == "./grafana/dashboards" or (shop / name).parent.joinpath(source).exists()
                assert given or not source.startswith("."), f"{service}: {source}"
            for port in settings.get("ports", []):
                assert port.startswith("127.0.0.1:"), service


def test_each_prometheus_is_started_with_a_file_that_it_is_given(shop: Path) -> None:
    for name in ("docker-compose.yml", "docker-compose.tiers.yml"):
        for service, settings in load(shop / name)["services"].items():
            if service.startswith("prometheus"):
                (file,) = [flag for flag in settings["command"] if flag.startswith("--config.file=")]
                folder = "prometheus" if service == "prometheus" else "retention/prometheus"
                assert (shop / folder / Path(file).name).is_file()


def test_the_three_tiers_keep_seven_days_ninety_days_and_two_years(shop: Path) -> None:
    services = load(shop / "docker-compose.tiers.yml")["services"]
    kept = {
        name: re.findall(r"retention\.time=(\w+)", " ".join(settings["command"]))
        for name, settings in services.items()
        if name.startswith("prometheus")
    }

    assert kept == {"prometheus": ["7d"], "prometheus-hourly": ["90d"], "prometheus-daily": ["730d"]}


def test_each_tier_is_sent_the_records_that_it_keeps(shop: Path) -> None:
    found = groups(shop)
    for target in load(shop / "prometheus/prometheus-tiers.yml")["remote_write"]:
        (relabel,) = target["write_relabel_configs"]
        kept = "hourly" if "hourly" in target["url"] else "daily"
        sent = {
            (name, rule["record"])
            for name, group in found.items()
            for rule in group["rules"]
            if "record" in rule and re.fullmatch(relabel["regex"], rule["record"])
        }
        assert sent == {(f"llmwatch-{kept}", rule["record"]) for rule in found[f"llmwatch-{kept}"]["rules"]}


def test_every_hour_s_record_becomes_a_day_s(shop: Path) -> None:
    found = groups(shop)
    hours, days = ([rule["record"] for rule in found[f"llmwatch-{kind}"]["rules"]] for kind in ("hourly", "daily"))

    assert days == [name.replace(":increase1h", ":increase1d") for name in hours]
    for rule in found["llmwatch-daily"]["rules"]:
        hour = rule["record"].replace(":increase1d", ":increase1h")
        assert rule["expr"] == f'sum_over_time({hour}{{job="shop"}}[1d])'


def test_the_demo_s_container_runs_a_command_that_there_is_and_answers_other_containers(shop: Path) -> None:
    dockerfile = (shop / "demo/Dockerfile").read_text()
    command = json.loads(re.findall(r"^CMD (.*)$", dockerfile, re.MULTILINE)[0])
    environment = dict(re.findall(r"^ENV (\w+)=(\S+)$", dockerfile, re.MULTILINE))
    port = free_port()
    arguments = [*command[1:], "--seconds", "30", "--port", str(port)]
    with subprocess.Popen(
        [sys.executable, "-m", "llmwatch", *arguments],
        cwd=REPOSITORY,
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
    ) as demo:
        try:  # another address of this machine stands for another machine
            until(lambda: answers(f"http://127.0.0.2:{port}/metrics"), "the demo's page", 15)
        finally:
            demo.terminate()


# The command.


def test_the_command_writes_and_says_where_to_begin(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = "--service shop --features chat,search --labels tier --slo 99% --budget 200 --budget chat=50/day"
    assert main(["ops", "write", str(tmp_path / "cli"), *arguments.split()]) == 0
    write(tmp_path / "library", SHOP)

    assert files(tmp_path / "cli") == files(tmp_path / "library")
    assert f"begin with {tmp_path / 'cli' / 'README.md'}" in capsys.readouterr().out


def test_the_command_without_options_is_for_the_demo(tmp_path: Path) -> None:
    assert main(["ops", "write", str(tmp_path / "cli")]) == 0
    write(tmp_path / "library")

    assert files(tmp_path / "cli") == files(tmp_path / "library")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ("--slo many", "--slo: 'many' is not a number"),
        ("--slo 0.99", "slo=0.99: a percentage"),
        ("--budget chat", "--budget: 'chat' is not a number"),
        ("--budget 1 --budget 2", "--budget: the whole is there twice"),
        ("--budget a=1 --budget a=2", "--budget: a is there twice"),
        ("--budget a=0", "budgets[a]=0: more than 0"),
        ("--receiver slack:http://x", "a receiver is ROLE=KIND:TARGET"),
        ("--receiver all=slack:http://x", "no role 'all'; there are ticket, page, cost"),
        ("--receiver page=sms:1", "no kind of receiver 'sms'"),
        ("--receiver page=slack:key", "a receiver by slack needs its webhook's URL"),
    ],
)
def test_the_command_refuses_in_one_line(
    tmp_path: Path, arguments: str, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ops", "write", str(tmp_path), *arguments.split()]) == 2
    message = capsys.readouterr().err
    assert complaint in message
    assert message.count("\n") == 1
    assert files(tmp_path) == {}


def test_the_command_lists_what_is_not_ours_and_how_to_replace_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "README.md").write_text("mine")

    assert main(["ops", "write", str(tmp_path)]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "llmwatch: not written by llmwatch, or changed since; --force replaces them:",
        f"  {tmp_path / 'README.md'}",
    ]
    assert main(["ops", "write", str(tmp_path), "--force"]) == 0


def test_a_wheel_brings_the_files_along(tmp_path: Path) -> None:
    wheel = built_wheel(tmp_path)
    program = (
        f"import sys; sys.path.insert(0, {str(wheel)!r}); import llmwatch.ops; "
        f"assert {wheel.name!r} in llmwatch.ops.__file__; llmwatch.ops.write({str(tmp_path / 'out')!r})"
    )
    subprocess.run([sys.executable, "-P", "-c", program], cwd=tmp_path, check=True)
    write(tmp_path / "here")

    assert files(tmp_path / "out") == files(tmp_path / "here")
