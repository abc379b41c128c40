"""The price book: what a call costs, by what its provider reports, else the user's overrides, else the price table."""

from __future__ import annotations

import time
from bisect import bisect_right
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from llmwatch.pricing._card import EXACT, ZERO, Card
from llmwatch.pricing._names import LONGEST_NAME, meanings
from llmwatch.pricing._override_file import load_overrides
from llmwatch.pricing._rules import Overrides, Rule
from llmwatch.pricing._table import DAY, TABLE, Entry, table_version
from llmwatch.pricing._values import Cost, Price, Unpriced

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping

    from llmwatch.usage import Usage

_REMEMBERED = 4096
_PICODOLLAR = Decimal("1e-12")
_HOUR = Decimal(3600)


@dataclass(frozen=True, slots=True)
class Quote:
    """A price that was found for a call, ready to be charged."""

    price: Price
    card: Card | None = None

    def cost(self, usage: Usage | None, duration: float | None) -> Cost | Unpriced:
        """What the call costs at this price."""
        price = self.price
        if self.card is not None:
            if usage is None:
                return Unpriced("missing_usage")
            cost = self.card.cost(usage, price.source, estimated=price.estimated)
            return Unpriced(cost) if isinstance(cost, str) else cost
        if price.free:
            return Cost(ZERO, {}, price.source)
        if price.per_hour is None:
            return Unpriced("missing_rate")
        if duration is None or not 0 <= duration < float("inf"):
            return Unpriced("missing_usage")
        hours = EXACT.divide(Decimal(duration), _HOUR)
        total = EXACT.multiply(price.per_hour, hours).quantize(_PICODOLLAR, context=EXACT)
        return Cost(total, {("request", "time"): total}, price.source, estimated=True)


@dataclass(frozen=True, slots=True)
class Day:
    """What holds on one day: one quote, or several by the time of day."""

    since: tuple[int, ...]
    quotes: tuple[Quote, ...]

    def at(self, second: int) -> Quote:
        """The quote at a second after midnight UTC."""
        return self.quotes[0] if len(self.quotes) == 1 else self.quotes[bisect_right(self.since, second) - 1]


class PriceBook:
    """Prices calls. Never raises when it does, and is safe for threads.

    The first call needs the price table, whose import takes 0.3 s: on the thread of an event loop, ask `ready` first.

    Args:
        overrides: Prices of the user's own: what `load_overrides` gives, or what it takes.

    Raises:
        PriceFileError: When the overrides have a mistake in them.
    """

    def __init__(self, overrides: Overrides | str | os.PathLike[str] | Mapping[str, Any] | None = None) -> None:
        if overrides is None:
            overrides = Overrides()
        self.overrides = overrides if isinstance(overrides, Overrides) else load_overrides(overrides)
        self._quotes = lru_cache(_REMEMBERED)(self._resolve)

    @property
    def ready(self) -> bool:
        """Whether the price table is loaded, so that pricing takes microseconds."""
        return TABLE.ready

    @property
    def version(self) -> str | None:
        """The version of the price table, which is genai-prices'; `None` when that is not installed."""
        return table_version()

    def load(self) -> None:
        """Loads the price table on this thread, unless it is loaded."""
        TABLE.load()

    def preload(self) -> None:
        """Begins to load the price table on a thread of its own, once for the process; does not wait for it."""
        TABLE.preload()

    def age_seconds(self) -> float | None:
        """Seconds since the newest price change in the table; `None` while it is not loaded."""
        return TABLE.age_seconds()

    def cost(
        self,
        usage: Usage | None,
        *,
        provider: str | None,
        model: str | None,
        at: datetime | None = None,
        service_tier: str | None = None,
        reported: Decimal | None = None,
        duration: float | None = None,
    ) -> Cost | Unpriced:
        """The cost of one call, or why it is unknown.

        Args:
            usage: Its tokens; `None` when unknown.
            provider: Its provider, as OpenTelemetry, genai-prices or a gateway writes it.
            model: The model that answered, or the deployment.
            at: When it began; now, if not given. Without a time zone it is UTC.
            service_tier: The tier that served it, as the response names it (`batch`, `flex`, `priority`, …).
            reported: What the provider says that it costs, in US dollars; it stands.
            duration: Seconds that it took, for models that are priced by the hour.
        """
        day, second = divmod(time.time() if at is None else _timestamp(at), DAY)
        if reported is not None and reported.is_finite() and reported >= 0:
            savings = self._savings(usage, (provider, model, service_tier, int(day), int(second)))
            return Cost(reported, {("request", "reported"): reported}, "provider", savings)
        if not model or model.isspace():
            return Unpriced("no_model")
        if len(model) > LONGEST_NAME or len(provider or "") + len(service_tier or "") > LONGEST_NAME:
            return _UNKNOWN
        found = self._quotes(provider, model, service_tier, int(day))
        return found.at(int(second)).cost(usage, duration) if isinstance(found, Day) else found

    def explain(
        self, model: str, provider: str | None = None, at: datetime | None = None, *, service_tier: str | None = None
    ) -> Price | None:
        """The price that would be used, and why that one; `None` when nobody has one."""
        day, second = divmod(time.time() if at is None else _timestamp(at), DAY)
        found = self._quotes(provider, model, service_tier, int(day))
        return found.at(int(second)).price if isinstance(found, Day) else None

    def _savings(self, usage: Usage | None, call: tuple[str | None, str | None, str | None, int, int]) -> Decimal:
        """What the cache saved at the listed rates, for a call whose provider only says what it cost."""
        provider, model, service_tier, day, second = call
        if usage is None or not usage.cache_read_tokens or not model or len(model) > LONGEST_NAME:
            return ZERO
        found = self._quotes(provider, model, service_tier, day)
        cost = found.at(second).cost(usage, None) if isinstance(found, Day) else found
        return cost.savings if isinstance(cost, Cost) else ZERO

    def _resolve(self, provider: str | None, model: str, service_tier: str | None, day: int) -> Day | Unpriced:
        rule = self.overrides.find(provider, model, service_tier, day)
        if rule is None:
            return _from_table(provider, model, service_tier, day) or _UNKNOWN
        if rule.multiplier is None:
            return Day((0,), (_of_rule(rule),))
        table = _from_table(provider, rule.like or model, service_tier, day)
        if table is None and rule.like is not None:
            table = _from_table(None, rule.like, service_tier, day)
        if table is None:
            return _UNKNOWN
        return Day(table.since, tuple(_times(rule, rule.multiplier, quote) for quote in table.quotes))


_UNKNOWN = Unpriced("unknown_model")


def _from_table(provider: str | None, model: str, service_tier: str | None, day: int) -> Day | None:
    for named, form in meanings(provider, model):
        entry = TABLE.find(named, form)
        if entry is not None:
            since, quotes = zip(*_quotes(entry, service_tier, day), strict=True)
            return Day(since, quotes)
    return None


def _quotes(entry: Entry, service_tier: str | None, day: int) -> Iterator[tuple[int, Quote]]:
    why = f"genai-prices {table_version()} lists it under {entry.provider.id} as {entry.model.id}"
    if entry.borrowed:
        why += ", at the price of the provider that the model is from"
    for listed in TABLE.listed(entry, service_tier, day):
        reasons = [why]
        if listed.assumed:
            reasons.append(f"it has no price for the service tier {service_tier!r}: the list price stands in")
        if listed.card is None:
            reasons.append("it is named as free" if entry.is_free else "but without a rate for tokens")
        price = Price(
            provider=entry.provider.id,
            model=entry.model.id,
            source="table",
            why="; ".join(reasons),
            free=listed.card is None and entry.is_free,
            estimated=listed.assumed,
            unmeasured=listed.unmeasured,
        )
        yield listed.since, Quote(_with_rates(price, listed.card), listed.card)


def _of_rule(rule: Rule) -> Quote:
    price = Price(
        provider=str(rule.providers),
        model=str(rule.models),
        source="override",
        why=_why(rule),
        per_hour=rule.per_hour,
        free=rule.card is None and rule.per_hour is None,
        estimated=rule.per_hour is not None,
    )
    return Quote(_with_rates(price, rule.card), rule.card)


def _times(rule: Rule, multiplier: Decimal, quote: Quote) -> Quote:
    card = None if quote.card is None else quote.card.times(multiplier)
    why = f"{_why(rule)}, {multiplier} times the price in the table: {quote.price.why}"
    return Quote(_with_rates(replace(quote.price, source="override", why=why), card), card)


def _why(rule: Rule) -> str:
    why = f"{rule.where} matches (provider {rule.providers}, model {rule.models})"
    return f"{why}: {rule.note}" if rule.note else why


def _with_rates(price: Price, card: Card | None) -> Price:
    if card is None:
        return price
    rates, tiers = card.listed()
    return replace(price, rates=rates, tiers=tiers, per_request=card.fee)


def _timestamp(at: datetime) -> float:
    return (at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp()
