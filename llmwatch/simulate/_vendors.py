"""`Vendors`: the simulated vendors as their users see them."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Self

from llmwatch.simulate._account import Account
from llmwatch.simulate._anthropic import ANTHROPIC
from llmwatch.simulate._behaviour import Behaviour, Outcome
from llmwatch.simulate._ledger import Ledger, Served
from llmwatch.simulate._openai import OPENAI

if TYPE_CHECKING:
    from llmwatch.simulate._server import LoopbackServer

_DIALECTS = {dialect.provider: dialect for dialect in (OPENAI, ANTHROPIC)}
_MISSING = "the simulated vendors need starlette and uvicorn: pip install 'llmwatch[demo]'"


class Vendors:
    """`openai` and `anthropic` on one port of 127.0.0.1, from `start()` (or `with`) to `close()`.

    Sizes, latencies and faults hang on nothing but `seed`, the provider and how many requests it has had.
    `time_scale` multiplies latencies and gaps (0 for none); rate limits and retry-after are always in real time.
    Any API key is taken, any model name known.
    Raises ValueError for an unknown provider or a time scale that cannot be meant.
    """

    def __init__(
        self, seed: int = 0, behaviours: Mapping[str, Behaviour] | None = None, time_scale: float = 1.0
    ) -> None:
        if not time_scale >= 0:
            raise ValueError(f"time_scale={time_scale!r} must not be negative")
        chosen = dict(behaviours or {})
        for provider in chosen:
            _check_provider(provider)
        self._accounts = {
            provider: Account(dialect, seed, chosen.get(provider, Behaviour()))
            for provider, dialect in _DIALECTS.items()
        }
        self._ledger = Ledger()
        self._time_scale = time_scale
        self._server: LoopbackServer | None = None

    def start(self) -> None:
        """Serve. Raises ImportError without the extra `demo`, RuntimeError when it serves already."""
        try:
            from llmwatch.simulate._server import LoopbackServer
        except ImportError as missing:
            raise ImportError(_MISSING) from missing
        if self._server is not None:
            raise RuntimeError("the simulated vendors are running already")
        self._server = LoopbackServer(self._accounts.values(), self._ledger, self._time_scale)

    def close(self) -> None:
        """Break off what is under way and stop. What was served stays readable. Idempotent."""
        server, self._server = self._server, None
        if server is not None:
            server.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def openai_url(self) -> str:
        """The `base_url` for an OpenAI client. Raises RuntimeError when nothing is served."""
        return f"{self._url()}/v1"

    @property
    def anthropic_url(self) -> str:
        """The `base_url` for an Anthropic client. Raises RuntimeError when nothing is served."""
        return self._url()

    def set(self, provider: str, behaviour: Behaviour) -> None:
        """Change a vendor's behaviour from its next request on; what remains of its limits is kept if it fits."""
        self._account(provider).set(behaviour)

    def next(self, provider: str, *outcomes: Outcome) -> None:
        """Queue the exact outcomes of a vendor's next requests, one HTTP request each, against chance and rate limits.

        Raises ValueError for an outcome that is not one of `OUTCOMES`.
        """
        self._account(provider).script(outcomes)

    def hang_up(self) -> None:
        """Break off what is under way, and go on serving; nothing when nothing is served."""
        if self._server is not None:
            self._server.hang_up()

    @property
    def served(self) -> tuple[Served, ...]:
        """What has been served so far, in the order in which it ended.

        An entry is there before its client has the last byte; only that a client has gone is noticed a little later:
        `wait_idle()` first.
        """
        return self._ledger.entries()

    def wait_idle(self, timeout: float = 5.0) -> bool:
        """Wait, for at most `timeout` seconds, until no request is under way; whether it came to that."""
        return self._ledger.wait_idle(timeout)

    def _account(self, provider: str) -> Account:
        _check_provider(provider)
        return self._accounts[provider]

    def _url(self) -> str:
        if self._server is None:
            raise RuntimeError("the simulated vendors are not running; use them in a `with` block, or start() them")
        return self._server.url


def _check_provider(provider: str) -> None:
    if provider not in _DIALECTS:
        raise ValueError(f"unknown provider {provider!r}; known are {', '.join(_DIALECTS)}")
