"""A real Pushgateway gets the page of programs that nobody could scrape in time."""

from __future__ import annotations

import base64
import os
import socket
import subprocess
import sys
import textwrap
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client.parser import text_string_to_metric_families
from receivers import free_port, pushgateway, silent
from recording import Faults, answering, apart
from support import REPOSITORY

import llmwatch


@pytest.fixture(scope="module")
def gateway() -> Iterator[str]:
    with pushgateway() as address:
        yield address


@pytest.fixture(autouse=True)
def faults(monkeypatch: pytest.MonkeyPatch) -> Iterator[Faults]:
    for variable in list(os.environ):
        if variable.startswith(("OTEL_", "LLMWATCH_")):
            monkeypatch.delenv(variable)
    with apart() as faults:
        yield faults


def pushed(gateway: str, job: str) -> list[Any]:
    """All samples that the gateway has of a job."""
    with urllib.request.urlopen(f"http://{gateway}/metrics", timeout=10) as answer:
        page = answer.read().decode()
    families = text_string_to_metric_families(page)
    return [sample for family in families for sample in family.samples if sample.labels.get("job") == job]


def successes(samples: list[Any]) -> float:
    return sum(
        sample.value
        for sample in samples
        if sample.name == "ai_requests_total" and sample.labels.get("status") == "success"
    )


def test_flush_pushes_the_page_as_it_is(gateway: str) -> None:
    llmwatch.configure(service_name="flushing", pushgateway=gateway)
    answer = answering(feature='a "b"\n/c', provider="openai")
    for calls in (1, 2):
        answer()

        assert llmwatch.flush()
        assert successes(pushed(gateway, "flushing")) == calls
    samples = pushed(gateway, "flushing")

    assert {sample.labels["instance"] for sample in samples} == {socket.gethostname()}
    assert {sample.labels["feature"] for sample in samples if sample.name == "ai_tokens_total"} == {'a "b"\n/c'}
    assert any(sample.name == "ai_request_duration_seconds_bucket" for sample in samples)
    assert [sample.labels["service_name"] for sample in samples if sample.name == "target_info"] == ["flushing"]


def test_a_session_pushes_at_its_end(gateway: str) -> None:
    with llmwatch.session(service_name="import/daily", pushgateway=f"http://{gateway}/"):
        answering(feature="chat")()

        assert pushed(gateway, "import/daily") == []
    assert successes(pushed(gateway, "import/daily")) == 1


def test_the_next_run_of_a_job_replaces_what_the_one_before_has_pushed(gateway: str) -> None:
    for feature in ("monday", "tuesday"):
        with llmwatch.session(service_name="nightly", pushgateway=gateway):
            answering(feature=feature)()
    features = {sample.labels["feature"] for sample in pushed(gateway, "nightly") if "feature" in sample.labels}

    assert features == {"tuesday"}


def test_the_resource_names_job_and_instance_where_nothing_else_does(
    gateway: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.name=named,service.instance.id=worker-7")
    with llmwatch.session(pushgateway=gateway):
        answering(feature="chat")()

    assert {sample.labels["instance"] for sample in pushed(gateway, "named")} == {"worker-7"}


def test_a_provider_of_the_program_s_own_is_pushed_too(gateway: str) -> None:
    provider = MeterProvider(shutdown_on_exit=False)
    with llmwatch.session(service_name="theirs", meter_provider=provider, pushgateway=gateway):
        provider.get_meter("theirs").create_counter("their_count").add(4)
        answering(feature="chat")()
    samples = pushed(gateway, "theirs")

    assert successes(samples) == 1
    assert [sample.value for sample in samples if sample.name == "their_count_total"] == [4]


SCRIPT = """
    import llmwatch
    llmwatch.configure(service_name="script", pushgateway={gateway!r})
    answer = llmwatch.observe_llm(feature="chat")(lambda: 1)
    for _ in range(5):
        answer()
    print("done")
"""


def run(gateway: str) -> subprocess.CompletedProcess[str]:
    program = textwrap.dedent(SCRIPT.format(gateway=gateway))
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-c", program]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_a_script_that_ends_has_pushed(gateway: str) -> None:
    done = run(gateway)

    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")
    assert successes(pushed(gateway, "script")) == 5


def test_a_script_without_its_gateway_ends_as_ever_with_one_line_in_the_log() -> None:
    done = run(f"me:hunter2@127.0.0.1:{free_port()}")

    assert (done.returncode, done.stdout) == (0, "done\n")
    assert len(done.stderr.splitlines()) == 1
    assert "cannot send metrics to http://127.0.0.1:" in done.stderr
    assert "hunter2" not in done.stderr


def test_a_gateway_that_never_answers_holds_nobody_up_beyond_the_timeout(caplog: pytest.LogCaptureFixture) -> None:
    with silent() as url:
        llmwatch.configure(pushgateway=url)
        answering(feature="chat")()

        assert llmwatch.flush(0.1) is False
        llmwatch.shutdown(0.1)
    assert len(caplog.records) == 1


def test_credentials_are_sent_as_basic_authentication() -> None:
    seen: list[tuple[str, str, str]] = []

    class Gateway(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            seen.append((self.path, self.headers["Authorization"], self.headers["Content-Type"]))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Gateway) as server:
        serving = threading.Thread(target=server.handle_request, daemon=True)
        serving.start()
        llmwatch.configure(service_name="shop", pushgateway=f"http://me:p%40ss@127.0.0.1:{server.server_port}")
        assert llmwatch.flush()
        serving.join()
        llmwatch.configure(pushgateway=None)

    ((path, authorization, content_type),) = seen
    assert path == f"/metrics/job/shop/instance/{socket.gethostname()}"
    assert base64.b64decode(authorization.removeprefix("Basic ")) == b"me:p@ss"
    assert content_type.startswith("text/plain; version=0.0.4")


@pytest.mark.parametrize("misuse", ["", "ftp://gateway:9091", "http://", 9091, "http://[::1"])
def test_a_gateway_of_no_use_is_refused_with_what_it_should_be(misuse: Any) -> None:
    with pytest.raises(ValueError, match=r"configure\(pushgateway=\.\.\.\).*pushgateway:9091"):
        llmwatch.configure(pushgateway=misuse)
