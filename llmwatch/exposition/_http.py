"""HTTP of one connection: one head is read within bounds, one answer is written, and that is all."""

from __future__ import annotations

import re
import socket
import time
from contextlib import suppress
from email.utils import formatdate
from http import HTTPStatus
from urllib.parse import unquote, urlsplit

from llmwatch.exposition._site import Answerer, Request, Response, plain

_HEAD_BYTES = 16_384  # of a request line and its headers
_FIELDS = 100  # headers
_PIECE = 65_536
_DRAIN = 1.0  # seconds in which what a client still sends is thrown away, so that it can read its answer

_END = re.compile(rb"\r?\n\r?\n")
_LINE = re.compile(r"([A-Z]{1,20}) (\S+) HTTP/1\.[01]")
_NAME = re.compile(r"[-!#$%&'*+.^_`|~0-9A-Za-z]+")  # a token of RFC 9110


class RefusedError(Exception):
    """A request that is not even looked at."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.response = plain(status, text)


def converse(connection: socket.socket, site: Answerer, deadline: float, total_seconds: float) -> None:
    """Reads one request, answers it, and ends the connection in good order; the caller closes it.

    Args:
        connection: An accepted one, with TLS if there is any.
        site: What answers.
        deadline: Until when the client must have said what it wants, however often it says a bit of it (monotonic).
        total_seconds: How long it may take to read the answer.

    Raises:
        OSError: When the client went away, or took longer.
    """
    method, more = "GET", True
    try:
        head, rest = _read_head(connection, deadline)
        request = _parsed(head)
        method = request.method
        more = bool(rest) or not request.headers.keys().isdisjoint(("content-length", "transfer-encoding"))
        response = site.answer(request)
    except RefusedError as refusal:
        response = refusal.response
    _write(connection, response, method, time.monotonic() + total_seconds)
    connection.shutdown(socket.SHUT_WR)
    if more:
        _drain(connection)


def refuse(connection: socket.socket) -> None:
    """Tells a client at once that there are too many, without waiting for anything."""
    connection.setblocking(False)
    with suppress(OSError):
        connection.recv(_PIECE)  # what has come unread would make the answer unreadable
    connection.send(_head(plain(503, "too many connections at once")))
    connection.shutdown(socket.SHUT_WR)


def _read_head(connection: socket.socket, deadline: float) -> tuple[bytes, bytes]:
    """The head of a request, and what has come behind it."""
    received = b""
    while (end := _END.search(received)) is None:
        if len(received) > _HEAD_BYTES:
            raise RefusedError(431, "the head of the request is too large")
        try:
            piece = _receive(connection, deadline)
        except TimeoutError:
            raise RefusedError(408, "the request did not come in time") from None
        if not piece:
            raise RefusedError(400, "the request is not complete") if received else OSError("nothing was said")
        received += piece
    if end.start() > _HEAD_BYTES:
        raise RefusedError(431, "the head of the request is too large")
    return received[: end.start()], received[end.end() :]


def _receive(connection: socket.socket, deadline: float) -> bytes:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    connection.settimeout(left)
    return connection.recv(_PIECE)


def _parsed(head: bytes) -> Request:
    line, *fields = (line.removesuffix("\r") for line in head.decode("latin-1").split("\n"))
    asked = _LINE.fullmatch(line)
    if asked is None:
        raise RefusedError(400, "this is no request of HTTP/1.1")
    if len(fields) > _FIELDS:
        raise RefusedError(431, "there are too many headers")
    headers: dict[str, str] = {}
    for field in fields:
        name, colon, value = field.partition(":")
        if not colon or _NAME.fullmatch(name) is None:
            raise RefusedError(400, "a header is malformed")
        key, stated = name.lower(), value.strip()
        headers[key] = f"{headers[key]}, {stated}" if key in headers else stated
    path, _, query = _origin_form(asked[2]).partition("?")
    return Request(asked[1], unquote(path), query, headers)


def _origin_form(target: str) -> str:
    """The path and query of a request target, also of the form that is sent to proxies."""
    if not target.startswith(("http://", "https://")):
        return target
    try:
        parts = urlsplit(target)
    except ValueError:
        raise RefusedError(400, "the target is malformed") from None
    return f"{parts.path or '/'}?{parts.query}"


def _head(response: Response) -> bytes:
    headers = (
        *response.headers,
        ("Content-Length", str(len(response.body))),
        ("Date", formatdate(usegmt=True)),
        ("Connection", "close"),
    )
    line = f"HTTP/1.1 {response.status} {HTTPStatus(response.status).phrase}\r\n"
    return (line + "".join(f"{name}: {value}\r\n" for name, value in headers) + "\r\n").encode("latin-1")


def _write(connection: socket.socket, response: Response, method: str, deadline: float) -> None:
    """Piece by piece, because TLS counts its timeout anew for each."""
    for part in (_head(response), b"" if method == "HEAD" else response.body):
        unsent = memoryview(part)
        while unsent:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            connection.settimeout(left)
            unsent = unsent[connection.send(unsent[:_PIECE]) :]


def _drain(connection: socket.socket) -> None:
    """Throws away what still comes, a body for instance, within bounds: else a reset would overtake the answer."""
    deadline = time.monotonic() + _DRAIN
    with suppress(OSError):
        for _ in range(16):
            if not _receive(connection, deadline):
                return
