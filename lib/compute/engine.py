"""Map one function over parts: by worker processes on this machine, or by Spark. The results are the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

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

    def map(
        self, function: Callable[..., Result], tasks: Sequence[Task], shared: Any = None
    ) -> Iterator[tuple[int, Result]]:
        """Run ``function`` on every task.

        Parameters
        ----------
        function : callable
            A function of a module of ``lib``, so that a worker can import it; running it twice must do no harm.
        tasks : sequence
            Picklable.
        shared : object, optional
            Picklable; what every task needs, sent to each worker once. ``function`` takes it as its second argument.

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

            return spark.map_tasks(self.spark_master, function, tasks, shared)
        workers = min(self.workers or processes.available_cores(), len(tasks))
        if workers <= 1:
            more = () if shared is None else (shared,)
            return ((index, function(task, *more)) for index, task in enumerate(tasks))
        return processes.map_tasks(workers, function, tasks, shared)

    def map_in_order(
        self, function: Callable[..., Result], tasks: Sequence[Task], shared: Any = None
    ) -> Iterator[Result]:
        """The results of `map` in the order of ``tasks``: what is added up in it is the same to the last bit."""
        waiting: dict[int, Result] = {}
        following = 0
        for index, result in self.map(function, tasks, shared):
            waiting[index] = result
            while following in waiting:
                yield waiting.pop(following)
                following += 1
