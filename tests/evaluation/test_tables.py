"""Tables of a comparison, against sums over their rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from evaluation_rows import compared, study

from lib.evaluation.baselines import AVERAGE, LAST, MODEL, ORACLE, REFERENCE, SCALED
from lib.evaluation.rows import chronological_split, random_split, symbol_split
from lib.evaluation.tables import _blocks, _lead, compare, errors_by, learning_curve, overview, spread
from lib.models.ratio_by_quantile import RatioByQuantile


def test_the_comparison_has_every_predictor_with_its_errors() -> None:
    rows, split, fitted, table = compared()
    assert table["predictor"].tolist() == [AVERAGE, SCALED, LAST, MODEL, REFERENCE, ORACLE]
    lines = table.set_index("predictor")
    error = np.abs(fitted.predict(rows.features) - rows.volume)
    assert lines["mae"][MODEL] == error[split.test].mean()
    assert lines["train_mae"][MODEL] == pytest.approx(error[split.train].mean())
    assert lines["relative_mae"][MODEL] == pytest.approx(lines["mae"][MODEL] / lines["mae"][AVERAGE])
    assert lines["lead"][AVERAGE] == pytest.approx(1 - lines["mae"][MODEL] / lines["mae"][AVERAGE])
    assert np.isnan(lines["train_mae"][ORACLE])


def test_a_copy_is_fitted_on_the_training_rows_unless_it_is_fitted() -> None:
    rows, split, fitted, table = compared()
    again = compare(rows, split, RatioByQuantile())
    assert again.set_index("predictor")["mae"][MODEL] == table.set_index("predictor")["mae"][MODEL]
    other = compare(rows, random_split(rows, 0.2, 1), fitted)
    assert other["split"].unique().tolist() == ["random"]


def test_the_standard_error_is_that_of_the_blocks_sum() -> None:
    blocks = np.array([0, 0, 1, 1, 2, 2])
    losses, others = np.array([1.0, 1, 1, 1, 1, 1]), np.array([2.0, 2, 1, 1, 3, 3])
    lead, error = _lead(losses, others, blocks, 1)
    assert lead == pytest.approx(0.5)  # (2 + 0 + 4) / 12
    assert error == pytest.approx(np.std([2, 0, 4], ddof=1) * 3**0.5 / 12)
    assert np.isnan(_lead(losses[:4], others[:4], blocks[:4], 1)[1])


def test_blocks_are_quarters_or_symbols() -> None:
    rows = study(1000, symbols=5)
    split = chronological_split(rows, 0.5)
    blocks = _blocks(rows, split)
    quarters = pd.PeriodIndex(pd.DatetimeIndex(rows.date[split.test]), freq="Q")
    assert pd.factorize(quarters)[0].tolist() == blocks.tolist()
    by_symbol = symbol_split(rows, 0.4, 1)
    assert len(set(_blocks(rows, by_symbol))) == 2


def test_the_overview_has_a_column_a_comparison() -> None:
    table = compared()[3]
    shown = overview([table, table.assign(split="symbol", horizon=1)])
    assert shown.columns.tolist() == ["dates 0", "symbols 1"]
    assert shown["dates 0"][AVERAGE] == 1


def test_errors_by_tenths_add_up() -> None:
    rows, split, fitted, table = compared()
    for feature in ("vol_moving_avg", "adj_close_rolling_med"):
        tenths = errors_by(rows, split, fitted, feature)
        assert len(tenths) == 10
        assert tenths["error_share"].sum() == pytest.approx(1)
        whole = (tenths["mae"] * tenths["rows"]).sum() / tenths["rows"].sum()
        assert whole == pytest.approx(table.set_index("predictor")["mae"][MODEL])
        assert (tenths["low"] <= tenths["high"]).all()


def test_the_learning_curve_ends_with_all_rows() -> None:
    rows, split, fitted, table = compared()
    curve = learning_curve(rows, split, fitted, 1, points=3)
    assert curve["rows"].tolist() == [600, 2400, 9600]
    assert curve["relative_mae"].iloc[-1] == pytest.approx(table.set_index("predictor")["relative_mae"][MODEL])
    assert learning_curve(rows, split, fitted, 1, points=9)["rows"].min() >= 100


def test_the_spread_has_a_line_a_seed() -> None:
    rows = study(2000)
    table = spread(rows, RatioByQuantile(), 0.2, [1, 2, 3])
    assert table["seed"].tolist() == [1, 2, 3]
    assert table["relative_mae"].nunique() == 3
    first = compare(rows, random_split(rows, 0.2, 1), RatioByQuantile()).set_index("predictor")
    assert table["relative_mae"].iloc[0] == pytest.approx(first["relative_mae"][MODEL])
    assert table["relative_mae_scaled"].iloc[0] == pytest.approx(first["relative_mae"][SCALED])
