"""Activities: what goes on around the calls of a model, opened, ended once and counted, as a block or a decorator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, cast

from llmwatch import _runtime
from llmwatch._ongoing import Underway
from llmwatch.attribution import Scope, Unusable, current_scope, label_values

if TYPE_CHECKING:
    from types import TracebackType

    from llmwatch._call import Status
    from llmwatch._runtime import Runtime
    from llmwatch.errors import ErrorKind
    from llmwatch.metrics import Metric

F = TypeVar("F", bound=Callable[..., object])
G = TypeVar("G")
Amount = tuple["Metric", int | float]


class Activity(Underway):
    """One thing that goes on: a run of an agent, a call of a tool, a check of a guard.

    Args:
        stated: What is stated about it.
        runtime: What it is recorded with.

    Attributes:
        decorator: The name under which users know it.
        subject: The label that names it; by default with the name of the decorated function.
        counter: Counts it, by how it came out.
        outcome: One of the values of that counter's last label.
        given: What a block around it gives to the caller's code.
    """

    __slots__ = ("_alive", "_labels", "_runtime", "_started")
    decorator: ClassVar[str]
    subject: ClassVar[str]
    counter: ClassVar[Metric]
    outcome: ClassVar[str] = "success"
    given: Any = None

    def __init__(self, stated: Mapping[str, str], runtime: Runtime) -> None:
        self.shield = runtime.shield
        self._token = None
        self._runtime = runtime
        self._alive = [True]  # popping it is atomic: of two threads that end it, one wins
        self._labels, self._scope = self._placed(stated, runtime.surroundings())
        self._started = runtime.clock()

    def _placed(self, stated: Mapping[str, str], outer: Scope) -> tuple[Mapping[str, str], Scope]:
        """The labels that it is recorded with, and the scope of what is observed inside, which must not hold it."""
        raise NotImplementedError

    @property
    def ended(self) -> bool:
        """Whether it has had its end."""
        return not self._alive

    def end(self, status: Status, error: ErrorKind | None = None) -> None:
        """Ends it, unless it has ended."""
        try:
            self._alive.pop()
        except IndexError:
            return
        amounts = self._amounts(max(0.0, self._runtime.clock() - self._started))
        labels = {**self._labels, "status": status, "error.type": error.value if error is not None else ""}
        self._runtime.recorder.measured({**labels, **self._outcome(status)}, *amounts)

    def _amounts(self, seconds: float) -> tuple[Amount, ...]:
        """What is recorded of it, which has lasted so many seconds."""
        raise NotImplementedError

    def _outcome(self, status: Status) -> Mapping[str, str]:
        """What is known of it only at its end, beside the status."""
        return {}


@dataclass(frozen=True, slots=True)
class Activities:
    """Activities of one kind that are going to take place, and what is stated about them."""

    kind: type[Activity]
    labels: Mapping[str, str]

    @classmethod
    def of(cls, kind: type[Activity], labels: dict[str, object]) -> Activities:
        """What the user wrote, as label values."""
        return cls(kind, label_values(labels))

    @property
    def decorator(self) -> str:
        """The decorator's name, for error messages."""
        return self.kind.decorator

    def by_default(self, name: str) -> Activities:
        """The same under this name, if they have none; raises `TypeError` where a value is no label value."""
        for label, value in self.labels.items():
            if isinstance(value, Unusable):
                raise TypeError(f"{self.decorator}, {label}: {value.why}")
        subject = self.kind.subject
        return self if self.labels.get(subject) else replace(self, labels={**self.labels, subject: name})

    def begin(self) -> Activity:
        """Opens one of them."""
        runtime = _runtime.current()
        if self.kind.subject not in self.labels:
            runtime.shield.warn_once(self.decorator, f"{self.decorator}() as a block is without a name; give it one")
        return self.kind(self.labels, runtime)

    def announce(self) -> None:
        """Shows their counters at 0, where all labels but the outcome are known."""
        *known, outcome = self.kind.counter.labels
        if self.labels.keys() >= set(known):
            labels = {**self.labels, outcome: self.kind.outcome}
            _runtime.current().recorder.measured(labels, (self.kind.counter, 0))


class Block(Generic[G]):
    """Activities as a block, `with` or `async with`, and as a decorator; may be used at several places at once."""

    def __init__(self, activities: Activities) -> None:
        self._activities = activities
        self._entered: dict[int, Activity] = {}  # by the scope that each has opened

    def __enter__(self) -> G:
        activity = self._activities.begin()
        activity.__enter__()
        self._entered[id(current_scope())] = activity
        return cast("G", activity.given)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        activity = self._entered.pop(id(current_scope()), None)
        if activity is None and self._entered:  # entered in one context and left in another
            _, activity = self._entered.popitem()
        if activity is not None:
            activity.__exit__(kind, error, tb)
            activity.succeed()

    async def __aenter__(self) -> G:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, tb)

    def __call__(self, fn: F, /) -> F:
        """The function, each of its calls such an activity."""
        from llmwatch._functions import name_of, observed  # wrapt is slow to import, and blocks need none of it

        return cast("F", observed(fn, self._activities.by_default(name_of(fn))))
