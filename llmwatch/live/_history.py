"""History: what was at many moments of the last hour, in a fixed number of places."""

from __future__ import annotations

from bisect import bisect_right
from typing import Generic, TypeVar

Value = TypeVar("Value")


class History(Generic[Value]):
    """Values by the moment at which they were true, evenly spread over the time that they span.

    When there is no room, the one goes whose neighbours are closest together; so a young history has each value, and
    an old one still has its whole span.

    Args:
        most: How many are kept, at least 3.
        span: Seconds after which they are forgotten.

    Attributes:
        times: Seconds of a monotonic clock, ascending.
        values: The values, in the same order.
    """

    def __init__(self, most: int, span: float) -> None:
        self.times: list[float] = []
        self.values: list[Value] = []
        self._most = most
        self._span = span

    def __len__(self) -> int:
        return len(self.times)

    def add(self, at: float, value: Value) -> None:
        """Adds the value of this moment, which is later than all before."""
        self.times.append(at)
        self.values.append(value)
        old = bisect_right(self.times, at - self._span, hi=len(self.times) - 1)
        del self.times[:old], self.values[:old]
        if len(self.times) > self._most:
            times = self.times
            dense = min(range(1, len(times) - 1), key=lambda place: times[place + 1] - times[place - 1])
            del times[dense], self.values[dense]

    def around(self, at: float) -> int:
        """The place of the value whose moment is closest to this one."""
        return min(range(len(self.times)), key=lambda place: abs(self.times[place] - at))

    def before(self, at: float) -> int:
        """The place of the last value that is not later; of the first one, where all are."""
        return max(0, bisect_right(self.times, at) - 1)
