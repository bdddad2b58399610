"""The dashboard's tab Forecast: a symbol's next sessions, the largest expected changes, and how long a position takes to trade."""

from __future__ import annotations

import csv
import io
import logging
import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import ipywidgets as widgets

from lib.evaluation.forecast_file import COLUMNS
from lib.evaluation.judged_forecasts import TIMES, verdicts
from lib.features.inputs import InputError, written_number
from lib.features.recent_days import RecentDays
from lib.serving.dashboard import pictures
from lib.serving.dashboard.session import Session
from lib.serving.dashboard.widgets import (
    SymbolPicker,
    download_link,
    group,
    guarded,
    heading,
    html,
    legend,
    notice,
    set_class,
    text_field,
)
from lib.serving.forecast_words import expectation, unit, warnings, when
from lib.serving.symbol_forecasts import (
    ForecastsError,
    HorizonForecast,
    SymbolForecast,
    SymbolForecasts,
    largest_changes,
    load,
    sessions_needed,
)
from lib.stages import maker
from lib.text import beside_average, csv_cell, day, short

log = logging.getLogger("market-study")

ROWS = 10  # of the largest rises, and of the falls
_MOST_SESSIONS = 2520  # ten years; nobody plans further
_COLUMNS = (*COLUMNS[: COLUMNS.index("ratio")], "change")


class ForecastTab:
    """The forecasts of a study; nothing, where it has none.

    Parameters
    ----------
    query : mapping of str to str
        ``forecast``, a symbol, as the page's address has it.
    """

    def __init__(self, session: Session, query: Mapping[str, str]) -> None:
        self._session = session
        self.failure, self.stale = html("failure"), html("stale")
        self.panel = group("forecast", [self.failure])
        try:
            table = load(session.paths.forecasts_csv)
        except ForecastsError as error:
            log.error("%s", error)
            self.failure.value = notice(str(error))
            return
        if table is None or not table.horizons:
            self.panel = group("no-forecast", [])  # dashboard.js leaves the tab hidden
            return
        self._table = table
        self._written = _written(session)
        self._one = max(table.symbols.values(), key=lambda one: (not one.stale, one.vol_moving_avg))
        self._make(table)
        session.on_new_results.append(self._note)
        self._note()
        if not self.picker.pick(query.get("forecast", "")):
            self.picker.pick(self._one.symbol)
        self._show_changes({})

    def _make(self, table: SymbolForecasts) -> None:
        names = {symbol: one.security_name for symbol, one in table.symbols.items()}
        self.picker = SymbolPicker(names, "forecast", self._picked)
        self.next_session, self.chart_heading, self.chart = map(html, ("next-session", "heading", "chart"))
        self.later, self.judged = html("later"), html("judged")
        self.horizon = widgets.Dropdown(
            description="For", options=[(_horizon_text(horizon), horizon) for horizon in table.horizons]
        )
        self.horizon.add_class("field").add_class("field-horizon")
        self.least = text_field("least_volume", "Average of at least, shares a day", "100,000")
        self.least_message, self.changes = html("message"), html("changes")
        self.position_heading, self.position = html("heading"), html("position")
        self.shares = text_field("shares", "Shares", "1,000,000")
        self.share_of_volume = text_field("share_of_volume", "Largest share of a day's volume, %", "10")
        self.shares_message, self.share_message = html("message"), html("message")
        for field in (self.horizon, self.least):
            field.observe(self._show_changes, "value")
        for field in (self.shares, self.share_of_volume):
            field.observe(self._show_position, "value")
        position = [self.shares, self.shares_message, self.share_of_volume, self.share_message, self.position]
        self.panel.children = [
            self.failure,
            self.stale,
            group("card card-symbol", [group("pick", [self.picker.field, self.picker.message]), self.next_session]),
            group("card card-days", [self.chart_heading, self.chart]),
            group("card card-later", [heading("The sessions after"), self.later]),
            group(
                "card card-changes",
                [
                    heading("Largest expected rises and falls"),
                    group("controls", [self.horizon, group("control", [self.least, self.least_message])]),
                    self.changes,
                ],
            ),
            group("card card-position", [self.position_heading, *position]),
            group("card card-judged", [self.judged]),
        ]

    def _note(self) -> None:
        stage = maker("forecasts_csv")
        self.stale.value = notice(self._session.stale.get(stage, ""))
        report = self._session.paths.report(stage)
        address = f"reports/reports/{report.name}" if report.exists() else ""
        self.judged.value = judged(verdicts(self._session.paths, self._table.horizons), address)

    def _refresh(self) -> None:
        """Take the forecasts that a run has written since; a file that cannot be read leaves those that are shown."""
        self._session.refresh()
        written = _written(self._session)
        if written == self._written:
            return
        self._written = written
        try:
            self._table = load(self._session.paths.forecasts_csv) or self._table
        except ForecastsError as error:
            log.error("%s", error)
        self._note()  # of the horizons that there are now

    @guarded
    def _picked(self, symbol: str | None) -> None:
        self._refresh()
        if symbol is not None and symbol not in self._table.symbols:
            symbol = None  # the new forecasts have it no more
        if symbol is None:
            self.next_session.value = '<p class="none">Pick a symbol to see its forecast.</p>'
            self.chart_heading.value = "<h2>Recent volume</h2>"
            self.chart.value = self.later.value = '<p class="none">No symbol is picked.</p>'
            self.position_heading.value = "<h2>How long to trade a position</h2>"
            self.position.value = '<p class="none">Pick a symbol above.</p>'
            return
        self._one = one = self._table.symbols[symbol]
        recent = self._session.symbols.recent(symbol) if symbol in self._session.symbols.names else None
        first, *later = one.horizons.values()
        self.next_session.value = next_session(one, first) + warning(one, recent)
        self.later.value = "".join(later_sessions(one, each) for each in later)
        self._draw(one, recent)
        self.position_heading.value = f"<h2>How long to trade a position in {escape(symbol)}</h2>"
        self._show_position({})

    def _draw(self, one: SymbolForecast, recent: RecentDays | None) -> None:
        if recent is None:
            self.chart_heading.value = "<h2>Recent volume</h2>"
            self.chart.value = '<p class="none">This study has no recent days for this symbol: they begin with its first whole window of days.</p>'
            return
        fits = recent.dates[-1].item() == one.as_of  # else the bars are of other days than the forecast counts from
        markers = [marker(each) for each in one.horizons.values()] if fits else []
        keys = [("bar", "volume"), ("average", "moving average")]
        if markers:
            keys += [("prediction", "forecast, with its range"), ("mean", "means of more sessions")]
        self.chart_heading.value = (
            f"<h2>{escape(one.symbol)}: its last {len(recent.dates)} days and what comes next</h2>"
            f"<p class='legend'>{legend(*keys)}</p>"
        )
        self.chart.value = pictures.both_widths(recent, markers, 660, 320)

    @guarded
    def _show_changes(self, _: Mapping[str, Any]) -> None:
        self._refresh()
        least = self._number(self.least, self.least_message, "The least moving average")
        if least is not None:
            rows = largest_changes(self._table, self.horizon.value, least, ROWS)
            self.changes.value = changes(
                rows, self.horizon.value, sum(one.stale for one in self._table.symbols.values())
            )

    @guarded
    def _show_position(self, _: Mapping[str, Any]) -> None:
        if self.picker.symbol is None:
            return
        shares = self._number(self.shares, self.shares_message, "The number of shares", least=1)
        share = self._number(self.share_of_volume, self.share_message, "The largest share", least=0.01, most=100)
        if shares is None or share is None:
            self.position.value = '<p class="none">See the message beside the field.</p>'
        else:
            self.position.value = position(self._one, shares, share / 100)

    def _number(
        self, field: widgets.Text, message: widgets.HTML, name: str, least: float = 0, most: float = 1e15
    ) -> float | None:
        """The number in a field, or None with a message below it."""
        problem = ""
        value = None
        try:
            value = written_number(name, field.value.strip().removesuffix("%"))
            if not least <= value <= most:
                problem = f"{name} is {value:,g}; allowed: {least:,g} to {most:,g}"
        except InputError as error:
            problem = str(error)
        message.value = f'<p class="error">{escape(problem)}</p>' if problem else ""
        set_class(field, "invalid", bool(problem))
        return None if problem else value


def _written(session: Session) -> tuple[int, int]:
    try:
        status = session.paths.forecasts_csv.stat()
    except OSError:
        return (0, 0)
    return status.st_mtime_ns, status.st_ino


def _horizon_text(horizon: int) -> str:
    return "the next session" if horizon == 1 else f"the mean of the next {horizon} sessions"


def next_session(one: SymbolForecast, each: HorizonForecast) -> str:
    """The first horizon's number and sentence."""
    return (
        f'<p class="number" data-forecast="{each.forecast}">{each.forecast:,} <small>{unit(each)}</small></p>'
        f'<p class="sentence"><b>{when(each)}:</b> {expectation(one, each)}</p>'
        f"{pictures.interval_bar(each.forecast, (each.low, each.high), one.vol_moving_avg)}"
    )


def judged(verdicts: Sequence[str], report: str) -> str:
    """How good the forecasts have been: each horizon's verdict, and where the rest of it is told."""
    sentences = "".join(f"<li>{escape(verdict)}</li>" for verdict in verdicts)
    link = (
        f'<p><a href="{report}" target="_blank" rel="noopener">By year, size, weekday and kind of day</a></p>'
        if report
        else ""
    )
    found = f"<ul>{sentences}</ul>{link}" if sentences else "<p>They have not been judged.</p>"
    return f"<h2>How good these forecasts are</h2>{found}"


def warning(one: SymbolForecast, recent: RecentDays | None) -> str:
    """What a reader must know before trusting the forecast: nothing, mostly."""
    if sentences := warnings(one):
        return notice(" ".join(sentences))
    if recent is not None and recent.dates[-1].item() != one.as_of:
        return notice(
            f"Out of date: the forecast was made from prices to {day(one.as_of)}, and the study has them to "
            f"{day(recent.dates[-1].item())}. Run the study again."
        )
    return ""


def later_sessions(one: SymbolForecast, each: HorizonForecast) -> str:
    """The mean of some sessions: number, days, range."""
    beside = beside_average(one.change(each.horizon), "the average")
    return (
        f'<section class="tile"><h3>Next {each.horizon} sessions</h3><p class="hint">{when(each)}</p>'
        f'<p class="tile-number" data-forecast="{each.forecast}">{short(each.forecast)} <small>shares a day</small></p>'
        f"<p>{beside[:1].upper() + beside[1:]}; "
        f"{short(each.low)} to {short(each.high)}</p></section>"
    )


def marker(each: HorizonForecast) -> pictures.Marker:
    """Where a forecast is on the chart: on its sessions."""
    text = f"{when(each)}: {short(each.forecast)} shares a day, {short(each.low)} to {short(each.high)}"
    return pictures.Marker(1, each.horizon, each.forecast, each.low, each.high, text)


def changes(rows: Sequence[SymbolForecast], horizon: int, stale: int) -> str:
    """The table of the largest expected changes, with its download; dashboard.js sorts it by the column that is pressed."""
    ending = "symbol whose prices end earlier is" if stale == 1 else "symbols whose prices end earlier are"
    left_out = f" {stale:,} {ending} left out." if stale else ""
    if not rows:
        return f'<p class="none">No symbol trades that much on average.{left_out}</p>'
    columns = (("Symbol", ""), *((title, "numeric") for title in ("Change", "Forecast", "Average", "Range")))
    head = "".join(
        f'<th scope="col" class="{side}"{" aria-sort=descending" if title == "Change" else ""}>'
        f'<button type="button" class="sort">{title}</button></th>'
        for title, side in columns
    )
    body = "".join(_change_row(one, horizon) for one in rows)
    link = download_link(changes_csv(rows, horizon), f"changes-{horizon}.csv", "Download this table", "button")
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="Largest expected rises and falls">'
        f'<table class="sortable"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
        f"<p class='hint'>At most {ROWS} rises and {ROWS} falls, beside each symbol's own average.{left_out}</p><p>{link}</p>"
    )


def _change_row(one: SymbolForecast, horizon: int) -> str:
    each, change = one.horizons[horizon], one.change(horizon) or 0.0
    name = f"<span>{escape(one.security_name)}</span>" if one.security_name else ""
    direction = "rise" if change >= 0 else "fall"
    cells = (
        (change, f"{change:+.0%}".replace("-", "−"), f" {direction}"),
        (each.forecast, short(each.forecast), ""),
        (one.vol_moving_avg, short(one.vol_moving_avg), ""),
        (each.low, f"{short(each.low)} to {short(each.high)}", ""),
    )
    numbers = "".join(f'<td class="numeric{extra}" data-value="{value}">{text}</td>' for value, text, extra in cells)
    symbol = escape(one.symbol)
    pick = f'<button type="button" class="pick-symbol" data-symbol="{symbol}">{symbol}</button>'
    return f'<tr><th scope="row" data-value="{symbol}">{pick}{name}</th>{numbers}</tr>'


def changes_csv(rows: Sequence[SymbolForecast], horizon: int) -> bytes:
    """The table's rows as CSV, in UTF-8; no cell is a formula to a spreadsheet."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(_COLUMNS)
    for one in rows:
        each = one.horizons[horizon]
        row = (one.symbol, one.security_name, one.as_of, each.for_from, each.for_to, horizon)
        numbers = (each.forecast, each.low, each.high, one.vol_moving_avg, round(one.change(horizon) or 0.0, 6))
        writer.writerow([csv_cell(cell) for cell in (*row, *numbers)])
    return text.getvalue().encode()


def position(one: SymbolForecast, shares: float, share: float) -> str:
    """How many sessions a position takes, in words."""
    expected, fewest, most = sessions_needed(one, shares, share)
    if math.isinf(expected):
        return f'<p class="none">No volume of {escape(one.symbol)} is expected, so it cannot be traded.</p>'
    beyond = rounded = ""
    longest = max(one.horizons)
    if expected > longest:  # no range has been tested for so long
        known = "the next session, its volume" if longest == 1 else f"the next {longest} sessions, their mean volume"
        beyond = f"<p class='hint'>Beyond {known} is assumed to continue, and there is no tested range.</p>"
    elif most > longest:
        beyond = f"<p class='hint'>It may take more than the {longest} session{'s' * (longest > 1)} for which there is a tested range.</p>"
    elif fewest < most:
        rounded = f"; {TIMES} between {_many(fewest)} and {_many(most)}"
    return (
        f'<p class="tile-number" data-sessions="{expected:.0f}">{_many(expected)} <small>session{"" if expected == 1 else "s"}</small></p>'
        f"<p>for {shares:,.0f} shares at {share * 100:g}% of each session's volume{rounded}.</p>{beyond}"
    )


def _many(sessions: float) -> str:
    return f"{sessions:,.0f}" if sessions <= _MOST_SESSIONS else f"more than {_MOST_SESSIONS:,}"
