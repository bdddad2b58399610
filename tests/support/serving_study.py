"""A small study to serve, made in a moment: a table, symbols and reports, with no run behind them."""

from __future__ import annotations

import contextlib
import csv
import datetime
import io
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pyarrow as pa

from lib import paths
from lib.evaluation.forecast_file import COLUMNS
from lib.features import recent_days
from lib.files import write_atomically
from lib.models.predictor import to_bytes
from lib.models.table import LookupTable

INFORMATION = {
    "model": "ratio_by_quantile",
    "objective": "absolute",
    "horizon": 0,
    "window": 30,
    "train_first_date": "2000-02-11",
    "train_last_date": "2010-07-02",
    "train_rows": 9607,
    "range": {"vol_moving_avg": [1_000.0, 2e8], "adj_close_rolling_med": [1.0, 600.0]},
    "interval_level": 0.8,
    "metrics": {"mae": 4_811_123.0, "mae_moving_average": 4_968_551.0, "coverage": 0.81},
}


HEADLINE = [
    {"predictor": "moving average", "mae": 4_968_551.0, "relative_mae": 1.0, "median_ape": 0.23, "r2": 0.7},
    {"predictor": "model", "mae": 4_811_123.0, "relative_mae": 0.9683, "median_ape": 0.21, "r2": None},
]


def write_grid(path: Path, share: float = 0.9) -> None:
    """Write a model table whose predictions are about ``share`` of the moving average."""
    volume_edges, price_edges = np.geomspace(2e3, 1.5e8, 40), np.geomspace(2, 500, 30)
    rows, columns = np.meshgrid(np.linspace(0, 1, 41), np.linspace(0, 1, 31), indexing="ij")
    point = share + 0.05 * np.sin(6 * rows) * np.cos(5 * columns)
    table = LookupTable(volume_edges, price_edges, point, 0.6 * point, 1.5 * point, relative=True)
    write_atomically(path, to_bytes(table, INFORMATION))


def write_three_forecasts(path: Path, share: float = 1.0) -> None:
    """Write a study's forecasts: three symbols at three horizons, ``share`` times what they would be."""
    lines = [",".join(COLUMNS)]
    names = [("AAPL", "Apple Inc.", 0.9), ("TRUE", '"TrueCar, Inc."', 1.2), ("ZED", "", 1.0)]
    for index, (symbol, name, ratio) in enumerate(names):
        average = 1_000_000.0 * (index + 1)
        for horizon, until in ((1, "2013-03-04"), (5, "2013-03-08"), (21, "2013-04-02")):
            forecast = round(share * ratio * average)
            line = [symbol, name, "2013-03-01", "2013-03-04", until, horizon, forecast]
            line += [
                forecast - 200_000,
                forecast + 400_000,
                average,
                round(share * ratio, 4),
                str(symbol == "ZED"),
                True,
            ]
            lines.append(",".join(map(str, line)))
    write_atomically(path, "\n".join([*lines, ""]))


def features(names: dict[str, str | None], days: int = 70) -> pa.Table:
    """A features table: the columns that `lib.features.recent_days` reads, for each symbol of ``names``."""
    random = np.random.default_rng(1)
    first = datetime.date(2013, 1, 1)
    parts = []
    for index, (symbol, name) in enumerate(sorted(names.items())):
        volume = random.integers(1_000_000, 3_000_000, days) * (index + 1)
        average = np.convolve(volume, np.ones(30) / 30)[:days]
        valid = np.arange(days) >= 29
        parts.append(
            pa.table(
                {
                    "Symbol": pa.array([symbol] * days),
                    "Security Name": pa.array([name] * days, pa.string()),
                    "Date": pa.array([first + datetime.timedelta(day) for day in range(days)], pa.date32()),
                    "Volume": pa.array(volume),
                    "vol_moving_avg": pa.array(average, mask=~valid),
                    "adj_close_rolling_med": pa.array(np.full(days, 20.5 + index), mask=~valid),
                }
            )
        )
    return pa.concat_tables(parts)


def write_forecasts(
    path: Path,
    names: dict[str, str | None],
    as_of: datetime.date,
    stale: tuple[str, ...] = (),
    unjudged: tuple[str, ...] = (),
) -> None:
    """Write invented forecasts of each symbol of ``names``, at three horizons."""
    random = np.random.default_rng(2)
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for index, (symbol, name) in enumerate(sorted(names.items())):
        average = 2_000_000.0 * (index + 1)
        for horizon in (1, 5, 21):
            forecast = round(average * random.uniform(0.6, 1.5))
            row = (symbol, name, as_of, as_of + datetime.timedelta(1), as_of + datetime.timedelta(horizon), horizon)
            numbers = (forecast, round(0.7 * forecast), round(1.6 * forecast), average, forecast / average)
            writer.writerow([*row, *numbers, str(symbol in stale).lower(), str(symbol not in unjudged).lower()])
    write_atomically(path, text.getvalue())


def make_study(outputs: Path, name: str = "sample") -> paths.StudyPaths:
    """Make the study ``name`` under ``outputs``; STUDY_OUTPUTS must name that folder already."""
    study = paths.StudyPaths(name)
    assert study.folder == outputs.resolve() / name
    write_grid(study.grid)
    table = features({"AAPL": "Apple Inc.", "TRUE": "TrueCar, Inc.", "ZED": None})
    recent_days.write_recent_days([table], study.symbols, INFORMATION["window"])
    for stage in ("01_ingest", "04_evaluate"):
        write_atomically(study.report(stage), f"<!doctype html><html lang=en><title>{stage}</title><h1>{stage}</h1>")
        write_atomically(study.notebook(stage), '{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}')
    write_atomically(study.index, "<!doctype html><html lang=en><title>sample</title><h1>The run</h1>")
    write_atomically(study.metrics, json.dumps({"verdict": "It beats the moving average.", "headline": HEADLINE}))
    write_atomically(study.folder / "secret.txt", "not for visitors")
    return study


def free_port() -> int:
    """A port of 127.0.0.1 on which nothing listens now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextlib.contextmanager
def running(module: str, *arguments: str, port: int, log: Path, **environment: str) -> Iterator[str]:
    """Run ``python -m MODULE --port PORT``; gives its URL once it answers, and ends it afterwards."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments, "--port", str(port)],
            cwd=paths.ROOT,
            # A package `tests` that a wheel installed would hide this folder.
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parent), **environment},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        wait_for(lambda: _answers(url) or process.poll() is not None, 90)
        assert process.poll() is None, log.read_text()
        yield url
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", timeout=5).status_code in (200, 401, 403)
    except httpx.HTTPError:
        return False


def wait_for(condition, seconds: float = 30.0) -> None:
    """Wait until ``condition()`` is true; fails the test when it does not become so."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"did not become true within {seconds} s"
        time.sleep(0.1)
