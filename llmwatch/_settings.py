"""Settings: what `configure` was told, by arguments first and by the environment second, checked."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

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

from llmwatch._access import Auth, Tls, check_exposure, read_auth, read_tls
from llmwatch._providers import global_provider
from llmwatch._targets import OtlpTarget, PushTarget, read_otlp, read_push
from llmwatch.cardinality import DEFAULT_LIMITS, Label
from llmwatch.metrics import CALL_LABELS, CATALOGUE, Semconv
from llmwatch.pricing import load_overrides


def _no_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("Input should be a valid integer")
    return value


def _declared_label(values: Any) -> Label:
    """A label from the values that it may have, from how many there may be, or as it is."""
    if isinstance(values, Label):
        return values
    try:
        label = Label(limit=values) if isinstance(values, int) else Label(values)
    except ValueError:
        label = Label()
    if label == Label():
        raise ValueError("list the values that it may have, as strings, or say how many there may be, at least 1")
    return label


def _directory(path: Any) -> str:
    """An absolute path, which stays the same when the program changes its directory."""
    if not isinstance(path, str | os.PathLike) or not os.fspath(path):
        raise ValueError("pass the path of a directory")
    if os.name != "posix":
        raise ValueError("workers share a page on POSIX systems only; give each a port of its own")
    return os.path.abspath(os.fsdecode(path))


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
    labels: dict[LabelName, Annotated[Label, PlainValidator(_declared_label)]] = {}
    label_limits: dict[str, Limit] = {}
    baggage: tuple[str, ...] = ()
    prices: Any = None
    semconv: Semconv = "legacy"
    auth: Annotated[Auth, PlainValidator(read_auth)] | None = None
    tls: Annotated[Tls, PlainValidator(read_tls)] | None = None
    insecure: bool = False
    otlp: Annotated[OtlpTarget | Literal[False], PlainValidator(read_otlp)] | None = None
    pushgateway: Annotated[PushTarget, PlainValidator(read_push)] | None = None
    worker_dir: Annotated[str, PlainValidator(_directory)] | None = None
    live: bool = True

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

    @field_validator("baggage")
    @classmethod
    def _may_come_from_outside(cls, names: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        labels: dict[str, Label] = info.data.get("labels", {})
        known = {"feature", "agent", *labels}
        for name in names:
            if name not in known and "labels" in info.data:
                raise ValueError(f"there is no label {name!r} for it; there are {', '.join(sorted(known))}")
            if name in labels and labels[name].mapper is not None:
                raise ValueError(f"the label {name!r} has a mapper: what it is given must not leave the process")
        return tuple(dict.fromkeys(names))

    @field_validator("prices")
    @classmethod
    def _can_be_read(cls, prices: Any) -> Any:
        try:
            return load_overrides(prices)
        except TypeError:
            raise ValueError("pass the path of a price file, or what would stand in it") from None


_OPEN = {"feature", "agent", "model"}  # labels of ours, about which the application may declare something
_LABELS = {label for metric in CATALOGUE for label in metric.prometheus_labels}
_TAKEN = (_LABELS | {*CALL_LABELS, "le", "series"}) - _OPEN
_LIMITED = set(DEFAULT_LIMITS)


def settings(arguments: Mapping[str, Any]) -> Settings:
    """The settings that these arguments and the environment make.

    Raises:
        ValueError: Naming the argument or the variable, and what it should be.
    """
    values, sources = dict(arguments), dict.fromkeys(arguments, "configure")
    provider = values.get("meter_provider") or global_provider()
    for name, (variable, raw) in _environment(followed=provider is not None).items():
        if values.get(name) is None:
            values[name], sources[name] = _parsed(name, variable, raw), variable
    try:
        chosen = Settings(**{name: value for name, value in values.items() if value is not None})
    except ValidationError as error:
        raise ValueError("; ".join(_explained(problem, sources) for problem in error.errors())) from None
    if chosen.port is not None:
        _check_exposure(chosen, sources)
    return chosen


def _check_exposure(chosen: Settings, sources: Mapping[str, str]) -> None:
    guarded = chosen.auth is not None or chosen.tls is not None
    try:
        check_exposure(chosen.host, guarded=guarded, insecure=chosen.insecure)
    except ValueError as error:
        raise ValueError(f"{_place('host', sources)}: {error}") from None


def _environment(*, followed: bool) -> dict[str, tuple[str, str]]:
    """The first variable that is set and not empty, for each argument that has some.

    Args:
        followed: Whether a provider of the program's follows those of OpenTelemetry's exporters already.
    """
    found = {}
    for name, variables in _VARIABLES.items():
        for variable in variables:
            if followed and variable.startswith("OTEL_EXPORTER_"):
                continue
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
    "baggage": ("LLMWATCH_BAGGAGE",),
    "prices": ("LLMWATCH_PRICES",),
    "semconv": ("LLMWATCH_SEMCONV",),
    "auth": ("LLMWATCH_AUTH",),
    "tls": ("LLMWATCH_TLS",),
    "insecure": ("LLMWATCH_INSECURE",),
    "otlp": ("LLMWATCH_OTLP",),
    "pushgateway": ("LLMWATCH_PUSHGATEWAY",),
    "worker_dir": ("LLMWATCH_WORKER_DIR", "PROMETHEUS_MULTIPROC_DIR"),
    "live": ("LLMWATCH_LIVE",),
}


def _parsed(name: str, variable: str, raw: str) -> Any:
    if name in ("baggage", "tls"):
        return [part.strip() for part in raw.split(",")]
    if name == "auth" and ":" in raw:
        return tuple(raw.split(":", 1))
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
    where = _place(name, sources)
    detail = f"[{']['.join(rest)}]" if rest else ""
    got = "" if name in _UNSHOWN else f"; got {problem['input']!r}"
    return f"{where}{detail}: {problem['msg'].removeprefix('Value error, ')}{got}"


_UNSHOWN = ("prices", "auth", "otlp", "pushgateway")  # too long, or with a password in it


def _place(name: str, sources: Mapping[str, str]) -> str:
    """Where an argument came from, in words."""
    source = sources.get(name, "configure")
    return f"configure({name}=...)" if source == "configure" else source
