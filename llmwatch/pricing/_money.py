"""Money in whole quectodollars, 10^-30 US dollars: what is added up is exact, and as cheap as integers are.

No price list and no contract has a finer rate for a token: those of genai-prices end at 10^-24, and a discount that is
written as a float has 16 digits more at most. Whatever is finer is rounded, half to even.
"""

from __future__ import annotations

from decimal import Context, Decimal

DOLLAR = 10**30
"""Quectodollars in a dollar."""

LARGEST = Decimal(10) ** 18
"""US dollars above which a price is taken for a mistake."""

EXACT = Context(prec=200)
"""Our own context, for the host's may round to any precision; sums of money never come near this many digits."""

_DIGITS = 30
_ONE = Decimal(1)


def whole(dollars: Decimal) -> int:
    """US dollars in quectodollars."""
    return int(EXACT.to_integral_value(EXACT.scaleb(dollars, _DIGITS)))


def dollars(amount: int) -> Decimal:
    """Quectodollars in US dollars."""
    return plain(EXACT.scaleb(Decimal(amount), -_DIGITS))


def plain(value: Decimal) -> Decimal:
    """The same number as people write it: without trailing zeros, and without an exponent in front of the point."""
    integer = EXACT.to_integral_value(value)
    return EXACT.quantize(integer, _ONE) if value == integer else EXACT.normalize(value)
