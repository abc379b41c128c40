"""Last: the accumulator of streams whose events carry the whole response, as far as it has come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmwatch.errors import classify_body
from llmwatch.extractors._fields import fields_of, get
from llmwatch.extractors._openai_usage import has_totals
from llmwatch.extractors._reading import Reading, Shape

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Last:
    """Keeps the last response that an event carried, the last that stated usage, and the last error event."""

    __slots__ = ("_carried", "_counted", "_error", "_last", "_shape")

    def __init__(self, shape: Shape, carried: Callable[[Mapping[str, Any]], Any]) -> None:
        self._shape = shape
        self._carried = carried
        self._last: Any = None
        self._counted: Any = None
        self._error: Any = None

    def add(self, event: Any) -> None:
        fields = event if type(event) is dict else getattr(event, "__dict__", None) or fields_of(event)
        found = self._carried(fields)
        if found is not None:
            self._last = found
            if has_totals(get(found, "usage")):
                self._counted = found
        elif fields.get("error") or fields.get("type") == "error":
            self._error = event

    def reading(self) -> Reading | None:
        error = None if self._error is None else classify_body(None, self._error)
        if self._last is None:
            return None if error is None else Reading(error=error)
        found = self._shape.read(self._last)
        if self._counted is not None and self._counted is not self._last:
            counted = self._shape.read(self._counted)
            found = found._replace(usage=counted.usage, cost=counted.cost)
        return found if error is None or found.error is not None else found._replace(error=error)
