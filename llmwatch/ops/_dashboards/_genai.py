"""GenAI: the metrics of OpenTelemetry's convention, of llmwatch or of any other instrumentation."""

from __future__ import annotations

from collections.abc import Callable

from grafana_foundation_sdk.models import dashboard, units

from llmwatch import metrics
from llmwatch.metrics import Metric
from llmwatch.ops._dashboards._frame import choice, datasource, frame
from llmwatch.ops._dashboards._panels import FAILING, lines, numbers, table
from llmwatch.ops._dashboards._promql import (
    JOB,
    by,
    either,
    grown,
    quantile,
    rate,
    ratio,
    share,
)

_DURATIONS = (metrics.OPERATION_DURATION, metrics.INFERENCE_DURATION)
"""The convention until 1.44, and its newest one; where a service has both, the older counts."""
_PROVIDER, _MODEL = "gen_ai_provider_name", "gen_ai_request_model"
_BOTH = (_PROVIDER, _MODEL)
_LEGEND = "{{gen_ai_provider_name}} {{gen_ai_request_model}}"
_TOTALS = {"input": metrics.INPUT_TOKENS, "output": metrics.OUTPUT_TOKENS}
_PER_CALL = {"input": metrics.INPUT_TOKENS_PER_CALL, "output": metrics.OUTPUT_TOKENS_PER_CALL}


def _calls(count: Callable[..., str], *labels: str, failed: bool = False) -> str:
    """Operations, a second (`rate`) or in the time range (`grown`)."""
    where = {"error_type": '!=""'} if failed else {}
    older, newer = (count(each, "job", *labels, suffix="_count", where=where) for each in _DURATIONS)
    return by(labels, either(older, newer))


def _tokens(count: Callable[..., str], direction: str, *labels: str) -> str:
    """Tokens, a second or in the time range: the sums of the older histogram, or the newer totals."""
    where = {"gen_ai_token_type": f'="{direction}"'}
    older = count(metrics.TOKEN_USAGE, "job", *labels, suffix="_sum", where=where)
    return by(labels, either(older, count(_TOTALS[direction], "job", *labels)))


def _per_call(q: float, direction: str, *labels: str) -> str:
    """A percentile of the tokens of one call in the time range."""
    where = {"gen_ai_token_type": f'="{direction}"'}
    older = grown(metrics.TOKEN_USAGE, "job", *labels, "le", suffix="_bucket", where=where)
    newer = grown(_PER_CALL[direction], "job", *labels, "le", suffix="_bucket")
    return f"histogram_quantile({q:g}, {by([*labels, 'le'], either(older, newer))})"


def _p(q: float, generations: tuple[Metric, Metric], *labels: str) -> str:
    """A percentile of durations over time."""
    older, newer = (rate(each, "job", *labels, "le", suffix="_bucket") for each in generations)
    return f"histogram_quantile({q:g}, {by([*labels, 'le'], either(older, newer))})"


_HEALTH = [
    numbers(
        1,
        "Calls",
        "Operations that ended, a second.",
        {"calls/s": _calls(rate)},
        units.RequestsPerSecond,
        width=6,
        drawn=True,
    ),
    numbers(
        2,
        "Failing",
        "The share of operations with an error type.",
        {"failing": share(_calls(rate, failed=True), _calls(rate))},
        units.PercentUnit,
        width=6,
        steps=FAILING,
        base="green",
        drawn=True,
    ),
    numbers(
        3,
        "P95 of a call",
        "19 of 20 operations take less. Beyond 82 s the convention's buckets cannot tell.",
        {"P95": _p(0.95, _DURATIONS)},
        units.Seconds,
        width=6,
        drawn=True,
    ),
    numbers(
        4,
        "Tokens",
        "In the time range. Dollars are no part of the convention: see the overview.",
        {
            "input": _tokens(grown, "input"),
            "output": _tokens(grown, "output"),
        },
        units.Short,
        width=6,
    ),
    lines(
        5,
        "Calls by model",
        "A second.",
        {_LEGEND: _calls(rate, *_BOTH)},
        units.RequestsPerSecond,
        stacked=True,
    ),
    lines(
        6,
        "Failing by model",
        "One model only: ask another one. All of a provider: its status page.",
        {_LEGEND: share(_calls(rate, *_BOTH, failed=True), _calls(rate, *_BOTH))},
        units.PercentUnit,
        steps=FAILING,
    ),
    lines(
        7,
        "Errors by type",
        "A minute. llmwatch names the type by its own taxonomy, other instrumentations by the class of the exception.",
        {"{{error_type}}": f"60 * {_calls(rate, 'error_type', failed=True)}"},
        units.CountsPerMinute,
        stacked=True,
    ),
]

_SPEED = [
    lines(
        8,
        "P50, P95, P99",
        "Of all operations.",
        {f"P{q:g}": _p(q / 100, _DURATIONS) for q in (50, 95, 99)},
        units.Seconds,
        width=6,
    ),
    lines(
        9,
        "P95 by model",
        "Longer answers take longer: compare with the tokens per call.",
        {_LEGEND: _p(0.95, _DURATIONS, *_BOTH)},
        units.Seconds,
        width=6,
    ),
    lines(
        10,
        "Time to the first chunk, P95",
        "What a reader waits before anything appears; of streams.",
        {_LEGEND: _p(0.95, (metrics.OPERATION_FIRST_CHUNK, metrics.INFERENCE_FIRST_CHUNK), *_BOTH)},
        units.Seconds,
        width=6,
    ),
    lines(
        11,
        "Time per chunk, P95",
        "llmwatch takes the mean of each stream, other instrumentations each gap.",
        {_LEGEND: _p(0.95, (metrics.OPERATION_CHUNK, metrics.INFERENCE_CHUNK), *_BOTH)},
        units.Seconds,
        width=6,
    ),
]

_TOKENS = [
    table(
        12,
        "Tokens by model",
        "In the time range, the largest input first.",
        {_PROVIDER: "Provider", _MODEL: "Model"},
        {
            "Input": (_tokens(grown, "input", *_BOTH), units.Short),
            "Output": (_tokens(grown, "output", *_BOTH), units.Short),
            "Calls": (_calls(grown, *_BOTH), units.Short),
            "Input per call": (
                ratio(_tokens(grown, "input", *_BOTH), _calls(grown, *_BOTH)),
                units.Short,
            ),
            "P95 of input": (_per_call(0.95, "input", *_BOTH), units.Short),
            "P95 of output": (_per_call(0.95, "output", *_BOTH), units.Short),
        },
    ),
    lines(
        13,
        "Tokens per second",
        "By direction; cached input and reasoning are inside.",
        {
            "input": _tokens(rate, "input"),
            "output": _tokens(rate, "output"),
        },
        units.Short,
        stacked=True,
    ),
    lines(
        14,
        "Input from and into the cache",
        "The share of input tokens that is read from a cache, and written to one; of the newest convention only.",
        {
            "{{gen_ai_request_model}} read": ratio(
                rate(metrics.CACHE_READ_TOKENS, _MODEL), rate(metrics.INPUT_TOKENS, _MODEL)
            ),
            "{{gen_ai_request_model}} written": ratio(
                rate(metrics.CACHE_WRITE_TOKENS, _MODEL), rate(metrics.INPUT_TOKENS, _MODEL)
            ),
        },
        units.PercentUnit,
        top=1,
    ),
    lines(
        15,
        "Output that is reasoning",
        "The share of output tokens that nobody reads; of the newest convention only.",
        {
            "{{gen_ai_request_model}}": ratio(
                rate(metrics.REASONING_TOKENS, _MODEL), rate(metrics.OUTPUT_TOKENS, _MODEL)
            )
        },
        units.PercentUnit,
        top=1,
    ),
]


def _per_run(metric: Metric) -> str:
    return ratio(rate(metric, "gen_ai_agent_name", suffix="_sum"), rate(metric, "gen_ai_agent_name", suffix="_count"))


_AGENTS = [
    lines(
        16,
        "P95 of an agent's run",
        "19 of 20 invocations take less.",
        {"{{gen_ai_agent_name}}": quantile(0.95, metrics.INVOKE_AGENT_DURATION, "gen_ai_agent_name")},
        units.Seconds,
        width=6,
    ),
    lines(
        17,
        "Calls of models per run",
        "The mean. A rise: a loop, or a harder task.",
        {"{{gen_ai_agent_name}}": _per_run(metrics.INVOKE_AGENT_CALLS)},
        units.Short,
        width=6,
    ),
    lines(
        18,
        "Calls of tools per run",
        "The mean.",
        {"{{gen_ai_agent_name}}": _per_run(metrics.INVOKE_AGENT_TOOLS)},
        units.Short,
        width=6,
    ),
    lines(
        19,
        "P95 of a tool",
        "19 of 20 executions take less.",
        {
            "{{gen_ai_agent_name}} {{gen_ai_tool_name}}": quantile(
                0.95, metrics.EXECUTE_TOOL_DURATION, "gen_ai_agent_name", "gen_ai_tool_name"
            )
        },
        units.Seconds,
        width=6,
    ),
]


def _variables() -> list[dashboard.VariableModel]:
    series = '__name__=~"gen_ai_client_(operation|inference)_duration_seconds_count"'
    agents = metrics.INVOKE_AGENT_DURATION.prometheus + "_count"
    found = [datasource(), choice("service", "Service", "The job of Prometheus.", f"{{{series}}}", "job")]
    series += f",{JOB}"
    for name, title, says, label in (
        ("provider", "Provider", "Whose models are called.", _PROVIDER),
        ("model", "Model", "Which model was asked.", _MODEL),
    ):
        found.append(choice(name, title, says, f"{{{series}}}", label))
        series += f',{label}=~"${name}"'
    return [*found, choice("agent", "Agent", "Which agent.", f"{agents}{{{JOB}}}", "gen_ai_agent_name")]


def genai() -> str:
    """The JSON of the dashboard that needs nothing but the convention."""
    rows = [
        ("Is it healthy?", _HEALTH),
        ("How fast does it answer?", _SPEED),
        ("Who uses the tokens?", _TOKENS),
        ("What do agents and tools do?", _AGENTS),
    ]
    says = "The metrics of OpenTelemetry's GenAI convention, whichever instrumentation they are from, old or new."
    return frame("llmwatch-genai", "LLM 4 · GenAI convention", says, rows, _variables())
