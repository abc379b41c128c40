"""The onset of a change: when a rate left what it was before, found in the samples between two scrapes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from llmwatch._explain._server import Series

_TARGET = ("job", "instance", "service_instance_id", "service_name")
_GAP = 2
"""So many quiet bins in a row do not end a change."""


@dataclass(frozen=True, slots=True)
class Bin:
    """What was added between two instants, and what was to be expected then; `None` where nothing is known."""

    began: float
    ended: float
    now: float | None
    before: float | None

    @property
    def more(self) -> float | None:
        """How much more it was than expected."""
        return None if self.now is None or self.before is None else self.now - self.before


@dataclass(frozen=True, slots=True)
class Onset:
    """When a change began, and when it ended; `None` while it lasts."""

    began: float
    ended: float | None


def added(series: Iterable[Series], watched: Mapping[tuple[str, ...], float]) -> Mapping[float, float]:
    """What was added to counters between one instant of their range query and the next, by the later one.

    A counter that falls has begun anew, at 0. One that appears has begun at 0 as well, if its process was watched by
    then; of a process that appears with it nobody knows when it began.

    Args:
        series: Counters, at the same instants.
        watched: Since when each process is watched, by `target` of its labels.
    """
    found: defaultdict[float, float] = defaultdict(float)
    instants = sorted({time for each in series for time, _ in each.points})
    for each in series:
        if not each.points:
            continue
        first, value = each.points[0]
        is_new = first > instants[0] and watched.get(target(each.labels), first) < first
        if is_new:
            found[first] += value
        for (_, earlier), (time, later) in zip(each.points, each.points[1:], strict=False):
            found[time] += later - earlier if later >= earlier else later
    for time in instants[1:]:
        found.setdefault(time, 0.0)
    return found


def target(labels: Mapping[str, str]) -> tuple[str, ...]:
    """Which process a series comes from."""
    return tuple(labels.get(name, "") for name in _TARGET)


def onset(bins: Sequence[Bin], began: float, *, rose: bool) -> Onset | None:
    """When the change of the window began, looked for from there on backwards; `None` where it cannot be seen.

    It is the first instant from which on the rate differs from what was expected by half as much as it does in the
    window, short breaks aside.

    Args:
        bins: In their order, the last ones in the window.
        began: Unix time at which the window begins.
        rose: Whether there was more in the window than expected.
    """
    sign = 1 if rose else -1
    more = [None if each.more is None else sign * each.more for each in bins]
    inside = [value for each, value in zip(bins, more, strict=True) if value is not None and each.began >= began - 1]
    if not inside or (level := sum(inside) / len(inside)) <= 0:
        return None
    changed = [value is not None and value >= level / 2 for value in more]
    last = max((place for place, is_changed in enumerate(changed) if is_changed), default=None)
    if last is None:
        return None
    first = _first(changed, last)
    if first == 0:
        return None
    return Onset(bins[first].began, bins[last].ended if last < len(bins) - 1 - _GAP else None)


def _first(changed: Sequence[bool], last: int) -> int:
    """The place at which the run begins that ends with `last`."""
    first = last
    while any(changed[max(0, first - 1 - _GAP) : first]):
        first = max(place for place in range(first) if changed[place])
    return first
