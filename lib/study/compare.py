"""Two studies, or two runs of one, side by side: params, metrics, seconds and artifacts, as tables and as a page."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table

from lib import files, paths, stage_records
from lib.reports.page import comparison_html
from lib.study.errors import REFUSED, StudyError
from lib.text import as_text, flattened, short_digest

OUT_OF_DATE = "out of date"
KEPT = "model and evaluation"


class CompareError(StudyError):
    """A study or a run that is not there."""

    def __init__(self, message: str) -> None:
        super().__init__(message, REFUSED)


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
    study = paths.StudyPaths(name)
    history = study.history
    try:
        run_before = "/" not in name and history.is_file()
    except OSError:  # a name too long for a file
        run_before = False
    if not run_before:
        known = sorted(path.parent.name for path in paths.outputs().glob(f"*/{history.name}"))
        raise CompareError(f"{name}: this study has not run; those that have: {', '.join(known) or 'none'}")
    lines = history.read_bytes().splitlines()
    position = int(number or -1) if re.fullmatch(r"(-?[0-9]{1,9})?", number) else 0
    if not 1 <= abs(position) <= len(lines):
        raise CompareError(f"{text}: {number!r} is no run of {name}; allowed: 1 to {len(lines)}, or -1 for the last")
    position = position if position > 0 else len(lines) + 1 + position
    try:
        run = json.loads(lines[position - 1])
        if not {"started", "params", "artifacts"} <= run.keys():
            raise ValueError("keys are missing")
        comparison([{**run, "name": text}])
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError):
        raise CompareError(
            f"{history}, line {position}: damaged, no record of a run; remove the line, or run the study again"
        ) from None
    # What is there now is this run's, or newer: without a record of a killed run, or by hand.
    if position == len(lines):
        run["out_of_date"] = stage_records.notes(study)
    return {**run, "name": text}


def comparison(runs: list[Mapping[str, Any]]) -> dict[str, pd.DataFrame]:
    """What the runs of `read_run` share and where they differ.

    Returns
    -------
    dict of str to pandas.DataFrame
        By title: one row a metric, param, stage or artifact, one column a run, and whether the row is the same in all.

    Examples
    --------
    >>> runs = [{"name": name, "params": {"features": {"window": window}}} for name, window in (("a", 20), ("b", 30))]
    >>> comparison(runs)["Params"].to_dict("records")
    [{'what': 'features.window', 'a': '20', 'b': '30', 'same': 'no'}]
    """
    sections = {
        "Metrics": [_metrics(run.get("metrics", {})) | _forecasts(run.get("forecasts", {})) for run in runs],
        "Params": [_named_values(run.get("params", {})) for run in runs],
        "Rows": [dict(run.get("rows", {})) for run in runs],
        "Seconds": [
            {stage["name"]: round(float(stage["seconds"]), 1) for stage in run.get("stages", [])} for run in runs
        ],
        "Artifacts": [_artifacts(run.get("artifacts", {})) for run in runs],
        "Made by": [_made_by(run) for run in runs],
    }
    stale = [", ".join(run.get("out_of_date") or ()) for run in runs]
    kept = ["; ".join(dict.fromkeys((run.get("kept") or {}).values())) for run in runs]
    for title, cells, without in ((OUT_OF_DATE, stale, "nothing"), (KEPT, kept, "all is new")):
        if any(cells):
            sections["Metrics"] = [{title: a or without} | b for a, b in zip(cells, sections["Metrics"], strict=True)]
    names: list[str] = []
    for run in runs:
        name = str(run["name"])
        while name in names:  # a column's name is its own, even if a run is named twice
            name += " "
        names.append(name)
    tables = {}
    for title, columns in sections.items():
        rows = []
        for key in dict.fromkeys(key for column in columns for key in column):
            values = [column.get(key) for column in columns]
            if title == "Params":
                values = ["null" if value is None else str(value) for value in values]
            # What is out of date is always shown.
            same = key != OUT_OF_DATE and all(value == values[0] for value in values)
            rows.append([key, *values, "yes" if same else "no"])
        if rows:
            tables[title] = pd.DataFrame(rows, columns=["what", *names, "same"])
    return tables


def show(tables: Mapping[str, pd.DataFrame], console: Console) -> None:
    """Print the rows that differ, and how many don't."""
    for title, frame in tables.items():
        differing = frame[frame["same"] == "no"].drop(columns="same")
        if differing.empty:
            console.print(f"{title}: the same in all\n")
            continue
        table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
        for index, column in enumerate(differing.columns):
            text = differing[column].map(lambda value: isinstance(value, str)).any()
            table.add_column(column if index else "", justify="left" if text else "right", overflow="fold")
        for row in differing.itertuples(index=False):
            table.add_row(*(as_text(value) for value in row))
        same = len(frame) - len(differing)
        table.caption = f"and {same} the same in all" if same else None
        table.caption_justify = "left"
        console.print(table)


def write_page(tables: Mapping[str, pd.DataFrame], names: list[str]) -> Path:
    """Write the tables as a page beside the studies, `lib.paths.comparison_page`, and return its path."""
    page = paths.comparison_page(names)
    files.write_atomically(page, comparison_html(tables, names))
    return page


def _named_values(nested: Mapping[str, Any]) -> dict[str, Any]:
    return {name: short_digest(value) for name, value in flattened(nested).items()}


def _metrics(headline: Mapping[str, Any]) -> dict[str, Any]:
    """The headline's errors, and the model's as a share of the average's: that one tells studies of other data apart too."""
    named = {"mae": "model's error, shares a day", "mae_moving_average": "plain average's error, shares a day"}
    found = {named[key]: headline[key] for key in named if key in headline}
    if len(found) == len(named) and headline["mae_moving_average"]:
        found["model's error / plain average's"] = headline["mae"] / headline["mae_moving_average"]
    return found


def _forecasts(judged: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The forecasts' errors as a share of the 30-day average's, by horizon; none of a run that judged none."""
    named = {horizon: "the next day" if horizon == "1" else f"the next {horizon} days" for horizon in judged}
    return {
        f"forecast's error / 30-day average's, {named[horizon]}": measured["relative_mae"]
        for horizon, measured in judged.items()
        if "relative_mae" in measured
    }


def _made_by(run: Mapping[str, Any]) -> dict[str, Any]:
    started = str(run.get("started", ""))[:16].replace("T", " ")
    return {"started (UTC)": started, **_named_values({key: run.get(key) for key in ("code", "python", "archive")})}


def _artifacts(digests: Mapping[str, str]) -> dict[str, str]:
    """The digest of each artifact, shortened; of a dataset only its manifest's, which stands for its parts."""
    found = {}
    for path, digest in digests.items():
        if path.endswith("/manifest.json"):
            found[path.removeprefix(".").removesuffix("manifest.json")] = digest[:12]
        elif not path.endswith(".parquet"):
            found[path] = digest[:12]
    return found
