"""A bar in a terminal, nothing in a log."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

from lib import paths

WORK = """
from lib.storage import progress
with progress.bar("ingest", 4, "rows") as advance:
    for _ in range(4):
        advance(1)
"""


def test_a_log_stays_quiet():
    done = subprocess.run([sys.executable, "-c", WORK], cwd=paths.ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_terminal_named_by_the_runner_shows_the_bar():
    ours, theirs = pty.openpty()
    environment = {**os.environ, "STUDY_TERMINAL": os.ttyname(theirs)}
    done = subprocess.run([sys.executable, "-c", WORK], cwd=paths.ROOT, env=environment, capture_output=True, text=True)
    shown = os.read(ours, 10_000).decode()
    os.close(theirs)
    os.close(ours)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert "ingest" in shown
    assert "100%" in shown
