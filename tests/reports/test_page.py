"""Reports are whole: they need no other file and no network, read well on any screen, and are the same each time."""

from __future__ import annotations

import base64
import datetime
import json
import re
from dataclasses import dataclass
from html.parser import HTMLParser

import nbformat
import pandas as pd
import pyarrow as pa
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from serving_study import write_forecasts
from tools import chromium

from lib import paths
from lib.compute.engine import Engine
from lib.figures import ingest, style
from lib.figures import tables as figures_tables
from lib.reports import marks
from lib.reports import page as report
from lib.stages import STAGES
from lib.storage import dataset

ALT = 'Bars: 3 rows & "some" <more>'
CELLS = [
    new_markdown_cell("# Ingest: raw files\n\nThe *work* of [the next](02_features.html)."),
    new_markdown_cell("## Inputs\n\n| Column | Unit |\n| --- | --- |\n| Volume | shares |"),
    new_code_cell("study = 'sample'", metadata={"tags": ["parameters"]}),
    new_code_cell("study = 'other'", metadata={"tags": ["injected-parameters"]}),
    new_markdown_cell("## Inputs\n\n```python\nassert 1 < 2\n```"),
]


def code_cell(source: str, *outputs: nbformat.NotebookNode) -> nbformat.NotebookNode:
    return new_code_cell(source, outputs=list(outputs), execution_count=1)


def figure_output() -> nbformat.NotebookNode:
    picture = style.png(ingest.quarantine_by_reason({"null value": 3}, 1000))
    data = {"image/png": base64.b64encode(picture).decode(), "text/plain": "<Image>"}
    return new_output("display_data", data=data, metadata={"image/png": {"alt": ALT, "width": 640}})


def table_output() -> nbformat.NotebookNode:
    frame = pd.DataFrame({f"a column with a long name {number}": [1_000_000 + number] for number in range(12)})
    return new_output(
        "display_data", data={"text/html": figures_tables.table_html(frame, "A wide table"), "text/plain": "..."}
    )


@pytest.fixture(scope="module")
def notebook() -> nbformat.NotebookNode:
    traceback = ["\x1b[0;31mValueError\x1b[0m: <b>bad</b>"]
    return new_notebook(
        cells=[
            *CELLS,
            code_cell("print('<script>')", new_output("stream", name="stdout", text="<script>alert(1)</script> " * 20)),
            code_cell("draw()", figure_output()),
            code_cell("table()", table_output()),
            code_cell("warn()", new_output("stream", name="stderr", text="take care")),
            code_cell("text()", new_output("execute_result", data={"text/plain": "a < b"})),
            code_cell("say()", new_output("display_data", data={"text/markdown": "**5 symbols**"})),
            code_cell("fail()", new_output("error", ename="ValueError", evalue="<b>bad</b>", traceback=traceback)),
        ],
        metadata={"language_info": {"name": "python"}},
    )


@pytest.fixture(scope="module")
def page(notebook) -> str:
    return report.report_html(notebook, "01_ingest", "sample")


@pytest.fixture
def outputs(tmp_path, monkeypatch):
    monkeypatch.setenv("STUDY_OUTPUTS", str(tmp_path))
    return tmp_path


class _Elements(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def elements(html: str, *tags: str) -> list[dict[str, str | None]]:
    """The attributes of each element of some tags, in order."""
    parser = _Elements()
    parser.feed(html)
    return [attributes for tag, attributes in parser.found if tag in tags]


def assert_self_contained(html: str) -> None:
    assert elements(html, "script", "iframe", "object", "embed", "source") == []
    assert "@import" not in html
    assert not re.search(r"url\((?!['\"]?data:)", html)
    sources = [element.get("src") or element.get("href") or "" for element in elements(html, "img", "link")]
    assert sources
    assert all(source.startswith("data:") for source in sources)
    assert "default-src 'none'" in html


def test_page_is_self_contained(page):
    assert_self_contained(page)


def test_same_notebook_gives_the_same_bytes(notebook, page, tmp_path):
    assert report.report_html(notebook, "01_ingest", "sample") == page
    nbformat.write(notebook, tmp_path / "01_ingest.ipynb")
    first, second = tmp_path / "first.html", tmp_path / "second.html"
    for target in (first, second):
        report.write_report(tmp_path / "01_ingest.ipynb", target, "sample")
    assert first.read_bytes() == second.read_bytes() == page.encode()


def test_code_is_folded_and_there(page):
    labels = re.findall(r"<summary>([^<]+)</summary>", page)
    is_open = ["open" in details for details in elements(page, "details")]
    assert labels == ["Default parameters", "Parameters of this run", *["Code"] * 7]
    assert is_open == [False, True, *[False] * 7]
    assert "'other'" in page


def test_figures_have_the_alt_text_of_their_output(page):
    (picture,) = elements(page, "img")
    assert picture["alt"] == ALT
    assert picture["width"] == "640"


def test_what_the_data_say_cannot_become_markup(page):
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "<b>bad</b>" not in page


def test_headings_have_anchors_and_the_page_one_title(page):
    assert len(re.findall(r"<h1\b", page)) == 1
    assert "<title>Ingest: raw files · sample</title>" in page
    anchors = re.findall(r'<h2 id="([^"]+)"><a href="#\1">', page)
    assert anchors == ["inputs", "inputs-2"]
    identifiers = re.findall(r'\bid="([^"]+)"', page)
    assert len(identifiers) == len(set(identifiers))


def test_page_without_a_heading_gets_one():
    html = report.report_html(new_notebook(cells=[new_markdown_cell("text")]), "03_train", "sample")
    assert "<h1>Train</h1>" in html


def test_navigation_leads_to_every_report_and_the_index(page):
    navigation = re.search(r'<nav aria-label="Reports">.*?</nav>', page, re.DOTALL)
    assert navigation
    links = re.findall(r'href="([^"]+)"', navigation[0])
    assert links == ["../index.html", *(f"{stage}.html" for stage in STAGES)]
    assert re.findall(r'href="([^"]+)" aria-current="page"', page) == ["01_ingest.html"]
    assert 'href="../notebooks/01_ingest.ipynb"' in page


def test_tables_scroll_in_their_own_box(page):
    assert len(re.findall(r"<table\b", page)) == 2
    assert len(re.findall(r'<div [^>]*class="table"[^>]*tabindex="0"[^>]*>\s*<table\b', page)) == 2


def test_error_is_shown_with_its_traceback(page):
    assert re.search(r"<strong>ValueError</strong>: &lt;b&gt;bad", page)
    assert "ansi-red-fg" in page


RECORD = {
    "study": "sample",
    "finished": "2026-01-02T03:04:05+00:00",
    "params": {"features": {"window": 30, "min_periods": None}},
    "code": {"version": "abc", "digest": "12" * 32},
    "java": None,
    "packages": {"numpy": "2.4.6"},
    "stages": [
        {"name": "01_ingest", "status": "run", "seconds": 12.34, "peak_memory_bytes": 300 * 2**20},
        {"name": "02_features", "status": "unchanged", "seconds": 5.0, "peak_memory_bytes": 200 * 2**20},
    ],
    "artifacts": {
        "prices/part-00000-a.parquet": {"sha256": "ab" * 32, "bytes": 2**20, "rows": 12_000},
        "prices/part-00001-b.parquet": {"sha256": "cd" * 32, "bytes": 2**20, "rows": 154},
        ".prices/manifest.json": {"sha256": "ef" * 32, "bytes": 100},
        "model/grid.safetensors": {"sha256": "77" * 32, "bytes": 2048},
        "reports/01_ingest.html": {"sha256": "88" * 32, "bytes": 10},
    },
}
METRICS = {
    "mae": 490_123.4,
    "mae_moving_average": 516_000.0,
    "verdict": "It beats 0.9 of the average & <all>. Why? Luck.",
    "headline": [
        {"predictor": "moving average", "mae": 516_000.0, "relative_mae": 1.0},
        {"predictor": "reference forest", "mae": 567_600.0, "relative_mae": 1.1},
        {"predictor": "model", "mae": 490_123.4, "relative_mae": 0.95},
    ],
}


@dataclass
class OnePart:
    """Work that makes one part of one table."""

    table: pa.Table

    def read(self, shared: object = None) -> str:
        return "input"

    def tables(self, shared: object = None) -> dict[str, pa.Table]:
        return {"only": self.table}


def write_dataset(folder, table: pa.Table) -> None:
    folders = {"only": folder}
    parts = dataset.build("test", [OnePart(table)], [1], "rows", folders, "code", Engine(workers=1))
    dataset.commit(parts, folders)


@pytest.fixture
def study(outputs) -> paths.StudyPaths:
    study = paths.StudyPaths("sample")
    day = datetime.date
    accounts = {
        "symbol": ["A", "B", "EMPTY"],
        "rows_read": [12_000, 156, 1],
        "rows_kept": [12_000, 154, 0],
        "first_date": [day(2000, 3, 1), day(2001, 1, 1), None],
        "last_date": [day(2012, 1, 1), day(2013, 3, 1), None],
    }
    write_dataset(study.files, pa.table(accounts))
    write_dataset(study.prices, pa.table({"Symbol": ["A"]}))
    for path in (study.report("01_ingest"), study.notebook("01_ingest"), study.report("04_evaluate")):
        path.parent.mkdir(exist_ok=True)
        path.write_text("")
    return study


def test_index_has_the_headline_numbers(study):
    report.write_index("sample", RECORD, METRICS)
    html = study.index.read_text(encoding="utf-8")
    assert_self_contained(html)
    numbers = dict(re.findall(r"<dt>([^<]+)</dt><dd>([^< ]+)", html))
    assert numbers == {"Symbols": "2", "Daily prices": "12,154", "Quarantined": "3", "Model&#39;s error": "490,123"}
    assert "2000‑03‑01 to 2013‑03‑01" in html
    assert "the plain average&#39;s is 516,000" in html
    assert "It beats 0.9 of the average &amp; &lt;all&gt;. </p>\n<p>Why? Luck.</p>" in html


def test_index_says_what_the_forecasts_are_worth_before_the_model(study):
    before = report.index_html("sample", RECORD, METRICS)
    assert "The model of two features" not in before
    measured = {"1": {"verdict": "It beats the average & more."}, "5": {"verdict": "It does not beat it."}}
    study.forecast_metrics.write_text(json.dumps({"horizons": measured}))
    page = report.index_html("sample", RECORD, METRICS)
    assert page.index("It beats the average &amp; more.") < page.index("It does not beat it.")
    assert page.index("It does not beat it.") < page.index('<h2 id="two-features"')
    stale = report.index_html("sample", RECORD | {"out_of_date": {"05_forecast": ["it is old"]}}, METRICS)
    assert "<strong>Out of date:</strong> It beats" in stale
    failed = report.index_html("sample", RECORD | {"failure": "no"}, METRICS)
    assert "It beats the average &amp; more." not in failed


def test_index_of_a_study_whose_average_is_never_wrong(study):
    """A window of one day: the average is the Volume, and nothing is a multiple of its error."""
    headline = [{**row, "relative_mae": None} for row in METRICS["headline"]]
    html = report.index_html("sample", RECORD, {**METRICS, "mae_moving_average": 0.0, "headline": headline})
    assert "490,123" in html
    assert '<tr class="better"' not in html


def test_index_ranks_the_predictors(study):
    table = re.search(r'<table class="predictors">.*?</table>', report.index_html("sample", RECORD, METRICS), re.DOTALL)
    rows = re.findall(r"<tr[^>]*>(.*?)</tr>", table[0])[1:]
    cells = [[re.sub(r"<[^>]+>", "", cell) for cell in re.findall(r"<t[hd].*?</t[hd]>", row)][:3] for row in rows]
    assert cells == [
        ["model", "490,123", "−5.0%"],
        ["moving average", "516,000", "0"],
        ["reference forest", "567,600", "+10.0%"],
    ]
    assert [re.search(r'class="(\w+)" style="width: ([\d.]+)%', row).groups() for row in rows] == [
        ("better", "12.5"),
        ("worse", "0.0"),
        ("worse", "25.0"),
    ]


def test_index_links_what_is_there_and_only_that(study):
    html = report.index_html("sample", RECORD, METRICS)
    body = html[html.index("<main") :]
    links = set(re.findall(r'href="([^"#]+)"', body))
    assert links == {"reports/01_ingest.html", "notebooks/01_ingest.ipynb", "reports/04_evaluate.html"}
    assert "03_train was not run" in body


def test_index_tells_stages_artifacts_and_what_made_them(study):
    html = report.index_html("sample", RECORD, METRICS)
    rows = re.findall(r"<tr>(.*?)</tr>", html)
    cells = [[re.sub(r"<[^>]+>", " ", cell).strip() for cell in re.findall(r"<t[hd].*?</t[hd]>", row)] for row in rows]
    seconds = {row[0].split()[0]: row[1:] for row in cells if len(row) == 3}
    assert seconds["Ingest"] == ["12.3", "300 MiB"]
    assert seconds["Features"] == ["5.0", "200 MiB"]
    artifacts = {row[0]: row[1:] for row in cells if len(row) == 4}
    assert artifacts["prices/"] == ["12,154", "2.0 MiB", dataset.open_dataset(study.prices).digest[:16]]
    assert artifacts["model/grid.safetensors"] == ["", "2.0 KiB", "77" * 8]
    assert not [name for name in artifacts if name.startswith(("reports", "prices/part"))]
    pairs = {row[0]: row[1] for row in cells if len(row) == 2}
    assert pairs["features.window"] == "30"
    assert pairs["features.min_periods"] == "null"
    assert pairs["Code"] == f"version abc, digest {'12' * 8}"
    assert pairs["Packages"] == "numpy 2.4.6"
    assert "Java" not in pairs


@pytest.mark.parametrize(
    ("record", "metrics"),
    [
        ({}, {}),
        ({"stages": None, "artifacts": None, "params": {"x": None}, "archive": []}, {"mae": None, "verdict": None}),
        (
            {"stages": [{}], "artifacts": {"model/grid.safetensors": {}}, "code": {}},
            {"mae": 1, "mae_moving_average": None},
        ),
    ],
)
def test_index_leaves_out_what_is_missing(outputs, record, metrics):
    html = report.index_html("sample", record, metrics)
    assert "<h1>Study sample</h1>" in html
    assert "None" not in html
    assert "nan" not in re.findall(r">([^<]*)<", html[html.index("<main") :])


def test_index_shows_a_failure_first_and_no_number_of_an_earlier_run(study):
    record = RECORD | {"failure": "03_train failed: <memory>\n  to go on: bash run_all.sh sample"}
    html = report.index_html("sample", record, METRICS)
    assert html.index("03_train failed: &lt;memory&gt;") < html.index("Symbols</dt>") < html.index("Reports</a></h2>")
    assert "It beats" not in html
    assert "490,123" not in html
    assert html.count("not finished by the last run") == len(STAGES) - len(RECORD["stages"])


def test_pages_say_what_is_out_of_date(study):
    stale = {"04_evaluate": ["model has been regenerated since"]}
    record = RECORD | {"out_of_date": stale, "bring_up_to_date": "bash run_all.sh sample -p train.model forest"}
    page = report.index_html("sample", record, METRICS)
    plain = report.index_html("sample", RECORD, METRICS)
    assert "ut of date" not in plain
    body = page[page.index("<main") :]
    assert (
        "Out of date: 04_evaluate (model has been regenerated since). To bring it up to date: bash run_all.sh sample -p"
        in body
    )
    for beside in (
        "<strong>Out of date:</strong> It",
        "held-out dates (out of date)",
        "<small>out of date; shares a day",
    ):
        assert beside in body
    assert body.count("<strong>Out of date</strong>: model has been regenerated since") == 1
    report.write_index("sample", RECORD, METRICS)
    marks.mark(study.index, "Out of date: <x>")
    assert '<p class="out-of-date" role="note">Out of date: &lt;x&gt;</p>' in study.index.read_text()
    marks.mark(study.index, "")
    assert study.index.read_text() == plain


def test_pages_say_what_days_a_kept_result_is_from(study):
    sentence = "Based on data up to 2013-02-28 (run.retrain: weekly); newer days are not included."
    page = report.index_html("sample", RECORD | {"kept": {"04_evaluate": sentence}}, METRICS)
    body = page[page.index("<main") :]
    assert f'<p class="kept" role="note">04_evaluate: {sentence}</p>' in body
    assert f"<small>{sentence}</small>" in body and f"<small>{sentence} In shares a day" in body
    assert "ut of date" not in body


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["report", "index"])
def test_in_a_browser(browser, notebook, study, name, scheme, width):
    from axe_playwright_python.sync_playwright import Axe

    if name == "report":
        nbformat.write(notebook, study.notebook("01_ingest"))
        target = study.report("01_ingest")
        report.write_report(study.notebook("01_ingest"), target, "sample")
    else:
        target = study.index
        names = {f"LONG{number}": "A name of some words that goes on and on" for number in range(12)}
        write_forecasts(study.forecasts_csv, names, datetime.date(2013, 3, 1), stale=("LONG3",))
        report.write_index("sample", RECORD, METRICS)
        assert 'class="forecasts"' in target.read_text(encoding="utf-8")
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page = context.new_page()
    requests, messages = [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.goto(target.as_uri())
    assert [url for url in requests if not url.startswith("data:")] == [target.as_uri()]
    assert messages == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    for details in page.query_selector_all("details:not([open]) > summary"):
        details.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    found = Axe().run(page).response["violations"]
    serious = [violation for violation in found if violation["impact"] in ("serious", "critical")]
    assert serious == [], json.dumps(serious, indent=1)
    context.close()
