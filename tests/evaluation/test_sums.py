"""Sums over parts say what the rows themselves would."""

from __future__ import annotations

import numpy as np
import pytest

from lib.evaluation import sums


def judged(rows: int, seed: int) -> tuple[sums.Judged, dict[str, tuple[np.ndarray, np.ndarray]]]:
    chance = np.random.default_rng(seed)
    traded = np.floor(1000 * np.exp(chance.normal(size=rows)))
    quarter = 8000 + np.arange(rows) * 8 // max(rows, 1)
    predictions = {"average": np.full(rows, 1500.0), "model": traded * np.exp(chance.normal(0, 0.3, rows))}
    ranges = {"model": (predictions["model"] * 0.7, predictions["model"] * 1.4)}
    return sums.Judged(1, traded, {"quarter": quarter, "year": quarter // 4}, predictions), ranges


def test_parts_add_up_to_the_whole() -> None:
    whole, ranges = judged(4000, 1)
    cut = 1234
    pieces = []
    for part in (slice(0, cut), slice(cut, None), slice(4000, None)):
        piece = sums.Judged(
            1,
            whole.traded[part],
            {name: keys[part] for name, keys in whole.groups.items()},
            {name: values[part] for name, values in whole.predictions.items()},
        )
        pieces.append(
            sums.error_sums(piece, {name: (low[part], high[part]) for name, (low, high) in ranges.items()}, 0.1)
        )
    found = sums.Total(pieces).lines()
    error = np.abs(whole.predictions["model"] - whole.traded)
    table = sums.by_group(found, 1, "all", "model", "average")
    assert table["mae"][0] == pytest.approx(error.mean())
    low, high = ranges["model"]
    assert table["coverage"][0] == ((low <= whole.traded) & (whole.traded <= high)).mean()
    assert table["relative_mae"][0] == pytest.approx(error.mean() / np.abs(1500 - whole.traded).mean())
    assert sums.by_group(found, 1, "quarter", "model", "average")["rows"].tolist() == [500] * 8
    median = np.median((error / whole.traded)[whole.traded > 0])
    assert sums.median_ape(found, 1, "model") == pytest.approx(median, rel=0.02)
    losses = [np.where(whole.traded > end, q, q - 1) * (whole.traded - end) for end, q in ((low, 0.1), (high, 0.9))]
    everything = found[(found["predictor"] == "model") & (found["grouping"] == "all")]
    assert everything["pinball"].iloc[0] == pytest.approx(np.sum(losses))


def test_a_lead_is_judged_by_how_it_changes_between_quarters() -> None:
    whole, ranges = judged(4000, 2)
    found = sums.Total([sums.error_sums(whole, ranges, 0.1)]).lines()
    lead, error = sums.lead(found, 1, "model", "average")
    own, other = (np.abs(whole.predictions[name] - whole.traded) for name in ("model", "average"))
    assert lead == pytest.approx(1 - own.sum() / other.sum())
    differences = np.bincount(whole.groups["quarter"] - 8000, other - own)
    assert error == pytest.approx(np.std(differences, ddof=1) * 8**0.5 / other.sum())
