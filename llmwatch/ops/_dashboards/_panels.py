"""Panels: lines, numbers, tables and heat maps, all of one make, each with everything that a reader needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from string import ascii_uppercase
from typing import Any, Protocol, Self, TypeVar

from grafana_foundation_sdk.builders import common as build
from grafana_foundation_sdk.builders import dashboard as shell
from grafana_foundation_sdk.builders import heatmap as heatmap_panel
from grafana_foundation_sdk.builders import prometheus as query
from grafana_foundation_sdk.builders import stat as stat_panel
from grafana_foundation_sdk.builders import table as table_panel
from grafana_foundation_sdk.builders import timeseries as lines_panel
from grafana_foundation_sdk.models import common, dashboard, heatmap, prometheus, units

DATASOURCE = common.DataSourceRef(type_val="prometheus", uid="${datasource}")
FEATURE_URL = (
    "/d/llmwatch-feature?${__url_time_range}&${datasource:queryparam}&${service:queryparam}&${provider:queryparam}"
    "&${model:queryparam}&${agent:queryparam}&var-feature="
)
"""The way to Feature detail; the variables of declared labels are put in front of the last one."""

Steps = Sequence[tuple[float, str]]
"""From which value on which colour; thresholds stand only where an alert or a limit stands."""
FAILING: Steps = ((0.01, "orange"), (0.05, "red"))
"""An SLO of 99 %, and the alert LLMHighErrorRate."""
USED: Steps = ((0.7, "orange"), (0.9, "red"))
"""The alert LLMRateLimitNear, and the way there."""
REFUSED: Steps = ((0.02, "orange"), (0.1, "red"))
"""The alert LLMThrottled, and the way there."""
TIMES: Steps = ((1.25, "orange"), (2, "red"))
"""A factor that moved by a quarter is worth a look; one that doubled is the answer."""
ANY: Steps = ((1e-9, "red"),)
"""There should be none at all."""


class _Common(Protocol):
    """What the builders of all kinds of panels share."""

    def id(self, id_val: int) -> Self: ...
    def title(self, title: str) -> Self: ...
    def description(self, description: str) -> Self: ...
    def datasource(self, datasource: common.DataSourceRef) -> Self: ...
    def height(self, h: int) -> Self: ...
    def span(self, w: int) -> Self: ...
    def unit(self, unit: str) -> Self: ...
    def thresholds(self, thresholds: Any) -> Self: ...
    def no_value(self, no_value: str) -> Self: ...


_Panel = TypeVar("_Panel", bound=_Common)


def lines(
    number: int,
    title: str,
    says: str,
    queries: Mapping[str, str],
    unit: str,
    *,
    width: int = 8,
    height: int = 8,
    steps: Steps = (),
    stacked: bool = False,
    top: float | None = None,
    to_feature: bool = False,
) -> dashboard.Panel:
    """Lines over time, each query by its legend.

    Args:
        number: The panel's id, which links to it rest on.
        title: What it shows.
        says: How to read it, and what to do about it.
        queries: By their legends.
        unit: Of Grafana's units.
        width: In columns, of which there are 24.
        height: In rows.
        steps: Thresholds, drawn as lines.
        stacked: Whether the lines add up to something.
        top: The greatest value that there can be.
        to_feature: Whether a line belongs to a feature, and links to its details.
    """
    panel = _framed(lines_panel.Panel(), number, title, says, width, height).unit(unit)
    panel.thresholds(_thresholds("green", steps)).color_scheme(_colour("palette-classic-by-name"))
    panel.legend(_legend()).tooltip(_tooltip()).min(0).line_width(1).fill_opacity(30 if stacked else 8)
    panel.show_points(common.VisibilityMode.NEVER).line_interpolation(common.LineInterpolation.LINEAR)
    if stacked:
        panel.stacking(build.StackingConfig().mode(common.StackingMode.NORMAL).group("A"))
    if top is not None:
        panel.max(top)
    if steps:
        style = build.GraphThresholdsStyleConfig().mode(common.GraphThresholdsStyleMode.DASHED)
        panel.thresholds_style(style)
    if to_feature:
        panel.data_links([_link("Details of ${__field.labels.feature}", "${__field.labels.feature:percentencode}")])
    for letter, (legend, expression) in zip(ascii_uppercase, queries.items(), strict=False):
        panel.with_target(_query(letter, expression).legend_format(legend).range())
    return panel.build()


def numbers(
    number: int,
    title: str,
    says: str,
    queries: Mapping[str, str],
    unit: str,
    *,
    width: int = 4,
    height: int = 4,
    steps: Steps = (),
    base: str = "text",
    decimals: int | None = None,
    none: str = "no data",
    drawn: bool = False,
) -> dashboard.Panel:
    """The latest value of each query in large, by its legend; `drawn` over time behind it.

    Without `drawn` a query is asked once, for the whole time range.
    """
    panel = _framed(stat_panel.Panel(), number, title, says, width, height).unit(unit).no_value(none)
    panel.thresholds(_thresholds(base, steps)).color_scheme(_colour("thresholds"))
    panel.reduce_options(build.ReduceDataOptions().calcs(["lastNotNull"]).values(False).fields(""))
    panel.graph_mode(common.BigValueGraphMode.AREA if drawn else common.BigValueGraphMode.NONE)
    panel.color_mode(common.BigValueColorMode.VALUE).justify_mode(common.BigValueJustifyMode.AUTO)
    panel.text_mode(common.BigValueTextMode.AUTO).orientation(common.VizOrientation.AUTO)
    if decimals is not None:
        panel.decimals(decimals)
    for letter, (legend, expression) in zip(ascii_uppercase, queries.items(), strict=False):
        target = _query(letter, expression).legend_format(legend)
        panel.with_target(target.range() if drawn else target.instant())
    return panel.build()


def table(
    number: int,
    title: str,
    says: str,
    labels: Mapping[str, str],
    columns: Mapping[str, tuple[str, str]],
    *,
    width: int = 24,
    height: int = 8,
    steps: Mapping[str, Steps] | None = None,
    none: str = "",
) -> dashboard.Panel:
    """Rows by their labels, the highest in the first column first.

    Args:
        number: The panel's id.
        title: What it shows.
        says: How to read it, and what to do about it.
        labels: The heading of each label.
        columns: By their headings the queries, which leave just these labels, with their units.
        width: In columns, of which there are 24.
        height: In rows.
        steps: Thresholds of columns, shown as the colour of the text.
        none: What stands where there is no value.
    """
    panel = _framed(table_panel.Panel(), number, title, says, width, height).no_value(none)
    panel.thresholds(_thresholds("text", ())).color_scheme(_colour("thresholds")).unit(units.Short)
    panel.cell_height(common.TableCellHeight.SM).filterable(True)
    headings = dict(labels)
    for letter, (heading, (expression, unit)) in zip(ascii_uppercase, columns.items(), strict=False):
        headings[f"Value #{letter}" if len(columns) > 1 else "Value"] = heading
        panel.with_target(_query(letter, expression).format(prometheus.PromQueryFormat.TABLE).instant())
        panel.override_by_name(heading, [_property("unit", unit), *_coloured((steps or {}).get(heading, ()))])
    panel.with_transformation(dashboard.DataTransformerConfig("merge", options={}))
    order = {name: index for index, name in enumerate(headings)}
    options = {"excludeByName": {"Time": True}, "indexByName": order, "renameByName": headings}
    panel.with_transformation(dashboard.DataTransformerConfig("organize", options=options))
    panel.sort_by([build.TableSortByFieldState().display_name(next(iter(columns))).desc(True)])
    for label, heading in labels.items():
        panel.override_by_name(heading, _of_label(label))
    return panel.build()


def heat(number: int, title: str, says: str, expression: str, unit: str, *, width: int = 8) -> dashboard.Panel:
    """A histogram's buckets over time."""
    panel = _framed(heatmap_panel.Panel(), number, title, says, width, 8)
    panel.thresholds(_thresholds("green", ())).calculate(False).hide_legend()
    colour = heatmap_panel.HeatmapColorOptions().scheme("Oranges").steps(64).exponent(0.5)
    panel.color(colour.mode(heatmap.HeatmapColorMode.SCHEME).scale(heatmap.HeatmapColorScale.EXPONENTIAL))
    panel.color(colour.fill("dark-orange").reverse(False))
    panel.y_axis(heatmap_panel.YAxisConfig().unit(unit)).unit(units.RequestsPerSecond)
    target = _query("A", expression).legend_format("{{le}}").format(prometheus.PromQueryFormat.HEATMAP)
    return panel.with_target(target.range()).build()


def _framed(panel: _Panel, number: int, title: str, says: str, width: int, height: int) -> _Panel:
    return panel.id(number).title(title).description(says).datasource(DATASOURCE).span(width).height(height)


def _query(letter: str, expression: str) -> query.Dataquery:
    return query.Dataquery().ref_id(letter).expr(expression).datasource(DATASOURCE)


def _thresholds(base: str, steps: Steps) -> shell.ThresholdsConfig:
    each = [dashboard.Threshold(value=None, color=base), *(dashboard.Threshold(*step) for step in steps)]
    return shell.ThresholdsConfig().mode(dashboard.ThresholdsMode.ABSOLUTE).steps(each)


def _colour(mode: str) -> shell.FieldColor:
    return shell.FieldColor().mode(dashboard.FieldColorModeId(mode))


def _legend() -> build.VizLegendOptions:
    legend = build.VizLegendOptions().display_mode(common.LegendDisplayMode.TABLE).show_legend(True)
    return legend.placement(common.LegendPlacement.BOTTOM).calcs(["lastNotNull", "mean", "max"])


def _tooltip() -> build.VizTooltipOptions:
    return build.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI).sort(common.SortOrder.DESCENDING)


def _property(name: str, value: object) -> dashboard.DynamicConfigValue:
    return dashboard.DynamicConfigValue(id_val=name, value=value)


def _coloured(steps: Steps) -> list[dashboard.DynamicConfigValue]:
    if not steps:
        return []
    cell = common.TableColorTextCellOptions()
    return [_property("thresholds", _thresholds("text", steps).build()), _property("custom.cellOptions", cell)]


def _of_label(label: str) -> list[dashboard.DynamicConfigValue]:
    """An empty label is none; a feature leads to its details."""
    nothing = dashboard.SpecialValueMap(
        dashboard.DashboardSpecialValueMapOptions(
            dashboard.SpecialValueMatch.EMPTY, dashboard.ValueMappingResult(text="none", index=0)
        )
    )
    properties = [_property("mappings", [nothing])]
    if label == "feature":
        properties.append(_property("links", [_link("Details", "${__value.raw:percentencode}").build()]))
    return properties


class _link(shell.DashboardLink):  # noqa: N801
    """A link of a value to Feature detail."""

    def __init__(self, title: str, feature: str) -> None:
        super().__init__(title)
        self.url(FEATURE_URL + feature)
        self._internal.placement = None  # type: ignore[assignment] # it would hide the link in a menu
