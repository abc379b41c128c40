"""llmwatch makes the LLM calls of a program observable: requests, latency, tokens, errors and dollars."""

from llmwatch._agents import observe_agent, observe_tool
from llmwatch._carrying import bind, outgoing_baggage
from llmwatch._guards import record_guard
from llmwatch._observe import observe_llm, track_request
from llmwatch._version import __version__
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
