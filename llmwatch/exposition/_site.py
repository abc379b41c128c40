"""The site: which request gets which answer, whoever serves it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from llmwatch import _runtime
from llmwatch.exposition._flight import Flights

if TYPE_CHECKING:
    from llmwatch._access import Auth
    from llmwatch.exposition._page import Page


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked for.

    Attributes:
        method: In capitals.
        path: Decoded, below the place where the site is mounted; it begins with a slash.
        query: What follows the question mark, as it came.
        headers: By name in small letters; a repeated one is joined by commas.
    """

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Response:
    """What is answered; the server adds the length, and leaves the body out where the method was HEAD.

    Attributes:
        status: The HTTP status code.
        headers: Pairs of name and value.
        body: All of it.
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


Handler = Callable[[Request], Response]


class Answerer(Protocol):
    """What makes answers out of requests, and never raises: a `Site`."""

    def answer(self, request: Request) -> Response:
        """The answer to a request."""


class Site:
    """A page, and what else there is to read beside it.

    Args:
        page: What `/metrics` shows.
        auth: What each request must bring, except those for `/healthz`; `None` lets everybody in.
        routes: More paths, each with what answers requests for it; nothing it raises gets out.
    """

    def __init__(self, page: Page, auth: Auth | None = None, routes: Mapping[str, Handler] | None = None) -> None:
        self.page = page
        self._auth = auth
        self._more = dict(routes or {})
        self._rendered: Flights[_Rendered] = Flights()
        self._routes: dict[str, Handler] = {
            "/": self._metrics,
            "/metrics": self._metrics,
            "/labels": _labels,
            **self._more,
        }

    @property
    def guarded(self) -> bool:
        """Whether it asks for credentials."""
        return self._auth is not None

    def over(self, page: Page) -> Site:
        """The same site with another page, as a forked child needs it."""
        return Site(page, self._auth, self._more)

    def answer(self, request: Request) -> Response:
        """The answer to a request. Never raises, and shows nothing of what went wrong."""
        try:
            return self._answer(request)
        except Exception as error:
            _runtime.current().shield.report("page", error)
            return plain(500, "this cannot be shown at the moment; the program's log says why")

    def _answer(self, request: Request) -> Response:
        if request.path == "/healthz" and request.method in _METHODS:
            return plain(200, "ok")
        if self._auth is not None and not self._auth.admits(request.headers.get("authorization", "")):
            return plain(401, "credentials are needed here", ("WWW-Authenticate", self._auth.challenge))
        if request.method not in _METHODS:
            return plain(405, "GET or HEAD only", ("Allow", "GET, HEAD"))
        handler = self._routes.get(request.path.rstrip("/") or "/")
        return handler(request) if handler is not None else plain(404, "the metrics are at /metrics")

    def _metrics(self, request: Request) -> Response:
        accept = request.headers.get("accept", "")
        rendered = self._rendered.shared(_format(accept), lambda: _Rendered(*self.page.render(accept)))
        headers = [("Content-Type", rendered.content_type), ("Vary", "Accept, Accept-Encoding"), *_SAFE]
        if not takes_gzip(request.headers.get("accept-encoding", "")):
            return Response(200, tuple(headers), rendered.body)
        return Response(200, (*headers, ("Content-Encoding", "gzip")), rendered.gzipped())


def plain(status: int, text: str, *headers: tuple[str, str]) -> Response:
    """A line of text."""
    return Response(status, (("Content-Type", "text/plain; charset=utf-8"), *_SAFE, *headers), f"{text}\n".encode())


_METHODS = ("GET", "HEAD")
_SAFE = (("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff"))


class _Rendered:
    """A page as bytes, which all who asked for it meanwhile share."""

    def __init__(self, body: bytes, content_type: str) -> None:
        self.body = body
        self.content_type = content_type
        self._gzipped: bytes | None = None

    def gzipped(self) -> bytes:
        if self._gzipped is None:
            import zlib

            squeeze = zlib.compressobj(level=4, wbits=31)  # 31: with the header of gzip
            self._gzipped = squeeze.compress(self.body) + squeeze.flush()
        return self._gzipped


def _format(accept: str) -> str:
    """What tells the format that an `Accept` header gets from others: its content type."""
    from prometheus_client.exposition import choose_encoder

    return choose_encoder(accept)[1]


def takes_gzip(accept_encoding: str) -> bool:
    """Whether an `Accept-Encoding` header allows gzip (RFC 9110, 12.5.3)."""
    weights = {}
    for entry in accept_encoding.lower().split(","):
        coding, _, parameter = entry.partition(";")
        weights[coding.strip()] = parameter.strip().removeprefix("q=") or "1"
    weight = next((weights[coding] for coding in ("gzip", "x-gzip", "*") if coding in weights), "0")
    return weight.strip("0. ") != ""


def _labels(request: Request) -> Response:
    report = getattr(_runtime.current().recorder, "label_report", None)
    if report is None:
        return plain(404, "there is no report of the labels")
    body = json.dumps(report(), default=str).encode()
    return Response(200, (("Content-Type", "application/json"), *_SAFE), body)
