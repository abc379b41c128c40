"""Numbers and times as people read them; a no-break space keeps a number beside its unit."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

GLUE = "\N{NO-BREAK SPACE}"
_UNITS = ((86400, "day"), (3600, "h"), (60, "min"), (1, "s"))


def dollars(amount: float) -> str:
    """`$1,234`, `$20.30`, `$0.0042`; a negative one with its sign in front."""
    size = abs(amount)
    if size < 1e-9:
        return "$0"
    sign, digits = "-" if amount < 0 else "", 0 if size >= 1000 else 2 if size >= 0.1 else 4
    return f"{sign}${size:,.{digits}f}" if size >= 0.0001 else f"{sign}<$0.0001"


def count(number: float) -> str:
    """`1,900`, `2.1 M`, `0.4`."""
    size = abs(number)
    if size >= 100_000_000:
        return f"{number / 1e6:,.0f}{GLUE}M"
    if size >= 1_000_000:
        return f"{number / 1e6:.1f}{GLUE}M"
    return f"{number:,.0f}" if size >= 10 or number == round(number) else f"{number:.1f}"


def seconds(amount: float) -> str:
    """`8.3 s`, `27 ms`; minutes from five on."""
    size = abs(amount)
    if size < 0.0005:
        return f"0{GLUE}s"
    if size >= 300:
        return f"{amount / 60:,.0f}{GLUE}min"
    if size >= 10:
        return f"{amount:.0f}{GLUE}s"
    if size >= 1:
        return f"{amount:.1f}{GLUE}s"
    return f"{amount:.2f}{GLUE}s" if size >= 0.1 else f"{1000 * amount:.0f}{GLUE}ms"


def percent(share: float) -> str:
    """`94 %`; below one, with a decimal."""
    points = 100 * share
    return f"{points:.0f}{GLUE}%" if abs(points) >= 1 or points == 0 else f"{points:.1f}{GLUE}%"


def signed(text: str) -> str:
    """With a plus, unless it has a minus."""
    return text if text.startswith("-") else f"+{text}"


def span(length: float) -> str:
    """`1 h`, `26 h`, `40 min`, `3 days`: in the largest unit that leaves no more than a twentieth out."""
    for unit, name in _UNITS:
        whole = round(length / unit)
        # Up to two days people count in hours.
        if whole and abs(whole * unit - length) <= length / 20 and (name != "day" or whole > 2):
            return f"{whole}{GLUE}{name}{'s' if name == 'day' else ''}"
    return f"{length:.0f}{GLUE}s"


def joined(words: Sequence[str]) -> str:
    """`a, b and c`."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def local(time: float) -> datetime:
    """A Unix time where this machine is."""
    return datetime.fromtimestamp(time, UTC).astimezone()


def clock(time: float, near: float) -> str:
    """`07:55`; with its day when that is another one than the day of `near`, with seconds when it has some."""
    when, today = local(time), local(near).date()
    text = f"{when:%H:%M:%S}" if when.second else f"{when:%H:%M}"
    if when.date() == today:
        return text
    return f"{text} on {when:%A}" if near - time < 6 * 86400 else f"{text} on {when:%Y-%m-%d}"


def moment(time: float) -> str:
    """An instant in full, for machines."""
    return local(time).isoformat(timespec="seconds")
