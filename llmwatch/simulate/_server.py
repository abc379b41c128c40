"""The simulated vendors' loopback web server: Starlette under uvicorn in a daemon thread. Needs the extra `demo`."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
import time
from collections.abc import Iterable
from typing import Any

from starlette.applications import Starlette
from starlette.routing import Route
from starlette.types import Receive, Scope, Send
from uvicorn import Config, Server
from uvicorn.protocols.http.h11_impl import H11Protocol

from llmwatch.simulate._account import Account
from llmwatch.simulate._conversation import Conversation
from llmwatch.simulate._dialect import Api
from llmwatch.simulate._exchange import Exchange
from llmwatch.simulate._ledger import Ledger

_logger = logging.getLogger("llmwatch.simulate")
# Breaking off a response is what a broken stream is; uvicorn would call each one an error.
_logger.addFilter(lambda record: "ASGI callable returned without" not in record.getMessage())
_START_TIMEOUT = 10.0
_STOP_TIMEOUT = 10.0
_KEEP_ALIVE = 60  # longer than the clients keep idle connections, so that they never meet one that has just closed


class _QuietProtocol(H11Protocol):
    """uvicorn's HTTP protocol with a logger of ours, so that nobody's logging configuration is touched."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.logger = _logger
        self.access_log = False


class _Endpoint:
    """One API of one vendor as an ASGI application."""

    def __init__(self, api: Api, account: Account, host: LoopbackServer) -> None:
        self._api = api
        self._account = account
        self._host = host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        host = self._host
        exchange = Exchange(scope, receive, send)
        host.enter(exchange)
        try:
            await Conversation(exchange, self._api, self._account, host.ledger, host.time_scale).run()
        finally:
            exchange.release()
            host.leave(exchange)


class LoopbackServer:
    """Serves all vendors on one free port of 127.0.0.1 from construction until `close()`."""

    def __init__(self, accounts: Iterable[Account], ledger: Ledger, time_scale: float) -> None:
        self.ledger = ledger
        self.time_scale = time_scale
        self._exchanges: set[Exchange] = set()
        self._closing = False
        self._loop: asyncio.AbstractEventLoop | None = None
        routes = [
            Route(api.path, _Endpoint(api, account, self), methods=["POST"])
            for account in accounts
            for api in account.dialect.apis
        ]
        self._server = Server(_config(Starlette(routes=routes)))
        # asyncio turns Nagle's algorithm off only where the protocol is explicit; with it an answer takes 40 ms more.
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._socket.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._run, name="llmwatch-simulated-vendors", daemon=True)
        self._thread.start()
        self._wait_until_started()

    def close(self) -> None:
        """End what is under way, stop, and wait for the thread. Idempotent."""
        self._server.should_exit = True
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._end_all)
        self._thread.join(_STOP_TIMEOUT)

    def enter(self, exchange: Exchange) -> None:
        self.ledger.opened()
        self._exchanges.add(exchange)
        if self._closing:
            exchange.close_by_vendor()

    def leave(self, exchange: Exchange) -> None:
        self._exchanges.discard(exchange)
        self.ledger.closed()

    def hang_up(self) -> None:
        """End what is under way and go on serving."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._end_exchanges)

    def _end_all(self) -> None:
        self._closing = True
        self._end_exchanges()

    def _end_exchanges(self) -> None:
        for exchange in self._exchanges:
            exchange.close_by_vendor()

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        await self._server.serve(sockets=[self._socket])

    def _wait_until_started(self) -> None:
        deadline = time.monotonic() + _START_TIMEOUT
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline:
                raise RuntimeError("the simulated vendors' server did not start")
            time.sleep(0.002)


def _config(app: Starlette) -> Config:
    return Config(
        app,
        http=_QuietProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE,
        timeout_graceful_shutdown=1,
    )
