"""The endpoint: the site on a port of its own."""

from __future__ import annotations

from llmwatch import _runtime
from llmwatch._access import Tls, check_exposure
from llmwatch.exposition._apps import current_site
from llmwatch.exposition._site import Answerer


class Endpoint:
    """A server of the site; close it with `close()`.

    Attributes:
        host: The address that it is bound to.
        port: Its port.
    """

    def __init__(self, site: Answerer, host: str, port: int, tls: Tls | None = None) -> None:
        from llmwatch.exposition._listener import Listener

        self._serving = (site, tls)
        self._asked = (host, port)
        self._listener = Listener(host, port, lambda: self._serving)
        self.host = host
        self.port = self._listener.port

    @property
    def url(self) -> str:
        """Where it is, without a path; the page is at `/metrics` below it."""
        scheme = "https" if self._serving[1] is not None else "http"
        return f"{scheme}://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    def is_at(self, host: str, port: int | None) -> bool:
        """Whether it still serves where it is asked to be: where it was before, or on the port that was found then."""
        return self._listener.alive and host == self._asked[0] and port in (self._asked[1], self.port)

    def show(self, site: Answerer, tls: Tls | None = None) -> None:
        """Serves another site, under another certificate, from the next request on."""
        self._serving = (site, tls)

    def close(self) -> None:
        """Stops serving; again is nothing."""
        self._listener.close()

    def forget(self) -> None:
        """Lets go of what a forked child has inherited, and leaves the parent's connections alone."""
        self._listener.forget()


def serve(port: int = 0, host: str = "127.0.0.1", *, insecure: bool = False) -> Endpoint:
    """Serves the page of the running configuration, with the `auth` and `tls` of that; port 0 picks a free one.

    Raises:
        RuntimeError: Before `configure()` has made a page.
        ValueError: When others could reach the address and nothing guards it, unless `insecure` says that is as wanted.
        OSError: When the address cannot be bound.
    """
    site = current_site()
    if site is None:
        raise RuntimeError("llmwatch has no page to show: call llmwatch.configure() first")
    tls = _runtime.current().tls
    check_exposure(host, guarded=site.guarded or tls is not None, insecure=insecure)
    return Endpoint(site, host, port, tls)
