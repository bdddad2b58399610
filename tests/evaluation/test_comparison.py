"""Splits, baselines, metrics and verdicts, against values computed by hand or by scikit-learn."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from lib.evaluation import comparison
from lib.evaluation.comparison import AVERAGE, LAST, MODEL, ORACLE, REFERENCE, SCALED
from lib.models.forest import Forest
from lib.models.ratio_by_quantile import RatioByQuantile


class Parts:
    """A dataset of features, in memory: one table a part."""

    def __init__(self, *frames: pd.DataFrame) -> None:
        self.frames = frames

    def tables(self, columns: Any = None) -> Iterator[pa.Table]:
        for frame in self.frames:
            yield pa.Table.from_pandas(frame, preserve_index=False).select(list(columns))


def frame(symbol: str, volumes: list[int], averages: list[float | None], start: str = "2020-01-01") -> pd.DataFrame:
    return pd.DataFrame(
        {
            "Symbol": symbol,
            "Date": [day.date() for day in pd.date_range(start, periods=len(volumes))],
            "Volume": volumes,
            "vol_moving_avg": np.array(averages, dtype=float),
            "adj_close_rolling_med": 10 * np.array(averages, dtype=float),
        }
    )


TWO_PARTS = Parts(
    pd.concat([frame("A", [10, 20, 30, 40], [None, 15, 25, 35]), frame("B", [1, 2], [None, 1.5])]),
    frame("C", [7], [None]),
    frame("D", [100, 300], [None, 200], "2020-02-01"),
)


def study(count: int = 4000, symbols: int = 8, seed: int = 0, noise: float = 0.4) -> comparison.Rows:
    """Rows whose ratio rises with the average, from 0.5 to 1.3: a model can beat every multiple of the average."""
    random = np.random.default_rng(seed)
    average = 10 ** random.uniform(4, 6, count)
    volume = average * (0.5 + 0.4 * (np.log10(average) - 4)) * np.exp(random.normal(0, noise, count))
    price = 10 ** random.uniform(0, 3, count)
    date_ = np.datetime64("2001-01-01") + np.arange(count).astype("timedelta64[D]") // 2
    symbol = (np.arange(count) % symbols).astype(np.int32)
    names = [chr(65 + number) for number in range(symbols)]
    inputs = np.column_stack([average, price])
    return comparison.Rows(names, symbol, date_, inputs, np.rint(volume), np.roll(volume, 1), 0)


# --- rows -----------------------------------------------------------------------------------------------


def test_rows_without_features_are_left_out_and_symbols_numbered_over_all_parts() -> None:
    rows = comparison.load_rows(TWO_PARTS, 0)
    assert [rows.symbols[number] for number in rows.symbol] == ["A", "A", "A", "B", "D"]
    assert rows.volume.tolist() == [20, 30, 40, 2, 300]
    assert rows.features.tolist() == [[15, 150], [25, 250], [35, 350], [1.5, 15], [200, 2000]]
    assert rows.previous_volume.tolist() == [10, 20, 30, 1, 100]
    assert rows.date.astype(object).tolist()[0] == date(2020, 1, 2)
    assert len(rows) == 5


def test_at_horizon_1_the_features_are_those_of_the_symbols_row_before() -> None:
    rows = comparison.load_rows(TWO_PARTS, 1)
    assert [rows.symbols[number] for number in rows.symbol] == ["A", "A"]
    assert rows.volume.tolist() == [30, 40]
    assert rows.features.tolist() == [[15, 150], [25, 250]]
    assert rows.previous_volume.tolist() == [20, 30]
    assert [str(day) for day in rows.date] == ["2020-01-03", "2020-01-04"]


def test_without_a_row_before_the_last_value_is_the_average() -> None:
    rows = comparison.load_rows(Parts(frame("A", [10, 30], [10.0, 20.0])), 0)
    assert rows.previous_volume.tolist() == [10.0, 10.0]


def test_no_features_at_all_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(ValueError, match=r"lower it"):
        comparison.load_rows(Parts(frame("A", [1], [None])), 0)


# --- splits ---------------------------------------------------------------------------------------------


@given(st.integers(2, 60), st.floats(0.01, 0.99))
def test_the_chronological_split_cuts_at_one_date(days: int, share: float) -> None:
    rows = study(2 * days)
    split = comparison.chronological_split(rows, share)
    assert rows.date[split.train].max() < rows.date[split.test].min()
    assert (split.train ^ split.test).all()
    held = len(np.unique(rows.date[split.test]))
    assert 1 <= held <= days - 1
    assert held == pytest.approx(days * share, abs=1)


def test_random_and_symbol_splits_hold_out_their_share() -> None:
    rows = study(1000, symbols=10)
    random = comparison.random_split(rows, 0.2, 42)
    assert random.test.sum() == 200
    assert (random.train ^ random.test).all()
    assert (random.test == comparison.random_split(rows, 0.2, 42).test).all()
    assert (random.test != comparison.random_split(rows, 0.2, 43).test).any()
    by_symbol = comparison.symbol_split(rows, 0.2, 42)
    assert len(set(rows.symbol[by_symbol.test])) == 2
    assert not set(rows.symbol[by_symbol.test]) & set(rows.symbol[by_symbol.train])


def test_what_cannot_be_split_is_said() -> None:
    rows = study(2)
    with pytest.raises(ValueError, match="1 date; a chronological split needs 2"):
        comparison.chronological_split(rows, 0.2)
    with pytest.raises(ValueError, match="1 symbol; a split by symbol needs 2"):
        comparison.symbol_split(study(10, symbols=1), 0.2, 42)
    with pytest.raises(ValueError, match="no row is on or after 2030-01-01"):
        comparison.split_at(study(10), np.datetime64("2030-01-01"))
    with pytest.raises(ValueError, match="no row is before 1990-01-01"):
        comparison.split_at(study(10), np.datetime64("1990-01-01"))


def test_one_symbol_is_not_split_by_symbol() -> None:
    first = np.datetime64("2001-01-04")
    assert [split.name for split in comparison.splits(study(10), first, 0.2, 42)] == [
        "chronological",
        "random",
        "symbol",
    ]
    assert [split.name for split in comparison.splits(study(10, 1), first, 0.2, 42)] == ["chronological", "random"]


# --- metrics and baselines ------------------------------------------------------------------------------


def test_metrics_by_hand() -> None:
    found = comparison.metrics(np.array([100.0, 200.0, 0.0, 300.0]), np.array([110.0, 180.0, 30.0, 300.0]))
    assert found["mae"] == 15
    assert found["rmse"] == pytest.approx((1400 / 4) ** 0.5)
    assert found["r2"] == pytest.approx(1 - 1400 / 50_000)
    assert found["median_ape"] == pytest.approx(0.1)  # of 10 %, 10 % and 0: a day without trade has no percentage


@given(
    st.lists(st.tuples(st.floats(1, 1e9), st.floats(0, 1e9)), min_size=2, max_size=50).filter(
        lambda p: len(set(x for x, _ in p)) > 1
    )
)
def test_metrics_are_scikit_learns(pairs: list[tuple[float, float]]) -> None:
    actual, predicted = np.array(pairs).T
    found = comparison.metrics(actual, predicted)
    assert found["mae"] == pytest.approx(sklearn_metrics.mean_absolute_error(actual, predicted))
    assert found["rmse"] == pytest.approx(sklearn_metrics.root_mean_squared_error(actual, predicted))
    assert found["r2"] == pytest.approx(sklearn_metrics.r2_score(actual, predicted), rel=1e-6)


def test_metrics_of_constant_or_no_trade_have_no_share() -> None:
    found = comparison.metrics(np.zeros(3), np.ones(3))
    assert np.isnan(found["r2"])
    assert np.isnan(found["median_ape"])


@given(st.lists(st.tuples(st.integers(1, 1000), st.integers(0, 5000)), min_size=1, max_size=30))
@settings(deadline=None)
def test_no_other_multiple_is_better_than_the_best(pairs: list[tuple[int, int]]) -> None:
    average, volume = np.array(pairs, dtype=float).T
    for objective, power in (("absolute", 1), ("squared", 2)):
        best = comparison.best_scale(average, volume, objective)
        loss = (np.abs(best * average - volume) ** power).sum()
        for other in [*np.linspace(0, 6, 61), *(volume / average), best * 0.999, best * 1.001]:
            assert loss <= (np.abs(other * average - volume) ** power).sum() * (1 + 1e-9) + 1e-9


def test_a_market_without_trade_has_the_average_as_its_best_multiple() -> None:
    assert comparison.best_scale(np.zeros(3), np.zeros(3)) == 1


def test_baselines_learn_from_the_training_rows_alone() -> None:
    rows = study(400)
    split = comparison.chronological_split(rows, 0.5)
    simple = comparison.baselines(rows, split.train)
    everywhere = np.ones(len(rows), dtype=bool)
    before = {name: predict(everywhere) for name, predict in simple.items()}
    changed = comparison.Rows(**{**vars(rows), "volume": np.where(split.test, 0, rows.volume)})
    for name, predict in comparison.baselines(changed, split.train).items():
        assert (predict(everywhere) == before[name]).all(), name
    assert (before[AVERAGE] == rows.features[:, 0]).all()
    assert (before[LAST] == rows.previous_volume).all()
    assert before[SCALED] / before[AVERAGE] == pytest.approx(np.full(len(rows), before[SCALED][0] / before[AVERAGE][0]))


# --- comparisons ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def compared() -> tuple[comparison.Rows, comparison.Split, RatioByQuantile, pd.DataFrame]:
    rows = study(12_000)
    split = comparison.chronological_split(rows, 0.2)
    fitted = RatioByQuantile().fit(rows.features[split.train], rows.volume[split.train])
    return rows, split, fitted, comparison.compare(rows, split, fitted, fitted=True, forest=(5, 0.2))


def test_the_comparison_has_every_predictor_with_its_errors(compared: Any) -> None:
    rows, split, fitted, table = compared
    assert table["predictor"].tolist() == [AVERAGE, SCALED, LAST, MODEL, REFERENCE, ORACLE]
    lines = table.set_index("predictor")
    error = np.abs(fitted.predict(rows.features) - rows.volume)
    assert lines["mae"][MODEL] == error[split.test].mean()
    assert lines["train_mae"][MODEL] == pytest.approx(error[split.train].mean())
    assert lines["relative_mae"][MODEL] == pytest.approx(lines["mae"][MODEL] / lines["mae"][AVERAGE])
    assert lines["lead"][AVERAGE] == pytest.approx(1 - lines["mae"][MODEL] / lines["mae"][AVERAGE])
    assert np.isnan(lines["train_mae"][ORACLE])


def test_a_real_gain_beats_and_the_words_say_so(compared: Any) -> None:
    *_, table = compared
    words = comparison.verdict(table)
    assert "It beats the average, and it beats the average's best multiple" in words
    assert "It beats the reference forest" in words
    assert f"{table.set_index('predictor')['mae'][MODEL]:,.0f} shares" in words


def test_a_copy_is_fitted_on_the_training_rows_unless_it_is_fitted(compared: Any) -> None:
    rows, split, fitted, table = compared
    again = comparison.compare(rows, split, RatioByQuantile())
    assert again.set_index("predictor")["mae"][MODEL] == table.set_index("predictor")["mae"][MODEL]
    other = comparison.compare(rows, comparison.random_split(rows, 0.2, 1), fitted)
    assert other["split"].unique().tolist() == ["random"]


def doctored(table: pd.DataFrame, lead: float, lead_error: float) -> pd.DataFrame:
    """The comparison as it would be with another lead over the average and its best multiple."""
    lines = table.set_index("predictor")
    for name in (AVERAGE, SCALED):
        lines.loc[name, ["lead", "lead_error"]] = lead, lead_error
    lines.loc[MODEL, "mae"] = lines.loc[AVERAGE, "mae"] * (1 - lead)
    return lines.reset_index()


@pytest.mark.parametrize(
    ("lead", "error", "words"),
    [
        (0.02, 0.005, "beats"),
        (0.02, 0.015, "does not clearly beat"),
        (0.02, float("nan"), "does not clearly beat"),
        (0.0, 0.001, "does not beat"),
        (-0.02, 0.001, "does not beat"),
    ],
)
def test_the_verdict_follows_the_numbers(compared: Any, lead: float, error: float, words: str) -> None:
    said = comparison.verdict(doctored(compared[3], lead, error))
    assert f"It {words} the average, and it {words} the average's best multiple" in said
    assert ("wins nothing" in said) is (lead <= 0)


def test_a_model_that_is_no_good_does_not_beat_the_average() -> None:
    rows = study(2000)
    split = comparison.chronological_split(rows, 0.2)
    doubled = RatioByQuantile().fit(rows.features[split.train], 3 * rows.volume[split.train])
    said = comparison.verdict(comparison.compare(rows, split, doubled, fitted=True))
    assert "It does not beat the average, and it does not beat the average's best multiple" in said
    assert "the model wins nothing" in said


def test_the_verdict_where_the_average_is_never_wrong(compared):
    never_wrong = compared[3].copy()
    never_wrong[["mae", "rmse"]] = 0.0  # as where no share is ever traded
    said = comparison.verdict(never_wrong)
    assert "the moving average is never wrong, so no model can beat it" in said
    assert "nan" not in said


def test_the_squared_objective_is_judged_by_squared_errors() -> None:
    rows = study(4000)
    split = comparison.chronological_split(rows, 0.2)
    table = comparison.compare(rows, split, RatioByQuantile("squared"))
    lines = table.set_index("predictor")
    assert lines["lead"][AVERAGE] == pytest.approx(1 - lines["rmse"][MODEL] / lines["rmse"][AVERAGE])
    assert "root mean squared error" in comparison.verdict(table)
    assert comparison.compare(rows, split, Forest(3))["objective"].iloc[0] == "squared"


def test_the_standard_error_is_that_of_the_blocks_sum() -> None:
    blocks = np.array([0, 0, 1, 1, 2, 2])
    losses, others = np.array([1.0, 1, 1, 1, 1, 1]), np.array([2.0, 2, 1, 1, 3, 3])
    lead, error = comparison._lead(losses, others, blocks, 1)
    assert lead == pytest.approx(0.5)  # (2 + 0 + 4) / 12
    assert error == pytest.approx(np.std([2, 0, 4], ddof=1) * 3**0.5 / 12)
    assert np.isnan(comparison._lead(losses[:4], others[:4], blocks[:4], 1)[1])


def test_blocks_are_quarters_or_symbols() -> None:
    rows = study(1000, symbols=5)
    split = comparison.chronological_split(rows, 0.5)
    blocks = comparison._blocks(rows, split)
    quarters = pd.PeriodIndex(pd.DatetimeIndex(rows.date[split.test]), freq="Q")
    assert pd.factorize(quarters)[0].tolist() == blocks.tolist()
    by_symbol = comparison.symbol_split(rows, 0.4, 1)
    assert len(set(comparison._blocks(rows, by_symbol))) == 2


def test_the_overview_has_a_column_a_comparison(compared: Any) -> None:
    table = compared[3]
    shown = comparison.overview([table, table.assign(split="symbol", horizon=1)])
    assert shown.columns.tolist() == ["dates 0", "symbols 1"]
    assert shown["dates 0"][AVERAGE] == 1


# --- intervals, chance, tenths --------------------------------------------------------------------------


def test_coverage_counts_the_rows_within_the_interval(compared: Any) -> None:
    rows, split, fitted, _ = compared
    table = comparison.coverage(rows, split, fitted)
    low, high = fitted.predict_interval(rows.features[split.test])
    actual = rows.volume[split.test]
    inside = [int(np.floor(a)) <= v <= int(np.ceil(b)) for a, v, b in zip(low, actual, high, strict=True)]
    assert table["coverage"].iloc[-1] == pytest.approx(np.mean(inside))
    assert table["decile"].tolist() == [*map(str, range(1, 11)), "all"]
    assert table["rows"].iloc[:-1].sum() == table["rows"].iloc[-1] == split.test.sum()
    assert table["coverage"].iloc[-1] == pytest.approx(0.8, abs=0.03)


def test_errors_by_tenths_add_up(compared: Any) -> None:
    rows, split, fitted, table = compared
    for feature in ("vol_moving_avg", "adj_close_rolling_med"):
        tenths = comparison.errors_by(rows, split, fitted, feature)
        assert len(tenths) == 10
        assert tenths["error_share"].sum() == pytest.approx(1)
        whole = (tenths["mae"] * tenths["rows"]).sum() / tenths["rows"].sum()
        assert whole == pytest.approx(table.set_index("predictor")["mae"][MODEL])
        assert (tenths["low"] <= tenths["high"]).all()


def test_the_learning_curve_ends_with_all_rows(compared: Any) -> None:
    rows, split, fitted, table = compared
    curve = comparison.learning_curve(rows, split, fitted, 1, points=3)
    assert curve["rows"].tolist() == [600, 2400, 9600]
    assert curve["relative_mae"].iloc[-1] == pytest.approx(table.set_index("predictor")["relative_mae"][MODEL])
    assert comparison.learning_curve(rows, split, fitted, 1, points=9)["rows"].min() >= 100


def test_a_sample_of_rows_keeps_them_whole_and_in_order() -> None:
    rows = study(400)
    few = rows.sample(100, 1)
    assert len(few) == 100
    places = np.flatnonzero(np.isin(rows.volume * 1e3 + rows.features[:, 0], few.volume * 1e3 + few.features[:, 0]))
    assert len(places) == 100
    assert (few.features == rows.features[places]).all()
    assert (few.symbol == rows.symbol[places]).all()
    assert rows.sample(len(rows), 1) is rows


def test_the_spread_has_a_line_a_seed() -> None:
    rows = study(2000)
    table = comparison.spread(rows, RatioByQuantile(), 0.2, [1, 2, 3])
    assert table["seed"].tolist() == [1, 2, 3]
    assert table["relative_mae"].nunique() == 3
    first = comparison.compare(rows, comparison.random_split(rows, 0.2, 1), RatioByQuantile()).set_index("predictor")
    assert table["relative_mae"].iloc[0] == pytest.approx(first["relative_mae"][MODEL])
    assert table["relative_mae_scaled"].iloc[0] == pytest.approx(first["relative_mae"][SCALED])


def test_metrics_json_is_read_back_with_the_headline_on_top(compared: Any) -> None:
    rows, split, fitted, table = compared
    text = comparison.metrics_json(table, [table], {"coverage": comparison.coverage(rows, split, fitted), "note": 1})
    read = json.loads(text)
    lines = table.set_index("predictor")
    assert read["mae"] == lines["mae"][MODEL]
    assert read["mae_moving_average"] == lines["mae"][AVERAGE]
    assert read["verdict"] == comparison.verdict(table)
    assert [line["predictor"] for line in read["headline"]] == table["predictor"].tolist()
    assert read["headline"][-1]["train_mae"] is None
    assert len(read["coverage"]) == 11
    measured = comparison.headline_metrics(rows, split, fitted)
    assert measured["mae"] == read["mae"]
    assert measured["mae_scaled_average"] == lines["mae"][SCALED]
    assert measured["coverage"] == pytest.approx(read["coverage"][-1]["coverage"], abs=1e-9)  # JSON's ten digits


# --- odd studies ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("volumes", [[0] * 8, [5] * 8, [0, 0, 0, 0, 9, 9, 9, 9]])
def test_odd_markets_are_judged_without_an_error(volumes: list[int]) -> None:
    averages: list[float | None] = [None, *([float(a + b) / 2 for a, b in pairwise(volumes)])]
    rows = comparison.load_rows(Parts(frame("A", volumes, averages), frame("B", volumes, averages)), 0)
    split = comparison.chronological_split(rows, 0.3)
    fitted = RatioByQuantile().fit(rows.features[split.train], rows.volume[split.train])
    table = comparison.compare(rows, split, fitted, fitted=True, forest=(2, 1.0))
    extra = {
        "coverage": comparison.coverage(rows, split, fitted),
        "errors": comparison.errors_by(rows, split, fitted, "vol_moving_avg"),
        "spread": comparison.spread(rows, fitted, 0.3, [1]),
        "curve": comparison.learning_curve(rows, split, fitted, 1),
    }
    assert json.loads(comparison.metrics_json(table, [table], extra))["verdict"].startswith("On dates it never saw")
