"""Prices and features of real archives, held to an independent reading by pandas, on every row.

The sample is always read; STUDY_TEST_ARCHIVES names more (folders or zips in Kaggle's layout, separated by ``:``).
"""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.compute as pc
import pytest

from lib import paths
from lib.data import ingest, sources
from lib.features import build

ARCHIVES = ["sample", *filter(None, os.environ.get("STUDY_TEST_ARCHIVES", "").split(":"))]


def contents(location: Path) -> dict[str, bytes]:
    """Every file of a folder or a zip, by its name."""
    if location.is_dir():
        return {path.relative_to(location).as_posix(): path.read_bytes() for path in location.rglob("*.csv")}
    with zipfile.ZipFile(location) as members:
        return {name: members.read(name) for name in members.namelist() if name.endswith(".csv")}


def pandas_reading(raw: dict[str, bytes]) -> pd.DataFrame:
    """The good rows of all price files, as pandas reads them; a row with a null is none."""
    frames = []
    for name, content in raw.items():
        if name.endswith("symbols_valid_meta.csv"):
            continue
        frame = pd.read_csv(io.BytesIO(content), float_precision="round_trip")
        frame.insert(0, "Symbol", name.rpartition("/")[2].removesuffix(".csv"))
        frames.append(frame)
    table = pd.concat(frames).dropna().sort_values(["Symbol", "Date"], kind="stable", ignore_index=True)
    return table.drop_duplicates(["Symbol", "Date"], ignore_index=True)


@pytest.mark.parametrize("source", ARCHIVES, ids=lambda source: Path(source).stem)
def test_every_row_and_both_features_are_as_pandas_has_them(outputs, source):
    study = paths.StudyPaths("real")
    raw = sources.open_archive(source, study)
    made = ingest.ingest(raw, study)
    features = build.build_features(study).read().to_pandas()

    found = contents(raw.location)
    expected = pandas_reading(found)
    assert len(features) == len(expected) == made.prices.rows
    for column in ("Symbol", "Open", "High", "Low", "Close", "Adj Close", "Volume"):
        assert np.array_equal(features[column].to_numpy(), expected[column].to_numpy()), column
    assert (features["Date"].astype(str) == expected["Date"]).all()

    by_symbol = expected.groupby("Symbol", sort=False)
    average = by_symbol["Volume"].rolling(30).mean().to_numpy()
    median = by_symbol["Adj Close"].rolling(30).median().to_numpy()
    assert np.array_equal(features["adj_close_rolling_med"].to_numpy(), median, equal_nan=True)
    # pandas keeps a running float sum: where its sums are not exact, they are off in the last bits.
    np.testing.assert_allclose(features["vol_moving_avg"].to_numpy(), average, rtol=1e-12)
    assert (features["vol_moving_avg"].isna() == (by_symbol.cumcount() < 29)).all()
    exact = by_symbol["Volume"].rolling(30).sum().to_numpy() / 30
    assert np.mean(features["vol_moving_avg"].to_numpy() == exact) + np.isnan(exact).mean() > 0.999

    accounts = made.files.read()
    lines = sum(
        content.count(b"\n") - 1 for name, content in found.items() if not name.endswith("symbols_valid_meta.csv")
    )
    assert pc.sum(accounts["rows_read"]).as_py() == lines
    assert pc.sum(accounts["rows_kept"]).as_py() == len(features)
    assert pc.sum(accounts["rows_quarantined"]).as_py() == made.quarantine.rows == lines - len(features)

    names = pd.read_csv(
        io.BytesIO(next(content for name, content in found.items() if name.endswith("symbols_valid_meta.csv"))),
        keep_default_na=False,
        dtype=str,
    ).set_index("NASDAQ Symbol")["Security Name"]
    security = features["Symbol"].map(names[~names.index.duplicated()])
    assert security.fillna("").eq(features["Security Name"].fillna("")).all()
