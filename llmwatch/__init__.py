"""llmwatch makes the LLM calls of a program observable: requests, latency, tokens, errors and dollars.

Each public name is loaded when it is first asked for, so that importing the package costs a program next to nothing.
"""

from __future__ import annotations

from importlib import import_module

from llmwatch._version import __version__

TYPE_CHECKING = False  # what type checkers take for `typing`'s, without loading that
if TYPE_CHECKING:
    from llmwatch._agents import observe_agent, observe_tool
    from llmwatch._carrying import bind, outgoing_baggage
    from llmwatch._guards import record_guard
    from llmwatch._observe import observe_llm, track_request
    from llmwatch._watch import watch
    from llmwatch.attribution import attribute
    from llmwatch.cardinality import Label
    from llmwatch.config import configure, flush, session, shutdown
    from llmwatch.errors import ErrorKind
    from llmwatch.extractors import register_extractor
    from llmwatch.pricing import Price
    from llmwatch.usage import Usage

__all__ = [
    "ErrorKind",
    "Label",
    "Price",
    "Usage",
    "__version__",
    "attribute",
    "bind",
    "configure",
    "flush",
    "observe_agent",
    "observe_llm",
    "observe_tool",
    "outgoing_baggage",
    "record_guard",
    "register_extractor",
    "session",
    "shutdown",
    "track_request",
    "watch",
]

_HOMES = {
    name: module
    for module, names in {
        "_agents": "observe_agent observe_tool",
        "_carrying": "bind outgoing_baggage",
        "_guards": "record_guard",
        "_observe": "observe_llm track_request",
        "_watch": "watch",
        "attribution": "attribute",
        "cardinality": "Label",
        "config": "configure flush session shutdown",
        "errors": "ErrorKind",
        "extractors": "register_extractor",
        "pricing": "Price",
        "usage": "Usage",
    }.items()
    for name in names.split()
}
_MODULES = frozenset(
    "attribution cardinality config errors exposition extractors metrics ops pricing testing usage".split()
)


def __getattr__(name: str) -> object:
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES})
