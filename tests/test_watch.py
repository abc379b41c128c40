"""What the vendors' clients hide: attempts, the waits between them and rate limits, as `watch` sees them."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import gzip
import json
import socket
import ssl
import struct
import threading
import weakref
import zlib
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from types import SimpleNamespace
from typing import Any

import anthropic
import httpx
import httpx2
import openai
import pytest
from recording import REPLY, Collected, apart, recording
from support import require_module

import llmwatch
from llmwatch import attribute, metrics, observe_llm, track_request, watch
from llmwatch._attempts import Attempt
from llmwatch._watch import _sensor
from llmwatch._watch._hosts import provider_at
from llmwatch.errors import ErrorKind
from llmwatch.simulate import Behaviour, Vendors
from llmwatch.testing import Capture, ManualClock, capture

pytestmark = [
    pytest.mark.filterwarnings("ignore:The model:DeprecationWarning"),
    pytest.mark.usefixtures("quick_collections"),
]

RETRY_AFTER = 0.25
BUSY = Behaviour(answer_tokens=40, retry_after=RETRY_AFTER)
PROMPT: list[Any] = [{"role": "user", "content": "Which way to the harbour?"}]
GPT, CLAUDE = "gpt-4o-mini", "claude-sonnet-4-5"
CHAT: dict[str, Any] = {"model": GPT, "messages": PROMPT}
MESSAGE: dict[str, Any] = {"model": CLAUDE, "messages": PROMPT, "max_tokens": 200}
OPENAI_BODY = json.dumps(REPLY).encode()
URL = "http://api.test/v1/chat"

each_library = pytest.mark.parametrize("lib", [httpx, httpx2], ids=["httpx", "httpx2"])
both_kinds = pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
both_vendors = pytest.mark.parametrize("vendor", ["openai", "anthropic"])
streamed_or_not = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


@pytest.fixture(scope="module")
def vendors() -> Iterator[Vendors]:
    with Vendors(7, {"openai": BUSY, "anthropic": BUSY}, 0.0) as running:
        yield running


@pytest.fixture(scope="module", autouse=True)
def _no_root_certificates() -> Iterator[None]:
    """Nothing here is encrypted, and reading the machine's roots is most of what making a client costs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ssl.SSLContext, "load_verify_locations", lambda *args, **options: None)
        yield


# --- The programs under test


class Slept:
    """Stands for the sleep of a client library: time passes on a manual clock instead."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.waits: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.clock.advance(seconds)

    async def coroutine(self, seconds: float) -> None:
        self(seconds)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def slept(clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> Slept:
    slept = Slept(clock)
    for module in (openai._base_client, anthropic._base_client):
        for name, sleep in (("time", slept), ("anyio", slept.coroutine)):
            real = getattr(module, name)
            fake = SimpleNamespace(**{**vars(real), "sleep": sleep})
            monkeypatch.setattr(module, name, fake)
    return slept


def made(vendor: str, vendors: Vendors, asynchronous: bool, **options: Any) -> Any:
    options = {"api_key": "sk-none", "max_retries": 2, **options}
    if vendor == "openai":
        return (openai.AsyncOpenAI if asynchronous else openai.OpenAI)(base_url=vendors.openai_url, **options)
    kind = anthropic.AsyncAnthropic if asynchronous else anthropic.Anthropic
    return kind(base_url=vendors.anthropic_url, **options)


def ask(client: Any, stream: bool = False) -> Any:
    if hasattr(client, "chat"):
        return client.chat.completions.create(**CHAT, stream=stream)
    return client.messages.create(**MESSAGE, stream=stream)


def asked(client: Any, asynchronous: bool, stream: bool = False) -> None:
    """One observed call, its stream read to the end."""
    if not asynchronous:
        with client:
            answer = observe_llm(feature="tests")(lambda: ask(client, stream))()
            for _ in answer if stream else ():
                pass
        return

    @observe_llm(feature="tests")
    async def call() -> Any:
        return await ask(client, stream)

    async def program() -> None:
        async with client:
            answer = await call()
            if stream:
                async for _ in answer:
                    pass

    asyncio.run(program())


def attempts(seen: Capture) -> tuple[Attempt, ...]:
    """Those of the only call."""
    (record,) = seen.calls
    return record.attempts


def outcomes(seen: Capture) -> list[str]:
    return [attempt.outcome for attempt in attempts(seen)]


def totals(seen: Capture, metric: Any) -> dict[tuple[str, ...], float]:
    seen.settle()
    return {key: float(value) for key, value in seen.totals(metric)}


class Transport:
    """A transport of the program's own, of no class of httpx's; sync and async."""

    def __init__(self, answer: Callable[[Any], Any]) -> None:
        self._answer = answer
        self.closed = False

    def handle_request(self, request: Any) -> Any:
        return self._answer(request)

    async def handle_async_request(self, request: Any) -> Any:
        return self._answer(request)

    def __enter__(self) -> Transport:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Transport:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.closed = True

    async def aclose(self) -> None:
        self.closed = True


class Answers:
    """Scripted answers, each taking its time on a manual clock.

    An answer is a status, or an exception; `pieces` are the body's, half a second each, and `end` is raised behind.
    """

    def __init__(
        self,
        lib: Any,
        clock: ManualClock,
        *script: Any,
        pieces: Iterable[bytes] = (b"ab", b"c"),
        end: BaseException | None = None,
        headers: dict[str, str] | None = None,
        head: float = 2.0,
    ) -> None:
        self._lib, self._clock, self._script = lib, clock, deque(script)
        self._pieces, self._end, self._headers, self._head = tuple(pieces), end, headers or {}, head
        self.streams: list[Any] = []

    def __call__(self, request: Any) -> Any:
        self._clock.advance(self._head)
        answer = self._script.popleft() if self._script else 200
        if isinstance(answer, BaseException):
            raise answer
        stream = self._stream()
        self.streams.append(stream)
        return self._lib.Response(answer, headers=self._headers, stream=stream)

    def _stream(self) -> Any:
        clock, pieces, end = self._clock, self._pieces, self._end

        class Stream(self._lib.SyncByteStream, self._lib.AsyncByteStream):  # type: ignore[misc, name-defined]
            closes = 0

            def __iter__(self) -> Iterator[bytes]:
                for piece in pieces:
                    clock.advance(0.5)
                    yield piece
                if end is not None:
                    raise end

            async def __aiter__(self) -> AsyncIterator[bytes]:
                for piece in self:
                    yield piece

            def close(self) -> None:
                self.closes += 1

            async def aclose(self) -> None:
                self.closes += 1

        return Stream()


def client_of(lib: Any, asynchronous: bool, **options: Any) -> Any:
    return (lib.AsyncClient if asynchronous else lib.Client)(**options)


def sent(client: Any, read: str = "whole", url: str = URL, **request: Any) -> Any:
    """The response to one request: read whole, piece by piece, only its first piece, or not at all."""
    request = {"content": b"{}", **request}
    if isinstance(client, httpx.Client | httpx2.Client):
        if read == "whole":
            return client.post(url, **request)
        with client.stream("POST", url, **request) as response:
            chunks = response.iter_raw()
            response.chunks = [next(chunks)] if read == "first" else list(chunks) if read == "pieces" else []
        return response
    return asyncio.run(_asent(client, read, url, request))


async def _asent(client: Any, read: str, url: str, request: dict[str, Any]) -> Any:
    async with client:
        if read == "whole":
            return await client.post(url, **request)
        async with client.stream("POST", url, **request) as response:
            chunks = response.aiter_raw()
            if read == "first":
                response.chunks = [await anext(chunks)]
                await chunks.aclose()
            else:
                response.chunks = [chunk async for chunk in chunks] if read == "pieces" else []
        return response


class Wire:
    """A loopback server without manners: keeps the bytes of each request, and answers with bytes from a list."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []
        self.answers: deque[Callable[[socket.socket], None] | bytes] = deque()
        self.closing = threading.Event()
        self.reached = threading.Event()
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def close(self) -> None:
        self.closing.set()
        with socket.create_connection(self._server.getsockname()):  # wakes `accept`
            pass
        for thread in self._threads:
            thread.join(10)
        self._server.close()

    def _accept(self) -> None:
        while True:
            connection, _ = self._server.accept()
            if self.closing.is_set():
                connection.close()
                return
            self._threads.append(threading.Thread(target=self._serve, args=(connection,), daemon=True))
            self._threads[-1].start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            request = _request_from(connection)
            if not request:
                return
            self.requests.append(request)
            answer = self.answers.popleft() if self.answers else respond(500)
            if callable(answer):
                answer(connection)
            else:
                connection.sendall(answer)

    def stall(self, connection: socket.socket) -> None:
        """Answers nothing until the client has gone."""
        self.reached.set()
        connection.settimeout(0.05)
        while not self.closing.is_set():
            with contextlib.suppress(TimeoutError):
                if not connection.recv(1024):
                    return

    def head_then_stall(self, connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n{")
        self.stall(connection)


def _request_from(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        received = connection.recv(65536)
        if not received:
            return data
        data += received
    head, _, body = data.partition(b"\r\n\r\n")
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    length = int(fields.get(b"content-length", 0))
    while len(body) < length:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


def respond(status: int = 200, body: bytes = b"{}", *headers: str, length: int | None = None) -> bytes:
    lines = [f"HTTP/1.1 {status} Whatever", "connection: close", f"content-length: {length or len(body)}", *headers]
    if not any(header.startswith("content-type") for header in headers):
        lines.append("content-type: application/json")
    return "\r\n".join([*lines, "", ""]).encode() + body


@pytest.fixture
def wire() -> Iterator[Wire]:
    wire = Wire()
    yield wire
    wire.close()


# --- Attempts, their outcomes and the waits between them


@both_vendors
@both_kinds
@streamed_or_not
def test_each_try_is_an_attempt_and_each_wait_is_what_the_client_slept(
    vendor: str, asynchronous: bool, stream: bool, vendors: Vendors, slept: Slept
) -> None:
    vendors.next(vendor, "rate_limit", "server_error", "ok")
    before = len(vendors.served)
    with capture(slept.clock) as seen:
        asked(watch(made(vendor, vendors, asynchronous)), asynchronous, stream)
    assert vendors.wait_idle()
    assert len(vendors.served) - before == 3
    assert outcomes(seen) == ["rate_limit", "server_error", "ok"]
    first, *waits = [attempt.wait for attempt in attempts(seen)]
    assert first is None
    assert waits == pytest.approx(slept.waits)
    assert slept.waits[0] == RETRY_AFTER
    assert [attempt.retry_after for attempt in attempts(seen)] == [RETRY_AFTER, None, None]
    assert {attempt.provider for attempt in attempts(seen)} == {vendor}


@both_vendors
@both_kinds
def test_attempts_have_the_labels_of_their_call(
    vendor: str, asynchronous: bool, vendors: Vendors, slept: Slept
) -> None:
    vendors.next(vendor, "rate_limit", "ok")
    with capture(slept.clock) as seen:
        asked(watch(made(vendor, vendors, asynchronous)), asynchronous)
    (call,) = [key for key, count in totals(seen, metrics.REQUESTS).items() if count]
    feature, provider, model = call[:3]
    assert (feature, provider) == ("tests", vendor)
    assert totals(seen, metrics.ATTEMPTS) == {(provider, model, "rate_limit"): 1, (provider, model, "ok"): 1}
    assert totals(seen, metrics.RETRY_WAIT) == {call[:3]: pytest.approx(sum(slept.waits))}


@both_vendors
@both_kinds
@pytest.mark.parametrize(
    "kind",
    "rate_limit invalid_request authentication permission not_found server_error overloaded".split(),
)
def test_an_outcome_is_the_kind_that_the_status_means(
    vendor: str, asynchronous: bool, kind: Any, vendors: Vendors
) -> None:
    vendors.next(vendor, kind)
    with capture() as seen, pytest.raises((openai.APIStatusError, anthropic.APIStatusError)):
        asked(watch(made(vendor, vendors, asynchronous, max_retries=0)), asynchronous)
    assert outcomes(seen) == [kind]


@both_vendors
def test_a_quota_and_a_rate_limit_are_one_as_bodies_are_not_read(vendor: str, vendors: Vendors) -> None:
    vendors.next(vendor, "quota")
    with capture() as seen, pytest.raises((openai.APIStatusError, anthropic.APIStatusError)):
        asked(watch(made(vendor, vendors, False, max_retries=0)), False)
    (record,) = seen.calls
    assert record.error is ErrorKind.QUOTA
    assert vendors.served[-1].status in (402, 429, 400)
    expected = {402: "quota", 429: "rate_limit", 400: "invalid_request"}[vendors.served[-1].status]
    assert outcomes(seen) == [expected]


@each_library
@both_kinds
@pytest.mark.parametrize("read", ["whole", "pieces", "nothing"])
def test_an_attempt_lasts_until_the_last_byte_of_its_answer(
    lib: Any, asynchronous: bool, read: str, clock: ManualClock
) -> None:
    transport = Transport(Answers(lib, clock))
    with capture(clock) as seen, track_request():
        sent(watch(client_of(lib, asynchronous, transport=transport)), read)
    (attempt,) = attempts(seen)
    assert (attempt.outcome, attempt.duration) == ("ok", 2.0 if read == "nothing" else 3.0)


@each_library
@both_kinds
def test_a_stream_that_is_closed_early_keeps_its_ok(lib: Any, asynchronous: bool, clock: ManualClock) -> None:
    answers = Answers(lib, clock)
    with capture(clock) as seen, track_request():
        response = sent(watch(client_of(lib, asynchronous, transport=Transport(answers))), "first")
    assert response.chunks == [b"ab"]
    assert response.num_bytes_downloaded == 2
    assert answers.streams[0].closes == 1
    (attempt,) = attempts(seen)
    assert (attempt.outcome, attempt.duration) == ("ok", 2.5)


@each_library
def test_an_answer_that_is_dropped_unread_is_an_attempt(lib: Any, clock: ManualClock) -> None:
    client = watch(lib.Client(transport=Transport(Answers(lib, clock))))
    with capture(clock) as seen, track_request():
        client.send(client.build_request("POST", URL), stream=True)
        gc.collect()
    assert outcomes(seen) == ["ok"]


@each_library
@both_kinds
@pytest.mark.parametrize("read", ["whole", "pieces"])
def test_an_answer_that_breaks_ends_with_its_exception(
    lib: Any, asynchronous: bool, read: str, clock: ManualClock
) -> None:
    broken = lib.ReadError("gone")
    client = watch(client_of(lib, asynchronous, transport=Transport(Answers(lib, clock, end=broken))))
    with capture(clock) as seen, pytest.raises(lib.ReadError) as raised, track_request():
        sent(client, read)
    assert raised.value is broken
    (attempt,) = attempts(seen)
    assert (attempt.outcome, attempt.duration) == ("connection", 3.0)


@each_library
@both_kinds
@pytest.mark.parametrize(
    ("name", "outcome"),
    [
        ("ConnectError", "connection"),
        ("ConnectTimeout", "timeout"),
        ("ReadTimeout", "timeout"),
        ("WriteError", "connection"),
        ("PoolTimeout", "timeout"),
        ("RemoteProtocolError", "connection"),
        ("ProxyError", "connection"),
    ],
)
def test_an_attempt_without_an_answer_ends_with_its_exception(
    lib: Any, asynchronous: bool, name: str, outcome: str, clock: ManualClock
) -> None:
    error = getattr(lib, name)("no")
    with capture(clock) as seen, pytest.raises(type(error)) as raised, track_request():
        sent(watch(client_of(lib, asynchronous, transport=Transport(Answers(lib, clock, error)))))
    assert raised.value is error
    (attempt,) = attempts(seen)
    assert (attempt.outcome, attempt.duration, attempt.limits) == (outcome, 2.0, ())


@both_vendors
@both_kinds
def test_a_refused_connection_is_a_connection_error_in_each_try(vendor: str, asynchronous: bool, slept: Slept) -> None:
    with Vendors() as gone:
        client = made(vendor, gone, asynchronous)
    with (
        capture(slept.clock) as seen,
        pytest.raises((openai.APIConnectionError, anthropic.APIConnectionError)),
    ):
        asked(watch(client), asynchronous)
    assert outcomes(seen) == ["connection"] * 3
    assert [attempt.wait for attempt in attempts(seen)] == [None, *map(pytest.approx, slept.waits)]


@both_kinds
def test_a_timeout_before_or_inside_the_answer_is_a_timeout(asynchronous: bool, wire: Wire) -> None:
    wire.answers += [wire.stall, wire.head_then_stall]
    kind = openai.AsyncOpenAI if asynchronous else openai.OpenAI
    for _ in range(2):
        client = watch(kind(base_url=wire.url, api_key="sk-none", max_retries=0, timeout=0.2))
        with capture() as seen, pytest.raises(openai.APITimeoutError):
            asked(client, asynchronous)
        assert outcomes(seen) == ["timeout"]


@both_vendors
@pytest.mark.parametrize("moment", ["before", "inside"])
def test_a_call_that_is_cancelled_cancels_its_attempt(vendor: str, moment: str, wire: Wire) -> None:
    wire.answers.append(wire.stall if moment == "before" else wire.head_then_stall)
    vendors: Any = SimpleNamespace(openai_url=wire.url, anthropic_url=wire.url)

    async def program() -> None:
        async with watch(made(vendor, vendors, True)) as client:

            @observe_llm
            async def call() -> Any:
                return await ask(client)

            task = asyncio.create_task(call())
            await asyncio.to_thread(wire.reached.wait, 10)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    with capture() as seen:
        asyncio.run(program())
    assert seen.calls[0].status == "cancelled"
    assert outcomes(seen) == ["cancelled"]


def retried(lib: Any, count: int | None, content: bytes = b"{}") -> dict[str, Any]:
    headers = {} if count is None else {"x-stainless-retry-count": str(count)}
    return {"content": content, "headers": headers}


@each_library
def test_the_retries_of_parallel_requests_are_told_apart_by_what_the_client_says(lib: Any, clock: ManualClock) -> None:
    script = (429, 503, 200, 200)
    client = watch(lib.Client(transport=Transport(Answers(lib, clock, *script, head=0.0, pieces=()))))
    short, long = b"{}", b'{"longer": 1}'
    with capture(clock) as seen, track_request():
        for now, count, content in ((1, 0, short), (2, 0, long), (5, 1, short), (7, 1, long)):
            clock.now = now
            sent(client, **retried(lib, count, content))
    assert [attempt.wait for attempt in attempts(seen)] == [None, None, 4.0, 5.0]


@each_library
def test_parallel_requests_that_are_alike_have_the_right_sum_of_waits(lib: Any, clock: ManualClock) -> None:
    client = watch(lib.Client(transport=Transport(Answers(lib, clock, 429, 503, 200, 200, head=0.0, pieces=()))))
    with capture(clock) as seen, track_request():
        for now, count in ((1, 0), (2, 0), (5, 1), (7, 1)):
            clock.now = now
            sent(client, **retried(lib, count))
    assert sum(attempt.wait or 0 for attempt in attempts(seen)) == 9.0


@each_library
def test_a_request_that_failed_for_good_is_no_beginning_of_a_wait(lib: Any, clock: ManualClock) -> None:
    client = watch(lib.Client(transport=Transport(Answers(lib, clock, 503, 429, 200, head=0.0, pieces=()))))
    with capture(clock) as seen, track_request():
        for now, count in ((1, 0), (100, 0), (103, 1)):
            clock.now = now
            sent(client, **retried(lib, count))
    assert [attempt.wait for attempt in attempts(seen)] == [None, None, 3.0]


@each_library
@both_kinds
@pytest.mark.parametrize(
    ("status", "waits"), [(429, True), (503, True), (500, True), (408, True), (400, False), (401, False), (200, False)]
)
def test_where_the_client_says_nothing_a_passing_failure_and_the_same_url_make_a_retry(
    lib: Any, asynchronous: bool, status: int, waits: bool, clock: ManualClock
) -> None:
    answers = Answers(lib, clock, status, 200, 200, head=0.0, pieces=())
    client = client_of(lib, False, transport=Transport(answers))
    if asynchronous:
        client = client_of(lib, True, transport=Transport(answers))

        async def all_three() -> None:
            async with watch(client):
                for url in (URL, f"{URL}/other", URL):
                    clock.advance(4.0)
                    await client.post(url, content=b"{}")

    with capture(clock) as seen, track_request():
        if asynchronous:
            asyncio.run(all_three())
        else:
            watch(client)
            for url in (URL, f"{URL}/other", URL):
                clock.advance(4.0)
                sent(client, url=url)
    assert [attempt.wait for attempt in attempts(seen)] == [None, None, 8.0 if waits else None]


@each_library
def test_waits_outside_of_calls_are_only_those_that_the_client_tells_of(lib: Any, clock: ManualClock) -> None:
    client = watch(lib.Client(transport=Transport(Answers(lib, clock, 429, 200, 429, 200, head=0.0, pieces=()))))
    with capture(clock) as seen:
        for count in (0, 1, None, None):
            clock.advance(4.0)
            sent(client, **retried(lib, count))
    assert totals(seen, metrics.RETRY_WAIT) == {("", "", ""): 4.0}


@each_library
def test_a_connection_error_inside_a_transport_is_waited_for_too(lib: Any, clock: ManualClock) -> None:
    client = watch(lib.Client(transport=Transport(Answers(lib, clock, lib.ConnectError("no"), 200, head=0.0))))
    with capture(clock) as seen, track_request():
        with pytest.raises(lib.ConnectError):
            sent(client)
        clock.advance(1.5)
        sent(client)
    assert [attempt.wait for attempt in attempts(seen)] == [None, 1.5]


# --- Whose attempts they are


def test_attempts_go_to_the_innermost_open_call(vendors: Vendors) -> None:
    with capture() as seen, watch(made("openai", vendors, False)) as client:

        @observe_llm(feature="inner")
        def inner() -> Any:
            return ask(client)

        @observe_llm(feature="outer")
        def outer() -> Any:
            inner()
            return client.embeddings.create(model="text-embedding-3-small", input="Hi")

        outer()
    inside, around = seen.calls
    assert (len(inside.attempts), len(around.attempts)) == (1, 1)
    seen.settle()
    models = {key[1]: count for key, count in totals(seen, metrics.ATTEMPTS).items() if count}
    assert models == {"gpt-4o-mini-2024-07-18": 1, "text-embedding-3-small": 1}


@both_kinds
def test_concurrent_calls_have_their_own_attempts(asynchronous: bool, vendors: Vendors) -> None:
    vendors.set("openai", Behaviour(retry_after=0.01, faults={"rate_limit": 0.3}))
    try:
        client = watch(made("openai", vendors, asynchronous, max_retries=20))
        before = len(vendors.served)

        @observe_llm
        def call() -> Any:
            return ask(client)

        @observe_llm
        async def acall() -> Any:
            return await ask(client)

        async def program() -> None:
            async with client:
                await asyncio.gather(*(acall() for _ in range(12)))

        with capture() as seen:
            if asynchronous:
                asyncio.run(program())
            else:
                threads = [threading.Thread(target=call) for _ in range(12)]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
                client.close()
        assert vendors.wait_idle()
    finally:
        vendors.set("openai", BUSY)
    served = vendors.served[before:]
    assert len(seen.calls) == 12
    assert all([attempt.outcome for attempt in record.attempts][-1] == "ok" for record in seen.calls)
    found = Counter(attempt.outcome for record in seen.calls for attempt in record.attempts)
    assert found == Counter(entry.error or "ok" for entry in served)
    waits = [attempt.wait for record in seen.calls for attempt in record.attempts if attempt.wait is not None]
    assert len(waits) == found["rate_limit"]


def test_concurrent_requests_in_one_call_are_all_its_attempts(vendors: Vendors) -> None:
    async def program() -> None:
        async with watch(made("anthropic", vendors, True)) as client, track_request() as request:
            vendors.next("anthropic", "rate_limit", "rate_limit", "ok", "ok")
            for answer in await asyncio.gather(ask(client), ask(client)):
                request.observe(answer)

    with capture() as seen:
        asyncio.run(program())
    assert Counter(outcomes(seen)) == {"rate_limit": 2, "ok": 2}
    assert len([attempt for attempt in attempts(seen) if attempt.wait is not None]) == 2


@each_library
def test_an_attempt_outside_of_any_call_is_counted_by_what_is_known(lib: Any, clock: ManualClock) -> None:
    client = watch(lib.Client(transport=Transport(Answers(lib, clock))))
    with capture(clock) as seen, attribute(feature="search"):
        sent(client, url="https://api.groq.com/openai/v1/chat/completions")
    assert seen.calls == []
    assert totals(seen, metrics.ATTEMPTS) == {("groq", "", "ok"): 1, ("groq", "", "rate_limit"): 0}
    assert totals(seen, metrics.RETRY_WAIT) == {("search", "groq", ""): 0}


def test_without_a_call_the_provider_is_the_stated_one_the_hosts_or_the_clients(vendors: Vendors) -> None:
    with capture() as seen:
        ask(watch(made("openai", vendors, False)))
        ask(watch(made("anthropic", vendors, False), provider="gateway"))
    assert {key[0] for key in totals(seen, metrics.ATTEMPTS)} == {"openai", "gateway"}


@both_kinds
def test_an_attempt_that_ends_after_its_call_is_counted_once_under_the_labels_of_the_call(
    asynchronous: bool, clock: ManualClock
) -> None:
    answers = Answers(httpx2, clock)
    client = watch(client_of(httpx2, asynchronous, transport=Transport(answers)), provider="openai")
    request = client.build_request("POST", URL)

    async def late() -> None:
        async with client:
            with track_request(feature="late", model="gpt-4o") as observed:
                response = await client.send(request, stream=True)
                observed.observe(REPLY)
            await response.aread()

    with capture(clock) as seen:
        if asynchronous:
            asyncio.run(late())
        else:
            with track_request(feature="late", model="gpt-4o") as observed:
                response = client.send(request, stream=True)
                observed.observe(REPLY)
            response.read()
    assert attempts(seen) == ()
    model = REPLY["model"]
    assert totals(seen, metrics.ATTEMPTS) == {("openai", model, "ok"): 1, ("openai", model, "rate_limit"): 0}
    assert totals(seen, metrics.RETRY_WAIT) == {("late", "openai", model): 0}


@both_vendors
@both_kinds
@pytest.mark.parametrize("read", ["end", "break", "close"])
def test_the_attempt_of_a_stream_is_counted_once_under_the_model_that_answers(
    vendor: str, asynchronous: bool, read: str, vendors: Vendors
) -> None:
    client = watch(made(vendor, vendors, asynchronous))

    @observe_llm
    async def acall() -> Any:
        return await ask(client, True)

    async def program() -> None:
        async with client:
            stream = await acall()
            async for _ in stream:
                if read != "end":
                    break
            if read == "close":
                await stream.close()
            del stream

    with capture() as seen:
        if asynchronous:
            asyncio.run(program())
        else:
            with client:
                stream = observe_llm(lambda: ask(client, True))()
                for _ in stream:
                    if read != "end":
                        break
                if read == "close":
                    stream.close()
                del stream
        gc.collect()
    assert vendors.wait_idle()
    model = vendors.served[-1].response_model
    assert {key: count for key, count in totals(seen, metrics.ATTEMPTS).items() if count} == {(vendor, model, "ok"): 1}


def test_many_threads_that_end_a_call_lose_and_double_no_attempt(hurried: None, clock: ManualClock) -> None:
    rounds = 60
    with capture(clock) as seen:
        for _ in range(rounds):
            client = watch(httpx2.Client(transport=Transport(Answers(httpx2, clock, head=0.0))))
            with track_request(provider="p", model="m") as request:
                context = contextvars.copy_context()
                threads = [threading.Thread(target=context.copy().run, args=(sent, client)) for _ in range(4)]
                for thread in threads:
                    thread.start()
                request.observe(REPLY)
            for thread in threads:
                thread.join()
    counted = totals(seen, metrics.ATTEMPTS)
    assert sum(count for key, count in counted.items() if key[2] == "ok") == 4 * rounds


def test_attempts_at_another_vendor_keep_their_provider(clock: ManualClock) -> None:
    client = watch(httpx2.Client(transport=Transport(Answers(httpx2, clock, 429, 200))))
    with capture(clock) as seen, track_request(provider="openai", model="gpt-4o") as request:
        sent(client, url="https://api.anthropic.com/v1/messages")
        sent(client, url="https://api.openai.com/v1/chat/completions")
        request.observe(REPLY)
    found = {key: count for key, count in totals(seen, metrics.ATTEMPTS).items() if count}
    assert found == {("anthropic", "", "rate_limit"): 1, ("openai", REPLY["model"], "ok"): 1}


def test_a_call_that_names_its_provider_otherwise_than_the_host_wins(clock: ManualClock) -> None:
    client = watch(httpx2.Client(transport=Transport(Answers(httpx2, clock))))
    with capture(clock) as seen, track_request(provider="my-azure", model="gpt-4o"):
        sent(client, url="https://me.openai.azure.com/openai/deployments/a/chat/completions")
    assert {key for key, count in totals(seen, metrics.ATTEMPTS).items() if count} == {("my-azure", "gpt-4o", "ok")}


@pytest.mark.parametrize(
    ("url", "provider"),
    [
        ("https://api.openai.com/v1", "openai"),
        ("https://eu.api.openai.com/v1", "openai"),
        ("https://x.openai.azure.com/openai", "azure.ai.openai"),
        ("https://x.services.ai.azure.com/models", "azure.ai.inference"),
        ("https://api.anthropic.com", "anthropic"),
        ("https://bedrock-runtime.eu-west-1.amazonaws.com/model/x/converse", "aws.bedrock"),
        ("https://bedrock-runtime-fips.us-gov-west-1.amazonaws.com/", "aws.bedrock"),
        ("https://s3.eu-west-1.amazonaws.com/", ""),
        ("https://europe-west4-aiplatform.googleapis.com/v1", "gcp.vertex_ai"),
        ("https://aiplatform.googleapis.com/v1", "gcp.vertex_ai"),
        ("https://generativelanguage.googleapis.com/v1beta", "gcp.gemini"),
        ("https://api.mistral.ai/v1", "mistral_ai"),
        ("https://API.X.AI./v1", "x_ai"),
        ("https://openrouter.ai/api/v1", "openrouter"),
        ("https://notopenrouter.ai/api/v1", ""),
        ("http://127.0.0.1:8000", ""),
        ("http://[::1]:8000", ""),
        ("http://localhost", ""),
    ],
)
@each_library
def test_the_provider_is_known_by_the_name_of_the_host(url: str, provider: str, lib: Any) -> None:
    assert provider_at(url) == provider
    assert provider_at(lib.URL(url)) == provider


# --- Rate limits


def test_limits_are_those_that_the_vendor_tells(vendors: Vendors) -> None:
    limited = Behaviour(requests_per_minute=60, input_tokens_per_minute=40_000, output_tokens_per_minute=8_000)
    with Vendors(7, {"openai": limited, "anthropic": limited}, 0.0) as tight, capture() as seen:
        asked(watch(made("openai", tight, False), account="team-a"), False)
        asked(watch(made("anthropic", tight, True)), True)
    limits, remaining = totals(seen, metrics.RATE_LIMIT_LIMIT), totals(seen, metrics.RATE_LIMIT_REMAINING)
    gpt, claude = ("openai", "team-a", "gpt-4o-mini-2024-07-18"), ("anthropic", "", "claude-sonnet-4-5-20250929")
    assert limits == {
        (*gpt, "requests"): 60,
        (*gpt, "tokens"): 48_000,
        (*claude, "requests"): 60,
        (*claude, "input_tokens"): 40_000,
        (*claude, "output_tokens"): 8_000,
        (*claude, "tokens"): 48_000,
    }
    assert remaining.keys() == limits.keys()
    assert remaining[*gpt, "requests"] == 59
    assert all(remaining[key] < limits[key] for key in limits if "requests" not in key)


def limited(remaining: int, limit: int | None = None) -> dict[str, str]:
    headers = {"x-ratelimit-remaining-requests": str(remaining)}
    return headers if limit is None else {**headers, "x-ratelimit-limit-requests": str(limit)}


@each_library
def test_only_what_the_vendor_tells_is_shown(lib: Any, clock: ManualClock) -> None:
    client = watch(lib.Client(transport=Transport(Answers(lib, clock, headers=limited(7)))))
    with capture(clock) as seen, track_request(provider="azure.ai.openai", model="m"):
        sent(client)
    assert totals(seen, metrics.RATE_LIMIT_REMAINING) == {("azure.ai.openai", "", "m", "requests"): 7}
    assert totals(seen, metrics.RATE_LIMIT_LIMIT) == {}


@pytest.mark.parametrize("in_call", [True, False])
def test_what_arrived_last_is_shown_although_its_call_ended_first(in_call: bool, clock: ManualClock) -> None:
    def stream(remaining: int) -> Any:
        answers = Answers(httpx2, clock, headers=limited(remaining, 100))
        client = watch(httpx2.Client(transport=Transport(answers)), provider="p")
        return client.send(client.build_request("POST", URL), stream=True)

    with capture(clock) as seen, track_request(provider="p", model="m" if in_call else ""):
        slow = stream(90)
        with track_request(provider="p", model="m") if in_call else contextlib.nullcontext():
            stream(50).read()
        slow.read()
    model = "m" if in_call else ""
    assert totals(seen, metrics.RATE_LIMIT_REMAINING) == {("p", "", model, "requests"): 50}


def test_a_late_report_is_no_newer_after_a_reconfiguration(clock: ManualClock) -> None:
    with apart(clock):
        provider, (reader,) = recording("memory")
        old, new = (
            watch(httpx2.Client(transport=Transport(Answers(httpx2, clock, headers=limited(left, 100)))), provider="p")
            for left in (90, 50)
        )
        slow = old.send(old.build_request("POST", URL), stream=True)
        sent(new)
        llmwatch.configure(meter_provider=provider)
        slow.read()
        assert reader.collect().one("ai_rate_limit_remaining").value == 50


def test_accounts_are_bounded_as_every_label(clock: ManualClock) -> None:
    with apart(clock):
        _, (reader,) = recording("memory", label_limits={"account": 2})
        for number in range(4):
            answers = Answers(httpx2, clock, headers=limited(number, 100))
            with track_request(provider="p", model="m"):
                sent(watch(httpx2.Client(transport=Transport(answers)), account=f"tenant-{number}"))
        found = reader.collect()
        assert found.values("ai_rate_limit_limit", "account") == {"tenant-0", "tenant-1", "other"}
        assert found.one("llmwatch_label_overflow", label="account").value == 2


def test_a_page_shows_attempts_from_zero_on(vendors: Vendors) -> None:
    with apart():
        _, (reader,) = recording("prometheus")
        asked(watch(made("openai", vendors, False)), False)
        page: Collected = reader.collect()
    of_gpt = {"provider": "openai", "model": "gpt-4o-mini-2024-07-18"}
    assert page.one("ai_attempts", outcome="ok", **of_gpt).value == 1
    assert page.one("ai_attempts", outcome="rate_limit", **of_gpt).value == 0
    assert page.one("ai_attempt_duration", outcome="ok", **of_gpt).count == 1
    assert page.one("ai_retry_wait", feature="tests", **of_gpt).value == 0
    assert page.values("ai_rate_limit_limit", "resource") == {"requests", "tokens"}


def test_a_client_that_is_not_watched_has_no_attempts(vendors: Vendors) -> None:
    with capture() as seen:
        asked(made("openai", vendors, False), False)
    assert attempts(seen) == ()
    assert totals(seen, metrics.ATTEMPTS) == {}
    assert totals(seen, metrics.RATE_LIMIT_LIMIT) == {}


# --- What it takes


@each_library
@both_kinds
def test_a_client_of_httpx_is_watched_before_a_vendors_client_is_made_of_it(
    lib: Any, asynchronous: bool, vendors: Vendors
) -> None:
    inner = client_of(lib, asynchronous)
    assert watch(inner) is inner
    kind = openai.AsyncOpenAI if asynchronous else openai.OpenAI
    with capture() as seen:
        asked(kind(base_url=vendors.openai_url, api_key="sk-none", http_client=inner), asynchronous)
    assert outcomes(seen) == ["ok"]


@each_library
@both_kinds
def test_a_transport_is_replaced_by_one_that_stands_for_it(lib: Any, asynchronous: bool, vendors: Vendors) -> None:
    inner = (lib.AsyncHTTPTransport if asynchronous else lib.HTTPTransport)()
    outer = watch(inner)
    assert outer is not inner
    assert isinstance(outer, type(inner))
    assert isinstance(outer, lib.AsyncBaseTransport if asynchronous else lib.BaseTransport)
    assert hasattr(outer, "handle_async_request") == asynchronous
    assert outer._pool is inner._pool
    kind = openai.AsyncOpenAI if asynchronous else openai.OpenAI
    with capture() as seen:
        client = client_of(lib, asynchronous, transport=outer)
        asked(kind(base_url=vendors.openai_url, api_key="sk-none", http_client=client), asynchronous)
    assert outcomes(seen) == ["ok"]


@each_library
def test_a_transport_can_be_entered_and_closed(lib: Any, clock: ManualClock) -> None:
    inner = Transport(Answers(lib, clock))
    with watch(inner) as outer:
        assert outer.handle_request(lib.Request("GET", URL)).status_code == 200
    assert inner.closed
    inner.closed = False
    with watch(lib.Client(transport=inner)) as client:
        assert sent(client).status_code == 200
    assert inner.closed


@each_library
@both_kinds
def test_mounts_are_watched(lib: Any, asynchronous: bool, clock: ManualClock) -> None:
    mounted = Transport(Answers(lib, clock))
    client = client_of(lib, asynchronous, mounts={"all://api.test": mounted, "all://none.test": None})
    with capture(clock) as seen, track_request():
        sent(watch(client))
    assert outcomes(seen) == ["ok"]


@each_library
@both_kinds
def test_a_proxy_is_watched(lib: Any, asynchronous: bool, wire: Wire) -> None:
    wire.answers.append(respond())
    with capture() as seen, track_request():
        sent(watch(client_of(lib, asynchronous, proxy=wire.url)))
    assert wire.requests[0].startswith(b"POST http://api.test/v1/chat HTTP/1.1")
    assert outcomes(seen) == ["ok"]


@each_library
def test_a_response_that_is_there_at_once_is_an_attempt(lib: Any) -> None:
    client = watch(lib.Client(transport=lib.MockTransport(lambda _: lib.Response(200, json={"a": 1}))))
    with capture() as seen, track_request():
        response = sent(client)
        assert attempts_so_far(response)
    assert outcomes(seen) == ["ok"]


def attempts_so_far(response: Any) -> bool:
    return response.json() == {"a": 1}


@each_library
def test_redirects_are_attempts(lib: Any, wire: Wire) -> None:
    wire.answers += [respond(307, b"", f"location: {wire.url}/there"), respond()]
    with capture() as seen, track_request():
        sent(watch(lib.Client(follow_redirects=True)), url=wire.url)
    assert outcomes(seen) == ["ok", "ok"]


CHATTED: dict[str, Any] = {"model": "m", "messages": PROMPT}


def vendor_client(vendor: str, url: str) -> Any:
    """A client whose next request goes to the URL."""
    match vendor:
        case "groq":
            return require_module("groq").Groq(base_url=url, api_key="k", max_retries=0)
        case "mistral":
            return require_module("mistralai.client").Mistral(server_url=url, api_key="k")
        case "cohere":
            return require_module("cohere").ClientV2(base_url=url, api_key="k")
        case "ollama":
            return require_module("ollama").Client(host=url)
        case "google":
            return require_module("google.genai").Client(api_key="k", http_options={"base_url": url})
    return openai.AzureOpenAI(azure_endpoint=url, api_key="k", api_version="2024-10-21", max_retries=0)


WAYS: dict[str, Callable[[Any], Any]] = {
    "groq": lambda client: client.chat.completions.create(**CHATTED),
    "mistral": lambda client: client.chat.complete(**CHATTED),
    "cohere": lambda client: client.chat(**CHATTED, request_options={"max_retries": 0}),
    "ollama": lambda client: client.chat(**CHATTED),
    "google": lambda client: client.models.generate_content(model="m", contents="Hi"),
    "azure": lambda client: client.chat.completions.create(**CHATTED),
}
ASYNC_WAYS: dict[str, Callable[[Any], Any]] = {
    "mistral": lambda client: client.chat.complete_async(**CHATTED),
    "google": lambda client: client.aio.models.generate_content(model="m", contents="Hi"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("vendor", WAYS)
def test_the_clients_of_other_vendors_are_watched(vendor: str, wire: Wire) -> None:
    client = watch(vendor_client(vendor, wire.url))
    wire.answers.append(respond(429, b'{"message": "slow down"}', "retry-after: 3"))
    with capture() as seen, pytest.raises(Exception, match=r".*"), track_request():
        WAYS[vendor](client)
    assert len(wire.requests) == len(attempts(seen)) == 1
    assert outcomes(seen) == ["rate_limit"]
    assert attempts(seen)[0].retry_after == 3.0


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("vendor", ASYNC_WAYS)
@pytest.mark.parametrize("moment", ["before", "between"])
def test_the_async_side_of_a_client_is_watched_too(vendor: str, moment: str, wire: Wire) -> None:
    client = vendor_client(vendor, wire.url)
    wire.answers += [respond(404), respond(404)]

    async def program() -> None:
        for number in range(2):
            if number == (moment == "between"):
                watch(watch(client), account="a")
            with pytest.raises(Exception, match=r".*"), track_request():
                await ASYNC_WAYS[vendor](client)

    with capture() as seen:
        asyncio.run(program())
    found = [[(attempt.outcome, attempt.account) for attempt in record.attempts] for record in seen.calls]
    assert found == [[("not_found", "a")] if moment == "before" else [], [("not_found", "a")]]


def test_copies_of_a_client_share_what_is_watched(vendors: Vendors) -> None:
    with capture() as seen:
        asked(watch(made("openai", vendors, False)).with_options(max_retries=0), False)
    assert outcomes(seen) == ["ok"]


@pytest.mark.parametrize("first", ["client", "http client", "transport"])
def test_watching_twice_counts_once_and_states_more(first: str, vendors: Vendors) -> None:
    transport = httpx2.HTTPTransport()
    http_client = httpx2.Client(transport=watch(transport) if first == "transport" else transport)
    if first == "http client":
        watch(http_client)
    client = openai.OpenAI(base_url=vendors.openai_url, api_key="sk-none", http_client=http_client)
    for _ in range(2):
        assert watch(client) is client
    watch(client, account="team")
    watch(client.with_options(timeout=5))
    assert watch(http_client._transport) is http_client._transport
    with capture() as seen:
        asked(client, False)
    (attempt,) = attempts(seen)
    assert (attempt.outcome, attempt.account, attempt.provider) == ("ok", "team", "openai")


def test_a_transport_around_a_watched_one_is_not_watched_again(clock: ManualClock) -> None:
    class Retrying(httpx2.BaseTransport):
        def __init__(self, inner: Any) -> None:
            self._inner = inner

        def handle_request(self, request: Any) -> Any:
            first = self._inner.handle_request(request)
            first.close()
            clock.advance(1.0)
            return self._inner.handle_request(request)

    inner = watch(Transport(Answers(httpx2, clock, 503, 200, head=0.0, pieces=())))
    client = watch(httpx2.Client(transport=Retrying(inner)))
    with capture(clock) as seen, track_request():
        sent(client)
    assert outcomes(seen) == ["overloaded", "ok"]
    assert [attempt.wait for attempt in attempts(seen)] == [None, 1.0]


@pytest.mark.parametrize(
    "stranger", [None, 1, "https://api.openai.com", object(), openai, httpx, openai.OpenAI, SimpleNamespace(_client=1)]
)
def test_anything_else_is_a_type_error_that_says_what_is_accepted(stranger: Any) -> None:
    with pytest.raises(TypeError, match=r"httpx or httpx2.*boto3"):
        watch(stranger)


@pytest.mark.parametrize("name", ["account", "provider"])
def test_an_argument_that_is_no_label_value_is_a_type_error(name: str) -> None:
    with pytest.raises(TypeError, match=name):
        watch(httpx2.Client(), **{name: object()})


def test_it_does_not_matter_whether_a_client_is_watched_before_or_after_the_function_is_observed(
    vendors: Vendors,
) -> None:
    client = made("openai", vendors, False)

    @observe_llm
    def call() -> Any:
        return ask(client)

    with capture() as seen:
        call()
        watch(client)
        call()
    assert [len(record.attempts) for record in seen.calls] == [0, 1]


# --- Nothing else changes


def conversation(vendor: str, asynchronous: bool, wire: Wire, watched: bool) -> None:
    vendors: Any = SimpleNamespace(openai_url=f"{wire.url}/v1", anthropic_url=wire.url)
    stream = respond(200, b"data: [DONE]\n\n", "content-type: text/event-stream")
    wire.answers += [respond(503, b"{}", "retry-after-ms: 1", "retry-after: 0.001"), respond(200, OPENAI_BODY), stream]
    client = made(vendor, vendors, asynchronous, default_headers={"X-Mixed-Case": "Kept"})
    if watched:
        watch(client)

    async def program() -> None:
        async with client:
            await ask(client)
            async for _ in await ask(client, True):
                pass

    if asynchronous:
        asyncio.run(program())
        return
    with client:
        ask(client)
        for _ in ask(client, True):
            pass


@both_vendors
@both_kinds
def test_what_goes_out_is_byte_for_byte_the_same(vendor: str, asynchronous: bool, wire: Wire) -> None:
    for watched in (False, True):
        with capture(), track_request():
            conversation(vendor, asynchronous, wire, watched)
    assert len(wire.requests) == 6
    assert wire.requests[:3] == wire.requests[3:]


def visible(response: Any) -> dict[str, Any]:
    names = "status_code reason_phrase http_version encoding is_closed is_stream_consumed is_error num_bytes_downloaded"
    return {
        **{name: getattr(response, name) for name in names.split()},
        "headers": response.headers.raw,
        "extensions": sorted(response.extensions),
        "stream": type(response.stream),
        "cookies": dict(response.cookies),
        "request": (response.request.method, str(response.request.url)),
        "elapsed": response.elapsed is not None,
        "chunks": getattr(response, "chunks", None),
        "content": getattr(response, "_content", None),
        "pickled": sorted(response.__getstate__()),
    }


ZIPPED = gzip.compress(b'{"a": 1}' * 100, mtime=0)


@each_library
@both_kinds
@pytest.mark.parametrize("read", ["whole", "pieces", "first", "nothing"])
def test_the_response_is_the_same(lib: Any, asynchronous: bool, read: str, wire: Wire) -> None:
    found = []
    for watched in (False, True):
        wire.answers.append(respond(200, ZIPPED, "content-encoding: gzip", "set-cookie: a=b", "X-Mixed: Case"))
        client = client_of(lib, asynchronous)
        if watched:
            watch(client)
        with capture(), track_request():
            found.append(visible(sent(client, read, url=wire.url)))
        if not asynchronous:
            client.close()
    assert found[0] == found[1]
    assert found[0]["status_code"] == 200


@each_library
@both_kinds
@pytest.mark.parametrize("answer", ["refused", "broken", "stalled"])
def test_the_exception_is_the_same(lib: Any, asynchronous: bool, answer: str, wire: Wire) -> None:
    found = []
    for watched in (False, True):
        client = client_of(lib, asynchronous, timeout=0.2)
        if watched:
            watch(client)
        wire.answers.append(wire.stall if answer == "stalled" else respond(200, b"{", length=10))
        url = "http://127.0.0.1:1" if answer == "refused" else wire.url
        with capture(), pytest.raises(lib.HTTPError) as raised, track_request():
            sent(client, url=url)
        error = raised.value
        found.append(
            (
                type(error),
                str(error),
                type(error.__cause__),
                str(error.request.url),
            )
        )
        if not asynchronous:
            client.close()
    assert found[0] == found[1]


@each_library
def test_the_stream_of_a_response_is_what_it_was(lib: Any, clock: ManualClock) -> None:
    answers = Answers(lib, clock)
    response = watch(Transport(answers)).handle_request(lib.Request("GET", URL))
    (stream,) = answers.streams
    assert isinstance(response.stream, type(stream))
    assert response.stream == stream
    assert hash(response.stream) == hash(stream)
    assert repr(response.stream) == repr(stream)
    response.stream.mark = 1
    assert stream.mark == 1
    assert list(response.stream) == [b"ab", b"c"]
    response.close()
    assert stream.closes == 1


@each_library
def test_nothing_keeps_a_client_or_its_answers_alive(lib: Any, clock: ManualClock) -> None:
    gc.disable()
    try:
        with capture(clock), track_request():
            client = watch(lib.Client(transport=Transport(Answers(lib, clock))))
            response = sent(client)
            stood = response.stream._stream
            kept = [weakref.ref(each) for each in (client, client._transport, response, stood)]
            client.close()
            del client, response, stood
            # A response of httpx 0.28 knows its own stream, and that one the response.
            assert [ref() for ref in kept] == [None, None, *([None] * 2 if lib is httpx2 else [kept[2](), kept[3]()])]
            gc.collect()
            assert [ref() for ref in kept] == [None] * 4
    finally:
        gc.enable()


def test_an_event_loop_may_be_another_ones(clock: ManualClock) -> None:
    trio = require_module("trio")

    async def program() -> None:
        async with watch(httpx2.AsyncClient(transport=Transport(Answers(httpx2, clock)))) as client:
            assert (await client.post(URL)).content == b"abc"

    with capture(clock) as seen, track_request():
        trio.run(program)
    assert outcomes(seen) == ["ok"]


@each_library
@both_kinds
@pytest.mark.parametrize("part", ["limits_in", "Attempt", "provider_at"])
def test_a_failure_of_ours_leaves_the_client_as_it_was(
    lib: Any, asynchronous: bool, part: str, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise RuntimeError("ours")

    monkeypatch.setattr(_sensor, part, fail)
    with apart(clock) as faults:
        faults.expected.add("watch")
        client = watch(client_of(lib, asynchronous, transport=Transport(Answers(lib, clock))))
        with track_request():
            assert sent(client).content == b"abc"


def test_importing_it_loads_no_client() -> None:
    assert llmwatch.watch is watch  # what an import loads is seen to in test_architecture.py


# --- boto3


def events(*payloads: dict[str, Any]) -> bytes:
    """Amazon's event stream: each message with its lengths, headers and checksums."""
    found = b""
    for payload in payloads:
        ((kind, value),) = payload.items()
        pairs = ((":message-type", "event"), (":event-type", kind), (":content-type", "application/json"))
        headers = b"".join(
            bytes([len(name)]) + name.encode() + b"\x07" + struct.pack(">H", len(text)) + text.encode()
            for name, text in pairs
        )
        body = json.dumps(value).encode()
        prelude = struct.pack(">II", 16 + len(headers) + len(body), len(headers))
        message = prelude + struct.pack(">I", zlib.crc32(prelude)) + headers + body
        found += message + struct.pack(">I", zlib.crc32(message))
    return found


CONVERSED = json.dumps(
    {
        "output": {"message": {"role": "assistant", "content": [{"text": "To the left."}]}},
        "stopReason": "end_turn",
        "usage": {"inputTokens": 10, "outputTokens": 5, "totalTokens": 15},
        "metrics": {"latencyMs": 5},
    }
).encode()
STREAMED = events(
    {"messageStart": {"role": "assistant"}},
    {"contentBlockDelta": {"delta": {"text": "Left."}, "contentBlockIndex": 0}},
    {"messageStop": {"stopReason": "end_turn"}},
    {"metadata": {"usage": {"inputTokens": 10, "outputTokens": 5, "totalTokens": 15}, "metrics": {"latencyMs": 5}}},
)
THROTTLED = respond(429, b'{"message": "slow"}', "x-amzn-errortype: ThrottlingException")
CONVERSE: dict[str, Any] = {
    "modelId": "amazon.nova-lite-v1:0",
    "messages": [{"role": "user", "content": [{"text": "Hi"}]}],
}


@pytest.fixture
def bedrock(wire: Wire, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    boto3, config = require_module("boto3"), require_module("botocore.config")
    slept = Slept(clock)
    endpoint = require_module("botocore.endpoint")
    monkeypatch.setattr(endpoint, "time", SimpleNamespace(**{**vars(endpoint.time), "sleep": slept}))
    client = boto3.client(
        "bedrock-runtime",
        region_name="eu-west-1",
        endpoint_url=wire.url,
        aws_access_key_id="none",
        aws_secret_access_key="none",
        config=config.Config(retries={"mode": "standard", "total_max_attempts": 3}, read_timeout=1),
    )
    client.slept = slept
    yield client
    client.close()


def test_each_try_of_boto3_is_an_attempt(bedrock: Any, wire: Wire, clock: ManualClock) -> None:
    wire.answers += [THROTTLED, respond(500), respond(200, CONVERSED)]
    assert watch(bedrock) is bedrock
    watch(bedrock, account="sandbox")
    with capture(clock) as seen:
        observe_llm(feature="f", model="amazon.nova-lite-v1:0")(bedrock.converse)(**CONVERSE)
    assert outcomes(seen) == ["rate_limit", "server_error", "ok"]
    assert [attempt.wait for attempt in attempts(seen)] == [None, *map(pytest.approx, bedrock.slept.waits)]
    assert {(attempt.provider, attempt.account) for attempt in attempts(seen)} == {("aws.bedrock", "sandbox")}
    found = {key: count for key, count in totals(seen, metrics.ATTEMPTS).items() if count}
    assert found == {("aws.bedrock", "amazon.nova-lite-v1:0", kind): 1 for kind in outcomes(seen)}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of the socket that is dropped
@pytest.mark.parametrize("read", ["end", "close", "drop"])
def test_an_attempt_of_boto3_lasts_as_long_as_its_stream(
    bedrock: Any, wire: Wire, clock: ManualClock, read: str
) -> None:
    wire.answers.append(respond(200, STREAMED, "content-type: application/vnd.amazon.eventstream"))
    with capture(clock) as seen, track_request(model="m") as request:
        answer = watch(bedrock).converse_stream(**CONVERSE)
        clock.advance(5.0)
        if read == "end":
            texts = [event for event in request.stream(answer["stream"]) if "contentBlockDelta" in event]
            assert texts[0]["contentBlockDelta"]["delta"]["text"] == "Left."
        elif read == "close":
            answer["stream"].close()
        del answer
        gc.collect()
    (attempt,) = attempts(seen)
    assert (attempt.outcome, attempt.duration) == ("ok", 5.0)


@pytest.mark.parametrize("read", ["read", "chunks", "lines", "block"])
def test_the_body_of_an_invoked_model_is_read_as_ever(bedrock: Any, wire: Wire, clock: ManualClock, read: str) -> None:
    content = b'{"a": 1}\n{"b": 2}\n'
    wire.answers.append(respond(200, content))
    with capture(clock) as seen, track_request(model="m"):
        body = watch(bedrock).invoke_model(modelId="m", body=b"{}")["body"]
        clock.advance(5.0)
        if read == "read":
            assert body.read() == content
        elif read == "chunks":
            assert b"".join(body.iter_chunks(4)) == content
        elif read == "lines":
            assert list(body.iter_lines()) == content.splitlines()
        else:
            with body as raw:
                assert raw.read() == content
    (attempt,) = attempts(seen)
    assert (attempt.outcome, attempt.duration) == ("ok", 5.0)


def test_a_stream_of_boto3_that_breaks_is_a_connection_error(bedrock: Any, wire: Wire) -> None:
    wire.answers.append(respond(200, b"{", length=100))
    with capture() as seen, track_request(model="m"):
        body = watch(bedrock).invoke_model(modelId="m", body=b"{}")["body"]
        with pytest.raises(Exception, match=r"Connection broken|incomplete"):
            body.read()
    assert outcomes(seen) == ["connection"]


def test_a_connection_that_boto3_does_not_get_is_a_connection_error(bedrock: Any, wire: Wire) -> None:
    bedrock._endpoint.host = "http://127.0.0.1:1"
    bedrock.meta._endpoint_url = "http://127.0.0.1:1"
    bedrock.meta.events.register("before-send", _elsewhere)
    with capture() as seen, pytest.raises(Exception, match=r"127\.0\.0\.1:1"):
        observe_llm(watch(bedrock).converse)(**CONVERSE)
    assert outcomes(seen) == ["connection"] * 3


def _elsewhere(request: Any, **_: Any) -> None:
    request.url = "http://127.0.0.1:1/"


def test_boto3_sends_the_same_bytes(bedrock: Any, wire: Wire) -> None:
    def comparable(request: bytes) -> list[bytes]:
        changing = (b"amz-sdk-invocation-id", b"x-amz-date", b"authorization")
        return [line for line in request.split(b"\r\n") if not line.lower().startswith(changing)]

    for client in (bedrock, watch(bedrock)):
        wire.answers.append(respond(200, CONVERSED))
        with capture():
            client.converse(**CONVERSE)
    first, second = map(comparable, wire.requests)
    assert first == second
