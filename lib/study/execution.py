"""Execute a stage's notebook through papermill, watch the memory that its kernel takes, and say in a sentence why it failed."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from lib import files, paths
from lib.params import Params, stage_parameters
from lib.study import kernels, notebook
from lib.study.errors import FAILED, REFUSED, StudyError

# Errors of `lib` that say what is wrong and what to do, and the exit code that they end a run with: the message names no cell.
_OF_USERS = {
    "QuarantineError": REFUSED,
    "ArchiveError": REFUSED,
    "LayoutError": REFUSED,
    "ShortPricesError": REFUSED,
    "LocationError": FAILED,
    "DatasetError": FAILED,
    "EngineError": FAILED,
}
LESS_MEMORY = "run with fewer workers (-p compute.workers 1), or on a machine with more"


@dataclass
class Peak:
    """The most memory that this process's children have held together, in bytes."""

    bytes: int = 0


@contextlib.contextmanager
def peak_memory() -> Iterator[Peak]:
    """Measure the memory of the kernels that start while the block runs, and of their workers; at its end they are stopped."""
    peak, stop = Peak(), threading.Event()
    others = set(psutil.Process().children())

    def watch() -> None:
        while not stop.wait(0.2):  # a look takes milliseconds, more where many processes run
            peak.bytes = max(peak.bytes, _memory(_own_children(others)))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        stop.set()
        watcher.join()
        _stop(_own_children(others))


def execute(stage: str, params: Params, study: paths.StudyPaths, peak: Peak) -> None:
    """Execute the stage's notebook into the study's folder; one that fails raises `StudyError` and keeps the traceback."""
    import papermill
    from jupyter_client.kernelspec import NoSuchKernel
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from papermill.exceptions import PapermillExecutionError
    from traitlets.config import Config
    from zmq import ZMQError

    from lib.study import papermill_engine

    target = study.notebook(stage)
    target.parent.mkdir(parents=True, exist_ok=True)
    running = target.with_name(f"_{target.name}")
    try:
        papermill.execute_notebook(
            # Papermill 2.7 fills in {} of paths: https://papermill.readthedocs.io/en/latest/usage-parameterize.html
            *(str(path).replace("{", "{{").replace("}", "}}") for path in (paths.stage_notebook(stage), running)),
            parameters=stage_parameters(params, stage, study.name),
            engine_name=papermill_engine.NAME,
            kernel_name="python3",
            cwd=paths.ROOT,
            progress_bar=False,
            log_output=False,
            execution_timeout=params.run.stage_timeout,
            start_timeout=120,
            shutdown_kernel="immediate",  # its work is done: a large kernel takes more than a second to end by itself
            # Sockets of the file system, in this run's own folder: nobody else, nor another run, can speak to the kernel.
            config=Config({"KernelManager": {"transport": "ipc", "ip": f"{os.environ['JUPYTER_RUNTIME_DIR']}/kernel"}}),
        )
        _keep(running, target)
    except PapermillExecutionError as error:
        code = _OF_USERS.get(error.ename, FAILED)
        why = (
            error.evalue
            if error.ename in _OF_USERS and error.evalue.strip()
            else f"cell {error.exec_count}: {error.ename}: {error.evalue}"
        )
        if error.ename.endswith("MemoryError"):  # pyarrow's is called ArrowMemoryError
            why += f"\n  {_held(peak)}: {LESS_MEMORY}"
        raise StudyError(why, code) from None
    except CellTimeoutError:
        limit = params.run.stage_timeout
        why = f"a cell took longer than run.stage_timeout, {limit} s; allow more with -p run.stage_timeout"
        raise StudyError(why, FAILED) from None
    except DeadKernelError:
        why = f"its kernel died; {_held(peak)}. The likely cause is memory: {LESS_MEMORY}"
        raise StudyError(why, FAILED) from None
    except (NoSuchKernel, RuntimeError, ZMQError) as error:
        raise StudyError(f"its kernel did not start: {error}", FAILED) from None
    finally:
        with contextlib.suppress(OSError, ValueError):  # there is none, or the disk is full and it is no whole JSON
            _keep(running, target)


def _keep(running: Path, target: Path) -> None:
    """Make what papermill has written, all of it or up to a failure, the stage's executed notebook."""
    import nbformat

    try:
        executed = nbformat.read(running, as_version=4)
        files.write_atomically(target, nbformat.writes(notebook.normalised(executed)) + "\n")
    finally:
        running.unlink(missing_ok=True)


def _held(peak: Peak) -> str:
    return f"the kernel and its workers held {peak.bytes / 2**20:,.0f} MiB at most"


def _own_children(others: set[psutil.Process]) -> list[psutil.Process]:
    """The kernels and their workers: all descendants of this process except ``others`` and their descendants.

    The kernels' fork server stays: it is the next kernel's too.
    """
    found, foreign = [], {other.pid for other in others} - {kernels.FORK_SERVER.pid}
    for child in psutil.Process().children(recursive=True):  # a parent before its children
        with contextlib.suppress(psutil.Error):
            if child.pid in foreign or child.ppid() in foreign:
                foreign.add(child.pid)
            elif child.pid != kernels.FORK_SERVER.pid:
                found.append(child)
    return found


def _memory(processes: list[psutil.Process]) -> int:
    total = 0
    for process in processes:
        with contextlib.suppress(psutil.Error):
            total += process.memory_info().rss
    return total


def _stop(processes: list[psutil.Process]) -> None:
    """Leave no kernel and no worker behind, however a stage ended."""
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.terminate()
    for process in psutil.wait_procs(processes, timeout=5)[1]:
        with contextlib.suppress(psutil.Error):
            process.kill()
