"""Assets: the files of the page, and the charts' script, which another package ships."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

_HERE = Path(__file__).parent / "static"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
}
CHARTS = "live-charts.js"
# plotly.js puts the styles of its maps, which nobody draws here, into the page when it is loaded, unless an element of
# this id is there; the page's Content-Security-Policy allows no such styles.
_STYLED = re.compile(rb'getElementById\("([0-9a-f]{64})"\)\)\{var \w+=document\.createElement\("style"\)')


@dataclass(frozen=True, slots=True)
class Asset:
    """A file.

    Attributes:
        content: All of it.
        content_type: Its media type.
        lasting: Whether it stays the same under its address, which names its version.
    """

    content: bytes
    content_type: str
    lasting: bool = False


def asset(name: str) -> Asset | None:
    """A file of the page, or the charts' script; `None` where the extra `llmwatch[live]` is missing."""
    if name == CHARTS:
        script = _script()
        return Asset(script.read_bytes(), _TYPES[".js"], lasting=True) if script is not None else None
    path = _HERE / name
    return Asset(path.read_bytes(), _TYPES[path.suffix])


@cache
def charts() -> dict[str, Any] | None:
    """Where the charts' script is, and the elements that must be there before it; `None` where it is not installed."""
    script = _script()
    if script is None:
        return None
    content = script.read_bytes()
    version = re.search(rb"plotly\.js v([\w.-]+)", content[:500])
    styled = [found.decode() for found in _STYLED.findall(content)]
    return {"script": f"{CHARTS}?{version[1].decode() if version else ''}", "placeholders": styled}


def _script() -> Path | None:
    """plotly.js, found without importing the package around it."""
    try:
        spec = find_spec("plotly")
    except (ImportError, ValueError):
        return None
    for place in (spec.submodule_search_locations or ()) if spec is not None else ():
        script = Path(place) / "package_data" / "plotly.min.js"
        if script.is_file():
            return script
    return None
