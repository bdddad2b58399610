"""Prices that are not in order are found, whichever part they are in."""

from __future__ import annotations

import datetime

import pyarrow as pa
import pytest

from lib.compute.engine import Engine
from lib.data import schema
from lib.data.order import PartOrder, order_of_parts
from lib.storage import dataset

DAY = datetime.date(2020, 1, 2)


def part(rows):
    """Prices of (symbol, days after `DAY`, volume)."""
    columns = {name: [1.0] * len(rows) for name in schema.PRICES.names}
    columns["Symbol"] = columns["Security Name"] = [symbol for symbol, _, _ in rows]
    columns["Date"] = [DAY + datetime.timedelta(days) for _, days, _ in rows]
    columns["Volume"] = [volume for _, _, volume in rows]
    return pa.table(columns, schema=schema.PRICES)


def write(folder, parts):
    (folder.parent / f".{folder.name}").mkdir(parents=True)
    folder.mkdir()
    made = [
        dataset.PartResult(f"{number:064}", {"prices": dataset._write(folder, f"{number:064}", table)}, False)
        for number, table in enumerate(parts)
    ]
    return dataset.commit(dataset.Built(made, {}), {"prices": folder})["prices"]


@pytest.mark.parametrize("workers", [1, 2])
def test_what_each_part_holds(tmp_path, workers):
    good = part([("A", 0, 5), ("A", 1, 3), ("B", 0, 9)])
    parts = [good, part([]), part([("C", 1, 1), ("C", 1, 1)]), part([("D", 1, 1), ("D", 0, 1)]), part([("E", 0, -1)])]
    found = list(order_of_parts(write(tmp_path / "prices", parts), Engine(workers=workers)))
    assert found == [
        PartOrder(["A", "B"], True, 3),
        PartOrder([], True, 0),
        PartOrder(["C"], False, 1),
        PartOrder(["D"], False, 1),
        PartOrder(["E"], True, -1),
    ]


def test_a_symbol_that_comes_again_is_told_twice(tmp_path):
    prices = write(tmp_path / "prices", [part([("A", 0, 1), ("B", 0, 1), ("A", 5, 1)]), part([("A", 6, 1)])])
    assert [found.symbols for found in order_of_parts(prices)] == [["A", "B", "A"], ["A"]]
