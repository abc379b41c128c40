"""The pictures of the README: drawn from what the panels answer, at the incidents that they are to explain."""

from __future__ import annotations

from xml.etree import ElementTree

import grafana
import pictures
import pytest
from grafana import View
from operations import Prometheus


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(svg).iter() if element.tag.endswith("text")]


@pytest.mark.parametrize("name", pictures.PICTURES)
def test_a_picture_has_every_panel_of_its_row_and_names_the_cause(name: str, nine_days: Prometheus) -> None:
    row, incident = pictures.PICTURES[name]
    overview = grafana.load()["llmwatch-overview"]
    drawn = pictures.picture(overview, row, nine_days, View(incident.ended))
    said = texts(drawn)

    assert [panel for panel in pictures.panels_of(overview, row) if overview.title(panel) not in said] == []
    assert {incident.agent or incident.feature, incident.model} & set(said) or incident.provider in said


@pytest.mark.parametrize("name", pictures.PICTURES)
def test_the_picture_that_ships_is_of_the_row_as_it_is(name: str) -> None:
    shipped = (pictures.FOLDER / f"{name}.svg").read_text("utf-8")
    overview = grafana.load()["llmwatch-overview"]
    titles = {overview.title(panel) for panel in pictures.panels_of(overview, pictures.PICTURES[name][0])}

    assert titles <= set(texts(shipped)), "python tests/pictures.py draws it anew"
    assert len(shipped) < 100_000


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (0.25, "percentunit", "25 %"),
        (0.212, "s", "212 ms"),
        (40.7, "s", "40.7 s"),
        (1234.5, "short", "1.23K"),
        (-19.54, "currencyUSD", "-$19.5"),
        (0.001, "currencyUSD", "$0"),
        (3.2, "reqps", "3.2/s"),
        (float("nan"), "short", "-"),
    ],
)
def test_numbers_are_written_in_their_unit(value: float, unit: str, expected: str) -> None:
    assert pictures.shown(value, unit) == expected
