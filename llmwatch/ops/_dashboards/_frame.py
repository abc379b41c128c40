"""The frame that all dashboards share: variables, links, annotations, and panels laid out row by row."""

from __future__ import annotations

import json
from collections.abc import Sequence

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard

from llmwatch import metrics
from llmwatch.ops._dashboards._panels import DATASOURCE
from llmwatch.ops._dashboards._promql import JOB

Row = tuple[str, Sequence[dashboard.Panel]]
TAG = "llmwatch"
_ALL = dashboard.VariableOption(text=["All"], value=["$__all"])


def datasource() -> dashboard.VariableModel:
    """Which Prometheus."""
    return dashboard.VariableModel(
        type_val=dashboard.VariableType.DATASOURCE,
        name="datasource",
        label="Data source",
        description="A Prometheus, or what speaks its language.",
        query="prometheus",
        refresh=dashboard.VariableRefresh.ON_DASHBOARD_LOAD,
    )


def choice(name: str, title: str, says: str, series: str, label: str) -> dashboard.VariableModel:
    """Some or all values of a label, of the series that the variables before it have chosen.

    All is `.*`, which finds an empty label too: not every call has a model or an agent.
    """
    return dashboard.VariableModel(
        type_val=dashboard.VariableType.QUERY,
        name=name,
        label=title,
        description=says,
        datasource=DATASOURCE,
        query=f"label_values({series}, {label})",
        definition=f"label_values({series}, {label})",
        refresh=dashboard.VariableRefresh.ON_TIME_RANGE_CHANGED,
        sort=dashboard.VariableSort.ALPHABETICAL_ASC,
        multi=True,
        include_all=True,
        all_value=".*",
        current=_ALL,
    )


def against() -> dashboard.VariableModel:
    """What a span of time is compared with."""
    spans = {"yesterday": "1d", "last week": "1w"}
    return dashboard.VariableModel(
        type_val=dashboard.VariableType.CUSTOM,
        name="against",
        label="Compare with",
        description="The same time of the day, so long ago.",
        query=", ".join(f"{text} : {value}" for text, value in spans.items()),
        options=[
            dashboard.VariableOption(text=text, value=value, selected=value == "1d") for text, value in spans.items()
        ],
        current=dashboard.VariableOption(text="yesterday", value="1d"),
        allow_custom_value=False,
    )


def variables(*, compares: bool) -> list[dashboard.VariableModel]:
    """Data source, service, and the labels of calls, each chosen among what those before it leave."""
    calls, chosen = metrics.REQUESTS.prometheus, JOB
    found = [
        datasource(),
        choice("service", "Service", "The job of Prometheus.", metrics.BUILD_INFO.prometheus, "job"),
    ]
    for name, title, says in (
        ("provider", "Provider", "Whose models are called."),
        ("feature", "Feature", "Which part of the application calls."),
        ("model", "Model", "Which model answered."),
        ("agent", "Agent", "For which agent the call is; All includes calls for none."),
    ):
        found.append(choice(name, title, says, f"{calls}{{{chosen}}}", name))
        chosen += f',{name}=~"${name}"'
    return [*found, against()] if compares else found


def frame(
    uid: str,
    title: str,
    says: str,
    rows: Sequence[Row],
    variables: Sequence[dashboard.VariableModel],
    *,
    since: str = "now-6h",
) -> str:
    """A dashboard's JSON.

    Args:
        uid: What links to it name; it never changes.
        title: Its title.
        says: What it is for.
        rows: Questions, each with the panels that answer it.
        variables: In the order in which they are chosen.
        since: The time range that it opens with, to now.
    """
    whole = dashboard.Dashboard(
        uid=uid,
        title=title,
        description=says,
        tags=[TAG],
        editable=False,
        graph_tooltip=dashboard.DashboardCursorSync.CROSSHAIR,
        time=dashboard.DashboardDashboardTime(from_val=since, to="now"),
        refresh="1m",
        panels=_laid_out(rows),
        templating=dashboard.DashboardDashboardTemplating(list_val=list(variables)),
        annotations=dashboard.AnnotationContainer(list_val=_annotations()),
        links=[_links()],
        version=1,
    )
    return json.dumps(whole, cls=JSONEncoder, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _laid_out(rows: Sequence[Row]) -> list[dashboard.Panel | dashboard.RowPanel]:
    """The panels from left to right, under the heading of their row; ids of rows are 100 and more."""
    placed: list[dashboard.Panel | dashboard.RowPanel] = []
    y = 0
    for number, (question, panels) in enumerate(rows, 101):
        place = dashboard.GridPos(x=0, y=y, w=24, h=1)
        placed.append(dashboard.RowPanel(title=question, id_val=number, grid_pos=place))
        x, y, height = 0, y + 1, 0
        for panel in panels:
            assert panel.grid_pos is not None
            if x + panel.grid_pos.w > 24:
                x, y, height = 0, y + height, 0
            panel.grid_pos.x, panel.grid_pos.y = x, y
            x, height = x + panel.grid_pos.w, max(height, panel.grid_pos.h)
            placed.append(panel)
        y += height
    return placed


def _annotations() -> list[dashboard.AnnotationQuery]:
    """Alerts that fire, and changes of what runs."""
    build = f"llmwatch_build_info{{{JOB}}}"
    calls = f"{metrics.REQUESTS.prometheus}{{{JOB}}}"
    return [
        _annotation(
            "Alerts",
            "red",
            f'ALERTS{{alertstate="firing",alertname=~"LLM.+",{JOB}}}',
            "{{alertname}}",
            "{{feature}} {{provider}} {{agent}}",
            tags="severity,topic",
        ),
        _annotation(
            "Versions",
            "blue",
            f"group by (job, version, price_table) ({build})\n"
            f"unless group by (job, version, price_table) ({build} offset 10m)",
            "{{job}}: llmwatch {{version}}",
            "price table {{price_table}}",
        ),
        _annotation("Restarts", "purple", f"sum by (job) (resets({calls}[5m])) > 0", "{{job}} restarted", ""),
    ]


def _annotation(
    name: str, colour: str, expression: str, title: str, text: str, tags: str = ""
) -> dashboard.AnnotationQuery:
    made = dashboard.AnnotationQuery(
        name=name,
        datasource=DATASOURCE,
        icon_color=colour,
        expr=expression,
        title_format=title,
        text_format=text,
        tag_keys=tags,
        step="60s",
    )
    made.placement = None  # type: ignore[assignment] # it would hide the switch in a menu
    return made


def _links() -> dashboard.DashboardLink:
    """To the other dashboards, with the time and what is chosen."""
    link = dashboard.DashboardLink(
        title="llmwatch",
        type_val=dashboard.DashboardLinkType.DASHBOARDS,
        icon="external link",
        tooltip="The same time and choice, elsewhere",
        tags=[TAG],
        include_vars=True,
        keep_time=True,
    )
    link.placement = None  # type: ignore[assignment] # it would hide the links in a menu
    return link
