"""The help desk's other systems: handbook, orders, filters. They count what they are asked, apart from any metric."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field

_PASSAGES = (
    "Addresses of shipped orders can be changed until the parcel reaches the depot.",
    "Single sign-on is part of the Team and Enterprise plans.",
    "Invoices list each service by day; a refund is booked within two weeks.",
    "Raw data can be exported as a file from the settings of the account.",
)
_EARLIER = (
    "I would like to know whether the parcel that I ordered last week has left your warehouse yet.",
    "It has: the carrier took it yesterday, and you will be sent a message with the hour of its delivery.",
)
_TURNS = 7  # of a conversation that has gone on for a while


@dataclass(slots=True)
class Backoffice:
    """What an application has beside its models, made small. Safe for threads.

    Attributes:
        journal: How often each tool and guard was used, and with what outcome: the truth that the metrics should tell.
    """

    journal: Counter[tuple[str, ...]] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def passages(self, question: str) -> list[str]:
        """What the handbook says about a question."""
        self._count("search_handbook", "success")
        return [_PASSAGES[len(question) % len(_PASSAGES)]]

    async def house_style(self) -> str:
        """How the company writes."""
        self._count("house_style", "success")
        return "Short sentences, no exclamation marks."

    def order(self, ticket: str) -> str:
        """The state of the order that a ticket is about.

        Raises:
            LookupError: When it names none.
        """
        number = ticket.partition("#")[2][:4]
        self._count("look_up_order", "success" if number else "error")
        if not number:
            raise LookupError("the ticket names no order")
        return f"Order {number} has been shipped."

    def earlier_turns(self, kept: int | None) -> list[str]:
        """The conversation so far, customer and assistant in turn: the last turns, or with `None` all of them."""
        return [*_EARLIER] * (_TURNS if kept is None else kept)

    def personal(self, text: str) -> bool:
        """Whether a text holds what must not go to a vendor."""
        found = "@" in text
        self._count("pii", "rejected" if found else "allowed")
        return found

    def redacted(self, text: str) -> str:
        """A text without what must not go to a vendor."""
        words = ["[address]" if "@" in word else word for word in text.split()]
        self._count("pii", "redacted" if "[address]" in words else "allowed")
        return " ".join(words)

    def grounded(self, answer: str) -> bool:
        """Whether an answer rests on the handbook; those that begin with a larch do not."""
        fine = not answer.startswith("larch")
        self._count("grounding", "allowed" if fine else "rejected")
        return fine

    def _count(self, *event: str) -> None:
        with self._lock:
            self.journal[event] += 1
