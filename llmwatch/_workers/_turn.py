"""Whose turn it is to serve: of all workers one has the port, and another takes over when it is gone."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

from llmwatch._workers._folder import Folder, Held

_EVERY = 0.5  # seconds


class Served(Protocol):
    """What serves the page on a port."""

    @property
    def url(self) -> str:
        """Where it is."""

    def is_at(self, host: str, port: int | None) -> bool:
        """Whether it still serves where it is asked to be."""

    def show(self, site: Any, tls: Any = None) -> None:
        """Serves something else from the next request on."""

    def close(self) -> None:
        """Stops serving."""

    def forget(self) -> None:
        """Lets go of what a forked child has inherited."""


class Turn:
    """A port that one of the workers serves at a time; used as what serves it.

    Args:
        folder: Where the workers meet.
        make: Starts to serve a site under a certificate, or raises `OSError`.
        at: The host and the port.
        shown: The site and the certificate.
        url: Where the page is, whoever serves it.
        warn: Takes a message when somebody has the port who is none of the workers.

    Attributes:
        folder: Where the workers meet.
        host: The address that is served, by whichever of them.
        port: Its port.
        url: Where the page is.

    Raises:
        OSError: When the address cannot be bound for another reason than that it is taken.
    """

    def __init__(
        self,
        folder: Folder,
        make: Callable[[Any, Any], Served],
        at: tuple[str, int],
        shown: tuple[Any, Any],
        url: str,
        warn: Callable[[str], None],
    ) -> None:
        self.host, self.port = at
        self.url = url
        self.folder = folder
        self._make = make
        self._shown = shown
        self._warn = warn
        self._warned = False
        self._served: Served | None = None
        self._held: Held | None = None
        self._lock = threading.Lock()
        self._stop = threading.Event()
        if not self._take():
            with suppress(RuntimeError):  # no thread can be started: the others are there
                threading.Thread(target=self._wait, name="llmwatch-turn", daemon=True).start()

    @property
    def serving(self) -> bool:
        """Whether it is this process's turn."""
        return self._served is not None

    def is_at(self, host: str, port: int | None) -> bool:
        """Whether it serves there, or waits for that."""
        if self._stop.is_set() or (host, port) != (self.host, self.port):
            return False
        return self._served is None or self._served.is_at(host, port)

    def show(self, site: Any, tls: Any = None) -> None:
        """Serves another site, under another certificate, now or later."""
        with self._lock:
            self._shown = (site, tls)
            if self._served is not None:
                self._served.show(site, tls)

    def close(self) -> None:
        """Stops serving, and waiting for it; again is nothing."""
        self._stop.set()
        with self._lock:
            if self._served is not None:
                self._served.close()
            self._release()
            self._served = None

    def forget(self) -> None:
        """In a forked child: the port is the parent's."""
        self._stop, self._lock = threading.Event(), threading.Lock()
        self._stop.set()
        if self._served is not None:
            self._served.forget()
        if self._held is not None:
            self._held.close()
        self._served = self._held = None

    def _wait(self) -> None:
        while not self._stop.wait(_EVERY):
            with suppress(OSError):
                if self._take():
                    return

    def _take(self) -> bool:
        """Serves if nobody else does; whether there is nothing left to wait for."""
        with self._lock:
            if self._stop.is_set():
                return True
            try:
                self._hold()
            except OSError:  # another worker serves; or the folder is not there, which is the affair of others
                return False
            try:
                self._served = self._make(*self._shown)
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    self._release()
                    raise
                self._complain()
            return self._served is not None

    def _hold(self) -> None:
        if self._held is None or not self._held.in_place:
            self._release()
            self._held = Held(self.folder.path / f"port-{self.port}.lock")

    def _release(self) -> None:
        if self._held is not None:
            self._held.release()
        self._held = None

    def _complain(self) -> None:
        if not self._warned:
            self._warned = True
            self._warn(
                f"port {self.port} is taken, and not by one of the workers in {self.folder.path}; "
                "the page is served there as soon as it is free"
            )
