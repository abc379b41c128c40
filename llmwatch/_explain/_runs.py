"""Runs: whether an agent that makes more calls runs more often, or makes more of them in each run."""

from __future__ import annotations

from llmwatch import metrics
from llmwatch._explain._causes import Cause
from llmwatch._explain._numbers import count
from llmwatch._explain._profile import VOLUME
from llmwatch._explain._promql import added
from llmwatch._explain._question import Question
from llmwatch._explain._server import Server

_CHANGED = 1.3


def runs(server: Server, question: Question, cause: Cause) -> str | None:
    """What the runs of the agent did whose calls are the cause; `None` when that is not known, or explains nothing.

    Raises:
        UnreachableError: When the server does not answer.
    """
    agent = cause.who.get("agent")
    if not agent or cause.factor != VOLUME:
        return None
    was, now = (_of(server, question, agent, end) for end in (question.before, question.at))
    if was is None or now is None:
        return None
    (runs_was, calls_was), (runs_now, calls_now) = was, now
    if calls_now > _CHANGED * calls_was:
        fewer = "fewer" if _CHANGED * runs_now < runs_was else "as many"
        number = "more" if runs_now > _CHANGED * runs_was else fewer
        often = f"{count(question.rate(runs_now))} {question.per[2]}, {count(question.rate(runs_was))} before"
        return (
            f"Each run of agent {agent} made {count(calls_now)} calls, and {count(calls_was)} before; there were "
            f"{number} runs ({often})."
        )
    if runs_now > _CHANGED * runs_was:
        return (
            f"Agent {agent} ran more often: {count(question.rate(runs_now))} times {question.per[2]}, "
            f"{count(question.rate(runs_was))} before; a run made as many calls as before ({count(calls_now)})."
        )
    return None


def _of(server: Server, question: Question, agent: str, end: float) -> tuple[float, float] | None:
    """The runs that ended in the window that ends then, and the calls that each made itself."""
    only = {"job": question.only.get("job", ()), "agent": (agent,)}
    amounts = [
        server.vector(added(metrics.AGENT_RUN_REQUESTS, ("agent",), question.window, only, suffix), end)
        for suffix in ("_count", "_sum")
    ]
    if not all(amounts) or not amounts[0][0].value:
        return None
    (finished, *_), (calls, *_) = amounts
    return finished.value, calls.value / finished.value
