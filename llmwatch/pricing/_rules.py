"""Override rules: which calls a price of the user's is for, and what it charges."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import translate
from typing import TYPE_CHECKING

from llmwatch.pricing._names import Pair, meanings, provider_id, undated

if TYPE_CHECKING:
    from collections.abc import Iterable
    from decimal import Decimal

    from llmwatch.pricing._card import Card


class Glob:
    """One or more shell patterns (`*`, `?`, `[…]`), without regard to case."""

    __slots__ = ("_match", "patterns")

    def __init__(self, patterns: Iterable[str], *, providers: bool = False) -> None:
        self.patterns = tuple(patterns)
        wanted = {pattern.strip().lower() for pattern in self.patterns}
        if providers:
            wanted |= {provider_id(pattern) for pattern in wanted if not set(pattern) & set("*?[")}
        self._match = re.compile("|".join(translate(pattern) for pattern in sorted(wanted))).match

    def matches(self, name: str | None) -> bool:
        """Whether a name, in lower case, matches any pattern; no name is matched by `*` alone."""
        return self._match(name or "") is not None

    def __str__(self) -> str:
        return ", ".join(self.patterns)


@dataclass(frozen=True, slots=True)
class Rule:
    """One entry of an override file: its match, and exactly one of card, multiplier, hourly rate, or free.

    Attributes:
        where: The entry, for people: file, line and number.
        providers: Matches the provider, as stated or as genai-prices calls it.
        models: Matches the model: as named, without provider prefix or path, or without the date of its version.
        first_day: First day (counted from 1970, UTC) that it holds.
        last_day: Last such day.
        tiers: Matches the service tier that the response names; `None` matches all.
        card: Rates of its own.
        multiplier: Factor on what the table says.
        like: The model whose place in the table it takes, with `multiplier`.
        per_hour: US dollars for an hour that a call takes.
        note: The user's own words on it.
    """

    where: str
    providers: Glob
    models: Glob
    first_day: int | None = None
    last_day: int | None = None
    tiers: Glob | None = None
    card: Card | None = None
    multiplier: Decimal | None = None
    like: str | None = None
    per_hour: Decimal | None = None
    note: str | None = None

    def applies(self, names: Iterable[Pair], service_tier: str | None, day: int) -> bool:
        """Whether it is for a call with one of these names, on that day."""
        if (self.first_day is not None and day < self.first_day) or (self.last_day is not None and day > self.last_day):
            return False
        if self.tiers is not None and not self.tiers.matches((service_tier or "").strip().lower()):
            return False
        return any(self.models.matches(model) and self.providers.matches(provider) for provider, model in names)


@dataclass(frozen=True, slots=True)
class Overrides:
    """The user's own prices; of several rules for a call, the first one counts.

    Attributes:
        rules: In the order of the file.
        file: Where they were read; `None` when they came as a mapping.
    """

    rules: tuple[Rule, ...] = ()
    file: str | None = None

    def find(self, provider: str | None, model: str, service_tier: str | None, day: int) -> Rule | None:
        """The rule for a call, or `None`."""
        names = _names(provider, model) if self.rules else ()
        return next((rule for rule in self.rules if rule.applies(names, service_tier, day)), None)


def _names(provider: str | None, model: str) -> tuple[Pair, ...]:
    """All `(provider, model)` that a rule may name a call by."""
    stated = provider.strip().lower() if provider else None
    pairs = [(stated, model.strip().lower()), *meanings(provider, model)]
    pairs += [(stated, form) for _, form in pairs]
    pairs += [(owner, undated(form)) for owner, form in pairs]
    return tuple(dict.fromkeys(pairs))
