"""An evaluation from what an earlier one has kept is that from nothing."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from evaluation_rows import by_symbol, stored, study

from lib.compute.engine import Engine
from lib.evaluation import evaluate as module
from lib.evaluation import scores
from lib.evaluation.evaluate import Evaluation, Settings, evaluate
from lib.evaluation.rows import chronological_split, distinct_days
from lib.evaluation.verdict import metrics_json
from lib.models.ratio_by_quantile import RatioByQuantile


def text(found: Evaluation) -> str:
    headline, *others = found.comparisons.values()
    tables = {name: table for name, table in vars(found).items() if isinstance(table, pd.DataFrame)}
    return metrics_json(headline, others, tables)


def test_only_what_a_change_touches_is_fitted_and_judged_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = study(3000)
    split = chronological_split(distinct_days(rows.date), 0.2)
    train = rows.chosen(~split.test(rows))
    fitted = RatioByQuantile().fit(train.features, train.volume)
    wanted = Settings(0, split.first_test_date, seeds=2, forest_trees=2, forest_rows=500)
    frames = by_symbol(rows)
    fits, judged = [], []
    fit, judge_part = module._fit, scores._judge_part
    monkeypatch.setattr(module, "_fit", lambda task, shared: fits.append(task) or fit(task, shared))
    monkeypatch.setattr(scores, "_judge_part", lambda task, cases: judged.append(task) or judge_part(task, cases))

    def evaluated(name: str, settings: Settings = wanted, kept: Path | None = tmp_path / "kept") -> str:
        fits.clear()
        judged.clear()
        return text(evaluate(stored(tmp_path / name, *frames), fitted, settings, Engine(workers=1), kept))

    plain = evaluated("features", kept=None)
    count = len(fits)
    assert count > 10 and len(judged) == len(frames)
    assert evaluated("features") == plain and len(fits) == count
    assert evaluated("features") == plain and not fits and not judged
    # Another date of the split: the random split and the one by symbol stay as they are.
    later = Settings(**vars(wanted) | {"first_test_date": split.first_test_date + 20})
    moved = evaluated("features", later)
    assert 0 < len(fits) < count and {task.split.name for task in fits} == {"chronological"}
    assert all(len(indices) == 2 for _, indices in judged) and len(judged) == len(frames)
    assert moved == evaluated("features", later, None) != plain
    # A part whose last Volume is another: its rows are drawn, fitted and judged anew.
    frames[3] = frames[3].assign(Volume=[*frames[3]["Volume"][:-1], 10**9])
    changed = evaluated("changed", later)
    assert len(fits) == count and len(judged) == len(frames)
    assert changed == evaluated("changed", later, None) != moved
