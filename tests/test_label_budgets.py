"""Label budgets: what is declared, mapped, folded and listed; and that no reader folds by itself unseen."""

from __future__ import annotations

import gc
import logging
import threading
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from typing import Any

import opentelemetry.sdk.metrics as sdk
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.metrics.view import View
from recording import ERROR_TYPES, MODEL, Collected, Faults, Point, answering, apart, collected, recording

import llmwatch
from llmwatch import Label, _bound, _runtime, attribute, track_request
from llmwatch._mappers import Mappers
from llmwatch._shield import Shield
from llmwatch.cardinality import Budget, Folded
from llmwatch.metrics import GUARD_DECISIONS, RATE_LIMIT_LIMIT, TOOL_CALLS, TOOL_DURATION, Metric


@pytest.fixture(autouse=True)
def faults() -> Iterator[Faults]:
    with apart() as faults:
        yield faults


def call(**labels: Any) -> None:
    with track_request(**labels):
        pass


def successes(found: Collected, label: str) -> dict[str, float]:
    """Successful calls by the values of one label."""
    counts: Counter[str] = Counter()
    for point in found.of("ai_requests", status="success"):
        counts[point.labels.get(label, "")] += int(point.value)
    return {value: count for value, count in counts.items() if count}


def overflow(found: Collected) -> dict[str, float]:
    return {point.labels["label"]: point.value for point in found.of("llmwatch_label_overflow")}


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What llmwatch has logged; what it finds out in a collection it logs on a thread of its own."""
    for thread in threading.enumerate():
        if thread.name == "llmwatch-log":
            thread.join(10)
    return [caplog.handler.format(record) for record in caplog.records if record.name == "llmwatch"]


def report() -> dict[str, Any]:
    return _runtime.current().recorder.label_report()


# --- Declarations


def test_a_value_outside_of_the_declared_ones_is_other_and_counted() -> None:
    _, (reader,) = recording("memory", labels={"tier": Label(["free", "pro"])})
    for tier in ("gold", "pro", "gold", "free"):
        call(tier=tier)
    found = reader.collect()

    assert successes(found, "tier") == {"pro": 1, "free": 1, "other": 2}
    assert overflow(found) == {"tier": 2}


def test_a_label_with_values_and_a_limit_has_room_for_some_more() -> None:
    _, (reader,) = recording("memory", labels={"tier": Label(["free", "pro"], limit=3)})
    for tier in ("gold", "silver", "pro", "gold", "free"):
        call(tier=tier)

    assert successes(reader.collect(), "tier") == {"gold": 2, "other": 1, "pro": 1, "free": 1}


def test_a_limit_among_the_label_limits_wins_over_the_label_s_own() -> None:
    _, (reader,) = recording("memory", labels={"region": Label(limit=5)}, label_limits={"region": 1})
    for region in ("eu", "us"):
        call(region=region)

    assert successes(reader.collect(), "region") == {"eu": 1, "other": 1}


def test_features_agents_and_models_can_be_declared_too() -> None:
    _, (reader,) = recording("memory", labels={"feature": ["chat", "search"], "agent": 1, "model": Label(limit=1)})
    for number in range(3):
        call(feature=f"f{number}", agent=f"a{number}", model=f"m{number}")
    call(feature="chat", agent="a0", model="m0")
    found = reader.collect()

    assert successes(found, "feature") == {"chat": 1, "other": 3}
    assert successes(found, "agent") == {"a0": 2, "other": 2}
    assert successes(found, "model") == {"m0": 2, "other": 2}


@pytest.mark.parametrize(
    ("label", "metric", "name"),
    [
        ("tool", TOOL_CALLS, "ai_tool_calls"),
        ("guard", GUARD_DECISIONS, "ai_guard_decisions"),
        ("account", RATE_LIMIT_LIMIT, "ai_rate_limit_limit"),
    ],
)
def test_labels_beside_the_calls_have_budgets_that_can_be_set(label: str, metric: Metric, name: str) -> None:
    _, (reader,) = recording("memory", label_limits={label: 1})
    for number in range(3):
        _runtime.current().recorder.measured({label: f"value-{number}"}, (metric, 1))

    assert reader.collect().values(name, label) == {"value-0", "other"}


def test_what_happens_beside_the_calls_is_counted_once_however_many_metrics_take_its_label() -> None:
    _, (reader,) = recording("memory", label_limits={"tool": 1, "agent": 1})
    for number in range(3):
        tool, agent = f"tool-{number}", f"agent-{number}"
        labels = {"tool": tool, "gen_ai.tool.name": tool, "agent": agent, "gen_ai.agent.name": agent}
        _runtime.current().recorder.measured(labels, (TOOL_CALLS, 1), (TOOL_DURATION, 0.5))

    assert overflow(reader.collect()) == {"tool": 2, "agent": 2}


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"values": "free"}, "values"),
        ({"values": [1]}, "values"),
        ({"values": [""]}, "values"),
        ({"values": 3}, "values"),
        ({"limit": 0}, "limit"),
        ({"limit": True}, "limit"),
        ({"limit": "3"}, "limit"),
        ({"mapper": "tier_of"}, "mapper"),
    ],
)
def test_a_label_that_cannot_be_meant_is_refused_with_the_reason(given: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=f"^{complaint}: "):
        Label(**given)


# --- Mappers

TIERS = {"user-1": "free", "user-2": "pro", "user-3": "pro"}


def test_a_mapper_turns_what_is_stated_into_what_is_shown() -> None:
    _, (reader,) = recording("memory", labels={"tier": Label(["free", "pro"], mapper=TIERS.get)})
    for user in ("user-1", "user-2", "user-3", "user-9", None, "pro"):
        with attribute(tier=user):
            call()

    assert successes(reader.collect(), "tier") == {"free": 1, "pro": 2, "": 3}


def test_what_a_mapper_gives_is_bounded_like_any_value() -> None:
    labels = {"tier": Label(["free"], mapper=lambda user: user[0]), "team": Label(limit=1, mapper=str.upper)}
    _, (reader,) = recording("memory", labels=labels)
    for user in ("ada", "bob"):
        call(tier=user, team=user)
    found = reader.collect()

    assert successes(found, "tier") == {"other": 2}
    assert successes(found, "team") == {"ADA": 1, "other": 1}
    assert overflow(found) == {"tier": 2, "team": 1}


def test_a_mapper_is_asked_when_somebody_collects_and_once_for_each_value_until_then() -> None:
    asked: list[str] = []
    _, (reader,) = recording("memory", labels={"tier": Label(limit=5, mapper=lambda user: asked.append(user) or "t")})
    for user in ("ada", "bob", "ada", "ada"):
        call(tier=user)
    assert asked == []
    reader.collect()
    assert asked == ["ada", "bob"]
    call(tier="ada")
    reader.collect()

    assert asked == ["ada", "bob", "ada"], "ada may have another tier by now"


def test_a_mapper_keeps_a_bounded_number_of_answers() -> None:
    asked: list[str] = []
    mappers = Mappers(Shield(strict=True), {"tier": lambda user: asked.append(user) or "t"})
    for number in range(20_000):
        mappers.of("tier", f"user-{number}")

    assert len(asked) == 20_000
    assert sum(len(answers) for answers in mappers._answers.values()) < 5000


def test_a_mapper_of_our_own_labels_leaves_prices_as_they_are() -> None:
    labels = {"model": Label(mapper=lambda name: name.split("-20")[0]), "feature": Label(mapper=str.lower)}
    _, (reader,) = recording("memory", labels=labels, semconv="legacy")
    answering(feature="Chat", provider="openai", model=MODEL)()
    found = reader.collect()

    assert successes(found, "model") == {"gpt-4o-mini": 1}
    assert successes(found, "feature") == {"chat": 1}
    # openai.com/api/pricing: 60 input tokens at $0.15 a million, 40 cached ones at $0.075, 20 output tokens at $0.60
    assert found.total("ai_cost_dollars") == pytest.approx((60 * 0.15 + 40 * 0.075 + 20 * 0.60) / 1e6)
    named = found.one("gen_ai.client.operation.duration").labels
    assert (named["gen_ai.request.model"], named["gen_ai.response.model"]) == ("gpt-4o-mini", "gpt-4o-mini")
    assert not any("2024" in value for point in found.points for value in point.labels.values())


def test_a_mapper_that_raises_is_reported_without_what_it_was_given(
    faults: Faults, caplog: pytest.LogCaptureFixture
) -> None:
    faults.expected = {"mapper"}
    caplog.set_level(logging.DEBUG)
    _, (reader,) = recording("memory", labels={"tier": Label(["pro"], mapper=TIERS.__getitem__)})
    for user in ("user-1234567", "user-2"):
        call(tier=user)
    found = reader.collect()

    assert successes(found, "tier") == {"other": 1, "pro": 1}
    assert found.total("llmwatch_internal_errors", where="mapper") == 1
    (message,) = said(caplog)
    assert "mapper of label 'tier' raised KeyError" in message
    assert "1234567" not in message


def test_a_mapper_that_gives_no_label_value_is_reported_once_without_what_it_was_given(
    faults: Faults, caplog: pytest.LogCaptureFixture
) -> None:
    faults.expected = {"labels"}
    _, (reader,) = recording("memory", labels={"tier": Label(limit=5, mapper=lambda user: [user])})  # type: ignore[arg-type, return-value]
    for user in ("user-1234567", "user-7654321"):
        call(tier=user)

    assert successes(reader.collect(), "tier") == {"": 2}
    (message,) = said(caplog)
    assert "mapper of label 'tier'" in message
    assert "1234567" not in message


def test_a_mapper_may_make_calls_itself() -> None:
    def tier_of(user: str) -> str:
        call(feature="look-up")
        return "pro"

    _, (reader,) = recording("memory", labels={"tier": Label(["pro"], mapper=tier_of)})
    call(feature="chat", tier="ada")
    reader.collect()

    assert successes(reader.collect(), "feature") == {"chat": 1, "look-up": 1}


def test_what_a_mapper_was_given_is_listed_nowhere_even_if_it_was_before_there_was_one() -> None:
    provider, (reader,) = recording("memory", labels={"tier": 1})
    for number in range(5):
        call(tier=f"user-{number}")
    assert [value["value"] for value in report()["labels"]["tier"]["values"]] == [f"user-{n}" for n in range(1, 5)]
    llmwatch.configure(meter_provider=provider, labels={"tier": Label(["pro"], mapper=lambda user: user)})
    call(tier="user-9")
    tier = report()["labels"]["tier"]

    assert (tier["folded"], tier["mapped"], tier["values"]) == (5, True, [])
    assert overflow(reader.collect()) == {"tier": 5}


# --- What was folded


def test_a_report_says_what_each_label_has_shown_and_folded() -> None:
    recording("memory", labels={"tier": ["free", "pro"], "region": 3}, label_limits={"feature": 2})
    for feature, times in (("a", 1), ("b", 1), ("c", 3), ("d", 5)):
        for _ in range(times):
            call(feature=feature, tier="gold" if feature == "d" else "free")
    found = report()

    assert found["llmwatch"] == llmwatch.__version__
    assert found["labels"]["feature"] == {
        "limit": 2,
        "declared": [],
        "shown": 2,
        "folded": 8,
        "mapped": False,
        "values": [{"value": "d", "at_least": 5, "at_most": 5}, {"value": "c", "at_least": 3, "at_most": 3}],
    }
    assert found["labels"]["tier"] == {
        "limit": 2,
        "declared": ["free", "pro"],
        "shown": 2,
        "folded": 5,
        "mapped": False,
        "values": [{"value": "gold", "at_least": 5, "at_most": 5}],
    }
    assert set(found["labels"]) == {"feature", "provider", "model", "operation", "agent", "tier", "region"}
    assert (found["labels"]["region"]["shown"], found["labels"]["region"]["folded"]) == (0, 0)
    assert found["series"]["limit"] == 10_000
    assert found["series"]["folded"] == 0
    assert 0 < found["series"]["shown"] < 1000


def test_a_report_takes_nothing_from_a_collection_that_comes_after_it() -> None:
    _, (reader,) = recording("memory")
    answering(feature="chat", provider="openai")()
    report()
    answering(feature="chat", provider="openai")()
    found = reader.collect()

    assert found.total("ai_requests", feature="chat", status="success") == 2
    assert found.count("ai_request_duration", feature="chat") == 2


def test_a_report_needs_no_configuration() -> None:
    call(feature="chat")

    assert report()["labels"]["feature"]["shown"] == 1


def test_what_is_folded_most_is_listed_among_very_many(faults: Faults) -> None:
    folded = Folded()
    for number in range(20_000):
        folded.add(f"once-{number}")
        if not number % 10:
            folded.add("often")
        if not number % 15:
            folded.add("rather often")
    first, second, *others = folded.heaviest()

    assert folded.total == 20_000 + 2000 + 1334
    assert (first.value, second.value) == ("often", "rather often")
    assert first.at_least <= 2000 <= first.at_most
    assert second.at_least <= 1334 <= second.at_most
    assert len(others) == 18


@given(st.lists(st.integers(0, 60)))
def test_the_sample_never_says_less_or_more_than_was_folded(values: list[int]) -> None:
    folded, exact = Folded(), Counter(str(value) for value in values)
    for value in values:
        folded.add(str(value))
    listed = folded.heaviest()

    assert folded.total == len(values)
    assert len(listed) <= 20
    assert all(value.at_least <= exact[value.value] <= value.at_most for value in listed)
    heavy = {value for value, count in exact.items() if count > len(values) / 20}
    assert heavy <= {value.value for value in listed}


def test_a_very_long_value_is_listed_by_its_beginning() -> None:
    folded = Folded()
    folded.add("x" * 100_000)

    (value,) = folded.heaviest()
    assert value.value == "x" * 128 + "…"


def test_a_reconfiguration_keeps_what_is_shown_and_adds_to_what_was_folded() -> None:
    provider, (reader,) = recording("memory", label_limits={"feature": 1})
    for feature in ("a", "b", "b"):
        call(feature=feature)
    llmwatch.configure(meter_provider=provider, label_limits={"feature": 1})
    for feature in ("a", "b", "c"):
        call(feature=feature)
    found = reader.collect()

    assert successes(found, "feature") == {"a": 2, "other": 4}
    assert overflow(found) == {"feature": 4}
    feature = report()["labels"]["feature"]
    assert (feature["shown"], feature["folded"]) == (1, 4)
    assert {value["value"]: value["at_least"] for value in feature["values"]} == {"b": 3, "c": 1}


def test_a_smaller_limit_takes_no_series_from_a_value_that_was_shown() -> None:
    provider, (reader,) = recording("memory")
    for feature in ("a", "b", "c"):
        call(feature=feature)
    reader.collect()
    llmwatch.configure(meter_provider=provider, label_limits={"feature": 1})
    for feature in ("a", "b", "c", "d"):
        call(feature=feature)

    assert successes(reader.collect(), "feature") == {"a": 2, "b": 2, "c": 2, "other": 1}


@pytest.mark.parametrize("limit", [600, 100])
def test_what_was_shown_goes_on_after_a_reconfiguration_without_room(limit: int) -> None:
    provider, (reader,) = recording("memory", label_limits={"series": 600})
    for number in range(90):
        call(feature=f"feature-{number}", agent=f"agent-{number}")
    before = reader.collect()
    llmwatch.configure(meter_provider=provider, label_limits={"series": limit})
    for feature in ("0", "89"):
        call(feature=f"feature-{feature}", agent=f"agent-{feature}")
    after = reader.collect()

    assert before.total("llmwatch_label_overflow", label="series") > 0
    gone_up = {
        (point.name, point.labels["feature"])
        for point in after.points
        if "feature" in point.labels and (point.count or point.value) > (before_of(before, point) or 0)
    }
    for name in ("ai_requests", "ai_request_duration"):
        assert {(name, "feature-0"), (name, "other")} <= gone_up
        assert not any(feature not in ("feature-0", "other") for metric, feature in gone_up if metric == name)
    assert after.total("ai_requests", status="success") == 92
    assert after.count("ai_request_duration") == 92
    assert {point.labels["feature"] for point in before.of("ai_requests")} <= after.values("ai_requests", "feature")


def before_of(found: Collected, point: Point) -> float | None:
    """What a series had in another collection."""
    same = [other for other in found.of(point.name) if other.labels == point.labels]
    return (same[0].count or same[0].value) if same else None


def test_the_series_of_histograms_count_after_a_reconfiguration_too() -> None:
    provider, (reader,) = recording("memory", label_limits=BROAD)
    for turn in range(4):
        for number in range(700):
            call(feature=f"feature-{turn}-{number}")
        found = reader.collect()
        assert cut(found) == []
        llmwatch.configure(meter_provider=provider, label_limits=BROAD)

    assert found.count("ai_request_duration") == 4 * 700


def test_an_overflow_is_said_once_a_label_with_what_to_do_and_without_the_value(
    caplog: pytest.LogCaptureFixture,
) -> None:
    provider, (reader,) = recording("memory", labels={"tier": ["free"]}, label_limits={"feature": 1, "agent": 1})
    for number in range(10):
        call(feature=f"feature-{number}", agent="planner", tier=f"tier-{number}")
    reader.collect()
    llmwatch.configure(meter_provider=provider, labels={"tier": ["free"]}, label_limits={"feature": 1, "agent": 1})
    call(feature="feature-11")
    reader.collect()
    messages = sorted(said(caplog))

    assert len(messages) == 2
    assert all("llmwatch labels" in message for message in messages)
    assert "label_limits={'feature'" in messages[0]
    assert "label 'tier'" in messages[1]
    assert not any("feature-" in message or "tier-" in message for message in messages)


def test_a_model_name_that_cannot_be_encoded_breaks_no_page_even_if_it_has_a_price() -> None:
    budget = Budget(1)
    budget.declare("gpt-4o-\ud800")

    assert budget.admit("gpt-4o-\ud800") == "gpt-4o-?"


# --- The SDK's own limit

BROAD = {"feature": 100_000, "series": 10_000_000}


def cut(found: Collected) -> list[str]:
    """The metrics of which the SDK has folded series by itself."""
    return sorted({point.name for point in found.points if "otel.metric.overflow" in point.labels})


@pytest.mark.parametrize("kind", ["memory", "memory delta", "prometheus"])
@pytest.mark.parametrize("limits", [BROAD, {"feature": 100_000}], ids=["any number of series", "10000 series"])
def test_5000_features_on_a_provider_with_the_sdk_s_limits_lose_nothing(limits: dict[str, int], kind: str) -> None:
    _, (reader,) = recording(kind, label_limits=limits)
    ask = [answering(feature=f"feature-{number}", provider="openai") for number in range(5000)]
    for turn in range(2):
        for answer in ask:
            answer()
        found = reader.collect()
        calls = 5000 * (turn + 1)

        assert cut(found) == []
        assert not any("otel_metric_overflow" in point.labels for point in found.points)
        assert reader.total("ai_requests", status="success") == calls
        assert reader.total("ai_tokens", direction="input") == 100 * calls
        assert reader.count("ai_request_duration") == calls
        assert reader.count("gen_ai.client.operation.duration") == calls
        assert reader.total("llmwatch_label_overflow", label="series") > 4000
        assert reader.total("ai_active_requests") == 0


def test_features_have_series_of_their_own_as_far_as_the_sdk_s_limit_goes() -> None:
    _, (reader,) = recording("memory", label_limits=BROAD)
    for number in range(1000):
        call(feature=f"feature-{number}", provider="openai")
    found = reader.collect()

    assert 300 < len(successes(found, "feature")) < 500, "four a feature, of 2000"
    others = found.of("ai_requests", feature="other", status="success")
    assert {(point.labels["provider"], point.labels["operation"]) for point in others} == {("openai", "chat")}
    assert found.values("ai_errors", "error_type") == set(ERROR_TYPES)


def own_provider(limit: int | None = None, views: tuple[View, ...] = ()) -> tuple[MeterProvider, InMemoryMetricReader]:
    kinds = (sdk.Histogram, sdk.ObservableCounter, sdk.ObservableUpDownCounter, sdk.ObservableGauge)
    limits = None if limit is None else dict.fromkeys(kinds, limit)
    reader = InMemoryMetricReader(cardinality_limits=limits)
    return MeterProvider([reader], views=views, shutdown_on_exit=False), reader


@pytest.mark.parametrize("limit", [20, 40, 100, 500])
def test_a_reader_with_a_limit_of_its_own_is_never_given_more(limit: int) -> None:
    provider, reader = own_provider(limit)
    llmwatch.configure(meter_provider=provider, label_limits=BROAD)
    for number in range(300):
        answering(feature=f"feature-{number}", provider=f"provider-{number % 40}")()
    found = collected(reader.get_metrics_data())
    provider.shutdown()

    assert cut(found) == []
    assert found.total("ai_requests", status="success") + found.total("ai_requests", status="other") >= 300
    assert found.total("ai_requests") == 300
    assert found.total("ai_tokens") == 300 * 120
    assert max(Counter(point.name for point in found.points).values()) <= limit


def test_a_view_s_limit_counts_too() -> None:
    view = View(instrument_name="ai_tokens", aggregation_cardinality_limit=30)
    provider, reader = own_provider(views=(view,))
    llmwatch.configure(meter_provider=provider)
    for number in range(50):
        answering(feature=f"feature-{number}", provider="openai")()
    found = collected(reader.get_metrics_data())
    provider.shutdown()

    assert cut(found) == []
    assert found.total("ai_tokens") == 50 * 120
    assert len(successes(found, "feature")) == 50


def test_readers_with_room_are_given_all() -> None:
    provider, reader = own_provider(100_000)
    llmwatch.configure(meter_provider=provider, label_limits=BROAD)
    for number in range(1000):
        call(feature=f"feature-{number}", provider="openai")
    found = collected(reader.get_metrics_data())
    provider.shutdown()

    assert len(successes(found, "feature")) == 1000
    assert overflow(found) == {}


def test_where_the_sdk_does_not_tell_its_limit_the_specification_s_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    def moved(_: Any) -> Any:
        raise AttributeError("_reader_storages")

    monkeypatch.setattr(_bound, "_matches", moved)
    _, (reader,) = recording("memory", label_limits=BROAD)
    for number in range(1000):
        answering(feature=f"feature-{number}", provider="openai")()
    found = reader.collect()

    assert cut(found) == []
    assert found.total("ai_requests", status="success") == 1000


def test_a_narrower_reader_that_comes_later_is_not_cut_unseen(caplog: pytest.LogCaptureFixture) -> None:
    provider, early = own_provider(100_000)
    llmwatch.configure(meter_provider=provider, label_limits=BROAD)
    for number in range(100):
        call(feature=f"feature-{number}", provider="openai")
    assert overflow(collected(early.get_metrics_data())) == {}
    late = InMemoryMetricReader(cardinality_limits={sdk.ObservableCounter: 50})
    provider.add_metric_reader(late)
    for _ in range(3):
        found = collected(late.get_metrics_data())
    provider.shutdown()

    assert {"ai_requests", "ai_errors"} <= set(cut(found))
    assert found.total("llmwatch_label_overflow", label="series") == len(cut(found))
    assert ["of ai_requests into one series" in message for message in said(caplog)].count(True) == 1


# --- Very many values

VALUES = 100_000
KEPT = 200_000  # bytes that the last 2000 calls may leave behind: 100 each, less than one of their values takes


def test_100_000_features_models_and_labels_stay_within_their_budgets_and_lose_no_token() -> None:
    _, (reader,) = recording("memory", labels={"tenant": 50}, label_limits={"feature": 100, "model": 100})

    def calls(numbers: range) -> None:
        for number in numbers:
            stated: dict[str, Any] = {"feature": f"f-{number}", "model": f"m-{number}", "tenant": f"t-{number}"}
            with track_request(provider="in-house", agent="planner", **stated) as request:
                request.record(input_tokens=number, output_tokens=1)
            if not number % 10_000:
                reader.collect()

    def kept() -> int:
        """Bytes in memory, of what has come since the tracing began."""
        reader.collect()
        reader.history.clear()
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    calls(range(VALUES - 2000))
    tracemalloc.start()
    try:
        before = kept()
        calls(range(VALUES - 2000, VALUES))
        grown = kept() - before
    finally:
        tracemalloc.stop()
    found = reader.collect()

    assert grown < KEPT
    assert cut(found) == []
    shown = {label: len(found.values("ai_requests", label)) for label in ("feature", "model", "tenant")}
    assert shown == {"feature": 101, "model": 101, "tenant": 51}
    assert max(Counter(point.name for point in found.points).values()) <= 101 * len(ERROR_TYPES)
    assert found.values("ai_requests", "provider") == {"in-house"}
    assert found.values("ai_requests", "agent") == {"planner"}
    assert overflow(found) == {"feature": VALUES - 100, "model": VALUES - 100, "tenant": VALUES - 50}
    assert found.total("ai_requests", status="success") == VALUES
    assert found.total("ai_tokens", direction="input") == sum(range(VALUES))
    assert found.total("ai_tokens", direction="output") == VALUES
    assert found.count("ai_request_duration") == VALUES
    labels = report()["labels"]
    assert {label: labels[label]["folded"] for label in shown} == overflow(found)
    assert all(len(labels[label]["values"]) == 20 for label in shown)
