"""CallRecord → cells: what one call adds to the totals, its labels bounded and its usage priced."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

from llmwatch import metrics
from llmwatch._call import CallRecord
from llmwatch._cells import Cells, Key
from llmwatch._conventions import Subject, conventions
from llmwatch._label_sets import LabelSets
from llmwatch.cardinality import Budgets
from llmwatch.errors import ErrorKind
from llmwatch.metrics import Metric
from llmwatch.pricing import Cost, PriceBook, Unpriced
from llmwatch.usage import Usage

if TYPE_CHECKING:
    from llmwatch._shield import Shield


_ANNOUNCED = 500  # label sets of decorated functions that are shown again after a reconfiguration


class Ticket:
    """An open call's place in the in-flight gauge."""

    __slots__ = ("key", "labels")

    def __init__(self, labels: Mapping[str, str]) -> None:
        self.labels = labels
        self.key: Key = ()


class Measured(NamedTuple):
    """What happened beside the calls themselves: amounts of some metrics, and the labels that they have in common.

    Attributes:
        labels: Label values by the metrics' own names of them; what a metric does not name is left out of it.
        amounts: What is added to counters (0 shows them), given to histograms, and put in the place of gauges.
    """

    labels: Mapping[str, str]
    amounts: tuple[tuple[Metric, int | float], ...]


class Ledger:
    """The totals that all calls add up to. Not safe for threads by itself: the recorder writes it under its lock.

    Args:
        shield: Where misuse of labels is reported.
        budgets: How many values each label may show.
        declared: The names of the labels that the application declares, in their order.
        semconv: Which generation of the GenAI convention is recorded beside our own metrics.
        book: What prices usage; `None` prices nothing.
    """

    def __init__(
        self,
        shield: Shield,
        budgets: Budgets,
        declared: tuple[str, ...],
        semconv: metrics.Semconv,
        book: PriceBook | None,
    ) -> None:
        self.metrics = metrics.enabled(semconv)
        self._label_sets = LabelSets(shield, budgets, declared, lambda: self.cells.full, self._overflowed)
        self.label_names = self._label_sets.names_of
        self.cells = Cells(budgets.series, self._label_sets.folded)
        self._enabled = frozenset(self.metrics)
        self._write: dict[metrics.Kind, Callable[[Metric, Key, int | float], object]] = {
            "counter": self.cells.add,
            "updown": self.cells.add,
            "gauge": self.cells.put,
            "histogram": self.cells.park,
        }
        self._shield = shield
        self._budgets = budgets
        self._book = book
        self._conventions = conventions(self.metrics)
        self._unpriced: deque[tuple[CallRecord, Mapping[str, str]]] = deque()
        self._announced: dict[tuple[tuple[str, str], ...], Mapping[str, str]] = {}

    @property
    def folds(self) -> int:
        """How often a whole label set was folded, because there was no room for its series."""
        return self.cells.folded + self._label_sets.folds

    def open(self, ticket: Ticket) -> None:
        """A call has begun."""
        labels = ticket.labels
        key = self._label_sets.of(metrics.ACTIVE_REQUESTS, labels, counting=False)
        ticket.key = self.cells.add(metrics.ACTIVE_REQUESTS, key, 1)
        if labels.get("model"):
            self._admit(labels)

    def announce(self, labels: Mapping[str, str]) -> None:
        """Calls with these labels are going to be made."""
        self._admit(labels)
        if len(self._announced) < _ANNOUNCED:
            self._announced[tuple(sorted(labels.items()))] = labels

    def enter(self, record: CallRecord) -> None:
        """A call has ended."""
        if isinstance(record.ticket, Ticket):
            self.cells.add(metrics.ACTIVE_REQUESTS, record.ticket.key, -1)
        labels = _completed(record)
        cost = self._price(record, labels)
        call, extra = self._admit(labels, counting=True)
        self._enter_outcome(record, call, extra)
        self._enter_usage(record, call, extra)
        self._enter_cost(cost, call, extra)
        subject = self._subject(record, call)
        for convention in self._conventions:
            for metric, key, amount in convention(record, subject):
                self._write[metric.kind](metric, key, amount)

    def measure(self, measured: Measured) -> None:
        """Something happened beside the calls themselves."""
        for metric, amount in measured.amounts:
            if metric not in self._enabled:
                continue
            self._write[metric.kind](metric, self._label_sets.of(metric, measured.labels), amount)

    def adopt(self, earlier: Ledger) -> None:
        """Takes over all that an earlier ledger has, under the labels of this one."""
        self._budgets.inherit(earlier._budgets)
        self._label_sets.folds += earlier._label_sets.folds

        def rekey(metric: Metric, key: Key) -> Key:
            values = dict(zip(earlier.label_names(metric), key, strict=True))
            return tuple(values.get(name, "") for name in self.label_names(metric))

        self.cells.adopt(earlier.cells, rekey, iter(earlier.metrics))
        self._unpriced += earlier._unpriced
        for labels in earlier._announced.values():
            self.announce(labels)

    def _enter_outcome(self, record: CallRecord, call: Key, extra: Key) -> None:
        cells, stream = self.cells, call[:3]
        cells.add(metrics.REQUESTS, (*call, record.status, *extra), 1)
        cells.park(metrics.REQUEST_DURATION, (*call[:4], record.status, *extra), record.duration)
        if record.error is not None:
            cells.add(metrics.ERRORS, (*call, record.error.value, *extra), 1)
        if record.first_chunk is not None:
            cells.park(metrics.TIME_TO_FIRST_CHUNK, stream, record.first_chunk)
        if record.chunk_gap is not None:
            cells.park(metrics.TIME_PER_OUTPUT_CHUNK, stream, record.chunk_gap)

    def _enter_usage(self, record: CallRecord, call: Key, extra: Key) -> None:
        for reason in _shortcomings(record):
            self.cells.add(metrics.USAGE_MISSING, (*call[1:3], reason), 1)
        if record.usage is not None:
            for direction, kind, tokens in record.usage.parts():
                self.cells.add(metrics.TOKENS, (*call, direction, kind, *extra), tokens)
        if record.reading is not None and not record.nested:
            for reason in record.reading.normalised_finish_reasons:
                self.cells.add(metrics.FINISH_REASONS, (*call[:3], reason), 1)

    def price_late(self) -> None:
        """Prices the calls that came in before the price table was there."""
        while self._unpriced and (self._book is None or self._book.ready):
            record, labels = self._unpriced.popleft()
            cost = self._price(record, labels)
            self._enter_cost(cost, *self._admit(labels))

    def _price(self, record: CallRecord, labels: Mapping[str, str]) -> Cost | Unpriced | None:
        """What the call costs; `None` when that is not known yet, or when nothing can be charged for it."""
        if self._book is None or (record.usage is None and (record.nested or record.status != "success")):
            return None
        if not self._book.ready:
            self._unpriced.append((record, labels))
            return None
        try:
            return self._look_up(self._book, record, labels)
        except Exception as error:
            self._shield.report("prices", error)
            return None

    def _look_up(self, book: PriceBook, record: CallRecord, labels: Mapping[str, str]) -> Cost | Unpriced:
        reading = record.reading
        model = labels.get("model", "")
        cost = book.cost(
            record.usage or Usage(),
            provider=labels.get("provider", ""),
            model=model,
            service_tier=reading.service_tier if reading is not None else None,
            reported=reading.cost if reading is not None else None,
            duration=record.duration,
        )
        if isinstance(cost, Cost) and cost.source != "provider":
            self._budgets.of("model").declare(model)
        return cost

    def _enter_cost(self, cost: Cost | Unpriced | None, call: Key, extra: Key) -> None:
        if isinstance(cost, Unpriced):
            self.cells.add(metrics.UNPRICED_REQUESTS, (*call[1:3], cost.reason), 1)
        elif cost is not None:
            for (direction, kind), dollars in cost.parts.items():
                self.cells.add(metrics.COST, (*call, direction, kind, cost.source, *extra), dollars)
            if cost.savings:
                self.cells.add(metrics.CACHE_SAVINGS, (*call, *extra), cost.savings)

    def _overflowed(self, label: str) -> None:
        self.cells.add(metrics.LABEL_OVERFLOW, (label,), 1)

    def _subject(self, record: CallRecord, call: Key) -> Subject:
        _, provider, model, operation, _ = call
        requested = self._budgets.of("model").admit(record.labels.get("model", ""))
        answered = record.reading is not None and record.reading.model is not None
        error = record.error.value if record.error is not None else ""
        return Subject(operation, provider, requested, model if answered else "", error)

    def _admit(self, labels: Mapping[str, str], *, counting: bool = False) -> tuple[Key, Key]:
        """A call's label set, bounded, and what the application declares behind it; a new one begins at 0."""
        call, extra, new = self._label_sets.of_call(labels, counting=counting)
        if new:
            self._show_at_zero(call, extra)
        return call, extra

    def _show_at_zero(self, call: Key, extra: Key) -> None:
        """What alerts divide or take the increase of begins at 0, so that its first increase can be seen."""
        for status in metrics.STATUSES:
            self.cells.add(metrics.REQUESTS, (*call, status, *extra), 0)
        for kind in ErrorKind:
            self.cells.add(metrics.ERRORS, (*call, kind.value, *extra), 0)
        for direction in metrics.DIRECTIONS:
            self.cells.add(metrics.TOKENS, (*call, direction, "text", *extra), 0)


def _completed(record: CallRecord) -> Mapping[str, str]:
    """A call's labels, with what the response knows better than the caller."""
    reading, labels = record.reading, record.labels
    if reading is None:
        return labels
    better = {"provider": reading.provider, "model": reading.model, "operation": reading.operation}
    return {**labels, **{name: value for name, value in better.items() if value and type(value) is str}}


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
