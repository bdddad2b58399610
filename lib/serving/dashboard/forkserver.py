"""The process whose forks are the dashboard's kernels: what they share, and what each may take.

It ends with the server. Then it also sweeps the folder of the kernels' connection files, which a killed server cannot.
"""

from __future__ import annotations

import importlib
import logging
import os
import resource
import shutil
import sys
from typing import Any

from lib.compute import forked_kernels

# Bytes that a kernel may take beyond what it shares when it starts. An open page takes 35 MB of it.
MAX_MEMORY = 256 * 2**20
STACKS = 128 * 2**20  # address space, most of it never used, of a kernel's fifteen threads
NICENESS = 5  # a kernel that computes lets the endpoint, which answers in microseconds, go first
# No file of inputs, as a page has none, and no lines about how to connect to it.
LEAN = ("--HistoryManager.enabled=False", "--log-level=40")


def _limit() -> None:
    """Limit this kernel's memory and priority."""
    with open("/proc/self/statm", encoding="ascii") as file:
        # Private writable memory: what RLIMIT_DATA counts.
        shared = int(file.read().split()[5]) * resource.getpagesize()
    most = shared + STACKS + MAX_MEMORY
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    os.nice(NICENESS)


def _end_without_memory() -> None:
    """End this kernel when code that only logs its errors runs out of memory: the kernel would go on with work half done."""
    make = logging.getLogRecordFactory()

    def check(*arguments: Any, **keywords: Any) -> logging.LogRecord:
        record = make(*arguments, **keywords)
        if record.exc_info and isinstance(record.exc_info[1], MemoryError):
            os._exit(1)
        return record

    logging.setLogRecordFactory(check)


def _in_kernel() -> None:
    _limit()
    _end_without_memory()


def main(connections: str) -> int:
    """Be the fork server until standard input ends; then remove the folder ``connections``."""
    # The debugger, which every kernel imports, would warn on the terminal of modules without files.
    os.environ["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"
    # ipykernel first, as it decides how ipywidgets talks.
    for module in (*forked_kernels.OF_KERNELS, "lib.serving.dashboard.page"):
        importlib.import_module(module)
    # ipywidgets does so when it is imported inside a kernel, and this is not one yet: without it the page's question for the
    # widgets' states finds nobody, and it asks for each widget by itself, after a wait.
    importlib.import_module("ipywidgets").register_comm_target()
    forked_kernels.serve(options=LEAN, in_kernel=_in_kernel)
    shutil.rmtree(connections, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
