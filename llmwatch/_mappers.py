"""Mappers: user ids into tiers, long model names into short ones, before anything of them becomes a label."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from llmwatch.attribution import Unusable, label_values
from llmwatch.cardinality import OTHER

if TYPE_CHECKING:
    from llmwatch._shield import Shield

Mapper = Callable[[str], str | None]

_KEPT = 4096  # answers a label, kept until the next collection


class MapperError(Exception):
    """A mapper raised. Its own exception may name the value that it was given, so it is not shown."""


class Mappers:
    """The mappers of all labels, each asked once a value until the next collection.

    Not safe for threads by itself: the recorder asks under its lock.
    """

    def __init__(self, shield: Shield, mappers: Mapping[str, Mapper]) -> None:
        self._shield = shield
        self._mappers = dict(mappers)
        self._answers: dict[str, dict[str, str]] = {label: {} for label in mappers}

    def of(self, label: str, value: str) -> str:
        """What is shown for the value: itself, when the label has no mapper."""
        answers = self._answers.get(label)
        if answers is None or not value:
            return value
        answer = answers.get(value)
        if answer is None:
            if len(answers) >= _KEPT:
                answers.clear()
            answer = answers[value] = self._ask(label, value)
        return answer

    def forget(self) -> None:
        """Forgets all answers: they may be others the next time, and what they were given is somebody's secret."""
        for answers in self._answers.values():
            answers.clear()

    def _ask(self, label: str, value: str) -> str:
        try:
            answer = label_values({label: self._mappers[label](value)}).get(label, "")
        except Exception as error:
            failure = type(error).__name__
        else:
            if isinstance(answer, Unusable):
                self._shield.warn_once("labels", f"the mapper of label {label!r} is of no use: {answer.why}")
            return answer
        # Outside of the `except`, so that no traceback and no context brings the value into a log.
        self._shield.report("mapper", MapperError(f"the mapper of label {label!r} raised {failure}"))
        return OTHER
