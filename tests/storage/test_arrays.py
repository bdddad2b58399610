"""Arrays in a file: what comes back, what is refused, and which bytes they are."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from lib.storage import arrays

CONTENT = {
    "whole": np.arange(6).reshape(2, 3),
    "real": np.array([0.1, np.nan]),
    "turned": np.arange(6.0).reshape(2, 3).T,
    "none": np.array([]),
    "one": np.array(True),
    "text": arrays.text_to_array("Zoë\tß\n"),
    "swapped": np.arange(3, dtype=">i8"),
}


def test_what_is_written_comes_back() -> None:
    held = arrays.from_bytes(arrays.to_bytes(CONTENT))
    assert held.keys() == CONTENT.keys()
    for name, values in CONTENT.items():
        assert held[name].shape == values.shape
        assert held[name].dtype == values.dtype.newbyteorder("=")
        np.testing.assert_array_equal(held[name], values)
    assert arrays.array_to_text(held["text"]) == "Zoë\tß\n"


def test_the_bytes_are_a_header_and_the_numbers() -> None:
    """Written out by hand: no name, time or version of what wrote it is among them."""
    header = json.dumps({"a": {"dtype": "I64", "shape": [2], "data_offsets": [0, 16]}}, separators=(",", ":"))
    header += " " * (-len(header) % 8)
    numbers = np.array([1, 2], dtype="<i8")
    expected = len(header).to_bytes(8, "little") + header.encode() + numbers.tobytes()
    assert arrays.to_bytes({"a": numbers}) == expected


def test_the_order_in_which_arrays_are_given_does_not_matter() -> None:
    assert arrays.to_bytes(CONTENT) == arrays.to_bytes(dict(reversed(CONTENT.items())))


def test_a_slice_is_read_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(arrays.to_bytes(CONTENT))
    with arrays.opened(path) as read:
        assert read("whole", slice(1, 2)).tolist() == [[3, 4, 5]]
        assert read("none").tolist() == []
    with pytest.raises(ValueError, match=r"a\.safetensors"), arrays.opened(path) as read:
        read("another")


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 a zip", arrays.to_bytes(CONTENT)[:-1], b"\xff" * 100])
def test_a_damaged_file_is_refused(tmp_path: Path, damage: bytes) -> None:
    with pytest.raises(ValueError, match="not a safetensors file"):
        arrays.from_bytes(damage)
    path = tmp_path / "a.safetensors"
    path.write_bytes(damage)
    with pytest.raises(ValueError, match=r"a\.safetensors"), arrays.opened(path):
        pass
