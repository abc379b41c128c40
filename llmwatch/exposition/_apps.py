"""The site as an application, WSGI or ASGI, to be mounted anywhere in one of yours."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from llmwatch import _runtime
from llmwatch._aside import aside
from llmwatch.exposition._site import Request, Response, Site, plain

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

_AT_ONCE = 32  # requests that an ASGI application answers at the same time; a WSGI server has its own bound


def wsgi_app() -> Callable[[WSGIEnvironment, StartResponse], Iterable[bytes]]:
    """The page as a WSGI application, to be mounted in one of yours, at `/metrics` or elsewhere.

    It serves what `configure()` has set up last, before or after this is called; until then it answers 503.
    """

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        method = environ["REQUEST_METHOD"]
        bare = "" if environ.get("PATH_INFO") else quote(environ.get("SCRIPT_NAME", ""), encoding="latin-1")
        response = _answer(_wsgi_request(environ), bare)
        start_response(_status_line(response.status), list(_headers(response)))
        return [b"" if method == "HEAD" else response.body]

    return app


def asgi_app() -> Callable[[Any, Any, Any], Awaitable[None]]:
    """The page as an ASGI application, to be mounted in one of yours, at `/metrics` or elsewhere.

    It serves what `configure()` has set up last, before or after this is called; until then it answers 503. The page
    is made on a thread of its own, so that the event loop stays free. Runs on asyncio and on trio.
    """
    return _Asgi()


def current_site() -> Site | None:
    """What the running configuration shows, if that is anything."""
    site = _runtime.current().site
    return site if isinstance(site, Site) else None


def place(mount: str, path: str) -> str:
    """The path below the mount; the mount itself is the page if it is called so.

    Args:
        mount: Where the application is mounted (`SCRIPT_NAME`, `root_path`).
        path: What follows.
    """
    if path in ("", "/") and mount.rstrip("/").endswith("/metrics"):
        return "/metrics"
    return path or "/"


def _answer(request: Request, bare: str) -> Response:
    """The answer to a request; `bare` is the place where this is mounted, when that is all that was asked for."""
    if bare and request.path == "/" and "text/html" in request.headers.get("accept", ""):
        return plain(307, "it is there", ("Location", f"{bare}/"))  # or a browser would look for its files beside it
    site = current_site()
    if site is not None:
        return site.answer(request)
    if request.path == "/healthz":
        return plain(200, "ok")
    if _runtime.current().configured:
        return plain(503, "there is no page: this MeterProvider's readers show the metrics, unless configure(port=...)")
    return plain(503, "llmwatch is not configured yet: call llmwatch.configure() first")


def _headers(response: Response) -> Iterable[tuple[str, str]]:
    return (*response.headers, ("Content-Length", str(len(response.body))))


def _status_line(status: int) -> str:
    from http import HTTPStatus

    return f"{status} {HTTPStatus(status).phrase}"


def _wsgi_request(environ: WSGIEnvironment) -> Request:
    headers = {
        name[5:].replace("_", "-").lower(): value
        for name, value in environ.items()
        if name.startswith("HTTP_") and isinstance(value, str)
    }
    path = place(environ.get("SCRIPT_NAME", ""), environ.get("PATH_INFO", ""))
    return Request(environ["REQUEST_METHOD"], path, environ.get("QUERY_STRING", ""), headers)


def _below(scope: Any) -> tuple[str, str]:
    """Where an ASGI application is mounted, and what follows."""
    mount, path = scope.get("root_path", ""), scope["path"]
    if mount and (path == mount or path.startswith(f"{mount.rstrip('/')}/")):  # since ASGI 2.3 it is part of the path
        path = path[len(mount.rstrip("/")) :]
    return mount, path


def _asgi_request(scope: Any) -> Request:
    headers: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return Request(scope["method"], place(*_below(scope)), scope.get("query_string", b"").decode("latin-1"), headers)


class _Asgi:
    """A class, because Starlette's `Route` takes functions for something else than applications."""

    def __init__(self) -> None:
        self._places = threading.Semaphore(_AT_ONCE)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await self._respond(scope, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
        elif scope["type"] == "lifespan":
            await _live(receive, send)

    async def _respond(self, scope: Any, send: Any) -> None:
        request = _asgi_request(scope)
        mount, path = _below(scope)
        bare = "" if path else quote(mount)
        response = await aside(lambda: self._answered(request, bare), "llmwatch-scrape")
        head = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in _headers(response)]
        body = b"" if request.method == "HEAD" else response.body
        await send({"type": "http.response.start", "status": response.status, "headers": head})
        await send({"type": "http.response.body", "body": body})

    def _answered(self, request: Request, bare: str) -> Response:
        if not self._places.acquire(blocking=False):
            return plain(503, "too many requests at once")
        try:
            return _answer(request, bare)
        finally:
            self._places.release()


async def _live(receive: Any, send: Any) -> None:
    """Nothing is to be done when a server starts or stops, but it waits to hear so."""
    while (message := await receive())["type"] in ("lifespan.startup", "lifespan.shutdown"):
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
