"""An application for servers with several workers: each request makes one call, `/metrics` is the page."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import Any

from recording import REPLY

import llmwatch
from llmwatch import observe_llm
from llmwatch.exposition import asgi_app, wsgi_app

if "UNCONFIGURED" not in os.environ:
    llmwatch.configure()

_asgi_page, _wsgi_page = asgi_app(), wsgi_app()
_never = threading.Event()


@observe_llm(feature="chat", provider="openai", model="gpt-4o-mini")
def answer() -> dict[str, object]:
    return REPLY


@observe_llm(feature="slow", provider="openai", model="gpt-4o-mini")
def hang() -> None:
    _never.wait(60)


@observe_llm(feature="chat", provider="openai", model="gpt-4o-mini")
async def answer_later() -> dict[str, object]:
    await asyncio.sleep(0)
    return REPLY


def wsgi(environ: dict[str, Any], start_response: Any) -> Any:
    if environ["PATH_INFO"].startswith("/metrics"):
        return _wsgi_page(environ, start_response)
    (hang if environ["PATH_INFO"] == "/hang" else answer)()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]


async def asgi(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "http" or scope["path"].startswith("/metrics"):
        await _asgi_page(scope, receive, send)
        return
    await answer_later()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": str(os.getpid()).encode()})
