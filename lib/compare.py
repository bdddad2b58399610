"""Two studies, or two runs of one, side by side: params, metrics, seconds and artifacts, as tables and as a page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table

from lib import files, paths, report


class CompareError(ValueError):
    """A study or a run that is not there."""


def read_run(text: str) -> dict[str, Any]:
    """The record of a run.

    Parameters
    ----------
    text : str
        ``STUDY``, the last run of a study; or ``STUDY@N``, its N-th run (1 the first, -1 the last).

    Returns
    -------
    dict
        A line of ``history.jsonl``, with the run's name under ``name``.

    Raises
    ------
    CompareError
        No such study, or no such run of it.
    """
    name, _, number = text.partition("@")
    history = paths.StudyPaths(name).history
    if not history.exists():
        known = sorted(path.parent.name for path in paths.outputs().glob(f"*/{history.name}"))
        raise CompareError(f"{name}: this study has not run; those that have: {', '.join(known) or 'none'}")
    lines = history.read_text(encoding="utf-8").splitlines()
    try:
        place = int(number or -1)
        line = lines[place - 1 if place > 0 else place] if place else lines[len(lines)]
    except (ValueError, IndexError):
        raise CompareError(
            f"{text}: {number!r} is no run of {name}; allowed: 1 to {len(lines)}, or -1 for the last"
        ) from None
    return {**json.loads(line), "name": text}


def comparison(runs: list[Mapping[str, Any]]) -> dict[str, pd.DataFrame]:
    """What the runs share and where they differ.

    Parameters
    ----------
    runs : list of mapping
        As `read_run` gives them.

    Returns
    -------
    dict of str to pandas.DataFrame
        By title: one row a param, metric, stage or artifact, one column a run, and whether the row is the same in all.

    Examples
    --------
    >>> runs = [{"name": "a", "params": {"features": {"window": w}}} for w in (20, 30)]
    >>> comparison(runs)["Params"].to_dict("records")
    [{'what': 'features.window', 'a': '20', 'a ': '30', 'same': 'no'}]
    """
    sections = {
        "Params": [_flat(run.get("params", {})) for run in runs],
        "Metrics": [_flat(run.get("metrics", {})) for run in runs],
        "Rows": [_flat(run.get("rows", {})) for run in runs],
        "Seconds": [{stage["name"]: stage["seconds"] for stage in run.get("stages", [])} for run in runs],
        "Artifacts": [{path: digest[:16] for path, digest in run.get("artifacts", {}).items()} for run in runs],
        "Made by": [_flat({key: run.get(key) for key in ("code", "python", "archive")}) for run in runs],
    }
    names: list[str] = []
    for run in runs:
        name = str(run["name"])
        while name in names:
            name += " "
        names.append(name)
    tables = {}
    for title, columns in sections.items():
        keys = list(dict.fromkeys(key for column in columns for key in column))
        rows = []
        for key in keys:
            values = [_spelt(column.get(key)) for column in columns]
            rows.append([key, *values, "yes" if len(set(values)) == 1 else "no"])
        if rows:
            tables[title] = pd.DataFrame(rows, columns=["what", *names, "same"])
    return tables


def show(tables: Mapping[str, pd.DataFrame], console: Console) -> None:
    """Print the tables; what is the same in all runs is dim."""
    for title, frame in tables.items():
        table = Table(title=title, title_justify="left", title_style="bold")
        for column in frame.columns:
            table.add_column(column, overflow="fold")
        for row in frame.itertuples(index=False):
            table.add_row(*row, style="dim" if row[-1] == "yes" else None)
        console.print(table)


def write_page(tables: Mapping[str, pd.DataFrame], names: list[str]) -> Path:
    """Write the tables as a page beside the studies, and return its path."""
    page = paths.comparison_page(names)
    files.write_atomically(page, report.comparison_html(tables, names))
    return page


def _flat(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _spelt(value: Any) -> str:
    if value is None:
        return "null"
    return f"{value:,.4f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
