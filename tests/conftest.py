"""What every test runs with."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import hypothesis
import pytest
import support

if TYPE_CHECKING:
    from operations import Prometheus

# No deadline: how long an example takes is the machine's affair. In CI every run draws the same examples.
hypothesis.settings.register_profile("llmwatch", deadline=None, derandomize=support.IN_CI)
hypothesis.settings.load_profile("llmwatch")


@pytest.fixture(scope="module")
def quick_collections() -> Iterator[None]:
    """Takes what other tests and the client libraries have loaded out of the garbage collector's sight."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture
def hurried() -> Iterator[None]:
    """Threads take turns far more often than they would, so that a race comes to light."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(usual)


@pytest.fixture(scope="session")
def nine_days(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A Prometheus with nine days of a shop, in which four things went wrong: see `ops_history`."""
    from ops_history import history, serving

    with serving(history(tmp_path_factory.mktemp("shop"))) as server:
        yield server


@pytest.fixture(scope="session")
def nine_quiet_days(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """The same shop on nine quiet days."""
    from ops_history import history, serving

    with serving(history(tmp_path_factory.mktemp("quiet"), incidents=())) as server:
        yield server
