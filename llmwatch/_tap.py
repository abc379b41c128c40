"""What sync and async stream proxies share: the one end, a tap for each chunk, and what streams offer beside these."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from types import MethodType
from typing import TYPE_CHECKING, Any

from llmwatch import extractors
from llmwatch.errors import classify, is_cancellation

if TYPE_CHECKING:
    from llmwatch._call import Status
    from llmwatch._ongoing import Ongoing, Underway
    from llmwatch.errors import ErrorKind

    End = Callable[[Status, ErrorKind | None], None]


class Passage:
    """Lets chunks pass, and takes one end, whichever comes.

    Args:
        ongoing: What lasts as long as the stream.
        end: Takes the end of the stream: its own end, or a note for a block that goes on.
    """

    __slots__ = ("_end", "ended", "ongoing")

    def __init__(self, ongoing: Underway, end: End | None = None) -> None:
        self.ongoing = ongoing
        self.ended = False
        self._end = end or ongoing.end

    def __del__(self) -> None:
        try:
            self.finish("abandoned")
        except Exception:  # the interpreter is going down, or was interrupted half-way through __init__
            return

    def chunk(self, chunk: Any) -> None:
        """A chunk goes by."""

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


class Tap(Passage):
    """Reads the chunks of a call's answer on their way."""

    __slots__ = ("_accumulator", "_add", "_arrived", "_clock", "_provider", "_strangers")
    ongoing: Ongoing

    def __init__(self, ongoing: Ongoing, end: End | None = None) -> None:
        super().__init__(ongoing, end)
        self._provider: str | None = None
        self._accumulator: extractors.Accumulator | None = None
        self._add: Callable[[Any], None] | None = None  # not a method of its own: a cycle would outlive the stream
        self._strangers = 0
        if isinstance(ongoing.extractor, type):
            self._accumulator = ongoing.extractor()
            self._add = self._accumulator.add
        ongoing.call.streamed = True
        self._clock, self._arrived = ongoing.clock, ongoing.call.chunk  # at hand, as every chunk needs them

    def chunk(self, chunk: Any) -> None:
        """A chunk goes by: one clock read, one cheap look."""
        self._arrived(self._clock())
        add = self._add
        try:
            if add is None:
                self._recognise(chunk)
            else:
                add(chunk)
        except Exception as error:
            self._add = _ignore  # one that failed once would fail on every chunk
            self.ongoing.shield.report("stream", error)

    def _read_chunks(self) -> None:
        if self._accumulator is None:
            return
        try:
            found = self._accumulator.reading()
            provider = self.ongoing.call.labels.get("provider")
            self.ongoing.call.read(extractors.completed(found, provider, self._provider))
        except Exception as failure:
            self.ongoing.shield.report("stream", failure)

    def _recognise(self, chunk: Any) -> None:
        found = extractors.accumulate(chunk)
        if found is not None:
            self._accumulator, self._provider = found
            self._add = self._accumulator.add
            self._add(chunk)
            return
        self._strangers += 1
        if self._strangers == _PATIENCE:
            self._add = _ignore


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
