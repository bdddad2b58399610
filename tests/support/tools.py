"""Tools that a test needs and a machine may lack."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

# What a shell of the user's has: nothing of this project.
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith(("STUDY_", "PYTHONPATH"))}
_CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
_OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--no-first-run",
)


def lacking(reason: str) -> None:
    """Skip the test for the lack of a tool; fail it in continuous integration, which has them all."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def need(tool: str, found: object) -> None:
    """Skip or fail a test, as `lacking`, unless the tool was found."""
    if not found:
        lacking(f"{tool} is not installed")


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """A browser."""
    program = next(filter(None, map(shutil.which, _CHROMIUM)), None)
    need("chromium", program)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=list(_OPTIONS))
        yield started
        started.close()
