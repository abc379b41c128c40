"""Single flight: who asks for what is just being made is given the same."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

Made = TypeVar("Made")

_PATIENCE = 60.0  # seconds, far more than a scrape may take; a maker that hangs does not hang all who wait for it


class Flights(Generic[Made]):
    """What is being made at the moment, by key."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._flights: dict[str, Future[Made]] = {}

    def shared(self, key: str, make: Callable[[], Made]) -> Made:
        """What `make` gives; while one thread makes it, the others that come wait for the same.

        Raises:
            TimeoutError: When it is still not there after a minute.
        """
        with self._lock:
            flight = self._flights.get(key)
            if flight is None:
                own = self._flights[key] = Future()
        if flight is not None:
            return flight.result(_PATIENCE)
        try:
            own.set_result(make())
        except BaseException as error:
            own.set_exception(error)
        finally:
            with self._lock:
                del self._flights[key]
        return own.result()
