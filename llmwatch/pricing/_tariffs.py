"""Tariffs: the ways in which a call can be charged; the one by tokens is the rate card."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Protocol

from llmwatch.pricing._money import EXACT, whole
from llmwatch.pricing._values import Cost, Unpriced

if TYPE_CHECKING:
    from llmwatch.usage import Usage

_HOUR = Decimal(3600)
_PICODOLLAR = Decimal("1e-12")
_LONGEST = 1e9


class Tariff(Protocol):
    """A way to charge for a call."""

    def cost(self, usage: Usage | None, duration: float | None) -> Cost | Unpriced:
        """What a call of so many tokens and so many seconds costs, or why that is unknown."""


@dataclass(frozen=True, slots=True)
class Fixed:
    """All calls alike: free, or without a known price."""

    answer: Cost | Unpriced

    def cost(self, usage: Usage | None, duration: float | None) -> Cost | Unpriced:
        """The same for every call."""
        return self.answer


@dataclass(frozen=True, slots=True)
class Hourly:
    """By the time that a call takes, as an estimate: whole picodollars, for a duration is no exact number.

    Attributes:
        dollars: US dollars per hour.
    """

    dollars: Decimal

    def cost(self, usage: Usage | None, duration: float | None) -> Cost | Unpriced:
        """The call's share of the hour."""
        if duration is None or not 0 <= duration < _LONGEST:
            return Unpriced("missing_usage")
        hours = EXACT.divide(Decimal(duration), _HOUR)
        total = EXACT.quantize(EXACT.multiply(self.dollars, hours), _PICODOLLAR)
        return Cost((("request", "time"),), (whole(total),), 0, "override", estimated=True)
