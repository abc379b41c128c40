"""The conformance kit: whether somebody's extractor keeps the contract, on real responses and on broken ones."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from llmwatch import extractors
from llmwatch.extractors import Accumulator, Extractor, Reading, apply, completed
from llmwatch.usage import Usage

_WRONG: tuple[Any, ...] = (None, "not a number", -1, float("nan"), 10**30, [], {})


def check_extractor(extractor: Extractor, response: Any, expected: Usage) -> None:
    """Checks a function or a path mapping on one response: it reads exactly, and takes broken responses calmly.

    When the response is parsed JSON, each of its values is taken out and replaced by wrong ones in turn.

    Args:
        extractor: What is registered with `register_extractor`.
        response: A real response; it must come out unchanged.
        expected: Its usage, in llmwatch's convention: totals include their parts.

    Raises:
        AssertionError: Saying what the extractor did.
        TypeError: When it is no extractor at all.
    """
    extractors.check_extractor(extractor)
    before = copy.deepcopy(response)
    found = _usage(completed(apply(extractor, response), None, None))
    assert found == expected, f"read {found}, expected {expected}"
    assert response == before, "the extractor changed the response"
    for broken, what in _broken(response):
        _check_calm(partial(apply, extractor, broken), what)


def check_accumulator(accumulator: Callable[[], Accumulator], events: Sequence[Any], expected: Usage) -> None:
    """Checks an accumulator class on the events of one stream: whole, cut short anywhere, and with broken events.

    Raises:
        AssertionError: Saying what the accumulator did.
    """
    whole = _fed(accumulator, events)
    assert _usage(whole) == expected, f"read {_usage(whole)}, expected {expected}"
    assert _usage(_fed(accumulator, events)) == expected, "a second stream read differently: state is shared"
    for length in range(len(events)):
        _check_calm(partial(_fed, accumulator, events[:length]), f"the first {length} events")
    for position, event in enumerate(events):
        for broken, what in _broken(event):
            changed = [*events[:position], broken, *events[position + 1 :]]
            _check_calm(partial(_fed, accumulator, changed), f"event {position} with {what}")


def _fed(accumulator: Callable[[], Accumulator], events: Sequence[Any]) -> Reading | None:
    fresh = accumulator()
    for event in events:
        fresh.add(event)
    return completed(fresh.reading(), None, None)


def _usage(reading: Reading | None) -> Usage | None:
    return None if reading is None else reading.usage


def _check_calm(read: Callable[[], Any], what: str) -> None:
    try:
        completed(read(), None, None)
    except Exception as error:
        raise AssertionError(f"the extractor raised {error!r} for {what}") from error


def _broken(response: Any) -> Iterator[tuple[Any, str]]:
    """The response with one value missing or wrong, for every value in it that is parsed JSON."""
    for path in _paths(response):
        *parents, last = path
        for wrong in (_MISSING, *_WRONG):
            changed = copy.deepcopy(response)
            place = changed
            for step in parents:
                place = place[step]
            if wrong is not _MISSING:
                place[last] = wrong
            else:
                del place[last]
            yield changed, f"{'.'.join(map(str, path))} {'missing' if wrong is _MISSING else f'= {wrong!r}'}"


_MISSING = object()


def _paths(value: Any) -> Iterator[tuple[Any, ...]]:
    steps = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    for step, inner in steps:
        yield (step,)
        for rest in _paths(inner):
            yield (step, *rest)
