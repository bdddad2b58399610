"""The dashboard's tab Batch: a file of pairs is predicted at once."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

import ipywidgets as widgets

from lib.features.definitions import INPUTS
from lib.serving.batch import (
    EXAMPLE,
    MAX_BYTES,
    MAX_CELLS,
    MAX_COLUMNS,
    MAX_ROWS,
    RESULTS,
    Batch,
    BatchError,
    predict_file,
)
from lib.serving.dashboard.session import Session
from lib.serving.dashboard.widgets import download_link, group, guarded, heading, html, notice
from lib.serving.prediction_day import predicted_day
from lib.text import as_text

_PREVIEW_ROWS = 8
_PREVIEW_COLUMNS = 12
_ERRORS_SHOWN = 20


class BatchTab:
    """A button for a file, and what came of it."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.failure = html("failure")
        self.upload = widgets.FileUpload(
            accept=".csv,.tsv,.txt,text/csv", multiple=False, description="Choose a CSV file"
        )
        self.upload.add_class("upload")
        self.upload.observe(self._uploaded, "value")
        introduction = html("introduction", _introduction())
        self.result = html("batch-result")
        self.panel = group(
            "batch",
            [self.failure, group("card", [heading("Predict a file"), introduction, self.upload]), self.result],
        )

    @guarded
    def _uploaded(self, change: Mapping[str, Any]) -> None:
        if not change["new"]:
            return
        file = change["new"][0]
        self._session.refresh()
        predictor = self._session.model.value
        try:
            batch = predict_file(predictor, bytes(file["content"]))
            self.result.value = results(batch, str(file["name"]), predictor.information["horizon"])
        except BatchError as error:
            self.result.value = f'<div class="card">{notice(str(error))}</div>'
        finally:
            # The file is on the page no more once it is predicted: the same file can be chosen again after a change.
            self.upload.value = ()


def _introduction() -> str:
    example = download_link(EXAMPLE.encode(), "pairs.csv", "An example file")
    return (
        f"<p>A CSV file with the columns {' and '.join(f'<code>{name}</code>' for name in INPUTS)}; other columns are "
        "kept. Commas, semicolons, tabs or bars between columns; numbers as 12345, 3,226,530, 5M or $25, with a decimal comma "
        f"where semicolons separate. At most {MAX_BYTES // 2**20} MiB, {MAX_ROWS:,} rows, {MAX_COLUMNS} columns and "
        f"{MAX_CELLS:,} cells. It is read in the server's memory and not kept. {example}</p>"
        '<p class="notice" id="too-large" role="alert" hidden></p>'  # dashboard.js fills it
    )


def results(batch: Batch, name: str, horizon: int) -> str:
    """What the page shows of a predicted file, as HTML: counts, a download, the first errors, the first rows."""
    good = len(batch.rows) - len(batch.errors)
    stem = "".join(character for character in name.rpartition(".")[0] if character.isalnum() or character in "-_ ")
    link = download_link(batch.csv(), f"{stem or 'pairs'}-predictions.csv", "Download the results", "button")
    return (
        f'<div class="card"><h2>{escape(name[:80])}: {good:,} of {len(batch.rows):,} rows predicted</h2>'
        f"<p class='hint'>Read with {batch.layout}. Each number is for {predicted_day(horizon)}.</p><p>{link}</p>"
        f"{_errors(batch)}{_preview(batch)}</div>"
    )


def _errors(batch: Batch) -> str:
    if not batch.errors:
        return ""
    listed = "".join(f"<li>Line {line}: {escape(text)}</li>" for line, text in batch.errors[:_ERRORS_SHOWN])
    if len(batch.errors) > _ERRORS_SHOWN:
        listed += f"<li>and {len(batch.errors) - _ERRORS_SHOWN:,} more; the downloaded file names each</li>"
    rows_have = "1 row has" if len(batch.errors) == 1 else f"{len(batch.errors):,} rows have"
    return f'<div class="notice"><p>{rows_have} no prediction:</p><ul>{listed}</ul></div>'


def _preview(batch: Batch) -> str:
    shown = batch.header[:_PREVIEW_COLUMNS]
    titles = (*shown, *RESULTS)
    sides = [' class="numeric"' if title in (*INPUTS, *RESULTS[:3]) else "" for title in titles]
    head = "".join(f'<th scope="col"{side}>{escape(title)}</th>' for side, title in zip(sides, titles, strict=True))
    body = ""
    for row, result in zip(batch.rows[:_PREVIEW_ROWS], batch.results[:_PREVIEW_ROWS], strict=True):
        cells = (*row[: len(shown)], *[""] * (len(shown) - len(row)), *result)
        body += "<tr>" + "".join(
            f"<td{side}>{escape(as_text(cell)[:60])}</td>" for side, cell in zip(sides, cells, strict=True)
        )
    parts = []
    if len(batch.rows) > _PREVIEW_ROWS:
        parts.append(f"the first {_PREVIEW_ROWS} of {len(batch.rows):,} rows")
    if len(batch.header) > len(shown):
        parts.append(f"the first {len(shown)} of {len(batch.header)} columns")
    more = f"<p class='hint'>Shown: {', '.join(parts)}.</p>" if parts else ""
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="Preview of the results">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>{more}"
    )
