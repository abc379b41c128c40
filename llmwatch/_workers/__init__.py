"""Many workers, one page: what every process of an application counts, on the page of whichever is scraped."""

from __future__ import annotations

import atexit
import os
import sys
import threading
from collections.abc import Callable, Hashable
from contextlib import suppress
from typing import Any

from llmwatch._workers._folder import Folder, folder_of
from llmwatch._workers._team import Team
from llmwatch._workers._totals import Totals, collected, counted
from llmwatch._workers._turn import Served, Turn

__all__ = ["Folder", "Served", "Team", "Totals", "Turn", "collected", "counted", "dismiss", "folder_of", "join"]

_present: set[Team] = set()
_watched = threading.Event()


def join(
    folder: Folder,
    collect: Callable[[], Totals],
    changes: Callable[[], Hashable | None],
    report: Callable[[Exception], None],
) -> Team:
    """This process joins the workers that meet in a folder, until it ends; `Team.start` lets it write.

    Args:
        folder: Where they meet.
        collect: Collects what this process has.
        changes: Something that is another whenever there is something new here; `None` when only collecting can tell.
        report: Takes what goes wrong.
    """
    team = Team(folder, collect, changes, report)
    _present.add(team)
    _watch()
    team.worker.appear()
    return team


def dismiss(team: Team, *, moved: bool = False) -> None:
    """This process leaves them.

    Args:
        team: Whom it leaves.
        moved: Whether its counters have moved elsewhere; otherwise all that it has counted stays with them.
    """
    _present.discard(team)
    if moved:
        team.leave("histogram")
    else:
        team.worker.close()


def _watch() -> None:
    if not _watched.is_set():
        _watched.set()
        atexit.register(_dismiss_all)
        os.register_at_fork(after_in_child=_abandon_all)
    # Children of these leave without the handlers of `atexit`, and forget at their start what was registered before.
    for name in ("multiprocessing.util", "billiard.util"):
        util: Any = sys.modules.get(name)
        if util is not None:
            util.Finalize(None, _dismiss_all, exitpriority=100)
    signals: Any = sys.modules.get("celery.signals")
    if signals is not None:  # its pool kills a child that has done its tasks
        signals.worker_process_shutdown.connect(_flush_all, weak=False, dispatch_uid="llmwatch")


def _flush_all(**_: object) -> None:
    for team in [*_present]:
        team.worker.flush()


def _dismiss_all() -> None:
    for team in [*_present]:
        with suppress(Exception):
            dismiss(team)


def _abandon_all() -> None:
    for team in _present:
        team.worker.abandon()
    _present.clear()
