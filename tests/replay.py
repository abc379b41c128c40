"""A server on loopback that answers with recorded responses: their status, headers and bytes, framed as they came."""

from __future__ import annotations

import base64
import binascii
import json
import re
import struct
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Iterable

    from corpus_rules import Item


# Google's client decodes signatures, which are base64; the corpus has cut them to some length.
_CUT_SIGNATURE = re.compile(r'("thoughtSignature":\s*)"[^"]*\[truncated \d+ chars\]"')


def wire(item: Item) -> list[bytes]:
    """The body as it goes over the wire: of a stream in one piece for each event."""
    if "sse" not in item:
        body = item["body"] if item["framing"] == "text" else json.dumps(item["body"])
        return [_mended(body).encode()]
    events = [_mended(event) for event in item["sse"]]
    match item["framing"]:
        case "sse" | "ndjson":
            return [(event + item["sse_sep"]).encode() for event in events]
        case "sse-data-payloads":
            return [_named(event).encode() for event in events]
        case "json-array":
            return [("[" if event is events[0] else ",\r\n").encode() + event.encode() for event in events] + [b"]"]
        case "aws-eventstream":
            return [_aws_event(json.loads(event)) for event in events]
    raise ValueError(f"{item['framing']} is not answered over HTTP")


def _mended(text: str) -> str:
    return _CUT_SIGNATURE.sub(r'\1"c2lnbmVk"', text)


def _named(payload: str) -> str:
    """A server-sent event; vendors whose events have a type repeat it as the event's name."""
    event = json.loads(payload)
    kind = event.get("type") or event.get("event_type")
    return f"event: {kind}\ndata: {payload}\n\n" if kind else f"data: {payload}\n\n"


def _aws_event(event: dict[str, Any]) -> bytes:
    (name, content), *others = event.items()
    assert not others
    if isinstance(content.get("bytes"), str):
        content = {**content, "bytes": base64.b64encode(content["bytes"].encode()).decode()}
    return aws_message({":event-type": name, ":message-type": "event"}, json.dumps(content).encode())


def aws_message(headers: dict[str, str], payload: bytes) -> bytes:
    """A message of `application/vnd.amazon.eventstream`: prelude, its CRC, headers, payload, the CRC of it all."""
    packed = b"".join(_aws_header(name, value) for name, value in headers.items())
    prelude = struct.pack("!II", 12 + len(packed) + len(payload) + 4, len(packed))
    message = prelude + struct.pack("!I", binascii.crc32(prelude)) + packed + payload
    return message + struct.pack("!I", binascii.crc32(message))


def _aws_header(name: str, value: str) -> bytes:
    string = 7
    return struct.pack("!B", len(name)) + name.encode() + struct.pack("!BH", string, len(value)) + value.encode()


# Of recordings that kept no headers.
_CONTENT_TYPES = {
    "aws-eventstream": "application/vnd.amazon.eventstream",
    "json": "application/json",
    "json-array": "application/json",
    "ndjson": "application/x-ndjson",
    "sse": "text/event-stream",
    "sse-data-payloads": "text/event-stream",
    "text": "text/plain",
}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length") or 0))
        named = [part for part in re.split(r"[/:?]", unquote(self.path)) if part in self.server.items]
        if len(named) != 1:
            self.send_error(500, f"{self.path} names no item")
            return
        self._answer(self.server.items[named[0]])

    def do_GET(self) -> None:
        self.do_POST()

    def _answer(self, item: Item) -> None:
        pieces = wire(item)
        self.send_response_only(item["status"])
        content_type = item["content_type"] or _CONTENT_TYPES[item["framing"]]
        for name, value in {**item["headers"], "content-type": content_type}.items():
            self.send_header(name, value)
        if "sse" in item:
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            for piece in [*pieces, b""]:
                self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        else:
            self.send_header("content-length", str(len(pieces[0])))
            self._headers_buffer.append(b"\r\n" + pieces[0])
            self.flush_headers()

    def log_message(self, format: str, *args: Any) -> None:
        return


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # clients keep their connections open
    request_queue_size = 512  # all items may be asked for at once
    items: dict[str, Item]

    def handle_error(self, request: Any, client_address: Any) -> None:
        return  # a client that closes its connection before the end of a stream


class Replay:
    """Serves items, each under every path with its id as one of the segments.

    Attributes:
        url: Where it listens.
    """

    def __init__(self, items: Iterable[Item]) -> None:
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.items = {item["id"]: item for item in items}
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def of(self, item: Item) -> str:
        """The base URL under which any request is answered with this item."""
        return f"{self.url}/{item['id']}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
