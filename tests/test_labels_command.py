"""`llmwatch labels`: what it prints of a running process, and how it says that there is nothing to print."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from recording import Faults, apart, recording

import llmwatch
from llmwatch import Label, _runtime, track_request
from llmwatch.cli import main


@pytest.fixture(autouse=True)
def faults(monkeypatch: pytest.MonkeyPatch) -> Iterator[Faults]:
    monkeypatch.delenv("LLMWATCH_AUTH", raising=False)
    with apart() as faults:
        yield faults


Pages = Mapping[str, tuple[int, bytes]]


@contextmanager
def serving(pages: Pages, authorization: str | None = None) -> Iterator[str]:
    """A server on loopback with these pages by path, its URL; 404 for all others."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = pages.get(self.path, (404, b"not here"))
            if self.headers.get("Authorization") != authorization:
                status, body = 401, b"who are you?"
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


def report() -> dict[str, Any]:
    return _runtime.current().recorder.label_report()


def printed(capsys: pytest.CaptureFixture[str], document: Any) -> list[list[str]]:
    """The cells of the table that is printed for a document, which are two spaces apart."""
    with serving({"/labels": (200, json.dumps(document).encode())}) as url:
        assert main(["labels", url]) == 0
    lines = capsys.readouterr().out.splitlines()
    return [[cell for cell in line.split("  ") if cell] for line in lines]


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line that is said instead."""
    assert main(["labels", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("llmwatch: ")
    assert err.count("\n") == 1
    assert err.strip().isprintable()
    return err


def test_it_prints_a_line_for_each_label_and_one_for_all_series(capsys: pytest.CaptureFixture[str]) -> None:
    recording(
        "memory",
        labels={"tier": ["free", "pro"], "team": Label(limit=1, mapper=str.upper)},
        label_limits={"feature": 1, "series": 5000},
    )
    for feature, times in (("chat", 1), ("search", 3), ("export", 2)):
        for _ in range(times):
            with track_request(feature=feature, tier="pro", team=feature):
                pass
    cells = printed(capsys, report())

    lines = {line[0].strip(): [cell.strip() for cell in line[1:]] for line in cells}
    assert [cell.strip() for cell in cells[0]] == ["label", "limit", "declared", "shown", "folded", "folded most"]
    assert lines["feature"] == ["1", "0", "1", "5", "search (3), export (2)"]
    assert lines["tier"] == ["2", "2", "2", "0"]
    assert lines["team"] == ["1", "0", "1", "5", "(not listed: the label has a mapper)"]
    assert lines["(series)"][0] == "5,000"


def test_it_reads_a_running_process_at_any_of_its_addresses(capsys: pytest.CaptureFixture[str]) -> None:
    page = llmwatch.configure(port=0, labels={"tier": ["free", "pro"]})
    with track_request(feature="chat", tier="gold"):
        pass
    for url in (page.url, f"127.0.0.1:{page.port}", f"{page.url}/", f"{page.url}/metrics", f"{page.url}/labels?x"):
        assert main(["labels", url]) == 0
        assert "gold (1)" in capsys.readouterr().out


def test_a_count_that_is_not_certain_is_said_to_be_the_least(capsys: pytest.CaptureFixture[str]) -> None:
    recording("memory", label_limits={"feature": 1})
    for number in range(100):
        with track_request(feature=f"feature-{number}"):
            pass

    (line,) = [line for line in printed(capsys, report()) if line[0] == "feature"]
    assert line[-1].count("at least 1") == 5


def test_values_cannot_write_to_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    recording("memory", label_limits={"feature": 1})
    for feature in ("first", "\x1b[2J\x1b]0;owned\x07", "two\nlines", "\u202egnp.exe", "größe"):
        with track_request(feature=feature):
            pass
    with serving({"/labels": (200, json.dumps(report()).encode())}) as url:
        assert main(["labels", url]) == 0
    out = capsys.readouterr().out

    assert all(line.isprintable() for line in out.splitlines())
    for shown in (r"\x1b[2J\x1b]0;owned\x07", r"two\nlines", r"\u202egnp.exe", "größe"):
        assert shown in out


def test_where_nothing_answers_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    said = refused(capsys, f"http://127.0.0.1:{port}")

    assert f"http://127.0.0.1:{port}/labels" in said
    assert "refused" in said
    assert "configure(port=...)" in said


@pytest.mark.parametrize(
    "pages",
    [
        {},
        {"/metrics": (200, b"up 1\n")},
        {"/labels": (200, b"<html>")},
        {"/labels": (200, b"[]")},
        {"/labels": (200, b'{"labels": {}}')},
        {"/labels": (200, b"[" * 100_000)},
        {"/labels": (200, b"\xff\xfe")},
    ],
    ids=str,
)
def test_what_is_not_llmwatch_is_said_not_to_be(capsys: pytest.CaptureFixture[str], pages: Pages) -> None:
    with serving(pages) as url:
        assert f"what answers at {url} is not llmwatch" in refused(capsys, url)


def test_an_old_llmwatch_is_named_with_its_version(capsys: pytest.CaptureFixture[str]) -> None:
    metrics = b'# TYPE llmwatch_build_info gauge\nllmwatch_build_info{price_table="1",version="0.1.0\x1b"} 1.0\n'
    with serving({"/metrics": (200, metrics)}) as url:
        assert r"llmwatch 0.1.0\x1b at" in (said := refused(capsys, url))
    assert "too old" in said


@pytest.mark.parametrize(
    "document",
    [
        {"llmwatch": "9"},
        {"llmwatch": "9", "labels": [], "series": {}},
        {"llmwatch": "9", "labels": {"feature": {}}, "series": {}},
        {"llmwatch": "9", "labels": {}, "series": {"limit": "many", "shown": 0, "folded": 0}},
        {"llmwatch": "9", "labels": {}, "series": {"limit": 1e999, "shown": 0, "folded": 0}},
    ],
    ids=str,
)
def test_a_document_of_another_form_is_refused(capsys: pytest.CaptureFixture[str], document: Any) -> None:
    with serving({"/labels": (200, json.dumps(document).encode())}) as url:
        assert "not of the form" in refused(capsys, url)


@pytest.mark.parametrize("status", [403, 500, 503])
def test_another_status_is_named(capsys: pytest.CaptureFixture[str], status: int) -> None:
    with serving({"/labels": (status, b"")}) as url:
        assert str(status) in refused(capsys, url)


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://127.0.0.1/", "http://", "http://127.0.0.1:port", "http://[", "a b", "\x1b[2J"]
)
def test_what_is_no_url_is_refused(capsys: pytest.CaptureFixture[str], url: str) -> None:
    assert "is no URL of a web server" in refused(capsys, url)


@pytest.mark.parametrize(
    ("credentials", "authorization"),
    # RFC 7617, section 2, and RFC 6750, section 2.1
    [("Aladdin:open sesame", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="), ("mF_9.B5f-4.1JqM", "Bearer mF_9.B5f-4.1JqM")],
)
def test_credentials_come_from_the_environment(
    credentials: str, authorization: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving({"/labels": (200, json.dumps(report()).encode())}, authorization) as url:
        assert "credentials" in refused(capsys, url)
        monkeypatch.setenv("LLMWATCH_AUTH", credentials)
        assert main(["labels", url]) == 0


def test_credentials_in_a_url_are_refused_and_not_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(capsys, "http://ada:secret@127.0.0.1:1")

    assert "LLMWATCH_AUTH" in said
    assert "secret" not in said
