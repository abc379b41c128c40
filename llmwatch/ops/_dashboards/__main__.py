"""Writes the dashboards' JSON to where it ships."""

from __future__ import annotations

from pathlib import Path

from llmwatch.ops._dashboards._all import texts

FOLDER = Path(__file__).parents[1] / "files/grafana/dashboards"


def main() -> None:
    """Replaces the files."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in texts().items():
        (FOLDER / name).write_text(text, "utf-8", newline="\n")


if __name__ == "__main__":
    main()
