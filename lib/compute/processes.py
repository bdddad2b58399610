"""Map one function over tasks with worker processes of this machine."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")


class EngineError(RuntimeError):
    """The engine could not run, or one of its workers died."""


def available_cores() -> int:
    """The cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_shared: tuple[Any, ...] = ()  # of a worker: what every task needs, none or one


def map_tasks(
    workers: int, function: Callable[..., Result], tasks: Sequence[Task], shared: Any = None
) -> Iterator[tuple[int, Result]]:
    """Run ``function`` on every task, in ``workers`` processes; see `lib.compute.engine.Engine.map`."""
    # In a file: through its pipe a worker would be sent it before the next one starts, a second or two later.
    with tempfile.NamedTemporaryFile(prefix="shared-") as content:
        pickle.dump(() if shared is None else (shared,), content, protocol=5)
        content.flush()
        # Fork is not safe beside Arrow's threads; a spawned worker imports lib anew.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, context, initializer=_start_worker, initargs=(content.name,)) as pool:
            indices = {pool.submit(_run, function, task): index for index, task in enumerate(tasks)}
            try:
                for future in as_completed(indices):
                    index = indices.pop(future)  # a future keeps its result
                    yield index, future.result()
                    del future
            except BrokenProcessPool:
                raise EngineError(
                    "a worker process was killed, most often because memory ran out: run again with fewer workers "
                    "(-p compute.workers 1); finished parts are kept"
                ) from None
            finally:
                pool.shutdown(cancel_futures=True)


def _run(function: Callable[..., Result], task: Any) -> Result:
    return function(task, *_shared)


def _start_worker(content: str) -> None:
    global _shared
    # Read when NumPy is imported, so before that. No worker needs linear algebra, whose threads would spin for a tenth of a second.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    _end_with_parent()
    with open(content, "rb") as file:
        _shared = pickle.load(file)  # after the lines above, since this may import NumPy


def _end_with_parent() -> None:
    """Make a worker end when the run is killed: it would wait for its next task forever."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
