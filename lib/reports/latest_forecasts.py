"""The latest forecasts as a study's own page shows them: how many shares will trade in the next session, and how sure that is."""

from __future__ import annotations

import datetime
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from lib import paths, stages
from lib.evaluation import forecast_file
from lib.evaluation.judged_forecasts import how_often, judged_forecasts
from lib.features.definitions import AVERAGE_ROWS, VOLUME_AVERAGE
from lib.text import beside_average, day, days, percent, printable, short

MOST = 10  # symbols; of more those with the largest forecasts
_FEW = 250  # judged forecasts, of one symbol a year: a share of fewer is uncertain by 5 points and more
_LONGEST_NAME = 60  # characters
_date = datetime.date.fromisoformat


def latest_forecasts(study: paths.StudyPaths) -> dict[str, Any]:
    """What the page's table of forecasts shows.

    Returns
    -------
    dict
        As ``study.html.j2`` reads it; empty where the study has no forecasts, or a file that holds none.
    """
    try:
        table = forecast_file.read(study.forecasts_csv)
    except (OSError, ValueError):
        return {}
    horizons = sorted({row["horizon"] for row in table})
    shown = first = [row for row in table if row["horizon"] == horizons[0]]
    left_out = 0
    if len(first) > MOST:
        fresh = [row for row in first if not row["stale"]]
        shown, left_out = (fresh, len(first) - len(fresh)) if fresh else (first, 0)
        shown = sorted(shown, key=lambda row: (-row["forecast"], row["symbol"]))[:MOST]
    later = {row["symbol"]: row for row in table if row["horizon"] == horizons[-1] > horizons[0]}
    usual = max(shown, key=lambda row: row["as_of"])
    judged = judged_forecasts(study).get(horizons[0], {})
    held, count = judged.get("coverage"), judged.get("rows", 0)
    report = study.report(stages.maker("forecasts_csv"))
    between = [f"{horizon:,}" for horizon in horizons[1:-1]]
    return {
        "horizons": list(dict.fromkeys((horizons[0], horizons[-1]))),
        "as_of": day(_date(usual["as_of"])),
        "next": _heading(usual),
        "later": _heading(later[usual["symbol"]]) if usual["symbol"] in later else None,
        "range": how_often(horizons[0]),
        "held": None if held is None else percent(held),
        "judged": f"{count:,}" if 0 < count < _FEW else None,
        "rows": [_row(row, later.get(row["symbol"]), usual) for row in shown],
        "symbols": len(first),
        "left_out": left_out,
        "between": " and ".join(filter(None, (", ".join(between[:-1]), *between[-1:]))),
        "report": f"{report.parent.name}/{report.name}" if report.exists() else None,
    }


def _heading(row: Mapping[str, Any]) -> dict[str, str]:
    """What a column of forecasts is called, what it counts, and the days it is for."""
    if row["horizon"] == 1:
        return {"title": "Next session", "unit": "", "when": day(_date(row["for_from"]))}
    when = days(_date(row["for_from"]), _date(row["for_to"]))
    return {"title": f"Next {row['horizon']:,} sessions", "unit": "mean a day", "when": when}


def _row(row: Mapping[str, Any], later: Mapping[str, Any] | None, usual: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "symbol": printable(row["symbol"]),
        "name": textwrap.shorten(printable(row["security_name"] or ""), _LONGEST_NAME, placeholder=" …"),
        "warnings": list(_warnings(row, usual)),
        "next": _forecast(row),
        "low": _short(row["low"]),
        "high": _short(row["high"]),
        "later": _forecast(later) if later else None,
    }


def _warnings(row: Mapping[str, Any], usual: Mapping[str, Any]) -> Iterator[str]:
    if row["as_of"] < usual["as_of"]:
        as_of, for_from = (day(_date(row[key])) for key in ("as_of", "for_from"))
        yield f"Prices end on {as_of}; the forecast is from {for_from} on."
    if not row["judged"]:
        yield f"Fewer than {AVERAGE_ROWS} days of prices: forecasts from so few have not been tested."


def _short(shares: int) -> str:
    return short(shares).replace(" ", "\N{NO-BREAK SPACE}")


def _forecast(row: Mapping[str, Any]) -> dict[str, str]:
    average = row[VOLUME_AVERAGE.name]
    change = row["forecast"] / average - 1 if average > 0 else None
    return {"shares": f"{row['forecast']:,}", "beside": beside_average(change, "average")}
