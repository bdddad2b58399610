"""The dashboard's tab The model: how good it is, and what it is."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from lib import stage_records
from lib.features.definitions import INPUTS
from lib.serving.dashboard.session import Session
from lib.serving.dashboard.widgets import group, guarded, html, notice
from lib.serving.prediction_day import predicted_day
from lib.stages import maker
from lib.text import short

_NAMES = {
    "ratio_by_quantile": "The best multiple of the average for each group of rows",
    "forest": "Random forest (the reference)",
}


class ModelTab:
    """What the model in use is; shown anew when a run has made something."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.failure = html("failure")
        self.about = html("about")
        self.panel = group("model", [self.failure, self.about])
        session.on_new_results.append(self.show)
        self.show()

    @guarded
    def show(self) -> None:
        """Describe the model in use."""
        information = self._session.model.value.information
        report = self._session.paths.report("03_train")
        stale = stage_records.shown_notes(self._session.paths).get(maker("model"), "")
        link = ""
        if report.exists():
            address = f"reports/reports/{report.name}#what-was-learned"
            link = f'<p><a href="{address}" target="_blank" rel="noopener">What it learned, as a map over both inputs</a></p>'
        self.about.value = (
            f'<div class="card"><h2>How good it is</h2>{notice(stale)}{measured(information.get("metrics") or {})}</div>'
            f'<div class="card"><h2>What it is</h2>{facts(information)}{link}</div>'
        )


def measured(metrics: Mapping[str, Any]) -> str:
    """The model's error beside the moving average's own."""
    if not (metrics.get("mae") and metrics.get("mae_moving_average")):
        return "<p>Not measured yet.</p>"
    ratio = metrics["mae"] / metrics["mae_moving_average"]
    verdict = f"{1 - ratio:.1%} less" if ratio < 1 else f"{ratio - 1:.1%} more"
    return (
        '<div class="tiles">'
        f"<div><b>{short(metrics['mae'])} shares</b><span>the model's mean absolute error</span></div>"
        f"<div><b>{short(metrics['mae_moving_average'])} shares</b><span>the moving average's own</span></div>"
        f"<div><b>{verdict}</b><span>error than the moving average</span></div></div>"
        "<p class='hint'>Measured on the last dates, which the model has not seen.</p>"
    )


def facts(information: Mapping[str, Any]) -> str:
    """What the model is, from what its training wrote about it."""
    bounds = information["range"]
    metrics = information.get("metrics") or {}
    rows = {
        "Model": _NAMES.get(information["model"], information["model"]),
        "Predicts": f"the volume of {predicted_day(information['horizon'])}",
        "Window of both inputs": f"{information['window']} trading days",
        "Trained on": f"{information['train_rows']:,} rows, {information['train_first_date']} to {information['train_last_date']}",
        "Training range": f"{short(bounds[INPUTS[0]][0])} to {short(bounds[INPUTS[0]][1])} shares a day; "
        f"${bounds[INPUTS[1]][0]:,.2f} to ${bounds[INPUTS[1]][1]:,.2f}",
        "Interval": f"{information['interval_level']:.0%} of days, by design"
        + (f"; {metrics['coverage']:.0%} of the days it has not seen" if metrics.get("coverage") else ""),
        "Digest": information["digest"],
    }
    table = "".join(f"<dt>{escape(name)}</dt><dd>{escape(str(value))}</dd>" for name, value in rows.items())
    return f'<dl class="facts">{table}</dl>'
