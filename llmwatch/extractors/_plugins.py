"""Extractors that other packages ship, through the entry-point group `llmwatch.extractors`."""

from __future__ import annotations

from collections.abc import Callable

GROUP = "llmwatch.extractors"

_loaded = False


def load_plugins(report: Callable[[str, Exception], None]) -> None:
    """Loads each entry point of the group, once in a process.

    An entry point names a module, which registers its extractors when it is imported, or a function without arguments,
    which does so when it is called. One that fails is reported under its name and skipped.
    """
    global _loaded  # noqa: PLW0603 - what has been imported is global too
    if _loaded:
        return
    _loaded = True
    from importlib.metadata import entry_points  # slow to import, and not needed to observe

    for entry in entry_points(group=GROUP):
        try:
            plugin = entry.load()
            if callable(plugin):
                plugin()
        except Exception as error:  # somebody else's package
            report(f"plugin {entry.name}", error)
