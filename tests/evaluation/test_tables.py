"""Tables of a comparison, against sums over their rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from evaluation_rows import compared, headline

from lib.evaluation import sums
from lib.evaluation.baselines import AVERAGE, MODEL, ORACLE, REFERENCE, SCALED, baselines
from lib.evaluation.errors import best_scale, metrics
from lib.evaluation.rows import chronological_split, distinct_days, random_split
from lib.evaluation.tables import _lead, curve_parts, overview
from lib.models.ratio_by_quantile import RatioByQuantile


def held_out(rows):
    split = chronological_split(distinct_days(rows.date), 0.2)
    return rows.chosen(~split.test(rows)), rows.chosen(split.test(rows))


def test_the_comparison_has_every_predictor_with_its_errors() -> None:
    rows, fitted, _ = compared()
    train, test = held_out(rows)
    lines = headline().set_index("predictor")
    assert lines.index.tolist() == [*baselines(train), MODEL, REFERENCE, ORACLE]
    for own, prefix in ((test, ""), (train, "train_")):
        for name, predicted in ((MODEL, fitted.predict(own.features)), (AVERAGE, own.features[:, 0])):
            for measure, value in metrics(own.volume, predicted).items():
                close = 1e-9
                if (
                    measure == "median_ape" and not prefix
                ):  # from a histogram, and one of the rows' where NumPy's lies between two
                    close, shares = 1e-3, np.abs(predicted - own.volume) / own.volume
                    value = float(np.quantile(shares, 0.5, method="inverted_cdf"))
                assert lines[f"{prefix}{measure}"][name] == pytest.approx(value, rel=close), (name, measure)
    assert lines["mae"][MODEL] == pytest.approx(np.abs(fitted.predict(test.features) - test.volume).mean(), rel=1e-12)
    assert lines["relative_mae"][MODEL] == pytest.approx(lines["mae"][MODEL] / lines["mae"][AVERAGE])
    assert lines["lead"][AVERAGE] == pytest.approx(1 - lines["mae"][MODEL] / lines["mae"][AVERAGE])
    assert np.isnan(lines["train_mae"][ORACLE])
    assert lines["mae"][ORACLE] < lines["mae"][MODEL] < lines["mae"][SCALED]


def scores(losses: list[float], others: list[float], blocks: list[int]) -> pd.DataFrame:
    """Sums with one row a block, of the model and of the average."""
    lines = []
    for name, values in ((MODEL, losses), (AVERAGE, others)):
        for value, block in zip(values, blocks, strict=True):
            lines.append({"horizon": 0, "predictor": name, "grouping": "block", "key": block, "error": value})
    return pd.DataFrame(lines)


def test_the_standard_error_is_that_of_the_blocks_sum() -> None:
    blocks, losses, others = [0, 0, 1, 1, 2, 2], [1.0, 1, 1, 1, 1, 1], [2.0, 2, 1, 1, 3, 3]
    lead, error = _lead(scores(losses, others, blocks), 0, AVERAGE, "absolute")
    assert lead == pytest.approx(0.5)  # (2 + 0 + 4) / 12
    assert error == pytest.approx(np.std([2, 0, 4], ddof=1) * 3**0.5 / 12)
    assert np.isnan(_lead(scores(losses[:4], others[:4], blocks[:4]), 0, AVERAGE, "absolute")[1])


def test_the_overview_has_a_column_a_comparison() -> None:
    table = headline()
    shown = overview([table, table.assign(split="symbol", horizon=1)])
    assert shown.columns.tolist() == ["later dates, same day", "other symbols, next day"]
    assert shown["later dates, same day"][AVERAGE] == 1


def test_errors_by_tenths_add_up() -> None:
    rows, _, found = compared()
    test = held_out(rows)[1]
    for column, tenths in enumerate((found.by_volume, found.by_price)):
        assert len(tenths) == 10
        assert tenths["error_share"].sum() == pytest.approx(1)
        whole = (tenths["mae"] * tenths["rows"]).sum() / tenths["rows"].sum()
        assert whole == pytest.approx(headline().set_index("predictor")["mae"][MODEL])
        assert tenths["low"].iloc[0] == test.features[:, column].min()
        assert tenths["high"].iloc[-1] == test.features[:, column].max()
        assert (tenths["high"].to_numpy()[:-1] <= tenths["low"].to_numpy()[1:]).all()


def test_coverage_counts_the_rows_within_the_interval() -> None:
    rows, fitted, found = compared()
    test = held_out(rows)[1]
    table = found.coverage
    low, high = fitted.predict_interval(test.features)
    inside = (np.floor(low) <= test.volume) & (test.volume <= np.ceil(high))
    assert table["coverage"].iloc[-1] == pytest.approx(np.mean(inside))
    assert table["decile"].tolist() == [*map(str, range(1, 11)), "all"]
    assert table["rows"].iloc[:-1].sum() == table["rows"].iloc[-1] == len(test)
    assert table["coverage"].iloc[-1] == pytest.approx(0.8, abs=0.03)
    assert table["vol_moving_avg"].iloc[-1] == np.median(test.features[:, 0])


def test_the_learning_curve_ends_with_all_rows() -> None:
    rows, _, found = compared()
    rows = rows.chosen(np.lexsort((rows.date, rows.symbol)))  # as features have them
    train = held_out(rows)[0]
    assert [len(part) for part in curve_parts(train, 1, points=3)] == [600, 2400, 9600]
    assert len(curve_parts(train, 1, points=9)[0]) >= 100
    curve = found.learning_curve
    assert curve["rows"].iloc[-1] == 9600
    assert curve["relative_mae"].iloc[-1] == headline().set_index("predictor")["relative_mae"][MODEL]
    few = train.chosen(curve_parts(train, 42)[0])
    again = RatioByQuantile().fit(few.features, few.volume).predict(few.features)
    relative = np.abs(again - few.volume).mean() / np.abs(few.features[:, 0] - few.volume).mean()
    assert curve["train_relative_mae"].iloc[0] == pytest.approx(relative)


def test_the_spread_has_a_line_a_seed() -> None:
    rows, _, found = compared()
    assert found.spread["seed"].tolist() == [42, 43]
    assert found.spread["relative_mae"].nunique() == 2
    held = random_split(rows, 0.2, 42).test(rows)
    train, test = rows.chosen(~held), rows.chosen(held)
    scale = best_scale(train.features[:, 0], train.volume)
    average, scaled = (np.abs(times * test.features[:, 0] - test.volume).mean() for times in (1, scale))
    assert found.spread["relative_mae_scaled"].iloc[0] == pytest.approx(scaled / average)
    random = found.comparisons[0, "random"].set_index("predictor")
    assert found.spread["relative_mae"].iloc[0] == pytest.approx(random["relative_mae"][MODEL])


def test_a_median_from_the_histogram_is_right_to_a_thousandth() -> None:
    chance = np.random.default_rng(3)
    traded = np.exp(chance.normal(10, 2, 20_001))
    predicted = traded * np.exp(chance.normal(0, 0.5, len(traded)))
    table = sums.error_sums(sums.Judged(0, traded, {}, {"model": predicted}), {}, 0.1)
    exact = np.median(np.abs(predicted - traded) / traded)
    assert sums.median_ape(sums.Total([table]).lines(), 0, "model") == pytest.approx(exact, rel=1e-3)
