"""Aside: a call that may wait, on a thread of its own, and awaited from asyncio or trio."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


async def aside(call: Callable[[], Result], name: str) -> Result:
    """What the call gives or raises. The threads of the event loop's executor belong to the application.

    Args:
        call: It goes on to its end when the task that awaits it is cancelled.
        name: That of the thread.
    """
    import asyncio
    from concurrent.futures import Future

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        result: Result = await sys.modules["trio"].to_thread.run_sync(call)
        return result
    done: Future[Result] = Future()

    def run() -> None:
        done.set_running_or_notify_cancel()
        try:
            done.set_result(call())
        except BaseException as error:
            done.set_exception(error)

    threading.Thread(target=run, name=name, daemon=True).start()
    return await asyncio.wrap_future(done)
