"""A stage runs when, and only when, something it depends on has changed."""

from __future__ import annotations

import json

import pytest
from short_study import checkout, command

from lib import code, paths, stage_records
from lib.params import Params
from lib.stages import STAGES
from lib.study import cache


def modules_of(stage: str) -> set[str]:
    """What of lib the stage's notebook imports, such as ``data/parse``."""
    found = code.imported_modules(cache.notebook_code(paths.stage_notebook(stage)))
    return {path.relative_to(paths.LIB).with_suffix("").as_posix() for path in found}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_its_own_figures_and_on_no_row_of_the_stages(stage):
    figures = {name for name in modules_of(stage) if name.startswith("figures/")}
    shared = {"figures/axes", "figures/style", "figures/tables"}
    assert figures - shared <= {f"figures/{stage.partition('_')[2]}"}
    assert not modules_of(stage) & {"stages", "params"}
    assert ("evaluation/verdict" in modules_of(stage)) == (stage == "04_evaluate")


def test_ingest_does_not_depend_on_features():
    assert "data/parse" in modules_of("01_ingest")
    assert "features/windows" not in modules_of("01_ingest")
    assert "features/windows" in modules_of("02_features")
    assert "models/ratio_by_quantile" in modules_of("03_train")
    assert "models/regressor" not in modules_of("02_features")


def test_prose_and_outputs_of_a_notebook_do_not_count(tmp_path):
    cells = [{"cell_type": "markdown", "source": ["# A"]}, {"cell_type": "code", "source": ["x = 1"], "outputs": []}]
    notebook = tmp_path / "n.ipynb"
    notebook.write_text(json.dumps({"cells": cells}))
    before = cache.notebook_code(notebook)
    cells[0]["source"] = ["# B"]
    cells[1]["outputs"] = [{"output_type": "stream", "text": "1"}]
    notebook.write_text(json.dumps({"cells": cells}))
    assert cache.notebook_code(notebook) == before
    cells[1]["source"] = ["x = 2"]
    notebook.write_text(json.dumps({"cells": cells}))
    assert cache.notebook_code(notebook) != before


def test_index_is_made_again_for_other_forecasts_and_not_for_other_times():
    record = {"finished": "now", "stages": [], "artifacts": {"forecasts.csv": {"sha256": "ab"}}}
    before = cache.index_ingredients(record)
    assert cache.index_ingredients(record | {"finished": "later", "stages": [{"seconds": 1}]}) == before
    assert cache.index_ingredients(record | {"artifacts": {"forecasts.csv": {"sha256": "cd"}}}) != before
    assert "lib/reports/latest_forecasts.py" in before


def test_params_that_say_who_computes_do_not_count(outputs):
    study = paths.StudyPaths("s")
    one = cache.ingredients("01_ingest", Params(), study, "d")
    spark = Params.model_validate({"compute": {"engine": "spark", "workers": 3}})
    assert cache.ingredients("01_ingest", spark, study, "d") == one
    other = Params.model_validate({"ingest": {"max_quarantined_share": 0.5}})
    changed = cache.reasons_to_run(cache.ingredients("01_ingest", other, study, "d"), stage_records.Record(one, {}), {})
    assert changed == ["ingest.max_quarantined_share 0.01 -> 0.5"]


def test_input_artifacts_count(outputs):
    study = paths.StudyPaths("s")
    study.prices.mkdir(parents=True)
    (study.prices / "part.parquet").write_bytes(b"1")
    before = stage_records.Record(cache.ingredients("02_features", Params(), study, ""), {})
    (study.prices / "part.parquet").write_bytes(b"2")
    now = cache.ingredients("02_features", Params(), study, "")
    assert cache.reasons_to_run(now, before, {}) == ["new prices from 01_ingest"]


def test_changes_are_told_in_words_and_never_by_a_part_s_name():
    before = {
        "input .features/manifest.json": "1",
        "input features/part-00000-aaaa.parquet": "1",
        "input features/part-00001-bbbb.parquet": "1",
        "input model/grid.safetensors": "1",
        "input recent/part-00000-dddd.parquet": "1",
        "input visits.csv": "1",
        "lib/figures/evaluate.py": "1",
        "lib/figures/axes.py": "1",
        "params train.model": '"forest"',
        "params features.min_periods": "null",
    }
    now = {
        **before,
        "input .features/manifest.json": "2",
        "input features/part-00001-cccc.parquet": "2",
        "input model/grid.safetensors": "2",
        "input recent/part-00000-dddd.parquet": "2",
        "input visits.csv": "2",
        "lib/figures/evaluate.py": "2",
        "params train.model": '"ratio_by_quantile"',
        "params features.min_periods": "5",
    }
    for gone in ("input features/part-00001-bbbb.parquet", "lib/figures/axes.py"):
        del now[gone]
    assert cache.reasons_to_run(now, stage_records.Record(before, {}), {}) == [
        "new features (1 of 2 parts), recent from 02_features",
        "new model from 03_train",
        "new visits.csv from an earlier stage",
        "lib/figures/axes.py is gone",
        "lib/figures/evaluate.py changed",
        "features.min_periods null -> 5",
        "train.model forest -> ratio_by_quantile",
    ]


@pytest.mark.parametrize(
    ("artifacts", "reason"),
    [
        ({}, ["output a is missing"]),
        ({"a": "2"}, ["output a was changed"]),
        ({"a": "1", "b": "1"}, ["output b is not of this run"]),
        ({"a": "1"}, []),
    ],
)
def test_outputs_are_checked(artifacts, reason):
    assert cache.reasons_to_run({"x": "1"}, stage_records.Record({"x": "1"}, {"a": "1"}), artifacts) == reason


def test_a_change_runs_the_stages_that_depend_on_it_and_no_other(tmp_path):
    root = checkout(tmp_path)
    assert command(root, "run", "short").returncode == 0

    def run_after_changing(name, text):
        with (root / name).open("a", encoding="utf-8") as file:
            file.write(text)
        done = command(root, "run", "short", "--explain")
        assert done.returncode == 0, done.stderr
        return done.stderr

    # No notebook imports it.
    output = run_after_changing("lib/serving/endpoint/app.py", "# A comment.\n")
    assert output.count("unchanged") == len(STAGES)
    assert output.count("nothing it depends on has changed") == len(STAGES)
    output = run_after_changing("lib/features/windows.py", "# A comment.\n")
    assert "01_ingest    unchanged" in output
    assert "02_features: lib/features/windows.py changed" in output
    assert "03_train: new features from 02_features\n" in output
    output = run_after_changing("lib/data/parse.py", "# A comment.\n")
    assert "01_ingest: lib/data/parse.py changed" in output
