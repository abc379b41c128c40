"""Testing: what a piece of code records, caught; a clock that is moved by hand; checks for extractors of your own.

For pytest there are two fixtures, without any import: `llmwatch_calls`, all calls of the test, and `llmwatch_clock`, a
clock that is moved by hand.

    def test_an_answer_is_cheap(llmwatch_calls):
        answer("Why is the sky blue?")

        assert len(llmwatch_calls(feature="chat")) == 1
        assert llmwatch_calls(feature="chat").cost < 0.01
"""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False  # what type checkers take for `typing`'s, without loading that
if TYPE_CHECKING:
    from llmwatch.testing._calls import Calls, ObservedCall, UnknownError
    from llmwatch.testing._capture import Capture, ManualClock, capture
    from llmwatch.testing._conformance import check_accumulator, check_extractor

__all__ = [
    "Calls",
    "Capture",
    "ManualClock",
    "ObservedCall",
    "UnknownError",
    "capture",
    "check_accumulator",
    "check_extractor",
]

_HOMES = {
    **dict.fromkeys(("Calls", "ObservedCall", "UnknownError"), "_calls"),
    **dict.fromkeys(("Capture", "ManualClock", "capture"), "_capture"),
    **dict.fromkeys(("check_accumulator", "check_extractor"), "_conformance"),
}


def __getattr__(name: str) -> object:
    # pytest loads this package in every run, because the plugin is in it.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
