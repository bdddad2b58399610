"""The tables that judge forecasts."""

from __future__ import annotations

import pandas as pd

from lib.evaluation import forecast_metrics


def test_without_rows_to_judge_the_table_has_columns_of_numbers():
    table = forecast_metrics.compare(pd.DataFrame(columns=["horizon", "grouping", "predictor"]), 1)
    assert len(table) == 0
    assert (100 * table["lead"]).round(2).empty  # as 05_forecast shows it: pandas rounds no column of objects
    assert "neither it nor its range has been tested" in forecast_metrics.forecast_verdict(table, 1)
