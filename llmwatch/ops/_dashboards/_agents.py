"""What agents and their tools do: runs, calls and tokens of a run, tools that fail."""

from __future__ import annotations

from grafana_foundation_sdk.models import units

from llmwatch import metrics
from llmwatch.ops._dashboards._panels import lines, table
from llmwatch.ops._dashboards._promql import grown, quantile, rate, ratio, share, whole

_OF_AGENTS = {"agent": '!=""'}
_ERROR = {"status": '="error"'}
_CALLS = grown(metrics.REQUESTS, "agent", where=_OF_AGENTS)
_OF_RUNS = grown(metrics.REQUESTS, "agent", like=metrics.AGENT_RUNS, where=_OF_AGENTS)
_RUNS = grown(metrics.AGENT_RUNS, "agent")
_TOOL = ("agent", "tool")


def _per_run(metric: metrics.Metric) -> str:
    """The mean over the runs that ended."""
    return ratio(rate(metric, "agent", suffix="_sum"), rate(metric, "agent", suffix="_count"))


ROW = [
    table(
        23,
        "Agents",
        "In the time range, the one with most calls per run first. Runs that still go on count as one, so that a loop "
        "stands out before it ends; more than 50 calls a run fire LLMAgentRunaway.",
        {"agent": "Agent"},
        {
            "Calls per run": (f"{_OF_RUNS} / clamp_min({_RUNS}, 1)", units.Short),
            "Runs": (_RUNS, units.Short),
            "Failing": (share(grown(metrics.AGENT_RUNS, "agent", where=_ERROR), _RUNS), units.PercentUnit),
            "Calls": (_CALLS, units.Short),
            "Tokens": (grown(metrics.TOKENS, "agent", where=_OF_AGENTS), units.Short),
            "Dollars": (grown(metrics.COST, "agent", where=_OF_AGENTS), units.Dollars),
            "P95 of a run": (whole(0.95, metrics.AGENT_DURATION, "agent"), units.Seconds),
        },
        steps={"Calls per run": ((50, "red"),)},
        height=6,
    ),
    lines(
        24,
        "Calls of models per run",
        "The mean of runs that ended. A rise: a loop, or a harder task.",
        {"{{agent}}": _per_run(metrics.AGENT_RUN_REQUESTS)},
        units.Short,
        width=6,
    ),
    lines(
        25,
        "Tokens per run",
        "The mean of runs that ended. It grows faster than calls when each call carries the whole history.",
        {"{{agent}}": _per_run(metrics.AGENT_RUN_TOKENS)},
        units.Short,
        width=6,
    ),
    lines(
        26,
        "P95 of a run",
        "19 of 20 runs take less.",
        {"{{agent}}": quantile(0.95, metrics.AGENT_DURATION, "agent")},
        units.Seconds,
        width=6,
    ),
    lines(
        27,
        "Runs by how they end",
        "A minute.",
        {"{{agent}} {{status}}": f"60 * {rate(metrics.AGENT_RUNS, 'agent', 'status')}"},
        units.CountsPerMinute,
        width=6,
        stacked=True,
    ),
    table(
        28,
        "Tools",
        "In the time range, the one with the largest share of failing calls first: an agent tries such a tool over "
        "and over.",
        {"agent": "Agent", "tool": "Tool"},
        {
            "Failing": (
                share(grown(metrics.TOOL_CALLS, *_TOOL, where=_ERROR), grown(metrics.TOOL_CALLS, *_TOOL)),
                units.PercentUnit,
            ),
            "Calls": (grown(metrics.TOOL_CALLS, *_TOOL), units.Short),
            "P95": (whole(0.95, metrics.TOOL_DURATION, *_TOOL), units.Seconds),
        },
        height=6,
    ),
]
