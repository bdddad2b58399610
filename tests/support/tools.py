"""Tools that a test needs and a machine may lack."""

from __future__ import annotations

import os

import pytest


def lacking(reason: str) -> None:
    """Skip the test for the lack of a tool; fail it in continuous integration, which has them all."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def need(tool: str, found: object) -> None:
    """Skip or fail a test, as `lacking`, unless the tool was found."""
    if not found:
        lacking(f"{tool} is not installed")
