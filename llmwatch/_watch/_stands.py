"""Stands: what stands in the place of a transport or of a body, is it in every respect, and sees what goes by."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from llmwatch import _runtime
from llmwatch._watch._sensor import Sensor, Sent

if TYPE_CHECKING:
    from types import TracebackType


class Stand:
    """Stands in the place of an object: `isinstance` and all that is not overridden find the object itself."""

    __slots__ = ("__weakref__", "_llmwatch_inner")
    _llmwatch_inner: Any

    def __init__(self, inner: Any) -> None:
        object.__setattr__(self, "_llmwatch_inner", inner)

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return type(self._llmwatch_inner)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._llmwatch_inner, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._llmwatch_inner, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._llmwatch_inner, name)

    def __repr__(self) -> str:
        return repr(self._llmwatch_inner)

    def __dir__(self) -> list[str]:
        return dir(self._llmwatch_inner)

    def __eq__(self, other: object) -> bool:
        return self is other or bool(self._llmwatch_inner == other)

    def __hash__(self) -> int:
        return hash(self._llmwatch_inner)


class Transport(Stand):
    """In the place of a transport of httpx or httpx2."""

    __slots__ = ("_llmwatch_sensor",)
    _llmwatch_sensor: Sensor

    def __init__(self, inner: Any, sensor: Sensor) -> None:
        super().__init__(inner)
        object.__setattr__(self, "_llmwatch_sensor", sensor)


class SyncTransport(Transport):
    """Sends a request, and waits."""

    __slots__ = ()

    def handle_request(self, request: Any) -> Any:
        """As the transport's own."""
        sent = Sent(self._llmwatch_sensor, request)
        try:
            response = self._llmwatch_inner.handle_request(request)
        except BaseException as error:
            sent.failed(error)
            raise
        return _followed(sent, response)

    def __enter__(self) -> Any:
        entered = self._llmwatch_inner.__enter__()
        return self if entered is self._llmwatch_inner else entered

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> Any:
        return self._llmwatch_inner.__exit__(kind, error, tb)


class AsyncTransport(Transport):
    """Sends a request, and lets others go on meanwhile."""

    __slots__ = ()

    async def handle_async_request(self, request: Any) -> Any:
        """As the transport's own."""
        sent = Sent(self._llmwatch_sensor, request)
        try:
            response = await self._llmwatch_inner.handle_async_request(request)
        except BaseException as error:
            sent.failed(error)
            raise
        return _followed(sent, response)

    async def __aenter__(self) -> Any:
        entered = await self._llmwatch_inner.__aenter__()
        return self if entered is self._llmwatch_inner else entered

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> Any:
        return await self._llmwatch_inner.__aexit__(kind, error, tb)


class Body(Stand):
    """In the place of the stream of a response's bytes; one that is forgotten has come to its end."""

    __slots__ = ("_llmwatch_sent",)
    _llmwatch_sent: Sent

    def __init__(self, inner: Any, sent: Sent) -> None:
        super().__init__(inner)
        object.__setattr__(self, "_llmwatch_sent", sent)

    def __del__(self) -> None:
        try:
            self._llmwatch_sent.end()
        except Exception:  # the interpreter is going down
            return


class SyncBody(Body):
    """Read with `for`."""

    __slots__ = ()

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._llmwatch_inner
        except BaseException as error:
            self._llmwatch_sent.broken(error)
            raise
        self._llmwatch_sent.end()

    def close(self) -> None:
        """As the stream's own."""
        self._llmwatch_sent.end()
        self._llmwatch_inner.close()


class AsyncBody(Body):
    """Read with `async for`."""

    __slots__ = ()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        chunks = self._llmwatch_inner.__aiter__()
        try:
            async for chunk in chunks:
                yield chunk
        except BaseException as error:
            self._llmwatch_sent.broken(error)
            raise
        finally:
            if isinstance(chunks, AsyncGenerator):  # as `yield from` would, and httpx2 does
                await chunks.aclose()
        self._llmwatch_sent.end()

    async def aclose(self) -> None:
        """As the stream's own."""
        self._llmwatch_sent.end()
        await self._llmwatch_inner.aclose()


def transport(inner: Any, sensor: Sensor) -> Any:
    """What stands in the place of a transport, sync or async or both, as that is."""
    return _facets(Transport, type(inner))(inner, sensor)  # type: ignore[arg-type]


def _followed(sent: Sent, response: Any) -> Any:
    try:
        headers = response.headers
        sent.answered(response.status_code, headers, headers.raw)
        if response.is_closed:
            sent.end()
        else:
            response.stream = _facets(Body, type(response.stream))(response.stream, sent)  # type: ignore[arg-type]
    except Exception as error:
        sent.end()
        _runtime.current().shield.report("watch", error)
    return response


_FACETS: dict[type[Stand], dict[str, type[Stand]]] = {
    Transport: {"handle_request": SyncTransport, "handle_async_request": AsyncTransport},
    Body: {"__iter__": SyncBody, "__aiter__": AsyncBody},
}


@lru_cache(maxsize=256)
def _facets(kind: type[Stand], cls: type) -> Any:
    """A class that can do what the object's class can do, and nothing that it cannot."""
    facets = tuple(facet for name, facet in _FACETS[kind].items() if hasattr(cls, name))
    return type(cls.__name__, facets or (kind,), {"__slots__": ()})
