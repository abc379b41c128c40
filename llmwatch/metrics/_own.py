"""Our own metrics: calls, tokens, dollars, attempts and limits, agents, tools and guards, and llmwatch itself."""

from __future__ import annotations

from llmwatch.metrics._metric import CALL_LABELS, Metric

# From 10 ms, for a local embedding, to the 600 s at which client libraries give up.
_SECONDS = (
    *(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0),
    *(7.5, 10.0, 15.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0),
)
_CHUNK_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_RUN_SECONDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)
_RUN_CALLS = (1.0, 2.0, 3.0, 5.0, 8.0, 13.0, 21.0, 34.0, 55.0, 89.0, 144.0)
_RUN_TOKENS = tuple(float(base * 10**power) for power in range(2, 7) for base in (1, 2, 5))

_STREAM_LABELS = ("feature", "provider", "model")
_NOT_A_CALL = ("provider", "model", "reason")
_ATTEMPT = ("provider", "model", "outcome")
_RATE_LIMIT = ("provider", "account", "model", "resource")
_TOOL = ("agent", "tool", "status")
_RUN = ("agent", "status")

REQUESTS = Metric(
    "ai_requests", "counter", "{request}", (*CALL_LABELS, "status"), "Calls of a model, by how they ended.", call=True
)
REQUEST_DURATION = Metric(
    "ai_request_duration",
    "histogram",
    "s",
    ("feature", "provider", "model", "operation", "status"),
    "Time from the call to the last byte of its answer, retries inside.",
    _SECONDS,
    call=True,
)
TOKENS = Metric(
    "ai_tokens",
    "counter",
    "{token}",
    (*CALL_LABELS, "direction", "kind"),
    "Tokens consumed; the kinds of a direction add up to it.",
    call=True,
)
ACTIVE_REQUESTS = Metric(
    "ai_active_requests", "updown", "{request}", ("feature", "provider", "model"), "Calls that have not ended yet."
)
ERRORS = Metric(
    "ai_errors", "counter", "{error}", (*CALL_LABELS, "error_type"), "Calls that failed, by why they did.", call=True
)
COST = Metric(
    "ai_cost_dollars",
    "counter",
    "{USD}",
    (*CALL_LABELS, "direction", "kind", "cost_source"),
    "What the calls cost in US dollars, by what was paid for.",
    call=True,
)
CACHE_SAVINGS = Metric(
    "ai_cache_savings_dollars",
    "counter",
    "{USD}",
    CALL_LABELS,
    "US dollars that the prompt cache saved.",
    call=True,
)
TIME_TO_FIRST_CHUNK = Metric(
    "ai_time_to_first_chunk",
    "histogram",
    "s",
    _STREAM_LABELS,
    "Time from the call to the first chunk of its stream.",
    _SECONDS,
)
TIME_PER_OUTPUT_CHUNK = Metric(
    "ai_time_per_output_chunk",
    "histogram",
    "s",
    _STREAM_LABELS,
    "Mean time between the chunks of a stream, one value a stream.",
    _CHUNK_SECONDS,
)
FINISH_REASONS = Metric(
    "ai_finish_reasons", "counter", "{choice}", (*_STREAM_LABELS, "reason"), "Choices of an answer, by why they ended."
)
USAGE_MISSING = Metric(
    "ai_usage_missing", "counter", "{request}", _NOT_A_CALL, "Calls whose usage is unknown or contradicts itself."
)
UNPRICED_REQUESTS = Metric(
    "ai_unpriced_requests", "counter", "{request}", _NOT_A_CALL, "Calls whose price is unknown, never counted as free."
)
ATTEMPTS = Metric(
    "ai_attempts", "counter", "{attempt}", _ATTEMPT, "HTTP requests that calls are made of, by how each one ended."
)
ATTEMPT_DURATION = Metric(
    "ai_attempt_duration",
    "histogram",
    "s",
    _ATTEMPT,
    "Time of one HTTP request, to the last byte of its answer.",
    _SECONDS,
)
RETRY_WAIT = Metric(
    "ai_retry_wait", "counter", "s", _STREAM_LABELS, "Time that calls spent waiting between two attempts."
)
RATE_LIMIT_LIMIT = Metric(
    "ai_rate_limit_limit", "gauge", "{unit}", _RATE_LIMIT, "What the provider allows the account, as last reported."
)
RATE_LIMIT_REMAINING = Metric(
    "ai_rate_limit_remaining", "gauge", "{unit}", _RATE_LIMIT, "What is left of that, as last reported."
)
TOOL_CALLS = Metric("ai_tool_calls", "counter", "{call}", _TOOL, "Calls of tools, by how they ended.")
TOOL_DURATION = Metric("ai_tool_duration", "histogram", "s", _TOOL, "Time that a tool took.", _SECONDS)
AGENT_RUNS = Metric("ai_agent_runs", "counter", "{run}", _RUN, "Runs of agents, by how they ended.")
AGENT_DURATION = Metric("ai_agent_duration", "histogram", "s", _RUN, "Time that a run of an agent took.", _RUN_SECONDS)
AGENT_RUN_REQUESTS = Metric(
    "ai_agent_run_requests",
    "histogram",
    "{request}",
    _RUN,
    "Calls of a model that one run of an agent made itself.",
    _RUN_CALLS,
)
AGENT_RUN_TOKENS = Metric(
    "ai_agent_run_tokens",
    "histogram",
    "{token}",
    _RUN,
    "Tokens that one run of an agent consumed itself.",
    _RUN_TOKENS,
)
GUARD_DECISIONS = Metric(
    "ai_guard_decisions",
    "counter",
    "{decision}",
    ("feature", "guard", "stage", "decision"),
    "Decisions of guards over what goes into a model and what comes out.",
)
INTERNAL_ERRORS = Metric(
    "llmwatch_internal_errors",
    "counter",
    "{error}",
    ("where",),
    "Failures of llmwatch's own, hidden from your program.",
)
LABEL_OVERFLOW = Metric(
    "llmwatch_label_overflow", "counter", "{value}", ("label",), "Label values that were folded into `other`."
)
BUILD_INFO = Metric(
    "llmwatch_build_info", "gauge", "{build}", ("version", "price_table"), "1, with the versions in use as labels."
)
PRICE_TABLE_AGE = Metric("ai_price_table_age", "gauge", "s", (), "Age of the price table in use.")
