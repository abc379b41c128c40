"""`llmwatch labels`: what each label of a running process shows, and what was folded into `other`."""

from __future__ import annotations

import argparse
import json
import os
import re
from base64 import b64encode
from collections.abc import Iterator
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import ProxyHandler, Request, build_opener

from llmwatch.cli._refusal import RefusalError

_SECONDS = 10.0
_MOST_BYTES = 4_000_000
_HEAVIEST = 5
_COLUMNS = ("label", "limit", "declared", "shown", "folded", "folded most")


def add(commands: Any) -> None:
    """Adds the command to the others."""
    labels = commands.add_parser(
        "labels",
        help="show the label budgets of a running process",
        description="Show, for each label of a running process, how many values it may show, how many it does, and "
        "what was folded into `other`. Credentials, where it asks for some, are taken from LLMWATCH_AUTH.",
    )
    labels.add_argument(
        "url", nargs="?", default="http://127.0.0.1:9464", help="where its metrics are served (default: %(default)s)"
    )
    labels.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Prints the report."""
    for line in _table(list(_rows(_report(_base(arguments.url))))):
        print(line)
    return 0


def _base(url: str) -> str:
    """The URL without the path of any of its pages."""
    url = url if "://" in url else f"http://{url}"
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        valid = False
    if valid and parts.username is not None:
        raise RefusalError("put the credentials into LLMWATCH_AUTH, not into the URL")
    if not valid or re.search(r"[\x00-\x20\x7f]", url):
        raise RefusalError(f"{url!r} is no URL of a web server")
    return re.sub(r"(/(metrics|labels))?/*$", "", url.partition("?")[0].partition("#")[0])


def _report(base: str) -> dict[str, Any]:
    status, body = _fetched(f"{base}/labels")
    if status == 401:
        raise RefusalError(f"{base} asks for other credentials than those in LLMWATCH_AUTH, if there are any")
    if status == 404:
        raise RefusalError(_without_labels(base))
    if status != 200:
        raise RefusalError(f"{base}/labels answers with status {status}")
    try:
        report = json.loads(body)
    except (ValueError, RecursionError):
        report = None
    if not isinstance(report, dict) or "llmwatch" not in report:
        raise RefusalError(f"what answers at {base} is not llmwatch")
    return report


def _without_labels(base: str) -> str:
    _, body = _fetched(f"{base}/metrics")
    if version := re.search(rb'^llmwatch_build_info\{[^}\n]*\bversion="([^"\n]{1,50})"', body, re.MULTILINE):
        known = _printable(version[1].decode("utf-8", "replace"))
        return f"llmwatch {known} at {base} is too old to report on its labels"
    return f"what answers at {base} is not llmwatch"


def _fetched(url: str) -> tuple[int, bytes]:
    request = Request(url)
    if credentials := os.environ.get("LLMWATCH_AUTH", "").strip():
        request.add_unredirected_header("Authorization", _authorization(credentials))
    try:
        with build_opener(ProxyHandler({})).open(request, timeout=_SECONDS) as answer:  # metrics are near
            return int(answer.status), answer.read(_MOST_BYTES)
    except HTTPError as error:
        with error:
            return error.code, b""
    except URLError as error:
        reason = getattr(error.reason, "strerror", None) or error.reason
        raise RefusalError(
            f"nothing can be read at {url}: {reason}. Is the process running, with configure(port=...)?"
        ) from None
    except (OSError, HTTPException, ValueError) as error:
        raise RefusalError(f"nothing can be read at {url}: {str(error) or type(error).__name__}") from None


def _authorization(credentials: str) -> str:
    """The header for what `LLMWATCH_AUTH` holds: `user:password`, or a token."""
    if ":" not in credentials:
        return f"Bearer {credentials}"
    return f"Basic {b64encode(credentials.encode()).decode()}"


def _rows(report: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """A row of the table for each label, and one for all series."""
    try:
        for name, label in report["labels"].items():
            numbers = (label["limit"], len(label["declared"]), label["shown"], label["folded"])
            yield _printable(name), *(f"{int(number):,}" for number in numbers), _heaviest(label)
        series = report["series"]
        yield "(series)", f"{int(series['limit']):,}", "", f"{int(series['shown']):,}", f"{int(series['folded']):,}", ""
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError):
        raise RefusalError("the answer is not of the form that this version of llmwatch knows") from None


def _heaviest(label: dict[str, Any]) -> str:
    if label["mapped"] and label["folded"]:
        return "(not listed: the label has a mapper)"
    return ", ".join(_times(value) for value in label["values"][:_HEAVIEST])


def _times(value: dict[str, Any]) -> str:
    least, most = int(value["at_least"]), int(value["at_most"])
    return f"{_printable(str(value['value']))} ({'' if least == most else 'at least '}{least:,})"


def _table(rows: list[tuple[str, ...]]) -> Iterator[str]:
    lines = [_COLUMNS, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_COLUMNS))]
    for label, *numbers, heaviest in lines:
        cells = [f"{number:>{width}}" for number, width in zip(numbers, widths[1:], strict=False)]
        yield "  ".join([f"{label:<{widths[0]}}", *cells, heaviest]).rstrip()


def _printable(text: str) -> str:
    """The text with what a terminal would act on, or not show, written out."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
