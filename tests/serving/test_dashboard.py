"""The dashboard as a visitor meets it: in a real browser, against the real server; and what a visitor must not be able to do.

Screenshots land in the folder that SCREENSHOTS names, if it does. The picture of the README is one of them:
``SCREENSHOTS=docs bash run_tests.sh tests/test_dashboard.py -k sample_study``
"""

from __future__ import annotations

import asyncio
import contextlib
import csv
import io
import json
import os
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import httpx
import psutil
import pytest
import websockets
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect
from serving_study import features, free_port, make_study, running, wait_for, write_grid, write_three_forecasts
from tools import chromium

from lib import stage_records
from lib.features import recent_days
from lib.features.recent_days import Symbols
from lib.models.predictor import Predictor
from lib.serving.dashboard.page import Dashboard
from lib.stages import STAGES

pytestmark = pytest.mark.xdist_group("dashboard")  # one server and one browser for all

OPEN = 90_000  # milliseconds that a page may take on a machine with other work
expect.set_options(timeout=OPEN)
VOLUME, PRICE = "Volume moving average, shares a day", "Median adjusted close, dollars"


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A small study with its endpoint and its dashboard."""
    folder = tmp_path_factory.mktemp("served")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STUDY_OUTPUTS", str(folder / "outputs"))
        study = make_study(folder / "outputs")
        with (
            running("lib.serving.endpoint.app", port=free_port(), log=folder / "api.log") as api,
            running(
                "lib.serving.dashboard.server", port=free_port(), log=folder / "dashboard.log", SERVE_API_URL=api
            ) as dashboard,
        ):
            yield SimpleNamespace(api=api, dashboard=dashboard, study=study)


@pytest.fixture
def open_page(browser, served):
    """Open the dashboard in a window of its own; every window is closed after the test."""
    contexts = []

    def open_one(query: str = "", ready: bool = True) -> Page:
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        context.set_default_timeout(OPEN)
        contexts.append(context)
        page = context.new_page()
        page.goto(f"{served.dashboard}/{query}", timeout=OPEN)
        if ready:
            page.wait_for_selector(".result p", timeout=OPEN)
        return page

    yield open_one
    for context in contexts:
        context.close()


@pytest.fixture(scope="module")
def shared_page(browser, served):
    """One window for all tests that leave it usable: opening one takes longer than most of them."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(OPEN)
    page = context.new_page()
    page.asked = []
    page.on("request", lambda request: page.asked.append(request.url))
    page.goto(served.dashboard, timeout=OPEN)
    page.wait_for_selector(".result p", timeout=OPEN)
    yield page
    context.close()


@pytest.fixture
def page(shared_page):
    """The shared window, on its first tab, with two good inputs."""
    shared_page.set_viewport_size({"width": 1280, "height": 900})
    shared_page.emulate_media(color_scheme="light")
    shared_page.get_by_role("tab", name="Predict").click()
    shared_page.get_by_label(VOLUME).fill("12345")
    shared_page.get_by_label(PRICE).fill("25")
    expect(shared_page.locator(".call code")).to_contain_text("vol_moving_avg=12345&adj_close_rolling_med=25")
    return shared_page


def shown(page: Page) -> int:
    return int(page.locator("[data-prediction]").get_attribute("data-prediction"))


def expect_shown(page: Page, prediction: int) -> None:
    expect(page.locator("[data-prediction]")).to_have_attribute("data-prediction", str(prediction))


def picture(page: Page, name: str) -> None:
    if folder := os.environ.get("SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


def choose(page: Page, name: str, content: bytes) -> None:
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Choose a CSV file").click()
    chooser.value.set_files({"name": name, "mimeType": "text/csv", "buffer": content})


def upload(page: Page, content: str) -> None:
    choose(page, "pairs.csv", content.encode())
    expect(page.locator(".batch-result h2")).to_contain_text("pairs.csv")


def kernel_of(page: Page) -> str:
    return json.loads(page.locator("#jupyter-config-data").text_content())["kernelId"]


def kernels(url: str) -> set[int]:
    """The kernel processes of the dashboard at ``url``."""
    port = int(url.rpartition(":")[2])
    servers = [
        process
        for process in psutil.process_iter(["cmdline"])
        if "lib.serving.dashboard.server" in (process.info["cmdline"] or []) and str(port) in process.info["cmdline"]
    ]
    forks = [child for server in servers for child in server.children()]
    return {kernel.pid for fork in forks for kernel in fork.children()}


# What a visitor does


def test_typed_numbers_give_what_predict_gives(page, served):
    page.get_by_label(VOLUME).fill("12345")
    page.get_by_label(PRICE).fill("25")
    answer = httpx.get(f"{served.api}/predict?vol_moving_avg=12345&adj_close_rolling_med=25").json()
    expect_shown(page, answer)
    expect(page.locator(".number")).to_have_text(f"{answer:,} shares")
    low, high = Predictor.load(served.study.grid).predict_interval(12345.0, 25.0)
    expect(page.locator(".interval")).to_contain_text(f"{low:,} to {high:,}")
    assert "vol_moving_avg=12345&adj_close_rolling_med=25" in page.locator(".call code").inner_text()


def test_every_key_counts(page, served):
    """The number is that of the text so far, with no button to press."""
    predictor = Predictor.load(served.study.grid)
    page.get_by_label(PRICE).fill("25")
    field = page.get_by_label(VOLUME)
    field.fill("")
    expect(page.locator(".result")).to_contain_text("No prediction")
    for typed in ("1", "12", "123", "1234", "12345"):
        field.press_sequentially(typed[-1])
        expect_shown(page, predictor.predict(float(typed), 25.0))


def test_a_symbol_fills_the_form(page, served):
    recent = Symbols(served.study.symbols).recent("TRUE")
    page.get_by_label("Symbol").fill("true")
    expect(page.get_by_label(PRICE)).to_have_value("21.5")
    expect(page.locator(".card-chart h2")).to_have_text("TRUE: its recent volume")
    expect(page.locator(".card-inputs")).to_contain_text(f"TrueCar, Inc.; latest day {recent.dates[-1]}")
    assert page.locator(".chart .wide .bar").count() == len(recent.volume) == 60
    expect(page.locator(".result .day")).to_have_text("for Monday 11 March 2013, the latest day of TRUE")
    last, mark = (page.locator(f".chart .wide {each}").last.bounding_box() for each in (".bar", ".prediction circle"))
    assert abs(last["x"] + last["width"] / 2 - mark["x"] - mark["width"] / 2) < 1
    volume = float(page.get_by_label(VOLUME).input_value())
    assert volume == pytest.approx(recent.vol_moving_avg[-1], abs=0.01)
    expect_shown(page, Predictor.load(served.study.grid).predict(volume, 21.5))
    for text, expected in (("no such thing", "No such symbol"), ("", "Inputs")):
        page.get_by_label("Symbol").fill(text)
        expect(page.locator(".card-inputs")).to_contain_text(expected)
        expect(page.locator(".chart svg")).to_have_count(0)
        expect(page.locator(".result .day")).to_have_text("for the day the average ends on")
        page.get_by_label("Symbol").fill("TRUE")
        expect(page.locator(".chart .wide .prediction")).to_be_visible()
    page.get_by_label("Symbol").fill("ZED")
    expect(page.locator(".card-inputs")).to_contain_text("No name in the metadata")


@pytest.mark.parametrize("text", ["", "abc", "NaN", "1e309", "-1", "1e16", "<b>1</b>"])
def test_wrong_text_leaves_no_stale_number(page, text):
    field = page.get_by_label(VOLUME)
    field.fill(text)
    expect(page.locator(".result")).to_contain_text("No prediction")
    expect(page.locator("[data-prediction]")).to_have_count(0)
    expect(page.locator(".chart .prediction")).to_have_count(0)
    expect(page.locator(".message .error")).to_contain_text("The volume moving average")
    expect(field).to_have_attribute("aria-invalid", "true")
    field.fill("12345")
    expect(page.locator("[data-prediction]")).to_be_visible()
    expect(field).to_have_attribute("aria-invalid", "false")


def test_enter_takes_the_only_match(page):
    page.get_by_label("Symbol").fill("apple")
    expect(page.locator(".card-inputs")).to_contain_text("Enter takes AAPL · Apple Inc.")
    page.get_by_label("Symbol").press("Enter")
    expect(page.get_by_label("Symbol")).to_have_value("AAPL · Apple Inc.")
    expect(page.locator(".card-chart h2")).to_have_text("AAPL: its recent volume")


@pytest.mark.parametrize("text", ["3,226,530", "3 226 530", "3.22653M", "3.22653e6"])
def test_takes_what_the_page_prints_and_people_write(page, served, text):
    page.get_by_label(VOLUME).fill(text)
    page.get_by_label(PRICE).fill("$25")
    expect_shown(page, Predictor.load(served.study.grid).predict(3226530.0, 25.0))
    expect(page.locator(".call code")).to_contain_text("vol_moving_avg=3226530&adj_close_rolling_med=25")


def test_inputs_outside_the_training_range_are_said_so(page):
    page.get_by_label(VOLUME).fill("12")
    expect(page.locator(".message .warning")).to_contain_text("Outside the training range: 1,000 to 200,000,000")
    expect(page.locator(".result .notice")).to_contain_text("outside what the model was trained on")


def test_the_address_keeps_the_inputs(open_page):
    page = open_page()
    page.get_by_label(VOLUME).fill("54321")
    page.get_by_label(PRICE).fill("77.5")
    page.wait_for_url("**/?*adj_close_rolling_med=77.5")
    page.reload(timeout=OPEN)
    page.wait_for_selector(".result p", timeout=OPEN)
    expect(page.get_by_label(VOLUME)).to_have_value("54321")
    hostile = open_page(
        "?vol_moving_avg=%3Cscript%3Ealert(1)%3C/script%3E&symbol=%22%3E%3Cimg%20src=x%20onerror=alert(1)%3E"
    )
    expect(hostile.locator(".result")).to_contain_text("No prediction")
    assert hostile.locator("img[src=x], .message script").count() == 0


def test_a_file_is_predicted_row_by_row(page, served, tmp_path):
    predictor = Predictor.load(served.study.grid)
    page.get_by_role("tab", name="Batch").click()
    upload(page, "id,vol_moving_avg,adj_close_rolling_med\na,12345,25\nb,<i>x</i>,25\nc,2e6,41.5\n")
    expect(page.locator(".batch-result h2")).to_have_text("pairs.csv: 2 of 3 rows predicted")
    expect(page.locator(".batch-result .notice")).to_contain_text("Line 3: vol_moving_avg must be a number")
    assert page.locator(".batch-result table i").count() == 0
    with page.expect_download() as download:
        page.get_by_role("link", name="Download the results").click()
    assert download.value.suggested_filename == "pairs-predictions.csv"
    rows = list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text())))
    assert [row["id"] for row in rows] == ["a", "b", "c"]
    assert [row["prediction"] for row in rows] == [
        str(predictor.predict(12345.0, 25.0)),
        "",
        str(predictor.predict(2e6, 41.5)),
    ]
    assert rows[1]["error"].startswith("vol_moving_avg must be")


def test_a_file_that_is_too_large_is_said_so(page):
    page.get_by_role("tab", name="Batch").click()
    for size, visible in ((11 * 2**20, True), (100, False)):
        choose(page, "large.csv", b"1,2\n" * (size // 4))
        expect(page.locator("#too-large")).to_be_visible(visible=visible)
    expect(page.locator(".batch-result h2")).to_have_text("large.csv: 25 of 25 rows predicted")


def test_the_largest_file_that_is_allowed_arrives(open_page):
    page = open_page()  # of its own: the results that it holds afterwards slow every look at the page down
    page.get_by_role("tab", name="Batch").click()
    row = b"123456,25" + b" " * 50 + b"\n"
    choose(page, "full.csv", row * (10 * 2**20 // len(row)))
    expect(page.locator(".batch-result h2")).to_contain_text("full.csv: 174,762 of 174,762 rows")


def test_symbols_of_another_window_close_the_picker_and_results_of_another_model_are_marked(tmp_path, monkeypatch):
    monkeypatch.setenv("STUDY_OUTPUTS", str(tmp_path))
    study = make_study(tmp_path)
    page = Dashboard("sample")
    form, field, message = page.predict, page.predict.picker.field, page.predict.picker.message
    assert not field.disabled and "out of date" not in (page.reports.panel.value + page.model.about.value).lower()
    table = features({"AAPL": "Apple Inc.", "ZED": None})
    recent_days.write_recent_days([table], study.symbols, 20)
    filled = form.fields["vol_moving_avg"].value
    field.value = "ZED"
    assert field.disabled
    assert "over 20 trading days and the model was trained on 30" in message.value
    assert "bash run_all.sh sample" in message.value
    assert form.fields["vol_moving_avg"].value == filled
    opened = Dashboard("sample", "symbol=AAPL").predict
    assert opened.picker.field.disabled and "data-prediction" in opened.result.value
    recent_days.write_recent_days([table], study.symbols, 30)
    opened.fields["vol_moving_avg"].value = "12345"
    assert not opened.picker.field.disabled and opened.picker.message.value == ""
    # A model that was made again, by a run that ended, after the evaluation.
    for stage in STAGES:
        made = {"model/grid.safetensors": "another"} if stage == "03_train" else {}
        stage_records.write_record(study.stage_record(stage), stage_records.Record({}, made))
    marked = Dashboard("sample")
    assert marked.model.about.value.count("Out of date: model/grid.safetensors has changed since") == 1
    assert (
        marked.reports.panel.value.count("Out of date: 03_train is out of date") == 2
    )  # the numbers, and their report


def test_reports_open(page, served):
    page.get_by_role("tab", name="Reports").click()
    panel = page.get_by_role("tabpanel", name="Reports")
    expect(panel).to_contain_text("It beats the moving average.")
    assert [row.inner_text().split("\t") for row in panel.locator("tbody tr").all()] == [
        ["Model", "4,811,123", "96.8%", "21.0%", "–"],
        ["Moving average", "4,968,551", "100.0%", "23.0%", "0.700"],
    ]
    with page.expect_popup() as popup:
        page.get_by_role("link", name="Evaluate").click()
    expect(popup.value.locator("h1")).to_have_text("04_evaluate")
    with page.expect_popup() as popup:
        page.get_by_role("link", name="All of the run").click()
    expect(popup.value.locator("h1")).to_have_text("The run")


def test_says_what_the_model_is(page, served):
    page.get_by_role("tab", name="The model").click()
    panel = page.get_by_role("tabpanel", name="The model")
    for text in (
        "9,607 rows, 2000-02-11 to 2010-07-02",
        "3.2% less",
        Predictor.load(served.study.grid).information["digest"],
    ):
        expect(panel).to_contain_text(text)


def test_a_new_model_is_taken_over_by_an_open_page(page, served):
    page.get_by_label(PRICE).fill("25")
    write_grid(served.study.grid, share=0.6)
    new = Predictor.load(served.study.grid)
    page.get_by_label(VOLUME).fill("98765")
    expect_shown(page, new.predict(98765.0, 25.0))
    expect(page.locator(".about")).to_contain_text(new.information["digest"])


def test_the_sample_study_is_served(browser, sample_study, tmp_path):
    """A whole run's own model, symbols and reports, not the small study of the other tests."""
    with (
        running("lib.serving.endpoint.app", port=free_port(), log=tmp_path / "api") as api,
        # In the picture stands the address that a reader would use.
        running(
            "lib.serving.dashboard.server",
            port=free_port(),
            log=tmp_path / "log",
            SERVE_API_URL="http://127.0.0.1:8000",
        ) as url,
    ):
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        page = context.new_page()
        page.goto(f"{url}/#predict", timeout=OPEN)
        page.wait_for_selector("[data-prediction]", timeout=OPEN)
        page.get_by_role("tabpanel", name="Predict").get_by_label("Symbol").fill("IBM")
        expect(page.locator(".card-chart h2")).to_have_text("IBM: its recent volume")
        given = [page.get_by_label(name).input_value() for name in (VOLUME, PRICE)]
        query = dict(zip(("vol_moving_avg", "adj_close_rolling_med"), given, strict=True))
        expect_shown(page, httpx.get(f"{api}/predict", params=query).json())
        picture(page, "dashboard")
        page.get_by_role("tab", name="Reports").click()
        panel = page.get_by_role("tabpanel", name="Reports")
        expect(panel).to_contain_text(json.loads(sample_study.metrics.read_text())["verdict"])
        expect(panel.get_by_role("row", name="Oracle")).to_be_visible()
        with page.expect_popup() as popup:
            page.get_by_role("link", name="Evaluate").click()
        expect(popup.value.locator("h1").first).to_contain_text("Evaluate")
        context.close()


# How it looks, and for whom


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_is_accessible_and_fits(page, width, scheme):
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=scheme)
    found = []
    for tab in ("Predict", "Batch", "Reports", "The model"):
        page.get_by_role("tab", name=tab, exact=True).click()
        expect(page.get_by_role("tabpanel", name=tab, exact=True)).to_be_visible()
        if tab == "Batch":
            upload(page, "label,vol_moving_avg,adj_close_rolling_med\na day,12345,25\nanother,-1,25\n")
        for violation in Axe().run(page).response["violations"]:
            if violation["impact"] in ("serious", "critical"):
                found.append((tab, violation["id"], [node["html"][:200] for node in violation["nodes"]]))
        assert page.evaluate("document.documentElement.scrollWidth") <= width, tab
        picture(page, f"dashboard-{tab.split()[-1].lower()}-{width}-{scheme}")
    assert found == []


def test_the_keyboard_suffices(open_page):
    page = open_page()
    page.locator("body").press("Tab")
    expect(page.get_by_role("link", name="Skip to the form")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_role("tab", name="Predict")).to_be_focused()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tab", name="Batch")).to_be_focused()
    expect(page.get_by_role("tabpanel", name="Batch")).to_be_visible()
    page.keyboard.press("End")
    expect(page.get_by_role("tabpanel", name="The model")).to_be_visible()
    page.keyboard.press("Home")
    page.keyboard.press("Tab")
    expect(page.get_by_label("Symbol")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_label(VOLUME)).to_be_focused()
    page.keyboard.press("Control+a")
    page.keyboard.type("777777")
    expect(page.locator(".call code")).to_contain_text("vol_moving_avg=777777")


def test_asks_no_other_host(page, served):
    for tab in ("Batch", "Reports", "The model"):
        page.get_by_role("tab", name=tab).click()
    assert [url for url in page.asked if not url.startswith((served.dashboard, "data:", "blob:"))] == []
    assert page.title() == "sample: Market study"


# Sessions


def test_closing_the_tab_ends_its_kernel(open_page, served):
    before = kernels(served.dashboard)
    page = open_page()
    [pid] = kernels(served.dashboard) - before
    page.close()
    wait_for(lambda: not psutil.pid_exists(pid))
    assert pid not in kernels(served.dashboard)


def test_a_tab_that_vanishes_without_good_bye_ends_its_kernel(open_page, served):
    before = kernels(served.dashboard)
    page = open_page()
    [pid] = kernels(served.dashboard) - before
    page.route("**/voila/api/shutdown/**", lambda route: route.abort())
    page.close()
    wait_for(lambda: not psutil.pid_exists(pid))


def test_a_dead_kernel_is_said_so(open_page, served):
    before = kernels(served.dashboard)
    page = open_page()
    [pid] = kernels(served.dashboard) - before
    psutil.Process(pid).kill()
    expect(page.locator("#ended")).to_be_visible(timeout=OPEN)
    expect(page.locator("#ended")).to_contain_text("This session has ended. Its process exited unexpectedly")
    page.get_by_role("button", name="Reload").click()
    page.wait_for_selector("[data-prediction]", timeout=OPEN)
    expect(page.locator("#ended")).to_be_hidden()


@contextlib.contextmanager
def without(path):
    """The file at ``path`` is away for a while."""
    away = path.rename(path.with_suffix(".away"))
    yield
    away.rename(path)


def test_a_failing_callback_is_told_plainly(page, served):
    with without(served.study.symbols):
        page.get_by_label("Symbol").fill("TRUE")
        expect(page.locator(".form .failure")).to_have_text(
            "Something went wrong on the server; reload the page to continue."
        )
        assert "Traceback" not in page.content()
    page.get_by_label("Symbol").fill("ZED")
    expect(page.locator(".failure .notice")).to_have_count(0)


def test_without_a_model_the_page_says_which_command_makes_one(open_page, served):
    with without(served.study.grid):
        page = open_page(ready=False)
        expect(page.locator(".form .failure")).to_contain_text("bash run_all.sh sample")


def test_without_symbols_the_form_still_predicts(open_page, served):
    with without(served.study.symbols):
        page = open_page()
        expect(page.locator(".card-chart")).to_be_hidden()
        expect(page.locator("[data-prediction]")).to_be_visible()


# What a visitor must not do


def message(kind: str, content: dict) -> str:
    header = {
        "msg_id": uuid.uuid4().hex,
        "msg_type": kind,
        "username": "",
        "session": uuid.uuid4().hex,
        "version": "5.3",
    }
    return json.dumps(
        {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell", "buffers": []}
    )


def test_no_code_runs_over_the_page_s_websocket(page, served, tmp_path):
    kernel = kernel_of(page)
    address = f"{served.dashboard.replace('http', 'ws')}/api/kernels/{kernel}/channels"
    code = f"open({str(tmp_path / 'broken-in')!r}, 'w').close()"
    forbidden = {
        "execute_request": {"code": code, "silent": False, "store_history": False, "allow_stdin": False},
        "complete_request": {"code": "import o", "cursor_pos": 8},
        "inspect_request": {"code": "open", "cursor_pos": 4, "detail_level": 1},
        "history_request": {"hist_access_type": "tail", "n": 10, "output": True, "raw": True},
        "debug_request": {"command": "evaluate", "arguments": {"expression": code}},
    }

    async def try_all() -> list[str]:
        answers = []
        async with websockets.connect(address) as line:
            for kind, content in forbidden.items():
                await line.send(message(kind, content))
            await line.send(message("comm_info_request", {}))
            while "comm_info_reply" not in answers:
                answers.append(json.loads(await asyncio.wait_for(line.recv(), 60))["msg_type"])
        return answers

    answers = in_thread(try_all)
    assert "comm_info_reply" in answers
    assert not {
        "execute_reply",
        "complete_reply",
        "inspect_reply",
        "history_reply",
        "debug_reply",
        "execute_result",
    } & set(answers)
    assert not (tmp_path / "broken-in").exists()


def in_thread(function):
    """Run a coroutine function beside Playwright, whose own loop runs in this thread."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: asyncio.run(function())).result()


REFUSED = [
    "/api", "/api/contents", "/api/contents/dashboard.ipynb", "/api/kernels", "/api/kernelspecs", "/api/sessions",
    "/api/terminals", "/api/status", "/api/config/x", "/login", "/logout", "/terminals/1", "/voila/tree",
    "/voila/render/dashboard.ipynb", "/voila/api/contents/", "/voila/files/dashboard.ipynb", "/voila/files/../lib/serving/endpoint/app.py",
    "/dashboard.ipynb", "/notebooks/dashboard.ipynb", "/files/dashboard.ipynb",
    "/reports/secret.txt", "/reports/model/grid.safetensors", "/reports/features/", "/reports/notebooks/", "/reports/run.json",
    "/reports/../../../etc/passwd", "/reports/..%2f..%2f..%2fetc%2fpasswd", "/reports/%2e%2e/%2e%2e/etc/passwd",
    "/reports/reports/..%2f..%2fsample%2fsecret.txt", "/reports//etc/passwd", "/reports/index.html/../secret.txt",
    "/reports/reports/../secret.txt", "/reports/notebooks/../../../notebooks/dashboard.ipynb",
    "/static/../index.html.j2", "/static/..%2findex.html.j2", "/static/%2e%2e/error.html", "/static//etc/passwd",
    "/voila/static/../../app.py", "/voila/static/..%2f..%2fapp.py", "/voila/static/0.5.13/..%2f..%2fapp.py",
    "/voila/templates/lab/static/../../../../etc/passwd", "/voila/templates/lab/static/..%2findex.html.j2",
    "/voila/labextensions/..%2f..%2f..%2fetc%2fpasswd", "/voila/api/themes/..%2f..%2fetc%2fpasswd",
]  # fmt: skip


@pytest.mark.parametrize("path", REFUSED)
def test_nothing_else_can_be_reached(served, path):
    host, port = served.dashboard.removeprefix("http://").split(":")

    async def ask() -> bytes:
        # By hand: a client would tidy the dots away before it asks.
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode())
        answer = await asyncio.wait_for(reader.read(), 30)
        writer.close()
        return answer

    answer = in_thread(ask)
    status = int(answer.split(b" ", 2)[1])
    assert status in (400, 403, 404), (status, answer[:300])
    assert b"root:" not in answer and b"not for visitors" not in answer and b"import " not in answer


def test_reports_are_reached_and_nothing_starts_for_them(served):
    before = kernels(served.dashboard)
    answer = httpx.get(f"{served.dashboard}/reports/", follow_redirects=True)
    assert "The run" in answer.text
    assert "connect-src 'self'" in answer.headers["content-security-policy"]
    notebook = httpx.get(f"{served.dashboard}/reports/notebooks/01_ingest.ipynb")
    assert notebook.headers["content-disposition"] == "attachment"
    write_three_forecasts(served.study.forecasts_csv)
    forecasts = httpx.get(f"{served.dashboard}/reports/forecasts.csv")  # the study's page links it
    served.study.forecasts_csv.unlink()
    assert forecasts.headers["content-disposition"] == "attachment" and forecasts.text.startswith("Symbol,")
    assert kernels(served.dashboard) <= before  # those of earlier tests may end meanwhile


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_nothing_can_be_changed(served, method):
    for path in ("/", "/api/kernels", "/api/contents/x.ipynb", "/reports/index.html", f"/api/kernels/{uuid.uuid4()}"):
        assert httpx.request(method, served.dashboard + path).status_code in (403, 404, 405), path


def test_other_sites_are_refused(page, served):
    kernel = kernel_of(page)
    other = {"Origin": "https://other.example"}
    before = kernels(served.dashboard)
    assert httpx.get(served.dashboard, headers=other).status_code == 403
    assert (
        httpx.get(served.dashboard, headers={"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}).status_code
        == 403
    )
    assert httpx.post(f"{served.dashboard}/voila/api/shutdown/{kernel}", headers=other).status_code == 403
    assert (
        httpx.post(f"{served.dashboard}/voila/api/shutdown/{kernel}").status_code == 403
    )  # no cookie: another site's form
    assert kernels(served.dashboard) <= before  # those of earlier tests may end meanwhile

    async def connect() -> int:
        address = f"{served.dashboard.replace('http', 'ws')}/api/kernels/{kernel}/channels"
        try:
            async with websockets.connect(address, origin="https://other.example"):
                return 101
        except websockets.InvalidStatus as error:
            return error.response.status_code

    assert in_thread(connect) == 403
    page.get_by_label(VOLUME).fill("4444")
    expect(page.locator(".call code")).to_contain_text("vol_moving_avg=4444")


def test_the_address_chooses_no_template(served):
    page = httpx.get(f"{served.dashboard}/?template=classic&theme=dark", timeout=60).text
    assert 'role="tablist"' in page
    assert 'data-jp-theme-name="JupyterLab Light"' in page


@pytest.fixture(scope="module")
def full_server(tmp_path_factory):
    """A dashboard that takes one visitor, and has one: its URL. Its folder for temporary files has too long a name for sockets."""
    folder = tmp_path_factory.mktemp("full")
    temporary = folder / ("long" * 20)
    temporary.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STUDY_OUTPUTS", str(folder / "outputs"))
        make_study(folder / "outputs")
        with running(
            "lib.serving.dashboard.server",
            "--max-visitors",
            "1",
            port=free_port(),
            log=folder / "log",
            TMPDIR=str(temporary),
        ) as url:
            # A crowd that comes at once: one gets in.
            with ThreadPoolExecutor(4) as crowd:
                answers = list(crowd.map(lambda _: httpx.get(url, timeout=60).status_code, range(4)))
            assert sorted(answers) == [200, 503, 503, 503]
            yield url


def test_visitors_are_limited(full_server):
    answer = httpx.get(full_server, timeout=60)
    assert answer.status_code == 503
    assert "Too many visitors" in answer.text


def test_kernels_end_with_their_server(full_server):
    """Also when it is killed and can end nothing itself. The last test of this server."""
    [pid] = kernels(full_server)
    kernel = psutil.Process(pid)
    [connections] = {Path(socket.laddr).parent for socket in kernel.net_connections("unix") if socket.laddr}
    assert connections.name.startswith("dashboard_") and list(connections.glob("*.json"))
    fork_server = kernel.parent()
    fork_server.parent().kill()
    wait_for(lambda: not fork_server.is_running() and not kernel.is_running())
    wait_for(lambda: not connections.exists())


def test_without_the_token_there_is_only_the_sign_in(browser, tmp_path, monkeypatch):
    monkeypatch.setenv("STUDY_OUTPUTS", str(tmp_path / "outputs"))
    make_study(tmp_path / "outputs")
    token = "correct horse"
    with (
        running("lib.serving.endpoint.app", port=free_port(), log=tmp_path / "api", SERVE_TOKEN=token) as api,
        running(
            "lib.serving.dashboard.server", port=free_port(), log=tmp_path / "log", SERVE_TOKEN=token, SERVE_API_URL=api
        ) as url,
    ):
        for path in ("/", "/reports/", "/reports/index.html", "/nowhere"):
            answer = httpx.get(url + path, follow_redirects=True)
            assert str(answer.url).startswith(f"{url}/login?next="), path
            assert "asks for its token" in answer.text
        for path in ("/health", "/session/x", f"/api/kernels/{uuid.uuid4()}", f"/api/kernels/{uuid.uuid4()}/channels"):
            assert httpx.get(url + path).status_code == 403, path
        assert httpx.post(f"{url}/voila/api/shutdown/{uuid.uuid4()}").status_code == 403
        assert httpx.get(f"{url}/health", headers={"Authorization": f"Bearer {token}"}).json()["visitors"] == 0
        page = browser.new_page()
        page.goto(f"{url}/login?next=//another.example/")
        page.get_by_label("Password or token:").fill("wrong")
        page.get_by_role("button", name="Log in").click()
        expect(page.locator(".message.error")).to_have_text("Invalid credentials")
        page.get_by_label("Password or token:").fill(token)
        page.get_by_role("button", name="Log in").click()
        page.wait_for_selector("[data-prediction]", timeout=OPEN)
        assert page.url.startswith(url)  # who signed in stays on this server, whatever address was asked for
        [cookie] = [cookie for cookie in page.context.cookies() if cookie["name"].startswith("username-")]
        assert cookie["httpOnly"] and token not in cookie["value"]
        page.get_by_label(VOLUME).fill("12345")
        page.get_by_label(PRICE).fill("25")
        expect(page.locator(".call code")).to_contain_text("adj_close_rolling_med=25")
        expect(page.locator(".call code")).to_contain_text('curl -H "Authorization: Bearer TOKEN"')
        pid = next(iter(kernels(url)))
        assert "SERVE_TOKEN" not in psutil.Process(pid).environ()
        page.close()
