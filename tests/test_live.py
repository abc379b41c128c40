"""The live page's numbers: those of /metrics, Prometheus' quantiles, and a last hour in a fixed number of places."""

from __future__ import annotations

import gzip
import http.client
import json
import random
import subprocess
import sys
import time
import zipfile
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from recording import MODEL, REPLY, Collected, Faults, answering, apart, parsed
from serving import Program, free_port, get, until
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient
from support import REPOSITORY, built_wheel, require
from test_fork import run

import llmwatch
from llmwatch import _runtime, metrics
from llmwatch.exposition import asgi_app, wsgi_app
from llmwatch.live import Live, quantile
from llmwatch.live import _assets as assets
from llmwatch.live._history import History
from llmwatch.live._remedies import remedy
from llmwatch.testing import ManualClock

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
CURL = "*/*"
PROMETHEUS = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1000.0)


@pytest.fixture(autouse=True)
def faults(monkeypatch: pytest.MonkeyPatch, clock: ManualClock) -> Iterator[Faults]:
    for variable in ("LLMWATCH_PORT", "LLMWATCH_LIVE", "OTEL_SERVICE_NAME", "OTEL_EXPORTER_PROMETHEUS_PORT"):
        monkeypatch.delenv(variable, raising=False)
    with apart(clock) as faults:
        yield faults


def ask(port: int, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
    """One request; status, headers and body of its answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def shown(port: int) -> dict[str, Any]:
    """What the live page is given."""
    status, headers, body = ask(port, "/live.json")
    assert (status, headers["content-type"]) == (200, "application/json")
    found: dict[str, Any] = json.loads(body)
    return found


def metrics_page(port: int) -> tuple[str, Collected]:
    text = ask(port, "/metrics")[2].decode()
    return text, parsed(text)


def calls(clock: ManualClock) -> None:
    """Of all kinds: with tokens and without, priced and not, failed and open."""

    @llmwatch.observe_llm(feature="chat", provider="openai")
    def chat(seconds: float) -> Any:
        clock.advance(seconds)
        return REPLY

    for seconds in (0.02, 0.3, 0.3, 1.4, 2.2, 9.0):
        chat(seconds)
    with llmwatch.attribute(agent="researcher"):
        chat(0.7)
    answering({**REPLY, "model": "nobody-s-model"}, feature="own", provider="mine")()
    answering({key: value for key, value in REPLY.items() if key != "usage"}, feature="search", provider="openai")()
    for feature, error in (
        ("chat", TimeoutError("late")),
        ("search", ConnectionError("gone")),
        ("chat", TimeoutError()),
    ):
        with pytest.raises(type(error)):
            answering(error, feature=feature, provider="openai", model=MODEL)()
    with llmwatch.track_request(feature="chat", provider="openai", model=MODEL) as request:
        for _ in request.stream(stream(clock)):
            pass
    recorder = _runtime.current().recorder
    labels = {"provider": "openai", "account": "main", "model": MODEL, "resource": "requests"}
    recorder.measured(labels, (metrics.RATE_LIMIT_LIMIT, 500), (metrics.RATE_LIMIT_REMAINING, 125))


def stream(clock: ManualClock) -> Iterator[dict[str, Any]]:
    for text in ("To ", "the ", "left."):
        clock.advance(0.4)
        delta = {"index": 0, "delta": {"content": text}, "finish_reason": None}
        yield {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": MODEL, "choices": [delta]}
    yield {
        "id": "1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": MODEL,
        "choices": [],
        "usage": REPLY["usage"],
    }


# --- The same numbers as /metrics


def assert_equal_to_metrics(document: dict[str, Any], page: Collected) -> None:
    """What is said of a young process, whose first hour is all that it has counted."""
    total = document["total"]
    assert total["requests"] == page.total("ai_requests") > 0
    assert total["errors"] == page.total("ai_requests", status="error")
    assert total["stopped"] == page.total("ai_requests", status="cancelled") + page.total(
        "ai_requests", status="abandoned"
    )
    assert total["input"] == page.total("ai_tokens", direction="input") > 0
    assert total["output"] == page.total("ai_tokens", direction="output") > 0
    assert total["dollars"] == pytest.approx(page.total("ai_cost_dollars"), rel=1e-12)
    assert total["dollars"] > 0
    assert document["active"] == page.total("ai_active_requests")
    for dimension, rows in document["tables"].items():
        seen = {point.labels[dimension] for point in page.of("ai_requests") if point.value}
        if dimension != "agent":
            seen |= {point.labels[dimension] for point in page.of("ai_active_requests") if point.value}
        assert {row["name"] for row in rows} == seen
        for row in rows:
            of = {dimension: row["name"]}
            assert row["requests"] == page.total("ai_requests", **of)
            assert row["errors"] == page.total("ai_requests", status="error", **of)
            assert row["input"] == page.total("ai_tokens", direction="input", **of)
            assert row["output"] == page.total("ai_tokens", direction="output", **of)
            priced = page.of("ai_cost_dollars", **of)
            assert row["dollars"] == (pytest.approx(page.total("ai_cost_dollars", **of)) if priced else None)
            if dimension != "agent":
                assert row["active"] == page.total("ai_active_requests", **of)
    errors = {error["type"]: error["count"] for error in document["errors"]}
    assert errors == {
        point.labels["error_type"]: page.total("ai_errors", error_type=point.labels["error_type"])
        for point in page.of("ai_errors")
        if point.value
    }
    for kind, metric in (("unpriced", "ai_unpriced_requests"), ("missing", "ai_usage_missing")):
        said = {(each["provider"], each["model"], each["reason"]): each["count"] for each in document[kind]}
        assert said == {
            (point.labels["provider"], point.labels["model"], point.labels["reason"]): point.value
            for point in page.of(metric)
            if point.value
        }


def test_its_numbers_are_those_of_metrics_at_the_same_moment(clock: ManualClock) -> None:
    port = llmwatch.configure(port=0, service_name="shop").port
    calls(clock)
    with llmwatch.track_request(feature="slow", provider="openai", model=MODEL):
        document, (_, page) = shown(port), metrics_page(port)

    assert_equal_to_metrics(document, page)
    assert document["active"] == 1
    assert document["service"] == "shop"
    assert document["workers"] is None


def test_on_a_provider_of_the_program_s_own_they_are_the_same_too(clock: ManualClock) -> None:
    provider = MeterProvider(shutdown_on_exit=False)
    foreign = provider.get_meter("theirs").create_counter("orders")
    port = llmwatch.configure(port=0, meter_provider=provider).port
    calls(clock)
    before = shown(port)
    foreign.add(7)

    assert_equal_to_metrics(before, metrics_page(port)[1])
    provider.shutdown()


def test_where_the_sdk_has_other_parts_the_reader_is_asked(clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    from llmwatch._instruments import Publication

    monkeypatch.setattr(Publication, "snapshot", lambda *_: None)
    port = llmwatch.configure(port=0).port
    calls(clock)

    assert_equal_to_metrics(shown(port), metrics_page(port)[1])


def test_limits_are_said_as_they_were_last_reported(clock: ManualClock) -> None:
    port = llmwatch.configure(port=0).port
    calls(clock)

    assert shown(port)["limits"] == [
        {
            "provider": "openai",
            "account": "main",
            "model": MODEL,
            "resource": "requests",
            "limit": 500,
            "remaining": 125,
            "used": 0.75,
        }
    ]


def test_a_total_goes_on_over_a_new_configuration(clock: ManualClock) -> None:
    llmwatch.configure(port=0)
    calls(clock)
    first = shown(_runtime.current().endpoint.port)
    port = llmwatch.configure(port=0, service_name="renamed").port
    time.sleep(2.1)  # in which all who ask are given the same
    calls(clock)
    document = shown(port)

    assert document["total"]["requests"] == 2 * first["total"]["requests"]
    assert (document["service"], document["since"]) == ("renamed", pytest.approx(first["since"], abs=100))


def test_a_call_that_was_made_before_the_configuration_is_there(clock: ManualClock) -> None:
    answering(REPLY, feature="early", provider="openai")()
    port = llmwatch.configure(port=0).port

    assert [row["name"] for row in shown(port)["tables"]["feature"]] == ["early"]


# --- Quantiles


def promtool_says(cases: list[list[int]], q: float, expected: list[float], folder: Path) -> None:
    """Lets Prometheus compute `q` over an hour of buckets that grow so much each minute; fails where it differs."""
    series = [
        {"series": f'd_bucket{{case="{case}",le="{bound:g}",w="{w}"}}', "values": f"0+{sum(counts[: place + 1])}x70"}
        for case, counts in enumerate(cases)
        for w in ("1", "2")  # two series to be summed
        for place, bound in enumerate((*metrics.REQUEST_DURATION.buckets, float("inf")))
    ]
    for each in series:
        each["series"] = each["series"].replace('le="inf"', 'le="+Inf"')
    tests = {
        "tests": [
            {
                "interval": "1m",
                "input_series": series,
                "promql_expr_test": [
                    {
                        "expr": f'abs(histogram_quantile({q}, sum by (le) (increase(d_bucket{{case="{case}"}}[1h])))'
                        f" / {value!r} - 1) < bool 1e-12",
                        "eval_time": "65m",
                        "exp_samples": [{"labels": "{}", "value": 1}],
                    }
                    for case, value in enumerate(expected)
                ],
            }
        ]
    }
    file = folder / "quantiles.json"
    file.write_text(json.dumps(tests))
    done = subprocess.run([require("promtool"), "test", "rules", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr


@pytest.mark.parametrize("q", [0.5, 0.95])
def test_a_quantile_is_the_one_that_prometheus_computes(q: float, tmp_path: Path) -> None:
    chance = random.Random(7)
    width = len(metrics.REQUEST_DURATION.buckets) + 1
    cases = [[chance.choice((0, 0, 0, 1, 3, 40, 900)) for _ in range(width)] for _ in range(40)]
    cases += [[5, *[0] * (width - 1)], [*[0] * (width - 1), 5], [0, 0, 7, *[0] * (width - 3)], [1] * width]
    cases = [case for case in cases if sum(case)]
    expected = [quantile(q, metrics.REQUEST_DURATION.buckets, case) for case in cases]

    promtool_says(cases, q, [value for value in expected if value is not None], tmp_path)


def test_a_quantile_of_nothing_is_unknown() -> None:
    assert quantile(0.95, metrics.REQUEST_DURATION.buckets, [0] * 20) is None


def test_the_p95_of_the_page_is_that_of_prometheus_over_the_same_calls(clock: ManualClock, tmp_path: Path) -> None:
    port = llmwatch.configure(port=0).port
    calls(clock)
    total = shown(port)["total"]
    page = metrics_page(port)[0].splitlines()
    below = [
        sum(
            int(float(line.rpartition(" ")[2]))
            for line in page
            if line.startswith("ai_request_duration_seconds_bucket") and f'le="{bound}"' in line
        )
        for bound in (*map(str, metrics.REQUEST_DURATION.buckets), "+Inf")
    ]
    counts = [after - before for before, after in zip([0, *below], below, strict=False)]

    assert sum(counts) == total["requests"]
    promtool_says([counts], 0.95, [total["p95"]], tmp_path)
    promtool_says([counts], 0.5, [total["p50"]], tmp_path)


# --- A last hour, bounded


class Totals:
    """Collections as a process would have them, by a manual clock."""

    def __init__(self, *, began: bool = True) -> None:
        self.clock = ManualClock(0.0)
        self.counts: dict[tuple[str, ...], float] = {}
        self.open = 0
        self.collections = 0
        self.reported: list[Exception] = []
        self.keep = True
        self.broken = False
        self.live = Live(
            self.collect,
            self.reported.append,
            0.0 if began else None,
            lambda: self.keep,
            clock=self.clock,
            wall=lambda: 1_800_000_000 + self.clock.now,
        )

    def collect(self) -> Iterator[tuple[str, dict[str, Any], Any]]:
        self.collections += 1
        if self.broken:
            raise OSError("the folder is gone")
        for (name, *labels), value in self.counts.items():
            yield name, dict(label.split("=", 1) for label in labels), value
        yield "ai_active_requests", {"feature": "chat", "provider": "p", "model": "m"}, self.open

    def calls(
        self, many: int, feature: str = "chat", dollars: float = 0.0, status: str = "success", tokens: int = 100
    ) -> None:
        who = (f"feature={feature}", "provider=p", "model=m", "operation=chat", "agent=")
        self.add("ai_requests", *who, f"status={status}", amount=many)
        self.add("ai_tokens", *who, "direction=input", "kind=text", amount=many * tokens)
        if dollars:
            self.add(
                "ai_cost_dollars", *who, "direction=input", "kind=text", "cost_source=table", amount=many * dollars
            )
        if status == "error":
            self.add("ai_errors", *who, "error_type=timeout", amount=many)

    def add(self, *key: str, amount: float) -> None:
        self.counts[key] = self.counts.get(key, 0) + amount

    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.live.document())
        return found


@pytest.fixture(autouse=True)
def without_threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is tested by a manual clock is sampled by nobody else."""
    if "totals" in request.fixturenames:
        monkeypatch.setattr(Live, "watch", lambda _: None)


@pytest.fixture
def totals() -> Totals:
    return Totals()


def test_a_history_has_a_fixed_number_of_places_and_spans_its_hour_evenly() -> None:
    history: History[int] = History(32, 3600.0)
    for second in range(0, 20_000, 3):
        history.add(float(second), second)
        assert len(history) <= 32
    gaps = [after - before for before, after in zip(history.times, history.times[1:], strict=False)]

    assert [float(value) for value in history.values] == history.times
    assert history.times[-1] - history.times[0] > 3400
    assert max(gaps) < 4 * 3600 / 32


def test_a_young_history_has_every_value() -> None:
    history: History[int] = History(240, 3600.0)
    for second in range(0, 600, 3):
        history.add(float(second), second)

    assert history.values == [*range(0, 600, 3)]


def test_what_is_said_is_of_the_last_hour_and_of_no_more(totals: Totals) -> None:
    for _ in range(5 * 120):
        totals.clock.advance(30)
        totals.calls(30)
        totals.live.idle()
    document = totals.document()

    assert 3400 < document["seconds"] <= 3600
    assert document["total"]["per_second"] == pytest.approx(1.0)
    assert document["total"]["requests"] == pytest.approx(document["seconds"])
    assert len(document["charts"]["at"]) < 240
    assert document["charts"]["per_second"][-1] == pytest.approx(1.0)


def test_a_busy_hour_under_many_eyes_is_remembered_in_as_many_places_as_a_quiet_one(totals: Totals) -> None:
    for second in range(0, 7200, 3):
        totals.clock.advance(3)
        totals.calls(1, feature=f"feature-{second % 50}")
        totals.live.sample()
    places = len(totals.live._looks), len(totals.live._totals)

    assert places == (32, 240)
    assert totals.document()["seconds"] > 3400


def test_all_who_ask_within_two_seconds_are_given_the_same_and_cost_one_collection(totals: Totals) -> None:
    totals.clock.advance(60)
    totals.calls(3)
    first = totals.live.document()
    totals.calls(3)
    totals.clock.advance(1.9)
    same = [totals.live.document() for _ in range(20)]
    totals.clock.advance(0.2)

    assert set(same) == {first}
    assert totals.collections == 1
    assert totals.document()["total"]["requests"] == 6


def test_where_it_would_take_more_than_a_hundredth_of_a_core_viewers_are_told_to_ask_less_often(
    totals: Totals, monkeypatch: pytest.MonkeyPatch
) -> None:
    spent = iter(range(1000))
    seconds = 0.08  # by the processor's clock, between any two looks at it
    monkeypatch.setattr("llmwatch.live._live.time.thread_time", lambda: next(spent) * seconds)
    paces = []
    for _ in range(4):
        totals.clock.advance(60)
        paces.append(totals.document()["every"])

    # 80 ms in 10 s; what the first one took may have been the loading of modules.
    assert paces == [3.0, 3.0, pytest.approx(10.0), pytest.approx(10.0)]
    before = totals.collections
    totals.clock.advance(5)
    totals.document()
    assert totals.collections == before


def test_what_nobody_looks_at_is_sampled_twice_a_minute_or_not_at_all(totals: Totals) -> None:
    def collections_in(minutes: int) -> int:
        before = totals.collections
        for _ in range(minutes * 60):
            totals.clock.advance(1)
            if totals.clock.now >= totals.due:  # type: ignore[attr-defined]
                totals.due = totals.clock.now + totals.live.idle()  # type: ignore[attr-defined]
        return totals.collections - before

    totals.due = 0.0  # type: ignore[attr-defined]
    collections_in(10)
    assert collections_in(10) == 20

    totals.keep = False  # as a worker that does not have the port
    assert collections_in(10) == 0

    totals.document()  # somebody looks, and for an hour it is known
    assert collections_in(30) == pytest.approx(60, abs=2)
    collections_in(31)
    assert collections_in(10) == 0


def test_a_collection_that_fails_beside_requests_is_reported_and_the_next_one_tried(totals: Totals) -> None:
    totals.clock.advance(60)
    totals.broken = True
    totals.live.idle()
    totals.broken = False
    totals.calls(2)

    assert [str(error) for error in totals.reported] == ["the folder is gone"]
    assert totals.document()["total"]["requests"] == 2


def test_without_a_known_beginning_the_first_sample_is_it() -> None:
    totals = Totals(began=False)
    totals.calls(1000)
    totals.live.sample()
    totals.clock.advance(60)
    totals.calls(6)
    totals.live.sample()
    document = totals.document()

    assert document["total"]["requests"] == 6
    assert document["total"]["per_second"] == pytest.approx(0.1)


def test_a_total_that_falls_counts_as_nothing_and_its_further_growth_does(totals: Totals) -> None:
    totals.calls(100)
    totals.clock.advance(60)
    totals.live.sample()
    totals.calls(-40)  # a worker's file is lost
    totals.clock.advance(60)
    totals.live.sample()
    totals.calls(5)
    totals.clock.advance(60)

    assert totals.document()["total"]["requests"] == 105


def test_a_cost_that_nobody_knows_is_none_and_a_known_one_of_nothing_is_0(totals: Totals) -> None:
    totals.calls(3, feature="unpriced")
    totals.calls(3, feature="free")
    totals.counts["ai_cost_dollars", "feature=free", "provider=p", "model=m", "operation=chat", "agent="] = 0.0
    totals.clock.advance(60)
    rows = {row["name"]: row["dollars"] for row in totals.document()["tables"]["feature"]}

    assert rows == {"unpriced": None, "free": 0.0}


def test_the_halves_are_compared_and_the_cost_is_taken_apart(totals: Totals) -> None:
    for minute in range(60):
        totals.clock.advance(60)
        totals.calls(60, feature="chat", dollars=0.01)
        totals.calls(
            60 if minute < 30 else 120,
            feature="agents",
            dollars=0.01 if minute < 30 else 0.04,
            tokens=100 if minute < 30 else 400,
        )
        totals.live.sample()
    document = totals.document()
    first, second = document["halves"]
    agents = next(row for row in document["tables"]["feature"] if row["name"] == "agents")

    # By hand: $36/h of each; then agents take 7200 calls an hour for 4 ct.
    assert first["dollars_per_hour"] == pytest.approx(72, rel=0.1)
    assert second["dollars_per_hour"] == pytest.approx(36 + 288, rel=0.1)
    assert agents["halves"]["dollars_per_hour"] == [pytest.approx(36, rel=0.2), pytest.approx(288, rel=0.1)]
    assert document["factors"]["requests"] == pytest.approx(1.5, rel=0.05)
    assert document["factors"]["tokens_per_request"] == pytest.approx(3.0, rel=0.1)
    assert document["factors"]["dollars_per_token"] == pytest.approx(1.0, rel=0.1)
    assert document["factors"]["cost"] == pytest.approx(4.5, rel=0.1)
    assert document["movers"][0]["by"] == "feature"
    assert (document["movers"][0]["name"], document["movers"][0]["what"]) == ("agents", "cost")


def test_what_is_as_before_is_no_change(totals: Totals) -> None:
    for _ in range(60):
        totals.clock.advance(60)
        totals.calls(30, dollars=0.01)
        totals.live.sample()

    assert totals.document()["movers"] == []


def test_errors_are_named_with_whom_they_concern_mostly_and_when_they_were_last_seen(totals: Totals) -> None:
    totals.clock.advance(60)
    totals.calls(4, feature="chat", status="error")
    totals.calls(1, feature="search", status="error")
    totals.live.sample()
    totals.clock.advance(600)
    (error,) = totals.document()["errors"]

    assert error == {
        "type": "timeout",
        "count": 5,
        "last": (1_800_000_000 + 60) * 1000,
        "mostly": {"feature": "chat", "model": "m", "count": 4},
    }


def test_an_hour_after_its_last_call_a_feature_is_not_listed_any_more(totals: Totals) -> None:
    totals.calls(10, feature="morning")
    for _ in range(150):
        totals.clock.advance(30)
        totals.calls(1, feature="always")
        totals.live.idle()

    assert [row["name"] for row in totals.document()["tables"]["feature"]] == ["always"]


def test_a_feature_with_nothing_but_an_open_call_is_listed(totals: Totals) -> None:
    totals.open = 2
    totals.clock.advance(60)
    (row,) = totals.document()["tables"]["feature"]

    assert (row["name"], row["requests"], row["active"]) == ("chat", 0, 2)


def test_buckets_that_a_view_has_changed_move_to_the_first_of_ours_that_is_as_high() -> None:
    points = [
        ("ai_request_duration", {"feature": "a"}, SimpleNamespace(explicit_bounds=(0.4, 4.0), bucket_counts=[2, 3, 1]))
    ]
    live = Live(lambda: points, lambda _: None, 0.0, clock=(clock := ManualClock(10.0)))
    clock.advance(10)
    total = json.loads(live.document())["total"]

    # 2 in (0.25, 0.5], 3 in (3, 5], 1 in the last: the median is the third of six.
    assert total["p50"] == pytest.approx(3 + 2 * (3 - 2) / 3)
    assert total["p95"] == 600.0


# --- Remedies


@pytest.mark.parametrize(
    ("kind", "named"),
    [
        *(
            ("unpriced", ("openai", "m", reason))
            for reason in ("no_model", "unknown_model", "missing_usage", "missing_rate")
        ),
        *(
            ("missing", ("openai", "m", reason))
            for reason in ("not_reported", "unrecognised", "interrupted", "inconsistent")
        ),
        ("overflow", ("feature",)),
        ("overflow", ("series",)),
        ("internal", ("record",)),
    ],
)
def test_for_everything_that_is_wrong_there_is_a_remedy_in_words(kind: str, named: tuple[str, ...]) -> None:
    text = remedy(kind, *named)

    assert text.endswith(".")
    assert "{{" not in text


def test_an_unpriced_model_s_remedy_names_the_command_that_explains_it() -> None:
    assert "`llmwatch prices my-model`" in remedy("unpriced", "mine", "my-model", "unknown_model")


def test_label_overflow_is_shown_with_its_remedy() -> None:
    port = llmwatch.configure(port=0, label_limits={"feature": 3}).port
    for number in range(6):
        answering(REPLY, feature=f"feature-{number}", provider="openai")()
    document, (_, page) = shown(port), metrics_page(port)
    (overflow,) = document["overflow"]

    assert (overflow["name"], overflow["count"]) == ("feature", page.total("llmwatch_label_overflow"))
    assert 'configure(label_limits={"feature": ...})' in overflow["remedy"]


# --- The site


def test_browsers_see_the_live_page_and_everybody_else_the_metrics() -> None:
    port = llmwatch.configure(port=0).port
    page = ask(port, "/", Accept=BROWSER)
    others = [ask(port, "/", Accept=accept) for accept in (CURL, PROMETHEUS)] + [ask(port, "/")]

    assert page[1]["content-type"] == "text/html; charset=utf-8"
    assert b"<!doctype html>" in page[2]
    assert "accept" in page[1]["vary"].lower()
    assert all(b"llmwatch_build_info" in body for _, _, body in others)
    assert [headers["content-type"].partition(";")[0] for _, headers, _ in others] == [
        "text/plain",
        "application/openmetrics-text",
        "text/plain",
    ]


def test_under_live_it_is_there_for_everybody() -> None:
    port = llmwatch.configure(port=0).port
    moved = ask(port, "/live/", Accept=BROWSER)

    assert ask(port, "/live")[2] == ask(port, "/", Accept=BROWSER)[2]
    assert (moved[0], moved[1]["location"]) == (308, "../live")


def test_every_answer_of_it_has_a_policy_that_allows_nothing_from_elsewhere_and_nothing_inline() -> None:
    port = llmwatch.configure(port=0).port
    answers = [ask(port, path) for path in ("/live", "/live.js", "/live.css", "/live.json", "/live-charts.js")]

    assert {status for status, _, _ in answers} == {200}
    for _, headers, _ in answers:
        policy = dict(part.split(maxsplit=1) for part in headers["content-security-policy"].split("; "))
        assert policy == {
            "default-src": "'none'",
            "script-src": "'self'",
            "style-src": "'self'",
            "connect-src": "'self'",
            "img-src": "'self' data:",
            "base-uri": "'none'",
            "form-action": "'none'",
            "frame-ancestors": "'none'",
        }
        assert headers["x-content-type-options"] == "nosniff"


def test_answers_are_squeezed_for_whoever_takes_that_and_only_the_charts_script_is_kept() -> None:
    port = llmwatch.configure(port=0).port
    _, headers, body = ask(port, "/live-charts.js", Accept_Encoding="gzip")

    assert headers["content-encoding"] == "gzip"
    assert b"plotly.js" in gzip.decompress(body)[:200]
    assert "immutable" in headers["cache-control"]
    assert ask(port, "/live.json")[1]["cache-control"] == "no-store"


def test_a_head_request_gets_the_head_and_another_method_is_refused() -> None:
    port = llmwatch.configure(port=0).port

    assert ask(port, "/live", "HEAD")[::2] == (200, b"")
    assert ask(port, "/live.json", "POST")[0] == 405


def test_credentials_are_asked_for_there_as_everywhere() -> None:
    port = llmwatch.configure(port=0, auth=("ops", "secret")).port
    paths = ("/", "/live", "/live.js", "/live.css", "/live.json", "/live-charts.js")
    given = {"Authorization": "Basic " + b64encode(b"ops:secret").decode()}

    assert {ask(port, path, Accept=BROWSER)[0] for path in paths} == {401}
    assert {ask(port, path, Accept=BROWSER, **given)[0] for path in paths} == {200}


@pytest.mark.parametrize("way", ["argument", "variable"])
def test_it_can_be_left_out(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if way == "variable":
        monkeypatch.setenv("LLMWATCH_LIVE", "false")
    port = llmwatch.configure(port=0, live=False if way == "argument" else None).port

    assert b"llmwatch_build_info" in ask(port, "/", Accept=BROWSER)[2]
    assert [ask(port, path)[0] for path in ("/live", "/live.json", "/live.js")] == [404] * 3
    assert _runtime.current().page.live is None


def test_without_the_extra_the_page_is_told_so_and_the_rest_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assets, "find_spec", lambda _: None)
    assets.charts.cache_clear()
    try:
        port = llmwatch.configure(port=0).port
        assert shown(port)["drawing"] is None
        status, _, body = ask(port, "/live-charts.js")
    finally:
        assets.charts.cache_clear()

    assert (status, body) == (404, b"the charts need pip install 'llmwatch[live]'\n")


def test_the_charts_script_is_found_without_importing_the_package_around_it() -> None:
    program = (
        "import sys, llmwatch.live; assert llmwatch.live.charts(); assert not {'plotly', 'narwhals'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, check=True)


def test_it_is_not_even_imported_before_it_is_served() -> None:
    program = "import sys, llmwatch; llmwatch.configure(); assert 'llmwatch.live' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, check=True)


def test_a_hostile_name_is_text_in_a_document_that_no_browser_takes_for_a_page() -> None:
    name = "</script><script>alert(1)</script>"
    port = llmwatch.configure(port=0).port
    answering(REPLY, feature=name, provider="openai")()
    _, headers, body = ask(port, "/live.json", Accept=BROWSER)

    assert [row["name"] for row in json.loads(body)["tables"]["feature"]] == [name]
    assert headers["content-type"] == "application/json"
    assert headers["x-content-type-options"] == "nosniff"


# --- Inside an application


def test_mounted_under_asgi_it_is_there_with_all_its_files() -> None:
    llmwatch.configure()
    answering(REPLY, feature="chat", provider="openai")()
    client = TestClient(Starlette(routes=[Mount("/watch", asgi_app()), Mount("/metrics", asgi_app())]))
    page = client.get("/watch", headers={"Accept": BROWSER})

    assert page.url.path == "/watch/"
    assert "<!doctype html>" in page.text
    assert client.get("/watch/live.json").json()["total"]["requests"] == 1
    assert "llmwatch_build_info" in client.get("/metrics/", headers={"Accept": BROWSER}).text
    assert "<!doctype html>" in client.get("/metrics/live").text
    assert client.get("/metrics/live.js").status_code == 200


@pytest.mark.parametrize(("path", "status"), [("", "307 Temporary Redirect"), ("/", "200 OK")])
def test_mounted_under_wsgi_a_browser_is_sent_to_where_its_files_are_found(path: str, status: str) -> None:
    llmwatch.configure()
    told: list[Any] = []
    environ = {"REQUEST_METHOD": "GET", "SCRIPT_NAME": "/watch", "PATH_INFO": path, "HTTP_ACCEPT": BROWSER}
    b"".join(wsgi_app()(environ, lambda *response: told.extend(response)))  # type: ignore[arg-type,func-returns-value]

    assert told[0] == status
    assert dict(told[1]).get("Location") == ("/watch/" if not path else None)


# --- Workers and forks


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Program]]:
    running: list[Program] = []

    def one(**variables: str) -> Program:
        running.append(Program(tmp_path, **variables))
        return running[-1]

    yield one
    for program in running:
        program.kill()


LIVE = (
    "__import__('json').loads(_runtime.current().site.answer("
    "__import__('llmwatch').exposition.Request('GET', '/live.json')).body)"
)


def test_whichever_worker_is_asked_shows_what_all_of_them_count(start: Callable[..., Program]) -> None:
    programs = [start() for _ in range(3)]
    for program in programs:
        program(LIVE)  # from here on
        program("call(2)")
    time.sleep(2.1)
    documents = [program(LIVE) for program in programs]
    page = programs[0].page()

    assert [document["workers"] for document in documents] == [3, 3, 3]
    # Each has seen what was counted since it was first asked.
    assert [document["total"]["requests"] for document in documents] == [6, 4, 2]
    assert page.total("ai_requests") == 6


def test_the_worker_that_takes_the_port_over_begins_its_history_with_the_team_s_totals(
    start: Callable[..., Program],
) -> None:
    port = free_port()
    programs = [start(LLMWATCH_PORT=str(port)) for _ in range(2)]
    until(lambda: live_at(port).get("workers") == 2, "the workers")
    for program in programs:
        program("call(3)")
    until(lambda: live_at(port)["total"]["requests"] == 6, "all calls")
    (serving,) = (program for program in programs if program("_runtime.current().endpoint.serving"))
    (other,) = (program for program in programs if program is not serving)
    serving.kill()
    until(lambda: live_at(port), "the next one")
    first = live_at(port)
    other("call(5)")
    until(lambda: live_at(port)["total"]["requests"] == 5, "the new calls")

    assert first["total"]["requests"] == 0
    assert successes_of(port) == 11


def live_at(port: int) -> dict[str, Any]:
    """What the page is given there; nothing while nobody serves."""
    try:
        found: dict[str, Any] = json.loads(get(port, "/live.json"))
    except OSError:
        return {}
    return found


def successes_of(port: int) -> float:
    return parsed(get(port, "/metrics")).total("ai_requests", status="success")


def test_after_a_fork_the_child_begins_with_an_empty_history_of_its_own() -> None:
    found = run(
        """
from llmwatch.exposition import Request

def live():
    return json.loads(_runtime.current().site.answer(Request("GET", "/live.json")).body)

llmwatch.configure()
call()
before = live()["total"]["requests"]

def child():
    call("child")
    found = live()
    return [found["total"]["requests"], [row["name"] for row in found["tables"]["feature"]], found["seconds"]]

started = time.monotonic()
time.sleep(1)
there = in_child(child)
tell(before=before, child=there)
"""
    )

    assert found["before"] == 1
    assert found["child"][:2] == [1, ["child"]]
    assert found["child"][2] < 1.0


# --- What is shipped


def test_a_wheel_brings_the_page_s_files_along(tmp_path: Path) -> None:
    wheel = built_wheel(tmp_path)

    assert {name for name in zipfile.ZipFile(wheel).namelist() if "/live/static/" in name} == {
        f"llmwatch/live/static/{name}" for name in ("live.html", "live.css", "live.js")
    }


def test_the_page_needs_no_live_numbers_to_say_what_it_is() -> None:
    page = (REPOSITORY / "llmwatch/live/static/live.html").read_text()

    for name in ("Requests", "Errors", "Latency P95", "First token P95", "Active", "Tokens", "Cost", "Per month"):
        assert f"<dt>{name}</dt>" in page
    assert "http://" not in page.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in page
