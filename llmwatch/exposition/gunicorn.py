"""gunicorn: one port per worker, found by Prometheus through `file_sd`, for those who do not want one page for all.

In `gunicorn.conf.py`:

    from llmwatch.exposition.gunicorn import FileSd

    targets = FileSd("/run/shop/targets")
    on_starting, post_worker_init, child_exit = targets.on_starting, targets.post_worker_init, targets.child_exit

and in `prometheus.yml` `file_sd_configs: [{files: ["/run/shop/targets/*.json"]}]`. The application calls
`llmwatch.configure()` without a port. Each worker is a target of its own then, with a port of its own.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from llmwatch.exposition._endpoint import serve

__all__ = ["FileSd"]


class FileSd:
    """The hooks, and the folder of files in which Prometheus finds the workers, one for each.

    Args:
        folder: Where the files are; it is made.
        host: The address that the workers serve on, and that Prometheus is told.
        labels: Labels of all targets.
        insecure: Serves on an address that other machines can reach though nothing guards it.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        host: str = "127.0.0.1",
        labels: Mapping[str, str] | None = None,
        insecure: bool = False,
    ) -> None:
        self._folder = Path(folder).absolute()
        self._host = host
        self._labels = dict(labels or {})
        self._insecure = insecure

    def on_starting(self, server: Any) -> None:
        """The master starts: workers of an earlier run, which may have been killed, are gone."""
        for left in self._folder.glob("llmwatch-*.json"):
            left.unlink(missing_ok=True)

    def post_worker_init(self, worker: Any) -> None:
        """A worker has loaded the application: it serves its page and says where. A failure is logged, no more."""
        try:
            endpoint = serve(0, self._host, insecure=self._insecure)
            try:
                self._write(worker.pid, endpoint.port)
            except OSError:
                endpoint.close()  # nobody would ever ask it
                raise
        except Exception:
            worker.log.exception("llmwatch: this worker's metrics cannot be scraped")

    def child_exit(self, server: Any, worker: Any) -> None:
        """A worker is gone, however that came."""
        self._file(worker.pid).unlink(missing_ok=True)

    def _file(self, pid: int) -> Path:
        return self._folder / f"llmwatch-{pid}.json"

    def _write(self, pid: int, port: int) -> None:
        host = f"[{self._host}]" if ":" in self._host else self._host
        targets = [{"targets": [f"{host}:{port}"], "labels": self._labels}]
        self._folder.mkdir(parents=True, exist_ok=True)
        aside = self._file(pid).with_suffix(".tmp")
        try:
            aside.write_text(json.dumps(targets), "utf-8")
            os.replace(aside, self._file(pid))
        except OSError:
            with suppress(OSError):
                aside.unlink()
            raise
