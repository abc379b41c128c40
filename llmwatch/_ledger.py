"""CallRecord → cells: what one call adds to the totals, its labels bounded and its usage priced."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from llmwatch import _attempts, _entries, metrics
from llmwatch._call import CallRecord, completed
from llmwatch._cells import Cells, Key
from llmwatch._conventions import conventions
from llmwatch._desks import Desk, Desks, Ticket
from llmwatch._label_sets import LabelSets
from llmwatch.cardinality import Budgets
from llmwatch.metrics import Metric
from llmwatch.pricing import DOLLAR, Cost, PriceBook, Unpriced
from llmwatch.usage import Usage

if TYPE_CHECKING:
    from llmwatch._shield import Shield


_STREAM = ("feature", "provider", "model")  # labels whose overflow is counted with the call
# Usual values of the last label of what happens beside the calls.
_OUTCOMES: Mapping[Metric, tuple[str, ...]] = {
    metrics.ATTEMPTS: ("ok", "rate_limit"),
    metrics.AGENT_RUNS: metrics.STATUSES,
    metrics.TOOL_CALLS: metrics.STATUSES,
    metrics.GUARD_DECISIONS: ("allowed", "rejected"),
}
_DECLARED = 1000  # models that are known to have been declared
_ANNOUNCED = 500  # label sets of decorated functions that are shown again after a reconfiguration


class Measured(NamedTuple):
    """What happened beside the calls themselves: amounts of some metrics, and the labels that they have in common.

    Attributes:
        labels: Label values by the metrics' own names of them; what a metric does not name is left out of it.
        amounts: What is added to counters (0 shows them), given to histograms, and put in the place of gauges.
    """

    labels: Mapping[str, str]
    amounts: tuple[tuple[Metric, int | float], ...]


class Announcement(NamedTuple):
    """Calls that are going to be made, by what is stated about them where the function is decorated."""

    labels: Mapping[str, str]


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
        self._label_sets = LabelSets(shield, budgets, declared, self._is_full, self._overflowed)
        self.forget_mapped = self._label_sets.forget_mapped
        self.label_names = self._label_sets.names_of
        self.cells = Cells(budgets.series, self._label_sets.folded)
        self._unposted: dict[Desk, None] = {}
        self._desks = Desks(self.cells, self._label_sets)
        self._gauges = _attempts.Gauges(self.cells.put)
        self._enabled = frozenset(self.metrics)
        self._write: dict[metrics.Kind, Callable[[Metric, Key, int | float], object]] = {
            "counter": self.cells.add,
            "updown": self.cells.add,
            "gauge": self._gauges.put,
            "histogram": self.cells.park,
        }
        self._shield = shield
        self._budgets = budgets
        self._book = book
        self._conventions = conventions(self.metrics)
        self._unpriced: deque[tuple[CallRecord, Mapping[str, str]]] = deque()
        self._announced: dict[tuple[tuple[str, str], ...], Mapping[str, str]] = {}
        self._declared: set[str] = set()
        self._seen: set[tuple[str, Key]] = set()  # what has had its outcomes shown

    @property
    def folds(self) -> int:
        """How often a whole label set was folded, because there was no room for its series."""
        return self.cells.folded + self._label_sets.folds

    def show_open(self, tickets: Iterable[Ticket]) -> None:
        """These calls are open, and no others."""
        open_now = Counter([self._desks.place(ticket.labels) for ticket in tickets])
        for key, _ in self.cells.totals(metrics.ACTIVE_REQUESTS):
            self.cells.put(metrics.ACTIVE_REQUESTS, key, open_now[key])

    def announce(self, labels: Mapping[str, str]) -> None:
        """Calls with these labels are going to be made."""
        self._desks.account(labels)
        if len(self._announced) < _ANNOUNCED:
            self._announced[tuple(sorted(labels.items()))] = labels

    @property
    def announced(self) -> list[Mapping[str, str]]:
        """The labels of calls that were announced."""
        return [*self._announced.values()]

    def enter(self, record: CallRecord) -> None:
        """A call has ended; it is in the totals when its desk has been posted."""
        record, late = self._understood(record), len(self._unpriced)
        try:
            desk = self._put(record)
        except Exception as error:  # somebody's extractor says what cannot be
            self._shield.report("record", error)
            while len(self._unpriced) > late:
                self._unpriced.pop()
            desk = self._put(_entries.sound(record))
        if record.attempts:
            for addition in _attempts.of_call(record.attempts, desk.labels):
                self.measure(Measured(*addition), counted=_STREAM)
        if desk.new:
            self._post(desk)  # all of its series come before those of the next one, as there may not be room for both

    def _put(self, record: CallRecord) -> Desk:
        known = self._desks.known(record)
        labels = completed(record.labels, record.reading) if known is None else known.labels
        cost = self._price(record, labels)  # before anything else: a model that has a price has a place in its label
        desk = known or self._desks.of(record, labels)
        desk.put(record, cost)
        self._unposted[desk] = None
        return desk

    def post_all(self) -> None:
        """Adds to the totals what has been entered and is not in them yet."""
        for desk in [*self._unposted]:
            self._post(desk)

    def _post(self, desk: Desk) -> None:
        desk.new = False
        while desk.sheets:
            sheet = desk.sheets.pop(next(iter(desk.sheets)))
            try:
                _entries.enter(sheet, desk.account)
                for enter in self._conventions:
                    enter(sheet, desk.client)
            except Exception as error:
                self._shield.report("record", error)
        del self._unposted[desk]

    def measure(self, measured: Measured, counted: Iterable[str] = ()) -> None:
        """Something happened beside the calls themselves; the overflow of some labels may have been counted."""
        counted, keys = set(counted), dict[Key, Key]()
        for metric, amount in measured.amounts:
            if metric not in self._enabled:
                continue
            key = keys.get(metric.labels)
            if key is None:
                key = keys[metric.labels] = self._label_sets.of(metric, measured.labels, counted)
            if metric in _OUTCOMES:
                self._show_outcomes(metric, key[:-1])
            self._write[metric.kind](metric, key, amount)

    def totals(self, metric: Metric) -> list[tuple[Key, int | float]]:
        """A counter's totals by label set; money, which the cells have in quectodollars, in dollars."""
        totals = self.cells.totals(metric)
        if metric.unit == "{USD}":
            return [(key, amount / DOLLAR) for key, amount in totals]
        return totals

    def adopt(self, earlier: Ledger) -> None:
        """Takes over all that an earlier ledger has, under the labels of this one."""
        earlier.post_all()
        self._budgets.inherit(earlier._budgets)
        self._label_sets.inherit(earlier._label_sets)

        def rekey(metric: Metric, key: Key) -> Key:
            values = dict(zip(earlier.label_names(metric), key, strict=True))
            return tuple(values.get(name, "") for name in self.label_names(metric))

        self.cells.adopt(earlier.cells, rekey, iter(earlier.metrics))
        self._unpriced += earlier._unpriced
        self._gauges.adopt(earlier._gauges)
        for labels in earlier._announced.values():
            self.announce(labels)

    def _show_outcomes(self, metric: Metric, known: Key) -> None:
        """What is seen for the first time has its usual outcomes at 0, so that their first increase can be seen."""
        if (metric.name, known) not in self._seen:
            self._seen.add((metric.name, known))
            for outcome in _OUTCOMES[metric]:
                self.cells.add(metric, (*known, outcome), 0)

    def price_late(self) -> None:
        """Prices the calls that came in before the price table was there."""
        while self._unpriced and (self._book is None or self._book.ready):
            record, labels = self._unpriced.popleft()
            cost = self._price(record, labels)
            if cost is not None:
                _entries.charge([cost], self._desks.account(labels))

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
            at=record.ticket.began if isinstance(record.ticket, Ticket) else None,
            service_tier=reading.service_tier if reading is not None else None,
            reported=reading.cost if reading is not None else None,
            duration=record.duration,
        )
        if model not in self._declared and isinstance(cost, Cost) and cost.source != "provider":
            if len(self._declared) < _DECLARED:
                self._declared.add(model)
            self._label_sets.declare("model", model)
        return cost

    def report(self) -> dict[str, Any]:
        """The budget of each label, and of all series together, as a document."""
        series = {"limit": self._budgets.series, "shown": self.cells.series, "folded": self.folds}
        return {"labels": self._label_sets.report(), "series": series}

    def _is_full(self) -> bool:
        return self.cells.full(metrics.REQUESTS)

    def _overflowed(self, label: str) -> None:
        self.cells.add(metrics.LABEL_OVERFLOW, (label,), 1)

    def _understood(self, record: CallRecord) -> CallRecord:
        try:
            return record.understood()
        except Exception as error:
            self._shield.report("extractor", error)
            return record._replace(gists=())
