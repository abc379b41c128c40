"""Entries: what one call adds to its account in our own metrics."""

from __future__ import annotations

from collections.abc import Iterator

from llmwatch import metrics
from llmwatch._accounts import Account
from llmwatch._call import CallRecord
from llmwatch.errors import ErrorKind
from llmwatch.pricing import Cost, Unpriced


def show_at_zero(account: Account) -> None:
    """What alerts divide or take the increase of begins at 0, so that its first increase can be seen."""
    for status in metrics.STATUSES:
        account.add(metrics.REQUESTS, 0, status)
    for kind in ErrorKind:
        account.add(metrics.ERRORS, 0, kind.value)
    for direction in metrics.DIRECTIONS:
        account.add(metrics.TOKENS, 0, direction, "text")


def enter(record: CallRecord, account: Account) -> None:
    """How a call ended, how long it took, and what it consumed."""
    account.add(metrics.REQUESTS, 1, record.status)
    account.add(metrics.REQUEST_DURATION, record.duration, record.status)
    if record.error is not None:
        account.add(metrics.ERRORS, 1, record.error.value)
    if record.first_chunk is not None:
        account.add(metrics.TIME_TO_FIRST_CHUNK, record.first_chunk)
    if record.chunk_gap is not None:
        account.add(metrics.TIME_PER_OUTPUT_CHUNK, record.chunk_gap)
    _enter_usage(record, account)


def _enter_usage(record: CallRecord, account: Account) -> None:
    for reason in _shortcomings(record):
        account.add(metrics.USAGE_MISSING, 1, reason)
    if record.usage is not None:
        for direction, kind, tokens in record.usage.parts():
            account.add(metrics.TOKENS, tokens, direction, kind)
    if record.reading is not None and not record.nested:
        for reason in record.reading.normalised_finish_reasons:
            account.add(metrics.FINISH_REASONS, 1, reason)


def charge(cost: Cost | Unpriced | None, account: Account) -> None:
    """What a call cost, or why that is unknown; nothing where it is not known yet."""
    if isinstance(cost, Unpriced):
        account.add(metrics.UNPRICED_REQUESTS, 1, cost.reason)
    elif cost is not None:
        for part, amount in cost.charged():
            account.add(metrics.COST, amount, *part, cost.source)
        if cost.saved:
            account.add(metrics.CACHE_SAVINGS, cost.saved)


def _shortcomings(record: CallRecord) -> Iterator[str]:
    """Why a call's usage is unknown, or not as it was reported."""
    if record.usage is not None and record.usage.anomalies:
        yield "inconsistent"
    if record.nested or (record.usage is not None and record.usage.is_known):
        return
    if record.status == "success":
        yield "unrecognised" if record.reading is None else "not_reported"
    elif record.first_chunk is not None:
        yield "interrupted"
