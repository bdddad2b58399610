"""The dashboard's tab Reports: what the evaluation found, and the executed notebooks."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from lib import files, paths, stage_records
from lib.serving.dashboard.session import Session
from lib.serving.dashboard.widgets import html, notice
from lib.stages import STAGES, maker

# Of the evaluation's headline table: the column, its title here, its format.
_HEADLINE = (
    ("mae", "Mean absolute error, shares", ",.0f"),
    ("relative_mae", "Beside the moving average's", ".1%"),
    ("median_ape", "Median error", ".1%"),
    ("r2", "R²", ".3f"),
)


class ReportsTab:
    """The study's verdict and the links to its reports; shown anew when a run has made others."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.panel = html("reports")
        session.on_new_results.append(self.show)
        self.show()

    def show(self) -> None:
        """Read them as they are now."""
        study = self._session.paths
        stale = stage_records.shown_notes(study)
        self.panel.value = (
            f'<div class="card"><h2>What study {escape(study.name)} found</h2>'
            f"{notice(stale.get(maker('metrics'), ''))}{found(study.metrics)}</div>"
            f'<div class="card"><h2>Its reports</h2>{listed(study, stale)}</div>'
        )


def listed(study: paths.StudyPaths, stale: Mapping[str, str]) -> str:
    """Links to the reports that there are, each with the question that it answers, and a note where it is out of date or kept."""
    entries = []
    for report in sorted(study.reports.glob("*.html")):
        row = STAGES.get(report.stem)
        title, question = (row.title, row.question) if row else (report.stem.replace("_", " ").capitalize(), "")
        entries.append((f"reports/reports/{report.name}", title, question, stale.get(report.stem, "")))
    if study.index.exists():
        entries.append(("reports/", "All of the run", "Which settings, versions and files?", ""))
    if not entries:
        return "<p>This study has no reports yet.</p>"
    items = "".join(
        f'<li><a href="{escape(address)}" target="_blank" rel="noopener">{escape(title)}</a><span>{escape(question)}</span>{notice(note)}</li>'
        for address, title, question, note in entries
    )
    return f'<ul class="report-list">{items}</ul>'


def found(metrics: Path) -> str:
    """The evaluation's own words about the model, and its headline table, from ``metrics.json``."""
    try:
        return _headline(files.read_json(metrics))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # it is not there, or was edited
        return "<p>The study has not been evaluated yet; stage 04_evaluate does that.</p>"


def _headline(content: Mapping[str, Any]) -> str:
    verdict, headline = content["verdict"], content["headline"]
    rows = "".join(
        f'<tr{" class=model" if row["predictor"] == "model" else ""}><th scope="row">{escape(row["predictor"].capitalize())}</th>'
        + "".join(
            f'<td class="numeric">{"–" if row[name] is None else format(row[name], form)}</td>'
            for name, _, form in _HEADLINE
        )
        + "</tr>"
        for row in sorted(headline, key=lambda row: row["mae"])
    )
    head = "".join(f'<th scope="col" class="numeric">{title}</th>' for _, title, _ in _HEADLINE)
    table = f'<table><thead><tr><th scope="col">Predictor</th>{head}</tr></thead><tbody>{rows}</tbody></table>'
    return (
        f"<p>{escape(verdict)}</p>"
        f'<div class="scroll" tabindex="0" role="region" aria-label="The predictors, the best first">{table}</div>'
        "<p class='hint'>On the last dates, which no predictor but the oracle has seen; the best first.</p>"
    )
