"""The recorder: takes records from any thread, and keeps them until somebody collects.

A call only parks its record; whoever collects folds the parked records into the ledger. So the caller pays for one
append, and nothing that runs at its end, a finalizer included, ever waits for a lock.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from llmwatch import metrics
from llmwatch._call import CallRecord
from llmwatch._cells import Amount, Key
from llmwatch._desks import Ticket
from llmwatch._ledger import Announcement, Ledger, Measured
from llmwatch._version import __version__
from llmwatch.cardinality import Budgets
from llmwatch.metrics import Metric

if TYPE_CHECKING:
    from llmwatch._shield import Shield
    from llmwatch.pricing import PriceBook

# Parked records, above which calls begin to fold them, because nobody collects. A collection must fold what is left
# well within the 10 s that the SDK gives it, also beside many busy threads: it counts double what it breaks off.
_RELIEF_ABOVE = 1024
_UNCONFIGURED = 8192  # the same, where no configuration has come yet with prices and with labels of its own
_RELIEF = 8  # how many records one call folds then
_RELIEF_VALUES = 16 * _RELIEF  # and how many histogram values it hands over, more than those records bring
_TABLE_IMPORT = 2.0  # seconds that a collection waits for the price table
_PATIENCE = 1.0  # seconds that a shutdown waits for whoever folds
_VALUES = 10_000  # histogram values kept: above, calls hand them over, or, without a provider, a part is forgotten


Inbox = deque[CallRecord | Measured | Announcement]


class Outlet(Protocol):
    """What takes histogram values out of a recorder's cells."""

    def take_some(self, recorder: Recorder, most: int) -> None:
        """Takes up to so many, outside of a collection."""

    def take_all(self, recorder: Recorder) -> None:
        """Takes all of them, inside a collection."""


class Recorder:
    """Takes records from any thread and keeps the totals that they add up to.

    Args:
        shield: Where failures go.
        budgets: How many values each label may show.
        declared: The names of the labels that the application declares, in their order.
        semconv: Which generation of the GenAI convention is recorded beside our own metrics.
        book: What prices usage; `None` prices nothing.
        wall: Seconds since 1970: a call's price is that of the moment at which it began.

    Attributes:
        book: What prices usage.
        metrics: What it records.
        label_names: A metric's labels, those that the application declares included.
        outlet: What takes the histogram values, once it is there; until then they stay parked.
    """

    def __init__(
        self,
        shield: Shield,
        *,
        budgets: Budgets | None = None,
        declared: tuple[str, ...] = (),
        semconv: metrics.Semconv = "legacy",
        book: PriceBook | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.shield = shield
        self.outlet: Outlet | None = None
        self._ledger = Ledger(shield, budgets or Budgets(), declared, semconv, book)
        self.cells = self._ledger.cells
        self.metrics = self._ledger.metrics
        self.label_names = self._ledger.label_names
        self.book = book
        self._wall = wall
        self._lock = threading.Lock()
        self._parked: Inbox = deque()
        self._open: set[Any] = set()
        self._opens = [self._open]
        self._inboxes = [self._parked]  # and those of earlier recorders, whose open calls still bring their records
        self._retired = False
        self._folded = 0
        self._kind: dict[str, Any] = {"declared": declared, "semconv": semconv, "book": book, "wall": wall}
        self._advised = False
        self._cut: set[str] = set()

    def opened(self, labels: Mapping[str, str]) -> Ticket:
        """A call has begun; the ticket comes back with its record."""
        ticket = Ticket(labels, self._wall())
        self._open.add(ticket)
        return ticket

    def closed(self, record: CallRecord) -> None:
        """A call has ended. Never waits."""
        self._open.discard(record.ticket)
        self._parked.append(record)
        if len(self._parked) > _RELIEF_ABOVE:
            self._relieve()

    def measured(self, labels: Mapping[str, str], *amounts: tuple[Metric, int | float]) -> None:
        """Something happened beside the calls themselves: see `Measured`. Never waits."""
        self._parked.append(Measured(labels, amounts))
        if len(self._parked) > _RELIEF_ABOVE:
            self._relieve()

    def announce(self, labels: Mapping[str, str]) -> None:
        """Shows at 0 the series of calls that are going to be made, so that their first increase can be seen."""
        self._parked.append(Announcement(labels))

    def changes(self) -> Hashable:
        """Something that is another whenever a collection would find something new."""
        with self._lock:
            entered = self._folded + sum(len(inbox) for inbox in self._inboxes)
            open_now = sum(len(tickets) for tickets in self._opens)
        return id(self), entered, open_now, self.price_table, sum(self.shield.counts().values())

    def settle(self, *, collecting: bool = False) -> None:
        """Folds everything that is parked, and hands all histogram values over; whoever collects calls it first.

        Args:
            collecting: Whether this is inside of a collection, whose locks a logging handler must not meet.
        """
        self._await_prices()
        with self.shield.silence(aside=collecting), self._lock:
            if self._retired:
                return
            self._fold_all()
            self._ledger.price_late()
            self._ledger.show_open([ticket for tickets in self._opens for ticket in tickets.copy()])
            self._ledger.forget_mapped()
            self._advise_on_series()
            if self.outlet is not None:
                self.outlet.take_all(self)

    def totals(self, metric: Metric) -> list[tuple[Key, Amount]]:
        """A counter's totals by label set, in the order of `label_names`."""
        if metric in _FACTS:
            return _FACTS[metric](self)
        with self._lock:
            totals = self._ledger.totals(metric)
            if metric is metrics.LABEL_OVERFLOW and self._ledger.folds:
                totals.append((("series",), self._ledger.folds))
        return totals

    def label_report(self) -> dict[str, Any]:
        """The budget of each label, what it has shown and what was folded: the document at `/labels`."""
        with self.shield.silence(), self._lock:
            if not self._retired:  # else what has come since is another recorder's
                self._fold_all()
            self._ledger.forget_mapped()
            return {"llmwatch": __version__, **self._ledger.report()}

    def make_room(self, room: Mapping[str, int], cut: Iterable[str] = ()) -> None:
        """Takes note of what the readers take of each metric.

        Args:
            room: The number of label sets, by the metric's name.
            cut: The metrics of which a reader was given more, so that the SDK has folded label sets by itself.
        """
        with self.shield.silence(aside=True), self._lock:
            self.cells.room.update(room)
            for name in set(cut) - self._cut:
                self._cut.add(name)
                self.cells.folded += 1
                self.shield.advise(
                    f"a reader of the meter provider has put label sets of {name} into one series of its own, "
                    "`otel_metric_overflow`: give it higher cardinality_limits"
                )

    def adopt(self, earlier: Recorder) -> None:
        """Takes over all that an earlier recorder has, and all that its open calls will still bring."""
        if earlier is self or earlier._retired:
            return
        with earlier._lock, self._lock:
            self._await(earlier)
            self._ledger.adopt(earlier._ledger)
            self._cut |= earlier._cut
            self._advised = self._advised or earlier._advised

    def follow(self, earlier: Recorder) -> None:
        """Takes over what an earlier recorder's open calls will still bring, and none of what it has."""
        if not earlier._lock.acquire(timeout=_PATIENCE):  # it may be this thread's, which a signal has interrupted
            return
        try:
            with earlier.shield.silence(aside=True), self._lock:
                earlier._fold_all()
                self._await(earlier)
        finally:
            earlier._lock.release()

    def _await(self, earlier: Recorder) -> None:
        earlier._retired = True
        self._inboxes, self._opens = [*earlier._inboxes, *self._inboxes], [*earlier._opens, *self._opens]

    def begin_anew(self) -> Recorder:
        """In a forked child: one of the same kind that has counted nothing; what still comes here counts nowhere."""
        self._retired = True
        fresh = Recorder(self.shield, **self._kind)
        parked = [entry.labels for inbox in self._inboxes for entry in inbox if isinstance(entry, Announcement)]
        for labels in (*self._ledger.announced, *parked):
            fresh.announce(labels)
        return fresh

    @property
    def price_table(self) -> str | None:
        """The version of the price table, once it is loaded."""
        return self.book.version if self.book is not None and self.book.ready else None

    @property
    def price_table_age(self) -> float | None:
        """Its age in seconds."""
        return self.book.age_seconds() if self.book is not None and self.book.ready else None

    def _await_prices(self) -> None:
        """Waits a little for the price table, so that the first page has dollars on it, or else the next one."""
        if self.book is None or self.book.ready:
            return
        try:
            self.book.preload()
            deadline = time.monotonic() + _TABLE_IMPORT
            while not self.book.ready and time.monotonic() < deadline:
                time.sleep(0.005)
        except Exception as error:
            self.shield.report("prices", error)

    def _advise_on_series(self) -> None:
        if self._advised or not self._ledger.folds:
            return
        self._advised = True
        self.shield.advise(
            f"there is no room for further series, new label sets say 'other': {self.cells.series} are shown. Give the "
            "labels smaller budgets, raise configure(label_limits={'series': ...}), or, with a meter provider of your "
            "own, the cardinality_limits of its readers"
        )

    def _relieve(self) -> None:
        if self.book.ready if self.book is not None else len(self._parked) > _UNCONFIGURED:
            with self.shield.silence():
                self._relieve_unless_busy()

    def _relieve_unless_busy(self) -> None:
        if self._lock.acquire(blocking=False):
            try:
                if self._retired:
                    return
                self._fold(self._parked, _RELIEF)
                if self.outlet is None:
                    self.cells.thin(_VALUES)
                elif self.cells.parked > _VALUES:
                    self.outlet.take_some(self, _RELIEF_VALUES)
            except Exception as error:
                self.shield.report("record", error)
            finally:
                self._lock.release()

    def _fold_all(self) -> None:
        for inbox in self._inboxes:
            self._fold(inbox, len(inbox))

    def _fold(self, inbox: Inbox, most: int) -> None:
        ledger = self._ledger
        for _ in range(min(most, len(inbox))):
            entry = inbox.popleft()
            self._folded += 1
            try:
                if isinstance(entry, CallRecord):
                    ledger.enter(entry)
                elif isinstance(entry, Measured):
                    ledger.measure(entry)
                else:
                    ledger.announce(entry.labels)
            except Exception as error:
                self.shield.report("record", error)
        ledger.post_all()


# Metrics that are not counted up call by call.
_FACTS: dict[Metric, Callable[[Recorder], list[tuple[Key, Amount]]]] = {
    metrics.INTERNAL_ERRORS: lambda recorder: [((place,), count) for place, count in recorder.shield.counts().items()],
    metrics.BUILD_INFO: lambda recorder: [((__version__, recorder.price_table or ""), 1)],
    metrics.PRICE_TABLE_AGE: lambda recorder: [((), age)] if (age := recorder.price_table_age) is not None else [],
}
