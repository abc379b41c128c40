"""Debug: whether the metrics themselves are right, and every label that a call can be found by."""

from __future__ import annotations

from grafana_foundation_sdk.models import units

from llmwatch import metrics
from llmwatch.ops._dashboards import _ingress
from llmwatch.ops._dashboards._frame import frame, variables
from llmwatch.ops._dashboards._panels import ANY, lines, numbers, table
from llmwatch.ops._dashboards._promql import (
    JOB,
    RATE,
    by,
    grown,
    grown_from_nothing,
    quantile,
    rate,
    select,
)

_AGE = ((30 * 86400, "orange"), (90 * 86400, "red"))
"""The alert LLMPriceTableStale, and the way there."""

_PIPELINE = [
    numbers(
        1,
        "Targets up",
        "Processes that answer Prometheus. Fewer than there are: every sum is too low. Pushed metrics have none.",
        {"up": f"sum(up{{{JOB}}})", "of": f"count(up{{{JOB}}})"},
        units.Short,
    ),
    numbers(
        2,
        "Internal errors",
        "Failures of llmwatch itself in the time range, hidden from your program; its log has the tracebacks.",
        {"{{where}}": grown_from_nothing(metrics.INTERNAL_ERRORS, "where")},
        units.Short,
        steps=ANY,
        base="green",
    ),
    numbers(
        3,
        "Labels folded",
        "Calls in the time range whose label had more values than it may and says `other`: LLMLabelOverflow.",
        {"{{label}}": grown_from_nothing(metrics.LABEL_OVERFLOW, "label")},
        units.Short,
        steps=ANY,
        base="green",
    ),
    numbers(
        4,
        "Age of the price table",
        "Vendors change prices; upgrade genai-prices. The oldest of all processes.",
        {"age": by((), select(metrics.PRICE_TABLE_AGE), "max")},
        units.Seconds,
        steps=_AGE,
        base="green",
    ),
    numbers(
        5,
        "Series",
        "Of llmwatch, the GenAI convention included. A process stops at 10,000 of its own unless configured.",
        {"series": f'count({{__name__=~"(ai|llmwatch|gen_ai)_.+",{JOB}}})'},
        units.Short,
    ),
    numbers(
        6,
        "Time to scrape",
        "The slowest target. Near the scrape timeout, samples are lost.",
        {"slowest": f"max(scrape_duration_seconds{{{JOB}}})"},
        units.Seconds,
        drawn=True,
    ),
    lines(
        7,
        "Samples per scrape",
        "By process. Steps upward: new label values. One process far above the others: look at its labels.",
        {"{{instance}}": f"sum by (instance) (scrape_samples_scraped{{{JOB}}})"},
        units.Short,
    ),
    lines(
        8,
        "Calls by process",
        "A second. One that is still while others are busy: out of the load balancer, or stuck.",
        {"{{instance}}": rate(metrics.REQUESTS, "instance")},
        units.RequestsPerSecond,
    ),
    table(
        9,
        "What runs",
        "Versions of llmwatch and of its price table, with their processes. Two for long: a deployment got stuck.",
        {"job": "Service", "version": "Version", "price_table": "Price table"},
        {"Processes": (by(("job", "version", "price_table"), select(metrics.BUILD_INFO), "count"), units.Short)},
        width=8,
    ),
]

_WHY = ("provider", "model", "reason")
_TRUTH = [
    table(
        10,
        "Calls without a price",
        "In the time range. Every sum in dollars is too low by what they cost: `llmwatch prices MODEL` says why.",
        {"provider": "Provider", "model": "Model", "reason": "Reason"},
        {"Calls": (f"{grown_from_nothing(metrics.UNPRICED_REQUESTS, *_WHY)} > 0", units.Short)},
        width=8,
    ),
    table(
        11,
        "Calls without usage",
        "In the time range. not_reported with OpenAI's streams: stream_options={'include_usage': true} is missing. "
        "inconsistent: counted, but the numbers contradict themselves.",
        {"provider": "Provider", "model": "Model", "reason": "Reason"},
        {"Calls": (f"{grown_from_nothing(metrics.USAGE_MISSING, *_WHY)} > 0", units.Short)},
        width=8,
    ),
    lines(
        12,
        "Dollars per hour by source of the price",
        "provider: as billed for the call. override: from your file. table: list prices.",
        {"{{cost_source}}": f"3600 * {rate(metrics.COST, 'cost_source')}"},
        units.Dollars,
        stacked=True,
    ),
]

_OUTCOME = ("provider", "model", "outcome")
_WHOSE = ("provider", "account", "model", "resource")
_LEFT, _LIMIT = select(metrics.RATE_LIMIT_REMAINING), select(metrics.RATE_LIMIT_LIMIT)
_ATTEMPTS = [
    lines(
        17,
        "Attempts by outcome",
        "HTTP requests a second. More attempts than calls: retries.",
        {"{{provider}} {{outcome}}": rate(metrics.ATTEMPTS, "provider", "outcome")},
        units.RequestsPerSecond,
        width=6,
        stacked=True,
    ),
    lines(
        18,
        "P95 of an attempt",
        "By outcome. A refusal is quick; a timeout takes as long as the client waits.",
        {"{{provider}} {{model}} {{outcome}}": quantile(0.95, metrics.ATTEMPT_DURATION, *_OUTCOME)},
        units.Seconds,
        width=6,
    ),
    lines(
        19,
        "Seconds spent waiting, per second",
        "Between attempts, by feature; 2 means that two calls wait at any time.",
        {"{{feature}} {{provider}}": rate(metrics.RETRY_WAIT, "feature", "provider")},
        units.Short,
        width=6,
        stacked=True,
        to_feature=True,
    ),
    table(
        20,
        "Limits",
        "What the provider last reported, the most used first.",
        dict(zip(_WHOSE, ("Provider", "Account", "Model", "Resource"), strict=True)),
        {
            "Used": (
                f"1 - {by(_WHOSE, f'{_LEFT} / ({_LIMIT} > 0)', 'min')}",
                units.PercentUnit,
            ),
            "Left": (by(_WHOSE, _LEFT, "min"), units.Short),
            "Limit": (by(_WHOSE, _LIMIT, "max"), units.Short),
        },
        width=6,
    ),
]

_CALL = metrics.CALL_LABELS
_DETAILS = [
    table(
        21,
        "Every kind of call",
        "In the time range, by all labels that llmwatch gives a call, the most frequent first.",
        {label: label.capitalize() for label in _CALL},
        {
            "Calls": (f"{grown(metrics.REQUESTS, *_CALL)} > 0", units.Short),
            "Errors": (f"{grown(metrics.ERRORS, *_CALL)} > 0", units.Short),
            "Tokens": (f"{grown(metrics.TOKENS, *_CALL)} > 0", units.Short),
            "Dollars": (f"{grown(metrics.COST, *_CALL)} > 0", units.Dollars),
        },
    ),
    lines(
        22,
        "In flight",
        "Calls that have not ended yet.",
        {"{{feature}} {{provider}} {{model}}": by(("feature", "provider", "model"), select(metrics.ACTIVE_REQUESTS))},
        units.Short,
        width=6,
        to_feature=True,
    ),
    lines(
        23,
        "Decisions of guards",
        "A second.",
        {"{{guard}} {{stage}} {{decision}}": rate(metrics.GUARD_DECISIONS, "guard", "stage", "decision")},
        units.CountsPerSecond,
        width=6,
    ),
    lines(
        24,
        "Calls of tools",
        "A second.",
        {"{{agent}} {{tool}} {{status}}": rate(metrics.TOOL_CALLS, "agent", "tool", "status")},
        units.CountsPerSecond,
        width=6,
    ),
    lines(
        25,
        "Restarts",
        "Counters that began anew, by process: deployments, or crashes.",
        {"{{instance}}": by(("instance",), f"resets({select(metrics.REQUESTS)}[{RATE}])", "max")},
        units.Short,
        width=6,
    ),
]


def debug() -> str:
    """The JSON of the dashboard for those who doubt the others."""
    rows = [
        ("Do the metrics arrive?", _PIPELINE),
        ("Is every dollar and every token in them?", _TRUTH),
        ("Where does a request spend its time?", _ingress.ROW),
        ("What do attempts and limits say?", _ATTEMPTS),
        ("Which calls exactly?", _DETAILS),
    ]
    says = "Whether the numbers are right, and the details behind them."
    return frame("llmwatch-debug", "LLM 3 · Debug", says, rows, variables(compares=False))
