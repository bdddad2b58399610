"""What every model of the registry keeps, scikit-learn's own rules among it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from model_rows import estimators, study_rows
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import parametrize_with_checks

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
