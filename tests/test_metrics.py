"""The catalogue, against the tables of the design page and of the GenAI convention, written out by hand."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import get_args

import pytest
from recording import ALL, CONVENTION_SECONDS, CONVENTION_TOKENS, DECLARABLE, LATEST, LEGACY, OURS

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
    promised = {name for name, row in ALL.items() if not row.later}

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
    assert re.fullmatch(r"s|\{[A-Za-z]+\}", metric.unit), "any other unit becomes part of the name in Prometheus"
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
    theirs = [metric for metric in CATALOGUE if metric.kind == "histogram" and metric.name not in OURS]

    assert len(theirs) == 9
    assert {metric.buckets for metric in theirs if metric.unit == "{token}"} == {CONVENTION_TOKENS}
    assert {metric.buckets for metric in theirs if metric.unit == "s"} == {CONVENTION_SECONDS}


@pytest.mark.parametrize(
    ("semconv", "convention"),
    [("legacy", set(LEGACY)), ("latest", set(LATEST)), ("both", {*LEGACY, *LATEST}), ("none", set())],
)
def test_the_convention_switch_chooses_between_the_two_generations(
    semconv: metrics.Semconv, convention: set[str]
) -> None:
    chosen = {metric.name for metric in metrics.enabled(semconv)}

    assert {name for name in chosen if name.startswith("gen_ai.")} == convention
    assert {name for name in OURS if not OURS[name].later} <= chosen


def test_the_switch_has_four_positions() -> None:
    assert set(get_args(metrics.Semconv)) == {"legacy", "latest", "both", "none"}
