"""OTLP: what a real receiver gets over HTTP and gRPC, from long and short programs, and when it is away."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from receivers import CUMULATIVE, DELTA, Received, free_port, otlp_grpc, otlp_http, refusing, silent, until
from recording import MODEL, PARTS, Faults, answering, apart, parsed
from support import REPOSITORY

import llmwatch
from llmwatch.exposition import wsgi_app

RECEIVERS = {"http/protobuf": otlp_http, "grpc": otlp_grpc}
each_protocol = pytest.mark.parametrize("protocol", RECEIVERS)


@pytest.fixture(autouse=True)
def faults(monkeypatch: pytest.MonkeyPatch) -> Iterator[Faults]:
    for variable in list(os.environ):
        if variable.startswith(("OTEL_", "LLMWATCH_")):
            monkeypatch.delenv(variable)
    with apart() as faults:
        yield faults


@pytest.fixture
def receiver(protocol: str) -> Iterator[Received]:
    with RECEIVERS[protocol]() as received:
        yield received
        llmwatch.shutdown()


def page() -> Any:
    return parsed(b"".join(wsgi_app()({"REQUEST_METHOD": "GET", "PATH_INFO": ""}, lambda *_: None)).decode())  # type: ignore[arg-type]


def senders() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "llmwatch-sender"]


# --- What comes


@each_protocol
def test_a_receiver_gets_what_was_recorded(receiver: Received) -> None:
    llmwatch.configure(service_name="shop", otlp=receiver.url)
    answer = answering(feature="chat", provider="openai")
    answer()
    answer()

    assert llmwatch.flush()
    assert receiver.total("ai_requests", feature="chat", model=MODEL, status="success") == 2
    assert receiver.count("ai_request_duration", feature="chat") == 2
    for (direction, kind), tokens in PARTS.items():
        assert receiver.total("ai_tokens", direction=direction, kind=kind) == 2 * tokens
    assert receiver.resource("service.name") == {"shop"}
    assert receiver.temporalities("ai_requests") == {CUMULATIVE}


@each_protocol
def test_the_page_and_the_receiver_agree_to_the_last_number(receiver: Received) -> None:
    llmwatch.configure(otlp=receiver.url, port=0)
    for feature in ("chat", "summary", "search"):
        answering(feature=feature, provider="openai")()
    llmwatch.flush()
    shown, sent = page(), receiver.last()
    passing = {"ai_price_table_age", "target_info", "llmwatch_build_info"}
    names = shown.names - passing

    assert names == sent.names - passing
    for name in names:
        assert shown.total(name) == pytest.approx(sent.total(name)), name
        assert len(shown.of(name)) == len(sent.of(name)), name
        assert shown.count(name) == sent.count(name), name


@each_protocol
def test_deltas_add_up_to_what_was_recorded(receiver: Received, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "delta")
    llmwatch.configure(otlp=receiver.url)
    answer = answering(feature="chat", provider="openai")
    for _ in range(3):
        answer()
        answer()
        llmwatch.flush()

    assert receiver.temporalities("ai_requests") == {DELTA}
    assert receiver.temporalities("ai_request_duration") == {DELTA}
    assert receiver.total("ai_requests", status="success") == 6
    assert receiver.count("ai_request_duration") == 6
    assert receiver.total("ai_tokens") == 6 * sum(PARTS.values())
    assert receiver.last().total("ai_active_requests") == 0


@pytest.mark.parametrize(("protocol", "features"), [("http/protobuf", 200), ("grpc", 800)])
def test_more_series_than_the_sdk_allows_by_default_and_one_message_of_grpc_may_hold_all_arrive(
    receiver: Received, features: int
) -> None:
    llmwatch.configure(otlp=receiver.url, label_limits={"feature": features, "series": 40_000})
    for number in range(features):
        answering(feature=f"feature {number}", provider="openai")()

    assert llmwatch.flush(60)
    points = [point for point in receiver.points() if point.labels.get("status") == "success"]
    assert sum(point.value for point in points if point.name == "ai_requests") == features
    assert sum(point.count or 0 for point in points if point.name == "ai_request_duration") == features
    assert receiver.total("ai_errors", **{"otel.metric.overflow": "true"}) == 0


@each_protocol
def test_it_is_sent_at_the_interval_that_opentelemetry_s_variable_says(
    receiver: Received, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "50")
    llmwatch.configure(otlp=receiver.url)
    answering(feature="chat")()

    until(lambda: receiver.total("ai_requests", status="success") == 1)
    until(lambda: len(receiver.requests) > 3)


def test_headers_and_compression_are_taken_from_opentelemetry_s_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=blue")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
    with otlp_http() as receiver:
        llmwatch.configure(otlp=receiver.url)
        answering(feature="chat")()

        assert llmwatch.flush()
        assert receiver.headers[0]["x-tenant"] == "blue"
        assert receiver.headers[0]["content-encoding"] == "gzip"
        assert receiver.total("ai_requests", status="success") == 1
        llmwatch.shutdown()


@each_protocol
def test_a_provider_of_the_program_s_is_sent_too_and_left_alone_afterwards(receiver: Received) -> None:
    provider = MeterProvider(shutdown_on_exit=False)
    llmwatch.configure(meter_provider=provider, service_name="shop", otlp=receiver.url)
    theirs = provider.get_meter("theirs").create_counter("theirs")
    theirs.add(3)
    answering(feature="chat")()
    llmwatch.shutdown()

    assert receiver.total("theirs") == 3
    assert receiver.total("ai_requests", status="success") == 1
    assert receiver.resource("service.name") == {"shop"}
    sent = len(receiver.requests)
    theirs.add(1)
    provider.force_flush()
    assert len(receiver.requests) == sent


# --- What asks for it


@pytest.mark.parametrize(
    ("variables", "sent"),
    [
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "{url}"}, True),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "{url}/v1/metrics"}, True),
        ({"OTEL_METRICS_EXPORTER": "prometheus,otlp", "OTEL_EXPORTER_OTLP_ENDPOINT": "{url}"}, True),
        ({"OTEL_METRICS_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "{url}"}, False),
        ({"OTEL_METRICS_EXPORTER": "prometheus", "OTEL_EXPORTER_OTLP_ENDPOINT": "{url}"}, False),
        ({"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "{url}"}, False),
        ({"LLMWATCH_OTLP": "{url}"}, True),
        ({"LLMWATCH_OTLP": "false", "OTEL_EXPORTER_OTLP_ENDPOINT": "{url}"}, False),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "{url}/v1/traces"}, False),
        ({}, False),
    ],
)
def test_variables_ask_for_it(variables: dict[str, str], sent: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    with otlp_http() as receiver:
        for name, value in variables.items():
            monkeypatch.setenv(name, value.format(url=receiver.url))
        llmwatch.configure()
        answering(feature="chat")()
        llmwatch.flush()
        llmwatch.shutdown()

        assert bool(receiver.requests) is sent
        assert senders() == []


@pytest.mark.parametrize("asked", [None, True])
def test_a_provider_of_the_program_s_has_its_own_exporters_for_the_variables(
    asked: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with otlp_http() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
        llmwatch.configure(meter_provider=MeterProvider(shutdown_on_exit=False), otlp=asked)
        answering(feature="chat")()
        llmwatch.shutdown()

        assert receiver.total("ai_requests", status="success") == (1 if asked else 0)


def test_an_argument_wins_over_the_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", refusing())
    with otlp_http() as receiver:
        llmwatch.configure(otlp=receiver.url)
        answering(feature="chat")()

        assert llmwatch.flush()
        llmwatch.configure(otlp=False)
        answering(feature="chat")()
        assert senders() == [] or until(lambda: not senders()) is None
        assert receiver.total("ai_requests", status="success") <= 2


MISUSES = [
    ({"otlp": "collector:4318"}, {}, r"configure\(otlp=\.\.\.\).*http://collector:4318"),
    ({"otlp": "ftp://collector"}, {}, r"configure\(otlp=\.\.\.\)"),
    ({"otlp": 4318}, {}, r"configure\(otlp=\.\.\.\)"),
    ({"otlp": "http://[::1"}, {}, r"configure\(otlp=\.\.\.\)"),
    ({}, {"LLMWATCH_OTLP": "collector"}, "LLMWATCH_OTLP"),
    ({"otlp": True}, {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"}, "OTEL_EXPORTER_OTLP_PROTOCOL"),
    ({"otlp": "http://c:1"}, {"OTEL_METRIC_EXPORT_INTERVAL": "soon"}, "OTEL_METRIC_EXPORT_INTERVAL"),
    ({"otlp": "http://c:1"}, {"OTEL_METRIC_EXPORT_INTERVAL": "0"}, "OTEL_METRIC_EXPORT_INTERVAL"),
    ({"otlp": "grpc://c:1"}, {"OTEL_EXPORTER_OTLP_TIMEOUT": "soon"}, r"configure\(otlp=\.\.\.\)"),
]


@pytest.mark.parametrize(("arguments", "variables", "hint"), MISUSES)
def test_what_is_of_no_use_is_refused_with_what_it_should_be(
    arguments: dict[str, Any], variables: dict[str, str], hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=hint):
        llmwatch.configure(**arguments)

    assert senders() == []


@pytest.mark.parametrize(
    ("url", "protocol"),
    [
        ("http://collector:4318", "http/protobuf"),
        ("http://collector:4317", "grpc"),
        ("grpc://collector:55680", "grpc"),
        ("grpcs://collector", "grpc"),
        ("https://collector/otlp", "http/protobuf"),
    ],
)
def test_the_protocol_is_told_by_the_scheme_or_the_customary_port(url: str, protocol: str) -> None:
    from llmwatch._targets import OtlpTarget, read_otlp

    target = read_otlp(url)

    assert isinstance(target, OtlpTarget)
    assert target.protocol == protocol


def test_credentials_in_a_url_are_not_repeated() -> None:
    with pytest.raises(ValueError, match="otlp") as raised:
        llmwatch.configure(otlp="ftp://me:hunter2@collector")

    assert "hunter2" not in str(raised.value)


WITHOUT_EXPORTERS = """
    import sys
    class Missing:
        def find_spec(self, name, path=None, target=None):
            if name.startswith("opentelemetry.exporter.otlp"):
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    sys.meta_path.insert(0, Missing())
    import llmwatch
"""


def run(program: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A program of its own."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "LLMWATCH_"))}
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        env={**clean, "PYTHONPATH": str(REPOSITORY), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_without_the_extra_the_error_names_it_and_variables_alone_only_warn() -> None:
    asked = run(WITHOUT_EXPORTERS + "    llmwatch.configure(otlp='http://127.0.0.1:9')")
    assert asked.returncode == 1
    assert "ImportError" in asked.stderr
    assert "pip install 'llmwatch[otlp]'" in asked.stderr

    merely = run(WITHOUT_EXPORTERS + "    llmwatch.configure()", OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9")
    assert merely.returncode == 0
    assert merely.stderr.count("llmwatch[otlp]") == 1


# --- The end of a program

CALLS = """
    import sys, llmwatch
    @llmwatch.observe_llm(feature="chat")
    def answer():
        return 1
    llmwatch.configure(service_name="short", otlp=sys.argv[1] if len(sys.argv) > 1 else {url!r})
    for _ in range(7):
        answer()
"""
ENDINGS = {
    "runs out": "",
    "exits": "    sys.exit(0)",
    "raises": "    raise SystemExit(0)",
    "shuts down itself": "    llmwatch.shutdown()",
    "is in the middle of a call": """
    import threading
    late = llmwatch.observe_llm(feature="late")(lambda: threading.Event().wait(60))
    threading.Thread(target=late, daemon=True).start()
    """,
}


@each_protocol
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_program_that_ends_at_once_has_sent_all(receiver: Received, ending: str) -> None:
    done = run(CALLS.format(url=receiver.url) + ENDINGS[ending])

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert receiver.total("ai_requests", status="success", feature="chat") == 7
    assert receiver.count("ai_request_duration", feature="chat") == 7
    assert receiver.resource("service.name") == {"short"}


@each_protocol
def test_a_program_without_a_collector_ends_with_its_own_result_and_one_line(protocol: str) -> None:
    url = refusing().replace("http", "grpc" if protocol == "grpc" else "http")
    began = time.monotonic()
    done = run(CALLS.format(url=url) + "    print('result'); sys.exit(3)")
    took = time.monotonic() - began

    assert (done.returncode, done.stdout) == (3, "result\n")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"llmwatch cannot send metrics to {url.replace('grpc', 'http')}")
    assert "refused" in line
    assert took < 30  # 5 s and the start of an interpreter, on however slow a machine


@each_protocol
def test_a_program_with_a_collector_that_never_answers_ends_in_bounded_time(protocol: str) -> None:
    with silent() as url:
        began = time.monotonic()
        done = run(CALLS.format(url=url.replace("http", "grpc" if protocol == "grpc" else "http")))
        took = time.monotonic() - began

    assert done.returncode == 0
    assert done.stderr.count("\n") == done.stderr.count("llmwatch cannot send metrics to") == 1
    assert took < 30  # 5 s and the start of an interpreter, on however slow a machine


# --- A collector that is away


@pytest.fixture
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "20")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


@each_protocol
@pytest.mark.usefixtures("hurry")
def test_an_outage_is_one_line_in_the_log_and_afterwards_everything_is_there(
    receiver: Received, caplog: pytest.LogCaptureFixture
) -> None:
    llmwatch.configure(otlp=receiver.url)
    answer = answering(feature="chat")

    def outage(calls: int) -> None:
        receiver.refused, receiver.fault = 0, 400
        answer()
        until(lambda: receiver.refused >= 3, "refusals", 60)
        receiver.fault = None
        until(lambda: receiver.total("ai_requests", status="success") == calls)

    outage(1)
    outage(2)

    assert len(warnings(caplog)) == 2
    assert all("cannot send metrics to" in line for line in warnings(caplog))
    assert receiver.count("ai_request_duration") == 2


@each_protocol
@pytest.mark.usefixtures("hurry")
def test_a_collector_that_is_started_later_gets_everything(protocol: str, caplog: pytest.LogCaptureFixture) -> None:
    port = free_port()
    llmwatch.configure(otlp=f"http://127.0.0.1:{port}")
    answering(feature="chat")()
    until(lambda: warnings(caplog))
    with otlp_http(port) as receiver:
        until(lambda: receiver.total("ai_requests", status="success") == 1)
        llmwatch.shutdown()

    assert len(warnings(caplog)) == 1


def test_other_exporters_of_the_same_kind_log_as_ever(caplog: pytest.LogCaptureFixture, faults: Faults) -> None:
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.sdk.metrics.export import MetricsData

    llmwatch.configure(otlp=refusing())
    theirs = OTLPMetricExporter(f"{refusing()}/v1/metrics", timeout=0.1)
    with ExitStack() as ending:
        ending.callback(theirs.shutdown)
        logger = logging.getLogger("opentelemetry.exporter.otlp.proto.http.metric_exporter")
        before = list(logger.filters)
        llmwatch.flush(10)
        with pytest.MonkeyPatch.context() as quiet:
            quiet.setattr(logging.getLogger("opentelemetry"), "handlers", [])
            theirs.export(MetricsData([]))

    assert logger.filters == before
    assert len([line for line in warnings(caplog) if line.startswith("Failed to export metrics")]) == 1
    assert len([line for line in warnings(caplog) if line.startswith("llmwatch cannot send")]) == 1


@each_protocol
def test_flush_says_whether_it_got_there_and_waits_no_longer_than_told(protocol: str) -> None:
    with silent() as url:
        llmwatch.configure(otlp=url.replace("http", "grpc" if protocol == "grpc" else "http"))
        answering(feature="chat")()
        began = time.monotonic()

        assert llmwatch.flush(0.2) is False
        llmwatch.shutdown(0.2)
        assert time.monotonic() - began < 10


def test_neither_a_lost_collector_nor_a_reconfiguration_leaves_a_thread_or_a_reader(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    provider = MeterProvider(shutdown_on_exit=False)
    with otlp_http() as receiver:
        for url in (receiver.url, refusing(), receiver.url, receiver.url):
            llmwatch.configure(meter_provider=provider, otlp=url)
            answering(feature="chat")()
        assert llmwatch.flush()
        assert receiver.total("ai_requests", status="success") == 4
        llmwatch.shutdown()
        llmwatch.shutdown()
        provider.shutdown()
    until(lambda: not senders())

    assert provider._measurement_consumer._reader_storages == {}
