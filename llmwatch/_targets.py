"""Targets: where metrics are sent, as arguments and OpenTelemetry's variables say it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import SplitResult, unquote, urlsplit

Protocol = Literal["grpc", "http/protobuf"]

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_SIGNAL_PATH = "/v1/metrics"


@dataclass(frozen=True, slots=True)
class OtlpTarget:
    """A receiver of OTLP.

    Attributes:
        endpoint: Its URL, with the path of the signal over HTTP; `None` leaves it to OpenTelemetry's variables.
        protocol: What it speaks.
        stated: Whether the program asked for it, rather than OpenTelemetry's variables alone.
    """

    endpoint: str | None
    protocol: Protocol
    stated: bool = True

    @property
    def shown(self) -> str:
        """The URL without credentials."""
        return _without_credentials(self.endpoint or _first(_ENDPOINTS) or "the default OTLP endpoint")


@dataclass(frozen=True, slots=True)
class PushTarget:
    """A Pushgateway.

    Attributes:
        url: Its URL, without credentials.
        user: The user of basic authentication; empty when there is none.
        password: And the password.
    """

    url: str
    user: str = ""
    password: str = field(default="", repr=False)


def read_otlp(value: Any) -> OtlpTarget | Literal[False]:
    """What `configure(otlp=...)` was given: a URL, `True` for OpenTelemetry's variables, or `False` for nothing.

    Raises:
        ValueError: When it is none of these.
    """
    if isinstance(value, OtlpTarget):
        return value
    said = str(value).strip().lower() if isinstance(value, str | bool) else ""
    if said in ("false", "none", "off", "0"):
        return False
    if said in ("true", "on", "1"):
        return OtlpTarget(None, _protocol(urlsplit(_first(_ENDPOINTS))))
    parts = _url(value, ("http", "https", "grpc", "grpcs"), "http://collector:4318")
    protocol = _protocol(parts)
    parts = parts._replace(scheme={"grpc": "http", "grpcs": "https"}.get(parts.scheme, parts.scheme))
    if protocol == "http/protobuf" and not parts.path.rstrip("/").endswith(_SIGNAL_PATH):
        parts = parts._replace(path=parts.path.rstrip("/") + _SIGNAL_PATH)
    return OtlpTarget(parts.geturl(), protocol)


def otlp_by_variables() -> OtlpTarget | None:
    """What OpenTelemetry's variables ask for.

    They do when `OTEL_METRICS_EXPORTER` names `otlp`, or when that is not set, but an endpoint for OTLP is.

    Raises:
        ValueError: When they name a protocol that is not spoken.
    """
    exporters = {name.strip().lower() for name in os.environ.get("OTEL_METRICS_EXPORTER", "").split(",")} - {""}
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    if "otlp" in exporters or (not exporters and _first(_ENDPOINTS)):
        return OtlpTarget(None, _protocol(urlsplit(_first(_ENDPOINTS))), stated=False)
    return None


def export_interval(environment: Mapping[str, str] = os.environ) -> float:
    """Seconds between two exports (`OTEL_METRIC_EXPORT_INTERVAL`, in milliseconds; a minute unless given).

    Raises:
        ValueError: When the variable is no positive number.
    """
    raw = environment.get("OTEL_METRIC_EXPORT_INTERVAL", "").strip() or "60000"
    try:
        interval = float(raw) / 1000
    except ValueError:
        interval = 0.0
    if not 0 < interval < float("inf"):
        raise ValueError(f"OTEL_METRIC_EXPORT_INTERVAL={raw!r} should be a number of milliseconds, above 0")
    return interval


def read_push(value: Any) -> PushTarget:
    """What `configure(pushgateway=...)` was given: `host:port`, or a URL, with `user:password@` if need be.

    Raises:
        ValueError: When it is neither.
    """
    if isinstance(value, PushTarget):
        return value
    url = f"http://{value}" if isinstance(value, str) and "://" not in value else value
    parts = _url(url, ("http", "https"), "pushgateway:9091")
    return PushTarget(
        _without_credentials(parts.geturl()), unquote(parts.username or ""), unquote(parts.password or "")
    )


def _url(value: Any, schemes: tuple[str, ...], example: str) -> SplitResult:
    """The parts of a URL that can be used."""
    try:
        parts = urlsplit(value) if isinstance(value, str) else SplitResult("", "", "", "", "")
        usable = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ValueError(f"pass the URL of the receiver, such as {example!r} ({', '.join(schemes)})")
    return parts


def _protocol(parts: SplitResult) -> Protocol:
    """What a receiver speaks: as its URL or the variables say it, else by the ports that are customary."""
    if parts.scheme in ("grpc", "grpcs"):
        return "grpc"
    stated = _first(_PROTOCOLS).lower()
    if stated == "grpc":
        return "grpc"
    if stated not in ("", "http/protobuf"):
        raise ValueError(f"{_PROTOCOLS[1]}={stated!r}: pass 'http/protobuf' or 'grpc', which the exporters speak")
    return "grpc" if parts.port == 4317 and not stated else "http/protobuf"


def _first(variables: tuple[str, ...]) -> str:
    return next((raw for variable in variables if (raw := os.environ.get(variable, "").strip())), "")


def _without_credentials(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
