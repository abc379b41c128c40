"""The OpenAI chat completions and embeddings shapes: totals include their parts, a stream's usage is its last."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmwatch.extractors._fields import everything, excerpt, fields_of, get, items, text, word
from llmwatch.extractors._last import Last
from llmwatch.extractors._openai_usage import has_totals, read_total, reading_of
from llmwatch.extractors._plain import Plain, form_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from llmwatch.extractors._reading import Accumulator, Reading


class ChatCompletions:
    """Chat completions, and the older completions, of OpenAI and of all who speak their language."""

    api = "chat.completions"
    provider = "openai"

    def recognises(self, response: Any) -> bool:
        return "choices" in fields_of(response)

    def recognises_event(self, event: Any) -> bool:
        fields = fields_of(event)
        return "choices" in fields or "choices" in fields_of(_wrapped(fields))

    def read(self, response: Any) -> Reading:
        if type(response) is Plain:
            if (reading := response.reading()) is not None:
                return reading
            response = response.fields()
        fields = everything(response)
        response = fields or response  # looked into only once
        usage = get(response, "usage") or get(get(response, "x_groq"), "usage")
        reasons = [word(get(choice, "finish_reason")) for choice in items(response, "choices")]
        return reading_of(
            response,
            usage,
            provider=next((_MARKS[mark] for mark in _MARKS.keys() & fields.keys() if fields[mark]), None),
            finish_reasons=tuple([reason for reason in reasons if reason]),
            operation="text_completion" if get(response, "object") == "text_completion" else None,
        )

    def gist(self, response: Any) -> Plain | Mapping[str, Any]:
        form = form_of(type(response))  # type: ignore[arg-type]
        if form is not None and (plain := form.take(response)) is not None:
            return plain
        kept = excerpt(response, (*_KEPT, "usage"))
        kept["choices"] = [excerpt(choice, ("finish_reason", "error")) for choice in items(response, "choices")]
        return kept

    def accumulator(self) -> Accumulator:
        return _Chunks(self)


class Embeddings:
    """Embeddings: a list of vectors, and the tokens of what was embedded."""

    api = "embeddings"
    provider = "openai"

    def recognises(self, response: Any) -> bool:
        vectors = items(fields_of(response).get("data"))
        return bool(vectors) and "embedding" in fields_of(vectors[0])

    def recognises_event(self, event: Any) -> bool:
        return self.recognises(event)

    def read(self, response: Any) -> Reading:
        usage = get(response, "usage")
        return reading_of(response, usage, usage=read_total(usage), operation="embeddings")

    def accumulator(self) -> Accumulator:
        return Last(self, lambda fields: fields if "usage" in fields else None)


_MARKS = {"x_groq": "groq", "venice_parameters": "venice"}  # fields that name their provider beyond doubt
_KEPT = ("model", "object", "service_tier", "x_groq", "cost", "error", "generationId", "venice_parameters")


class _Chunks:
    """The chunks of one completion, of which few say anything: the first, those with usage, and each choice's last."""

    __slots__ = ("_named", "_reasons", "_shape", "_whole")

    def __init__(self, shape: ChatCompletions) -> None:
        self._shape = shape
        self._named = False
        self._whole: dict[str, Any] = {}
        self._reasons: dict[int, str] = {}

    def add(self, event: Any) -> None:
        try:
            if type(event) is not dict:  # nearly all: an object of a client's, with a piece of its only choice
                fields = event.__dict__
                (choice,) = fields["choices"]
                if fields["usage"] is None and choice.__dict__["finish_reason"] is None and self._named:
                    return
        except (AttributeError, KeyError, TypeError, ValueError):
            pass
        self._look_into(event)

    def _look_into(self, event: Any) -> None:
        try:
            fields = event if type(event) is dict else event.__dict__
            if "choices" not in fields:
                self._add_other(event, fields)
                return
            choices = fields["choices"]
            telling = not choices or fields.get("usage") or (not self._named and fields.get("model"))
            for choice in choices:
                values = choice if type(choice) is dict else choice.__dict__
                telling = telling or values.get("finish_reason")
            # what stands in no declared field of a class, as LiteLLM's usage, `__dict__` does not show
            if telling or ("error" in fields if fields is event else "usage" not in fields):
                self._note(event)
        except (AttributeError, TypeError):  # no chunk, or none like those of the clients that we know
            self._note(event)

    def reading(self) -> Reading:
        choices = [{"finish_reason": self._reasons[position]} for position in sorted(self._reasons)]
        return self._shape.read({**self._whole, "choices": choices})

    def _add_other(self, event: Any, fields: Mapping[str, Any]) -> None:
        wrapped = _wrapped(fields)
        if wrapped is not None and "choices" in fields_of(wrapped):
            self.add(wrapped)
        elif fields.get("usage") or fields.get("error"):
            self._note(event)

    def _note(self, chunk: Any) -> None:
        fields = everything(chunk)
        self._whole.update({name: fields[name] for name in _KEPT if fields.get(name)})
        self._named = "model" in self._whole
        usage = fields.get("usage") or get(fields.get("x_groq"), "usage")
        if usage and has_totals(usage):
            self._whole["usage"] = usage
        for choice in items(chunk, "choices"):
            if reason := text(choice, "finish_reason"):
                position = get(choice, "index")
                self._reasons[position if type(position) is int else 0] = reason


def _wrapped(fields: Mapping[str, Any]) -> Any:
    """The chunk inside of an event of openai's helper streams, or of mistralai's client."""
    return fields.get("chunk") or fields.get("data")
