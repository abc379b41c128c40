"""The pytest plugin: a test's calls, and a clock that is moved by hand; nothing is loaded before one is used."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from llmwatch.testing import Calls, ManualClock


@pytest.fixture
def llmwatch_calls() -> Iterator[Calls]:
    """All calls that are observed in the test, and all that were begun before it and end in it.

    They are recorded here and nowhere else: what the program has configured is put away for the test, but for its
    prices. A test that calls `configure()` itself records where it says, and here too.
    """
    from llmwatch.testing._fixtures import calls

    with calls() as found:
        yield found


@pytest.fixture
def llmwatch_clock() -> Iterator[ManualClock]:
    """The clock that calls are timed by: it stands still until `advance(seconds)`."""
    from llmwatch.testing._fixtures import clock

    with clock() as stopped:
        yield stopped
