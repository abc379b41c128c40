"""A program among several of one application; its test tells it, line by line, what to evaluate."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import sys
import threading
import traceback
from typing import Any

from recording import REPLY

import llmwatch
from llmwatch import _runtime, metrics, track_request
from llmwatch.pricing import PriceBook

MODEL = "gpt-4o-mini"


def call(times: int = 1, feature: str = "chat") -> None:
    for _ in range(times):
        with track_request(feature=feature, provider="openai", model=MODEL) as request:
            request.observe(REPLY)


def fork_and_call(times: int, *, flushing: bool) -> None:
    """A child that ends without any of the handlers of an end."""
    child = os.fork()
    if child == 0:
        call(times)
        if flushing:
            llmwatch.flush()
        os._exit(0)
    os.waitpid(child, 0)


_open: list[Any] = []


def begin(times: int = 1) -> None:
    """Calls that do not end."""
    for _ in range(times):
        request = track_request(feature="chat", provider="openai", model=MODEL)
        request.__enter__()
        _open.append(request)


def remaining(value: float) -> None:
    labels = {"provider": "openai", "account": "", "model": MODEL, "resource": "requests"}
    _runtime.current().recorder.measured(labels, (metrics.RATE_LIMIT_REMAINING, value))


def page(accept: str = "") -> str:
    return str(_runtime.current().page.render(accept)[0].decode())


def no_space(size: int | None) -> None:
    """Lets no file of this process grow beyond so many bytes; the error is that of a full disk but for its number."""
    most = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (most if size is None else size, most))


def threads() -> list[str]:
    return sorted(thread.name for thread in threading.enumerate())


def obey(channel: socket.socket) -> None:
    """Evaluates what comes, until nothing more does."""
    with channel, channel.makefile("rw") as lines:
        for line in lines:
            try:
                answer = {"value": eval(json.loads(line), globals())}  # what the test has written
            except Exception:
                answer = {"error": traceback.format_exc()}
            lines.write(json.dumps(answer, default=str) + "\n")
            lines.flush()


def become(order: dict[str, Any], errors: int) -> None:
    """Takes on the environment that was ordered, and begins as a program does."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.dup2(errors, sys.stderr.fileno())
    os.environ.clear()
    os.environ.update(order["variables"])
    os.chdir(order["folder"])
    sys.argv = [__file__, *order["arguments"]]
    if "UNCONFIGURED" not in os.environ:
        llmwatch.configure()


def main(orders: socket.socket) -> None:
    """Makes such a program for each order; they share what takes long, the imports."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    PriceBook().load()
    while True:
        order, descriptors, _, _ = socket.recv_fds(orders, 100_000, 2)
        if not order:
            return
        channel, errors = descriptors
        pid = os.fork()
        if pid == 0:
            orders.close()
            become(json.loads(order), errors)
            obey(socket.socket(fileno=channel))
            return
        os.close(channel)
        os.close(errors)
        orders.send(str(pid).encode())


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])))
