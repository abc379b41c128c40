"""One HTTP request and its response: read whole, answered in pieces with waits, and over when either side goes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from llmwatch.simulate._dialect import BadRequestError, Json

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send


class GoneError(Exception):
    """The client has gone, or the server is closing (`by_vendor`)."""

    def __init__(self, *, by_vendor: bool) -> None:
        super().__init__()
        self.by_vendor = by_vendor


class Exchange:
    """The ASGI messages of one request. Every wait ends at once with `GoneError` when the connection does."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.header_names = frozenset(name.decode("latin-1").lower() for name, _ in scope["headers"])
        self.status = 0
        self._receive = receive
        self._send = send
        self._over = asyncio.Event()
        self._closed_by_vendor = False
        self._watch: asyncio.Task[None] | None = None

    async def read_json(self) -> Json:
        """The request's body; raises BadRequestError when it is not a JSON object."""
        raw = b""
        more = True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise GoneError(by_vendor=False)
            raw += message.get("body", b"")
            more = message.get("more_body", False)
        self._watch = asyncio.create_task(self._wait_for_disconnect())
        try:
            body = json.loads(raw)
        except ValueError:
            body = None
        if not isinstance(body, dict):
            raise BadRequestError("We could not parse the JSON body of your request.")
        return body

    async def pause(self, seconds: float) -> None:
        """Wait, or only let the other side have a turn when there is nothing to wait for."""
        if seconds <= 0:
            await asyncio.sleep(0)
        else:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._over.wait(), seconds)
        if self._over.is_set():
            raise GoneError(by_vendor=self._closed_by_vendor)

    async def begin(self, status: int, headers: Mapping[str, str]) -> None:
        self.status = status
        pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": pairs})

    async def write(self, data: bytes, *, last: bool = False) -> None:
        await self._send({"type": "http.response.body", "body": data, "more_body": not last})

    def close_by_vendor(self) -> None:
        self._closed_by_vendor = True
        self._over.set()

    def release(self) -> None:
        if self._watch is not None:
            self._watch.cancel()

    async def _wait_for_disconnect(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._over.set()
