"""Runs of ingest and features that are killed, for tests/test_crash.py and tests/storage/test_locations.py.

``python tests/support/crash_run.py`` answers requests, one JSON object a line: each is run in a fork of this process, so that
the packages are imported once. The fork kills itself at the write boundary that the request names: before a file is
written, when half of it is, before it is flushed, renamed, linked or removed, before a folder is made, and before each
request to object storage.

``python tests/support/crash_run.py ARCHIVE WORKERS`` is one run, to be killed from outside at any time.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pandas  # noqa: F401  pyarrow imports it at the first array: once, before the forks

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from lib import locations, paths
from lib.compute.engine import Engine
from lib.data import archive, ingest
from lib.features.build import build_features
from lib.storage import dataset

STUDY = paths.StudyPaths("crash")
Ask = Callable[..., dict[str, Any]]
# By name, each a dataset's folder.
FOLDERS = {name: getattr(STUDY, name).name for name in ("quarantine", "files", "prices", "features")}


@contextmanager
def asking() -> Iterator[Ask]:
    """Start this program; yields what sends it a request and returns its answer."""
    with subprocess.Popen(
        [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdin is not None and server.stdout is not None
        requests, answers = server.stdin, server.stdout

        def ask(outputs: Path, archive: Path, kill_at: int = 0) -> dict[str, Any]:
            request = {"outputs": str(outputs), "archive": str(archive), "kill_at": kill_at}
            print(json.dumps(request), file=requests, flush=True)
            answered: dict[str, Any] = json.loads(answers.readline())
            return answered

        yield ask
        requests.close()


def run(location: Path, workers: int) -> None:
    """Ingest and features, with parts of at most two symbols."""
    dataset.cut = partial(cut, most=2)
    engine = Engine(workers=workers)
    ingest.ingest(archive.list_archive(location), STUDY, 0.5, engine)
    build_features(STUDY, engine=engine, summarised=False)


cut = dataset.cut


class Boundaries:
    """Counts the boundaries passed, and dies at the one numbered ``last``, from 1; 0: at none."""

    def __init__(self, last: int) -> None:
        self.last, self.passed = last, 0

    def reach(self) -> bool:
        """Whether this is the last boundary."""
        self.passed += 1
        return self.passed == self.last

    def guard(self, owner: Any, name: str) -> None:
        """Put a boundary before every call of ``owner.name``."""
        call: Callable[..., Any] = getattr(owner, name)

        def guarded(*arguments: Any, **options: Any) -> Any:
            if self.reach():
                die()
            return call(*arguments, **options)

        setattr(owner, name, guarded)

    def guard_writing(self, name: str) -> None:
        """Put a boundary before, and one in the middle of, every call of the method ``name`` of paths."""
        write: Callable[[Path, Any], int] = getattr(Path, name)

        def guarded(path: Path, content: Any) -> int:
            if self.reach():
                die()
            if self.reach():
                write(path, content[: len(content) // 2])
                die()
            return write(path, content)

        setattr(Path, name, guarded)


def die() -> None:
    """End this process as a crash would."""
    os.kill(os.getpid(), signal.SIGKILL)


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Run in a fork; how it ended, how many boundaries it passed and which (folder, key) it made."""
    with tempfile.TemporaryFile("w+") as output:
        child = os.fork()
        if child == 0:
            run_and_tell(request, output.fileno())
        _, status = os.waitpid(child, 0)
        output.seek(0)
        return {"code": os.waitstatus_to_exitcode(status), **json.loads(output.read() or "{}")}


def run_and_tell(request: dict[str, Any], descriptor: int) -> None:
    """In the fork: run, tell, and exit."""
    code = 1
    try:
        os.environ["STUDY_OUTPUTS"] = request["outputs"]
        made = list(record_parts())
        boundaries = Boundaries(request["kill_at"])
        os.fsync = lambda descriptor: None  # slow, and of use only when the whole machine dies
        for name in ("replace", "link", "fsync"):
            boundaries.guard(os, name)
        for name in ("unlink", "mkdir"):
            boundaries.guard(Path, name)
        for name in ("write_bytes", "write_text"):
            boundaries.guard_writing(name)
        for name in ("_ask", "remove"):
            boundaries.guard(locations, name)
        run(Path(request["archive"]), workers=1)
        os.write(descriptor, json.dumps({"boundaries": boundaries.passed, "made": made[0]}).encode())
        code = 0
    finally:
        os._exit(code)


def record_parts() -> Iterator[list[tuple[str, str]]]:
    """Yield a list to which every part that is computed is added from now on: its folder's name and its key."""
    made: list[tuple[str, str]] = []
    write = dataset._write

    def record(folder: Path, key: str, table: Any) -> Any:
        made.append((folder.name, key))
        return write(folder, key, table)

    dataset._write = record
    yield made


if __name__ == "__main__":
    if len(sys.argv) > 1:
        run(Path(sys.argv[1]), int(sys.argv[2]))
    else:
        import read_code  # noqa: F401

        for line in sys.stdin:
            print(json.dumps(answer(json.loads(line))), flush=True)
