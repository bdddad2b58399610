"""Whether a server serves a study: each server holds a lock, which is released however the server ends."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator

from lib import paths


@contextlib.contextmanager
def serving(study: paths.StudyPaths) -> Iterator[None]:
    """Mark the study as served; does nothing where its folder is read-only."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            file = stack.enter_context(study.lock_of_servers.open("a"))
            fcntl.flock(file, fcntl.LOCK_SH)
        yield


def is_served(study: paths.StudyPaths) -> bool:
    """Whether a server of the study runs on this machine."""
    try:
        with study.lock_of_servers.open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
