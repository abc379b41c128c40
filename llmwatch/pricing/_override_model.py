"""The shape of an override file, as a pydantic model; what loads overrides is the only one to import this."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from llmwatch.pricing._card import Card
from llmwatch.pricing._money import EXACT, LARGEST
from llmwatch.pricing._rates import DIMENSIONS, Rate
from llmwatch.pricing._rules import Glob, Rule

if TYPE_CHECKING:
    from collections.abc import Iterator

_EPOCH = date(1970, 1, 1)
_MILLION = Decimal(1_000_000)


def _number(value: Any) -> Any:
    if isinstance(value, bool):
        raise PydanticCustomError("number", "true and false are no numbers")
    return value


def _listed(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


Dollars = Annotated[Decimal, BeforeValidator(_number), Field(ge=0, le=LARGEST, allow_inf_nan=False)]
Factor = Annotated[Decimal, BeforeValidator(_number), Field(gt=0, le=LARGEST, allow_inf_nan=False)]
Pattern = Annotated[str, Field(min_length=1)]
Patterns = Annotated[tuple[Pattern, ...], BeforeValidator(_listed), Field(min_length=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Rates(_Strict):
    """US dollars per million tokens; a kind without a rate costs what the nearest kind around it costs."""

    input: Dollars | None = None
    cache_read: Dollars | None = None
    cache_write: Dollars | None = None
    cache_write_1h: Dollars | None = None
    audio_input: Dollars | None = None
    audio_cache_read: Dollars | None = None
    image_input: Dollars | None = None
    image_cache_read: Dollars | None = None
    output: Dollars | None = None
    reasoning: Dollars | None = None
    audio_output: Dollars | None = None
    image_output: Dollars | None = None

    def named(self) -> Iterator[tuple[str, Decimal]]:
        """The rates that are given, in US dollars per token."""
        for name in DIMENSIONS:
            value = getattr(self, name)
            if value is not None:
                yield name, EXACT.divide(value, _MILLION)


class Tier(Rates):
    """Rates of all tokens of a call with more than so many input tokens; those not given stay as they were."""

    above: Annotated[int, Field(ge=0)]


class Entry(_Strict):
    """One price of the user's own: what it is for, and exactly one way to charge."""

    provider: Patterns = ("*",)
    model: Patterns = ("*",)
    service_tier: Patterns | None = None
    valid_from: date | None = None
    valid_to: date | None = None
    note: str | None = None

    per_million: Rates | None = None
    tiers: tuple[Tier, ...] = ()
    per_request: Dollars | None = None
    multiplier: Factor | None = None
    like: Pattern | None = None
    per_hour: Dollars | None = None
    parallel: Annotated[int, Field(ge=1)] | None = None
    free: Literal[True] | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        for complaint in self._complaints():
            raise ValueError(complaint)
        return self

    def _complaints(self) -> Iterator[str]:
        if not self.model_fields_set & {"provider", "model"}:
            yield "names neither a provider nor a model"
        rates = self.per_million is not None or self.per_request is not None
        given = [name for name in ("multiplier", "per_hour", "free") if getattr(self, name) is not None]
        ways = ["per_million/per_request"] * rates + given
        if len(ways) != 1:
            what = " and ".join(ways) or "none"
            yield f"needs exactly one of per_million/per_request, multiplier, per_hour, free; it has {what}"
        if self.tiers and self.per_million is None:
            yield "has tiers without per_million"
        yield from self._stray_complaints()
        if self.valid_from and self.valid_to and self.valid_to < self.valid_from:
            yield "ends (valid_to) before it begins (valid_from)"

    def _stray_complaints(self) -> Iterator[str]:
        if self.like is not None and self.multiplier is None:
            yield "has like without multiplier (1 takes the price as it is)"
        if self.parallel is not None and self.per_hour is None:
            yield "has parallel without per_hour"
        base = {name for name, _ in self.per_million.named()} if self.per_million else set()
        for tier in self.tiers:
            for name, _ in tier.named():
                if name not in base:
                    yield f"has {name} in its tiers but not in per_million"

    def rule(self, where: str) -> Rule:
        """The entry, compiled."""
        return Rule(
            where=where,
            providers=Glob(self.provider, providers=True),
            models=Glob(self.model),
            first_day=_day(self.valid_from),
            last_day=_day(self.valid_to),
            tiers=None if self.service_tier is None else Glob(self.service_tier),
            card=self._card(),
            multiplier=self.multiplier,
            like=self.like,
            per_hour=None if self.per_hour is None else EXACT.divide(self.per_hour, Decimal(self.parallel or 1)),
            note=self.note,
        )

    def _card(self) -> Card | None:
        if self.per_million is None and self.per_request is None:
            return None
        tiers = sorted(self.tiers, key=lambda tier: tier.above)
        rates = []
        for name, base in self.per_million.named() if self.per_million else ():
            steps = [(tier.above, dict(tier.named())[name]) for tier in tiers if name in dict(tier.named())]
            rates.append(Rate(name, DIMENSIONS[name], base, tuple(steps)))
        return Card(rates, self.per_request)


class File(_Strict):
    """The whole file: `[[price]]` entries; of several for a call, the first one counts."""

    price: tuple[Entry, ...] = ()


def fields_at(path: tuple[int | str, ...]) -> tuple[str, ...]:
    """The names that may stand where an error is, to tell what was meant."""
    names = [step for step in path[:-1] if isinstance(step, str)]
    models: dict[tuple[str, ...], type[BaseModel]] = {
        (): File,
        ("price",): Entry,
        ("price", "per_million"): Rates,
        ("price", "tiers"): Tier,
    }
    model = models.get(tuple(names))
    return tuple(model.model_fields) if model else ()


def _day(day: date | None) -> int | None:
    return None if day is None else (day - _EPOCH).days
