"""Neighbours: other instrumentations that record metrics of the same names on the same meter provider."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any


def neighbours(provider: Any, names: Collection[str], own: str) -> dict[str, list[str]]:
    """Which of these metrics others record, too, by the scope that does (`opentelemetry.instrumentation...`).

    Nothing where the provider is not the SDK's, or does not let itself be looked into as SDK 1.45 does.

    Args:
        provider: A meter provider.
        names: The names of instruments.
        own: The scope that does not count.
    """
    found: dict[str, list[str]] = {}
    meters = getattr(provider, "_meters", None)
    for scope, meter in dict(meters if isinstance(meters, dict) else {}).items():
        # The name, the kind, the unit and the description of each instrument, with commas between them.
        theirs = {str(key).partition(",")[0] for key in tuple(getattr(meter, "_instrument_ids", ()))}
        same = sorted(theirs.intersection(names))
        if same and getattr(scope, "name", own) != own:
            found[scope.name] = same
    return found


def advice(found: dict[str, list[str]]) -> str:
    """What to do about them, in a line."""
    whom = " and ".join(repr(scope) for scope in found)
    names = sorted({name for names in found.values() for name in names})
    return (
        f"{whom} and llmwatch both record {', '.join(names)} on the same meter provider: a sum over all of its series "
        "counts those calls twice. To record the convention's metrics once, turn ours off with "
        "llmwatch.configure(semconv='none') or LLMWATCH_SEMCONV=none; ai_* metrics are not concerned"
    )
