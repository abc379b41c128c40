"""What a vendor's client hides: `watch` sees each of its HTTP attempts, the waits between them, and rate limits."""

from __future__ import annotations

from typing import Any, TypeVar, cast

from llmwatch._watch._botocore import watch_events
from llmwatch._watch._clients import http_clients, is_botocore, is_http_client, is_transport
from llmwatch._watch._httpx import watch_http_client, watched
from llmwatch._watch._sensor import Sensor
from llmwatch.attribution import Unusable, label_values
from llmwatch.extractors import vendor_of

__all__ = ["watch"]

C = TypeVar("C")


def watch(client: C, *, account: str | None = None, provider: str | None = None) -> C:
    """Watches the HTTP attempts of a client: `client = llmwatch.watch(openai.OpenAI())`. Returns the client.

    Takes, sync and async: a vendor's client that speaks through httpx or httpx2 (openai, anthropic, groq, mistralai,
    cohere, google-genai, ollama and their like; copies by `with_options` share what is inside), an httpx or httpx2
    client, and a client of boto3. Of an httpx or httpx2 transport it returns one that stands in its place.
    To watch twice counts once, and states more. What goes out and what comes back is the same as without.

    An attempt lasts from its start to the last byte of its answer. Its outcome is `ok` (below 400; also where the
    answer was not read to its end), `cancelled` (the attempt was called off), or a value of `ErrorKind` by the HTTP
    status or the exception; bodies are not read, so that every 429 is a `rate_limit`. It belongs to the observed call
    in which it begins. The wait before a retry is counted by what the client says in its request headers, and else
    from a failed attempt to the next one at the same URL in the same call.

    Args:
        client: What to watch.
        account: An alias of the account, a label of the rate limits. Never a key.
        provider: OpenTelemetry's `gen_ai.provider.name`, where no observed call knows better; found by the host's name
            or the client's package when it is not stated.

    Raises:
        TypeError: When it is no such client, or an argument is no label value.
    """
    stated = label_values({"account": account, "provider": provider})
    for name, value in stated.items():
        if isinstance(value, Unusable):
            raise TypeError(f"watch({name}=...): {value.why}")
    statement = Sensor(stated.get("account", ""), stated.get("provider", ""), vendor_of(type(client)) or "")
    if is_botocore(client):
        watch_events(client, statement)
    elif is_transport(client):
        return cast("C", watched(client, statement))
    else:
        _watch_all(client, statement)
    return client


def _watch_all(client: Any, statement: Sensor) -> None:
    found = [client] if is_http_client(client) else http_clients(client)
    if not found:
        raise TypeError(
            "watch() takes a vendor's client that speaks through httpx or httpx2, an httpx or httpx2 client or "
            f"transport, or a client of boto3, not {type(client).__qualname__}"
        )
    for inner in found:
        watch_http_client(inner, statement)
