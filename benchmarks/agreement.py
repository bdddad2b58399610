"""Whether two Parquet datasets hold the same values, row by row, and where they differ if not."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset

KEY = ("Symbol", "Date")
PRICES = (*KEY, "Security Name", "Open", "High", "Low", "Close", "Adj Close", "Volume")
FEATURES = (*PRICES, "vol_moving_avg", "adj_close_rolling_med")
# A running float sum may end a little beside the exact mean; everything else must agree to the last bit.
TOLERANCES = {"vol_moving_avg": 1e-12}
EQUAL = "every value equal to the bit"


@dataclass(frozen=True)
class Difference:
    """How one column differs.

    Parameters
    ----------
    rows : int
        Rows whose values are not the same to the bit (or of which one alone is null).
    beyond : int
        Rows that differ by more than the column's tolerance.
    worst : float
        The largest relative difference of two numbers; infinite where one is null or zero, or the values are texts.
    example : str
        One such row: its symbol and date, and both values.
    """

    rows: int
    beyond: int
    worst: float
    example: str


@dataclass(frozen=True)
class Agreement:
    """What comparing a dataset with the reference found.

    Parameters
    ----------
    rows : int
        Rows of the dataset.
    missing, extra : int
        Rows of the reference that the dataset lacks, and the other way round, by symbol and date.
    missing_symbols : tuple of str
        Symbols of the reference of which the dataset has no row.
    is_sorted : bool
        Whether it is in order of symbol and date, as it should be.
    differences : dict of str to Difference
        By column; only of those that differ.
    """

    rows: int
    missing: int
    extra: int
    missing_symbols: tuple[str, ...]
    is_sorted: bool
    differences: dict[str, Difference] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Exactly the reference's rows, in order."""
        return not (self.missing or self.extra) and self.is_sorted

    @property
    def same(self) -> bool:
        """No value of the rows that both have differs beyond its tolerance."""
        return all(difference.beyond == 0 for difference in self.differences.values())

    def __str__(self) -> str:
        """One line for a reader."""
        found = []
        if self.missing:
            symbols = ", ".join(self.missing_symbols[:5])
            found.append(f"{self.missing:,} rows missing" + (f" (all of {symbols})" if symbols else ""))
        if self.extra:
            found.append(f"{self.extra:,} rows too many")
        if not self.is_sorted:
            found.append("not sorted")
        for name, difference in self.differences.items():
            beyond = f"{difference.beyond:,} WRONG, e.g. {difference.example}; " if difference.beyond else ""
            found.append(f"{name}: {beyond}{difference.rows:,} not bit-equal, at most {difference.worst:.1e} relative")
        return "; ".join(found) or EQUAL


def compare(reference: Path, other: Path, columns: tuple[str, ...]) -> Agreement:
    """Compare two folders of Parquet files in ``columns``, `PRICES` or `FEATURES`."""
    symbols, keys = _keys(reference)
    _, other_keys = _keys(other, symbols)
    # Rows that both have: usually all, in order, and then nothing needs to be picked out.
    here = there = None
    if not np.array_equal(keys, other_keys):
        _, here, there = np.intersect1d(keys, other_keys, return_indices=True)
    present = np.unique(other_keys >> 32)
    common = len(keys) if here is None else len(here)
    differences = {}
    for name in columns:
        if name in KEY:
            continue
        ours, theirs = _column(reference, name), _column(other, name)
        if here is not None and there is not None:
            ours, theirs = ours.take(pa.array(here)), theirs.take(pa.array(there))
        difference = _difference(ours, theirs, TOLERANCES.get(name, 0.0), keys if here is None else keys[here], symbols)
        if difference is not None:
            differences[name] = difference
    return Agreement(
        rows=len(other_keys),
        missing=len(keys) - common,
        extra=len(other_keys) - common,
        missing_symbols=tuple(symbols[code] for code in np.setdiff1d(np.arange(len(symbols)), present)),
        is_sorted=bool((np.diff(other_keys) > 0).all()),
        differences=differences,
    )


def dataset(folder: Path) -> pyarrow.dataset.Dataset:
    """The Parquet files of a folder, in the order of their names."""
    files = sorted(str(path) for path in folder.glob("*.parquet") if not path.name.startswith(("_", ".")))
    return pyarrow.dataset.dataset(files, format="parquet")


def _column(folder: Path, name: str) -> pa.ChunkedArray:
    column = dataset(folder).to_table(columns=[name])[name]
    return column.cast(pa.string()) if pa.types.is_large_string(column.type) else column


def _keys(folder: Path, known: list[str] | None = None) -> tuple[list[str], npt.NDArray[np.int64]]:
    """Each row's key as one integer that sorts as (symbol, date) does; symbols beyond ``known`` come after all others."""
    encoded = _column(folder, "Symbol").dictionary_encode().unify_dictionaries()
    found = encoded.chunk(0).dictionary.to_pylist() if encoded.num_chunks else []
    listed = sorted(found) if known is None else [*known, *sorted(set(found) - set(known))]
    indices = {symbol: index for index, symbol in enumerate(listed)}
    index_of_code = np.array([indices[symbol] for symbol in found], dtype=np.int64)
    codes = np.concatenate([np.zeros(0, np.int64), *(chunk.indices.to_numpy() for chunk in encoded.chunks)]).astype(
        np.int64
    )
    dates = _column(folder, "Date").cast(pa.date32()).cast(pa.int32()).to_numpy().astype(np.int64)
    # Dates before 1970 are negative: count from a day before all of them.
    return listed, (index_of_code[codes] << 32) + dates + 10**6


def _difference(
    ours: pa.ChunkedArray, theirs: pa.ChunkedArray, tolerance: float, keys: npt.NDArray[np.int64], symbols: list[str]
) -> Difference | None:
    if not pa.types.is_floating(ours.type):
        if ours.type != theirs.type:
            raise TypeError(f"types differ: {ours.type} and {theirs.type}")
        same = pc.or_(pc.fill_null(pc.equal(ours, theirs), False), pc.and_(ours.is_null(), theirs.is_null()))
        unequal = pc.invert(same).to_numpy()
        positions = np.flatnonzero(unequal)
        relative = np.full(len(positions), np.inf)
    else:
        # Bits, so that -0.0 is not 0.0; and a NaN is no null, though both become NaN here.
        left, right = ours.to_numpy(), theirs.to_numpy()
        unequal = (left.view(np.int64) != right.view(np.int64)) & ~(np.isnan(left) & np.isnan(right))
        unequal |= ours.is_null().to_numpy() != theirs.is_null().to_numpy()
        positions = np.flatnonzero(unequal)
        with np.errstate(divide="ignore", invalid="ignore"):
            relative = np.abs(left[positions] - right[positions]) / np.abs(left[positions])
        relative[np.isnan(relative)] = np.inf
    if not len(positions):
        return None
    worst = positions[np.argmax(relative)]
    key = int(keys[worst])
    date = np.datetime64((key & (2**32 - 1)) - 10**6, "D")
    example = f"{symbols[key >> 32]} {date}: {ours[worst].as_py()!r} and {theirs[worst].as_py()!r}"
    return Difference(len(positions), int((relative > tolerance).sum()), float(relative.max()), example)
