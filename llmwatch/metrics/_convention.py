"""The metrics of OpenTelemetry's GenAI convention: two generations for calls, and what it has for agents and tools."""

from __future__ import annotations

from llmwatch.metrics._metric import Kind, Metric, Set

# The buckets that the convention prescribes for durations and for token counts, for agents and for their calls.
_SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
_TOKENS = tuple(float(4**power) for power in range(14))
_RUN_SECONDS = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2, 102.4, 204.8, 409.6)
_RUN_CALLS = tuple(float(2**power) for power in range(8))

CLIENT_ATTRIBUTES = ("gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model", "gen_ai.response.model")


def _seconds(name: str, description: str, *labels: str, set: Set) -> Metric:
    name, description = f"gen_ai.client.{name}", f"{description}, as llmwatch saw it."
    return Metric(name, "histogram", "s", (*CLIENT_ATTRIBUTES, *labels), description, _SECONDS, set=set)


def _tokens(name: str, kind: Kind, description: str, label: str, *, set: Set) -> Metric:
    name, description = f"gen_ai.client.{name}", f"{description}, as llmwatch saw it."
    buckets = _TOKENS if kind == "histogram" else ()
    return Metric(name, kind, "{token}", (*CLIENT_ATTRIBUTES, label), description, buckets, set=set)


# Our own words at the end of each description keep these apart from another instrumentation's metrics of the same name
# on the same provider, whose labels the Prometheus exporter would mix up with ours.
_FIRST, _GAP = "Time to the first chunk of a stream", "Mean time between the chunks of a stream, one value a stream"
OPERATION_DURATION = _seconds("operation.duration", "GenAI operation duration", "error.type", set="legacy")
TOKEN_USAGE = _tokens(
    "token.usage", "histogram", "Number of input and output tokens used", "gen_ai.token.type", set="legacy"
)
OPERATION_FIRST_CHUNK = _seconds("operation.time_to_first_chunk", _FIRST, set="legacy")
OPERATION_CHUNK = _seconds("operation.time_per_output_chunk", _GAP, set="legacy")
INFERENCE_DURATION = _seconds("inference.duration", "GenAI inference duration", "error.type", set="latest")
INFERENCE_FIRST_CHUNK = _seconds("inference.time_to_first_chunk", _FIRST, set="latest")
INFERENCE_CHUNK = _seconds("inference.time_per_output_chunk", _GAP, set="latest")


def _total(name: str, description: str) -> Metric:
    return _tokens(f"inference.usage.{name}", "counter", description, "gen_ai.token.modality", set="latest")


INPUT_TOKENS = _total("input_tokens", "Input tokens, cached ones included")
OUTPUT_TOKENS = _total("output_tokens", "Output tokens, reasoning included")
CACHE_READ_TOKENS = _total("cache_read.input_tokens", "Input tokens read from a cache")
CACHE_WRITE_TOKENS = _total("cache_write.input_tokens", "Input tokens written to a cache")
REASONING_TOKENS = _total("reasoning.output_tokens", "Output tokens of reasoning")


def _per_call(direction: str) -> Metric:
    name, description = f"inference.operation.{direction}_tokens", f"Distribution of {direction} tokens over calls"
    return _tokens(name, "histogram", description, "error.type", set="latest")


INPUT_TOKENS_PER_CALL = _per_call("input")
OUTPUT_TOKENS_PER_CALL = _per_call("output")


def _agents(name: str, unit: str, description: str, *labels: str, buckets: tuple[float, ...]) -> Metric:
    return Metric(
        f"gen_ai.{name}", "histogram", unit, labels, f"{description}, as llmwatch saw it.", buckets, set="agents"
    )


INVOKE_AGENT_DURATION = _agents(
    "invoke_agent.duration", "s", "Agent invocation duration", "gen_ai.agent.name", "error.type", buckets=_RUN_SECONDS
)
INVOKE_AGENT_CALLS = _agents(
    "invoke_agent.inference_calls",
    "{inference_call}",
    "Calls of a model in one invocation of an agent",
    "gen_ai.agent.name",
    buckets=_RUN_CALLS,
)
INVOKE_AGENT_TOOLS = _agents(
    "invoke_agent.tool_calls",
    "{tool_call}",
    "Calls of tools in one invocation of an agent",
    "gen_ai.agent.name",
    buckets=_RUN_CALLS,
)
EXECUTE_TOOL_DURATION = _agents(
    "execute_tool.duration",
    "s",
    "Tool execution duration",
    "gen_ai.tool.name",
    "gen_ai.agent.name",
    "error.type",
    buckets=_SECONDS,
)
