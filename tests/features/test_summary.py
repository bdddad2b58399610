"""What is kept of features is what pandas finds in them, part by part, and what has not changed is not made again."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from raw_archives import write_archive

from lib import paths
from lib.compute.engine import Engine
from lib.data import archive, ingest
from lib.features import counts, summary, windows
from lib.features.build import FeaturesPart, build_features
from lib.storage import dataset

STUDY = paths.StudyPaths("s")
FILES = {f"stocks/{symbol}.csv": 25 + 60 * number for number, symbol in enumerate(("AA", "BB", "CC", "DD", "EE"))}


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Let a small archive make several parts, and few rows be recent."""
    monkeypatch.setattr(dataset, "cut", partial(dataset.cut, most=2))
    monkeypatch.setattr(summary, "RECENT_ROWS", 100)


def features(location, window=30, min_periods=None):
    ingest.ingest(archive.list_archive(location), STUDY, 0.5, Engine(workers=1))
    made = build_features(STUDY, window, min_periods, Engine(workers=1))
    assert len(made.parts) > 1
    return made.read().to_pandas()


@pytest.mark.parametrize(("window", "min_periods"), [(30, None), (20, 1), (20, 7)])
def test_it_holds_what_pandas_finds(outputs, make_archive, window, min_periods):
    rows = features(make_archive(FILES), window, min_periods)
    made = summary.read_summary(STUDY)
    recent = rows.groupby("Symbol", sort=False).tail(100).reset_index(drop=True)
    assert made.recent.read().to_pandas().equals(recent)
    both = rows.dropna()
    assert (made.rows, made.null_where_expected) == (len(both), True)
    np.testing.assert_array_equal(made.ratios, counts.count_ratios(rows["Volume"], rows["vol_moving_avg"]))
    pairs = counts.count_feature_pairs(rows["vol_moving_avg"], rows["adj_close_rolling_med"])
    np.testing.assert_array_equal(made.pairs, pairs)


def test_nulls_elsewhere_than_in_the_first_rows_are_found(outputs, make_archive, monkeypatch):
    rolling = windows.rolling_features
    monkeypatch.setattr(windows, "rolling_features", lambda table, window, needed: rolling(table, window, needed - 1))
    features(make_archive(FILES))
    assert not summary.read_summary(STUDY).null_where_expected


def test_only_a_part_that_has_changed_is_made_again(outputs, tmp_path, monkeypatch):
    features(write_archive(tmp_path / "one", FILES))
    first = summary.read_summary(STUDY)
    made = []
    tables = FeaturesPart.tables
    monkeypatch.setattr(FeaturesPart, "tables", lambda work, shared: made.append(work.part) or tables(work))
    features(write_archive(tmp_path / "other", {**FILES, "stocks/EE.csv": 9}))
    second = summary.read_summary(STUDY)
    assert len(made) == 1
    assert first.rows - second.rows == 60 * 4 + 25 - 29  # EE's nine rows have no whole window
    whole = dataset.open_dataset(STUDY.recent).read()
    assert whole.num_rows == second.recent.rows


def test_what_is_kept_beside_the_features_is_made_where_it_lacks(outputs, make_archive):
    ingest.ingest(archive.list_archive(make_archive(FILES)), STUDY, 0.5, Engine(workers=1))
    alone = build_features(STUDY, engine=Engine(workers=1), summarised=False)
    with pytest.raises(dataset.DatasetError, match="feature_counts: no dataset here"):
        summary.read_summary(STUDY)
    made = build_features(STUDY, engine=Engine(workers=1))
    assert made.digest == alone.digest
    assert summary.read_summary(STUDY).rows == made.rows - 29 * len(FILES) + 4  # AA has 25 rows
