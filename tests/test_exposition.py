"""The page at /metrics: its formats, its server, and the applications that it can be mounted in."""

from __future__ import annotations

import asyncio
import base64
import gzip
import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from typing import Any
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest
from opentelemetry.metrics import Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics_families
from prometheus_client.parser import text_string_to_metric_families as text_families
from recording import MODEL, REPLY, STATUSES, Faults, answering, apart, parsed
from soak import OPEN_METRICS, Soak
from starlette.applications import Starlette
from starlette.routing import Mount, Route
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect
from support import require

import llmwatch
from llmwatch.exposition import Endpoint, Page, Request, Response, Site, asgi_app, serve, wsgi_app

MARKER = "a prompt that nobody may ever see"


@pytest.fixture(autouse=True)
def faults(monkeypatch: pytest.MonkeyPatch) -> Iterator[Faults]:
    for variable in ("OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES", "LLMWATCH_PORT", "OTEL_EXPORTER_PROMETHEUS_PORT"):
        monkeypatch.delenv(variable, raising=False)
    with apart() as faults:
        yield faults


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """The port of a program that has made two calls."""
    with apart():
        configuration = llmwatch.configure(
            port=0, service_name="shop", labels={"tier": ["free", "pro"]}, semconv="both"
        )
        answer = answering({**REPLY, "prompt": MARKER}, feature="chat", provider="openai", tier="pro")
        answer()
        answer()
        yield configuration.port


def ask(port: int, method: str = "GET", path: str = "/metrics", **headers: str) -> tuple[int, dict[str, str], str]:
    """One request; status, headers and body of its answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read().decode()
    finally:
        connection.close()


# --- Formats


def test_the_page_is_text_for_whoever_does_not_ask_for_more(port: int) -> None:
    status, headers, page = ask(port)

    assert status == 200
    assert headers["content-type"].startswith("text/plain; version=0.0.4")
    assert parsed(page).total("ai_requests", feature="chat", model=MODEL, tier="pro", status="success") == 2


def test_the_page_is_openmetrics_for_whoever_asks_as_prometheus_does(port: int) -> None:
    accept = f"{OPEN_METRICS};q=0.8,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
    _, headers, page = ask(port, Accept=accept)
    families = {family.name: family for family in open_metrics_families(page)}  # type: ignore[no-untyped-call]

    assert headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert page.endswith("# EOF\n")
    assert families["ai_requests"].type == "counter"
    assert families["ai_request_duration_seconds"].type == "histogram"
    assert families["ai_request_duration_seconds"].unit == "seconds"
    assert sum(sample.value for sample in families["ai_requests"].samples) == 2


def check(page: str) -> tuple[int, str]:
    """What promtool has to say about a page: its exit code and its words."""
    checked = subprocess.run(
        [require("promtool"), "check", "metrics"], input=page, capture_output=True, text=True, timeout=30, check=False
    )
    return checked.returncode, checked.stdout + checked.stderr


def test_promtool_finds_nothing_to_say_about_the_page(port: int) -> None:
    assert check(ask(port)[2]) == (0, "")


def test_no_series_carries_scope_labels(port: int) -> None:
    _, _, page = ask(port)

    assert "otel_scope" not in page
    assert "target_info" in page


def test_the_service_is_named_once_and_on_no_series_of_ours(port: int) -> None:
    found = parsed(ask(port)[2])

    assert found.one("target_info").labels["service_name"] == "shop"
    assert {point.name for point in found.points if "service_name" in point.labels} == {"target_info"}


def test_the_page_shows_no_content_of_any_call(port: int) -> None:
    _, _, page = ask(port)

    assert MARKER not in page
    assert "To the left." not in page


def test_buckets_are_cumulative_and_end_with_the_count(port: int) -> None:
    lines = [line for line in ask(port)[2].splitlines() if line.startswith("ai_request_duration_seconds_bucket{")]
    counts = [float(line.rsplit(" ", 1)[1]) for line in lines]

    assert counts == sorted(counts)
    assert 'le="+Inf"' in lines[-1]
    assert counts[-1] == 2


def test_another_library_s_metric_of_the_same_name_does_not_mix_with_ours() -> None:
    provider = MeterProvider(shutdown_on_exit=False)
    theirs = provider.get_meter("opentelemetry.instrumentation.theirs").create_histogram(
        "gen_ai.client.operation.duration", "s", "GenAI operation duration."
    )
    configuration = llmwatch.configure(meter_provider=provider, port=0)
    theirs.record(3.0, {"gen_ai.operation.name": "chat", "server.address": "theirs", "team": "search"})
    answering(feature="chat", provider="openai", model="gpt-4o-mini")()
    lines = [
        line
        for line in ask(configuration.port)[2].splitlines()
        if line.startswith("gen_ai_client_operation_duration_seconds_count{")
    ]

    assert len(lines) == 2
    assert sum('server_address="theirs"' in line and 'team="search"' in line for line in lines) == 1
    (ours,) = (line for line in lines if 'gen_ai_provider_name="openai"' in line)
    assert 'gen_ai_request_model="gpt-4o-mini"' in ours
    assert f'gen_ai_response_model="{MODEL}"' in ours


def test_a_metric_that_cannot_be_shown_leaves_the_others_and_is_reported_once(
    faults: Faults, caplog: pytest.LogCaptureFixture
) -> None:
    faults.expected = {"page"}
    exponential = View(instrument_name="theirs", aggregation=ExponentialBucketHistogramAggregation())
    provider = MeterProvider(views=[exponential], shutdown_on_exit=False)
    configuration = llmwatch.configure(meter_provider=provider, port=0)
    provider.get_meter("theirs").create_histogram("theirs").record(1.0)
    provider.get_meter("theirs").create_counter("their_others").add(7)
    answering(feature="chat")()
    pages = [ask(configuration.port) for _ in range(3)]

    assert [status for status, _, _ in pages] == [200] * 3
    assert {parsed(page).total("ai_requests", status="success") for _, _, page in pages} == {1}
    assert {parsed(page).total("their_others_total") for _, _, page in pages} == {7}
    assert [record.getMessage() for record in caplog.records] == [
        "the metric 'theirs' is not on the page: a view has made it an exponential histogram"
    ]


def test_a_page_that_cannot_be_made_is_a_server_error_without_internals_and_the_program_goes_on(
    faults: Faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults.expected = {"page"}
    configuration = llmwatch.configure(port=0)

    def fail(*_: object) -> None:
        raise RuntimeError(MARKER)

    with monkeypatch.context() as patched:
        patched.setattr("llmwatch.exposition.Page.render", fail)
        status, _, page = ask(configuration.port)

    assert status == 500
    assert MARKER not in page
    assert "Traceback" not in page
    assert answering("text", feature="chat")() == "text"
    assert ask(configuration.port)[0] == 200


# --- The server


@pytest.mark.parametrize("path", ["/metrics", "/metrics/", "/", "/metrics?name[]=ai_requests_total"])
def test_the_page_is_at_metrics(port: int, path: str) -> None:
    status, _, page = ask(port, path=path)

    assert status == 200
    assert "ai_requests_total{" in page


@pytest.mark.parametrize("path", ["/other", "/metrics/other", "/favicon.ico", "/..", "/metricsmetrics"])
def test_elsewhere_there_is_nothing(port: int, path: str) -> None:
    status, _, page = ask(port, path=path)

    assert status == 404
    assert "ai_requests_total{" not in page


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_other_methods_than_get_and_head_are_refused(port: int, method: str) -> None:
    status, headers, page = ask(port, method)

    assert status == 405
    assert headers["allow"] == "GET, HEAD"
    assert "ai_requests_total{" not in page


def test_head_gives_the_headers_of_get_without_the_page(port: int) -> None:
    _, got, page = ask(port)
    status, headed, body = ask(port, "HEAD")

    assert (status, body) == (200, "")
    assert headed["content-type"] == got["content-type"]
    assert abs(int(headed["content-length"]) - len(page)) < 200


def test_the_server_listens_on_loopback_only(port: int) -> None:
    with pytest.raises(OSError, match=r"refused|reachable|assign|timed out"):
        socket.create_connection(("127.0.0.2", port), timeout=5)


@pytest.mark.no_cover  # a tracer makes turns so dear that a collection takes longer than the SDK gives it
@pytest.mark.usefixtures("hurried")
def test_concurrent_scrapes_are_neither_empty_nor_doubled(port: int) -> None:
    pages: list[str] = []
    failures: list[BaseException] = []

    def scrape() -> None:
        try:
            pages.extend(ask(port)[2] for _ in range(8))
        except Exception as error:  # reported by the assertion below
            failures.append(error)

    threads = [threading.Thread(target=scrape) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    assert len(pages) == 64
    series = {tuple(line.rsplit(" ", 1)[0] for line in page.splitlines() if line[0] != "#") for page in pages}
    assert len(series) == 1
    assert len(set(next(iter(series)))) == len(next(iter(series)))
    assert {parsed(page).total("ai_requests", status="success") for page in pages} == {2}


def server_threads() -> set[threading.Thread]:
    names = ("llmwatch-metrics", "llmwatch-scrape")
    return {thread for thread in threading.enumerate() if thread.name in names and thread.is_alive()}


def test_close_frees_the_port_and_leaves_no_thread() -> None:
    before = server_threads()
    configuration = llmwatch.configure(port=0)
    endpoint = serve()
    ask(configuration.port)
    ask(endpoint.port)
    endpoint.close()
    endpoint.close()
    llmwatch.shutdown()
    for thread in server_threads() - before:
        thread.join(5)

    assert server_threads() - before == set()
    for freed in (configuration.port, endpoint.port):
        with socket.socket() as again:
            again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            again.bind(("127.0.0.1", freed))


MALFORMED = {
    "nothing": b"",
    "an empty line": b"\r\n\r\n",
    "no path": b"GET\r\n\r\n",
    "a version that does not exist": b"GET /metrics HTTP/9.9\r\n\r\n",
    "no version": b"GET /metrics\r\n",
    "a TLS greeting": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
    "a line without end": b"GET /" + b"a" * 70_000,
    "a thousand headers": b"GET /metrics HTTP/1.1\r\n" + b"".join(b"X-%d: 1\r\n" % n for n in range(1000)) + b"\r\n",
    "a header without a colon": b"GET /metrics HTTP/1.1\r\nnonsense\r\n\r\n",
    "a body length that is none": b"GET /metrics HTTP/1.1\r\nContent-Length: many\r\n\r\n",
    "bytes that are no text": b"GET /\xff\xfe%zz HTTP/1.1\r\nAccept: \xff\xfe\r\n\r\n",
    "another protocol": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
}


def poke(port: int, request: bytes) -> bytes:
    """Sends some bytes, and reads what comes until the end."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        received = b""
        try:
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
            while piece := connection.recv(65_536):
                received += piece
        except OSError:
            return received
        return received


@pytest.mark.parametrize("request_of", MALFORMED)
def test_a_malformed_request_harms_nobody_and_prints_nothing(
    port: int, request_of: str, capfd: pytest.CaptureFixture[str]
) -> None:
    poke(port, MALFORMED[request_of])

    assert ask(port)[0] == 200
    assert capfd.readouterr() == ("", "")


def test_clients_that_say_nothing_do_not_keep_others_waiting(port: int) -> None:
    silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(20)]
    try:
        for connection in silent[::2]:
            connection.sendall(b"GET /metr")

        assert ask(port)[0] == 200
    finally:
        for connection in silent:
            connection.close()


class Endless:
    """A site whose page is larger than the buffers between a server and a client."""

    def __init__(self) -> None:
        self.body = b"x" * 40_000_000

    def answer(self, _: Request) -> Response:
        return Response(200, (("Content-Type", "text/plain"),), self.body)


def test_clients_that_stop_reading_or_leave_harm_nobody_and_print_nothing(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmwatch.exposition._listener._TOTAL_SECONDS", 0.3)
    endpoint = Endpoint(Endless(), "127.0.0.1", 0)
    with closing(endpoint), ExitStack() as clients:
        connections = [
            clients.enter_context(socket.create_connection(("127.0.0.1", endpoint.port), timeout=20)) for _ in range(3)
        ]
        for connection in connections:
            connection.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
            connection.recv(10)
        scrapes = [thread for thread in server_threads() if thread.name == "llmwatch-scrape"]
        connections[0].close()  # leaves in the middle; the others stay, and read nothing more
        for thread in scrapes:
            thread.join(20)
        monkeypatch.setattr("llmwatch.exposition._listener._TOTAL_SECONDS", 30.0)
        with urllib.request.urlopen(f"{endpoint.url}/metrics", timeout=20) as answer:
            assert len(answer.read()) == 40_000_000

    assert len(scrapes) >= 3
    assert [thread for thread in scrapes if thread.is_alive()] == []
    assert capfd.readouterr() == ("", "")


def test_nothing_is_printed_by_ordinary_requests(port: int, capfd: pytest.CaptureFixture[str]) -> None:
    for method, path in (("GET", "/metrics"), ("HEAD", "/metrics"), ("POST", "/"), ("GET", "/nowhere")):
        ask(port, method, path)

    assert capfd.readouterr() == ("", "")


def test_serving_needs_a_page() -> None:
    with pytest.raises(RuntimeError, match=r"configure\(\)"):
        serve()


# --- What a page may hold


WORDS = {
    "quotes": 'a "quoted" word',
    "backslashes": "C:\\temp\\new",
    "lines": "first\nsecond",
    "braces": '"} 1\nai_requests_total{feature="forged"} 999',
    "a comment": "# EOF",
    "markup": "<script>alert('x')</script>&amp;",
    "emoji": "👩‍💻 family",
    "writing": "требование 要求",
    "separators": "a\u2028b\u2029c\x85d",
}


@pytest.mark.parametrize("words", WORDS)
def test_label_values_come_out_as_they_went_in_in_both_formats(words: str) -> None:
    port = llmwatch.configure(port=0).port
    answering(feature=WORDS[words], provider="openai", model="gpt-4o-mini")()
    plain, open_metrics = ask(port)[2], ask(port, Accept=OPEN_METRICS)[2]
    families = [list(read(page)) for read, page in ((text_families, plain), (open_metrics_families, open_metrics))]

    for found in families:
        samples = [sample for family in found for sample in family.samples if sample.name == "ai_requests_total"]
        assert {sample.labels["feature"] for sample in samples} == {WORDS[words]}
        assert sum(sample.value for sample in samples) == 1
    assert check(plain) == (0, "")


@pytest.mark.parametrize("words", ["NUL \0 and \r return", "half a pair \ud83d", "other half \udc00"])
def test_what_a_page_cannot_hold_is_replaced_and_the_rest_is_shown(words: str) -> None:
    provider = MeterProvider(shutdown_on_exit=False)
    port = llmwatch.configure(meter_provider=provider, port=0).port
    answering(feature=words)()
    provider.get_meter("theirs").create_counter("theirs", description=words).add(1, {"words": words})
    page = ask(port)[2]
    families = {family.name: family for family in text_families(page)}

    assert sum(sample.value for sample in families["ai_requests"].samples) == 1
    assert len(families["theirs"].samples) == 1
    assert len(list(open_metrics_families(ask(port, Accept=OPEN_METRICS)[2]))) == len(families)
    assert check(page)[0] == 0


# --- Compression


def test_the_page_is_compressed_for_whoever_asks(port: int) -> None:
    plain = ask(port)[2]
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    with closing(connection):
        connection.request("GET", "/metrics", headers={"Accept-Encoding": "gzip"})
        answer = connection.getresponse()
        body = answer.read()

    assert answer.headers["Content-Encoding"] == "gzip"
    assert int(answer.headers["Content-Length"]) == len(body) < len(plain) / 4
    assert parsed(gzip.decompress(body).decode()).total("ai_requests", status="success") == 2


@pytest.mark.parametrize(
    ("accepted", "compressed"),
    [
        ("gzip", True),
        ("gzip, deflate, br", True),
        ("GZIP;q=0.5", True),
        ("*", True),
        ("br;q=1.0, gzip;q=0.001", True),
        ("", False),
        ("identity", False),
        ("deflate, br", False),
        ("gzip;q=0", False),
        ("gzip; q=0.0, *", False),
        ("*;q=0", False),
    ],
)
def test_it_is_compressed_only_where_the_request_says_so(port: int, accepted: str, compressed: bool) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    with closing(connection):
        connection.request("GET", "/metrics", headers={"Accept-Encoding": accepted})
        answer = connection.getresponse()
        answer.read()

    assert (answer.headers["Content-Encoding"] == "gzip") is compressed
    assert answer.headers["Vary"] == "Accept, Accept-Encoding"


# --- Other paths


def test_healthz_is_answered_without_a_collection() -> None:
    asked: list[object] = []
    provider = MeterProvider(shutdown_on_exit=False)
    port = llmwatch.configure(meter_provider=provider, port=0, auth="token").port
    provider.get_meter("theirs").create_observable_gauge("theirs", [lambda options: asked.append(options) or []])  # type: ignore[func-returns-value]

    assert ask(port, path="/healthz")[::2] == (200, "ok\n")
    assert ask(port, "HEAD", path="/healthz")[::2] == (200, "")
    assert asked == []


def test_a_site_answers_for_the_paths_that_are_added_to_it_and_hides_what_they_raise(faults: Faults) -> None:
    faults.expected = {"page"}

    def live(request: Request) -> Response:
        return Response(200, (("Content-Type", "text/html"),), f"{request.method} {request.query}".encode())

    def broken(_: Request) -> Response:
        raise ValueError(MARKER)

    llmwatch.configure()
    site = Site(Page(), routes={"/": live, "/live.json": broken})

    assert site.answer(Request("GET", "/", "a=b")).body == b"GET a=b"
    assert site.answer(Request("GET", "/metrics")).status == 200
    assert site.answer(Request("GET", "/live.json")).status == 500
    assert MARKER.encode() not in site.answer(Request("GET", "/live.json")).body
    assert site.answer(Request("POST", "/")).status == 405
    assert site.answer(Request("GET", "/live")).status == 404


def test_the_labels_are_reported_as_json(port: int) -> None:
    status, headers, body = ask(port, path="/labels")

    assert (status, headers["content-type"]) == (200, "application/json")
    assert isinstance(json.loads(body), dict)


# --- Who may read it


BASIC = {"Authorization": "Basic " + base64.b64encode("grafana:pässword".encode()).decode()}
BEARER = {"Authorization": "Bearer s3cr3t-token"}


@pytest.mark.parametrize(("auth", "right"), [(("grafana", "pässword"), BASIC), ("s3cr3t-token", BEARER)])
def test_with_credentials_the_page_is_there_and_without_it_is_not(auth: Any, right: dict[str, str]) -> None:
    port = llmwatch.configure(port=0, auth=auth).port
    scheme = right["Authorization"].split()[0]

    assert ask(port, **right)[0] == 200
    assert ask(port, Authorization=right["Authorization"].replace(scheme, scheme.lower()))[0] == 200
    for path in ("/metrics", "/", "/labels", "/nowhere"):
        status, headers, body = ask(port, path=path)
        assert status == 401
        assert headers["www-authenticate"].startswith(f"{scheme} realm=")
        assert "ai_" not in body


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "Basic",
        "Bearer",
        "Bearer s3cr3t-toke",
        "Bearer s3cr3t-token2",
        "Basic s3cr3t-token",
        "s3cr3t-token",
        "Bearer \xff",
        "Basic " + base64.b64encode(b"grafana:wrong").decode(),
        "Basic " + base64.b64encode(b"grafana").decode(),
        "Basic !!!!",
        "Basic " + "QQ" * 2000,
        "Digest username=grafana",
    ],
)
def test_wrong_credentials_are_refused(wrong: str) -> None:
    for auth in ("s3cr3t-token", ("grafana", "pässword")):
        port = llmwatch.configure(port=0, auth=auth).port

        assert ask(port, Authorization=wrong)[0] == 401


def test_other_credentials_hold_from_the_next_configuration_on() -> None:
    port = llmwatch.configure(port=0, auth="s3cr3t-token").port
    llmwatch.configure(port=port, auth="another")

    assert ask(port, **BEARER)[0] == 401
    llmwatch.configure(port=port)
    assert ask(port)[0] == 200


def test_credentials_hold_where_the_page_is_mounted_too() -> None:
    llmwatch.configure(auth="s3cr3t-token")

    assert wsgi()[0] == "401 Unauthorized"
    assert asgi()[0]["status"] == 401


# --- Several at once


def test_scrapes_that_come_while_one_is_made_are_served_the_same_bytes() -> None:
    started, go = threading.Event(), threading.Event()
    collections: list[int] = []

    def slow(_: object) -> list[Observation]:
        collections.append(1)
        started.set()
        go.wait(20)
        return [Observation(len(collections))]

    provider = MeterProvider(shutdown_on_exit=False)
    port = llmwatch.configure(meter_provider=provider, port=0).port
    provider.get_meter("theirs").create_observable_gauge("theirs", [slow])
    with ThreadPoolExecutor(12) as pool:
        first = pool.submit(ask, port)
        started.wait(20)
        others = [pool.submit(ask, port) for _ in range(8)]
        while sum(thread.name == "llmwatch-scrape" for thread in threading.enumerate()) < 9:
            time.sleep(0.01)
        time.sleep(0.2)  # they have sent their requests by then
        go.set()
        pages = {each.result()[2] for each in (first, *others)}

    assert len(pages) == 1
    assert len(collections) == 1
    assert ask(port)[2] not in pages
    assert len(collections) == 2


@pytest.mark.no_cover  # a tracer makes turns so dear that a collection takes longer than the SDK gives it
def test_8_scrapers_of_16_recording_threads_get_whole_pages_on_which_no_counter_falls() -> None:
    soak = Soak(llmwatch.configure(port=0).port)
    soak.run(float(os.environ.get("LLMWATCH_SOAK_SECONDS", "4")))
    last = next(each for each in reversed(soak.scrapes[1]) if not each.open_metrics)

    assert soak.verify() >= 8
    assert check(last.text) == (0, "")


# --- Mounted in an application


def wsgi(method: str = "GET", path: str = "", mount: str = "/metrics") -> tuple[str, dict[str, str], bytes]:
    """One request to the WSGI application, under the eyes of the standard library's validator."""
    environ: dict[str, Any] = {"REQUEST_METHOD": method, "SCRIPT_NAME": mount, "QUERY_STRING": ""}
    environ["PATH_INFO"] = path
    setup_testing_defaults(environ)
    seen: list[Any] = []

    def start_response(status: str, headers: list[tuple[str, str]], _: object = None) -> Any:
        seen.extend((status, dict(headers)))
        return lambda _: None

    answer = validator(wsgi_app())(environ, start_response)
    try:
        body = b"".join(answer)
    finally:
        answer.close()  # type: ignore[attr-defined]
    return seen[0], seen[1], body


def test_a_wsgi_application_shows_the_page_of_the_running_configuration() -> None:
    llmwatch.configure()
    answering(feature="chat", provider="openai")()
    status, headers, body = wsgi()

    assert status == "200 OK"
    assert headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert parsed(body.decode()).total("ai_requests", status="success") == 1
    assert wsgi("POST")[0].startswith("405")
    assert wsgi("HEAD")[2] == b""


def test_an_application_may_be_mounted_before_anything_is_configured() -> None:
    app = wsgi_app()
    statuses: list[str] = []

    def request() -> bytes:
        environ = {"REQUEST_METHOD": "GET", "PATH_INFO": ""}
        return b"".join(app(environ, lambda status, _: statuses.append(status)))  # type: ignore[arg-type]

    refused = request().decode()
    llmwatch.configure()
    answering(feature="chat")()

    assert "ai_requests_total{" in request().decode()
    assert "llmwatch.configure()" in refused
    assert statuses == ["503 Service Unavailable", "200 OK"]


def asgi(
    method: str = "GET", *, kind: str = "http", accept: str = "", path: str = "/metrics", mount: str = "/metrics"
) -> list[dict[str, Any]]:
    """What the ASGI application sends in answer to one request."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    headers = [(b"host", b"localhost"), (b"accept", accept.encode())]
    scope = {"type": kind, "method": method, "path": path, "root_path": mount, "headers": headers}
    asyncio.run(asgi_app()(scope, receive, send))  # type: ignore[arg-type]
    return sent


# Where it is mounted, what is asked for below that, and what comes.
MOUNTS = [
    ("", "/metrics", 200),
    ("", "/", 200),
    ("", "/healthz", 200),
    ("", "/nowhere", 404),
    ("/metrics", "", 200),
    ("/metrics", "/", 200),
    ("/metrics", "/metrics", 200),
    ("/metrics", "/healthz", 200),
    ("/metrics", "/nowhere", 404),
    ("/internal/prom", "", 200),
    ("/internal/prom", "/metrics", 200),
    ("/internal/prom", "/metricsmetrics", 404),
]


@pytest.mark.parametrize(("mount", "path", "status"), MOUNTS)
def test_an_application_answers_wherever_it_is_mounted(mount: str, path: str, status: int) -> None:
    llmwatch.configure()

    assert wsgi(path=path, mount=mount)[0].startswith(str(status))
    # Servers before ASGI 2.3 leave the mount out of the path.
    assert {asgi(path=each, mount=mount)[0]["status"] for each in (mount + path, path or "/")} == {status}


def test_starlette_and_fastapi_mount_it_and_route_to_it() -> None:
    llmwatch.configure()
    answering(feature="chat")()
    app = Starlette(routes=[Mount("/internal", asgi_app()), Route("/metrics", asgi_app())])
    with TestClient(app) as client:
        pages = [client.get(path) for path in ("/internal/metrics", "/metrics", "/internal", "/internal/healthz")]

        assert [page.status_code for page in pages] == [200] * 4
        assert [parsed(page.text).total("ai_requests", status="success") for page in pages[:3]] == [1] * 3
        with pytest.raises(WebSocketDisconnect), client.websocket_connect("/internal/metrics"):
            pass


def test_an_asgi_application_that_is_served_alone_starts_and_stops_with_its_server() -> None:
    llmwatch.configure()
    with TestClient(asgi_app()) as client:
        assert client.get("/metrics").status_code == 200


def test_an_asgi_application_runs_on_trio() -> None:
    llmwatch.configure()
    answering(feature="chat")()
    with TestClient(asgi_app(), backend="trio") as client:
        assert parsed(client.get("/metrics").text).total("ai_requests", status="success") == 1


def test_an_asgi_application_survives_clients_that_leave_in_the_middle() -> None:
    started, go = threading.Event(), threading.Event()

    def slow(_: object) -> list[Observation]:
        started.set()
        go.wait(20)
        return []

    provider = MeterProvider(shutdown_on_exit=False)
    llmwatch.configure(meter_provider=provider, port=0)
    provider.get_meter("theirs").create_observable_gauge("theirs", [slow])

    async def leave() -> None:
        scope = {"type": "http", "method": "GET", "path": "/metrics", "headers": []}
        request = asyncio.create_task(asgi_app()(scope, None, None))
        await asyncio.sleep(0)  # so that it begins
        await asyncio.to_thread(started.wait, 20)
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request

    asyncio.run(leave())
    go.set()

    assert asgi()[0]["status"] == 200


def test_an_asgi_application_refuses_at_once_what_is_beyond_its_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmwatch.exposition._apps._AT_ONCE", 1)
    started, go = threading.Event(), threading.Event()

    def slow(_: object) -> list[Observation]:
        started.set()
        go.wait(20)
        return []

    provider = MeterProvider(shutdown_on_exit=False)
    llmwatch.configure(meter_provider=provider, port=0)
    provider.get_meter("theirs").create_observable_gauge("theirs", [slow])
    client = TestClient(asgi_app())
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(client.get, "/metrics")
        started.wait(20)
        second = client.get("/metrics")
        go.set()

        assert (first.result().status_code, second.status_code) == (200, 503)
    assert client.get("/metrics").status_code == 200


@pytest.mark.parametrize("configured", [False, True])
def test_where_there_is_no_page_the_applications_say_what_to_do(configured: bool) -> None:
    if configured:
        llmwatch.configure(meter_provider=MeterProvider(shutdown_on_exit=False))
    expected = b"configure(port=...)" if configured else b"llmwatch.configure()"

    assert wsgi()[0] == "503 Service Unavailable"
    assert expected in wsgi()[2]
    assert asgi()[0]["status"] == 503
    assert asgi()[1]["body"] == wsgi()[2]
    assert asgi(path="/metrics/healthz")[0]["status"] == 200


def test_an_asgi_application_shows_the_page_of_the_running_configuration() -> None:
    llmwatch.configure()
    answering(feature="chat", provider="openai")()
    start, body = asgi()

    assert start["status"] == 200
    assert dict(start["headers"])[b"content-type"].startswith(b"text/plain; version=0.0.4")
    assert int(dict(start["headers"])[b"content-length"]) == len(body["body"])
    assert parsed(body["body"].decode()).total("ai_requests", status="success") == 1
    assert {point.labels["status"] for point in parsed(body["body"].decode()).of("ai_requests")} == set(STATUSES)


def test_an_asgi_application_answers_head_and_openmetrics_and_refuses_the_rest() -> None:
    llmwatch.configure()

    assert asgi("HEAD")[1]["body"] == b""
    assert asgi("POST")[0]["status"] == 405
    assert asgi(accept=OPEN_METRICS)[1]["body"].endswith(b"# EOF\n")
    assert asgi(kind="lifespan") == []


def test_an_asgi_application_leaves_the_event_loop_free_while_it_makes_the_page() -> None:
    threads: set[int] = set()
    provider = MeterProvider(shutdown_on_exit=False)
    llmwatch.configure(meter_provider=provider, port=0)
    provider.get_meter("theirs").create_observable_gauge(
        "theirs",
        [lambda _: threads.add(threading.get_ident()) or []],  # type: ignore[func-returns-value]
    )
    asgi()

    assert threads
    assert threading.get_ident() not in threads


def test_curl_gets_the_page_without_options(port: int) -> None:
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("there is no curl on this machine")
    got = subprocess.run(
        [curl, "-sf", "--noproxy", "*", f"http://127.0.0.1:{port}/metrics"],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )

    assert parsed(got.stdout).total("ai_requests", status="success") == 2


def test_a_scrape_beside_a_reconfiguration_has_every_counter() -> None:
    port = llmwatch.configure(port=0).port
    answering(feature="chat")()
    stop = threading.Event()

    def reconfigure() -> None:
        while not stop.is_set():
            llmwatch.configure(port=0, labels={"tier": ["pro"]})
            llmwatch.configure(port=0)

    with ThreadPoolExecutor(1) as pool:
        pool.submit(reconfigure)
        found = [parsed(ask(port)[2]).total("ai_requests", feature="chat", status="success") for _ in range(60)]
        stop.set()

    assert found == [1] * 60


def test_importing_llmwatch_loads_no_server_no_tls_and_no_compression() -> None:
    heavy = {"wsgiref", "http.server", "http.client", "socket", "selectors", "ssl", "gzip", "email", "hmac"}
    program = "import sys; before = set(sys.modules); from llmwatch import *; print(*(set(sys.modules) - before))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()

    assert "llmwatch.exposition" in loaded
    assert heavy.isdisjoint(loaded)
