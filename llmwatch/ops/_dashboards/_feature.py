"""Feature detail: one feature, or a few, from its health to its agents and tools."""

from __future__ import annotations

from grafana_foundation_sdk.models import units

from llmwatch import metrics
from llmwatch.ops._dashboards import _agents, _cost
from llmwatch.ops._dashboards._frame import frame, variables
from llmwatch.ops._dashboards._panels import FAILING, TIMES, heat, lines, numbers, table
from llmwatch.ops._dashboards._promql import (
    AGAINST,
    RATE,
    SUCCESS,
    by,
    failing,
    grown,
    grown_from_nothing,
    quantile,
    rate,
    ratio,
    select,
)

_DURATION, _FIRST = metrics.REQUEST_DURATION, metrics.TIME_TO_FIRST_CHUNK
_OUTPUT = {"direction": '="output"'}

_HEALTH = [
    numbers(
        1,
        "Calls",
        "Calls of models in the time range.",
        {"calls": grown(metrics.REQUESTS)},
        units.Short,
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
        "P50 and P95",
        "Half of the successful calls take less than the first, 19 of 20 less than the second.",
        {"P50": quantile(0.5, _DURATION, where=SUCCESS), "P95": quantile(0.95, _DURATION, where=SUCCESS)},
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
        "Per call",
        "What a call cost on average in the time range.",
        {"per call": ratio(grown(metrics.COST), grown(metrics.REQUESTS))},
        units.Dollars,
        decimals=5,
    ),
    numbers(
        6,
        "In flight",
        "Calls that have not ended yet. A number that only rises: calls that hang.",
        {"in flight": by((), select(metrics.ACTIVE_REQUESTS))},
        units.Short,
        drawn=True,
    ),
    lines(
        7,
        "How calls end",
        "A second. Cancelled: the caller gave up, often for a timeout of its own. Abandoned: nobody read the stream to "
        "its end. Both are paid for.",
        {"{{status}}": rate(metrics.REQUESTS, "status")},
        units.RequestsPerSecond,
        width=12,
        stacked=True,
    ),
    lines(
        8,
        "Failing by provider and model",
        "One model only: ask another one. All of a provider: its status page.",
        {"{{provider}} {{model}}": failing("provider", "model")},
        units.PercentUnit,
        width=12,
        steps=FAILING,
    ),
]

_SPEED = [
    heat(
        9,
        "How long calls take",
        "Successful calls by their duration. Two bands: two kinds of calls, or calls that waited for a retry.",
        by(("le",), f"rate({select(_DURATION, '_bucket', where=SUCCESS)}[{RATE}])"),
        units.Seconds,
    ),
    lines(
        10,
        "P50, P95, P99",
        "Of successful calls, retries inside.",
        {f"P{q:g}": quantile(q / 100, _DURATION, where=SUCCESS) for q in (50, 95, 99)},
        units.Seconds,
    ),
    lines(
        11,
        "P95 by model",
        "Of successful calls. Longer answers take longer: compare with the tokens per call.",
        {"{{provider}} {{model}}": quantile(0.95, _DURATION, "provider", "model", where=SUCCESS)},
        units.Seconds,
    ),
    lines(
        12,
        "Time to the first chunk, P95",
        "What a reader waits before anything appears; of streams.",
        {"{{provider}} {{model}}": quantile(0.95, _FIRST, "provider", "model")},
        units.Seconds,
    ),
    lines(
        13,
        "Time between chunks, P95",
        "The mean gap of each stream; 19 of 20 streams have a shorter one.",
        {"{{provider}} {{model}}": quantile(0.95, metrics.TIME_PER_OUTPUT_CHUNK, "provider", "model")},
        units.Seconds,
    ),
    lines(
        14,
        "Output tokens per second of a call",
        "How fast models write, waiting included: output tokens by the time that successful calls take.",
        {
            "{{provider}} {{model}}": ratio(
                rate(metrics.TOKENS, "provider", "model", like=_DURATION, where=_OUTPUT),
                rate(_DURATION, "provider", "model", suffix="_sum", where=SUCCESS),
            )
        },
        units.Short,
    ),
]

_PARTS = ("model", "direction", "kind")
_DOLLARS = grown(metrics.COST, *_PARTS)
_PRICE = ratio(f"1e6 * {_DOLLARS}", grown(metrics.TOKENS, *_PARTS))
_MONEY = [
    numbers(
        15,
        "Against ${against:text}",
        _cost.FACTORS.format("then"),
        _cost.factors(AGAINST),
        units.NoUnit,
        width=8,
        height=8,
        steps=TIMES,
        decimals=2,
        none="no base",
    ),
    lines(
        16,
        "Dollars per call by model",
        "A rise without one of tokens per call: another model, or less of the cache.",
        {"{{model}}": ratio(rate(metrics.COST, "model"), rate(metrics.REQUESTS, "model"))},
        units.Dollars,
    ),
    lines(
        17,
        "Tokens per call by kind",
        "Input text that rises: a longer prompt, history or documents. Reasoning: another effort. Less cache_read and "
        "more text: the beginning of the prompt changes from call to call.",
        {
            "{{direction}} {{kind}}": f"{rate(metrics.TOKENS, 'direction', 'kind')} / on () group_left () "
            f"({rate(metrics.REQUESTS)} > 0)"
        },
        units.Short,
        stacked=True,
    ),
    table(
        18,
        "What the money went to",
        "In the time range, by model and kind of token, the largest first.",
        {"model": "Model", "direction": "Direction", "kind": "Kind"},
        {
            "Dollars": (f"{_DOLLARS} > 0", units.Dollars),
            "Tokens": (f"{grown(metrics.TOKENS, *_PARTS)} > 0", units.Short),
            "Dollars per million tokens": (f"{_PRICE} > 0", units.Dollars),
        },
    ),
]

_BREAKS = [
    lines(
        19,
        "Errors by type",
        "Failed calls a minute. The runbooks say what to do about each type.",
        {"{{error_type}}": f"60 * {rate(metrics.ERRORS, 'error_type')}"},
        units.CountsPerMinute,
        width=6,
        stacked=True,
    ),
    lines(
        20,
        "Why answers end",
        "A second. `length`: cut off at the limit of output tokens. `content_filter`: refused.",
        {"{{reason}}": rate(metrics.FINISH_REASONS, "reason")},
        units.CountsPerSecond,
        width=6,
        stacked=True,
    ),
    lines(
        21,
        "Waiting per call",
        "Time between attempts, spread over all calls: what the provider's limits and failures cost this feature.",
        {
            "{{provider}} {{model}}": ratio(
                *(rate(each, "provider", "model") for each in (metrics.RETRY_WAIT, metrics.REQUESTS))
            )
        },
        units.Seconds,
        width=6,
    ),
    lines(
        22,
        "What guards reject",
        "The share of their decisions that are not `allowed`. A rise: somebody tries something, or the guard changed.",
        {
            "{{guard}} {{stage}}": ratio(
                rate(metrics.GUARD_DECISIONS, "guard", "stage", where={"decision": '!="allowed"'}),
                rate(metrics.GUARD_DECISIONS, "guard", "stage"),
            )
        },
        units.PercentUnit,
        width=6,
    ),
]


def feature() -> str:
    """The JSON of the dashboard that the overview leads to."""
    rows = [
        ("Is it healthy?", _HEALTH),
        ("How fast does it answer?", _SPEED),
        ("Why did cost move?", _MONEY),
        ("What does it break on?", _BREAKS),
        ("What do its agents and tools do?", _agents.ROW),
    ]
    says = (
        "One feature in detail: choose it above. Agents and tools are chosen by agent, for they belong to no feature."
    )
    return frame("llmwatch-feature", "LLM 2 · Feature detail", says, rows, variables(compares=True))
