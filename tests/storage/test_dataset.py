"""A dataset: parts that stay where they are, plain Parquet for every reader, no damage read as right."""

from __future__ import annotations

import errno
import os
import random
import shutil
import string
import subprocess
from collections import Counter
from functools import partial
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from raw_archives import HEADER, price_rows, write_archive
from tools import lacking

from lib import files, paths
from lib.compute.engine import Engine
from lib.data import archive, ingest, schema
from lib.features import windows
from lib.features.build import build_features
from lib.storage import dataset
from lib.storage.dataset import DatasetError, cut, open_dataset

STUDY = paths.StudyPaths("s")
FOLDERS = ("prices", "quarantine", "files", "features")
SYMBOLS = [f"{letter}{letter}{number}" for letter in "ABCDE" for number in range(2)]
FILES = {f"stocks/{symbol}.csv": 60 + 7 * number for number, symbol in enumerate(SYMBOLS)}
FILES["stocks/BB0.csv"] = f"{HEADER}\n" + "".join(f"{row}\n" for row in price_rows("BB0", 40)) + "2020-01-02,,,,,,\n"


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    """Let a small archive make several parts."""
    monkeypatch.setattr(dataset, "cut", partial(cut, most=3))


@pytest.fixture
def made(monkeypatch):
    """The (folder, key) of every part that is computed from now on, in this process."""
    made: list[tuple[str, str]] = []
    write = dataset._write

    def record(folder, key, table):
        made.append((folder.name, key))
        return write(folder, key, table)

    monkeypatch.setattr(dataset, "_write", record)
    return made


def run(location, workers=1, window=30):
    """Ingest and features; the digest of each dataset."""
    engine = Engine(workers=workers)
    ingest.ingest(archive.list_archive(location), STUDY, 0.5, engine)
    build_features(STUDY, window, engine=engine, summarised=False)
    return digests()


def folder_of(name):
    return getattr(STUDY, name)


def digests():
    return {name: open_dataset(folder_of(name)).digest for name in FOLDERS}


def listing():
    """Every file of the study, with its content's digest."""
    return {
        path.relative_to(STUDY.folder).as_posix(): files.sha256(path)
        for path in STUDY.folder.rglob("*")
        if path.is_file()
    }


# Where parts are cut.


@given(st.sets(st.text(string.ascii_uppercase, min_size=1, max_size=4), max_size=300), st.integers(1, 20))
@settings(max_examples=150)
def test_parts_hold_every_symbol_in_order_and_none_is_too_large(symbols, most):
    parts = cut(sorted(symbols), most)
    assert [symbol for part in parts for symbol in part] == sorted(symbols)
    assert all(1 <= len(part) <= most for part in parts)


@given(
    st.sets(st.text(string.ascii_uppercase, min_size=1, max_size=4), min_size=2, max_size=300),
    st.integers(1, 20),
    st.randoms(use_true_random=False),
)
@settings(max_examples=150)
def test_a_new_symbol_that_is_no_boundary_changes_one_part(symbols, most, chance):
    new = chance.choice(sorted(symbols))
    before = {tuple(part) for part in cut(sorted(symbols - {new}), most)}
    after = {tuple(part) for part in cut(sorted(symbols), most)}
    if new not in {part[0] for part in after}:
        (changed,) = before - after
        assert set().union(*(after - before)) == {*changed, new}


def test_few_symbols_are_a_boundary_at_full_scale():
    chance = random.Random(1)
    names: set[str] = set()
    while len(names) < 8049 + 200:
        names.add("".join(chance.choice(string.ascii_uppercase) for _ in range(chance.randrange(1, 6))))
    shuffled = chance.sample(sorted(names), len(names))
    symbols, new = sorted(shuffled[:8049]), shuffled[8049:]
    before = {tuple(part) for part in cut(symbols)}
    assert 24 <= len(before) <= 60  # expected: twice 8,049 / 384
    assert max(len(part) for part in before) <= dataset.SYMBOLS_A_PART
    changed = Counter(len(before - {tuple(part) for part in cut(sorted([*symbols, name]))}) for name in new)
    # "A few names in a thousand are themselves a new boundary."
    assert changed[1] >= 0.99 * len(new)


# What is made, and made again.


def test_two_workers_make_the_bytes_of_one(outputs, tmp_path, monkeypatch):
    location = write_archive(tmp_path / "archive", FILES)
    listings = []
    for workers in (1, 2):
        monkeypatch.setenv("STUDY_OUTPUTS", str(tmp_path / f"with-{workers}"))
        run(location, workers)
        listings.append(listing())
    assert listings[0] == listings[1]
    assert sum(name.startswith("prices/part-") for name in listings[0]) >= 4


def test_a_symbol_never_spans_two_parts(outputs, make_archive):
    run(make_archive(FILES))
    parts = list(open_dataset(STUDY.features).tables(["Symbol", "Date"]))
    symbols = [symbol for part in parts for symbol in sorted(set(part["Symbol"].to_pylist()))]
    assert symbols == SYMBOLS
    for part in parts:
        rows = list(zip(part["Symbol"].to_pylist(), part["Date"].to_pylist(), strict=True))
        assert rows == sorted(rows)


def test_nothing_changed_nothing_is_made(outputs, make_archive, made):
    location = make_archive(FILES)
    first = run(location)
    assert len(made) == sum(len(open_dataset(folder_of(name)).parts) for name in FOLDERS)
    made.clear()
    before = {path: path.stat().st_ino for path in STUDY.folder.rglob("*.parquet")}
    assert run(location) == first
    assert made == []
    assert {path: path.stat().st_ino for path in STUDY.folder.rglob("*.parquet")} == before


def test_one_changed_file_makes_one_part(outputs, make_archive, made):
    run(make_archive(FILES))
    made.clear()
    changed = run(make_archive({**FILES, "stocks/CC1.csv": 33}, name="changed"))
    assert [name for name, _ in made] == ["quarantine", "files", "prices", "features"]
    shutil.rmtree(STUDY.folder)
    assert run(make_archive({**FILES, "stocks/CC1.csv": 33}, name="changed")) == changed


def test_a_new_name_in_the_metadata_makes_one_part(outputs, make_archive, made):
    run(make_archive(FILES))
    made.clear()
    metadata = "Symbol,Security Name\n" + "".join(
        f"{symbol},{symbol} Inc.{'!' if symbol == 'DD0' else ''}\n" for symbol in SYMBOLS
    )
    run(make_archive(FILES, metadata, name="renamed"))
    assert [name for name, _ in made] == ["quarantine", "files", "prices", "features"]


def test_another_window_makes_features_alone(outputs, make_archive, made):
    location = make_archive(FILES)
    first = run(location)
    made.clear()
    second = run(location, window=20)
    assert {name for name, _ in made} == {"features"}
    assert {name: first[name] == second[name] for name in FOLDERS} == {
        **dict.fromkeys(FOLDERS, True),
        "features": False,
    }


def test_a_symbol_that_is_gone_is_gone(outputs, make_archive):
    run(make_archive(FILES))
    fewer = {name: rows for name, rows in FILES.items() if "AA" not in name}
    run(make_archive(fewer, name="fewer"))
    assert open_dataset(STUDY.prices).read(["Symbol"])["Symbol"].unique().to_pylist() == SYMBOLS[2:]
    assert sorted(path.name for path in STUDY.prices.iterdir()) == [
        part.file for part in open_dataset(STUDY.prices).parts
    ]


def test_the_extremes_of_a_column_are_those_of_its_values(outputs, make_archive):
    run(make_archive(FILES))
    prices = open_dataset(STUDY.prices)
    assert len(prices.parts) > 1
    for column in ("Date", "Symbol"):
        values = [part[column].to_pylist() for part in prices.tables([column])]
        assert prices.extremes(column) == [(min(part), max(part)) for part in values]


def test_a_dataset_can_be_read_in_pieces(outputs, make_archive):
    run(make_archive(FILES))
    found = open_dataset(STUDY.features)
    whole = found.read()
    assert whole.schema == windows.SCHEMA
    assert found.rows == whole.num_rows == sum(part.num_rows for part in found.tables())
    assert found.read(["Volume", "Symbol"]).column_names == ["Volume", "Symbol"]
    assert pa.concat_tables(found.tables(["Volume"])) == found.read(["Volume"])
    assert len(found.digest) == 64


# Every reader.


def read_by_pandas(folder):
    return pa.Table.from_pandas(pd.read_parquet(folder), windows.SCHEMA, preserve_index=False)


def read_by_pyarrow(folder):
    return pq.read_table(folder)


def read_by_pyarrow_dataset(folder):
    return pyarrow.dataset.dataset(folder).to_table()


def read_by_polars(folder):
    return polars().read_parquet(folder).to_arrow()


def scan_by_polars(folder):
    return polars().scan_parquet(folder).collect().to_arrow()


def scan_by_polars_glob(folder):
    return polars().scan_parquet(folder / "*.parquet").collect().to_arrow()


def read_by_duckdb(folder):
    try:
        import duckdb
    except ImportError:
        lacking("DuckDB is not installed")
    rows = duckdb.connect().execute(f"SELECT * FROM read_parquet('{folder}/*.parquet')").fetchall()
    return pa.Table.from_pylist([dict(zip(windows.SCHEMA.names, row, strict=True)) for row in rows], windows.SCHEMA)


def polars():
    try:
        import polars
    except ImportError:
        lacking("Polars is not installed")
    return polars


READERS = [
    read_by_pandas,
    read_by_pyarrow,
    read_by_pyarrow_dataset,
    read_by_polars,
    scan_by_polars,
    scan_by_polars_glob,
    read_by_duckdb,
]


@pytest.fixture
def half_committed(outputs, make_archive, monkeypatch):
    """A finished study, over which a changed one was killed after it had linked one new part of features."""

    def fail(*_):
        raise KeyboardInterrupt

    before = run(make_archive(FILES))
    changed = make_archive({name: 50 for name in FILES}, name="changed")
    link, linked = dataset._link, []

    def link_one(source, target):
        if target.parent == STUDY.features:
            linked.append(target)
        if len(linked) > 1:
            raise KeyboardInterrupt
        link(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(dataset, "_link", link_one)
        with pytest.raises(KeyboardInterrupt):
            run(changed)
    return before["features"], changed


@pytest.mark.parametrize("read", READERS, ids=lambda read: read.__name__)
def test_every_reader_sees_the_dataset_and_no_leftovers(outputs, make_archive, monkeypatch, read):
    before = run(make_archive(FILES))
    expected = open_dataset(STUDY.features).read()
    # A run that was killed before it committed: finished parts, and half a temporary file.
    monkeypatch.setattr(dataset, "commit", lambda results, folders: {"features": None})
    build_features(STUDY, 7, engine=Engine(workers=1), summarised=False)
    state = paths.dataset_state(STUDY.features)
    assert len(list(state.glob("finished-*"))) >= 4
    (state / "_finished-x.tmp").write_bytes(b"PAR1 half")
    assert digests() == before
    found = read(STUDY.features)
    assert found.column_names == windows.SCHEMA.names
    found = found.cast(windows.SCHEMA).sort_by([("Symbol", "ascending"), ("Date", "ascending")])
    assert found.combine_chunks().equals(expected.combine_chunks())


@pytest.mark.parametrize("read", READERS, ids=lambda read: read.__name__)
def test_no_reader_takes_half_a_commit_for_the_dataset(half_committed, read):
    before, changed = half_committed
    assert len(list(STUDY.features.glob("part-*.parquet"))) > len(open_dataset(STUDY.features).parts)
    with pytest.raises(Exception, match=r"(?i)parquet|magic") as caught:
        read(STUDY.features)
    assert not isinstance(caught.value, AssertionError)
    assert open_dataset(STUDY.features).digest == before
    assert open_dataset(STUDY.features).read().num_rows > 0
    run(changed)
    assert read(STUDY.features).num_rows == 50 * len(FILES)


def test_leftovers_are_swept_by_the_next_run(half_committed):
    _, changed = half_committed
    (paths.dataset_state(STUDY.prices) / "_x.tmp").write_bytes(b"half")
    (STUDY.prices / "somebodys").mkdir()  # a folder is none of ours
    run(changed)
    (STUDY.prices / "somebodys").rmdir()
    seen = listing()
    shutil.rmtree(STUDY.folder)
    run(changed)
    assert seen == listing()
    assert {name.split("/")[1][:5] for name in seen} == {"part-", "manif"}


def test_a_file_system_without_hard_links(outputs, make_archive, monkeypatch):
    def no_links(source, target):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    location = make_archive(FILES)
    run(location)
    linked = listing()
    shutil.rmtree(STUDY.folder)
    monkeypatch.setattr(os, "link", no_links)
    run(location)
    assert listing() == linked


# Damage.


def flip(path, chance):
    content = bytearray(path.read_bytes())
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(content)


def truncate(path, chance):
    os.truncate(path, chance.randrange(path.stat().st_size))


def empty(path, chance):
    os.truncate(path, 0)


def remove(path, chance):
    path.unlink()


def swap(path, chance):
    # Parts without a row are alike: in another's place such a one is no damage.
    others = [part for part in sorted(path.parent.iterdir()) if part.read_bytes() != path.read_bytes()]
    shutil.copy(chance.choice(others), path)


@pytest.mark.parametrize("damage", [flip, truncate, empty, remove, swap], ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("name", FOLDERS)
def test_a_damaged_part_is_never_read_as_right_and_made_again(outputs, make_archive, made, name, damage):
    location, chance = make_archive(FILES), random.Random(f"{name} {damage.__name__}")
    before = run(location)
    seen = listing()
    for _ in range(3):
        made.clear()
        damaged = chance.choice(open_dataset(folder_of(name)).paths)
        damage(damaged, chance)
        with pytest.raises(DatasetError, match=r"part-.*parquet: .*run the stage that makes it again"):
            open_dataset(folder_of(name)).read()
        assert run(location) == before
        assert [folder for folder, _ in made] == (
            ["features"] if name == "features" else ["quarantine", "files", "prices"]
        )
        assert listing() == seen
        open_dataset(folder_of(name)).read()


def test_features_keep_every_column_of_prices_as_it_was_written(outputs, make_archive):
    run(make_archive(FILES))
    source, made = open_dataset(STUDY.prices), open_dataset(STUDY.features)
    table = made.read()
    assert table.schema == windows.SCHEMA
    assert table.select(schema.PRICES.names) == source.read()
    for before, after in zip(source.paths, made.paths, strict=True):
        pages = pq.read_metadata(before).row_group(0)
        chunk = pages.column(pages.num_columns - 1)
        start, length = chunk.data_page_offset, chunk.total_compressed_size
        assert length and before.read_bytes()[start : start + length] in after.read_bytes()


def test_features_are_not_made_of_damaged_prices(outputs, make_archive):
    run(make_archive(FILES))
    flip(open_dataset(STUDY.prices).paths[1], random.Random(1))
    with pytest.raises(DatasetError, match=r"prices.*its bytes are not those that were written"):
        build_features(STUDY, 20, engine=Engine(workers=1))


@pytest.mark.parametrize("name", FOLDERS)
def test_a_damaged_manifest_is_never_read_as_right_and_made_again(outputs, make_archive, name):
    location, chance = make_archive(FILES), random.Random(name)
    before = run(location)
    seen = listing()
    manifest = paths.dataset_manifest(folder_of(name))
    content = manifest.read_bytes()
    for turn in range(60):
        damaged = bytearray(content)
        if turn % 2:
            damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        else:
            del damaged[chance.randrange(len(damaged)) if turn else 0 :]
        manifest.write_bytes(damaged)
        if damaged.strip() != content.strip():
            with pytest.raises(DatasetError, match=r"manifest.json: damaged \(.*; run the stage that makes it again"):
                open_dataset(folder_of(name))
    assert run(location) == before
    assert listing() == seen


@pytest.mark.parametrize("content", ["", "{}", "[]", "null", '{"parts": null, "sha256": ""}', '{"parts": ["a"]}'])
def test_a_manifest_that_is_something_else(tmp_path, content):
    files.write_atomically(paths.dataset_manifest(tmp_path / "prices"), content)
    with pytest.raises(DatasetError, match="damaged"):
        open_dataset(tmp_path / "prices")


def test_no_dataset(tmp_path):
    with pytest.raises(DatasetError, match=r"prices: no dataset here .*; run the stage that makes it"):
        open_dataset(tmp_path / "prices")
    with pytest.raises(DatasetError, match="no dataset here"):
        build_features(paths.StudyPaths("there-is-none"))


# A full disk.


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 8 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m,nr_inodes=1000", "tmpfs", str(disk)], capture_output=True, text=True
    )
    if mounted.returncode:
        lacking(f"a small file system cannot be mounted: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def used(disk):
    found = os.statvfs(disk)
    return (found.f_blocks - found.f_bfree) * found.f_frsize


def test_a_full_disk_is_an_error_that_says_so_and_costs_nothing(small_disk, make_archive, monkeypatch):
    monkeypatch.setenv("STUDY_OUTPUTS", str(small_disk))
    old = make_archive({name: 300 for name in FILES}, name="old")
    new = make_archive({name: 500 for name in FILES}, name="new")
    room = 8 << 20
    run(new)
    needed, reference = used(small_disk), listing()
    assert 150_000 < needed < room // 2
    filler = small_disk / "filler"
    errors = Counter()
    for share in (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99):
        shutil.rmtree(STUDY.folder)
        before = run(old)
        filler.write_bytes(bytes(room - used(small_disk) - int(share * needed)))
        try:
            run(new)
        except OSError as error:
            assert error.errno == errno.ENOSPC
            assert str(error).startswith("[Errno 28] No space left on device: '")
            errors[Path(error.filename).name.split("-")[0]] += 1
        state = [path.name for name in FOLDERS for path in paths.dataset_state(folder_of(name)).iterdir()]
        assert not any(name.endswith(".tmp") for name in state)
        after = digests()
        assert all(open_dataset(folder_of(name)).read().num_rows for name in FOLDERS if name != "quarantine")
        if share == 0.02:
            assert after == before
        filler.unlink()
        run(new)
        assert listing() == reference
    assert errors["finished"] >= 5


def test_a_disk_without_room_for_another_name(small_disk, make_archive, monkeypatch):
    """Inodes run out, and so the links of a commit fail."""
    monkeypatch.setenv("STUDY_OUTPUTS", str(small_disk))
    location = make_archive(FILES)
    before = run(location)
    reference = listing()
    filled = small_disk / "filler"
    filled.mkdir()
    seen = 0
    for spare in (0, 3, 9, 14, 16, 18, 20, 24):
        run(make_archive({name: 50 for name in FILES}, name="other"))
        other = digests()
        for number in range(os.statvfs(small_disk).f_ffree - spare):
            (filled / str(number)).touch()
        try:
            run(location)
        except OSError as error:
            assert error.errno == errno.ENOSPC
            seen += 1
        now = digests()
        assert all(now[name] in (before[name], other[name]) for name in FOLDERS)
        shutil.rmtree(filled)
        filled.mkdir()
        run(location)
        assert listing() == reference
    assert seen >= 5
