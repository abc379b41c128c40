"""Providers: OpenTelemetry's global one, where somebody has set one."""

from __future__ import annotations

from typing import Any


def global_provider() -> Any:
    """The global meter provider; `None` where nobody has set one that shows anything."""
    from opentelemetry.metrics import get_meter_provider

    provider = get_meter_provider()
    return None if shows_nothing(provider) else provider


def shows_nothing(provider: Any) -> bool:
    """Whether what is recorded on a provider goes nowhere."""
    return provider is None or type(provider).__name__ in ("_ProxyMeterProvider", "NoOpMeterProvider")
