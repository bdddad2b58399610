"""Studies and runs side by side."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from lib import __main__ as command_line
from lib import compare, paths


def test_two_runs_of_one_study(sample_study, capsys, monkeypatch, tmp_path):
    first, last = compare.read_run("sample@1"), compare.read_run("sample")
    assert first["rows"] == last["rows"] == {"read": 12_154, "kept": 12_154, "quarantined": 0}
    assert first["metrics"]["mae"] > 0
    changed = {**last, "name": "other", "params": {**last["params"], "features": {"window": 20, "min_periods": None}}}
    tables = compare.comparison([first, changed])
    params = tables["Params"].set_index("what")
    assert params.loc["features.window"].tolist() == ["30", "20", "no"]
    assert params.loc["train.seed", "same"] == "yes"
    artifacts = tables["Artifacts"].set_index("what")
    assert set(artifacts["same"]) == {"yes"}
    assert "model/grid.npz" in artifacts.index
    assert list(tables["Seconds"]["what"]) == ["01_ingest", "02_features", "03_train", "04_evaluate"]
    shown = io.StringIO()
    compare.show(tables, Console(file=shown, width=200))
    assert "features.window" in shown.getvalue()
    monkeypatch.setenv("STUDY_OUTPUTS", str(tmp_path))
    page = compare.write_page(tables, ["sample@1", "other"])
    assert page.parent == paths.outputs()
    text = page.read_text()
    assert "features.window" in text
    assert "http://" not in text.replace("http://www.w3.org", "")


@pytest.mark.parametrize(
    ("run", "message"),
    [
        ("nothing", "nothing: this study has not run; those that have: sample"),
        ("sample@99", "'99' is no run of sample; allowed: 1 to "),
        ("sample@0", "'0' is no run of sample"),
        ("sample@x", "'x' is no run of sample"),
    ],
)
def test_a_run_that_is_not_there_is_said(sample_study, capsys, run, message):
    assert command_line.main(["compare", run, "sample"]) == 2
    assert message in capsys.readouterr().err
