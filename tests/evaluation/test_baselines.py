"""The baselines learn from the training rows alone; the oracle from those that judge."""

from __future__ import annotations

import numpy as np
import pytest
from evaluation_rows import study

from lib.evaluation.baselines import AVERAGE, LAST, SCALED, baselines, oracle, reference_forest
from lib.evaluation.errors import best_scale


def test_the_baselines_are_what_their_names_say() -> None:
    rows = study(400)
    train, others = rows.chosen(slice(0, 200)), rows.chosen(slice(200, 400))
    simple = {name: predict(others) for name, predict in baselines(train).items()}
    assert (simple[AVERAGE] == others.features[:, 0]).all()
    assert (simple[LAST] == others.previous_volume).all()
    assert (simple[SCALED] == best_scale(train.features[:, 0], train.volume) * others.features[:, 0]).all()


def test_the_oracle_is_better_on_its_own_rows_than_any_multiple() -> None:
    rows = study(4000)
    own = np.abs(oracle(rows)(rows) - rows.volume).mean()
    scale = best_scale(rows.features[:, 0], rows.volume)
    assert own < 0.97 * np.abs(scale * rows.features[:, 0] - rows.volume).mean()


def test_the_oracle_of_a_market_without_trade_is_the_average() -> None:
    rows = study(40)
    nothing = rows.chosen(slice(0, 0))
    assert (oracle(nothing)(rows) == rows.features[:, 0]).all()


@pytest.mark.parametrize("most", [100, 10_000])
def test_the_forest_is_fitted_on_so_many_rows_at_most(most: int) -> None:
    rows = study(2000)
    predicted = reference_forest(rows, 5, most, 42)(rows)
    error = np.abs(predicted - rows.volume).mean() / np.abs(rows.features[:, 0] - rows.volume).mean()
    assert bool(error < 0.6) is (most > 2000)  # it knows its own rows by heart
