"""Numbers by column against the same numbers one by one."""

from __future__ import annotations

import pyarrow as pa
import pytest

from lib.data.dates_and_numbers import numbers, parse_number

TEXTS = [
    "6.85M",
    "1.2K",
    "-3B",
    "1,234",
    "80.22m",
    "1M2",
    "x",
    "",
    ".5T",
    "1,234.5M",
    "5e3",
    "5e3M",
    "0.1M",
    "+7",
    "$5",
]


@pytest.mark.parametrize("mark", ["point", "comma"])
@pytest.mark.parametrize(
    "texts",
    [
        *(TEXTS, ["1.5M", "80.22M"], ["1.5", "2"], ["1,234", "5"], ["1,234,567.50", "-1.5"], ["1,234", "1.2.3"]),
        *(
            ["9e999999K", "5"],
            ["1,23", "5"],
            ["12,34,567", "5"],
            ["1234,567"],
            ["1,234e5", "5"],
            ["5e3", "1,234"],
            ["1.2.3", "5"],
            [],
        ),
    ],
)
def test_a_column_is_read_as_each_of_its_numbers_is(mark, texts):
    if mark == "comma":
        texts = [text.translate(str.maketrans(",.", ".,")) for text in texts]
    each = [parse_number(text, mark) for text in texts]
    assert numbers(pa.chunked_array([texts], pa.string()), mark).to_pylist() == [
        None if n is None else float(n) for n in each
    ]
