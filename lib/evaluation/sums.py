"""What a part contributes to a judgement: sums of errors by group, which add up over parts. Pure.

Every sum is one row of a table: which horizon and predictor, which group (all rows, a year, a quarter, a decile of the average, a weekday, a kind
of day), how many rows, and their errors. A median needs more than a sum: it comes from a histogram of fine, even bins on the
logarithmic scale, `APE_STEP` wide, so it is right to a thousandth of itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from lib.evaluation.lead import lead_over_blocks

Floats = NDArray[np.float64]
APE_STEP, APE_BINS = 0.002, 7000  # of log(|error| / Volume), from APE_LEAST on
APE_LEAST = -9.0
EVERYDAY, THIRD_FRIDAY, EARLY_CLOSE = 0, 1, 2  # kinds of a day
SCHEMA = pa.schema(
    [
        ("horizon", pa.int32()),
        ("predictor", pa.string()),
        ("grouping", pa.string()),
        ("key", pa.int32()),
        ("rows", pa.int64()),
        ("error", pa.float64()),  # sum of |prediction - Volume|, shares
        ("squared", pa.float64()),  # sum of its squares
        ("inside", pa.int64()),  # rows whose range holds the Volume
        ("pinball", pa.float64()),  # sum of the pinball losses of both ends of the range, shares
    ]
)
_KEYS = ["horizon", "predictor", "grouping", "key"]
_FOLDED_ROWS = 1_000_000  # of tables that are added up at a time


@dataclass(frozen=True)
class Judged:
    """Rows of one horizon to be judged.

    Parameters
    ----------
    traded : ndarray of float64, shape (rows,)
        What was traded: mean Volume over the horizon.
    groups : dict of str to ndarray of int, each of shape (rows,)
        The group of each row, by grouping.
    predictions : dict of str to ndarray, each of shape (rows,)
        By predictor.
    """

    horizon: int
    traded: Floats
    groups: Mapping[str, NDArray[Any]]
    predictions: Mapping[str, Floats]


def error_sums(judged: Judged, ranges: Mapping[str, tuple[Floats, Floats]], tail: float) -> pa.Table:
    """The sums of some rows.

    Parameters
    ----------
    ranges : dict of str to (ndarray, ndarray)
        The ends of the range, for predictors that have one.
    tail : float
        Probability below and above the range.

    Returns
    -------
    pyarrow.Table
        As `SCHEMA`.
    """
    tables = [SCHEMA.empty_table()]
    if not len(judged.traded):
        return tables[0]
    traded, everything = judged.traded, np.zeros(len(judged.traded), dtype=np.int64)
    for name, predicted in judged.predictions.items():
        error = np.abs(predicted - traded)
        measures = {"error": error, "squared": error**2}
        if name in ranges:
            low, high = ranges[name]
            measures["inside"] = ((low <= traded) & (traded <= high)).astype(np.float64)
            measures["pinball"] = _pinball(traded - low, tail) + _pinball(traded - high, 1 - tail)
        for grouping, keys in {"all": everything, **judged.groups}.items():
            tables.append(_grouped(judged.horizon, name, grouping, keys, measures))
        tables.append(_ape_histogram(judged.horizon, name, error, traded))
    return pa.concat_tables(tables)


def _pinball(difference: Floats, quantile: float) -> Floats:
    return np.maximum(quantile * difference, (quantile - 1) * difference)


def _ape_histogram(horizon: int, predictor: str, error: Floats, traded: Floats) -> pa.Table:
    some = traded > 0
    with np.errstate(divide="ignore"):
        place = (np.log(error[some] / traded[some]) - APE_LEAST) / APE_STEP
    bins = np.clip(place, 0, APE_BINS - 1).astype(np.int64)
    return _grouped(horizon, predictor, "ape", bins, {})


def _grouped(
    horizon: int, predictor: str, grouping: str, keys: NDArray[Any], measures: Mapping[str, Floats]
) -> pa.Table:
    least = int(keys.min(initial=0))
    place = keys - least
    rows = np.bincount(place)
    found = np.flatnonzero(rows)
    added_up = {name: np.bincount(place, values)[found] for name, values in measures.items()}
    nothing = np.zeros(len(found))
    return pa.table(
        {
            "horizon": np.full(len(found), horizon, dtype=np.int32),
            "predictor": pa.array([predictor] * len(found), pa.string()),
            "grouping": pa.array([grouping] * len(found), pa.string()),
            "key": (found + least).astype(np.int32),
            "rows": rows[found],
            "error": added_up.get("error", nothing),
            "squared": added_up.get("squared", nothing),
            "inside": added_up.get("inside", nothing).astype(np.int64),
            "pinball": added_up.get("pinball", nothing),
        },
        schema=SCHEMA,
    )


def added(tables: Iterable[pa.Table]) -> pd.DataFrame:
    """The sums of all parts; what is in memory at a time does not grow with their number.

    Parameters
    ----------
    tables : iterable of pyarrow.Table
        As `SCHEMA`, in the order of the parts: sums of floats depend on it.

    Returns
    -------
    pandas.DataFrame
        One line a horizon, predictor, grouping and key.
    """
    waiting: list[pa.Table] = [SCHEMA.empty_table()]
    for table in tables:
        waiting.append(table)
        if sum(each.num_rows for each in waiting) > _FOLDED_ROWS:
            waiting = [folded(waiting)]
    return folded(waiting).sort_by([(key, "ascending") for key in _KEYS]).to_pandas()


def folded(tables: Iterable[pa.Table]) -> pa.Table:
    """The sums of some tables as one table of `SCHEMA`."""
    values = [name for name in SCHEMA.names if name not in _KEYS]
    # With several threads, the order of the sums is another one each time.
    grouped = pa.concat_tables(tables).group_by(_KEYS, use_threads=False).aggregate([(name, "sum") for name in values])
    return grouped.rename_columns([name.removesuffix("_sum") for name in grouped.column_names]).select(SCHEMA.names)


def median_ape(sums: pd.DataFrame, horizon: int, predictor: str) -> float:
    """The median of |error| / Volume, over the rows with trade; NaN without any."""
    found = sums[(sums["horizon"] == horizon) & (sums["predictor"] == predictor) & (sums["grouping"] == "ape")]
    total = found["rows"].cumsum().to_numpy()
    if not len(total):
        return float("nan")
    bin_index = int(found["key"].iloc[np.searchsorted(total, total[-1] / 2)])
    return float(np.exp(APE_LEAST + (bin_index + 0.5) * APE_STEP))


def by_group(sums: pd.DataFrame, horizon: int, grouping: str, model: str, average: str) -> pd.DataFrame:
    """How good a predictor is, group by group.

    Parameters
    ----------
    sums : pandas.DataFrame
        As `added` makes it.
    model, average : str
        The predictor, and the one that it is compared with.

    Returns
    -------
    pandas.DataFrame
        One line a group: key, rows, mae (shares), relative_mae, coverage.
    """
    some = sums[(sums["horizon"] == horizon) & (sums["grouping"] == grouping)]
    own, other = (some[some["predictor"] == name].set_index("key") for name in (model, average))
    table = pd.DataFrame(
        {
            "rows": own["rows"],
            "mae": own["error"] / own["rows"],
            "relative_mae": own["error"] / other["error"].where(other["error"] > 0),
            "coverage": own["inside"] / own["rows"],
        }
    )
    return table.reset_index()


def lead(
    sums: pd.DataFrame, horizon: int, model: str, other: str, grouping: str = "quarter", measure: str = "error"
) -> tuple[float, float]:
    """By which share a model's error is below another's, and the standard error over quarters of a year, or other groups.

    Parameters
    ----------
    sums : pandas.DataFrame
        As `added` makes it.
    model, other : str
        Predictors.
    measure : {"error", "squared"}
        Which sums.

    Returns
    -------
    (float, float)
        The error is NaN with fewer than three groups.
    """
    some = sums[(sums["horizon"] == horizon) & (sums["grouping"] == grouping)]
    errors = some[some["predictor"].isin([model, other])].pivot_table(
        index="key", columns="predictor", values=measure, aggfunc="sum"
    )
    if errors.empty:
        return 0.0, float("nan")
    errors = errors[[model, other]].dropna()
    return lead_over_blocks((errors[other] - errors[model]).to_numpy(), float(errors[other].sum()))
