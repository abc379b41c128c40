"""One of the other tools, measured in an environment of its own, beside the floor: prints its lines as JSON.

    .venv-peers/openlit/bin/python tests/benchmarks/peer.py openlit --rounds 15

`peers.py` makes the environments and runs this in each. Nothing here needs llmwatch, or any network.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import sys
import tempfile
import time
from dataclasses import replace
from functools import partial
from typing import Any

os.environ |= {"OTEL_SDK_DISABLED": "false", "OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none"}
os.environ |= {"OTEL_LOGS_EXPORTER": "none", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}

import answers
import tools
from by_hand import FLOOR, SIX, Fresh, Instruments
from calls import calls
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from results import Line
from streams import streams
from tools import Tool, by_hand
from vendor import no_vendor, through, usual


class Nowhere(SpanExporter):
    """An exporter that sends nothing.

    Attributes:
        exported: How many spans it was given, all of its kind together.
    """

    exported = 0

    def export(self, spans: Any) -> SpanExportResult:
        Nowhere.exported += len(spans)
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        pass


def providers() -> dict[str, Any]:
    """A tracer and a meter provider that send nothing, as arguments."""
    tracers = TracerProvider(shutdown_on_exit=False)
    tracers.add_span_processor(BatchSpanProcessor(Nowhere()))
    return {
        "tracer_provider": tracers,
        "meter_provider": MeterProvider([InMemoryMetricReader()], shutdown_on_exit=False),
    }


def version(distribution: str) -> str:
    """Its version."""
    return importlib.metadata.version(distribution)


def openllmetry() -> Tool:
    """OpenLLMetry, which is Traceloop's."""
    from opentelemetry.instrumentation.openai import OpenAIInstrumentor

    OpenAIInstrumentor().instrument(**providers())
    name = f"OpenLLMetry {version('opentelemetry-instrumentation-openai')}"
    return Tool(
        name, "a span with prompt and answer; tokens, choices, duration, time to first token", through(*usual())
    )


def otel_genai() -> Tool:
    """OpenTelemetry's own, the newer."""
    from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor

    OpenAIInstrumentor().instrument(**providers())
    name = f"OpenTelemetry genai-openai {version('opentelemetry-instrumentation-genai-openai')}"
    return Tool(name, "a span; tokens, duration, time to and between chunks", through(*usual()))


def otel_v2() -> Tool:
    """OpenTelemetry's own, the older."""
    from opentelemetry.instrumentation.openai_v2 import OpenAIInstrumentor

    OpenAIInstrumentor().instrument(**providers())
    name = f"OpenTelemetry openai-v2 {version('opentelemetry-instrumentation-openai-v2')}"
    return Tool(name, "a span; tokens, duration", through(*usual()))


def openlit() -> Tool:
    """OpenLIT."""
    import openlit

    given = providers()
    trace.set_tracer_provider(given["tracer_provider"])
    metrics.set_meter_provider(given["meter_provider"])
    with tempfile.NamedTemporaryFile("w", suffix=".json") as prices:
        prices.write(json.dumps({"chat": {answers.MODEL: {"promptPrice": 0.00015, "completionPrice": 0.0006}}}))
        prices.flush()
        openlit.init(pricing_json=prices.name, disable_events=True)
    return Tool(
        f"OpenLIT {version('openlit')}",
        "a span with prompt and answer; tokens, duration, cost, chunk times",
        through(*usual()),
    )


def openinference() -> Tool:
    """OpenInference, which is Arize's."""
    from openinference.instrumentation.openai import OpenAIInstrumentor

    OpenAIInstrumentor().instrument(tracer_provider=providers()["tracer_provider"])
    name = f"OpenInference {version('openinference-instrumentation-openai')}"
    return Tool(name, "a span with prompt, answer and tokens", through(*usual()))


def logfire() -> Tool:
    """Logfire, which is Pydantic's."""
    import logfire

    logfire.configure(
        send_to_logfire=False,
        console=False,
        additional_span_processors=[BatchSpanProcessor(Nowhere())],
        inspect_arguments=False,
    )
    clients = usual()
    for client in clients:
        logfire.instrument_openai(client)
    return Tool(f"Logfire {version('logfire')}", "a span with prompt, answer, tokens and cost", through(*clients))


def langfuse() -> Tool:
    """Langfuse's client."""
    from langfuse import Langfuse
    from langfuse.openai import AsyncOpenAI, OpenAI

    Langfuse(public_key="pk-none", secret_key="sk-none", base_url="http://127.0.0.1:9", span_exporter=Nowhere())
    functions = through(OpenAI(api_key="none"), AsyncOpenAI(api_key="none"))
    return Tool(f"Langfuse {version('langfuse')}", "a span with prompt, answer and tokens", functions)


def autometrics() -> Tool:
    """Autometrics, which knows nothing of models."""
    from autometrics import autometrics, init

    init(tracker="prometheus", service_name="benchmark")
    observed = autometrics(track_concurrency=True)
    bare = tools.BARE.functions
    functions = replace(
        bare, sync=observed(bare.sync), coroutine=observed(bare.coroutine), failing=observed(bare.failing)
    )
    name = f"Autometrics {version('autometrics')}"
    return Tool(
        name, "calls, their duration and number; no tokens, no cost", functions, lacks=_NO_STREAM, bare=tools.BARE
    )


def litellm() -> Tool:
    """LiteLLM's logger for Prometheus, which is called after an answer, and on the event loop only if that is async."""
    import litellm
    from litellm.integrations.prometheus import PrometheusLogger
    from litellm.litellm_core_utils.logging_worker import GLOBAL_LOGGING_WORKER

    logger = PrometheusLogger()

    async def coroutine() -> Any:
        answer = await litellm.acompletion(**answers.REQUEST, mock_response="To the left.")
        await GLOBAL_LOGGING_WORKER.flush()
        return answer

    def logging(*callbacks: Any) -> None:
        litellm.logging_callback_manager._reset_all_callbacks()  # which a call has copied to lists of its own
        litellm.callbacks = list(callbacks)

    functions = replace(tools.BARE.functions, coroutine=coroutine)
    bare = Tool("bare call of LiteLLM", "nothing", functions, logging, lacks=_ONLY_ASYNC)
    name = f"LiteLLM {version('litellm')}, Prometheus logger"
    records = "requests, tokens by kind, spend, latencies"
    return Tool(name, records, functions, partial(logging, logger), lacks=_ONLY_ASYNC, bare=bare)


_PATIENCE = 15.0  # seconds, three times what spans wait for each other
_ONLY_ASYNC = frozenset({"sync", "error", "stream"})
_NO_STREAM = frozenset({"stream"})
_BELOW_CREATE = {"openinference", "logfire"}  # what these wrap
PEERS = {
    "openllmetry": openllmetry,
    "otel-genai": otel_genai,
    "otel-v2": otel_v2,
    "openlit": openlit,
    "openinference": openinference,
    "logfire": logfire,
    "langfuse": langfuse,
    "autometrics": autometrics,
    "litellm": litellm,
}


def main() -> int:
    """Prints the lines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("peer", choices=PEERS)
    parser.add_argument("--rounds", type=int, default=15)
    chosen = parser.parse_args()
    bare = no_vendor(below_create=chosen.peer in _BELOW_CREATE)
    recording = Fresh(Instruments(MeterProvider([InMemoryMetricReader()], shutdown_on_exit=False)))
    floor = Tool(FLOOR, SIX, by_hand(recording), bare=tools.BARE)
    peer = PEERS[chosen.peer]()
    measured = [floor, peer if peer.bare is not None else replace(peer, bare=bare)]
    lines = calls(measured, floor, chosen.rounds) + streams(measured, floor, chosen.rounds)
    if "span" in peer.records:
        _await_spans(peer)
    sys.stdout.write(json.dumps(_summary(lines, measured[1])))
    return 0


def _await_spans(peer: Tool) -> None:
    """Sees to it that the tool was really in place."""
    until = time.monotonic() + _PATIENCE
    while not Nowhere.exported:
        if time.monotonic() > until:
            sys.exit(f"{peer.name} has recorded nothing")
        time.sleep(0.1)


def _summary(lines: list[Line], peer: Tool) -> dict[str, Any]:
    """The peer's figures in one line, after what the floor took in the same process."""
    floor = next(line.figures["sync, µs"] for line in lines if line.name == FLOOR)
    figures = {"floor here, µs": floor}
    for line in lines:
        if line.name == peer.name:
            figures |= {name: figure for name, figure in line.figures.items() if "wall" not in name}
    return {"name": peer.name, "records": peer.records, "figures": figures}


if __name__ == "__main__":
    sys.exit(main())
