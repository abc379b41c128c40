"""What every test runs with."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
import support

# No deadline: how long an example takes is the machine's affair. In CI every run draws the same examples.
hypothesis.settings.register_profile("llmwatch", deadline=None, derandomize=support.IN_CI)
hypothesis.settings.load_profile("llmwatch")


@pytest.fixture(scope="session")
def corpus() -> Path:
    """The folder of recorded responses, `responses/*.json`."""
    return support.corpus_path()


@pytest.fixture
def hurried() -> Iterator[None]:
    """Threads take turns far more often than they would, so that a race comes to light."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(usual)
