"""`llmwatch explain` beside a running demo: an incident of a minute ago, as it happens."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from operations import Prometheus, answers, free_port, prometheus, until
from support import REPOSITORY

from llmwatch.cli import main

WINDOW = "15s"


def test_longer_prompts_are_found_while_they_grow(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    port, told = free_port(), []
    config = tmp_path / "prometheus.yml"
    config.write_text(
        "global: {scrape_interval: 1s}\n"
        f"scrape_configs: [{{job_name: shop, static_configs: [{{targets: ['127.0.0.1:{port}']}}]}}]\n"
    )
    demo = [sys.executable, "-m", "llmwatch", "demo", "--plain", "--seconds", "90", "--rate", "20", "--port", str(port)]
    incident = ["--incident", "prompt-growth", "--incident-after", "20"]

    def explained(server: Prometheus) -> bool:
        options = ["--prometheus", server.url, "--window", WINDOW, "--against", WINDOW, "--feature", "chat", "--json"]
        main(["explain", "cost", *options])
        document: dict[str, Any] = json.loads(capsys.readouterr().out)
        if document["finding"] == "rose" and document["causes"][0]["factor"] == "prompt size":
            told.append(document)
        return bool(told)

    with (
        prometheus(config, tmp_path / "data") as server,
        subprocess.Popen([*demo, *incident], cwd=REPOSITORY) as running,
    ):
        try:
            until(lambda: answers(f"http://127.0.0.1:{port}/metrics"), "the demo's page")
            until(lambda: explained(server), "the explanation", 60)
        finally:
            running.terminate()
    (document,) = told
    assert document["causes"][0]["feature"] == "chat"
    assert any("its prompts grew from" in sentence for sentence in document["text"])
