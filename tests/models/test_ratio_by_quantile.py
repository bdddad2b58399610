"""The default model, against its definition written out with pandas."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from model_rows import study_rows

from lib.models.ratio_by_quantile import RatioByQuantile


def test_a_multiple_is_the_weighted_median_ratio_of_its_group() -> None:
    X, y, _ = study_rows(4001)
    fitted = RatioByQuantile(groups=5).fit(X, y)
    group_of_row = sum(X[:, 0] >= np.quantile(X[:, 0], share) for share in (0.2, 0.4, 0.6, 0.8))
    rows = pd.DataFrame({"average": X[:, 0], "ratio": y / X[:, 0], "group": group_of_row})
    for group, part in rows.groupby("group"):
        ordered = part.sort_values("ratio")
        median = ordered["ratio"][ordered["average"].cumsum() >= ordered["average"].sum() / 2].iloc[0]
        assert fitted.table_.point[group, 0] == median
        ends = ordered["ratio"].quantile([0.1, 0.9], interpolation="lower").tolist()
        assert [fitted.table_.lower[group, 0], fitted.table_.upper[group, 0]] == pytest.approx(ends, rel=0.01)


def test_the_squared_objective_is_the_slope_through_the_origin() -> None:
    X, y, _ = study_rows(1000)
    fitted = RatioByQuantile("squared", groups=1).fit(X, y)
    slope = np.linalg.lstsq(X[:, :1], y, rcond=None)[0][0]
    assert fitted.table_.point == pytest.approx(np.array([[slope]]))


def test_it_learns_a_ratio_that_depends_on_the_average() -> None:
    X, y, _ = study_rows()
    later, volume, _ = study_rows(seed=1)
    mae = np.abs(RatioByQuantile().fit(X, y).predict(later) - volume).mean()
    best_multiple = min(np.abs(scale * later[:, 0] - volume).mean() for scale in np.linspace(0.5, 1.5, 101))
    assert mae < 0.99 * best_multiple


@pytest.mark.parametrize("level", [0.5, 0.8, 0.9])
def test_the_interval_holds_as_many_rows_as_it_says(level: float) -> None:
    X, y, _ = study_rows(20_000)
    later, volume, _ = study_rows(20_000, seed=1)
    low, high = RatioByQuantile(interval_level=level).fit(X, y).predict_interval(later)
    assert ((low <= volume) & (volume <= high)).mean() == pytest.approx(level, abs=0.03)
    assert (volume < low).mean() == pytest.approx((1 - level) / 2, abs=0.025)


def test_days_without_trade_are_within_an_interval_that_reaches_them() -> None:
    X, y, _ = study_rows(5000)
    y[np.random.default_rng(99).random(5000) < 0.3] = 0
    low, high = RatioByQuantile().fit(X, y).predict_interval(X)
    assert (low == 0).all()
    assert ((low <= y) & (y <= high)).mean() == pytest.approx(0.8, abs=0.01)


def test_equal_averages_are_one_group() -> None:
    X = np.column_stack([np.full(100, 1e6), np.full(100, 25.0)])
    fitted = RatioByQuantile().fit(X, np.full(100, 5e5))
    assert fitted.predict([[1e6, 25.0], [1e3, 1.0]]).tolist() == [5e5, 1e3]  # no row below: the average itself


def test_a_wrong_objective_is_named() -> None:
    with pytest.raises(ValueError, match="'cubed'; allowed: 'absolute' or 'squared'"):
        RatioByQuantile("cubed").fit([[1.0, 1.0]], [1.0])  # type: ignore[arg-type]
