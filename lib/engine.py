"""Map one function over partitions: by worker processes on this machine, or by Spark. The results are the same."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from typing import TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")


class EngineError(RuntimeError):
    """The engine could not run, or one of its workers died."""


@dataclass(frozen=True)
class Engine:
    """Who computes.

    Parameters
    ----------
    name : str
        ``local`` or ``spark``.
    workers : int
        Worker processes of ``local``; 0: one a core.
    spark_master : str
        Spark's master URL.
    """

    name: str = "local"
    workers: int = 0
    spark_master: str = "local[2]"

    def map(self, function: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[tuple[int, Result]]:
        """Run ``function`` on every task.

        Parameters
        ----------
        function : callable
            A function of a module of ``lib``, so that a worker can import it; running it twice must do no harm.
        tasks : sequence
            Picklable.

        Yields
        ------
        (int, result)
            Each task's place in ``tasks`` and its result, as they are ready, in any order.

        Raises
        ------
        EngineError
            A worker was killed, or the engine cannot start. What ``function`` raises is raised as it is.
        """
        if self.name == "spark":
            from lib import spark

            return spark.map_tasks(self.spark_master, function, tasks)
        workers = min(self.workers or available_cores(), len(tasks))
        if workers <= 1:
            return ((place, function(task)) for place, task in enumerate(tasks))
        return _map_processes(workers, function, tasks)


def available_cores() -> int:
    """The cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _start_worker() -> None:
    # Read when NumPy is imported, so before that. No worker needs linear algebra, whose threads would spin for a tenth of a second.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    _end_with_parent()
    _spare_pandas()


def _spare_pandas() -> None:
    """Keep pyarrow from importing pandas at its first array, which takes a sixth of a second: it looks whether it got a Series.

    What it does not find then, it does not look for again, unless `to_pandas` is called.
    """

    class Missing(MetaPathFinder):
        def find_spec(self, fullname: str, path: object, target: object = None) -> None:
            if fullname == "pandas":
                raise ModuleNotFoundError(fullname, name=fullname)

    import pyarrow

    sys.meta_path.insert(0, Missing())
    pyarrow.array([])
    del sys.meta_path[0]


def _end_with_parent() -> None:
    """Make a worker end when the run is killed: it would wait for its next task forever."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _map_processes(
    workers: int, function: Callable[[Task], Result], tasks: Sequence[Task]
) -> Iterator[tuple[int, Result]]:
    # Fork is not safe beside Arrow's threads; a spawned worker imports lib anew.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker) as pool:
        places = {pool.submit(function, task): place for place, task in enumerate(tasks)}
        try:
            for future in as_completed(places):
                yield places[future], future.result()
        except BrokenProcessPool:
            raise EngineError(
                "a worker process was killed, most often because memory ran out: run again with fewer workers "
                "(-p compute.workers 1); finished parts are kept"
            ) from None
        finally:
            pool.shutdown(cancel_futures=True)
