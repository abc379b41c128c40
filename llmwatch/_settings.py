"""Settings: what `configure` was told, by arguments first and by the environment second, checked."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from llmwatch.metrics import CALL_LABELS, CATALOGUE, Semconv
from llmwatch.pricing import load_overrides


def _no_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("Input should be a valid integer")
    return value


def _allowed(values: Any) -> tuple[str, ...] | int:
    """The values that a label may have, or how many there may be."""
    if isinstance(values, int) and not isinstance(values, bool) and values >= 1:
        return values
    if isinstance(values, Iterable) and not isinstance(values, str | bytes):
        listed = tuple(values)
        if listed and all(isinstance(value, str) for value in listed):
            return listed
    raise ValueError("list the values that it may have, as strings, or say how many there may be, at least 1")


# The exporter writes several underscores as one; names that begin with two are Prometheus' own.
LabelName = Annotated[str, StringConstraints(pattern=r"^_?[a-zA-Z](_?[a-zA-Z0-9])*_?$", max_length=64)]
Limit = Annotated[int, Field(ge=1, strict=True)]


class Settings(BaseModel):
    """The checked arguments of `configure`."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    service_name: Annotated[str, StringConstraints(min_length=1)] | None = None
    meter_provider: Any = None
    port: Annotated[int, Field(ge=0, le=65535), BeforeValidator(_no_bool)] | None = None
    host: Annotated[str, StringConstraints(min_length=1)] = "127.0.0.1"
    labels: dict[LabelName, Annotated[tuple[str, ...] | int, PlainValidator(_allowed)]] = {}
    label_limits: dict[str, Limit] = {}
    prices: Any = None
    semconv: Semconv = "legacy"

    @field_validator("meter_provider")
    @classmethod
    def _has_meters(cls, provider: Any) -> Any:
        if provider is not None and not callable(getattr(provider, "get_meter", None)):
            raise ValueError("pass an OpenTelemetry MeterProvider; this has no get_meter()")
        return provider

    @field_validator("labels")
    @classmethod
    def _is_free(cls, labels: dict[str, Any]) -> dict[str, Any]:
        for name in labels.keys() & _TAKEN:
            raise ValueError(f"the label {name!r} is llmwatch's own; choose another name")
        return labels

    @field_validator("label_limits")
    @classmethod
    def _has_labels(cls, limits: dict[str, int], info: ValidationInfo) -> dict[str, int]:
        known = _LIMITED | set(info.data.get("labels", limits))
        for name in limits.keys() - known:
            raise ValueError(f"there is no label {name!r}; there are {', '.join(sorted(known))}")
        return limits

    @field_validator("prices")
    @classmethod
    def _can_be_read(cls, prices: Any) -> Any:
        try:
            return load_overrides(prices)
        except TypeError:
            raise ValueError("pass the path of a price file, or what would stand in it") from None


_TAKEN = {label for metric in CATALOGUE for label in metric.prometheus_labels} | {*CALL_LABELS, "le", "series"}
_LIMITED = {*CALL_LABELS, "series"}


def settings(arguments: Mapping[str, Any]) -> Settings:
    """The settings that these arguments and the environment make.

    Raises:
        ValueError: Naming the argument or the variable, and what it should be.
    """
    values, sources = dict(arguments), dict.fromkeys(arguments, "configure")
    for name, (variable, raw) in _environment().items():
        if values.get(name) is None:
            values[name], sources[name] = _parsed(name, variable, raw), variable
    try:
        return Settings(**{name: value for name, value in values.items() if value is not None})
    except ValidationError as error:
        raise ValueError("; ".join(_explained(problem, sources) for problem in error.errors())) from None


def _environment() -> dict[str, tuple[str, str]]:
    """The first variable that is set and not empty, for each argument that has some."""
    found = {}
    for name, variables in _VARIABLES.items():
        for variable in variables:
            if name not in found and (raw := os.environ.get(variable, "").strip()):
                found[name] = (variable, raw)
    if "semconv" not in found and "gen_ai_latest_experimental" in os.environ.get("OTEL_SEMCONV_STABILITY_OPT_IN", ""):
        found["semconv"] = ("OTEL_SEMCONV_STABILITY_OPT_IN", "latest")
    return found


_VARIABLES = {
    "service_name": ("LLMWATCH_SERVICE_NAME", "OTEL_SERVICE_NAME"),
    "port": ("LLMWATCH_PORT", "OTEL_EXPORTER_PROMETHEUS_PORT"),
    "host": ("LLMWATCH_HOST", "OTEL_EXPORTER_PROMETHEUS_HOST"),
    "labels": ("LLMWATCH_LABELS",),
    "label_limits": ("LLMWATCH_LABEL_LIMITS",),
    "prices": ("LLMWATCH_PRICES",),
    "semconv": ("LLMWATCH_SEMCONV",),
}


def _parsed(name: str, variable: str, raw: str) -> Any:
    read = _READERS.get(name)
    if read is None:
        return raw
    try:
        return dict(read(entry) for entry in raw.split(","))
    except ValueError:
        raise ValueError(f"{variable}={raw!r} is not of the form {_FORMS[name]}") from None


def _declared(entry: str) -> tuple[str, tuple[str, ...] | int]:
    label, equals, values = entry.strip().partition("=")
    if not (label and equals and values):
        raise ValueError
    return label, int(values) if values.isdigit() else tuple(values.split("|"))


def _limit(entry: str) -> tuple[str, int]:
    label, _, limit = entry.strip().partition("=")
    return label, int(limit)


_READERS: dict[str, Callable[[str], tuple[str, Any]]] = {"labels": _declared, "label_limits": _limit}
_FORMS = {"labels": "'tier=free|pro,region=20'", "label_limits": "'feature=50,model=200'"}


def _explained(problem: Any, sources: Mapping[str, str]) -> str:
    name, *rest = (str(part) for part in problem["loc"] if part != "[key]")
    source = sources.get(name, "configure")
    where = f"configure({name}=...)" if source == "configure" else source
    detail = f"[{']['.join(rest)}]" if rest else ""
    got = "" if name == "prices" else f"; got {problem['input']!r}"
    return f"{where}{detail}: {problem['msg'].removeprefix('Value error, ')}{got}"
