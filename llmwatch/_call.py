"""Call → CallRecord: one call as a state machine that knows neither clock nor thread nor OpenTelemetry.

Rule 1: a call ends once, whoever ends it and however often; the first end counts and gives the one record.
Rule 2: the innermost call that reads usage owns it; the calls around it do not count it again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from llmwatch._attempts import Attempt
    from llmwatch.errors import ErrorKind
    from llmwatch.extractors import Gist, Reading
    from llmwatch.usage import Usage

Status = Literal["success", "error", "cancelled", "abandoned"]


class CallRecord(NamedTuple):
    """All that is recorded of one call.

    Attributes:
        labels: What was stated about the call: feature, provider, model, operation, agent and declared labels.
        status: How it ended.
        duration: Seconds from the call to the last byte of its answer.
        error: Why it failed; only with the status `error`.
        reading: What the response said about itself; `None` when nobody could read it.
        usage: The tokens that this call owns.
        streamed: Whether the answer came in chunks.
        first_chunk: Seconds from the call to the first chunk.
        chunk_gap: Mean seconds between chunks; `None` for fewer than two.
        nested: Whether calls were observed inside this one.
        ticket: What the recorder gave out when the call was opened.
        attempts: The HTTP requests that it was made of, in the order of their ends, where its client is watched.
        owner: Whether the tokens that its response names are its own, and not those of the calls inside.
        gists: What was kept of the response, where nobody has read it yet; several, of several threads at once.
    """

    labels: Mapping[str, str]
    status: Status
    duration: float
    error: ErrorKind | None = None
    reading: Reading | None = None
    usage: Usage | None = None
    streamed: bool = False
    first_chunk: float | None = None
    chunk_gap: float | None = None
    nested: bool = False
    ticket: object = None
    attempts: tuple[Attempt, ...] = ()
    owner: bool = True
    gists: tuple[Gist, ...] = ()

    def understood(self) -> CallRecord:
        """The record with what its response says, read now if it was only kept."""
        if not self.gists:
            return self
        reading, usage = self.reading, self.usage
        for gist in self.gists:
            if (found := gist.reading()) is not None:
                reading = found
                if self.owner and found.usage is not None:
                    usage = found.usage if usage is None else usage + found.usage
        status, error = _outcome(self.status, self.error, reading)
        return tuple.__new__(CallRecord, (self.labels, status, self.duration, error, reading, usage, *self[6:-1], ()))


def _outcome(status: Status, error: ErrorKind | None, reading: Reading | None) -> tuple[Status, ErrorKind | None]:
    """How a call has ended: an answer may say that there is none."""
    if status == "success" and reading is not None and reading.error is not None:
        return "error", reading.error
    return status, error


def _sum(usages: Iterable[Usage]) -> Usage:
    """All usages together; there must be one."""
    first, *others = usages
    return sum(others, first)


def completed(labels: Mapping[str, str], reading: Reading | None) -> Mapping[str, str]:
    """A call's labels, with what the response knows better than the caller."""
    if reading is None:
        return labels
    better = {"provider": reading.provider, "model": reading.model, "operation": reading.operation}
    known = {name: str.__str__(value) for name, value in better.items() if isinstance(value, str) and value}
    return {**labels, **known}


class Arrivals:
    """When the chunks of an answer came.

    Attributes:
        first: The first one.
        last: The last one so far.
        number: How many there have been.
    """

    __slots__ = ("first", "last", "number")

    def __init__(self, first: float) -> None:
        self.first = self.last = first
        self.number = 0

    @property
    def gap(self) -> float | None:
        """Mean seconds between two; `None` for fewer than two."""
        return (self.last - self.first) / (self.number - 1) if self.number > 1 else None


class Call:
    """A call that is open until its first end.

    Attributes:
        labels: What is stated about it so far.
        started: When it began, in seconds of whatever clock the caller uses.
        outer: The observed call around it.
        streamed: Whether its answer comes in chunks.
        ticket: What the recorder gave out for it.
        failures: When its failed attempts ended, by what would be tried again.
    """

    __slots__ = (
        "_alive",
        "_arrivals",
        "_attempts",
        "_claimed",
        "_gists",
        "_nested",
        "_reading",
        "_usages",
        "failures",
        "labels",
        "outer",
        "started",
        "streamed",
        "ticket",
    )

    def __init__(self, labels: Mapping[str, str], started: float, outer: Call | None = None) -> None:
        self.labels = labels
        self.started = started
        self.outer = outer
        self.streamed = False
        self.ticket: object = None
        self._alive = [True]  # popping it is atomic: of two threads that end the call, one wins
        self._claimed = self._nested = False
        self._arrivals: Arrivals | None = None
        self._gists: list[Gist] = []  # appending is atomic, as in `_usages`: threads may share a block
        self._reading: Reading | None = None
        self._usages: list[Usage] = []
        self._attempts: list[Attempt] = []
        self.failures: dict[int, list[float]] = {}
        if outer is not None:
            outer._nested = True

    @property
    def ended(self) -> bool:
        """Whether the call has had its end."""
        return not self._alive

    @property
    def known(self) -> Mapping[str, str]:
        """Its labels, with what the response knows better, as far as it has come."""
        gists = self._gists[-1:]
        return completed(self.labels, gists[0].reading() if gists else self._reading)

    def attempted(self, attempt: Attempt) -> bool:
        """An HTTP request of the call has ended; whether it goes into the record, which it does not after the end."""
        self._attempts.append(attempt)
        if self._alive:
            return True
        try:
            self._attempts.remove(attempt)
        except ValueError:  # another thread has ended the call in between, and taken it
            return True
        return False

    def state(self, labels: Mapping[str, str]) -> None:
        """States more about the call; later statements win."""
        self.labels = {**self.labels, **labels}

    def chunk(self, now: float) -> Arrivals:
        """A chunk of the answer has come; what counts them, to be kept at hand by who sees them all."""
        arrivals = self._arrivals
        if arrivals is None:
            arrivals = self._arrivals = Arrivals(max(now, self.started))
        arrivals.last = max(arrivals.last, now)
        arrivals.number += 1
        return arrivals

    def keep(self, gist: Gist) -> bool:
        """Takes what is worth keeping of the response; whether that will do, as nobody else has a claim to it."""
        if self.outer is not None or self._nested or self._reading or self._usages or self._gists or not self._alive:
            return False
        self._gists.append(gist)
        return True

    def read(self, reading: Reading | None) -> None:
        """The response has been read; the usages of several responses add up."""
        if reading is None or not self._alive:
            return
        self._understand()
        self._reading = reading
        if reading.usage is not None:
            self.consume(reading.usage)

    def consume(self, usage: Usage) -> None:
        """Adds to what the call has consumed, and takes it from the calls around it."""
        if not self._alive:
            return
        self._understand()
        self._usages.append(usage)
        outer = self.outer
        while outer is not None:
            outer._claimed = True
            outer = outer.outer

    def _understand(self) -> None:
        """Reads what was only kept, because more has come."""
        while self._gists:
            try:
                gist = self._gists.pop(0)
            except IndexError:  # another thread was quicker
                return
            self.read(gist.reading())

    def end(self, now: float, status: Status, error: ErrorKind | None = None) -> CallRecord | None:
        """Ends the call; the record the first time, `None` ever after.

        A stream's answer ends with its last chunk, not with the moment at which somebody notices.
        """
        try:
            self._alive.pop()
        except IndexError:
            return None
        reading = self._reading
        status, error = _outcome(status, error, reading)
        arrivals = self._arrivals
        return CallRecord(
            self.labels,
            status,
            max(0.0, (now if arrivals is None or status != "success" else arrivals.last) - self.started),
            error,
            reading,
            _sum(self._usages) if self._usages and not self._claimed else None,
            self.streamed,
            None if arrivals is None else arrivals.first - self.started,
            None if arrivals is None else arrivals.gap,
            self._nested,
            self.ticket,
            tuple(self._taken()) if self._attempts else (),
            not self._claimed,
            tuple(self._gists),
        )

    def _taken(self) -> Iterator[Attempt]:
        """The attempts one by one, each of which another thread may be taking back."""
        try:
            while True:
                yield self._attempts.pop(0)
        except IndexError:
            return
