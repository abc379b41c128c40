"""Attribution carried on: into threads, executors and their processes, and over HTTP as baggage."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor, Future
from types import TracebackType
from typing import Any, ParamSpec, TypeVar, overload

from llmwatch import _runtime
from llmwatch.attribution import Scope, bound, enter_scope, leave_scope

P = ParamSpec("P")
T = TypeVar("T")


@overload
def bind(target: Executor) -> Executor: ...
@overload
def bind(target: Callable[P, T]) -> Callable[P, T]: ...
def bind(target: Any) -> Any:
    """Carries attribution into threads and processes, which begin without it.

    A function gets the attribution of the place where `bind` was called: `Thread(target=bind(work))`. It may be called
    any number of times, at the same time too.

    An executor (`with bind(ProcessPoolExecutor()) as pool: ...`) gives each call the attribution of the place where it
    was submitted. Calls made in its threads are nested in the call around the submission; into other processes go the
    labels alone, pickled with the function.

    Raises:
        TypeError: For a generator function, whose body would run outside the scope.
    """
    scope = _runtime.current().surroundings()
    return _BoundExecutor(target) if isinstance(target, Executor) else bound(target, scope)


class _BoundExecutor(Executor):
    """An executor that runs each call in the scope in which it was submitted."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        return self._executor.submit(_carried(fn), *args, **kwargs)

    def map(self, fn: Callable[..., T], *iterables: Iterable[Any], **options: Any) -> Iterator[T]:
        return self._executor.map(_carried(fn), *iterables, **options)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self._executor.shutdown(wait, cancel_futures=cancel_futures)

    def __enter__(self) -> _BoundExecutor:
        self._executor.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> bool | None:
        return self._executor.__exit__(kind, error, tb)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._executor, name)


class _Carried:
    """A function and the scope of each of its calls; pickled, it takes the scope's labels along and nothing else."""

    __slots__ = ("_fn", "_scope")

    def __init__(self, fn: Callable[..., Any], scope: Scope) -> None:
        self._fn = fn
        self._scope = scope

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        token = enter_scope(self._scope)
        try:
            return self._fn(*args, **kwargs)
        finally:
            leave_scope(token)

    def __reduce__(self) -> Any:
        labels = {name: str(value) for name, value in self._scope.labels.items()}
        return _arrived, (self._fn, labels)


def _carried(fn: Callable[..., T]) -> Callable[..., T]:
    return _Carried(fn, _runtime.current().surroundings())


def _arrived(fn: Callable[..., Any], labels: Mapping[str, str]) -> _Carried:
    return _Carried(fn, Scope(labels))


class outgoing_baggage:  # noqa: N801 - a block, used like a function
    """Sends the labels of the place along with the requests made inside: `with outgoing_baggage(): client.get(...)`.

    Puts those that `configure(baggage=...)` names into OpenTelemetry's baggage as `llmwatch.<label>`, from where an
    instrumentation of the HTTP client takes them; without that setting it does nothing. Everybody who is called inside
    can read them, so put it around calls of your own services and not around those of a vendor. Not around a `yield`:
    the consumer of a generator would have them too, until it ends.
    """

    def __init__(self) -> None:
        self._leave: list[Callable[[], None]] = []

    def __enter__(self) -> None:
        runtime = _runtime.current()
        if runtime.baggage is not None:
            try:
                self._leave.append(runtime.baggage.attach(runtime.surroundings().labels))
            except Exception as error:
                runtime.shield.report("baggage", error)
                self._leave.append(_nothing)
        else:
            self._leave.append(_nothing)

    def __exit__(self, *_: object) -> None:
        self._leave.pop()()


def _nothing() -> None:
    """There is nothing to leave."""
