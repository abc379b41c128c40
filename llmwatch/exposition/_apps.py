"""The page as an application, WSGI or ASGI: which request gets which answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any

from llmwatch import _runtime
from llmwatch.exposition._page import Page

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment


def wsgi_app() -> Callable[[WSGIEnvironment, StartResponse], Iterable[bytes]]:
    """The page as a WSGI application, to be mounted in one of yours at `/metrics`."""
    return application(current_page)


def asgi_app() -> Callable[[Any, Any, Any], Awaitable[None]]:
    """The page as an ASGI application, to be mounted in one of yours at `/metrics`."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        import asyncio

        if scope["type"] != "http":
            return
        headers = dict(scope["headers"])
        status, kind, body = await asyncio.to_thread(
            _answer, current_page, scope["method"], "/metrics", headers.get(b"accept", b"").decode("latin-1")
        )
        pairs = (("Content-Type", kind), ("Content-Length", str(len(body))), *_ALLOW)
        head = [(name.lower().encode(), value.encode()) for name, value in pairs]
        await send({"type": "http.response.start", "status": int(status[:3]), "headers": head})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    return app


def current_page() -> Page:
    page = _runtime.current().page
    if not isinstance(page, Page):
        raise RuntimeError("llmwatch has no page to show: call llmwatch.configure() first")
    return page


def application(page: Callable[[], Page]) -> Callable[[WSGIEnvironment, StartResponse], Iterable[bytes]]:
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
