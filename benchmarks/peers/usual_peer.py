"""The task's usual solution: pandas in a pool of processes, PySpark's window functions, a random forest on a sample.

Put together from what published solutions have in common, each step in its usual form, none of them slowed down: one
``read_csv`` and one small Parquet file a ticker; ``percentile_approx`` for the median, which gives one of the two middle
values of an even window, not their mean; partial windows at a symbol's start; a forest of 25 trees on a tenth of the
rows, pickled. Unlike the other peers it has a third stage, ``model``.
"""

from __future__ import annotations

import pickle
import sys
from functools import partial
from multiprocessing import Pool
from pathlib import Path

import pandas as pd

FEATURES = ["vol_moving_avg", "adj_close_rolling_med"]
SAMPLE, TREES, SEED = 0.1, 25, 42


def read_ticker(path: Path, names: dict[str, str], out: Path) -> None:
    """One CSV file to one Parquet file."""
    frame = pd.read_csv(path).dropna()
    symbol = path.stem
    frame.insert(0, "Symbol", symbol)
    frame.insert(1, "Security Name", names.get(symbol, ""))
    frame["Volume"] = frame["Volume"].astype("int64")
    frame.to_parquet(out / f"{symbol}.parquet", index=False)


def make_prices(archive: Path, out: Path) -> None:
    """The archive's CSV files to ``out``, a folder with one Parquet file a ticker."""
    metadata = pd.read_csv(archive / "symbols_valid_meta.csv")
    names = dict(zip(metadata["Symbol"], metadata["Security Name"], strict=True))
    files = [path for folder in ("stocks", "etfs") for path in (archive / folder).glob("*.csv")]
    with Pool() as pool:
        for _ in pool.imap_unordered(partial(read_ticker, names=names, out=out), files):
            pass


def make_features(prices: Path, out: Path) -> None:
    """Prices to ``out``, a folder of Parquet files."""
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    from benchmarks.peers.spark_peer import make_session

    spark = make_session()
    days = Window.partitionBy("Symbol").orderBy("Date").rowsBetween(-29, 0)
    (
        spark.read.schema(
            "Symbol STRING, `Security Name` STRING, Date STRING, Open DOUBLE, High DOUBLE, Low DOUBLE, Close DOUBLE, "
            "`Adj Close` DOUBLE, Volume LONG"
        )
        .parquet(str(prices))
        .withColumn("vol_moving_avg", F.avg("Volume").over(days))
        .withColumn("adj_close_rolling_med", F.percentile_approx("Adj Close", 0.5).over(days))
        .write.parquet(str(out))
    )
    spark.stop()


def make_model(features: Path, out: Path) -> None:
    """Features to ``out``, a folder with a pickled forest."""
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.metrics import mean_absolute_error
    from sklearn.model_selection import train_test_split

    frame = pd.read_parquet(features, columns=[*FEATURES, "Volume"]).dropna().sample(frac=SAMPLE, random_state=SEED)
    X_train, X_test, y_train, y_test = train_test_split(
        frame[FEATURES], frame["Volume"], test_size=0.2, random_state=SEED
    )
    forest = RandomForestRegressor(n_estimators=TREES, random_state=SEED, n_jobs=-1).fit(X_train, y_train)
    print(mean_absolute_error(y_test, forest.predict(X_test)))
    (out / "forest.pkl").write_bytes(pickle.dumps(forest))


if __name__ == "__main__":
    stage, archive, out = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    if stage == "prices":
        (out / "prices").mkdir(parents=True)
        make_prices(archive, out / "prices")
    elif stage == "features":
        make_features(out / "prices", out / "features")
    else:
        (out / "model").mkdir()
        make_model(out / "features", out / "model")
