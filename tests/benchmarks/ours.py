"""llmwatch in several configurations at once, each a runtime of its own that is put in place when its turn comes."""

from __future__ import annotations

import os
import time
from typing import Any, Literal

import tools
from answers import MODEL
from tools import Functions, Tool

import llmwatch
from llmwatch import _runtime
from llmwatch._runtime import Runtime
from llmwatch._shield import Shield

OWN = "requests, duration, tokens by kind, active requests, errors by type, cost by kind, savings, finish reasons"
STATED: dict[str, Any] = {"feature": "chat", "provider": "openai", "model": MODEL}


def configured(**settings: Any) -> Runtime:
    """A runtime with a page of its own, as `configure()` makes it; the price table is loaded."""
    for name in [name for name in os.environ if name.startswith(("LLMWATCH_", "OTEL_"))]:
        del os.environ[name]
    _runtime.install(Runtime.unpublished(Shield()))
    llmwatch.configure(service_name="benchmark", **settings)
    runtime = _runtime.installed()
    while runtime.recorder.book is not None and not runtime.recorder.book.ready:
        time.sleep(0.005)
    return runtime


def observed() -> Functions:
    """The functions, decorated."""
    observe = llmwatch.observe_llm(**STATED)
    return Functions(
        observe(tools.answer),
        observe(tools.answer_async),
        observe(tools.refused),
        observe(tools.streamed),
        observe(tools.streamed_async),
    )


def tool(name: str, records: str, semconv: Literal["legacy", "none"]) -> Tool:
    """A configuration of llmwatch as a tool beside the others."""
    runtime = configured(semconv=semconv)
    made = Tool(name, records, observed(), lambda: _runtime.install(runtime), runtime.page.render, bare=tools.BARE)
    made.collect()
    return made


OURS, OURS_ALONE = "llmwatch", "llmwatch, semconv='none'"


def ours() -> list[Tool]:
    """Both configurations: without the metrics of the GenAI convention, and as it is by default."""
    return [tool(OURS_ALONE, OWN, "none"), tool(OURS, f"{OWN}; and the GenAI convention's histograms", "legacy")]
