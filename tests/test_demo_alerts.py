"""The demo beside a real Prometheus: it says which alerts fire; and where the live page is, first of all."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from support import REPOSITORY, require

from llmwatch.demo import SetupError, _alerts, run
from llmwatch.testing import capture


@contextmanager
def demo(*arguments: str) -> Iterator[Iterator[str]]:
    """The lines of a demo, which is ended with the block."""
    command = [sys.executable, "-m", "llmwatch", "demo", "--plain", "--port", "0", *arguments]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as running:
        giving_up = threading.Timer(150, running.terminate)
        giving_up.start()
        try:
            assert running.stdout is not None
            yield iter(running.stdout)
        finally:
            giving_up.cancel()
            running.terminate()


def test_with_prometheus_it_says_which_alerts_fire() -> None:
    require("prometheus")
    with demo("--prometheus", "--incident", "rate-limit", "--incident-after", "1", "--rate", "15") as lines:
        said = []
        for line in lines:
            said.append(line.strip())
            if line.startswith("Alert fires: LLMThrottled"):
                break

    assert re.fullmatch(r"Live page: +http://127\.0\.0\.1:\d+/", next(line for line in said if "http" in line))
    assert any(re.match(r"Alerts: +http://127\.0\.0\.1:\d+/alerts", line) for line in said)
    assert re.fullmatch(
        r"Alert fires: LLMThrottled - openai, gpt-4o-mini-2024-07-18: [\d.]+% of the attempts are refused because of "
        r"the rate limit",
        said[-1],
    )


def test_where_prometheus_is_not_installed_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_alerts, "program", lambda: None)
    with capture(strict=False), pytest.raises(SetupError, match="apt-get install prometheus"):
        run(seconds=1, port=0, prometheus=True)


def test_it_opens_the_live_page_only_when_it_is_asked_to(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    for asked in (False, True):
        with capture(strict=False):
            run(seconds=0.5, port=0, plain=True, open_browser=asked)

    assert len(opened) == 1
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", opened[0])
