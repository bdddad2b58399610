"""The verdict follows the numbers, and metrics.json holds them."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from evaluation_rows import all_rows, by_symbol, compared, evaluated, frame, headline, stored, study

from lib.evaluation.baselines import AVERAGE, MODEL, SCALED
from lib.evaluation.sums import UNTESTED
from lib.evaluation.verdict import metrics_json, verdict
from lib.models.forest import Forest
from lib.models.ratio_by_quantile import RatioByQuantile


def test_a_real_gain_beats_and_the_words_say_so() -> None:
    table = headline()
    words = verdict(table)
    assert "It beats the average, and it beats the average's best multiple" in words
    assert "It beats the reference forest" in words
    assert f"{table.set_index('predictor')['mae'][MODEL]:,.0f} shares" in words


def doctored(table: pd.DataFrame, lead: float, lead_error: float) -> pd.DataFrame:
    """The comparison as it would be with another lead over the average and its best multiple."""
    lines = table.set_index("predictor")
    for name in (AVERAGE, SCALED):
        lines.loc[name, ["lead", "lead_error"]] = lead, lead_error
    lines.loc[MODEL, "mae"] = lines.loc[AVERAGE, "mae"] * (1 - lead)
    return lines.reset_index()


@pytest.mark.parametrize(
    ("lead", "error", "words"),
    [
        (0.02, 0.005, "beats"),
        (0.02, 0.015, "does not clearly beat"),
        (0.02, float("nan"), "is ahead of"),
        (-0.02, float("nan"), "is not ahead of"),
        (0.0, 0.001, "does not beat"),
        (-0.02, 0.001, "does not beat"),
    ],
)
def test_the_verdict_follows_the_numbers(lead: float, error: float, words: str) -> None:
    sentences = verdict(doctored(headline(), lead, error))
    assert f"It {words} the average, and it {words} the average's best multiple" in sentences
    assert (UNTESTED in sentences) == np.isnan(error)
    assert ("captures none" in sentences) is (lead <= 0)


def test_a_model_that_is_no_good_does_not_beat_the_average(tmp_path: Path) -> None:
    rows = study(2000)

    class Tripled(RatioByQuantile):
        def fit(self, X, y):
            return super().fit(X, 3 * y)

    found = evaluated(stored(tmp_path, *by_symbol(rows)), Tripled(), rows)
    sentences = verdict(found.comparisons[0, "chronological"])
    assert "It does not beat the average, and it does not beat the average's best multiple" in sentences
    assert "the model captures none" in sentences


def test_the_verdict_where_the_average_is_never_wrong():
    never_wrong = headline()
    never_wrong[["mae", "rmse"]] = 0.0  # as where no share is ever traded
    sentences = verdict(never_wrong)
    assert "the moving average is never wrong, so no model can beat it" in sentences
    assert "nan" not in sentences


def test_the_squared_objective_is_judged_by_squared_errors(tmp_path: Path) -> None:
    rows = study(4000)
    features = stored(tmp_path, *by_symbol(rows))
    table = evaluated(features, RatioByQuantile("squared"), rows).comparisons[0, "chronological"]
    lines = table.set_index("predictor")
    assert lines["lead"][AVERAGE] == pytest.approx(1 - lines["rmse"][MODEL] / lines["rmse"][AVERAGE])
    assert "root mean squared error" in verdict(table)
    forest = evaluated(features, Forest(3), rows).comparisons[0, "chronological"]
    assert forest["objective"].iloc[0] == "squared"


def test_metrics_json_is_read_back_with_the_headline_on_top() -> None:
    found, table = compared()[2], headline()
    text = metrics_json(table, [table], {"coverage": found.coverage, "note": 1})
    read = json.loads(text)
    lines = table.set_index("predictor")
    assert read["mae"] == lines["mae"][MODEL]
    assert read["mae_moving_average"] == lines["mae"][AVERAGE]
    assert read["verdict"] == verdict(table)
    assert [line["predictor"] for line in read["headline"]] == table["predictor"].tolist()
    assert read["headline"][-1]["train_mae"] is None
    assert len(read["coverage"]) == 11


@pytest.mark.parametrize("volumes", [[0] * 8, [5] * 8, [0, 0, 0, 0, 9, 9, 9, 9]])
@pytest.mark.parametrize("symbols", ["AB", "A"])
def test_odd_markets_are_judged_without_an_error(volumes: list[int], symbols: str, tmp_path: Path) -> None:
    averages: list[float | None] = [None, *([float(a + b) / 2 for a, b in pairwise(volumes)])]
    features = stored(tmp_path, *(frame(symbol, volumes, averages) for symbol in symbols))
    found = evaluated(features, RatioByQuantile(), all_rows(features), 0.3)
    table = found.comparisons[0, "chronological"]
    extra = {
        "coverage": found.coverage,
        "errors": found.by_volume,
        "spread": found.spread,
        "curve": found.learning_curve,
    }
    assert json.loads(metrics_json(table, [table], extra))["verdict"].startswith("On dates it never saw")
    assert {split for _, split in found.comparisons} == {"chronological", "random", *["symbol"][: len(symbols) - 1]}
