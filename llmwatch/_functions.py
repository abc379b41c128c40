"""Observed functions: a wrapper for each kind of function, under which it stays what it is."""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import wrapt

from llmwatch import _runtime, extractors
from llmwatch._streams import AsyncGeneratorProxy, GeneratorProxy, is_stream, proxied
from llmwatch._tap import Tap
from llmwatch.attribution import Unusable, label_values
from llmwatch.extractors import Extractor, check_extractor

if TYPE_CHECKING:
    from llmwatch._ongoing import Ongoing


@dataclass(frozen=True, slots=True)
class Statement:
    """What is stated about calls where they are decorated or wrapped."""

    labels: Mapping[str, str]
    extractor: Extractor | None = None

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


def _deliver(ongoing: Ongoing, response: Any) -> Any:
    """Ends the call with its answer, or hands it over to what is going to end it; what the caller gets."""
    return shielded(ongoing, response, lambda: _delivered(ongoing, response))


def _delivered(ongoing: Ongoing, response: Any) -> Any:
    if inspect.iscoroutine(response):
        return _named(_awaited(ongoing, response), response)
    if hasattr(type(response), "add_done_callback"):  # a future of asyncio or of concurrent.futures
        response.add_done_callback(functools.partial(_done, ongoing))
        return response
    if name := extractors.held_stream(response):  # boto3's: a dict that says where the stream is
        return {**response, name: proxied(response[name], Tap(ongoing))}
    if is_stream(response):
        return proxied(response, Tap(ongoing))
    ongoing.respond(response)
    ongoing.succeed()
    return response


def shielded(ongoing: Ongoing, response: Any, deliver: Callable[[], Any]) -> Any:
    """What `deliver` makes of a response; the response itself, its call ended, when that fails."""
    try:
        return deliver()
    except Exception as error:
        ongoing.succeed()
        ongoing.shield.report("deliver", error)
        return response


async def _awaited(ongoing: Ongoing, response: Coroutine[Any, Any, Any]) -> Any:
    with ongoing:
        answer = await response
    return _deliver(ongoing, answer)


def _named(coroutine: Coroutine[Any, Any, Any], like: Any) -> Coroutine[Any, Any, Any]:
    """The coroutine under the name by which tasks and warnings would show it without us."""
    for name in ("__name__", "__qualname__"):
        setattr(coroutine, name, getattr(like, name, getattr(coroutine, name)))
    return coroutine


def _done(ongoing: Ongoing, future: Any) -> None:
    if future.cancelled():
        ongoing.end("cancelled")
    # `exception()` would tell asyncio that somebody has taken note of it, and it would not be logged.
    elif error := future._exception if hasattr(future, "_exception") else future.exception():
        ongoing.fail(error)
    else:
        ongoing.respond(future.result())
        ongoing.succeed()


Kind = Literal["function", "coroutine", "generator", "async generator"]


def _kind(fn: Any) -> Kind:
    """What kind of function is at the bottom of class and static methods, partials and callable objects."""
    while True:
        if isinstance(fn, classmethod | staticmethod):
            fn = fn.__func__
        elif isinstance(fn, functools.partial | functools.partialmethod):
            fn = fn.func
        else:
            break
    if callable(fn) and not inspect.isroutine(fn) and not hasattr(fn, "__code__"):
        fn = type(fn).__call__
    if inspect.isasyncgenfunction(fn):
        return "async generator"
    if inspect.isgeneratorfunction(fn):
        return "generator"
    return "coroutine" if inspect.iscoroutinefunction(fn) else "function"


def _wrapper(kind: Kind, statement: Statement) -> Callable[..., Any]:
    def in_function(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        with statement.begin() as ongoing:
            response = wrapped(*args, **kwargs)
        return _deliver(ongoing, response)

    async def observed(wrapped: Any, args: Any, kwargs: Any) -> Any:
        with statement.begin() as ongoing:
            response = await wrapped(*args, **kwargs)
        return _deliver(ongoing, response)

    def in_coroutine(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        return _named(observed(wrapped, args, kwargs), wrapped)

    def in_generator(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        with statement.begin() as ongoing:
            generator = wrapped(*args, **kwargs)
        proxy = AsyncGeneratorProxy if kind == "async generator" else GeneratorProxy
        return shielded(ongoing, generator, lambda: proxy(generator, Tap(ongoing)))

    return {"function": in_function, "coroutine": in_coroutine}.get(kind, in_generator)


class _BoundObserved(wrapt.BoundFunctionWrapper):  # type: ignore[type-arg]
    """An observed method, taken from an object or from its class: it is found there again by its name."""

    def __reduce_ex__(self, protocol: Any) -> Any:
        return getattr, (self._self_owner if self._llmwatch_belongs_to_class else self._self_instance, self.__name__)

    def __copy__(self) -> Any:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        if self._llmwatch_belongs_to_class:
            return self
        return getattr(copy.deepcopy(self._self_instance, memo), self.__name__)

    @property
    def _llmwatch_belongs_to_class(self) -> bool:
        return self._self_instance is None or self._self_binding in {"classmethod", "staticmethod"}


class _Observed(wrapt.FunctionWrapper):  # type: ignore[type-arg]
    """An observed function: wrapt's wrapper, which can also be pickled and copied as the function could."""

    __bound_function_wrapper__ = _BoundObserved

    def __init__(self, fn: Any, statement: Statement) -> None:
        super().__init__(fn, _wrapper(_kind(fn), statement))
        self._self_statement = statement

    def __reduce_ex__(self, protocol: Any) -> Any:
        if inspect.isroutine(self.__wrapped__):
            return self.__wrapped__.__qualname__
        return _Observed, (self.__wrapped__, self._self_statement)

    def __copy__(self) -> Any:
        return (
            self
            if inspect.isroutine(self.__wrapped__)
            else _Observed(copy.copy(self.__wrapped__), self._self_statement)
        )

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        if inspect.isroutine(self.__wrapped__):
            return self
        return _Observed(copy.deepcopy(self.__wrapped__, memo), self._self_statement)


def observed(fn: Any, statement: Statement) -> Any:
    """The function, each of its calls observed.

    Raises:
        TypeError: When it is a class or no callable at all.
    """
    if isinstance(fn, type):
        raise TypeError(f"observe_llm decorates functions, not the class {fn.__name__}: decorate its methods")
    if not callable(fn) and not isinstance(fn, classmethod | staticmethod | functools.partialmethod):
        raise TypeError(f"observe_llm decorates a callable, not {fn!r}; its own arguments are keywords")
    if len(statement.labels) > 1:  # something beside the operation is known: its series can start at 0
        _runtime.current().announce(statement.labels)
    return _Observed(fn, statement)
