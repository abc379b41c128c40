"""Delivery: what is stated of a call where it is observed, and what becomes of it when its answer is there."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from types import CoroutineType
from typing import Any, ClassVar, TypeVar

from llmwatch import _runtime, extractors
from llmwatch._answers import is_stream, is_whole
from llmwatch._ongoing import Ongoing, Underway
from llmwatch._streams import proxied
from llmwatch._tap import Passage, Tap
from llmwatch.attribution import Unusable, label_values
from llmwatch.extractors import Extractor, check_extractor

U = TypeVar("U", bound=Underway)


@dataclass(frozen=True, slots=True)
class Statement:
    """What is stated about calls where they are decorated or wrapped."""

    labels: Mapping[str, str]
    extractor: Extractor | None = None
    decorator: ClassVar[str] = "observe_llm"

    @classmethod
    def of(cls, extractor: Extractor | None, labels: dict[str, object], *, strict: bool = False) -> Statement:
        """Checks what the user wrote; raises `TypeError` for what is no extractor and, when strict, no label value."""
        values = label_values(labels)
        for name, value in values.items():
            if strict and isinstance(value, Unusable):
                raise TypeError(f"observe_llm({name}=...): {value.why}")
        return cls(values, None if extractor is None else check_extractor(extractor))

    def begin(self) -> Ongoing:
        """Opens a call of which this is stated."""
        return _runtime.current().begin(self.labels, self.extractor)

    def announce(self) -> None:
        """Shows the series of such calls at 0, if more than the operation is known of them."""
        if len(self.labels) > 1:
            _runtime.current().announce(self.labels)


def deliver(ongoing: Underway, response: Any) -> Any:
    """Ends the call with its answer, or hands it over to what is going to end it; what the caller gets."""
    return shielded(_delivered, ongoing, response)


def passage(ongoing: Underway) -> Passage:
    """What the answer goes through: it is read if it is a model's, and only then."""
    return Tap(ongoing) if isinstance(ongoing, Ongoing) else Passage(ongoing)


def _delivered(ongoing: Underway, response: Any) -> Any:
    if not is_whole(type(response)):  # type: ignore[arg-type]
        return _handed_over(ongoing, response)
    ongoing.respond(response)
    ongoing.succeed()
    return response


def _handed_over(ongoing: Underway, response: Any) -> Any:
    """What ends the call with its answer, where that may be still to come."""
    if isinstance(response, CoroutineType):
        return named(_awaited(ongoing, response), response)
    if hasattr(type(response), "add_done_callback"):  # a future of asyncio or of concurrent.futures
        response.add_done_callback(functools.partial(_done, ongoing))
        return response
    of_model = isinstance(ongoing, Ongoing)
    if of_model and (name := extractors.held_stream(response)):  # boto3's: a dict that says where the stream is
        return {**response, name: proxied(response[name], passage(ongoing))}
    # A tool may well return a cursor, which need not be iterated; it is nobody's answer.
    if is_stream(response, iterators=of_model) and not extractors.is_registered(response):
        return proxied(response, passage(ongoing))
    ongoing.respond(response)
    ongoing.succeed()
    return response


def shielded(deliver: Callable[[U, Any], Any], ongoing: U, response: Any) -> Any:
    """What `deliver` makes of a response; the response itself, its call ended, when that fails."""
    try:
        return deliver(ongoing, response)
    except Exception as error:
        ongoing.succeed()
        ongoing.shield.report("deliver", error)
        return response


def named(coroutine: Coroutine[Any, Any, Any], like: Any) -> Coroutine[Any, Any, Any]:
    """The coroutine under the name by which tasks and warnings would show it without us."""
    for name in ("__name__", "__qualname__"):
        setattr(coroutine, name, getattr(like, name, getattr(coroutine, name)))
    return coroutine


async def _awaited(ongoing: Underway, response: Coroutine[Any, Any, Any]) -> Any:
    with ongoing:
        answer = await response
    return deliver(ongoing, answer)


def _done(ongoing: Underway, future: Any) -> None:
    if future.cancelled():
        ongoing.end("cancelled")
    # `exception()` would tell asyncio that somebody has taken note of it, and it would not be logged.
    elif error := future._exception if hasattr(future, "_exception") else future.exception():
        ongoing.fail(error)
    else:
        ongoing.respond(future.result())
        ongoing.succeed()
