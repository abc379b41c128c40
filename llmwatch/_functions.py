"""Observed functions: a wrapper for each kind of function, under which it stays what it is."""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable
from typing import Any, Literal, Protocol

import wrapt

from llmwatch._delivery import deliver, named, passage, shielded
from llmwatch._ongoing import Underway
from llmwatch._streams import AsyncGeneratorProxy, GeneratorProxy

Kind = Literal["function", "coroutine", "generator", "async generator"]


class Opener(Protocol):
    """What is stated where a function is decorated, and opens what each of its calls is observed as."""

    @property
    def decorator(self) -> str:
        """The decorator's name, for error messages."""

    def begin(self) -> Underway:
        """Opens one."""

    def announce(self) -> None:
        """Says that there are going to be some."""


def name_of(fn: Any) -> str:
    """The name of the function at the bottom, or of the class of a callable object."""
    fn = _bottom(fn)
    return str(getattr(fn, "__name__", type(fn).__name__))


def _bottom(fn: Any) -> Any:
    """What is at the bottom of class and static methods and partials."""
    while True:
        if isinstance(fn, classmethod | staticmethod):
            fn = fn.__func__
        elif isinstance(fn, functools.partial | functools.partialmethod):
            fn = fn.func
        else:
            return fn


def _kind(fn: Any) -> Kind:
    """What kind of function is at the bottom, that of a callable object included."""
    fn = _bottom(fn)
    if callable(fn) and not inspect.isroutine(fn) and not hasattr(fn, "__code__"):
        fn = type(fn).__call__
    if inspect.isasyncgenfunction(fn):
        return "async generator"
    if inspect.isgeneratorfunction(fn):
        return "generator"
    return "coroutine" if inspect.iscoroutinefunction(fn) else "function"


def _wrapper(kind: Kind, statement: Opener) -> Callable[..., Any]:
    proxy = AsyncGeneratorProxy if kind == "async generator" else GeneratorProxy

    def in_function(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        with statement.begin() as ongoing:
            response = wrapped(*args, **kwargs)
        return deliver(ongoing, response)

    async def observed(wrapped: Any, args: Any, kwargs: Any) -> Any:
        with statement.begin() as ongoing:
            response = await wrapped(*args, **kwargs)
        return deliver(ongoing, response)

    def in_coroutine(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        return named(observed(wrapped, args, kwargs), wrapped)

    def in_generator(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        with statement.begin() as ongoing:
            generator = wrapped(*args, **kwargs)
        return shielded(lambda ongoing, generator: proxy(generator, passage(ongoing)), ongoing, generator)

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

    def __init__(self, fn: Any, statement: Opener) -> None:
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


def observed(fn: Any, statement: Opener) -> Any:
    """The function, each of its calls observed.

    Raises:
        TypeError: When it is a class or no callable at all.
    """
    if isinstance(fn, type):
        raise TypeError(f"{statement.decorator} decorates functions, not the class {fn.__name__}: decorate its methods")
    if not callable(fn) and not isinstance(fn, classmethod | staticmethod | functools.partialmethod):
        raise TypeError(f"{statement.decorator} decorates a callable, not {fn!r}; its own arguments are keywords")
    statement.announce()
    return _Observed(fn, statement)
