"""Tabular: a response shape that is only a matter of paths, so that a vendor's module is a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from llmwatch.extractors._assembled import Assembled, failure
from llmwatch.extractors._fields import fields_of, get, items, label, number, text, total
from llmwatch.extractors._reading import Reading
from llmwatch.usage import Usage


@dataclass(slots=True, eq=False)
class Tabular(Assembled):
    """A shape as data.

    A path is `meta.tokens`, or `results.*.tokens` through each member of a list; of several paths, parted by a space,
    the first that leads to something stands.

    Attributes:
        api: The shape's name.
        provider: Who speaks it.
        marks: The fields that a response must have to be of the shape.
        absent: The fields that it must not have.
        event_marks: The fields that an event of its streams must have; a shape without them has no streams.
        counts: The path of each count of `Usage`; numbers along one path add up.
        model: The path of the model that answered.
        reasons: The path of the finish reasons.
        operation: `gen_ai.operation.name`, where it is not text generation.
    """

    api: str
    provider: str
    marks: frozenset[str]
    counts: Mapping[str, str]
    event_marks: frozenset[str] = frozenset()
    model: str = "model"
    reasons: str = "finish_reason"
    operation: str | None = None
    absent: frozenset[str] = frozenset()

    def recognises(self, response: Any) -> bool:
        fields = fields_of(response).keys()
        return self.marks <= fields and not self.absent & fields

    def recognises_event(self, event: Any) -> bool:
        return bool(self.event_marks) and self.event_marks <= fields_of(event).keys()

    def read(self, response: Any) -> Reading:
        usage = Usage(**{name: total(*_numbers(response, paths)) for name, paths in self.counts.items()})
        return Reading(
            model=text(response, *self.model.split(".")),
            usage=usage if usage.is_known else None,
            finish_reasons=tuple(_words(response, self.reasons)),
            operation=self.operation,
            error=failure(get(response, "error")),
        )

    def absorb(self, whole: dict[str, Any], event: Any) -> None:
        fields = fields_of(event)
        for paths in (*self.counts.values(), self.model, self.reasons):
            for path in paths.split():
                root = path.partition(".")[0]
                if fields.get(root) is not None:
                    whole[root] = fields[root]


def _numbers(source: Any, paths: str) -> list[Any]:
    for path in paths.split():
        found = [value for value in map(number, _along(source, path.split("."))) if value is not None]
        if found:
            return found
    return []


def _words(source: Any, paths: str) -> Iterator[str]:
    for path in paths.split():
        for value in _along(source, path.split(".")):
            if word := label(value):
                yield word


def _along(source: Any, names: list[str]) -> list[Any]:
    found = [source]
    for name in names:
        found = [value for each in found for value in (items(each) if name == "*" else (get(each, name),))]
    return found
