"""The dashboard's widgets: a form that predicts, a batch of predictions, the reports, and what the model is.

`notebooks/dashboard.ipynb` shows the parts of a `Dashboard`; Voilà turns the notebook into a page. Everything here must import
quickly and stay small, as every visitor has a process of their own: NumPy and ipywidgets, no pandas, no scikit-learn.
"""

from __future__ import annotations

import base64
import functools
import json
import logging
import os
from collections.abc import Callable, Mapping
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode

import ipywidgets as widgets

from lib import charts, paths
from lib.batch import EXAMPLE, MAX_BYTES, MAX_ROWS, RESULTS, Batch, BatchError, predict_file
from lib.current_model import CurrentModel, NoModelError
from lib.inputs import INPUTS, InputError, number
from lib.predictor import PredictionInputError
from lib.stages import TITLES
from lib.symbols import RecentDays, Symbols

log = logging.getLogger("market-study")

SEPARATOR = " · "  # between a symbol and its name in the list
# Of the evaluation's headline table: the column, its title here, its format.
_HEADLINE = (
    ("mae", "Mean absolute error, shares", ",.0f"),
    ("relative_mae", "Beside the moving average's", ".1%"),
    ("median_ape", "Median error", ".1%"),
    ("r2", "R²", ".3f"),
)
_PREVIEW_ROWS = 8
_ERRORS_SHOWN = 20


def _guarded(callback: Callable[..., None]) -> Callable[..., None]:
    """Show a plain message when a widget's callback fails: Jupyter would send the visitor a traceback."""

    @functools.wraps(callback)
    def run(self: Dashboard, *arguments: Any) -> None:
        try:
            callback(self, *arguments)
        except NoModelError as error:
            self.failure.value = _notice(str(error))
        except Exception:
            log.exception("%s failed", callback.__name__)
            self.failure.value = _notice("Something went wrong on the server; reload the page to go on.")
        else:
            if self.failure.value:
                self.failure.value = ""

    return run


class Dashboard:
    """Everything on the page.

    Parameters
    ----------
    study : str
        The study whose model predicts.
    query : str
        The page's query string: ``vol_moving_avg``, ``adj_close_rolling_med`` and ``symbol`` fill the form.

    Attributes
    ----------
    form, batch, reports, about : ipywidgets.Widget
        What the notebook shows, one on each tab.
    """

    def __init__(self, study: str, query: str = "") -> None:
        self._study = study
        self._model = CurrentModel(study)
        self._model.refresh()
        self._symbols = Symbols(paths.StudyPaths(study).symbols)
        self._recent: RecentDays | None = None
        self._filling = False
        self.failure = _html("failure")
        self._make_form()
        self._make_batch()
        self.reports = _html("reports")
        self.about = _html("about")
        self._start({name: values[-1] for name, values in parse_qs(query, keep_blank_values=True).items()})

    # The form

    def _make_form(self) -> None:
        self.symbol = widgets.Combobox(
            description="Symbol",
            placeholder="Type a symbol or a name",
            options=[f"{symbol}{SEPARATOR}{name}" if name else symbol for symbol, name in self._symbols.names.items()],
            continuous_update=True,
        )
        self.fields = {
            INPUTS[0]: widgets.Text(description="Volume moving average, shares a day", continuous_update=True),
            INPUTS[1]: widgets.Text(description="Median adjusted close, dollars", continuous_update=True),
        }
        self.messages = {name: _html("message") for name in INPUTS}
        self.symbol_message = _html("message")
        self.result = _html("result")
        self.call = _html("call")
        self.chart = _html("chart")
        self.surface = _html("surface-picture")
        self.marker = _html("surface-marker")
        self.surface_heading = _html("heading")
        self.chart_heading = _html("heading")
        self.symbol.add_class("field").add_class("field-symbol")
        for name, field in self.fields.items():
            field.add_class("field").add_class(f"field-{name}")
            field.observe(self._typed, "value")
        self.symbol.observe(self._picked, "value")
        entries = [self.symbol, self.symbol_message]
        for name in INPUTS:
            entries += [self.fields[name], self.messages[name]]
        surface = _group("surface", [self.surface, self.marker])
        self.chart_card = _group("card card-chart", [self.chart_heading, self.chart])
        self.form = _group(
            "form",
            [
                self.failure,
                _group("card card-inputs", [_heading("Inputs"), *entries]),
                _group("card card-result", [_heading("Prediction"), self.result, self.call]),
                self.chart_card,
                _group("card card-surface", [self.surface_heading, surface]),
            ],
        )

    @_guarded
    def _start(self, query: Mapping[str, str]) -> None:
        self._show_reports()
        self._show_about()
        self._draw_surface()
        wanted = query.get("symbol", "")
        if not self._pick(wanted) and not any(name in query for name in INPUTS):
            self._pick(next(iter(self._symbols.names), ""))
        with_text = {name: query[name] for name in INPUTS if name in query}
        if not with_text and self._recent is None:
            bounds = self._model.predictor.information["range"]
            with_text = {name: _plain((bounds[name][0] * bounds[name][1]) ** 0.5) for name in INPUTS}
        self._fill(with_text)
        self._predict()

    @_guarded
    def _picked(self, change: Mapping[str, Any]) -> None:
        if self._filling:
            return
        text = change["new"].strip()
        if not text or self._pick(text):
            self.symbol_message.value = self._said_of_symbol() if text else ""
            self._predict()
        else:
            self.symbol_message.value = (
                '<p class="hint">No such symbol in this study yet: go on typing, or pick one.</p>'
            )

    @_guarded
    def _typed(self, change: Mapping[str, Any]) -> None:
        if not self._filling:
            self._predict()

    def _pick(self, text: str) -> bool:
        """Fill the form with the latest row of the symbol that ``text`` names; says whether there is one."""
        symbol = text.partition(SEPARATOR)[0].strip()
        symbol = symbol if symbol in self._symbols.names else symbol.upper()
        if symbol not in self._symbols.names:
            return False
        self._recent = recent = self._symbols.recent(symbol)
        self._fill({INPUTS[0]: _plain(recent.vol_moving_avg[-1]), INPUTS[1]: _plain(recent.adj_close_rolling_med[-1])})
        if self.symbol.value.partition(SEPARATOR)[0].strip().upper() != symbol.upper():
            self._filling = True
            self.symbol.value = f"{symbol}{SEPARATOR}{recent.security_name}" if recent.security_name else symbol
            self._filling = False
        self.symbol_message.value = self._said_of_symbol()
        keys = (("bar", "volume"), ("average", "moving average"), ("prediction", "prediction"))
        legend = "".join(f"<span><span class='key key-{key}'></span>{text}</span>" for key, text in keys)
        self.chart_heading.value = f"<h2>{escape(symbol)}: its recent volume</h2><p class='legend'>{legend}</p>"
        return True

    def _said_of_symbol(self) -> str:
        recent = self._recent
        if recent is None:
            return ""
        name = f"{escape(recent.security_name or 'No name in the metadata')}; latest day"
        if recent.security_name and recent.security_name in self.symbol.value:
            name = "Latest day"  # the field says the name
        return f'<p class="hint">{name} <time>{recent.dates[-1]}</time></p>'

    def _fill(self, texts: Mapping[str, str]) -> None:
        self._filling = True
        for name, text in texts.items():
            self.fields[name].value = text
        self._filling = False

    def _predict(self) -> None:
        """Show what the form's two texts predict, or what is wrong with them."""
        if self._model.refresh():
            self._show_about()
            self._draw_surface()
        predictor = self._model.predictor
        bounds = predictor.information["range"]
        values: dict[str, float] = {}
        problems: dict[str, str] = {}
        for name, field in self.fields.items():
            try:
                values[name] = number(_LABELS[name], field.value.strip())
            except InputError as error:
                problems[name] = str(error)
        if not problems:
            pair = values[INPUTS[0]], values[INPUTS[1]]
            try:
                prediction = predictor.predict(*pair)
            except PredictionInputError as error:
                problems[error.field] = str(error).replace(error.field, _LABELS[error.field])
        interval = None
        if problems:
            self.result.value = '<p class="none">No prediction: see the message beside the field.</p>'
            prediction, self.call.value, self.marker.value = None, "", ""
        else:
            interval = predictor.predict_interval(*pair)
            self.result.value = _result(prediction, interval, pair, predictor)
            self.marker.value = self._surface.marker(*pair)
            self.call.value = _call(pair, [self.fields[name].value.strip() for name in INPUTS])
        if self._recent is not None:
            self.chart.value = charts.recent_volume(self._recent, prediction, interval)
        (self.chart_card.add_class if self._recent is None else self.chart_card.remove_class)("absent")
        for name, field in self.fields.items():
            low, high = bounds[name]
            outside = name in values and not low <= values[name] <= high
            self.messages[name].value = _message(name, problems.get(name), outside, low, high)
            (field.add_class if name in problems else field.remove_class)("invalid")

    def _draw_surface(self) -> None:
        predictor = self._model.predictor
        bounds = predictor.information["range"]
        self._surface = charts.Surface(predictor.predict, bounds[INPUTS[0]], bounds[INPUTS[1]])
        self.surface.value = self._surface.picture
        cut = f", from {charts.LEAST_VOLUME} shares a day on" if bounds[INPUTS[0]][0] < charts.LEAST_VOLUME else ""
        self.surface_heading.value = (
            "<h2>The whole model</h2><p class='hint'>Predicted volume as a share of its moving average, for every pair of "
            f"inputs in the training range{cut}.</p>"
        )

    # The batch

    def _make_batch(self) -> None:
        self.upload = widgets.FileUpload(accept=".csv,text/csv", multiple=False, description="Choose a CSV file")
        self.upload.add_class("upload")
        self.upload.observe(self._uploaded, "value")
        example = base64.b64encode(EXAMPLE.encode()).decode()
        introduction = _html("introduction")
        introduction.value = (
            "<p>A CSV file with the columns <code>vol_moving_avg</code> and <code>adj_close_rolling_med</code>; other columns are "
            f"kept. At most {MAX_BYTES // 2**20} MiB and {MAX_ROWS:,} rows. It is read in the server's memory and not kept. "
            f'<a download="pairs.csv" href="data:text/csv;base64,{example}">An example file</a></p>'
        )
        introduction.value += '<p class="notice" id="too-large" role="alert" hidden></p>'  # dashboard.js fills it
        self.batch_result = _html("batch-result")
        self.batch = _group(
            "batch", [_group("card", [_heading("Predict a file"), introduction, self.upload]), self.batch_result]
        )

    @_guarded
    def _uploaded(self, change: Mapping[str, Any]) -> None:
        if not change["new"]:
            return
        file = change["new"][0]
        self._model.refresh()
        try:
            batch = predict_file(self._model.predictor, bytes(file["content"]))
        except BatchError as error:
            self.batch_result.value = f'<div class="card">{_notice(str(error))}</div>'
        else:
            self.batch_result.value = _batch(batch, str(file["name"]))
        # The file is on the page no more once it is predicted: the same file can be chosen again after a change.
        self.upload.value = ()

    # Reports, and the model

    def _show_reports(self) -> None:
        study = paths.StudyPaths(self._study)
        entries = []
        for report in sorted(study.reports.glob("*.html")):
            title, description = TITLES.get(report.stem, (report.stem.replace("_", " ").capitalize(), ""))
            entries.append(
                f'<li><a href="reports/reports/{escape(report.name)}" target="_blank" rel="noopener">{escape(title)}</a>'
                f"<span>{escape(description)}</span></li>"
            )
        if study.index.exists():
            entries.append(
                '<li><a href="reports/" target="_blank" rel="noopener">All of the run</a>'
                "<span>Which settings, versions and files?</span></li>"
            )
        listed = (
            f'<ul class="report-list">{"".join(entries)}</ul>' if entries else "<p>This study has no reports yet.</p>"
        )
        self.reports.value = (
            f'<div class="card"><h2>What study {escape(self._study)} found</h2>{_found(study.metrics)}</div>'
            f'<div class="card"><h2>Its reports</h2>{listed}</div>'
        )

    def _show_about(self) -> None:
        information = self._model.predictor.information
        metrics = information.get("metrics") or {}
        tiles = ""
        if metrics.get("mae") and metrics.get("mae_moving_average"):
            ratio = metrics["mae"] / metrics["mae_moving_average"]
            verdict = f"{1 - ratio:.1%} less" if ratio < 1 else f"{ratio - 1:.1%} more"
            tiles = (
                '<div class="tiles">'
                f"<div><b>{charts.short(metrics['mae'])} shares</b><span>the model's mean absolute error</span></div>"
                f"<div><b>{charts.short(metrics['mae_moving_average'])} shares</b><span>the moving average's own</span></div>"
                f"<div><b>{verdict}</b><span>error than the moving average</span></div></div>"
                "<p class='hint'>Measured on the last dates, which the model has not seen.</p>"
            )
        bounds = information["range"]
        names = {
            "ratio_by_quantile": "The best multiple of the moving average in each tenth of the rows",
            "forest": "Random forest (the reference)",
        }
        days = {0: "the same day's volume", 1: "the next trading day's volume"}
        rows = {
            "Model": names.get(information["model"], information["model"]),
            "Predicts": days.get(information["horizon"], f"the volume {information['horizon']} trading days later"),
            "Window of both inputs": f"{information['window']} trading days",
            "Trained on": f"{information['train_rows']:,} rows, {information['train_first_date']} to {information['train_last_date']}",
            "Training range": f"{charts.short(bounds[INPUTS[0]][0])} to {charts.short(bounds[INPUTS[0]][1])} shares a day; "
            f"${bounds[INPUTS[1]][0]:,.2f} to ${bounds[INPUTS[1]][1]:,.2f}",
            "Interval": f"{information['interval_level']:.0%} of days, by design"
            + (f"; {metrics['coverage']:.0%} of the days it has not seen" if metrics.get("coverage") else ""),
            "Digest": information["digest"],
        }
        table = "".join(f"<dt>{escape(name)}</dt><dd>{escape(str(value))}</dd>" for name, value in rows.items())
        self.about.value = (
            f'<div class="card"><h2>How good it is</h2>{tiles or "<p>Not measured yet.</p>"}</div>'
            f'<div class="card"><h2>What it is</h2><dl class="facts">{table}</dl></div>'
        )


def _found(metrics: Path) -> str:
    """The evaluation's own words about the model, and its headline table, from ``metrics.json``."""
    try:
        found = json.loads(metrics.read_text(encoding="utf-8"))
        verdict, headline = found["verdict"], found["headline"]
    except (OSError, ValueError, KeyError):
        return "<p>The study has not been evaluated yet: 04_evaluate does.</p>"
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


_LABELS = {INPUTS[0]: "The moving average", INPUTS[1]: "The median price"}


def _html(name: str) -> widgets.HTML:
    return widgets.HTML().add_class(name)


def _heading(text: str) -> widgets.HTML:
    return widgets.HTML(f"<h2>{escape(text)}</h2>").add_class("heading")


def _group(names: str, children: list[widgets.Widget]) -> widgets.Box:
    box = widgets.Box(children)
    for name in names.split():
        box.add_class(name)
    return box


def _plain(value: float) -> str:
    """A number as one would type it: two decimals where they matter.

    Examples
    --------
    >>> _plain(3864436.6666), _plain(25.0), _plain(0.01234)
    ('3864436.67', '25', '0.01234')
    """
    text = f"{value:.2f}" if abs(value) >= 1 else f"{value:.6f}"
    return text.rstrip("0").rstrip(".")


def _notice(text: str) -> str:
    return f'<p class="notice">{escape(text)}</p>'


def _message(name: str, problem: str | None, outside: bool, low: float, high: float) -> str:
    if problem is not None:
        return f'<p class="error">{escape(problem)}</p>'
    kind = "warning" if outside else "hint"
    limits = f"{low:,.0f} to {high:,.0f}" if name == INPUTS[0] else f"{low:,.2f} to {high:,.2f}"
    start = "Outside the training range" if outside else "Training range"
    return f'<p class="{kind}">{start}: {limits}</p>'


def _result(prediction: int, interval: tuple[int, int], pair: tuple[float, float], predictor: Any) -> str:
    level = predictor.information["interval_level"]
    share = f"{prediction / pair[0]:.1%} of the moving average" if pair[0] > 0 else "The moving average is zero"
    outside = ""
    if not predictor.in_training_range(*pair):
        outside = _notice(
            "These inputs lie outside what the model was trained on: the number is a guess beyond its data."
        )
    return (
        f'<p class="number" data-prediction="{prediction}">{prediction:,} <small>shares</small></p>'
        f'<p class="interval">{level:.0%} of such days: <b>{interval[0]:,}</b> to <b>{interval[1]:,}</b></p>'
        f'<p class="share">{share}</p>{charts.interval_bar(prediction, interval, pair[0])}{outside}'
    )


def _call(pair: tuple[float, float], texts: list[str]) -> str:
    address = os.environ.get("SERVE_API_URL", "").rstrip("/")
    if not address:
        return ""
    # The host that the visitor's browser asked, where the server listens on any.
    address = address.replace("{host}", os.environ.get("SERVER_NAME") or "127.0.0.1")
    url = f"{address}/predict?{urlencode(dict(zip(INPUTS, texts, strict=True)))}"
    token = '-H "Authorization: Bearer TOKEN" ' if os.environ.get("SERVE_ASKS_TOKEN") else ""
    return (
        f'<p class="hint">The same from a program:</p><pre tabindex="0"><code>curl {token}"{escape(url)}"</code></pre>'
    )


def _batch(batch: Batch, name: str) -> str:
    good = len(batch.rows) - len(batch.errors)
    link = base64.b64encode(batch.csv().encode()).decode()
    stem = (
        "".join(character for character in name.rpartition(".")[0] if character.isalnum() or character in "-_ ")
        or "pairs"
    )
    errors = "".join(f"<li>Line {line}: {escape(text)}</li>" for line, text in batch.errors[:_ERRORS_SHOWN])
    if len(batch.errors) > _ERRORS_SHOWN:
        errors += f"<li>and {len(batch.errors) - _ERRORS_SHOWN:,} more; the downloaded file names each</li>"
    rows_have = "1 row has" if len(batch.errors) == 1 else f"{len(batch.errors):,} rows have"
    wrong = f'<div class="notice"><p>{rows_have} no prediction:</p><ul>{errors}</ul></div>' if errors else ""
    preview = [
        (*row, *result) for row, result in zip(batch.rows[:_PREVIEW_ROWS], batch.results[:_PREVIEW_ROWS], strict=True)
    ]
    sides = [' class="numeric"' if title in (*INPUTS, *RESULTS[:3]) else "" for title in (*batch.header, *RESULTS)]
    head = "".join(
        f'<th scope="col"{side}>{escape(title)}</th>'
        for side, title in zip(sides, (*batch.header, *RESULTS), strict=True)
    )
    body = "".join(
        "<tr>"
        + "".join(f"<td{side}>{escape(_cell(cell))}</td>" for side, cell in zip(sides, cells, strict=True))
        + "</tr>"
        for cells in preview
    )
    more = (
        f"<p class='hint'>The first {_PREVIEW_ROWS} of {len(batch.rows):,} rows.</p>"
        if len(batch.rows) > _PREVIEW_ROWS
        else ""
    )
    return (
        f'<div class="card"><h2>{escape(name[:80])}: {good:,} of {len(batch.rows):,} rows predicted</h2>'
        f'<p><a class="button" download="{stem}-predictions.csv" href="data:text/csv;charset=utf-8;base64,{link}">'
        f"Download the results</a></p>{wrong}"
        f'<div class="scroll" tabindex="0" role="region" aria-label="Preview of the results"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>{more}</div>"
    )


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)[:60]
