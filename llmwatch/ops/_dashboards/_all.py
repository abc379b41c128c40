"""All dashboards by the names of their files."""

from __future__ import annotations

from llmwatch.ops._dashboards._debug import debug
from llmwatch.ops._dashboards._feature import feature
from llmwatch.ops._dashboards._genai import genai
from llmwatch.ops._dashboards._overview import overview


def texts() -> dict[str, str]:
    """The JSON of each dashboard."""
    made = {"overview": overview(), "feature": feature(), "debug": debug(), "genai": genai()}
    return {f"llmwatch-{name}.json": text for name, text in made.items()}
