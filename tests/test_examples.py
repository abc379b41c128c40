"""Each example runs as a user would run it, against vendors that speak the real wire formats on loopback."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import pytest
from receivers import Received, otlp_grpc, otlp_http, pushgateway
from replay import Replay

from llmwatch.cli import main
from llmwatch.simulate import Behaviour, Vendors

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted(path.name for path in (ROOT / "examples").glob("*.py"))


@pytest.fixture(scope="module")
def vendors():
    with Vendors(seed=3, time_scale=0.02) as running:
        yield running


def run(name: str, vendors: Vendors, **variables: str) -> str:
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "OPENAI_BASE_URL": vendors.openai_url,
        "OPENAI_API_KEY": "placeholder",
        "ANTHROPIC_BASE_URL": vendors.anthropic_url,
        "ANTHROPIC_API_KEY": "placeholder",
        **variables,
    }
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / name)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def sample(page: str, name: str, **labels: str) -> float:
    """The one sample of that name with at least these labels."""
    found = [
        float(line.rpartition(" ")[2])
        for line in page.splitlines()
        if line.startswith(name + "{") and all(f'{key}="{value}"' in line for key, value in labels.items())
    ]
    assert len(found) == 1, (name, labels, page)
    return found[0]


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_has_under_forty_lines_and_says_what_it_shows(name):
    source = (ROOT / "examples" / name).read_text()

    assert len(source.splitlines()) < 40
    assert re.match(r'""".+\."""\n', source) or re.match(r'""".+stand-in\."""\n', source)


def test_quickstart_shows_what_the_vendor_served(vendors):
    before = len(vendors.served)
    page = run("quickstart.py", vendors)
    (served,) = vendors.served[before:]

    assert sample(page, "ai_requests_total", feature="greeting", status="success", provider="openai") == 1
    assert sample(page, "ai_tokens_total", direction="input", kind="text") == served.input_tokens
    assert sample(page, "ai_tokens_total", direction="output", kind="text") == served.output_tokens
    # gpt-4o-mini: $0.15 and $0.60 for a million tokens, openai.com/api/pricing
    assert sample(page, "ai_cost_dollars_total", direction="input") == pytest.approx(served.input_tokens * 0.15e-6)
    assert sample(page, "ai_cost_dollars_total", direction="output") == pytest.approx(served.output_tokens * 0.60e-6)


def test_openai_is_read_by_each_of_its_apis_and_a_refusal_is_an_error(vendors):
    before = len(vendors.served)
    vendors.next("openai", "ok", "ok", "ok", "invalid_request")
    page = run("openai_client.py", vendors)
    chat, response, embeddings, refused = vendors.served[before:]

    assert [each.api for each in (chat, response, embeddings)] == ["chat", "responses", "embeddings"]
    assert sample(page, "ai_tokens_total", feature="chat", direction="output") == chat.output_tokens
    assert sample(page, "ai_tokens_total", feature="triage", direction="output") == response.output_tokens
    # text-embedding-3-small: $0.02 for a million tokens, openai.com/api/pricing
    assert sample(page, "ai_cost_dollars_total", operation="embeddings") == pytest.approx(
        embeddings.input_tokens * 0.02e-6
    )
    assert refused.status == 400
    assert sample(page, "ai_errors_total", feature="chat", model="gpt-4o-mini", error_type="invalid_request") == 1
    assert sample(page, "ai_requests_total", feature="chat", model="gpt-4o-mini", status="error") == 1


def test_anthropic_shows_what_the_prompt_cache_read_wrote_and_saved():
    halves = Behaviour(cached_share=0.5, cache_write_share=0.2)
    with Vendors(seed=3, time_scale=0.02, behaviours={"anthropic": halves}) as vendors:
        page = run("anthropic_client.py", vendors)
        served = vendors.served
    read, wrote = (sum(getattr(each, f"cache_{kind}_tokens") for each in served) for kind in ("read", "write"))
    plain = sum(each.input_tokens for each in served) - read - wrote

    assert len(served) == 2
    assert sample(page, "ai_tokens_total", direction="input", kind="cache_read") == read
    assert sample(page, "ai_tokens_total", direction="input", kind="cache_write") == wrote
    assert sample(page, "ai_tokens_total", direction="input", kind="text") == plain
    # claude-haiku-4-5: $1, $0.10 read and $1.25 written for a million tokens, claude.com/pricing
    assert sample(page, "ai_cost_dollars_total", kind="cache_read") == pytest.approx(read * 0.1e-6)
    assert sample(page, "ai_cost_dollars_total", kind="cache_write") == pytest.approx(wrote * 1.25e-6)
    assert sample(page, "ai_cache_savings_dollars_total") == pytest.approx(read * (1 - 0.1) * 1e-6)


GEMINI_USAGE = {"promptTokenCount": 8, "candidatesTokenCount": 40, "thoughtsTokenCount": 120, "totalTokenCount": 168}


def gemini(id: str, *contents: dict) -> dict:
    """An answer of Google's, as ai.google.dev/api/generate-content has it, to requests of that name."""
    streaming = id.startswith("stream")
    place = {"sse": [json.dumps(each) for each in contents]} if streaming else {"body": contents[0]}
    framing = "sse-data-payloads" if streaming else "json"
    return {"id": id, "status": 200, "content_type": None, "headers": {}, "framing": framing, **place}


def generated(text: str, **more: object) -> dict:
    candidate = {"content": {"role": "model", "parts": [{"text": text}]}, "finishReason": "STOP", "index": 0}
    return {"candidates": [candidate], "modelVersion": "gemini-2.5-flash", "responseId": "r1", **more}


def test_gemini_counts_thoughts_as_reasoning_plain_and_streamed(vendors):
    first = {"usageMetadata": {"promptTokenCount": 5, "totalTokenCount": 5}}
    last = {
        "usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 9, "thoughtsTokenCount": 7}
        | {"totalTokenCount": 21}
    }
    answers = [
        gemini("generateContent", generated("Because.", usageMetadata=GEMINI_USAGE)),
        gemini("streamGenerateContent", generated("Once", **first), generated("upon a time", **last)),
    ]
    with Replay(answers) as google:
        page = run("gemini.py", vendors, GOOGLE_GEMINI_BASE_URL=google.url, GEMINI_API_KEY="placeholder")

    for feature, text, reasoning in (("chat", 40, 120), ("story", 9, 7)):
        labels = {"feature": feature, "provider": "gcp.gemini", "direction": "output"}
        assert sample(page, "ai_tokens_total", **labels, kind="text") == text
        assert sample(page, "ai_tokens_total", **labels, kind="reasoning") == reasoning
    # gemini-2.5-flash: $0.30, and $2.50 thoughts included, for a million tokens, ai.google.dev/pricing
    assert sample(page, "ai_cost_dollars_total", feature="chat", direction="input") == pytest.approx(8 * 0.3e-6)
    assert sample(page, "ai_cost_dollars_total", feature="chat", kind="reasoning") == pytest.approx(120 * 2.5e-6)
    assert sample(page, "ai_time_to_first_chunk_seconds_count", feature="story") == 1


def test_a_langchain_chain_is_read_from_its_message_and_from_the_chunks_of_its_stream(vendors):
    before = len(vendors.served)
    page = run("langchain_chain.py", vendors)
    invoked, streamed = vendors.served[before:]

    assert streamed.streamed
    for agent, served in (("pirate", invoked), ("poet", streamed)):
        labels = {"feature": "chat", "agent": agent, "provider": "openai", "model": served.response_model}
        assert sample(page, "ai_requests_total", **labels, status="success") == 1
        assert sample(page, "ai_tokens_total", **labels, direction="input") == served.input_tokens
        assert sample(page, "ai_tokens_total", **labels, direction="output") == served.output_tokens
    assert sample(page, "ai_attempts_total", provider="openai", outcome="ok") == 2


def test_own_prices_stand_in_a_file_beside_the_program(vendors):
    before = len(vendors.served)
    page = run("own_prices.py", vendors)
    known, own, unknown = vendors.served[before:]

    costs = {"cost_source": "override", "direction": "output"}
    assert sample(page, "ai_cost_dollars_total", model="gpt-4o-mini-2024-07-18", **costs) == pytest.approx(
        known.output_tokens * 0.6e-6 * 0.85
    )
    assert sample(page, "ai_cost_dollars_total", model="in-house-7b", **costs) == pytest.approx(
        own.output_tokens * 0.8e-6
    )
    assert sample(page, "ai_unpriced_requests_total", model=unknown.model, reason="unknown_model") == 1
    assert f'model="{unknown.model}"' not in "".join(line for line in page.splitlines() if "ai_cost" in line)


def test_the_prices_of_the_example_have_no_mistakes(capsys):
    assert main(["prices", "--check", str(ROOT / "examples" / "prices.toml")]) == 0
    assert "no mistakes" in capsys.readouterr().out


def test_watch_shows_the_attempts_of_a_call_their_wait_and_the_rate_limits(vendors):
    vendors.next("openai", "rate_limit", "ok")
    page = run("watch.py", vendors)

    assert sample(page, "ai_requests_total", feature="chat", status="success") == 1
    assert sample(page, "ai_attempts_total", outcome="rate_limit") == 1
    assert sample(page, "ai_attempts_total", outcome="ok") == 1
    assert sample(page, "ai_retry_wait_seconds_total", feature="chat") >= 1  # the vendor asks for a second
    limits = {"account": "team-a", "provider": "openai", "resource": "requests"}
    assert sample(page, "ai_rate_limit_limit", **limits) == 10_000
    assert 0 < sample(page, "ai_rate_limit_remaining", **limits) <= 10_000


def test_streaming_times_the_first_chunk_of_both_vendors(vendors):
    page = run("streaming.py", vendors).replace(" ai_", "\nai_").replace(" gen_ai", "\ngen_ai")

    assert sample(page, "ai_time_to_first_chunk_seconds_count", feature="chat", provider="openai") == 1
    assert sample(page, "ai_time_to_first_chunk_seconds_count", feature="summarise", provider="anthropic") == 1


def test_attribution_reaches_the_calls_in_threads(vendors):
    page = run("attribution.py", vendors)

    assert sample(page, "ai_requests_total", agent="planner", tier="pro") == 1
    assert sample(page, "ai_requests_total", agent="researcher", tier="pro") == 2


def test_agents_and_tools_are_told_apart(vendors):
    before = len(vendors.served)
    page = run("agents_and_tools.py", vendors)
    planned, *researched = vendors.served[before:]

    assert len(researched) == 3
    for agent, served in (("planner", [planned]), ("researcher", researched)):
        tokens = sum(each.input_tokens + each.output_tokens for each in served)
        assert sample(page, "ai_agent_runs_total", agent=agent, status="success") == 1
        assert sample(page, "ai_agent_run_requests_sum", agent=agent) == len(served)
        assert sample(page, "ai_agent_run_tokens_sum", agent=agent) == tokens
    assert sample(page, "ai_tool_calls_total", agent="researcher", tool="search") == 2
    assert sample(page, "ai_guard_decisions_total", guard="length", stage="output", decision="rejected") == 1


def test_a_web_request_its_guard_agent_and_tool_and_the_call_are_on_one_page(vendors):
    before = len(vendors.served)
    page = run("fastapi_app.py", vendors)
    (served,) = vendors.served[before:]

    assert sample(page, "http_server_request_duration_seconds_count", http_route="/ask") == 1
    assert sample(page, "ai_guard_decisions_total", feature="library", guard="length", decision="allowed") == 1
    assert sample(page, "ai_agent_runs_total", agent="librarian", status="success") == 1
    assert sample(page, "ai_tool_calls_total", agent="librarian", tool="shelf", status="success") == 1
    assert sample(page, "ai_requests_total", feature="library", agent="librarian", status="success") == 1
    assert sample(page, "ai_attempts_total", provider="openai", outcome="ok") == 1
    assert sample(page, "ai_tokens_total", agent="librarian", direction="input", kind="text") == served.input_tokens


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("extractor_function.py", {("greeting", "input"): 12, ("greeting", "output"): 3, ("by-hand", "input"): 812}),
        ("extractor_data.py", {("greeting", "input"): 20, ("greeting", "output"): 5}),
        ("extractor_accumulator.py", {("greeting", "output"): 4}),
    ],
)
def test_an_own_extractor_is_read_in_each_way_of_writing_one(vendors, name, expected):
    page = run(name, vendors)

    for (feature, direction), tokens in expected.items():
        assert sample(page, "ai_tokens_total", feature=feature, direction=direction) == tokens


def test_otlp_sends_what_the_vendor_served_to_a_collector(vendors):
    with otlp_grpc() as receiver:
        before = len(vendors.served)
        endpoint = receiver.url.replace("grpc", "http")
        said = run("otlp.py", vendors, OTEL_EXPORTER_OTLP_ENDPOINT=endpoint, OTEL_EXPORTER_OTLP_PROTOCOL="grpc")
        (served,) = vendors.served[before:]

    assert said.endswith("sent: True\n")
    assert receiver.total("ai_tokens", feature="greeting", direction="output") == served.output_tokens
    assert receiver.resource("service.name") == {"otlp-example"}


def test_serverless_sends_each_invocation_and_pushes_the_job(vendors):
    with otlp_http() as receiver, pushgateway() as gateway:
        run("serverless.py", vendors, OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url, PUSHGATEWAY=gateway)
        with urlopen(f"http://{gateway}/metrics", timeout=10) as answer:
            pushed = answer.read().decode()

    assert Received(requests=receiver.requests[:1]).total("ai_requests", feature="summary", status="success") == 1
    assert sample(pushed, "ai_requests_total", job="nightly", feature="summary", status="success") == 2
