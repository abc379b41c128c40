"""Questions: which time is compared with which, and whose calls."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from llmwatch._explain._numbers import GLUE, local, span

Subject = Literal["cost", "tokens", "latency"]

_DAY = 86400
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": _DAY, "w": 7 * _DAY}
_NAMES = {60: "minute", 3600: "hour", _DAY: "day", 7 * _DAY: "week"}


@dataclass(frozen=True, slots=True)
class Question:
    """A time, the time that it is compared with, and whose calls count.

    Attributes:
        at: Unix time at which the window ends.
        window: Its length, in seconds.
        against: How many seconds earlier the time is that it is compared with.
        only: Values by label that calls must have; `job` is one of the labels.
        is_now: Whether the window ends now, so that the day before is yesterday.
    """

    at: float
    window: int = 3600
    against: int = _DAY
    only: Mapping[str, tuple[str, ...]] = ()  # type: ignore[assignment]
    is_now: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "only", dict(self.only))
        if self.window <= 0 or self.against < self.window:
            raise ValueError("--against must not be shorter than --window: the two times would overlap")

    @property
    def before(self) -> float:
        """Unix time at which the time ends that the window is compared with."""
        return self.at - self.against

    @property
    def per(self) -> tuple[int, str, str]:
        """The unit of rates: its seconds, as it stands behind a number, and as it stands in a sentence."""
        return (3600, "/h", "an hour") if self.window >= 1800 else (60, "/min", "a minute")

    def rate(self, amount: float) -> float:
        """What is added in a window, in the unit of rates."""
        return amount * self.per[0] / self.window

    def instead(self, against: int) -> Question:
        """The same question with another time to compare with."""
        return replace(self, against=against)

    @property
    def base(self) -> str:
        """What the window is compared with, in words: `the same hour yesterday`, `the minute before`."""
        length = _NAMES.get(self.window)
        if self.against == self.window:
            return f"the {length or span(self.window)} before"
        if self.against % _DAY:
            return f"the same time {span(self.against)} earlier"
        return f"the same {length if length == 'hour' else 'time'} {_days_before(self.against // _DAY, self.is_now)}"

    @property
    def hour_of_day(self) -> str:
        """How the times of other days are called that are at this time of the day."""
        return "at this hour" if self.window <= 3600 else "at this time"


def _days_before(days: int, is_now: bool) -> str:
    past = "ago" if is_now else "before"
    known = {1: "yesterday" if is_now else "the day before", 7: f"a week {past}"}
    return known.get(days, f"{days} days {past}")


def duration(text: str) -> int:
    """Seconds of `90s`, `5m`, `1h`, `1d`, `1w`, or several of them in a row.

    Raises:
        ValueError: When it is none.
    """
    found = re.findall(r"(\d+)([smhdw])", text)
    if not found or "".join(number + unit for number, unit in found) != text:
        raise ValueError(f"{text!r} is no length of time such as 90s, 5m, 1h or 1d")
    return sum(int(number) * _SECONDS[unit] for number, unit in found)


def instant(text: str, now: float) -> float:
    """Unix time of `2026-11-24T12:00Z`, of `2026-11-24 12:00` or `12:00` where this machine is, or of a Unix time.

    Raises:
        ValueError: When it is none.
    """
    if re.fullmatch(r"\d{9,11}(\.\d+)?", text):
        return float(text)
    try:
        if re.fullmatch(r"\d{1,2}:\d{2}(:\d{2})?", text):
            hour, minute, *second = map(int, text.split(":"))
            when = local(now).replace(hour=hour, minute=minute, second=second[0] if second else 0, microsecond=0)
            return (when if when.timestamp() <= now else when - timedelta(days=1)).timestamp()
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        raise ValueError(f"{text!r} is no time such as 12:00, 2026-11-24T12:00 or 2026-11-24T12:00Z") from None


def times(question: Question) -> str:
    """Both times in words, for the heading of an answer."""
    began, ended = local(question.at - question.window), local(question.at)
    first = f"{began:%Y-%m-%d %H:%M}" if question.window >= 300 else f"{began:%Y-%m-%d %H:%M:%S}"
    pattern = "%H:%M" if question.window >= 300 else "%H:%M:%S"
    last = f"{ended:{pattern}}" if began.date() == ended.date() else f"{ended:%Y-%m-%d {pattern}}"
    return f"{first} to {last}{GLUE}{ended:%Z}, against {question.base}"
