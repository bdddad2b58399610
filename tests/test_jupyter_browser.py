"""JupyterLab and plain Voilà, each started anywhere, show what the notebooks make."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page
from serving_study import free_port
from tools import CLEAN, chromium

from lib import paths

OPEN = 120_000  # milliseconds that a page may take on a machine with other work
# What the menu's Run All Cells does, once the kernel is there; whether all went well.
RUN_ALL = """async () => {
    const panel = window.jupyterapp.shell.currentWidget
    await panel.sessionContext.ready
    return await window.jupyterapp.commands.execute("notebook:run-all-cells")
}"""
pytestmark = pytest.mark.xdist_group("jupyter in a browser")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@contextlib.contextmanager
def started(folder: Path, *command: str, outputs: Path) -> Iterator[str]:
    """A Jupyter server that was started in a folder; where it answers."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with open(folder / "log", "w", encoding="utf-8") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", *command, f"--port={port}", "--no-browser"],
            cwd=folder,
            env={**CLEAN, "STUDY_OUTPUTS": str(outputs), "HOME": str(folder)},  # JupyterLab keeps in it what was open
            stdout=log,
            stderr=log,
        )
        try:
            for _ in range(600):
                with contextlib.suppress(httpx.TransportError):
                    httpx.get(url, timeout=60)
                    break
                assert server.poll() is None, (folder / "log").read_text(encoding="utf-8")
                time.sleep(0.1)
            yield url
        finally:
            server.terminate()
            server.wait(30)


def assert_styled(page: Page) -> None:
    """The panels look as on the dashboard: side by side, on cards, the number large; nothing else on the page is changed."""
    page.wait_for_selector(".next-session .number", timeout=OPEN)

    def of(selector: str, what: str) -> str:
        return page.locator(selector).first.evaluate(f"element => getComputedStyle(element).{what}")

    assert of(".forecast", "display") == "grid"
    assert float(of(".next-session .number", "fontSize").removesuffix("px")) > 30
    assert of(".card", "borderRadius") == "14px"
    assert of("body", "maxWidth") == "none"


def test_plain_voila_shows_the_dashboard_with_its_look(browser, sample_outputs, tmp_path):
    options = ["--Voila.ip=127.0.0.1", str(paths.NOTEBOOKS / "dashboard.ipynb")]
    with started(tmp_path, "voila", *options, outputs=sample_outputs) as url:
        page = browser.new_page()
        page.goto(url, timeout=OPEN)
        assert_styled(page)
        page.close()


def test_jupyterlab_runs_the_dashboard_and_an_executed_notebook(browser, sample_outputs, tmp_path):
    outputs = tmp_path / "outputs"
    shutil.copytree(sample_outputs, outputs)
    shutil.copy(paths.NOTEBOOKS / "dashboard.ipynb", tmp_path)  # which JupyterLab saves
    options = ["--allow-root", "--ServerApp.ip=127.0.0.1", "--IdentityProvider.token=", "--expose-app-in-browser"]
    with started(tmp_path, "jupyterlab", *options, outputs=outputs) as url:
        # JupyterLab keeps what is out of sight out of the page.
        page = browser.new_page(viewport={"width": 1280, "height": 8000})
        for notebook in ("dashboard.ipynb", "outputs/sample/notebooks/02_features.ipynb"):
            page.goto(f"{url}/lab/tree/{notebook}", timeout=OPEN)
            page.wait_for_selector(".jp-NotebookPanel:visible .jp-CodeCell", timeout=OPEN)
            assert page.evaluate(RUN_ALL)
            if notebook == "dashboard.ipynb":
                assert_styled(page)
            assert page.locator('.jp-NotebookPanel [data-mime-type="application/vnd.jupyter.error"]').count() == 0
            assert page.locator(".jp-NotebookPanel .jp-RenderedText[data-mime-type*=stderr]").count() == 0
        page.close()
