"""The estimators, against definitions written out independently and against scikit-learn's own rules."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import parametrize_with_checks

from lib import model
from lib.evaluation import best_scale
from lib.model import RATIO_CENTRES, AbsoluteLoss, Forest, Histogram, Loss, RatioBoosting, Smoother, SquaredLoss
from lib.paths import StudyPaths
from lib.predictor import Predictor

SMALL_FOREST = Forest(n_estimators=3, sample_share=1.0, max_bins=(16, 16))


def study_rows(count: int = 6000, seed: int = 0) -> tuple[Any, Any, Any]:
    """Rows whose ratio rises with the average, from 0.5 to 1.3, with noise."""
    random = np.random.default_rng(seed)
    average = 10 ** random.uniform(4, 6, count)
    price = np.exp(random.uniform(np.log(1), np.log(500), count))
    ratio = 0.5 + 0.8 * (np.log10(average) - 4) / 2
    volume = np.rint(average * ratio * np.exp(random.normal(0, 0.4, count)))
    dates = np.datetime64("2000-01-01") + np.sort(random.integers(0, 3000, count)).astype("timedelta64[D]")
    return np.column_stack([average, price]), volume, dates


SMALL_BOOSTING = RatioBoosting(max_bins=(16, 12))  # scikit-learn fits each some 60 times


@parametrize_with_checks([SMALL_BOOSTING, RatioBoosting("squared", (16, 12)), SMALL_FOREST])
def test_scikit_learn_accepts_the_estimators(estimator: Any, check: Any) -> None:
    check(estimator)


def test_pipelines_and_cross_validation_take_it() -> None:
    X, y, _ = study_rows(800)
    pipeline = make_pipeline(FunctionTransformer(), RatioBoosting(interval_level=None))
    scores = cross_val_score(pipeline, X, y, scoring="neg_mean_absolute_error", cv=3)
    assert (-scores).mean() < 0.97 * np.abs(X[:, 0] - y).mean()


# --- losses and boosting --------------------------------------------------------------------------------


def histogram(ratios: Any, weights: Any) -> Histogram:
    """One cell's histogram, row by row."""
    counts = np.zeros((1, len(model.RATIO_CENTRES)))
    for ratio, weight in zip(ratios, weights, strict=True):
        level = max(place for place, edge in enumerate(model.RATIO_EDGES[:-1]) if edge <= ratio)
        counts[0, level] += weight
    return Histogram((1, 1), counts, len(ratios))


ratio_lists = st.lists(st.tuples(st.floats(0.02, 19), st.floats(0.1, 10)), min_size=1, max_size=40)


@given(ratio_lists, st.floats(0, 19))
def test_the_absolute_loss_is_that_of_the_rows_up_to_the_bins_width(pairs: Any, at: float) -> None:
    ratios, weights = np.array(pairs).T
    exact = (weights * np.abs(ratios - at)).sum() / len(ratios)
    widest = (weights * ratios).sum() * 0.07 / len(ratios) + 1e-9  # a ratio's bin is 6 % wide
    assert AbsoluteLoss(histogram(ratios, weights)).mean(np.array([at])) == pytest.approx(exact, abs=widest)


@given(ratio_lists, st.floats(0.05, 0.95))
@settings(max_examples=50)
def test_quantiles_are_the_weighted_ones_up_to_the_bins_width(pairs: Any, quantile: float) -> None:
    ratios, weights = np.array(pairs).T
    found = model.quantiles(histogram(ratios, weights).weights, quantile)[0]
    below, not_above = weights[ratios < found / 1.07].sum(), weights[ratios <= found * 1.07 + 1e-12].sum()
    assert below <= quantile * weights.sum() + 1e-9
    assert not_above >= quantile * weights.sum() - 1e-9


def test_a_cell_without_rows_has_the_average_itself_as_its_quantile() -> None:
    assert model.quantiles(np.zeros((2, len(model.RATIO_CENTRES))), 0.9).tolist() == [1.0, 1.0]


@given(ratio_lists, st.floats(0.1, 15))
def test_the_descent_is_minus_half_the_slope_of_the_loss(pairs: Any, at: float) -> None:
    ratios, weights = np.array(pairs).T
    loss = AbsoluteLoss(histogram(ratios, weights))
    step = 1e-6
    slope = (loss.mean(np.array([at + step])) - loss.mean(np.array([at - step]))) / (2 * step) * len(ratios)
    assert -2 * loss.descent(np.array([at]))[0] == pytest.approx(slope, abs=1e-3 * weights.sum())


def test_the_squared_loss_is_that_of_the_bins_centres() -> None:
    ratios, weights = model.RATIO_CENTRES[[10, 50, 90]], np.array([1.0, 2.0, 3.0])
    loss = SquaredLoss(histogram(ratios, weights))
    assert loss.mean(np.array([0.8])) == pytest.approx((weights * (ratios - 0.8) ** 2).sum() / 3)
    assert loss.descent(np.array([0.8]))[0] == pytest.approx((weights * (ratios - 0.8)).sum())


def test_the_smoother_keeps_a_constant_and_spreads_a_peak() -> None:
    smoother = Smoother((7, 5), (0.5, 0.2))
    assert smoother(np.ones(35)) == pytest.approx(np.ones(35))
    peak = np.zeros((7, 5))
    peak[3, 2] = 1
    spread = smoother(peak.ravel()).reshape(7, 5)
    assert spread.argmax() == peak.argmax()
    assert spread == pytest.approx(spread[::-1])


def test_boosting_lowers_the_loss_and_never_goes_below_zero() -> None:
    random = np.random.default_rng(3)
    rows = Histogram((8, 6), random.uniform(0, 1, (48, len(model.RATIO_CENTRES))) ** 8, 100)
    loss = AbsoluteLoss(rows)
    steps = list(model.boost([loss], Smoother((8, 6), (0.1,)), 0.3, 0.5, 40))
    assert set(steps[0]) == {0.3}
    losses = [loss.mean(ratios) for ratios in steps]
    assert len(steps) == 41
    assert losses[-1] < losses[0]
    assert min(ratios.min() for ratios in steps) >= 0


# --- what is learned ------------------------------------------------------------------------------------


def test_it_learns_a_ratio_that_depends_on_the_average() -> None:
    X, y, dates = study_rows()
    later, volume, _ = study_rows(seed=1)
    fitted = RatioBoosting().fit(X, y, dates)
    mae = np.abs(fitted.predict(later) - volume).mean()
    scales = np.linspace(0.5, 1.5, 101)
    best_multiple = min(np.abs(scale * later[:, 0] - volume).mean() for scale in scales)
    assert mae < 0.99 * best_multiple


def test_where_the_inputs_tell_nothing_it_stays_near_the_best_single_ratio() -> None:
    random = np.random.default_rng(5)
    X, _, dates = study_rows(20_000)
    y = X[:, 0] * np.exp(random.normal(-0.2, 0.5, len(X)))
    fitted = RatioBoosting(interval_level=None).fit(X, y, dates)
    assert fitted.point_ == pytest.approx(np.full(fitted.point_.shape, np.exp(-0.2)), rel=0.1)


def test_what_the_blocks_do_not_agree_on_is_held_back() -> None:
    def table(seed: int, around: float) -> Loss:
        ratios = np.random.default_rng(seed).normal(around, 0.05, (48, 1))
        return AbsoluteLoss(Histogram((8, 6), np.exp(-(((RATIO_CENTRES - ratios) / 0.2) ** 2)), 100))

    def moved(losses: list[Loss], shrinkage: float) -> float:
        *_, last = model.boost(losses, Smoother((8, 6), (0.1,)), 1.0, 0.5, 1, shrinkage)
        return float(np.abs(last - 1.0).mean())

    agreeing = [table(seed, 0.8) for seed in range(4)]
    differing = [table(seed, around) for seed, around in enumerate((0.5, 1.3, 0.6, 0.9))]
    assert moved(agreeing, 3.0) > 0.95 * moved(agreeing, 0.0)
    assert moved(differing, 3.0) < 0.5 * moved(differing, 0.0)


def test_an_effect_of_one_block_only_is_learned_less() -> None:
    X, _, dates = study_rows(20_000)
    low = X[:, 0] < np.median(X[:, 0])
    always, once = X[:, 0].copy(), X[:, 0].copy()
    first = model.blocks_of_dates(len(X), dates, 4, 0) == 0
    always[low] *= 0.8
    once[low & first] *= 0.2  # the same on average
    learned = [
        np.ptp(RatioBoosting(max_iter=4, min_iter=4, interval_level=None).fit(X, y, dates).point_)
        for y in (always, once)
    ]
    assert learned[1] < 0.5 * learned[0]


def test_later_blocks_choose_the_iteration() -> None:
    X, y, dates = study_rows()
    fitted = RatioBoosting().fit(X, y, dates)
    losses = [entry["validation"] for entry in fitted.history_]
    assert losses[fitted.n_iter_] == min(losses[fitted.min_iter :])
    assert [entry["iteration"] for entry in fitted.history_] == list(range(fitted.max_iter + 1))
    # Iteration 0 is the best multiple of the average on the blocks before, judged on the block after: by hand.
    block, errors = model.blocks_of_dates(len(X), dates, fitted.blocks, 0), []
    for held in (2, 3):
        scale = best_scale(X[block < held, 0], y[block < held])
        errors += np.abs(y - scale * X[:, 0])[block == held].tolist()
    assert losses[0] == pytest.approx(np.mean(errors), rel=0.005)
    assert RatioBoosting(blocks=2).fit(X, y, dates).history_ == []


def test_blocks_are_of_as_many_dates_each_and_in_order() -> None:
    _, _, dates = study_rows()
    block = model.blocks_of_dates(len(dates), dates, 4, 0)
    days = np.unique(dates)
    assert [len(np.unique(dates[block == number])) for number in range(4)] == pytest.approx([len(days) / 4] * 4, abs=1)
    assert all(dates[block == number].max() < dates[block == number + 1].min() for number in range(3))
    assert set(model.blocks_of_dates(3, dates[:1].repeat(3), 4, 0)) == {3}


def test_no_dates_means_random_blocks_of_the_seed() -> None:
    assert np.bincount(model.blocks_of_dates(10_000, None, 4, 1)) == pytest.approx([2500] * 4, abs=200)
    assert (model.blocks_of_dates(100, None, 4, 1) == model.blocks_of_dates(100, None, 4, 1)).all()
    assert (model.blocks_of_dates(100, None, 4, 1) != model.blocks_of_dates(100, None, 4, 2)).any()


@given(st.lists(st.integers(0, 400), min_size=1, max_size=50))
def test_distinct_days_are_those_of_a_sorted_set(days: list[int]) -> None:
    dates = np.datetime64("1999-12-25") + np.array(days).astype("timedelta64[D]")
    assert (model.distinct_days(dates) == np.unique(dates)).all()


def test_the_squared_objective_has_no_larger_squared_error_than_the_average() -> None:
    X, y, dates = study_rows(20_000)
    later, volume, _ = study_rows(20_000, seed=1)
    fitted = RatioBoosting("squared").fit(X, y, dates)
    assert np.mean((fitted.predict(later) - volume) ** 2) < np.mean((later[:, 0] - volume) ** 2)
    random = np.random.default_rng(2)
    noise = X[:, 0] * random.lognormal(-0.08, 0.4, len(X))  # of mean 1: the average cannot be beaten
    assert RatioBoosting("squared").fit(X, noise, dates).predict(later) == pytest.approx(later[:, 0], rel=1e-12)


@pytest.mark.parametrize("level", [0.5, 0.8, 0.9])
def test_the_interval_holds_as_many_rows_as_it_says(level: float) -> None:
    X, y, dates = study_rows(20_000)
    later, volume, _ = study_rows(20_000, seed=1)
    low, high = RatioBoosting(interval_level=level).fit(X, y, dates).predict_interval(later)
    assert ((low <= volume) & (volume <= high)).mean() == pytest.approx(level, abs=0.03)
    assert (volume < low).mean() == pytest.approx((1 - level) / 2, abs=0.025)


def test_days_without_trade_are_within_an_interval_that_reaches_them() -> None:
    X, y, dates = study_rows(5000)
    y[np.random.default_rng(99).random(5000) < 0.3] = 0
    low, high = RatioBoosting().fit(X, y, dates).predict_interval(X)
    assert (low[y == 0] == 0).mean() > 0.95
    assert ((low <= y) & (y <= high)).mean() == pytest.approx(0.8, abs=0.03)


def test_odd_rows_are_taken() -> None:
    X, y, dates = study_rows(500)
    X[::5, 0], y[::5] = 0, 0  # no trade for a whole window
    X[1::5, 1] = -3.5  # an adjusted close below zero
    y[2::5] = 0
    for estimator in (RatioBoosting(), RatioBoosting("squared"), SMALL_FOREST):
        fitted = estimator.fit(X, y, dates)
        low, high = fitted.predict_interval(X)
        predicted = fitted.predict(X)
        assert (predicted >= 0).all()
        assert (low >= 0).all()
        assert (low <= predicted).all()
        assert (predicted <= high).all()
        if not isinstance(fitted, Forest):
            assert (predicted[::5] == 0).all()


@pytest.mark.parametrize("volume", [0.0, 1000.0])
def test_rows_without_any_average_are_no_obstacle(volume: float) -> None:
    X = np.array([[0.0, 1.0], [0.0, 2.0], [volume, 3.0]])
    fitted = RatioBoosting().fit(X, np.array([0.0, 0.0, volume]))
    assert np.isfinite(fitted.predict([[1e6, 2.0]])).all()


def test_a_wrong_objective_is_named() -> None:
    with pytest.raises(ValueError, match="'cubed'; allowed: 'absolute' or 'squared'"):
        RatioBoosting("cubed").fit([[1.0, 1.0]], [1.0])  # type: ignore[arg-type]


def test_the_forest_errs_as_scikit_learns_does() -> None:
    from sklearn.ensemble import RandomForestRegressor

    X, y, dates = study_rows(4000)
    later, volume, _ = study_rows(4000, seed=1)
    fitted = Forest(n_estimators=20, sample_share=1.0, interval_level=None).fit(X, y, dates)
    reference = RandomForestRegressor(20, random_state=42).fit(X, y)
    errors = [np.abs(forest.predict(later) - volume).mean() for forest in (fitted, reference)]
    assert errors[0] == pytest.approx(errors[1], rel=0.1)


def test_a_tree_of_the_forest_is_scikit_learns_on_the_rows_drawn() -> None:
    from sklearn.tree import DecisionTreeRegressor

    X, y, dates = study_rows(500)
    fitted = Forest(n_estimators=1, sample_share=1.0, interval_level=None).fit(X, y, dates)
    drawn = np.random.default_rng([42, 0]).integers(0, len(X), len(X))
    binned = np.column_stack(
        [
            np.searchsorted(fitted.volume_edges_, X[:, 0], "right"),
            np.searchsorted(fitted.price_edges_, X[:, 1], "right"),
        ]
    )
    tree = DecisionTreeRegressor(random_state=42).fit(binned[drawn], y[drawn])
    assert np.mean(np.isclose(fitted.predict(X), tree.predict(binned), rtol=1e-9)) > 0.95  # ties split either way


def test_each_estimator_comes_from_its_params() -> None:
    assert model.make_estimator("ratio_boosting", "squared", 7).get_params()["objective"] == "squared"
    forest = model.make_estimator("forest", "absolute", 7, 11, 0.5)
    assert isinstance(forest, Forest)
    assert (forest.n_estimators, forest.sample_share, forest.random_state) == (11, 0.5, 7)


def test_the_benchmark_fits_both_and_finds_the_forest_worse(tmp_path: Path) -> None:
    from benchmarks import training

    assert training.main(["--rows", "20000", "--to", str(tmp_path / "found")]) == 0
    found = json.loads((tmp_path / "found.json").read_text())
    assert set(found["contestants"]) == {training.OURS, training.REFERENCE}
    assert found["contestants"][training.OURS]["bytes"] < 1e6
    assert training.REFERENCE in (tmp_path / "found.md").read_text()


# --- artifacts ------------------------------------------------------------------------------------------


def saved(study: StudyPaths, estimator: model.TableRegressor, X: Any, dates: Any) -> dict[str, bytes]:
    measured = {"mae": 90.0, "mae_moving_average": 100.0, "mae_scaled_average": 95.0, "coverage": 0.8}
    information = model.describe(estimator, X, dates, 0, 30, "2010-01-04", "d" * 64, measured)
    model.save(study, estimator, information)
    return {path.name: path.read_bytes() for path in sorted(study.model.iterdir())}


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StudyPaths:
    monkeypatch.setenv("STUDY_OUTPUTS", str(tmp_path))
    return StudyPaths("trial")


@pytest.mark.parametrize("estimator", [RatioBoosting(), RatioBoosting("squared"), SMALL_FOREST])
def test_the_table_answers_as_the_estimator_on_random_and_boundary_inputs(
    study: StudyPaths, estimator: model.TableRegressor
) -> None:
    X, y, dates = study_rows(3000)
    fitted = estimator.fit(X, y, dates)
    saved(study, fitted, X, dates)
    predictor = Predictor.load(study.grid)
    random = np.random.default_rng(1)
    at_edges = np.array(np.meshgrid(fitted.volume_edges_, fitted.price_edges_)).reshape(2, -1).T
    anywhere = np.column_stack([np.exp(random.uniform(0, 25, 20_000)), random.normal(0, 500, 20_000)])
    anywhere[::100, 0] = 0
    for inputs in (at_edges, np.nextafter(at_edges, 0), np.nextafter(at_edges, np.inf), anywhere):
        volumes, prices = inputs.T
        assert (predictor.predict(volumes, prices) == np.rint(fitted.predict(inputs))).all()
        low, high = fitted.predict_interval(inputs)
        served_low, served_high = predictor.predict_interval(volumes, prices)
        assert (served_low == np.floor(low)).all()
        assert (served_high == np.ceil(high)).all()


@pytest.mark.parametrize("estimator", [RatioBoosting(), SMALL_FOREST])
def test_an_estimator_comes_back_from_its_file(study: StudyPaths, estimator: model.TableRegressor) -> None:
    X, y, dates = study_rows(1000)
    fitted = estimator.fit(X, y, dates)
    model.write_estimator(study.estimator, fitted)
    back = model.read_estimator(study.estimator)
    assert type(back) is type(fitted)
    assert back.get_params() == fitted.get_params()
    assert (back.predict(X) == fitted.predict(X)).all()
    assert study.estimator.stat().st_size < 1_000_000


def test_a_file_with_other_types_is_refused(tmp_path: Path) -> None:
    class Stranger(LinearRegression):  # type: ignore[misc]
        pass

    Stranger.__module__, Stranger.__qualname__ = "elsewhere", "Stranger"
    skops.io.dump(Stranger().fit([[1.0]], [1.0]), tmp_path / "model.skops")
    with pytest.raises(ValueError, match=r"model\.skops: holds elsewhere\.Stranger; allowed"):
        model.read_estimator(tmp_path / "model.skops")


SCRIPT = """
import sys
import numpy as np
sys.path.insert(0, {tests!r})
from test_model import SMALL_FOREST, saved, study_rows
from lib import evaluation
from lib.model import RatioBoosting
from lib.paths import StudyPaths
X, y, dates = study_rows(3000)
for name, estimator in (("boosting", RatioBoosting()), ("forest", SMALL_FOREST)):
    saved(StudyPaths(name), estimator.fit(X, y, dates), X, dates)
symbol = np.arange(3000, dtype=np.int32) % 7
rows = evaluation.Rows(list("ABCDEFG"), symbol, dates, X, y, y, 0)
split = evaluation.chronological_split(rows, 0.2)
table = evaluation.compare(rows, split, RatioBoosting(), forest=(5, 0.5))
StudyPaths("boosting").metrics.write_text(evaluation.metrics_json(table, [], {{}}))
"""


def test_the_bytes_do_not_depend_on_the_run_or_the_threads(tmp_path: Path) -> None:
    made = []
    for threads in ("1", "2"):
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "LOKY_MAX_CPU_COUNT")
        environment = os.environ | dict.fromkeys(names, threads) | {"STUDY_OUTPUTS": str(tmp_path / threads)}
        environment["PYTHONHASHSEED"] = threads
        code = SCRIPT.format(tests=str(Path(__file__).parent))
        subprocess.run([sys.executable, "-c", code], env=environment, check=True, cwd=Path(model.__file__).parents[1])
        files = (path for path in (tmp_path / threads).rglob("*") if path.is_file())
        made.append({path.relative_to(tmp_path / threads).as_posix(): path.read_bytes() for path in files})
    assert len(made[0]) == 9
    assert made[0] == made[1]


def test_the_log_has_one_line_an_iteration(study: StudyPaths) -> None:
    X, y, dates = study_rows(1000)
    fitted = RatioBoosting().fit(X, y, dates)
    lines = saved(study, fitted, X, dates)["training.jsonl"].decode().splitlines()
    assert [json.loads(line) for line in lines] == fitted.history_
    assert model.training_log(SMALL_FOREST.fit(X, y, dates)) == ""


def test_the_information_is_that_of_the_training_rows(study: StudyPaths) -> None:
    X, y, dates = study_rows(1000)
    fitted = RatioBoosting().fit(X, y, dates)
    card = saved(study, fitted, X, dates)["model_card.md"].decode()
    information = Predictor.load(study.grid).information
    assert information["range"]["vol_moving_avg"] == [X[:, 0].min(), X[:, 0].max()]
    assert (information["train_first_date"], information["train_last_date"]) == (str(dates[0]), str(dates[-1]))
    assert information["train_rows"] == 1000
    assert information["interval_level"] == 0.8
    assert "below the 100 of the moving average itself (0.9000 of it)" in card
    worse = information | {"metrics": information["metrics"] | {"mae": 101.0}}
    assert "not below the 100 of the moving average itself (1.0100 of it)" in model.model_card(worse)


def test_the_saved_file_names_no_address_and_no_time(study: StudyPaths) -> None:
    X, y, dates = study_rows(500)
    model.write_estimator(study.estimator, RatioBoosting().fit(X, y, dates))
    with zipfile.ZipFile(study.estimator) as archive:
        names = [name for name in archive.namelist() if name.endswith(".npy")]
        assert all(len(name) < 12 for name in names)
        assert {member.date_time for member in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
