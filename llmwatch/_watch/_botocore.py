"""boto3's clients: their events before and after each attempt, and the bodies that are still coming then."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import Any
from weakref import WeakKeyDictionary

from llmwatch import _runtime
from llmwatch._watch._sensor import Sensor, Sent
from llmwatch._watch._stands import Body

_SENT: ContextVar[Sent | None] = ContextVar("llmwatch_sent", default=None)
_SENSORS: WeakKeyDictionary[Any, Sensor] = WeakKeyDictionary()


def watch_events(client: Any, sensor: Sensor) -> None:
    """Listens to a client's events; once, however often it is asked to."""
    known = _SENSORS.setdefault(client, sensor)
    if known is not sensor:
        known.learn(sensor)
        return
    # Last, and first: what others do there, the client's own waiting for its rate limiter included, is no attempt.
    client.meta.events.register_last("before-send", _BeforeSend(sensor))
    client.meta.events.register_first("response-received", _after)


class _BeforeSend:
    """Hears of a request that is about to go out."""

    def __init__(self, sensor: Sensor) -> None:
        self.sensor = sensor

    def __call__(self, request: Any, **_: Any) -> None:
        _SENT.set(Sent(self.sensor, request))


def _after(
    response_dict: Any = None, parsed_response: Any = None, exception: BaseException | None = None, **_: Any
) -> None:
    sent = _SENT.get()
    if sent is None:
        return
    _SENT.set(None)
    if response_dict is None:
        sent.failed(exception) if exception is not None else sent.end()
        return
    try:
        headers = response_dict["headers"]
        sent.answered(response_dict["status_code"], headers, headers.items())
        if not _follow(sent, parsed_response):
            sent.end()
    except Exception as error:
        sent.end()
        _runtime.current().shield.report("watch", error)


def _follow(sent: Sent, parsed: Any) -> bool:
    """Whether a body is still coming, which is followed to its end then."""
    for value in parsed.values() if isinstance(parsed, Mapping) else ():
        raw = getattr(value, "_raw_stream", None)
        if raw is not None and type(raw).__module__.partition(".")[0] == "urllib3":
            value._raw_stream = RawBody(raw, sent)
            return True
    return False


class RawBody(Body):
    """In the place of urllib3's response, as `StreamingBody` and `EventStream` read it."""

    __slots__ = ()

    def read(self, *args: Any, **kwargs: Any) -> Any:
        """As the response's own."""
        return self._llmwatch_read(self._llmwatch_inner.read, *args, **kwargs)

    def readinto(self, buffer: Any) -> Any:
        """As the response's own."""
        return self._llmwatch_read(self._llmwatch_inner.readinto, buffer)

    def readlines(self, *args: Any) -> Any:
        """As the response's own."""
        return self._llmwatch_read(self._llmwatch_inner.readlines, *args)

    def stream(self, *args: Any, **kwargs: Any) -> Iterator[bytes]:
        """As the response's own."""
        return self._llmwatch_each(self._llmwatch_inner.stream(*args, **kwargs))

    def __iter__(self) -> Iterator[bytes]:
        return self._llmwatch_each(self._llmwatch_inner)

    def __next__(self) -> Any:
        return self._llmwatch_read(self._llmwatch_inner.__next__)

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """As the response's own."""
        self._llmwatch_sent.end()
        self._llmwatch_inner.close()

    def _llmwatch_read(self, read: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            data = read(*args, **kwargs)
        except StopIteration:
            self._llmwatch_sent.end()
            raise
        except BaseException as error:
            self._llmwatch_sent.broken(error)
            raise
        if not data or self._llmwatch_inner.closed:
            self._llmwatch_sent.end()
        return data

    def _llmwatch_each(self, chunks: Any) -> Iterator[bytes]:
        try:
            yield from chunks
        except BaseException as error:
            self._llmwatch_sent.broken(error)
            raise
        self._llmwatch_sent.end()
