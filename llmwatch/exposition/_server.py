"""The server of the page: one thread a request, none of which keeps the program alive."""

from __future__ import annotations

import io
import socket
import threading
from contextlib import suppress
from typing import Any, TextIO
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from llmwatch.exposition._apps import application, current_page
from llmwatch.exposition._page import Page


class Endpoint:
    """A server of the page; close it with `close()`.

    Attributes:
        host: The address that it is bound to.
        port: Its port.
        url: Where it is, without a path; the page is at `/metrics` below it.
    """

    def __init__(self, page: Page, host: str, port: int) -> None:
        self._page = page
        self._asked = (host, port)
        server = _ServerV6 if ":" in host else _Server
        self._server = make_server(host, port, application(lambda: page), server, _QuietHandler)
        self.host = host
        self.port = self._server.server_port
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{self.port}"
        self._thread = threading.Thread(target=self._server.run, name="llmwatch-metrics", daemon=True)
        self._thread.start()

    def serves(self, page: Page | None, host: str, port: int | None) -> bool:
        """Whether it still serves this page where it is asked to be."""
        return self._thread.is_alive() and page is self._page and (host, port) == self._asked

    def close(self) -> None:
        """Stops serving; again is nothing."""
        if self._thread.is_alive():
            self._server.stop()
            self._thread.join(1)
        self._server.server_close()


def serve(port: int = 0, host: str = "127.0.0.1") -> Endpoint:
    """Serves the page of the running configuration; port 0 picks a free one.

    Raises:
        RuntimeError: Before `configure()` has made a page.
        OSError: When the address cannot be bound.
    """
    return Endpoint(current_page(), host, port)


class _Server(WSGIServer):
    """One thread a request, none of which keeps the program alive."""

    daemon_threads = True
    request_queue_size = 128
    _stopping = False

    def run(self) -> None:
        """Serves until it is stopped; the default loop wakes up twice a second, and takes as long to stop."""
        while not self._stopping:
            self.handle_request()

    def stop(self) -> None:
        """Ends `run`, which a last connection wakes up."""
        self._stopping = True
        with suppress(OSError):
            socket.create_connection((self.server_name, self.server_port), timeout=1).close()

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._stopping:
            self.shutdown_request(request)
            return
        arguments = (request, client_address)
        threading.Thread(target=self._process, args=arguments, name="llmwatch-scrape", daemon=True).start()

    def _process(self, request: Any, client_address: Any) -> None:
        try:
            self.finish_request(request, client_address)
        except Exception:  # a client that went away, or never spoke HTTP
            self.handle_error(request, client_address)
        finally:
            self.shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """The default prints a traceback into the program's output."""

    def server_bind(self) -> None:
        """As the base class, without its look-up of the host's name, which may ask a name server."""
        import socketserver

        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()


class _ServerV6(_Server):
    address_family = socket.AF_INET6


class _QuietHandler(WSGIRequestHandler):
    timeout = 10  # seconds for a client to say what it wants

    def get_stderr(self) -> TextIO:
        """The default prints a traceback into the program's output when a client stops to read."""
        return io.StringIO()

    def log_message(self, format: str, *args: Any) -> None:
        """The default prints a line for each scrape into the program's output."""
