"""The budget of each label, and what a program with too many values still shows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from recording import MODEL, REPLY, Faults, Reader, answering, apart, recording

import llmwatch
from llmwatch import track_request
from llmwatch.cardinality import Budget, Budgets


@pytest.fixture(autouse=True)
def faults() -> Iterator[Faults]:
    with apart() as faults:
        yield faults


def call(**labels: Any) -> None:
    with track_request(**labels):
        pass


def successes(reader: Reader, label: str) -> dict[str, float]:
    """Successful calls by the values of one label."""
    found: dict[str, float] = {}
    for point in reader.collect().of("ai_requests", status="success"):
        if point.value:
            found[point.labels[label]] = found.get(point.labels[label], 0) + point.value
    return found


# --- One label


def test_a_budget_gives_its_places_to_the_first_who_come() -> None:
    budget = Budget(2)

    assert [budget.admit(value) for value in ("a", "b", "c", "d")] == ["a", "b", "other", "other"]


def test_a_value_that_was_shown_once_is_shown_for_ever() -> None:
    budget = Budget(2)
    budget.admit("a")
    for number in range(100):
        budget.admit(f"value-{number}")

    assert budget.admit("a") == "a"


def test_declared_values_keep_their_place_however_many_others_come_first() -> None:
    budget = Budget(3, declared=["pro", "free"])

    assert [budget.admit(value) for value in ("x", "y", "pro", "free")] == ["x", "other", "pro", "free"]


def test_no_value_and_other_itself_take_no_place() -> None:
    budget = Budget(1)

    assert [budget.admit(value) for value in ("", "other", "a", "b", "")] == ["", "other", "a", "other", ""]


def test_a_value_of_thousands_of_characters_is_other() -> None:
    assert Budget(10).admit("x" * 5000) == "other"


@pytest.mark.parametrize(
    ("label", "limit"), [("feature", 100), ("agent", 100), ("model", 100), ("provider", 30), ("anything", 50)]
)
def test_a_label_has_a_budget_even_when_nobody_sets_one(label: str, limit: int) -> None:
    budget = Budgets().of(label)

    assert sum(budget.admit(f"value-{number}") != "other" for number in range(1000)) == limit


def test_all_series_together_are_limited_to_10_000_unless_configured() -> None:
    assert Budgets().series == 10_000
    assert Budgets({"series": 5}).series == 5


# --- Labels in a program


def test_beyond_its_budget_a_label_says_other_and_its_neighbours_keep_their_values() -> None:
    _, (reader,) = recording("memory", label_limits={"feature": 2})
    for feature in ("a", "b", "c", "d", "a"):
        call(feature=feature, provider="openai", model="gpt-4o-mini", agent=f"agent of {feature}")
    found = reader.collect()

    assert successes(reader, "feature") == {"a": 2, "b": 1, "other": 2}
    others = found.of("ai_requests", feature="other", status="success")
    assert {(point.labels["provider"], point.labels["model"]) for point in others} == {("openai", "gpt-4o-mini")}
    assert {point.labels["agent"] for point in others} == {"agent of c", "agent of d"}
    assert found.total("ai_active_requests") == 0


def test_an_overflow_is_counted_once_a_call_under_its_label() -> None:
    _, (reader,) = recording("memory", label_limits={"feature": 1})
    for feature in ("a", "b", "c", "a"):
        call(feature=feature, provider="openai", model="gpt-4o-mini")
    found = reader.collect()

    assert {point.labels["label"]: point.value for point in found.of("llmwatch_label_overflow")} == {"feature": 2}


@pytest.mark.parametrize("label", ["feature", "provider", "model", "operation", "agent"])
def test_each_label_has_a_budget_of_its_own(label: str) -> None:
    _, (reader,) = recording("memory", label_limits={label: 1})
    for value in ("a", "b", "c"):
        call(**{label: value})

    assert successes(reader, label) == {"a": 1, "other": 2}
    assert reader.collect().values("llmwatch_label_overflow", "label") == {label}


def test_a_declared_label_shows_its_declared_values_and_other() -> None:
    _, (reader,) = recording("memory", labels={"tier": ["free", "pro"]})
    for tier in ("gold", "pro", "free", "silver", "pro"):
        call(feature="chat", tier=tier)

    assert successes(reader, "tier") == {"pro": 2, "free": 1, "other": 2}
    assert reader.collect().total("llmwatch_label_overflow", label="tier") == 2


def test_a_label_that_is_declared_with_a_number_takes_so_many_values() -> None:
    _, (reader,) = recording("memory", labels={"region": 2})
    for region in ("eu", "us", "asia", "eu"):
        call(feature="chat", region=region)

    assert successes(reader, "region") == {"eu": 2, "us": 1, "other": 1}


def test_a_priced_model_has_its_place_beside_the_budget() -> None:
    _, (reader,) = recording("memory", label_limits={"model": 2})
    for number in range(5):
        answering({**REPLY, "model": f"model-{number}"}, provider="openai")()
    answering(provider="openai")()

    assert successes(reader, "model") == {"model-0": 1, "model-1": 1, "other": 3, MODEL: 1}


def test_a_label_that_nobody_declared_is_left_out_and_reported(faults: Faults) -> None:
    faults.expected = {"labels"}
    _, (reader,) = recording("memory")
    call(feature="chat", team="search")
    found = reader.collect()

    assert found.total("ai_requests", feature="chat", status="success") == 1
    assert all("team" not in point.labels for point in found.points)
    assert found.total("llmwatch_internal_errors", where="labels") == 1


def test_a_label_that_nobody_declared_is_reported_for_calls_that_are_known_otherwise_too(faults: Faults) -> None:
    faults.expected = {"labels"}
    _, (reader,) = recording("memory")
    call(feature="chat")
    reader.collect()
    with llmwatch.attribute(team="search"):
        call(feature="chat")
    found = reader.collect()

    assert found.total("llmwatch_internal_errors", where="labels") == 1


def test_a_reconfiguration_keeps_the_values_that_were_shown_and_gives_no_second_budget() -> None:
    provider, (reader,) = recording("memory", label_limits={"feature": 2})
    for feature in ("a", "b", "c"):
        call(feature=feature)
    reader.collect()
    for turn in range(3):
        llmwatch.configure(meter_provider=provider, label_limits={"feature": 2})
        call(feature=f"new-{turn}")
        call(feature="b")

    assert successes(reader, "feature") == {"a": 1, "b": 4, "other": 4}


# --- Very many values


def test_20_000_features_make_101_values_and_lose_no_call() -> None:
    _, (reader,) = recording("memory")
    for number in range(20_000):
        call(feature=f"feature-{number}", provider="openai", model="gpt-4o-mini")
    found = reader.collect()
    shown = successes(reader, "feature")

    assert len(shown) == 101
    assert shown["other"] == 20_000 - 100
    assert sum(shown.values()) == 20_000
    assert found.count("ai_request_duration") == 20_000
    assert found.total("llmwatch_label_overflow", label="feature") >= 20_000 - 100
    assert len(found.points) < 10_000
