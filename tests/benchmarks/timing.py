"""What things cost beside each other: they take turns in one process, so that what slows the machine slows them all."""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from time import perf_counter, thread_time

Subject = Callable[[], object]
Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Timing:
    """How long one subject took.

    Attributes:
        name: The subject.
        rounds: Seconds per call, one value a round; the rounds of all subjects of a comparison are the same ones.
        wall: The same by the clock on the wall, where it was looked at.
    """

    name: str
    rounds: Sequence[float]
    wall: Sequence[float] = ()

    @property
    def median(self) -> float:
        """Seconds per call."""
        return statistics.median(self.rounds)

    def minus(self, base: Timing) -> Timing:
        """What it takes more than the base, round by round."""
        rounds = tuple(mine - other for mine, other in zip(self.rounds, base.rounds, strict=True))
        wall = tuple(mine - other for mine, other in zip(self.wall, base.wall, strict=True))
        return Timing(self.name, rounds, wall)

    def over(self, units: float) -> Timing:
        """The same, per unit."""
        return Timing(self.name, tuple(s / units for s in self.rounds), tuple(s / units for s in self.wall))

    @property
    def by_the_wall(self) -> Timing:
        """The same by the clock on the wall."""
        return Timing(self.name, self.wall)

    def above(self, base: Timing) -> float:
        """Seconds per call more than the base takes: the median over the rounds."""
        return self.minus(base).median

    def ratio(self, base: Timing) -> float:
        """How many times as long as the base it takes: the median over the rounds."""
        return statistics.median(mine / other for mine, other in zip(self.rounds, base.rounds, strict=True))


def nothing() -> None:
    """What is to be done before or after a turn that has no such needs."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What one subject does when its turn comes.

    Attributes:
        work: All of it.
        units: How many calls, or chunks, or whatever its time is divided by, that is.
        before: Done before, and not timed.
        after: Done after, and not timed.
    """

    work: Subject
    units: int
    before: Subject = nothing
    after: Subject = nothing


def in_turns(turns: Mapping[str, Turn], *, rounds: int, clock: Clock = thread_time) -> dict[str, Timing]:
    """Times subjects that say themselves how long their turns are, round by round, in another order each time.

    Args:
        turns: What each does, by name; each is done once before anything is timed.
        rounds: How often each has a turn.
        clock: Seconds of the processor: of this thread, or of all.
    """
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in turns}
    order, shuffled = list(turns), random.Random(0)
    for turn in turns.values():
        _taken(turn, clock)
    for _ in range(rounds):
        shuffled.shuffle(order)
        for name in order:
            taken[name].append(_taken(turns[name], clock))
    return {
        name: Timing(name, tuple(spent for spent, _ in seconds), tuple(passed for _, passed in seconds))
        for name, seconds in taken.items()
    }


def _taken(turn: Turn, clock: Clock) -> tuple[float, float]:
    turn.before()
    began, spent = perf_counter(), clock()
    turn.work()
    spent, passed = clock() - spent, perf_counter() - began
    turn.after()
    return spent / turn.units, passed / turn.units


def interleaved(
    subjects: Mapping[str, Subject], *, rounds: int = 151, turn: float = 0.002, clock: Clock = thread_time
) -> dict[str, Timing]:
    """Times subjects round by round, in another order each time.

    Args:
        subjects: What to call, by name; each is called before anything is timed.
        rounds: How often each has a turn.
        turn: Seconds that a turn should last: long beside a look at the clock, short beside the moods of the machine.
        clock: Seconds; by default those that the processor spends on this thread, as `perf_counter` would also count
            those that it spends on others.
    """
    calls = {name: _calls_of(subject, turn, clock) for name, subject in subjects.items()}
    taken: dict[str, list[float]] = {name: [] for name in subjects}
    order, shuffled = list(subjects), random.Random(0)
    for _ in range(rounds):
        shuffled.shuffle(order)
        for name in order:
            taken[name].append(_turn(subjects[name], calls[name], clock) / calls[name])
    return {name: Timing(name, tuple(seconds)) for name, seconds in taken.items()}


def report(timings: Mapping[str, Timing], *, floor: str, unit: str) -> str:
    """A table: microseconds by median, best and worst round, the same above the floor, and as multiples of the unit.

    Args:
        timings: What `interleaved` gave.
        floor: The subject that does nothing, whose time is in all others.
        unit: The subject that the others are multiples of, both above the floor.
    """
    return "\n".join(_lines(timings, timings[floor], timings[unit]))


def _lines(timings: Mapping[str, Timing], floor: Timing, unit: Timing) -> Iterator[str]:
    width = max(len(name) for name in timings)
    yield f"{'µs per call':<{width}}  median     best    worst  above the floor   ÷ {unit.name}"
    for timing in timings.values():
        above = timing.above(floor)
        figures = (timing.median, min(timing.rounds), max(timing.rounds), above)
        median, best, worst, more = (f"{seconds * 1e6:.3f}" for seconds in figures)
        times = f"{above / unit.above(floor):.2f}" if timing is not floor else ""
        yield f"{timing.name:<{width}} {median:>7} {best:>8} {worst:>8} {more:>16}   {times:>{len(unit.name) + 2}}"


def _calls_of(subject: Subject, turn: float, clock: Clock) -> int:
    subject()
    calls = 1
    while (seconds := _turn(subject, calls, clock)) < turn / 4:
        calls *= 4
    return max(1, round(calls * turn / seconds))


def _turn(subject: Subject, calls: int, clock: Clock) -> float:
    began = clock()
    for _ in repeat(None, calls):
        subject()
    return clock() - began
