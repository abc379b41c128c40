"""The proxy around a returned stream: the stream in every respect, and a tap that sees each chunk go by."""

from __future__ import annotations

import io
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from functools import lru_cache, partial
from inspect import iscoroutine
from types import AsyncGeneratorType, GeneratorType
from typing import TYPE_CHECKING, Any

from llmwatch import extractors

if TYPE_CHECKING:
    from types import TracebackType

    from llmwatch._tap import Tap


class Proxy:
    """The stream in every respect but `type(stream) is ...`; only what the subclasses add is seen to."""

    __slots__ = ("__weakref__", "_llmwatch_anext", "_llmwatch_next", "_llmwatch_stream", "_llmwatch_tap")

    def __init__(self, stream: Any, tap: Tap) -> None:
        put = partial(object.__setattr__, self)
        put("_llmwatch_stream", stream)
        put("_llmwatch_tap", tap)
        put("_llmwatch_next", getattr(stream, "__next__", None))
        put("_llmwatch_anext", getattr(stream, "__anext__", None))

    @property
    def __class__(self) -> type:
        return type(self._llmwatch_stream)

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._llmwatch_stream, name)
        wrap = _WATCHED.get(name)
        return value if wrap is None else wrap(self._llmwatch_stream, self._llmwatch_tap, value)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._llmwatch_stream, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._llmwatch_stream, name)

    def __repr__(self) -> str:
        return repr(self._llmwatch_stream)

    def __dir__(self) -> list[str]:
        return dir(self._llmwatch_stream)

    def __eq__(self, other: object) -> bool:
        return self is other or bool(self._llmwatch_stream == other)

    def __hash__(self) -> int:
        return hash(self._llmwatch_stream)

    def __enter__(self) -> Any:
        with self._llmwatch_tap.step():
            return self._llmwatch_entered(self._llmwatch_stream.__enter__())

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> Any:
        try:
            return self._llmwatch_stream.__exit__(kind, error, tb)
        finally:
            self._llmwatch_tap.closed(error)

    async def __aenter__(self) -> Any:
        with self._llmwatch_tap.step():
            return self._llmwatch_entered(await self._llmwatch_stream.__aenter__())

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> Any:
        self._llmwatch_tap.closed(error)
        return await self._llmwatch_stream.__aexit__(kind, error, tb)

    def _llmwatch_entered(self, entered: Any) -> Any:
        """What a block gets: the proxy again, or, from a stream manager, a proxy around the stream that it opens."""
        if entered is self._llmwatch_stream:
            return self
        return proxied(entered, self._llmwatch_tap)


class SyncProxy(Proxy):
    """Around what is iterated with `for`."""

    __slots__ = ()

    def __iter__(self) -> Any:
        if self._llmwatch_next is None:
            object.__setattr__(self, "_llmwatch_next", iter(self._llmwatch_stream).__next__)
        return self

    def __next__(self) -> Any:
        try:
            chunk = (self._llmwatch_next or self.__iter__()._llmwatch_next)()
        except StopIteration:
            self._llmwatch_tap.exhausted()
            raise
        except BaseException as error:
            self._llmwatch_tap.failed(error)
            raise
        self._llmwatch_tap.chunk(chunk)
        return chunk


class AsyncProxy(Proxy):
    """Around what is iterated with `async for`."""

    __slots__ = ()

    def __aiter__(self) -> Any:
        if self._llmwatch_anext is None:
            object.__setattr__(self, "_llmwatch_anext", self._llmwatch_stream.__aiter__().__anext__)
        return self

    async def __anext__(self) -> Any:
        try:
            chunk = await (self._llmwatch_anext or self.__aiter__()._llmwatch_anext)()
        except StopAsyncIteration:
            self._llmwatch_tap.exhausted()
            raise
        except BaseException as error:
            self._llmwatch_tap.failed(error)
            raise
        self._llmwatch_tap.chunk(chunk)
        return chunk


class BothProxy(SyncProxy, AsyncProxy):
    """Around what can be iterated either way."""

    __slots__ = ()


class GeneratorProxy(SyncProxy):
    """Around a generator, whose body is the caller's code: calls made in a step are nested in this one."""

    __slots__ = ()

    def __next__(self) -> Any:
        return self._llmwatch_step(self._llmwatch_stream.__next__)

    def send(self, value: Any) -> Any:
        """As the generator's own."""
        return self._llmwatch_step(self._llmwatch_stream.send, value)

    def throw(self, *exception: Any) -> Any:
        """As the generator's own."""
        return self._llmwatch_step(self._llmwatch_stream.throw, *exception)

    def close(self) -> Any:
        """As the generator's own."""
        with self._llmwatch_tap.closing():
            return self._llmwatch_stream.close()

    def _llmwatch_step(self, advance: Callable[..., Any], *arguments: Any) -> Any:
        tap = self._llmwatch_tap
        try:
            with tap.ongoing.inside():
                chunk = advance(*arguments)
        except StopIteration:
            tap.exhausted()
            raise
        except BaseException as error:
            tap.failed(error)
            raise
        tap.chunk(chunk)
        return chunk


class AsyncGeneratorProxy(AsyncProxy):
    """Around an async generator, likewise."""

    __slots__ = ()

    def __anext__(self) -> Any:
        return self._llmwatch_step(self._llmwatch_stream.__anext__)

    def asend(self, value: Any) -> Any:
        """As the generator's own."""
        return self._llmwatch_step(self._llmwatch_stream.asend, value)

    def athrow(self, *exception: Any) -> Any:
        """As the generator's own."""
        return self._llmwatch_step(self._llmwatch_stream.athrow, *exception)

    async def aclose(self) -> None:
        """As the generator's own."""
        with self._llmwatch_tap.closing():
            await self._llmwatch_stream.aclose()

    async def _llmwatch_step(self, advance: Callable[..., Any], *arguments: Any) -> Any:
        tap = self._llmwatch_tap
        try:
            with tap.ongoing.inside():
                chunk = await advance(*arguments)
        except StopAsyncIteration:
            tap.exhausted()
            raise
        except BaseException as error:
            tap.failed(error)
            raise
        tap.chunk(chunk)
        return chunk


def is_stream(response: Any) -> bool:
    """Whether a response is an answer that is still coming: a stream, a stream manager, or a generator.

    A list, a string, a file or a plain iterator is none.
    """
    return _kind(type(response)) is not None


def proxied(stream: Any, tap: Tap) -> Any:
    """The proxy for a stream; for what is iterated in no known way, the bare one that only sees it opened and closed."""
    return (_kind(type(stream)) or _iterable(type(stream)) or Proxy)(stream, tap)


@lru_cache(maxsize=1024)
def _kind(cls: type) -> type[Proxy] | None:
    if issubclass(cls, GeneratorType | GeneratorProxy):
        return GeneratorProxy
    if issubclass(cls, AsyncGeneratorType | AsyncGeneratorProxy):
        return AsyncGeneratorProxy
    if cls.__name__.endswith("StreamManager") and (hasattr(cls, "__enter__") or hasattr(cls, "__aenter__")):
        return Proxy
    vendors = extractors.vendor_of(cls) is not None and "Stream" in cls.__name__
    return _iterable(cls) if vendors or issubclass(cls, Proxy) or _is_live_iterator(cls) else None


def _iterable(cls: type) -> type[Proxy] | None:
    sync, asynchronous = issubclass(cls, Iterator) or hasattr(cls, "__iter__"), hasattr(cls, "__aiter__")
    if sync and asynchronous:
        return BothProxy
    if sync:
        return SyncProxy
    return AsyncProxy if asynchronous else None


def _is_live_iterator(cls: type) -> bool:
    """An async iterator, or an iterator that holds something open: not a list's, not a file."""
    if hasattr(cls, "__anext__"):
        return True
    return hasattr(cls, "__next__") and hasattr(cls, "close") and not issubclass(cls, io.IOBase)


def _watch_closing(stream: Any, tap: Tap, close: Callable[..., Any]) -> Callable[..., Any]:
    def closing(*args: Any, **kwargs: Any) -> Any:
        with tap.closing():  # before anything is awaited: under cancellation an await would not come back
            return close(*args, **kwargs)

    return closing


def _watch_helper(stream: Any, tap: Tap, helper: Callable[..., Any]) -> Callable[..., Any]:
    async def awaited(answer: Any) -> Any:
        with tap.step():
            result = await answer
        tap.answered(stream, result)
        return result

    def helped(*args: Any, **kwargs: Any) -> Any:
        with tap.step():
            answer = helper(*args, **kwargs)
        if iscoroutine(answer):
            return awaited(answer)
        tap.answered(stream, answer)
        return answer

    return helped


def _watch_texts(stream: Any, tap: Tap, texts: Any) -> Any:
    return _async_texts(stream, tap, texts) if hasattr(texts, "__anext__") else _sync_texts(stream, tap, texts)


def _sync_texts(stream: Any, tap: Tap, texts: Iterator[Any]) -> Generator[Any]:
    while True:
        try:
            with tap.step():
                text = next(texts)
        except StopIteration:
            break
        tap.ongoing.chunk()
        yield text
    tap.answered(stream, None)


async def _async_texts(stream: Any, tap: Tap, texts: AsyncIterator[Any]) -> AsyncGenerator[Any]:
    while True:
        try:
            with tap.step():
                text = await anext(texts)
        except StopAsyncIteration:
            break
        tap.ongoing.chunk()
        yield text
    tap.answered(stream, None)


# What client libraries' streams offer beside iteration. These consume the inner object, which a proxy does not see.
_WATCHED: dict[str, Callable[[Any, Tap, Any], Any]] = {
    "close": _watch_closing,
    "aclose": _watch_closing,
    "text_stream": _watch_texts,
} | dict.fromkeys(
    ("get_final_message", "get_final_text", "get_final_completion", "get_final_response", "until_done"), _watch_helper
)
