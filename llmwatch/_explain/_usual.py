"""What is usual: how much a number varied at earlier times, and which change is more than that."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

_ENOUGH = 3
"""Earlier times, below which nobody knows what is usual."""
_SIGMAS = 3.0
_PER_DEVIATION = 1.4826  # a normal distribution's standard deviation, in median absolute deviations
_SMALL, _SMALL_UNKNOWN = 0.15, 0.3
"""The shares by which a number must change at least; the second where it is not known what is usual."""


@dataclass(frozen=True, slots=True)
class Usual:
    """What a number was at earlier times; the time that it is compared with is one of them.

    Attributes:
        values: One for each earlier time.
    """

    values: tuple[float, ...]

    @property
    def is_known(self) -> bool:
        """Whether there are enough of them."""
        return len(self.values) >= _ENOUGH

    @property
    def middle(self) -> float:
        """The median, which an incident on one of the days does not move."""
        return median(self.values) if self.values else 0.0

    @property
    def spread(self) -> float:
        """The standard deviation, estimated such that an incident on one of the days does not move it."""
        if not self.is_known:
            return 0.0
        return _PER_DEVIATION * median(abs(value - self.middle) for value in self.values)

    def least(self, before: float, floor: float, chance: float = 0.0) -> float:
        """How much a number must differ from what it was before, for the change to count.

        Args:
            before: What it was.
            floor: What is too little to speak of.
            chance: The standard deviation of the change that chance alone makes, for the calls are few.
        """
        small = (_SMALL if self.is_known else _SMALL_UNKNOWN) * abs(before)
        return max(floor, small, _SIGMAS * self.spread, _SIGMAS * chance)


def chance(pairs: Iterable[tuple[float, float]]) -> float:
    """The standard deviation of a sum over calls that come by chance and differ as much as their mean.

    Args:
        pairs: The sum of some calls that are alike, and their number; of each time that is compared.
    """
    return math.sqrt(sum(2 * total**2 / calls for total, calls in pairs if calls > 0))
