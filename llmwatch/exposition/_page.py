"""The page: a registry of its own, an OpenTelemetry reader in it, and the text that Prometheus scrapes."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from prometheus_client import CollectorRegistry

_SERIES = 100_000  # our own budgets come first; the SDK's default of 2000 sets an instrument would cut in before them


class Page:
    """One registry of its own, an OpenTelemetry reader in it, and the text that they make.

    Args:
        service_name: The value of `service_name` in `target_info`.
    """

    def __init__(self, service_name: str | None = None) -> None:
        from opentelemetry.exporter.prometheus import PrometheusMetricReader
        from opentelemetry.sdk.metrics import Counter, Histogram, ObservableCounter, ObservableUpDownCounter
        from prometheus_client import CollectorRegistry

        kinds = (Counter, Histogram, ObservableCounter, ObservableUpDownCounter)
        self.registry: CollectorRegistry = CollectorRegistry()
        self.reader = PrometheusMetricReader(
            disable_target_info=True,
            registry=self.registry,
            cardinality_limits=dict.fromkeys(kinds, _SERIES),
            scope_info_enabled=False,
        )
        self._target = _Target(service_name)
        self.registry.register(self._target)
        self._lock = threading.Lock()

    def name(self, service_name: str | None, provider: object = None) -> None:
        """Changes `target_info` to the resource of a provider, under another name if one is given."""
        self._target.rename(service_name, provider)

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """The page, and its content type: OpenMetrics or the plain text format, as the `Accept` header asks.

        One at a time: two concurrent collections of the reader would mix their data.
        """
        from prometheus_client.exposition import choose_encoder

        encode, content_type = choose_encoder(accept)
        with self._lock:
            return encode(self.registry), content_type

    def private_provider(self) -> MeterProvider:
        """A meter provider of our own, read by this page only, and global to nobody."""
        from opentelemetry.sdk.metrics import MeterProvider

        return MeterProvider([self.reader], shutdown_on_exit=False)

    def close(self) -> None:
        """Takes the reader out of the registry."""
        self.reader.shutdown()


class _Target:
    """`target_info`, the resource that the series are from."""

    def __init__(self, service_name: str | None) -> None:
        self.rename(service_name)

    def rename(self, service_name: str | None, provider: object = None) -> None:
        from opentelemetry.sdk.resources import Resource

        resource = getattr(getattr(provider, "_sdk_config", None), "resource", None) or Resource.create()
        if service_name:
            resource = resource.merge(Resource({"service.name": service_name}))
        self._labels = {name.replace(".", "_"): str(value) for name, value in resource.attributes.items()}

    def collect(self) -> Iterable[Any]:
        from prometheus_client.core import InfoMetricFamily

        yield InfoMetricFamily("target", "Target metadata", value=self._labels)
