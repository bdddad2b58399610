"""The tab Forecast: its texts, and the tab as a visitor meets it, in a real browser.

Screenshots land in the folder that SCREENSHOTS names, if it does.
"""

from __future__ import annotations

import csv
import datetime
import io
import json
import os
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect
from serving_study import free_port, make_study, running, write_forecasts
from tools import chromium

from lib.features.recent_days import Symbols
from lib.serving.dashboard import forecast as tab
from lib.serving.dashboard.page import Dashboard
from lib.serving.dashboard.session import Session
from lib.serving.symbol_forecasts import HorizonForecast, SymbolForecast, load

pytestmark = pytest.mark.xdist_group("dashboard")

OPEN = 90_000  # milliseconds that a page may take on a machine with other work
NAMES = {"AAPL": "Apple Inc.", "TRUE": "TrueCar, Inc.", "ZED": None}  # as `make_study` has them
MORE = {f"S{number:02}": f"=Company {number}" for number in range(40)}  # symbols without recent days
DAY = datetime.date(2013, 3, 5)


def symbol(forecast=18_500_000, average=20_100_000.0, last=DAY, stale=False, name="A&B"):
    horizons = {1: HorizonForecast(1, DAY, last, forecast, 12_700_000, 30_300_000)}
    return SymbolForecast(name, "<x>", DAY - datetime.timedelta(1), average, stale, horizons)


def forecast(study):
    """Write forecasts that fit the study's prices; gives them."""
    recent = Symbols(study.symbols).recent("AAPL")
    write_forecasts(study.forecasts_csv, {**NAMES, **MORE}, recent.dates[-1].item())
    return load(study.forecasts_csv)


@pytest.fixture
def session(outputs):
    study = make_study(outputs)
    forecast(study)
    return Session("sample")


# What it says


def test_the_sentence_has_day_number_average_and_range():
    text = tab.next_session(symbol(), symbol().horizons[1])
    assert (
        "<b>Tuesday 5 March 2013:</b> about 18.5 M shares, 8% below the 30-day average; on 4 days out of 5 between 12.7 M and 30.3 M."
        in text
    )
    assert 'data-forecast="18500000">18,500,000 <small>shares<' in text


def test_the_marker_lies_on_its_sessions():
    each = HorizonForecast(5, DAY, datetime.date(2013, 3, 11), 10, 5, 20)
    marker = tab.marker(each)
    assert (marker.first, marker.last, marker.value, marker.low, marker.high) == (1, 5, 10, 5, 20)
    assert marker.text.startswith("5 to 11 March 2013: 10 shares a day")


def test_a_stale_symbol_and_forecasts_older_than_the_prices_are_said_so(session):
    recent = session.symbols.recent("AAPL")
    assert "earlier than others" in tab.warning(symbol(stale=True), recent)
    new = tab.warning(replace(symbol(stale=True), judged=False), recent)
    assert (
        "earlier than others" in new
        and "has fewer than 30 days of prices: forecasts from so few have not been tested." in new
    )
    assert "Out of date: the forecast was made from prices to Monday 4 March 2013" in tab.warning(symbol(), recent)
    fits = SymbolForecast("AAPL", "", recent.dates[-1].item(), 1.0, False, symbol().horizons)
    assert tab.warning(fits, recent) == ""


def test_a_position_has_sessions_and_their_range():
    month = {21: replace(symbol().horizons[1], horizon=21)}
    text = tab.position(replace(symbol(), horizons=month), 5_000_000, 0.1)
    assert 'data-sessions="3">3 <small>sessions' in text
    assert "for 5,000,000 shares at 10% of each session's volume; 4 times out of 5 between 2 and 4" in text
    assert "Beyond" not in text
    text = tab.position(symbol(), 5_000_000, 0.1)
    assert 'data-sessions="3">3 <small>sessions' in text and "4 times" not in text
    assert "Beyond the next session, its volume is assumed to continue, and there is no tested range." in text
    assert "cannot be traded" in tab.position(symbol(forecast=0), 1, 0.1)
    assert "more than 2,520" in tab.position(symbol(), 1e15, 0.1)


def test_the_download_is_the_table_and_no_formula():
    rows = list(csv.DictReader(io.StringIO(tab.changes_csv([symbol(name="=A1")], 1).decode())))
    assert [row["Symbol"] for row in rows] == ["'=A1"]
    assert (rows[0]["for_from"], rows[0]["forecast"], rows[0]["change"]) == ("2013-03-05", "18500000", "-0.079602")


def test_markup_in_names_stays_text():
    text = tab.changes([symbol()], 1, 2)
    assert (
        ">A&amp;B</button><span>&lt;x&gt;</span>" in text
        and " 2 symbols whose prices end earlier are left out." in text
    )


def test_what_is_left_out_of_the_changes_is_counted():
    assert " 1 symbol whose prices end earlier is left out." in tab.changes([symbol()], 1, 1)
    assert " 1,200 symbols whose prices end earlier are left out." in tab.changes([], 1, 1200)
    assert "left out" not in tab.changes([symbol()], 1, 0)


def test_the_tab_follows_the_symbol(session):
    page = tab.ForecastTab(session, {"forecast": "true"})
    forecasts = load(session.paths.forecasts_csv)
    assert page.picker.symbol == "TRUE"
    assert f'data-forecast="{forecasts.symbols["TRUE"].horizons[1].forecast}"' in page.next_session.value
    assert (
        page.chart.value.count('class="prediction"') == 2 and page.chart.value.count('class="mean"') == 4
    )  # at two widths
    page.picker.field.value = "no such thing"
    for part in (page.next_session, page.chart, page.later, page.position):
        assert "<svg" not in part.value and "data-forecast" not in part.value
    page.picker.field.value = "S07"
    assert "no recent days" in page.chart.value and "data-forecast" in page.next_session.value


def test_it_says_how_good_the_forecasts_are(session):
    assert "<p>They have not been judged.</p>" in tab.ForecastTab(session, {}).judged.value
    verdicts = {str(horizon): {"verdict": f"Verdict of <{horizon}>."} for horizon in (1, 5, 21)}
    session.paths.forecast_metrics.write_text(json.dumps({"horizons": verdicts}))
    session.paths.report("05_forecast").parent.mkdir(parents=True, exist_ok=True)
    session.paths.report("05_forecast").touch()
    text = tab.ForecastTab(session, {}).judged.value
    assert [f"<li>Verdict of &lt;{horizon}&gt;.</li>" in text for horizon in (1, 5, 21)] == [True] * 3
    assert 'href="reports/reports/05_forecast.html"' in text
    verdicts = {"1": {"verdict": ["a"]}, "5": {"verdict": "\ud800\x1b[31m"}, "21": 3}
    session.paths.forecast_metrics.write_text(json.dumps({"horizons": verdicts}))
    assert "They have not been judged" in tab.ForecastTab(session, {}).judged.value
    verdicts.pop("21")
    session.paths.forecast_metrics.write_text(json.dumps({"horizons": verdicts}))
    tab.ForecastTab(session, {}).judged.value.encode()


def test_forecasts_of_other_days_are_not_drawn_on_these(session):
    write_forecasts(session.paths.forecasts_csv, NAMES, DAY)
    page = tab.ForecastTab(session, {"forecast": "AAPL"})
    assert "Out of date" in page.next_session.value
    assert 'class="prediction"' not in page.chart.value and 'class="bar"' in page.chart.value


def test_what_is_out_of_date_is_said_also_on_a_page_that_is_open(session):
    page = Dashboard("sample")
    tabs = (page.forecast, page.predict)
    assert [each.stale.value for each in tabs] == ["", ""]
    session.paths.stage_records.mkdir()  # with nothing in it: whatever there is was left by a run that did not finish
    page.forecast.picker.field.value = "AAPL"
    for each in tabs:
        assert each.stale in each.panel.children
        assert "Out of date: its last run did not finish. To bring it up to date: bash run_all.sh" in each.stale.value
    for text in (page.reports.panel.value, page.model.about.value):
        assert "Out of date" in text


def test_a_run_s_new_forecasts_are_taken_over(session):
    page = tab.ForecastTab(session, {"forecast": "AAPL"})
    as_of = session.symbols.recent("AAPL").dates[-1].item()
    write_forecasts(session.paths.forecasts_csv, {"TRUE": None, "NEW": None}, as_of)
    page.picker.field.value = "TRUE"
    new = load(session.paths.forecasts_csv).symbols["TRUE"]
    assert f'data-forecast="{new.horizons[1].forecast}"' in page.next_session.value
    page.picker.field.value = "ZED"
    assert "data-forecast" not in page.next_session.value
    session.paths.forecasts_csv.write_text("damaged")
    page.picker.field.value = "TRUE"
    assert f'data-forecast="{new.horizons[1].forecast}"' in page.next_session.value


@pytest.mark.parametrize(
    ("field", "text", "message"),
    [
        ("shares", "many", "The number of shares must be a number"),
        ("shares", "0", "The number of shares is 0; allowed: 1 to"),
        ("share_of_volume", "200%", "The largest share is 200; allowed: 0.01 to 100"),
        ("least", "-1", "The least moving average is -1; allowed: 0 to"),
    ],
)
def test_wrong_numbers_are_said_beside_the_field(session, field, text, message):
    page = tab.ForecastTab(session, {})
    getattr(page, field).value = text
    messages = page.shares_message.value + page.share_message.value + page.least_message.value
    assert message in messages
    page.shares.value, page.share_of_volume.value, page.least.value = "5M", "10 %", "1k"
    assert page.shares_message.value + page.share_message.value + page.least_message.value == ""
    assert "for 5,000,000 shares at 10%" in page.position.value


def test_a_study_without_forecasts_has_an_empty_tab(session):
    session.paths.forecasts_csv.unlink()
    assert tab.ForecastTab(session, {}).panel.children == ()


def test_a_damaged_file_is_said_so(session):
    session.paths.forecasts_csv.write_text("{}")
    assert "bash run_all.sh sample" in tab.ForecastTab(session, {}).failure.value


# In a browser


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("forecasts")
    with pytest.MonkeyPatch.context() as patch, chromium() as browser:
        patch.setenv("STUDY_OUTPUTS", str(folder / "outputs"))
        page_forecasts = forecast(make_study(folder / "outputs"))
        with (
            running("lib.serving.endpoint.app", port=free_port(), log=folder / "api.log") as api,
            running("lib.serving.dashboard.server", port=free_port(), log=folder / "log") as url,
        ):
            context = browser.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
            context.set_default_timeout(OPEN)
            page = context.new_page()
            page.forecasts = page_forecasts
            page.address, page.api = url, api
            page.goto(url, timeout=OPEN)
            page.wait_for_selector(".next-session .number", timeout=OPEN)
            yield page
            context.close()


@pytest.fixture(autouse=True)
def patience():
    expect.set_options(timeout=OPEN)


def forecast_shown(page: Page) -> int:
    return int(page.locator(".next-session [data-forecast]").get_attribute("data-forecast"))


def test_the_first_tab_is_the_forecast(page):
    expect(page.get_by_role("tab").first).to_have_attribute("aria-selected", "true")
    expect(page.get_by_role("tab").first).to_have_text("Forecast")
    expect(page.get_by_role("tabpanel", name="Forecast")).to_be_visible()


def test_enter_takes_the_only_match(page):
    picker = page.get_by_role("tabpanel", name="Forecast").get_by_label("Symbol")
    picker.fill("")
    expect(page.locator(".next-session")).to_have_text("Pick a symbol to see its forecast.")
    expect(page.locator(".forecast .chart svg")).to_have_count(0)
    picker.press_sequentially("apple")
    expect(page.locator(".pick")).to_contain_text("Enter takes AAPL · Apple Inc.")
    picker.press("Enter")
    expect(picker).to_have_value("AAPL · Apple Inc.")
    expect(page.locator(".next-session .number")).to_be_visible()
    assert forecast_shown(page) == page.forecasts.symbols["AAPL"].horizons[1].forecast


@pytest.mark.parametrize("symbol", ["ZED", "AAPL"])
def test_the_numbers_are_those_of_the_endpoint(page, symbol):
    page.get_by_role("tabpanel", name="Forecast").get_by_label("Symbol").fill(symbol)
    expect(page.locator(".forecast .card-days h2")).to_contain_text(symbol)
    answer = httpx.get(f"{page.api}/forecast", params={"symbol": symbol}).json()
    numbers = [one["forecast"] for one in answer["forecasts"]]
    assert len(numbers) == 3
    assert forecast_shown(page) == numbers[0]
    assert page.locator(".next-session .number").inner_text().split()[0] == f"{numbers[0]:,}"
    later = page.locator(".later [data-forecast]").all()
    assert [int(one.get_attribute("data-forecast")) for one in later] == numbers[1:]


def test_the_table_sorts_and_downloads(page):
    rows = page.locator(".sortable tbody tr")
    expect(rows).to_have_count(20)

    def column(number: int) -> list[float]:
        return [
            float(cell.get_attribute("data-value")) for cell in page.locator(f".sortable td:nth-child({number})").all()
        ]

    assert column(2) == sorted(column(2), reverse=True)
    page.get_by_role("button", name="Average").press("Enter")
    expect(page.get_by_role("columnheader", name="Average")).to_have_attribute("aria-sort", "descending")
    assert column(4) == sorted(column(4), reverse=True)
    page.get_by_role("button", name="Average").click()
    assert column(4) == sorted(column(4))
    page.get_by_role("button", name="Symbol").click()
    page.get_by_role("button", name="S29", exact=True).press("Enter")
    expect(page.locator(".card-position h2")).to_have_text("How long to trade a position in S29")
    tickers = [row.locator("th").get_attribute("data-value") for row in rows.all()]
    assert tickers == sorted(tickers)
    page.get_by_label("For", exact=True).select_option("the mean of the next 5 sessions")
    with page.expect_download() as download:
        expect(page.locator("a[download='changes-5.csv']")).to_be_visible()
        page.get_by_role("link", name="Download this table").click()
    found = list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text())))
    assert len(found) == 20 and {row["horizon"] for row in found} == {"5"}
    assert all(row["Security Name"].startswith("'=Company") for row in found if row["Symbol"].startswith("S"))


def test_by_keyboard_alone(page):
    page.goto(f"{page.address}/?forecast=TRUE", timeout=OPEN)
    page.wait_for_selector(".next-session .number", timeout=OPEN)
    assert forecast_shown(page) == page.forecasts.symbols["TRUE"].horizons[1].forecast
    page.locator("body").press("Tab")
    page.keyboard.press("Tab")
    expect(page.get_by_role("tab", name="Forecast")).to_be_focused()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tab", name="Predict")).to_be_focused()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Tab")
    page.keyboard.type("zed")
    expect(page.locator(".forecast .card-days h2")).to_contain_text("ZED")
    page.wait_for_url("**/?forecast=zed*")
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.closest('.field-shares') !== null"):
            break
    page.keyboard.press("Control+a")
    page.keyboard.type("5M")
    expect(page.locator(".position")).to_contain_text("for 5,000,000 shares at 10%")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_is_accessible_and_fits(page, width, scheme):
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=scheme)
    picker = page.get_by_role("tabpanel", name="Forecast").get_by_label("Symbol")
    picker.fill("AAPL")
    expect(page.locator(".forecast .card-days h2")).to_contain_text("AAPL")
    expect(page.locator(".forecast .chart svg:visible")).to_have_count(1)
    found = [
        (violation["id"], [node["html"][:200] for node in violation["nodes"]])
        for violation in Axe().run(page).response["violations"]
        if violation["impact"] in ("serious", "critical")
    ]
    if folder := os.environ.get("SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"forecast-{width}-{scheme}.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    if width == 1280:  # on a phone the table scrolls
        assert page.locator(".forecast .scroll").evaluate("element => element.scrollWidth <= element.clientWidth")
    assert found == []
