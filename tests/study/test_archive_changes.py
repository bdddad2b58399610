"""What --explain says of a raw archive that has changed."""

from __future__ import annotations

import gzip
import shutil
import zipfile

import pytest
from layout_files import WRITERS, truth

from lib import files, paths
from lib.data.archive import list_archive
from lib.data.ingest import ingest
from lib.study.archive_changes import summary

FILES = {f"stocks/{symbol}.csv": 40 for symbol in ("AA", "BB", "CC", "DD", "EE")}
ROW = "2030-01-02,1.0,2.0,0.5,1.5,1.5,100\n"


@pytest.fixture
def study(outputs):
    return paths.StudyPaths("s")


@pytest.fixture
def raw(make_archive, study):
    """A folder that has been read."""
    folder = make_archive(FILES)
    ingest(list_archive(folder), study)
    return folder


def append(path, text=ROW):
    with path.open("a", encoding="utf-8") as file:
        file.write(text)


def test_a_row_more_in_one_file(raw, study):
    append(raw / "stocks/BB.csv")
    assert summary(list_archive(raw), study) == "1 of 5 raw files changed: stocks/BB.csv, 1 row more"


def test_a_row_more_in_every_file(raw, study):
    for path in raw.glob("stocks/*.csv"):
        append(path, 2 * ROW)
    assert summary(list_archive(raw), study) == (
        "5 of 5 raw files changed: stocks/AA.csv, 2 rows more; stocks/BB.csv, 2 rows more; stocks/CC.csv, 2 rows more; and 2 more"
    )


def test_another_price_in_a_file_of_the_same_size(raw, study):
    path = raw / "stocks/CC.csv"
    content = bytearray(path.read_bytes())
    position = content.rindex(b".") + 1
    content[position] = ord("1") if content[position] != ord("1") else ord("2")
    path.write_bytes(content)
    assert summary(list_archive(raw), study) == "1 of 5 raw files changed: stocks/CC.csv, as many rows"


def test_files_that_come_and_go(raw, study):
    (raw / "stocks/AA.csv").rename(raw / "stocks/ZZ.csv")
    assert summary(list_archive(raw), study) == "1 raw file new: stocks/ZZ.csv. 1 raw file gone: stocks/AA.csv"


def test_other_names_of_symbols_are_no_price_file(raw, study):
    append(raw / "symbols_valid_meta.csv", "\n")
    assert "but no price file" in summary(list_archive(raw), study)


def test_in_a_zip_by_size(tmp_path, raw, study):
    append(raw / "stocks/EE.csv")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        for path in raw.rglob("*.csv"):
            packed.write(path, path.relative_to(raw))
    assert summary(list_archive(tmp_path / "a.zip"), study) == "1 of 5 raw files changed: stocks/EE.csv, 1 row more"


def test_another_layout_s_rows_are_counted_too(tmp_path, study):
    folder = tmp_path / "own"
    folder.mkdir()
    for symbol in ("AA", "BB"):
        days = "".join(f"2020-01-{day:02};1;2;0.5;1.5;100\n" for day in range(1, 29))
        (folder / f"{symbol}.csv").write_text(f"Date;Open;High;Low;Close;Volume\n{days}", encoding="utf-8")
    ingest(list_archive(folder), study)
    append(folder / "BB.csv", "2020-02-03;1;2;0.5;1.5;100\n")
    assert summary(list_archive(folder), study) == "1 of 2 raw files changed: BB.csv, 1 row more"


def test_without_an_account_of_files_only_that_it_changed(raw, study):
    shutil.rmtree(paths.dataset_state(study.files))
    assert summary(list_archive(raw), study) == "raw archive changed"


def test_a_packed_file_that_has_not_changed_is_not_named(study, tmp_path):
    for path, content in WRITERS["yahoo"](truth()).contents.items():
        files.write_atomically(tmp_path / "raw" / f"{path}.gz", gzip.compress(content))
    ingest(list_archive(tmp_path / "raw"), study)
    packed = tmp_path / "raw/stocks/AAPL.csv.gz"
    packed.write_bytes(gzip.compress(gzip.decompress(packed.read_bytes()) + ROW.encode()))
    assert summary(list_archive(tmp_path / "raw"), study) == "1 of 3 raw files changed: stocks/AAPL.csv.gz, 1 row more"


def test_files_of_one_symbol_by_year_are_compared_together(make_archive, study):
    folder = make_archive({"AA_2020.csv": 40, "AA_2021.csv": 40, "BB.csv": 40})
    lines = (folder / "AA_2021.csv").read_text().splitlines(keepends=True)
    later = [
        lines[0],
        *(f"2031-{number // 28 + 1:02}-{number % 28 + 1:02}{line[10:]}" for number, line in enumerate(lines[1:])),
    ]
    (folder / "AA_2021.csv").write_text("".join(later))
    ingest(list_archive(folder), study)
    assert "no price file" in summary(list_archive(folder), study)
    append(folder / "AA_2021.csv", ROW.replace("2030-01-02", "2031-12-30"))
    assert summary(list_archive(folder), study) == "raw files changed: AA_2020.csv ... AA_2021.csv (2 files)"
    (folder / "AA_2022.csv").write_text(lines[0] + ROW.replace("2030", "2032"))
    assert summary(list_archive(folder), study).endswith(". 1 raw file new: AA_2022.csv")
