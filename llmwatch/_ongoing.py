"""Ongoing: an open call with its surroundings; everything that can happen to it, shielded from the caller."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from llmwatch import extractors
from llmwatch._call import Call, Status
from llmwatch.attribution import Scope, current_scope, enter_scope, leave_scope
from llmwatch.errors import ErrorKind, classify, is_cancellation

if TYPE_CHECKING:
    from contextvars import Token
    from types import TracebackType

    from llmwatch._recorder import Recorder
    from llmwatch._shield import Shield
    from llmwatch.usage import Usage


class Ongoing:
    """One observed call while it goes on.

    As a block it is the step in which the caller's code runs: calls made inside are nested in this one, and an
    exception ends it. When it is forgotten before its end (a stream dropped unread, a coroutine never awaited), it
    ends as abandoned.
    """

    __slots__ = ("_clock", "_recorder", "_scope", "_token", "call", "extractor", "shield")

    def __init__(
        self,
        call: Call,
        scope: Scope,
        recorder: Recorder,
        shield: Shield,
        clock: Callable[[], float],
        extractor: extractors.Extractor | None = None,
    ) -> None:
        self.call = call
        self.extractor = extractor
        self.shield = shield
        self._recorder = recorder
        self._clock = clock
        self._scope = Scope(scope.labels, call, scope)
        self._token: Token[Scope] | None = None
        call.ticket = recorder.opened(call.labels)

    def __enter__(self) -> Ongoing:
        self._token = enter_scope(self._scope)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._token is not None:
            _leave(self._token)
        if error is not None:
            self.fail(error)

    def inside(self) -> Inside:
        """One step of a body that runs in pieces: nothing stays behind in the consumer's context between them."""
        return Inside(self)

    def __del__(self) -> None:
        try:
            if not self.call.ended:
                self.end("abandoned")
        except Exception:  # the interpreter is going down, or was interrupted half-way through __init__
            return

    def state(self, labels: Mapping[str, str]) -> None:
        """States more about the call."""
        self.call.state(labels)

    def chunk(self) -> None:
        """A chunk of the answer has come."""
        self.call.chunk(self._clock())

    def respond(self, response: Any) -> None:
        """Reads what the response says."""
        try:
            self.call.read(self._read(response))
        except Exception as error:
            self.shield.report("extractor", error)

    def consume(self, usage: Usage) -> None:
        """Adds tokens that the caller counted."""
        self.call.consume(usage)

    def succeed(self) -> None:
        """The answer is complete."""
        self.end("success")

    def fail(self, error: BaseException) -> None:
        """The call has ended with an exception; cancellation is none of its errors."""
        if self.call.ended:
            return
        if isinstance(error, GeneratorExit):
            self.end("abandoned")
        elif is_cancellation(error):
            self.end("cancelled")
        else:
            self.learn(error)
            self.end("error", classify(error))

    def end(self, status: Status, error: ErrorKind | None = None) -> None:
        """Ends the call, unless it has ended."""
        record = self.call.end(self._clock(), status, error)
        if record is not None:
            self._recorder.closed(record)

    def _read(self, response: Any) -> extractors.Reading | None:
        provider = self.call.labels.get("provider")
        if self.extractor is not None and not isinstance(self.extractor, type):
            return extractors.completed(extractors.apply(self.extractor, response), provider, None)
        return extractors.read(response, provider=provider)

    def learn(self, error: BaseException) -> None:
        """What a client library's exception tells about the call: whose it is, and what was billed all the same."""
        try:
            if not self.call.labels.get("provider"):
                self.state({"provider": extractors.vendor_of(type(error)) or ""})
            if completion := vars(error).get("completion"):
                self.call.read(self._read(completion))
        except Exception as failure:
            self.shield.report("error", failure)


class Inside:
    """One step of a body: it begins in the scope in which the last one ended, blocks that are open there included."""

    __slots__ = ("_ongoing", "_token")

    def __init__(self, ongoing: Ongoing) -> None:
        self._ongoing = ongoing

    def __enter__(self) -> None:
        self._token = enter_scope(self._ongoing._scope)

    def __exit__(self, *_: object) -> None:
        self._ongoing._scope = current_scope()
        _leave(self._token)


def _leave(token: Token[Scope]) -> None:
    try:
        leave_scope(token)
    except (ValueError, RuntimeError):  # entered in one context and left in another, or left twice: it is gone already
        return
