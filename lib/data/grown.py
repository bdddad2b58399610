"""What an earlier run has read of files that have only grown since: those rows are taken from its prices, not parsed again.

A day more in each of 8,049 files is 8,049 rows of 28 million. Only rows are taken of which nothing had to be said: none set aside, none
repeated or out of order. What comes of it is, to the byte, what comes of parsing all.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from lib import paths
from lib.data import parse
from lib.storage import dataset
from lib.storage.dataset import DatasetError, StoredPart


@dataclass(frozen=True)
class Known:
    """The first bytes of a raw file, as an earlier run read them.

    Parameters
    ----------
    size : int
        Bytes, the header among them.
    blake3 : str
        Of these bytes.
    start, rows : int
        Where their rows stand in a part of the prices.
    """

    size: int
    blake3: str
    start: int
    rows: int


@dataclass(frozen=True)
class Earlier:
    """A part of the prices as they are before this run, and which files' rows it has, by symbol."""

    prices: StoredPart
    files: Mapping[str, Known]

    def table(self) -> pa.Table | None:
        """Its rows, as `lib.data.parse.parse` takes them; None where the part is damaged or gone."""
        try:
            return self.prices.table(list(parse.ROW_SCHEMA.names)).cast(parse.ROW_SCHEMA)
        except DatasetError:
            return None


def described(file: str, symbol: str, security_name: str | None, blake3: str, refused: str | None) -> str:
    """One file's line in what a part's input digest is made of."""
    return f"{file}\t{symbol}\t{security_name}\t{blake3}\t{refused}\n"


def input_digest(lines: Iterable[str]) -> str:
    """SHA-256 of a part's input: 64 hex digits."""
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def earlier_parts(study: paths.StudyPaths, code: str) -> list[Earlier]:
    """The parts of a study's prices that this very code has made of files laid out as Kaggle's alone."""
    try:
        prices, accounts = dataset.open_dataset(study.prices), dataset.open_dataset(study.files)
        found = [(dataset.part_key(code, input_digest(_lines(table))), table) for table in accounts.tables(_READ)]
    except DatasetError:
        return []
    keys = {part.key: stored for part, stored in zip(prices.parts, prices.stored, strict=True)}
    return [Earlier(keys[key], _known(table)) for key, table in found if key in keys]


_INPUT = ("file", "symbol", "security_name", "blake3", "refused")
_NOTHING_OF = ("rows_quarantined", "rows_repeated", "dates_out_of_order", "no_last_newline")
_READ = (*_INPUT, *_NOTHING_OF, "bytes", "rows_kept")


def _lines(accounts: pa.Table) -> list[str]:
    return [described(*values) for values in zip(*(accounts[name].to_pylist() for name in _INPUT), strict=True)]


def _known(accounts: pa.Table) -> dict[str, Known]:
    rows = accounts["rows_kept"].to_numpy()
    clean = (rows > 0) & ~np.any([accounts[name].to_numpy() > 0 for name in _NOTHING_OF], axis=0)
    columns = [accounts[name].to_pylist() for name in ("symbol", "bytes", "blake3")]
    starts = (np.cumsum(rows) - rows).tolist()
    every = zip(*columns, starts, rows.tolist(), clean.tolist(), strict=True)
    return {symbol: Known(*values) for symbol, *values, said_nothing in every if said_nothing}


def of_symbols(earlier: Mapping[str, Earlier], symbols: Iterable[str]) -> Earlier | None:
    """Of the parts that have some of these symbols, the one with the most."""
    there = {symbol: earlier[symbol] for symbol in symbols if symbol in earlier}
    if not there:
        return None
    [(most, _)] = Counter(part.prices for part in there.values()).most_common(1)
    return Earlier(most, {symbol: part.files[symbol] for symbol, part in there.items() if part.prices == most})
