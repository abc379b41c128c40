"""The price table: the data of genai-prices, read on demand and shared by all price books of the process.

Nothing of genai-prices but its data and its matching is used, and nothing of it is changed: its snapshot is global, and
other libraries price with it too.
"""

from __future__ import annotations

import concurrent.futures.thread  # noqa: F401 - see register_at_fork
import logging  # noqa: F401 - likewise
import os
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from datetime import time as clock
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from llmwatch.pricing._card import Card
from llmwatch.pricing._money import EXACT
from llmwatch.pricing._names import provider_id
from llmwatch.pricing._rates import DIMENSIONS, SORTS, Rate

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from genai_prices.types import ModelInfo, ModelPrice, Provider, TieredPrices

DAY = 86_400
_FORK_WAITS = 5.0
_EPOCH = date(1970, 1, 1)

# What a response may call its service tier, and the request context that genai-prices selects a variant with. Vendors:
# OpenAI `service_tier`, Anthropic `usage.service_tier` and `usage.speed`, Groq `service_tier`, Google `traffic_type`.
_CONTEXTS: Mapping[str, Mapping[str, str]] = {
    "batch": {"processing": "batch"},
    "fast": {"service_tier": "fast", "speed": "fast"},
    "on_demand_flex": {"service_tier": "flex"},
    "on_demand_priority": {"service_tier": "priority"},
}
_STANDARD = frozenset({"", "auto", "default", "standard", "on_demand", "unspecified", "traffic_type_unspecified"})


@dataclass(frozen=True, slots=True)
class Entry:
    """A model in the table, offered by a provider that may have taken it over from another one."""

    provider: Provider
    model: ModelInfo
    borrowed: bool

    @property
    def is_free(self) -> bool:
        """Whether it is named as free; an entry that merely lists no rates is not."""
        return self.model.id.endswith(":free")


@dataclass(frozen=True, slots=True)
class Listed:
    """What the table lists for an entry from some second of a day on.

    Attributes:
        since: Seconds after midnight UTC.
        card: The rates; `None` when it lists none.
        unmeasured: What else it lists, and no `Usage` counts.
        assumed: Whether the service tier has no price of its own, so that the list price stands in.
    """

    since: int
    card: Card | None
    unmeasured: tuple[str, ...]
    assumed: bool


class PriceTable:
    """The table, loaded once; every method is safe for threads.

    Loading imports genai-prices (with pydantic, 0.3 s), so no event loop's thread should be the one to cause it.

    Attributes:
        version: The version of genai-prices; `None` while it is not loaded, or not known.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loader: threading.Thread | None = None
        self._providers: dict[str, Provider] | None = None
        self._units: Mapping[str, Any] = {}
        self._newest: datetime | None = None
        self._held = False
        self.version: str | None = None
        if hasattr(os, "register_at_fork"):
            # A child that is born in the middle of the import would wait forever for a thread that it does not have.
            # The last registered waits first: not while the locks of logging and of the thread pools are held, which
            # the import needs, so those two have registered before.
            os.register_at_fork(
                before=self._before_fork, after_in_parent=self._after_fork, after_in_child=self._after_fork_in_child
            )

    @property
    def ready(self) -> bool:
        """Whether it is loaded."""
        return self._providers is not None

    def load(self) -> None:
        """Loads it on this thread, unless it is loaded; without genai-prices it stays empty."""
        if self._providers is None:
            with self._lock:
                if self._providers is None:
                    self._read()

    def preload(self) -> None:
        """Begins to load it on a thread of its own; does not wait for it."""
        if self._providers is None and self._loader is None:
            self._loader = threading.Thread(target=self.load, name="llmwatch-prices", daemon=True)
            with suppress(RuntimeError):  # no thread can be started: who needs the table first loads it
                self._loader.start()

    def age_seconds(self) -> float | None:
        """Seconds since the newest price change that it records; `None` when it is not loaded."""
        return None if self._newest is None else max(0.0, time.time() - self._newest.timestamp())

    def find(self, provider: str | None, model: str) -> Entry | None:
        """The entry of a model; without a provider, of the one that the model's name is typical of."""
        self.load()
        offering = self._typical(model) if provider is None else (self._providers or {}).get(provider)
        if offering is None:
            return None
        found = offering.find_model(model, all_providers=list((self._providers or {}).values()))
        if found is None:
            return None
        return Entry(offering, found, all(found is not own for own in offering.models))

    def providers(self) -> tuple[str, ...]:
        """All providers whose prices it lists."""
        self.load()
        return tuple(self._providers or ())

    def listed(self, entry: Entry, service_tier: str | None, day: int) -> Iterator[Listed]:
        """What it lists for an entry on one day (counted from 1970, UTC), in the order of the hours."""
        context = _context(service_tier)
        for second in sorted({0, *_changes_of_day(entry.model)}):
            at = datetime.fromtimestamp(day * DAY + second, UTC)
            varies = context is not None and not entry.borrowed and _has_variant(entry.model, context, at)
            price = entry.model.get_prices(at, context if varies else None)
            assumed = context is not None and not varies
            yield Listed(second, *self._compile(price, assumed), assumed)

    def _compile(self, price: ModelPrice, assumed: bool) -> tuple[Card | None, tuple[str, ...]]:
        rates: list[Rate] = []
        fee, unmeasured = None, []
        for key, value in vars(price).items():
            name, unit = self._units.get(key, (key, {"per": 1, "dimensions": {}}))
            dimensions = dict(unit["dimensions"])
            family = dimensions.pop("family", None)
            if value is None:
                continue
            if family == "requests" and isinstance(value, Decimal):
                fee = _per_unit(value, unit["per"])
            elif family == "tokens" and _is_measured(dimensions):
                rates.append(_rate(name, dimensions, value, unit["per"]))
            else:
                unmeasured.append(name)
        card = Card(rates, fee, source="table", estimated=assumed) if rates or fee is not None else None
        return card, tuple(unmeasured)

    def _typical(self, model: str) -> Provider | None:
        for provider in (self._providers or {}).values():
            if provider.model_match is not None and provider.model_match.is_match(model):
                return provider
        return None

    def _read(self) -> None:
        try:
            import genai_prices
            from genai_prices import data
            from genai_prices.data_units import unit_data
        except Exception:
            self._providers = {}
            return
        self.version = genai_prices.__version__
        self._units = {unit.get("price_key", name): (name, unit) for name, unit in unit_data.items()}
        self._newest = _newest_change(data.providers, data.__file__)
        self._providers = {provider_id(provider.id): provider for provider in data.providers}

    def _before_fork(self) -> None:
        self._held = self._lock.acquire(timeout=_FORK_WAITS)

    def _after_fork(self) -> None:
        if self._held:
            self._lock.release()

    def _after_fork_in_child(self) -> None:
        self._lock = threading.Lock()
        self._loader = None
        if not self._held and self._providers is None:
            self._providers = {}  # the import is cut in two and can never be done here: unpriced, but not stuck


TABLE = PriceTable()


def _context(service_tier: str | None) -> Mapping[str, str] | None:
    """The request context of a tier that is not the standard one."""
    tier = (service_tier or "").strip().lower().replace("-", "_").removeprefix("service_tier_")
    return None if tier in _STANDARD else _CONTEXTS.get(tier, {"service_tier": tier})


def _has_variant(model: ModelInfo, context: Mapping[str, str], at: datetime) -> bool:
    return any(
        (variant.constraint is None or variant.constraint.active(at)) and variant.when.items() <= context.items()
        for variant in model.price_variants or ()
    )


def _changes_of_day(model: ModelInfo) -> Iterator[int]:
    """Seconds after midnight UTC at which a price by the time of day begins or ends."""
    for constraint in _constraints(model):
        for name in ("start_time", "end_time"):
            moment: clock | None = getattr(constraint, name, None)
            if moment is not None:
                at = datetime.combine(_EPOCH, moment, moment.tzinfo or UTC)
                yield int(at.timestamp()) % DAY


def _constraints(model: ModelInfo) -> Iterator[object]:
    if isinstance(model.prices, list):
        yield from (conditional.constraint for conditional in model.prices)
    yield from (variant.constraint for variant in model.price_variants or ())


def _newest_change(providers: Iterable[Provider], file: str | None) -> datetime | None:
    """The newest date in the table that had come when it was installed: prices are also announced ahead."""
    dates = {
        constraint.start_date
        for provider in providers
        for model in provider.models
        for constraint in _constraints(model)
        if hasattr(constraint, "start_date")
    }
    today = datetime.now(UTC).date()
    try:
        installed = datetime.fromtimestamp(os.path.getmtime(file or ""), UTC).date()
    except OSError:
        installed = today
    past = [start for start in dates if start <= installed] or [start for start in dates if start <= today]
    return datetime.combine(max(past), clock(), UTC) if past else None


def _rate(name: str, dimensions: Mapping[str, str], value: Decimal | TieredPrices, per: int) -> Rate:
    name = next((ours for ours, priced in DIMENSIONS.items() if priced == dimensions), name)
    if isinstance(value, Decimal):
        return Rate(name, dimensions, _per_unit(value, per))
    tiers = tuple((tier.start, _per_unit(tier.price, per)) for tier in value.tiers)
    return Rate(name, dimensions, _per_unit(value.base, per), tiers)


def _per_unit(price: Decimal, per: int) -> Decimal:
    return EXACT.divide(price, Decimal(per))


def _is_measured(dimensions: Mapping[str, str]) -> bool:
    return any(dimensions.items() <= sort.items() for sort in SORTS.values())
