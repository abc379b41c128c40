"""The two ways to observe a call: `observe_llm`, the decorator, and `track_request`, the block."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast, overload

from llmwatch import _runtime
from llmwatch._delivery import Statement, shielded
from llmwatch._streams import proxied
from llmwatch._tap import Tap
from llmwatch.attribution import label_values
from llmwatch.extractors import Extractor
from llmwatch.usage import Usage

if TYPE_CHECKING:
    from types import TracebackType

    from llmwatch._call import Status
    from llmwatch._ongoing import Ongoing
    from llmwatch.errors import ErrorKind

F = TypeVar("F", bound=Callable[..., object])
S = TypeVar("S")


@overload
def observe_llm(fn: F, /) -> F: ...
@overload
def observe_llm(
    *,
    feature: str | None = None,
    provider: str | None = None,
    model: str | None = None,
    operation: str = "chat",
    agent: str | None = None,
    extractor: Extractor | None = None,
    **labels: object,
) -> Callable[[F], F]: ...
def observe_llm(
    fn: F | None = None,
    /,
    *,
    feature: str | None = None,
    provider: str | None = None,
    model: str | None = None,
    operation: str = "chat",
    agent: str | None = None,
    extractor: Extractor | None = None,
    **labels: object,
) -> F | Callable[[F], F]:
    """Observes every call of a function that calls a model: `@observe_llm` or `@observe_llm(feature="chat")`.

    For functions, coroutine functions, generators and async generators, methods, static and class methods (above or
    below those decorators), callable objects and partials. The function stays what it is: kind, signature, name,
    documentation, pickling. Callers get the same value and the same exception; a returned stream is replaced by a
    proxy that is the stream in every respect, and the call ends with its last chunk.

    Args:
        fn: The function, when used without parentheses.
        feature: The part of the product that makes the call.
        provider: OpenTelemetry's `gen_ai.provider.name`, used unless the response names a better one.
        model: The model that is asked for, used until the response names the one that answered.
        operation: OpenTelemetry's `gen_ai.operation.name`.
        agent: The agent that makes the call.
        extractor: Reads this function's responses: a function, a path mapping or an accumulator class.
        **labels: Further labels, declared in `configure(labels=...)`.

    Raises:
        TypeError: When something else than a callable is decorated, or an argument is of no use.
    """
    stated = {"feature": feature, "provider": provider, "model": model, "operation": operation, "agent": agent}
    statement = Statement.of(extractor, {**stated, **labels}, strict=True)

    def decorate(fn: F) -> F:
        from llmwatch._functions import observed  # wrapt is most of what there is to import, and blocks need none of it

        return cast("F", observed(fn, statement))

    return decorate if fn is None else decorate(fn)


class track_request:  # noqa: N801 - a block, used like a function
    """Observes a block that calls a model: `with` or `async with track_request(feature="chat") as request: ...`.

    Tell it what came back with `observe`, `stream` or `record`; the call ends with the block. Takes the keywords of
    `observe_llm`.

    Raises:
        TypeError: When `extractor` is none.
    """

    def __init__(
        self,
        *,
        feature: str | None = None,
        provider: str | None = None,
        model: str | None = None,
        operation: str = "chat",
        agent: str | None = None,
        extractor: Extractor | None = None,
        **labels: object,
    ) -> None:
        stated = {"feature": feature, "provider": provider, "model": model, "operation": operation, "agent": agent}
        self._statement = Statement.of(extractor, {**stated, **labels})
        self._ongoing: Ongoing | None = None
        self._tap: Tap | None = None
        self._around: list[Any] = []
        self._outcome: tuple[Status, ErrorKind | None] = ("success", None)

    def __enter__(self) -> track_request:
        self._around.append((self._ongoing, self._outcome, self._tap))
        self._outcome, self._tap = ("success", None), None
        self._ongoing = self._statement.begin()
        self._ongoing.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._ongoing is not None:
            if self._tap is not None:
                self._tap.closed(error)
            self._ongoing.__exit__(kind, error, tb)
            self._ongoing.end(*self._outcome)
        if self._around:
            self._ongoing, self._outcome, self._tap = self._around.pop()

    async def __aenter__(self) -> track_request:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, tb)

    def observe(self, response: S) -> S:
        """Reads a response: a vendor's object or parsed JSON; several add up. Returns the response."""
        if ongoing := self._open("observe"):
            ongoing.respond(response)
        return response

    def stream(self, events: S) -> S:
        """Yields the same items, sync or async, and reads them on their way."""
        ongoing = self._open("stream")
        if ongoing is None:
            return events
        self._outcome = ("abandoned", None)  # until its end comes by
        return cast("S", shielded(self._tapped, ongoing, events))

    def _tapped(self, ongoing: Ongoing, events: Any) -> Any:
        self._tap = Tap(ongoing, self._note)
        return proxied(events, self._tap)

    def record(
        self,
        *,
        input_tokens: int | None = None,
        output_tokens: int | None = None,
        cache_read_tokens: int | None = None,
        cache_write_tokens: int | None = None,
        reasoning_tokens: int | None = None,
        cache_write_1h_tokens: int | None = None,
        audio_input_tokens: int | None = None,
        audio_output_tokens: int | None = None,
        image_input_tokens: int | None = None,
        image_output_tokens: int | None = None,
    ) -> None:
        """Records tokens that you counted yourself, with the meanings of `Usage`; several times add up."""
        ongoing = self._open("record")
        if ongoing is None:
            return
        try:
            usage = Usage(
                input_tokens=input_tokens,
                output_tokens=output_tokens,
                cache_read_tokens=cache_read_tokens,
                cache_write_tokens=cache_write_tokens,
                reasoning_tokens=reasoning_tokens,
                cache_write_1h_tokens=cache_write_1h_tokens,
                audio_input_tokens=audio_input_tokens,
                audio_output_tokens=audio_output_tokens,
                image_input_tokens=image_input_tokens,
                image_output_tokens=image_output_tokens,
            )
            ongoing.consume(usage)
        except Exception as error:
            ongoing.shield.report("usage", error)

    def set(
        self,
        *,
        feature: str | None = None,
        provider: str | None = None,
        model: str | None = None,
        operation: str | None = None,
        agent: str | None = None,
        **labels: object,
    ) -> None:
        """States more about the call, or states it better."""
        stated = {"feature": feature, "provider": provider, "model": model, "operation": operation, "agent": agent}
        values = label_values({**stated, **labels})
        if ongoing := self._open("set"):
            ongoing.state(values)

    def _note(self, status: Status, error: ErrorKind | None) -> None:
        self._outcome = (status, error)

    def _open(self, method: str) -> Ongoing | None:
        if self._ongoing is None or self._ongoing.call.ended:
            _runtime.current().shield.warn_once("track_request", f"request.{method}() was called outside its block")
            return None
        return self._ongoing
