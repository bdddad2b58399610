"""One prediction: the model's lookup table beside scikit-learn's forest, which the usual solution serves.

``python -m benchmarks.prediction [STUDY] --to FILE``. Needs a study that has been run.
"""

from __future__ import annotations

import argparse
import timeit
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from rich.console import Console
from sklearn.ensemble import RandomForestRegressor

from benchmarks.harness import keep, machine, markdown, print_table, to_option
from lib.evaluation.rows import load_rows
from lib.models.predictor import Predictor
from lib.models.store import read_estimator
from lib.paths import StudyPaths
from lib.storage.dataset import open_dataset

HEADER = ("one row", "µs", "ours / it")
MANY = 100_000  # rows of the second table
FOREST = {"n_estimators": 25, "random_state": 42}


def table(found: Mapping[str, Any]) -> list[list[str]]:
    """The times of one row as rows of text, a header first.

    Examples
    --------
    >>> table({"one": {"ours": 1e-6, "other": 4e-4}, "many": {}})[-1]
    ['other', '400.0', '0.0025']
    """
    ours = next(iter(found["one"].values()))
    return [
        list(HEADER),
        *([name, f"{1e6 * seconds:.1f}", f"{ours / seconds:.2g}"] for name, seconds in found["one"].items()),
    ]


def many(found: Mapping[str, Any]) -> str:
    """What many rows at once take, in a sentence."""
    ours, forest = found["many"]["ours"], found["many"]["forest"]
    return f"{MANY:,} rows at once: {1e9 * ours / MANY:.0f} ns a row, {ours / forest:.2g} of the forest's {1e9 * forest / MANY:,.0f} ns."


def run(study: str) -> dict[str, Any]:
    """Time both; what JSON keeps of it: seconds."""
    rows = load_rows(open_dataset(StudyPaths(study).features), horizon=0)
    predictor = Predictor.load(StudyPaths(study).grid)
    estimator = read_estimator(StudyPaths(study).estimator)
    forest = RandomForestRegressor(**FOREST, n_jobs=1).fit(rows.features, rows.volume)
    one = rows.features[:1]
    volume, price = map(float, one[0])
    inputs = rows.features[np.random.default_rng(1).integers(0, len(rows), MANY)]
    return {
        "machine": machine(),
        "one": {
            "ours: the lookup table": _seconds(lambda: predictor.predict(volume, price), 10_000),
            "ours: the estimator it was made of": _seconds(lambda: estimator.predict(one), 200),
            f"a random forest of {FOREST['n_estimators']} trees": _seconds(lambda: forest.predict(one), 50),
        },
        "many": {
            "ours": _seconds(lambda: predictor.predict(inputs[:, 0], inputs[:, 1]), 3),
            "forest": _seconds(lambda: forest.predict(inputs), 1),
        },
    }


def _seconds(call: Callable[[], object], number: int) -> float:
    """Seconds of one call, at best: what else the machine does can only add to it."""
    call()
    return min(timeit.repeat(call, number=number, repeat=5)) / number


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.prediction", description=__doc__.splitlines()[0])
    parser.add_argument("study", nargs="?", default="sample", help="a study that has been run (default: %(default)s)")
    to_option(parser)
    options = parser.parse_args(arguments)
    found = run(options.study)
    console = Console()
    print_table(console, "one prediction", table(found))
    console.print(many(found))
    keep(options.to, f"{markdown(table(found))}\n{many(found)}\n", found)


if __name__ == "__main__":
    main()
