"""The whole study, stage by stage, as a user runs it: notebooks, checks, figures and pages included; then again, with little or nothing changed.

``python -m benchmarks.study --fraction 1/20 --to FILE``.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks import archive
from benchmarks.accounting import Usage, measure
from benchmarks.harness import archive_options, command_line, keep, machine, markdown, print_table
from benchmarks.pipeline import read_through
from lib.paths import ROOT
from lib.stages import STAGES

WHOLE = "all stages, in one run"
UNCHANGED, ONE_FILE, EVERY_FILE = "nothing changed", "one file changed", "every file a row longer"
DAILY = "every file another row longer, run.retrain: weekly"
HEADER = ("stage", "s", "CPU s", "peak GB")


def table(usages: Mapping[str, Usage]) -> list[list[str]]:
    """Usages by stage and run as rows of text, a header first; a stage's CPU time is not known.

    Examples
    --------
    >>> table({"01_ingest": Usage(2.0, 0.0, 10**9, 0), WHOLE: Usage(3.0, 5.0, 2 * 10**9, 3)})[1:]
    [['01_ingest', '2.0', '', '1.00'], ['all stages, in one run', '3.0', '5.0', '2.00']]
    """
    lines = [list(HEADER)]
    for name, usage in usages.items():
        cpu = "" if name in STAGES else f"{usage.cpu:.1f}"
        lines.append([name, f"{usage.wall:.1f}", cpu, f"{usage.memory / 1e9:.2f}"])
    return lines


def first_run(folder: Path, work: Path, console: Console, spark_master: str = "") -> dict[str, Usage]:
    """Run the whole study on an archive.

    Parameters
    ----------
    spark_master : str
        A cluster's URL: its workers compute, and what is measured is the driver.

    Returns
    -------
    dict of str to Usage
        The stages as the run says itself (wall time, and memory as the sum of resident sets); then all, under `WHOLE`.
    """
    engine = f"compute:\n  engine: spark\n  spark_master: {spark_master}\n" if spark_master else ""
    (work / "study.yaml").write_text(f"archive:\n  source: {folder}\n{engine}", encoding="utf-8")
    read_through(folder)
    whole = _measured(WHOLE, work, console)
    return stage_usages(work / "outputs" / "study" / "run.json") | {WHOLE: whole}


def run(folder: Path, work: Path, console: Console) -> dict[str, Usage]:
    """As `first_run`; then again after small changes of the archive, which are undone."""
    usages = first_run(folder, work, console)
    usages[UNCHANGED] = _measured(UNCHANGED, work, console)
    files = sorted(folder.rglob("stocks/*.csv"))
    before = {path: path.read_bytes() for path in sorted(folder.rglob("*/*.csv"))}
    steps = (
        (ONE_FILE, files[-1:], 1, ()),
        (EVERY_FILE, before, 1, ()),
        (DAILY, before, 2, ("-p", "run.retrain", "weekly")),
    )
    try:
        for title, changed, days, arguments in steps:
            for path in changed:
                path.write_bytes(longer(before[path], days))
            usages[title] = _measured(title, work, console, *arguments)
    finally:
        for path, content in before.items():
            path.write_bytes(content)
    return usages


def _measured(title: str, work: Path, console: Console, *arguments: str) -> Usage:
    command = [sys.executable, "-m", "lib", "run", str(work / "study.yaml"), *arguments]
    usage = measure(command, {"STUDY_OUTPUTS": str(work / "outputs")}, cwd=ROOT)
    console.print(f"{title}: {usage.wall:.1f} s, {usage.cpu:.1f} CPU s, {usage.memory / 1e9:.2f} GB")
    return usage


def stage_usages(record: Path) -> dict[str, Usage]:
    """What a run wrote down about its stages in ``run.json``."""
    stages = json.loads(record.read_text(encoding="utf-8"))["stages"]
    return {one["name"]: Usage(one["seconds"], 0.0, one["peak_memory_bytes"], 0) for one in stages}


def longer(content: bytes, days: int) -> bytes:
    """A price file with its last row once more on each of one or two days of the archive's future.

    Examples
    --------
    >>> longer(b"Date,Close\\n2020-04-01,7\\n", 1)
    b'Date,Close\\n2020-04-01,7\\n2020-04-02,7\\n'
    """
    last = content.rstrip(b"\n").rpartition(b"\n")[2]
    _, comma, values = last.partition(b",")
    more = [day + comma + values for day in (b"2020-04-02", b"2020-04-03")[:days]]
    return b"\n".join([content.rstrip(b"\n"), *more, b""])


def usages_of(found: Mapping[str, Any]) -> dict[str, dict[str, Usage]]:
    """The usages of a result that was kept as JSON: by contestant, then by stage."""
    return {
        name: {stage: Usage(**usage) for stage, usage in stages.items()} for name, stages in found["usages"].items()
    }


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = command_line("study", __doc__)
    archive_options(parser)
    options = parser.parse_args(arguments)
    console = Console()
    with tempfile.TemporaryDirectory(dir=options.work) as name:
        folder, work = Path(name, "archive"), Path(name, "ours")
        archive.write(folder, options.fraction)
        extent = read_through(folder)
        work.mkdir()
        usages = run(folder, work, console)
    print_table(console, f"{extent.rows:,} rows, {extent.files:,} files", table(usages))
    keep(options.to, markdown(table(usages)), {"machine": machine(), "archive": extent, "usages": {"ours": usages}})


if __name__ == "__main__":
    main()
