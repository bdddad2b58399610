"""The latest forecasts as a study's own page shows them: how many shares will trade in the next session, and how sure that is."""

from __future__ import annotations

import datetime
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from lib import paths, stages
from lib.evaluation.judged_forecasts import how_often, judged_forecasts
from lib.features.definitions import VOLUME_AVERAGE
from lib.text import beside_average, day, days, percent, printable, short

MOST = 10  # symbols; of more those with the largest forecasts
_FEW = 250  # judged forecasts, of one symbol a year: a share of fewer is uncertain by 5 points and more
_LONGEST_NAME = 60  # characters
_COLUMNS = {
    **dict.fromkeys(("Symbol", "Security Name"), pa.string()),
    **dict.fromkeys(("as_of", "for_from", "for_to"), pa.date32()),
    **dict.fromkeys(("horizon", "forecast", "low", "high"), pa.int64()),
    VOLUME_AVERAGE.name: pa.float64(),
    "stale": pa.bool_(),
}


def latest_forecasts(study: paths.StudyPaths) -> dict[str, Any]:
    """What the page's table of forecasts shows.

    Returns
    -------
    dict
        As ``study.html.j2`` reads it; empty where the study has no forecasts, or a file that holds none.
    """
    try:
        table = _read(study.forecasts_csv)
    except (OSError, ValueError, KeyError, pa.ArrowException):
        return {}
    horizons = sorted(pc.unique(table["horizon"]).to_pylist())
    first = table.filter(pc.equal(table["horizon"], horizons[0]))
    shown, left_out = first, 0
    if len(first) > MOST:
        fresh = first.filter(pc.invert(first["stale"]))
        shown, left_out = (fresh, len(first) - len(fresh)) if len(fresh) else (first, 0)
        shown = shown.sort_by([("forecast", "descending"), ("Symbol", "ascending")]).slice(0, MOST)
    last = table.filter(pc.and_(pc.equal(table["horizon"], horizons[-1]), pc.is_in(table["Symbol"], shown["Symbol"])))
    later = {row["Symbol"]: row for row in last.to_pylist()} if len(horizons) > 1 else {}
    rows = shown.to_pylist()
    usual = max(rows, key=lambda row: row["as_of"])
    judged = judged_forecasts(study).get(horizons[0], {})
    held, count = judged.get("coverage"), judged.get("rows", 0)
    report = study.report(stages.maker("forecasts_csv"))
    between = [f"{horizon:,}" for horizon in horizons[1:-1]]
    return {
        "horizons": list(dict.fromkeys((horizons[0], horizons[-1]))),
        "as_of": day(usual["as_of"]),
        "next": _heading(usual),
        "later": _heading(later[usual["Symbol"]]) if usual["Symbol"] in later else None,
        "range": how_often(horizons[0]),
        "held": None if held is None else percent(held),
        "judged": f"{count:,}" if 0 < count < _FEW else None,
        "rows": [_row(row, later.get(row["Symbol"]), usual) for row in rows],
        "symbols": len(first),
        "left_out": left_out,
        "between": " and ".join(filter(None, (", ".join(between[:-1]), *between[-1:]))),
        "report": f"{report.parent.name}/{report.name}" if report.exists() else None,
    }


def _read(path: Path) -> pa.Table:
    """The file's columns, each of its type; about 20 ms for 8,000 symbols, which `lib.serving.forecast_file` takes 400 for.

    Raises
    ------
    OSError, ValueError, KeyError, pyarrow.ArrowException
        There is no such file, or one that holds no forecasts.
    """
    table = csv.read_csv(
        path,
        parse_options=csv.ParseOptions(newlines_in_values=True),
        convert_options=csv.ConvertOptions(column_types=_COLUMNS, include_columns=list(_COLUMNS)),
    )
    low, forecast, high, horizon = (table[name] for name in ("low", "forecast", "high", "horizon"))
    right = [pc.less_equal(0, low), pc.less_equal(low, forecast), pc.less_equal(forecast, high), pc.less(0, horizon)]
    if (
        not len(table)
        or any(column.null_count for column in table.columns)
        or not all(pc.all(one).as_py() for one in right)
    ):
        raise ValueError(f"{path.name} holds no forecasts")
    if len(table.group_by(["Symbol", "horizon"]).aggregate([])) < len(table):
        raise ValueError(f"{path.name} has a symbol's horizon more than once")
    return table


def _heading(row: Mapping[str, Any]) -> dict[str, str]:
    """What a column of forecasts is called, what it counts, and the days it is for."""
    if row["horizon"] == 1:
        return {"title": "Next session", "unit": "", "when": day(row["for_from"])}
    when = days(row["for_from"], row["for_to"])
    return {"title": f"Next {row['horizon']:,} sessions", "unit": "mean a day", "when": when}


def _row(row: Mapping[str, Any], later: Mapping[str, Any] | None, usual: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "symbol": printable(row["Symbol"]),
        "name": textwrap.shorten(printable(row["Security Name"]), _LONGEST_NAME, placeholder=" …"),
        "past": _past(row["as_of"], row["for_from"]) if row["as_of"] < usual["as_of"] else "",
        "next": _forecast(row),
        "low": _short(row["low"]),
        "high": _short(row["high"]),
        "later": _forecast(later) if later else None,
    }


def _past(as_of: datetime.date, for_from: datetime.date) -> str:
    return f"Prices end on {day(as_of)}: from {day(for_from)} on, a period that may already be over"


def _short(shares: int) -> str:
    return short(shares).replace(" ", "\N{NO-BREAK SPACE}")


def _forecast(row: Mapping[str, Any]) -> dict[str, str]:
    average = row[VOLUME_AVERAGE.name]
    change = row["forecast"] / average - 1 if average > 0 else None
    return {"shares": f"{row['forecast']:,}", "beside": beside_average(change, "average")}
