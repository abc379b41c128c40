"""Shapley values: the share of each factor in a change, whatever the order in which the factors are changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from math import factorial


def shapley(factors: Sequence[str], value: Callable[[frozenset[str]], float]) -> Mapping[str, float]:
    """What each factor contributes; the contributions add up to `value(all) - value(none)`.

    Each is the mean, over all orders of changing one factor after the other, of what its own change does (L. S.
    Shapley, 1953; for the decomposition of a change: F. Shorrocks, 2013, and B. W. Ang's "perfect" decompositions).
    Unlike logarithmic means it bears zeros.

    Args:
        factors: Their names.
        value: What comes out when these factors are as they are now, and the others as they were.
    """
    known = {
        frozenset(some): value(frozenset(some))
        for size in range(len(factors) + 1)
        for some in combinations(factors, size)
    }
    number, found = len(factors), dict.fromkeys(factors, 0.0)
    for changed, before in known.items():
        for factor in {*factors} - changed:
            weight = factorial(len(changed)) * factorial(number - len(changed) - 1) / factorial(number)
            found[factor] += weight * (known[changed | {factor}] - before)
    return found
