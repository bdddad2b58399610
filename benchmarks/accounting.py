"""What a command costs: wall seconds, CPU seconds and peak memory of all its processes together.

It is a program of its own, ``python -m benchmarks.accounting RESULT.json COMMAND ...``, because only a process with no
other children can tell which CPU seconds belong to the command: those of every descendant, a JVM that outlives its
Python parent included.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil

INTERVAL = 0.05  # seconds between two looks at the memory
_PR_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True)
class Usage:
    """The cost of a command.

    Parameters
    ----------
    wall, cpu : float
        Seconds; ``cpu`` is user and system time of every process.
    memory : int
        Bytes that all its processes held together at their peak: on Linux the proportional set size, where a page
        shared by n processes counts once, elsewhere the sum of resident set sizes, which is more.
    """

    wall: float
    cpu: float
    memory: int
    processes: int


class CommandError(RuntimeError):
    """The command failed."""


def measure(command: Sequence[str], environment: Mapping[str, str] | None = None, cwd: Path | None = None) -> Usage:
    """Run a command, with ``environment`` added to this process's, and account for it.

    Raises
    ------
    CommandError
        The command's exit code is not 0; its last lines of output are in the message.

    Examples
    --------
    >>> usage = measure([sys.executable, "-c", "held = bytearray(50_000_000)"])
    >>> usage.processes, usage.wall > 0
    (1, True)
    """
    with tempfile.TemporaryDirectory() as folder:
        result, log = Path(folder, "usage.json"), Path(folder, "log")
        with log.open("wb") as output:
            code = subprocess.call(
                [sys.executable, "-m", "benchmarks.accounting", str(result), *command],
                env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parent.parent), **(environment or {})},
                cwd=cwd,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        if code:
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-25:])
            raise CommandError(f"exit code {code}: {' '.join(command)}\n{tail}")
        return Usage(**json.loads(result.read_text()))


def _account(command: Sequence[str]) -> tuple[Usage, int]:
    # On Linux, become the parent of descendants whose own parent ends before them.
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    seen = _Seen()
    done = threading.Event()
    watcher = threading.Thread(target=_watch, args=(seen, done))
    start = time.perf_counter()
    process = subprocess.Popen(command)
    watcher.start()
    # os.wait4 gives the CPU seconds of the process and of all descendants that were waited for.
    _, status, resources = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    cpu, largest = resources.ru_utime + resources.ru_stime, resources.ru_maxrss
    with suppress(ChildProcessError):
        while True:  # orphans: until no process of the command is left
            _, _, resources = os.wait4(-1, 0)
            cpu += resources.ru_utime + resources.ru_stime
            largest = max(largest, resources.ru_maxrss)
    done.set()
    watcher.join()
    # The kernel knows each process's own peak, which may fall between two looks.
    largest *= 1 if sys.platform == "darwin" else 1024
    # And a process whose parent does not want to hear of its end (Spark's Python workers) is in nobody's sum.
    return Usage(wall, max(cpu, sum(seen.cpu.values())), max(seen.memory, largest), seen.processes), process.returncode


@dataclass
class _Seen:
    """What was seen so far: peaks, and each process's own CPU seconds when it was last looked at."""

    memory: int = 0
    resident: int = 0
    processes: int = 0
    cpu: dict[psutil.Process, float] = field(default_factory=dict)


def _watch(seen: _Seen, done: threading.Event) -> None:
    this, pause = psutil.Process(), 0.0
    while not done.wait(pause):
        pause = INTERVAL
        running, resident = [], 0
        for process in this.children(recursive=True):
            with suppress(psutil.Error, OSError):
                times = process.cpu_times()
                seen.cpu[process] = times.user + times.system
                resident += process.memory_info().rss
                running.append(process)
        seen.processes = max(seen.processes, len(running))
        # To add up the pages of a large process takes milliseconds in which it cannot map memory. So they are added up only
        # when the resident sets, which cost nothing to read, are larger than they were at any look before.
        if resident > 1.01 * seen.resident:
            seen.resident = resident
            held = 0
            for process in running:
                with suppress(psutil.Error, OSError):
                    full = process.memory_full_info()
                    held += getattr(full, "pss", full.rss)  # Linux alone shares out what several processes use
            seen.memory = max(seen.memory, held)


if __name__ == "__main__":
    found, exit_code = _account(sys.argv[2:])
    Path(sys.argv[1]).write_text(json.dumps(asdict(found)))
    sys.exit(exit_code)
