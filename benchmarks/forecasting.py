"""The next day's volume: our forecaster beside what one would pick instead, on the same rows.

``python -m benchmarks.forecasting [STUDY] --to FILE``. Needs a study with features. Each contestant, in a process of its own, is fitted once on what came before the
last year, and forecasts each day of that year from the days before it: ours; mlforecast with LightGBM on lags, rolling means and date features;
statsforecast's AutoETS and seasonal naive, on fewer symbols, since they fit one model a symbol. All of them work on log volumes.
"""

from __future__ import annotations

import functools
import multiprocessing
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console

from benchmarks.harness import command_line, keep, machine, markdown, print_table
from lib.evaluation import chunks
from lib.features import definitions, evening
from lib.features.sessions import calendar_for
from lib.models.boosting import Boosting
from lib.models.examples import log_ratio
from lib.paths import StudyPaths
from lib.storage.dataset import open_dataset

HEADER = ("forecast of the next day", "rows", "error / the average's", "ours on these rows", "s", "MB")
OURS = "ours"
DAYS = 252  # of the test, the last ones of the archive
TRAINING_ROWS = 200_000
Frame = pd.DataFrame  # of Symbol, Date and forecast


def read_rows(study: str, symbols: int) -> pd.DataFrame:
    """The rows of the symbols that trade to the archive's end, ``symbols`` of them, spread evenly over their names."""
    columns = ["Symbol", "Date", *definitions.COLUMNS]
    rows = open_dataset(StudyPaths(study).features).read(columns).to_pandas()
    rows["Date"] = pd.to_datetime(rows["Date"])
    spans = rows.groupby("Symbol")["Date"].agg(["size", "max"])
    lasting = spans[(spans["max"] == spans["max"].max()) & (spans["size"] >= 2 * DAYS)].index
    chosen = lasting[np.unique(np.linspace(0, len(lasting) - 1, min(symbols, len(lasting))).astype(int))]
    return rows[rows["Symbol"].isin(chosen)].reset_index(drop=True)


def first_test_day(rows: pd.DataFrame) -> pd.Timestamp:
    """The first day of the test."""
    return pd.Timestamp(np.unique(rows["Date"])[-DAYS])


def ours(rows: pd.DataFrame) -> Frame:
    """Our forecaster: the features of the evening, one fit on rows drawn by hash."""
    start = first_test_day(rows)
    names, first = np.unique(rows["Symbol"].to_numpy(dtype=str), return_index=True)
    days = rows["Date"].to_numpy().astype("datetime64[D]").astype(np.int32)
    calendar = calendar_for("XNYS", np.unique(days))
    evenings = evening.evenings({name: rows[name].to_numpy() for name in definitions.COLUMNS}, first, days, calendar)
    volume = rows["Volume"].to_numpy(dtype=float)
    target = np.flatnonzero(evenings.position >= definitions.AVERAGE_ROWS)  # rows to forecast, each from the row before
    past = target[rows["Date"].to_numpy()[target] < start.to_datetime64()]
    tickets = chunks.tickets(names.tolist(), first, days)
    drawn = past[tickets[past] < TRAINING_ROWS / max(len(past), 1)] - 1
    ratio = log_ratio(volume[drawn + 1], evenings.average[drawn])
    model = Boosting.fit(np.ascontiguousarray(evenings.known[:, drawn].T), evenings.average[drawn], ratio)
    tested = np.setdiff1d(target, past)
    known = np.ascontiguousarray(evenings.known[:, tested - 1].T)
    found = rows.loc[tested, ["Symbol", "Date"]].reset_index(drop=True)
    return found.assign(forecast=evenings.average[tested - 1] * np.exp(model.predict(known)))


def mlforecast_lightgbm(rows: pd.DataFrame) -> Frame:
    """Mlforecast's lags, rolling means and date features; LightGBM's absolute error."""
    from lightgbm import LGBMRegressor
    from mlforecast import MLForecast
    from mlforecast.lag_transforms import ExponentiallyWeightedMean, RollingMean, RollingStd

    frame = _long(rows)
    windows = [*(RollingMean(w, min_samples=1) for w in definitions.MEANS), RollingStd(21, min_samples=2)]
    maker = MLForecast(
        models=[],
        freq="B",
        lags=list(definitions.LAGS),
        lag_transforms={1: [*windows, ExponentiallyWeightedMean(alpha=0.3), ExponentiallyWeightedMean(alpha=0.1)]},
        date_features=["dayofweek", "month", "day"],
        num_threads=1,
    )
    features = maker.preprocess(frame, static_features=[], dropna=False, validate_data=False)  # holidays are no gaps
    inputs = [name for name in features.columns if name not in ("unique_id", "ds", "y")]
    start = first_test_day(rows)
    past, test = features[features["ds"] < start].dropna(subset=["lag21"]), features[features["ds"] >= start]
    past = past.sample(min(len(past), TRAINING_ROWS), random_state=0)
    model = LGBMRegressor(
        objective="l1", n_estimators=150, num_leaves=31, min_child_samples=40, n_jobs=1, verbose=-1, random_state=0
    )
    model.fit(past[inputs], past["y"])
    return _wide(test, np.expm1(model.predict(test[inputs])))


def statsforecast(rows: pd.DataFrame, name: str, refit: bool) -> Frame:
    """One of statsforecast's models with a week's season; without ``refit`` its parameters are chosen once a symbol."""
    from statsforecast import StatsForecast, models

    frame = _long(rows)
    dates = frame["ds"].copy()
    frame["ds"] = frame.groupby("unique_id").cumcount()  # sessions: the calendar's gaps are none of its business
    windows = int((rows["Date"] >= first_test_day(rows)).groupby(rows["Symbol"]).sum().min())
    model = getattr(models, name)(season_length=5)
    forecasts = StatsForecast(models=[model], freq=1, n_jobs=1).cross_validation(
        df=frame, h=1, step_size=1, n_windows=windows, refit=refit
    )
    forecasts = forecasts.merge(frame.assign(date=dates)[["unique_id", "ds", "date"]], on=["unique_id", "ds"])
    return _wide(forecasts.assign(ds=forecasts["date"]), np.expm1(forecasts[name].to_numpy()))


def _long(rows: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        {"unique_id": rows["Symbol"].astype(str), "ds": rows["Date"], "y": np.log1p(rows["Volume"].astype(float))}
    )


def _wide(forecasts: pd.DataFrame, forecast: Any) -> Frame:
    named = forecasts[["unique_id", "ds"]].set_axis(["Symbol", "Date"], axis=1)
    return named.assign(forecast=np.asarray(forecast))


CONTESTANTS: Mapping[str, tuple[Callable[[pd.DataFrame], Frame], bool]] = {  # and whether on fewer symbols
    OURS: (ours, False),
    "mlforecast, LightGBM": (mlforecast_lightgbm, False),
    "statsforecast, AutoETS": (functools.partial(statsforecast, name="AutoETS", refit=False), True),
    "statsforecast, seasonal naive": (functools.partial(statsforecast, name="SeasonalNaive", refit=True), True),
}


def run(study: str, symbols: int, fewer: int) -> dict[str, Any]:
    """Run every contestant, and judge each beside ours on the rows that both forecast."""
    rows = read_rows(study, symbols)
    some = rows[rows["Symbol"].isin(np.unique(rows["Symbol"])[:: max(1, rows["Symbol"].nunique() // fewer)])]
    some = some.reset_index(drop=True)
    measured = {}
    for name, (_, few) in CONTESTANTS.items():
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            measured[name] = pool.apply(_measured, (name, some if few else rows))
    average = rows.groupby("Symbol")["Volume"].transform(lambda volume: volume.rolling(30).mean().shift())
    truth = rows.assign(average=average)[["Symbol", "Date", "Volume", "average"]].dropna()
    lines = {}
    for name, (forecast, seconds, peak) in measured.items():
        both = truth.merge(forecast, on=["Symbol", "Date"]).merge(
            measured[OURS][0].rename(columns={"forecast": "own"}), on=["Symbol", "Date"]
        )
        errors = {
            column: float((both[column] - both["Volume"]).abs().sum()) for column in ("forecast", "own", "average")
        }
        lines[name] = {
            "rows": len(both),
            "relative_mae": errors["forecast"] / errors["average"],
            "ours": errors["own"] / errors["average"],
            "seconds": seconds,
            "peak_bytes": peak,
        }
    return {"machine": machine(), "symbols": int(rows["Symbol"].nunique()), "contestants": lines}


def _measured(name: str, rows: pd.DataFrame) -> tuple[Frame, float, int]:
    begin = time.perf_counter()
    forecast = CONTESTANTS[name][0](rows)
    return forecast, time.perf_counter() - begin, _peak_memory()


def _peak_memory() -> int:
    """Bytes that this process has held at most; getrusage would count what its parent held when it was started."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])


def table(found: Mapping[str, Any]) -> list[list[str]]:
    """What was measured as rows of text, a header first.

    Examples
    --------
    >>> line = {"rows": 10, "relative_mae": 0.9, "ours": 0.8, "seconds": 2.0, "peak_bytes": 5e8}
    >>> table({"contestants": {"other": line}})[-1]
    ['other', '10', '0.900', '0.800', '2.0', '500']
    """
    lines = [list(HEADER)]
    for name, line in found["contestants"].items():
        errors = (f"{line[which]:.3f}" for which in ("relative_mae", "ours"))
        lines.append([name, f"{line['rows']:,}", *errors, f"{line['seconds']:.1f}", f"{line['peak_bytes'] / 1e6:.0f}"])
    return lines


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = command_line("forecasting", __doc__)
    parser.add_argument("study", nargs="?", default="sample", help="a study that has been run (default: %(default)s)")
    parser.add_argument("--symbols", type=int, default=300, help="symbols, at most (default: %(default)s)")
    parser.add_argument("--fewer", type=int, default=100, help="symbols of statsforecast (default: %(default)s)")
    options = parser.parse_args(arguments)
    found = run(options.study, options.symbols, options.fewer)
    print_table(Console(), "the next day's volume", table(found))
    keep(options.to, f"{markdown(table(found))}\n", found)


if __name__ == "__main__":
    main()
