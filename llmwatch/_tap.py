"""What sync and async stream proxies share: the one end, a tap for each chunk, and what streams offer beside these."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from types import MethodType
from typing import TYPE_CHECKING, Any

from llmwatch import extractors
from llmwatch._ongoing import Inside
from llmwatch.errors import classify, is_cancellation

if TYPE_CHECKING:
    from llmwatch._call import Arrivals, Status
    from llmwatch._ongoing import Ongoing, Underway
    from llmwatch.errors import ErrorKind

    End = Callable[[Status, ErrorKind | None], None]


class Passage:
    """Lets chunks pass, and takes one end, whichever comes.

    Args:
        ongoing: What lasts as long as the stream.
        end: Takes the end of the stream: its own end, or a note for a block that goes on.
    """

    __slots__ = ("_arrivals", "_clock", "_end", "_look", "ended", "ongoing")
    _arrivals: Arrivals
    _clock: Callable[[], float]

    def __init__(self, ongoing: Underway, end: End | None = None) -> None:
        self.ongoing = ongoing
        self.ended = False
        self._end = end or ongoing.end
        # What is done with a chunk, once that is known; never a method of its own, a cycle would outlive the stream.
        self._look: Callable[[Any], None] | None = None

    def __del__(self) -> None:
        try:
            self.finish("abandoned")
        except Exception:  # the interpreter is going down, or was interrupted half-way through __init__
            return

    def chunk(self, chunk: Any) -> None:
        """A chunk goes by."""

    def passing(self, steps: Iterator[Any]) -> Iterator[Any]:
        """What an iteration of the stream gives, each chunk let pass; it can be broken off, and another one begun.

        A generator, which goes on without a call; and here and in `stepping` what `chunk` does is written out for when
        it is known who reads the chunks: each call would be a sixth of all that a chunk takes.
        """
        with _Iteration(self):
            for chunk in steps:
                self.chunk(chunk)
                yield chunk
                if self._look is not None:
                    break
            else:
                return
            look, clock, arrivals = self._look, self._clock, self._arrivals
            for chunk in steps:
                arrivals.last = clock()
                arrivals.number += 1
                try:
                    look(chunk)
                except Exception as error:
                    look = self._blinded(error)
                yield chunk

    def stepping(self, steps: AsyncIterator[Any]) -> Callable[[], Coroutine[Any, Any, Any]]:
        """The `__anext__` of an async iteration, each chunk let pass."""

        async def step() -> Any:
            try:
                chunk = await anext(steps)
            except StopAsyncIteration:
                self.exhausted()
                raise
            except BaseException as error:
                self.failed(error)
                raise
            look = self._look
            if look is None:
                self.chunk(chunk)
                return chunk
            clock, arrivals = self._clock, self._arrivals
            arrivals.last = clock()
            arrivals.number += 1
            try:
                look(chunk)
            except Exception as error:
                self._blinded(error)
            return chunk

        return step

    def exhausted(self) -> None:
        """The stream has come to its end."""
        self.finish("success")

    def closed(self, error: BaseException | None = None) -> None:
        """The consumer has stopped before the end, of its own will or because it was stopped."""
        stopped = error is not None and not isinstance(error, GeneratorExit) and is_cancellation(error)
        self.finish("cancelled" if stopped else "abandoned")

    def failed(self, error: BaseException) -> None:
        """A step has ended with an exception."""
        if is_cancellation(error):
            self.closed(error)
        elif not self.ended:
            self.ongoing.learn(error)
            self.finish("error", classify(error))

    def step(self) -> _Step:
        """A block in which the stream is advanced: an exception that leaves it ends the stream."""
        return _Step(self)

    def body(self) -> _Body:
        """A block in which the stream's own code runs that is the caller's: the step of a generator."""
        return _Body(self)

    def closing(self) -> _Closing:
        """A block in which the stream is closed, however that goes."""
        return _Closing(self)

    def finish(self, status: Status, error: ErrorKind | None = None) -> None:
        """The end, whichever; only the first one counts."""
        if self.ended:
            return
        self.ended = True
        self._read_chunks()
        self._end(status, error)

    def _read_chunks(self) -> None:
        """Before the end: what the chunks have added up to."""

    def _blinded(self, error: Exception) -> Callable[[Any], None]:
        self._look = _ignore  # one that failed once would fail on every chunk
        self.ongoing.shield.report("stream", error)
        return _ignore


class Tap(Passage):
    """Reads the chunks of a call's answer on their way."""

    __slots__ = ("_accumulator", "_provider", "_strangers")
    ongoing: Ongoing

    def __init__(self, ongoing: Ongoing, end: End | None = None) -> None:
        super().__init__(ongoing, end)
        self._provider: str | None = None
        self._accumulator = ongoing.extractor() if isinstance(ongoing.extractor, type) else None
        self._strangers = 0
        self._clock = ongoing.clock
        ongoing.call.streamed = True

    def chunk(self, chunk: Any) -> None:
        """A chunk goes by: one clock read, one cheap look."""
        self._arrivals = self.ongoing.call.chunk(self._clock())
        look = self._look
        try:
            if look is None:
                self._meet(chunk)
            else:
                look(chunk)
        except Exception as error:
            self._blinded(error)

    def _read_chunks(self) -> None:
        if self._accumulator is None:
            return
        try:
            found = self._accumulator.reading()
            provider = self.ongoing.call.labels.get("provider")
            self.ongoing.call.read(extractors.completed(found, provider, self._provider))
        except Exception as failure:
            self.ongoing.shield.report("stream", failure)

    def _meet(self, chunk: Any) -> None:
        """Takes a chunk while nobody is known who reads them: the first one, or a few."""
        if self._accumulator is None:
            found = extractors.accumulate(chunk)
            if found is None:
                self._strangers += 1
                if self._strangers == _PATIENCE:
                    self._look = _ignore
                return
            self._accumulator, self._provider = found
        self._look = self._accumulator.add
        self._look(chunk)


_PATIENCE = 16  # chunks that nobody knows, after which no more are looked at


class _Step:
    __slots__ = ("_tap",)

    def __init__(self, tap: Passage) -> None:
        self._tap = tap

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, tb: object) -> None:
        if error is not None and not isinstance(error, StopIteration | StopAsyncIteration):
            self._tap.failed(error)


class _Body(Inside):
    __slots__ = ("_tap",)

    def __init__(self, tap: Passage) -> None:
        self._underway = tap.ongoing
        self._tap = tap

    def __exit__(self, kind: object, error: BaseException | None, tb: object) -> None:
        super().__exit__(kind, error, tb)
        if error is None:
            return
        if isinstance(error, StopIteration | StopAsyncIteration):
            self._tap.exhausted()
        else:
            self._tap.failed(error)


class _Iteration(_Step):
    """A block in which a generator iterates: left alone it may be, that is not the end of the stream."""

    __slots__ = ()

    def __exit__(self, kind: object, error: BaseException | None, tb: object) -> None:
        if error is None:
            self._tap.exhausted()
        elif not isinstance(error, GeneratorExit):
            self._tap.failed(error)


class _Closing(_Step):
    __slots__ = ()

    def __exit__(self, kind: object, error: BaseException | None, tb: object) -> None:
        self._tap.closed(error)


def _ignore(chunk: Any) -> None:
    pass


def _watch_closing(proxy: Any, close: Callable[..., Any]) -> Callable[..., Any]:
    tap = proxy._llmwatch_tap

    def closing(*args: Any, **kwargs: Any) -> Any:
        with tap.closing():  # before anything is awaited: under cancellation an await would not come back
            return close(*args, **kwargs)

    return closing


def _watch_helper(proxy: Any, helper: Callable[..., Any]) -> Callable[..., Any]:
    """A method that iterates its own object, made one of the proxy, whose iteration is seen."""
    return MethodType(helper.__func__, proxy) if isinstance(helper, MethodType) else helper


def _watch_texts(proxy: Any, texts: Any) -> Any:
    """The texts of the stream's events, taken from the proxy, whose iteration is seen."""
    return _async_texts(proxy) if hasattr(texts, "__anext__") else (t for event in proxy for t in _text(event))


async def _async_texts(proxy: Any) -> AsyncIterator[str]:
    async for event in proxy:
        for text in _text(event):
            yield text


def _text(event: Any) -> Iterator[str]:
    """What Anthropic's `text_stream` yields for an event."""
    if event.type == "content_block_delta" and event.delta.type == "text_delta":
        yield event.delta.text


_HELPERS = ("get_final_message", "get_final_text", "get_final_completion", "get_final_response", "until_done")

# What client libraries' streams offer beside iteration.
WATCHED: dict[str, Callable[[Any, Any], Any]] = {
    "close": _watch_closing,
    "aclose": _watch_closing,
    "text_stream": _watch_texts,
} | dict.fromkeys(_HELPERS, _watch_helper)
