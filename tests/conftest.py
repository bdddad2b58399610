"""What several tests share: a folder for outputs, and one finished run of the sample study."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid

import hypothesis
import object_storage
import pytest
from filelock import FileLock
from raw_archives import write_archive

from lib import locations, paths

# A busy machine takes its time.
hypothesis.settings.register_profile("suite", deadline=None)
hypothesis.settings.load_profile("suite")


@pytest.fixture
def outputs(tmp_path, monkeypatch):
    """An empty folder in the place of outputs/."""
    monkeypatch.setenv("STUDY_OUTPUTS", str(tmp_path / "outputs"))
    return tmp_path / "outputs"


@pytest.fixture
def make_archive(tmp_path):
    """Write a small raw archive: `raw_archives.write_archive`, into ``tmp_path / name``."""

    def make(files, metadata=None, name="archive", base=""):
        return write_archive(tmp_path / name, files, metadata, base)

    return make


@pytest.fixture(scope="session")
def s3():
    """A server of S3's interface on this machine."""
    with object_storage.serving() as server:
        yield server


@pytest.fixture
def bucket(s3, monkeypatch):
    """An empty bucket of that server, which this process and those that it starts find as they would find Amazon's."""
    for name, value in {**object_storage.KEYS, "AWS_ENDPOINT_URL": s3.endpoint}.items():
        monkeypatch.setenv(name, value)
    for name in object_storage.OTHERS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    locations._store.cache_clear()
    name = f"bucket-{uuid.uuid4().hex}"
    s3.client.create_bucket(Bucket=name)
    yield s3.bucket(name)
    locations._store.cache_clear()


@pytest.fixture(scope="session")
def made_once(tmp_path_factory, worker_id):
    """Have a folder filled by one of the suite's workers, for all of them: ``made_once(name, make)``; it is not to be changed."""
    base = tmp_path_factory.getbasetemp()

    def made_once(name, make):
        folder = (base if worker_id == "master" else base.parent) / name
        with FileLock(f"{folder}.lock"):
            if not (folder / "done").exists():
                folder.mkdir(exist_ok=True)
                make(folder)
                (folder / "done").touch()
        return folder

    return made_once


def run_sample(outputs):
    done = subprocess.run(
        [sys.executable, "-m", "lib", "run"],
        cwd=paths.ROOT,
        env={**os.environ, "STUDY_OUTPUTS": str(outputs)},
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def sample_outputs(made_once):
    """An outputs folder with the sample study."""
    return made_once("sample-outputs", run_sample)


@pytest.fixture
def sample_study(sample_outputs, monkeypatch):
    """The paths of the finished sample study; not to be changed."""
    monkeypatch.setenv("STUDY_OUTPUTS", str(sample_outputs))
    return paths.StudyPaths("sample")
