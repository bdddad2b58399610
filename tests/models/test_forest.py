"""The reference forest, against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from model_rows import study_rows
from sklearn.ensemble import RandomForestRegressor
from sklearn.tree import DecisionTreeRegressor

from lib.models.forest import Forest


def test_the_forest_errs_as_scikit_learns_does() -> None:
    X, y, _ = study_rows(4000)
    later, volume, _ = study_rows(4000, seed=1)
    fitted = Forest(n_estimators=20, sample_share=1.0).fit(X, y)
    reference = RandomForestRegressor(20, random_state=42).fit(X, y)
    errors = [np.abs(forest.predict(later) - volume).mean() for forest in (fitted, reference)]
    assert errors[0] == pytest.approx(errors[1], rel=0.1)


def test_a_tree_of_the_forest_is_scikit_learns_on_the_rows_drawn() -> None:
    X, y, _ = study_rows(500)
    fitted = Forest(n_estimators=1, sample_share=1.0).fit(X, y)
    drawn = np.random.default_rng([42, 0]).integers(0, len(X), len(X))
    binned = np.column_stack(fitted.table_.cells(X[:, 0], X[:, 1]))
    tree = DecisionTreeRegressor(random_state=42).fit(binned[drawn], y[drawn])
    assert np.mean(np.isclose(fitted.predict(X), tree.predict(binned), rtol=1e-9)) > 0.95  # ties split either way


def test_its_interval_holds_as_many_rows_as_it_says() -> None:
    X, y, _ = study_rows(20_000)
    low, high = Forest(n_estimators=3).fit(X, y).predict_interval(X)
    assert ((low <= y) & (y <= high)).mean() == pytest.approx(0.8, abs=0.06)
