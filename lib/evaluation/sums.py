"""What a part contributes to a judgement: sums of errors by group, which add up over parts. Pure.

Every sum is one row of a table: which horizon and predictor, which group (all rows, a year, a quarter, a decile of the average, a weekday, a kind
of day), how many rows, and their errors. A median needs more than a sum: it comes from a histogram of fine, even bins on the
logarithmic scale, `APE_STEP` wide, so it is right to a thousandth of itself.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

Floats = NDArray[np.float64]
UNTESTED = "Too little data to tell this from chance."
APE_STEP, APE_BINS = 0.002, 7000  # of log(|error| / Volume), from APE_LEAST on
APE_LEAST = -9.0
HISTORY = (63, 126, 252, 504)  # rows of a symbol by then, where the next group of them begins
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
_FOLDED_ROWS = 50_000  # of tables that are added up at a time


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


@dataclass(frozen=True)
class _Groups:
    """Rows by the group that they belong to; ``index`` is the group's index from the least key on."""

    grouping: str
    keys: NDArray[np.int64]
    rows: NDArray[np.int64]
    index: NDArray[np.intp]
    found: NDArray[np.intp]

    @classmethod
    def of(cls, grouping: str, keys: NDArray[Any]) -> _Groups:
        least = int(keys.min()) if len(keys) else 0
        index = keys - least
        rows = np.bincount(index)
        found = np.flatnonzero(rows)
        return cls(grouping, found + least, rows[found], index, found)

    def added_up(self, values: Floats) -> Floats:
        if len(self.found) == 1:
            return values.sum(keepdims=True)
        return np.bincount(self.index, values)[self.found].astype(np.float64)


def error_sums(
    judged: Judged, ranges: Mapping[str, tuple[Floats, Floats]], tail: float, whole_only: Container[str] = ()
) -> pa.Table:
    """The sums of some rows, as `SCHEMA`.

    Parameters
    ----------
    ranges : dict of str to (ndarray, ndarray)
        The ends of the range, for predictors that have one.
    tail : float
        Probability below and above the range.
    whole_only : container of str
        Predictors that are judged over all rows and not by group.
    """
    if not len(judged.traded):
        return SCHEMA.empty_table()
    traded, lines = judged.traded, list[dict[str, Any]]()
    everything = np.zeros(len(traded), dtype=np.int64)
    groups = [_Groups.of(name, keys) for name, keys in {"all": everything, **judged.groups}.items()]
    some = np.flatnonzero(traded > 0)
    for name, predicted in judged.predictions.items():
        error = np.abs(predicted - traded)
        measures = {"error": error, "squared": error**2}
        if name in ranges:
            low, high = ranges[name]
            measures["inside"] = ((low <= traded) & (traded <= high)).astype(np.float64)
            measures["pinball"] = _pinball(traded - low, tail) + _pinball(traded - high, 1 - tail)
        for group in groups[:1] if name in whole_only else groups:
            lines.append(
                {"predictor": name, "group": group, **{key: group.added_up(measures[key]) for key in measures}}
            )
        if name not in whole_only:
            lines.append({"predictor": name, "group": _Groups.of("ape", _ape_bins(error[some], traded[some]))})
    return _table(judged.horizon, lines)


def _pinball(difference: Floats, quantile: float) -> Floats:
    return np.maximum(quantile * difference, (quantile - 1) * difference)


def _ape_bins(error: Floats, traded: Floats) -> NDArray[np.int64]:
    with np.errstate(divide="ignore"):
        index = (np.log(error / traded) - APE_LEAST) / APE_STEP
    return np.clip(index, 0, APE_BINS - 1).astype(np.int64)


def _table(horizon: int, lines: list[dict[str, Any]]) -> pa.Table:
    sizes = [len(line["group"].keys) for line in lines]

    def text(values: list[str]) -> pa.Array:
        return pa.DictionaryArray.from_arrays(np.repeat(np.arange(len(values)), sizes), values).cast(pa.string())

    def joined(name: str) -> Floats:
        return np.concatenate([line.get(name, np.zeros(size)) for line, size in zip(lines, sizes, strict=True)])

    return pa.table(
        {
            "horizon": np.full(sum(sizes), horizon, dtype=np.int32),
            "predictor": text([line["predictor"] for line in lines]),
            "grouping": text([line["group"].grouping for line in lines]),
            "key": np.concatenate([line["group"].keys for line in lines]).astype(np.int32),
            "rows": np.concatenate([line["group"].rows for line in lines]),
            "error": joined("error"),
            "squared": joined("squared"),
            "inside": joined("inside").astype(np.int64),
            "pinball": joined("pinball"),
        },
        schema=SCHEMA,
    )


class Total:
    """Adds up the sums of parts as they come; what is in memory at a time does not grow with their number.

    Parameters
    ----------
    tables : iterable of pyarrow.Table
        As `SCHEMA`, in the order of the parts: sums of floats depend on it.
    """

    def __init__(self, tables: Iterable[pa.Table] = ()) -> None:
        self._waiting: list[pa.Table] = [SCHEMA.empty_table()]
        for table in tables:
            self.add(table)

    def add(self, table: pa.Table) -> None:
        """Take the next sums, as `SCHEMA`."""
        self._waiting.append(table)
        if sum(each.num_rows for each in self._waiting) > _FOLDED_ROWS:
            self._waiting = [self.table()]

    def table(self) -> pa.Table:
        """All sums, as `SCHEMA`."""
        values = [name for name in SCHEMA.names if name not in _KEYS]
        # With several threads, the order of the sums varies from run to run.
        groups = pa.concat_tables(self._waiting).group_by(_KEYS, use_threads=False)
        summed = groups.aggregate([(name, "sum") for name in values])
        return summed.rename_columns([name.removesuffix("_sum") for name in summed.column_names]).select(SCHEMA.names)

    def lines(self) -> pd.DataFrame:
        """All sums, one line a horizon, predictor, grouping and key, in their order."""
        return self.table().sort_by([(key, "ascending") for key in _KEYS]).to_pandas()


def median_ape(sums: pd.DataFrame, horizon: int, predictor: str) -> float:
    """The median of |error| / Volume, over the rows with trade; NaN without any."""
    found = sums[(sums["horizon"] == horizon) & (sums["predictor"] == predictor) & (sums["grouping"] == "ape")]
    total = found["rows"].cumsum().to_numpy()
    if not len(total):
        return float("nan")
    bin_index = int(found["key"].iloc[np.searchsorted(total, total[-1] / 2)])
    return float(np.exp(APE_LEAST + (bin_index + 0.5) * APE_STEP))


def by_group(sums: pd.DataFrame, horizon: int, grouping: str, model: str, average: str) -> pd.DataFrame:
    """How good a predictor is beside another, group by group, from the lines of `Total`.

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
    """The share by which a model's error is below another's, and its standard error over quarters of a year, or other groups.

    Rows of one day or symbol are not independent, so the error is taken from group to group.

    Parameters
    ----------
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
    differences, total = (errors[other] - errors[model]).to_numpy(), float(errors[other].sum())
    if total == 0:
        return 0.0, float("nan")
    count = len(differences)
    error = float(np.std(differences, ddof=1) * count**0.5 / total) if count > 2 else float("nan")
    return float(differences.sum() / total), error


def beats(lines: pd.DataFrame, predictor: str) -> str:
    """Whether the model is better than a predictor, by more than chance, as a verb.

    Parameters
    ----------
    lines : pandas.DataFrame
        By predictor: lead and lead_error, which is NaN where there were too few blocks to know it: then see `UNTESTED`.

    Returns
    -------
    str
        The model "beats" a predictor when it leads by more than two standard errors, "does not clearly beat" it when it leads by less, and "does not
        beat" it when it does not lead.

    Examples
    --------
    >>> lines = pd.DataFrame({"lead": [0.02, 0.02, 0.0, 0.02], "lead_error": [0.005, 0.015, 0.001, None]}, index=list("abcd"))
    >>> [beats(lines, predictor) for predictor in lines.index]
    ['beats', 'does not clearly beat', 'does not beat', 'is ahead of']
    """
    lead, error = (float(lines[column][predictor]) for column in ("lead", "lead_error"))
    if np.isnan(error):
        return "is ahead of" if lead > 0 else "is not ahead of"
    if lead <= 0:
        return "does not beat"
    return "beats" if lead > 2 * error else "does not clearly beat"
