"""One lookup for scalars and arrays, and a table that is checked whole before it answers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.models.table import LARGEST_RATIO, LARGEST_VOLUME, PARTS, LookupTable

VOLUME_EDGES = np.array([1_000.0, 50_000.0, 2e6])
PRICE_EDGES = np.array([-1.0, 0.0, 25.0, 300.0])
SHAPE = (4, 5)
RANDOM = np.random.default_rng(7)
POINT = RANDOM.uniform(0.5, 1.1, SHAPE)
LOWER, UPPER = POINT * RANDOM.uniform(0.0, 1.0, SHAPE), POINT * RANDOM.uniform(1.0, 2.0, SHAPE)
ARRAYS = dict(zip(PARTS, (VOLUME_EDGES, PRICE_EDGES, POINT, LOWER, UPPER, np.array(True)), strict=True))
SHARES = ARRAYS | {"point": POINT * 1e5, "relative": np.array(False)}

volumes = st.one_of(st.sampled_from([0.0, *VOLUME_EDGES, LARGEST_VOLUME]), st.floats(0, 1e9))
prices = st.one_of(st.sampled_from(PRICE_EDGES.tolist()), st.floats(-1e3, 1e6))


@given(st.lists(st.tuples(volumes, prices), min_size=1, max_size=20), st.booleans())
def test_one_pair_gets_the_same_bits_as_many(pairs: list[tuple[float, float]], relative: bool) -> None:
    table = LookupTable.of(ARRAYS if relative else SHARES)
    both = np.array(pairs).T
    low, high = table.interval(*both)
    assert table.predict(*both).tolist() == [table.predict_one(*pair) for pair in pairs]
    assert list(zip(low.tolist(), high.tolist(), strict=True)) == [table.interval_one(*pair) for pair in pairs]


def test_an_edge_belongs_to_the_cell_above_it() -> None:
    table = LookupTable.of(ARRAYS)
    assert table.predict_one(50_000.0, 0.0) == POINT[2, 2] * 50_000.0
    below = float(np.nextafter(50_000.0, 0))
    assert table.predict_one(below, float(np.nextafter(0.0, -1))) == POINT[1, 1] * below


def changed(values: Any, position: Any, value: float) -> Any:
    copy = values.copy()
    copy[position] = value
    return copy


MALFORMED = {
    "missing": ({"point": None}, "point missing"),
    "shape": (
        {"point": POINT[:-1]},
        r"point is float64 of shape \(3, 5\); the edges ask for float64 of shape \(4, 5\)",
    ),
    "type": ({"upper": UPPER.astype("float32")}, "upper is float32"),
    "whole numbers": ({"volume_edges": np.array([1, 2, 3])}, "volume_edges is int64"),
    "flat": ({"price_edges": PRICE_EDGES[:, np.newaxis]}, "price_edges is float64 of shape"),
    "unsorted": ({"volume_edges": VOLUME_EDGES[::-1].copy()}, "volume_edges is not finite and ascending"),
    "twice": ({"price_edges": changed(PRICE_EDGES, 1, -1.0)}, "price_edges is not finite and ascending"),
    "infinite edge": ({"volume_edges": changed(VOLUME_EDGES, 2, np.inf)}, "volume_edges is not finite"),
    "NaN edge": ({"volume_edges": changed(VOLUME_EDGES, 1, np.nan)}, "volume_edges is not finite"),
    "NaN": ({"point": changed(POINT, (0, 0), np.nan)}, "point holds a number that is not from 0 to 1000"),
    "infinite": ({"upper": changed(UPPER, (1, 1), np.inf)}, "upper holds a number"),
    "negative": ({"lower": changed(LOWER, (2, 2), -0.1)}, "lower holds a number"),
    "absurd": ({"upper": changed(UPPER, (1, 1), 2 * LARGEST_RATIO)}, "upper holds a number"),
    "crossed": ({"lower": UPPER, "upper": LOWER}, "lower is above upper"),
    "outside": ({"point": UPPER * 1.01}, "point is not between lower and upper"),
    "relative": ({"relative": np.array(1)}, "relative is int64"),
    "many relatives": ({"relative": np.array([True])}, r"relative is bool of shape \(1,\)"),
    "too many shares": (
        {"relative": np.array(False), "point": POINT * 1e16},
        "point holds a number that is not from 0",
    ),
}


@pytest.mark.parametrize(("change", "message"), MALFORMED.values(), ids=MALFORMED.keys())
def test_what_is_no_table_is_refused_with_what_is_wrong(change: dict[str, Any], message: str) -> None:
    arrays = {name: values for name, values in (ARRAYS | change).items() if values is not None}
    with pytest.raises(ValueError, match=message):
        LookupTable.of(arrays)
