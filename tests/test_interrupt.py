"""The first Ctrl-C ends a run, also while a file is read that never answers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from lib import paths

# As a disk does that is gone: whoever reads a file of the archive waits for ever.
PROGRAM = """
import sys, threading
from lib import __main__ as command_line
from lib.data import archive

def wait(*arguments):
    print("reading", file=sys.stderr, flush=True)
    threading.Event().wait()

archive._digest_or_error = wait
sys.exit(command_line.main(["run", "sample"]))
"""


def test_a_run_that_waits_for_a_file_ends_at_the_first_interrupt(outputs):
    command = [sys.executable, "-c", PROGRAM]
    run = subprocess.Popen(command, cwd=paths.ROOT, env=os.environ, stderr=subprocess.PIPE, text=True)
    try:
        assert run.stderr is not None
        while "reading" not in (line := run.stderr.readline()):
            assert line, "it ended before it read"
        run.send_signal(signal.SIGINT)
        _, output = run.communicate(timeout=120)
    finally:
        run.kill()
    assert run.returncode == 130
    assert "interrupted; finished stages and parts are kept" in output
