"""Guards: `record_guard` counts what a guard decides, at once, at the end of a block, or at each call of a function."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, get_args, overload

from llmwatch import _runtime, metrics
from llmwatch._activities import Activities, Activity, Amount, Block
from llmwatch.attribution import Scope, current_scope, label_values

if TYPE_CHECKING:
    from llmwatch._call import Status

Stage = Literal["input", "output"]
_LATER: Any = object()  # no decision yet: a block takes it


class Verdict:
    """What a guard decides in one check; the last word counts.

    Attributes:
        guard: What is stated about the guard.
        decision: The last word; `None` leaves the decision to how the check ends.
        closed: Whether the check has ended.
    """

    __slots__ = ("closed", "decision", "guard")

    def __init__(self, guard: Mapping[str, str]) -> None:
        self.guard = guard
        self.decision: str | None = None
        self.closed = False

    def reject(self) -> None:
        """What was checked must not pass."""
        self.decide("rejected")

    def decide(self, decision: str) -> None:
        """Any decision in a word, such as `redacted`."""
        self.decision = label_values({"decision": decision}).get("decision")
        if self.closed:
            _warn("a decision came after its check had ended, and is not counted")


class Check(Activity):
    """One check of a guard, which has decided something at its end."""

    __slots__ = ("given",)
    decorator = "record_guard"
    subject = "guard"
    counter = metrics.GUARD_DECISIONS
    outcome = "allowed"

    def _placed(self, stated: Mapping[str, str], outer: Scope) -> tuple[Mapping[str, str], Scope]:
        self.given = Verdict(stated)
        scope = Scope(outer.labels, outer.call, outer, self.given, outer.run)
        return {"feature": _feature(outer), **stated}, scope

    def _amounts(self, seconds: float) -> tuple[Amount, ...]:
        return ((metrics.GUARD_DECISIONS, 1),)

    def _outcome(self, status: Status) -> Mapping[str, str]:
        self.given.closed = True
        if self.given.decision is not None:
            return {"decision": self.given.decision}
        return {"decision": "allowed" if status == "success" else status}


class Guard(Block[Verdict]):
    """A guard as a block, which gives a `Verdict`, and as a decorator, whose function calls these methods."""

    def reject(self) -> None:
        """Rejects what this guard is checking here."""
        self.decide("rejected")

    def decide(self, decision: str) -> None:
        """Decides about what this guard is checking here."""
        scope: Scope | None = current_scope()
        while scope is not None:
            if isinstance(verdict := scope.owner, Verdict) and verdict.guard == self._activities.labels:
                return verdict.decide(decision)
            scope = scope.outer
        return _warn("a guard decided outside of its block and its functions, and that is not counted")


@overload
def record_guard(name: str, decision: str, stage: Stage = "input", *, feature: str | None = None) -> None: ...
@overload
def record_guard(name: str, *, stage: Stage = "input", feature: str | None = None) -> Guard: ...
def record_guard(
    name: str, decision: str = _LATER, stage: Stage = "input", *, feature: str | None = None
) -> Guard | None:
    """Counts a guard's decision in `ai_guard_decisions`: `record_guard("pii", "rejected", stage="output")`.

    Without a decision it is a block: `with record_guard("pii", stage="output") as guard: ...`, in which
    `guard.reject()` or `guard.decide("redacted")` may be called. Also `async with`, and a decorator for every kind of
    function, `pii = record_guard("pii")` and `@pii`, in whose functions `pii.reject()` does the same. One check is
    one decision: the last that was made, whether or not an exception leaves the block then; without one `allowed` at
    a clean end, `error` when an exception leaves the block, `cancelled` and `abandoned` as for calls. The first time
    that a guard is seen, its `allowed` and `rejected` begin at 0.

    Args:
        name: The guard's name.
        decision: What it has decided, in a word.
        stage: Whether it looks at what goes into a model or at what comes out.
        feature: The part of the product; by default that of the nearest block or call around.

    Raises:
        ValueError: For another stage, where a block or a decorator is made. Together with a decision it is logged
            once, and recorded as given.
    """
    stated: dict[str, object] = {"guard": name, "stage": stage, "feature": feature}
    if decision is not _LATER:
        _record(stated, decision)
        return None
    if stage not in get_args(Stage):
        raise ValueError(f"record_guard(stage=...): a guard's stage is 'input' or 'output', not {stage!r}")
    return Guard(Activities.of(Check, stated))


def _record(stated: Mapping[str, object], decision: object) -> None:
    labels = label_values({**stated, "decision": decision})
    if labels.get("stage") not in get_args(Stage):
        _warn("record_guard(stage=...): a guard's stage is 'input' or 'output'")
    if not labels.get("decision"):
        _warn("record_guard(decision=...): a decision is a word; leave it out for a block")
    runtime = _runtime.current()
    labels = {"feature": _feature(runtime.surroundings()), **labels}
    runtime.recorder.measured(labels, (metrics.GUARD_DECISIONS, 1))


def _warn(message: str) -> None:
    _runtime.current().shield.warn_once("record_guard", message)


def _feature(scope: Scope) -> str:
    """The feature of the nearest block or call that says one."""
    call, feature = scope.call, scope.labels.get("feature", "")
    while call is not None and call.ended:  # a task may outlive the call that it was started in
        call = call.outer
    if call is None:
        return feature
    outside: Scope | None = scope
    for inside in (False, True):
        while outside is not None and (outside.call is call) == inside:
            outside = outside.outer
    unchanged = outside is None or outside.labels.get("feature", "") == feature
    return call.labels.get("feature", "") if unchanged else feature
