"""Studies and runs side by side."""

from __future__ import annotations

import io
import json
import re

import pyarrow.parquet as pq
import pytest
from rich.console import Console
from short_study import checkout, command

from lib import __main__ as command_line
from lib import paths
from lib.stages import STAGES
from lib.study import compare


def test_two_runs_of_one_study(sample_study, capsys, monkeypatch, tmp_path):
    first, last = compare.read_run("sample@1"), compare.read_run("sample")
    assert first["rows"] == last["rows"] == {"read": 12_154, "kept": 12_154, "quarantined": 0}
    assert first["metrics"]["mae"] > 0
    changed = {**last, "name": "other", "params": {**last["params"], "features": {"window": 20, "min_periods": None}}}
    tables = compare.comparison([first, changed])
    params = tables["Params"].set_index("what")
    assert params.loc["features.window"].tolist() == ["30", "20", "no"]
    ratio = tables["Metrics"].set_index("what").loc["model's error / plain average's", "sample@1"]
    assert ratio == first["metrics"]["mae"] / first["metrics"]["mae_moving_average"]
    measured = json.loads(sample_study.forecast_metrics.read_text())["horizons"]
    errors = tables["Metrics"].set_index("what")["sample@1"]
    assert errors["forecast's error / 30-day average's, the next day"] == measured["1"]["relative_mae"]
    assert errors["forecast's error / 30-day average's, the next 21 days"] == measured["21"]["relative_mae"]
    assert params.loc["train.seed", "same"] == "yes"
    artifacts = tables["Artifacts"].set_index("what")
    assert set(artifacts["same"]) == {"yes"}
    assert {"model/grid.safetensors", "prices/", "features/"} <= set(artifacts.index)
    assert not any(name.endswith(".parquet") for name in artifacts.index), "a dataset is told as one"
    assert list(tables["Seconds"]["what"]) == list(STAGES)
    shown = io.StringIO()
    compare.show(tables, Console(file=shown, width=200))
    assert "features.window" in shown.getvalue()
    assert "train.seed" not in shown.getvalue(), "what is the same is only counted"
    same = len(params) - 1
    assert same > 16 and f"and {same} the same in all" in shown.getvalue()
    monkeypatch.setenv("STUDY_OUTPUTS", str(tmp_path))
    page = compare.write_page(tables, ["sample@1", "other"])
    assert page.parent == paths.outputs()
    text = page.read_text()
    assert text.index("features.window") < text.index(f"{same} more, the same in all") < text.index("train.seed")
    assert '<a href="sample/index.html">' in text
    assert "http://" not in text.replace("http://www.w3.org", "")


def test_the_page_of_many_studies_has_a_name_that_a_file_may_have(outputs):
    names = [f"a-study-features.window-{window}-train.objective-squared" for window in range(9)]
    page = paths.comparison_page(names)
    assert len(page.name) < 150
    assert page != paths.comparison_page([*names[:-1], "another"])


def test_several_studies_and_a_grid_are_run_and_compared(tmp_path):
    root = checkout(tmp_path)
    (root / "params" / "other.yaml").write_text("archive:\n  source: archive\ntrain:\n  seed: 7\n", encoding="utf-8")
    done = command(root, "run", "short", "other", COLUMNS="200")
    assert done.returncode == 0, done.stderr
    assert re.search(r"train.seed +42 +7", done.stdout)
    page = root / "outputs" / "compare-short-other.html"
    assert f"Open {page}" in done.stdout
    assert "short and other" in page.read_text(encoding="utf-8")
    done = command(root, "run", "short", "-p", "features.window", "10,20", "-p", "train.seed", "7", COLUMNS="200")
    assert done.returncode == 0, done.stderr
    assert re.search(r"features.window +10 +20", done.stdout)
    assert (root / "outputs" / "compare-short-window-10-short-window-20.html").exists()
    table = pq.read_table(root / "outputs" / "short-window-10" / "features", columns=["vol_moving_avg"])
    assert table["vol_moving_avg"].null_count == 3 * 9
    # Two runs of one study, by number.
    assert command(root, "run", "short", "-p", "train.seed", "8").returncode == 0
    done = command(root, "compare", "short@1", "short@-1", COLUMNS="200")
    assert re.search(r"train.seed +42 +8", done.stdout)
    assert (root / "outputs" / "compare-short.1-short.-1.html").exists()


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
