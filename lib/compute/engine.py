"""Map one function over parts: by worker processes on this machine, or by Spark. The results are the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from lib.compute import processes

Task = TypeVar("Task")
Result = TypeVar("Result")


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
            Each task's index in ``tasks`` and its result, as they are ready, in any order.

        Raises
        ------
        lib.compute.processes.EngineError
            A worker was killed, or the engine cannot start. What ``function`` raises is raised as it is.
        """
        if self.name == "spark":
            from lib.compute import spark

            return spark.map_tasks(self.spark_master, function, tasks)
        workers = min(self.workers or processes.available_cores(), len(tasks))
        if workers <= 1:
            return ((index, function(task)) for index, task in enumerate(tasks))
        return processes.map_tasks(workers, function, tasks)
