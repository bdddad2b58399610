"""Studies run end to end, through the same command that a user types."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import nbformat
import pyarrow.parquet as pq
import pytest
from short_study import Place, Run

from lib import paths
from lib.params import Params
from lib.stages import STAGES
from lib.study import served
from lib.study.run import Options


def run(outputs: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "lib", "run", *arguments],
        cwd=paths.ROOT,
        env={**os.environ, "STUDY_OUTPUTS": str(outputs), **environment},
        capture_output=True,
        text=True,
        timeout=500,
    )


@pytest.fixture
def study(sample_outputs, tmp_path, monkeypatch):
    """A copy of the finished sample study, to run again."""
    shutil.copytree(sample_outputs, tmp_path / "outputs")
    monkeypatch.setenv("STUDY_OUTPUTS", str(tmp_path / "outputs"))
    return paths.StudyPaths("sample")


def test_sample_leaves_every_artifact(sample_study):
    for stage in STAGES:
        notebook = nbformat.read(sample_study.notebook(stage), as_version=4)
        assert all(cell.execution_count for cell in notebook.cells if cell.cell_type == "code")
        assert not [o for cell in notebook.cells for o in cell.get("outputs", []) if o.output_type == "error"]
        assert sample_study.report(stage).stat().st_size > 10_000
    assert pq.read_table(sample_study.prices).num_rows == 12_154
    assert pq.read_table(sample_study.features).num_rows == 12_154
    for path in (sample_study.estimator, sample_study.grid, sample_study.model_card):
        assert path.stat().st_size > 0
    assert json.loads(sample_study.metrics.read_text())
    index = sample_study.index.read_text()
    assert all(f"reports/{stage}.html" in index for stage in STAGES)


def test_notebooks_print_no_warning(sample_study):
    for stage in STAGES:
        notebook = nbformat.read(sample_study.notebook(stage), as_version=4)
        streams = [o.text for cell in notebook.cells for o in cell.get("outputs", []) if o.get("name") == "stderr"]
        assert streams == []


def test_run_record_says_what_made_it(sample_study):
    record = json.loads(sample_study.run_record.read_text())
    assert record["rows"] == {"read": 12_154, "kept": 12_154, "quarantined": 0}
    assert [stage["status"] for stage in record["stages"]] == ["run"] * len(STAGES)
    assert all(stage["seconds"] > 0 and stage["peak_memory_bytes"] > 2**25 for stage in record["stages"])
    assert record["params"] == Params().model_dump()
    parts = {path: entry["rows"] for path, entry in record["artifacts"].items() if path.startswith("prices/part-")}
    assert sum(parts.values()) == 12_154
    assert {"model/model.skops", "model/grid.safetensors", "metrics.json", "reports/01_ingest.html"} <= record[
        "artifacts"
    ].keys()


def test_no_artifact_names_this_machine(sample_study):
    folders = [str(paths.ROOT), str(paths.outputs()), str(Path.home()) + "/"]
    anywhere = re.compile(rb"/(?:home|Users|tmp|var/folders)/[A-Za-z0-9_.-]+")
    host = re.compile(rb"(?<![\w.-])" + re.escape(socket.gethostname().encode()) + rb"(?![\w-])")
    for path in sorted(sample_study.folder.rglob("*")):
        if path.is_file() and not path.name.startswith(".lock"):
            content = path.read_bytes()
            for folder in folders:
                assert folder.encode() not in content, f"{path.name} holds {folder}"
            # Among the bytes of a picture or of a Parquet page a host's two or three letters turn up by chance.
            if path.suffix in {".json", ".jsonl", ".md", ".ipynb"}:
                text = re.sub(rb"[A-Za-z0-9+/=]{200,}", b"", content)
                assert not anywhere.search(text), f"{path.name} holds {anywhere.search(text)}"
                assert not host.search(text), f"{path.name} holds the name of this host"


def test_nothing_changed_nothing_runs(study):
    before = {path: path.read_bytes() for path in study.folder.rglob("*.parquet")}
    done = run(paths.outputs(), "--explain")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("unchanged") == len(STAGES)
    assert done.stderr.count("nothing it depends on has changed") == len(STAGES)
    record = json.loads(study.run_record.read_text())
    assert {stage["status"] for stage in record["stages"]} == {"unchanged"}
    assert all(stage["seconds"] > 0 for stage in record["stages"])
    assert {path: path.read_bytes() for path in study.folder.rglob("*.parquet")} == before
    assert len(study.history.read_text().splitlines()) == 2


def test_a_page_edited_by_hand_is_made_again_without_running_anything(study):
    page = study.report("02_features")
    whole = page.read_bytes()
    page.write_bytes(whole[:-9])
    done = run(paths.outputs())
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("unchanged") == len(STAGES)
    assert page.read_bytes() == whole


def test_a_param_on_the_command_line_runs_what_depends_on_it(study):
    done = run(paths.outputs(), "--explain", "-p", "features.window", "20")
    assert done.returncode == 0, done.stderr
    assert "features.window 30 -> 20" in done.stderr
    assert "01_ingest    unchanged" in done.stderr
    table = pq.read_table(study.features)
    assert table["vol_moving_avg"].null_count == 5 * 19
    injected = nbformat.read(study.notebook("02_features"), as_version=4)
    assert any("window = 20" in cell.source for cell in injected.cells)


def test_wrong_params_stop_before_anything_starts(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("features:\n  windw: 20\n")
    done = run(tmp_path / "outputs", str(file))
    assert done.returncode == 2
    assert (
        done.stderr.strip() == f"error: {file}, line 2: unknown key 'features.windw'; did you mean 'features.window'?"
    )
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: None, "no such folder or file"),
        (lambda folder: folder.mkdir(), "no price files found"),
        (lambda folder: folder.write_bytes(b"PK"), "not a readable .zip"),
    ],
    ids=["missing", "empty", "not a zip"],
)
def test_an_archive_that_is_none_is_said_at_once(tmp_path, make, message):
    make(tmp_path / "archive")
    done = run(tmp_path / "outputs", "-p", "archive.source", str(tmp_path / "archive"))
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_two_runs_of_one_study_do_not_mix(study):
    from filelock import FileLock

    with FileLock(study.lock):
        study.lock_holder.write_text("process 1, since then,")
        done = run(paths.outputs())
    assert done.returncode == 3
    assert "process 1, since then, is running this study" in done.stderr


def test_a_run_into_a_copy_leaves_the_study_and_both_say_what_they_were_made_with(tmp_path):
    place = Place(tmp_path).make()
    assert Run(place).end()[0] == 0
    before = place.artifacts()
    code, output = Run(place, "-p", "features.window", "20", "--as", "twenty").end()
    assert code == 0 and "twenty: 3 price files, with -p compute.workers 1 -p features.window 20" in output, output
    assert place.artifacts() == before
    copy = place.outputs / "twenty"
    record = json.loads((copy / "run.json").read_text(encoding="utf-8"))
    assert record["params"]["features"]["window"] == 20
    made = "with -p compute.workers 1 -p features.window 20"
    assert record["overrides"] == made and f"Run {made}: these params differ" in (copy / "index.html").read_text()
    assert json.loads((copy / "history.jsonl").read_text())["overrides"] == made
    code, output = Run(place, "--as", "sample").end()
    assert code == 2 and "is a separate study; choose another name" in output


def test_p_replaces_what_is_served_only_when_asked(tmp_path, monkeypatch):
    place = Place(tmp_path).make()
    assert Run(place).end()[0] == 0
    monkeypatch.setenv("STUDY_OUTPUTS", str(place.outputs))
    study = paths.StudyPaths("short")
    assert not served.is_served(study)
    before = place.artifacts()
    with served.serving(study), served.serving(study):  # two servers, on ports of their own
        assert served.is_served(study)
        code, output = Run(place, "-p", "features.window", "20").end()
        assert code == 2 and place.artifacts() == before
        assert "short: a server is serving this study, and -p features.window 20 would replace" in output
        assert "-p features.window 20 --as short-copy\n" in output and "-p features.window 20 --replace\n" in output
        # What changes no result, no param at all, and a copy go on.
        assert Run(place, "-p", "features.window", "30", "-p", "run.stage_timeout", "7000").end()[0] == 0
        assert Run(place).end()[0] == 0
        assert Run(place, "-p", "features.window", "20", "--as", "short-copy").end()[0] == 0
        assert place.artifacts() == before
        assert Run(place, "-p", "features.window", "20", "--replace").end()[0] == 0
    assert not served.is_served(study)
    assert Run(place, "-p", "features.window", "10").end()[0] == 0


def test_a_folder_of_this_machine_that_p_names_is_not_kept(tmp_path):
    options = Options(overrides=(("archive.source", f"{tmp_path}/prices"), ("train.seed", "7")))
    assert options.with_params == "with -p archive.source prices -p train.seed 7"


def test_a_notebook_that_is_none_stops_the_run_at_its_stage_and_is_named(tmp_path):
    place = Place(tmp_path).make()
    broken = place.notebooks / "02_features.ipynb"
    broken.write_text(f"<<<<<<< HEAD\n{broken.read_text()}")
    code, output = Run(place).end()
    assert code == 2 and "Traceback" not in output
    assert "02_features.ipynb is not a notebook that can be read (JSONDecodeError: " in output
    record = json.loads((place.outputs / "short" / "run.json").read_text())
    assert [stage["status"] for stage in record["stages"]] == ["run"] and "02_features.ipynb" in record["failure"]
