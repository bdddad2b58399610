"""One run of a study at a time."""

from __future__ import annotations

import contextlib
import datetime
import os
import re
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout
from rich.console import Console

from lib import paths
from lib.study.errors import LOCKED, REFUSED, StudyError


@contextlib.contextmanager
def locked(study: paths.StudyPaths, wait: bool, console: Console) -> Iterator[None]:
    """Hold the study while the block runs; where another run holds it, wait for that, or raise `StudyError`."""
    lock = FileLock(study.lock)
    holder = study.lock_holder
    try:
        lock.acquire(timeout=0)
    except Timeout:
        who = _holder(study.lock_holder)
        if not wait:
            raise StudyError(
                f"{study.name}: {who} is running this study; wait for it to end, or start with --wait", LOCKED
            ) from None
        console.print(f"{study.name}: waiting for {who}")
        lock.acquire()
    except OSError as error:
        raise StudyError(f"{study.folder}: cannot be written ({error.strerror}); is it read-only?", REFUSED) from None
    try:
        now = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
        holder.write_text(f"process {os.getpid()}, since {now},\n", encoding="utf-8")
        yield
    finally:
        with contextlib.suppress(OSError):
            holder.unlink()
        lock.release()


def _holder(path: Path) -> str:
    """Who holds the lock, from the file that says it; anything else than `locked` writes there is not shown."""
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        text = ""
    return text if re.fullmatch(r"process \d+, since \S+,", text, re.ASCII) else "another process"
