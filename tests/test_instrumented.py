"""Programs whose OpenTelemetry somebody else has set up: `opentelemetry-instrument`, a global provider, readers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from receivers import DELTA, Received, free_port, otlp_http
from support import REPOSITORY, missing

CALLS = """
answer = llmwatch.observe_llm(feature="chat", provider="openai")(lambda: 1)
for _ in range(5):
    answer()
"""
SESSION = """
with llmwatch.session():
    for _ in range(5):
        llmwatch.observe_llm(feature="chat")(lambda: 1)()
"""
IMPORT, CONFIGURE = "import llmwatch", "llmwatch.configure()"
# Each in a process, in which the global provider is set once.
ORDERS = {
    "nothing configured": (IMPORT, CALLS),
    "configured": (IMPORT, "llmwatch.configure(service_name='ours')", CALLS),
    "configured after the first calls": (IMPORT, CALLS, CONFIGURE),
    "configured twice": (IMPORT, CONFIGURE, "llmwatch.configure(semconv='both')", CALLS),
    "configured and shut down": (IMPORT, CONFIGURE, CALLS, "llmwatch.flush(); llmwatch.shutdown()"),
    "in a session": (IMPORT, SESSION),
}


def run(program: tuple[str, ...], *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A program of its own, with no variables of ours or OpenTelemetry's but these."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "LLMWATCH_"))}
    done = subprocess.run(
        [*command, sys.executable, "-c", "\n".join(program)],
        env={**clean, "PYTHONPATH": str(REPOSITORY), **environment},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done


def instrumented(program: tuple[str, ...], receiver: Received, **environment: str) -> subprocess.CompletedProcess[str]:
    """The same under the real `opentelemetry-instrument`, which sends metrics over OTLP."""
    command = Path(sys.executable).with_name("opentelemetry-instrument")
    if not command.exists():
        missing("opentelemetry-instrument")
    variables = {
        "OTEL_SERVICE_NAME": "theirs",
        "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "*",  # whatever is installed beside the tests
        "OTEL_TRACES_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
        "OTEL_METRICS_EXPORTER": "otlp",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url,
    }
    return run(program, str(command), **{**variables, **environment})


@pytest.mark.parametrize("order", ORDERS)
def test_under_opentelemetry_instrument_every_call_is_sent_once(order: str) -> None:
    with otlp_http() as receiver:
        done = instrumented(ORDERS[order], receiver)

    assert done.stderr == ""
    assert receiver.total("ai_requests", status="success", feature="chat") == 5
    assert receiver.count("ai_request_duration", feature="chat") == 5
    assert receiver.resource("service.name") == {"theirs"}


def test_under_opentelemetry_instrument_deltas_add_up() -> None:
    with otlp_http() as receiver:
        instrumented(
            (*ORDERS["configured"], "llmwatch.flush()", CALLS),
            receiver,
            OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE="delta",
        )

    assert receiver.temporalities("ai_requests") == {DELTA}
    assert receiver.total("ai_requests", status="success") == 10
    assert receiver.count("ai_request_duration") == 10


SCRAPE = """
import urllib.request
page = urllib.request.urlopen(url + "/metrics").read().decode()
print([line for line in page.splitlines() if line.startswith("ai_requests_total{") and 'status="success"' in line])
"""


def test_under_opentelemetry_instrument_the_page_can_be_served_beside_it() -> None:
    with otlp_http() as receiver:
        done = instrumented((IMPORT, "url = llmwatch.configure(port=0).url", CALLS, SCRAPE), receiver)

    assert "} 5.0" in done.stdout
    assert receiver.total("ai_requests", status="success") == 5


def test_the_port_that_opentelemetry_instrument_serves_itself_is_left_to_it_and_shows_every_call() -> None:
    port = free_port()
    with otlp_http() as receiver:
        done = instrumented(
            (IMPORT, CONFIGURE, CALLS, f"url = 'http://localhost:{port}'", SCRAPE),
            receiver,
            OTEL_METRICS_EXPORTER="prometheus",
            OTEL_EXPORTER_PROMETHEUS_PORT=str(port),
        )

    assert done.stdout.count("} 5.0") == 1


SET = """
from opentelemetry.metrics import set_meter_provider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
reader = InMemoryMetricReader()
provider = MeterProvider([reader])
set_meter_provider(provider)
"""
READ = """
def total(reader):
    data = reader.get_metrics_data()
    return sum(
        point.value
        for resource in (data.resource_metrics if data else ()) for scope in resource.scope_metrics
        for metric in scope.metrics if metric.name == "ai_requests" for point in metric.data.data_points
    )
print(total(reader))
"""


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ((SET, IMPORT, CONFIGURE, CALLS), 5),
        ((IMPORT, CALLS, SET, CALLS), 10),
        # A private page was asked for first: the next configuration moves what it has to the provider.
        ((IMPORT, CONFIGURE, CALLS, SET, CALLS, CONFIGURE, CALLS), 15),
    ],
)
def test_a_global_provider_may_be_set_before_and_after(steps: tuple[str, ...], expected: int) -> None:
    assert float(run((*steps, READ)).stdout) == expected


def test_a_reader_that_is_added_later_sees_all_counts() -> None:
    later = "another = InMemoryMetricReader(); provider.add_metric_reader(another)"
    done = run((SET, IMPORT, CONFIGURE, CALLS, later, CALLS, READ, "print(total(another))"))

    assert [float(each) for each in done.stdout.split()] == [10, 10]


def test_a_provider_that_is_shut_down_first_and_readers_that_are_shut_down_twice_are_no_trouble() -> None:
    serving = "llmwatch.configure(port=0)"
    done = run(
        (
            *(SET, IMPORT, serving, CALLS, "provider.shutdown()", CALLS, "reader.shutdown()"),
            *("llmwatch.flush()", "llmwatch.shutdown()", "llmwatch.shutdown()", "print(answer())"),
        )
    )

    assert (done.stdout, done.stderr) == ("1\n", "")


POOL = """
import multiprocessing
in_child = llmwatch.observe_llm(feature="child")(lambda: 1)
def work():
    for _ in range(3):
        in_child()
llmwatch.configure(service_name="pool")
context = multiprocessing.get_context("fork")
children = [context.Process(target=work) for _ in range(2)]
for child in children:
    child.start()
for child in children:
    child.join()
"""


def test_forked_processes_of_multiprocessing_send_what_is_theirs_at_their_end() -> None:
    with otlp_http() as receiver:
        done = run((IMPORT, CALLS, POOL), OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url)
    sent: dict[str, tuple[float, float]] = {}
    for request in receiver.requests:
        one = Received(requests=[request])
        (process,) = one.resource("service.instance.id")
        sent[process] = (
            one.total("ai_requests", status="success", feature="chat"),
            one.total("ai_requests", status="success", feature="child"),
        )

    assert done.stderr == ""
    assert sorted(sent.values()) == [(0, 3), (0, 3), (5, 0)]
