"""Prices and features of one archive: ours, local and under Spark, beside Polars, DuckDB and PySpark, in one run.

``python -m benchmarks.pipeline --fraction 1`` makes the archive (or ``--archive FOLDER`` takes one that is there), runs
each contestant's two stages as processes of their own, one after the other, compares every value that they wrote with
ours, and prints a table of seconds, memory and ratios. Read the ratios: seconds differ from machine to machine.
"""

from __future__ import annotations

import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks import agreement, archive
from benchmarks.accounting import Usage, measure
from benchmarks.agreement import Agreement
from benchmarks.harness import archive_options, command_line, keep, machine, markdown, print_table
from lib.paths import ROOT

STAGES = ("prices", "features")
OURS = "ours"
# Name, and the module of `benchmarks.peers` with the arguments that it takes after the common ones.
CONTESTANTS: dict[str, tuple[str, ...]] = {
    OURS: ("ours", "local"),
    "ours under Spark": ("ours", "spark"),
    "Polars": ("polars_peer", "idiomatic"),
    "Polars tuned": ("polars_peer", "tuned"),
    "DuckDB": ("duckdb_peer", "idiomatic"),
    "DuckDB tuned": ("duckdb_peer", "tuned"),
    "PySpark": ("spark_peer",),
}
HEADER = (
    "contestant",
    "prices s",
    "features s",
    "both s",
    "CPU s",
    "peak GB",
    "GB written",
    *(f"ours / it: {what}" for what in ("prices", "features", "both", "CPU", "peak")),
    "its values",
)


@dataclass(frozen=True)
class Result:
    """One contestant's rounds.

    Parameters
    ----------
    usages : dict of str to list of Usage
        By stage, one a round.
    bytes : int
        Size of the Parquet files it wrote.
    agreements : dict of str to Agreement
        By stage: how what it wrote compares with what ours wrote; empty for ours.
    """

    name: str
    usages: dict[str, list[Usage]]
    bytes: int = 0
    agreements: dict[str, Agreement] = field(default_factory=dict)

    def wall(self, *stages: str) -> float:
        """Seconds of the stages, the median of the rounds; of both when none is named."""
        return statistics.median(self._sums("wall", stages))

    def cpu(self, *stages: str) -> float:
        """CPU seconds, as `wall`."""
        return statistics.median(self._sums("cpu", stages))

    @property
    def memory(self) -> int:
        """Bytes at the peak of all stages and rounds."""
        return max(usage.memory for usages in self.usages.values() for usage in usages)

    def _sums(self, what: str, stages: Sequence[str]) -> list[float]:
        rounds = zip(*(self.usages[stage] for stage in stages or STAGES), strict=True)
        return [sum(getattr(usage, what) for usage in usages) for usages in rounds]


@dataclass(frozen=True)
class Extent:
    """How much there is in an archive: files, rows (lines without headers) and bytes."""

    files: int
    rows: int
    bytes: int


def read_through(folder: Path) -> Extent:
    """Read every price file once: it counts rows without any parser, and leaves the page cache the same for everybody."""
    files = rows = size = 0
    for path in sorted([*folder.glob("stocks/*.csv"), *folder.glob("etfs/*.csv")]):
        content = path.read_bytes()
        files += 1
        rows += content.count(b"\n") - 1
        size += len(content)
    return Extent(files, rows, size)


def run_stage(contestant: Sequence[str], stage: str, folder: Path, out: Path) -> Usage:
    """Run a stage of a contestant, see `CONTESTANTS`, as a process of its own; it reads in ``out`` what the stage before wrote."""
    module, *arguments = contestant
    os.sync()  # no contestant shall wait for the disk to take what the one before it wrote
    environment = {"SPARK_LOCAL_IP": "127.0.0.1", "PYSPARK_PYTHON": sys.executable}
    command = [sys.executable, "-m", f"benchmarks.peers.{module}", stage, str(folder.resolve()), str(out.resolve())]
    return measure([*command, *arguments], environment, cwd=ROOT)


def run(folder: Path, names: Sequence[str], rounds: int, console: Console, work: Path) -> tuple[Extent, list[Result]]:
    """Run the contestants and compare what they wrote.

    Parameters
    ----------
    names : sequence of str
        Keys of `CONTESTANTS`; ours is run in any case, since the others are compared with it.
    rounds : int
        How often each is run; every round runs all of them, so that a slow minute of the machine meets all alike.
    work : pathlib.Path
        A folder with room for two contestants' outputs.
    """
    names = [OURS, *(name for name in names if name != OURS)]
    results = {name: Result(name, {stage: [] for stage in STAGES}) for name in names}
    reference = work / "ours"
    extent = read_through(folder)
    for turn in range(rounds):
        for name in names:
            out = reference if name == OURS else work / "other"
            shutil.rmtree(out, ignore_errors=True)
            out.mkdir()
            read_through(folder)
            for stage in STAGES:
                with console.status(f"round {turn + 1} of {rounds}: {name}, {stage}"):
                    usage = run_stage(CONTESTANTS[name], stage, folder, out)
                console.print(
                    f"{name}, {stage}: {usage.wall:.1f} s, {usage.cpu:.1f} CPU s, {usage.memory / 1e9:.2f} GB"
                )
                results[name].usages[stage].append(usage)
            if turn == 0:
                results[name] = _checked(results[name], reference, out, extent, console)
    return extent, list(results.values())


def table(results: Sequence[Result]) -> list[list[str]]:
    """The results as rows of text, a header first.

    Examples
    --------
    >>> usage = Usage(wall=2.0, cpu=4.0, memory=10**9, processes=3)
    >>> result = Result("ours", {"prices": [usage], "features": [usage]}, bytes=10**9)
    >>> table([result])[1]
    ['ours', '2.0', '2.0', '4.0', '8.0', '1.00', '1.00', '1.00', '1.00', '1.00', '1.00', '1.00', 'reference']
    """
    ours = next(result for result in results if result.name == OURS)
    lines = [list(HEADER)]
    for result in results:
        verdicts = [f"{stage}: {found}" for stage, found in result.agreements.items() if str(found) != agreement.EQUAL]
        verdict = "reference" if result is ours else "; ".join(verdicts) or agreement.EQUAL
        lines.append(
            [
                result.name,
                *(f"{result.wall(stage):.1f}" for stage in STAGES),
                f"{result.wall():.1f}",
                f"{result.cpu():.1f}",
                f"{result.memory / 1e9:.2f}",
                f"{result.bytes / 1e9:.2f}",
                *(f"{ours.wall(stage) / result.wall(stage):.2f}" for stage in STAGES),
                f"{ours.wall() / result.wall():.2f}",
                f"{ours.cpu() / result.cpu():.2f}",
                f"{ours.memory / result.memory:.2f}",
                verdict,
            ]
        )
    return lines


def read(found: Mapping[str, Any]) -> dict[str, Result]:
    """The results that were kept as JSON, by the contestants' names; without what their values were found to be."""
    return {
        one["name"]: Result(
            one["name"], {stage: [Usage(**usage) for usage in usages] for stage, usages in one["usages"].items()}
        )
        for one in found["results"]
    }


def _checked(result: Result, reference: Path, out: Path, extent: Extent, console: Console) -> Result:
    size = sum(path.stat().st_size for stage in STAGES for path in (out / stage).glob("*.parquet"))
    if result.name == OURS:
        kept, set_aside, features = (
            agreement.dataset(out / name).count_rows() for name in ("prices", "quarantine", "features")
        )
        if kept + set_aside != extent.rows or features != kept:
            raise AssertionError(
                f"ours: {kept:,} rows kept and {set_aside:,} set aside of {extent.rows:,} in the archive, {features:,} with features"
            )
        console.print(
            f"ours: {kept:,} rows kept and {set_aside:,} set aside: all {extent.rows:,} rows of {extent.files:,} files"
        )
        return Result(OURS, result.usages, size)
    with console.status(f"comparing {result.name} with ours"):
        found = {
            "prices": agreement.compare(reference / "prices", out / "prices", agreement.PRICES),
            "features": agreement.compare(reference / "features", out / "features", agreement.FEATURES),
        }
    for stage, comparison in found.items():
        console.print(f"{result.name}, {stage}: {comparison}")
    return Result(result.name, result.usages, size, found)


def main() -> int:
    """The command line; 1 when a contestant's values differ from ours."""
    parser = command_line("pipeline", __doc__)
    parser.add_argument("--archive", type=Path, help="a folder in Kaggle's layout; without it, a synthetic one is made")
    archive_options(parser)
    parser.add_argument("--only", nargs="+", choices=CONTESTANTS, default=list(CONTESTANTS), help="beside ours")
    parser.add_argument("--rounds", type=int, default=1, help="the table shows the median of so many (default: 1)")
    arguments = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 120)
    about = machine()
    with tempfile.TemporaryDirectory(dir=arguments.work) as name:
        work = Path(name)
        folder = arguments.archive
        if folder is None:
            folder = work / "archive"
            archive.write(folder, arguments.fraction)
        extent, results = run(folder, arguments.only, arguments.rounds, console, work)
    title = f"{extent.files:,} files, {extent.rows:,} rows, {extent.bytes / 1e9:.2f} GB of CSV; {about['cores']} cores"
    lines = table(results)
    print_table(console, title, [line[:-1] for line in lines])  # what the values are has been said line by line
    text = f"{title}; load before the run {about['load']}\n\n{markdown(lines)}"
    measured = {
        "machine": about,
        "archive": extent,
        "results": [
            vars(result) | {"agreements": {stage: str(found) for stage, found in result.agreements.items()}}
            for result in results
        ],
    }
    keep(arguments.to, text, measured)
    wrong = [result.name for result in results for found in result.agreements.values() if not found.same or found.extra]
    if wrong:
        console.print(f"values differ from ours: {', '.join(sorted(set(wrong)))}", style="bold red")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
