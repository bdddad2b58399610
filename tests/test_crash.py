"""A run that is killed, anywhere, costs nothing but its time: the old datasets still read, and a rerun ends the same."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time

import crash_run
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from raw_archives import write_archive

from lib import files, paths
from lib.storage import dataset
from lib.storage.dataset import open_dataset

STUDY = crash_run.STUDY
OLD = {f"stocks/{symbol}.csv": 40 for symbol in ("AA", "BB", "CC", "DD", "EE")}
# One file changed, one with a bad row, one symbol gone, one new: parts to keep, to change, to renumber.
NEW = {**OLD, "stocks/BB.csv": 50, "stocks/FF.csv": 45}
NEW["stocks/CC.csv"] = "Date,Open,High,Low,Close,Adj Close,Volume\n" + "2020-01-02,1,1,1,1,1,5\n" * 2
del NEW["stocks/AA.csv"]
SHARES = 4  # the boundaries are shared among as many tests, for two workers of the suite to run


@pytest.fixture(scope="module")
def crash():
    """Answer a request of `crash_run`."""
    with crash_run.asking() as ask:
        yield ask


@pytest.fixture(scope="module")
def places(tmp_path_factory, crash):
    """Two archives, the outputs of the old one, those of the new one over the old, and how the latter was made."""
    base = tmp_path_factory.mktemp("crash")
    old, new = write_archive(base / "old", OLD), write_archive(base / "new", NEW)
    assert crash(base / "before", old)["code"] == 0
    shutil.copytree(base / "before", base / "after")
    reference = crash(base / "after", new)
    assert reference["code"] == 0
    assert {tuple(name) for name in reference["made"]} != set()
    return base, new, reference


@pytest.fixture
def at(monkeypatch):
    """Look at the study in other outputs."""

    def at(outputs):
        monkeypatch.setenv("STUDY_OUTPUTS", str(outputs))
        return outputs

    return at


def listing():
    """Every file of the study, with its content's digest."""
    return {
        path.relative_to(STUDY.folder).as_posix(): files.sha256(path)
        for path in STUDY.folder.rglob("*")
        if path.is_file()
    }


def contents():
    """Each dataset's digest and rows, read as lib reads."""
    found = {}
    for name in crash_run.FOLDERS:
        whole = open_dataset(getattr(STUDY, name))
        found[name] = (whole.digest, whole.read().num_rows)
    return found


def known():
    """The (folder, key) of every part that is there, finished or committed."""
    there = {
        name: {part.key for part in [*dataset._committed(folder), *dataset._finished(folder)]}
        for name in crash_run.FOLDERS
        for folder in [getattr(STUDY, name)]
    }
    ingested = there["quarantine"] & there["files"] & there["prices"]
    return {(name, key) for name in there for key in (there[name] if name == "features" else ingested)}


def assert_old_or_new(before, after):
    """Every dataset reads as the old or as the new one; a reader that knows no manifest does too, or fails."""
    now = contents()
    for name in crash_run.FOLDERS:
        assert now[name] in (before[name], after[name]), name
        try:
            rows = pq.read_table(getattr(STUDY, name)).num_rows
        except pa.ArrowInvalid as error:
            assert dataset.COMMITTING in str(error)
        else:
            assert rows in (before[name][1], after[name][1]), name


def assert_rerun_ends_the_same(crash, outputs, new, reference, after):
    """The run once more computes only what was not there, and leaves the files of a run never killed."""
    there = known()
    rerun = crash(outputs, new)
    assert rerun["code"] == 0
    made = {tuple(name) for name in rerun["made"]}
    assert made.isdisjoint(there)
    assert made | there >= {tuple(name) for name in reference["made"]}
    assert len(made) == len(rerun["made"]), "a part was made twice"
    assert listing() == after


@pytest.mark.parametrize("share", range(SHARES))
def test_a_run_killed_at_any_write_boundary(crash, places, at, share, tmp_path):
    base, new, reference = places
    at(base / "before")
    before = contents()
    at(base / "after")
    after, after_listing = contents(), listing()
    assert reference["boundaries"] > 100
    for boundary in range(1 + share, reference["boundaries"] + 1, SHARES):
        outputs = at(tmp_path / "outputs")
        shutil.copytree(base / "before", outputs)
        assert crash(outputs, new, boundary)["code"] == -signal.SIGKILL
        assert_old_or_new(before, after)
        assert_rerun_ends_the_same(crash, outputs, new, reference, after_listing)
        shutil.rmtree(outputs)


def test_a_first_run_killed_at_any_write_boundary_and_its_rerun_too(crash, places, at, tmp_path):
    """Over and over: each run is killed a few boundaries after the one before, until one ends."""
    base, new, _ = places
    at(base / "after")
    after_listing = listing()
    outputs = at(tmp_path / "outputs")
    kills = 0
    while (ended := crash(outputs, new, 5 + kills))["code"] == -signal.SIGKILL:
        kills += 1
        for name in crash_run.FOLDERS:
            folder = getattr(STUDY, name)
            if not paths.dataset_manifest(folder).exists() and folder.exists():
                # There is no dataset yet: a reader finds no file, or the one that makes it fail.
                assert not list(folder.iterdir()) or (folder / dataset.COMMITTING).exists()
    assert ended["code"] == 0
    assert kills >= 10
    assert listing() == after_listing


def test_runs_with_two_workers_killed_at_any_time(crash, places, at, tmp_path):
    base, new, reference = places
    at(base / "before")
    before = contents()
    at(base / "after")
    after, after_listing = contents(), listing()
    chance = random.Random(1)
    command = [sys.executable, crash_run.__file__, str(new), "2"]
    outputs = at(tmp_path / "outputs")
    started = time.monotonic()
    shutil.copytree(base / "before", outputs)
    subprocess.run(command, check=True, env={**os.environ})
    duration = time.monotonic() - started
    assert listing() == after_listing
    killed = 0
    for _ in range(20):
        if killed == 4:
            break
        shutil.rmtree(outputs)
        shutil.copytree(base / "before", outputs)
        with subprocess.Popen(command, env={**os.environ}) as run:
            # Starting Python and importing takes the first part of it.
            time.sleep(duration * chance.uniform(0.3, 0.95))
            workers = psutil.Process(run.pid).children(recursive=True) if run.poll() is None else []
            run.kill()
        killed += run.returncode == -signal.SIGKILL
        duration *= 0.8 if run.returncode == 0 else 1.0  # the machine is less busy than it was
        _, alive = psutil.wait_procs(workers, timeout=60)
        assert alive == []
        assert_old_or_new(before, after)
        assert_rerun_ends_the_same(crash, outputs, new, reference, after_listing)
    assert killed >= 2
