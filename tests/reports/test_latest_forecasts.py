"""The study's own page begins with the latest forecasts, where there are any, and is made without them where there are none."""

from __future__ import annotations

import csv
import datetime
import json
import re

import pytest

from lib import paths
from lib.evaluation.forecast_file import COLUMNS
from lib.reports import page as report
from lib.reports.latest_forecasts import MOST, latest_forecasts

LAST = datetime.date(2013, 3, 1)
ENDED = datetime.date(2012, 2, 3)
HEADING = 'id="forecasts"'


@pytest.fixture
def study(tmp_path, monkeypatch) -> paths.StudyPaths:
    monkeypatch.setenv("STUDY_OUTPUTS", str(tmp_path))
    study = paths.StudyPaths("sample")
    study.folder.mkdir()
    return study


def write(
    study: paths.StudyPaths, symbols: dict[str, int], name: str = "", stale: tuple[str, ...] = (), **more
) -> None:
    """Write forecasts of symbols by their next session's volume; ``horizons`` (1, 5, 21) and ``average`` (1 M) in ``more``."""
    with study.forecasts_csv.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        average = more.get("average", 1_000_000.0)
        for symbol, volume in symbols.items():
            as_of = ENDED if symbol in stale else LAST
            for horizon in more.get("horizons", (1, 5, 21)):
                days = (as_of, as_of + datetime.timedelta(3), as_of + datetime.timedelta(2 + horizon))
                forecast = volume + horizon - 1
                numbers = (horizon, forecast, volume // 2, 2 * volume + 100, average, "", str(symbol in stale).lower())
                judged = str(symbol not in more.get("unjudged", ())).lower()
                writer.writerow([symbol, name, *days, *numbers, judged])


def shown(study: paths.StudyPaths, record: dict | None = None) -> str:
    """The page's own part: without head and navigation."""
    page = report.index_html("sample", record or {}, {})
    return page[page.index("<main") :]


def cells(page: str) -> list[list[str]]:
    """What the table of forecasts says, row by row, its head first."""
    table = re.search(r'<table class="forecasts">.*?</table>', page, re.DOTALL)
    assert table
    rows = re.findall(r"<tr>(.*?)</tr>", table[0])
    found = [re.findall(r"<t[hd].*?</t[hd]>", row) for row in rows]
    return [[" ".join(re.sub(r"<[^>]+>|&nbsp;|\s", " ", cell).split()) for cell in row] for row in found]


def test_few_symbols_are_all_shown_in_words(study):
    write(study, {"AA": 880_000, "BB": 12_345_678}, name="A & <b>B</b> Inc.")
    measured = {"1": {"verdict": "It beats the average.", "coverage": 0.789}, "5": {"verdict": "Not in the table."}}
    study.forecast_metrics.write_text(json.dumps({"horizons": measured | {"21": {"verdict": "It does not beat it."}}}))
    report_of_forecasts = study.report("05_forecast")
    report_of_forecasts.parent.mkdir()
    report_of_forecasts.write_text("")
    page = shown(study)
    head, *rows = cells(page)
    assert head == [
        "Symbol",
        "Next session Monday 4 March 2013",
        "Range on 4 days out of 5",
        "Next 21 sessions mean a day 4 to 24 March 2013",
    ]
    name = "A &amp; &lt;b&gt;B&lt;/b&gt; Inc."
    assert rows == [
        [f"AA {name}", "880,000 12% below average", "440 k to 1.76 M", "880,020 12% below average"],
        [f"BB {name}", "12,345,678 12 times average", "6.17 M to 24.7 M", "12,345,698 12 times average"],
    ]
    assert "<b>B</b>" not in page
    assert "from prices to Friday 1 March 2013" in page
    text = " ".join(re.sub(r"<[^>]+>", "", page).split())
    assert "The range promises to hold the volume on 4 days out of 5; where it was judged, it held on 79%." in text
    assert (
        "The forecasts are in forecasts.csv too, with the mean of the next 5 sessions; the Forecast report says" in text
    )
    assert {"forecasts.csv", "reports/05_forecast.html"} <= set(re.findall(r'href="([^"#]+)"', page))
    # How good the forecasts of the table are comes after it; of other horizons the report tells.
    assert page.index("</table>") < page.index("It beats the average.") < page.index("It does not beat it.")
    assert "Not in the table." not in page
    assert shown(study) == page


@pytest.mark.parametrize(("rows", "few"), [(16, True), (1_000, False)])
def test_a_share_of_few_forecasts_is_said_to_be_one(study, rows, few):
    write(study, {"AA": 880_000})
    measured = {"1": {"verdict": "It beats it.", "coverage": 0.62, "rows": rows}}
    study.forecast_metrics.write_text(json.dumps({"horizons": measured}))
    text = " ".join(re.sub(r"<[^>]+>", "", shown(study)).split())
    assert "where it was judged, it held on 62%." in text
    assert ("That is of 16 forecasts alone, too few to rely on: a longer history of prices would help." in text) == few


def test_table_has_a_caption_and_headings_of_rows_and_columns(study):
    write(study, {"AA": 880_000})
    table = re.search(r'<table class="forecasts">.*?</table>', shown(study), re.DOTALL)[0]
    assert table.count("<caption>") == 1
    head, body = table.split("<tbody>")
    assert head.count('<th scope="col"') == 4 and body.count('<th scope="row"') == 1


def test_of_many_symbols_the_largest_that_go_on_are_shown(study):
    stale = ("S11", "S13")
    write(study, {f"S{number:02}": 1_000 * number + 1_000 for number in range(14)}, stale=stale)
    page = shown(study)
    assert [row[0] for row in cells(page)[1:]] == [f"S{number:02}" for number in (12, 10, 9, 8, 7, 6, 5, 4, 3, 2)]
    text = " ".join(re.sub(r"<[^>]+>", "", page).split())
    assert (
        "These are the 10 largest forecasts of 14 symbols, without the 2 whose prices end earlier; all are in forecasts.csv, "
        "with the mean of the next 5 sessions." in text
    )
    assert "may already be over" not in page


def test_equal_forecasts_are_in_the_symbols_order(study):
    write(study, dict.fromkeys(("ZZ", *"KJIHGFEDCBA"), 1_000))
    assert [row[0] for row in cells(shown(study))[1:]] == list("ABCDEFGHIJ")
    assert len("ABCDEFGHIJ") == MOST


def test_of_few_symbols_one_that_ended_says_so(study):
    write(study, {"AA": 880_000, "OLD": 5_000_000}, stale=("OLD",))
    page = shown(study)
    head, good, old = cells(page)
    assert head[1] == "Next session Monday 4 March 2013" and good[0] == "AA"
    assert old[0] == "OLD"
    warning = "Prices end on Friday 3 February 2012; the forecast is from Monday 6 February 2012 on."
    assert f'<tr class="warning"><td colspan="4">{warning}</td></tr>' in page
    assert "from prices to Friday 1 March 2013" in page


def test_a_symbol_of_a_few_days_says_that_its_forecast_is_untested(study):
    write(study, {"AA": 880_000, "NEW": 5_000_000}, unjudged=("NEW",))
    page = shown(study)
    _, good, new = cells(page)
    assert good[0] == "AA" and new[0] == "NEW"
    assert ">Fewer than 30 days of prices: forecasts from so few have not been tested.</td>" in page


@pytest.mark.parametrize(
    ("horizons", "head", "too"),
    [
        ((1,), ["Symbol", "Next session Monday 4 March 2013", "Range on 4 days out of 5"], "forecasts.csv."),
        (
            (5, 10, 15, 63),
            [
                *("Symbol", "Next 5 sessions mean a day 4 to 8 March 2013", "Range 4 times out of 5"),
                "Next 63 sessions mean a day 4 March to 5 May 2013",
            ],
            "forecasts.csv too, with the mean of the next 10 and 15 sessions.",
        ),
    ],
)
def test_other_horizons(study, horizons, head, too):
    write(study, {"AA": 880_000}, horizons=horizons, average=0.0)
    page = shown(study)
    assert cells(page)[0] == head
    assert f"The forecasts are in {too}" in " ".join(re.sub(r"<[^>]+>", "", page).split())
    assert cells(page)[1][1].endswith("average is zero")


def test_long_and_odd_names_are_cut_and_shown_as_they_are_elsewhere(study):
    write(study, {"TRUE": 1_000, "NA": 2_000, "A\nB": 3_000}, name="A\u202eB " + "Depositary Shares " * 20)
    rows = cells(shown(study))[1:]
    assert [row[0].split()[0] for row in rows] == ["TRUE", "NA", r"A\x0aB"]
    assert all(r"A\u202eB" in row[0] and row[0].endswith("…") and len(row[0]) < 75 for row in rows)


def damaged(text: str) -> dict[str, str]:
    lines = text.splitlines(keepends=True)
    return {
        "empty": "",
        "no rows": lines[0],
        "binary": "\x00\xff",
        "no header": "".join(lines[1:]),
        "cut": text[: len(text) - 20],
        "a word for a number": text.replace("880000", "many"),
        "below zero": text.replace("440000", "-440000"),
        "outside its range": text.replace("440000", "940000"),
        "no number": text.replace(",880000,", ",,"),
        "horizon 0": text.replace(",1,880000", ",0,880000"),
        "no date": text.replace("2013-03-01", "yesterday"),
        "twice": text + lines[-1],
        "another table": "a,b\n1,2\n",
    }


@pytest.mark.parametrize("kind", damaged("a\n,1,880000"))
def test_damaged_file_leaves_the_rest_of_the_page(study, kind):
    write(study, {"AA": 880_000})
    text = study.forecasts_csv.read_text()
    assert HEADING in shown(study)
    study.forecasts_csv.write_text(damaged(text)[kind])
    assert damaged(text)[kind] != text
    assert latest_forecasts(study) == {}
    page = shown(study)
    assert HEADING not in page and "<h1>Study sample</h1>" in page and 'id="reports"' in page


def test_page_without_forecasts(study):
    assert latest_forecasts(study) == {}
    assert HEADING not in shown(study) and "forecasts.csv" not in shown(study)
    study.forecasts_csv.mkdir()  # what is not a file holds none either
    assert HEADING not in shown(study)


def test_failed_run_shows_no_forecast_and_what_is_out_of_date_says_so(study):
    write(study, {"AA": 880_000})
    assert HEADING not in shown(study, {"failure": "05_forecast failed"})
    stale = {"out_of_date": {"05_forecast": ["features has been regenerated since"]}}
    assert "How many shares will trade next (out of date)" in shown(study, stale)
    assert "out of date" not in shown(study)
