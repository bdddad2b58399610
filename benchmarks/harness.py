"""What the benchmarks share: the machine, tables in the terminal and in Markdown, and a command line with ``--to``."""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from fractions import Fraction
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from lib.compute.processes import available_cores
from lib.files import write_atomically


def markdown(lines: Sequence[Sequence[str]]) -> str:
    """Rows of text as a Markdown table, the first row its header."""
    head, *rest = ([cell.replace("|", "\\|") for cell in line] for line in lines)
    rules = ["---", *["---:"] * (len(head) - 2), "---"]
    return "".join(f"| {' | '.join(line)} |\n" for line in (head, rules, *rest))


def machine() -> dict[str, object]:
    """What the figures were measured on: cores, memory, load before the run, and versions."""
    packages = ("numpy", "pyarrow", "bottleneck", "pyspark", "polars", "duckdb")
    return {
        "cores": available_cores(),
        "memory": psutil.virtual_memory().total,
        "load": [round(load, 2) for load in psutil.getloadavg()],
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{package: version(package) for package in packages},
    }


def print_table(console: Console, title: str, lines: Sequence[Sequence[str]]) -> None:
    """Show rows of text as a table in the terminal."""
    shown = Table(title=title, padding=0)
    for index, name in enumerate(lines[0]):
        shown.add_column(name, justify="right" if index else "left", min_width=0 if index else 10)
    for line in lines[1:]:
        shown.add_row(*line)
    console.print(shown)


def command_line(name: str, about: str | None) -> argparse.ArgumentParser:
    """The options of ``python -m benchmarks.NAME``, so far: the one that `keep` follows."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=(about or "").partition("\n")[0])
    parser.add_argument("--to", type=Path, help="write the table to TO.md and everything to TO.json")
    return parser


def archive_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a synthetic archive's size, and of the folder that it is made in."""
    parser.add_argument(
        "--fraction", type=Fraction, default=Fraction(1, 20), help="size of the synthetic archive (default: 1/20)"
    )
    parser.add_argument("--work", type=Path, help="a folder for the outputs, with room for three times the archive")


def keep(to: Path | None, text: str, found: Mapping[str, Any]) -> None:
    """Write a table to ``TO.md`` and all that was measured to ``TO.json``, if asked for."""
    if to:
        write_atomically(to.with_suffix(".md"), text)
        write_atomically(to.with_suffix(".json"), json.dumps(found, indent=1, default=asdict) + "\n")
