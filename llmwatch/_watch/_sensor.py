"""Sensor: what is known of a watched client; Sent: one of its HTTP requests, from its start to its one end."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count
from typing import TYPE_CHECKING, Any

from llmwatch import _runtime
from llmwatch._attempts import CANCELLED, OK, Attempt, of_call
from llmwatch._rate_limits import Limit, limits_in
from llmwatch._watch import _retries
from llmwatch._watch._hosts import provider_at
from llmwatch.attribution import Scope, current_scope
from llmwatch.errors import classify, classify_body, is_cancellation, retry_after

if TYPE_CHECKING:
    from llmwatch._call import Call

_arrivals = count(1)


class Sensor:
    """What the requests of one watched client have in common.

    Attributes:
        account: The configured alias of its account.
        provider: What was stated of it.
        vendor: Whose client library it is of.
        failures: Attempts outside of any call that have failed.
    """

    __slots__ = ("account", "failures", "provider", "vendor")

    def __init__(self, account: str = "", provider: str = "", vendor: str = "") -> None:
        self.account = account
        self.provider = provider
        self.vendor = vendor
        self.failures: _retries.Failures = {}

    def learn(self, other: Sensor) -> None:
        """More is stated about the client; what is empty leaves what was stated before."""
        self.account = other.account or self.account
        self.provider = other.provider or self.provider
        self.vendor = other.vendor or self.vendor

    def provider_of(self, request: Any) -> str:
        """Whose API a request goes to, as far as one can tell from the outside."""
        return self.provider or provider_at(request.url) or self.vendor


class Sent:
    """One HTTP request (`method`, `url`, `headers`), open until its first end. Nothing here raises into the client.

    It belongs to the innermost observed call that is open when it begins.
    """

    __slots__ = (
        "_alive",
        "_call",
        "_limits",
        "_order",
        "_outcome",
        "_request",
        "_retry_after",
        "_runtime",
        "_scope",
        "_sensor",
        "_started",
        "_wait",
    )

    def __init__(self, sensor: Sensor, request: Any) -> None:
        self._runtime = runtime = _runtime.current()
        self._alive = [True]  # popping it is atomic, as in `Call`
        self._sensor = sensor
        self._request = request
        self._scope: Scope = current_scope()
        self._call = _open(self._scope.call)
        self._outcome = OK
        self._limits: tuple[Limit, ...] = ()
        self._order = 0
        self._wait: float | None = None
        self._retry_after: float | None = None
        self._started = runtime.clock()
        if self._failures:
            self._look_back()

    def answered(self, status: int, headers: Any, pairs: Iterable[tuple[Any, Any]]) -> None:
        """The head of the answer is there: its status, and its headers as a mapping and one by one."""
        self._order = next(_arrivals)
        try:
            self._limits = limits_in(pairs)
            if status >= 400:
                self._outcome = classify_body(status, None, headers).value
                self._retry_after = retry_after(_RefusedError(headers))
        except Exception as error:
            self._runtime.shield.report("watch", error)

    def failed(self, error: BaseException) -> None:
        """It has ended with an exception."""
        if self._alive:
            self._outcome = CANCELLED if is_cancellation(error) else classify(error).value
            self.end()

    def broken(self, error: BaseException) -> None:
        """The reading of its answer has ended with an exception; that of a consumer who stops is none of its faults."""
        if isinstance(error, GeneratorExit):
            self.end()
        else:
            self.failed(error)

    def end(self) -> None:
        """The answer is there, or nobody wants the rest of it; only the first end counts."""
        try:
            if not self._alive:
                return
            self._alive.pop()
        except IndexError:  # another thread was quicker
            return
        try:
            self._conclude(self._runtime.clock())
        except Exception as error:
            self._runtime.shield.report("watch", error)

    @property
    def _failures(self) -> _retries.Failures:
        return self._sensor.failures if self._call is None else self._call.failures

    def _look_back(self) -> None:
        try:
            self._wait = _retries.waited(self._failures, self._request, self._started, told=self._call is None)
        except Exception as error:
            self._runtime.shield.report("watch", error)

    def _conclude(self, now: float) -> None:
        attempt = Attempt(
            self._outcome,
            max(0.0, now - self._started),
            self._wait,
            self._retry_after,
            self._sensor.provider_of(self._request),
            self._sensor.account,
            self._limits,
            self._order,
        )
        if self._call is None or not self._call.attempted(attempt):
            self._measure(attempt)
        if attempt.outcome not in (OK, CANCELLED):
            _retries.failed(self._failures, self._request, now, attempt.outcome)

    def _measure(self, attempt: Attempt) -> None:
        """Its call has its record already, or there is none."""
        labels = {"feature": self._scope.labels.get("feature", "")} if self._call is None else self._call.known
        for found, amounts in of_call((attempt,), labels):
            self._runtime.recorder.measured(found, *amounts)


class _RefusedError(Exception):
    """An answer as what `errors` reads, an exception with headers."""

    def __init__(self, headers: Any) -> None:
        super().__init__()
        self.headers = headers


def _open(call: Call | None) -> Call | None:
    while call is not None and call.ended:  # a task may outlive the call that it was started in
        call = call.outer
    return call
