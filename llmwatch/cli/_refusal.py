"""Why a command cannot be run."""

from __future__ import annotations


class RefusalError(Exception):
    """A command cannot be run, for this reason: one line for whoever gave it."""
