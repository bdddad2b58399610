"""Walking forward uses nothing of what comes after, is the same however it is computed, and counts every row."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from raw_archives import HEADER, write_archive

from lib import paths
from lib.compute.engine import Engine
from lib.data.ingest import ingest
from lib.data.sources import open_archive
from lib.evaluation import chunks, draw, fits, latest, walk_forward
from lib.evaluation.plan import Settings, refit_dates
from lib.evaluation.walk_forward import Forecasts, make_forecasts
from lib.features.build import build_features
from lib.features.sessions import calendar_for
from lib.features.summary import RECENT_ROWS
from lib.models import forecaster
from lib.serving.endpoint.answers import read_rows
from lib.serving.endpoint.openapi import OF_ROWS
from lib.serving.endpoint.own_rows import OwnRows
from lib.storage import dataset

pytestmark = pytest.mark.xdist_group("walk forward")  # one study for all
SESSIONS = calendar_for("XNYS", np.array([13_151, 14_501], dtype=np.int32)).sessions.astype("datetime64[D]")
SETTINGS = Settings(horizons=(1, 5), training_rows=2000)
SYMBOLS = {"AA": 700, "BB": 620, "CC": 100, "DD": 31, "EE": 3}


def prices(symbol: str, rows: int) -> pd.DataFrame:
    """Rows of a symbol up to the same last day; a busy day is followed by busy ones, and Fridays are quiet."""
    chance = np.random.default_rng(sum(map(ord, symbol)))
    dates = SESSIONS[800 - rows : 800]
    level = np.zeros(rows)
    for row in range(1, rows):
        level[row] = 0.6 * level[row - 1] + chance.normal(0, 0.4)
    quiet = 0.5 * ((dates.astype("int64") + 3) % 7 == 4)
    close = 30 * np.exp(np.cumsum(chance.normal(0, 0.01, rows)))
    volume = (2e5 * np.exp(level - quiet)).astype(int)
    columns = {"Date": dates, "Open": close, "High": close * 1.01, "Low": close * 0.98, "Close": close}
    return pd.DataFrame({**columns, "Adj Close": close, "Volume": volume})


def make_study(
    folder: Path, name: str, tables: Mapping[str, pd.DataFrame], monkeypatch: pytest.MonkeyPatch
) -> paths.StudyPaths:
    """A study with features, from prices by symbol."""
    monkeypatch.setenv("STUDY_OUTPUTS", str(folder / name))
    files = {f"stocks/{symbol}.csv": rows.to_csv(index=False, lineterminator="\n") for symbol, rows in tables.items()}
    assert all(text.startswith(HEADER) for text in files.values())
    study = paths.StudyPaths("made")
    ingest(open_archive(str(write_archive(folder / f"{name}-archive", files)), study), study, engine=Engine(workers=1))
    build_features(study, engine=Engine(workers=1))
    return study


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A study walked forward by one process: its paths and what was made."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        tables = {symbol: prices(symbol, rows) for symbol, rows in SYMBOLS.items()}
        study = make_study(tmp_path_factory.mktemp("walk"), "whole", tables, monkeypatch)
        made = make_forecasts(study, SETTINGS, engine=Engine(workers=1))
        saved = {"csv": study.forecasts_csv.read_bytes(), "skops": study.forecaster.read_bytes()}
        served = forecaster.read_served(study.forecaster)
        yield study, made, saved, served


def walked(made: Forecasts) -> pd.DataFrame:
    return made.walk_forward.read().to_pandas()


def test_every_row_of_the_test_is_judged_from_each_symbol_s_30th_day_on(whole: Any) -> None:
    _, made, _, _ = whole
    start = np.datetime64(int(made.plan.start), "D")
    dates = np.unique(np.concatenate([SESSIONS[800 - rows : 800] for rows in SYMBOLS.values()]))
    assert (dates >= start).mean() >= 0.2 and len(made.plan.cuts) >= 2 + 1 + SETTINGS.refits
    expected = [
        (symbol, day) for symbol, rows in SYMBOLS.items() for day in SESSIONS[800 - rows : 800][30:] if day >= start
    ]
    found = walked(made)
    assert (
        list(zip(found["Symbol"], pd.to_datetime(found["Date"]).to_numpy().astype("datetime64[D]"), strict=True))
        == expected
    )
    assert ((found["low"] >= 0) & (found["low"] <= found["forecast"]) & (found["forecast"] <= found["high"])).all()
    measured = walk_forward.metrics(made)["horizons"]
    assert measured["1"]["rows"] == len(found) and 0 < measured["5"]["rows"] < len(found) / 2
    volume = pd.concat([prices(symbol, rows).assign(Symbol=symbol) for symbol, rows in SYMBOLS.items()])
    volume["Date"] = volume["Date"].astype("datetime64[ns]")
    joined = found.assign(Date=pd.to_datetime(found["Date"])).merge(volume, on=["Symbol", "Date"])
    assert measured["1"]["mae"] == pytest.approx((joined["forecast"] - joined["Volume"]).abs().mean())
    inside = (joined["low"] <= joined["Volume"]) & (joined["Volume"] <= joined["high"])
    assert measured["1"]["coverage"] == pytest.approx(inside.mean())


def test_it_finds_what_there_is_to_find(whole: Any) -> None:
    _, made, _, _ = whole
    one = walk_forward.metrics(made)["horizons"]["1"]
    assert one["relative_mae"] < 0.85 and one["baselines"]["last value"]["relative_mae"] > one["relative_mae"]
    assert 0.65 < one["coverage"] < 0.92
    assert "times the 30-day average's" in one["verdict"] and "beat" in one["verdict"]


def test_one_row_a_symbol_and_horizon(whole: Any) -> None:
    _, made, saved, _ = whole
    table = made.forecasts.read().to_pandas()
    assert list(zip(table["Symbol"], table["horizon"], strict=True)) == [(s, h) for s in SYMBOLS for h in (1, 5)]
    assert set(table["as_of"].astype(str)) == {str(SESSIONS[799])}
    assert set(table["for_from"].astype(str)) == {str(SESSIONS[800])}
    assert set(table["for_to"][table["horizon"] == 5].astype(str)) == {str(SESSIONS[804])}
    assert (table["judged"] == (table["Symbol"] != "EE")).all()  # of three days
    assert not table["stale"].any() and (table["Security Name"] == table["Symbol"] + " Inc.").all()
    lines = list(csv.DictReader(saved["csv"].decode().splitlines()))
    assert [int(line["forecast"]) for line in lines] == table["forecast"].tolist()
    assert lines[0].keys() == dict.fromkeys(latest.SCHEMA.names).keys()
    volumes = prices(lines[-1]["Symbol"], 3)["Volume"]  # the average of as many rows as there are
    assert float(lines[-1]["vol_moving_avg"]) == volumes.mean()
    assert float(lines[-1]["ratio"]) == round(int(lines[-1]["forecast"]) / volumes.mean(), 4)


def test_a_symbol_s_own_rows_give_the_forecast_of_the_study(whole: Any) -> None:
    _, made, _, served = whole
    table = made.forecasts.read().to_pandas()
    for symbol, rows in SYMBOLS.items():
        recent = prices(symbol, rows).tail(400)
        columns = {name: recent[name].to_numpy() for name in ("Date", "Open", "High", "Low", "Close", "Volume")}
        answers = forecaster.forecast_rows(served, columns)
        own = table[table["Symbol"] == symbol]
        for name in ("horizon", "forecast", "low", "high"):
            assert [answer[name] for answer in answers] == own[name].tolist()
        for name in ("as_of", "for_from", "for_to"):
            assert [answer[name] for answer in answers] == own[name].astype(str).tolist()


def test_saved_models_forecast_newer_days_as_they_forecast_a_symbol_s_own_rows(
    whole: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, made, saved, served = whole
    again = make_study(
        tmp_path, "again", {symbol: prices(symbol, rows) for symbol, rows in SYMBOLS.items()}, monkeypatch
    )
    again.forecaster.write_bytes(saved["skops"])
    # Of the same days: the same forecasts, though only the last rows of the longer symbols are read.
    assert SYMBOLS["BB"] > RECENT_ROWS
    assert latest.forecast_again(again).read() == made.forecasts.read()
    assert again.forecasts_csv.read_bytes() == saved["csv"]
    tables = {symbol: prices(symbol, rows) for symbol, rows in SYMBOLS.items()}
    for symbol in ("AA", "CC"):
        last = tables[symbol].tail(1).assign(Date=SESSIONS[800], Volume=[123_456])
        tables[symbol] = pd.concat([tables[symbol], last])
    newer = make_study(tmp_path, "newer", tables, monkeypatch)
    newer.forecaster.write_bytes(saved["skops"])
    table = latest.forecast_again(newer).read().to_pandas()
    assert dict(zip(table["Symbol"], table["stale"], strict=True)) == {s: s not in ("AA", "CC") for s in SYMBOLS}
    assert dict(zip(table["Symbol"], table["judged"], strict=True)) == {s: s != "EE" for s in SYMBOLS}
    for symbol in SYMBOLS:
        recent = tables[symbol].tail(400)
        columns = {name: recent[name].to_numpy() for name in ("Date", "Open", "High", "Low", "Close", "Volume")}
        own = table[table["Symbol"] == symbol]
        answers = forecaster.forecast_rows(served, columns)
        for name in ("as_of", "for_from", "for_to", "horizon", "forecast", "low", "high"):
            assert [str(answer[name]) for answer in answers] == own[name].astype(str).tolist()
    assert newer.forecaster.read_bytes() == saved["skops"] and not newer.walk_forward.exists()


def test_the_endpoint_answers_posted_rows_with_the_forecast_of_the_study(whole: Any) -> None:
    study, made, _, _ = whole
    table = made.forecasts.read().to_pandas()
    forecast = OwnRows(study.name)
    for symbol in ("AA", "CC"):
        recent = prices(symbol, SYMBOLS[symbol]).tail(400)
        body = recent.assign(Date=recent["Date"].astype(str)).to_json(orient="records", double_precision=15).encode()
        answers = forecast(read_rows(body))
        own = table[table["Symbol"] == symbol]
        for name in ("as_of", "for_from", "for_to", "horizon", "forecast", "low", "high"):
            assert [str(answer[name]) for answer in answers] == own[name].astype(str).tolist()
        assert list(answers[0]) == list(OF_ROWS)


def test_the_same_bytes_with_two_workers(whole: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, made, saved, _ = whole
    study = make_study(tmp_path, "two", {s: prices(s, rows) for s, rows in SYMBOLS.items()}, monkeypatch)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.setattr(fits, "WORKERS_ROWS", 0)  # as of many rows
    other = make_forecasts(study, SETTINGS, engine=Engine(workers=2))
    assert [part.file for part in other.walk_forward.parts] == [part.file for part in made.walk_forward.parts]
    assert (other.walk_forward.digest, other.forecasts.digest) == (made.walk_forward.digest, made.forecasts.digest)
    assert saved == {"csv": study.forecasts_csv.read_bytes(), "skops": study.forecaster.read_bytes()}
    pd.testing.assert_frame_equal(other.sums, made.sums, check_exact=True)


def test_a_day_more_of_one_symbol_fits_and_judges_what_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset.cut, "__defaults__", (2,))
    tables = {symbol: prices(symbol, rows) for symbol, rows in SYMBOLS.items()}
    study = make_study(tmp_path, "grown", tables, monkeypatch)
    first = make_forecasts(study, SETTINGS, engine=Engine(workers=1))
    last = tables["BB"].tail(1).assign(Date=SESSIONS[800])
    tables["BB"] = pd.concat([tables["BB"], last])
    make_study(tmp_path, "grown", tables, monkeypatch)
    cuts, drawn = [], []
    fit, draw_part = fits.fit, draw.draw
    monkeypatch.setattr(draw, "draw", lambda part, plan: drawn.append(part) or draw_part(part, plan))
    monkeypatch.setattr(fits, "fit", lambda task, drawn: cuts.append(task.cut) or fit(task, drawn))
    grown = make_forecasts(study, SETTINGS, engine=Engine(workers=1))
    np.testing.assert_array_equal(first.plan.cuts[:-1], grown.plan.cuts[:-1])
    assert set(cuts) == {grown.plan.cuts[-1]}  # the models for the forecasts; those that judge are as they were
    before, after = ({part.file for part in made.walk_forward.parts} for made in (first, grown))
    assert len(before) > 2 and len(after - before) == len(drawn) == 1
    cuts.clear()
    make_forecasts(study, SETTINGS, engine=Engine(workers=1))
    assert not cuts and len(drawn) == 1
    saved = {"csv": study.forecasts_csv.read_bytes(), "skops": study.forecaster.read_bytes()}
    fresh = make_study(tmp_path, "fresh", tables, monkeypatch)
    other = make_forecasts(fresh, SETTINGS, engine=Engine(workers=1))
    assert (other.walk_forward.digest, other.forecasts.digest) == (grown.walk_forward.digest, grown.forecasts.digest)
    assert saved == {"csv": fresh.forecasts_csv.read_bytes(), "skops": fresh.forecaster.read_bytes()}
    pd.testing.assert_frame_equal(other.sums, grown.sums, check_exact=True)


def test_a_damaged_fit_is_made_anew(whole: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    study, made, saved, _ = whole
    fitted = {path: path.read_bytes() for path in study.kept.glob("fits/*")}
    assert len(fitted) == len(made.plan.cuts) * len(SETTINGS.horizons)
    damaged, content = next(iter(fitted.items()))
    damaged.write_bytes(content[:100])
    (study.kept / "fits" / "stranger.txt").write_text("of another version")
    again = make_forecasts(study, SETTINGS, engine=Engine(workers=1))
    assert {path: path.read_bytes() for path in study.kept.glob("fits/*")} == fitted
    assert again.walk_forward.parts == made.walk_forward.parts and study.forecaster.read_bytes() == saved["skops"]


def test_what_comes_later_changes_no_earlier_forecast(
    whole: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last day dropped, and the volumes of the fortnight before it changed: all forecasts up to then stay, to the share."""
    _, made, _, _ = whole
    tables = {symbol: prices(symbol, rows).iloc[:-1] for symbol, rows in SYMBOLS.items()}
    changed = SESSIONS[790]
    for rows in tables.values():
        rows.loc[rows["Date"] >= changed, "Volume"] *= 50
    study = make_study(tmp_path, "changed", tables, monkeypatch)
    other = make_forecasts(study, SETTINGS, engine=Engine(workers=1))
    before, after = (
        rows[pd.to_datetime(rows["Date"]) <= pd.Timestamp(changed)].reset_index(drop=True)
        for rows in (walked(made), walked(other))
    )
    pd.testing.assert_frame_equal(before, after)
    assert len(before) > 300
    assert (
        not walked(made).tail(400)["forecast"].equals(walked(other).tail(400)["forecast"])
    )  # the change is felt after it


@pytest.mark.parametrize("rows", [1, 29, 31, 45])
def test_an_archive_too_short_to_learn_from_forecasts_its_average(
    rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = prices("AA", rows)
    study = make_study(tmp_path, "short", {"AA": table}, monkeypatch)
    made = make_forecasts(study, SETTINGS, engine=Engine(workers=1))
    average = table["Volume"].tail(30).mean()
    assert made.forecasts.read(["forecast"]).to_pydict()["forecast"][0] == pytest.approx(average, rel=0.5)
    measured = walk_forward.metrics(made)["horizons"]
    assert measured["1"]["rows"] == made.walk_forward.rows
    judged = made.forecasts.read(["horizon", "judged"]).to_pandas().set_index("horizon")["judged"]
    assert judged.to_dict() == {days: rows >= 30 and measured[str(days)]["rows"] > 0 for days in (1, 5)}
    assert rows > 31 or not judged[5]


def test_a_linear_model_needs_no_boosting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = make_study(tmp_path, "linear", {"AA": prices("AA", 500)}, monkeypatch)
    made = make_forecasts(study, Settings((1,), "linear", 2000), engine=Engine(workers=1))
    lines = walk_forward.metrics(made)["horizons"]["1"]
    assert lines["mae"] == lines["baselines"]["linear"]["mae"]
    assert "does not beat the linear model" in lines["verdict"]


def test_refit_dates_stay_when_the_archive_grows_by_a_day() -> None:
    for length in (40, 90, 400, 2500, 9000):
        dates = SESSIONS[0].astype("int64").astype(np.int32) + np.arange(length, dtype=np.int32)
        moved = 0
        for end in range(length - 20, length):
            shorter, longer = refit_dates(dates[:end], 4), refit_dates(dates[: end + 1], 4)
            assert (len(dates[: end + 1]) - np.searchsorted(dates, longer[0])) >= 0.2 * (end + 1) - 1
            moved += not np.isin(shorter[1:], longer).all()
        assert moved <= 2


def test_a_refit_without_new_dates_is_none() -> None:
    # Two years of days, nothing for eight thousand years, and one day that is surely mistaken.
    dates = np.append(SESSIONS[0].astype("int64") + np.arange(730), 2_932_896).astype(np.int32)
    refits = refit_dates(dates, 4)
    assert (np.diff(np.searchsorted(dates, refits)) > 0).all()
    assert 5 <= len(refits) <= 30
    # The days between are the ones that they are without the mistaken day.
    assert refits[-1] - refits[0] < 400


def test_draws_depend_on_symbol_and_date_alone() -> None:
    days = np.arange(10_000, 10_400, dtype=np.int32)
    both = chunks.tickets(["AA", "BB"], np.array([0, 400]), np.tile(days, 2))
    np.testing.assert_array_equal(both[450:], chunks.tickets(["BB"], np.array([0]), days[50:]))
    assert abs(both.mean() - 0.5) < 0.05 and abs(np.corrcoef(both[:400], both[400:])[0, 1]) < 0.15


def test_features_that_changed_since_stop_the_stage(
    whole: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make_study(tmp_path, "damaged", {"AA": prices("AA", 40)}, monkeypatch)
    part = dataset.open_dataset(study.features).paths[0]
    part.write_bytes(part.read_bytes()[:-1] + b"?")
    with pytest.raises(dataset.DatasetError, match="not those that were written"):
        make_forecasts(study, SETTINGS, engine=Engine(workers=1))
