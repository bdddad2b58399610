"""One entry a feature: everything that names a feature's column takes the name from there."""

from __future__ import annotations

import ast
import inspect

import numpy as np
import pytest

from lib import paths
from lib.data import schema
from lib.features import windows
from lib.features.definitions import BY_NAME, DAILY, EXAMPLE_QUERY, INPUTS, Feature


@pytest.mark.parametrize("feature", DAILY, ids=lambda feature: feature.name)
def test_a_daily_feature_has_prices_that_it_is_made_of_and_a_function(feature: Feature) -> None:
    columns = [np.array([1, 2, 6, 5]) for name in feature.source if schema.PRICES.field(name)]
    compute = getattr(windows, feature.function)
    assert inspect.getdoc(compute)
    values = compute(*columns, np.array([0, 3]), 2)
    assert values.dtype == np.float64
    assert values.shape == (4,)
    assert feature.label and feature.text and feature.unit


def test_names_are_unique_and_inputs_have_examples_within_their_bounds() -> None:
    assert len(BY_NAME) == len(DAILY)
    assert set(BY_NAME).isdisjoint(schema.PRICES.names)
    assert windows.SCHEMA.names == [*schema.PRICES.names, *BY_NAME]
    for name in INPUTS:
        assert BY_NAME[name].low <= BY_NAME[name].example <= BY_NAME[name].high
        assert f"{name}={BY_NAME[name].example}" in EXAMPLE_QUERY.split("&")


def written_names(code: str) -> list[str]:
    """The texts of a module, its docstrings apart, that hold the name of a daily feature."""
    tree = ast.parse(code)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and id(node) not in docstrings
        and any(name in node.value for name in BY_NAME)
    ]


def test_a_written_name_is_found() -> None:
    assert written_names(f'"""{INPUTS[0]}"""\nx = "{INPUTS[1]}"') == [INPUTS[1]]


def test_the_library_writes_each_name_once() -> None:
    found = {
        path.relative_to(paths.LIB).as_posix(): names
        for path in paths.LIB.rglob("*.py")
        if (names := written_names(path.read_text(encoding="utf-8")))
    }
    assert found == {"features/definitions.py": list(BY_NAME)}
    pages = [path for kind in ("*.html", "*.js", "*.j2", "*.css") for path in paths.LIB.rglob(kind)]
    assert len(pages) > 2
    assert not [path for path in pages if any(name in path.read_text(encoding="utf-8") for name in BY_NAME)]
