"""Access to what is served: who may read it, under which certificate, and whether it leaves the machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from os import PathLike, fspath
from typing import Any


@dataclass(frozen=True, slots=True)
class Auth:
    """What a request must bring: HTTP basic authentication (RFC 7617), or a bearer token (RFC 6750).

    Attributes:
        secret: What follows the scheme in the `Authorization` header: `user:password` in UTF-8, or the token.
        basic: Whether it is the first of these.
    """

    secret: bytes = field(repr=False)
    basic: bool

    @property
    def challenge(self) -> str:
        """The `WWW-Authenticate` header of a refusal."""
        return 'Basic realm="llmwatch", charset="UTF-8"' if self.basic else 'Bearer realm="llmwatch"'

    def admits(self, authorization: str) -> bool:
        """Whether an `Authorization` header is right; how long that takes says nothing about the secret."""
        from hashlib import sha256
        from hmac import compare_digest

        scheme, _, credentials = authorization.strip().partition(" ")
        presented = credentials.strip().encode("latin-1", "replace")
        if self.basic:
            presented = _decoded(presented)
        same = compare_digest(sha256(presented).digest(), sha256(self.secret).digest())
        return same and scheme.lower() == ("basic" if self.basic else "bearer")


@dataclass(frozen=True, slots=True)
class Tls:
    """A certificate and its key, loaded.

    Attributes:
        context: An `ssl.SSLContext`.
    """

    context: Any


def read_auth(value: object) -> Auth:
    """What `configure(auth=...)` was given: a token, or a user and a password.

    Raises:
        ValueError: When it is neither.
    """
    if isinstance(value, Auth):
        return value
    if isinstance(value, str):
        if value.isascii() and value.isprintable() and value.strip() == value != "":
            return Auth(value.encode(), basic=False)
    elif isinstance(value, Sequence) and not isinstance(value, bytes) and len(value) == 2:
        user, password = value
        if isinstance(user, str) and isinstance(password, str) and user and password and ":" not in user:
            return Auth(f"{user}:{password}".encode(), basic=True)
    raise ValueError('pass ("user", "password"), without a colon in the user, or a token of printable ASCII')


def read_tls(value: Any) -> Tls:
    """What `configure(tls=...)` was given: the files of a certificate and its key in PEM, or an `ssl.SSLContext`.

    Raises:
        ValueError: When that cannot be loaded.
    """
    import ssl

    if isinstance(value, Tls):
        return value
    if isinstance(value, ssl.SSLContext):
        return Tls(value)
    files: Any = (value,) if isinstance(value, str | PathLike) else value
    if not (isinstance(files, Sequence) and 1 <= len(files) <= 2 and all(map(_is_path, files))):
        raise ValueError("pass (certfile, keyfile), one file that holds both, or an ssl.SSLContext")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(files[0], next(iter(files[1:]), None), _no_passphrase)
    except OSError as error:  # SSLError is one
        listed = " and ".join(str(fspath(file)) for file in files)
        raise ValueError(f"{listed} cannot be loaded as certificate and key in PEM: {error}") from None
    return Tls(context)


def is_loopback(host: str) -> bool:
    """Whether an address can be reached from this machine only; names are not looked up, so unknown ones cannot."""
    from ipaddress import ip_address

    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):  # RFC 6761
        return True
    try:
        address = ip_address(name)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def check_exposure(host: str, *, guarded: bool, insecure: bool) -> None:
    """Refuses to serve to other machines what nothing guards.

    Raises:
        ValueError: Saying what to change.
    """
    if guarded or insecure or is_loopback(host):
        return
    raise ValueError(
        f"{host!r} is not a loopback address, so that other machines could read the metrics: "
        'pass auth=("user", "password") or auth="token", tls=(certfile, keyfile), or better both; '
        "or else insecure=True, where the network keeps others out"
    )


def _decoded(credentials: bytes) -> bytes:
    from base64 import b64decode

    try:
        return b64decode(credentials, validate=True)
    except ValueError:
        return b""


def _is_path(file: object) -> bool:
    return isinstance(file, str | PathLike) and bool(fspath(file))


def _no_passphrase() -> bytes:
    """The default asks for it on the terminal, where nobody may be."""
    raise OSError("the key is encrypted with a passphrase; pass an ssl.SSLContext that has loaded it")
