"""The demo: a web application under load in front of simulated vendors, its metrics served and drawn as a live table.

It needs the extra `demo` (openai, anthropic, FastAPI and its instrumentation, rich, starlette and uvicorn) and
contacts nothing but loopback.
"""

from __future__ import annotations

from llmwatch.demo._show import Performance, SetupError, run

__all__ = ["Performance", "SetupError", "run"]
