"""Desks: where calls of one kind are entered, found by what is stated of them and what their responses know better."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmwatch import metrics
from llmwatch._accounts import Account
from llmwatch._call import CallRecord
from llmwatch._cells import Cells, Key
from llmwatch._entries import Sheet, show_at_zero
from llmwatch._label_sets import LabelSets
from llmwatch.attribution import Unusable
from llmwatch.metrics import CALL_LABELS
from llmwatch.pricing import Cost, Unpriced

_KEPT = 2000  # of each sort


class Ticket:
    """An open call: what is stated of it, and when it began, in seconds since 1970."""

    __slots__ = ("began", "labels")

    def __init__(self, labels: Mapping[str, str], began: float) -> None:
        self.labels = labels
        self.began = began


class Desk:
    """Where calls of one kind are entered.

    Attributes:
        labels: What is known of them, as it was stated.
        account: What they add to in our own metrics.
        client: What they add to in the convention's.
        sheets: What is to be entered, by how the calls have ended.
        new: Whether nothing has been entered yet.
    """

    __slots__ = ("account", "client", "labels", "new", "sheets")

    def __init__(self, labels: Mapping[str, str], account: Account, client: Account) -> None:
        self.labels = labels
        self.account = account
        self.client = client
        self.sheets: dict[object, Sheet] = {}
        self.new = True

    def put(self, record: CallRecord, cost: Cost | Unpriced | None) -> None:
        """A call has ended."""
        reading = record.reading if not record.nested else None
        end = (record.status, record.error, tuple(reading.finish_reasons) if reading is not None else ())
        sheet = self.sheets.get(end)
        if sheet is None:
            sheet = self.sheets[end] = Sheet(*end)
        sheet.put(record, cost)


def _kind(record: CallRecord) -> tuple[Any, ...]:
    """What calls have in common that are entered at one desk."""
    reading = record.reading
    better = (reading.provider, reading.model, reading.operation) if reading is not None else None
    return better, *record.labels, *record.labels.values()


def _opened(record: CallRecord) -> Mapping[str, str]:
    """What was stated of a call when it was opened."""
    return record.ticket.labels if isinstance(record.ticket, Ticket) else record.labels


class Desks:
    """The desks of a ledger; those are kept whose labels are shown as they were stated.

    What is folded, mapped or cannot be used takes a second look each time, and is counted.
    """

    def __init__(self, cells: Cells, label_sets: LabelSets) -> None:
        self._cells = cells
        self._label_sets = label_sets
        self._desks: dict[tuple[Any, ...], Desk] = {}
        self._accounts: dict[Key | None, Account] = {}
        self._places: dict[Key, Key] = {}

    def known(self, record: CallRecord) -> Desk | None:
        """Where a call that has ended is entered, if there have been others like it."""
        desk, labels = self._desks.get(_kind(record)), record.labels
        as_opened = isinstance(record.ticket, Ticket) and record.ticket.labels is labels
        return desk if as_opened and Unusable not in map(type, labels.values()) else None

    def of(self, record: CallRecord, labels: Mapping[str, str]) -> Desk:
        """The same for a call like which there may have been none, and of which this is known."""
        self.place(_opened(record))
        account = self.account(labels, counting=True)
        answered = record.reading is not None and record.reading.model is not None
        client = self._client(record.labels.get("model", ""), account, answered=answered)
        desk = Desk(labels, account, client)
        if account.lasting and client.lasting and len(self._desks) < _KEPT:
            self._desks[_kind(record)] = desk
        return desk

    def place(self, labels: Mapping[str, str]) -> Key:
        """A call's place in the in-flight gauge, which begins at 0, as does what else is known of the call."""
        names = metrics.ACTIVE_REQUESTS.labels
        stated = tuple([labels.get(name, "") for name in names])
        key = self._places.get(stated)
        if key is None:
            key = self._cells.add(metrics.ACTIVE_REQUESTS, self._label_sets.of(metrics.ACTIVE_REQUESTS, labels), 0)
            if key == stated and not self._label_sets.mapping:
                self._places[stated] = key
            if labels.get("model"):
                self.account(labels)
        return key

    def account(self, labels: Mapping[str, str], *, counting: bool = False) -> Account:
        """What calls of a label set add to, each label bounded; a new one begins at 0."""
        stated = self._label_sets.plain(labels)
        account = self._accounts.get(stated) if stated is not None else None
        if account is not None:
            return account
        call, extra, new = self._label_sets.of_call(labels, counting=counting)
        account = Account(self._cells, dict(zip(CALL_LABELS, call, strict=True)), extra)
        if new:
            show_at_zero(account)
        if stated == call + extra and len(self._accounts) < _KEPT:
            account.lasting = True
            self._accounts[stated] = account
        return account

    def _client(self, model: str, account: Account, *, answered: bool) -> Account:
        """The same account under the convention's names: the common client attributes."""
        client = account.clients.get((model, answered))
        if client is None:
            requested = self._label_sets.shown("model", model)
            labels = account.labels
            values = (labels["operation"], labels["provider"], requested, labels["model"] if answered else "")
            client = Account(self._cells, dict(zip(metrics.CLIENT_ATTRIBUTES, values, strict=True)))
            if requested == model:
                client.lasting = True
                account.clients[model, answered] = client
        return client
