"""The folder of one application's workers: who is in it, who is alive, and how they are asked for news.

A worker holds a lock on its file for as long as its process lives, so the kernel says who is alive; a process id
that is used again means nothing.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import secrets
import stat
import struct
import sys
import time
from contextlib import suppress
from functools import cache
from pathlib import Path

WORKER, TOTALS, CORRUPT = ".worker", ".totals", ".corrupt"
ARCHIVE, ARCHIVE_LOCK, BELL = "archive", "archive.lock", "bell"
_MOMENT = struct.Struct("<q")  # nanoseconds of the clock that all processes of the machine share
_APPLICATION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*(\(.*\))?")


def folder_of(directory: str | os.PathLike[str], service: str | None) -> Path:
    """Where the workers of this application meet, below a directory that other applications may share.

    An application is told from others by the service's name, or, without one, by the program, its working directory
    and the `module:attribute` that it was told to run; and by its user, whose files nobody else may write.
    """
    marks = [service] if service else _program()
    marks = [*marks, str(os.getuid())]
    digest = hashlib.sha256("\0".join(marks).encode("utf-8", "surrogateescape")).hexdigest()[:12]
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", service or "unnamed")[:40]
    return Path(directory).absolute() / f"llmwatch-{name}-{digest}"


@cache
def _program() -> list[str]:
    """What tells a program from others; forked children have it from their parent, wherever they go."""
    program = os.path.abspath(sys.argv[0]) if sys.argv and sys.argv[0] else ""
    return [program, os.getcwd(), *filter(_APPLICATION.fullmatch, sys.argv[1:])]


def new_id() -> str:
    """An id that no other worker has had: the process, when it began, and a random part."""
    return f"{os.getpid()}-{_started()}-{secrets.token_hex(6)}"


def _started() -> str:
    """When this process began, as the kernel counts it, or else by the clock."""
    try:
        return Path("/proc/self/stat").read_text("ascii").rpartition(")")[2].split()[19]
    except (OSError, IndexError, UnicodeDecodeError):
        return str(time.time_ns() // 1_000_000)


class Folder:
    """One application's folder.

    Args:
        path: Where it is, or is going to be.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def prepare(self) -> None:
        """Makes the folder, for this user only, unless it is there.

        Raises:
            OSError: When it cannot be made, or belongs to somebody else.
        """
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = os.lstat(self.path)
        if status.st_uid != os.getuid() or not stat.S_ISDIR(status.st_mode):
            raise PermissionError(f"{self.path} is a link, or belongs to another user")

    def file(self, worker: str, kind: str) -> Path:
        """A file of one worker."""
        return self.path / f"{worker}{kind}"

    def workers(self) -> set[str]:
        """All who have a file here, dead or alive."""
        names = os.listdir(self.path)
        return {name.rpartition(".")[0] for name in names if name.endswith((WORKER, TOTALS))}

    def alive(self, worker: str) -> bool | None:
        """Whether its process lives; `None` when there is nothing to tell by."""
        try:
            descriptor = os.open(self.file(worker, WORKER), os.O_RDONLY)
        except FileNotFoundError:
            return None
        try:
            # Shared: two who look at the same time do not take each other for the worker.
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        else:
            fcntl.flock(descriptor, fcntl.LOCK_UN)  # a child that is forked meanwhile would keep it
            return False
        finally:
            os.close(descriptor)

    def remove(self, worker: str) -> None:
        """Removes a worker's files."""
        for kind in (TOTALS, WORKER):
            with suppress(FileNotFoundError):
                self.file(worker, kind).unlink()

    def ring(self) -> int:
        """Asks all workers to write what they have; the moment from which on an answer counts."""
        moment = time.monotonic_ns()
        descriptor = os.open(self.path / BELL, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            os.pwrite(descriptor, _MOMENT.pack(moment), 0)
        finally:
            os.close(descriptor)
        return moment

    def answered(self, worker: str) -> int:
        """The moment at which a worker began to write what it had last; 0 when it has not."""
        try:
            return moment_in(self.file(worker, WORKER).read_bytes())
        except OSError:
            return 0


def moment_in(raw: bytes) -> int:
    """The moment that a bell or an answer holds."""
    return int(_MOMENT.unpack_from(raw)[0]) if len(raw) >= _MOMENT.size else 0


class OpenFile:
    """A file with a moment in it that is kept open, also where somebody else closes what is not his.

    Raises:
        OSError: When it cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        status = os.fstat(self._descriptor)
        self._identity = (status.st_dev, status.st_ino)

    @property
    def in_place(self) -> bool:
        """Whether it is open, and the file that is at its path."""
        try:
            return self._is_ours and os.path.samestat(os.fstat(self._descriptor), os.stat(self._path))
        except OSError:
            return False

    def moment(self) -> int:
        """The moment in the file."""
        return moment_in(os.pread(self._descriptor, _MOMENT.size, 0))

    def note(self, moment: int) -> None:
        """Writes a moment into the file."""
        os.pwrite(self._descriptor, _MOMENT.pack(moment), 0)

    def close(self) -> None:
        """Closes it; again is nothing."""
        if self._is_ours:
            os.close(self._descriptor)
        self._descriptor = -1

    @property
    def _is_ours(self) -> bool:
        """Whether the descriptor is not another file's by now."""
        try:
            status = os.fstat(self._descriptor) if self._descriptor >= 0 else None
        except OSError:
            return False
        return status is not None and (status.st_dev, status.st_ino) == self._identity


class Held(OpenFile):
    """A file that is locked for as long as the process lives, or until it is closed.

    Args:
        path: Where it is.
        hidden: Whether nobody must see the file before it is locked.

    Raises:
        BlockingIOError: When another process holds it.
        OSError: When it cannot be made.
    """

    def __init__(self, path: Path, *, hidden: bool = False) -> None:
        super().__init__(path.with_name(f"{path.name}.tmp") if hidden else path)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if hidden:
                os.replace(self._path, path)
                self._path = path
        except BaseException:
            if hidden:
                with suppress(OSError):
                    self._path.unlink()
            self.close()
            raise

    def release(self) -> None:
        """Unlocks it, also where a forked child has inherited it, and closes it; again is nothing."""
        if self._is_ours:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        self.close()
