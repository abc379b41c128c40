"""The one mutable global: the runtime that calls are recorded with."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from llmwatch import pricing
from llmwatch._baggage import Baggage
from llmwatch._call import Call
from llmwatch._instruments import begin_anew_on, publication_on
from llmwatch._ongoing import Ongoing
from llmwatch._recorder import Recorder
from llmwatch._shield import Shield
from llmwatch.attribution import Scope, current_scope
from llmwatch.extractors import Extractor

Clock = Callable[[], float]

_PATIENCE = 1.0  # seconds that a forked child's thread waits for another one that is at it


@dataclass(frozen=True, slots=True)
class Runtime:
    """What calls are recorded with; a call takes it once, when it begins.

    Attributes:
        shield: Where failures of our own go.
        recorder: Where records go.
        clock: Monotonic seconds.
        configured: Whether somebody has configured it; until then it looks out for a global provider.
        provider: The meter provider that shows the totals, if any does.
        private: Whether that provider is ours alone.
        page: What can be scraped.
        endpoint: Who serves it.
        site: What it serves: the page, and what there is to read beside it.
        tls: The certificate that it is served under, if there is one.
        senders: Who sends the totals elsewhere.
        baggage: What comes from outside the process, if anything may.
        again: Makes it anew in a forked child, given what that has inherited and what it has kept count with since.
        inherited: What a forked child had from its parent, until it is made anew at its first use.
    """

    shield: Shield
    recorder: Recorder
    clock: Clock = time.perf_counter
    configured: bool = False
    provider: Any = None
    private: bool = False
    page: Any = None
    endpoint: Any = None
    site: Any = None
    tls: Any = None
    senders: tuple[Any, ...] = ()
    baggage: Baggage | None = None
    again: Callable[[Runtime, Runtime], object] | None = None
    inherited: Runtime | None = None

    @classmethod
    def unpublished(cls, shield: Shield, *, configured: bool = False) -> Runtime:
        """A runtime that nobody shows anywhere yet: it keeps count for the one that comes after it."""
        return cls(shield, Recorder(shield), configured=configured)

    def begin(self, stated: Mapping[str, str], extractor: Extractor | None = None) -> Ongoing:
        """Opens a call: what is stated wins over what the surrounding blocks say.

        The wrapped function is not part of this, so nothing here can fail for a reason of the caller's.
        """
        scope = current_scope() if self.baggage is None else self.surroundings()
        labels = {**scope.labels, **stated} if scope.labels else stated
        outer = scope.call
        while outer is not None and outer.ended:  # a task may outlive the call that it was started in
            outer = outer.outer
        return Ongoing(Call(labels, self.clock(), outer), scope, self.recorder, self.shield, self.clock, extractor)

    def surroundings(self) -> Scope:
        """The scope of this place, with what the baggage says where no block says otherwise."""
        scope = current_scope()
        if self.baggage is None:
            return scope
        try:
            labels = self.baggage.labels()
        except Exception as error:
            self.shield.report("baggage", error)
            return scope
        return scope._replace(labels={**labels, **scope.labels}) if labels else scope

    def announce(self, labels: Mapping[str, str]) -> None:
        """Shows at 0 the series of calls that are going to be made."""
        try:
            self.recorder.announce(labels)
        except Exception as error:
            self.shield.report("announce", error)


_began = time.monotonic()
_installed = Runtime.unpublished(Shield())
_lock = threading.Lock()
_making = threading.Lock()
_maker: int | None = None
pricing.follow(lambda: _installed.recorder.book)


def current() -> Runtime:
    """The runtime in use; before any configuration one that waits for a global provider, and keeps count till then."""
    runtime = _installed
    return runtime if runtime.configured else _published(runtime)


def installed() -> Runtime:
    """The runtime as it is, without looking for a provider or making anew what was inherited."""
    return _installed


def counting_since() -> float:
    """When this process had counted nothing yet, in seconds of `time.monotonic`."""
    return _began


def install(runtime: Runtime) -> Runtime:
    """Puts a runtime in the place of the current one, which is returned."""
    global _installed
    with _lock:
        replaced, _installed = _installed, runtime
    return replaced


def _published(runtime: Runtime) -> Runtime:
    """The unconfigured runtime, its totals shown on the global provider as soon as somebody has set one."""
    global _installed
    if runtime.inherited is not None:
        return _made_anew(runtime, runtime.inherited)
    api = sys.modules.get("opentelemetry.metrics")
    if api is None or type(provider := api.get_meter_provider()).__name__ == "_ProxyMeterProvider":
        return runtime
    if not _lock.acquire(blocking=False):  # somebody else does it: it may be the thread that a signal has interrupted
        return runtime
    try:
        if _installed is runtime:
            try:
                publication_on(provider).show(runtime.recorder)
            except Exception as error:
                runtime.shield.report("global provider", error)
            _installed = Runtime(runtime.shield, runtime.recorder, runtime.clock, True, provider)
        return _installed
    finally:
        _lock.release()


def _made_anew(runtime: Runtime, inherited: Runtime) -> Runtime:
    """In a forked child: what it has inherited, as its own; until that is done, calls are counted for it."""
    global _maker
    if _maker == threading.get_ident() or inherited.again is None or not _making.acquire(timeout=_PATIENCE):
        return runtime
    try:
        _maker = threading.get_ident()
        if _installed is runtime:
            inherited.again(inherited, runtime)
    except Exception as error:
        install(replace(runtime, configured=True, inherited=None))
        runtime.shield.report("fork", error)
    finally:
        _maker = None
        _making.release()
    return _installed


def _begin_anew() -> None:
    """In a forked child: nothing is counted yet, no lock is held, no thread runs, and what the parent serves is its."""
    global _installed, _lock, _making, _maker, _began
    parent = _installed
    _lock, _making, _maker, _began = threading.Lock(), threading.Lock(), None, time.monotonic()
    parent.shield.begin_anew()
    recorder = parent.recorder.begin_anew()
    if parent.provider is not None and not parent.private:
        begin_anew_on(parent.provider)
    if parent.endpoint is not None:
        parent.endpoint.forget()
    if parent.inherited is not None:  # a child's child, and nothing was done in between
        parent = replace(parent.inherited, shield=parent.shield)
    inherited = parent if parent.again is not None else None
    configured = parent.configured and parent.provider is None
    _installed = Runtime(parent.shield, recorder, parent.clock, configured, baggage=parent.baggage, inherited=inherited)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
