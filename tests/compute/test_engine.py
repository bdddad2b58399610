"""The local engine: every result once, errors as they are, and nobody left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from lib import paths
from lib.compute.engine import Engine
from lib.compute.processes import EngineError, available_cores


def square(number: int) -> int:
    return number * number


def process(_: int) -> int:
    time.sleep(0.2)  # so that no worker takes all tasks
    return os.getpid()


def refuse(number: int) -> int:
    if number == 3:
        raise ValueError(f"no {number}")
    return number


def die(number: int) -> int:
    if number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


@pytest.mark.parametrize("workers", [1, 2])
def test_every_task_has_its_result_once(workers):
    results = list(Engine(workers=workers).map(square, range(20)))
    assert sorted(results) == [(index, index * index) for index in range(20)]


def test_no_tasks():
    assert list(Engine(workers=2).map(square, [])) == []


def test_one_worker_is_this_process():
    assert {pid for _, pid in Engine(workers=1).map(process, [0, 1])} == {os.getpid()}


def test_two_workers_are_two_other_processes():
    workers = {pid for _, pid in Engine(workers=2).map(process, range(8))}
    assert len(workers) == 2
    assert os.getpid() not in workers
    assert not any(psutil.pid_exists(pid) for pid in workers)


def test_no_more_workers_than_tasks():
    assert {pid for _, pid in Engine(workers=8).map(process, [0])} == {os.getpid()}


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_of_the_function_is_raised_as_it_is(workers):
    with pytest.raises(ValueError, match=r"^no 3$"):
        list(Engine(workers=workers).map(refuse, range(20)))


def test_a_worker_that_is_killed():
    with pytest.raises(EngineError, match=r"a worker process was killed, most often because memory ran out.*workers 1"):
        list(Engine(workers=2).map(die, range(20)))


def test_the_cores_are_those_this_process_may_use():
    assert 1 <= available_cores() <= (os.cpu_count() or 1)


def test_workers_end_with_a_run_that_is_killed(tmp_path):
    # The run tells its workers' ids and is killed; each worker is then in the middle of a long task.
    script = tmp_path / "run.py"
    script.write_text(
        "import multiprocessing, os, signal, time\n"
        "from lib.compute.engine import Engine\n"
        "if __name__ == '__main__':\n"
        "    for _ in Engine(workers=2).map(time.sleep, [0, 0, 300, 300, 300]):\n"
        "        print(*[child.pid for child in multiprocessing.active_children()], flush=True)\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    # To a file: workers that stay would keep a pipe open.
    file = tmp_path / "workers"
    with file.open("w") as output:
        environment = {**os.environ, "PYTHONPATH": str(paths.ROOT)}
        run = subprocess.run([sys.executable, str(script)], env=environment, stdout=output, timeout=120)
    assert run.returncode == -signal.SIGKILL
    workers = [int(pid) for pid in file.read_text().split()]
    assert len(workers) == 2
    alive = [psutil.Process(pid) for pid in workers if psutil.pid_exists(pid)]
    _, alive = psutil.wait_procs(alive, timeout=60)
    for worker in alive:
        worker.kill()
    assert alive == []
