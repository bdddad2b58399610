"""The baselines learn from the training rows alone."""

from __future__ import annotations

import numpy as np
import pytest
from evaluation_rows import study

from lib.evaluation.baselines import AVERAGE, LAST, SCALED, baselines
from lib.evaluation.rows import Rows, chronological_split


def test_baselines_learn_from_the_training_rows_alone() -> None:
    rows = study(400)
    split = chronological_split(rows, 0.5)
    simple = baselines(rows, split.train)
    everywhere = np.ones(len(rows), dtype=bool)
    before = {name: predict(everywhere) for name, predict in simple.items()}
    changed = Rows(**{**vars(rows), "volume": np.where(split.test, 0, rows.volume)})
    for name, predict in baselines(changed, split.train).items():
        assert (predict(everywhere) == before[name]).all(), name
    assert (before[AVERAGE] == rows.features[:, 0]).all()
    assert (before[LAST] == rows.previous_volume).all()
    assert before[SCALED] / before[AVERAGE] == pytest.approx(np.full(len(rows), before[SCALED][0] / before[AVERAGE][0]))
