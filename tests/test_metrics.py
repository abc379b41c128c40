"""The catalogue, against the tables of the design page and of the GenAI convention, written out by hand."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import get_args

import pytest
from recording import AGENTS, ALL, CONVENTION_SECONDS, CONVENTION_TOKENS, DECLARABLE, LATEST, LEGACY, OURS

from llmwatch import metrics
from llmwatch.metrics import CATALOGUE, Metric

every_metric = pytest.mark.parametrize("metric", CATALOGUE, ids=lambda metric: metric.name)
histograms = pytest.mark.parametrize(
    "metric", [metric for metric in CATALOGUE if metric.kind == "histogram"], ids=lambda metric: metric.name
)


def test_no_metric_is_declared_twice() -> None:
    assert len({metric.name for metric in CATALOGUE}) == len(CATALOGUE)
    assert len({metric.prometheus for metric in CATALOGUE}) == len(CATALOGUE)


def test_every_metric_that_is_promised_is_in_the_catalogue() -> None:
    promised = set(ALL)

    assert promised - {metric.name for metric in CATALOGUE} == set()


def test_nothing_is_in_the_catalogue_that_is_not_promised() -> None:
    assert {metric.name for metric in CATALOGUE} - set(ALL) == set()


@every_metric
def test_a_metric_has_the_kind_unit_and_labels_of_the_design_page(metric: Metric) -> None:
    row = ALL[metric.name]

    assert metric.kind == row.kind
    assert metric.labels == row.labels
    assert row.unit is None or metric.unit == row.unit


@every_metric
def test_a_metric_knows_its_name_in_prometheus(metric: Metric) -> None:
    assert metric.prometheus == ALL[metric.name].prometheus
    assert metric.prometheus_labels == tuple(label.replace(".", "_") for label in ALL[metric.name].labels)


@every_metric
def test_declared_labels_stand_behind_the_call_labels_and_nowhere_else(metric: Metric) -> None:
    assert metric.call == (metric.name in DECLARABLE)


@every_metric
def test_names_and_units_are_what_opentelemetry_and_prometheus_allow(metric: Metric) -> None:
    assert re.fullmatch(r"[a-zA-Z][-a-zA-Z0-9_./]{0,254}", metric.name)
    assert metric.name == metric.name.lower()
    assert len(metric.unit) <= 63
    assert re.fullmatch(r"s|\{[A-Za-z_]+\}", metric.unit), "any other unit becomes part of the name in Prometheus"
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", label) for label in metric.prometheus_labels)
    assert len(set(metric.prometheus_labels)) == len(metric.labels)


@every_metric
def test_a_description_is_one_sentence(metric: Metric) -> None:
    assert re.fullmatch(r"[A-Z0-9][^.]*(\.\d[^.]*)*\.", metric.description)


@histograms
def test_buckets_are_rising_floats(metric: Metric) -> None:
    assert metric.buckets
    assert all(type(bound) is float for bound in metric.buckets)
    assert all(lower < upper for lower, upper in pairwise(metric.buckets))


def test_only_histograms_have_buckets() -> None:
    assert [metric.name for metric in CATALOGUE if metric.buckets and metric.kind != "histogram"] == []


def test_the_buckets_of_a_request_go_from_10_milliseconds_to_600_seconds() -> None:
    assert metrics.REQUEST_DURATION.buckets[0] == 0.01
    assert metrics.REQUEST_DURATION.buckets[-1] == 600.0


def test_the_convention_prescribes_its_buckets() -> None:
    theirs = [metric for metric in CATALOGUE if metric.kind == "histogram" and metric.name in LEGACY | LATEST]

    assert len(theirs) == 9
    assert {metric.buckets for metric in theirs if metric.unit == "{token}"} == {CONVENTION_TOKENS}
    assert {metric.buckets for metric in theirs if metric.unit == "s"} == {CONVENTION_SECONDS}


def test_the_convention_prescribes_its_buckets_for_agents_and_tools() -> None:
    buckets = {metric.name: metric.buckets for metric in CATALOGUE if metric.name in AGENTS}

    assert buckets == {
        "gen_ai.invoke_agent.duration": tuple(0.1 * 2**power for power in range(13)),
        "gen_ai.invoke_agent.inference_calls": (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0),
        "gen_ai.invoke_agent.tool_calls": (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0),
        "gen_ai.execute_tool.duration": CONVENTION_SECONDS,
    }


@pytest.mark.parametrize(
    ("semconv", "convention"),
    [
        ("legacy", {*LEGACY, *AGENTS}),
        ("latest", {*LATEST, *AGENTS}),
        ("both", {*LEGACY, *LATEST, *AGENTS}),
        ("none", set()),
    ],
)
def test_the_convention_switch_chooses_between_the_two_generations(
    semconv: metrics.Semconv, convention: set[str]
) -> None:
    chosen = {metric.name for metric in metrics.enabled(semconv)}

    assert {name for name in chosen if name.startswith("gen_ai.")} == convention
    assert set(OURS) <= chosen


def test_the_switch_has_four_positions() -> None:
    assert set(get_args(metrics.Semconv)) == {"legacy", "latest", "both", "none"}
