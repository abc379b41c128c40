"""The listener: accepts connections and gives each a thread, up to a bound; none of them keeps the program alive."""

from __future__ import annotations

import math
import os
import selectors
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from weakref import WeakSet

from llmwatch._access import Tls
from llmwatch.exposition._http import converse, refuse
from llmwatch.exposition._site import Answerer

_AT_ONCE = 32  # connections, each with a thread; those beyond are refused at once
_HEAD_SECONDS = 5.0  # for a client to say what it wants, the handshake of TLS included
_TOTAL_SECONDS = 30.0  # and to read its answer
_LINGER = 0.5  # seconds that a refused client has to read so
_GRACE = 1.0  # seconds that connections have to end by themselves when the listener is closed


class Listener:
    """A listening socket, and all connections that came through it.

    Args:
        host: The address to listen on.
        port: The port; 0 picks a free one.
        serving: What answers at the moment, and the certificate, if there is one.

    Raises:
        OSError: When the address cannot be bound.
    """

    def __init__(self, host: str, port: int, serving: Callable[[], tuple[Answerer, Tls | None]]) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        both = host == "::" and socket.has_dualstack_ipv6()
        self._listening = socket.create_server((host, port), family=family, backlog=128, dualstack_ipv6=both)
        self._listening.setblocking(False)
        self.port: int = self._listening.getsockname()[1]
        self._wake, self._woken = socket.socketpair()
        self._serving = serving
        self._stopping = threading.Event()
        self._changed = threading.Condition()
        self._open: set[socket.socket] = set()
        self._refused: deque[tuple[float, socket.socket]] = deque()
        self._process = os.getpid()
        self._thread = threading.Thread(target=self._accept_all, name="llmwatch-metrics", daemon=True)
        self._thread.start()
        _listeners.add(self)

    @property
    def alive(self) -> bool:
        """Whether it still accepts connections."""
        return self._thread.is_alive() and not self._stopping.is_set()

    def close(self) -> None:
        """Stops accepting, gives open connections a second to end, and cuts the rest."""
        if os.getpid() != self._process:
            self.forget()
        if not self._thread.is_alive():
            return
        self._stopping.set()
        with suppress(OSError):
            self._wake.send(b"\0")
        self._thread.join(_GRACE)
        self._listening.close()
        with self._changed:
            self._changed.wait_for(lambda: not self._open, _GRACE)
            left = list(self._open)
        for connection in left:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._wake.close()
        self._woken.close()

    def forget(self) -> None:
        """Closes what a forked child has inherited; the parent's connections go on."""
        for inherited in (self._listening, self._wake, self._woken, *self._open, *(each for _, each in self._refused)):
            with suppress(OSError):
                inherited.close()
        self._open = set()

    def _accept_all(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._listening, selectors.EVENT_READ)
            selector.register(self._woken, selectors.EVENT_READ)
            while not self._stopping.is_set():
                selector.select(_LINGER if self._refused else None)
                self._let_go(time.monotonic() - _LINGER)
                try:
                    connection, _ = self._listening.accept()
                except (BlockingIOError, ConnectionError):
                    continue
                except OSError:  # the process has no descriptor left: it would be told of this client again at once
                    self._stopping.wait(0.1)
                    continue
                self._take(connection)
            self._let_go(math.inf)

    def _take(self, connection: socket.socket) -> None:
        with self._changed:
            room = len(self._open) < _AT_ONCE and not self._stopping.is_set()
            if room:
                self._open.add(connection)
        try:
            if room:
                threading.Thread(target=self._serve, args=(connection,), name="llmwatch-scrape", daemon=True).start()
                return
        except RuntimeError:  # the process can have no more threads
            with self._changed:
                self._open.discard(connection)
        self._refuse(connection)

    def _refuse(self, connection: socket.socket) -> None:
        """Answers at once, and hangs up a little later: a request that came then would make the answer unreadable."""
        if self._serving()[1] is None:
            with suppress(OSError):
                refuse(connection)
        self._refused.append((time.monotonic(), connection))
        if len(self._refused) > _AT_ONCE:
            self._refused.popleft()[1].close()

    def _let_go(self, before: float) -> None:
        while self._refused and self._refused[0][0] <= before:
            self._refused.popleft()[1].close()

    def _serve(self, connection: socket.socket) -> None:
        deadline = time.monotonic() + _HEAD_SECONDS
        site, tls = self._serving()
        try:
            if tls is not None:
                connection = self._wrapped(connection, tls.context)
                connection.settimeout(_HEAD_SECONDS)
                connection.do_handshake()
            converse(connection, site, deadline, _TOTAL_SECONDS)
        except Exception:  # a client that went away, was too slow, or never spoke HTTP or TLS: nobody's business
            return
        finally:
            self._drop(connection)

    def _wrapped(self, connection: socket.socket, context: ssl.SSLContext) -> ssl.SSLSocket:
        """The connection with TLS, which takes the other one's place and descriptor."""
        with self._changed:
            self._open.discard(connection)
            secured = context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
            self._open.add(secured)
        return secured

    def _drop(self, connection: socket.socket) -> None:
        connection.close()
        with self._changed:
            self._open.discard(connection)
            self._changed.notify_all()


_listeners: WeakSet[Listener] = WeakSet()


def _forget_all() -> None:
    for listener in [*_listeners]:
        listener.forget()


if hasattr(os, "register_at_fork"):  # a child that holds a port would keep it when the parent is gone
    os.register_at_fork(after_in_child=_forget_all)
