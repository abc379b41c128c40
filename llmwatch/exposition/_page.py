"""The page: a registry of its own, an OpenTelemetry reader in it, and the text that Prometheus scrapes."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from llmwatch import _runtime
from llmwatch._instruments import publication_on

if TYPE_CHECKING:
    from pathlib import Path

    from opentelemetry.metrics import MeterProvider
    from opentelemetry.sdk.resources import Resource
    from prometheus_client import CollectorRegistry
    from prometheus_client.core import Metric as Family

    from llmwatch._instruments import Point, Publication
    from llmwatch._workers import Team
    from llmwatch.metrics import Metric

_SERIES = 100_000  # our own budgets come first; the SDK's default of 2000 sets an instrument would cut in before them


class Page:
    """One registry of its own, an OpenTelemetry reader in it, and the text that they make.

    Args:
        service_name: The value of `service_name` in `target_info`.

    Attributes:
        live: What the live page remembers of it, once that has been looked at.
    """

    def __init__(self, service_name: str | None = None) -> None:
        from opentelemetry.sdk.metrics import Counter, Histogram, ObservableCounter, ObservableUpDownCounter
        from prometheus_client import CollectorRegistry

        from llmwatch.exposition._reader import PageReader

        kinds = (Counter, Histogram, ObservableCounter, ObservableUpDownCounter)
        self.registry: CollectorRegistry = CollectorRegistry()
        self.reader = PageReader(
            _skip,
            disable_target_info=True,
            cardinality_limits=dict.fromkeys(kinds, _SERIES),
            scope_info_enabled=False,
        )
        self._target = _Target(service_name)
        self.registry.register(self)
        self.registry.register(self._target)
        self._publication: Publication | None = None  # on a provider of our own
        self._lock = threading.Lock()
        self._team: Team | None = None
        self.live: Any = None

    def name(self, service_name: str | None, provider: object = None) -> None:
        """Changes `target_info` to the resource of a provider, under another name if one is given."""
        self._target.rename(service_name, provider)

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """The page, and its content type: OpenMetrics or the plain text format, as the `Accept` header asks.

        One at a time: two concurrent collections would mix their data.
        """
        from prometheus_client.exposition import choose_encoder

        from llmwatch.exposition._text import encoded

        encode, content_type = choose_encoder(accept)
        with self._lock:
            return encoded(self.registry.collect(), encode), content_type

    def collect(self) -> Iterable[Family]:
        """What the registry has beside `target_info`: the metrics of all workers of the team, or of this process."""
        if self.reader.ended:
            return ()
        if self._team is not None:
            return self.reader.families(self._team.gather())
        if (found := self._found()) is not None:
            from llmwatch.exposition._families import families

            return families(found)
        data = self.reader.taken()
        return () if data is None else self.reader.families(data)

    def _found(self) -> list[tuple[Metric, list[Point]]] | None:
        """What is on a provider of our own, if nothing else is: the SDK can be told to count there what it does."""
        publication = self._publication
        if publication is None or not publication.is_all_of(self.reader):
            return None
        return publication.snapshot(self.reader)

    def share(self, team: Team | None) -> Team | None:
        """Shows what all workers of a team have from now on, or what this process has; gives the team of before."""
        with self._lock:
            before, self._team = self._team, team
            self._target.stands_for(team.folder.path if team is not None else None)
        return before

    @property
    def team(self) -> Team | None:
        """The workers whose page it is; `None` when it is this process's alone."""
        return self._team

    def private_provider(self) -> MeterProvider:
        """A meter provider of our own, read by this page only, and global to nobody."""
        from opentelemetry.sdk.metrics import MeterProvider

        provider = MeterProvider([self.reader], shutdown_on_exit=False)
        self._publication = publication_on(provider)
        return provider

    def close(self) -> None:
        """Ends the reader; there is nothing on the page from then on but `target_info`."""
        self.reader.shutdown()


def _skip(name: str) -> None:
    """Says once that a metric of the program's own is missing from the page."""
    _runtime.current().shield.warn_once(
        "page", f"the metric {name!r} is not on the page: a view has made it an exponential histogram"
    )


def service_of(service_name: str | None, provider: object) -> str | None:
    """The service that a page of this provider names, in its namespace; `None` when nobody has named one."""
    attributes = _resource(service_name, provider).attributes
    name = str(attributes.get("service.name", ""))
    if not name or name.startswith("unknown_service"):
        return None
    namespace = attributes.get("service.namespace")
    return f"{namespace}/{name}" if namespace else name


def _resource(service_name: str | None, provider: object) -> Resource:
    from opentelemetry.sdk.resources import Resource

    resource: Resource = getattr(getattr(provider, "_sdk_config", None), "resource", None) or Resource.create()
    return resource.merge(Resource({"service.name": service_name})) if service_name else resource


class _Target:
    """`target_info`, the resource that the series are from."""

    def __init__(self, service_name: str | None) -> None:
        self._common: dict[str, str] = {}
        self.rename(service_name)

    def rename(self, service_name: str | None, provider: object = None) -> None:
        from llmwatch.exposition._reader import clean

        attributes = _resource(service_name, provider).attributes
        self._labels = {name.replace(".", "_"): clean(str(value)) for name, value in attributes.items()}

    def stands_for(self, folder: Path | None) -> None:
        """Makes it the same for all workers that meet in a folder, whichever of them is asked."""
        self._common = {} if folder is None else {"service_instance_id": _stated_instance() or _instance_of(folder)}

    def collect(self) -> Iterable[Any]:
        from prometheus_client.core import InfoMetricFamily

        labels = self._labels
        if self._common:
            labels = {name: value for name, value in labels.items() if name not in _OF_ONE_PROCESS} | self._common
        yield InfoMetricFamily("target", "Target metadata", value=labels)


_OF_ONE_PROCESS = frozenset({"process_pid", "process_parent_pid", "process_creation_time"})


def _stated_instance() -> str | None:
    """The instance that the operator has named, if he has."""
    from opentelemetry.sdk.resources import OTELResourceDetector

    stated = OTELResourceDetector().detect().attributes.get("service.instance.id")
    return str(stated) if stated else None


def _instance_of(folder: Path) -> str:
    """A name for the workers of one application on one machine, which outlives each of them."""
    import socket
    import uuid

    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"file://{socket.gethostname()}{folder}"))
