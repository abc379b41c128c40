"""A real client over a transport that answers at once: what observing its calls costs, and watching its requests."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import repeat
from time import perf_counter
from typing import Any

import answers
import httpx2
import openai
from by_hand import FLOOR, SIX, Fresh, instruments
from ours import OURS, OWN, STATED, configured
from results import Line
from timing import Turn, in_turns
from tools import BARE

import llmwatch
from llmwatch import _runtime

WATCHED = "llmwatch, watch(client) too"
_CALLS = 20
_BODY = json.dumps(answers.BODY).encode()
_HEADERS = {
    "content-type": "application/json",
    "x-ratelimit-limit-requests": "10000",
    "x-ratelimit-remaining-requests": "9999",
    "x-ratelimit-limit-tokens": "200000",
    "x-ratelimit-remaining-tokens": "199000",
}


def _client() -> openai.OpenAI:
    transport = httpx2.MockTransport(lambda request: httpx2.Response(200, content=_BODY, headers=_HEADERS))
    return openai.OpenAI(api_key="none", http_client=httpx2.Client(transport=transport))


def _asking(client: openai.OpenAI) -> Callable[[], Any]:
    return lambda: client.chat.completions.create(**answers.REQUEST)


def _by_hand(ask: Callable[[], Any]) -> Callable[[], Any]:
    recording = Fresh(instruments()[0])

    def asked() -> Any:
        recording.opened()
        began = perf_counter()
        response = ask()
        recording.answered(response.usage, perf_counter() - began)
        return response

    return asked


def clients(rounds: int) -> list[Line]:
    """What the lines of somebody's own, the decorator, and the decorator on a watched client add to a real call."""
    runtime, attempts = configured(), "; and requests, waits and rate limits of the client"
    subjects = {
        BARE.name: ("nothing", _asking(_client())),
        FLOOR: (SIX, _by_hand(_asking(_client()))),
        OURS: (OWN, llmwatch.observe_llm(**STATED)(_asking(_client()))),
        WATCHED: (OWN + attempts, llmwatch.observe_llm(**STATED)(_asking(llmwatch.watch(_client())))),
    }
    timings = in_turns(
        {
            name: Turn(_repeated(ask), _CALLS, lambda: _runtime.install(runtime), runtime.page.render)
            for name, (_, ask) in subjects.items()
        },
        rounds=rounds,
    )
    bare = timings[BARE.name]
    lines = []
    for name, (records, _) in subjects.items():
        added = timings[name].minus(bare) if name != BARE.name else timings[name]
        ratio = None if name == BARE.name else added.median / timings[FLOOR].above(bare)
        lines.append(
            Line("real client, mock transport", name, records, {"sync, µs": added.median * 1e6, "÷ floor": ratio})
        )
    return lines


def _repeated(ask: Callable[[], Any]) -> Callable[[], None]:
    def work() -> None:
        for _ in repeat(None, _CALLS):
            ask()

    return work
