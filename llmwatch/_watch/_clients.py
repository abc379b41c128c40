"""Clients: what `watch` takes, recognised by the names of classes, and where the vendors keep their HTTP clients."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_HTTPX = ("httpx", "httpx2")

# Where the vendors' clients, and the frameworks around them, keep an httpx or httpx2 client.
_PATHS = (
    "_client",  # openai, anthropic, groq, together, cerebras (all that Stainless generates), ollama
    "_client_wrapper.httpx_client.httpx_client",  # cohere (Fern)
    "sdk_configuration.client",  # mistralai (Speakeasy)
    "sdk_configuration.async_client",
    "_api_client._httpx_client",  # google-genai
    "_api_client._async_httpx_client",
    "root_client._client",  # langchain-openai
    "root_async_client._client",
    "_client._client",  # langchain-anthropic
    "_async_client._client",
    "client._client",  # langchain-groq, pydantic-ai, instructor
)


def is_botocore(client: Any) -> bool:
    """Whether it is one of boto3's or botocore's clients."""
    return any(base.__name__ == "BaseClient" and base.__module__ == "botocore.client" for base in type(client).__mro__)


def is_http_client(client: Any) -> bool:
    """Whether it is a client of httpx or httpx2, or of a class of somebody's that is one."""
    return any(
        base.__name__ == "BaseClient" and base.__module__.partition(".")[0] in _HTTPX for base in type(client).__mro__
    )


def is_transport(value: Any) -> bool:
    """Whether it does what httpx asks of a transport; a class of one's own need not inherit from httpx's."""
    cls = type(value)
    return not is_http_client(value) and (hasattr(cls, "handle_request") or hasattr(cls, "handle_async_request"))


def http_clients(client: Any) -> list[Any]:
    """The httpx or httpx2 clients inside a vendor's client."""
    found: dict[int, Any] = {}
    for path in _PATHS:
        for inner in _at(client, path):
            found[id(inner)] = inner
    return list(found.values())


def _at(client: Any, path: str) -> Iterator[Any]:
    for name in path.split("."):
        try:
            client = getattr(client, name)
        except Exception:  # also a vendor's property that fails
            return
    if is_http_client(client):
        yield client
