"""Nine days of a shop with four incidents in them, as a Prometheus has them that scraped it every fifteen minutes.

What truly happened stands in `Incident`; each lasts six hours, on a day of its own, and the day before each is a usual
one. A quiet history has the same traffic without incidents. Traffic is drawn with a seed: the same call gives the same
samples. The end of it all is `NOON`, so that nothing depends on when it is read.

    with serving(history(folder)) as server:
        server.query('sum(increase(ai_cost_dollars_total[6h]))', NOON)

All metrics of the catalogue are there, with exactly its labels; those of the GenAI convention, and of HTTP, for a day
only. Beside the shop, `elsewhere` is a service that another instrumentation measures.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path

from operations import Prometheus, prometheus, run

from llmwatch import metrics
from llmwatch.metrics import CATALOGUE, Metric

NOON = 1795003200
"""2026-11-18 12:00 UTC, a Wednesday: when the history ends. (Its nine days fit into one block of promtool's.)"""
STEP = 900
HOUR, DAY = 3600, 86400
DAYS = 9
JOB, ELSEWHERE, INSTANCE = "shop", "elsewhere", "10.0.0.7:9464"
WITH_DECLARED = {"tier": "pro"}
"""A label that the shop declares, on each call, as `configure(labels={"tier": …})` would."""


@dataclass(frozen=True)
class Incident:
    """What truly happened, from `began` to `ended`, to calls with these labels.

    Attributes:
        cause: Which factor of cost moved (`requests`, `tokens_per_request`, `price_per_token`), or `rate_limit`.
        model: The model of the calls that are more, longer, dearer or refused; after a swap, the new one.
    """

    name: str
    cause: str
    days_ago: int
    feature: str
    provider: str
    model: str
    agent: str = ""

    @property
    def ended(self) -> int:
        return NOON - self.days_ago * DAY

    @property
    def began(self) -> int:
        return self.ended - 6 * HOUR


GROWTH = Incident("prompt growth", "tokens_per_request", 0, "summarise", "openai", "gpt-4o")
"""The prompts of `summarise` become seven and a half times as long, and the whole bill three times as high."""
SWAP = Incident("model swap", "price_per_token", 2, "chat", "openai", "gpt-4o")
"""`chat` asks gpt-4o instead of gpt-4o-mini."""
RUNAWAY = Incident("runaway agent", "requests", 4, "research", "anthropic", "claude-sonnet-4-5", "researcher")
"""The agent `researcher` makes ten times the calls, in as many runs."""
THROTTLED = Incident("rate limit", "rate_limit", 6, "research", "anthropic", "claude-sonnet-4-5")
"""Anthropic refuses half of the attempts, of all features: its calls wait, and some of them fail in the end."""
INCIDENTS = (GROWTH, SWAP, RUNAWAY, THROTTLED)


@dataclass(frozen=True)
class Flow:
    """Calls of one kind: how many a minute, how many tokens each, in dollars per million, how many seconds."""

    feature: str
    provider: str
    model: str
    per_minute: float
    tokens: Mapping[tuple[str, str], float]
    dollars: Mapping[tuple[str, str], float]
    seconds: float
    agent: str = ""
    operation: str = "chat"
    first_chunk: float | None = None
    refused: float = 0.0  # the share of attempts
    calls_per_run: float = 6.0

    @property
    def labels(self) -> dict[str, str]:
        return {name: getattr(self, name) for name in metrics.CALL_LABELS} | {
            "gen_ai_operation_name": self.operation,
            "gen_ai_provider_name": self.provider,
            "gen_ai_request_model": self.model,
            "gen_ai_response_model": self.model,
            "gen_ai_agent_name": self.agent,
            "gen_ai_token_modality": "text",
        }


def _tokens(**counts: float) -> dict[tuple[str, str], float]:
    """By direction and kind: `input_cache_read=200`."""
    return {(name.partition("_")[0], name.partition("_")[2]): count for name, count in counts.items()}


MINI = _tokens(input_text=0.15, input_cache_read=0.075, output_text=0.6)
BIG = _tokens(input_text=2.5, input_cache_read=1.25, output_text=10)
CHAT = Flow(
    *("chat", "openai", "gpt-4o-mini", 60),
    _tokens(input_text=600, input_cache_read=400, output_text=150),
    MINI,
    *(1.6,),
    first_chunk=0.4,
)
FLOWS = (
    CHAT,
    Flow(
        *("chat", "anthropic", "claude-haiku-4-5", 12),
        _tokens(input_text=500, input_cache_read=300, output_text=200),
        _tokens(input_text=1, input_cache_read=0.1, output_text=5),
        *(2.2,),
        first_chunk=0.6,
    ),
    Flow("summarise", "openai", "gpt-4o", 10, _tokens(input_text=2500, output_text=250), BIG, 3.5),
    Flow(
        *("research", "anthropic", "claude-sonnet-4-5", 6),
        _tokens(input_text=1500, input_cache_read=2000, input_cache_write=300, output_text=300, output_reasoning=200),
        _tokens(input_text=3, input_cache_read=0.3, input_cache_write=3.75, output_text=15, output_reasoning=15),
        *(6.0, "researcher"),
    ),
    Flow("triage", "openai", "gpt-4o-mini", 20, _tokens(input_text=400, output_text=40), MINI, 0.8, "triage"),
    Flow(
        *("search", "openai", "text-embedding-3-small", 80),
        _tokens(input_text=300),
        _tokens(input_text=0.02),
        *(0.15, "", "embeddings"),
    ),
)


def _changed(flow: Flow, incident: Incident) -> Flow:
    """The same calls during an incident."""
    if (flow.feature, flow.agent) == ("summarise", "") and incident is GROWTH:
        return replace(flow, tokens={**flow.tokens, ("input", "text"): 7.5 * flow.tokens["input", "text"]})
    if flow is CHAT and incident is SWAP:
        return replace(flow, model="gpt-4o", dollars=BIG)
    if flow.agent == "researcher" and incident is RUNAWAY:
        return replace(flow, per_minute=10 * flow.per_minute, calls_per_run=10 * flow.calls_per_run)
    if flow.provider == "anthropic" and incident is THROTTLED:
        return replace(flow, refused=0.5)
    return flow


@dataclass(frozen=True)
class History:
    """Where the samples lie, and what truly happened in them."""

    data: Path
    incidents: tuple[Incident, ...]
    began: int
    ended: int = NOON


def history(folder: Path, *, incidents: tuple[Incident, ...] = INCIDENTS, days: float = DAYS) -> History:
    """Writes a history into a folder; without incidents it is a quiet one, with fewer days a young one."""
    times = range(NOON - int(days * DAY) // STEP * STEP, NOON + STEP, STEP)
    series = _Series(times)
    chance = random.Random(20261124)
    for flow in FLOWS:
        for step, time in enumerate(times):
            now = next((each for each in incidents if each.began < time <= each.ended), None)
            shape = 1 + 0.25 * math.sin((time % DAY) / DAY * 2 * math.pi) + chance.uniform(-0.03, 0.03)
            _calls(_Step(series, step), _changed(flow, now) if now else flow, shape)
    for step in range(len(times)):
        _beside(_Step(series, step))
    text = folder / "history.om"
    with text.open("w", encoding="utf-8") as file:
        file.writelines(series.lines())
    # By default promtool reads the whole text once for every two hours in it; the option is hidden.
    command = ("tsdb", "create-blocks-from", "--max-block-duration=486h", "openmetrics")
    done = run("promtool", *command, text, folder / "data")
    assert done.returncode == 0, done.stderr
    text.unlink()
    return History(folder / "data", incidents, times[0])


@contextmanager
def serving(history: History) -> Iterator[Prometheus]:
    """A Prometheus that answers from a history."""
    config = history.data.parent / "prometheus.yml"
    config.write_text("{}")
    with prometheus(config, history.data, "--query.lookback-delta=20m") as server:
        yield server


Key = tuple[str, str, str]
Spread = tuple[float, float, float]


class _Series:
    """Counters as what is added to them at each step, histograms as what is spread, gauges as what they are."""

    def __init__(self, times: range) -> None:
        self.times = times
        self.young = max(0, len(times) - DAY // STEP - 1)
        self.restart = max(0, len(times) - (4 * DAY + 12 * HOUR) // STEP)
        self._added: dict[Key, list[float]] = {}
        self._spread: dict[Key, tuple[tuple[float, ...], list[Spread]]] = {}
        self._put: dict[Key, dict[int, float]] = {}
        self._keys: dict[tuple[object, ...], Key] = {}

    def add(self, step: int, key: Key, amount: float) -> None:
        """Adds to a counter; its series begins with the first amount, which may be 0."""
        if (steps := self._added.get(key)) is None:
            steps = self._added[key] = [math.nan] * step + [0.0] * (len(self.times) - step)
        steps[step] += amount

    def spread(self, step: int, key: Key, buckets: tuple[float, ...], values: Spread) -> None:
        """Adds so many values to a histogram; one of a series at each step."""
        if key not in self._spread:
            self._spread[key] = (buckets, [(0.0, values[1], values[2])] * len(self.times))
        count, median, by = self._spread[key][1][step]
        self._spread[key][1][step] = (count + values[0], max(median, values[1]) if count else values[1], by)

    def put(self, step: int, key: Key, value: float) -> None:
        self._put.setdefault(key, {})[step] = value

    def key(self, metric: Metric, job: str, labels: Mapping[str, str]) -> Key:
        """A series of a metric, by its family and its labels."""
        names = [*metric.prometheus_labels, *(WITH_DECLARED if metric.call else ())]
        found = (metric, job, *(labels.get(name, WITH_DECLARED.get(name, "")) for name in names))
        if found not in self._keys:
            pairs = {"job": job, **dict(zip(names, found[2:], strict=True))}
            self._keys[found] = (metric.kind, metric.prometheus, _labels(pairs))
        return self._keys[found]

    def lines(self) -> Iterator[str]:
        """The text, family by family."""
        families: dict[str, list[Iterator[str]]] = {}
        for (kind, name, labels), steps in self._added.items():
            lines = self._counted(f"{name}{{{labels}}}", steps)
            families.setdefault(f"{name.removesuffix('_total')} {kind}", []).append(lines)
        for (kind, name, labels), (buckets, spreads) in self._spread.items():
            families.setdefault(f"{name} {kind}", []).append(self._distributed(name, labels, buckets, spreads))
        for (_, name, labels), values in self._put.items():
            families.setdefault(f"{name} gauge", []).append(self._measured(f"{name}{{{labels}}}", values))
        for family, each in families.items():
            yield f"# TYPE {family}\n"
            for lines in each:
                yield from lines
        yield "# EOF\n"

    def _measured(self, name: str, values: Mapping[int, float]) -> Iterator[str]:
        for step, value in sorted(values.items()):
            yield f"{name} {value:.10g} {self.times[step]}\n"

    def _counted(self, name: str, steps: list[float]) -> Iterator[str]:
        first = next(step for step, amount in enumerate(steps) if not math.isnan(amount))
        for begin, end in ((first, self.restart), (max(first, self.restart), len(steps))):
            totals = accumulate(steps[begin:end])
            yield from (
                f"{name} {total:.10g} {time}\n" for total, time in zip(totals, self.times[begin:], strict=False)
            )

    def _distributed(self, name: str, labels: str, buckets: tuple[float, ...], spreads: list[Spread]) -> Iterator[str]:
        if (first := next((step for step, (count, *_) in enumerate(spreads) if count), None)) is None:
            return  # a histogram's series begin with their first value
        start: list[float] = [math.nan] * first
        below = [_below(buckets, median, by) for _, median, by in spreads]
        for index, bound in enumerate(buckets):
            steps = [spread[0] * shares[index] for spread, shares in zip(spreads, below, strict=True)]
            yield from self._counted(f'{name}_bucket{{{labels},le="{bound}"}}', start + steps[first:])
        counts = start + [count for count, *_ in spreads][first:]
        sums = start + [count * median * math.exp(by**2 / 2) for count, median, by in spreads][first:]
        yield from self._counted(f'{name}_bucket{{{labels},le="+Inf"}}', counts)
        yield from self._counted(f"{name}_sum{{{labels}}}", sums)
        yield from self._counted(f"{name}_count{{{labels}}}", counts)


def _labels(pairs: Mapping[str, str]) -> str:
    """An empty label is none: https://prometheus.io/docs/concepts/data_model/."""
    return ",".join(f'{label}="{value}"' for label, value in {"instance": INSTANCE, **pairs}.items() if value)


_shares: dict[tuple[object, ...], list[float]] = {}


def _below(buckets: tuple[float, ...], median: float, spread: float) -> list[float]:
    """The share of log-normally distributed values below each bound."""
    if (key := (buckets, median, spread)) not in _shares:
        where = (math.log(bound / median) / spread / math.sqrt(2) for bound in buckets)
        _shares[key] = [(1 + math.erf(each)) / 2 for each in where]
    return _shares[key]


class _Step:
    """One step of a history, to add to."""

    def __init__(self, series: _Series, step: int) -> None:
        self._series, self._step = series, step
        self.is_young, self.is_old = step >= series.young, step < series.restart
        self.time = series.times[step]

    def add(self, metric: Metric, amount: float, labels: Mapping[str, str]) -> None:
        self._series.add(self._step, self._series.key(metric, JOB, labels), amount)

    def put(self, metric: Metric, value: float, labels: Mapping[str, str]) -> None:
        self._series.put(self._step, self._series.key(metric, JOB, labels), value)

    def spread(
        self, metric: Metric, count: float, median: float, labels: Mapping[str, str], *, job: str = JOB, by: float = 0.6
    ) -> None:
        """So many values around a median, in a histogram."""
        key = self._series.key(metric, job, labels)
        self._series.spread(self._step, key, metric.buckets, (count, median, by))

    def foreign(self, name: str, value: float, **labels: str) -> None:
        """A gauge that is none of ours."""
        self._series.put(self._step, ("gauge", name, _labels({"job": JOB, **labels})), value)

    def foreign_spread(self, name: str, count: float, median: float, **labels: str) -> None:
        """A histogram that is none of ours."""
        buckets = tuple(median / 2 * bound for bound in (0.1, 0.5, 1.0, 2.5, 5.0, 10.0))
        key = ("histogram", name, _labels({"job": JOB, **labels}))
        self._series.spread(self._step, key, buckets, (count, median, 0.6))


def _calls(step: _Step, flow: Flow, shape: float) -> None:
    """What the calls of one flow add in one step."""
    calls = round(flow.per_minute * STEP / 60 * shape)
    failing = {"timeout": 0.003 * calls, "server_error": 0.004 * calls, "rate_limit": 0.15 * flow.refused * calls}
    ends = {"error": sum(failing.values()), "cancelled": 0.006 * calls, "abandoned": 0.004 * calls}
    ends["success"] = calls - sum(ends.values())
    # Each refused attempt costs a wait; half refused makes one more attempt for each call.
    waits = calls * flow.refused / (1 - flow.refused)
    seconds = flow.seconds + 18 * flow.refused
    labels = flow.labels
    for status, count in ends.items():
        step.add(metrics.REQUESTS, count, {**labels, "status": status})
    for status in ("success", "error"):
        step.spread(metrics.REQUEST_DURATION, ends[status], seconds, {**labels, "status": status})
    for error, count in failing.items():
        step.add(metrics.ERRORS, count, {**labels, "error_type": error})
    _consumed(step, flow, calls - ends["error"])
    _streamed(step, flow, calls)
    _attempted(step, flow, calls, waits)
    _reasons(step, flow, ends)
    if flow.agent:
        _ran(step, flow, calls)
    if step.is_young:
        _by_the_convention(step, flow, ends, failing)


def _consumed(step: _Step, flow: Flow, calls: float) -> None:
    for (direction, kind), count in flow.tokens.items():
        labels = {**flow.labels, "direction": direction, "kind": kind}
        dollars = calls * count * flow.dollars[direction, kind] / 1e6
        step.add(metrics.TOKENS, round(calls * count), labels)
        step.add(metrics.COST, dollars, {**labels, "cost_source": "table"})
    saved = flow.tokens.get(("input", "cache_read"), 0) * (
        flow.dollars["input", "text"] - flow.dollars.get(("input", "cache_read"), 0)
    )
    step.add(metrics.CACHE_SAVINGS, calls * saved / 1e6, flow.labels)


def _streamed(step: _Step, flow: Flow, calls: float) -> None:
    step.put(metrics.ACTIVE_REQUESTS, round(flow.per_minute / 60 * flow.seconds + 1), flow.labels)
    if flow.first_chunk is not None:
        step.spread(metrics.TIME_TO_FIRST_CHUNK, calls, flow.first_chunk + 18 * flow.refused, flow.labels)
        step.spread(metrics.TIME_PER_OUTPUT_CHUNK, calls, 0.02, flow.labels, by=0.4)


def _attempted(step: _Step, flow: Flow, calls: float, waits: float) -> None:
    for outcome, count, seconds in (("ok", calls, flow.seconds), ("rate_limit", waits, 0.15)):
        labels = {**flow.labels, "outcome": outcome}
        step.add(metrics.ATTEMPTS, count, labels)
        if outcome == "ok" or flow.provider == "anthropic":
            step.spread(metrics.ATTEMPT_DURATION, count, seconds, labels)
    step.add(metrics.RETRY_WAIT, 18 * waits, flow.labels)
    if flow.operation == "chat":
        for resource, limit in (("requests", 4000.0), ("input_tokens", 400_000.0)):
            labels = {**flow.labels, "account": "main", "resource": resource}
            used = 0.3 if resource == "requests" or not flow.refused else 1.0
            step.put(metrics.RATE_LIMIT_LIMIT, limit, labels)
            step.put(metrics.RATE_LIMIT_REMAINING, limit * (1 - used), labels)


def _reasons(step: _Step, flow: Flow, ends: Mapping[str, float]) -> None:
    for reason, share in (("stop", 0.96), ("length", 0.04)):
        step.add(metrics.FINISH_REASONS, ends["success"] * share, {**flow.labels, "reason": reason})
    guard = {"feature": flow.feature, "guard": "pii", "stage": "input"}
    step.add(metrics.GUARD_DECISIONS, 0.99 * ends["success"], {**guard, "decision": "allowed"})
    step.add(metrics.GUARD_DECISIONS, 0.01 * ends["success"], {**guard, "decision": "rejected"})


def _ran(step: _Step, flow: Flow, calls: float) -> None:
    """The runs of an agent, and their tools."""
    runs = calls / flow.calls_per_run
    tokens = flow.calls_per_run * sum(flow.tokens.values())
    seconds = flow.calls_per_run * flow.seconds
    for status, share in (("success", 0.98), ("error", 0.02)):
        step.add(metrics.AGENT_RUNS, share * runs, {**flow.labels, "status": status})
        for tool in ("search", "fetch"):
            step.add(metrics.TOOL_CALLS, share * calls / 2, {**flow.labels, "status": status, "tool": tool})
    labels = {**flow.labels, "status": "success"}
    step.spread(metrics.AGENT_DURATION, 0.98 * runs, seconds, labels, by=0.3)
    step.spread(metrics.AGENT_RUN_REQUESTS, 0.98 * runs, flow.calls_per_run, labels, by=0.2)
    step.spread(metrics.AGENT_RUN_TOKENS, 0.98 * runs, tokens, labels, by=0.2)
    for tool in ("search", "fetch"):
        step.spread(metrics.TOOL_DURATION, 0.98 * calls / 2, 0.3, {**labels, "tool": tool})
    if step.is_young:
        for tool in ("search", "fetch"):
            step.spread(metrics.EXECUTE_TOOL_DURATION, calls / 2, 0.3, {**flow.labels, "gen_ai_tool_name": tool})
        step.spread(metrics.INVOKE_AGENT_DURATION, runs, seconds, flow.labels, by=0.3)
        step.spread(metrics.INVOKE_AGENT_CALLS, runs, flow.calls_per_run, flow.labels, by=0.2)
        step.spread(metrics.INVOKE_AGENT_TOOLS, runs, flow.calls_per_run, flow.labels, by=0.2)


def _by_the_convention(step: _Step, flow: Flow, ends: Mapping[str, float], failing: Mapping[str, float]) -> None:
    """The same calls in the metrics of the GenAI convention, both generations."""
    tokens = {name: sum(n for (side, _), n in flow.tokens.items() if side == name) for name in metrics.DIRECTIONS}
    ended = ends["success"] + ends["cancelled"] + ends["abandoned"]
    for error, count in {"": ended, "timeout": failing["timeout"], "server_error": failing["server_error"]}.items():
        for metric in (metrics.OPERATION_DURATION, metrics.INFERENCE_DURATION):
            step.spread(metric, count, flow.seconds, {**flow.labels, "error_type": error})
    for direction, per_call in (("input", metrics.INPUT_TOKENS_PER_CALL), ("output", metrics.OUTPUT_TOKENS_PER_CALL)):
        if tokens[direction]:
            labels = {**flow.labels, "gen_ai_token_type": direction}
            step.spread(metrics.TOKEN_USAGE, ended, tokens[direction], labels)
            step.spread(per_call, ended, tokens[direction], labels)
    totals = {metrics.INPUT_TOKENS: tokens["input"], metrics.OUTPUT_TOKENS: tokens["output"]}
    totals[metrics.CACHE_READ_TOKENS] = flow.tokens.get(("input", "cache_read"), 0)
    totals[metrics.CACHE_WRITE_TOKENS] = flow.tokens.get(("input", "cache_write"), 0)
    totals[metrics.REASONING_TOKENS] = flow.tokens.get(("output", "reasoning"), 0)
    for metric, count in totals.items():
        step.add(metric, ended * count, flow.labels)
    if flow.first_chunk is not None:
        for first in (metrics.OPERATION_FIRST_CHUNK, metrics.INFERENCE_FIRST_CHUNK):
            step.spread(first, ended, flow.first_chunk, flow.labels)
        for gap in (metrics.OPERATION_CHUNK, metrics.INFERENCE_CHUNK):
            step.spread(gap, ended, 0.02, flow.labels)


def _beside(step: _Step) -> None:
    """What is not about a flow: the pipeline itself, HTTP, the service elsewhere."""
    version = {"version": "0.9.0" if step.is_old else "1.0.0", "price_table": "2026-11-01"}
    step.put(metrics.BUILD_INFO, 1, version)
    step.put(metrics.PRICE_TABLE_AGE, step.time - (NOON - 23 * DAY), {})
    step.add(metrics.INTERNAL_ERRORS, 0, {"where": "prices"})
    step.add(metrics.LABEL_OVERFLOW, 0, {"label": "feature"})
    for name, value in (("up", 1), ("scrape_duration_seconds", 0.03), ("scrape_samples_scraped", 900)):
        step.foreign(name, value)
    if step.time > NOON - 5 * HOUR:  # their series begin with the first such call
        unknown = {"provider": "openai", "model": "in-house-7b"}
        step.add(metrics.UNPRICED_REQUESTS, 2, {**unknown, "reason": "unknown_model"})
        step.add(metrics.USAGE_MISSING, 1, {**unknown, "reason": "not_reported"})
    if step.is_young:
        _http(step)
        _elsewhere(step)


def _http(step: _Step) -> None:
    """As OpenTelemetry's instrumentation of FastAPI 0.66b2 says it: by default, and with the stable convention."""
    old, new = {"http_method": "POST", "http_target": "/chat"}, {"http_request_method": "POST", "http_route": "/sum"}
    for status, count in (("200", 700.0), ("500", 5.0)):
        step.foreign_spread("http_server_duration_milliseconds", count, 2000.0, **old, http_status_code=status)
        labels = {**new, "http_response_status_code": status}
        step.foreign_spread("http_server_request_duration_seconds", count, 2.0, **labels)
    step.foreign("http_server_active_requests", 3, http_method="POST")


def _elsewhere(step: _Step) -> None:
    """As OpenTelemetry's own instrumentation of the openai client 1.3b0 says it, in the labels that it shares."""
    labels = Flow("", "openai", "gpt-5-mini", 0, {}, {}, 0).labels
    step.spread(metrics.OPERATION_DURATION, 300, 2.0, labels, job=ELSEWHERE)
    failed = {**labels, "error_type": "openai.RateLimitError", "gen_ai_response_model": ""}
    step.spread(metrics.OPERATION_DURATION, 1, 0.2, failed, job=ELSEWHERE)
    for direction, count in (("input", 800), ("output", 120)):
        step.spread(metrics.TOKEN_USAGE, 300, count, {**labels, "gen_ai_token_type": direction}, job=ELSEWHERE)


def unwritten(names: set[str]) -> set[str]:
    """The catalogue's metrics that are not among the names of a server."""
    suffixes = {"histogram": "_bucket"}
    return {metric.name for metric in CATALOGUE if metric.prometheus + suffixes.get(metric.kind, "") not in names}
