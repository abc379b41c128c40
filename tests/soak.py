"""Soaks, long ones by hand and short ones in the suite: scrapers against threads that record, and calls of every kind.

`python tests/soak.py scrapes --seconds 60`, and `python tests/soak.py calls --calls 5000000`.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import gzip
import itertools
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache, partial
from http.client import HTTPConnection
from pathlib import Path
from random import Random
from typing import Any

import anthropic
import httpx2
import openai
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics_families
from prometheus_client.parser import text_string_to_metric_families as text_families
from recording import OURS, Collected, apart, parsed

import llmwatch
from llmwatch import observe_agent, observe_llm, observe_tool, track_request

OPEN_METRICS = "application/openmetrics-text; version=1.0.0"


@dataclass
class Scrape:
    """One page, as it came."""

    text: str
    open_metrics: bool

    def series(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        """All of its values; a series that is there twice is an error."""
        read = open_metrics_families if self.open_metrics else text_families
        found: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
        for family in read(self.text):
            for sample in family.samples:
                key = sample.name, frozenset(sample.labels.items())
                assert key not in found, f"{key} is there twice"
                found[key] = sample.value
        return found

    def counters(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        """The values that must not fall."""
        ours = {key: value for key, value in self.series().items() if key[0].startswith("ai_")}
        return {key: value for key, value in ours.items() if key[0].endswith(("_total", "_count", "_bucket"))}

    def successes(self) -> dict[str, float]:
        """The number of successful calls by feature."""
        found = {}
        for (name, pairs), value in self.series().items():
            labels = dict(pairs)
            if name == "ai_requests_total" and labels["status"] == "success":
                found[labels["feature"]] = value
        return found


def scrape(port: int, *, open_metrics: bool, compressed: bool) -> Scrape:
    """One scrape as Prometheus does it."""
    connection = HTTPConnection("127.0.0.1", port, timeout=300)
    headers = {"Accept": OPEN_METRICS if open_metrics else "text/plain"}
    try:
        connection.request("GET", "/metrics", headers=headers | ({"Accept-Encoding": "gzip"} if compressed else {}))
        answer = connection.getresponse()
        body = answer.read()
    finally:
        connection.close()
    assert answer.status == 200
    assert len(body) == int(answer.headers["Content-Length"])
    text = (gzip.decompress(body) if compressed else body).decode()
    assert text.endswith("# EOF\n") is open_metrics
    return Scrape(text, open_metrics)


@dataclass
class Soak:
    """Threads that record, and threads that scrape, for some seconds.

    Attributes:
        scrapes: What came, by scraper, in order.
        calls: How many calls each recording thread has made.
    """

    port: int
    recorders: int = 16
    scrapers: int = 8
    scrapes: dict[int, list[Scrape]] = field(default_factory=dict)
    calls: dict[str, int] = field(default_factory=dict)
    failures: list[BaseException] = field(default_factory=list)

    def run(self, seconds: float) -> None:
        """Lets all of them go, and waits for their end."""
        over = threading.Event()
        threads = [threading.Thread(target=self._record, args=(number, over)) for number in range(self.recorders)]
        threads += [threading.Thread(target=self._scrape, args=(number, over)) for number in range(self.scrapers)]
        for thread in threads:
            thread.start()
        over.wait(seconds)
        over.set()
        for thread in threads:
            thread.join()

    def _record(self, number: int, over: threading.Event) -> None:
        feature = f"feature {number}"
        answer: Callable[[], int] = lambda: 1  # noqa: E731 - a lambda has no type of its own
        call = observe_llm(feature=feature, provider="openai", model="gpt-4o-mini")(answer)
        self.calls[feature] = 0
        while not over.is_set():
            call()
            self.calls[feature] += 1
            if self.calls[feature] % 20 == 0:
                time.sleep(0.001)

    def _scrape(self, number: int, over: threading.Event) -> None:
        mine = self.scrapes.setdefault(number, [])
        try:
            while not over.is_set():
                mine.append(scrape(self.port, open_metrics=number % 2 == 0, compressed=number % 4 < 2))
        except Exception as error:  # reported by whoever runs it
            self.failures.append(error)

    def verify(self) -> int:
        """Every page is whole, and no counter ever falls; gives the number of pages."""
        assert self.failures == []
        for mine in self.scrapes.values():
            seen: dict[str, float] = {}
            for each in mine:
                found = each.successes()
                assert seen.keys() <= found.keys()
                assert all(found[feature] >= value for feature, value in seen.items())
                seen = found
        final = scrape(self.port, open_metrics=True, compressed=False)
        assert final.successes() == self.calls
        return sum(map(len, self.scrapes.values()))


# --- Calls of every kind: what is answered

Part = tuple[str, str]
Act = Callable[[], Any]

ASKED = {"openai": "gpt-4o-mini", "anthropic": "claude-sonnet-4-5"}
ANSWERED = {"openai": "gpt-4o-mini-2024-07-18", "anthropic": "claude-sonnet-4-5-20250929"}
# US dollars for a million tokens, from the vendors' price pages: https://platform.openai.com/docs/pricing and
# https://platform.claude.com/docs/en/about-claude/pricing (prompts of up to 200,000 tokens, a cache of five minutes).
RATES: dict[str, dict[Part, Decimal]] = {
    "openai": {
        ("input", "text"): Decimal("0.15"),
        ("input", "cache_read"): Decimal("0.075"),
        ("output", "text"): Decimal("0.60"),
        ("output", "reasoning"): Decimal("0.60"),
    },
    "anthropic": {
        ("input", "text"): Decimal(3),
        ("input", "cache_read"): Decimal("0.30"),
        ("input", "cache_write"): Decimal("3.75"),
        ("output", "text"): Decimal(15),
    },
}
REASONS = {
    "stop": {"openai": "stop", "anthropic": "end_turn"},
    "length": {"openai": "length", "anthropic": "max_tokens"},
}


@dataclass(frozen=True, slots=True)
class Reply:
    """What a vendor answers, and what it has counted by then."""

    vendor: str
    tokens: Mapping[Part, int]
    reason: str

    @property
    def usage(self) -> dict[str, Any]:
        """The tokens as the vendor writes them."""
        count = self.tokens
        read, output = count["input", "cache_read"], count["output", "text"]
        if self.vendor == "anthropic":  # whose input leaves the cache out
            return {
                "input_tokens": count["input", "text"],
                "cache_read_input_tokens": read,
                "cache_creation_input_tokens": count["input", "cache_write"],
                "output_tokens": output,
            }
        inputs, outputs = count["input", "text"] + read, output + count["output", "reasoning"]
        return {
            "prompt_tokens": inputs,
            "completion_tokens": outputs,
            "total_tokens": inputs + outputs,
            "prompt_tokens_details": {"cached_tokens": read},
            "completion_tokens_details": {"reasoning_tokens": count["output", "reasoning"]},
        }

    def body(self, *, usage: bool = True) -> dict[str, Any]:
        """The whole answer, as parsed JSON."""
        common = {"id": "1", "model": ANSWERED[self.vendor]} | ({"usage": self.usage} if usage else {})
        reason = REASONS[self.reason][self.vendor]
        if self.vendor == "anthropic":
            return {**common, "type": "message", "role": "assistant", "content": [], "stop_reason": reason}
        choice = {"index": 0, "finish_reason": reason, "message": {"role": "assistant", "content": "Yes."}}
        return {**common, "object": "chat.completion", "created": 1, "choices": [choice]}

    def chunks(self) -> list[dict[str, Any]]:
        """The same as a stream: the first three chunks and more hold text, the last ones the rest."""
        reason = REASONS[self.reason][self.vendor]
        if self.vendor == "anthropic":
            begun = {**self.usage, "output_tokens": 1}
            message = {
                "id": "1",
                "type": "message",
                "role": "assistant",
                "model": ANSWERED["anthropic"],
                "usage": begun,
            }
            text = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Yes"}}
            delta = {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": self.usage}
            return [{"type": "message_start", "message": message}, text, text, delta, {"type": "message_stop"}]
        common = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": ANSWERED["openai"]}
        text = {**common, "choices": [{"index": 0, "delta": {"content": "Yes"}, "finish_reason": None}]}
        last = {**common, "choices": [{"index": 0, "delta": {}, "finish_reason": reason}]}
        return [text, text, text, last, {**common, "choices": [], "usage": self.usage}]

    @property
    def begun(self) -> Mapping[Part, int] | None:
        """What a stream has said of its tokens when only its first chunks have come."""
        return {**self.tokens, ("output", "text"): 1} if self.vendor == "anthropic" else None


def reply(random: Random, vendor: str | None = None) -> Reply:
    """An answer of some vendor."""
    vendor = vendor or random.choice(("openai", "anthropic"))
    tokens = {part: random.randrange(1, 2000) if part[1] == "text" else random.randrange(500) for part in RATES[vendor]}
    return Reply(vendor, tokens, random.choice(("stop", "length")))


_REQUEST = httpx2.Request("POST", "https://vendor.test/v1")


def _refused(cls: Any, status: int, code: str) -> BaseException:
    body = {"type": code, "code": code, "message": "No."}
    error: BaseException = cls("No.", response=httpx2.Response(status, request=_REQUEST), body=body)
    return error


# What the vendors' documentation calls these: https://platform.openai.com/docs/guides/error-codes and
# https://platform.claude.com/docs/en/api/errors.
ERRORS: list[tuple[str, Callable[[], BaseException]]] = [
    ("rate_limit", partial(_refused, openai.RateLimitError, 429, "rate_limit_exceeded")),
    ("quota", partial(_refused, openai.RateLimitError, 429, "insufficient_quota")),
    ("authentication", partial(_refused, openai.AuthenticationError, 401, "invalid_api_key")),
    ("context_length", partial(_refused, openai.BadRequestError, 400, "context_length_exceeded")),
    ("server_error", partial(_refused, openai.InternalServerError, 500, "server_error")),
    ("overloaded", partial(_refused, anthropic.APIStatusError, 529, "overloaded_error")),
    ("timeout", lambda: openai.APITimeoutError(_REQUEST)),
    ("timeout", lambda: TimeoutError("too late")),
    ("connection", lambda: ConnectionResetError("away")),
    ("other", lambda: ValueError("no")),
]


# --- What is observed


def _function(act: Act) -> Any:
    return act()


async def _coroutine(act: Act) -> Any:
    return await act()


def _generator(source: Iterator[Any]) -> Iterator[Any]:
    yield from source


async def _async_generator(source: AsyncIterator[Any]) -> AsyncIterator[Any]:
    async for chunk in source:
        yield chunk


_KINDS: dict[str, Callable[..., Any]] = {
    "function": _function,
    "coroutine": _coroutine,
    "outer": _function,
    "outer coroutine": _coroutine,
    "generator": _generator,
    "async generator": _async_generator,
    "returned stream": _function,
    "returned async stream": _coroutine,
    "client": _function,
}


@cache
def observed(feature: str, vendor: str) -> Callable[..., Any]:
    """An observed function that does what it is told."""
    decorate = observe_llm(feature=feature, provider=vendor, model=ASKED[vendor])
    return decorate(_KINDS[feature])


class Wire:
    """A stream of nobody's that holds something open."""

    def __init__(self, source: Any) -> None:
        self._source = source

    def __iter__(self) -> Wire:
        return self

    def __next__(self) -> Any:
        return next(self._source)

    def close(self) -> None:
        self._source.close()


class AsyncWire:
    """The same for `async for`."""

    def __init__(self, source: Any) -> None:
        self._source = source

    def __aiter__(self) -> AsyncWire:
        return self

    async def __anext__(self) -> Any:
        return await self._source.__anext__()

    async def aclose(self) -> None:
        await self._source.aclose()


# --- The truth

Key = tuple[str, tuple[str, ...]]
FINAL = ("whole", "closed", "dropped", "unread", "failing")


class Truth:
    """What was done, counted by whoever did it.

    Attributes:
        counts: By metric and label values: totals of counters, numbers of values of histograms.
        sums: The sums of those histograms whose values are not seconds.
        calls: How many calls were observed.
        agent: The agent whose run goes on.
    """

    def __init__(self) -> None:
        self.counts: Counter[Key] = Counter()
        self.sums: Counter[Key] = Counter()
        self.calls = 0
        self.agent = ""
        self._run: list[int | None] = []

    def call(
        self,
        feature: str,
        vendor: str,
        status: str,
        *,
        error: str = "",
        tokens: Mapping[Part, int] | None = None,
        named: bool = True,
        reason: str = "",
        chunks: int = 0,
        missing: str = "",
    ) -> None:
        """A call has ended.

        Args:
            feature: Where it was made.
            vendor: Whose model.
            status: How it has ended.
            error: Why it has failed.
            tokens: What it has consumed, as far as the vendor has said.
            named: Whether it has come to an answer, which names the model.
            reason: Why the answer has ended.
            chunks: How many came of a stream.
            missing: Why the tokens are unknown.
        """
        self.calls += 1
        model = ANSWERED[vendor] if named else ASKED[vendor]
        labels = (feature, vendor, model)
        call = (*labels, "chat", self.agent)
        counts = self.counts
        counts["ai_requests", (*call, status)] += 1
        counts["ai_request_duration", (*labels, "chat", status)] += 1
        counts["ai_errors", (*call, error)] += bool(error)
        counts["ai_finish_reasons", (*labels, reason)] += bool(reason)
        counts["ai_time_to_first_chunk", labels] += chunks > 0
        counts["ai_time_per_output_chunk", labels] += chunks > 1
        counts["ai_usage_missing", (vendor, model, missing)] += bool(missing)
        counts["ai_unpriced_requests", (vendor, model, "missing_usage")] += bool(missing and status == "success")
        for part, count in (tokens or {}).items():
            counts["ai_tokens", (*call, *part)] += count
        if self.agent:
            self._run.append(sum(tokens.values()) if tokens is not None else None)

    def begin_run(self, agent: str) -> None:
        """An agent has begun."""
        self.agent, self._run = agent, []

    def end_run(self, status: str) -> None:
        """It has ended."""
        labels, known = (self.agent, status), [tokens for tokens in self._run if tokens is not None]
        for name in ("ai_agent_runs", "ai_agent_duration", "ai_agent_run_requests"):
            self.counts[name, labels] += 1
        self.sums["ai_agent_run_requests", labels] += len(self._run)
        self.counts["ai_agent_run_tokens", labels] += bool(known)
        self.sums["ai_agent_run_tokens", labels] += sum(known)
        self.agent = ""

    def tool(self, tool: str, status: str) -> None:
        """A tool was called."""
        for name in ("ai_tool_calls", "ai_tool_duration"):
            self.counts[name, (self.agent, tool, status)] += 1

    def add(self, other: Truth) -> None:
        """Takes over what another has counted."""
        self.counts.update(other.counts)
        self.sums.update(other.sums)
        self.calls += other.calls

    def dollars(self) -> dict[Key, Decimal]:
        """What all of it costs, and what the caches have saved."""
        found: dict[Key, Decimal] = {}
        for (name, labels), count in self.counts.items():
            if name == "ai_tokens":
                *call, direction, kind = labels
                rates = RATES[call[1]]
                rate = rates[direction, kind]
                found["ai_cost_dollars", (*labels, "table")] = count * rate / 1_000_000
                if kind == "cache_read":
                    found["ai_cache_savings_dollars", tuple(call)] = count * (rates["input", "text"] - rate) / 1_000_000
        return found

    def differences(self, page: Collected) -> list[str]:
        """In what a page, in any of our metrics, says something else."""
        expected: dict[Key, float] = {
            key: float(value) for key, value in (self.counts | self.dollars()).items() if value
        }
        sums = {key: float(value) for key, value in self.sums.items() if value}
        found, found_sums = dict[Key, float](), dict[Key, float]()
        for name, row in OURS.items():
            for point in page.of(name) if row.kind != "gauge" else ():
                key = name, tuple(point.labels.get(label, "") for label in row.labels)
                found[key] = point.value if point.count is None else point.count
                if name.startswith("ai_agent_run_"):
                    found_sums[key] = point.value
        return [*_unlike(expected, found), *_unlike(sums, found_sums), *self._unlike_convention(page)]

    def _unlike_convention(self, page: Collected) -> Iterator[str]:
        """The same of the convention's metrics, whose labels say less."""
        wanted: Counter[str] = Counter()
        for (name, labels), count in self.counts.items():
            wanted[f"{name} {labels[-2]}" if name == "ai_tokens" else name] += count
        tokens = "gen_ai.client.token.usage"
        for what, stated, found in (
            ("durations", wanted["ai_requests"], page.count("gen_ai.client.operation.duration")),
            ("runs", wanted["ai_agent_runs"], page.count("gen_ai.invoke_agent.duration")),
            ("tools", wanted["ai_tool_calls"], page.count("gen_ai.execute_tool.duration")),
            ("input", wanted["ai_tokens input"], page.total(tokens, gen_ai_token_type="input")),
            ("output", wanted["ai_tokens output"], page.total(tokens, gen_ai_token_type="output")),
        ):
            if stated != found:
                yield f"the convention's {what}: {stated} and not {found}"


def _unlike(expected: Mapping[Key, float], found: Mapping[Key, float]) -> Iterator[str]:
    for key in sorted({*expected, *found}):
        if expected.get(key, 0) != found.get(key, 0):
            yield f"{key}: {expected.get(key, 0)!r} and not {found.get(key, 0)!r}"


# --- Who calls


class Worker:
    """One who makes calls, one after the other, and counts what comes of them.

    Args:
        soak: What it is part of.
        name: What its choices depend on, beside the seed.
        quota: How many calls it makes, or a few more.
    """

    def __init__(self, soak: Calls, name: str, quota: int) -> None:
        self.soak = soak
        self.random = Random(f"{soak.seed} {name}")
        self.quota = quota
        self.truth = Truth()

    def goes_on(self) -> bool:
        """Whether it has calls to make."""
        return self.truth.calls < self.quota and not self.soak.failures

    def error(self) -> tuple[str, BaseException]:
        """Some error, and its kind."""
        kind, make = self.random.choice(ERRORS)
        return kind, make()

    def whole(self, feature: str, response: Reply) -> Any:
        """A response in one of the forms that it may come in, its call counted."""
        form = self.random.choice(("dict", "dict", "object", "without usage", "text"))
        status = "success"
        if form == "without usage":
            self.truth.call(feature, response.vendor, status, reason=response.reason, missing="not_reported")
            return response.body(usage=False)
        if form == "text":
            self.truth.call(feature, response.vendor, status, named=False, missing="unrecognised")
            return "Yes."
        self.truth.call(feature, response.vendor, status, tokens=response.tokens, reason=response.reason)
        if form == "object":
            validate = (ChatCompletion if response.vendor == "openai" else anthropic.types.Message).model_validate
            return validate(response.body())
        return response.body()

    def stream(self, feature: str, response: Reply, fate: str) -> tuple[int, BaseException | None]:
        """How many chunks are read of a stream, and with what it fails then, its call counted."""
        kind, error = self.error() if fate == "failing" else ("", None)
        if fate == "whole":
            said = {"tokens": response.tokens, "reason": response.reason}
            self.truth.call(feature, response.vendor, "success", chunks=5, **said)  # type: ignore[arg-type]
            return 5, None
        chunks = 0 if fate == "unread" else self.random.randrange(4)
        self.truth.call(
            feature,
            response.vendor,
            {"failing": "error", "cancelled": "cancelled"}.get(fate, "abandoned"),
            error=kind,
            named=chunks > 0,
            tokens=response.begun if chunks else None,
            chunks=chunks,
            missing="interrupted" if chunks and response.begun is None else "",
        )
        return chunks, error

    def counted(self, feature: str, vendor: str) -> dict[str, int]:
        """The arguments of `record`, its call counted."""
        tokens = {("input", "text"): self.random.randrange(1, 900), ("output", "text"): self.random.randrange(1, 900)}
        self.truth.call(feature, vendor, "success", tokens=tokens, named=False)
        return {"input_tokens": tokens["input", "text"], "output_tokens": tokens["output", "text"]}


def _source(chunks: list[Any], error: BaseException | None, after: int) -> Iterator[Any]:
    yield from chunks[:after]
    if error is not None:
        raise error
    yield from chunks[after:]


class Threaded(Worker):
    """One on a thread."""

    def work(self) -> None:
        """Makes its calls."""
        ways = {self.ask: 40, self.read: 30, self.block: 20, self.nest: 5, self.run: 6, self.tool: 3, self.client: 0.3}
        while self.goes_on():
            self.random.choices([*ways], [*ways.values()])[0]()

    def ask(self) -> None:
        """A function that returns an answer, or fails."""
        response = reply(self.random)
        function = observed("function", response.vendor)
        if self.random.random() < 0.3:
            kind, error = self.error()
            self.truth.call("function", response.vendor, "error", error=kind, named=False)
            assert _raised(lambda: function(partial(_raise, error))) is error
            return
        answer = self.whole("function", response)
        assert function(lambda: answer) is answer

    def read(self) -> None:
        """A generator, or a function that returns a stream, read as far as it goes; perhaps by another thread."""
        feature = self.random.choice(("generator", "returned stream"))
        response, fate = reply(self.random), self.random.choice(FINAL)
        chunks = response.chunks()
        after, error = self.stream(feature, response, fate)
        source = _source(chunks, error, after)
        function = observed(feature, response.vendor)
        if feature == "generator":
            stream = function(source)
        else:
            wire: Any = source if self.random.random() < 0.5 else Wire(source)
            stream = function(lambda: wire)
        job = partial(_finish, [stream], fate, chunks[:after], error)
        del stream
        if self.truth.agent or self.random.random() < 0.8:
            job()
            return
        self.soak.handed.append(job)
        del job
        with suppress(IndexError):
            self.soak.handed.popleft()()

    def block(self) -> None:
        """A block, told in one of the ways what came back, or left by an exception."""
        response, way = reply(self.random), self.random.choice(("observe", "record", "stream", "nothing", "raise"))
        vendor = response.vendor
        block = track_request(feature="block", provider=vendor, model=ASKED[vendor])
        if way == "raise":
            kind, error = self.error()
            self.truth.call("block", vendor, "error", error=kind, named=False)
            assert _raised(lambda: _within(block, partial(_raise, error))) is error
            return
        with block as request:
            if way == "observe":
                answer = self.whole("block", response)
                assert request.observe(answer) is answer
            elif way == "record":
                request.record(**self.counted("block", vendor))
            elif way == "nothing":
                self.truth.call("block", vendor, "success", named=False, missing="unrecognised")
            else:
                fate, chunks = self.random.choice(FINAL), response.chunks()
                after, failure = self.stream("block", response, fate)
                _finish([request.stream(_source(chunks, failure, after))], fate, chunks[:after], failure)

    def nest(self) -> None:
        """A function that calls another one and returns its answer: both are calls, and the tokens are the inner's."""
        response = reply(self.random)
        inner, outer = (observed(feature, response.vendor) for feature in ("function", "outer"))
        self.truth.call("function", response.vendor, "success", tokens=response.tokens, reason=response.reason)
        self.truth.call("outer", response.vendor, "success")
        answer = response.body()
        assert outer(lambda: inner(lambda: answer)) is answer

    def run(self) -> None:
        """An agent, as a function or a block, with calls and tools of its own, that may fail in the end."""
        name, error = self.random.choice(("researcher", "writer")), self.random.choice((None, None, ValueError("no")))

        def act() -> None:
            for _ in range(self.random.randrange(4)):
                self.random.choice((self.ask, self.read, self.tool, self.nest))()
            if error is not None:
                raise error

        self.truth.begin_run(name)
        if self.random.random() < 0.5:
            assert _raised(observe_agent(name)(act)) is error
        else:
            assert _raised(lambda: _within(observe_agent(name), act)) is error
        self.truth.end_run("success" if error is None else "error")

    def tool(self) -> None:
        """A tool."""
        name, error = self.random.choice(("search", "calculator")), self.random.choice((None, None, OSError("no")))
        act = (lambda: None) if error is None else partial(_raise, error)
        assert _raised(observe_tool(name)(act)) is error
        self.truth.tool(name, "success" if error is None else "error")

    def client(self) -> None:
        """A stream of openai's own client, over an answer that has come."""
        response, fate = reply(self.random, "openai"), self.random.choice(("whole", "closed", "dropped", "unread"))
        chunks = response.chunks()
        after, _ = self.stream("client", response, fate)
        events = b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks) + b"data: [DONE]\n\n"
        answer = httpx2.Response(200, content=events, request=_REQUEST)
        made: Any = openai.Stream(cast_to=ChatCompletionChunk, response=answer, client=self.soak.client)
        stream = observed("client", "openai")(lambda: made)
        assert type(stream).__name__ == "Stream"
        assert len(list(itertools.islice(stream, after) if fate != "whole" else stream)) == after
        if fate == "closed":
            stream.close()


def _raise(error: BaseException) -> None:
    raise error


def _raised(act: Act) -> BaseException | None:
    """What comes out of it, without the frames that it has come through."""
    try:
        act()
    except BaseException as error:
        return error.with_traceback(None)
    return None


def _within(block: Any, act: Act) -> None:
    with block:
        act()


def _finish(held: list[Any], fate: str, chunks: list[Any], error: BaseException | None) -> None:
    """Reads a stream, which nobody else holds, to the end that it is to have."""
    stream, got = held.pop(), list[Any]()
    read = itertools.islice(stream, len(chunks)) if fate in ("closed", "dropped", "unread") else stream
    assert _raised(lambda: got.extend(read)) is error
    assert len(got) == len(chunks)
    assert all(one is other for one, other in zip(got, chunks, strict=True))
    if fate == "closed":
        stream.close()


class Looped(Worker):
    """One in a task of an event loop."""

    async def work(self) -> None:
        """Makes its calls."""
        ways = {self.ask: 45, self.read: 30, self.block: 15, self.nest: 4, self.run: 6}
        while self.goes_on():
            await self.random.choices([*ways], [*ways.values()])[0]()

    async def ask(self) -> None:
        """A coroutine function that answers, fails, or is called off in one of the ways."""
        response = reply(self.random)
        function, count = observed("coroutine", response.vendor), partial(self.truth.call, "coroutine", response.vendor)
        fate = self.random.choice(
            ("answer", "answer", "answer", "error", "cancel", "too early", "time-out", "patience")
        )
        if fate == "answer":
            answer = self.whole("coroutine", response)
            assert await function(partial(_after_a_turn, answer)) is answer
        elif fate == "error":
            kind, error = self.error()
            count("error", error=kind, named=False)
            assert await _raised_in(function(partial(_after_a_turn, error))) is error
        elif fate == "time-out":  # the client library's own
            count("error", error="timeout", named=False)
            assert type(await _raised_in(function(_hang_for_a_turn))) is TimeoutError
        elif fate == "patience":  # the caller's
            count("cancelled", named=False)
            assert type(await _raised_in(_at_once(function(_hang)))) is TimeoutError
        else:
            if fate == "cancel":  # and not before it has begun
                count("cancelled", named=False)
            await _cancel(function(_hang), turns=fate == "cancel")

    async def read(self) -> None:
        """An async generator, or a coroutine function that returns a stream."""
        feature = self.random.choice(("async generator", "returned async stream"))
        response, fate = reply(self.random), self.random.choice((*FINAL, "cancelled"))
        chunks = response.chunks()
        after, error = self.stream(feature, response, fate)
        hanging = asyncio.Event() if fate == "cancelled" else None
        source = _async_source(chunks, error, after, hanging)
        function = observed(feature, response.vendor)
        if feature == "async generator":
            stream = function(source)
        else:
            stream = await function(partial(_after_a_turn, source if self.random.random() < 0.5 else AsyncWire(source)))
        held = [stream]
        del stream, source
        await _finish_async(held, fate, chunks[:after], error, hanging)

    async def block(self) -> None:
        """A block, told in one of the ways what came back, or left by an exception or a cancellation."""
        response, way = reply(self.random), self.random.choice(("observe", "record", "stream", "raise", "cancel"))
        vendor = response.vendor
        block = track_request(feature="async block", provider=vendor, model=ASKED[vendor])
        if way == "cancel":
            self.truth.call("async block", vendor, "cancelled", named=False)
            await _cancel(_within_async(block, _hang), turns=True)
            return
        if way == "raise":
            kind, error = self.error()
            self.truth.call("async block", vendor, "error", error=kind, named=False)
            assert await _raised_in(_within_async(block, partial(_after_a_turn, error))) is error
            return
        async with block as request:
            if way == "observe":
                answer = self.whole("async block", response)
                assert request.observe(answer) is answer
            elif way == "record":
                request.record(**self.counted("async block", vendor))
            else:
                fate, chunks = self.random.choice(FINAL), response.chunks()
                after, failure = self.stream("async block", response, fate)
                held = [request.stream(_async_source(chunks, failure, after))]
                await _finish_async(held, fate, chunks[:after], failure)

    async def nest(self) -> None:
        """A coroutine function that awaits another one and returns its answer, or is cancelled with it."""
        response = reply(self.random)
        inner, outer = (observed(feature, response.vendor) for feature in ("coroutine", "outer coroutine"))
        if self.random.random() < 0.3:
            for feature in ("coroutine", "outer coroutine"):
                self.truth.call(feature, response.vendor, "cancelled", named=False)
            await _cancel(outer(lambda: inner(_hang)), turns=True)
            return
        self.truth.call("coroutine", response.vendor, "success", tokens=response.tokens, reason=response.reason)
        self.truth.call("outer coroutine", response.vendor, "success")
        answer = response.body()
        assert await outer(lambda: inner(partial(_after_a_turn, answer))) is answer

    async def run(self) -> None:
        """An agent whose calls go on side by side, also on threads; it may be cancelled with the last of them."""
        name, cancelled = self.random.choice(("researcher", "writer")), self.random.random() < 0.3
        ways = self.random.choices(
            (self.ask, self.read, self.block, self.aside), (10, 10, 10, 1), k=self.random.randrange(4)
        )

        async def act() -> None:
            await asyncio.gather(*(way() for way in ways))
            if cancelled:
                self.truth.call("coroutine", "openai", "cancelled", named=False)
                last = asyncio.current_task()
                assert last is not None
                asyncio.get_running_loop().call_soon(last.cancel)
                await observed("coroutine", "openai")(_hang)

        self.truth.begin_run(name)
        by_decorator = self.random.random() < 0.5
        running = observe_agent(name)(act)() if by_decorator else _within_async(observe_agent(name), act)
        if cancelled:
            assert type(await _raised_in(asyncio.ensure_future(running))) is asyncio.CancelledError
        else:
            await running
        self.truth.end_run("cancelled" if cancelled else "success")

    async def aside(self) -> None:
        """A function on a thread of the loop's pool, which is the agent's all the same."""
        response = reply(self.random)
        answer = self.whole("function", response)
        assert await asyncio.to_thread(observed("function", response.vendor), lambda: answer) is answer


async def _hang() -> None:
    await asyncio.get_running_loop().create_future()


async def _hang_for_a_turn() -> None:
    await _at_once(_hang())


async def _at_once(running: Awaitable[Any]) -> None:
    async with asyncio.timeout(0):
        await running


async def _after_a_turn(outcome: Any) -> Any:
    await asyncio.sleep(0)
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome


async def _raised_in(running: Awaitable[Any]) -> BaseException | None:
    try:
        await running
    except BaseException as error:
        return error.with_traceback(None)
    return None


async def _cancel(running: Awaitable[Any], *, turns: int) -> None:
    """Cancels it, after so many turns of the loop."""
    task = asyncio.ensure_future(running)
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    assert type(await _raised_in(task)) is asyncio.CancelledError


async def _within_async(block: Any, act: Act) -> None:
    async with block:
        await act()


async def _async_source(
    chunks: list[Any], error: BaseException | None, after: int, hanging: asyncio.Event | None = None
) -> AsyncIterator[Any]:
    for chunk in chunks[:after]:
        await asyncio.sleep(0)
        yield chunk
    if hanging is not None:
        hanging.set()
        await _hang()
    if error is not None:
        raise error
    for chunk in chunks[after:]:
        yield chunk


async def _finish_async(
    held: list[Any], fate: str, chunks: list[Any], error: BaseException | None, hanging: asyncio.Event | None = None
) -> None:
    stream, got = held.pop(), list[Any]()

    async def read() -> None:
        if chunks or fate not in ("closed", "dropped", "unread"):
            async for chunk in stream:
                got.append(chunk)
                if len(got) == len(chunks) and fate in ("closed", "dropped"):
                    return

    if hanging is not None:
        reading = asyncio.ensure_future(read())
        await hanging.wait()
        await _cancel(reading, turns=0)
    else:
        assert await _raised_in(read()) is error
    assert len(got) == len(chunks)
    assert all(one is other for one, other in zip(got, chunks, strict=True))
    if fate == "closed":
        await stream.aclose()


# --- All together


@dataclass(frozen=True)
class Footprint:
    """What the process holds on to.

    Attributes:
        blocks: Blocks of memory that the interpreter has given out for objects.
        resident: Bytes in memory.
    """

    blocks: int
    resident: int

    @classmethod
    def now(cls) -> Footprint:
        """What it is, when everything that nobody needs is gone."""
        gc.collect()
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
        return cls(sys.getallocatedblocks(), pages * os.sysconf("SC_PAGESIZE"))


def belongings() -> tuple[set[str], dict[str, str]]:
    """The threads that run, and the files and sockets that are open."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # that of the listing itself
            found[name] = os.readlink(f"/proc/self/fd/{name}")
    return {f"{thread.name} {thread.ident}" for thread in threading.enumerate()}, found


@dataclass
class Calls:
    """Calls of every kind and end, on threads and in tasks, under scrapes and reconfigurations.

    Attributes:
        truth: What was done.
        pages: How many scrapes there were beside.
        handed: Streams that one thread has begun, for another one to finish.
        failures: What must not have happened.
    """

    port: int
    seed: int = 0
    threads: int = 8
    loops: int = 2
    tasks: int = 8
    truth: Truth = field(default_factory=Truth)
    pages: int = 0
    phases: int = 0
    handed: deque[Act] = field(default_factory=deque)
    failures: list[BaseException] = field(default_factory=list)

    @property
    def client(self) -> openai.OpenAI:
        """A client, which is never asked to send anything."""
        return _client()

    def run(self, calls: int) -> None:
        """Makes so many calls, or a few more; all counted."""
        self.phases += 1
        share = -(-calls // (self.threads + self.loops * self.tasks))
        threaded = [Threaded(self, f"{self.phases} thread {number}", share) for number in range(self.threads)]
        looped = [
            [Looped(self, f"{self.phases} loop {loop} task {task}", share) for task in range(self.tasks)]
            for loop in range(self.loops)
        ]
        works: list[Act] = [each.work for each in threaded]
        works += [partial(asyncio.run, _side_by_side(tasks)) for tasks in looped]
        threads = [threading.Thread(target=self._guarded, args=(work,)) for work in works]
        over = threading.Event()
        scraper = threading.Thread(target=self._guarded, args=(partial(self._scrape, over),))
        workers = [*threaded, *itertools.chain.from_iterable(looped)]
        for thread in (*threads, scraper):
            thread.start()
        self._reconfigure(threads, workers, calls)
        for thread in threads:
            thread.join()
        over.set()
        scraper.join()
        while self.handed:
            self.handed.popleft()()
        for worker in workers:
            self.truth.add(worker.truth)
        if self.failures:
            raise BaseExceptionGroup("what must not have happened", self.failures)

    def _reconfigure(self, threads: list[threading.Thread], workers: list[Worker], calls: int) -> None:
        """Configures llmwatch anew after a third of the calls, and again after another one."""
        settings: list[dict[str, Any]] = [{"semconv": "both"}, {"label_limits": {"feature": 50}}]
        for third, changed in enumerate(settings, 1):
            while sum(worker.truth.calls for worker in workers) < calls * third / 3 and any(
                t.is_alive() for t in threads
            ):
                time.sleep(0.01)
            assert llmwatch.configure(port=0, live=False, **changed).port == self.port  # where it has served before

    def _guarded(self, work: Act) -> None:
        try:
            work()
        except BaseException as error:  # reported by whoever runs it
            self.failures.append(error)

    def _scrape(self, over: threading.Event) -> None:
        seen: dict[Any, float] = {}
        took = 0.0
        while not over.wait(took):  # more of the time is the calls'
            began = time.monotonic()
            found = scrape(self.port, open_metrics=self.pages % 2 == 0, compressed=self.pages % 4 < 2).counters()
            assert seen.keys() <= found.keys()
            assert [key for key, value in seen.items() if found[key] < value] == []
            seen = found
            self.pages += 1
            took = time.monotonic() - began

    def verify(self) -> None:
        """The page says what was done, to the last token and cent, and that nothing is going on."""
        page = parsed(scrape(self.port, open_metrics=False, compressed=True).text)
        differences = self.truth.differences(page)
        assert not differences, "\n".join(differences)
        assert page.total("ai_active_requests") == 0


@cache
def _client() -> openai.OpenAI:
    return openai.OpenAI(api_key="none")


async def _side_by_side(tasks: list[Looped]) -> None:
    await asyncio.gather(*(task.work() for task in tasks))


# --- By hand


def scrapes(seconds: float) -> None:
    """Scrapers against threads that record, for so many seconds."""
    soak = Soak(llmwatch.configure(port=0).port)
    soak.run(seconds)
    pages = soak.verify()
    last = next(each for each in reversed(soak.scrapes[1]) if not each.open_metrics)
    subprocess.run(["promtool", "check", "metrics"], input=last.text, text=True, check=True)
    llmwatch.shutdown()
    print(f"{pages} whole pages of {sum(soak.calls.values())} calls in {seconds:g} s")  # noqa: T201


# By which a process may grow that has seen every series. What waits while a page is made beside threads that never
# rest, some ten thousand calls, sets the heap's high-water mark, which is reached after a quarter of a million calls.
BLOCKS, RESIDENT = 10_000, 128 * 2**20
_WARM_UP = 8000  # calls, after which hardly a series is new
_PATIENCE = 10.0  # seconds for the last connections to end


@dataclass(frozen=True)
class Outcome:
    """What is left of a soak of calls.

    Attributes:
        calls: How many there were.
        pages: How many scrapes beside.
        dollars: What all calls have cost.
        grown: How much more the process holds at the end than after the warm-up.
        before: Threads and files of before.
        after: And of afterwards.
    """

    calls: int
    pages: int
    dollars: Decimal
    grown: Footprint
    before: tuple[set[str], dict[str, str]]
    after: tuple[set[str], dict[str, str]]


def soak_calls(calls: int, seed: int = 0) -> Outcome:
    """So many calls, a tenth of them or more to warm up, and every sum compared with what was done.

    Raises:
        AssertionError: When a sum differs, a result was another one, or a counter fell.
    """
    before = belongings()
    # Without the live page, which remembers more and more for an hour, and whose thread looks twice a minute only
    # whether it is still needed.
    soak = Calls(llmwatch.configure(port=0, live=False).port, seed)
    soak.run(max(calls // 10, _WARM_UP))
    soak.verify()
    warm = Footprint.now()
    soak.run(calls - soak.truth.calls)
    soak.verify()
    end = Footprint.now()
    llmwatch.shutdown()
    deadline = time.monotonic() + _PATIENCE
    while belongings() != before and time.monotonic() < deadline:
        gc.collect()
        time.sleep(0.05)
    costs = [dollars for (name, _), dollars in soak.truth.dollars().items() if name == "ai_cost_dollars"]
    grown = Footprint(end.blocks - warm.blocks, end.resident - warm.resident)
    return Outcome(soak.truth.calls, soak.pages, sum(costs, Decimal()), grown, before, belongings())


def calls(number: int, seed: int) -> None:
    """Calls of every kind and end."""
    began = time.monotonic()
    with apart():
        outcome = soak_calls(number, seed)
    took = time.monotonic() - began
    print(  # noqa: T201
        f"{outcome.calls} calls for ${outcome.dollars:.2f} in {took:.0f} s, seed {seed}, {outcome.pages} scrapes: "
        f"all exact, nothing active; since the warm-up {outcome.grown.blocks:+} blocks of memory, "
        f"{outcome.grown.resident / 2**20:+.1f} MiB resident"
    )
    assert outcome.after == outcome.before, (outcome.before, outcome.after)
    assert outcome.grown.blocks < BLOCKS
    assert outcome.grown.resident < RESIDENT


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    scenarios = parser.add_subparsers(required=True)
    scenario = scenarios.add_parser("scrapes")
    scenario.add_argument("--seconds", type=float, default=60.0)
    scenario.set_defaults(run=scrapes)
    scenario = scenarios.add_parser("calls")
    scenario.add_argument("--calls", dest="number", type=int, default=5_000_000)
    scenario.add_argument("--seed", type=int, default=0)
    scenario.set_defaults(run=calls)
    arguments = vars(parser.parse_args())
    arguments.pop("run")(**arguments)


if __name__ == "__main__":
    main()
