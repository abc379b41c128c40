"""CallRecord → cells: what one call adds to the totals, its labels bounded and its usage priced.

A call only parks its record; whoever collects folds the parked records into cells. So the caller pays for one append,
and nothing that runs at its end, a finalizer included, ever waits for a lock.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from llmwatch import metrics
from llmwatch._call import CallRecord
from llmwatch._cells import Amount, Cells, Key
from llmwatch._conventions import Subject, conventions
from llmwatch._version import __version__
from llmwatch.attribution import Unusable
from llmwatch.cardinality import OTHER, Budgets
from llmwatch.errors import ErrorKind
from llmwatch.metrics import CALL_LABELS, Metric
from llmwatch.pricing import Cost, PriceBook, Unpriced
from llmwatch.usage import Usage

if TYPE_CHECKING:
    from llmwatch._shield import Shield

_RELIEF_ABOVE = 512  # parked records, above which calls begin to fold them, because nobody collects
_RELIEF = 32  # how many records one call folds then, and histogram values it hands over
_UNPUBLISHED_VALUES = 20_000  # histogram values kept while there is no provider that could take them


class Ticket:
    """An open call's place in the in-flight gauge."""

    __slots__ = ("key", "labels")

    def __init__(self, labels: Mapping[str, str]) -> None:
        self.labels = labels
        self.key: Key = ()


class Recorder:
    """Takes records from any thread and keeps the totals that they add up to.

    Args:
        shield: Where failures go.
        budgets: How many values each label may show.
        declared: The names of the labels that the application declares, in their order.
        semconv: Which generation of the GenAI convention is recorded beside our own metrics.
        book: What prices usage; `None` prices nothing.
    """

    def __init__(
        self,
        shield: Shield,
        *,
        budgets: Budgets | None = None,
        declared: tuple[str, ...] = (),
        semconv: metrics.Semconv = "legacy",
        book: PriceBook | None = None,
    ) -> None:
        self.shield = shield
        self.declared = declared
        self.metrics = metrics.enabled(semconv)
        self.lock = threading.Lock()
        self.budgets = budgets or Budgets()
        self.cells = Cells(self.budgets.series, self._over_the_limit)
        self.publish_values: Callable[[int], None] = _keep  # a publication's: hands over up to so many values
        self._pending: deque[CallRecord | Ticket] = deque()
        self._retired = False
        self._book = book
        self._conventions = conventions(self.metrics)
        self._seen: set[Key] = set()

    def opened(self, labels: Mapping[str, str]) -> Ticket:
        """A call has begun; the ticket comes back with its record."""
        ticket = Ticket(labels)
        self._pending.append(ticket)
        return ticket

    def closed(self, record: CallRecord) -> None:
        """A call has ended. Never waits."""
        self._pending.append(record)
        if len(self._pending) > _RELIEF_ABOVE:
            self._relieve()

    def announce(self, labels: Mapping[str, str]) -> None:
        """Shows at 0 the series of calls that are going to be made, so that their first increase can be seen."""
        with self.lock:
            self._admit_call(labels)

    def settle(self) -> None:
        """Folds everything that is parked, and hands all histogram values over; whoever collects calls it first."""
        if self._book is not None:
            self._book.load()
        with self.lock:
            self._fold(len(self._pending))
            self.publish_values(self.cells.parked)

    def totals(self, metric: Metric) -> list[tuple[Key, Amount]]:
        """A counter's totals by label set, in the order of `label_names`."""
        if metric in _FACTS:
            return _FACTS[metric](self)
        with self.lock:
            totals = self.cells.totals(metric)
            if metric is metrics.LABEL_OVERFLOW and self.cells.folded:
                totals.append((("series",), self.cells.folded))
        return totals

    @property
    def price_table(self) -> str | None:
        """The version of the price table, once it is loaded."""
        return self._book.version if self._book is not None and self._book.ready else None

    @property
    def price_table_age(self) -> float | None:
        """Its age in seconds."""
        return self._book.age_seconds() if self._book is not None and self._book.ready else None

    def label_names(self, metric: Metric) -> tuple[str, ...]:
        """A metric's labels, those that the application declares included."""
        return metric.labels + self.declared if metric.call else metric.labels

    def adopt(self, earlier: Recorder) -> None:
        """Takes over all that an earlier recorder has, and all that its open calls will still bring."""
        if earlier is self or earlier._retired:
            return
        with earlier.lock, self.lock:
            earlier._retired = True
            earlier._fold(len(earlier._pending))
            self._pending = earlier._pending
            self.budgets.inherit(earlier.budgets)
            self.cells.adopt(earlier.cells, lambda metric, key: self._rekey(metric, key, earlier))

    def _rekey(self, metric: Metric, key: Key, earlier: Recorder) -> Key:
        values = dict(zip(earlier.label_names(metric), key, strict=True))
        return tuple(values.get(name, "") for name in self.label_names(metric))

    def _relieve(self) -> None:
        if self._retired or (self._book is not None and not self._book.ready):
            return
        if self.lock.acquire(blocking=False):
            try:
                self._fold(_RELIEF)
                self.publish_values(_RELIEF)
                self._forget_surplus()
            except Exception as error:
                self.shield.report("record", error)
            finally:
                self.lock.release()

    def _forget_surplus(self) -> None:
        for _ in self.cells.take(self.cells.parked - _UNPUBLISHED_VALUES):
            pass

    def _fold(self, most: int) -> None:
        for _ in range(min(most, len(self._pending))):
            entry = self._pending.popleft()
            try:
                if isinstance(entry, Ticket):
                    self._fold_opening(entry)
                else:
                    self._fold_record(entry)
            except Exception as error:
                self.shield.report("record", error)

    def _fold_opening(self, ticket: Ticket) -> None:
        labels = ticket.labels
        ticket.key = tuple(self._bound(name, labels.get(name, "")) for name in metrics.ACTIVE_REQUESTS.labels)
        self.cells.add(metrics.ACTIVE_REQUESTS, ticket.key, 1)

    def _fold_record(self, record: CallRecord) -> None:
        if isinstance(record.ticket, Ticket):
            self.cells.add(metrics.ACTIVE_REQUESTS, record.ticket.key, -1)
        labels = _completed(record)
        cost = self._price(record, labels)
        call, extra = self._admit_call(labels)
        self._fold_outcome(record, call, extra)
        self._fold_usage(record, call, extra)
        self._fold_cost(cost, call, extra)
        for convention in self._conventions:
            for metric, key, amount in convention(record, self._subject(record, call)):
                add = self.cells.park if metric.kind == "histogram" else self.cells.add
                add(metric, key, amount)

    def _fold_outcome(self, record: CallRecord, call: Key, extra: Key) -> None:
        cells, stream = self.cells, call[:3]
        cells.add(metrics.REQUESTS, (*call, record.status, *extra), 1)
        cells.park(metrics.REQUEST_DURATION, (*call[:4], record.status, *extra), record.duration)
        if record.error is not None:
            cells.add(metrics.ERRORS, (*call, record.error.value, *extra), 1)
        if record.first_chunk is not None:
            cells.park(metrics.TIME_TO_FIRST_CHUNK, stream, record.first_chunk)
        if record.chunk_gap is not None:
            cells.park(metrics.TIME_PER_OUTPUT_CHUNK, stream, record.chunk_gap)

    def _fold_usage(self, record: CallRecord, call: Key, extra: Key) -> None:
        for reason in _shortcomings(record):
            self.cells.add(metrics.USAGE_MISSING, (*call[1:3], reason), 1)
        if record.usage is not None:
            for direction, kind, tokens in record.usage.parts():
                self.cells.add(metrics.TOKENS, (*call, direction, kind, *extra), tokens)
        if record.reading is not None and not record.nested:
            for reason in record.reading.normalised_finish_reasons:
                self.cells.add(metrics.FINISH_REASONS, (*call[:3], reason), 1)

    def _price(self, record: CallRecord, labels: Mapping[str, str]) -> Cost | Unpriced | None:
        """What the call costs; `None` when it cannot have cost anything that is not counted elsewhere."""
        reading, usage = record.reading, record.usage
        if self._book is None or (usage is None and (record.nested or record.status == "error")):
            return None
        model = labels.get("model", "")
        cost = self._book.cost(
            usage or Usage(),
            provider=labels.get("provider", ""),
            model=model,
            service_tier=reading.service_tier if reading is not None else None,
            reported=reading.cost if reading is not None else None,
            duration=record.duration,
        )
        if isinstance(cost, Cost):
            self.budgets.of("model").declare(model)
        return cost

    def _fold_cost(self, cost: Cost | Unpriced | None, call: Key, extra: Key) -> None:
        if isinstance(cost, Unpriced):
            self.cells.add(metrics.UNPRICED_REQUESTS, (*call[1:3], cost.reason), 1)
        elif cost is not None:
            for (direction, kind), dollars in cost.parts.items():
                self.cells.add(metrics.COST, (*call, direction, kind, cost.source, *extra), dollars)
            if cost.savings:
                self.cells.add(metrics.CACHE_SAVINGS, (*call, *extra), cost.savings)

    def _admit_call(self, labels: Mapping[str, str]) -> tuple[Key, Key]:
        """A call's label set, bounded label by label and as a whole; its series show at 0 when it is new."""
        call, extra = self._call_key(labels), self._declared_key(labels)
        if call + extra not in self._seen:
            if self.cells.full:
                self.cells.folded += 1
                call, extra = (OTHER, *call[1:2], OTHER, call[3], OTHER), (OTHER,) * len(extra)
            self._seen.add(call + extra)
            self._show_at_zero(call, extra)
        return call, extra

    def _show_at_zero(self, call: Key, extra: Key) -> None:
        for status in metrics.STATUSES:
            self.cells.add(metrics.REQUESTS, (*call, status, *extra), 0)
        for kind in ErrorKind:
            self.cells.add(metrics.ERRORS, (*call, kind.value, *extra), 0)
        for direction in metrics.DIRECTIONS:
            self.cells.add(metrics.TOKENS, (*call, direction, "text", *extra), 0)

    def _subject(self, record: CallRecord, call: Key) -> Subject:
        _, provider, model, operation, _ = call
        requested = self._bound("model", record.labels.get("model", ""))
        answered = record.reading is not None and record.reading.model is not None
        error = record.error.value if record.error is not None else ""
        return Subject(operation, provider, requested, model if answered else "", error)

    def _call_key(self, labels: Mapping[str, str]) -> Key:
        return tuple(self._bound(name, labels.get(name, "")) for name in CALL_LABELS)

    def _declared_key(self, labels: Mapping[str, str]) -> Key:
        for name in labels.keys() - CALL_LABELS:
            if name not in self.declared:
                self.shield.warn_once("labels", f"label {name!r} is left out: declare it in configure(labels=...)")
        return tuple(self._bound(name, labels.get(name, "")) for name in self.declared)

    def _bound(self, label: str, value: str) -> str:
        if isinstance(value, Unusable):
            self.shield.warn_once("labels", f"label {label!r} is left out: {value.why}")
        admitted = self.budgets.of(label).admit(value)
        if admitted != value:
            self.cells.add(metrics.LABEL_OVERFLOW, (label,), 1)
        return admitted

    def _over_the_limit(self, metric: Metric, key: Key) -> Key:
        names = self.label_names(metric)
        return tuple(value if name in _CLOSED else OTHER for name, value in zip(names, key, strict=True))


# Metrics that are not counted up call by call.
_FACTS: dict[Metric, Callable[[Recorder], list[tuple[Key, Amount]]]] = {
    metrics.INTERNAL_ERRORS: lambda recorder: [((place,), count) for place, count in recorder.shield.counts().items()],
    metrics.BUILD_INFO: lambda recorder: [((__version__, recorder.price_table or ""), 1)],
    metrics.PRICE_TABLE_AGE: lambda recorder: [((), age)] if (age := recorder.price_table_age) is not None else [],
}

# Labels whose values llmwatch itself chooses, or nearly so: they keep their values in a folded label set.
_CLOSED = frozenset(
    "provider operation status direction kind cost_source error_type reason where label version price_table "
    "gen_ai.provider.name gen_ai.operation.name gen_ai.token.type gen_ai.token.modality error.type".split()
)


def _keep(most: int) -> None:
    """Histogram values stay parked while there is no instrument to take them."""


def _completed(record: CallRecord) -> Mapping[str, str]:
    """A call's labels, with what the response knows better than the caller."""
    reading, labels = record.reading, record.labels
    if reading is None:
        return labels
    better = {"provider": reading.provider, "model": reading.model, "operation": reading.operation}
    return {**labels, **{name: value for name, value in better.items() if value}}


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
