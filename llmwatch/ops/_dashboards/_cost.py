"""Why cost moved, as PromQL: three factors whose product is the ratio of costs, and the same in dollars."""

from __future__ import annotations

from llmwatch import metrics
from llmwatch.ops._dashboards._promql import AGAINST, based, grown, ratio

LEVEL = ("feature", "agent")
"""Whose calls, tokens and prices are compared: a model that replaces another one is another price of the same work."""
ROW = ("feature", "model", "agent")

_COST, _CALLS, _TOKENS = metrics.COST, metrics.REQUESTS, metrics.TOKENS


def factors(offset: str) -> dict[str, str]:
    """How many times as much as so long ago: cost, and the three that multiply to it."""
    cost, calls, tokens = (
        ratio(grown(metric), grown(metric, offset=offset)) for metric in (_COST, _CALLS, _TOKENS)
    )
    return {
        "cost ×": based(cost, offset),
        "calls ×": based(calls, offset),
        "tokens per call ×": based(f"{tokens}\n/\n({calls})", offset),
        "price per token ×": based(f"{cost}\n/\n({tokens})", offset),
    }


def contributions() -> dict[str, str]:
    """How many dollars more each factor made it, by feature and agent, added up; together they are the whole change.

    The change of one row is split in the proportion of the logarithms of its factors, weighted with the logarithmic
    mean of both costs: the LMDI method, which leaves no remainder (B. W. Ang, "The LMDI approach to decomposition
    analysis", Energy Policy 33, 2005). So an agent that is dearer a call than all others counts as more calls when it
    makes more of them, not as more tokens per call.
    """
    cost, calls, tokens = (_times(metric) for metric in (_COST, _CALLS, _TOKENS))
    now, then = grown(_COST, *LEVEL), grown(_COST, *LEVEL, offset=AGAINST)
    weight = f"({now} - {then}) / (ln({cost}) != 0)"
    here, gone = f"sum({now} unless ({then} > 0))", f"sum({then} unless ({now} > 0))"
    return {
        "more or fewer calls": based(f"sum({weight} * ln({calls}))", AGAINST),
        "longer or shorter calls": based(f"sum({weight} * (ln({tokens}) - ln({calls})))", AGAINST),
        "dearer or cheaper tokens": based(f"sum({weight} * (ln({cost}) - ln({tokens})))", AGAINST),
        "new or gone": based(f"({here} or vector(0)) - ({gone} or vector(0))", AGAINST),
    }


def _times(metric: metrics.Metric) -> str:
    """The ratio of now to then in each row that has both."""
    return f"({grown(metric, *LEVEL)} > 0) / ({grown(metric, *LEVEL, offset=AGAINST)} > 0)"


def movers() -> dict[str, str]:
    """Each row's dollars now and then, how much more, and its three factors."""
    now, then = grown(_COST, *ROW), grown(_COST, *ROW, offset=AGAINST)
    cost, calls, tokens = (
        ratio(grown(metric, *ROW), grown(metric, *ROW, offset=AGAINST)) for metric in (_COST, _CALLS, _TOKENS)
    )
    return {
        "Change": based(f"({now} or 0 * {then})\n-\n({then} or 0 * {now})", AGAINST),
        "Now": now,
        "Then": based(then, AGAINST),
        "Calls ×": based(calls, AGAINST),
        "Tokens per call ×": based(f"{tokens}\n/\n({calls})", AGAINST),
        "Price per token ×": based(f"{cost}\n/\n({tokens})", AGAINST),
    }
