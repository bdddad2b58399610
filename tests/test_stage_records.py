"""The records of stages: whatever is in their files, and which results do not belong together."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib import files, paths, stage_records
from lib.stage_records import UNFINISHED, Record, out_of_date
from lib.stages import STAGES
from lib.study import cache

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


def test_a_damaged_record_counts_as_none(tmp_path):
    path = tmp_path / "01_ingest.json"
    record = Record({"x": "1"}, {"a": "1"}, 1.5, 7)
    stage_records.write_record(path, record)
    assert stage_records.read_record(path) == record
    whole = path.read_bytes()
    for damaged in (
        whole[:20],
        b"",
        b"\xff",
        b"[" * 100_000,
        whole.replace(b"1.5", b"NaN"),
        whole.replace(b"1.5", b"1e999"),
    ):
        path.write_bytes(damaged)
        assert stage_records.read_record(path) is None
    path.unlink()
    path.mkdir()
    assert stage_records.read_record(path) is None
    assert cache.reasons_to_run({"x": "1"}, None, {}) == ["it has not run yet"]


@given(ingredients=JSON, artifacts=JSON, seconds=JSON, memory=JSON, until=JSON, kept=JSON)
def test_a_record_that_is_read_can_be_used_whatever_it_holds(
    tmp_path_factory, ingredients, artifacts, seconds, memory, until, kept
):
    path = tmp_path_factory.mktemp("records") / "x.json"
    content = {"ingredients": ingredients, "artifacts": artifacts, "seconds": seconds, "peak_memory_bytes": memory}
    content |= {"until": until, "basis": until, "kept": kept}
    path.write_text(json.dumps(content), encoding="utf-8")
    record = stage_records.read_record(path)
    if record is not None:
        assert isinstance(cache.reasons_to_run({"x": "1"}, record, {"a": "1"}), list)
        assert isinstance(record.inputs, dict)
        assert f"{record.key} {record.seconds:.1f} {record.peak_memory_bytes / 2**20:.0f}"


@pytest.fixture
def study(outputs):
    """A study of which every stage has run; an artifact is a file that holds its name."""
    study = paths.StudyPaths("s")
    last = {"stages": [], "params": {"features": {"window": 30}, "train": {"seed": 1}}}
    for stage, row in STAGES.items():
        for name in row.makes:
            whole = study.artifact(name)
            for path in [whole] if whole.suffix else [whole / "a.parquet", paths.dataset_manifest(whole)]:
                files.write_atomically(path, name)
        files.write_atomically(study.notebook(stage), stage)
        read = stage_records.digests(map(study.artifact, row.reads), study)
        ingredients = {f"input {path}": digest for path, digest in read.items()}
        ingredients |= {"params features.window": "30"} if "features" in row.params else {}
        ingredients |= {"params train.seed": "1"} if "train" in row.params else {}
        record = Record(ingredients, stage_records.artifacts(stage, study))
        stage_records.write_record(study.stage_record(stage), record)
        last["stages"].append({"name": stage, "key": record.key})
    files.write_atomically(study.run_record, json.dumps(last))
    return study


def stale(study):
    return out_of_date(study, files.read_json(study.run_record))


def run_again(study, stage, **params):
    """What a run of one stage leaves: other artifacts, and their record."""
    row = STAGES[stage]
    for name in row.makes:
        whole = study.artifact(name)
        files.write_atomically(whole if whole.suffix else paths.dataset_manifest(whole), f"other {name} {params}")
    before = stage_records.read_record(study.stage_record(stage)).ingredients
    read = stage_records.digests(map(study.artifact, row.reads), study)
    changed = {f"params {key.replace('__', '.')}": json.dumps(value) for key, value in params.items()}
    record = Record({**before, **{f"input {path}": digest for path, digest in read.items()}, **changed}, {})
    stage_records.write_record(
        study.stage_record(stage), Record(record.ingredients, stage_records.artifacts(stage, study))
    )


def test_a_finished_study_is_up_to_date(study):
    assert stale(study) == {}
    assert stage_records.notes(study) == {}


def test_what_was_not_made_from_a_newer_artifact_is_out_of_date(study):
    run_again(study, "03_train")  # as --only 03_train
    assert stale(study) == {"04_evaluate": ["model has been regenerated since"]}
    assert stage_records.notes(study)["04_evaluate"].endswith("To bring it up to date: bash run_all.sh s")


def test_so_is_what_comes_later(study):
    run_again(study, "01_ingest")
    assert list(stale(study)) == [*STAGES][1:]


def test_other_params_than_the_stages_before(study):
    run_again(study, "04_evaluate", train__seed=2)  # as --only 04_evaluate -p train.seed 2
    assert stale(study) == {"04_evaluate": ["train.seed was 2 here and is 1 in 03_train"]}


def test_other_params_than_the_last_run(study):
    last = files.read_json(study.run_record)
    last["params"]["features"]["window"] = 20  # as --only 01_ingest -p features.window 20
    assert out_of_date(study, last)["02_features"] == ["features.window was 30 here and is 20 in the last run"]
    run_again(study, "02_features", features__window=20)  # a run that was killed before it wrote its record
    assert list(stale(study)) == [*STAGES][2:]


def test_a_stage_that_was_killed_or_failed(study):
    study.stage_record("02_features").unlink()
    assert stale(study)["02_features"] == [UNFINISHED]
    assert stale(study)["03_train"] == stale(study)["04_evaluate"][:1] == ["02_features is out of date"]


def test_artifacts_made_by_hand(study):
    manifest = paths.dataset_manifest(study.features)
    files.write_atomically(manifest, "by papermill")
    assert list(stale(study)) == [*STAGES][1:]
    assert "s/features" not in stale(study)["02_features"][0]
    manifest.unlink()
    assert list(stale(study)) == [*STAGES][1:]


def test_a_study_that_nothing_is_known_of_is_not_judged(study):
    for stage in STAGES:
        study.stage_record(stage).unlink()
    study.stage_records.rmdir()
    assert stale(study) == {}


@given(last=JSON)
def test_a_record_of_the_run_may_hold_anything(tmp_path_factory, last):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STUDY_OUTPUTS", str(tmp_path_factory.mktemp("outputs")))
        study = paths.StudyPaths("s")
        record = Record({"input a\0b": "1", "input /dev/zero": "2", "params a.b": "1"}, {"\ud800": "1"})
        stage_records.write_record(study.stage_record("01_ingest"), record)
        for content in (
            last,
            {"params": last, "stages": last, "bring_up_to_date": last},
            {"stages": [{"key": record.key}]},
        ):
            files.write_atomically(study.run_record, json.dumps(content))
            assert isinstance(stage_records.notes(study), dict)


def test_a_kernel_of_the_dashboard_imports_it_without_pandas():
    code = "import lib.stage_records, sys; print({'pandas', 'pyarrow', 'pydantic', 'yaml'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], cwd=paths.ROOT, text=True).strip() == "set()"
