"""Writing: the files of all parts into a folder, where nothing is overwritten that somebody else wrote or changed."""

from __future__ import annotations

from hashlib import sha256
from os import PathLike
from pathlib import Path

from llmwatch.ops._options import Options
from llmwatch.ops._parts import PARTS

MANIFEST = ".llmwatch-ops"
"""Lists what was written; `sha256sum --check .llmwatch-ops` says what has been changed since."""


class NotOursError(FileExistsError):
    """There are files in the folder that `write` did not write, or that were changed since.

    Attributes:
        paths: These files.
    """

    def __init__(self, paths: list[Path]) -> None:
        super().__init__(f"not written by llmwatch, or changed since: {', '.join(map(str, paths))}")
        self.paths = paths


def write(directory: str | PathLike[str], options: Options | None = None, *, force: bool = False) -> list[Path]:
    """Writes everything that an operator deploys; the files written, in the order of their paths.

    A file that an earlier `write` left there and nobody touched since is replaced. All or nothing: if one file is not
    ours to replace, none is written.

    Args:
        directory: Where to; it is created if need be.
        options: What is known of the service; by default, what the demo needs.
        force: Replaces files that are not ours, too.

    Raises:
        NotOursError: When there are such files, and `force` is not given.
        OSError: When the folder cannot be written.
    """
    root, texts = Path(directory), texts_of(options or Options())
    if not force and (theirs := _not_ours(root, texts)):
        raise NotOursError(theirs)
    for path, text in texts.items():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, "utf-8", newline="\n")
        if text.startswith("#!"):
            target.chmod(0o755)
    manifest = "".join(f"{_hash(text)}  {path}\n" for path, text in texts.items())
    (root / MANIFEST).write_text(manifest, "utf-8", newline="\n")
    return [root / path for path in texts]


def texts_of(options: Options) -> dict[str, str]:
    """The text of every file by its path, in the order of the paths."""
    texts: dict[str, str] = {}
    for part in PARTS:
        made = part(options)
        if twice := texts.keys() & made.keys():
            raise RuntimeError(f"two parts of llmwatch.ops make {', '.join(sorted(twice))}")
        texts |= made
    return dict(sorted(texts.items()))


def _not_ours(root: Path, texts: dict[str, str]) -> list[Path]:
    """The files in the way whose content is neither what we wrote last nor what we are about to write."""
    listed = (root / MANIFEST).read_text("utf-8").splitlines() if (root / MANIFEST).is_file() else []
    ours = {path: known for known, _, path in (line.partition("  ") for line in listed)}
    return [
        root / path
        for path, text in texts.items()
        if (root / path).exists() and _hash_of(root / path) not in {ours.get(path), _hash(text)}
    ]


def _hash(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def _hash_of(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
