"""Timing: how long the calls of a time took, by provider and model, and what they spent it on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from llmwatch import metrics
from llmwatch._explain._promql import added, selector
from llmwatch._explain._question import Question
from llmwatch._explain._server import Server

Buckets = Mapping[float, float]
"""How many values are not above each bound."""
Model = tuple[str, str]
"""A provider and one of its models."""
_MODEL = ("provider", "model")
_READ = (
    ("calls", metrics.REQUEST_DURATION, "", "_count", ""),
    ("seconds", metrics.REQUEST_DURATION, "", "_sum", ""),
    ("buckets", metrics.REQUEST_DURATION, "le", "_bucket", 'status="success"'),
    ("waited", metrics.RETRY_WAIT, "", "", ""),
    ("attempts", metrics.ATTEMPTS, "outcome", "", ""),
    ("attempt_seconds", metrics.ATTEMPT_DURATION, "outcome", "_sum", ""),
    ("attempt_buckets", metrics.ATTEMPT_DURATION, "le", "_bucket", 'outcome="ok"'),
    ("output", metrics.TOKENS, "", "", 'direction="output"'),
)
"""The sums of a `Timing`: each from a metric, by a label if any, of which series."""


@dataclass(slots=True)
class Timing:
    """What some calls spent their time on, in seconds, all together.

    Attributes:
        calls: How many ended, however they did.
        seconds: How long they took.
        waited: What they waited between attempts.
        attempts: How many attempts there were, by outcome.
        attempt_seconds: How long these took, by outcome.
        output: Tokens of their answers.
        buckets: How long the successful ones took.
        attempt_buckets: How long the attempts took that were answered.
    """

    calls: float = 0.0
    seconds: float = 0.0
    waited: float = 0.0
    attempts: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    attempt_seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    output: float = 0.0
    buckets: defaultdict[float, float] = field(default_factory=lambda: defaultdict(float))
    attempt_buckets: defaultdict[float, float] = field(default_factory=lambda: defaultdict(float))

    @property
    def p95(self) -> float | None:
        """Seconds that 95 of 100 successful calls did not exceed."""
        return quantile(0.95, self.buckets)

    @property
    def attempt_p95(self) -> float | None:
        """The same of the attempts that were answered."""
        return quantile(0.95, self.attempt_buckets)

    @property
    def mean(self) -> float:
        """Seconds of a call."""
        return self.seconds / self.calls if self.calls else 0.0

    @property
    def wait(self) -> float:
        """Seconds that a call waited between attempts."""
        return self.waited / self.calls if self.calls else 0.0

    def refused(self, outcome: str = "rate_limit") -> float | None:
        """The share of the attempts that had this outcome; `None` when attempts are not known."""
        everything = sum(self.attempts.values())
        return self.attempts.get(outcome, 0.0) / everything if everything else None

    @property
    def failures(self) -> Mapping[str, float]:
        """The share of each outcome but success in the attempts."""
        return {outcome: self.refused(outcome) or 0.0 for outcome in self.attempts if outcome != "ok"}


def timed(server: Server, question: Question, end: float) -> dict[Model, Timing]:
    """The timing of each model in the window that ends then.

    Raises:
        UnreachableError: When the server does not answer.
    """
    found: defaultdict[Model, Timing] = defaultdict(Timing)
    for name, metric, by, suffix, where in _READ:
        expression = added(metric, (*_MODEL, *filter(None, [by])), question.window, question.only, suffix, where)
        for labels, value in server.vector(expression, end):
            timing = found[labels.get("provider", ""), labels.get("model", "")]
            if by:
                key = labels.get(by, "")
                getattr(timing, name)[float(key) if by == "le" else key] += value
            else:
                setattr(timing, name, getattr(timing, name) + value)
    return {model: timing for model, timing in found.items() if timing.calls}


def p95s(server: Server, question: Question, end: float) -> Mapping[str, float]:
    """The 95th percentile of successful calls in the window that ends then, by provider.

    Raises:
        UnreachableError: When the server does not answer.
    """
    buckets: defaultdict[str, dict[float, float]] = defaultdict(dict)
    where = 'status="success"'
    expression = added(metrics.REQUEST_DURATION, ("provider", "le"), question.window, question.only, "_bucket", where)
    for labels, value in server.vector(expression, end):
        buckets[labels.get("provider", "")][float(labels.get("le", "inf"))] = value
    found = {provider: quantile(0.95, each) for provider, each in buckets.items()}
    return {provider: value for provider, value in found.items() if value is not None}


def limits(server: Server, question: Question) -> Mapping[str, tuple[float, str]]:
    """The share of a limit that was used when it was used most, and of what it is one, by provider.

    Raises:
        UnreachableError: When the server does not answer.
    """
    window = f"[{question.window}s]"
    remaining = f"min_over_time({selector(metrics.RATE_LIMIT_REMAINING, question.only)}{window})"
    limit = f"max_over_time({selector(metrics.RATE_LIMIT_LIMIT, question.only)}{window})"
    used = f"1 - {remaining} / ({limit} > 0)"
    found: dict[str, tuple[float, str]] = {}
    for labels, value in server.vector(f"max by (provider, resource) ({used})", question.at):
        provider, share = labels.get("provider", ""), (value, labels.get("resource", ""))
        found[provider] = max(share, found.get(provider, share))
    return found


def by_provider(timings: Mapping[Model, Timing]) -> dict[str, Timing]:
    """The sums over the models of each provider."""
    found: defaultdict[str, Timing] = defaultdict(Timing)
    for (provider, _), timing in timings.items():
        total = found[provider]
        for name in ("calls", "seconds", "waited", "output"):
            setattr(total, name, getattr(total, name) + getattr(timing, name))
        for name in ("attempts", "attempt_seconds", "buckets", "attempt_buckets"):
            for key, value in getattr(timing, name).items():
                getattr(total, name)[key] += value
    return dict(found)


def quantile(share: float, buckets: Buckets) -> float | None:
    """As `histogram_quantile()` of Prometheus has it: linear within a bucket; `None` without values."""
    bounds = sorted(buckets)
    if len(bounds) < 2 or bounds[-1] != float("inf") or buckets[bounds[-1]] <= 0:
        return None
    rank, below, seen = share * buckets[bounds[-1]], 0.0, 0.0
    for bound in bounds[:-1]:
        if buckets[bound] >= rank:
            inside = buckets[bound] - seen
            return below + (bound - below) * ((rank - seen) / inside if inside else 1.0)
        below, seen = bound, buckets[bound]
    return below
