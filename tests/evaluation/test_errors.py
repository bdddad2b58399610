"""Errors, against values computed by hand or by scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from lib.evaluation.errors import best_scale, metrics


def test_metrics_by_hand() -> None:
    found = metrics(np.array([100.0, 200.0, 0.0, 300.0]), np.array([110.0, 180.0, 30.0, 300.0]))
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
    found = metrics(actual, predicted)
    assert found["mae"] == pytest.approx(sklearn_metrics.mean_absolute_error(actual, predicted))
    assert found["rmse"] == pytest.approx(sklearn_metrics.root_mean_squared_error(actual, predicted))
    assert found["r2"] == pytest.approx(sklearn_metrics.r2_score(actual, predicted), rel=1e-6)


def test_metrics_of_constant_or_no_trade_have_no_share() -> None:
    found = metrics(np.zeros(3), np.ones(3))
    assert np.isnan(found["r2"])
    assert np.isnan(found["median_ape"])


@given(st.lists(st.tuples(st.integers(1, 1000), st.integers(0, 5000)), min_size=1, max_size=30))
def test_no_other_multiple_is_better_than_the_best(pairs: list[tuple[int, int]]) -> None:
    average, volume = np.array(pairs, dtype=float).T
    for objective, power in (("absolute", 1), ("squared", 2)):
        best = best_scale(average, volume, objective)
        loss = (np.abs(best * average - volume) ** power).sum()
        for other in [*np.linspace(0, 6, 61), *(volume / average), best * 0.999, best * 1.001]:
            assert loss <= (np.abs(other * average - volume) ** power).sum() * (1 + 1e-9) + 1e-9


def test_a_market_without_trade_has_the_average_as_its_best_multiple() -> None:
    assert best_scale(np.zeros(3), np.zeros(3)) == 1
