"""What each server's process sets up for itself: ``python -m lib.serving.server_process MODULE ...`` runs ``MODULE.main`` until standard input ends.

So a server ends with the process that started it, also when that was killed: its standard input is a pipe whose other end that process
alone holds, and the system closes it.
"""

from __future__ import annotations

import ctypes
import importlib
import logging
import os
import resource
import signal
import sys
import threading
import time
from contextlib import suppress

END_SECONDS = 8.0  # what an orderly end may take
MAX_DESCRIPTORS = 65_536
_M_MMAP_THRESHOLD = -3  # of malloc.h


def raise_descriptor_limit() -> int:
    """Raise the soft limit of open files as far as the system lets, and return it: it is often 1,024, or 256 on macOS."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MAX_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def return_memory() -> None:
    """Give memory of a megabyte or more back to the system as soon as it is free.

    glibc keeps blocks of up to 32 MB once one of that size was freed, and then a process stays as large as its largest moment:
    https://sourceware.org/glibc/manual/latest/html_node/Malloc-Tunable-Parameters.html.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # glibc's and musl's; not macOS'
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, 2**20)


class OncePerSecond(logging.Filter):
    """Let a message of one line of code through once a second: what happens for each request would fill a disk."""

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[tuple[str, int], float] = {}  # as many as there are lines of code that log

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is written."""
        key = (record.pathname, record.lineno)
        now = time.monotonic()
        if now - self._last.get(key, -1.0) < 1.0:
            return False
        self._last[key] = now
        return True


def limit_logs() -> None:
    """Apply `OncePerSecond` to every handler there is now, and to Python's own for loggers without one."""
    loggers = [logging.getLogger(), *(logging.getLogger(name) for name in list(logging.root.manager.loggerDict))]
    handlers = {handler for logger in loggers for handler in logger.handlers}
    for handler in {*handlers, logging.lastResort}:
        if handler is not None:
            handler.addFilter(OncePerSecond())


def end_with_standard_input() -> None:
    """End this process when its standard input does: in order, or by force when that takes longer than `END_SECONDS`."""

    def watch() -> None:
        with suppress(OSError):
            while os.read(0, 1024):
                pass
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(END_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    end_with_standard_input()
    sys.argv[0] = sys.argv[1]
    sys.exit(importlib.import_module(sys.argv[1]).main(sys.argv[2:]))
