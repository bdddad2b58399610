"""PySpark as its documentation teaches it: the CSV reader with a schema, a broadcast join, window functions.

Spark takes ``_PRN.csv`` for a hidden file and skips it without a word, however its path is given; the comparison counts
those rows. Prices are written in no order, which spares Spark a shuffle that no one needs before features. Tried
too: sorting prices; ``percentile_approx``, which gives one of the two middle values, not their mean; the median
from sorting ``collect_list``.
"""

from __future__ import annotations

import sys
from pathlib import Path

from pyspark.sql import SparkSession, Window
from pyspark.sql import functions as F

COLUMNS = ("Symbol", "Security Name", "Date", "Open", "High", "Low", "Close", "Adj Close", "Volume")
# A file with a null row has volumes such as 123.0.
SCHEMA = "Date DATE, Open DOUBLE, High DOUBLE, Low DOUBLE, Close DOUBLE, `Adj Close` DOUBLE, Volume DOUBLE"


def make_prices(spark: SparkSession, archive: Path, out: Path) -> None:
    """The archive's CSV files to ``out``, a folder of Parquet files."""
    names = spark.read.csv(f"{archive}/symbols_valid_meta.csv", header=True).select(
        F.col("NASDAQ Symbol").alias("Symbol"), "Security Name"
    )
    prices = (
        spark.read.schema(SCHEMA)
        .csv([f"{archive}/stocks", f"{archive}/etfs"], header=True)
        .dropna()
        .withColumn("Symbol", F.regexp_extract(F.input_file_name(), r"([^/]+)\.csv$", 1))
        .withColumn("Volume", F.col("Volume").cast("long"))
    )
    prices.join(F.broadcast(names), "Symbol", "left").select(*COLUMNS).write.parquet(str(out))


def make_features(spark: SparkSession, prices: Path, out: Path) -> None:
    """Prices to ``out``, a folder of Parquet files in order of symbol and date."""
    days = Window.partitionBy("Symbol").orderBy("Date").rowsBetween(-29, 0)
    whole = F.count("*").over(days) == 30
    (
        spark.read.parquet(str(prices))
        # The window would shuffle by the symbol's hash; ranges serve it as well and leave the files in order.
        .repartitionByRange("Symbol")
        .withColumn("vol_moving_avg", F.when(whole, F.avg("Volume").over(days)))
        .withColumn("adj_close_rolling_med", F.when(whole, F.percentile("Adj Close", F.lit(0.5)).over(days)))
        .write.parquet(str(out))
    )


def make_session() -> SparkSession:
    """Spark on all cores of this machine."""
    return (
        SparkSession.builder.master("local[*]")
        .config("spark.driver.memory", "6g")
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .getOrCreate()
    )


if __name__ == "__main__":
    stage, archive, out = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    session = make_session()
    if stage == "prices":
        make_prices(session, archive, out / "prices")
    else:
        make_features(session, out / "prices", out / "features")
    session.stop()
