"""Write a file whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any


@contextmanager
def replacing(path: Path, folder: Path | None = None) -> Iterator[Path]:
    """Give a temporary path; what was written there becomes ``path`` when the block ends well, and is removed otherwise.

    The data is on the disk before the name changes, so that after a crash ``path`` is the old file or the new one.

    Parameters
    ----------
    path : pathlib.Path
        The file to make or to replace; its folder is made too.
    folder : pathlib.Path, optional
        Where the temporary file is, on the same disk; by default beside ``path``.

    Examples
    --------
    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "a.txt"
    >>> with replacing(target) as temporary:
    ...     _ = temporary.write_text("whole")
    >>> target.read_text()
    'whole'
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = (folder or path.parent) / f"_{path.name}.{uuid.uuid4().hex}.tmp"
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        os.replace(temporary, path)
    except OSError as error:
        if error.filename is None:  # a full disk is reported without a name
            error.filename = str(path)
        raise
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


def write_atomically(path: Path, content: str | bytes | memoryview) -> None:
    """Write a file whole or not at all, and make its folder; text is UTF-8 with ``\\n`` line ends."""
    with replacing(path) as temporary:
        temporary.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)


def read_json(path: Path) -> Any:
    """What a JSON file holds; OSError where it cannot be read, ValueError where it is no JSON or no UTF-8 text."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise ValueError("nested too deeply") from None


def remove_unfinished(folder: Path) -> None:
    """Remove what runs that were killed have left of `replacing` anywhere in ``folder``; nobody may be writing there."""
    for path in folder.rglob("_*.tmp"):
        path.unlink(missing_ok=True)


_SETTLED = 2.0  # seconds; a file that is older than its file system's clock ticks cannot change and keep its times
_digests: dict[str, tuple[tuple[int, ...], str]] = {}  # by path: the file's status, and its digest


def sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, as 64 hex digits; a process reads a file once, until its status changes."""
    with path.open("rb") as file:
        before = os.fstat(file.fileno())
        status = before.st_dev, before.st_ino, before.st_size, before.st_mtime_ns, before.st_ctime_ns
        known, digest = _digests.get(str(path), ((), ""))
        if known == status:
            return digest
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        if time.time() - before.st_ctime > _SETTLED:
            _digests[str(path)] = status, digest
        return digest
