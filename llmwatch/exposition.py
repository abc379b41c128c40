"""Exposition: the page that Prometheus scrapes, over HTTP of its own or inside an application's."""

from __future__ import annotations

import io
import socket
import threading
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TextIO
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from llmwatch import _runtime

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

    from opentelemetry.metrics import MeterProvider
    from prometheus_client import CollectorRegistry

__all__ = ["Endpoint", "Page", "asgi_app", "serve", "wsgi_app"]

_SERIES = 100_000  # our own budgets come first; the SDK's default of 2000 sets an instrument would cut in before them


class Page:
    """One registry of its own, an OpenTelemetry reader in it, and the text that they make.

    Args:
        service_name: The value of `service_name` in `target_info`.
    """

    def __init__(self, service_name: str | None = None) -> None:
        from opentelemetry.exporter.prometheus import PrometheusMetricReader
        from opentelemetry.sdk.metrics import Counter, Histogram, ObservableCounter, ObservableUpDownCounter
        from prometheus_client import CollectorRegistry

        kinds = (Counter, Histogram, ObservableCounter, ObservableUpDownCounter)
        self.registry: CollectorRegistry = CollectorRegistry()
        self.reader = PrometheusMetricReader(
            disable_target_info=True,
            registry=self.registry,
            cardinality_limits=dict.fromkeys(kinds, _SERIES),
            scope_info_enabled=False,
        )
        self._target = _Target(service_name)
        self.registry.register(self._target)
        self._lock = threading.Lock()

    def name(self, service_name: str | None, provider: object = None) -> None:
        """Changes `target_info` to the resource of a provider, under another name if one is given."""
        self._target.rename(service_name, provider)

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """The page, and its content type: OpenMetrics or the plain text format, as the `Accept` header asks.

        One at a time: two concurrent collections of the reader would mix their data.
        """
        from prometheus_client.exposition import choose_encoder

        encode, content_type = choose_encoder(accept)
        with self._lock:
            return encode(self.registry), content_type

    def private_provider(self) -> MeterProvider:
        """A meter provider of our own, read by this page only, and global to nobody."""
        from opentelemetry.sdk.metrics import MeterProvider

        return MeterProvider([self.reader], shutdown_on_exit=False)

    def close(self) -> None:
        """Takes the reader out of the registry."""
        self.reader.shutdown()


class _Target:
    """`target_info`, the resource that the series are from."""

    def __init__(self, service_name: str | None) -> None:
        self.rename(service_name)

    def rename(self, service_name: str | None, provider: object = None) -> None:
        from opentelemetry.sdk.resources import Resource

        resource = getattr(getattr(provider, "_sdk_config", None), "resource", None) or Resource.create()
        if service_name:
            resource = resource.merge(Resource({"service.name": service_name}))
        self._labels = {name.replace(".", "_"): str(value) for name, value in resource.attributes.items()}

    def collect(self) -> Iterable[Any]:
        from prometheus_client.core import InfoMetricFamily

        yield InfoMetricFamily("target", "Target metadata", value=self._labels)


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
        self._server = make_server(host, port, _application(lambda: page), server, _QuietHandler)
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
    return Endpoint(_current_page(), host, port)


def wsgi_app() -> Callable[[WSGIEnvironment, StartResponse], Iterable[bytes]]:
    """The page as a WSGI application, to be mounted in one of yours at `/metrics`."""
    return _application(_current_page)


def asgi_app() -> Callable[[Any, Any, Any], Awaitable[None]]:
    """The page as an ASGI application, to be mounted in one of yours at `/metrics`."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        import asyncio

        if scope["type"] != "http":
            return
        headers = dict(scope["headers"])
        status, kind, body = await asyncio.to_thread(
            _answer, _current_page, scope["method"], "/metrics", headers.get(b"accept", b"").decode("latin-1")
        )
        pairs = (("Content-Type", kind), ("Content-Length", str(len(body))), *_ALLOW)
        head = [(name.lower().encode(), value.encode()) for name, value in pairs]
        await send({"type": "http.response.start", "status": int(status[:3]), "headers": head})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    return app


def _current_page() -> Page:
    page = _runtime.current().page
    if not isinstance(page, Page):
        raise RuntimeError("llmwatch has no page to show: call llmwatch.configure() first")
    return page


def _application(page: Callable[[], Page]) -> Callable[[WSGIEnvironment, StartResponse], Iterable[bytes]]:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        method = environ["REQUEST_METHOD"]
        status, kind, body = _answer(page, method, environ.get("PATH_INFO", ""), environ.get("HTTP_ACCEPT", ""))
        start_response(status, [("Content-Type", kind), ("Content-Length", str(len(body))), *_ALLOW])
        return [b"" if method == "HEAD" else body]

    return app


def _answer(page: Callable[[], Page], method: str, path: str, accept: str) -> tuple[str, str, bytes]:
    if method not in ("GET", "HEAD"):
        return "405 Method Not Allowed", _TEXT, b"GET or HEAD only\n"
    if path.rstrip("/") not in ("", "/metrics"):
        return "404 Not Found", _TEXT, b"the metrics are at /metrics\n"
    try:
        body, kind = page().render(accept)
    except Exception as error:
        _runtime.current().shield.report("page", error)
        return "500 Internal Server Error", _TEXT, b"the metrics cannot be shown\n"
    return "200 OK", kind, body


_TEXT = "text/plain; charset=utf-8"
_ALLOW = (("Allow", "GET, HEAD"),)


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
