"""What the provider's limits do to calls: how much of them is used, what is refused, how long calls wait."""

from __future__ import annotations

from grafana_foundation_sdk.models import units

from llmwatch import metrics
from llmwatch.ops._dashboards._panels import REFUSED, USED, lines, table
from llmwatch.ops._dashboards._promql import (
    OK,
    RANGE,
    RATE,
    SUCCESS,
    by,
    either,
    grown,
    quantile,
    rate,
    select,
    share,
    waiting,
    whole,
)

_AT = ("provider",)
_WHOSE = ("provider", "account", "model", "resource")
_LEFT, _LIMIT = select(metrics.RATE_LIMIT_REMAINING), select(metrics.RATE_LIMIT_LIMIT)
_CALL = whole(0.95, metrics.REQUEST_DURATION, *_AT, where=SUCCESS)
_ATTEMPT = whole(0.95, metrics.ATTEMPT_DURATION, *_AT, where=OK)
_REFUSED = {"outcome": '="rate_limit"'}
_LOWEST = f"""min_over_time({_LEFT}[{RATE}]) / ({_LIMIT} > 0)
and on (job, instance, provider)
{rate(metrics.REQUESTS, "job", "instance", "provider")} > 0"""

ROW = [
    table(
        21,
        "Does the limit cost time?",
        "In the time range, the provider at which calls wait most first. Waiting, and calls that take far longer "
        "than attempts: the limit is what hurts P95. Attempts know no feature; not all clients let them be seen.",
        {"provider": "Provider"},
        {
            "Waiting per call": (waiting(grown, *_AT), units.Seconds),
            "Attempts refused": (
                share(grown(metrics.ATTEMPTS, *_AT, where=_REFUSED), grown(metrics.ATTEMPTS, *_AT)),
                units.PercentUnit,
            ),
            "Most of a limit used": (
                "1 - " + by(_AT, f"min_over_time({_LEFT}[{RANGE}]) / ({_LIMIT} > 0)", "min"),
                units.PercentUnit,
            ),
            "P95 of a call": (_CALL, units.Seconds),
            "P95 of an attempt": (_ATTEMPT, units.Seconds),
            "Difference": (f"{_CALL} - {_ATTEMPT}", units.Seconds),
        },
        steps={"Attempts refused": REFUSED, "Most of a limit used": USED},
        height=5,
    ),
    lines(
        22,
        "Limit used",
        "Of what the provider allows the account, at the lowest that it reported was left. Only "
        "where calls are made: others just repeat what they heard last.",
        {
            "{{provider}} {{account}} {{model}} {{resource}}": f"1 - {by(_WHOSE, _LOWEST, 'min')}",
        },
        units.PercentUnit,
        width=12,
        height=7,
        steps=USED,
        top=1,
    ),
    lines(
        23,
        "P95 of a call and of an attempt",
        "Far apart: calls wait and retry. Close together: the provider is slow, or the answers are long.",
        {
            "{{provider}}: call": quantile(0.95, metrics.REQUEST_DURATION, *_AT, where=SUCCESS),
            "{{provider}}: attempt": quantile(0.95, metrics.ATTEMPT_DURATION, *_AT, where=OK),
        },
        units.Seconds,
        width=12,
        height=7,
    ),
    lines(
        24,
        "Attempts refused",
        "The share that the provider refuses because of its rate limit. Where no attempts are recorded, of calls.",
        {
            "{{provider}}": either(
                share(rate(metrics.ATTEMPTS, *_AT, where=_REFUSED), rate(metrics.ATTEMPTS, *_AT)),
                share(rate(metrics.ERRORS, *_AT, where={"error_type": '="rate_limit"'}), rate(metrics.REQUESTS, *_AT)),
            )
        },
        units.PercentUnit,
        width=12,
        height=7,
        steps=REFUSED,
    ),
    lines(
        25,
        "Waiting per call",
        "Time between attempts, in which nothing happens, spread over all calls.",
        {"{{provider}}": waiting(rate, *_AT)},
        units.Seconds,
        width=12,
        height=7,
    ),
]
