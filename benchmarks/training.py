"""The model's fit beside the reference forest's, in one run: seconds, CPU, peak memory, file size and held-out error.

``python -m benchmarks.training --rows 22000000`` fits both on synthetic features of so many rows (``--features FOLDER``
takes a study's own), each in a process of its own, one after the other, and prints a table. The reference is
scikit-learn's random forest of 25 trees on a tenth of the rows, as published solutions fit it. Read the ratios: seconds
differ from machine to machine.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from sklearn.ensemble import RandomForestRegressor

from benchmarks.accounting import measure
from benchmarks.harness import keep, machine, markdown, print_table, to_option
from lib.evaluation.baselines import AVERAGE, SCALED, baselines
from lib.evaluation.rows import Rows, Split, chronological_split, distinct_days, load_rows
from lib.files import write_atomically
from lib.models.quantiles import sampled_rows
from lib.models.ratio_by_quantile import RatioByQuantile
from lib.models.store import write_estimator
from lib.paths import ROOT
from lib.storage.dataset import open_dataset

OURS, REFERENCE = "ratio by quantile, all rows", "random forest, a tenth of the rows"
TREES, SHARE, SEED = 25, 0.1, 42
JUDGED = 500_000  # test rows that errors are measured on, at most: a forest takes minutes to predict millions
HEADER = ("model", "fit s", "CPU s", "peak GB", "file MB", "MAE / average's", "MAE / best multiple's", "ours / it: fit")


def synthetic_rows(count: int) -> Rows:
    """Rows with the shape of daily trading: symbols of very different size, lognormal days, a ratio that depends on size.

    Parameters
    ----------
    count : int
        Rows; 3,500 days a symbol.

    Examples
    --------
    >>> len(synthetic_rows(10_000)), len(synthetic_rows(10_000).symbols)
    (10000, 3)
    """
    random = np.random.default_rng(SEED)
    days = 3500
    symbol = (np.arange(count) // days).astype(np.int32)
    date = np.datetime64("2006-01-02") + (np.arange(count) % days).astype("timedelta64[D]")
    names = [f"S{number}" for number in range(int(symbol[-1]) + 1)]
    average = (random.lognormal(11.5, 2.2, len(names))[symbol] * random.lognormal(0, 0.4, count)).round(1)
    price = random.lognormal(3, 1, len(names))[symbol] * random.lognormal(0, 0.2, count)
    spread = np.clip(1.4 - 0.07 * np.log(average), 0.3, 1.2)  # small symbols trade less evenly
    volume = np.floor(average * np.exp(spread * random.normal(size=count) - spread**2 / 2))
    return Rows(names, symbol, date, np.column_stack([average, price]), volume, volume, 0)


def fit_one(name: str, folder: Path, result: Path) -> None:
    """Fit one contestant on the arrays in ``folder``; write what it cost and how it predicts to ``result``."""
    X, y, test_X, test_y = (np.load(folder / f"{part}.npy") for part in ("X", "y", "test_X", "test_y"))
    before, start = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    if name == OURS:
        model = RatioByQuantile().fit(X, y)
    else:
        chosen = sampled_rows(len(X), SHARE, SEED)
        model = RandomForestRegressor(TREES, n_jobs=-1, random_state=SEED).fit(X[chosen], y[chosen])
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF)
    if name == OURS:
        write_estimator(result.with_suffix(".skops"), model)
        size = result.with_suffix(".skops").stat().st_size
    else:
        size = sum(sum(array.nbytes for array in _arrays(tree.tree_)) for tree in model.estimators_)
    found = {
        "wall": wall,
        "cpu": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "bytes": size,
        "mae": float(np.abs(model.predict(test_X) - test_y).mean()),
    }
    write_atomically(result, json.dumps(found))


def run(rows: Rows, split: Split, work: Path, console: Console) -> dict[str, Any]:
    """Fit both contestants on a split's training rows, judge them on its test rows.

    Parameters
    ----------
    work : pathlib.Path
        A folder with room for the training rows.
    console : rich.console.Console
        Says what runs now.

    Returns
    -------
    dict
        train_rows; mae_moving_average and mae_scaled_average (shares); contestants: by name wall and cpu (seconds), memory
        (bytes at the peak of the process, data included), bytes (of the model) and mae.
    """
    held_out = split.test(rows)
    train, judged = rows.chosen(~held_out), rows.chosen(held_out)
    judged = judged.chosen(sampled_rows(len(judged), min(1.0, JUDGED / len(judged)), SEED))
    parts: dict[str, NDArray[Any]] = {
        "X": train.features,
        "y": train.volume,
        "test_X": judged.features,
        "test_y": judged.volume,
    }
    for part, values in parts.items():
        np.save(work / f"{part}.npy", values)
    simple = baselines(train)
    found: dict[str, Any] = {"train_rows": len(parts["X"]), "test_rows": len(judged), "contestants": {}}
    for key, name in (("mae_moving_average", AVERAGE), ("mae_scaled_average", SCALED)):
        found[key] = float(np.abs(simple[name](judged) - judged.volume).mean())
    for name in (OURS, REFERENCE):
        command = [sys.executable, "-m", "benchmarks.training", "--fit", name, str(work), str(work / "result.json")]
        with console.status(name):
            usage = measure(command, cwd=ROOT)
        found["contestants"][name] = {**json.loads((work / "result.json").read_text()), "memory": usage.memory}
    return found


def table(found: dict[str, Any]) -> list[list[str]]:
    """What `run` found as rows of text, a header first."""
    lines = [list(HEADER)]
    for name, measured in found["contestants"].items():
        lines.append(
            [
                name,
                f"{measured['wall']:.1f}",
                f"{measured['cpu']:.1f}",
                f"{measured['memory'] / 1e9:.2f}",
                f"{measured['bytes'] / 1e6:.2f}",
                f"{measured['mae'] / found['mae_moving_average']:.4f}",
                f"{measured['mae'] / found['mae_scaled_average']:.4f}",
                f"{found['contestants'][OURS]['wall'] / measured['wall']:.3f}",
            ]
        )
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; 1 when the forest's held-out error is below ours."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training", description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=22_000_000, help="training rows of the synthetic features")
    parser.add_argument("--features", type=Path, help="a study's folder of features instead")
    to_option(parser)
    parser.add_argument("--fit", nargs=3, metavar=("MODEL", "FOLDER", "RESULT"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.fit:
        fit_one(options.fit[0], Path(options.fit[1]), Path(options.fit[2]))
        return 0
    console = Console(width=None if sys.stdout.isatty() else 140)
    about = machine()
    rows = load_rows(open_dataset(options.features), 0) if options.features else synthetic_rows(options.rows * 5 // 4)
    with tempfile.TemporaryDirectory() as work:
        found = run(rows, chronological_split(distinct_days(rows.date), 0.2), Path(work), console)
    title = f"{found['train_rows']:,} training rows, {found['test_rows']:,} later ones judge; {about['cores']} cores"
    print_table(console, title, table(found))
    text = f"{title}; load before the run {about['load']}\n\n{markdown(table(found))}"
    keep(options.to, text, {"machine": about, **found})
    ours, reference = (found["contestants"][name]["mae"] for name in (OURS, REFERENCE))
    return 0 if ours < reference else 1


def _arrays(tree: Any) -> list[NDArray[Any]]:
    return [tree.feature, tree.threshold, tree.value, tree.children_left, tree.children_right]


if __name__ == "__main__":
    sys.exit(main())
