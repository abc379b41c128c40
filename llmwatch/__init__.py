"""llmwatch makes the LLM calls of a program observable: requests, latency, tokens, errors and dollars."""

from llmwatch._observe import observe_llm, track_request
from llmwatch._version import __version__
from llmwatch.attribution import attribute, bind
from llmwatch.config import configure, shutdown
from llmwatch.errors import ErrorKind
from llmwatch.extractors import register_extractor
from llmwatch.usage import Usage

__all__ = [
    "ErrorKind",
    "Usage",
    "__version__",
    "attribute",
    "bind",
    "configure",
    "observe_llm",
    "register_extractor",
    "shutdown",
    "track_request",
]
