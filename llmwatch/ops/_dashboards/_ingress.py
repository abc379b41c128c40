"""From the door to the provider: HTTP as OpenTelemetry's instrumentations measure it, runs, calls and attempts."""

from __future__ import annotations

from grafana_foundation_sdk.models import units

from llmwatch import metrics
from llmwatch.ops._dashboards._panels import FAILING, lines
from llmwatch.ops._dashboards._promql import JOB, OK, RATE, SUCCESS, by, either, quantile, share

_NEW, _OLD = "http_server_request_duration_seconds", "http_server_duration_milliseconds"
"""The stable convention of HTTP, and the one before, which most instrumentations still use by default."""
_ROUTE = ("http_route", "http_response_status_code")
_SAYS = " Metrics of OpenTelemetry's instrumentation of the web framework; llmwatch does not make them."


def _renamed(expression: str) -> str:
    """Series of the old convention under the labels of the stable one."""
    code = f'label_replace({expression}, "http_response_status_code", "$1", "http_status_code", "(.*)")'
    return f'label_replace({code}, "http_route", "$1", "http_target", "(.*)")'


def _requests(*labels: str, failing: bool = False) -> str:
    """Requests a second."""
    new_error, old_error = (',http_response_status_code=~"5.."', ',http_status_code=~"5.."') if failing else ("", "")
    new = by(labels, f"rate({_NEW}_count{{{JOB}{new_error}}}[{RATE}])")
    old = by(labels, _renamed(f"rate({_OLD}_count{{{JOB}{old_error}}}[{RATE}])"))
    return either(new, old)


def _p95(*labels: str) -> str:
    new = by((*labels, "le"), f"rate({_NEW}_bucket{{{JOB}}}[{RATE}])")
    old = by((*labels, "le"), _renamed(f"rate({_OLD}_bucket{{{JOB}}}[{RATE}])"))
    return either(f"histogram_quantile(0.95, {new})", f"histogram_quantile(0.95, {old}) / 1000")


ROW = [
    lines(
        13,
        "P95 from the door to the provider",
        "A request, a run of an agent in it, a call of a model in that, an attempt of that call. The gap that widened "
        "is where the time goes: the application, the agent's loop, waiting for a limit, the provider." + _SAYS,
        {
            "HTTP request": _p95(),
            "run of an agent": quantile(0.95, metrics.AGENT_DURATION),
            "call of a model": quantile(0.95, metrics.REQUEST_DURATION, where=SUCCESS),
            "attempt": quantile(0.95, metrics.ATTEMPT_DURATION, where=OK),
        },
        units.Seconds,
        width=6,
    ),
    lines(
        14,
        "HTTP requests",
        "A second, by route and status." + _SAYS,
        {"{{http_route}} {{http_response_status_code}}": _requests(*_ROUTE)},
        units.RequestsPerSecond,
        width=6,
        stacked=True,
    ),
    lines(
        15,
        "P95 of an HTTP request",
        "By route." + _SAYS,
        {"{{http_route}}": _p95("http_route")},
        units.Seconds,
        width=6,
    ),
    lines(
        16,
        "HTTP requests that fail",
        "The share with a status of 5xx, by route." + _SAYS,
        {"{{http_route}}": share(f"({_requests('http_route', failing=True)})", f"({_requests('http_route')})")},
        units.PercentUnit,
        width=6,
        steps=FAILING,
    ),
]
