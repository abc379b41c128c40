"""Server: a Prometheus, or anything that speaks its HTTP API, asked for instants and ranges."""

from __future__ import annotations

import json
import math
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from http.client import HTTPException
from typing import Any, NamedTuple
from urllib.error import HTTPError, URLError
from urllib.parse import unquote, urlencode, urlsplit, urlunsplit
from urllib.request import OpenerDirector, ProxyHandler, Request, build_opener

_MOST_BYTES = 100_000_000
_HERE = ("localhost", "127.0.0.1", "::1")


class UnreachableError(Exception):
    """The server cannot be asked, or does not answer as a Prometheus does; the message says what to do."""


class Sample(NamedTuple):
    """One series of an answer, at one instant."""

    labels: Mapping[str, str]
    value: float


class Series(NamedTuple):
    """One series of an answer: Unix times and values, in their order; some may be missing."""

    labels: Mapping[str, str]
    points: list[tuple[float, float]]


class Server:
    """Asks `/api/v1/query` and `/api/v1/query_range`: all that Prometheus, Thanos and VictoriaMetrics have in common.

    Args:
        url: Where the API is, with or without `/api/v1`. Credentials in it are sent as basic authentication.
        credentials: `user:password`, or a token; those in the URL win.
        timeout: Seconds for each answer.

    Attributes:
        url: The same without credentials, for messages.
        warnings: What the server has warned of, such as answers that are not complete.

    Raises:
        ValueError: When it is not the URL of a web server.
    """

    def __init__(self, url: str, credentials: str | None = None, timeout: float = 30.0) -> None:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        if parts.scheme not in {"http", "https"} or not parts.hostname or not url.isprintable() or " " in url:
            raise ValueError(f"{_without_credentials(url)!r} is no URL of a web server")
        if parts.username is not None:
            credentials = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        path = parts.path.rstrip("/").removesuffix("/graph").removesuffix("/api/v1")
        self.url = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], path, "", ""))
        self.warnings: list[str] = []
        self._authorization = _authorization(credentials) if credentials else None
        self._timeout = timeout
        self._opener = _opener(parts.hostname)

    def vector(self, expression: str, at: float) -> list[Sample]:
        """The series of an expression at an instant; those without a number are left out.

        Raises:
            UnreachableError: When the server does not answer it.
        """
        found = self._result("query", {"query": expression, "time": f"{at:.3f}"})
        try:
            samples = [Sample(row["metric"], float(row["value"][1])) for row in found]
        except (KeyError, TypeError, ValueError, IndexError):
            raise self._not_prometheus() from None
        return [sample for sample in samples if math.isfinite(sample.value)]

    def matrix(self, expression: str, start: float, end: float, step: float) -> list[Series]:
        """The series of an expression at `start`, `start + step` and so on.

        Raises:
            UnreachableError: When the server does not answer it.
        """
        times = {"start": f"{start:.3f}", "end": f"{end:.3f}", "step": f"{step:.3f}"}
        found = self._result("query_range", {"query": expression, **times})
        try:
            return [Series(row["metric"], [*_finite(row["values"])]) for row in found]
        except (KeyError, TypeError, ValueError):
            raise self._not_prometheus() from None

    def _result(self, path: str, parameters: Mapping[str, str]) -> Iterable[Any]:
        status, body = self._fetched(f"{self.url}/api/v1/{path}?{urlencode(parameters)}")
        if status in {401, 403}:
            raise UnreachableError(
                f"{self.url} asks for other credentials: put user:password or a token into LLMWATCH_PROMETHEUS_AUTH"
            )
        try:
            answer = json.loads(body)
            if answer["status"] == "success":
                self._keep(answer.get("warnings") or ())
                return list(answer["data"]["result"])
            reason = str(answer["error"])
        except (ValueError, KeyError, TypeError, RecursionError):
            raise self._not_prometheus(status) from None
        raise UnreachableError(f"{self.url} refuses a query: {reason[:300]}")

    def _keep(self, warnings: Iterable[object]) -> None:
        self.warnings += [text for text in map(str, warnings) if text not in self.warnings]

    def _fetched(self, url: str) -> tuple[int, bytes]:
        request = Request(url, headers={"Accept": "application/json"})
        if self._authorization:
            request.add_unredirected_header("Authorization", self._authorization)
        try:
            with self._opener.open(request, timeout=self._timeout) as answer:
                return int(answer.status), answer.read(_MOST_BYTES)
        except HTTPError as error:
            with error:
                return error.code, error.read(_MOST_BYTES)
        except URLError as error:
            reason = getattr(error.reason, "strerror", None) or error.reason
        except TimeoutError:
            reason = f"no answer within {self._timeout:g} s; --timeout gives it more"
        except (OSError, HTTPException, ValueError) as error:
            reason = str(error) or type(error).__name__
        raise UnreachableError(f"nothing can be read at {self.url}: {reason}")

    def _not_prometheus(self, status: int = 200) -> UnreachableError:
        told = "" if status == 200 else f" (status {status})"
        return UnreachableError(f"what answers at {self.url} is not the HTTP API of Prometheus{told}")


def _opener(host: str) -> OpenerDirector:
    """Through the proxies of the environment, unless it is this machine."""
    return build_opener(ProxyHandler({})) if host in _HERE else build_opener()


def _authorization(credentials: str) -> str:
    if ":" not in credentials:
        return f"Bearer {credentials}"
    return f"Basic {b64encode(credentials.encode()).decode()}"


def _without_credentials(url: str) -> str:
    scheme, separator, rest = url.rpartition("://")
    return scheme + separator + rest.rpartition("@")[2]


def _finite(values: Iterable[Any]) -> Iterator[tuple[float, float]]:
    for time, value in values:
        if math.isfinite(number := float(value)):
            yield float(time), number
