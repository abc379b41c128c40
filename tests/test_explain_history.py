"""`llmwatch explain` asked on a real Prometheus: what truly happened stands first, and where nothing did, nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from operations import Prometheus, prometheus, run
from ops_history import DAY, GROWTH, HOUR, NOON, RUNAWAY, STEP, SWAP, THROTTLED, Incident, history, serving

from llmwatch.cli import main

FACTORS = {GROWTH: "prompt size", SWAP: "model mix", RUNAWAY: "volume"}
BY_NAME = {"ids": lambda value: getattr(value, "name", None)}
each_incident_of_cost = pytest.mark.parametrize("incident", FACTORS, **BY_NAME)
each_window = pytest.mark.parametrize("window", ["1h", "3h", "6h"])
each_day = pytest.mark.parametrize("days_ago", range(4))


@pytest.fixture(scope="module")
def young(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """The same shop, which is watched for 26 hours."""
    with serving(history(tmp_path_factory.mktemp("young"), incidents=(GROWTH,), days=26 / 24)) as server:
        yield server


@pytest.fixture
def explain(capsys: pytest.CaptureFixture[str]) -> Any:
    """Asks, and gives the exit code and the text."""

    def asked(server: Prometheus, subject: str, *options: str, at: float = NOON) -> tuple[int, str]:
        time = datetime.fromtimestamp(at, UTC).isoformat()
        code = main(["explain", subject, "--prometheus", server.url, "--at", time, *options])
        return code, capsys.readouterr().out

    return asked


@pytest.fixture
def found(explain: Any) -> Any:
    """The same as a document."""

    def asked(server: Prometheus, subject: str, *options: str, at: float = NOON) -> dict[str, Any]:
        code, text = explain(server, subject, "--json", *options, at=at)
        assert code == 0
        return json.loads(text)

    return asked


def first(document: dict[str, Any]) -> tuple[str, str]:
    """The first cause: its factor, and whose it is."""
    cause = document["causes"][0]
    return cause["factor"], cause["feature"]


def passage(text: str) -> str:
    """A text without its line breaks."""
    return " ".join(text.split())


class TestWhyDidCostMove:
    @each_incident_of_cost
    @each_window
    def test_the_true_cause_stands_first(
        self, nine_days: Prometheus, found: Any, incident: Incident, window: str
    ) -> None:
        document = found(nine_days, "cost", "--window", window, at=incident.ended)
        assert document["finding"] == "rose"
        assert first(document) == (FACTORS[incident], incident.feature)
        assert document["causes"][0].get("agent", "") == incident.agent
        assert document["causes"][0]["share"] > 0.9
        assert len(document["causes"]) == 1

    @each_incident_of_cost
    def test_it_says_since_when(self, nine_days: Prometheus, found: Any, incident: Incident) -> None:
        since = datetime.fromisoformat(found(nine_days, "cost", at=incident.ended)["since"]).timestamp()
        assert abs(since - incident.began) <= STEP

    @pytest.mark.parametrize("incident", [SWAP, RUNAWAY], **BY_NAME)
    def test_an_incident_that_is_over_is_found_with_its_end(
        self, nine_days: Prometheus, found: Any, incident: Incident
    ) -> None:
        document = found(nine_days, "cost", "--window", "6h", at=incident.ended + 3 * HOUR)
        assert first(document) == (FACTORS[incident], incident.feature)
        assert abs(datetime.fromisoformat(document["until"]).timestamp() - incident.ended) <= STEP

    @each_incident_of_cost
    def test_the_contributions_add_up_to_the_change(
        self, nine_days: Prometheus, found: Any, incident: Incident
    ) -> None:
        document = found(nine_days, "cost", at=incident.ended)
        parts = [amount for change in document["changes"] for amount in change["factors"].values()]
        assert sum(parts) == pytest.approx(document["now"] - document["before"])

    def test_the_totals_are_those_of_the_server(self, nine_days: Prometheus, found: Any) -> None:
        document = found(nine_days, "cost")
        for name, time in (("now", NOON), ("before", NOON - DAY)):
            (total,) = nine_days.query("sum(increase(ai_cost_dollars_total[1h]))", time)
            assert document[name] == pytest.approx(float(total["value"][1]))

    def test_the_first_amount_of_a_new_series_counts(self, nine_days: Prometheus, found: Any) -> None:
        """The swap makes new series, whose first sample `increase()` cannot see."""
        document = found(nine_days, "cost", "--feature", "chat", "--window", "6h", at=SWAP.ended)
        whole = nine_days.query('sum(ai_cost_dollars_total{feature="chat",model="gpt-4o"})', SWAP.ended)
        new = next(change for change in document["changes"] if change["model"] == "gpt-4o")
        assert new["now"] == pytest.approx(float(whole[0]["value"][1]))

    @pytest.mark.parametrize(
        ("incident", "sentences"),
        [
            (
                GROWTH,
                (
                    "100 % of it is feature `summarise` (gpt-4o): its prompts grew from 2,500 to 18,750 tokens; calls, "
                    "models, answers, caching and prices did not change."
                ),
            ),
            (
                SWAP,
                "calls an hour moved from gpt-4o-mini to gpt-4o; calls, prompts, answers, caching and prices did not",
            ),
            (RUNAWAY, "100 % of it is feature `research` (agent researcher, claude-sonnet-4-5): its calls rose from 3"),
            (RUNAWAY, "calls, and 6.1 before; there were as many runs"),
        ],
    )
    def test_it_says_it_in_words(self, nine_days: Prometheus, explain: Any, incident: Incident, sentences: str) -> None:
        code, text = explain(nine_days, "cost", at=incident.ended)
        assert code == 0
        assert sentences in passage(text)
        assert max(map(len, text.splitlines())) <= 100

    @pytest.mark.parametrize(("incident", "times"), [(GROWTH, 3), (SWAP, 2), (RUNAWAY, 4.7)], **BY_NAME)
    def test_it_says_how_much(self, nine_days: Prometheus, explain: Any, incident: Incident, times: float) -> None:
        _, text = explain(nine_days, "cost", at=incident.ended)
        assert f"Cost rose {times:.1f}× (+$" in text

    def test_a_filter_leaves_the_others_out(self, nine_days: Prometheus, found: Any) -> None:
        assert found(nine_days, "cost", "--feature", "chat,triage")["finding"] == "usual"
        document = found(nine_days, "cost", "--model", "gpt-4o")
        assert {change["model"] for change in document["changes"]} == {"gpt-4o"}

    def test_against_a_day_that_was_itself_unusual_the_next_usual_one_is_taken(
        self, nine_days: Prometheus, explain: Any
    ) -> None:
        code, text = explain(nine_days, "cost", at=SWAP.ended + DAY)
        assert code == 0
        assert "Nothing stands out: cost is $12" in text
        assert "was unusual itself ($24" in passage(text)


class TestWhoUsesTheTokens:
    def test_a_runaway_agent_is_the_one_that_consumes_the_most(self, nine_days: Prometheus, explain: Any) -> None:
        _, text = explain(nine_days, "tokens", at=RUNAWAY.ended)
        assert passage(text).count("The agent that consumes the most is researcher:") == 1
        assert "The feature that consumes the most is research:" in passage(text)

    @pytest.mark.parametrize("incident", [GROWTH, RUNAWAY], **BY_NAME)
    def test_the_true_cause_stands_first(self, nine_days: Prometheus, found: Any, incident: Incident) -> None:
        document = found(nine_days, "tokens", at=incident.ended)
        assert document["finding"] == "rose"
        assert first(document) == (FACTORS[incident], incident.feature)

    def test_another_model_for_the_same_work_is_no_change_of_tokens(self, nine_days: Prometheus, found: Any) -> None:
        assert found(nine_days, "tokens", at=SWAP.ended)["finding"] == "usual"

    def test_the_totals_are_those_of_the_server(self, nine_days: Prometheus, found: Any) -> None:
        (total,) = nine_days.query("sum(increase(ai_tokens_total[1h]))", NOON)
        assert found(nine_days, "tokens")["now"] == pytest.approx(float(total["value"][1]))


class TestWhatMakesCallsSlow:
    @each_window
    def test_the_rate_limit_is_found(self, nine_days: Prometheus, found: Any, window: str) -> None:
        document = found(nine_days, "latency", "--window", window, at=THROTTLED.ended)
        provider, *others = document["providers"]
        assert (document["finding"], provider["provider"]) == ("rose", THROTTLED.provider)
        assert provider["cause"] == "rate limit"
        assert not any(other["stands_out"] for other in others)

    def test_it_says_since_when(self, nine_days: Prometheus, found: Any) -> None:
        since = datetime.fromisoformat(found(nine_days, "latency", at=THROTTLED.ended)["since"]).timestamp()
        assert abs(since - THROTTLED.began) <= STEP

    def test_it_says_it_in_words(self, nine_days: Prometheus, explain: Any) -> None:
        code, text = explain(nine_days, "latency", at=THROTTLED.ended)
        assert code == 0
        assert "P95 of the calls of anthropic rose" in text
        assert (
            "Its rate limit does it: 50 % of the attempts are refused (0 % before), and a call waits 18 s for the next "
            "one (0 s before); its limit of input tokens is used to 100 %. One attempt takes as long as before"
        ) in passage(text)
        assert max(map(len, text.splitlines())) <= 100

    def test_the_percentiles_are_those_of_the_server(self, nine_days: Prometheus, found: Any) -> None:
        for provider in found(nine_days, "latency", at=THROTTLED.ended)["providers"]:
            for name, metric, only in (
                ("p95", "ai_request_duration_seconds_bucket", 'status="success"'),
                ("attempt_p95", "ai_attempt_duration_seconds_bucket", 'outcome="ok"'),
            ):
                series = f'{metric}{{provider="{provider["provider"]}",{only}}}'
                quantile = f"histogram_quantile(0.95, sum by (le) (increase({series}[1h])))"
                (value,) = nine_days.query(quantile, THROTTLED.ended)
                assert provider["now"][name] == pytest.approx(float(value["value"][1]))

    @pytest.mark.parametrize("incident", [GROWTH, SWAP], **BY_NAME)
    def test_no_other_incident_is_taken_for_one(self, nine_days: Prometheus, found: Any, incident: Incident) -> None:
        assert found(nine_days, "latency", at=incident.ended)["finding"] == "usual"


class TestQuietDays:
    @each_day
    @pytest.mark.parametrize("subject", ["cost", "tokens", "latency"])
    @pytest.mark.parametrize("window", ["1h", "6h"])
    def test_nothing_is_blamed(
        self, nine_quiet_days: Prometheus, explain: Any, found: Any, subject: str, window: str, days_ago: int
    ) -> None:
        at = NOON - days_ago * DAY - 5 * HOUR * days_ago
        document = found(nine_quiet_days, subject, "--window", window, at=at)
        assert (document["finding"], document["since"]) == ("usual", None)
        assert document.get("causes", []) == []
        assert not any(provider["stands_out"] for provider in document.get("providers", []))
        _, text = explain(nine_quiet_days, subject, "--window", window, at=at)
        assert "Nothing stands out" in text

    def test_nor_hour_against_hour(self, nine_quiet_days: Prometheus, found: Any) -> None:
        """The traffic has its tides: it is another one an hour before."""
        for hours in range(0, 24, 3):
            document = found(nine_quiet_days, "cost", "--against", "1h", at=NOON - hours * HOUR)
            assert (document["finding"], document["causes"]) == ("usual", [])

    def test_rate_limits_are_said_not_to_hurt(self, nine_quiet_days: Prometheus, explain: Any) -> None:
        assert "Rate limits do not hurt" in explain(nine_quiet_days, "latency")[1]


class TestShortHistory:
    def test_it_compares_with_the_time_before_instead_and_says_so(self, young: Prometheus, explain: Any) -> None:
        code, text = explain(young, "cost", "--window", "6h")
        assert code == 0
        assert "Note: There are only 26 h of history; comparing with the 6 h before instead of" in passage(text)
        assert "feature `summarise` (gpt-4o): its prompts grew from 2,500 to" in passage(text)

    def test_with_enough_of_it_nothing_is_said(self, young: Prometheus, explain: Any) -> None:
        code, text = explain(young, "cost", "--window", "1h")
        assert code == 0
        assert "Note" not in text

    @pytest.mark.parametrize("subject", ["cost", "tokens", "latency"])
    def test_without_any_time_to_compare_with_nobody_can_tell(
        self, young: Prometheus, explain: Any, subject: str
    ) -> None:
        code, text = explain(young, subject, "--window", "20h")
        assert code == 1
        assert "Cannot tell: there are only 26 h of history" in passage(text)

    def test_a_window_that_is_longer_than_all_of_it(self, young: Prometheus, explain: Any) -> None:
        code, text = explain(young, "cost", "--window", "2d")
        assert (code, "there are only 26 h of history, less than the window of 48 h" in passage(text)) == (1, True)

    def test_after_its_end(self, nine_days: Prometheus, explain: Any) -> None:
        code, text = explain(nine_days, "cost", at=NOON + 5 * HOUR)
        assert code == 1
        assert "Cannot tell: the data ends at" in text

    def test_a_window_of_less_than_two_scrapes(self, nine_days: Prometheus, explain: Any) -> None:
        code, text = explain(nine_days, "cost", "--window", "10m")
        assert code == 1
        assert "Cannot tell: the service is scraped every" in text

    def test_a_service_that_is_not_there(self, nine_days: Prometheus, explain: Any) -> None:
        code, text = explain(nine_days, "cost", "--service", "shoppe")
        assert (code, passage(text).endswith("no such service: those watched now are shop.")) == (1, True)

    def test_nobody_calls(self, nine_days: Prometheus, explain: Any) -> None:
        for subject in ("cost", "tokens", "latency"):
            code, text = explain(nine_days, subject, "--feature", "nothing-of-the-kind")
            assert code == 1
            assert "Cannot tell: there were no calls" in text


class Shops:
    """Half an hour of small services, scraped once a minute, in which what happens happens ten minutes before NOON."""

    CHANGE = NOON - 600

    def __init__(self) -> None:
        self.families: dict[str, list[str]] = {}

    def watched(self, job: str, instance: str = "a", since: int = NOON - 1800) -> None:
        self._write("llmwatch_build_info", "gauge", f'job="{job}",instance="{instance}"', lambda _: 1, since)

    def called(
        self,
        job: str,
        feature: str,
        calls: Callable[[int], float],
        parts: tuple[str, ...] = ("tokens", "cost_dollars"),
        instance: str = "a",
        since: int = NOON - 1800,
    ) -> None:
        """So many calls by then, with ten tokens and a cent each."""
        labels = f'job="{job}",instance="{instance}",feature="{feature}",provider="p",model="m",operation="chat"'
        self._write("ai_requests_total", "counter", f'{labels},status="success"', calls, since)
        bucket = f'{labels},status="success",le='
        for bound, share in (("1", 0.5), ("2", 1.0), ("+Inf", 1.0)):
            name = "ai_request_duration_seconds_bucket"
            self._write(name, "histogram", f'{bucket}"{bound}"', lambda time, share=share: share * calls(time), since)
        for part in ("sum", "count"):
            name = f"ai_request_duration_seconds_{part}"
            self._write(name, "histogram", f'{labels},status="success"', calls, since)
        for part, each in (("tokens", 10), ("cost_dollars", 0.01)):
            if part in parts:
                of = f'{labels},direction="input",kind="text"'
                self._write(f"ai_{part}_total", "counter", of, lambda time, each=each: each * calls(time), since)

    def _write(self, name: str, kind: str, labels: str, value: Callable[[int], float], since: int) -> None:
        family = name.removesuffix("_total") if kind == "counter" else name
        family = family.rpartition("_")[0] if kind == "histogram" else family
        lines = self.families.setdefault(f"{family} {kind}", [])
        lines += [f"{name}{{{labels}}} {value(time):.10g} {time}\n" for time in range(since, NOON + 60, 60)]

    def data(self, folder: Path) -> Path:
        texts = [f"# TYPE {family}\n{''.join(lines)}" for family, lines in self.families.items()]
        (folder / "shops.om").write_text("".join(texts) + "# EOF\n")
        done = run("promtool", "tsdb", "create-blocks-from", "openmetrics", folder / "shops.om", folder / "data")
        assert done.returncode == 0, done.stderr
        return folder / "data"


def steady(per_minute: float, later: float | None = None) -> Callable[[int], float]:
    """So many calls a minute, and another number after the change."""
    later = per_minute if later is None else later

    def calls(time: int) -> float:
        before = min(time, Shops.CHANGE) - (NOON - 1800)
        return (per_minute * before + later * max(0, time - Shops.CHANGE)) / 60

    return calls


@pytest.fixture(scope="module")
def shops(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    made = Shops()
    for job in ("offset", "unpriced", "unread", "restarted", "stopped", "new", "stranger"):
        made.watched(job)
    made.called("offset", "more", steady(10, 20))
    made.called("offset", "less", steady(20, 10))
    made.called("unpriced", "chat", steady(20), parts=("tokens",))
    made.called("unread", "chat", steady(20), parts=())
    made.called("restarted", "chat", lambda time: steady(20)(time) if time < NOON - 300 else (time - NOON + 300) / 3)
    made.called("stopped", "chat", steady(20, 0))
    for job in ("new", "stranger"):
        made.called(job, "chat", steady(20))
    made.called("new", "search", lambda _: 300, since=NOON - 240)
    made.watched("stranger", "b", NOON - 240)
    made.called("stranger", "chat", lambda _: 1e6, instance="b", since=NOON - 240)
    folder = tmp_path_factory.mktemp("shops")
    (folder / "prometheus.yml").write_text("{}")
    with prometheus(folder / "prometheus.yml", made.data(folder)) as server:
        yield server


class TestSmallServices:
    TEN = ("--window", "10m", "--against", "10m")

    def test_features_that_make_up_for_each_other_are_named(self, shops: Prometheus, explain: Any, found: Any) -> None:
        _, text = explain(shops, "cost", *self.TEN, "--service", "offset")
        assert "In total nothing stands out" in text
        assert "But one feature does. Cost of feature `" in passage(text)
        document = found(shops, "cost", *self.TEN, "--service", "offset")
        assert (document["finding"], document["causes"][0]["factor"]) == ("usual", "volume")

    @pytest.mark.parametrize(
        ("service", "reason"),
        [
            ("unpriced", "ai_cost_dollars_total has nothing of them: none has a price."),
            ("unread", "ai_cost_dollars_total has nothing of them: what they consumed is unknown."),
        ],
    )
    def test_calls_without_a_price_or_without_usage(
        self, shops: Prometheus, explain: Any, service: str, reason: str
    ) -> None:
        code, text = explain(shops, "cost", *self.TEN, "--service", service)
        assert code == 1
        assert reason in passage(text)

    def test_a_restart_is_no_change(self, shops: Prometheus, found: Any) -> None:
        document = found(shops, "cost", *self.TEN, "--service", "restarted")
        assert document["finding"] == "usual"
        assert document["now"] == pytest.approx(2.0, rel=0.15)

    def test_calls_that_end_are_a_fall_to_nothing(self, shops: Prometheus, explain: Any) -> None:
        code, text = explain(shops, "cost", *self.TEN, "--service", "stopped")
        assert code == 0
        assert "Cost fell to nothing: it was $0.20/min in the 10 min before" in passage(text)
        assert "it made 20 calls a minute before, and none now" in passage(text)

    def test_all_of_a_new_series_counts_where_its_process_was_watched(self, shops: Prometheus, found: Any) -> None:
        document = found(shops, "cost", *self.TEN, "--service", "new")
        (new,) = [change for change in document["changes"] if change["feature"] == "search"]
        assert (new["before"], new["now"]) == (0, pytest.approx(3.0))
        assert document["causes"][0]["feature"] == "search"

    def test_what_a_process_had_counted_before_it_was_watched_does_not(self, shops: Prometheus, found: Any) -> None:
        document = found(shops, "cost", *self.TEN, "--service", "stranger")
        assert document["finding"] == "usual"
        assert document["now"] == pytest.approx(2.0, rel=0.1)

    def test_latency_without_attempts_says_what_it_cannot_tell(self, shops: Prometheus, explain: Any) -> None:
        code, text = explain(shops, "latency", *self.TEN, "--service", "new")
        assert code == 0
        assert "Whether rate limits hurt cannot be told: no attempts are recorded." in passage(text)
        assert "Note: no attempts of p are recorded" in passage(text)
