"""Underway: what is observed while it goes on; Ongoing: an open call, and everything that can happen to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Self

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


class Underway:
    """Something that is observed while it goes on: a call of a model, a run of an agent, a call of a tool.

    As a block it is the step in which the caller's code runs: what is observed inside belongs to it, and an exception
    ends it. When it is forgotten before its end (a stream dropped unread, a coroutine never awaited), it ends as
    abandoned. Nothing that its scope holds may hold it in turn, or it would not be forgotten in time.

    Attributes:
        shield: Where failures of ours go.
    """

    __slots__ = ("_scope", "_token", "shield")
    _scope: Scope
    _token: Token[Scope] | None
    shield: Shield

    @property
    def ended(self) -> bool:
        """Whether it has had its end."""
        raise NotImplementedError

    def end(self, status: Status, error: ErrorKind | None = None) -> None:
        """Ends it, unless it has ended."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        self._token = enter_scope(self._scope)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._token is not None:
            _leave(self._token)
        if error is not None:
            self.fail(error)

    def __del__(self) -> None:
        try:
            if not self.ended:
                self.end("abandoned")
        except Exception:  # the interpreter is going down, or was interrupted half-way through __init__
            return

    def respond(self, response: Any) -> None:
        """Takes what the function has returned."""

    def learn(self, error: BaseException) -> None:
        """Takes what an exception tells, before it ends this."""

    def succeed(self) -> None:
        """All of the answer is there."""
        self.end("success")

    def fail(self, error: BaseException) -> None:
        """It has ended with an exception; cancellation is no error of its own."""
        if self.ended:
            return
        if isinstance(error, GeneratorExit):
            self.end("abandoned")
        elif is_cancellation(error):
            self.end("cancelled")
        else:
            self.learn(error)
            self.end("error", classify(error))


class Ongoing(Underway):
    """One observed call of a model while it goes on; calls made inside are nested in this one."""

    __slots__ = ("_recorder", "_run", "call", "clock", "extractor")

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
        self.clock = clock
        self._run = scope.run
        self._scope = Scope(scope.labels, call, scope, None, self._run)
        self._token = None
        call.ticket = recorder.opened(call.labels)

    @property
    def ended(self) -> bool:
        """Whether the call has had its end."""
        return self.call.ended

    def state(self, labels: Mapping[str, str]) -> None:
        """States more about the call."""
        self.call.state(labels)

    def respond(self, response: Any) -> None:
        """Reads what the response says, or keeps the gist of it to be read when the record is folded."""
        try:
            gist = self._gist(response)
            if gist is None or not self.call.keep(gist):
                self.call.read(self._read(response))
        except Exception as error:
            self.shield.report("extractor", error)

    def consume(self, usage: Usage) -> None:
        """Adds tokens that the caller counted."""
        self.call.consume(usage)

    def end(self, status: Status, error: ErrorKind | None = None) -> None:
        """Ends the call, unless it has ended."""
        record = self.call.end(self.clock(), status, error)
        if record is not None:
            self._recorder.closed(record)
            if self._run is not None:
                self._run.called(record.usage)

    def _gist(self, response: Any) -> extractors.Gist | None:
        if self.extractor is not None or self._run is not None:  # a run adds its tokens up as they come
            return None
        return extractors.gist(response, provider=self.call.labels.get("provider"))

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
    """One step of a body that runs in pieces: nothing stays behind in the consumer's context between them.

    It begins in the scope in which the last one ended, blocks that are open there included.
    """

    __slots__ = ("_token", "_underway")

    def __init__(self, underway: Underway) -> None:
        self._underway = underway

    def __enter__(self) -> None:
        self._token = enter_scope(self._underway._scope)

    def __exit__(self, kind: object, error: BaseException | None, tb: object) -> None:
        self._underway._scope = current_scope()
        _leave(self._token)


def _leave(token: Token[Scope]) -> None:
    try:
        leave_scope(token)
    except (ValueError, RuntimeError):  # entered in one context and left in another, or left twice: it is gone already
        return
