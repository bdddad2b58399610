"""Rows that an earlier run has read are not parsed again, and what comes of it is what comes of parsing all."""

from __future__ import annotations

import functools
import random
import shutil

import pytest
from raw_archives import HEADER, price_rows, write_archive

from lib import files, paths
from lib.compute.engine import Engine
from lib.data import archive, ingest, parse
from lib.storage import dataset

SYMBOLS = [f"S{number:02}" for number in range(14)]


@pytest.fixture(autouse=True)
def small_parts(monkeypatch, outputs):
    monkeypatch.setattr(dataset, "cut", functools.partial(dataset.cut, most=5))


@pytest.fixture
def parsed(monkeypatch):
    """How many bytes of raw rows were parsed since it was last asked."""
    counted = []
    strict = parse._strict
    monkeypatch.setattr(parse, "_strict", lambda block: counted.append(len(block)) or strict(block))

    def since() -> int:
        found = sum(counted)
        counted.clear()
        return found

    return since


def made(folder, name):
    """The digest of every file of the datasets of a study."""
    study = paths.StudyPaths(name)
    ingest.ingest(archive.list_archive(folder), study, 1.0, Engine(workers=1))
    return {
        f"{one.name}/{path.name}": files.sha256(path)
        for one in (study.prices, study.quarantine, study.files)
        for path in one.glob("*")
    }


def rows_after(chance, day):
    """A line that may be anything that people append."""
    good = f"2031-{1 + day // 28 % 12:02}-{1 + day % 28:02},1.5,2.25,1.0,2.0,1.75,{chance.randrange(10**6)}"
    return chance.choice(
        [
            *[good] * 6,
            good.replace("2031", "1999"),  # out of order
            "2031-01-01,1,2,1,2,2,7",  # perhaps repeated
            "2031-02-01,,,,,,",
            "2031-02-02,1,2,1,2,2,-5",
            "2031-02-03,1,2,1,2,2,5.5",
            "2031-02-04,1,2,1,2,2,nan",
            "nonsense",
            '2031-02-05,1,2,1,2,2,"1,234"',
            "",
            "2031-02-06,1,2,1,2,2,0",
        ]
    )


def changed(chance, text):
    """What may have become of a file by the next day."""
    lines = [rows_after(chance, day) for day in range(chance.randrange(1, 6))]
    kind = chance.randrange(10)
    if kind == 0:
        return text
    if kind == 1:
        return text.replace(",", ",0", 1) if chance.random() < 0.5 else text[: len(text) // 2]
    if kind == 2:
        return text + "\n".join(lines)  # no last newline
    if kind == 3:
        return (text + "\n".join(lines) + "\n").replace("\n", "\r\n")
    return text + "\n".join(lines) + "\n"


@pytest.mark.parametrize("seed", range(12))
def test_files_that_have_grown_give_the_bytes_of_a_first_run(tmp_path, seed):
    chance = random.Random(seed)
    contents = {symbol: "\n".join([HEADER, *price_rows(symbol, chance.randrange(20, 60))]) + "\n" for symbol in SYMBOLS}
    for day in range(3):
        folder = write_archive(
            tmp_path / f"day{day}", {f"stocks/{symbol}.csv": text for symbol, text in contents.items()}
        )
        grown, anew = made(folder, "grown"), made(folder, f"anew{day}")
        assert grown == anew
        contents = {symbol: changed(chance, text) for symbol, text in contents.items() if chance.random() < 0.95}
        contents["NEW" + str(day)] = "\n".join([HEADER, *price_rows("N", 30)]) + "\n"


def test_only_what_is_new_is_parsed(tmp_path, parsed):
    texts = {symbol: "\n".join([HEADER, *price_rows(symbol, 200)]) + "\n" for symbol in SYMBOLS}
    folder = write_archive(tmp_path / "archive", {f"stocks/{symbol}.csv": text for symbol, text in texts.items()})
    made(folder, "study")
    assert parsed() > 200 * len(SYMBOLS) * 30
    row = "2031-01-02,1,2,1,2,2,7\n"
    for symbol in SYMBOLS:
        with (folder / "stocks" / f"{symbol}.csv").open("a") as file:
            file.write(row)
    grown = made(folder, "study")
    assert parsed() == len(row) * len(SYMBOLS)
    assert made(folder, "study") == grown and parsed() == 0
    # A file whose beginning has changed is parsed whole, its neighbours are not.
    other = texts["S03"].replace("\n", "\n2000-01-01,1,2,1,2,2,3\n", 1)
    (folder / "stocks/S03.csv").write_text(other)
    changed = made(folder, "study")
    assert parsed() == len(other) - len(f"{HEADER}\n")
    assert changed == made(folder, "anew")


def test_a_damaged_part_or_other_code_gives_nothing(tmp_path, parsed, monkeypatch):
    texts = {f"stocks/{symbol}.csv": "\n".join([HEADER, *price_rows(symbol, 50)]) + "\n" for symbol in SYMBOLS}
    folder = write_archive(tmp_path / "archive", texts)
    made(folder, "study")
    whole = parsed()
    shutil.copytree(paths.StudyPaths("study").folder, paths.StudyPaths("copy").folder)
    for symbol in SYMBOLS:
        with (folder / "stocks" / f"{symbol}.csv").open("a") as file:
            file.write("2031-01-02,1,2,1,2,2,7\n")
    for path in paths.StudyPaths("study").prices.glob("*"):
        path.write_bytes(path.read_bytes()[:-20] + b"01234567890123456789")
    damaged = made(folder, "study")
    assert parsed() > whole
    monkeypatch.setattr(ingest.code, "digest", lambda *_: "other code")
    other = made(folder, "copy")
    assert parsed() > whole
    assert {name.partition("-")[0]: 1 for name in damaged} == {name.partition("-")[0]: 1 for name in other}
    assert sorted(damaged.values()) == sorted(other.values())
