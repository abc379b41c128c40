"""Overview: is it healthy, why did cost move, who uses the tokens, what do limits do, what does it break on."""

from __future__ import annotations

from grafana_foundation_sdk.models import units

from llmwatch import metrics
from llmwatch.ops._dashboards import _cost, _limits
from llmwatch.ops._dashboards._frame import frame, variables
from llmwatch.ops._dashboards._panels import ANY, FAILING, lines, numbers, table
from llmwatch.ops._dashboards._promql import (
    JOB,
    SUCCESS,
    failing,
    grown,
    grown_from_nothing,
    quantile,
    rate,
    ratio,
    share,
)

_HEALTH = [
    numbers(
        1,
        "Calls",
        "Calls of models that ended, a second.",
        {"calls/s": rate(metrics.REQUESTS)},
        units.RequestsPerSecond,
        drawn=True,
    ),
    numbers(
        2,
        "Failing",
        "The share of calls that fail; cancelled calls and abandoned streams count as neither.",
        {"failing": failing()},
        units.PercentUnit,
        steps=FAILING,
        base="green",
        drawn=True,
    ),
    numbers(
        3,
        "P95 of a call",
        "19 of 20 successful calls take less, from the call to the last byte, retries inside.",
        {"P95": quantile(0.95, metrics.REQUEST_DURATION, where=SUCCESS)},
        units.Seconds,
        drawn=True,
    ),
    numbers(
        4,
        "Spent",
        "US dollars in the time range. Calls without a known price are not in it: see Debug.",
        {"spent": grown_from_nothing(metrics.COST)},
        units.Dollars,
    ),
    numbers(
        5,
        "Spent in 24 hours",
        "US dollars in the last 24 hours, whatever the time range: what a budget is of.",
        {"24 hours": grown_from_nothing(metrics.COST, span="1d")},
        units.Dollars,
    ),
    numbers(
        6,
        "Alerts firing",
        "LLM alerts that fire now; without the rules of llmwatch this is always 0.",
        {"firing": f'count(ALERTS{{alertstate="firing",alertname=~"LLM.+",{JOB}}}) or vector(0)'},
        units.Short,
        steps=ANY,
        base="green",
    ),
    lines(
        7,
        "Calls by feature",
        "A second. Where none come, look at the application before llmwatch.",
        {"{{feature}}": rate(metrics.REQUESTS, "feature")},
        units.RequestsPerSecond,
        to_feature=True,
    ),
    lines(
        8,
        "Failing by feature and provider",
        "All features of one provider: it is the provider. One: it is ours.",
        {"{{feature}} at {{provider}}": failing("feature", "provider")},
        units.PercentUnit,
        steps=FAILING,
        to_feature=True,
    ),
    lines(
        9,
        "P95 of a call by feature",
        "Of successful calls. Compare with the time of an attempt, below.",
        {"{{feature}}": quantile(0.95, metrics.REQUEST_DURATION, "feature", where=SUCCESS)},
        units.Seconds,
        to_feature=True,
    ),
]


_WHO = ("feature", "agent")
_CACHED = {"direction": '="input"', "kind": '="cache_read"'}
_INPUT = {"direction": '="input"'}
_TOKENS = [
    table(
        16,
        "Tokens by feature and agent",
        "In the time range, the largest first. Few calls with many tokens each:"
        " a long prompt or history. Many calls: see runs and calls per run in Feature detail.",
        {"feature": "Feature", "agent": "Agent"},
        {
            "Tokens": (grown(metrics.TOKENS, *_WHO), units.Short),
            "Share": (
                f"{grown(metrics.TOKENS, *_WHO)} / on () group_left () ({grown(metrics.TOKENS)} > 0)",
                units.PercentUnit,
            ),
            "Calls": (grown(metrics.REQUESTS, *_WHO), units.Short),
            "Tokens per call": (ratio(grown(metrics.TOKENS, *_WHO), grown(metrics.REQUESTS, *_WHO)), units.Short),
            "Dollars": (grown_from_nothing(metrics.COST, *_WHO), units.Dollars),
        },
        width=12,
    ),
    lines(
        17,
        "Tokens per second by feature and agent",
        "When they were used.",
        {"{{feature}} {{agent}}": rate(metrics.TOKENS, *_WHO)},
        units.Short,
        width=12,
        stacked=True,
        to_feature=True,
    ),
    lines(
        18,
        "Tokens per second by kind",
        "The kinds of a direction add up to it; a cache_read costs a tenth or so.",
        {"{{direction}} {{kind}}": rate(metrics.TOKENS, "direction", "kind")},
        units.Short,
        width=9,
        stacked=True,
    ),
    lines(
        19,
        "Input that comes from the cache",
        "A share that falls: the beginning of the prompt changes from call to call, and every call pays for it anew.",
        {
            "{{feature}}": share(
                rate(metrics.TOKENS, "feature", where=_CACHED), rate(metrics.TOKENS, "feature", where=_INPUT)
            )
        },
        units.PercentUnit,
        width=9,
        top=1,
        to_feature=True,
    ),
    numbers(
        20,
        "Saved by the cache",
        "US dollars in the time range that cached input would have cost more.",
        {"saved": grown_from_nothing(metrics.CACHE_SAVINGS)},
        units.Dollars,
        width=6,
        height=8,
    ),
]


_WHICH = ("feature", "provider", "model", "error_type")

_ERRORS = [
    lines(
        26,
        "Errors by type",
        "Failed calls a minute. The runbooks say what to do about each type.",
        {"{{error_type}}": f"60 * {rate(metrics.ERRORS, 'error_type')}"},
        units.CountsPerMinute,
        stacked=True,
    ),
    table(
        27,
        "Failed calls",
        "In the time range, the most frequent first.",
        {"feature": "Feature", "provider": "Provider", "model": "Model", "error_type": "Error"},
        {"Calls": (f"{grown(metrics.ERRORS, *_WHICH)} > 0.5", units.Short)},
        width=16,
    ),
]


def overview() -> str:
    """The JSON of the dashboard that one looks at first."""
    rows = [
        ("Is it healthy?", _HEALTH),
        ("Why did cost move?", _cost.ROW),
        ("Who uses the tokens?", _TOKENS),
        ("Are we at the provider's limit?", _limits.ROW),
        ("What does it break on?", _ERRORS),
    ]
    says = "All features at a glance: each row answers a question, and a feature's name leads to its details."
    return frame("llmwatch-overview", "LLM 1 · Overview", says, rows, variables(compares=True))
