"""The application's web server: uvicorn on loopback, in a thread, from `with` to the end of its block."""

from __future__ import annotations

import socket
import threading
import time
from typing import Self

from fastapi import FastAPI
from uvicorn import Config, Server

HOST = "127.0.0.1"
_PATIENCE = 15.0  # seconds for the server to start, or to stop


class Serving:
    """Serves an application; after the block no request is under way any more.

    Args:
        app: What is served.
        port: Where, if it can be had; else a free one.

    Attributes:
        url: Where it is.
    """

    def __init__(self, app: FastAPI, port: int) -> None:
        # asyncio turns Nagle's algorithm off only where the protocol is explicit; with it an answer takes 40 ms more.
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            self._socket.bind((HOST, port))
        except (OSError, OverflowError):
            self._socket.bind((HOST, 0))
        self.url = f"http://{HOST}:{self._socket.getsockname()[1]}"
        self._server = Server(Config(app, ws="none", lifespan="on", log_config=None, access_log=False))
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), name="llmwatch-demo-web")

    def __enter__(self) -> Self:
        self._thread.start()
        deadline = time.monotonic() + _PATIENCE
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline:
                raise RuntimeError("the demo's application did not start")
            time.sleep(0.002)
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stops when nothing is under way any more. Idempotent."""
        self._server.should_exit = True
        self._thread.join(_PATIENCE)
        self._socket.close()
