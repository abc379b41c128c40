"""The truth about what the simulated vendors served, kept apart from anything that llmwatch measures."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Literal

Ending = Literal["ok", "error", "broken", "client_gone"]


@dataclass(frozen=True, slots=True)
class Served:
    """One HTTP request that a simulated vendor dealt with; a client's retry is a request of its own.

    Token counts are inclusive totals of what the response had said about usage when it ended: input includes what was
    read from and written to the cache, output includes reasoning. None is what the response never said.
    """

    provider: str
    api: str
    """`chat`, `responses`, `embeddings` or `messages`."""
    model: str | None
    """As requested; None when the request named none."""
    response_model: str | None
    """As the response named it; None when it named none."""
    status: int
    """HTTP status; 0 when the client had gone before there was one."""
    streamed: bool
    outcome: Ending
    """`error` is an HTTP error or an error inside a stream, `broken` a connection that the vendor broke."""
    error: str | None = None
    """With `error`: its kind, one of `OUTCOMES`."""
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None


class Ledger:
    """What was served, in the order in which it ended, and how many requests are under way. Thread-safe."""

    def __init__(self) -> None:
        self._served: list[Served] = []
        self._open = 0
        self._changed = threading.Condition()

    def opened(self) -> None:
        with self._changed:
            self._open += 1

    def closed(self) -> None:
        with self._changed:
            self._open -= 1
            self._changed.notify_all()

    def add(self, served: Served) -> None:
        with self._changed:
            self._served.append(served)

    def entries(self) -> tuple[Served, ...]:
        with self._changed:
            return tuple(self._served)

    def wait_idle(self, timeout: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self._open == 0, timeout)
