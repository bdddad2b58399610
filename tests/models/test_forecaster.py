"""A forecaster is the same whatever the machine's threads, its range holds what it promises, and its file holds no code."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from lib import paths
from lib.features import definitions
from lib.features.sessions import calendar_for
from lib.models import boosting, examples, forecaster, skops_file
from lib.models.boosting import Boosting
from lib.models.forecaster import Forecaster, Nothing, Served, calibrated, kept_share
from lib.models.linear import RIDGE, Linear, gram_matrix, linear_inputs

ROWS = 6000


def evenings(seed: int, rows: int = ROWS) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Known, average and log ratio; unsteady symbols are more unsteady."""
    chance = np.random.default_rng(seed)
    known = chance.normal(0, 1, (rows, len(definitions.NAMES))).astype(np.float32)
    known[:, definitions.NAMES.index("weekday")] = chance.integers(0, 5, rows)
    known[:, definitions.NAMES.index("month")] = chance.integers(1, 13, rows)
    spread = known[:, definitions.NAMES.index("volume_spread_63")] = chance.uniform(0.1, 1, rows)
    average = np.exp(chance.normal(12, 2, rows))
    known[:, definitions.NAMES.index("volume_average")] = np.log(average)
    quiet = 0.3 * (known[:, definitions.NAMES.index("weekday")] == 4)
    target = 0.5 * known[:, 0] - quiet + spread * chance.normal(0, 1, rows)
    return known, average, np.clip(target, -3.5, 3.5)


def test_a_fit_is_the_same_to_the_bit_with_one_thread_and_with_two() -> None:
    program = (
        "import hashlib, sys\nsys.path.insert(0, 'tests/models')\nfrom test_forecaster import evenings\n"
        "from sklearn.ensemble import HistGradientBoostingRegressor\nfrom lib.models import boosting\n"
        "known, average, target = evenings(1)\n"
        "own = boosting.Boosting.fit(known, average, target).predict(known)\n"
        "free = HistGradientBoostingRegressor(**(boosting.BOOSTING | {'loss': 'absolute_error', 'max_iter': 5}))\n"  # as many threads as there may be
        "free = free.fit(known, target, sample_weight=average ** 0.25).predict(known)\n"
        "print(hashlib.sha256(own.tobytes()).hexdigest(), hashlib.sha256(free.tobytes()).hexdigest())\n"
    )
    printed = set()
    for threads in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=paths.ROOT,
            env={**os.environ, "OMP_NUM_THREADS": threads, "PATH": "/usr/bin", "PYTHONPATH": str(paths.ROOT)},
            capture_output=True,
            text=True,
            check=True,
        )
        printed.add(done.stdout)
    assert len(printed) == 1


def test_a_prediction_is_that_of_scikit_learns_regressor(monkeypatch: pytest.MonkeyPatch) -> None:
    fitted = []

    class Kept(HistGradientBoostingRegressor):
        def fit(self, *rows: np.ndarray, **weights: np.ndarray) -> HistGradientBoostingRegressor:
            fitted.append(self)
            return super().fit(*rows, **weights)

    monkeypatch.setattr(boosting, "HistGradientBoostingRegressor", Kept)
    known, average, target = evenings(9, 12_000)
    model = Boosting.fit(known, average, target)
    later = evenings(10, boosting.PREDICTED_ROWS + 5)[0]
    later[np.random.default_rng(0).random(later.shape) < 0.1] = np.nan
    np.testing.assert_array_equal(model.predict(later), fitted[0].predict(later))
    assert len(model.predict(later[:0])) == 0


def test_a_column_without_a_value_changes_nothing() -> None:
    known, average, target = evenings(1)
    column = definitions.NAMES.index("volume_spread_63")
    known[:, column] = np.nan
    fitted = Boosting.fit(known, average, target)
    assert np.corrcoef(fitted.predict(known), target)[0, 1] > 0.4
    later = known.copy()
    later[:, column] = 0.5
    np.testing.assert_array_equal(fitted.predict(later), fitted.predict(known))


def test_gram_matrices_of_parts_add_up_to_a_ridge_regression_on_standardised_columns() -> None:
    known, average, target = evenings(2)
    matrix = sum(gram_matrix(known[some], average[some], target[some]) for some in np.array_split(np.arange(ROWS), 3))
    linear = Linear.fit(matrix)
    own = examples.weights(average)
    columns = StandardScaler().fit_transform(linear_inputs(known), sample_weight=own)
    whole = Ridge(alpha=RIDGE * own.sum()).fit(columns, target, own)
    np.testing.assert_allclose(linear.predict(known), np.clip(whole.predict(columns), *linear.limits), atol=1e-9)


def test_a_linear_model_of_a_short_history_forecasts_the_months_after_it() -> None:
    """The length of the history grows with the months of its one year, so that each could stand for the other."""
    known, average, target = evenings(7, 1000)
    day = np.arange(1000) % 200
    for name, values in (("month", 1 + day // 30), ("history", np.log(30 + day))):
        known[:, definitions.NAMES.index(name)] = values
    linear = Linear.fit(gram_matrix(known, average, target))
    later = known.copy()
    for name, values in (("month", np.full(1000, 9)), ("history", np.log(230 + day))):  # a month that it has not seen
        later[:, definitions.NAMES.index(name)] = values
    assert np.abs(linear.predict(later) - linear.predict(known)).max() < 0.3


def test_a_feature_that_was_missing_in_nearly_all_rows_does_not_explode() -> None:
    known, average, target = evenings(14, 1000)
    column = definitions.NAMES.index("volume_year_ago")
    known[:, column] = np.nan
    known[:3, column] = 0.02
    target[:3] = 2.0
    linear = Linear.fit(gram_matrix(known, average, target))
    known[:, column] = 1.0
    predicted = linear.predict(known)
    assert np.abs(predicted - target.mean()).max() < 4 * target.std()


def test_of_predictions_that_say_too_much_a_share_is_kept() -> None:
    known, average, _ = evenings(11, 4000)
    signal, noise = 0.5 * known[:, 0].astype(float), np.random.default_rng(11).normal(0, 1, 4000)
    target = signal + 0.1 * np.random.default_rng(12).normal(0, 1, 4000)
    assert kept_share(average, target, signal) == 1.0
    assert kept_share(average, target, 2 * signal) == 0.5
    assert kept_share(average, target, noise) <= 0.1
    assert kept_share(average, target, np.zeros(4000)) == 1.0
    assert kept_share(average[:0], target[:0], noise[:0]) == 1.0


def test_the_forecast_is_made_of_the_share_that_is_kept() -> None:
    known, average, target = evenings(12, 4000)
    fitted = Linear.fit(gram_matrix(known, average, target))
    doubled = Linear(2 * fitted.coefficients)
    ranges = calibrated(known, average, target, doubled.predict(known))
    assert ranges.kept == 0.5
    for found, wanted in zip(
        Forecaster(1, doubled, ranges).forecast(known, average),
        Forecaster(1, fitted, calibrated(known, average, target, fitted.predict(known))).forecast(known, average),
        strict=True,
    ):
        np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1)


def test_the_range_holds_four_days_of_five_in_every_group() -> None:
    known, average, target = evenings(3, 20_000)
    ranges = calibrated(known, average, target, 0.5 * known[:, 0].astype(float))
    assert ranges.low.shape == (10, 5)
    fresh, _, truth = evenings(4, 20_000)
    low, high = ranges.ends(fresh)
    residual = truth - 0.5 * fresh[:, 0]
    inside = (low <= residual) & (residual <= high)
    assert abs(inside.mean() - 0.8) < 0.02
    spread = fresh[:, definitions.NAMES.index("volume_spread_63")]
    for some in (spread < 0.3, spread > 0.8):
        assert abs(inside[some].mean() - 0.8) < 0.05


def test_rows_that_share_days_tell_as_much_as_one() -> None:
    known, average, target = evenings(13, 2000)
    nothing = np.zeros(2000)
    assert calibrated(known, average, target, nothing).low.size == 12
    few = calibrated(known, average, target, nothing, overlap=20)
    np.testing.assert_allclose((few.low[0, 0], few.high[0, 0]), np.quantile(target, [1 - 0.909, 0.909]))
    assert few.low.size == 1
    fewest = calibrated(known, average, target, nothing, overlap=2000)
    assert (fewest.low[0, 0], fewest.high[0, 0]) == (target.min(), target.max())


def test_days_without_trade_are_held_where_there_are_many() -> None:
    known, average, target = evenings(8, 8000)
    chance = np.random.default_rng(8)
    traded = np.where(chance.random(8000) < 0.15, 0.0, average * np.exp(target))
    floored = examples.log_ratio(traded, average)
    ranges = calibrated(known[:4000], average[:4000], floored[:4000], np.zeros(4000))
    _, low, high = Forecaster(1, Nothing(), ranges).forecast(known[4000:], average[4000:])
    inside = (low <= traded[4000:]) & (traded[4000:] <= high)
    assert 0.77 < inside.mean() < 0.96 and (low == 0).mean() > 0.5


def test_few_rows_make_few_groups_and_none_a_wide_range() -> None:
    known, average, target = evenings(5, 200)
    assert calibrated(known, average, target, np.zeros(200)).low.size == 1
    nothing = calibrated(known[:0], average[:0], target[:0], np.zeros(0))
    point, low, high = Forecaster(1, Nothing(), nothing).forecast(known, average)
    assert (point == np.rint(average)).all() and (low < average * 0.5).all() and (high > average * 2).all()


def test_forecasts_are_whole_never_negative_and_within_their_range() -> None:
    known, average, target = evenings(6)
    model = Boosting.fit(known, average, target)
    average[:50] = 0
    found = Forecaster(1, model, calibrated(known, average, target, model.predict(known))).forecast(known, average)
    for values in found:
        assert (values == np.rint(values)).all() and (values >= 0).all()
    point, low, high = found
    assert (low <= point).all() and (point <= high).all() and (high[:50] == 0).all()


def test_the_file_gives_back_the_forecasters_and_may_hold_no_other_type(tmp_path: Path) -> None:
    known, average, target = evenings(7, 1500)
    ranges = calibrated(known, average, target, np.zeros(1500))
    models = (
        Boosting.fit(known, average, target),
        Linear.fit(gram_matrix(known, average, target)),
        Nothing(),
    )
    made = tuple(Forecaster(horizon, model, ranges) for horizon, model in zip((1, 5, 21), models, strict=True))
    calendar = calendar_for("XNYS", np.array([18_001, 18_002], dtype=np.int32))
    path = tmp_path / "forecaster.skops"
    forecaster.write_served(path, Served(made, calendar, {"last": "2019-04-15"}))
    again = forecaster.read_served(path)
    for one, other in zip(made, again.forecasters, strict=True):
        for values, others in zip(one.forecast(known, average), other.forecast(known, average), strict=True):
            np.testing.assert_array_equal(values, others)
    assert again.calendar.name == "XNYS" and again.information == {"last": "2019-04-15"}
    before = path.read_bytes()
    forecaster.write_served(path, again)
    assert path.read_bytes() == before
    skops_file.skops.io.dump({"forecasters": [], "calendar": subprocess.Popen}, path)
    with pytest.raises(ValueError, match=r"holds .*Popen.*Do not load it"):
        forecaster.read_served(path)
