"""What a comparison says: a verdict in plain words, computed from its numbers, and every number as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from lib.evaluation.baselines import AVERAGE, LAST, MODEL, ORACLE, REFERENCE, SCALED
from lib.evaluation.errors import ratio
from lib.evaluation.sums import UNTESTED, beats


def verdict(table: pd.DataFrame, brief: bool = False) -> str:
    """What a comparison says, in plain words computed from its numbers.

    Parameters
    ----------
    table : pandas.DataFrame
        As `compare` makes it, for one split and horizon.
    brief : bool
        Leave out all predictors but the average and its best multiple.

    Returns
    -------
    str
        A few sentences, in the words of `beats`.
    """
    split, horizon, objective = (table[column].iloc[0] for column in ("split", "horizon", "objective"))
    measure, words = ("mae", "mean absolute error") if objective == "absolute" else ("rmse", "root mean squared error")
    lines = table.set_index("predictor")
    errors, average = lines[measure], lines[measure][AVERAGE]
    where = {
        "chronological": "On dates it never saw",
        "random": "On rows held out at random",
        "symbol": "On symbols it never saw",
    }
    what = {0: "the same day's volume", 1: "the next day's volume"}
    if not average:  # as where no share of any symbol is traded
        return (
            f"{where[split]} ({what[horizon]}), the moving average is never wrong, so no model can beat it; the model's {words} "
            f"is {errors[MODEL]:,.0f} shares."
        )

    sentences = [
        f"{where[split]} ({what[horizon]}), the model's {words} is {errors[MODEL]:,.0f} shares, "
        + f"{ratio(errors[MODEL], average):.4f} times the moving average's {average:,.0f}.",
        f"It {beats(lines, AVERAGE)} the average, and it {beats(lines, SCALED)} the average's best multiple"
        + f" ({ratio(errors[SCALED], average):.4f}).",
    ]
    if lines["lead_error"][[AVERAGE, SCALED]].isna().any():
        sentences.append(UNTESTED)
    if brief:
        return " ".join(sentences)
    if REFERENCE in errors:
        relative = ratio(errors[REFERENCE], average)
        sentences.append(f"It {beats(lines, REFERENCE)} the reference forest ({relative:.4f}).")
    better = "better" if errors[LAST] < errors[MODEL] else "not better"
    sentences.append(
        f"Simply repeating the volume of the day before, which the model is not given, is {better} ({ratio(errors[LAST], average):.4f})."
    )
    if errors[ORACLE] < average:
        share = (average - errors[MODEL]) / (average - errors[ORACLE])
        won = (
            f"the model captures {share:.0%} of the achievable improvement"
            if share > 0
            else "the model captures none of the achievable improvement"
        )
        sentences.append(
            f"A model fitted on the test rows themselves would reach {ratio(errors[ORACLE], average):.4f}: from these two inputs, {won}."
        )
    return " ".join(sentences)


def metrics_json(headline: pd.DataFrame, others: Iterable[pd.DataFrame], extra: Mapping[str, Any]) -> str:
    """Every measured number, as the text of a study's ``metrics.json``.

    Parameters
    ----------
    headline : pandas.DataFrame
        The chronological comparison of the served model.
    others : iterable of pandas.DataFrame
        The other comparisons.
    extra : mapping
        Further numbers, by name; tables become lists of lines.

    Returns
    -------
    str
        JSON; NaN becomes null. ``mae`` and ``mae_moving_average`` are the headline's, in shares.
    """
    mae = headline.set_index("predictor")["mae"]
    content: dict[str, Any] = {
        "mae": float(mae[MODEL]),
        "mae_moving_average": float(mae[AVERAGE]),
        "verdict": verdict(headline),
        "headline": _records(headline),
        "comparisons": [line for table in others for line in _records(table)],
    }
    content.update(
        {name: _records(value) if isinstance(value, pd.DataFrame) else value for name, value in extra.items()}
    )
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return json.loads(table.to_json(orient="records", double_precision=10))
