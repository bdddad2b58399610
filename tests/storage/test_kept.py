"""What is kept is loaded, what is damaged or not there is made, and the digest of values is that of another process."""

from __future__ import annotations

import functools
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from lib import paths
from lib.compute.engine import Engine
from lib.storage.kept import digest, map_kept, table_from_bytes, table_to_bytes

MADE: list[tuple[str, tuple[int, ...]]] = []


def double(task: tuple[str, tuple[int, ...]]) -> list[bytes]:
    MADE.append(task)
    name, wanted = task
    return [f"{name}{index}".encode() * 2 for index in wanted]


def results(folder: Path | None, *keys: list[str]) -> list[list[bytes]]:
    MADE.clear()
    return list(map_kept(double, [f"task{number}" for number in range(len(keys))], keys, Engine(workers=1), folder))


def test_only_what_is_not_kept_is_made_and_what_nobody_asks_for_goes(tmp_path: Path) -> None:
    first = results(tmp_path, ["a", "b"], ["c", "d"])
    assert first == [[b"task00task00", b"task01task01"], [b"task10task10", b"task11task11"]]
    assert results(tmp_path, ["a", "b"], ["c", "d"]) == first and not MADE
    assert results(tmp_path, ["a", "new"], ["c", "d"])[0] == first[0] and MADE == [("task0", (1,))]
    assert {path.name[: path.name.index("-")] for path in tmp_path.iterdir()} == {"a", "new", "c", "d"}
    assert results(None, ["a"]) == [[b"task00task00"]] and len(MADE) == 1


@pytest.mark.parametrize("damage", [b"", b"task00task0", b"task00task00 and more"])
def test_a_damaged_or_unfinished_file_is_made_anew(damage: bytes, tmp_path: Path) -> None:
    first = results(tmp_path, ["a"], ["b"])
    [path] = tmp_path.glob("a-*")
    content = path.read_bytes()
    path.write_bytes(damage)
    (tmp_path / "stranger.txt").write_text("of another version")
    assert results(tmp_path, ["a"], ["b"]) == first and MADE == [("task0", (0,))]
    assert path.read_bytes() == content and len(list(tmp_path.iterdir())) == 2


@dataclass(frozen=True)
class Pair:
    name: str
    held: frozenset[str]


@dataclass(frozen=True)
class Other:
    name: str
    held: frozenset[str]


def test_values_that_differ_in_anything_have_digests_that_differ() -> None:
    numbers = np.arange(6)
    values = [
        numbers, numbers.reshape(2, 3), numbers.astype(np.int32), numbers.astype(float), numbers.tolist(), [numbers], numbers[:0],
        numbers.astype("datetime64[D]"), "1", 1, 1.0, True, None, b"1", ("1",), ("1", ""), ("", "1"), {"a": 1}, {"a": 2}, {"b": 1}, {"a", "1"},
        Pair("a", frozenset("xy")), Pair("a", frozenset("xz")), Other("a", frozenset("xy")),
        np.rint, np.sum, functools.partial(len, numbers), functools.partial(len, numbers[1:]), np.datetime64("2020-01-01"),
    ]  # fmt: skip
    assert len({digest(value) for value in values}) == len(values)
    assert digest(numbers[::2]) == digest(numbers[::2].copy())  # how it lies in memory is no part of it


@pytest.mark.parametrize("value", [object(), lambda: None, np.array([None])])
def test_what_has_no_digest_is_said(value: object) -> None:
    with pytest.raises(TypeError, match="no digest of a"):
        digest(value)


def test_the_digest_is_the_same_in_every_process() -> None:
    code = (
        "from lib.storage.kept import digest; from lib.evaluation.rows import BySymbol; "
        "print(digest(BySymbol(frozenset(map(str, range(50))))))"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code], cwd=paths.ROOT, env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(found) == 1 and len(found.pop().strip()) == 64


def test_a_table_comes_back_as_it_was() -> None:
    table = pa.table({"name": ["a", None], "value": [1.5, float("inf")]})
    assert table_from_bytes(table_to_bytes(table)).equals(table)
