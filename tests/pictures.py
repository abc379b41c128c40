"""Draws rows of a dashboard as SVG, from the answers of a Prometheus; as a program it makes the pictures of the README.

It shows what the panels say, not how Grafana paints them.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import grafana
from grafana import Dashboard, View, colour, coloured, legend
from operations import Prometheus
from ops_history import GROWTH, RUNAWAY, THROTTLED, Incident, history, serving
from support import REPOSITORY

FOLDER = REPOSITORY / "examples/pictures"
PICTURES: dict[str, tuple[str, Incident]] = {
    "cost": ("Why did cost move?", GROWTH),
    "tokens": ("Who uses the tokens?", RUNAWAY),
    "limits": ("Are we at the provider's limit?", THROTTLED),
}
"""The rows of the overview, each at an incident that it explains."""

WIDTH, CELL, LINE = 50, 34, 17  # pixels of a column, of a row, of a line of text
COLOURS = {"text": "#ccccdc", "green": "#73bf69", "orange": "#ff9830", "red": "#f2495c"}
PALETTE = ("#73bf69", "#5794f2", "#ff9830", "#b877d9", "#f2cc0c", "#8ab8ff", "#ff7383", "#96d98d")

Box = tuple[float, float, float, float]
Points = list[tuple[float, float]]


def picture(dashboard: Dashboard, row: str, server: Prometheus, view: View) -> str:
    """One row of a dashboard."""
    panels = list(panels_of(dashboard, row))
    top = min(panel["gridPos"]["y"] for panel in panels)
    bottom = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels)
    width, height = 24 * WIDTH, (bottom - top) * CELL + 34
    style = f'font-family="sans-serif" font-size="12" fill="{COLOURS["text"]}"'
    opening = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" {style}>'
    parts = [opening, _rectangle((0, 0, width, height), "#111217"), _text(10, 22, row, size=16)]
    for panel in panels:
        place = panel["gridPos"]
        box = (place["x"] * WIDTH + 3, (place["y"] - top) * CELL + 37, place["w"] * WIDTH - 6, place["h"] * CELL - 6)
        parts.append(_rectangle(box, "#181b1f"))
        parts.append(_text(box[0] + 8, box[1] + 18, dashboard.title(panel), bold=True))
        inside = (box[0] + 8, box[1] + 26, box[2] - 16, box[3] - 32)
        parts += _DRAWN[panel["type"]](dashboard, panel, server, view, inside)
    return "\n".join([*parts, "</svg>\n"])


def panels_of(dashboard: Dashboard, row: str) -> Iterator[dict[str, Any]]:
    """The panels under a heading."""
    inside = False
    for panel in dashboard.content["panels"]:
        if panel["type"] == "row":
            inside = panel["title"] == row
        elif inside:
            yield panel


def shown(value: float, unit: str) -> str:
    """A number as Grafana would write it, in a unit that our panels have."""
    if math.isnan(value):
        return "-"
    if unit == "percentunit":
        return f"{100 * value:.3g} %"
    if unit == "s":
        return f"{1000 * value:.0f} ms" if 0 < abs(value) < 1 else f"{value:.3g} s"
    size, letter = next(
        each for each in ((1e9, "B"), (1e6, "M"), (1e3, "K"), (0.01, ""), (0, "")) if abs(value) >= each[0]
    )
    number = f"{abs(value) / max(size, 1):.3g}" if size else "0"
    before, after = {"currencyUSD": ("$", ""), "reqps": ("", "/s"), "cpm": ("", "/m")}.get(unit, ("", ""))
    return f"{'-' if value < 0 and size else ''}{before}{number}{letter}{after}"


def _numbers(dashboard: Dashboard, panel: dict[str, Any], server: Prometheus, view: View, box: Box) -> Iterator[str]:
    x, y, width, height = box
    unit, steps = (panel["fieldConfig"]["defaults"][name] for name in ("unit", "thresholds"))
    found = dashboard.numbers(server, panel["title"], view) or {"": math.nan}
    across = width > 2 * height or len(found) == 1
    for index, (name, value) in enumerate(found.items()):
        share = index / len(found)
        left, middle = (x + share * width, y + height / 2) if across else (x, y + share * height + 30)
        paint = COLOURS[colour(steps["steps"], value)]
        number = panel["fieldConfig"]["defaults"]["noValue"] if math.isnan(value) else shown(value, unit)
        yield _text(left + 6, middle - 14, name if len(found) > 1 else "")
        yield _text(left + 6, middle + 16, number, size=28, fill=paint)


def _lines(dashboard: Dashboard, panel: dict[str, Any], server: Prometheus, view: View, box: Box) -> Iterator[str]:
    x, y, width, height = box
    defaults = panel["fieldConfig"]["defaults"]
    drawn = [
        (legend(target, series), [(float(at), float(value)) for at, value in series["values"] if value != "NaN"])
        for target in panel["targets"]
        for series in dashboard.ask(server, target, view)
    ]
    drawn = sorted(((name, points) for name, points in drawn if points), key=lambda each: -each[1][-1][1])
    stacked = defaults["custom"].get("stacking", {}).get("mode") == "normal"
    layers = _stacked([points for _, points in drawn]) if stacked else [points for _, points in drawn]
    most = defaults.get("max") or max((value for points in layers for _, value in points), default=1) * 1.05 or 1
    named = drawn[: min(len(drawn), 6)]
    plot = (x + 44, y + 4, width - 50, height - 42 - LINE * len(named))
    yield from _axes(plot, most, defaults["unit"], view)
    for _, steps in coloured(panel):
        for step in steps[1:]:
            if step["value"] <= most:
                at = plot[1] + plot[3] * (1 - step["value"] / most)
                paint = COLOURS[step["color"]]
                yield f'<path d="M{plot[0]} {at:.0f}h{plot[2]}" stroke="{paint}" stroke-dasharray="4"/>'
    for index, points in reversed(list(enumerate(layers))):
        yield _line(points, plot, most, view, PALETTE[index % len(PALETTE)], filled=stacked)
    yield from _legend(named, (x, plot[1] + plot[3] + 44, width, 0), defaults["unit"])


def _stacked(series: Sequence[Points]) -> list[Points]:
    total: dict[float, float] = {}
    layers = []
    for points in series:
        total |= {at: total.get(at, 0) + value for at, value in points}
        layers.append([(at, total[at]) for at, _ in points])
    return layers


def _line(points: Points, plot: Box, most: float, view: View, paint: str, *, filled: bool) -> str:
    x, y, width, height = plot
    places = [
        f"{x + width * (1 - (view.until - at) / view.span):.1f} {y + height * (1 - min(value / most, 1)):.1f}"
        for at, value in points
    ]
    if filled:
        first, last = places[0].partition(" ")[0], places[-1].partition(" ")[0]
        return f'<path d="M{first} {y + height}L{"L".join(places)}L{last} {y + height}z" fill="{paint}"/>'
    return f'<path d="M{"L".join(places)}" stroke="{paint}" stroke-width="1.6" fill="none"/>'


def _axes(plot: Box, most: float, unit: str, view: View) -> Iterator[str]:
    x, y, width, height = plot
    for part in range(4):
        at = y + height * (1 - part / 3)
        yield f'<path d="M{x} {at:.0f}h{width}" stroke="#2c3235"/>'
        yield _text(x - 6, at + 4, shown(most * part / 3, unit), size=10, anchor="end")
    for part in range(3):
        clock = time.strftime("%H:%M", time.gmtime(view.until - view.span * (1 - part / 2)))
        yield _text(x + width * part / 2, y + height + 14, clock, size=10, anchor=("start", "middle", "end")[part])


def _legend(named: Sequence[tuple[str, Points]], box: Box, unit: str) -> Iterator[str]:
    x, y, width, _ = box
    for column, heading in enumerate(("last", "mean", "max")):
        yield _text(x + width - 110 + 55 * column, y - LINE + 4, heading, size=10, anchor="end")
    for index, (name, points) in enumerate(named):
        at = y + LINE * index
        values = [value for _, value in points]
        yield _rectangle((x + 2, at - 8, 10, 3), PALETTE[index % len(PALETTE)])
        room = max(4, int((width - 190) / 6))
        yield _text(x + 18, at - 2, name if len(name) <= room else f"{name[: room - 1]}…", size=11)
        for column, value in enumerate((values[-1], math.fsum(values) / len(values), max(values))):
            yield _text(x + width - 110 + 55 * column, at - 2, shown(value, unit), size=11, anchor="end")


def _table(dashboard: Dashboard, panel: dict[str, Any], server: Prometheus, view: View, box: Box) -> Iterator[str]:
    x, y, width, height = box
    rows = dashboard.rows(server, panel["title"], view)
    units = {
        override["matcher"]["options"]: each["value"]
        for override in panel["fieldConfig"]["overrides"]
        for each in override["properties"]
        if each["id"] == "unit"
    }
    steps = dict(coloured(panel))
    order = panel["transformations"][1]["options"]
    headings = [order["renameByName"][name] for name in sorted(order["indexByName"], key=order["indexByName"].get)]
    lengths = [max(len(heading) + 2, *(len(_cell(row[heading])) for row in rows)) for heading in headings]
    left = [x + width * sum(lengths[:column]) / sum(lengths) for column in range(len(headings))]
    for column, heading in enumerate(headings):
        yield _text(left[column], y + 14, heading, fill="#6e9fff")
        for index, row in enumerate(rows[: int((height - 24) / 24)]):
            value, at = row[heading], y + 38 + 24 * index
            yield f'<path d="M{x} {at + 8}h{width}" stroke="#2c3235"/>' if column == 0 else ""
            if isinstance(value, float):
                paint = COLOURS[colour(steps[heading], value)] if heading in steps else COLOURS["text"]
                yield _text(left[column], at, shown(value, units[heading]), fill=paint)
            else:
                nothing = panel["fieldConfig"]["defaults"]["noValue"] if value is None else "none"
                yield _text(left[column], at, value or nothing)


def _cell(value: object) -> str:
    return f"{value}  " if isinstance(value, str) else ""


_DRAWN = {"stat": _numbers, "timeseries": _lines, "table": _table}


def _rectangle(box: Box, fill: str) -> str:
    return '<rect x="{:.0f}" y="{:.0f}" width="{:.0f}" height="{:.0f}" fill="{}"/>'.format(*box, fill)


def _text(
    x: float, y: float, text: str, *, size: int = 12, fill: str = "", anchor: str = "", bold: bool = False
) -> str:
    marks = f' font-size="{size}"' if size != 12 else ""
    marks += f' fill="{fill}"' if fill else ""
    marks += f' text-anchor="{anchor}"' if anchor else ""
    marks += ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.0f}" y="{y:.0f}"{marks}>{escape(text)}</text>' if text else ""


def main() -> None:
    """Writes the pictures of the README."""
    overview = grafana.load()["llmwatch-overview"]
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, serving(history(Path(folder))) as server:
        for name, (row, incident) in PICTURES.items():
            drawn = picture(overview, row, server, View(incident.ended, incident.ended - incident.began))
            (FOLDER / f"{name}.svg").write_text(drawn, "utf-8", newline="\n")


if __name__ == "__main__":
    main()
