"""Faults, injected one by one: the program's results stay as they are, nothing waits, and recording resumes."""

from __future__ import annotations

import os
import shutil
import socket
import struct
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from opentelemetry.metrics import Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricExportResult
from receivers import Received, otlp_http, until
from recording import Faults, Reader, answering, apart, parsed
from serving import Program
from support import REPOSITORY

import llmwatch
from llmwatch.exposition import wsgi_app
from llmwatch.exposition.gunicorn import FileSd

EXPORTER = "opentelemetry.exporter.otlp.proto.http.metric_exporter.OTLPMetricExporter.export"
DAY = 86_400.0


@pytest.fixture(autouse=True)
def faults(monkeypatch: pytest.MonkeyPatch) -> Iterator[Faults]:
    for variable in list(os.environ):
        if variable.startswith(("OTEL_", "LLMWATCH_")):
            monkeypatch.delenv(variable)
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "20")
    with apart() as faults:
        yield faults


@pytest.fixture
def receiver() -> Iterator[Received]:
    with otlp_http() as received:
        yield received
        llmwatch.shutdown()


def scraped() -> Any:
    return parsed(b"".join(wsgi_app()({"REQUEST_METHOD": "GET", "PATH_INFO": ""}, lambda *_: None)).decode())  # type: ignore[arg-type]


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "llmwatch"]


@pytest.mark.parametrize("error", [RuntimeError("broken"), OSError(28, "No space left on device"), MemoryError()])
def test_an_exporter_that_raises_is_one_line_and_everything_is_sent_when_it_works_again(
    error: Exception, receiver: Received, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tries = []

    def fail(*_: object, **__: object) -> None:
        tries.append(1)
        raise error

    answer = answering("the result", feature="chat")
    with monkeypatch.context() as patched:
        patched.setattr(EXPORTER, fail)
        llmwatch.configure(otlp=receiver.url)
        assert answer() == "the result"
        until(lambda: len(tries) >= 3)
        assert answer() == "the result"

    until(lambda: receiver.total("ai_requests", status="success") == 2)
    assert len(lines(caplog)) == 1


def test_an_exporter_that_hangs_holds_up_neither_calls_nor_scrapes_nor_a_flush(
    receiver: Received, monkeypatch: pytest.MonkeyPatch
) -> None:
    hanging, go = threading.Event(), threading.Event()

    def hang(*_: object, **__: object) -> MetricExportResult:
        hanging.set()
        go.wait(60)
        return MetricExportResult.FAILURE

    answer = answering("the result", feature="chat")
    with monkeypatch.context() as patched:
        patched.setattr(EXPORTER, hang)
        llmwatch.configure(otlp=receiver.url)
        assert hanging.wait(20)
        results = {answer() for _ in range(5000)}  # beyond what is kept before calls begin to fold it themselves
        shown = scraped().total("ai_requests", status="success")
        flushed = llmwatch.flush(0.05)

    assert results == {"the result"}
    assert shown == 5000
    assert flushed is False
    go.set()
    until(lambda: receiver.total("ai_requests", status="success") == 5000)


def test_a_flush_for_which_nobody_waits_any_longer_doubles_no_count() -> None:
    go = threading.Event()

    def slow(_: object) -> list[Observation]:
        go.wait(60)
        return [Observation(1)]

    reader = Reader("memory")
    provider = MeterProvider([reader.otel], shutdown_on_exit=False)
    llmwatch.configure(meter_provider=provider)
    for name in ("theirs", "more"):  # a time-out is noticed at the next one
        provider.get_meter("theirs").create_observable_gauge(name, [slow])
    answering("the result", feature="chat")()
    go.set()
    found = [reader.collect()]
    go.clear()
    flushed = llmwatch.flush(0.2)
    time.sleep(0.2)  # beyond a time-out that somebody else may count, too
    go.set()
    found += [reader.collect() for _ in range(2)]

    assert flushed is False
    assert [page.total("ai_requests", status="success") for page in found] == [1, 1, 1]
    assert [page.count("ai_request_duration") for page in found] == [1, 1, 1]
    provider.shutdown()


def test_a_reader_that_is_shut_down_twice_by_others_is_no_trouble(receiver: Received) -> None:
    provider = MeterProvider(shutdown_on_exit=False)
    llmwatch.configure(meter_provider=provider, otlp=receiver.url, port=0)
    answer = answering("the result", feature="chat")
    answer()
    until(lambda: receiver.total("ai_requests", status="success") == 1)
    for reader in list(provider._measurement_consumer._reader_storages):
        reader.shutdown()
        reader.shutdown()
    assert answer() == "the result"
    assert llmwatch.flush(5) is False
    llmwatch.shutdown()
    llmwatch.configure(meter_provider=provider, otlp=receiver.url, port=0)
    assert answer() == "the result"

    assert llmwatch.flush(20)
    assert receiver.last().total("ai_requests", status="success") == 3
    assert scraped().total("ai_requests", status="success") == 3
    llmwatch.shutdown()
    llmwatch.shutdown()
    provider.shutdown()


# --- Clocks


class Jumping:
    """The wall clock as the SDK and its exporters read it, off by some seconds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.off = 0.0
        self.stride = 0.0
        now, now_ns = time.time, time.time_ns
        replacements: dict[Any, Any] = {
            now: lambda: now() + self._moved(),
            now_ns: lambda: now_ns() + int(self._moved() * 1e9),
        }
        for module in [
            module for name, module in sys.modules.items() if name.startswith("opentelemetry") or name == "time"
        ]:
            for name in ("time", "time_ns"):
                replaced = vars(module).get(name)
                if replaced in (now, now_ns):
                    monkeypatch.setattr(module, name, replacements[replaced])

    def _moved(self) -> float:
        self.off += self.stride
        return self.off


@pytest.mark.parametrize("jump", [DAY, -DAY, 400 * DAY])
def test_a_clock_that_jumps_between_collections_changes_no_count(
    jump: float, receiver: Received, monkeypatch: pytest.MonkeyPatch
) -> None:
    llmwatch.configure(otlp=receiver.url)
    answer = answering("the result", feature="chat")
    clock = Jumping(monkeypatch)
    for calls in range(1, 6):
        assert answer() == "the result"
        clock.off += jump
        found = scraped()

        assert found.total("ai_requests", status="success") == calls
        assert found.count("ai_request_duration", status="success") == calls
        assert found.total("ai_request_duration") < 3600
    until(lambda: receiver.total("ai_requests", status="success") == 5)


@pytest.mark.parametrize("stride", [3600.0, -3600.0])
def test_a_clock_that_jumps_in_the_middle_of_collections_neither_fails_nor_doubles_them(
    stride: float, receiver: Received, monkeypatch: pytest.MonkeyPatch
) -> None:
    llmwatch.configure()
    answer = answering("the result", feature="chat")
    clock = Jumping(monkeypatch)
    clock.stride = stride  # at each look
    for calls in range(1, 4):
        answer()

        assert scraped().total("ai_requests", status="success") == calls
        assert scraped().count("ai_request_duration") == calls


# --- Signals

STORM = """
    import signal, sys, threading, time
    import llmwatch
    from llmwatch import configure, flush, shutdown  # an import that is interrupted by itself would fail anywhere
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    answer = llmwatch.observe_llm(feature="chat")(lambda: "the result")
    results, nested = [], []

    def handle(*_):
        results.append(answer())
        {handler}
        signal.setitimer(signal.ITIMER_REAL, 0.001 if storming else 0)

    signal.signal(signal.SIGALRM, handle)
    {before}
    storming = True
    signal.setitimer(signal.ITIMER_REAL, 0.001)
    ending = time.monotonic() + 2
    rounds = 0
    while rounds < 6 or time.monotonic() < ending:
        llmwatch.configure(meter_provider=provider, semconv=("both", "legacy")[rounds % 2], {arguments})
        results.append(answer())
        if rounds % 3 == 2:
            llmwatch.shutdown(0.1)
        rounds += 1
    storming = False
    time.sleep(0.01)
    llmwatch.configure(meter_provider=provider)
    data = reader.get_metrics_data()
    total = sum(
        point.value
        for resource in data.resource_metrics for scope in resource.scope_metrics
        for metric in scope.metrics if metric.name == "ai_requests" for point in metric.data.data_points
    )
    assert set(results) == {{"the result"}}
    print(len(results) > rounds, total - len(results), len(nested) > 0)
    llmwatch.shutdown(0.1)
    print(sorted(thread.name for thread in threading.enumerate() if thread.name.startswith("llmwatch-m")))
"""


def storm(**pieces: str) -> list[str]:
    program = textwrap.dedent(STORM).format(**{"handler": "pass", "before": "", "arguments": "", **pieces})
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", program],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=120,  # a deadlock
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.splitlines()


@pytest.mark.parametrize("arguments", ["", "port=0", "otlp='http://127.0.0.1:9', port=0"])
def test_calls_in_a_storm_of_signals_during_configurations_are_all_counted(arguments: str) -> None:
    quiet = "import logging; logging.getLogger('llmwatch').addHandler(logging.NullHandler())"

    assert storm(arguments=arguments, before=quiet) == ["True 0 False", "[]"]


def test_a_signal_handler_that_flushes_and_shuts_down_in_the_middle_of_it_does_not_wait_for_itself() -> None:
    handler = "nested.append(1); llmwatch.flush(0.01); llmwatch.shutdown(0.01) if len(results) % 5 == 0 else None"

    assert storm(handler=handler, arguments="port=0") == ["True 0 True", "[]"]


def test_a_signal_handler_that_configures_in_the_middle_of_a_configuration_is_told_so() -> None:
    program = """
        import signal, time, llmwatch
        refused, done = [], []

        def handle(*_):
            try:
                llmwatch.configure(service_name="nested")
                done.append(1)
            except RuntimeError as error:
                refused.append(str(error))

        llmwatch.configure()
        signal.signal(signal.SIGALRM, handle)
        signal.setitimer(signal.ITIMER_REAL, 0.003, 0.003)
        ending = time.monotonic() + 20
        while time.monotonic() < ending and not refused:
            llmwatch.configure(service_name="outer")
        signal.setitimer(signal.ITIMER_REAL, 0)
        print(refused[0])
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)

    assert done.returncode == 0, done.stderr
    assert "signal handler" in done.stdout


@pytest.mark.parametrize("kind", ["memory", "prometheus"])
def test_a_view_of_the_program_s_that_changes_our_histograms_loses_no_other_metric(kind: str, faults: Faults) -> None:
    from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View

    faults.expected = {"page"}
    reader = Reader(kind)
    views = [View(instrument_name="ai_request_duration", aggregation=ExponentialBucketHistogramAggregation())]
    provider = MeterProvider([reader.otel] if kind == "memory" else [], views=views, shutdown_on_exit=False)
    llmwatch.configure(meter_provider=provider, port=0)
    answering("the result", feature="chat")()
    found = scraped()

    assert found.total("ai_requests", status="success") == 1
    assert "ai_request_duration" not in found.names
    assert found.count("gen_ai.client.operation.duration") == 1


# --- Collectors that misbehave


def _say_nothing(connection: socket.socket, over: threading.Event) -> None:
    over.wait(60)


def _hang_up(connection: socket.socket, over: threading.Event) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _say_nonsense(connection: socket.socket, over: threading.Event) -> None:
    connection.recv(100)
    connection.sendall(b"\x00\xff" * 5000 + b"\r\n\r\n")


def _answer_by_halves(connection: socket.socket, over: threading.Event) -> None:
    connection.recv(100)
    connection.sendall(b"HTTP/1.1 500 No\r\nContent-Length: 1000\r\n\r\nno")
    over.wait(60)


def _answer_letter_by_letter(connection: socket.socket, over: threading.Event) -> None:
    while not over.wait(0.2):
        connection.sendall(b"H")


@contextmanager
def misbehaving(way: Callable[[socket.socket, threading.Event], None]) -> Iterator[tuple[int, list[int]]]:
    """A collector that treats its clients like this; its port, and a number for each of them."""
    over, clients, threads = threading.Event(), list[int](), list[threading.Thread]()

    def treat(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            way(connection, over)

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listening.accept()
                clients.append(1)
                threads.append(threading.Thread(target=treat, args=(connection,)))
                threads[-1].start()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threads.append(threading.Thread(target=accept))
        threads[0].start()
        try:
            yield listening.getsockname()[1], clients
        finally:
            over.set()
            listening.shutdown(socket.SHUT_RDWR)
            threads[0].join()
    for thread in threads:
        thread.join()


@pytest.mark.parametrize("way", [_say_nothing, _hang_up, _say_nonsense, _answer_by_halves, _answer_letter_by_letter])
def test_a_collector_that_misbehaves_holds_nobody_up_and_gets_everything_when_another_one_takes_its_place(
    way: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    answer = answering("the result", feature="chat")
    with misbehaving(way) as (port, clients):
        llmwatch.configure(otlp=f"http://127.0.0.1:{port}")
        until(lambda: clients)
        results = {answer() for _ in range(5000)}  # beyond what is kept before calls begin to fold it themselves
        shown = scraped().total("ai_requests", status="success")
        until(lambda: lines(caplog) or way is _answer_letter_by_letter)  # which no time-out of the exporter's ends
        flushed = llmwatch.flush(0.05)
    with otlp_http(port) as received:
        until(lambda: received.total("ai_requests", status="success") == 5000)
        llmwatch.shutdown()

    assert results == {"the result"}
    assert shown == 5000
    assert flushed is False
    assert len([line for line in lines(caplog) if "cannot send" in line]) <= 1


# --- Descriptors

EXHAUSTED = """
    import os, resource, socket, time
    import llmwatch

    answer = llmwatch.observe_llm(feature="chat")(lambda: "the result")
    port = llmwatch.configure(port=0).port
    llmwatch.pricing.cost(llmwatch.Usage(), provider="openai", model="gpt-4o")  # reads the table, with all its files
    client = socket.socket()
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 2, limit[1]))
    held = []
    try:
        while True:
            held.append(os.dup(0))
    except OSError:
        pass
    client.connect(("127.0.0.1", port))
    client.sendall(b"GET /metrics HTTP/1.1\\r\\nHost: here\\r\\nConnection: close\\r\\n\\r\\n")
    ending = time.monotonic() + 1
    calls = 0
    while calls < 3000 or time.monotonic() < ending:
        assert answer() == "the result"
        calls += 1
    resource.setrlimit(resource.RLIMIT_NOFILE, limit)
    page = client.makefile().read()
    counted = [line for line in page.splitlines() if line.startswith("ai_requests_total{") and '"success"' in line]
    print(bool(held), page.split()[1], float(counted[0].split()[-1]) == calls)
    llmwatch.shutdown()
"""


def test_a_process_without_a_descriptor_left_goes_on_and_answers_a_scrape_when_it_has_one_again() -> None:
    command = [sys.executable, "-c", textwrap.dedent(EXHAUSTED)]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)

    assert (done.returncode, done.stdout, done.stderr) == (0, "True 200 True\n", "")


# --- Workers' files


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[list[Program]]:
    """Three programs that share a directory, each with one call of its own feature."""
    running = [Program(tmp_path) for _ in range(3)]
    for number, program in enumerate(running):
        program(f"call(1, feature='only{number}')")
    yield running
    for program in running:
        program.kill()


def set_clock(program: Program, seconds: float) -> None:
    """Has the program see another time of day from now on."""
    program(
        "[setattr(clock, name, lambda real=real: real() + step) for clock in [__import__('time')] for name, real, step "
        f"in [('time', clock.time, {seconds}), ('time_ns', clock.time_ns, {int(seconds * 1e9)})]] and None"
    )


@pytest.mark.parametrize("jump", [-DAY, DAY, -20_000 * DAY])
def test_a_clock_that_jumps_under_several_workers_changes_no_total_and_hides_no_later_value(
    jump: float, workers: list[Program]
) -> None:
    first, second, third = workers
    first("remaining(50)")
    before = [program.page().total("ai_rate_limit_remaining") for program in workers]
    for program in workers:
        set_clock(program, jump)
    second("remaining(40)")
    second("call()")
    after = [program.page() for program in workers]
    third.kill()

    assert before == [50, 50, 50]
    assert [page.total("ai_rate_limit_remaining") for page in after] == [40, 40, 40]
    assert [page.total("ai_requests", status="success") for page in after] == [4, 4, 4]
    assert [page.total("ai_unpriced_requests") for page in after] == [0, 0, 0]
    assert [program.successes() for program in (first, second)] == [4, 4]
    assert "llmwatch failed" not in first.log + second.log


def test_files_of_workers_that_are_all_emptied_are_written_again(workers: list[Program], tmp_path: Path) -> None:
    folder = tmp_path / "workers"
    before = [program.successes() for program in workers]
    for path in folder.glob("*/*"):
        os.truncate(path, 0)
    during = [program.successes() for program in workers]
    for program in workers:
        program("call()")

    assert (before, during) == ([3, 3, 3], [3, 3, 3])
    assert [program.successes() for program in workers] == [6, 6, 6]
    assert [program.log for program in workers] == ["", "", ""]


def test_a_file_in_the_place_of_the_workers_directory_leaves_a_page_of_what_was_there_and_loses_nothing(
    workers: list[Program], tmp_path: Path
) -> None:
    for program in workers:
        program.page()
    shutil.rmtree(tmp_path / "workers")
    (tmp_path / "workers").write_text("")
    for program in workers:
        program("call()")
    during = [program.successes() for program in workers]
    (tmp_path / "workers").unlink()
    until(lambda: [program.successes() for program in workers] == [6, 6, 6])

    assert during == [3, 3, 3]
    assert [program.log.count("llmwatch failed in workers") for program in workers] == [1, 1, 1]
    assert Program.successes(workers[0], feature="only2") == 1


def test_a_hook_that_cannot_write_where_its_worker_is_scraped_leaves_the_worker_alone(tmp_path: Path) -> None:
    (tmp_path / "targets").write_text("")
    llmwatch.configure()
    worker = Mock(pid=1)
    FileSd(tmp_path / "targets").post_worker_init(worker)
    answer = answering("the result", feature="chat")

    assert answer() == "the result"
    assert scraped().total("ai_requests", status="success") == 1
    worker.log.exception.assert_called_once()
    assert [thread.name for thread in threading.enumerate() if thread.name == "llmwatch-metrics"] == []
