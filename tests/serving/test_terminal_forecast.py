"""``python -m lib forecast``: what the terminal says, and what it says where there is no forecast."""

from __future__ import annotations

import csv
import datetime
import json

import pytest
from serving_study import write_forecasts, write_three_forecasts

from lib import __main__ as command_line
from lib import files, paths
from lib.serving.dashboard.forecast import next_session
from lib.serving.symbol_forecasts import load


@pytest.fixture
def study(outputs):
    """A study that has forecasts of AAPL, TRUE and ZED, whose prices end earlier."""
    study = paths.StudyPaths("mine")
    study.folder.mkdir(parents=True)
    write_three_forecasts(study.forecasts_csv)
    return study


def typed(capsys, *words):
    """The exit code, and what went to standard output and to standard error."""
    code = command_line.main(["forecast", "--study", "mine", *words])
    return code, *capsys.readouterr()


def test_every_horizon_of_every_symbol_with_its_exact_number(study, capsys):
    code, output, _ = typed(capsys, "AAPL", "true")
    assert code == 0
    assert [line for line in output.splitlines() if not line.startswith(" ")] == [
        "AAPL, Apple Inc.; prices to Friday 1 March 2013",
        "TRUE, TrueCar, Inc.; prices to Friday 1 March 2013",
    ]
    with study.forecasts_csv.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["Symbol"] != "ZED"]
    assert [line.split()[0] for line in output.splitlines() if line.startswith(" ")] == [
        f"{int(row['forecast']):,}" for row in rows
    ]


def test_symbols_that_differ_in_letter_case_alone_are_told_apart(study, capsys):
    study.forecasts_csv.write_text(study.forecasts_csv.read_text().replace("TRUE,", "aapl,"))
    assert [typed(capsys, given)[1].partition(",")[0] for given in ("AAPL", "aapl")] == ["AAPL", "aapl"]
    assert "the nearest are AAPL, aapl" in typed(capsys, "Aapl")[2]


def test_the_sentence_is_the_dashboard_s(study, capsys):
    one = load(study.forecasts_csv).symbols["AAPL"]
    _, output, _ = typed(capsys, "AAPL", "--horizon", "1")
    sentence = output.splitlines()[1].split(maxsplit=1)[1]
    day, _, rest = sentence.partition(": ")
    assert f"<b>{day}:</b> {rest}</p>" in next_session(one, one.horizons[1])
    assert len(output.splitlines()) == 2


def test_how_good_the_forecasts_were_is_said(study, capsys):
    horizons = {str(horizon): {"verdict": f"Verdict of {horizon}."} for horizon in (1, 5, 21)}
    study.forecast_metrics.write_text(json.dumps({"horizons": horizons}))
    assert typed(capsys, "AAPL", "TRUE", "--horizon", "5")[1].endswith(
        "\nHow good such forecasts were: Verdict of 5.\n"
    )
    output = typed(capsys, "AAPL")[1].splitlines()
    assert output[-3:] == [f"How good such forecasts were: Verdict of {horizon}." for horizon in (1, 5, 21)]


def test_how_often_the_ranges_held_is_said(study, capsys):
    horizons = {"1": {"verdict": "Verdict.", "coverage": 0.934}, "5": {"verdict": "Five.", "coverage": None}}
    study.forecast_metrics.write_text(json.dumps({"horizons": horizons}))
    lines = typed(capsys, "AAPL")[1].splitlines()
    assert lines[-2:] == [
        "How good such forecasts were: Verdict. Its range, which should hold 80% of the time, held 93%.",
        "How good such forecasts were: Five.",
    ]


@pytest.mark.parametrize(("calendar", "said"), [("from_data", True), ("XNYS", False), (3, False)])
def test_days_that_are_of_no_exchange_are_said_so(study, capsys, calendar, said):
    study.forecast_metrics.write_text(json.dumps({"calendar": calendar, "horizons": {}}))
    assert ("so holidays are unknown. To name its exchange: forecast.calendar" in typed(capsys, "AAPL")[1]) is said


def test_without_a_symbol_all_are_printed(study, capsys):
    lines = typed(capsys, "--horizon", "1")[1].splitlines()
    assert [line.partition(",")[0].partition(";")[0] for line in lines if not line.startswith(" ")] == [
        "AAPL",
        "TRUE",
        "ZED",
    ]


def test_a_symbol_whose_prices_end_early_is_said_so(study, capsys):
    assert "earlier than others of this study" in typed(capsys, "ZED")[1]
    assert "earlier than others" not in typed(capsys, "AAPL")[1]


def test_a_symbol_of_a_few_days_says_that_its_forecast_is_untested(study, capsys):
    write_forecasts(study.forecasts_csv, {"NEW": None, "OLD": None}, datetime.date(2013, 3, 1), unjudged=("NEW",))
    assert (
        "  NEW has fewer than 30 days of prices: forecasts from so few have not been tested." in typed(capsys, "NEW")[1]
    )
    assert "fewer than" not in typed(capsys, "OLD")[1]


def test_forecasts_that_are_out_of_date_are_said_so(study, capsys):
    study.stage_records.mkdir()  # with nothing in it: whatever there is was left by a run that did not finish
    code, output, note = typed(capsys, "AAPL")
    assert code == 0 and output and note.startswith("Out of date: its last run did not finish.")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["AAPL", "APPL"], "APPL: study mine has no forecast of this symbol; the nearest are AAPL"),
        (
            ["QQQQQQ"],
            "QQQQQQ: study mine has no forecast of this symbol; it has 3: AAPL, TRUE, ZED. Another study: --study NAME",
        ),
        (["a\x1b[31m"], "a\\x1b[31m: study mine has no forecast"),
        (["AAPL", "--horizon", "7"], "--horizon is 7; study mine has forecasts for 1, 5, 21"),
    ],
)
def test_what_is_not_there_is_named_and_nothing_else_printed(study, capsys, words, reason):
    code, output, errors = typed(capsys, *words)
    assert (code, output) == (2, "")
    assert errors.startswith(f"error: {reason}")


def test_a_study_that_is_none_names_the_nearest(study, tmp_path, capsys, monkeypatch):
    files.write_atomically(tmp_path / "params" / "kaggle.yaml", "")
    monkeypatch.setattr(paths, "PARAMS", tmp_path / "params")
    for given, hint in [("mien", "did you mean 'mine'?"), ("zzz", "the studies are kaggle, mine")]:
        code, output, errors = typed(capsys, "AAPL", "--study", given)
        assert (code, output, errors) == (2, "", f"error: there is no study {given!r}; {hint}\n")


def test_a_study_without_forecasts_names_the_command(outputs, capsys):
    (outputs / "mine").mkdir(parents=True)
    code, _, errors = typed(capsys, "AAPL")
    assert code == 2
    assert errors == "error: study mine has no forecasts yet; make them first: bash run_all.sh mine\n"


def test_a_damaged_file_is_named_with_what_is_wrong(study, capsys):
    study.forecasts_csv.write_text("no table\n")
    assert typed(capsys, "AAPL")[2].startswith("error: forecasts.csv: line 1: ")
