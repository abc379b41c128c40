"""`llmwatch explain`: how a change is split, what counts, since when, the words, and what a server may answer."""

from __future__ import annotations

import json
import threading
import time
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import promql
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from operations import free_port
from recording import ALL

from llmwatch import metrics
from llmwatch._explain import Question, Server, UnreachableError, duration, instant
from llmwatch._explain._causes import causes
from llmwatch._explain._compared import Provider
from llmwatch._explain._consumption import Caller, Consumption
from llmwatch._explain._latency_words import cause, reason
from llmwatch._explain._measure import COST, TOKENS
from llmwatch._explain._numbers import clock, count, dollars, percent, seconds, span
from llmwatch._explain._onset import Bin, Onset, added, onset
from llmwatch._explain._promql import added as expression
from llmwatch._explain._server import Series
from llmwatch._explain._shapley import shapley
from llmwatch._explain._slower import slower
from llmwatch._explain._split import ALL_FACTORS, Change, moved, split
from llmwatch._explain._timing import Timing, quantile
from llmwatch._explain._usual import Usual, chance
from llmwatch._explain._words import change, first, further
from llmwatch.cli import main

MILLION = 1e6
CHAT = Caller("chat", "", "chat", "openai", "small")
CHAT_BIG = CHAT._replace(model="big")
WRITER = Caller("summarise", "writer", "chat", "anthropic", "claude-sonnet-4-6")
NOON = 1795521600  # 2026-11-24 12:00 UTC


def calls(
    number: float,
    prompt: float = 1000,
    answer: float = 100,
    prices: tuple[float, float] = (2, 10),
    cached: float = 0.0,
    fee: float = 0.0,
) -> Consumption:
    """So many calls, with sizes in tokens, prices in dollars per million, and a share of input at a tenth of it."""
    tokens = {
        ("input", "text"): number * prompt * (1 - cached),
        ("input", "cache_read"): number * prompt * cached,
        ("output", "text"): number * answer,
    }
    rates = {
        ("input", "text"): prices[0],
        ("input", "cache_read"): prices[0] / 10,
        ("output", "text"): prices[1],
    }
    paid = {part: amount * rates[part] / MILLION for part, amount in tokens.items()}
    return Consumption(number, tokens, {**paid, ("request", "fee"): fee * number} if fee else paid)


def contributions(before: Mapping[Caller, Consumption], after: Mapping[Caller, Consumption]) -> dict[str, float]:
    """What each factor contributed, those left out that contributed nothing."""
    changes = split(before, after)
    sums = {factor: sum(each.factors[factor] for each in changes) for factor in ALL_FACTORS}
    return {factor: pytest.approx(amount) for factor, amount in sums.items() if abs(amount) > 1e-12}


class TestSplit:
    """100 calls with prompts of 1,000 and answers of 100 tokens, at $2 and $10 a million, are $0.20 + $0.10."""

    BEFORE = calls(100)

    @pytest.mark.parametrize(
        ("after", "expected"),
        [
            (calls(300), {"volume": 0.60}),
            (calls(100, prompt=3000), {"prompt size": 0.40}),
            (calls(100, answer=400), {"answer size": 0.30}),
            (calls(100, prices=(3, 10)), {"prices": 0.10}),
            (calls(100, fee=0.002), {"fees": 0.20}),
            (calls(100, cached=0.5), {"caching": -0.09}),
            (calls(100), {}),
        ],
    )
    def test_what_changed_alone_has_all_of_the_change(self, after: Consumption, expected: dict[str, float]) -> None:
        assert contributions({CHAT: self.BEFORE}, {CHAT: after}) == expected

    def test_what_two_factors_did_together_is_shared_between_them(self) -> None:
        """Twice the calls cost $0.30 more, prompts three times as long $0.40; both $1.10: $0.40 are of both."""
        found = contributions({CHAT: self.BEFORE}, {CHAT: calls(200, prompt=3000)})
        assert found == {"volume": 0.50, "prompt size": 0.60}

    def test_calls_that_move_to_another_model_are_the_model_mix(self) -> None:
        """The same 100 calls are $3.00 with the big model."""
        found = contributions({CHAT: self.BEFORE}, {CHAT_BIG: calls(100, prices=(20, 100))})
        assert found == {"model mix": 2.70}

    def test_when_only_some_of_them_move_too(self) -> None:
        after = {CHAT: calls(60), CHAT_BIG: calls(40, prices=(20, 100))}
        assert contributions({CHAT: self.BEFORE}, after) == {"model mix": 40 * (0.03 - 0.003)}

    def test_longer_prompts_to_the_new_model_are_longer_prompts(self) -> None:
        """$5.00: with the old prompts $3.00. Of the $2.00 the first to change takes all, or nothing."""
        found = contributions({CHAT: self.BEFORE}, {CHAT_BIG: calls(100, prompt=2000, prices=(20, 100))})
        assert found == {"model mix": 3.70, "prompt size": 1.00}

    def test_more_calls_of_another_model_are_volume_when_the_others_stay(self) -> None:
        after = {CHAT: self.BEFORE, CHAT_BIG: calls(100, prices=(20, 100))}
        assert contributions({CHAT: self.BEFORE}, after) == {"volume": 3.00}

    def test_calls_of_another_feature_have_not_moved(self) -> None:
        other = CHAT_BIG._replace(feature="search")
        found = {each.caller: each.factors for each in split({CHAT: self.BEFORE}, {other: calls(100)})}
        assert found[CHAT]["volume"] == pytest.approx(-0.30)
        assert found[other]["volume"] == pytest.approx(0.30)

    @pytest.mark.parametrize(
        ("before", "after", "amount"), [({}, {CHAT: calls(100)}, 0.3), ({CHAT: calls(100)}, {}, -0.3)]
    )
    def test_what_is_new_or_gone_is_volume(
        self, before: dict[Caller, Consumption], after: dict[Caller, Consumption], amount: float
    ) -> None:
        assert contributions(before, after) == {"volume": amount}

    def test_a_sum_that_the_provider_names_for_a_call_is_spread_over_its_tokens(self) -> None:
        def reported(prompt: float) -> Consumption:
            tokens = {("input", "text"): 100 * prompt, ("output", "text"): 0.0}
            return Consumption(100, tokens, {("request", "reported"): 100 * prompt * 2 / MILLION})

        assert contributions({CHAT: reported(1000)}, {CHAT: reported(3000)}) == {"prompt size": 0.40}

    def test_dollars_without_any_known_call_or_token_are_not_lost(self) -> None:
        bill = Consumption(0, {}, {("request", "reported"): 5.0})
        assert sum(sum(each.factors.values()) for each in split({}, {CHAT: bill})) == pytest.approx(5.0)

    amounts = st.one_of(st.just(0.0), st.floats(0.001, 1e6))
    parts = st.sampled_from(
        [(direction, kind) for direction in ("input", "output") for kind in ("text", "cache_read", "reasoning")]
        + [("request", "fee"), ("request", "reported")]
    )
    consumptions = st.builds(
        Consumption, amounts, st.dictionaries(parts, amounts), st.dictionaries(parts, st.floats(0, 1e3))
    )
    callers = st.builds(Caller, *(st.sampled_from("ab") for _ in range(5)))
    times = st.dictionaries(callers, consumptions, max_size=5)

    @settings(max_examples=50)
    @given(times, times)
    def test_contributions_add_up_to_the_change_of_each_caller(
        self, before: dict[Caller, Consumption], after: dict[Caller, Consumption]
    ) -> None:
        changes = split(before, after)
        for each in changes:
            size = max(each.before.total, each.after.total, 1.0)
            assert sum(each.factors.values()) == pytest.approx(each.amount, abs=1e-6 * size)
        for before_or_after, name in ((before, "before"), (after, "after")):
            known = sum(getattr(each, name).total for each in changes)
            assert known == pytest.approx(sum(each.total for each in before_or_after.values()))

    @given(st.dictionaries(callers, st.floats(-1e6, 1e6)))
    def test_as_many_calls_move_away_as_come(self, more: dict[Caller, float]) -> None:
        found = moved(more)
        assert sum(found.values()) == pytest.approx(0.0, abs=1e-3)
        assert all(abs(found[caller]) <= abs(more[caller]) * (1 + 1e-9) for caller in more)

    @given(st.lists(st.tuples(st.floats(-10, 10), st.floats(-10, 10)), min_size=1, max_size=5))
    def test_shapley_gives_each_term_of_a_sum_its_own_change(self, terms: list[tuple[float, float]]) -> None:
        names = [str(place) for place in range(len(terms))]

        def value(changed: frozenset[str]) -> float:
            return sum(now if name in changed else was for name, (was, now) in zip(names, terms, strict=True))

        found = shapley(names, value)
        assert [found[name] for name in names] == pytest.approx([now - was for was, now in terms], abs=1e-6)


class TestCauses:
    def ranked(self, before: dict[Caller, Consumption], after: dict[Caller, Consumption]) -> list[tuple[str, dict]]:
        changes = split(before, after)
        return [(each.factor, dict(each.who)) for each in causes(changes, sum(each.amount for each in changes))]

    def test_who_did_it_alone_is_named_exactly(self) -> None:
        before = {CHAT: calls(100), WRITER: calls(100)}
        assert self.ranked(before, {**before, CHAT: calls(400)}) == [("volume", CHAT._asdict())]

    def test_what_all_models_of_a_feature_do_is_said_of_the_feature(self) -> None:
        before = {CHAT: calls(100), CHAT_BIG: calls(100), WRITER: calls(100)}
        after = {CHAT: calls(300), CHAT_BIG: calls(300), WRITER: calls(110)}
        ((factor, who),) = self.ranked(before, after)
        assert (factor, who["feature"], "model" in who) == ("volume", "chat", False)

    def test_what_all_features_do_is_said_of_all(self) -> None:
        before = {CHAT._replace(feature=name, model=name, provider=name): calls(100) for name in "abcd"}
        after = {caller: calls(250) for caller in before}
        assert self.ranked(before, after) == [("volume", {})]

    def test_a_price_is_said_of_the_model(self) -> None:
        before = {CHAT._replace(feature=name): calls(100) for name in "abcd"}
        after = {caller: calls(100, prices=(4, 20)) for caller in before}
        assert self.ranked(before, after) == [("prices", {"provider": "openai", "model": "small"})]

    def test_where_the_first_explains_less_than_half_the_next_is_named_too(self) -> None:
        before = {CHAT: calls(100), WRITER: calls(100), CHAT._replace(feature="x"): calls(100)}
        after = {
            CHAT: calls(240),
            WRITER: calls(100, prompt=2900),
            CHAT._replace(feature="x"): calls(100, answer=350),
        }
        assert [factor for factor, _ in self.ranked(before, after)] == ["volume", "prompt size", "answer size"]

    def test_without_a_change_there_is_none(self) -> None:
        assert self.ranked({CHAT: calls(100)}, {CHAT: calls(100)}) == []


class TestWhatIsUsual:
    def test_what_varied_as_much_on_earlier_days_does_not_count(self) -> None:
        usual = Usual((20.0, 30.0, 10.0, 25.0, 15.0, 28.0, 12.0))
        assert usual.least(20.0, floor=0.05) > 20
        assert Usual((20.0, 20.1, 19.9, 20.0)).least(20.0, floor=0.05) == pytest.approx(3.0)

    def test_an_incident_on_an_earlier_day_makes_nothing_usual(self) -> None:
        usual = Usual((20.0, 20.2, 60.0, 19.8, 20.1, 80.0))
        assert usual.least(20.0, floor=0.05) < 5
        assert usual.middle == pytest.approx(20.15)

    def test_with_few_earlier_days_a_change_must_be_larger(self) -> None:
        assert Usual(()).least(20.0, floor=0.05) == pytest.approx(6.0)

    def test_the_floor(self) -> None:
        assert Usual(()).least(0.001, floor=0.05) == 0.05

    def test_few_calls_differ_by_chance(self) -> None:
        """Ten calls of a dollar against twenty: a Poisson number of them, each as variable as its mean."""
        assert chance([(10.0, 10), (20.0, 20)]) == pytest.approx((20 + 40) ** 0.5)
        assert chance([(0.0, 0)]) == 0


class TestOnset:
    BINS = tuple(Bin(at, at + 300, 1.0 if at < 3000 else 5.0, 1.0) for at in range(0, 6000, 300))

    def test_it_is_where_the_rate_left_what_was_expected(self) -> None:
        assert onset(self.BINS, 4800, rose=True) == Onset(3000, None)

    def test_a_short_break_does_not_end_it(self) -> None:
        bins = [*self.BINS]
        bins[12] = Bin(3600, 3900, 1.0, 1.0)
        bins[13] = Bin(3900, 4200, None, 1.0)
        assert onset(bins, 4800, rose=True) == Onset(3000, None)

    def test_what_ended_in_the_window_has_an_end(self) -> None:
        bins = [each if each.began < 4500 else Bin(each.began, each.ended, 1.0, 1.0) for each in self.BINS]
        assert onset(bins, 3600, rose=True) == Onset(3000, 4500)

    def test_what_was_so_all_along_has_no_beginning_that_can_be_seen(self) -> None:
        bins = [Bin(each.began, each.ended, 5.0, 1.0) for each in self.BINS]
        assert onset(bins, 4800, rose=True) is None

    def test_a_fall(self) -> None:
        bins = [Bin(each.began, each.ended, each.before, each.now) for each in self.BINS]
        assert onset(bins, 4800, rose=False) == Onset(3000, None)
        assert onset(bins, 4800, rose=True) is None

    def test_what_is_added_to_a_counter_is_seen_through_its_restarts(self) -> None:
        series = Series({"instance": "a"}, [(0, 10.0), (60, 13.0), (120, 2.0), (180, 2.5)])
        assert added([series], {}) == {60: 3.0, 120: 2.0, 180: 0.5}

    def test_the_first_amount_of_a_new_series_counts_if_its_process_was_watched_before(self) -> None:
        old = Series({"instance": "a"}, [(0, 0.0), (60, 0.0), (120, 0.0)])
        new = Series({"instance": "a", "model": "new"}, [(60, 7.0), (120, 8.0)])
        stranger = Series({"instance": "b"}, [(120, 1000.0)])
        watched = {("", "a", "", ""): 0.0, ("", "b", "", ""): 120.0}
        assert added([old, new, stranger], watched) == {60: 7.0, 120: 1.0}


class TestWords:
    """As a person on call would say it; the numbers are those of an incident told by hand."""

    @pytest.fixture(autouse=True)
    def in_utc(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        monkeypatch.setenv("TZ", "UTC")
        time.tzset()
        yield
        monkeypatch.undo()
        time.tzset()

    HOUR = Question(NOON)
    MINUTE = Question(NOON, 60, 60)

    @pytest.mark.parametrize(
        ("amounts", "began", "sentence"),
        [
            (
                (20.3, 62.4),
                NOON - 4 * 3600 - 300,
                (
                    "Cost rose 3.1× (+$42.10/h) against the same hour yesterday, since 07:55: it was $20.30/h and is "
                    "$62.40/h."
                ),
            ),
            (
                (20, 25),
                NOON - 15 * 3600,
                (
                    "Cost rose by 25 % (+$5.00/h) against the same hour yesterday, since 21:00 on Monday: it was "
                    "$20.00/h and is $25.00/h."
                ),
            ),
            (
                (20, 5),
                None,
                "Cost fell by 75 % (-$15.00/h) against the same hour yesterday: it was $20.00/h and is $5.00/h.",
            ),
            ((0, 5), NOON - 600, "Cost is $5.00/h; there was none at the same hour yesterday, since 11:50."),
            ((5, 0), None, "Cost fell to nothing: it was $5.00/h at the same hour yesterday."),
        ],
    )
    def test_how_much_and_since_when(self, amounts: tuple[float, float], began: float | None, sentence: str) -> None:
        found = change(self.HOUR, COST, *amounts, None if began is None else Onset(began, None))
        assert plain(found) == sentence

    def test_what_is_over_has_its_end(self) -> None:
        found = change(self.HOUR, COST, 20, 40, Onset(NOON - 3600, NOON - 1200))
        assert "yesterday, from 11:00 until 11:40: it was" in found

    def test_short_windows_are_told_by_the_minute(self) -> None:
        found = change(self.MINUTE, TOKENS, 1_200_000, 2_400_000, Onset(NOON - 25, None))
        assert plain(found) == (
            "Token use rose 2.0× (+1.2 M tokens/min) against the minute before, since 11:59:35: it was 1.2 M "
            "tokens/min and is 2.4 M tokens/min."
        )

    def sentence(self, before: dict[Caller, Consumption], after: dict[Caller, Consumption]) -> str:
        changes = split(before, after)
        named = causes(changes, sum(each.amount for each in changes))
        rose = sum(each.amount for each in changes) > 0
        told = [first(named[0], self.HOUR, COST, rose=rose), *(further(each, self.HOUR) for each in named[1:])]
        return plain(" ".join(told))

    def test_longer_prompts_of_an_agent(self) -> None:
        before = {WRITER: calls(540, prompt=1900), CHAT: calls(1000)}
        after = {WRITER: calls(540, prompt=6100), CHAT: calls(1080)}
        assert self.sentence(before, after) == (
            "95 % of it is feature `summarise` (agent writer, claude-sonnet-4-6): its prompts grew from 1,900 to 6,100 "
            "tokens; calls, models, answers, caching and prices did not change."
        )

    @pytest.mark.parametrize(
        ("before", "after", "words"),
        [
            (
                calls(360),
                calls(3600),
                "its calls rose from 360 to 3,600 an hour; models, prompts, answers, caching and prices did not change",
            ),
            (calls(0, 0, 0), calls(540), "it made no calls before, and 540 an hour now; models, prompts"),
            (
                calls(100),
                calls(100, answer=420),
                "its answers grew from 100 to 420 tokens; calls, models, prompts, caching",
            ),
            (
                calls(100, cached=0.62),
                calls(100, cached=0.03),
                "the share of its input that came from the cache fell from 62 % to 3 %; calls, models, prompts",
            ),
            (
                calls(100, prices=(0.15, 10)),
                calls(100, prices=(0.30, 10)),
                "the price of a million tokens of input rose from $0.15 to $0.30; calls, models, prompts, answers and",
            ),
            (
                calls(100),
                calls(100, fee=0.01),
                "what a call costs beside its tokens rose from $0 to $0.0100; calls, models",
            ),
        ],
    )
    def test_what_a_factor_did(self, before: Consumption, after: Consumption, words: str) -> None:
        assert f"100 % of it is feature `chat` (small): {words}" in self.sentence({CHAT: before}, {CHAT: after})

    def test_another_model(self) -> None:
        after = {CHAT_BIG: calls(540, prices=(20, 100))}
        assert self.sentence({CHAT: calls(540)}, after) == (
            "100 % of it is feature `chat`: 540 calls an hour moved from small to big; calls, prompts, answers, "
            "caching and prices did not change."
        )

    def test_all_features_together(self) -> None:
        before = {CHAT._replace(feature=name, model=name, provider=name): calls(100) for name in "abcd"}
        found = self.sentence(before, {caller: calls(250) for caller in before})
        assert "100 % of it is all features together: their calls rose from 400 to 1,000 an hour;" in found

    def test_what_something_else_offsets(self) -> None:
        before = {CHAT: calls(1000), WRITER: calls(1000)}
        found = self.sentence(before, {CHAT: calls(3000), WRITER: calls(500)})
        assert found.startswith(
            "More than the whole rise is feature `chat` (small): its calls rose from 1,000 to 3,000"
        )

    def test_a_fall(self) -> None:
        assert "its calls fell from 1,000 to 100 an hour" in self.sentence({CHAT: calls(1000)}, {CHAT: calls(100)})

    @pytest.mark.parametrize(
        ("question", "base"),
        [
            (Question(NOON), "the same hour yesterday"),
            (Question(NOON, is_now=False), "the same hour the day before"),
            (Question(NOON, 3 * 3600), "the same time yesterday"),
            (Question(NOON, 3600, 7 * 86400), "the same hour a week ago"),
            (Question(NOON, 3600, 3 * 86400), "the same hour 3 days ago"),
            (Question(NOON, 60, 60), "the minute before"),
            (Question(NOON, 3600, 3600), "the hour before"),
            (Question(NOON, 900, 900), "the 15 min before"),
            (Question(NOON, 900, 7200), "the same time 2 h earlier"),
        ],
    )
    def test_what_it_is_compared_with(self, question: Question, base: str) -> None:
        assert plain(question.base) == base

    @pytest.mark.parametrize(
        ("written", "text"),
        [
            (dollars(1234.5), "$1,234"),
            (dollars(0.00421), "$0.0042"),
            (dollars(-3), "-$3.00"),
            (dollars(0.00000001), "<$0.0001"),
            (count(1899.6), "1,900"),
            (count(6.08), "6.1"),
            (count(2_140_000), "2.1 M"),
            (seconds(0.027), "27 ms"),
            (seconds(8.31), "8.3 s"),
            (seconds(0), "0 s"),
            (percent(0.944), "94 %"),
            (percent(0.004), "0.4 %"),
            (span(26 * 3600 + 300), "26 h"),
            (span(2400), "40 min"),
            (span(9 * 86400), "9 days"),
            (clock(NOON - 86400, NOON), "12:00 on Monday"),
            (clock(NOON - 9 * 86400, NOON), "12:00 on 2026-11-15"),
        ],
    )
    def test_numbers(self, written: str, text: str) -> None:
        assert plain(written) == text


def plain(text: str) -> str:
    return text.replace("\N{NO-BREAK SPACE}", " ")


class TestLatency:
    """1000 calls of 4 s each, of which one attempt takes all, with answers of 200 tokens."""

    @staticmethod
    def timing(
        each: float = 4.0,
        wait: float = 0.0,
        refused: float = 0.0,
        answer: float = 200,
        beside: float = 0.0,
        **failed: float,
    ) -> Timing:
        found = Timing(1000, 1000 * (each + wait + beside), 1000 * wait, output=1000 * answer)
        found.attempts.update({"ok": 1000, "rate_limit": 1000 * refused, **dict.fromkeys(failed, 1000)})
        found.attempt_seconds.update({"ok": 1000 * each, **{name: 1000 * took for name, took in failed.items()}})
        found.seconds += 1000 * sum(failed.values())
        for bound in (1.0, 5.0, 10.0, 20.0, 60.0, float("inf")):
            found.buckets[bound] = 1000.0 if bound >= found.mean else 0.0
            found.attempt_buckets[bound] = 1000.0 if bound >= each else 0.0
        return found

    def compared(self, after: Timing) -> Provider:
        before, model = self.timing(), ("anthropic", "claude")
        factors = slower("anthropic", {model: before}, {model: after}, with_attempts=True)
        return Provider("anthropic", before, after, True, factors, (1.0, "input_tokens"), {"claude": (1.0, 1.0)})

    @pytest.mark.parametrize(
        ("after", "expected", "words"),
        [
            (
                timing(wait=9.0, refused=1.0),
                "rate limit",
                (
                    "Its rate limit does it: 50 % of the attempts are refused (0 % before), and a call waits 9.0 s for "
                    "the next one (0 s before); its limit of input tokens is used to 100 %. One attempt takes as long "
                    "as before (P95 4.8 s)."
                ),
            ),
            (
                timing(each=12.0),
                "pace",
                (
                    "The provider itself is slower, with answers of 200 tokens (200 before): a token takes 60 ms, and "
                    "20 ms before. P95 of one attempt went from 4.8 s to 20 s."
                ),
            ),
            (
                timing(each=12.0, answer=600),
                "answer size",
                "The length of its answers does it: they went from 200 to 600 tokens; a token takes 20 ms, and 20 ms",
            ),
            (
                timing(timeout=10.0),
                "failed attempts",
                "Failed attempts do it: 50 % end with timeout (0 % before), and a",
            ),
            (
                timing(beside=10.0),
                "beside attempts",
                "It is not the provider: what changed is what a call spends neither",
            ),
        ],
    )
    def test_what_makes_calls_slow(self, after: Timing, expected: str, words: str) -> None:
        provider = self.compared(after)
        assert cause(provider) == expected
        assert plain(reason(provider)).startswith(words)

    def test_calls_that_move_to_a_slower_model(self) -> None:
        quick, slow = self.timing(each=1.0), self.timing(each=9.0)
        few = Timing(100, 900, output=100 * 200)
        few.attempts["ok"], few.attempt_seconds["ok"] = 100, 900
        before, after = {("p", "quick"): quick, ("p", "slow"): few}, {("p", "quick"): quick, ("p", "slow"): slow}
        found = slower("p", before, after, with_attempts=True)
        assert max(found, key=lambda factor: found[factor]) == "model mix"
        assert sum(found.values()) == pytest.approx(10_000 / 2000 - 1900 / 1100)
        assert found["pace"] == pytest.approx(0)

    def test_a_percentile_is_that_of_prometheus(self) -> None:
        """The 95th of 100 values, 90 of them up to 1 s, 8 more up to 2 s: five eighths on in that bucket."""
        assert quantile(0.95, {1.0: 90, 2.0: 98, float("inf"): 100}) == pytest.approx(1.625)
        assert quantile(0.99, {1.0: 90, 2.0: 98, float("inf"): 100}) == 2.0
        assert quantile(0.95, {1.0: 0, float("inf"): 0}) is None


class TestQuestions:
    @pytest.mark.parametrize(
        ("text", "length"), [("90s", 90), ("5m", 300), ("1h30m", 5400), ("1d", 86400), ("1w", 604800)]
    )
    def test_lengths_of_time(self, text: str, length: int) -> None:
        assert duration(text) == length

    @pytest.mark.parametrize("text", ["", "h", "5", "5 m", "1y", "-1h", "1.5h"])
    def test_what_is_none(self, text: str) -> None:
        with pytest.raises(ValueError, match="is no length of time"):
            duration(text)

    def test_instants(self) -> None:
        assert instant("2026-11-24T12:00Z", NOON) == instant("2026-11-24T13:00+01:00", NOON) == NOON
        assert instant(str(NOON), 0) == NOON
        with pytest.raises(ValueError, match="is no time"):
            instant("yesterday", NOON)

    def test_a_time_of_the_day_is_the_last_one_that_has_been(self) -> None:
        for text in ("00:00", "12:00", "23:59:59"):
            assert 0 <= NOON - instant(text, NOON) < 86400 + 3600

    @pytest.mark.parametrize("metric", [metrics.COST, metrics.TOKENS, metrics.REQUESTS, metrics.RETRY_WAIT])
    def test_what_is_asked_for_is_in_the_catalogue(self, metric: metrics.Metric) -> None:
        """As the tests of dashboards and rules read it."""
        only = {"feature": ("a",), "agent": ('say "hi"\\',), "job": ("shop",)}
        asked = promql.metrics_and_labels(expression(metric, ("feature", "model"), 3600, only))
        assert asked[metric.prometheus] <= {*ALL[metric.name].labels, "job", "instance"}
        assert asked.keys() == {metric.prometheus, "llmwatch_build_info"}


class Api:
    """What answers as Prometheus would, with what it was asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.status, self.body = 200, json.dumps({"status": "success", "data": {"resultType": "vector", "result": []}})
        self.url = ""

    @contextmanager
    def serving(self) -> Iterator[Api]:
        api = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                api.asked.append({"path": parts.path, "query": parse_qs(parts.query), "headers": dict(self.headers)})
                self.send_response(api.status)
                self.end_headers()
                self.wfile.write(api.body.encode())

            def log_message(self, *_: object) -> None:
                pass

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            self.url = f"http://127.0.0.1:{server.server_port}"
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            try:
                yield self
            finally:
                server.shutdown()
                thread.join()


@pytest.fixture
def api() -> Iterator[Api]:
    with Api().serving() as api:
        yield api


class TestServers:
    def test_the_two_queries_that_all_servers_have(self, api: Api) -> None:
        server = Server(f"{api.url}/select/0/prometheus/")
        assert server.vector("up", 1.5) == []
        assert server.matrix("up", 0, 60, 15) == []
        assert [each["path"] for each in api.asked] == [
            "/select/0/prometheus/api/v1/query",
            "/select/0/prometheus/api/v1/query_range",
        ]
        assert api.asked[0]["query"] == {"query": ["up"], "time": ["1.500"]}

    def test_what_is_no_number_is_left_out(self, api: Api) -> None:
        rows = [{"metric": {"a": "b"}, "value": [1, value]} for value in ("NaN", "2.5", "+Inf")]
        api.body = json.dumps({"status": "success", "data": {"resultType": "vector", "result": rows}})
        assert [sample.value for sample in Server(api.url).vector("up", 1)] == [2.5]

    @pytest.mark.parametrize(
        ("credentials", "header"),
        [
            (None, None),
            ("a-token", "Bearer a-token"),
            ("me:secret", "Basic " + b64encode(b"me:secret").decode()),
        ],
    )
    def test_credentials(self, api: Api, credentials: str | None, header: str | None) -> None:
        Server(api.url, credentials).vector("up", 1)
        assert api.asked[0]["headers"].get("Authorization") == header

    def test_credentials_in_the_url_are_sent_and_never_shown(self, api: Api) -> None:
        server = Server(api.url.replace("//", "//me:s%40cret@"))
        server.vector("up", 1)
        assert api.asked[0]["headers"]["Authorization"] == "Basic " + b64encode(b"me:s@cret").decode()
        assert server.url == api.url

    @pytest.mark.parametrize(
        ("status", "body", "told"),
        [
            (401, "no", "asks for other credentials: put user:password or a token into LLMWATCH_PROMETHEUS_AUTH"),
            (404, "<html>", "is not the HTTP API of Prometheus (status 404)"),
            (200, "{}", "is not the HTTP API of Prometheus"),
            (200, '{"status":"success","data":{"result":[7]}}', "is not the HTTP API of Prometheus"),
            (422, '{"status":"error","error":"too many samples"}', "refuses a query: too many samples"),
        ],
    )
    def test_what_is_no_answer(self, api: Api, status: int, body: str, told: str) -> None:
        api.status, api.body = status, body
        with pytest.raises(UnreachableError) as refused:
            Server(api.url).vector("up", 1)
        assert told in str(refused.value)

    @pytest.mark.parametrize("url", ["ftp://host", "http://", "http://a b", "http://host/\n"])
    def test_what_is_no_url(self, url: str) -> None:
        with pytest.raises(ValueError, match="is no URL of a web server"):
            Server(url)


class TestCommand:
    def test_a_server_that_knows_nothing_of_llmwatch(self, api: Api, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["explain", "cost", "--prometheus", api.url]) == 1
        told = " ".join(capsys.readouterr().out.split())
        assert f"Cannot tell: {api.url} has no metric of llmwatch in the last" in told

    def test_the_same_as_a_document(self, api: Api, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["explain", "latency", "--json", "--prometheus", api.url]) == 1
        document = json.loads(capsys.readouterr().out)
        assert (document["subject"], document["finding"]) == ("latency", "unknown")

    def test_what_the_server_warns_of_is_passed_on(self, api: Api, capsys: pytest.CaptureFixture[str]) -> None:
        api.body = json.dumps({"status": "success", "data": {"result": []}, "warnings": ["a store is away"]})
        main(["explain", "cost", "--prometheus", api.url])
        assert "warns: a store is away" in capsys.readouterr().out

    def test_the_environment_names_the_server_and_the_credentials(
        self, api: Api, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("LLMWATCH_PROMETHEUS", api.url)
        monkeypatch.setenv("LLMWATCH_PROMETHEUS_AUTH", "a-token")
        assert main(["explain", "tokens"]) == 1
        assert api.asked[0]["headers"]["Authorization"] == "Bearer a-token"

    def test_a_server_that_is_not_there(self, capsys: pytest.CaptureFixture[str]) -> None:
        url = f"http://127.0.0.1:{free_port()}"
        assert main(["explain", "cost", "--prometheus", url]) == 2
        assert capsys.readouterr().err == f"llmwatch: nothing can be read at {url}: Connection refused\n"

    @pytest.mark.parametrize(
        ("options", "told"),
        [
            (["--window", "soon"], "'soon' is no length of time"),
            (["--window", "2h", "--against", "1h"], "--against must not be shorter than --window"),
            (["--at", "noonish"], "'noonish' is no time"),
            (["--at", "2126-01-01T00:00Z"], "that is still to come"),
            (["--prometheus", "ftp://x"], "is no URL of a web server"),
            (["--timeout", "0"], "--timeout must be more than 0"),
        ],
    )
    def test_misuse(self, options: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["explain", "cost", *options]) == 2
        assert told in capsys.readouterr().err

    def test_latency_is_not_known_by_agent(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as end:
            main(["explain", "latency", "--agent", "writer"])
        assert end.value.code == 2
        assert "--agent" in capsys.readouterr().err


def test_a_change_knows_its_amount() -> None:
    assert Change(CHAT, calls(100), calls(200), {}).amount == pytest.approx(0.3)
