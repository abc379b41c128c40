"""Programs of several processes, run as they are in production, and asked over HTTP."""

from __future__ import annotations

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from recording import Collected, parsed
from support import REPOSITORY

PATIENCE = 30.0  # seconds, after which something that ought to come does not come any more


def until(condition: Callable[[], object], what: str) -> None:
    """Waits for something that another process does."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come"
        time.sleep(0.05)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def environment(**variables: str) -> dict[str, str]:
    """This process's environment without what would configure llmwatch, and with the tests' modules."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("LLMWATCH_", "OTEL_", "PROMETHEUS_"))
    }
    return {**kept, "PYTHONPATH": f"{REPOSITORY}{os.pathsep}{REPOSITORY / 'tests'}", **variables}


def get(port: int, path: str = "/", timeout: float = 20) -> str:
    """One request to a server that may close idle connections at any time."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=timeout) as answer:
        return str(answer.read().decode())


def page(port: int) -> Collected:
    return parsed(get(port, "/metrics"))


def successes(port: int, **labels: str) -> float:
    return page(port).total("ai_requests", status="success", **labels)


class Server:
    """A server with several workers."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        self.process = process
        self.port = port
        self._log = log

    @property
    def log(self) -> str:
        return self._log.read_text("utf-8", "replace")

    def call(self, times: int) -> Counter[int]:
        """So many requests, on eight connections at a time; which worker has answered how many."""
        with ThreadPoolExecutor(8) as pool:
            return Counter(int(body) for body in pool.map(lambda _: get(self.port), range(times)))

    def scrapes(self, times: int = 8) -> list[float]:
        """What so many scrapes say, one after the other."""
        return [successes(self.port) for _ in range(times)]

    @property
    def workers(self) -> list[int]:
        """The processes that it has started and that still run."""
        pid = self.process.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()]

    def reload(self) -> None:
        self.process.send_signal(signal.SIGHUP)


def answers(port: int) -> bool:
    try:
        get(port, "/metrics", 5)
    except (OSError, urllib.error.URLError):
        return False
    return True


@contextmanager
def running(folder: Path, *command: str, port: int, **variables: str) -> Iterator[Server]:
    """A server, as a process group of its own, until the block ends."""
    log = folder / f"server-{port}.log"
    with open(log, "wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=folder,
            env=environment(**variables),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    server = Server(process, port, log)
    try:
        until(lambda: answers(port) or process.poll() is not None, "the server")
        assert process.poll() is None, server.log
        yield server
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(15)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(15)


@contextmanager
def gunicorn(
    folder: Path, *arguments: str, app: str = "worker_app:wsgi", workers: int = 4, **variables: str
) -> Iterator[Server]:
    """A gunicorn with four workers that share a directory."""
    port = free_port()
    variables.setdefault("LLMWATCH_WORKER_DIR", str(folder / "workers"))
    variables.setdefault("LLMWATCH_SERVICE_NAME", "shop")
    command = ("gunicorn", "--no-control-socket", "-w", str(workers), "-b", f"127.0.0.1:{port}", *arguments, app)
    with running(folder, *command, port=port, **variables) as server:
        until(lambda: server.log.count("Booting worker") >= workers, "the workers")
        yield server


@cache
def _maker() -> socket.socket:
    """What makes programs: a process that has imported all that they need."""
    ours, theirs = socket.socketpair()
    program = str(REPOSITORY / "tests" / "worker_program.py")
    with theirs:
        made = subprocess.Popen(
            [sys.executable, program, str(theirs.fileno())], env=environment(), pass_fds=[theirs.fileno()]
        )
    atexit.register(made.wait, 15)
    atexit.register(ours.close)
    return ours


class Program:
    """A process that evaluates what it is told, in `worker_program`."""

    def __init__(self, folder: Path, *arguments: str, **variables: str) -> None:
        variables.setdefault("LLMWATCH_WORKER_DIR", str(folder / "workers"))
        variables.setdefault("LLMWATCH_SERVICE_NAME", "shop")
        given = environment(**{name: value for name, value in variables.items() if value})
        order = json.dumps({"arguments": arguments, "variables": given, "folder": str(folder)}).encode()
        self._errors = folder / f"program-{time.monotonic_ns()}.log"
        self._channel, theirs = socket.socketpair()
        self._channel.settimeout(2 * PATIENCE)
        with theirs, open(self._errors, "wb") as errors:
            socket.send_fds(_maker(), [order], [theirs.fileno(), errors.fileno()])
            self.pid = int(_maker().recv(100))
        self._lines = self._channel.makefile("rw")

    def __call__(self, code: str) -> Any:
        """The value of an expression, as JSON has it."""
        self._lines.write(json.dumps(code) + "\n")
        self._lines.flush()
        line = self._lines.readline()
        assert line, f"the program has died: {self.log}"
        answer = json.loads(line)
        assert "error" not in answer, answer["error"]
        return answer["value"]

    @property
    def log(self) -> str:
        return self._errors.read_text("utf-8", "replace")

    def page(self) -> Collected:
        return parsed(self("page()"))

    def successes(self, **labels: str) -> float:
        return self.page().total("ai_requests", status="success", **labels)

    def end(self) -> None:
        """The end of what it is told is its own."""
        self._close()
        until(lambda: not self.lives, "the program's end")
        assert "Traceback" not in self.log

    def kill(self) -> None:
        """Ends it at once; again is nothing."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        until(lambda: not self.lives, "the program's death")
        self._close()

    @property
    def lives(self) -> bool:
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def _close(self) -> None:
        with suppress(OSError):
            self._lines.close()
        self._channel.close()
