"""Agents and tools: `observe_agent`, whose runs count what they do themselves, and `observe_tool`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, overload

from llmwatch import metrics
from llmwatch._activities import Activities, Activity, Amount, Block
from llmwatch.attribution import Scope

if TYPE_CHECKING:
    from llmwatch.usage import Usage

F = TypeVar("F", bound=Callable[..., object])


class Tally:
    """What one run of an agent does itself, on whatever thread and in whatever task, as long as it is open."""

    __slots__ = ("_calls", "_open", "_tools")

    def __init__(self) -> None:
        self._open = True
        self._calls: list[int | None] = []  # appending is atomic, adding is not
        self._tools: list[None] = []

    def called(self, usage: Usage | None) -> None:
        """A call of a model has ended, which owns these tokens."""
        if self._open:
            known = usage is not None and usage.is_known
            self._calls.append((usage.input_tokens or 0) + (usage.output_tokens or 0) if usage and known else None)

    def used(self) -> None:
        """A call of a tool has ended."""
        if self._open:
            self._tools.append(None)

    def close(self) -> tuple[int, int, int | None]:
        """Calls of models, calls of tools, and tokens, if any are known; what comes later is not counted."""
        self._open = False
        calls, tools = self._calls[:], len(self._tools)
        self._calls, self._tools = [], []  # the scopes of tasks that outlive the run go on to hold this
        known = [tokens for tokens in calls if tokens is not None]
        return len(calls), tools, sum(known) if known else None


class AgentRun(Activity):
    """One run of an agent: what is observed inside has the agent's name, and the run counts it."""

    __slots__ = ("_tally",)
    decorator = "observe_agent"
    subject = "agent"
    counter = metrics.AGENT_RUNS

    def _placed(self, stated: Mapping[str, str], outer: Scope) -> tuple[Mapping[str, str], Scope]:
        self._tally = Tally()
        agent = stated.get("agent", "")
        inside = {**outer.labels, **stated, "agent": agent}
        return {"agent": agent, "gen_ai.agent.name": agent}, Scope(inside, outer.call, outer, None, self._tally)

    def _amounts(self, seconds: float) -> tuple[Amount, ...]:
        calls, tools, tokens = self._tally.close()
        amounts: tuple[Amount, ...] = (
            (metrics.AGENT_RUNS, 1),
            (metrics.AGENT_DURATION, seconds),
            (metrics.AGENT_RUN_REQUESTS, calls),
            (metrics.INVOKE_AGENT_DURATION, seconds),
            (metrics.INVOKE_AGENT_CALLS, calls),
            (metrics.INVOKE_AGENT_TOOLS, tools),
        )
        return amounts if tokens is None else (*amounts, (metrics.AGENT_RUN_TOKENS, tokens))


class ToolCall(Activity):
    """One call of a tool, by the agent that it is stated for or that is running around it."""

    __slots__ = ("_run",)
    decorator = "observe_tool"
    subject = "tool"
    counter = metrics.TOOL_CALLS

    def _placed(self, stated: Mapping[str, str], outer: Scope) -> tuple[Mapping[str, str], Scope]:
        self._run: Tally | None = outer.run
        tool, inside = stated.get("tool", ""), outer.labels
        if "agent" in stated:
            inside = {**inside, "agent": stated["agent"]}
        agent = inside.get("agent", "")
        labels = {"agent": agent, "tool": tool, "gen_ai.agent.name": agent, "gen_ai.tool.name": tool}
        return labels, Scope(inside, outer.call, outer, None, self._run)

    def _amounts(self, seconds: float) -> tuple[Amount, ...]:
        if self._run is not None:
            self._run.used()
        return (metrics.TOOL_CALLS, 1), (metrics.TOOL_DURATION, seconds), (metrics.EXECUTE_TOOL_DURATION, seconds)


@overload
def observe_agent(fn: F, /) -> F: ...
@overload
def observe_agent(name: str | None = None, *, feature: str | None = None, **labels: object) -> Block[None]: ...
def observe_agent(name: Any = None, *, feature: str | None = None, **labels: object) -> Any:
    """Observes the runs of an agent: `@observe_agent("researcher")`, `@observe_agent`, or as a block.

    A decorator for functions of every kind that `observe_llm` takes, and a block, `with observe_agent("researcher"):`
    or `async with`. A function stays what it is; the run of a generator, and of a function that returns a coroutine, a
    future, a generator or a client library's stream, lasts until that has ended. A block is no place to `yield` from:
    decorate the generator, and nothing of the run is left in the consumer's context between two steps.

    The calls of models and tools inside, at any depth, in tasks and in `asyncio.to_thread`, and in threads under
    `bind`, have the agent's name as their label `agent`, unless they state another, and are counted to the run if they
    end before it does. A run inside of another one counts its calls and tokens itself, the outer one does not, as the
    GenAI convention has it for `gen_ai.invoke_agent.inference_calls`: "only the agent's own calls". Calls are counted
    as in `ai_requests`: of two observed functions around each other both are, their tokens once.

    Recorded: `ai_agent_runs`, `ai_agent_duration`, `ai_agent_run_requests`, `ai_agent_run_tokens` (input and output,
    of the runs in which any are known) and the convention's `gen_ai.invoke_agent.*`. A run ends with the status
    `success`, `error`, `cancelled` or `abandoned`; its `error.type` is one of `ErrorKind`.

    Args:
        name: The agent's name; by default that of the decorated function.
        feature: The part of the product that the calls inside are for.
        **labels: Further labels of the calls inside, declared in `configure(labels=...)`.

    Raises:
        TypeError: When something else than a callable is decorated, or an argument is of no use.
    """
    if "agent" in labels:
        raise TypeError("observe_agent takes the agent's name as its first argument or as name=..., not as agent=...")
    return _observing(AgentRun, name, {"feature": feature, **labels})


@overload
def observe_tool(fn: F, /) -> F: ...
@overload
def observe_tool(name: str | None = None, *, agent: str | None = None) -> Block[None]: ...
def observe_tool(name: Any = None, *, agent: str | None = None) -> Any:
    """Observes the calls of a tool: `@observe_tool("search")`, `@observe_tool`, or as a block.

    For the same kinds of functions, and as long as `observe_agent`. A stream in hand that may be used otherwise than by
    iterating it, like a database's cursor, is a result like any other: the call ends when it is returned.

    Recorded: `ai_tool_calls`, `ai_tool_duration` and the convention's `gen_ai.execute_tool.duration`. The call is
    counted to the run of an agent around it, and so are the calls of models that the tool makes.

    Args:
        name: The tool's name; by default that of the decorated function.
        agent: The agent whose tool it is, also for the calls of models inside; by default the one around.

    Raises:
        TypeError: When something else than a callable is decorated, or an argument is of no use.
    """
    return _observing(ToolCall, name, {"agent": agent})


def _observing(kind: type[Activity], name: Any, stated: dict[str, object]) -> Any:
    if callable(name) or hasattr(type(name), "__get__"):  # decorated without parentheses
        return Block[None](Activities.of(kind, stated))(name)
    return Block[None](Activities.of(kind, {kind.subject: name, **stated}))
