"""Explanations: why the cost, the tokens or the latency changed, from what a Prometheus knows, in words and tables."""

from __future__ import annotations

from dataclasses import replace

from llmwatch._explain._answer import Answer, rendered
from llmwatch._explain._history import CannotTellError
from llmwatch._explain._latency import latency
from llmwatch._explain._question import Question, Subject, duration, instant, times
from llmwatch._explain._server import Server, UnreachableError
from llmwatch._explain._spent import cost, tokens

__all__ = ["Answer", "Question", "Server", "UnreachableError", "answered", "duration", "instant", "rendered"]

_ANSWERS = {"cost": cost, "tokens": tokens, "latency": latency}


def answered(subject: Subject, server: Server, question: Question) -> Answer:
    """The answer to a question; its finding is `unknown` where nobody can tell, and its words say why.

    Raises:
        UnreachableError: When the server does not answer.
    """
    try:
        answer = _ANSWERS[subject](server, question)
    except CannotTellError as reason:
        answer = Answer(subject, "unknown", times(question), (f"Cannot tell: {reason}",))
    warnings = (f"{server.url} warns: {text}" for text in server.warnings)
    return replace(answer, notes=(*answer.notes, *warnings))
