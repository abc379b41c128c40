"""Forks: a child counts from nothing, under its own name, and waits for no thread that only its parent has."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from serving import PATIENCE, environment, free_port
from support import REPOSITORY

PREAMBLE = """
import json, os, sys, threading, time
from opentelemetry import metrics as api
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from recording import DELTA, REPLY, collected, parsed
import llmwatch
from llmwatch import _runtime, observe_llm, track_request
from llmwatch.exposition import wsgi_app

def call(feature="chat"):
    with track_request(feature=feature, provider="openai", model="gpt-4o-mini") as request:
        request.observe(REPLY)

def page():
    return parsed(body())

def body():
    return b"".join(wsgi_app()({"REQUEST_METHOD": "GET", "PATH_INFO": "/metrics"}, lambda *_: None)).decode()

def summed(text, start, part=""):
    return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(start) and part in line)

def numbers(found):
    return [
        found.total("ai_requests", status="success"),
        found.count("ai_request_duration", status="success"),
        found.total("ai_active_requests"),
    ]

def in_child(work):
    ours, theirs = os.pipe()
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        try:
            os.write(theirs, json.dumps(work(), default=str).encode())
        finally:
            sys.stdout.flush()
            os._exit(0)
    os.close(theirs)
    with os.fdopen(ours, "rb") as answers:
        said = answers.read()
    os.waitpid(child, 0)
    return json.loads(said)

def tell(**found):
    print(json.dumps(found, default=str))
"""


def run(program: str, timeout: float = 2 * PATIENCE, **variables: str) -> dict[str, Any]:
    """What a program tells on its last line."""
    done = subprocess.run(
        [sys.executable, "-c", PREAMBLE + program],
        cwd=REPOSITORY,
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_a_child_counts_from_nothing_and_its_parent_goes_on() -> None:
    found = run("""
llmwatch.configure()
for _ in range(3):
    call()
page()
call()  # which nobody has collected yet

def child():
    before = numbers(page())
    call()
    call()
    return [before, numbers(page()), page().one("target_info").labels["service_instance_id"]]

first, second = in_child(child), in_child(child)
call()
tell(first=first, second=second, parent=numbers(page()), own=page().one("target_info").labels["service_instance_id"])
""")

    assert found["parent"] == [5, 5, 0]
    assert found["first"][:2] == found["second"][:2] == [[0, 0, 0], [2, 2, 0]]
    assert len({found["own"], found["first"][2], found["second"][2]}) == 3


def test_a_call_that_is_open_at_the_fork_ends_once_and_in_the_parent() -> None:
    found = run("""
llmwatch.configure()
request = track_request(feature="chat", provider="openai", model="gpt-4o-mini")
request.__enter__()
parsed_before = numbers(page())

def child():
    inside = numbers(page())
    call()
    request.observe(REPLY)
    request.__exit__(None, None, None)
    return [inside, numbers(page())]

of_child = in_child(child)
request.observe(REPLY)
request.__exit__(None, None, None)
tell(open=parsed_before, child=of_child, parent=numbers(page()))
""")

    assert found["open"][2] == 1
    assert found["child"] == [[0, 0, 0], [1, 1, 0]]
    assert found["parent"] == [1, 1, 0]


def test_a_child_shows_the_series_of_the_functions_that_are_decorated_at_zero() -> None:
    found = run("""
llmwatch.configure()

@observe_llm(feature="announced", provider="openai", model="gpt-4o-mini")
def answer():
    return REPLY

collected_one = page()

@observe_llm(feature="announced later", provider="openai", model="gpt-4o-mini")
def answer_later():
    return REPLY

def child():
    return [len(page().of("ai_requests", feature=name, status="success")) for name in ("announced", "announced later")]

tell(child=in_child(child))
""")

    assert found["child"] == [1, 1]


@pytest.mark.parametrize("settings", ["", "port=0"])
def test_a_child_on_a_provider_of_the_program_s_own_counts_from_nothing_there(settings: str) -> None:
    found = run(f"""
memory, delta = InMemoryMetricReader(), InMemoryMetricReader(preferred_temporality=DELTA)
provider = MeterProvider([memory, delta], shutdown_on_exit=False)
llmwatch.configure(meter_provider=provider, {settings})
read = lambda reader: collected(reader.get_metrics_data())
for _ in range(3):
    call()
read(memory), read(delta)
call()

def child():
    before = [numbers(read(memory)), numbers(read(delta))]
    call()
    return [*before, numbers(read(memory)), numbers(read(delta))]

of_child = in_child(child)
call()
tell(child=of_child, memory=numbers(read(memory)), delta=numbers(read(delta)))
""")

    assert found["memory"] == [5, 5, 0]
    assert found["delta"] == [2, 2, 0]
    assert found["child"][:2] == [[0, 0, 0], [0, 0, 0]]
    assert found["child"][2:] == [[1, 1, 0], [1, 1, 0]]


def test_a_child_on_the_global_provider_counts_from_nothing_without_any_configuration() -> None:
    found = run("""
memory = InMemoryMetricReader()
api.set_meter_provider(MeterProvider([memory], shutdown_on_exit=False))
read = lambda: collected(memory.get_metrics_data())
call()
call()
before = numbers(read())

def child():
    call()
    return numbers(read())

tell(child=in_child(child), before=before, parent=numbers(read()))
""")

    assert found == {"child": [1, 1, 0], "before": [2, 2, 0], "parent": [2, 2, 0]}


def test_what_a_child_counts_before_anybody_has_configured_llmwatch_is_there_when_it_does() -> None:
    found = run("""
call()

def child():
    call()
    call()
    llmwatch.configure()
    return numbers(page())

of_child = in_child(child)
llmwatch.configure()
tell(child=of_child, parent=numbers(page()))
""")

    assert found == {"child": [2, 2, 0], "parent": [1, 1, 0]}


def test_a_child_may_be_configured_and_shut_down_and_have_children_of_its_own() -> None:
    found = run("""
llmwatch.configure(labels={"tier": ["free", "pro"]})
call()

def grandchild():
    call()
    return numbers(page())

def child():
    untouched = in_child(grandchild)
    call()
    llmwatch.configure(semconv="none")
    call()
    configured = numbers(page())
    llmwatch.shutdown()
    call()
    llmwatch.configure()
    return [untouched, configured, numbers(page()), in_child(grandchild)]

tell(child=in_child(child), parent=numbers(page()))
""")

    assert found["child"] == [[1, 1, 0], [2, 2, 0], [1, 1, 0], [1, 1, 0]]
    assert found["parent"] == [1, 1, 0]


def test_a_child_starts_no_thread_and_makes_nothing_until_it_is_used() -> None:
    found = run("""
llmwatch.configure(port=0)
call()
page()
found = in_child(lambda: [[t.name for t in threading.enumerate()], _runtime.installed().page is None])
tell(child=found)
""")

    assert found["child"] == [["MainThread"], True]


def test_the_port_of_a_parent_that_has_died_is_not_held_by_its_children() -> None:
    port = free_port()
    program = (
        PREAMBLE
        + f"""
from llmwatch.exposition import serve
llmwatch.configure(port={port})
other = serve()
call()
if os.fork() == 0:
    call()
    tell(child=os.getpid(), port=other.port, numbers=numbers(page()))
    sys.stdout.flush()
time.sleep(60)
"""
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], env=environment(), cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        child = json.loads(parent.stdout.readline())
        parent.kill()
        parent.wait(PATIENCE)
        try:
            for freed in (port, child["port"]):
                with socket.socket() as connection:
                    assert connection.connect_ex(("127.0.0.1", freed)) != 0
        finally:
            os.kill(child["child"], signal.SIGKILL)

    assert child["numbers"] == [1, 1, 0]


SCRAPED = """
kind, folder = sys.argv[1:]
settings = {}
if kind == "own provider":
    provider = MeterProvider([InMemoryMetricReader()], shutdown_on_exit=False)
    theirs = provider.get_meter("theirs").create_counter("theirs")
    for n in range(300):
        theirs.add(1, {"n": n})
    settings["meter_provider"] = provider
if kind == "workers":
    settings["worker_dir"] = folder
llmwatch.configure(port=0, service_name="forks", **settings)
for n in range(32):
    call(f"feature {n}")
series = len(body().splitlines())
stop = threading.Event()

def scrape():
    while not stop.is_set():
        body()

scrapers = [threading.Thread(target=scrape) for _ in range(2)]
for scraper in scrapers:
    scraper.start()

def child():
    call("feature of the child")
    if kind == "own provider":
        theirs.add(1, {"n": 5})
        theirs.add(1, {"n": -1})
    text = body()
    return [summed(text, "ai_requests_total{", "success"), summed(text, "ai_request_duration_seconds_count{")]

found = [in_child(child) for _ in range(12)]
stop.set()
for scraper in scrapers:
    scraper.join()
tell(children=found, parent=numbers(page()), series=series)
"""


@pytest.mark.parametrize("kind", ["own page", "own provider", "workers"])
def test_twelve_children_of_a_process_that_is_scraped_all_the_time_record_scrape_and_end(
    kind: str, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PREAMBLE + SCRAPED, kind, str(tmp_path)],
        cwd=REPOSITORY,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    together = kind == "workers"

    assert found["series"] >= 1500
    assert found["children"] == [[33 + n, 33 + n] if together else [1, 1] for n in range(12)]
    assert found["parent"] == ([44, 44, 0] if together else [32, 32, 0])
