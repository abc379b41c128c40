"""Push: the page, put on a Prometheus Pushgateway by programs that end before anybody could scrape them."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import Any

from llmwatch._targets import PushTarget

_SECONDS = 5.0  # for each step of a push


class PushDelivery:
    """Puts the page in place of the one that this job and instance had there before.

    Args:
        target: The Pushgateway.
        render: Makes the page and its content type.

    The grouping key is `job`, the name of the service, and `instance`: `service.instance.id` where
    `OTEL_RESOURCE_ATTRIBUTES` gives one, else the name of the host, so that the runs of a job replace each other there,
    and those on other hosts do not.
    """

    def __init__(self, target: PushTarget, render: Callable[[], tuple[bytes, str]]) -> None:
        from opentelemetry.sdk.resources import OTELResourceDetector

        stated = OTELResourceDetector().detect().attributes
        self.target = target
        self.to = target.url
        self._render = render
        self._resource_name = str(stated.get("service.name", "unknown_service"))
        self._job = self._resource_name
        self._instance = str(stated.get("service.instance.id") or socket.gethostname() or os.getpid())

    def attach(self, provider: Any) -> None:
        """The page has its own way to read it."""

    def name(self, service_name: str | None) -> None:
        """Pushes as this `job`."""
        self._job = service_name or self._resource_name

    def deliver(self) -> None:
        """One push; raises when the gateway has not taken it."""
        from prometheus_client import CollectorRegistry, push_to_gateway

        push_to_gateway(
            self.target.url,
            job=self._job,
            registry=CollectorRegistry(),
            grouping_key={"instance": self._instance},
            timeout=_SECONDS,
            handler=self._handler,
        )

    def hasten(self) -> None:
        """A push is tried once anyway."""

    def stop(self) -> None:
        """A push takes a few seconds at most."""

    def finish(self) -> None:
        """Nothing is kept open."""

    def _handler(
        self, url: str, method: str, timeout: float | None, headers: list[tuple[str, str]], data: bytes
    ) -> Callable[[], None]:
        """Sends the page as it is scraped, with its own lock and order, in place of the empty registry's."""
        from prometheus_client.exposition import basic_auth_handler, default_handler

        page, content_type = self._render()
        fields: list[Any] = [field for field in headers if field[0].lower() != "content-type"]
        fields.append(("Content-Type", content_type))
        if not self.target.user:
            return default_handler(url, method, timeout, fields, page)
        return basic_auth_handler(url, method, timeout, fields, page, self.target.user, self.target.password)
