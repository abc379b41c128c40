"""Labels in OpenTelemetry's baggage: those that come with a request, and those that go with the requests made."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from llmwatch.cardinality import LONGEST

_PREFIX = "llmwatch."


class Baggage:
    """The labels that may come and go as baggage `llmwatch.<label>`; nobody knows who sends it.

    Args:
        labels: Their names.
    """

    def __init__(self, labels: tuple[str, ...]) -> None:
        from opentelemetry import baggage, context

        self._baggage = baggage
        self._context = context
        self._keys = tuple((label, _PREFIX + label) for label in labels)

    def labels(self) -> dict[str, str]:
        """What the current context's baggage says about them."""
        stated = self._baggage.get_all()
        if not stated:
            return {}
        found = {label: stated.get(key) for label, key in self._keys}
        # Too long is left so by one character, to be counted as what it is.
        return {label: value[: LONGEST + 1] for label, value in found.items() if type(value) is str and value}

    def attach(self, labels: Mapping[str, str]) -> Callable[[], None]:
        """Puts labels into the current context's baggage; what takes them out again.

        No token is kept, which would fail in another task or thread: what is current then is left alone if it is
        somebody else's.
        """
        outside = inside = self._context.get_current()
        for label, key in self._keys:
            value = labels.get(label, "")
            if value and len(value) <= LONGEST:
                inside = self._baggage.set_baggage(key, str.__str__(value), inside)
        self._context.attach(inside)

        def detach() -> None:
            if self._context.get_current() is inside:
                self._context.attach(outside)

        return detach
