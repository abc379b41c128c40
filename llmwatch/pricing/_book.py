"""The price book: what a call costs, by what its provider reports, else the user's overrides, else the price table."""

from __future__ import annotations

import time
from bisect import bisect_right
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from llmwatch.pricing._card import Card
from llmwatch.pricing._money import LARGEST, whole
from llmwatch.pricing._names import LONGEST_NAME, meanings
from llmwatch.pricing._override_file import load_overrides
from llmwatch.pricing._rules import Overrides, Rule
from llmwatch.pricing._table import DAY, TABLE, Entry, Listed
from llmwatch.pricing._tariffs import Fixed, Hourly, Tariff
from llmwatch.pricing._values import Cost, Price, Unpriced

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping

    from llmwatch.usage import Usage

_REMEMBERED = 4096
_REPORTED = (("request", "reported"),)
Listing = tuple[int, Price, Card | None]  # from which second of the day on, the price, and its card if it has one


@dataclass(frozen=True, slots=True)
class Quote:
    """A price that was found for a call, and the way to charge it.

    Attributes:
        since: Seconds after midnight UTC from which it holds.
        price: The price, for people; `None` where nobody has one.
        tariff: The same, for calls.
    """

    since: int
    price: Price | None
    tariff: Tariff


class Day:
    """What holds on one day: one quote, or several by the time of day.

    Args:
        quotes: By rising `since`, the first one from midnight on.

    Attributes:
        only: The quote that holds all day, if one does.
    """

    __slots__ = ("_quotes", "only")

    def __init__(self, quotes: Iterable[Quote]) -> None:
        self._quotes = tuple(quotes)
        self.only = self._quotes[0] if len(self._quotes) == 1 else None

    def at(self, second: float) -> Quote:
        """The quote at a second after midnight UTC."""
        return self._quotes[bisect_right(self._quotes, second, key=_since) - 1]


class UnnamedError(Exception):
    """No name that a price could be looked up by; raised, because what is raised is not remembered."""

    def __init__(self, unpriced: Unpriced) -> None:
        super().__init__(unpriced.reason)
        self.unpriced = unpriced


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
        """The version of the price table, which is genai-prices'; `None` while it is not loaded, or not known."""
        return TABLE.version

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
        at: datetime | float | None = None,
        service_tier: str | None = None,
        reported: Decimal | None = None,
        duration: float | None = None,
    ) -> Cost | Unpriced:
        """The cost of one call, or why it is unknown.

        Args:
            usage: Its tokens; `None` when unknown.
            provider: Its provider, as OpenTelemetry, genai-prices or a gateway writes it.
            model: The model that answered, or the deployment.
            at: When it began, as a datetime (in UTC, without a time zone) or in seconds since 1970; now, if not given.
            service_tier: The tier that served it, as the response names it (`batch`, `flex`, `priority`, …).
            reported: What the provider says that it costs, in US dollars; it stands.
            duration: Seconds that it took, for models that are priced by the hour.
        """
        moment = time.time() if at is None else _timestamp(at) if isinstance(at, datetime) else at
        try:
            second = moment % DAY
            day = self._quotes(provider, model, service_tier, moment - second)
            found = (day.only or day.at(second)).tariff.cost(usage, duration)
        except UnnamedError as error:
            found = error.unpriced
        return found if reported is None else _reported(reported, found)

    def explain(
        self, model: str, provider: str | None = None, at: datetime | None = None, *, service_tier: str | None = None
    ) -> Price | None:
        """The price that would be used, and why that one; `None` when nobody has one."""
        moment = time.time() if at is None else _timestamp(at)
        second = moment % DAY
        try:
            return self._quotes(provider, model, service_tier, moment - second).at(second).price
        except UnnamedError:
            return None

    def providers_of(self, model: str) -> tuple[str, ...]:
        """The providers at which a model has a price today; a name without its provider may be typical of none."""
        return tuple(each for each in TABLE.providers() if self.explain(model, each) is not None)

    def _resolve(self, provider: str | None, model: str | None, service_tier: str | None, midnight: float) -> Day:
        if not model or model.isspace():
            raise UnnamedError(Unpriced("no_model"))
        if len(model) > LONGEST_NAME or len(provider or "") + len(service_tier or "") > LONGEST_NAME:
            raise UnnamedError(_UNKNOWN)
        day = int(midnight // DAY)
        rule = self.overrides.find(provider, model, service_tier, day)
        if rule is None:
            return _day(_listed(provider, model, service_tier, day))
        if rule.multiplier is None:
            return _day([(0, _price_of(rule), rule.card)])
        found = _listed(provider, rule.like or model, service_tier, day)
        if not found and rule.like is not None:
            found = _listed(None, rule.like, service_tier, day)
        return _day([_times(rule, rule.multiplier, listed) for listed in found])


_UNKNOWN = Unpriced("unknown_model")
_NOBODYS = Day([Quote(0, None, Fixed(_UNKNOWN))])
_since = attrgetter("since")


def _reported(dollars: Decimal, listed: Cost | Unpriced) -> Cost | Unpriced:
    """What the provider reports, and what its cache saved at the listed rates; nonsense is passed over."""
    if not (dollars.is_finite() and 0 <= dollars <= LARGEST):
        return listed
    saved = listed.saved if isinstance(listed, Cost) else 0
    return Cost(_REPORTED, (whole(dollars),), saved, "provider", estimated=False)


def _listed(provider: str | None, model: str, service_tier: str | None, day: int) -> list[Listing]:
    """What the table lists for a day under the likeliest meaning of the names; nothing, when it has none of them."""
    for named, form in meanings(provider, model):
        entry = TABLE.find(named, form)
        if entry is not None:
            listed = TABLE.listed(entry, service_tier, day)
            return [(each.since, _price(entry, each, service_tier), each.card) for each in listed]
    return []


def _price(entry: Entry, listed: Listed, service_tier: str | None) -> Price:
    why = f"genai-prices {TABLE.version} lists it under {entry.provider.id} as {entry.model.id}"
    if entry.borrowed:
        why += ", at the price of the provider that the model is from"
    reasons = [why]
    if listed.assumed:
        reasons.append(f"it has no price for the service tier {service_tier!r}: the list price stands in")
    if listed.card is None:
        reasons.append("it is named as free" if entry.is_free else "but without a rate for tokens")
    return Price(
        provider=entry.provider.id,
        model=entry.model.id,
        source="table",
        why="; ".join(reasons),
        free=listed.card is None and entry.is_free,
        estimated=listed.assumed,
        unmeasured=listed.unmeasured,
    )


def _price_of(rule: Rule) -> Price:
    return Price(
        provider=str(rule.providers),
        model=str(rule.models),
        source="override",
        why=_why(rule),
        per_hour=rule.per_hour,
        free=rule.card is None and rule.per_hour is None,
        estimated=rule.per_hour is not None,
    )


def _times(rule: Rule, multiplier: Decimal, listing: Listing) -> Listing:
    since, price, card = listing
    why = f"{_why(rule)}, {multiplier} times the price in the table: {price.why}"
    return since, replace(price, source="override", why=why), card and card.times(multiplier)


def _why(rule: Rule) -> str:
    why = f"{rule.where} matches (provider {rule.providers}, model {rule.models})"
    return f"{why}: {rule.note}" if rule.note else why


def _day(listings: Iterable[Listing]) -> Day:
    quotes = [_quote(*listing) for listing in listings]
    return Day(quotes) if quotes else _NOBODYS


def _quote(since: int, price: Price, card: Card | None) -> Quote:
    """A price and its way to charge: by its card, else by the hour, else nothing, else not at all."""
    if card is not None:
        rates, tiers = card.listed()
        return Quote(since, replace(price, rates=rates, tiers=tiers, per_request=card.fee), card)
    if price.per_hour is not None:
        return Quote(since, price, Hourly(price.per_hour))
    free = Cost((), (), 0, price.source, estimated=False)
    return Quote(since, price, Fixed(free if price.free else Unpriced("missing_rate")))


def _timestamp(at: datetime) -> float:
    return (at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp()
