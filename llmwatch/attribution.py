"""Attribution: who a call is for, one immutable scope in one context variable."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from enum import Enum
from types import MappingProxyType, TracebackType
from typing import Any, NamedTuple, ParamSpec, TypeVar, cast

__all__ = ["Scope", "Unusable", "attribute", "bound", "current_scope", "enter_scope", "label_values", "leave_scope"]

P = ParamSpec("P")
T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

_NOTHING: Mapping[str, str] = MappingProxyType({})


class Scope(NamedTuple):
    """What the calls that are made here inherit.

    Attributes:
        labels: Label values by name.
        call: The observed call that is being made around, if any.
        outer: The scope outside this one.
        owner: The block that opened this scope.
        run: The agent's run that the calls are counted to, if any.
    """

    labels: Mapping[str, str]
    call: Any = None
    outer: Scope | None = None
    owner: Any = None
    run: Any = None


_OUTERMOST = Scope(_NOTHING)
_current: ContextVar[Scope] = ContextVar("llmwatch_scope", default=_OUTERMOST)

current_scope = _current.get
enter_scope = _current.set
leave_scope = _current.reset


class attribute:  # noqa: N801 - a block and a decorator, used like a function
    """Says who the calls inside are for: `with attribute(agent="researcher", tier="pro"): ...`.

    Inner blocks win over outer ones, a decorator's own keywords win over both. Works at any depth and across any
    `await`, in tasks and in `asyncio.to_thread`; into plain threads it is carried by `bind`. Also a decorator for
    functions and coroutine functions.

    Args:
        feature: The part of the product that makes the calls.
        agent: The agent that makes them.
        **labels: Further labels, declared in `configure(labels=...)`.

    Raises:
        TypeError: When it decorates a generator function, whose body would run outside the block.
    """

    def __init__(self, *, feature: str | None = None, agent: str | None = None, **labels: object) -> None:
        self._labels = label_values({"feature": feature, "agent": agent, **labels})

    def __enter__(self) -> attribute:
        outer = current_scope()
        enter_scope(Scope({**outer.labels, **self._labels}, outer.call, outer, self, outer.run))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        # A token would raise in another task or thread; the scope itself knows what was outside it.
        scope = current_scope()
        if scope.owner is self:
            enter_scope(scope.outer or _OUTERMOST)

    async def __aenter__(self) -> attribute:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, tb)

    def __call__(self, fn: F) -> F:
        """The function, each of its calls inside such a block."""
        _refuse_generators(fn, "attribute")
        return _within(fn, lambda: attribute(**self._labels))


class _Carried:
    """A scope taken along to another thread."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    def __enter__(self) -> None:
        self._token = enter_scope(self._scope)

    def __exit__(self, *_: object) -> None:
        leave_scope(self._token)


def bound(fn: Callable[P, T], scope: Scope) -> Callable[P, T]:
    """The same function, each of its calls in this scope.

    Raises:
        TypeError: For a generator function, whose body would run outside the scope.
    """
    _refuse_generators(fn, "bind")
    return _within(fn, lambda: _Carried(scope))


class Unusable(str):
    """Stands, empty, for a label value that cannot be used; the recorder counts it and says why, once."""

    __slots__ = ("why",)
    why: str

    @classmethod
    def because(cls, why: str) -> Unusable:
        """An empty value with its reason."""
        value = cls()
        value.why = why
        return value


def label_values(labels: Mapping[str, object]) -> dict[str, str]:
    """Label values as strings, those that are `None` left out, those that cannot be used as `Unusable`."""
    return {name: _label_value(value) for name, value in labels.items() if value is not None}


def _label_value(value: object) -> str:
    if type(value) is str:
        return value
    try:
        if isinstance(value, Enum):
            value = value.value
        if isinstance(value, str | int | float):
            return str.__str__(str(value))
    except Exception:  # the host's own class
        return Unusable.because(f"this {type(value).__name__} raises when it is looked at")
    return Unusable.because(f"a label takes a string, a number or an enum member, not {type(value).__name__}")


def _refuse_generators(fn: Callable[..., Any], name: str) -> None:
    if inspect.isgeneratorfunction(fn) or inspect.isasyncgenfunction(fn):
        raise TypeError(f"{name} cannot wrap the generator function {fn!r}: use `with attribute(...)` inside it")


def _within(fn: F, block: Callable[[], Any]) -> F:
    if inspect.iscoroutinefunction(fn):

        @functools.wraps(fn)
        async def in_coroutine(*args: Any, **kwargs: Any) -> Any:
            with block():
                return await fn(*args, **kwargs)

        return cast("F", in_coroutine)

    @functools.wraps(fn)
    def in_function(*args: Any, **kwargs: Any) -> Any:
        with block():
            result = fn(*args, **kwargs)
        return awaited(result) if inspect.iscoroutine(result) else result

    async def awaited(result: Any) -> Any:
        with block():
            return await result

    return cast("F", in_function)
