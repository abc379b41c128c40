"""What every test runs with."""

from __future__ import annotations

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


# --- the runtime: its reset after each test goes here ---
