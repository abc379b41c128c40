"""Secrets: what is in a call is found in nothing that llmwatch shows, lists, logs or keeps."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import threading
import types
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from recording import Faults, apart
from support import require_module

import llmwatch
from llmwatch import Label, _runtime, attribute, observe_llm, track_request
from llmwatch.simulate import Vendors
from llmwatch.testing import capture

PROMPT = "planted-prompt-4711"
SYSTEM = "planted-system-4712"
KEY = "sk-planted-key-4713"
HEADER = "planted-header-4714"
USER = "planted-user-4715"
UNKNOWN_USER = "planted-unknown-user-4716"
EMAIL = "planted-email-4717@example.org"
FAILURE = f"planted-failure-4718: {PROMPT}"
METADATA = "planted-metadata-4719"
PLANTED = "planted-"

TIERS = {USER: "pro"}
OPENAI_ENDS = ("ok", "rate_limit", "quota", "context_length", "authentication", "invalid_request", "server_error")
ANTHROPIC_ENDS = ("ok", "rate_limit", "overloaded", "permission", "not_found", "server_error")


@dataclass
class Application:
    """Programs that ask both vendors in all ways, and what they were answered."""

    openai: Any
    anthropic: Any
    vendors: Vendors
    answers: list[str] = field(default_factory=list)

    @observe_llm(feature="chat", provider="openai")
    def ask(self) -> Any:
        messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": PROMPT}]
        return self.openai.chat.completions.create(
            model="gpt-4o-mini", messages=messages, user=USER, metadata={"note": METADATA}
        )

    @observe_llm(feature="stream", provider="openai")
    def stream(self) -> Any:
        messages = [{"role": "user", "content": PROMPT}]
        options = {"include_usage": True}
        return self.openai.chat.completions.create(
            model="gpt-4o-mini", messages=messages, stream=True, stream_options=options
        )

    @observe_llm(feature="claude")
    def claude(self) -> Any:
        return self.anthropic.messages.create(
            model="claude-sonnet-4-5", max_tokens=64, system=SYSTEM, messages=[{"role": "user", "content": PROMPT}]
        )

    def claude_streamed(self) -> None:
        with track_request(feature="claude stream", provider="anthropic") as request:
            asked = {"role": "user", "content": PROMPT}
            events = self.anthropic.messages.create(
                model="claude-sonnet-4-5", max_tokens=64, messages=[asked], stream=True
            )
            for event in request.stream(events):
                if event.type == "content_block_delta":
                    self.answers.append(getattr(event.delta, "text", ""))

    @observe_llm(feature="broken")
    async def break_(self) -> None:
        await asyncio.sleep(0)
        raise RuntimeError(FAILURE)

    def run(self) -> None:
        """All of it, good and bad, for a user who is known, for one who is not, and with a label nobody declared."""
        for user in (USER, UNKNOWN_USER):
            with attribute(tier=user, email=EMAIL):
                self._ask_openai()
                self._ask_anthropic()
                with suppress(RuntimeError):
                    asyncio.run(self.break_())
        with attribute(tier=Unprintable()):
            self.answers.append(self.ask().choices[0].message.content)

    def _ask_openai(self) -> None:
        for end in OPENAI_ENDS:
            self.vendors.next("openai", end)
            with suppress(Exception):
                self.answers.append(self.ask().choices[0].message.content)
        for end in ("ok", "stream_error", "broken_stream"):
            self.vendors.next("openai", end)
            with suppress(Exception):
                for chunk in self.stream():
                    self.answers.extend(choice.delta.content or "" for choice in chunk.choices)
        self.vendors.next("openai", "ok")
        stream = self.stream()
        next(stream)
        stream.close()

    def _ask_anthropic(self) -> None:
        for end in ANTHROPIC_ENDS:
            self.vendors.next("anthropic", end)
            with suppress(Exception):
                self.answers.append(self.claude().content[0].text)
        for end in ("ok", "stream_error", "broken_stream"):
            self.vendors.next("anthropic", end)
            with suppress(Exception):
                self.claude_streamed()

    @property
    def said(self) -> set[str]:
        """What the vendors have said, as far as it is long enough to be told from anything else."""
        return {answer for answer in self.answers if len(answer) > 20}


class Unprintable:
    """No label value, and a secret in its representation."""

    def __repr__(self) -> str:
        return EMAIL


@pytest.fixture
def application() -> Iterator[Application]:
    openai, anthropic = require_module("openai"), require_module("anthropic")
    with Vendors(7, time_scale=0.0) as vendors:
        headers = {"X-Tenant": HEADER}
        yield Application(
            openai.OpenAI(api_key=KEY, base_url=vendors.openai_url, default_headers=headers, max_retries=0),
            anthropic.Anthropic(api_key=KEY, base_url=vendors.anthropic_url, default_headers=headers, max_retries=0),
            vendors,
        )


@pytest.fixture
def faults() -> Iterator[Faults]:
    with apart() as faults:
        yield faults


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG, "llmwatch")
    return caplog


def lines(caplog: pytest.LogCaptureFixture) -> str:
    """All that llmwatch has logged, tracebacks included; some of it comes on a thread of its own."""
    for thread in threading.enumerate():
        if thread.name == "llmwatch-log":
            thread.join(10)
    return "\n".join(caplog.handler.format(record) for record in caplog.records if record.name.startswith("llmwatch"))


def pages() -> dict[str, str]:
    """The page in either format."""
    page = _runtime.current().page
    accepted = {"text": "text/plain", "OpenMetrics": "application/openmetrics-text; version=1.0.0"}
    return {name: page.render(accept)[0].decode() for name, accept in accepted.items()}


def texts_within(*roots: object) -> Iterator[str]:
    """Every text that can be reached from these objects, but for what the interpreter and the program define."""
    passed_over = (type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType, types.FrameType)
    seen: set[int] = set()
    waiting: list[object] = [*roots]
    while waiting:
        found = waiting.pop()
        if id(found) in seen or isinstance(found, passed_over) or found is TIERS:
            continue
        seen.add(id(found))
        if isinstance(found, str | bytes):
            yield found if isinstance(found, str) else found.decode("latin-1")
        waiting.extend(gc.get_referents(found))


def secrets_in(text: str, application: Application) -> list[str]:
    """What must not be there."""
    return [secret for secret in (PLANTED, *application.said) if secret in text]


LABELS = {"tier": Label(["free", "pro"], mapper=TIERS.__getitem__), "team": Label(limit=1, mapper=lambda user: user)}


def test_nothing_of_a_call_is_on_a_page_in_a_report_or_in_a_log(
    application: Application, faults: Faults, logged: pytest.LogCaptureFixture
) -> None:
    faults.expected = {"labels", "mapper"}  # a label that nobody declared, a user whom the mapper does not know
    llmwatch.configure(labels=LABELS, label_limits={"feature": 1, "model": 1})
    application.run()
    report = json.dumps(_runtime.current().recorder.label_report())
    shown = pages() | {"report": report, "log": lines(logged)}

    assert len(application.said) > 2
    assert [name for name, text in shown.items() if secrets_in(text, application)] == []
    assert 'tier="pro"' in shown["text"]
    assert 'error_type="context_length"' in shown["text"]
    assert "label 'email' is left out" in shown["log"]
    assert "mapper of label 'tier' raised KeyError" in shown["log"]


def test_after_a_collection_nothing_of_a_call_is_kept(application: Application, faults: Faults) -> None:
    faults.expected = {"labels", "mapper"}
    llmwatch.configure(labels=LABELS, label_limits={"feature": 1, "model": 1})
    application.run()
    runtime = _runtime.current()
    assert any(USER in text for text in texts_within(runtime.recorder)), "what is not folded yet can be found"
    pages()
    kept = list(texts_within(runtime.recorder, runtime.shield, runtime.page, runtime.provider))

    assert "gpt-4o-mini" in {text[:11] for text in kept}
    assert [text for text in kept if PLANTED in text] == []
    assert application.said.isdisjoint(kept)


def test_the_values_of_a_label_with_a_mapper_are_not_listed_though_they_are_shown(
    faults: Faults, logged: pytest.LogCaptureFixture
) -> None:
    llmwatch.configure(labels=LABELS)
    for user in ("first", USER, USER):
        with track_request(team=user):
            pass
    report = _runtime.current().recorder.label_report()
    shown = [json.dumps(report), lines(logged), *pages().values()]

    assert report["labels"]["team"]["folded"] == 2
    assert [text for text in shown if PLANTED in text] == []


def test_the_record_of_a_call_holds_what_was_stated_and_nothing_of_what_was_said(application: Application) -> None:
    with capture() as seen:
        application._ask_openai()
        application._ask_anthropic()
        with suppress(RuntimeError):
            asyncio.run(application.break_())
    kept = [*texts_within(seen.calls), *map(repr, seen.calls)]

    assert len(seen.calls) == len(OPENAI_ENDS) + 4 + len(ANTHROPIC_ENDS) + 3 + 1
    assert {record.status for record in seen.calls} == {"success", "error", "abandoned"}
    assert [text for text in kept if secrets_in(text, application)] == []
