"""The calls of a test: one record each, to be chosen from and added up."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import overload

from llmwatch._call import CallRecord, completed
from llmwatch.pricing import Cost, PriceBook
from llmwatch.usage import Usage


class UnknownError(AssertionError):
    """A sum was asked for that nobody knows: a call has no price, or did not say what it consumed."""


@dataclass(frozen=True, slots=True)
class ObservedCall:
    """One call that has ended.

    Attributes:
        feature: What it was for; empty when nobody said so, as the other labels.
        provider: Who answered.
        model: The model that answered, as the response names it.
        operation: `chat`, `embeddings`, …
        agent: Whose call it was.
        labels: All labels, those included that the application declares.
        status: How it ended: `success`, `error`, `cancelled` or `abandoned`.
        error: Why it failed, in llmwatch's taxonomy (`rate_limit`, `timeout`, …); `None` unless it did.
        duration: Seconds.
        first_chunk: Seconds to the first chunk of a stream; `None` where there was none.
        usage: What it consumed by kind; `None` when unknown.
        cost: US dollars; `None` when unknown.
        attempts: The HTTP requests that it was made of, where its client is watched.
        nested: Whether calls were observed inside it, which then own what was consumed.
        stated: What was stated about it, before the response knew better.
    """

    feature: str
    provider: str
    model: str
    operation: str
    agent: str
    labels: Mapping[str, str]
    status: str
    error: str | None
    duration: float
    first_chunk: float | None
    usage: Usage | None
    cost: float | None
    attempts: int
    nested: bool
    stated: Mapping[str, str] = field(repr=False, default_factory=dict)

    @property
    def input_tokens(self) -> int | None:
        """Tokens sent, cached ones included; `None` when unknown."""
        return self.usage.input_tokens if self.usage is not None else None

    @property
    def output_tokens(self) -> int | None:
        """Tokens generated, reasoning included; `None` when unknown."""
        return self.usage.output_tokens if self.usage is not None else None

    @property
    def tokens(self) -> int | None:
        """Both together."""
        return self.usage.total_tokens if self.usage is not None else None

    def matches(self, wanted: Mapping[str, str | None]) -> bool:
        """Whether it has this `status`, this `error` and all these labels, as stated or as the response has them."""
        for name, value in wanted.items():
            if name in ("status", "error"):
                found = {getattr(self, name)}
            else:
                found = {self.labels.get(name, ""), self.stated.get(name, "")}
            if value not in found:
                return False
        return True


class Calls(Sequence[ObservedCall]):
    """The calls of a test so far, in the order of their ends; or those of them that were asked for.

    `calls(feature="chat", status="error")` chooses among them. `len()`, iteration and indices are those of a list.

    Args:
        records: Gives the records.
        price: Gives the cost of one, or `None`.
        wanted: What the calls have in common.
    """

    def __init__(
        self,
        records: Callable[[], Sequence[CallRecord]],
        price: Callable[[CallRecord], float | None],
        wanted: Mapping[str, str | None] | None = None,
    ) -> None:
        self._records = records
        self._price = price
        self._wanted = dict(wanted or {})

    def __call__(self, **wanted: str | None) -> Calls:
        """Those that have all these labels, this `status` or this `error`."""
        return Calls(self._records, self._price, {**self._wanted, **wanted})

    def __len__(self) -> int:
        return len(self._found())

    def __iter__(self) -> Iterator[ObservedCall]:
        return iter(self._found())

    @overload
    def __getitem__(self, place: int) -> ObservedCall: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[ObservedCall]: ...
    def __getitem__(self, place: int | slice) -> ObservedCall | Sequence[ObservedCall]:
        return self._found()[place]

    def __repr__(self) -> str:
        return f"<Calls {self._found()!r}>"

    @property
    def cost(self) -> float:
        """US dollars of all of them together.

        Raises:
            UnknownError: When that of one is not known. A failed call that says nothing of tokens costs nothing, and
                neither does a call around others.
        """
        return self._sum("cost", lambda call: call.cost)

    @property
    def tokens(self) -> int:
        """Tokens in and out of all of them together; raises as `cost` does."""
        return self.input_tokens + self.output_tokens

    @property
    def input_tokens(self) -> int:
        """Tokens sent, cached ones included; raises as `cost` does."""
        return int(self._sum("input tokens", lambda call: call.input_tokens))

    @property
    def output_tokens(self) -> int:
        """Tokens generated, reasoning included; raises as `cost` does."""
        return int(self._sum("output tokens", lambda call: call.output_tokens))

    @property
    def errors(self) -> int:
        """How many of them failed; which ones, says `calls(status="error")`."""
        return len(self(status="error"))

    @property
    def duration(self) -> float:
        """Seconds of all of them, one after the other."""
        return sum(call.duration for call in self._found())

    def _sum(self, what: str, of: Callable[[ObservedCall], float | None]) -> float:
        counted = [call for call in self._found() if call.usage or not (call.nested or call.status == "error")]
        values = [of(call) for call in counted]
        if unknown := [call for call, value in zip(counted, values, strict=True) if value is None]:
            raise UnknownError(f"the {what} of {len(unknown)} of {len(counted)} calls is unknown: {unknown[0]!r}")
        return sum(value for value in values if value is not None)

    def _found(self) -> list[ObservedCall]:
        calls = (_observed(record, self._price) for record in [*self._records()])
        return [call for call in calls if call.matches(self._wanted)]


def pricing(book: Callable[[], PriceBook]) -> Callable[[CallRecord], float | None]:
    """What a record costs by the book that is in use then."""

    def price(record: CallRecord) -> float | None:
        if record.usage is None and (record.nested or record.status != "success"):
            return None
        labels, reading = completed(record.labels, record.reading), record.reading
        cost = book().cost(
            record.usage or Usage(),
            provider=labels.get("provider"),
            model=labels.get("model"),
            service_tier=reading.service_tier if reading is not None else None,
            reported=reading.cost if reading is not None else None,
            duration=record.duration,
        )
        return float(cost.total) if isinstance(cost, Cost) else None

    return price


def _observed(record: CallRecord, price: Callable[[CallRecord], float | None]) -> ObservedCall:
    labels = completed(record.labels, record.reading)
    return ObservedCall(
        feature=labels.get("feature", ""),
        provider=labels.get("provider", ""),
        model=labels.get("model", ""),
        operation=labels.get("operation", ""),
        agent=labels.get("agent", ""),
        labels=labels,
        status=record.status,
        error=record.error.value if record.error is not None else None,
        duration=record.duration,
        first_chunk=record.first_chunk,
        usage=record.usage,
        cost=price(record),
        attempts=len(record.attempts),
        nested=record.nested,
        stated=record.labels,
    )
