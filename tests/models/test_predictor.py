"""The table that serving looks up, against a row-by-row reading of what it promises."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_study import INFORMATION as WHOLE
from test_table import ARRAYS, LOWER, POINT, PRICE_EDGES, SHARES, UPPER, VOLUME_EDGES, prices, volumes

from lib.models.predictor import PredictionInputError, Predictor, to_bytes
from lib.models.table import LARGEST_VOLUME, LookupTable
from lib.storage import arrays

INFORMATION = WHOLE | {"range": {"vol_moving_avg": [100.0, 1e7], "adj_close_rolling_med": [-0.5, 500.0]}}


def predictor(relative: bool = True) -> Predictor:
    return Predictor(LookupTable.of(ARRAYS if relative else SHARES), INFORMATION)


def write(path: Path, information: Any = INFORMATION, **changes: Any) -> Path:
    if information is not None and not isinstance(information, np.ndarray):
        text = information if isinstance(information, str) else json.dumps(information, sort_keys=True)
        information = arrays.text_to_array(text)
    content = {**ARRAYS, "information": information, **changes}
    path.write_bytes(arrays.to_bytes({name: values for name, values in content.items() if values is not None}))
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

    path = write(tmp_path / "grid.safetensors")
    loaded = Predictor.load(path)
    assert loaded.predict(3e4, 30.0) == predictor().predict(3e4, 30.0)
    assert loaded.information["digest"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert loaded.information["range"] == INFORMATION["range"]
    assert path.read_bytes() == to_bytes(LookupTable.of(ARRAYS), INFORMATION)


MALFORMED: dict[str, tuple[dict[str, Any], str]] = {
    "no table": ({"point": None}, "point missing"),
    "a malformed table": ({"point": POINT[1:]}, "point is float64 of shape"),
    "no information": ({"information": None}, "information missing"),
    "not JSON": ({"information": "{"}, "Expecting property name"),
    "not text": ({"information": np.frombuffer(b"\xff\xfe", dtype=np.uint8)}, "can't decode"),
    "a list": ({"information": [1]}, r"information is \[1\]; a JSON object is expected"),
    "empty": ({"information": {}}, "information has no model; text is expected"),
    "nested": ({"information": "[" * 100_000}, "nested too deeply"),
}
MALFORMED |= {
    f"{key} {value!r}": ({"information": INFORMATION | {key: value}}, f"information's {key} is .*; .* is expected")
    for key, value in (
        ("model", 3),
        ("objective", "cubed"),
        ("objective", []),
        ("horizon", -1),
        ("horizon", True),
        ("horizon", 10**30),
        ("window", 0),
        ("window", 30.0),
        ("window", 10**30),
        ("train_first_date", "yesterday"),
        ("train_last_date", "20100702"),
        ("train_rows", math.nan),
        ("interval_level", 80),
        ("range", {"vol_moving_avg": [1, 2]}),
        ("range", {"vol_moving_avg": [2, 1], "adj_close_rolling_med": [1, 2]}),
        ("range", {"vol_moving_avg": [1, math.inf], "adj_close_rolling_med": [1, 2]}),
        ("metrics", None),
        ("metrics", {"mae": "many"}),
    )
}
for text in ("NaN", "[1e999]", '{"a": -Infinity}'):
    whole = json.dumps(INFORMATION)[:-1] + f', "unknown": {text}}}'
    MALFORMED[f"unknown {text}"] = ({"information": whole}, "information holds a number that is not finite")
MALFORMED["dates"] = ({"information": INFORMATION | {"train_first_date": "2011-01-01"}}, "is after train_last_date")


@pytest.mark.parametrize(("changes", "message"), MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_file_is_refused_with_what_is_wrong(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    path = write(tmp_path / "grid.safetensors", **changes)
    with pytest.raises(ValueError, match=rf"grid\.safetensors: not a model table: .*{message}.*bash run_all\.sh"):
        Predictor.load(path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut short", b"not a table"])
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "grid.safetensors"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"grid\.safetensors: not a model table"):
        Predictor.load(path)


def mutations(content: bytes, count: int) -> Iterator[bytes]:
    """Copies of a file with bytes changed, cut out, repeated or exchanged, most of them in its header and its first numbers."""
    random = np.random.default_rng(3)
    for _ in range(count):
        mutated = bytearray(content)
        for _ in range(random.integers(1, 3)):
            end = len(mutated) if random.random() < 0.6 else min(len(mutated), 700)
            start, length = int(random.integers(0, max(end, 1))), int(random.integers(1, 17))
            piece = mutated[start : start + length]
            match random.integers(0, 6):
                case 0:
                    mutated[start : start + 1] = random.bytes(1)
                case 1:
                    mutated[start : start + 1] = b"0123456789-.eE{}[],:"[(at := int(random.integers(0, 20))) : at + 1]
                case 2:
                    del mutated[start : start + length]
                case 3:
                    mutated[start:start] = piece
                case 4:
                    mutated[start : start + len(piece)] = random.bytes(len(piece))
                case 5:
                    other = int(random.integers(0, max(end, 1)))
                    mutated[other : other + len(piece)] = piece
        yield bytes(mutated)


def test_a_mutated_file_is_refused_with_a_sentence_or_answers_sane_integers(tmp_path: Path) -> None:
    path = write(tmp_path / "grid.safetensors")
    asked = np.array([0.0, 1.0, 999.5, 1e4, 1e6, 1e9, LARGEST_VOLUME]), np.array([-2.0, 0.0, 24.0, 25.0, 1e3, 1e9, 1.0])
    refused = answered = 0
    for content in mutations(path.read_bytes(), 6000):
        path.write_bytes(content)
        try:
            loaded = Predictor.load(path)
        except ValueError as error:
            refused += 1
            assert str(error).startswith(f"{tmp_path.name}/grid.safetensors: not a model table: ")
            assert str(error).endswith("; train the study again: bash run_all.sh")
            continue
        answered += 1
        predicted, (low, high) = loaded.predict(*asked), loaded.predict_interval(*asked)
        assert ((low >= 0) & (low <= predicted) & (predicted <= high)).all()
        assert (high <= np.maximum(1000 * asked[0], LARGEST_VOLUME)).all()
        pairs = list(zip(*(values.tolist() for values in asked), strict=True))
        assert predicted.tolist() == [loaded.predict(*pair) for pair in pairs]
        assert loaded.in_training_range(*asked).dtype == bool
    assert refused > 1000
    assert answered > 300


def test_a_missing_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Predictor.load(tmp_path / "none.safetensors")


def test_serving_needs_numpy_alone() -> None:
    code = "import sys, lib.models.predictor; print(sorted({'sklearn', 'pandas', 'pyarrow', 'scipy', 'skops'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
