"""What a metric is: one instrument, and the series that Prometheus makes of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["counter", "updown", "gauge", "histogram"]
Set = Literal["ai", "legacy", "latest", "agents"]
Semconv = Literal["legacy", "latest", "both", "none"]

CALL_LABELS = ("feature", "provider", "model", "operation", "agent")
STATUSES = ("success", "error", "cancelled", "abandoned")
DIRECTIONS = ("input", "output")


@dataclass(frozen=True, slots=True, eq=False)
class Metric:
    """One instrument, and the series that Prometheus makes of it; there is one object of each.

    Attributes:
        name: The OpenTelemetry instrument's name.
        kind: What it counts like.
        unit: Its unit, in UCUM as OpenTelemetry writes it.
        labels: The labels that each of its series carries, in their order.
        description: One sentence for people.
        buckets: The upper bounds of a histogram.
        call: Whether the labels that the application declares stand behind `labels`.
        set: The set that it belongs to: ours, one of the two generations of the GenAI convention, or what that
            convention has for agents and tools beside either.
    """

    name: str
    kind: Kind
    unit: str
    labels: tuple[str, ...]
    description: str
    buckets: tuple[float, ...] = ()
    call: bool = False
    set: Set = "ai"

    @property
    def prometheus(self) -> str:
        """The name of its series in Prometheus, without `_bucket`, `_sum` and `_count`."""
        name = self.name.replace(".", "_")
        if self.unit == "s":
            name += "_seconds"
        return name + "_total" if self.kind == "counter" else name

    @property
    def prometheus_labels(self) -> tuple[str, ...]:
        """Its labels as Prometheus writes them, without `le`."""
        return tuple(label.replace(".", "_") for label in self.labels)

    @property
    def weight(self) -> int:
        """How many series one label set makes."""
        return len(self.buckets) + 3 if self.kind == "histogram" else 1
