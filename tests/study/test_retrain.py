"""run.retrain: newer prices alone train and evaluate anew once a week or a month; whatever else changes does at once."""

from __future__ import annotations

import datetime
import json
import re

import pytest
from short_study import Place, Run

from lib import files, paths, stage_records
from lib.stages import STAGES

pytestmark = pytest.mark.timeout(300)
TRAINED = ("03_train", "04_evaluate")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished study, and its archive's last date; the study is not to be changed."""
    place = Place(tmp_path_factory.mktemp("finished")).make()
    assert Run(place).end()[0] == 0
    rows = (place.base / "archive/stocks/CC.csv").read_text(encoding="utf-8").splitlines()
    return place, datetime.date.fromisoformat(rows[-1].partition(",")[0])


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
        code, told = Run(self.place, "-p", "run.retrain", retrain, *words).end()
        assert code == 0, told
        return {stage["name"]: stage["status"] for stage in self.record()["stages"]}, told

    def record(self):
        return json.loads(self.paths.run_record.read_text(encoding="utf-8"))


@pytest.fixture
def study(finished, tmp_path, monkeypatch):
    return Study(finished, tmp_path, monkeypatch)


def test_a_new_day_runs_what_it_changes_and_says_what_day_the_model_is_from(study):
    model = study.paths.grid.read_bytes()
    study.append(1)
    statuses, told = study.run("--explain")
    assert statuses == {name: "kept" if name in TRAINED else "run" for name in STAGES}
    note = f"Made from days to {study.last}, as run.retrain: weekly asks; newer ones are beside it."
    assert f"it runs again once there are prices of {study.last + datetime.timedelta(7)}" in told
    assert "01_ingest: 1 of 3 raw files changed: stocks/CC.csv, 1 row more" in told.replace("[1/5] ", "")
    assert study.paths.grid.read_bytes() == model
    assert study.record()["kept"] == dict.fromkeys(TRAINED, note) and "out_of_date" not in study.record()
    assert stage_records.notes(study.paths) == {}
    assert stage_records.shown_notes(study.paths) == dict.fromkeys(TRAINED, note)
    for stage in STAGES:
        shown = re.findall(
            r'<p class="kept" role="note">([^<]+)', study.paths.report(stage).read_text(encoding="utf-8")
        )
        assert shown == ([note] if stage in TRAINED else [])
    assert note in study.paths.index.read_text(encoding="utf-8")
    # Once more, with nothing new: nothing runs, and the same is said.
    assert set(study.run()[0].values()) == {"kept", "unchanged"}
    # The day taken out again: the model is of these prices, and nothing is said.
    path = study.place.base / "archive/stocks/CC.csv"
    path.write_text("".join(path.read_text(encoding="utf-8").splitlines(keepends=True)[:-1]), encoding="utf-8")
    assert study.run()[0] == {name: "unchanged" if name in TRAINED else "run" for name in STAGES}
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
        (["-p", "train.seed", "7"], "monthly", [*TRAINED]),
        (["-p", "evaluate.seeds", "7"], "monthly", ["04_evaluate"]),
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
    statuses, told = study.run(*words, retrain=retrain)
    assert [name for name in TRAINED if statuses[name] == "run"] == runs, told
    assert statuses["05_forecast"] == "run"


def test_a_damaged_model_is_made_again(study):
    study.append(1)
    study.paths.grid.write_bytes(b"damaged")
    assert study.run()[0]["03_train"] == "run"


def test_reproduce_trains_anew_so_that_the_two_runs_are_of_the_same_days(study):
    study.append(1)
    study.run()
    code, told = Run(study.place, "-p", "run.retrain", "weekly", "--reproduce").end()
    assert code == 0, told
    assert stage_records.shown_notes(study.paths) == {}
