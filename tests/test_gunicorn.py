"""Servers with several workers, as they run in production: no request is lost or doubled, come what may."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from recording import REPLY
from serving import Server, free_port, get, gunicorn, page, running, successes, until
from support import REPOSITORY, require, require_module

from llmwatch.simulate import Vendors

require_module("gunicorn")

ASGI = ("-k", "uvicorn_worker.UvicornWorker")
HISTOGRAM = [f"ai_request_duration_seconds_{part}" for part in ("bucket", "count", "sum")]
KINDS = {
    "sync, preloaded": (("--preload",), "worker_app:wsgi"),
    "uvicorn": (ASGI, "worker_app:asgi"),
    "uvicorn, preloaded": ((*ASGI, "--preload"), "worker_app:asgi"),
}


def booted(server: Server, times: int) -> None:
    until(lambda: server.log.count("Booting worker") >= times, "the worker")


def counted(server: Server, requests: int) -> bool:
    """Whether each of eight scrapes says so, whichever worker answers it."""
    return server.scrapes(8) == [requests] * 8


@pytest.mark.parametrize("kind", KINDS)
def test_every_scrape_says_what_all_workers_have_counted(kind: str, tmp_path: Path) -> None:
    arguments, app = KINDS[kind]
    with gunicorn(tmp_path, *arguments, app=app) as server:
        by_worker = server.call(400)
        assert counted(server, 400)
        assert len(by_worker) > 1

        os.kill(next(iter(by_worker)), signal.SIGKILL)
        booted(server, 5)
        assert counted(server, 400)

        server.call(100)
        found = page(server.port)
        assert counted(server, 500)
        assert found.count("ai_request_duration", status="success") == 500
        assert found.total("ai_active_requests") == 0
        assert found.total("llmwatch_internal_errors") == 0

        if "preloaded" not in kind:  # gunicorn loads a preloaded application only once
            old = set(server.workers)
            server.reload()
            until(lambda: not old & set(server.workers), "the end of the old workers")
        assert counted(server, 500)
        server.call(20)
        assert counted(server, 520)


def test_the_request_that_a_killed_worker_had_open_is_not_active_for_ever(tmp_path: Path) -> None:
    with gunicorn(tmp_path, workers=2) as server:
        hanging = subprocess.Popen(
            [sys.executable, "-c", f"import urllib.request as r; r.urlopen('http://127.0.0.1:{server.port}/hang')"],
            stderr=subprocess.DEVNULL,
        )
        until(lambda: page(server.port).total("ai_active_requests") == 1, "the request")
        before = set(server.call(20))
        (busy,) = set(server.workers) - before
        os.kill(busy, signal.SIGKILL)
        hanging.wait(20)

        assert page(server.port).total("ai_active_requests") == 0
        assert counted(server, 20)


class Prometheus:
    """A real server that scrapes a port of loopback, or what it finds in a folder, once a second."""

    def __init__(self, port: int) -> None:
        self.port = port

    def value(self, query: str) -> float | None:
        answer = json.loads(get(self.port, f"/api/v1/query?query={urllib.parse.quote(query)}"))
        result = answer["data"]["result"]
        return float(result[0]["value"][1]) if result else None


@contextmanager
def prometheus(folder: Path, **scraped: object) -> Iterator[Prometheus]:
    program, port = require("prometheus"), free_port()
    settings = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
        "scrape_configs": [{"job_name": "app", **scraped}],
    }
    (folder / "prometheus.yml").write_text(json.dumps(settings))
    arguments = [f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}"]
    process = subprocess.Popen(
        [program, *arguments, f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until(lambda: ready(port), "Prometheus")
        yield Prometheus(port)
    finally:
        process.terminate()
        process.wait(20)


def ready(port: int) -> bool:
    try:
        return bool(get(port, "/-/ready", 5))
    except OSError:
        return False


def test_prometheus_sees_no_reset_and_the_right_increase_while_workers_come_and_go(tmp_path: Path) -> None:
    with gunicorn(tmp_path) as server:
        target = {"static_configs": [{"targets": [f"127.0.0.1:{server.port}"]}]}
        with prometheus(tmp_path, **target) as monitor:
            answered = f"ai_requests_total{{status='success',model='{REPLY['model']}'}}"

            def seen(requests: int) -> None:
                until(lambda: monitor.value(answered) == requests, "the scrape")
                assert counted(server, requests)

            server.call(10)
            seen(10)
            by_worker = server.call(390)
            seen(400)
            os.kill(next(iter(by_worker)), signal.SIGKILL)
            booted(server, 5)
            server.call(100)
            seen(500)
            old = set(server.workers)
            server.reload()
            until(lambda: not old & set(server.workers), "the end of the old workers")
            server.call(90)
            seen(590)

            for counter in ("ai_requests_total", "ai_tokens_total", "ai_cost_dollars_total", *HISTOGRAM):
                assert monitor.value(f"max(resets({counter}[5m]))") == 0
            assert monitor.value(f"max_over_time({answered}[5m]) - min_over_time({answered}[5m])") == 580
            # Prometheus extrapolates to both ends of the window, by about an interval between scrapes.
            until(lambda: monitor.value(f"count_over_time({answered}[5m])") >= 10, "the tenth scrape")
            assert monitor.value(f"increase({answered}[5m])") == pytest.approx(580, rel=0.2)
            assert monitor.value("count(count by (service_instance_id) (target_info))") == 1


def test_workers_of_uvicorn_share_a_page(tmp_path: Path) -> None:
    port = free_port()
    command = ("uvicorn", "worker_app:asgi", "--workers", "2", "--port", str(port), "--log-level", "warning")
    with running(tmp_path, *command, port=port, LLMWATCH_WORKER_DIR=str(tmp_path / "workers")) as server:
        until(lambda: len(server.call(20)) == 2, "both workers")
        so_far = successes(port)
        server.call(100)

        assert counted(server, int(so_far) + 100)
        assert so_far % 20 == 0


HOOKS = """
from llmwatch.exposition.gunicorn import FileSd

targets = FileSd("targets", labels={"team": "shop"})
on_starting, post_worker_init, child_exit = targets.on_starting, targets.post_worker_init, targets.child_exit
"""


def test_the_hooks_tell_prometheus_a_port_for_each_worker_and_forget_those_that_are_gone(tmp_path: Path) -> None:
    (tmp_path / "gunicorn.conf.py").write_text(HOOKS)
    targets = tmp_path / "targets"
    targets.mkdir()
    (targets / "llmwatch-1.json").write_text("[]")

    def found() -> dict[str, float]:
        groups = [json.loads(path.read_text())[0] for path in targets.glob("*.json")]
        assert all(group["labels"] == {"team": "shop"} for group in groups)
        return {target: successes(int(target.rpartition(":")[2])) for group in groups for target in group["targets"]}

    with gunicorn(tmp_path, LLMWATCH_WORKER_DIR="") as server:
        until(lambda: len(list(targets.glob("*.json"))) == 4, "the targets")
        by_worker = server.call(200)
        before = found()
        victim = next(iter(by_worker))
        os.kill(victim, signal.SIGKILL)
        until(
            lambda: len(list(targets.glob("*.json"))) == 4 and not (targets / f"llmwatch-{victim}.json").exists(), "it"
        )
        after = found()

    assert sum(before.values()) == 200
    assert len(before) == len(after) == 4
    assert sum(after.values()) == 200 - by_worker[victim]
    assert list(targets.iterdir()) == []


def test_the_example_runs(tmp_path: Path) -> None:
    shutil.copy(REPOSITORY / "examples" / "gunicorn" / "app.py", tmp_path)
    with Vendors(seed=3, time_scale=0.02) as vendors:
        variables = {"OPENAI_BASE_URL": vendors.openai_url, "OPENAI_API_KEY": "placeholder"}
        with gunicorn(tmp_path, "--preload", app="app:app", workers=2, **variables) as server:
            said = [get(server.port, "/ask") for _ in range(6)]
            scraped = [page(server.port) for _ in range(4)]

    assert all(said)
    assert [found.total("ai_requests", status="success", feature="greeting") for found in scraped] == [6] * 4
    assert scraped[0].total("ai_cost_dollars") > 0
    assert len((REPOSITORY / "examples" / "gunicorn" / "app.py").read_text().splitlines()) < 40
