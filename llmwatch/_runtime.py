"""The one mutable global: the runtime that calls are recorded with."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from llmwatch._call import Call
from llmwatch._instruments import publication_on
from llmwatch._ongoing import Ongoing
from llmwatch._recorder import Recorder
from llmwatch._shield import Shield
from llmwatch.attribution import current_scope
from llmwatch.extractors import Extractor

Clock = Callable[[], float]


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
    """

    shield: Shield
    recorder: Recorder
    clock: Clock = time.perf_counter
    configured: bool = False
    provider: Any = None
    private: bool = False
    page: Any = None
    endpoint: Any = None

    @classmethod
    def unpublished(cls, shield: Shield, *, configured: bool = False) -> Runtime:
        """A runtime that nobody shows anywhere yet: it keeps count for the one that comes after it."""
        return cls(shield, Recorder(shield), configured=configured)

    def begin(self, stated: Mapping[str, str], extractor: Extractor | None = None) -> Ongoing:
        """Opens a call: what is stated wins over what the surrounding blocks say.

        The wrapped function is not part of this, so nothing here can fail for a reason of the caller's.
        """
        scope = current_scope()
        labels = {**scope.labels, **stated} if scope.labels else stated
        outer = scope.call
        while outer is not None and outer.ended:  # a task may outlive the call that it was started in
            outer = outer.outer
        return Ongoing(Call(labels, self.clock(), outer), scope, self.recorder, self.shield, self.clock, extractor)

    def announce(self, labels: Mapping[str, str]) -> None:
        """Shows at 0 the series of calls that are going to be made."""
        try:
            self.recorder.announce(labels)
        except Exception as error:
            self.shield.report("announce", error)


_installed = Runtime.unpublished(Shield())
_lock = threading.Lock()


def current() -> Runtime:
    """The runtime in use; before any configuration one that waits for a global provider, and keeps count till then."""
    runtime = _installed
    return runtime if runtime.configured else _published(runtime)


def install(runtime: Runtime) -> Runtime:
    """Puts a runtime in the place of the current one, which is returned."""
    global _installed
    with _lock:
        replaced, _installed = _installed, runtime
    return replaced


def _published(runtime: Runtime) -> Runtime:
    """The unconfigured runtime, its totals shown on the global provider as soon as somebody has set one."""
    global _installed
    api = sys.modules.get("opentelemetry.metrics")
    if api is None or type(provider := api.get_meter_provider()).__name__ == "_ProxyMeterProvider":
        return runtime
    with _lock:
        if _installed is runtime:
            try:
                publication_on(provider).show(runtime.recorder)
            except Exception as error:
                runtime.shield.report("global provider", error)
            _installed = Runtime(runtime.shield, runtime.recorder, runtime.clock, True, provider)
        return _installed
