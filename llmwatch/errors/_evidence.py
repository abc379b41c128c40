"""What an exception or an error body says about its cause, as one small value, and the decision over it."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from ._phrases import refine
from ._rules import CODES, GENERIC, ErrorKind, class_name_kind, is_error_status, kind_of_status, normalise

_TEXT = 1_000
_WORD = 80
_JSON = 20_000
_NODES = 40
_DEPTH = 5

_WORDS = ("code", "type", "status", "reason", "error_type", "error_code", "errorCode", "__type", "Code", "error")
_NUMBERS = ("status_code", "statusCode", "raw_status_code", "HTTPStatusCode")
_TEXTS = ("message", "Message", "msg", "title", "raw", "error_message", "errorMessage", "error", "detail", "details")
_NESTED = (
    "error", "Error", "errors", "innererror", "inner_error", "detail", "details", "metadata", "response",
    "ResponseMetadata",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that decides the kind of one error; lives for one decision only, as `text` quotes the message."""

    words: tuple[str, ...] = ()
    status: int | None = None
    text: str = field(default="", repr=False)
    class_kind: ErrorKind | None = None


def decide(evidence: Evidence) -> ErrorKind | None:
    """The kind: by provider code, then class, then HTTP status, the exact before the generic; then by its message."""
    coded = [CODES[word] for word in evidence.words if word in CODES]
    said = [kind for kind in (*coded, evidence.class_kind, kind_of_status(evidence.status)) if kind is not None]
    exact = (kind for kind in said if kind not in GENERIC)
    kind = next(exact, said[0] if said else None)
    return refine(kind, evidence.text, coded=kind in coded)


def attribute(value: object, name: str) -> Any:
    """The attribute, or None where there is none or reading it raises."""
    try:
        return getattr(value, name, None)
    except Exception:
        return None


def header(headers: object, name: str) -> str | None:
    """The value of a header (`name` in lower case) from any mapping of headers, case-insensitive or not."""
    get = attribute(headers, "get")
    if not callable(get):
        return None
    try:
        value = get(name)
        if value is None and isinstance(headers, dict):
            value = next((v for k, v in headers.items() if isinstance(k, str) and k.lower() == name), None)
    except Exception:
        return None
    return str(value) if isinstance(value, (str, int, float)) else None


def fields(node: object) -> dict[Any, Any] | None:
    """The fields of a JSON object, or of an object that a client made from one."""
    if isinstance(node, dict):
        return node
    if isinstance(node, Mapping):
        return dict(node)
    own = attribute(node, "__dict__")
    return own if isinstance(own, dict) else None


def parsed(body: object) -> object:
    """The JSON value of a body that is text; the text itself when it is not JSON, or too long to be worth it."""
    if isinstance(body, (bytes, bytearray)):
        body = bytes(body[:_JSON]).decode("utf-8", "replace")
    if isinstance(body, str) and len(body) < _JSON and body.lstrip()[:1] in ("{", "["):
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            return body
    return body


class Findings:
    """Collects the evidence from one error, within bounds of depth, number and length."""

    __slots__ = ("_left", "_nodes", "_status", "_texts", "_words")

    def __init__(self, status: object = None) -> None:
        self._words: list[str] = []
        self._texts: list[str] = []
        self._status: int | None = None
        self._left = _TEXT
        self._nodes = _NODES
        self.number(status)

    @property
    def empty(self) -> bool:
        """Whether nothing but perhaps a status was found."""
        return not self._words and not self._texts

    @property
    def quoted(self) -> bool:
        """Whether a message was found."""
        return bool(self._texts)

    @property
    def silent(self) -> bool:
        """Whether nothing was found at all."""
        return self.empty and self._status is None

    def evidence(self, class_kind: ErrorKind | None = None) -> Evidence:
        """The findings as a value."""
        return Evidence(tuple(self._words), self._status, " ".join(self._texts).lower(), class_kind)

    def number(self, value: object) -> None:
        """An HTTP status, if it is an error's and the first."""
        if self._status is None and isinstance(value, int) and is_error_status(value):
            self._status = int(value)

    def word(self, value: object) -> None:
        """A provider's code, type or status word; a number is a status."""
        if not isinstance(value, str):
            self.number(value)
        elif len(plain := str.__str__(value)) > _WORD:
            return
        elif plain.isdecimal():
            self.number(int(plain))
        else:
            self._words.append(normalise(plain))

    def text(self, value: object) -> None:
        """A message."""
        if isinstance(value, str) and value and self._left > 0:
            self._texts.append(str.__str__(value)[: self._left])
            self._left -= len(self._texts[-1])

    def read(self, body: object) -> None:
        """Everything of use in a body: JSON, parsed or not, or text. What raises when it is looked at, says nothing."""
        try:
            self._visit(parsed(body), 0)
        except Exception:
            return

    def _visit(self, node: object, depth: int) -> None:
        self._nodes -= 1
        if depth > _DEPTH or self._nodes < 0 or node is None:
            return
        if isinstance(node, str):
            self.text(node)
        elif isinstance(node, (list, tuple)):
            for item in cast("list[object]", node)[:_DEPTH]:
                self._visit(item, depth + 1)
        elif (found := fields(node)) is not None:
            self._object(found, depth)

    def _object(self, found: dict[Any, Any], depth: int) -> None:
        for key in _WORDS:
            self.word(found.get(key))
        for key in _NUMBERS:
            self.number(found.get(key))
        for key in _TEXTS:
            self.text(found.get(key))
        for key in _NESTED:
            if not isinstance(inner := found.get(key), (str, int, float)):
                self._visit(inner, depth + 1)
        if len(found) == 1:  # Bedrock's event streams name the error in the key
            (key,) = found
            if isinstance(key, str) and key.endswith("Exception"):
                self.word(key)


def of_body(status: object, body: object, headers: object) -> Evidence:
    """The evidence in an HTTP answer."""
    findings = Findings(status)
    findings.word(header(headers, "x-amzn-errortype"))
    findings.read(body)
    return findings.evidence()


def of_exception(error: BaseException) -> Evidence:
    """The evidence in an exception itself, without those that it wraps."""
    findings = Findings(attribute(error, "status_code"))
    findings.number(attribute(error, "http_status"))
    for name in ("code", "type", "status"):
        findings.word(attribute(error, name))
    for name in ("body", "details", "detail", "error"):
        findings.read(attribute(error, name))
    _read_response(attribute(error, "response"), findings)
    if findings.silent and _is_rpc_error(error):
        findings.word(attribute(_called(error, "code"), "name"))
        findings.text(_called(error, "details"))
    if not findings.silent and not findings.quoted:
        findings.text(attribute(error, "message"))
    return findings.evidence(_kind_of_class(error))


def _read_response(response: object, findings: Findings) -> None:
    if isinstance(response, dict):  # botocore's
        findings.read(response)
    elif response is not None:
        findings.number(attribute(response, "status_code"))
        findings.number(attribute(response, "status"))
        unread = findings.empty
        findings.word(header(attribute(response, "headers"), "x-amzn-errortype"))
        if unread:
            # httpx and requests keep here what has been read; asking for `.text` could read from the network.
            content = (fields(response) or {}).get("_content")
            findings.read(content if isinstance(content, bytes) else None)


def _is_rpc_error(error: BaseException) -> bool:
    """Whether it is one of gRPC's, which say their code through methods."""
    return any(cls.__name__ == "RpcError" for cls in type(error).__mro__)


def _called(error: BaseException, name: str) -> object:
    try:
        return attribute(error, name)()
    except Exception:
        return None


def _kind_of_class(error: object) -> ErrorKind | None:
    cls: Any = type(error)
    try:
        return class_kind(cls)
    except Exception:
        return None


@functools.lru_cache(maxsize=256)
def class_kind(cls: type[Any]) -> ErrorKind | None:
    """What the class says: the first name over the MRO that means something, an exact one before a generic one."""
    said = [kind for base in cls.__mro__ if (kind := _kind_of_base(base)) is not None]
    return next((kind for kind in said if kind not in GENERIC), said[0] if said else None)


def _kind_of_base(cls: type) -> ErrorKind | None:
    if cls.__module__ != "builtins":
        return class_name_kind(cls.__name__)
    if cls is TimeoutError:
        return ErrorKind.TIMEOUT
    return ErrorKind.CONNECTION if cls is ConnectionError else None
