"""Seeded fake vendors that speak the vendors' real wire formats on loopback, for the demo and for tests.

`Vendors` serves OpenAI's chat completions, responses and embeddings and Anthropic's messages, plain and streaming, with
usage, rate-limit headers and the vendors' own errors, and keeps a ledger of what it served::

    with Vendors(seed=7) as vendors:
        client = openai.OpenAI(base_url=vendors.openai_url, api_key="sk-simulated")
        vendors.next("openai", "rate_limit", "ok")      # exact outcomes of the next two requests

It needs the extra `demo` (starlette and uvicorn), which is loaded when a server starts, not on import of this module.
"""

from __future__ import annotations

from llmwatch.simulate._behaviour import OUTCOMES, Behaviour, Outcome
from llmwatch.simulate._ledger import Served
from llmwatch.simulate._vendors import Vendors

__all__ = ["OUTCOMES", "Behaviour", "Outcome", "Served", "Vendors"]
