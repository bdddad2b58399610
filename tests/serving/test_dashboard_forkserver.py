"""What a dashboard's kernel may take."""

from __future__ import annotations

import subprocess
import sys

import pytest

from lib import paths
from lib.compute import forked_kernels
from lib.serving.dashboard import forkserver

pytestmark = pytest.mark.skipif(not forked_kernels.SUPPORTED, reason="kernels are forked on Linux alone")


def run(code: str) -> subprocess.CompletedProcess:
    """Run the code as a kernel does."""
    start = "import logging, os, sys; from lib.serving.dashboard import forkserver as kernels\nkernels._limit()\n"
    return subprocess.run(
        [sys.executable, "-c", start + code], cwd=paths.ROOT, capture_output=True, text=True, timeout=120
    )


def test_a_kernel_has_its_share_of_memory_and_no_more():
    share = forkserver.MAX_MEMORY
    assert run(f"bytearray({share})").returncode == 0
    refused = run(f"bytearray({2 * share})")
    assert refused.returncode == 1 and refused.stderr.endswith("MemoryError\n")


@pytest.mark.parametrize("logger", ["ipykernel.comm", "lib.dashboard", "quiet"])
def test_a_kernel_that_found_no_memory_ends(logger):
    """Whoever catches the error: it is logged."""
    code = f"""
kernels._end_without_memory()
logging.getLogger("quiet").propagate = False
try:
    bytearray(2**34)
except Exception:
    logging.getLogger({logger!r}).exception("failed")
print("goes on")
"""
    ended = run(code)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "goes on" in run(code.replace("bytearray(2**34)", "1 / 0")).stdout


def test_kernels_let_others_go_first():
    assert run("print(os.nice(0))").stdout.strip() == str(forkserver.NICENESS)
