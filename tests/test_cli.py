"""The command line: what it takes, what it refuses and how it says so."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import llmwatch
import llmwatch.demo
from llmwatch.cli import main
from llmwatch.testing import capture

ROOT = Path(__file__).parent.parent


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the demo is asked to do, in place of which nothing is done."""
    wishes: dict[str, Any] = {}
    monkeypatch.setattr(llmwatch.demo, "run", lambda **given: wishes.update(given))
    return wishes


def test_the_demo_has_good_defaults(asked: dict[str, Any]) -> None:
    assert main(["demo"]) == 0
    assert asked == {
        "seconds": None,
        "seed": 0,
        "rate": 8.0,
        "port": 9464,
        "plain": False,
        "incident": None,
        "incident_after": 20.0,
        "prometheus": False,
        "open_browser": False,
    }


def test_the_demo_takes_what_it_is_told(asked: dict[str, Any]) -> None:
    line = "demo --seconds 2.5 --seed 7 --rate 20 --port 0 --plain --incident model-swap --incident-after 3"
    assert main([*line.split(), "--open", "--prometheus"]) == 0
    assert asked == {
        "seconds": 2.5,
        "seed": 7,
        "rate": 20.0,
        "port": 0,
        "plain": True,
        "incident": "model-swap",
        "incident_after": 3.0,
        "prometheus": True,
        "open_browser": True,
    }


@pytest.mark.parametrize(
    ("option", "value", "complaint"),
    [
        ("--seconds", "0", "must be more than 0"),
        ("--seconds", "-1", "must be more than 0"),
        ("--seconds", "soon", "invalid"),
        ("--rate", "0", "must be more than 0"),
        ("--rate", "nan", "must be more than 0"),
        ("--rate", "51", "must be at most 50"),
        ("--port", "65536", "between 0 and 65535"),
        ("--port", "http", "invalid"),
        ("--seed", "x", "invalid"),
    ],
)
def test_a_value_that_cannot_be_meant_is_refused_by_name(
    option: str, value: str, complaint: str, asked: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["demo", f"{option}={value}"])
    assert exit_.value.code == 2
    assert not asked
    message = capsys.readouterr().err.splitlines()[-1]
    assert option in message
    assert complaint in message


def test_without_a_command_it_says_how_it_is_used(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main([])
    assert exit_.value.code == 2
    assert "usage: llmwatch" in capsys.readouterr().err


def test_it_tells_its_version() -> None:
    done = python("-m", "llmwatch", "--version")
    assert (done.returncode, done.stdout) == (0, f"llmwatch {llmwatch.__version__}\n")


@pytest.mark.parametrize("package", ["anthropic", "fastapi", "openai", "rich", "starlette", "uvicorn"])
def test_a_missing_extra_is_one_line_with_the_command_that_brings_it(
    package: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    assert main(["demo"]) == 2
    assert capsys.readouterr().err == f"llmwatch: the demo needs {package}: pip install 'llmwatch[demo]'\n"


def test_without_the_extra_nothing_of_the_demo_is_loaded() -> None:
    done = python(
        "-c",
        "import sys\n"
        "for name in ('anthropic', 'openai', 'rich', 'starlette', 'uvicorn'): sys.modules[name] = None\n"
        "from llmwatch.cli import main\n"
        "sys.exit(main(['demo']))",
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "pip install 'llmwatch[demo]'" in done.stderr


def test_a_useless_setting_of_the_environment_is_one_line_that_names_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LLMWATCH_SEMCONV", "newest")
    with capture():
        assert main(["demo", "--seconds", "1", "--port", "0"]) == 2
    message = capsys.readouterr().err
    assert message.startswith("llmwatch: LLMWATCH_SEMCONV: ")
    assert message.count("\n") == 1


def test_an_interrupt_before_the_demo_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(**_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(llmwatch.demo, "run", interrupted)
    assert main(["demo"]) == 0


def test_it_stops_quietly_when_nobody_reads_on() -> None:
    command = [sys.executable, "-m", "llmwatch", "demo", "--seconds", "20", "--port", "0", "--plain"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
        process.wait(60)


@pytest.mark.parametrize("variables", [{}, {"PYTHONUNBUFFERED": "1"}], ids=["buffered", "unbuffered"])
def test_an_answer_that_nobody_reads_ends_without_a_traceback(variables: dict[str, str]) -> None:
    command = [sys.executable, "-m", "llmwatch", "prices", "gpt-4o-mini"]
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            command, cwd=ROOT, env={**os.environ, **variables}, stdout=writing, stderr=subprocess.PIPE, check=False
        )
    finally:
        os.close(writing)

    assert (done.returncode, done.stderr) == (1, b"")


def test_prices_says_what_a_model_costs_and_where_that_comes_from(capsys):
    assert main(["prices", "gpt-4o-mini"]) == 0
    said = capsys.readouterr().out

    # openai.com/api/pricing: $0.15, $0.075 cached, $0.60 for a million tokens
    assert "$0.15 a million input tokens" in said
    assert "$0.075 a million cache_read tokens" in said
    assert "$0.60 a million output tokens" in said
    assert "source: table" in said


def test_prices_says_that_a_model_is_unpriced(capsys):
    assert main(["prices", "no-such-model-anywhere"]) == 1
    assert "has no known price" in capsys.readouterr().out


def test_prices_says_with_which_provider_a_name_would_have_a_price(capsys):
    assert main(["prices", "llama-3.3-70b-versatile"]) == 1
    assert "it has one with --provider groq" in capsys.readouterr().out
    assert main(["prices", "llama-3.3-70b-versatile", "--provider", "groq"]) == 0
    assert "$0.59 a million input tokens" in capsys.readouterr().out  # groq.com/pricing
    assert main(["prices", "llama-3.3-70b-versatile", "--provider", "openai"]) == 1
    assert "has no known price at openai" in capsys.readouterr().out


def test_prices_follow_a_file_of_ones_own_and_the_variable_that_names_it(capsys, tmp_path, monkeypatch):
    file = tmp_path / "prices.toml"
    file.write_text('[[price]]\nmodel = "in-house-*"\nper_million = { input = 2, output = 8 }\n')

    assert main(["prices", "in-house-7b", "--prices", str(file)]) == 0
    assert "$2.00 a million input tokens" in capsys.readouterr().out
    monkeypatch.setenv("LLMWATCH_PRICES", str(file))
    assert main(["prices", "in-house-7b"]) == 0
    assert "source: override" in capsys.readouterr().out


def test_a_price_file_is_checked_and_a_typo_is_named_with_its_line(capsys, tmp_path):
    good, bad = tmp_path / "good.toml", tmp_path / "bad.toml"
    good.write_text('[[price]]\nmodel = "in-house"\nfree = true\n')
    bad.write_text('[[price]]\nmodel = "in-house"\nper_milion = { input = 2 }\n')

    assert main(["prices", "--check", str(good)]) == 0
    assert "no mistakes" in capsys.readouterr().out
    assert main(["prices", "--check", str(bad)]) == 1
    said = capsys.readouterr().err
    assert "bad.toml:3:" in said
    assert "did you mean 'per_million'" in said


def test_prices_without_a_model_says_what_is_missing(capsys):
    assert main(["prices"]) == 2
    assert "name a model" in capsys.readouterr().err
