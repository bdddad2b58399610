"""The table that serving looks up, against a row-by-row reading of what it promises."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from bisect import bisect_right
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.predictor import LARGEST_VOLUME, PredictionInputError, Predictor

VOLUME_EDGES = np.array([1_000.0, 50_000.0, 2e6])
PRICE_EDGES = np.array([-1.0, 0.0, 25.0, 300.0])
SHAPE = (4, 5)
RANDOM = np.random.default_rng(7)
POINT = RANDOM.uniform(0.5, 1.1, SHAPE)
LOWER, UPPER = POINT * RANDOM.uniform(0.0, 1.0, SHAPE), POINT * RANDOM.uniform(1.0, 2.0, SHAPE)
INFORMATION = {"range": {"vol_moving_avg": [100.0, 1e7], "adj_close_rolling_med": [-0.5, 500.0]}}

volumes = st.one_of(st.sampled_from([0.0, *VOLUME_EDGES, LARGEST_VOLUME]), st.floats(0, 1e9))
prices = st.one_of(st.sampled_from(PRICE_EDGES.tolist()), st.floats(-1e3, 1e6))


def predictor(relative: bool = True) -> Predictor:
    point = POINT if relative else POINT * 1e5
    return Predictor(VOLUME_EDGES, PRICE_EDGES, point, LOWER, UPPER, relative, INFORMATION)


def write(path: Path, **changes: Any) -> Path:
    arrays = {
        "volume_edges": VOLUME_EDGES,
        "price_edges": PRICE_EDGES,
        "point": POINT,
        "lower": LOWER,
        "upper": UPPER,
        "relative": np.array(True),
        "information": np.array(json.dumps(INFORMATION)),
    }
    np.savez(path, **{name: value for name, value in {**arrays, **changes}.items() if value is not None})
    return path


@given(volumes, prices)
def test_one_pair_is_the_ratio_of_its_cell_times_the_average(volume: float, price: float) -> None:
    row, column = bisect_right(VOLUME_EDGES.tolist(), volume), bisect_right(PRICE_EDGES.tolist(), price)
    predicted = predictor().predict(volume, price)
    assert type(predicted) is int
    assert predicted == round(POINT[row, column] * volume)
    low, high = predictor().predict_interval(volume, price)
    assert low <= predicted <= high
    assert low == math.floor(LOWER[row, column] * volume)
    assert high == math.ceil(UPPER[row, column] * volume)


@given(st.lists(st.tuples(volumes, prices), min_size=1, max_size=20), st.booleans())
def test_arrays_get_what_single_pairs_get(pairs: list[tuple[float, float]], relative: bool) -> None:
    model = predictor(relative)
    both = np.array(pairs)
    predicted, (low, high) = model.predict(both[:, 0], both[:, 1]), model.predict_interval(both[:, 0], both[:, 1])
    assert predicted.dtype == low.dtype == high.dtype == np.int64
    assert predicted.tolist() == [model.predict(*pair) for pair in pairs]
    assert list(zip(low.tolist(), high.tolist(), strict=True)) == [model.predict_interval(*pair) for pair in pairs]
    inside = model.in_training_range(both[:, 0], both[:, 1])
    assert inside.tolist() == [model.in_training_range(*pair) for pair in pairs]


def test_a_table_of_shares_is_not_multiplied() -> None:
    assert predictor(relative=False).predict(10, 10) == round(POINT[0, 2] * 1e5)


def test_numpy_scalars_integers_and_lists_are_numbers() -> None:
    model = predictor()
    expected = model.predict(123456.0, 25.0)
    assert model.predict(123456, np.float32(25)) == expected
    assert model.predict(np.int64(123456), np.array(25.0)) == expected
    assert model.predict([123456], [25]).tolist() == [expected]
    assert model.predict(np.array([123456], dtype=np.int32), 25).tolist() == [expected]
    assert model.predict([], []).tolist() == []


@pytest.mark.parametrize(
    ("volume", "price", "inside"),
    [(100, -0.5, True), (1e7, 500, True), (99.9, 25, False), (1.1e7, 25, False), (1e5, 501, False), (1e5, -0.6, False)],
)
def test_the_training_range_includes_its_ends(volume: float, price: float, inside: bool) -> None:
    assert predictor().in_training_range(volume, price) is inside


@pytest.mark.parametrize(
    ("field", "volume", "price", "found"),
    [
        ("vol_moving_avg", math.nan, 25, "nan"),
        ("vol_moving_avg", math.inf, 25, "inf"),
        ("vol_moving_avg", -1, 25, "-1"),
        ("vol_moving_avg", 2e15, 25, "2e+15"),
        ("vol_moving_avg", 10**400, 25, "401 digits"),
        ("vol_moving_avg", "12345", 25, "'12345'"),
        ("vol_moving_avg", True, 25, "True"),
        ("vol_moving_avg", np.True_, 25, "True"),
        ("vol_moving_avg", None, 25, "None"),
        ("vol_moving_avg", 1 + 1j, 25, "1+1j"),
        ("adj_close_rolling_med", 12345, -math.inf, "-inf"),
        ("adj_close_rolling_med", 12345, math.nan, "nan"),
        ("adj_close_rolling_med", 12345, "25", "'25'"),
        ("vol_moving_avg", [1.0, math.nan], [25, 25], "nan"),
        ("vol_moving_avg", [1.0, -2.0], [25, 25], "-2"),
        ("vol_moving_avg", [1.0, True], [25, 25], "True"),
        ("vol_moving_avg", ["1"], [25], "'1'"),
        ("vol_moving_avg", np.array([True]), [25], "True"),
        ("vol_moving_avg", [None], [25], "None"),
        ("vol_moving_avg", [[1.0], [1.0, 2.0]], 25, "[1.0]"),
        ("adj_close_rolling_med", [1.0, 2.0], [25, math.inf], "inf"),
        ("adj_close_rolling_med", [1.0, 2.0], [25, 25, 25], "3 values"),
    ],
)
@pytest.mark.parametrize("ask", [Predictor.predict, Predictor.predict_interval, Predictor.in_training_range])
def test_what_is_no_number_is_refused_by_name(field: str, volume: Any, price: Any, found: str, ask: Any) -> None:
    with pytest.raises(PredictionInputError) as caught:
        ask(predictor(), volume, price)
    assert caught.value.field == field
    assert field in str(caught.value)
    assert found in str(caught.value)


def test_a_file_is_loaded_with_its_digest(tmp_path: Path) -> None:
    import hashlib

    path = write(tmp_path / "grid.npz")
    loaded = Predictor.load(path)
    assert loaded.predict(3e4, 30.0) == predictor().predict(3e4, 30.0)
    assert loaded.information["digest"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert loaded.information["range"] == INFORMATION["range"]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut short", b"not a zip"])
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "grid.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"grid\.npz: not a model table"):
        Predictor.load(path)


def test_a_file_without_a_table_or_with_pickled_objects_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not a model table"):
        Predictor.load(write(tmp_path / "a.npz", point=None))
    with pytest.raises(ValueError, match="not a model table"):
        Predictor.load(write(tmp_path / "b.npz", information=np.array([{}], dtype=object)))


def test_a_missing_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Predictor.load(tmp_path / "none.npz")


def test_serving_needs_numpy_alone() -> None:
    code = "import sys, lib.predictor; print(sorted({'sklearn', 'pandas', 'pyarrow', 'scipy', 'skops'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
