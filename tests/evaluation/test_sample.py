"""Rows are drawn by symbol and date alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from evaluation_rows import by_symbol, stored, study

from lib.compute.engine import Engine
from lib.evaluation import sample
from lib.evaluation.rows import ShortPricesError
from lib.evaluation.sample import draw_rows


def identities(rows) -> set[tuple[str, str]]:
    return {(rows.symbols[index], str(day)) for index, day in zip(rows.symbol, rows.date, strict=True)}


def test_few_rows_are_all_drawn(tmp_path: Path) -> None:
    rows = study(900)
    made = draw_rows(stored(tmp_path, *by_symbol(rows)), [0, 1], Engine(workers=1))
    assert made[0].total == len(made[0].rows) == 900
    assert made[1].total == len(made[1].rows) == 900 - 8  # the first of each symbol has no evening before
    assert identities(made[0].rows) == identities(rows)
    assert made[0].symbols == tuple("ABCDEFGH")
    assert made[0].days.tolist() == sorted(set(rows.date.tolist()))


def test_the_same_rows_are_drawn_however_the_dataset_is_cut(tmp_path: Path) -> None:
    frames = by_symbol(study(6000))
    apart = draw_rows(stored(tmp_path / "apart", *frames), [0], Engine(workers=1), most=1000)[0]
    together = draw_rows(stored(tmp_path / "together", pd.concat(frames)), [0], Engine(workers=1), most=1000)[0]
    assert identities(apart.rows) == identities(together.rows)
    assert (apart.rows.features == together.rows.features).all()
    assert apart.total == together.total == 6000
    assert len(apart.rows) == pytest.approx(6000 / 8, rel=0.1)  # the largest power of two that gives no more than 1000
    assert len(apart.days) == 3000  # of all rows, not of those drawn


def test_a_row_more_changes_only_whether_it_is_drawn_itself(tmp_path: Path) -> None:
    rows = study(6000)
    fewer = [part.iloc[:-1] for part in by_symbol(rows)]
    many = draw_rows(stored(tmp_path / "many", *by_symbol(rows)), [0], Engine(workers=1), most=3000)[0]
    few = draw_rows(stored(tmp_path / "few", *fewer), [0], Engine(workers=1), most=2996)[0]
    assert identities(few.rows) <= identities(many.rows)
    assert len(identities(many.rows) - identities(few.rows)) <= 8


def test_no_rows_with_features_are_an_error(tmp_path: Path) -> None:
    [*_, last] = by_symbol(study(90))
    with pytest.raises(ShortPricesError, match=rf"no symbol has more than {len(last)} rows"):
        draw_rows(stored(tmp_path, last.assign(vol_moving_avg=np.nan)), [0], Engine(workers=1))


def test_rows_that_are_kept_are_those_that_were_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = by_symbol(study(900))
    names = ["A\nB", "Ä,\x00", *"CDEFGH"]
    frames = [frame.assign(Symbol=name) for frame, name in zip(frames, names, strict=True)]
    features = stored(tmp_path / "features", *frames)
    plain = draw_rows(features, [0, 1], Engine(workers=1))
    first = draw_rows(features, [0, 1], Engine(workers=1), kept=tmp_path / "kept")
    monkeypatch.setattr(sample, "whole", None)  # nothing is drawn from here on
    again = draw_rows(features, [0, 1], Engine(workers=1), kept=tmp_path / "kept")
    for found in (first, again):
        for horizon in (0, 1):
            assert found[horizon].symbols == plain[horizon].symbols and found[horizon].total == plain[horizon].total
            assert (found[horizon].days == plain[horizon].days).all()
            np.testing.assert_equal(vars(found[horizon].rows), vars(plain[horizon].rows))
            assert found[horizon].rows.date.dtype == plain[horizon].rows.date.dtype
