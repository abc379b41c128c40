"""Entries: what calls that have ended add to their account in our own metrics, one sheet of them at a time.

Looking a total up takes longer than adding to it, and most calls between two collections are alike. So they are put on
sheets, each of one account and one way to end, and a sheet is added up before it is entered.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from llmwatch import metrics
from llmwatch._accounts import Account
from llmwatch._call import CallRecord, Status
from llmwatch.errors import ErrorKind
from llmwatch.extractors import Reading, normalise
from llmwatch.pricing import Cost, Unpriced
from llmwatch.usage import KINDS, Count, Usage


class Sheet:
    """Calls of one account that have ended in one way.

    Args:
        status: How they ended.
        error: Why they failed.
        reasons: Why their answers ended, in the provider's words.

    Attributes:
        durations: Seconds, one for each call.
        first_chunks: Seconds to the first chunk of those that have had one.
        chunk_gaps: Mean seconds between chunks, of those that have had several.
        usages: The tokens of those that own some.
        costs: What they cost, or why that is unknown, where it is not still to come.
        shortcomings: Why a usage is unknown, or not as it was reported.

    Raises:
        TypeError: When an error or a reason is of another type than it should be.
    """

    __slots__ = (
        "chunk_gaps",
        "costs",
        "durations",
        "error",
        "first_chunks",
        "reasons",
        "shortcomings",
        "status",
        "usages",
    )

    def __init__(self, status: Status, error: ErrorKind | None, reasons: tuple[str, ...]) -> None:
        if not (error is None or isinstance(error, ErrorKind)) or any(not isinstance(each, str) for each in reasons):
            raise TypeError("an extractor says an error that is no ErrorKind, or a finish reason that is no string")
        self.status = status
        self.error = error
        self.reasons = reasons
        self.durations: list[float] = []
        self.first_chunks: list[float] = []
        self.chunk_gaps: list[float] = []
        self.usages: list[Usage] = []
        self.costs: list[Cost | Unpriced] = []
        self.shortcomings: list[str] = []

    def put(self, record: CallRecord, cost: Cost | Unpriced | None) -> None:
        """One more call."""
        usage = record.usage
        lacking = usage is None or usage.anomalies or not usage.is_known
        self.durations.append(record.duration)
        if record.first_chunk is not None:
            self.first_chunks.append(record.first_chunk)
        if record.chunk_gap is not None:
            self.chunk_gaps.append(record.chunk_gap)
        if cost is not None:
            self.costs.append(cost)
        if usage is not None:
            self.usages.append(usage)
        if lacking:
            self.shortcomings += _shortcomings(record)

    def amounts(self) -> list[Count]:
        """The tokens of all calls together, for each of `KINDS`."""
        whole = [usage for usage in self.usages if None not in usage[:2]]
        found = [usage.amounts() for usage in self.usages if None in usage[:2]]  # whose parts have no total to be in
        if whole:
            found.append(Usage.of_all(whole).amounts())
        return _added(found) if found else [None] * len(KINDS)


def sound(record: CallRecord) -> CallRecord:
    """A record without what its response is said to say of other types than it should be."""
    reading, usage, error = record.reading, record.usage, record.error
    if reading is not None:
        said = reading.finish_reasons if isinstance(reading.finish_reasons, tuple | list) else ()
        reading = Reading(
            provider=_text(reading.provider),
            model=_text(reading.model),
            finish_reasons=tuple([reason for reason in said if isinstance(reason, str)]),
            operation=_text(reading.operation),
            service_tier=_text(reading.service_tier),
            cost=reading.cost,
        )
    if error is not None and not isinstance(error, ErrorKind):
        error = ErrorKind(error) if error in [*ErrorKind] else ErrorKind.OTHER
    return record._replace(reading=reading, usage=usage if isinstance(usage, Usage) else None, error=error)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def show_at_zero(account: Account) -> None:
    """What alerts divide or take the increase of begins at 0, so that its first increase can be seen."""
    for status in metrics.STATUSES:
        account.add(metrics.REQUESTS, 0, status)
    for kind in ErrorKind:
        account.add(metrics.ERRORS, 0, kind.value)
    for direction in metrics.DIRECTIONS:
        account.add(metrics.TOKENS, 0, direction, "text")


def enter(sheet: Sheet, account: Account) -> None:
    """How many calls there were, how long they took, and what they consumed and cost."""
    calls = len(sheet.durations)
    account.add(metrics.REQUESTS, calls, sheet.status)
    account.add_values(metrics.REQUEST_DURATION, sheet.durations, sheet.status)
    account.add_values(metrics.TIME_TO_FIRST_CHUNK, sheet.first_chunks)
    account.add_values(metrics.TIME_PER_OUTPUT_CHUNK, sheet.chunk_gaps)
    if sheet.error is not None:
        account.add(metrics.ERRORS, calls, sheet.error.value)
    for reason in sheet.reasons:
        account.add(metrics.FINISH_REASONS, calls, normalise(reason))
    for reason in sheet.shortcomings:
        account.add(metrics.USAGE_MISSING, 1, reason)
    if sheet.usages:
        account.add_all(metrics.TOKENS, KINDS, sheet.amounts())
    charge(sheet.costs, account)


def charge(costs: Iterable[Cost | Unpriced], account: Account) -> None:
    """What calls cost, or why that is unknown."""
    alike: dict[tuple[object, ...], list[Cost]] = {}
    for cost in costs:
        if isinstance(cost, Unpriced):
            account.add(metrics.UNPRICED_REQUESTS, 1, cost.reason)
        else:
            alike.setdefault((id(cost.kinds), cost.source), []).append(cost)  # equal ones are hardly ever two
    for found in alike.values():
        account.add_all(metrics.COST, found[0].kinds, _added([cost.amounts for cost in found]), found[0].source)
        if saved := sum([cost.saved for cost in found]):
            account.add(metrics.CACHE_SAVINGS, saved)


def _added(rows: Sequence[Sequence[int | None]]) -> list[int | None]:
    """The rows added up, place by place; `None` where none of them has anything."""
    added: list[int | None] = []
    for column in zip(*rows, strict=True):
        known = [amount for amount in column if amount is not None]
        added.append(sum(known) if known else None)
    return added


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
