"""The live page in a browser: what people see, with mouse, keyboard and screen reader; and that nothing else happens.

Pictures are kept in the folder that `LLMWATCH_ARTEFACTS` names.
"""

from __future__ import annotations

import json
import os
import random
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from recording import MODEL, REPLY, answering, apart
from support import require, require_module

import llmwatch
from llmwatch import _runtime
from llmwatch.live import Live
from llmwatch.live import _assets as assets

ARGUMENTS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 375, "height": 740}
HOSTILE = "<script>document.title='hacked'</script><img src=x onerror=alert(1)>"
PATIENCE = 20_000  # milliseconds


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    chromium = require("chromium")
    playwright = require_module("playwright.sync_api").sync_playwright().start()
    started = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
    yield started
    started.close()
    playwright.stop()


@pytest.fixture(autouse=True)
def program(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for variable in ("LLMWATCH_PORT", "LLMWATCH_LIVE", "OTEL_SERVICE_NAME", "OTEL_EXPORTER_PROMETHEUS_PORT"):
        monkeypatch.delenv(variable, raising=False)
    with apart():
        yield


Opener = Callable[..., Any]


@pytest.fixture
def opened(browser: Any) -> Iterator[Opener]:
    """Opens the page; at the end nothing may have been complained about, and nobody else asked for anything."""
    wrong: list[str] = []
    contexts = []

    def open_page(url: str, *, allowed: str = "", **settings: Any) -> Any:
        context = browser.new_context(
            **{"viewport": WIDE, "color_scheme": "light", "reduced_motion": "reduce"} | settings
        )
        contexts.append(context)
        context.add_init_script(
            "addEventListener('securitypolicyviolation', (event) => console.error('violated', event.violatedDirective))"
        )
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
        page.on("dialog", lambda dialog: wrong.append(f"dialog: {dialog.message}"))
        page.on("console", lambda said: wrong.append(said.text) if said.type in ("error", "warning") else None)
        page.on("request", lambda asked: wrong.append(asked.url) if not asked.url.startswith((url, "data:")) else None)
        page.goto(url)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert wrong == []


@pytest.fixture(scope="session")
def artefacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pictures of the page are kept, for people to look at."""
    folder = os.environ.get("LLMWATCH_ARTEFACTS")
    path = Path(folder) if folder else tmp_path_factory.mktemp("artefacts")
    path.mkdir(parents=True, exist_ok=True)
    return path


class Hour:
    """The last hour of a program, which has passed in an instant; from then on time passes as it does.

    Args:
        features: What calls are made for, the first ones most.
    """

    def __init__(self, *features: str, seconds: int = 3600) -> None:
        self.passed = 0.0
        self.features = features
        self.chance = random.Random(5)
        self.counts: dict[tuple[str, ...], float] = {}
        self.durations: dict[str, list[int]] = {}
        began = time.monotonic()
        self.live = Live(self.points, lambda _: None, began, clock=lambda: time.monotonic() + self.passed)
        for _ in range(seconds // 15):
            self.passed += 15
            self.live.sample()

    def points(self) -> Iterator[tuple[str, dict[str, str], Any]]:
        self.call(15)
        for (name, *labels), value in self.counts.items():
            yield name, dict(label.split("=", 1) for label in labels), value
        for feature, counts in self.durations.items():
            yield "ai_request_duration", {"feature": feature, **WHO}, Histogram(counts)
            yield "ai_time_to_first_chunk", {"feature": feature, **WHO}, Histogram([*counts[2:], 0, 0])
        yield "ai_active_requests", {"feature": self.features[0], **WHO}, 4
        for resource, left in (("requests", 40), ("tokens", 1_200_000)):
            labels = {"provider": "openai", "account": "main", "model": MODEL, "resource": resource}
            yield "ai_rate_limit_limit", labels, 500 if resource == "requests" else 2_000_000
            yield "ai_rate_limit_remaining", labels, left

    def call(self, seconds: int) -> None:
        """Makes the calls of so many seconds."""
        late = self.passed > 2400
        for place, feature in enumerate(self.features):
            calls = round(seconds * self.chance.uniform(0.5, 1.5) / (1 + place)) + (feature not in self.durations)
            grown = 3 if late and place == 1 else 1
            who = (f"feature={feature}", *(f"{name}={value}" for name, value in WHO.items()), "operation=chat")
            who = (*who, f"agent={'researcher' if place == 1 else ''}")
            self.add(calls, "ai_requests", *who, "status=success")
            self.add(calls * 900 * grown, "ai_tokens", *who, "direction=input", "kind=text")
            self.add(calls * 120, "ai_tokens", *who, "direction=output", "kind=text")
            self.add(calls * 0.0021 * grown, "ai_cost_dollars", *who, "direction=input", "kind=text")
            if self.chance.random() < 0.06:
                self.add(1, "ai_requests", *who, "status=error")
                self.add(1, "ai_errors", *who, "error_type=rate_limit")
            counts = self.durations.setdefault(feature, [0] * 20)
            for _ in range(calls):
                counts[min(18, max(1, round(self.chance.gauss(7 + late, 1.6))))] += 1
        unknown = ("provider=mine", "model=my-model", "reason=unknown_model")
        self.add(1, "ai_unpriced_requests", *unknown)

    def add(self, amount: float, *key: str) -> None:
        self.counts[key] = self.counts.get(key, 0) + amount


WHO = {"provider": "openai", "model": MODEL}


class Histogram:
    """A point as the SDK has it."""

    def __init__(self, counts: list[int]) -> None:
        from llmwatch.metrics import REQUEST_DURATION

        self.bucket_counts = counts
        self.explicit_bounds = REQUEST_DURATION.buckets


def serve(hour: Hour | None = None, **settings: Any) -> str:
    """Where the page is, which shows this hour if there is one."""
    url = llmwatch.configure(port=0, **{"service_name": "support-bot"} | settings).url
    if hour is not None:
        _runtime.current().page.live = (None, hour.live)
    return f"{url}/"


def drawn(page: Any) -> None:
    page.wait_for_selector('[data-chart="cost"] .js-line')


def until(page: Any, expression: str, what: str) -> None:
    """Waits for the page; its policy forbids what Playwright's own way of waiting does."""
    deadline = time.monotonic() + PATIENCE / 1000
    while not page.evaluate(expression):
        assert time.monotonic() < deadline, f"{what} did not come"
        page.wait_for_timeout(100)


def texts(page: Any, selector: str) -> list[str]:
    return [text.strip() for text in page.locator(selector).all_inner_texts()]


def names(page: Any) -> list[str]:
    return texts(page, "#table tbody th")


def column(page: Any, name: str) -> list[float]:
    """The numbers of a column as people read them."""
    place = texts(page, "#table thead th").index(name)
    cells = page.locator("#table tbody tr").evaluate_all(f"rows => rows.map(row => row.cells[{place}].innerText)")
    return [float(re.sub(r"[^\d.]", "", cell) or 0) for cell in cells]


# --- What it shows


def test_charts_are_drawn_from_calls_as_they_are_made(opened: Opener) -> None:
    answer = answering(REPLY, feature="chat", provider="openai")
    url = serve()
    for _ in range(5):
        answer()
    page = opened(url)
    drawn(page)
    first = page.locator('[data-chart="requests"] .js-line').first.get_attribute("d")
    assert "5 in all" in page.inner_text('[data-figure="requests"]')

    for _ in range(37):
        answer()
    until(page, "document.querySelector('[data-figure=requests]').innerText.includes('42 in all')", "the calls")
    line = "document.querySelector('[data-chart=requests] .js-line').getAttribute('d')"
    until(page, f"{line} !== '{first}'", "another line")
    assert texts(page, "#table tbody tr:first-child th") == ["chat"]
    assert page.title() == "support-bot · llmwatch"


def test_an_hour_of_a_program_in_light(opened: Opener, artefacts: Path) -> None:
    page = opened(serve(Hour("chat", "search", "summarise", "triage")))
    drawn(page)
    page.screenshot(path=artefacts / "live-light.png", full_page=True)

    assert "Last hour of this process" in page.inner_text("#scope")
    assert [
        page.locator(f'[data-chart="{name}"] .js-line').count() for name in ("requests", "latency", "tokens", "cost")
    ] == [2, 3, 2, 1]
    figures = {text.split("\n")[0]: text for text in texts(page, "#figures > div")}
    assert re.search(r"\$\d", figures["Cost"])
    assert "/h" in figures["Cost"]
    assert re.search(r"in · .* out", figures["Tokens"])
    assert "P50" in figures["Latency P95"]
    assert "rate limit" in page.inner_text("#errors")
    assert "92%" in page.inner_text("#limits")
    assert "llmwatch prices my-model" in page.inner_text("#attention")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(251, 251, 249)"


def test_what_changed_names_who_it_comes_from(opened: Opener) -> None:
    page = opened(serve(Hour("chat", "search", "summarise", "triage")))
    drawn(page)

    assert texts(page, "#changes tbody tr:first-child th")[0] in ("feature search", "agent researcher")
    assert "cost" in page.inner_text("#changes tbody tr:first-child")
    assert "tokens per request" in page.inner_text("#factors")


def test_the_same_in_the_dark_and_when_it_gets_light_again(opened: Opener, artefacts: Path) -> None:
    page = opened(serve(Hour("chat", "search", "summarise", "triage")), color_scheme="dark")
    drawn(page)
    page.screenshot(path=artefacts / "live-dark.png", full_page=True)
    line = "getComputedStyle(document.querySelector('[data-chart=cost] .js-line')).stroke"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(18, 20, 23)"
    dark = page.evaluate(line)

    page.emulate_media(color_scheme="light")
    until(page, f"{line} !== '{dark}'", "the other colour")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(251, 251, 249)"


def test_a_phone_shows_it_without_scrolling_sideways(opened: Opener, artefacts: Path) -> None:
    page = opened(serve(Hour("chat", "search", "a-feature-with-a-rather-long-name", "triage")), viewport=NARROW)
    drawn(page)
    page.screenshot(path=artefacts / "live-phone.png", full_page=True)

    assert page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]
    assert page.evaluate(
        "document.querySelector('.scroll').scrollWidth > document.querySelector('.scroll').clientWidth"
    )


def test_a_program_that_has_made_no_call_says_how_to_make_one(opened: Opener, artefacts: Path) -> None:
    page = opened(serve(None))
    page.wait_for_selector("#empty:visible")
    page.screenshot(path=artefacts / "live-empty.png")

    assert "observe_llm" in page.inner_text("#empty")
    assert not page.locator("#shares").is_visible()
    assert not page.locator("#charts").is_visible()


def test_without_the_extra_there_are_tables_and_how_to_get_the_charts(
    opened: Opener, artefacts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assets, "find_spec", lambda _: None)
    assets.charts.cache_clear()
    try:
        page = opened(serve(Hour("chat", "search")))
        page.wait_for_selector("#undrawn:visible")
    finally:
        assets.charts.cache_clear()
    page.screenshot(path=artefacts / "live-bare.png")

    assert "pip install 'llmwatch[live]'" in page.inner_text("#undrawn")
    assert sorted(names(page)) == ["chat", "search"]


def test_a_hostile_name_is_shown_and_does_nothing(opened: Opener, artefacts: Path) -> None:
    page = opened(serve(Hour(HOSTILE, "javascript:alert(1)", "a" * 120), service_name="<b>bold</b>"))
    drawn(page)
    page.screenshot(path=artefacts / "live-hostile.png", full_page=True)

    assert sorted(names(page)) == sorted([HOSTILE, "javascript:alert(1)", "a" * 120])
    assert page.inner_text("#service") == "<b>bold</b>"
    assert page.locator("main img, main script, main b:not(.factors b), #service b").count() == 0
    assert page.title() == "<b>bold</b> · llmwatch"


def test_two_hundred_features_are_a_dozen_until_somebody_wants_all(opened: Opener, artefacts: Path) -> None:
    page = opened(serve(Hour(*(f"feature-{number:03d}" for number in range(200)), seconds=600)))
    drawn(page)
    assert len(names(page)) == 12

    page.get_by_role("button", name="Show all 200").click()
    assert len(names(page)) == 200
    page.screenshot(path=artefacts / "live-200.png")

    page.get_by_role("button", name="Show fewer").click()
    assert len(names(page)) == 12


# --- Sorting, filtering, and doing so without a mouse


def test_columns_sort_in_both_directions_and_say_so(opened: Opener) -> None:
    page = opened(serve(Hour("chat", "search", "summarise", "triage")))
    drawn(page)
    assert page.locator("th[aria-sort]").all_inner_texts() == ["Cost"]

    page.get_by_role("button", name="Requests", exact=True).click()
    assert page.locator('th[aria-sort="descending"]').all_inner_texts() == ["Requests"]
    most_first = column(page, "Requests")
    assert most_first == sorted(most_first, reverse=True)
    assert "Share of requests" in texts(page, "#table thead th")

    page.get_by_role("button", name="Requests", exact=True).click()
    assert page.locator('th[aria-sort="ascending"]').all_inner_texts() == ["Requests"]
    least_first = column(page, "Requests")
    assert least_first == sorted(least_first)

    page.get_by_role("button", name="Feature", exact=True).click()
    assert names(page) == ["chat", "search", "summarise", "triage"]


def test_a_refresh_keeps_the_order_the_filter_and_the_focus(opened: Opener) -> None:
    page = opened(serve(Hour("chat", "search", "summarise", "triage")))
    drawn(page)
    page.get_by_role("button", name="P95", exact=True).click()
    page.locator("#filter").fill("S")
    page.get_by_role("button", name="P95", exact=True).focus()
    before = page.inner_text("#table tbody")
    until(page, f"document.querySelector('#table tbody').innerText !== {json.dumps(before)}", "a refresh")

    assert sorted(names(page)) == ["search", "summarise"]
    assert page.locator('th[aria-sort="descending"]').all_inner_texts() == ["P95"]
    assert page.evaluate("document.activeElement.innerText") == "P95"
    assert page.inner_text("#counted") == "2 of 4"


def test_shares_are_of_all_and_not_of_what_the_filter_leaves(opened: Opener) -> None:
    page = opened(serve(Hour("chat", "search", "summarise", "triage")))
    drawn(page)
    shares = column(page, "Share of cost")
    page.locator("#filter").fill("triage")

    assert sum(shares) == pytest.approx(100, abs=1)
    assert column(page, "Share of cost")[0] == pytest.approx(shares[names_at(shares)], abs=0.5)
    page.locator("#filter").fill("nobody has this")
    assert "Nothing has such a name." in page.inner_text("#table tbody")


def names_at(shares: list[float]) -> int:
    """The place of the feature that is called least, which comes last by cost."""
    return shares.index(min(shares))


def test_everything_can_be_done_with_the_keyboard_and_the_focus_is_seen(opened: Opener) -> None:
    page = opened(serve(Hour("chat", "search", "summarise", "triage")))
    drawn(page)

    def focused() -> str:
        return str(page.evaluate("document.activeElement.id || document.activeElement.innerText"))

    def is_outlined() -> bool:
        return bool(page.evaluate("getComputedStyle(document.activeElement).outlineStyle !== 'none'"))

    page.keyboard.press("Tab")
    assert focused() == "Skip to the tables"
    assert is_outlined()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert focused() == "tab-feature"
    assert is_outlined()
    page.keyboard.press("ArrowRight")
    assert focused() == "tab-agent"
    assert names(page) == ["not stated", "researcher"]
    page.keyboard.press("End")
    assert focused() == "tab-provider"
    assert names(page) == ["openai"]
    page.keyboard.press("Home")
    page.keyboard.press("Tab")
    assert focused() == "filter"
    page.keyboard.type("tri")
    assert names(page) == ["triage"]
    page.keyboard.press("Tab")  # the table, which scrolls
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.locator('th[aria-sort="ascending"]').all_inner_texts() == ["Feature"]
    assert is_outlined()


def test_it_can_be_paused(opened: Opener) -> None:
    page = opened(serve(Hour("chat", "search")))
    drawn(page)
    page.get_by_role("button", name="Pause").click()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.wait_for_timeout(4000)

    assert asked == []
    assert page.locator("#pause").get_attribute("aria-pressed") == "true"
    assert "Paused at" in page.inner_text("#freshness")
    page.get_by_role("button", name="Pause").click()
    until(page, "document.querySelector('#freshness').innerText.startsWith('Live')", "what is new")


# --- For those who do not see it


def test_a_screen_reader_finds_tables_regions_and_what_the_charts_say(opened: Opener) -> None:
    page = opened(serve(Hour("chat", "search", "summarise", "triage")))
    drawn(page)
    summary = page.locator('[data-chart="latency"] p').text_content()

    assert re.fullmatch(r"Chart of seconds since \d\d:\d\d:\d\d\. P95: [\d.]+ m?s now, at most .*", summary or "")
    assert page.locator(".plot:not([aria-hidden=true])").count() == 0
    assert page.get_by_role("table").count() >= 4
    assert page.get_by_role("rowheader", name="chat", exact=True).count() == 1
    assert page.get_by_role("columnheader", name="Requests", exact=True).count() == 1
    assert page.get_by_role("tab", selected=True).all_inner_texts() == ["Feature"]
    assert page.get_by_role("tabpanel", name="Feature").count() == 1
    assert page.get_by_label("Filter by name").count() == 1
    assert page.get_by_role("heading", level=1).all_inner_texts() == ["support-bot"]
    headings = texts(page, "h2:visible")
    assert {"Requests", "Where it goes"} < set(headings)


def test_what_is_said_aloud_is_said_politely_and_only_when_there_is_something_to_say(opened: Opener) -> None:
    page = opened(serve(Hour("chat", "search")))
    drawn(page)
    page.evaluate(
        "window.heard = []; new MutationObserver((all) => all.forEach((each) => heard.push(each.target.textContent)))"
        ".observe(document.querySelector('#notice'), {childList: true, subtree: true, characterData: true})"
    )
    page.wait_for_timeout(3500)

    assert page.locator("[aria-live=assertive], [role=alert]").count() == 0
    assert page.evaluate("heard") == []


def test_colours_are_far_enough_apart_to_be_read(opened: Opener) -> None:
    """WCAG 2.2, 1.4.3: 4.5 to 1 for text, in light and dark."""
    for scheme in ("light", "dark"):
        page = opened(serve(Hour("chat", "search")), color_scheme=scheme)
        drawn(page)
        style = "getComputedStyle(document.documentElement).getPropertyValue"
        paper = page.evaluate(f"{style}('--paper')")
        for name in ("ink", "soft", "red", "green", "blue"):
            assert contrast(page.evaluate(f"{style}('--{name}')"), paper) >= 4.5, (scheme, name)
        assert contrast(page.evaluate(f"{style}('--soft')"), page.evaluate(f"{style}('--wash')")) >= 4.5, scheme


def contrast(one: str, other: str) -> float:
    """The ratio that WCAG defines, of two colours in hexadecimal."""

    def luminance(colour: str) -> float:
        parts = [int(colour.strip()[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        red, green, blue = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


# --- When things go wrong


def test_behind_credentials_it_works_as_without(opened: Opener) -> None:
    url = serve(Hour("chat"), auth=("ops", "secret"))
    page = opened(url, http_credentials={"username": "ops", "password": "secret"})
    drawn(page)

    assert names(page) == ["chat"]


def test_a_program_that_has_ended_is_said_to_have_with_its_last_numbers(browser: Any, artefacts: Path) -> None:
    """By itself, for here a browser may complain of requests that fail."""
    context = browser.new_context(viewport=WIDE)
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(serve(Hour("chat", "search")))
    drawn(page)
    llmwatch.shutdown()
    page.wait_for_selector("#notice:visible")
    page.screenshot(path=artefacts / "live-ended.png")

    assert "It may have ended" in page.inner_text("#notice")
    assert page.get_by_role("status").filter(has_text="It may have ended").count() == 1
    assert "Last heard" in page.inner_text("#freshness")
    assert sorted(names(page)) == ["chat", "search"]
    context.close()
