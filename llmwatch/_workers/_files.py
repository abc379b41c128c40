"""Files that are whole or not there: sealed with a checksum, written aside and moved into place."""

from __future__ import annotations

import json
import os
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

_SEAL = "llmwatch 1 {:08x} {}\n"


class CorruptFileError(ValueError):
    """A file is not what was once written there."""


def write(path: Path, content: Any) -> None:
    """Puts a JSON document in the place of the file; whoever reads meanwhile sees the one before.

    Raises:
        OSError: When it cannot be written; the file is as it was.
    """
    payload = json.dumps(content, separators=(",", ":"), default=float).encode()
    aside = path.with_name(f"{path.name}.tmp")
    try:
        # By its mode nobody else can read it; it does not follow a link that somebody else has put there.
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with open(descriptor, "wb") as file:
            file.write(_SEAL.format(zlib.crc32(payload), len(payload)).encode())
            file.write(payload)
        os.replace(aside, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(aside)
        raise


def read(path: Path) -> Any:
    """The document in the file.

    Raises:
        FileNotFoundError: When there is none.
        OSError: When it cannot be read.
        CorruptFileError: When it is not as it was written.
    """
    seal, _, payload = path.read_bytes().partition(b"\n")
    if seal + b"\n" != _SEAL.format(zlib.crc32(payload), len(payload)).encode():
        raise CorruptFileError(f"{path} is damaged, or from another version of llmwatch")
    return json.loads(payload)


Stamp = tuple[int, int, int]


def stamp(path: Path) -> Stamp | None:
    """What tells one version of a file from the next; `None` when there is no such file."""
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns
