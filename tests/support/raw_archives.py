"""Small raw archives in Kaggle's layout, for tests."""

from __future__ import annotations

import csv
import datetime
import io
import random
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

HEADER = "Date,Open,High,Low,Close,Adj Close,Volume"
# Params of a study in which only the files are odd: models are fitted as seldom as may be.
FEW_FITS = "evaluate:\n  seeds: 1\n  forest_trees: 4\nforecast:\n  refits: 1\n"


def price_rows(symbol: str, rows: int) -> list[str]:
    """Plausible rows, the same each time for the same symbol: trading days from 2000-01-03 on."""
    chance = random.Random(symbol)
    day, close, lines = datetime.date(2000, 1, 3), chance.uniform(5, 200), []
    for _ in range(rows):
        low, high = close * chance.uniform(0.97, 1), close * chance.uniform(1, 1.03)
        prices = [chance.uniform(low, high), high, low, close, close * 0.9]
        lines.append(",".join([str(day), *map(str, prices), str(chance.randrange(10_000_000))]))
        day += datetime.timedelta(days=3 if day.weekday() == 4 else 1)
        close *= chance.uniform(0.96, 1.04)
    return lines


def price_csv(symbol: str, rows: int) -> str:
    """A price file as Kaggle's archive has it."""
    return "".join(f"{line}\n" for line in [HEADER, *price_rows(symbol, rows)])


def metadata_csv(names: Iterable[tuple[str, str, str]]) -> str:
    """The metadata file for (Symbol, Security Name, NASDAQ Symbol)."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([("Symbol", "Security Name", "NASDAQ Symbol"), *names])
    return text.getvalue()


def write_archive(
    location: Path, files: Mapping[str, int | str | bytes], metadata: str | bytes | None = None, base: str = ""
) -> Path:
    """Write an archive: a zip where ``location`` ends in ``.zip``, else a folder.

    Parameters
    ----------
    location : pathlib.Path
    files : dict
        By path, such as ``stocks/AAPL.csv``: a number of plausible rows, or the file's content.
    metadata : str, bytes or None
        Of ``symbols_valid_meta.csv``; None: a name for every file's symbol.
    base : str
        The folder that wraps it all, such as ``archive/``.
    """
    symbols = {name: Path(name).stem for name in files}
    if metadata is None:
        metadata = metadata_csv((symbol, f"{symbol} Inc.", symbol) for symbol in sorted(set(symbols.values())))
    contents: dict[str, bytes] = {}
    for name, content in {**files, "symbols_valid_meta.csv": metadata}.items():
        text = price_csv(symbols[name], content) if isinstance(content, int) else content
        contents[base + name] = text.encode() if isinstance(text, str) else text
    if location.suffix == ".zip":
        with zipfile.ZipFile(location, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in contents.items():
                archive.writestr(name, content)
        return location
    for name, content in contents.items():
        path = location / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return location
