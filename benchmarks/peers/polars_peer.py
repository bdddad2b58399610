"""Polars: a lazy scan of all files, streamed to one Parquet file; rolling expressions.

A fourth argument says how the windows are kept within a symbol: ``idiomatic``, with ``over`` (the default), or ``tuned``,
which rolls over the whole column and blanks each symbol's first rows, as ours does: a quarter less time, a fifth of the
memory. Prices are the same in both. Tried too, all slower or no faster: the symbol by replacing or extracting from each
row's path, one lazy frame a file, `read_csv` file by file, collecting before writing, zstd (the default) and snappy.
"""

from __future__ import annotations

import sys
from pathlib import Path

import polars as pl

PRICES = ("Open", "High", "Low", "Close", "Adj Close")
# A file with a null row has volumes such as 123.0, which a scan for integers refuses.
SCHEMA = pl.Schema({"Date": pl.Date, **dict.fromkeys(PRICES, pl.Float64), "Volume": pl.Float64})


def make_prices(archive: Path, out: Path) -> None:
    """The archive's CSV files to ``out``, a Parquet file."""
    # In symbol order, so that nothing needs to be sorted; each file is in date order.
    paths = sorted(
        (path.stem.removeprefix("_"), str(path))
        for folder in ("stocks", "etfs")
        for path in (archive / folder).glob("*.csv")
    )
    names = pl.read_csv(
        archive / "symbols_valid_meta.csv", columns=["NASDAQ Symbol", "Security Name"], infer_schema=False
    )
    files = pl.DataFrame(paths, schema=["Symbol", "path"], orient="row").join(
        names, left_on="Symbol", right_on="NASDAQ Symbol", how="left"
    )
    (
        pl.scan_csv([path for _, path in paths], schema=SCHEMA, include_file_paths="path")
        .drop_nulls(["Date", *PRICES, "Volume"])
        .join(files.lazy(), on="path", how="left", maintain_order="left")
        .select("Symbol", "Security Name", "Date", *PRICES, pl.col("Volume").cast(pl.Int64))
        .sink_parquet(out, compression="lz4")
    )


def make_features(prices: Path, out: Path, tuned: bool) -> None:
    """Prices to ``out``, a Parquet file."""
    average = pl.col("Volume").rolling_mean(30)
    median = pl.col("Adj Close").rolling_median(30)
    if tuned:
        whole = pl.col("Symbol") == pl.col("Symbol").shift(29)
        average, median = pl.when(whole).then(average), pl.when(whole).then(median)
    else:
        average, median = average.over("Symbol"), median.over("Symbol")
    (
        pl.scan_parquet(prices)
        .with_columns(average.alias("vol_moving_avg"), median.alias("adj_close_rolling_med"))
        .sink_parquet(out, compression="lz4")
    )


if __name__ == "__main__":
    stage, archive, out = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    (out / stage).mkdir(parents=True)
    if stage == "prices":
        make_prices(archive, out / "prices" / "part-0.parquet")
    else:
        make_features(out / "prices" / "part-0.parquet", out / "features" / "part-0.parquet", "tuned" in sys.argv[4:])
