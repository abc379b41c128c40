"""The front: the live page before a page of metrics, for browsers; whoever else asks sees the metrics as without it."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from llmwatch import _runtime
from llmwatch._instruments import publication_on
from llmwatch._version import __version__
from llmwatch.exposition import Page, Request, Response, Site
from llmwatch.exposition._page import service_of
from llmwatch.exposition._site import Handler, plain, takes_gzip

if TYPE_CHECKING:
    from llmwatch._settings import Settings
    from llmwatch.live import Live
    from llmwatch.live._points import Point

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_GUARDED = (
    ("Content-Security-Policy", _POLICY),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
)
_FILES = ("live.js", "live.css", "live-charts.js")


class Front:
    """The live page's routes: `/` for browsers, `/live`, its files, and `/live.json`.

    Args:
        page: The page whose numbers it shows.
        service: The name of the service, if it has one.
        provider: Where the page reads them.
    """

    def __init__(self, page: Page, service: str | None, provider: Any) -> None:
        self._page = page
        self._service = service
        self._provider = provider
        self._lock = threading.Lock()
        self.behind: Callable[[Request], Response] = lambda _: plain(404, "there is no page of metrics")

    @property
    def routes(self) -> dict[str, Handler]:
        """What it answers."""
        return {
            "/": self._entrance,
            "/live": self._shown,
            "/live.json": self._numbers,
            **{f"/{name}": self._file for name in _FILES},
        }

    def watch(self) -> None:
        """Lets the last hour be remembered from now on, though nobody looks yet."""
        self._live().watch()

    def _entrance(self, request: Request) -> Response:
        if "text/html" in request.headers.get("accept", ""):
            return self._shown(request)
        return self.behind(replace(request, path="/metrics"))

    def _shown(self, request: Request) -> Response:
        if request.path.startswith("/live/"):  # below which the page's own files are not
            return Response(308, (("Location", "../live"), *_GUARDED), b"")
        return _file(request, "live.html")

    def _file(self, request: Request) -> Response:
        return _file(request, request.path.strip("/"))

    def _numbers(self, request: Request) -> Response:
        from llmwatch.live import charts

        team = self._page.team
        facts = {"llmwatch": __version__, "service": self._service, "drawing": charts()}
        workers = None if team is None else _count(team)
        return _answer(request, self._live().document(**facts, workers=workers), "application/json")

    def _live(self) -> Live:
        from llmwatch.live import Live

        with self._lock:
            team, kept = self._page.team, self._page.live
            if kept is None or kept[0] is not team:
                began = _runtime.counting_since() if team is None else None
                kept = self._page.live = (team, Live(self._points, _report, began, _serves))
            remembered: Live = kept[1]
            return remembered

    def _points(self) -> Iterable[Point]:
        """What the page would show of our metrics at this moment."""
        from llmwatch.live._points import of_publication, of_reader

        if (team := self._page.team) is not None:
            return of_reader(team.gather())
        found = publication_on(self._provider).snapshot(self._page.reader)
        return of_reader(self._page.reader.taken()) if found is None else of_publication(found)


def site_of(page: Page, chosen: Settings, provider: Any) -> tuple[Site, Front | None]:
    """The site of a configuration, and the live page before it, unless that is not wanted."""
    if not chosen.live:
        page.live = None
        return Site(page, chosen.auth), None
    front = Front(page, service_of(chosen.service_name, provider), provider)
    site = Site(page, chosen.auth, front.routes)
    front.behind = site.answer
    return site, front


def _serves() -> bool:
    """Whether this process serves a port at the moment; of a team's workers one does."""
    endpoint = _runtime.installed().endpoint
    return bool(getattr(endpoint, "serving", endpoint is not None))


def _report(error: Exception) -> None:
    _runtime.current().shield.report("live", error)


def _count(team: Any) -> int:
    return sum(bool(team.folder.alive(worker)) for worker in team.folder.workers())


def _file(request: Request, name: str) -> Response:
    from llmwatch.live import asset

    found = asset(name)
    if found is None:
        return plain(404, "the charts need pip install 'llmwatch[live]'")
    return _answer(request, found.content, found.content_type, lasting=found.lasting)


def _answer(request: Request, body: bytes, content_type: str, *, lasting: bool = False) -> Response:
    caching = "private, max-age=31536000, immutable" if lasting else "no-store"
    headers = [("Content-Type", content_type), ("Cache-Control", caching), ("Vary", "Accept, Accept-Encoding")]
    if takes_gzip(request.headers.get("accept-encoding", "")):
        squeeze = zlib.compressobj(level=4, wbits=31)  # 31: with the header of gzip
        body = squeeze.compress(body) + squeeze.flush()
        headers.append(("Content-Encoding", "gzip"))
    return Response(200, (*headers, *_GUARDED), body)
