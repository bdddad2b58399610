"""The kernels that run the stages: their settings, their folder, and the process that they are forks of."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from lib import files, paths
from lib.compute.forked_kernels import SUPPORTED, ForkServer, serve, started_by

FORK_SERVER = ForkServer("-m", "lib.study.kernels")
# What all stages import of other projects, and what those that train do.
_SHARED = (
    "matplotlib.backends.backend_agg",
    "matplotlib.figure",
    "pandas",
    "pyarrow.compute",
    "pyarrow.dataset",
    "pyarrow.parquet",
)
_TRAINING = ("sklearn.ensemble", "skops.io")
_KERNEL_CONFIG = """\
# A kernel's own log means nothing to a reader: the exception says what fails.
import ctypes, logging, signal, sys
get_config().IPKernelApp.log_level = 50
# Nor that of its sockets, which complain when a run that failed closes them in the middle of an answer.
logging.getLogger("tornado").setLevel(50)
# When a run is killed outright, Linux ends its kernels at once; elsewhere they notice within a second.
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
"""


_PRIVATE = "study-"  # how the name of a run's folder of sockets begins
_PROFILE = "profile_default/ipython_kernel_config.py"


def _remove_private_folders() -> None:
    """Remove the folders of sockets of this user's runs that were killed: nobody holds their locks."""
    for folder in paths.sockets().glob(f"{_PRIVATE}*"):
        with contextlib.suppress(OSError, Timeout):
            status = folder.lstat()
            # Others may put anything into a shared folder, such as a link to this user's files. The profile is written under the
            # lock: where either is missing, a run is starting, or it is no run's folder.
            own = stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o077
            if own and all((folder / name).is_file() for name in (_PROFILE, ".lock")):
                with FileLock(folder / ".lock").acquire(timeout=0):
                    shutil.rmtree(folder)


@contextlib.contextmanager
def environment() -> Iterator[None]:
    """Start this process's kernels with settings of their own, so that what they write does not depend on this machine or user."""
    before = dict(os.environ)
    _remove_private_folders()
    folder = tempfile.TemporaryDirectory(prefix=_PRIVATE, dir=paths.sockets())
    with folder as private, FileLock(Path(private, ".lock")):
        files.write_atomically(Path(private, _PROFILE), _KERNEL_CONFIG)
        os.environ.update(
            # This environment's kernel, and not one that the user has installed under the same name.
            JUPYTER_PREFER_ENV_PATH="1",
            JUPYTER_RUNTIME_DIR=private,
            IPYTHONDIR=private,
            # Matplotlib's font list is made once, by lib/bootstrap.sh.
            MPLCONFIGDIR=str(paths.MATPLOTLIB),
            PYDEVD_DISABLE_FILE_VALIDATION="1",
            PYTHONHASHSEED="0",
            LC_ALL="C.UTF-8",
            TZ="UTC",
        )
        # A kernel's own progress bars go to the user's terminal, if there is one.
        if sys.stderr.isatty():
            with contextlib.suppress(OSError):  # a terminal of another mount namespace has no name here
                os.environ["STUDY_TERMINAL"] = os.ttyname(sys.stderr.fileno())
        try:
            with started_by(FORK_SERVER):
                yield
        finally:
            os.environ.clear()
            os.environ.update(before)


def prepare(training: bool) -> None:
    """Let the imports of the next kernel begin, and once it has started, if ``training``, those of the kernels that train."""
    FORK_SERVER.later = _TRAINING if training else ()
    if SUPPORTED:
        FORK_SERVER.start()


if __name__ == "__main__":
    # What ipykernel sets in a kernel that is about to import matplotlib; here it is imported already.
    os.environ.setdefault("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    serve(_SHARED)
