"""The alerts: a Prometheus of its own beside the demo, with the rules that llmwatch ships, and which of them fire."""

from __future__ import annotations

import http.client
import json
import re
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

from llmwatch.ops import Options, write

_HOST, _PORT = "127.0.0.1", 9090
_EVERY = 1.0  # seconds between two questions
_PATIENCE = 10.0  # seconds for it to end


def program() -> str | None:
    """Where Prometheus is installed, if it is."""
    return shutil.which("prometheus")


class Alerts:
    """A Prometheus that scrapes the demo, from `with` to the end of its block.

    Nobody watches a demo for the minutes and quarters of an hour that the rules wait, so they wait for seconds here.

    Args:
        metrics_port: Where the demo's metrics are.
        say: Takes a line of text whenever an alert begins to fire, or is over.

    Attributes:
        url: Where it is.
        firing: The summary of each alert that fires, by its name.
    """

    def __init__(self, metrics_port: int, say: Callable[[str], None]) -> None:
        self._metrics = f"{_HOST}:{metrics_port}"
        self._say = say
        self._port = _free_port()
        self._folder = TemporaryDirectory(prefix="llmwatch-demo-", ignore_cleanup_errors=True)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="llmwatch-demo-alerts", daemon=True)
        self.url = f"http://{_HOST}:{self._port}"
        self.firing: dict[str, str] = {}

    def __enter__(self) -> Self:
        root = Path(self._folder.name)
        write(root, Options(scrape=(self._metrics,)))
        _hurry(root / "prometheus")
        command = [
            program() or "prometheus",
            f"--config.file={root / 'prometheus' / 'prometheus.yml'}",
            f"--storage.tsdb.path={root / 'data'}",
            f"--web.listen-address={_HOST}:{self._port}",
            "--log.level=error",
        ]
        # Ctrl-C is for the demo, which ends this one after itself.
        self._process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(_PATIENCE)
        self._process.terminate()
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._folder.cleanup()

    def _watch(self) -> None:
        while not self._stop.wait(_EVERY):
            if self._process.poll() is not None:
                self._say("Prometheus has ended by itself: no alerts from now on.")
                return
            try:
                self._compare(dict(self._alerts()))
            except (OSError, http.client.HTTPException, ValueError, LookupError):  # not there yet
                continue

    def _compare(self, firing: dict[str, str]) -> None:
        for name in firing.keys() - self.firing.keys():
            self._say(f"Alert fires: {name} - {firing[name]}")
        for name in self.firing.keys() - firing.keys():
            self._say(f"Alert is over: {name}")
        self.firing = firing

    def _alerts(self) -> list[tuple[str, str]]:
        # No urllib: it would ask a proxy of the environment for loopback.
        connection = http.client.HTTPConnection(_HOST, self._port, timeout=5)
        try:
            connection.request("GET", "/api/v1/alerts")
            found: Any = json.loads(connection.getresponse().read())["data"]["alerts"]
        finally:
            connection.close()
        return [
            (alert["labels"]["alertname"], alert["annotations"].get("summary", ""))
            for alert in found
            if alert["state"] == "firing"
        ]


def _free_port() -> int:
    """The usual one if it can be had."""
    for port in (_PORT, 0):
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind((_HOST, port))
            except OSError:
                continue
            return int(listener.getsockname()[1])
    raise OSError("no port is free")


def _hurry(folder: Path) -> None:
    """Seconds in place of minutes; and nobody to notify."""
    main = folder / "prometheus.yml"
    for path in (main, *(folder / "rules").glob("*.yml")):
        text = path.read_text("utf-8")
        text = re.sub(r"\b(scrape_interval|evaluation_interval|interval): \w+", r"\1: 1s", text)
        path.write_text(re.sub(r"\bfor: \d+[mh]", "for: 5s", text).replace("[5m]", "[10s]"), "utf-8")
    main.write_text(re.sub(r"^alerting:\n(?: .*\n)+", "", main.read_text("utf-8"), flags=re.MULTILINE), "utf-8")
