"""What a server's process sets up for itself."""

from __future__ import annotations

import logging
import resource
import subprocess
import sys

import pytest

from lib import paths
from lib.serving import server_process
from lib.serving.server_process import OncePerSecond


def test_the_soft_limit_of_descriptors_becomes_the_hard_one():
    code = (
        "import resource; from lib.serving import server_process\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, 2000))\n"
        "print(server_process.raise_descriptor_limit(), *resource.getrlimit(resource.RLIMIT_NOFILE))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=paths.ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["2000", "2000", "2000"]


def test_a_limit_that_is_high_enough_stays():
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    server_process.raise_descriptor_limit()
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] >= before[0]


def test_a_line_of_code_logs_once_a_second(monkeypatch):
    now = 0.0
    monkeypatch.setattr(server_process.time, "monotonic", lambda: now)
    once = OncePerSecond()

    def record(line):
        return logging.LogRecord("x", logging.ERROR, "file.py", line, "message", (), None)

    assert [once.filter(record(line)) for line in (1, 1, 2, 1)] == [True, False, True, False]
    now = 1.5
    assert once.filter(record(1))


@pytest.fixture
def child():
    """A server that goes on for ever, and says so."""
    code = (
        "import sys, time, lib.serving.server_process as one\n"
        "one.END_SECONDS = 0.2\n"
        "one.end_with_standard_input()\n"
        "exec(sys.argv[1])\n"
        "print('ready', flush=True)\n"
        "time.sleep(600)"
    )
    started = []

    def start(first):
        process = subprocess.Popen(
            [sys.executable, "-c", code, first],
            cwd=paths.ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    "first", ["pass", "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)"], ids=["in order", "by force"]
)
def test_ends_with_its_standard_input(child, first):
    process = child(first)
    process.stdin.write("something\n")
    process.stdin.flush()
    assert process.poll() is None
    process.stdin.close()
    assert process.wait(60) != 0
