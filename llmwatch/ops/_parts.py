"""Parts: the functions that make the files, each from the options alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from llmwatch.ops._alertmanager import alertmanager
from llmwatch.ops._grafana import grafana
from llmwatch.ops._options import Options
from llmwatch.ops._plain import plain

Part = Callable[[Options], Mapping[str, str]]
"""From the options to the text of each file, by its path in the folder that is written."""

PARTS: tuple[Part, ...] = (plain, alertmanager, grafana)
