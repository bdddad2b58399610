"""A study's web pages: each executed notebook as one self-contained HTML page, and the index that links them.

A page holds its style and its pictures and runs no script; its content security policy forbids every request, so that
it reads the same from a disk without a network. The same notebook gives the same bytes.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
import pyarrow.compute as pc
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from traitlets.config import Config

from lib import files, paths, stages
from lib.evaluation.judged_forecasts import calendar_note, verdicts
from lib.figures.tables import table_html
from lib.reports import marks
from lib.reports.latest_forecasts import latest_forecasts
from lib.stage_records import note as out_of_date_note
from lib.stages import STAGES
from lib.storage import dataset
from lib.text import as_text, file_size, percent, short_digest

TEMPLATES = Path(__file__).with_name("templates")
_ENVIRONMENT = Environment(
    loader=FileSystemLoader(TEMPLATES),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    keep_trailing_newline=True,
)
# What each table of a comparison tells of the rows that differ.
COMPARED = {
    "Metrics": "On dates that the model has not seen",
    "Params": "The params that differ",
    "Rows": "Raw rows",
    "Seconds": "How long each stage took when it last ran",
    "Artifacts": "First digits of the SHA-256 of what differs",
    "Made by": "What made them",
}


@dataclass(frozen=True)
class Heading:
    """A heading of a page: plain text without markup, and its level from 1."""

    text: str
    level: int
    anchor: str


class _Renderer(IPythonRenderer):
    """Markdown to HTML, with headings that link to themselves and are listed in ``headings``."""

    def __init__(self) -> None:
        super().__init__(escape=False)
        self.headings: list[Heading] = []

    def block_code(self, code: str, info: str | None = None) -> str:
        box = '<div class="code"><div class="scroll" tabindex="0" role="group" aria-label="Code">'
        return f"{box}{super().block_code(code, info)}</div></div>\n"

    def heading(self, text: str, level: int, **attributes: Any) -> str:
        plain = html.unescape(re.sub(r"<[^>]+>", "", text)).strip()
        slug = re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-") or "section"
        taken = {heading.anchor for heading in self.headings} | {"content"}
        anchor = next(name for name in (slug, *(f"{slug}-{n}" for n in range(2, 10_000))) if name not in taken)
        self.headings.append(Heading(plain, level, anchor))
        if level == 1:
            return f'<h1 id="{anchor}">{text}</h1>\n'
        return f'<h{level} id="{anchor}"><a href="#{anchor}">{text}</a></h{level}>\n'


def write_report(notebook: Path, page: Path, study: str, note: str = "") -> None:
    """Make an executed notebook a web page.

    Parameters
    ----------
    notebook : pathlib.Path
        Executed, ``outputs/STUDY/notebooks/STAGE.ipynb``; the file's name says which stage it is. One that stopped
        with an error makes a page that shows the error.
    page : pathlib.Path
        The page to write, ``outputs/STUDY/reports/STAGE.html``; it links its siblings and ``../index.html``.
    note : str
        The message at the page's head: why it is out of date.
    """
    document = nbformat.read(notebook, as_version=4)
    files.write_atomically(page, report_html(document, notebook.stem, study, note))


def report_html(notebook: nbformat.NotebookNode, stage: str, study: str, note: str = "") -> str:
    """The HTML of the page that `write_report` writes.

    Examples
    --------
    >>> cells = [nbformat.v4.new_markdown_cell("# Ingest")]
    >>> page = report_html(nbformat.v4.new_notebook(cells=cells), "01_ingest", "sample")
    >>> page.count("<h1"), "<title>Ingest · sample</title>" in page
    (1, True)
    """
    renderer = _Renderer()
    body = _cells_html(notebook, renderer)
    titles = [heading.text for heading in renderer.headings if heading.level == 1]
    title = titles[0] if titles else STAGES[stage].title if stage in STAGES else stage
    if not titles:
        body = f"<h1>{html.escape(title)}</h1>\n{body}"
    name = html.escape(stage)
    return _page(
        study=study,
        stage=stage,
        title=title,
        note=note,
        home="../index.html",
        folder="",
        contents=[heading for heading in renderer.headings if heading.level == 2],
        body=Markup(body),
        foot=Markup(f'This page is the executed notebook <a href="../notebooks/{name}.ipynb">{name}.ipynb</a>.'),
    )


def _cells_html(notebook: nbformat.NotebookNode, renderer: _Renderer) -> str:
    config = Config()
    config.NbConvertBase.display_data_priority = [
        "text/html", "image/svg+xml", "image/png", "image/jpeg", "text/markdown", "text/plain",
    ]  # fmt: skip
    exporter = HTMLExporter(
        config=config,
        template_name=TEMPLATES.name,
        extra_template_basedirs=[str(TEMPLATES.parent)],
        template_file="index.html.j2",
    )
    markdown = MarkdownWithMath(renderer=renderer)
    exporter.register_filter("markdown2html", lambda source: boxed_tables(markdown.render(source)))
    exporter.register_filter("boxed_tables", boxed_tables)
    body, _ = exporter.from_notebook_node(notebook)
    return body


def boxed_tables(source: str) -> str:
    """Put each table of some HTML into a box that scrolls sideways, so that a wide one does not widen the page.

    Examples
    --------
    >>> boxed_tables("<p>a</p><table><tr><td>1</td></tr></table>")
    '<p>a</p><div class="table" tabindex="0" role="group" aria-label="Table"><table><tr><td>1</td></tr></table></div>'
    """
    box = '<div class="table" tabindex="0" role="group" aria-label="Table">'
    return re.sub(r"<table\b.*?</table>", lambda match: f"{box}{match[0]}</div>", source, flags=re.DOTALL)


def write_index(study: str, record: Mapping[str, Any], metrics: Mapping[str, Any]) -> None:
    """Write a study's own page, ``outputs/STUDY/index.html``: forecasts, headline numbers, reports, data, and what made them.

    Parameters
    ----------
    record : mapping
        What ``run.json`` holds, as `lib.study.record.run_record` makes it: ``stages``, ``artifacts``, ``params``, and
        what made the study. A ``failure`` (str) stands first, and the metrics, which are an earlier run's, are left out.
    metrics : mapping
        What ``metrics.json`` holds. Read are ``mae`` and ``mae_moving_average`` (shares a day, on the held-out dates),
        ``verdict`` (its first sentence is the answer), and of each row of ``headline`` its ``predictor``, ``mae`` and
        ``relative_mae``.

    Notes
    -----
    Any key may be missing, and so may any report and ``forecasts.csv``: what is not there is left out.
    """
    files.write_atomically(paths.StudyPaths(study).index, index_html(study, record, metrics))


def index_html(study: str, record: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    """The HTML of the page that `write_index` writes."""
    study_paths = paths.StudyPaths(study)
    runs = {run.get("name"): run for run in record.get("stages") or ()}
    stale, kept = _mapping(record.get("out_of_date")), _mapping(record.get("kept"))
    kept_note = "; ".join(f"{name}: {sentence}" for name, sentence in kept.items() if name not in stale)
    rows = []
    for name, row in STAGES.items():
        run = _mapping(runs.get(name))
        report, notebook = study_paths.report(name), study_paths.notebook(name)
        seconds, memory = run.get("seconds"), run.get("peak_memory_bytes")
        rows.append(
            {
                "name": name,
                "label": row.title,
                "about": row.question,
                "out_of_date": "; ".join(stale.get(name) or ()),
                "kept": kept.get(name),
                "report": f"reports/{report.name}" if report.exists() else None,
                "notebook": f"notebooks/{notebook.name}" if notebook.exists() else None,
                "unfinished": bool(record.get("failure")) and not run,
                # A stage that was not run again shows what its run took.
                "seconds": f"{seconds:,.1f}" if seconds else "–",
                "memory": f"{memory / 2**20:,.0f} MiB" if memory else "–",
            }
        )
    failure = record.get("failure")
    if failure:
        metrics = {}
    # The first sentence is the answer; the others explain it.
    verdict, stop, reasons = str(metrics.get("verdict") or "").partition(". ")
    latest = {} if failure else latest_forecasts(study_paths)
    template = _ENVIRONMENT.get_template("study.html.j2")
    body = template.render(
        title=f"Study {study}",
        overrides=record.get("overrides"),
        failure=failure,
        verdict=verdict + stop,
        reasons=reasons,
        metrics_out_of_date=stages.maker("metrics") in stale,
        latest=latest,
        latest_out_of_date=stages.maker("forecasts_csv") in stale,
        calendar_note=calendar_note(study_paths),
        forecasts=[] if failure else verdicts(study_paths, latest.get("horizons")),
        forecasts_out_of_date=stages.maker("forecast_metrics") in stale,
        headline=[*_data_numbers(study_paths, stale), *_error_numbers(metrics, stale, kept)],
        predictors=_predictors(metrics),
        stages=rows,
        timed=bool(runs),
        artifacts=_artifacts(study_paths, record),
        made_by=_tables(record),
    )
    contents = [
        Heading(html.unescape(text), 2, anchor)
        for anchor, text in re.findall(r'<h2 id="([^"]+)"><a [^>]*>([^<]+)<', body)
    ]
    return _page(
        study=study,
        stage=None,
        title="Study",
        note=out_of_date_note(study, (f"{name} ({'; '.join(reasons)})" for name, reasons in stale.items()), record)
        or kept_note,
        home="index.html",
        folder="reports/",
        contents=contents,
        body=Markup(body),
        foot="Everything here was made by one command from one params file.",
    )


def comparison_html(tables: Mapping[str, pd.DataFrame], names: Sequence[str]) -> str:
    """The HTML page that shows runs side by side: of each table what differs, the rest folded."""
    headings = [Heading(title, 2, title.lower().replace(" ", "-")) for title in tables]
    body = f"<h1>{html.escape(' and '.join(filter(None, (', '.join(names[:-1]), names[-1]))))}</h1>\n"
    studies = dict.fromkeys(name.partition("@")[0] for name in names)
    links = ", ".join(f'<a href="{html.escape(study)}/index.html">{html.escape(study)}</a>' for study in studies)
    body += f"<p>For each study or run: its results, its params and its cost. Their pages: {links}.</p>\n"
    for heading, frame in zip(headings, tables.values(), strict=True):
        body += f'<h2 id="{heading.anchor}"><a href="#{heading.anchor}">{heading.text}</a></h2>\n'
        frame = frame.rename(columns={"what": ""})
        differing, same = (frame[frame["same"] == kind].drop(columns="same") for kind in ("no", "yes"))
        if len(differing):
            body += boxed_tables(table_html(differing.set_index(""), COMPARED[heading.text], index=True))
        if len(same):
            number = f"{len(same)} more" if len(differing) else f"All {len(same)}" if len(same) > 1 else "One row"
            body += f"<details><summary>{number}, the same in all</summary>\n"
            body += boxed_tables(table_html(same.set_index(""), "The same in all", index=True))
            body += "</details>\n"
    return _page(
        study=", ".join(studies),
        stage=None,
        title="Comparison",
        note="",
        home="",
        folder=None,
        contents=headings,
        body=Markup(body),
        foot="Made from the last line of each study's history.jsonl, or from the line requested.",
    )


def _artifacts(study: paths.StudyPaths, record: Mapping[str, Any]) -> list[dict[str, str]]:
    """The study's artifacts: a dataset as one, whatever its parts, and every other file but notebooks and reports."""
    entries = _mapping(record.get("artifacts"))
    made_by_stages = [study.artifact(name) for row in STAGES.values() for name in row.makes]
    manifests = {folder: paths.dataset_manifest(folder) for folder in made_by_stages}
    datasets = [folder for folder, found in manifests.items() if f"{found.parent.name}/{found.name}" in entries]
    stale = [
        study.artifact(name).name
        for stage in _mapping(record.get("out_of_date"))
        if stage in STAGES
        for name in STAGES[stage].makes
    ]
    artifacts = []
    for folder in datasets:
        parts = [entry for path, entry in entries.items() if Path(path).parts[0] == folder.name]
        if parts:
            with suppress(dataset.DatasetError):
                opened = dataset.open_dataset(folder)
                artifacts.append(_artifact(f"{folder.name}/", parts, opened.digest, folder.name in stale))
    shown_elsewhere = {study.notebooks.name, study.reports.name}
    shown_elsewhere.update(name for folder in datasets for name in (folder.name, paths.dataset_state(folder).name))
    for path, entry in entries.items():
        if Path(path).parts[0] not in shown_elsewhere:
            artifacts.append(_artifact(path, [entry], entry.get("sha256") or "", Path(path).parts[0] in stale))
    return artifacts


def _artifact(name: str, entries: list[Mapping[str, Any]], digest: str, stale: bool) -> dict[str, str]:
    rows = [entry["rows"] for entry in entries if "rows" in entry]
    size = sum(entry.get("bytes") or 0 for entry in entries)
    return {
        "name": f"{name} (out of date)" if stale else name,
        "rows": f"{sum(rows):,}" if rows else "",
        "size": file_size(size),
        "digest": digest[:16],
    }


def _data_numbers(study: paths.StudyPaths, stale: Iterable[str]) -> Iterator[dict[str, str]]:
    """Headline numbers of the data, from the account of the raw files."""
    try:
        columns = ["symbol", "rows_read", "rows_kept", "first_date", "last_date"]
        accounts = dataset.open_dataset(study.files).read(columns)
    except dataset.DatasetError:
        return
    read, kept = (pc.sum(accounts[name]).as_py() or 0 for name in ("rows_read", "rows_kept"))
    symbols = pc.count_distinct(accounts.filter(pc.greater(accounts["rows_kept"], 0))["symbol"]).as_py()
    yield {"name": "Symbols", "value": f"{symbols:,}", "note": "out of date" if stages.maker("files") in stale else ""}
    first, last = pc.min(accounts["first_date"]).as_py(), pc.max(accounts["last_date"]).as_py()
    dates = f"{first} to {last}".replace("-", "\N{NON-BREAKING HYPHEN}") if first else ""
    yield {"name": "Daily prices", "value": f"{kept:,}", "note": dates}
    share = f"{percent((read - kept) / read)} of {read:,} rows read" if read else ""
    yield {"name": "Quarantined", "value": f"{read - kept:,}", "note": share}


def _error_numbers(
    metrics: Mapping[str, Any], stale: Iterable[str], kept: Mapping[str, str]
) -> Iterator[dict[str, str]]:
    """The headline number of the model, on dates it has not seen."""
    model, average = metrics.get("mae"), metrics.get("mae_moving_average")
    if model is None:
        return
    note = "shares a day, mean absolute error"
    if stages.maker("metrics") in stale:
        note = f"out of date; {note}"
    elif sentence := kept.get(stages.maker("metrics")):
        note = f"{sentence} In {note}"
    if average is not None:
        note += f"; the plain average's is {as_text(float(average))}"
    yield {"name": "Model's error", "value": as_text(float(model)), "note": note}


_WIDEST = 0.2  # a bar this far from the plain average fills its side: the reference forest would dwarf the others


def _predictors(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The model and what it is measured against, best first, each with its distance from the plain average."""
    found = []
    # An average of one day is never wrong, and no multiple of its error is a number.
    judged = [row for row in metrics.get("headline") or () if row["relative_mae"] is not None]
    for row in sorted(judged, key=lambda row: row["relative_mae"]):
        distance = row["relative_mae"] - 1
        found.append(
            {
                "name": row["predictor"],
                "mae": as_text(float(row["mae"])),
                "distance": f"{distance:+.1%}".replace("-", "\N{MINUS SIGN}") if distance else "0",
                "better": distance < 0,
                "width": round(50 * min(1.0, abs(distance) / _WIDEST), 2),
                "beyond": abs(distance) > _WIDEST,
            }
        )
    return found


def _tables(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The params and what made the study, as tables of two columns."""
    params_rows = [
        (f"{section}.{key}", "null" if value is None else str(value))
        for section, keys in _mapping(record.get("params")).items()
        for key, value in _mapping(keys).items()
    ]
    shown_elsewhere = {
        *("study", "failure", "params", "stages", "artifacts", "rows", "metrics", "forecasts"),
        *("out_of_date", "kept", "overrides", "bring_up_to_date"),
    }
    made_by = []
    for name, value in record.items():
        if isinstance(value, Mapping):
            value = ", ".join(f"{key.replace('_', ' ')} {short_digest(item, 16)}" for key, item in value.items())
        if value and name not in shown_elsewhere:
            made_by.append((name.replace("_", " ").capitalize(), str(short_digest(value, 16))))
    tables = [("params", "Params", params_rows), ("made-by", "Made by", made_by)]
    return [{"anchor": anchor, "name": name, "rows": rows} for anchor, name, rows in tables if rows]


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _page(*, folder: str | None, note: str, **values: Any) -> str:
    """A page from page.html.j2; ``folder`` leads from it to the reports, if it is of one study."""
    status = Markup(marks.status(note))
    navigation = [
        {"stage": stage, "label": row.title, "href": f"{folder}{stage}.html"}
        for stage, row in STAGES.items()
        if folder is not None
    ]
    return _ENVIRONMENT.get_template("page.html.j2").render(navigation=navigation, status=status, **values)
