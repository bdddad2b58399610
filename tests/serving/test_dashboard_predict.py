"""The tab Predict without a browser: which day, which symbol, which numbers."""

from __future__ import annotations

import pytest
import serving_study
from serving_study import INFORMATION, make_study, write_grid

from lib.serving.dashboard.predict import PredictTab, call
from lib.serving.dashboard.session import Session

PLAIN = ("12345", "25")


@pytest.fixture
def study(outputs):
    return make_study(outputs)


def tab(**query):
    return PredictTab(Session("sample"), query)


def numbers(page, *texts):
    for field, text in zip(page.fields.values(), texts, strict=True):
        field.value = text


def marks(page):
    return page.chart.value.count('class="prediction"')


def test_a_symbol_s_own_numbers_are_for_its_latest_day(study):
    page = tab(symbol="TRUE")
    assert "for Monday 11 March 2013, the latest day of TRUE" in page.result.value
    assert "Predicted for Monday 11 March 2013, the latest day of TRUE" in page.chart.value and marks(page) == 2


def test_own_numbers_are_for_no_date_and_not_drawn(study):
    page = tab(symbol="TRUE")
    numbers(page, *PLAIN)
    assert '<p class="day">for the day the average ends on</p>' in page.result.value
    assert marks(page) == 0 and 'class="bar"' in page.chart.value
    assert "not those of its latest day" in page.chart_heading.value
    page.picker.field.value = "AAPL"
    assert marks(page) == 2


@pytest.mark.parametrize("text", ["", "no such thing", "TRU"])
def test_without_a_symbol_no_bars_are_left(study, text):
    page = tab(symbol="TRUE")
    page.picker.field.value = text
    assert "<svg" not in page.chart.value and "TRUE" not in page.chart_heading.value
    assert "for the day the average ends on" in page.result.value


def test_a_damaged_file_of_symbols_leaves_the_rest_of_the_page(study):
    study.symbols.write_bytes(b"damaged")
    page = tab(symbol="TRUE")
    assert "The file of the symbols is damaged" in page.picker.message.value and page.picker.field.disabled
    numbers(page, *PLAIN)
    assert "data-prediction" in page.result.value


def test_at_horizon_one_it_is_the_session_after(study, monkeypatch):
    monkeypatch.setattr(serving_study, "INFORMATION", {**INFORMATION, "horizon": 1})
    write_grid(study.grid)
    page = tab(symbol="ZED")
    assert "for the trading day after Monday 11 March 2013, the latest day of ZED" in page.result.value
    numbers(page, *PLAIN)
    assert "for the trading day after the average ends" in page.result.value


@pytest.mark.parametrize("text", ["3,226,530", "3\N{THIN SPACE}226\N{THIN SPACE}530", "3.22653 M", "3.22653e6"])
def test_takes_what_people_write(study, text):
    page = tab()
    numbers(page, text, "$25")
    expected = page._session.model.value.predict(3226530.0, 25.0)
    assert f'data-prediction="{expected}"' in page.result.value


def test_says_what_is_taken(study):
    page = tab()
    numbers(page, "12,5", "25")
    assert (
        "such as 12345, 3,226,530, 5M, $25 or 1.2e6; a point stands before decimals"
        in page.messages["vol_moving_avg"].value
    )


def test_a_program_is_shown_plain_decimals(monkeypatch):
    monkeypatch.setenv("SERVE_API_URL", "http://127.0.0.1:8000")
    assert "vol_moving_avg=3226530&amp;adj_close_rolling_med=25.5" in call((3226530.0, 25.5))


def test_a_new_model_that_another_tab_found_is_shown(study):
    session = Session("sample")
    page = PredictTab(session, {"vol_moving_avg": "12345", "adj_close_rolling_med": "25"})
    write_grid(study.grid, share=0.5)
    session.refresh()
    assert f'data-prediction="{session.model.value.predict(12345.0, 25.0)}"' in page.result.value
    assert session.model.value.predict(1e6, 25.0) == pytest.approx(5e5, rel=0.12)
