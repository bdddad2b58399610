"""The dashboard's tab Predict: two numbers, or a symbol's latest ones, and the Volume that the model makes of them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from html import escape
from typing import Any
from urllib.parse import urlencode

from lib.features.definitions import BY_NAME, INPUTS
from lib.features.inputs import InputError, written_number
from lib.features.recent_days import RecentDays, Symbols, mismatch
from lib.models.predictor import PredictionInputError, Predictor
from lib.serving.dashboard import pictures
from lib.serving.dashboard.session import Session
from lib.serving.dashboard.widgets import (
    SymbolPicker,
    group,
    guarded,
    heading,
    html,
    legend,
    notice,
    set_class,
    text_field,
)
from lib.serving.prediction_day import predicted_day, predicted_day_of
from lib.stages import maker
from lib.text import plain_number

_LABELS = {name: f"The {BY_NAME[name].label}" for name in INPUTS}


class PredictTab:
    """The form, its prediction, and the chart of the symbol that fills it.

    Parameters
    ----------
    query : mapping of str to str
        ``symbol`` and the inputs, as the page's address has them.
    """

    def __init__(self, session: Session, query: Mapping[str, str]) -> None:
        self._session = session
        self._recent: RecentDays | None = None
        self._filled: dict[str, str] = {}  # the texts that the symbol's latest row gave
        self._filling = False
        self.failure, self.stale = html("failure"), html("stale")
        self.picker = SymbolPicker(session.symbols.names, "symbol", self._picked)
        self.fields = {
            name: text_field(name, f"{BY_NAME[name].label.capitalize()}, {BY_NAME[name].unit}") for name in INPUTS
        }
        self.messages = {name: html("message") for name in INPUTS}
        self.result, self.call, self.chart, self.chart_heading = map(html, ("result", "call", "chart", "heading"))
        entries = [self.picker.field, self.picker.message]
        for name, field in self.fields.items():
            field.observe(self._typed, "value")
            entries += [field, self.messages[name]]
        self.chart_card = group("card card-chart", [self.chart_heading, self.chart])
        self.panel = group(
            "form",
            [
                self.failure,
                self.stale,
                group("card card-inputs", [heading("Inputs"), *entries]),
                group("card card-result", [heading("Prediction"), self.result, self.call]),
                self.chart_card,
            ],
        )
        session.on_new_model.append(self._new_model)
        session.on_new_results.append(self._note)
        self._note()
        self._start(query)

    @guarded
    def _start(self, query: Mapping[str, str]) -> None:
        set_class(self.chart_card, "absent", not self._session.symbols.names)
        self._check_symbols()
        given = {name: query[name] for name in INPUTS if name in query}
        if not self.picker.pick(query.get("symbol", "")) and not given:
            self.picker.pick(next(iter(self._session.symbols.names), ""))
        if not given and self._recent is None:
            bounds = self._session.model.value.information["range"]
            given = {name: plain_number((bounds[name][0] * bounds[name][1]) ** 0.5) for name in INPUTS}
        self._fill(given)
        self._predict()

    @guarded
    def _new_model(self) -> None:
        self._check_symbols()
        self._predict()

    def _note(self) -> None:
        self.stale.value = notice(self._session.stale.get(maker("model"), ""))

    def _check_symbols(self) -> bool:
        """Close the picker, and say why, while what it would fill in is not what the model was trained on."""
        session = self._session
        session.symbols = Symbols(session.paths.symbols)  # a run may have replaced the file
        why = mismatch(session.symbols, session.model.value.information, session.paths.name)
        if why or self.picker.field.disabled:
            self.picker.message.value = notice(why)
        if why:
            self._recent, self._filled = None, {}
        self.picker.field.disabled = bool(why)
        return self.picker.field.disabled

    @guarded
    def _picked(self, symbol: str | None) -> None:
        self._recent, self._filled = None, {}
        if symbol is not None and not self._check_symbols():
            self._recent = recent = self._session.symbols.recent(symbol)
            latest = (recent.vol_moving_avg[-1], recent.adj_close_rolling_med[-1])
            self._filled = {name: plain_number(value) for name, value in zip(INPUTS, latest, strict=True)}
            self._fill(self._filled)
            name = recent.security_name or "No name in the metadata"
            text = "Latest" if recent.security_name and name in self.picker.field.value else f"{escape(name)}; latest"
            self.picker.message.value = f'<p class="hint">{text} day <time>{recent.dates[-1]}</time></p>'
        self._session.refresh()
        self._predict()

    @guarded
    def _typed(self, _: Mapping[str, Any]) -> None:
        if not self._filling:
            self._session.refresh()
            if self.picker.field.disabled:  # a run may have made both of one window since
                self._check_symbols()
            self._predict()

    def _fill(self, texts: Mapping[str, str]) -> None:
        self._filling = True
        for name, text in texts.items():
            self.fields[name].value = text
        self._filling = False

    def _predict(self) -> None:
        """Show what the form's two texts predict, or what is wrong with them."""
        predictor = self._session.model.value
        texts = {name: field.value.strip() for name, field in self.fields.items()}
        values, problems = read_inputs(predictor, texts)
        horizon = predictor.information["horizon"]
        marker = None
        if problems:
            self.result.value = '<p class="none">No prediction: see the message beside the field.</p>'
            self.call.value = ""
        else:
            pair = values[INPUTS[0]], values[INPUTS[1]]
            prediction, (low, high) = predictor.predict(*pair), predictor.predict_interval(*pair)
            own = self._recent is None or texts != self._filled
            day = predicted_day(horizon)
            if not own and self._recent is not None:
                day = predicted_day_of(self._recent.symbol, self._recent.dates[-1].item(), horizon)
                marker = pictures.Marker(
                    horizon, horizon, prediction, low, high, f"Predicted for {day}: {prediction:,}, {low:,} to {high:,}"
                )
            self.result.value = result(prediction, (low, high), pair, predictor, day)
            self.call.value = call(pair)
        self._draw(marker)
        for name, field in self.fields.items():
            bounds = predictor.information["range"][name]
            outside = name in values and not bounds[0] <= values[name] <= bounds[1]
            self.messages[name].value = message(name, problems.get(name), outside, *bounds)
            set_class(field, "invalid", name in problems)

    def _draw(self, marker: pictures.Marker | None) -> None:
        """The picked symbol's days, with the prediction where it is that symbol's own; without a symbol, none."""
        if self._recent is None:
            self.chart_heading.value = "<h2>Recent volume</h2>"
            self.chart.value = '<p class="none">Pick a symbol to see its recent days here.</p>'
            return
        recent, markers = self._recent, () if marker is None else (marker,)
        keys = [("bar", "volume"), ("average", "moving average")]
        keys += [("prediction", "prediction, with its range")] if markers else []
        own = (
            ""
            if markers
            else "<p class='hint'>The inputs are not those of its latest day: no prediction is shown here.</p>"
        )
        self.chart_heading.value = (
            f"<h2>{escape(recent.symbol)}: its recent volume</h2><p class='legend'>{legend(*keys)}</p>{own}"
        )
        self.chart.value = pictures.both_widths(recent, markers, 1060, 300)


def read_inputs(predictor: Predictor, texts: Mapping[str, str]) -> tuple[dict[str, float], dict[str, str]]:
    """The numbers that the form's texts are, and what is wrong with the others.

    Returns
    -------
    values, problems : dict
        By input; without a problem the predictor takes the values.
    """
    values: dict[str, float] = {}
    problems: dict[str, str] = {}
    for name, text in texts.items():
        try:
            values[name] = written_number(_LABELS[name], text)
        except InputError as error:
            problems[name] = str(error)
    if not problems:
        try:
            predictor.predict(*(values[name] for name in INPUTS))
        except PredictionInputError as error:
            problems[error.field] = str(error).replace(error.field, _LABELS[error.field])
    return values, problems


def message(name: str, problem: str | None, outside: bool, low: float, high: float) -> str:
    """What stands below a field: its problem, or the training range."""
    if problem is not None:
        return f'<p class="error">{escape(problem)}</p>'
    kind = "warning" if outside else "hint"
    limits = f"{low:,.0f} to {high:,.0f}" if name == INPUTS[0] else f"{low:,.2f} to {high:,.2f}"
    start = "Outside the training range" if outside else "Training range"
    return f'<p class="{kind}">{start}: {limits}</p>'


def result(
    prediction: int, interval: tuple[int, int], pair: tuple[float, float], predictor: Predictor, day: str
) -> str:
    """The number, its interval, and the day that it is for."""
    level = predictor.information["interval_level"]
    share = f"{prediction / pair[0]:.1%} of the moving average" if pair[0] > 0 else "The moving average is zero"
    outside = ""
    if not predictor.in_training_range(*pair):
        outside = notice("These inputs lie outside what the model was trained on: the number is an extrapolation.")
    return (
        f'<p class="number" data-prediction="{prediction}">{prediction:,} <small>shares</small></p>'
        f'<p class="day">for {escape(day)}</p>'
        f'<p class="interval">{level:.0%} of such days: <b>{interval[0]:,}</b> to <b>{interval[1]:,}</b></p>'
        f'<p class="share">{share}</p>{pictures.interval_bar(prediction, interval, pair[0])}{outside}'
    )


def call(pair: tuple[float, float]) -> str:
    """How a program asks for the same number; the endpoint takes plain decimals only."""
    address = os.environ.get("SERVE_API_URL", "").rstrip("/")
    if not address:
        return ""
    # The host that the visitor's browser asked, where the server listens on any.
    address = address.replace("{host}", os.environ.get("SERVER_NAME") or "127.0.0.1")
    texts = [repr(value).removesuffix(".0") for value in pair]
    url = f"{address}/predict?{urlencode(dict(zip(INPUTS, texts, strict=True)))}"
    token = '-H "Authorization: Bearer TOKEN" ' if os.environ.get("SERVE_ASKS_TOKEN") else ""
    return (
        f'<p class="hint">The same from a program:</p><pre tabindex="0"><code>curl {token}"{escape(url)}"</code></pre>'
    )
