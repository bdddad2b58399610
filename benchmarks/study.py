"""The whole study, stage by stage, as a user runs it: notebooks, checks, figures and pages included; then again, with little or nothing changed.

``python -m benchmarks.study --fraction 1/20 --to FILE``. With ``--repository FOLDER`` another checkout, which has an environment of its own, is run on the
same archive after ours: an older version, for instance.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks import archive
from benchmarks.accounting import Usage, measure
from benchmarks.harness import keep, machine, markdown, print_table, to_option
from benchmarks.pipeline import read_through
from lib.paths import ROOT
from lib.stages import STAGES

UNCHANGED, ONE_FILE, EVERY_FILE = "nothing changed", "one file changed", "every file a row longer"
HEADER = ("stage", "s", "CPU s", "peak GB")


def table(usages: Mapping[str, Usage]) -> list[list[str]]:
    """Usages by stage as rows of text, a header first; the stages' sum stands before the reruns.

    Examples
    --------
    >>> table({"01_ingest": Usage(2.0, 4.0, 10**9, 3), "02_features": Usage(1.0, 1.0, 2 * 10**9, 3)})[-1]
    ['all stages', '3.0', '5.0', '2.00']
    """
    lines = [list(HEADER)]
    stages = [usage for name, usage in usages.items() if name in STAGES]
    peak = max(usage.memory for usage in stages)
    whole = Usage(sum(usage.wall for usage in stages), sum(usage.cpu for usage in stages), peak, 1)
    reruns = {name: usage for name, usage in usages.items() if name not in STAGES}
    shown = {name: usage for name, usage in usages.items() if name in STAGES} | {"all stages": whole} | reruns
    for name, usage in shown.items():
        lines.append([name, f"{usage.wall:.1f}", f"{usage.cpu:.1f}", f"{usage.memory / 1e9:.2f}"])
    return lines


def run(folder: Path, repository: Path, work: Path, console: Console) -> dict[str, Usage]:
    """Run every stage of a checkout on an archive, then the whole again after small changes of the archive, which are undone.

    Parameters
    ----------
    folder : pathlib.Path
        The archive: a folder in Kaggle's layout.
    work : pathlib.Path
        An empty folder.
    """
    params = work / "study.yaml"
    params.write_text(f"archive:\n  source: {folder}\n", encoding="utf-8")
    python = sys.executable if repository == ROOT else str(repository / ".venv" / "bin" / "python")
    environment = {"STUDY_OUTPUTS": str(work / "outputs"), "PYTHONPATH": str(repository)}

    def measured(name: str, *options: str) -> Usage:
        command = [python, "-m", "lib", "run", str(params), *options]
        usage = measure(command, environment, cwd=repository)
        console.print(f"{name}: {usage.wall:.1f} s, {usage.cpu:.1f} CPU s, {usage.memory / 1e9:.2f} GB")
        return usage

    read_through(folder)
    usages = {}
    for name in STAGES:
        if (repository / "notebooks" / f"{name}.ipynb").exists():
            usages[name] = measured(name, "--only", name)
    usages[UNCHANGED] = measured(UNCHANGED)
    files = sorted(folder.rglob("stocks/*.csv"))
    for title, changed in ((ONE_FILE, files[-1:]), (EVERY_FILE, sorted(folder.rglob("*/*.csv")))):
        before = {path: path.read_bytes() for path in changed}
        try:
            for path, content in before.items():
                path.write_bytes(_a_day_longer(content))
            usages[title] = measured(title)
        finally:
            for path, content in before.items():
                path.write_bytes(content)
    return usages


def _a_day_longer(content: bytes) -> bytes:
    """A price file with its last row once more, a day of the archive's future later."""
    last = content.rstrip(b"\n").rpartition(b"\n")[2]
    _, comma, values = last.partition(b",")
    return content.rstrip(b"\n") + b"\n2020-04-02" + comma + values + b"\n"


def usages_of(found: Mapping[str, Any]) -> dict[str, Usage]:
    """The usages of ours, of a result that was kept as JSON."""
    return {name: Usage(**usage) for name, usage in found["usages"]["ours"].items()}


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.study", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--fraction", type=Fraction, default=Fraction(1, 20), help="size of the archive (default: 1/20)"
    )
    parser.add_argument("--repository", type=Path, help="another checkout, to be run after ours")
    to_option(parser)
    parser.add_argument("--work", type=Path, help="a folder for the outputs, with room for twice the archive")
    options = parser.parse_args(arguments)
    console = Console()
    places = {"ours": ROOT} | ({"other": options.repository.resolve()} if options.repository else {})
    usages: dict[str, dict[str, Usage]] = {}
    with tempfile.TemporaryDirectory(dir=options.work) as name:
        folder = Path(name) / "archive"
        archive.write(folder, options.fraction, quiet=not console.is_terminal)
        extent = read_through(folder)
        for title, repository in places.items():
            console.print(title)
            work = Path(name) / title
            work.mkdir()
            usages[title] = run(folder, repository, work, console)
    for title, found in usages.items():
        print_table(console, f"{title}: {extent.rows:,} rows, {extent.files:,} files", table(found))
    text = "\n".join(f"{title}\n\n{markdown(table(found))}" for title, found in usages.items())
    plain = {title: {name: asdict(usage) for name, usage in found.items()} for title, found in usages.items()}
    keep(options.to, text, {"machine": machine(), "archive": asdict(extent), "usages": plain})


if __name__ == "__main__":
    main()
