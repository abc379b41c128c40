"""Each example runs as a user would run it, against vendors that speak the real wire formats on loopback."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from llmwatch.simulate import Vendors

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted(path.name for path in (ROOT / "examples").glob("*.py"))


@pytest.fixture(scope="module")
def vendors():
    with Vendors(seed=3, time_scale=0.02) as running:
        yield running


def run(name: str, vendors: Vendors) -> str:
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "OPENAI_BASE_URL": vendors.openai_url,
        "OPENAI_API_KEY": "placeholder",
        "ANTHROPIC_BASE_URL": vendors.anthropic_url,
        "ANTHROPIC_API_KEY": "placeholder",
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


def test_streaming_times_the_first_chunk_of_both_vendors(vendors):
    page = run("streaming.py", vendors).replace(" ai_", "\nai_").replace(" gen_ai", "\ngen_ai")

    assert sample(page, "ai_time_to_first_chunk_seconds_count", feature="chat", provider="openai") == 1
    assert sample(page, "ai_time_to_first_chunk_seconds_count", feature="summarise", provider="anthropic") == 1


def test_attribution_reaches_the_calls_in_threads(vendors):
    page = run("attribution.py", vendors)

    assert sample(page, "ai_requests_total", agent="planner", tier="pro") == 1
    assert sample(page, "ai_requests_total", agent="researcher", tier="pro") == 2


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
