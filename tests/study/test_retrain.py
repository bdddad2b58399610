"""run.retrain: newer prices alone train and evaluate anew once a week or a month; whatever else changes does at once."""

from __future__ import annotations

import datetime
import json
import re

import pytest
import short_study
from short_study import Place, Run

from lib import files, paths, stage_records
from lib.stages import STAGES
from lib.storage.dataset import open_dataset
from lib.text import day

pytestmark = [pytest.mark.timeout(300), pytest.mark.xdist_group("retrain")]  # one study to copy for all
TRAINED = ("03_train", "04_evaluate", "05_forecast")
FORECAST = [
    "from lib.compute.engine import Engine\nfrom lib.evaluation.plan import Settings\nfrom lib.files import write_atomically",
    "from lib.evaluation.walk_forward import make_forecasts\nfrom lib.paths import StudyPaths",
    "made = make_forecasts(StudyPaths(study), Settings((1,), 'linear', 2000), calendar, Engine(workers=1))",
    "write_atomically(StudyPaths(study).forecast_metrics, str(made.walk_forward.rows))",
]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished study, and its archive's last date; the study is not to be changed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(short_study.CELLS, "05_forecast", FORECAST)
        place = Place(tmp_path_factory.mktemp("finished")).make()
        assert Run(place).end()[0] == 0
        rows = (place.base / "archive/stocks/CC.csv").read_text(encoding="utf-8").splitlines()
        yield place, datetime.date.fromisoformat(rows[-1].partition(",")[0])


class Study:
    """A finished study with an archive of its own, to which days are appended."""

    def __init__(self, finished: tuple[Place, datetime.date], base, monkeypatch) -> None:
        original, self.last = finished
        self.place = original.copy(base)
        archive = base / "archive"
        archive.mkdir()
        for path in (original.base / "archive").rglob("*.csv"):
            files.write_atomically(archive / path.relative_to(original.base / "archive"), path.read_bytes())
        self.place.params.write_text(f"archive:\n  source: {archive}\n", encoding="utf-8")
        monkeypatch.setenv("STUDY_OUTPUTS", str(self.place.outputs))
        self.paths = paths.StudyPaths("short")

    def append(self, days: int) -> None:
        """One row, so many days after the last date of the beginning."""
        with (self.place.base / "archive/stocks/CC.csv").open("a", encoding="utf-8") as file:
            file.write(f"{self.last + datetime.timedelta(days)},1.0,2.0,0.5,1.5,1.5,100\n")

    def run(self, *words: str, retrain: str = "weekly") -> tuple[dict[str, str], str]:
        """What happened to each stage, and what the user was told."""
        code, output = Run(self.place, "-p", "run.retrain", retrain, *words).end()
        assert code == 0, output
        return {stage["name"]: stage["status"] for stage in self.record()["stages"]}, output

    def record(self):
        return json.loads(self.paths.run_record.read_text(encoding="utf-8"))


@pytest.fixture
def study(finished, tmp_path, monkeypatch):
    return Study(finished, tmp_path, monkeypatch)


def test_a_new_day_runs_what_it_changes_and_says_what_day_the_model_is_from(study):
    saved = {
        path: path.read_bytes() for path in (study.paths.grid, study.paths.forecaster, study.paths.forecast_metrics)
    }
    study.append(1)
    statuses, output = study.run("--explain")
    assert statuses == {name: "kept" if name in TRAINED else "run" for name in STAGES}
    note = f"Based on data up to {study.last} (run.retrain: weekly); newer days are not included."
    assert f"it runs again once there are prices of {study.last + datetime.timedelta(7)}" in output
    assert "01_ingest: 1 of 3 raw files changed: stocks/CC.csv, 1 row more" in output
    assert saved == {path: path.read_bytes() for path in saved}
    # Forecasts are of the new day, by the saved models.
    assert str(study.last + datetime.timedelta(1)) in study.paths.forecasts_csv.read_text(encoding="utf-8")
    forecasts = open_dataset(study.paths.forecasts).read(["Symbol", "stale"])
    assert dict(zip(*(forecasts[name].to_pylist() for name in ("Symbol", "stale")), strict=True))["CC"] is False
    of_forecasts = (
        f"Its models and its report are based on data up to {study.last} (run.retrain: weekly); "
        "forecasts.csv, and what is served, on newer data."
    )
    notes = dict.fromkeys(TRAINED, note) | {"05_forecast": of_forecasts}
    assert study.record()["kept"] == notes and "out_of_date" not in study.record()
    assert stage_records.notes(study.paths) == {}
    assert stage_records.shown_notes(study.paths) == notes
    for stage in STAGES:
        shown = re.findall(
            r'<p class="kept" role="note">([^<]+)', study.paths.report(stage).read_text(encoding="utf-8")
        )
        assert shown == ([notes[stage]] if stage in TRAINED else [])
    index = study.paths.index.read_text(encoding="utf-8")
    assert note in index
    assert f"from prices to {day(study.last + datetime.timedelta(1))}" in index
    # Once more, with nothing new: nothing runs, and the same is said.
    assert set(study.run()[0].values()) == {"kept", "unchanged"}
    # The day taken out again: the model is of these prices, and nothing is said.
    path = study.place.base / "archive/stocks/CC.csv"
    path.write_text("".join(path.read_text(encoding="utf-8").splitlines(keepends=True)[:-1]), encoding="utf-8")
    unchanged = ("03_train", "04_evaluate")
    statuses, output = study.run("--explain")
    assert statuses == {name: "unchanged" if name in unchanged else "run" for name in STAGES}
    assert "05_forecast: the forecasts are of days that the prices no longer have" in output
    assert stage_records.shown_notes(study.paths) == {} and "kept" not in study.record()


def test_a_week_later_all_runs(study):
    study.append(6)
    assert study.run()[0]["03_train"] == "kept"
    study.append(7)
    assert set(study.run()[0].values()) == {"run"}
    assert stage_records.shown_notes(study.paths) == {}
    study.append(13)  # a week is counted from the days that the model was trained on last
    assert study.run()[0]["04_evaluate"] == "kept"


@pytest.mark.parametrize(
    ("words", "retrain", "runs"),
    [
        ([], "always", [*TRAINED]),
        ([], "monthly", []),
        (["-p", "train.seed", "7"], "monthly", ["03_train", "04_evaluate"]),
        (["-p", "evaluate.seeds", "7"], "monthly", ["04_evaluate"]),
        (["-p", "forecast.refits", "7"], "monthly", ["05_forecast"]),
        (["-p", "features.window", "20"], "monthly", [*TRAINED]),
        # It changes prices by other rules, not by newer days: no ingredient of the model's own tells.
        (["-p", "ingest.max_quarantined_share", "0.5"], "monthly", [*TRAINED]),
        (["--from", "03_train"], "monthly", [*TRAINED]),
    ],
)
def test_any_other_change_runs_them_at_once(study, words, retrain, runs):
    study.append(8)
    if words[:1] == ["--from"]:
        study.run("--only", "01_ingest")
        study.run("--only", "02_features")
    statuses, output = study.run(*words, retrain=retrain)
    assert [name for name in TRAINED if statuses[name] == "run"] == runs, output


def test_a_damaged_model_is_made_again(study):
    study.append(1)
    study.paths.grid.write_bytes(b"damaged")
    assert study.run()[0]["03_train"] == "run"


def test_reproduce_trains_anew_so_that_the_two_runs_are_of_the_same_days(study):
    study.append(1)
    study.run()
    code, output = Run(study.place, "-p", "run.retrain", "weekly", "--reproduce").end()
    assert code == 0, output
    assert stage_records.shown_notes(study.paths) == {}
