"""Clients of httpx and httpx2: what stands is put in the place of each of their transports, once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from llmwatch._watch._clients import is_transport
from llmwatch._watch._sensor import Sensor
from llmwatch._watch._stands import Transport, transport

_DEPTH = 3  # transports inside transports


def watch_http_client(client: Any, statement: Sensor) -> None:
    """Watches all that a client sends through: its transport, its mounts, and the clients that it makes in turn."""
    client._transport = watched(client._transport, statement)
    for pattern, mounted in client._mounts.items():
        if mounted is not None:
            client._mounts[pattern] = watched(mounted, statement)
    if make := getattr(client, "_inner_client_cls", None):  # google-genai's, which sends through one for each loop
        _watch_inner(client, make, statement)


def watched(inner: Any, statement: Sensor) -> Any:
    """The transport itself when it or one inside it is watched already, else what stands in its place."""
    known = _sensor_in(inner, _DEPTH)
    if known is None:
        return transport(inner, statement)
    known.learn(statement)
    return inner


class _Maker:
    """Makes clients as the class would that it stands for, and watches them."""

    def __init__(self, make: Callable[..., Any], sensor: Sensor) -> None:
        self.make = make
        self.sensor = sensor

    def __call__(self, **options: Any) -> Any:
        client = self.make(**options)
        watch_http_client(client, self.sensor)
        return client


def _watch_inner(client: Any, make: Callable[..., Any], statement: Sensor) -> None:
    if isinstance(make, _Maker):
        make.sensor.learn(statement)
    else:
        client._inner_client_cls = _Maker(make, statement)
    for inner in list(getattr(client, "_loop_clients", {}).values()):
        watch_http_client(inner, statement)


def _sensor_in(inner: Any, depth: int) -> Sensor | None:
    if issubclass(type(inner), Transport):
        return cast("Sensor", inner._llmwatch_sensor)
    held = (
        [value for value in vars(inner).values() if is_transport(value)] if depth and hasattr(inner, "__dict__") else []
    )
    return next((known for value in held if (known := _sensor_in(value, depth - 1)) is not None), None)
