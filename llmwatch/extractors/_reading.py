"""Reading: what one response said about itself; Accumulator: how a stream comes to say it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from decimal import Decimal

    from llmwatch.errors import ErrorKind
    from llmwatch.usage import Usage


class Reading(NamedTuple):
    """What a response, or a whole stream, says about the call that it answers.

    Attributes:
        provider: OpenTelemetry's `gen_ai.provider.name` (`openai`, `anthropic`, `aws.bedrock`, …).
        model: The model that answered, as the response names it; `None` when it does not.
        usage: Tokens; `None` when the response carries none.
        finish_reasons: Why each choice ended, in the provider's own words.
        operation: `gen_ai.operation.name` where the response's shape decides it (`embeddings`).
        service_tier: The tier that served the call, as the response names it.
        cost: What the provider says that the call costs, in USD.
        error: The kind of failure that the answer reports inside a successful HTTP exchange.
    """

    provider: str | None = None
    model: str | None = None
    usage: Usage | None = None
    finish_reasons: tuple[str, ...] = ()
    operation: str | None = None
    service_tier: str | None = None
    cost: Decimal | None = None
    error: ErrorKind | None = None

    @property
    def normalised_finish_reasons(self) -> tuple[str, ...]:
        """`finish_reasons` in one vocabulary: `stop length tool_calls content_filter refusal error other`."""
        return tuple([normalise(reason) for reason in self.finish_reasons])


class Accumulator(Protocol):
    """Takes the events of one stream in their order and keeps what they say; constant, small work for each."""

    def add(self, event: Any) -> None:
        """Takes one event."""

    def reading(self) -> Reading | None:
        """What the events so far say; asked once, when the stream has ended, however it ended."""


class Shape(Protocol):
    """One response shape, spoken by one vendor or many.

    A shape may also have `gist(response)`: a small mapping in whose place of the response `read` reads the same, and
    that holds nothing of the answer itself.
    """

    api: str
    provider: str

    def recognises(self, response: Any) -> bool:
        """Whether this response (an object or parsed JSON) has the shape."""

    def recognises_event(self, event: Any) -> bool:
        """Whether this event belongs to a stream of the shape."""

    def read(self, response: Any) -> Reading:
        """Reads a whole response."""

    def accumulator(self) -> Accumulator:
        """A fresh accumulator for one stream."""


def normalise(reason: str) -> str:
    """A provider's finish reason in our vocabulary."""
    return _REASONS.get(reason.lower(), "other")


# The digits are Google's, where an enum was encoded as a number; only those that Gemini and Vertex number alike.
_REASONS = {
    raw: ours
    for ours, raws in {
        "stop": "stop end_turn stop_sequence completed complete eos eos_token endoftext finish 1",
        "length": "length max_tokens max_output_tokens model_context_window_exceeded "
        "max_prompt_tokens max_completion_tokens model_length maximum_tokens token_limit time_limit error_limit "
        "incomplete continuation 2",
        "tool_calls": "tool_calls tool_call tool_use function_call pause_turn requires_action",
        "content_filter": "content_filter sensitive content_filtered guardrail_intervened error_toxic safety "
        "recitation blocklist prohibited_content spii image_safety image_prohibited_content image_recitation "
        "model_armor jailbreak escalation 3 4 7 8",
        "refusal": "refusal",
        "error": "error failed cancelled canceled user_cancel timeout expired abort network_error "
        "insufficient_system_resource malformed_function_call malformed_response malformed_model_output "
        "malformed_tool_use unexpected_tool_call too_many_tool_calls missing_thought_signature language",
    }.items()
    for raw in raws.split()
}
