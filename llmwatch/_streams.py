"""The proxy around a returned stream: the stream in every respect, and a passage that sees each chunk go by."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import lru_cache, partial
from types import AsyncGeneratorType, GeneratorType
from typing import TYPE_CHECKING, Any

from llmwatch._tap import WATCHED, Passage

if TYPE_CHECKING:
    from types import TracebackType


class Proxy:
    """The stream in every respect but `type(stream) is ...`; only what the subclasses add is seen to."""

    __slots__ = ("__weakref__", "_llmwatch_stream", "_llmwatch_tap")

    def __init__(self, stream: Any, tap: Passage) -> None:
        put = partial(object.__setattr__, self)
        put("_llmwatch_stream", stream)
        put("_llmwatch_tap", tap)

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return self._llmwatch_stream.__class__  # type: ignore[no-any-return]

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._llmwatch_stream, name)
        watch = WATCHED.get(name)
        return value if watch is None else watch(self, value)

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

    def _llmwatch_entered(self, entered: Any) -> Any:
        """What a block gets: the proxy again, or, from a stream manager, a proxy around the stream that it opens."""
        if entered is self._llmwatch_stream:
            return self
        return proxied(entered, self._llmwatch_tap)


class Block(Proxy):
    """Around what is entered with `with`."""

    __slots__ = ()

    def __enter__(self) -> Any:
        with self._llmwatch_tap.body():  # a manager sends its request only here
            return self._llmwatch_entered(self._llmwatch_stream.__enter__())

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> Any:
        try:
            return self._llmwatch_stream.__exit__(kind, error, tb)
        finally:
            self._llmwatch_tap.closed(error)


class AsyncBlock(Proxy):
    """Around what is entered with `async with`."""

    __slots__ = ()

    async def __aenter__(self) -> Any:
        with self._llmwatch_tap.body():
            return self._llmwatch_entered(await self._llmwatch_stream.__aenter__())

    def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> Awaitable[Any]:
        try:  # not awaited before the end: under cancellation an await would not come back
            leaving: Awaitable[Any] = self._llmwatch_stream.__aexit__(kind, error, tb)
        finally:
            self._llmwatch_tap.closed(error)
        return leaving


class SyncProxy(Proxy):
    """Around what is iterated with `for`."""

    __slots__ = ()

    def __iter__(self) -> Any:
        tap, stream = self._llmwatch_tap, self._llmwatch_stream
        with tap.step():
            steps = iter(stream)
        if steps is stream:
            return self
        return tap.passing(steps) if type(steps) is GeneratorType else SyncIteration(steps, tap)


class SyncSteps(Proxy):
    """Around what is advanced with `next`."""

    __slots__ = ()

    def __next__(self) -> Any:
        tap = self._llmwatch_tap
        try:
            chunk = self._llmwatch_stream.__next__()
        except StopIteration:
            tap.exhausted()
            raise
        except BaseException as error:
            tap.failed(error)
            raise
        tap.chunk(chunk)
        return chunk


class SyncIteration(SyncSteps):
    """Around the iterator that a stream gives, if that is another object, and no generator."""

    __slots__ = ()

    def __iter__(self) -> Any:
        return self

    def __getattr__(self, name: str) -> Any:
        return getattr(self._llmwatch_stream, name)


class AsyncProxy(Proxy):
    """Around what is iterated with `async for`."""

    __slots__ = ()

    def __aiter__(self) -> Any:
        tap, stream = self._llmwatch_tap, self._llmwatch_stream
        with tap.step():
            steps = aiter(stream)
        return self if steps is stream else AsyncIteration(steps, tap)


class AsyncSteps(Proxy):
    """Around what is advanced with `anext`."""

    __slots__ = ("_llmwatch_step",)

    def __init__(self, stream: Any, tap: Passage) -> None:
        super().__init__(stream, tap)
        object.__setattr__(self, "_llmwatch_step", tap.stepping(stream))

    def __anext__(self) -> Any:
        return self._llmwatch_step()


class AsyncIteration(AsyncSteps):
    """Around the iterator that an async stream gives, if that is another object: its end need not be the stream's.

    No generator, as it is for `for`: one that is broken off would be ended by the event loop, and only later.
    """

    __slots__ = ()

    def __aiter__(self) -> Any:
        return self

    def __getattr__(self, name: str) -> Any:
        return getattr(self._llmwatch_stream, name)


class GeneratorProxy(SyncProxy, SyncSteps):
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
        with tap.body():
            chunk = advance(*arguments)
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
        with tap.body():
            chunk = await advance(*arguments)
        tap.chunk(chunk)
        return chunk


def proxied(stream: Any, tap: Passage) -> Any:
    """The proxy for a stream, or for what is iterated or only opened and closed."""
    return _proxy_for(type(stream))(stream, tap)  # type: ignore[arg-type]


@lru_cache(maxsize=1024)
def _proxy_for(cls: type) -> type[Proxy]:
    """A proxy class that can do what the stream's class can do, and nothing that it cannot."""
    if issubclass(cls, GeneratorType | GeneratorProxy):
        return GeneratorProxy
    if issubclass(cls, AsyncGeneratorType | AsyncGeneratorProxy):
        return AsyncGeneratorProxy
    facets = tuple(facet for name, facet in _FACETS.items() if hasattr(cls, name))
    defined = {name for base in cls.__mro__ if base not in _EVERYONES for name in vars(base)}
    others = {name: _forwarded(name) for name in _OTHERS if name in defined}
    return type(cls.__name__, facets or (Proxy,), {"__slots__": (), **others})


def _forwarded(name: str) -> Callable[..., Any]:
    def forward(self: Proxy, *args: Any, **kwargs: Any) -> Any:
        return getattr(self._llmwatch_stream, name)(*args, **kwargs)

    return forward


_EVERYONES = (object, Proxy)
_FACETS: dict[str, type[Proxy]] = {
    "__iter__": SyncProxy,
    "__next__": SyncSteps,
    "__aiter__": AsyncProxy,
    "__anext__": AsyncSteps,
    "__enter__": Block,
    "__aenter__": AsyncBlock,
}
# What Python looks up in the class, where a proxy's `__getattr__` is not asked.
_OTHERS = (
    "__str__ __format__ __bool__ __len__ __length_hint__ __getitem__ __setitem__ __delitem__ __contains__ __reversed__ "
    "__call__ __await__"
).split()
