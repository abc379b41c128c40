"""What an exception or an error body says about its cause, and the decision over it."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
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


_NESTING = frozenset(_NESTED)
_EXACT = {word: kind for word, kind in CODES.items() if kind not in GENERIC}


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
    if type(body) is dict:
        return body
    if isinstance(body, (bytes, bytearray)):
        body = bytes(body[:_JSON]).decode("utf-8", "replace")
    if isinstance(body, str) and len(body) < _JSON and body.lstrip()[:1] in ("{", "["):
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            return body
    return body


class Findings:
    """The evidence of one error, within bounds of depth, number and length; for one decision, as it quotes the message.

    Attributes:
        exact: What a provider's code has said exactly; then nothing but the message could still matter.
        class_kind: What the exception's class says.
    """

    __slots__ = ("_left", "_nodes", "_status", "_texts", "_words", "class_kind", "exact")

    def __init__(self, status: object = None) -> None:
        self._words: list[str] = []
        self._texts: list[str] = []
        self._status: int | None = None
        self._left = _TEXT
        self._nodes = _NODES
        self.class_kind: ErrorKind | None = None
        self.exact: ErrorKind | None = None
        self.number(status)

    def decision(self) -> ErrorKind | None:
        """The kind: by provider code, then class, then HTTP status, the exact before the generic; then by message."""
        text = " ".join(self._texts).lower()
        if self.exact is not None:
            return refine(self.exact, text, coded=True)
        coded = [CODES[word] for word in self._words if word in CODES]
        kind = None
        for said in (*coded, self.class_kind, kind_of_status(self._status)):
            if said is not None and said not in GENERIC:
                kind = said
                break
            kind = kind or said
        return refine(kind, text, coded=kind in coded)

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

    def number(self, value: object) -> None:
        """An HTTP status, if it is an error's and the first."""
        if self._status is None and isinstance(value, int) and is_error_status(value):
            self._status = int(value)

    def word(self, value: object) -> None:
        """A provider's code, type or status word; a number is a status."""
        if value is None or self.exact is not None:
            return
        if not isinstance(value, str):
            self.number(value)
        elif len(plain := str.__str__(value)) > _WORD:
            return
        elif plain.isdecimal():
            self.number(int(plain))
        else:
            self._words.append(word := normalise(plain))
            self.exact = _EXACT.get(word)

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
        if type(node) is dict:
            self._object(node, depth)
        elif isinstance(node, str):
            self.text(node)
        elif isinstance(node, (list, tuple)):
            for item in cast("list[object]", node)[:_DEPTH]:
                self._visit(item, depth + 1)
        elif (found := fields(node)) is not None:
            self._object(found, depth)

    def _object(self, found: dict[Any, Any], depth: int) -> None:
        if self.exact is None:
            self._codes(found)
        for key in _TEXTS:
            if key in found:
                self.text(found[key])
        if _NESTING.isdisjoint(found):
            self._nodes -= len(_NESTED)
        else:
            for key in _NESTED:
                if not isinstance(inner := found.get(key), (str, int, float)):
                    self._visit(inner, depth + 1)
        if len(found) == 1:  # Bedrock's event streams name the error in the key
            (key,) = found
            if isinstance(key, str) and key.endswith("Exception"):
                self.word(key)

    def _codes(self, found: dict[Any, Any]) -> None:
        for key in _WORDS:
            if key in found:
                self.word(found[key])
        for key in _NUMBERS:
            if key in found:
                self.number(found[key])


def of_body(status: object, body: object, headers: object) -> Findings:
    """The evidence in an HTTP answer."""
    findings = Findings(status)
    findings.word(header(headers, "x-amzn-errortype"))
    findings.read(body)
    return findings


def of_exception(error: BaseException) -> Findings:
    """The evidence in an exception itself, without those that it wraps."""
    findings = Findings(attribute(error, "status_code"))
    _read_attributes(error, findings)
    response = attribute(error, "response")
    if isinstance(response, dict):  # botocore's
        findings.read(response)
    elif findings.exact is None:
        _read_response(response, findings)
    if findings.exact is None:
        if findings.silent and _is_rpc_error(error):
            findings.word(attribute(_called(error, "code"), "name"))
            findings.text(_called(error, "details"))
        findings.class_kind = _kind_of_class(error)
    if not findings.quoted and not findings.silent:
        findings.text(attribute(error, "message"))
    return findings


def _read_attributes(error: BaseException, findings: Findings) -> None:
    if findings.silent:
        findings.number(attribute(error, "http_status"))
    for name in ("code", "type", "status"):
        if findings.exact is None:
            findings.word(attribute(error, name))
    for name in ("body", "details", "detail", "error"):
        if (body := attribute(error, name)) is not None:
            findings.read(body)


def _read_response(response: object, findings: Findings) -> None:
    if response is not None:
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
