"""The same study gives the same bytes: from another folder, for another user, elsewhere, and as committed."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time

import pytest
from filelock import FileLock
from short_study import checkout, command, write_notebooks

from lib import __main__ as command_line
from lib import paths
from lib.params import Params
from lib.stages import STAGES
from lib.study import record, reproduce
from lib.study.errors import StudyError

# Another user's settings, in another part of the world, on a machine of another size.
ELSEWHERE = {
    "TZ": "Asia/Kolkata",
    "LANG": "tr_TR.UTF-8",
    "LC_ALL": "tr_TR.UTF-8",
    "OMP_NUM_THREADS": "1",
    "PYTHONHASHSEED": "7",
}


def test_the_sample_study_elsewhere_gives_the_same_bytes(sample_study, tmp_path):
    root = checkout(tmp_path, notebooks=True)
    done = command(root, "run", HOME=str(tmp_path), **ELSEWHERE)
    assert done.returncode == 0, done.stderr
    made = json.loads((root / "outputs" / "sample" / "run.json").read_text(encoding="utf-8"))["artifacts"]
    assert made == record.artifact_record(sample_study)
    assert len(made) >= 20


def test_scratch_folders_of_killed_runs_are_removed(outputs):
    for name in ("killed", "running"):
        (outputs / f".reproduce-{name}-x" / name).mkdir(parents=True)
    (outputs / ".reproduce-killed-x" / ".lock").touch()
    with FileLock(outputs / ".reproduce-running-x" / ".lock"):
        reproduce._remove_left_behind()
        assert [path.name for path in outputs.iterdir()] == [".reproduce-running-x"]


def test_reproduce_compares_every_artifact(tmp_path):
    root = checkout(tmp_path)
    done = command(root, "run", "short", "--reproduce", HOME=str(tmp_path), **ELSEWHERE)
    assert done.returncode == 0, done.stderr
    number, total = re.fullmatch(r"short: reproduced: (\d+) of (\d+)\n", done.stdout).groups()
    artifacts = json.loads((root / "outputs" / "short" / "run.json").read_text(encoding="utf-8"))["artifacts"]
    assert number == total == str(len(artifacts))
    # The scratch folder is gone.
    assert [path.name for path in (root / "outputs").iterdir()] == ["short"]


def test_reproduce_finds_what_chance_decides(tmp_path):
    root = checkout(tmp_path)
    write_notebooks(root / "notebooks", {"03_train": "import random; seed = random.random()"})
    done = command(root, "run", "short", "--reproduce")
    assert done.returncode == 1
    assert "different: model/grid.safetensors" in done.stdout
    assert "different: prices" not in done.stdout


def test_the_sample_study_gives_what_is_committed(sample_study):
    found = reproduce.compare_with_lock("sample", Params())
    assert found is not None, "params/sample.yaml has changed; renew with: python -m lib lock sample"
    assert found.equal, f"as expected: {found}\nif it should be so, renew with: python -m lib lock sample"


@pytest.mark.parametrize(
    ("change", "different"),
    [
        (lambda found: found["data"]["features"].update(rows=1), ("data features rows",)),
        (lambda found: found["data"]["prices"].update(sha256="0"), ("data prices sha256",)),
        (lambda found: found["metrics"]["model"].update(mae=found["metrics"]["model"]["mae"] * 1.0005), ()),
        (
            lambda found: found["metrics"]["model"].update(mae=found["metrics"]["model"]["mae"] * 1.002),
            ("metrics model mae",),
        ),
    ],
    ids=["rows", "digest", "within the tolerance", "beyond the tolerance"],
)
def test_another_result_than_the_committed_one_is_found(sample_study, monkeypatch, change, different):
    found = reproduce.results("sample", Params())
    change(found)
    monkeypatch.setattr(reproduce, "results", lambda name, params: found)
    compared = reproduce.compare_with_lock("sample", Params())
    assert compared.different == different
    assert compared.equal == (not different)


def test_other_params_are_not_expected_to_give_the_same():
    assert reproduce.compare_with_lock("sample", Params.model_validate({"features": {"window": 20}})) is None
    assert reproduce.compare_with_lock("no-such-study", Params()) is None


def test_a_study_that_is_not_finished_cannot_be_what_is_expected(outputs, capsys):
    assert command_line.main(["lock", "sample"]) == 2
    assert "first: bash run_all.sh sample" in capsys.readouterr().err


def test_the_results_that_are_expected_can_be_renewed(sample_study, tmp_path, monkeypatch, capsys):
    (tmp_path / "sample.yaml").write_text("features:\n  window: 30\n", encoding="utf-8")
    monkeypatch.setattr(paths, "PARAMS", tmp_path)
    assert command_line.main(["lock", "sample"]) == 0
    assert "sample.lock.json" in capsys.readouterr().out
    assert reproduce.compare_with_lock("sample", Params()).equal


def test_results_of_other_params_are_not_those_that_are_expected(sample_study):
    """Of `-p train.settings.groups 20`, or of a params file that has changed since."""
    with pytest.raises(StudyError, match=r"^sample: train.settings.groups differed in its last run; first: bash"):
        reproduce.write_lock("sample", Params.model_validate({"train": {"settings": {"groups": 20}}}))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_reproduce_can_be_stopped(tmp_path, number, code):
    """Its scratch folder goes with it, and so do its kernels."""
    root = checkout(tmp_path)
    assert command(root, "run", "short").returncode == 0
    process = subprocess.Popen(
        [sys.executable, "-m", "lib", "run", "short", "--reproduce"], cwd=root, stderr=subprocess.PIPE, text=True
    )
    while f"[1/{len(STAGES)}] 01_ingest" not in (line := process.stderr.readline()) or "unchanged" in line:
        assert line, "the run ended by itself"
    time.sleep(0.5)
    process.send_signal(number)
    _, output = process.communicate(timeout=60)
    assert process.returncode == code
    assert "kept" in output
    assert [path.name for path in (root / "outputs").iterdir()] == ["short"]
