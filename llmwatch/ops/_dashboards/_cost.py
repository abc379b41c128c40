"""Why cost moved, as PromQL: three factors whose product is the ratio of costs, and the same in dollars."""

from __future__ import annotations

from grafana_foundation_sdk.models import units

from llmwatch import metrics
from llmwatch.ops._dashboards._panels import TIMES, lines, numbers, table
from llmwatch.ops._dashboards._promql import AGAINST, RATE, based, grown, rate, ratio

_LEVEL = ("feature", "agent")
"""Whose calls, tokens and prices are compared: a model that replaces another one is another price of the same work."""
_WHO = ("feature", "model", "agent")

_CAUSES = ("calls", "tokens per call", "price per token", "new or gone")
_COST, _CALLS, _TOKENS = metrics.COST, metrics.REQUESTS, metrics.TOKENS


def factors(offset: str) -> dict[str, str]:
    """How many times as much as so long ago: cost, and the factors that multiply to it.

    They are the contributions in dollars over the logarithmic mean of both costs, to the power of e.
    """
    now, then = grown(_COST), grown(_COST, offset=offset)
    mean = f"({now} - {then}) / (ln({ratio(now, then)}) != 0)"
    parts = {
        f"{name} ×": based(f"exp((\n{expression}\n) / (\n{mean}\n))", offset)
        for name, expression in zip(_CAUSES, _contributions(offset), strict=True)
    }
    return {"cost ×": based(ratio(now, then), offset), **parts}


def contributions() -> dict[str, str]:
    """How many dollars more each factor made it; together they are the whole change."""
    each = _contributions(AGAINST)
    return {name: based(expression, AGAINST) for name, expression in zip(_CAUSES, each, strict=True)}


def _contributions(offset: str) -> tuple[str, ...]:
    """The dollars of each cause, by feature and agent, added up.

    The change of one row is split in the proportion of the logarithms of its factors, weighted with the logarithmic
    mean of both costs: the LMDI method, which leaves no remainder (B. W. Ang, "The LMDI approach to decomposition
    analysis", Energy Policy 33, 2005). So an agent that is dearer a call than all others counts as more calls when it
    makes more of them; by the totals alone it would look like more tokens per call and a higher price.
    """
    cost, calls, tokens = (_times(metric, offset) for metric in (_COST, _CALLS, _TOKENS))
    now, then = grown(_COST, *_LEVEL), grown(_COST, *_LEVEL, offset=offset)
    weight = f"({now} - {then}) / (ln({cost}) != 0)"
    here, gone = f"sum({now} unless ({then} > 0))", f"sum({then} unless ({now} > 0))"
    return (
        f"sum({weight} * ln({calls}))",
        f"sum({weight} * (ln({tokens}) - ln({calls})))",
        f"sum({weight} * (ln({cost}) - ln({tokens})))",
        f"({here} or vector(0)) - ({gone} or vector(0))",
    )


def _times(metric: metrics.Metric, offset: str) -> str:
    """The ratio of now to then in each row that has both."""
    return f"({grown(metric, *_LEVEL)} > 0) / ({grown(metric, *_LEVEL, offset=offset)} > 0)"


def movers() -> dict[str, str]:
    """Each row's dollars now and then, how much more, and its three factors."""
    now, then = f"{grown(_COST, *_WHO)} > 0", f"{grown(_COST, *_WHO, offset=AGAINST)} > 0"
    cost, calls, tokens = (
        ratio(grown(metric, *_WHO), grown(metric, *_WHO, offset=AGAINST)) for metric in (_COST, _CALLS, _TOKENS)
    )
    return {
        "Change": based(f"({now} or 0 * ({then}))\n-\n({then} or 0 * ({now}))", AGAINST),
        "Now": now,
        "Then": based(then, AGAINST),
        "Calls ×": based(calls, AGAINST),
        "Tokens per call ×": based(f"{tokens}\n/\n({calls})", AGAINST),
        "Price per token ×": based(f"{cost}\n/\n({tokens})", AGAINST),
    }


FACTORS = (
    "How many times as much as at the same time {}: cost, and the factors that multiply to it. The one that stands out "
    "is where to look. Each feature and agent counts by what it costs; new or gone are those that only one of the two "
    "times has. No base: the metrics do not reach back that far, or have gaps there."
)
_PER_HOUR = f"3600 * {rate(metrics.COST)}"

ROW = [
    numbers(
        10,
        "Against yesterday",
        FACTORS.format("yesterday"),
        factors("1d"),
        units.NoUnit,
        width=12,
        steps=TIMES,
        decimals=2,
        none="no base",
    ),
    numbers(
        11,
        "Against last week",
        FACTORS.format("a week ago"),
        factors("1w"),
        units.NoUnit,
        width=12,
        steps=TIMES,
        decimals=2,
        none="no base",
    ),
    lines(
        12,
        "Dollars per hour",
        "The pace of spending, with the same hours of yesterday and of last week.",
        {
            "now": _PER_HOUR,
            "yesterday": _PER_HOUR.replace(f"[{RATE}]", f"[{RATE}] offset 1d"),
            "last week": _PER_HOUR.replace(f"[{RATE}]", f"[{RATE}] offset 1w"),
        },
        units.Dollars,
    ),
    lines(
        13,
        "Dollars per hour by feature",
        "What the pace is made of.",
        {"{{feature}}": f"3600 * {rate(metrics.COST, 'feature')}"},
        units.Dollars,
        stacked=True,
        to_feature=True,
    ),
    numbers(
        14,
        "What changed it, in dollars",
        "The change against ${against:text}, by cause; together it is the whole. Another model counts as another price "
        "per token, for the work is the same. The table says whose it is.",
        contributions(),
        units.Dollars,
        width=8,
        height=8,
        decimals=2,
        none="no base",
    ),
    table(
        15,
        "Who moved it",
        "Against ${against:text}, the largest rise first. The last three multiply to now / then.",
        {"feature": "Feature", "model": "Model", "agent": "Agent"},
        {
            heading: (expression, units.NoUnit if "×" in heading else units.Dollars)
            for heading, expression in movers().items()
        },
        steps={heading: TIMES for heading in movers() if "×" in heading},
        none="no base",
    ),
]
