"""The endpoint among strangers: what they send does no harm, prints nothing and leaves nothing behind."""

from __future__ import annotations

import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection
from pathlib import Path

import pytest
import trustme
from recording import answering, apart, parsed
from test_exposition import MALFORMED, ask, poke

import llmwatch
from llmwatch.exposition import Endpoint, Request, Response

GET = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
OURS = ("llmwatch-metrics", "llmwatch-scrape")


@pytest.fixture(autouse=True)
def program() -> Iterator[None]:
    with apart():
        yield


def descriptors() -> set[tuple[str, str]]:
    """The process's open sockets and selectors, by number."""
    found = set()
    for number in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{number}")
        except OSError:  # that of the listing itself
            continue
        if target.startswith(("socket:", "anon_inode:[eventpoll]")):
            found.add((number, target))
    return found


def threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name in OURS}


def settled(condition: Callable[[], bool]) -> bool:
    """Whether something comes true that another thread is about to do."""
    deadline = time.monotonic() + 20
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


@pytest.fixture
def nothing_left(capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """After the test and a shutdown no descriptor, no thread and no word of output is there that was not before."""
    sockets, running = descriptors(), threads()
    yield
    llmwatch.shutdown()
    assert settled(lambda: threads() <= running)
    assert settled(lambda: descriptors() <= sockets)
    assert capfd.readouterr() == ("", "")


ASSAULTS = MALFORMED | {
    "a bare line feed": b"GET /metrics HTTP/1.1\n\n",
    "a header of 20 kB": b"GET /metrics HTTP/1.1\r\nX: " + b"y" * 20_000 + b"\r\n\r\n",
    "megabytes of headers": b"GET /metrics HTTP/1.1\r\n" + b"X: y\r\n" * 500_000,
    "a folded header": b"GET /metrics HTTP/1.1\r\nX: y\r\n z\r\n\r\n",
    "a space before the colon": b"GET /metrics HTTP/1.1\r\nX : y\r\n\r\n",
    "a body of a megabyte": b"POST /metrics HTTP/1.1\r\nContent-Length: 1048576\r\n\r\n" + b"z" * 1_048_576,
    "chunks": b"GET /metrics HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nfffffff\r\n",
    "a hundred requests at once": GET * 100,
    "a request inside a body": b"GET /x HTTP/1.1\r\nContent-Length: 40\r\n\r\nGET /metrics HTTP/1.1\r\n\r\n",
    "a path that climbs": b"GET /../../etc/passwd HTTP/1.1\r\n\r\n",
    "an encoded path that climbs": b"GET /%2e%2e/%2e%2e/etc/passwd%00 HTTP/1.1\r\n\r\n",
    "an address as target": b"GET http://[::1 HTTP/1.1\r\n\r\n",
    "CONNECT": b"CONNECT example.org:443 HTTP/1.1\r\n\r\n",
    "an asterisk": b"OPTIONS * HTTP/1.1\r\n\r\n",
    "NULs": bytes(4096),
    "an upgrade": b"GET /metrics HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
    "an expectation": b"POST /metrics HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
}


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize("assault", ASSAULTS)
def test_whatever_is_sent_others_are_answered(assault: str) -> None:
    port = llmwatch.configure(port=0).port
    answering(feature="chat")()
    received = poke(port, ASSAULTS[assault])

    assert received[:8] in (b"", b"HTTP/1.1")
    assert received.count(b"HTTP/1.1 ") <= 1
    assert b"root:" not in received
    assert parsed(ask(port)[2]).total("ai_requests", status="success") == 1


STATUSES = {
    "no path": b"400",
    "a version that does not exist": b"400",
    "a TLS greeting": b"400",
    "a line without end": b"431",
    "a thousand headers": b"431",
    "a header of 20 kB": b"431",
    "megabytes of headers": b"431",
    "a folded header": b"400",
    "a space before the colon": b"400",
    "a header without a colon": b"400",
    "a body of a megabyte": b"405",
    "CONNECT": b"405",
    "an asterisk": b"405",
    "a path that climbs": b"404",
    "an encoded path that climbs": b"404",
    "a hundred requests at once": b"200",
    "a bare line feed": b"200",
    "an upgrade": b"200",
}


@pytest.mark.parametrize("assault", STATUSES)
def test_a_request_that_is_not_served_is_told_why(assault: str) -> None:
    port = llmwatch.configure(port=0).port

    assert poke(port, ASSAULTS[assault]).split(b" ", 2)[1] == STATUSES[assault]


@pytest.mark.usefixtures("nothing_left")
def test_a_client_that_sends_its_request_letter_by_letter_is_cut_off_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmwatch.exposition._listener._HEAD_SECONDS", 0.5)
    port = llmwatch.configure(port=0).port
    sent = 0
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.settimeout(0.05)
        answer = b""
        for letter in GET * 100:  # at that rate for three minutes
            client.sendall(bytes([letter]) if letter not in b"\r\n" else b"x")
            sent += 1
            try:
                answer = client.recv(100)
            except TimeoutError:
                continue
            break

    assert answer.startswith(b"HTTP/1.1 408 ")
    assert sent < len(GET * 100)


@pytest.mark.usefixtures("nothing_left")
def test_a_client_that_reads_its_answer_letter_by_letter_is_cut_off_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmwatch.exposition._listener._TOTAL_SECONDS", 0.5)

    class Large:
        def answer(self, _: Request) -> Response:
            return Response(200, (), b"x" * 50_000_000)

    received = 0
    with (
        closing(Endpoint(Large(), "127.0.0.1", 0)) as endpoint,
        socket.create_connection(("127.0.0.1", endpoint.port), timeout=20) as client,
    ):
        client.sendall(GET)
        scrapes = [thread for thread in threads() if thread.name == "llmwatch-scrape"]
        while any(thread.is_alive() for thread in scrapes):
            received += len(client.recv(1))
            time.sleep(0.001)

    assert received < 50_000_000


@pytest.mark.usefixtures("nothing_left")
def test_beyond_its_bound_of_connections_a_client_is_refused_at_once_and_served_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("llmwatch.exposition._listener._AT_ONCE", 4)
    port = llmwatch.configure(port=0).port
    before = threads()
    with ExitStack() as clients:
        for _ in range(4):
            clients.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20))
        assert settled(lambda: len(threads() - before) == 4)
        refused = [poke(port, GET) for _ in range(20)]

        assert {answer.split(b"\r\n")[0] for answer in refused} == {b"HTTP/1.1 503 Service Unavailable"}
        assert len(threads() - before) == 4
    assert settled(lambda: not threads() - before)

    assert ask(port)[0] == 200


@pytest.mark.usefixtures("nothing_left")
def test_clients_that_come_and_go_by_the_hundred_leave_nothing() -> None:
    port = llmwatch.configure(port=0).port
    for number in range(300):
        with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
            if number % 3:
                client.sendall(GET[: number % len(GET)])
            if number % 5 == 0:  # ends with a reset instead of in good order
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")

    assert settled(lambda: ask(port)[0] == 200)


@pytest.mark.usefixtures("nothing_left")
def test_closing_ends_the_connections_that_are_open() -> None:
    before = threads()
    configuration = llmwatch.configure(port=0)
    with socket.create_connection(("127.0.0.1", configuration.port), timeout=20) as client:
        client.sendall(b"GET /metr")
        assert settled(lambda: len(threads() - before) == 2)
        configuration.close()

        assert client.recv(1000)[:13] in (b"", b"HTTP/1.1 400 ")


# --- TLS


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def secured(authority: trustme.CA, tmp_path: Path) -> tuple[int, ssl.SSLContext]:
    """The port of a program that serves over TLS, and what its clients trust."""
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    for blob in certificate.cert_chain_pems:
        blob.write_to_path(tmp_path / "cert.pem", append=True)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    return llmwatch.configure(port=0, tls=(tmp_path / "cert.pem", tmp_path / "key.pem")).port, trusting


def tls_page(port: int, trusting: ssl.SSLContext) -> str:
    connection = HTTPSConnection("127.0.0.1", port, timeout=20, context=trusting)
    try:
        connection.request("GET", "/metrics")
        return connection.getresponse().read().decode()
    finally:
        connection.close()


@pytest.mark.usefixtures("nothing_left")
def test_over_tls_the_page_is_the_same_and_older_protocols_than_1_2_are_not_spoken(
    secured: tuple[int, ssl.SSLContext],
) -> None:
    port, trusting = secured
    answering(feature="chat")()

    assert parsed(tls_page(port, trusting)).total("ai_requests", status="success") == 1
    with (
        socket.create_connection(("127.0.0.1", port), timeout=20) as plain,
        trusting.wrap_socket(plain, server_hostname="127.0.0.1") as connection,
    ):
        assert connection.version() in ("TLSv1.2", "TLSv1.3")


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize("assault", [*ASSAULTS, "an ordinary request"])
def test_what_is_no_tls_on_a_port_with_tls_does_no_harm(secured: tuple[int, ssl.SSLContext], assault: str) -> None:
    port, trusting = secured
    received = poke(port, ASSAULTS.get(assault, GET))

    assert b"ai_" not in received
    assert "llmwatch_build_info" in tls_page(port, trusting)


@pytest.mark.usefixtures("nothing_left")
def test_a_client_that_never_ends_its_handshake_is_cut_off_in_time(
    secured: tuple[int, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmwatch.exposition._listener._HEAD_SECONDS", 0.5)
    port, trusting = secured
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(b"\x16\x03\x01")

        assert client.recv(100) in (b"", b"\x15\x03\x03\x00\x02\x02\x28")
    assert "llmwatch_build_info" in tls_page(port, trusting)


@pytest.mark.usefixtures("nothing_left")
def test_a_client_with_another_idea_of_trust_does_no_harm(secured: tuple[int, ssl.SSLContext]) -> None:
    port, trusting = secured
    with pytest.raises(ssl.SSLCertVerificationError):
        tls_page(port, ssl.create_default_context())

    assert "llmwatch_build_info" in tls_page(port, trusting)


def response_of(connection: HTTPConnection) -> HTTPResponse:
    connection.request("GET", "/metrics")
    return connection.getresponse()


@pytest.mark.usefixtures("nothing_left")
def test_a_client_that_keeps_connections_gets_each_answer_all_the_same() -> None:
    port = llmwatch.configure(port=0).port
    with closing(HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
        pages = [response_of(connection).read() for _ in range(5)]

    assert len({page.count(b"llmwatch_build_info{") for page in pages}) == 1
