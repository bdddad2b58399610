"""What every model of the registry keeps, scikit-learn's own rules among it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from model_rows import estimators, study_rows
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import parametrize_with_checks

from lib.models.quantiles import quantile_edges, weighted_quantiles
from lib.models.regressor import TableRegressor


@parametrize_with_checks(estimators())
def test_scikit_learn_accepts_the_estimators(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.mark.parametrize("estimator", estimators(), ids=str)
def test_pipelines_and_cross_validation_take_it(estimator: TableRegressor) -> None:
    X, y, _ = study_rows(800)
    scores = cross_val_score(make_pipeline(FunctionTransformer(), estimator), X, y, scoring="r2", cv=3)
    assert scores.mean() > 0.3


@pytest.mark.parametrize("estimator", estimators(), ids=str)
def test_odd_rows_are_taken(estimator: TableRegressor) -> None:
    X, y, _ = study_rows(500)
    X[::5, 0], y[::5] = 0, 0  # no trade for a whole window
    X[1::5, 1] = -3.5  # an adjusted close below zero
    y[2::5] = 0
    y[3] = 1e15  # far above its average
    fitted = estimator.fit(X, y)
    low, high = fitted.predict_interval(X)
    predicted = fitted.predict(X)
    assert (low >= 0).all()
    assert (low <= predicted).all()
    assert (predicted <= high).all()
    if fitted.table_.relative:
        assert (predicted[::5] == 0).all()


@pytest.mark.parametrize("volume", [0.0, 1000.0])
@pytest.mark.parametrize("estimator", estimators(), ids=str)
def test_rows_without_any_average_are_no_obstacle(estimator: TableRegressor, volume: float) -> None:
    X = np.array([[0.0, 1.0], [0.0, 2.0], [volume, 3.0]])
    fitted = estimator.fit(X, np.array([0.0, 0.0, volume]))
    assert np.isfinite(fitted.predict([[1e6, 2.0]])).all()


lists = st.lists(st.tuples(st.floats(0, 1000), st.floats(0.1, 10)), min_size=1, max_size=40)


@given(lists, st.floats(0.01, 1))
def test_a_weighted_quantile_is_the_least_value_with_its_share_of_the_weight(pairs: Any, share: float) -> None:
    values, weights = np.array(pairs).T
    groups = np.arange(len(values)) % 2
    found = weighted_quantiles(values, weights, groups, 3, share)
    assert np.isnan(found[2])
    for group in range(min(2, len(values))):
        here, weight = values[groups == group], weights[groups == group]
        wanted = share * weight.sum()
        reached = [value for value in np.sort(here) if weight[here <= value].sum() >= wanted * (1 - 1e-9)]
        assert found[group] in here
        assert found[group] == pytest.approx(reached[0]) or weight[here <= found[group]].sum() == pytest.approx(wanted)


def test_edges_cut_the_weight_into_equal_parts() -> None:
    values = np.arange(1000.0)
    edges = quantile_edges(values, np.ones(1000), 4)
    assert edges == pytest.approx([250, 500, 750], abs=2)
    assert quantile_edges(np.ones(10), np.ones(10), 4).tolist() == [1.0]
