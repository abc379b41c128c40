"""A call that a process of a pool makes, in a module of its own so that each can import it."""

from __future__ import annotations

from recording import REPLY

from llmwatch import track_request


def one(number: int) -> None:
    with track_request(feature="pool", provider="openai", model="gpt-4o-mini") as request:
        request.observe(REPLY)
