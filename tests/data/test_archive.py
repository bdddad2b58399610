"""An archive is found and listed, or the error says what is missing and where to get it."""

from __future__ import annotations

import os
import random
import zipfile
from contextlib import contextmanager

import kagglehub
import pytest
from raw_archives import HEADER, metadata_csv, price_csv

from lib import paths
from lib.data import archive, members, sources
from lib.data.members import ArchiveError, Member

STUDY = paths.StudyPaths("s")
ROWS = 3


@contextmanager
def read_price_files(found: archive.Archive):
    """Give a function from a price file to its bytes, as a part's reader has it."""
    with members.open_members(found.location) as read:
        yield lambda file: read(Member(found.base + file.name, file.size, file.packed))


def names(found: archive.Archive) -> dict[str, str | None]:
    return {file.name: file.security_name for file in found.files}


@pytest.fixture(params=["archive", "archive.zip"], ids=["folder", "zip"])
def location(request):
    """The name of an archive, as a folder and as a zip."""
    return request.param


def test_an_archive_lists_its_files_by_symbol(make_archive, location):
    path = make_archive({"stocks/B.csv": ROWS, "etfs/C.csv": ROWS, "stocks/A.csv": ROWS}, name=location)
    found = sources.open_archive(str(path), STUDY)
    assert names(found) == {"stocks/A.csv": "A Inc.", "stocks/B.csv": "B Inc.", "etfs/C.csv": "C Inc."}
    assert [file.symbol for file in found.files] == ["A", "B", "C"]
    assert [file.size for file in found.files] == [len(price_csv(symbol, ROWS)) for symbol in "ABC"]
    assert (found.base, found.ignored, found.metadata_symbols, found.metadata_without_file) == ("", (), 3, ())
    with read_price_files(found) as read:
        assert read(found.files[0]) == price_csv("A", ROWS).encode()


def test_a_relative_path_starts_at_the_repository(make_archive):
    path = make_archive({"stocks/A.csv": ROWS})
    relative = os.path.relpath(path, paths.ROOT)
    assert names(sources.open_archive(relative, STUDY)) == {"stocks/A.csv": "A Inc."}


def test_the_pipeline_says_where_a_bare_name_is(make_archive, monkeypatch):
    monkeypatch.setenv("STUDY_ARCHIVE", str(make_archive({"stocks/A.csv": ROWS})))
    assert names(sources.open_archive("my-archive", STUDY)) == {"stocks/A.csv": "A Inc."}


def test_no_archive_folder(tmp_path):
    with pytest.raises(
        ArchiveError, match=r"nowhere: no such folder or file; archive.source is sample, kaggle, yahoo, or"
    ):
        sources.open_archive(str(tmp_path / "nowhere"), STUDY)


def test_an_empty_folder(tmp_path):
    with pytest.raises(
        ArchiveError, match=r"no price files found; expected files of daily prices.*found no other files either"
    ):
        sources.open_archive(str(tmp_path), STUDY)


def test_an_empty_zip(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w"):
        pass
    with pytest.raises(ArchiveError, match="no price files found"):
        sources.open_archive(str(tmp_path / "a.zip"), STUDY)


def test_without_metadata_no_row_has_a_name_and_that_is_said(make_archive, location):
    path = make_archive({"stocks/A.csv": ROWS}, name=location)
    if path.is_dir():
        (path / "symbols_valid_meta.csv").unlink()
    else:
        with zipfile.ZipFile(path, "w") as again:
            again.writestr("stocks/A.csv", price_csv("A", ROWS))
    found = sources.open_archive(str(path), STUDY)
    assert names(found) == {"stocks/A.csv": None}
    assert (found.metadata, found.metadata_symbols) == ((), 0)
    assert found.remarks() == [archive.NO_METADATA]
    assert len(archive.fingerprint(found)) == 64


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ("Symbol,Called\nA,A Inc.\n", "line 1: column Security Name missing; found: Symbol, Called"),
        ("", "line 1: column Security Name and Symbol missing; found: nothing"),
        ('Symbol,Security Name\nA,"' + "x" * 200_000, "not CSV .*; is a quote never closed"),
    ],
    ids=["column", "empty", "quote"],
)
def test_metadata_that_cannot_be_read(make_archive, location, metadata, message):
    path = make_archive({"stocks/A.csv": ROWS}, metadata, name=location)
    with pytest.raises(ArchiveError, match=f"symbols_valid_meta.csv, {message}" if "line" in message else message):
        sources.open_archive(str(path), STUDY)


@pytest.mark.parametrize(
    "metadata",
    [
        "Symbol|Security Name|Test Issue\nA|Café|N\nFile Creation Time: 1126202621:33||\n".encode(),
        "ticker,name\nA,Café\n".encode("cp1252"),
        "Ticker symbol;Security\nA;Café\n".encode("utf-16"),
        "ACT Symbol\tSecurity Name\nA\tCafé\n".encode(),
    ],
    ids=["nasdaqlisted", "short", "semicolons", "otherlisted"],
)
@pytest.mark.parametrize("file", ["symbols_valid_meta.csv", "listed.txt"])
def test_names_come_from_any_list_of_symbols(make_archive, metadata, file):
    path = make_archive({"A.csv": price_csv("A", ROWS)})
    (path / "symbols_valid_meta.csv").unlink()
    (path / file).write_bytes(metadata)
    found = sources.open_archive(str(path), STUDY)
    assert names(found) == {"A.csv": "Café"}
    assert found.metadata_symbols == 1


def test_a_symbol_finds_its_name_by_its_nasdaq_symbol_then_by_its_symbol(make_archive):
    metadata = metadata_csv(
        [
            ("AGM$A", "Preferred Stock", "AGM-A"),
            ("LGF.B", "Lions Gate", "LGF.B"),
            ("PRN", "Invesco", "PRN"),
            ("X", "Of another X", "Y"),
            ("Z", "Of X", "X"),
            ("W", "Only in Symbol", ""),
            ("V", "", "V"),
        ]
    )
    files = ["AGM-A", "LGF.B", "_PRN", "X", "W", "V"]
    found = sources.open_archive(str(make_archive({f"stocks/{file}.csv": ROWS for file in files}, metadata)), STUDY)
    assert {file.symbol: file.security_name for file in found.files} == {
        "AGM-A": "Preferred Stock",
        "LGF.B": "Lions Gate",
        "PRN": "Invesco",  # the "_" only guards a name that Windows reserves
        "X": "Of X",
        "W": "Only in Symbol",
        "V": None,
    }
    assert found.symbols_without_metadata == ["V"]
    assert found.metadata_without_file == ()


def test_metadata_without_nasdaq_symbols(make_archive):
    path = make_archive({"stocks/A.csv": ROWS}, "\ufeffSecurity Name,Symbol\nA Inc.,A\n\nB Inc.,B\n,\n")
    found = sources.open_archive(str(path), STUDY)
    assert names(found) == {"stocks/A.csv": "A Inc."}
    assert (found.metadata_symbols, found.metadata_without_file) == (2, ("B",))


@pytest.mark.parametrize("symbol", ["NAN", "TRUE", "ON", "NULL", "NA", "1E5", "INF", "007"])
def test_a_symbol_is_text_whatever_it_looks_like(make_archive, symbol):
    metadata = metadata_csv([(symbol, "Some name", symbol), ("NONE", "Other", "NONE")])
    found = sources.open_archive(str(make_archive({f"stocks/{symbol}.csv": ROWS}, metadata)), STUDY)
    assert [(file.symbol, file.security_name) for file in found.files] == [(symbol, "Some name")]
    assert found.metadata_without_file == ("NONE",)


def test_symbols_without_metadata_and_metadata_without_file(make_archive):
    path = make_archive(
        {"stocks/A.csv": ROWS, "etfs/B.csv": ROWS}, metadata_csv([("A", "A", "A"), ("C$D", "C", "C-D")])
    )
    found = sources.open_archive(str(path), STUDY)
    assert found.symbols_without_metadata == ["B"]
    assert found.metadata_without_file == ("C$D",)


def test_a_zip_with_a_folder_around_it_and_what_a_mac_adds(make_archive):
    files = {
        "stocks/A.csv": ROWS,
        "etfs/B.CSV": ROWS,
        "stocks/._A.csv": b"\x00",
        "stocks/notes.txt": "hello",
    }
    path = make_archive(files, name="a.zip", base="stock-market-dataset/")
    with zipfile.ZipFile(path, "a") as more:
        more.writestr("__MACOSX/stock-market-dataset/stocks/._A.csv", b"\x00")
        more.writestr("__MACOSX/stocks/A.csv", b"\x00")
        more.mkdir("stock-market-dataset/empty")
    found = sources.open_archive(str(path), STUDY)
    assert found.base == "stock-market-dataset/"
    assert list(names(found)) == ["stocks/A.csv", "etfs/B.CSV"]
    assert {file.name for file in found.ignored} == {
        "__MACOSX/stock-market-dataset/stocks/._A.csv",
        "__MACOSX/stocks/A.csv",
        *(f"stock-market-dataset/{name}" for name in list(files)[2:]),
    }
    with read_price_files(found) as read:
        assert read(found.files[1]) == price_csv("B", ROWS).encode()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("etfs/A.csv", "stocks/A.csv"),
        ("stocks/A.CSV", "stocks/A.csv"),
        ("stocks/PRN.csv", "stocks/_PRN.csv"),
        ("Stocks/A.csv", "stocks/A.csv"),
    ],
)
def test_two_files_of_one_symbol_are_refused(make_archive, location, one, other):
    path = make_archive({one: ROWS, other: ROWS, "stocks/B.csv": ROWS}, name=location)
    with pytest.raises(ArchiveError, match="two price files claim the same symbol; rename or remove one") as caught:
        sources.open_archive(str(path), STUDY)
    assert f"  {one} and {other}" in str(caught.value).splitlines()


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_file_that_is_twice_in_a_zip_is_refused(make_archive):
    path = make_archive({"stocks/A.csv": ROWS}, name="a.zip")
    with zipfile.ZipFile(path, "a") as more:
        more.writestr("stocks/A.csv", price_csv("A", ROWS + 1))
    with pytest.raises(ArchiveError, match=r"  stocks/A\.csv and stocks/A\.csv"):
        sources.open_archive(str(path), STUDY)


def test_many_symbols_with_two_files_are_not_all_named(make_archive):
    path = make_archive({f"{folder}/S{n:02}.csv": 1 for n in range(30) for folder in ("etfs", "stocks")})
    with pytest.raises(ArchiveError) as caught:
        sources.open_archive(str(path), STUDY)
    assert str(caught.value).splitlines()[-1] == "  and 10 more symbols"


def test_what_is_found_instead_of_price_files_is_said(tmp_path):
    for name in ("C.json", "notes", "symbols_valid_meta.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    with pytest.raises(ArchiveError) as caught:
        sources.open_archive(str(tmp_path), STUDY)
    assert "found 1 .json (C.json), 1 without an ending (notes); 2 were skipped, such as C.json: not one of" in str(
        caught.value
    )


def test_files_that_are_not_read_are_named(make_archive):
    path = make_archive({"stocks/A.csv": ROWS, "stocks/B.json": "{}", "notes.txt": "hello", ".DS_Store": ""})
    (path / "README").write_text("")
    (remark,) = archive.list_archive(path).remarks()
    assert remark.splitlines() == [
        "4 files were skipped:",
        "  .DS_Store: hidden, or one of macOS's own",
        "  README: not one of .csv, .txt, .tsv, .parquet, packed or not, or .xlsx",
        "  notes.txt: no columns of dates and prices, separated by a comma, semicolon, tab or |: it begins 'hello'",
        "  stocks/B.json: not one of .csv, .txt, .tsv, .parquet, packed or not, or .xlsx",
    ]
    for number in range(30):
        (path / f"stocks/{number:02}.md").write_text("")
    (remark,) = archive.list_archive(path).remarks()
    assert remark.splitlines()[-1].startswith(
        "  and 14 more, listed in the report of 01_ingest: 13 .md (stocks/17.md), 1 "
    )


def test_a_file_name_that_is_not_utf8_becomes_a_symbol_with_an_escape(make_archive):
    path = make_archive({"stocks/A.csv": ROWS})
    try:
        (path / os.fsdecode(b"stocks/caf\xe9.csv")).write_text(price_csv("x", ROWS))
    except OSError:
        pytest.skip("this file system has no such names")
    found = archive.list_archive(path)
    assert [file.symbol for file in found.files] == ["A", "caf\\xe9"]
    with read_price_files(found) as read:
        assert read(found.files[1]) == price_csv("x", ROWS).encode()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.zip", b"Date,Open", "a.zip: not a readable .zip .*; download it again, or name a folder"),
        ("a", b"PK\x03\x04" + bytes(99), "a: not a readable .zip .*; download it again, or name a folder"),
        (
            "a.tar.gz",
            b"\x1f\x8b\x08" + bytes(99),
            r"a.tar.gz: cannot be unpacked \(.*; download it again, or name a folder",
        ),
        (
            "a.csv",
            b"Date,Open",
            "no price files found; .*a.csv: no columns of dates and prices, separated by a comma, semicolon, tab or |: it begins 'Date,Open'",
        ),
        ("a.ods", b"PK" + bytes(99), "a.ods: a workbook of a spreadsheet program: save it as .xlsx or CSV"),
        ("a", b"", "neither a folder nor a .zip, but another file. A single file of prices is called .csv"),
    ],
)
def test_a_file_that_is_no_zip(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ArchiveError, match=message) as caught:
        sources.open_archive(str(tmp_path / name), STUDY)
    assert ("download it again" in str(caught.value)) == ("download it again" in message)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
def test_a_damaged_zip_is_an_error_or_costs_a_member(tmp_path, method):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", method) as whole:
        whole.writestr("symbols_valid_meta.csv", metadata_csv([("A", "Ä", "A")]))
        for symbol in "ABé":
            whole.writestr(f"stocks/{symbol}.csv", price_csv(symbol, 10))
    content, chance, seen = path.read_bytes(), random.Random(1), set()
    for turn in range(500):
        damaged = bytearray(content)
        # Most of what can break is in the directory, at the end.
        at = chance.randrange(len(damaged)) if turn % 2 else len(damaged) - chance.randrange(1, 350)
        if turn % 5 == 0:
            del damaged[at:]
        else:
            damaged[at] ^= 1 << chance.randrange(8)
        path.write_bytes(damaged)
        try:
            found = archive.list_archive(path)
        except ArchiveError as error:
            assert "a.zip" in str(error)
            seen.add("no archive")
            continue
        with read_price_files(found) as read:
            for file in found.files:
                try:
                    assert read(file).decode().startswith(HEADER) or method == zipfile.ZIP_STORED
                    seen.add("good member")
                except OSError as error:
                    assert "zip member cannot be read" in str(error)
                    seen.add("bad member")
    assert seen == {"no archive", "good member", "bad member"}


def test_the_sample_is_laid_out_as_kaggle_has_it(outputs):
    found = sources.open_archive("sample", STUDY)
    assert [file.symbol for file in found.files] == ["AAPL", "FB", "GOOG", "IBM", "MSFT"]
    assert found.symbols_without_metadata == []
    assert (STUDY.archive / "etfs").is_dir()
    path = STUDY.archive / "stocks" / "FB.csv"
    content = path.read_bytes()
    assert content.decode().startswith(HEADER + "\n2012-05-18,42.05,")
    # A second run repairs what was changed, and touches nothing else.
    path.write_bytes(content[:100])
    other = (STUDY.archive / "stocks" / "IBM.csv").stat().st_mtime_ns
    sources.open_archive("sample", STUDY)
    assert path.read_bytes() == content
    assert (STUDY.archive / "stocks" / "IBM.csv").stat().st_mtime_ns == other


def test_kaggles_archive_is_downloaded(make_archive, monkeypatch, tmp_path):
    monkeypatch.setattr(paths, "DATA", tmp_path / "data")
    path = make_archive({"stocks/A.csv": ROWS})
    monkeypatch.setattr(kagglehub, "dataset_download", lambda name: str(path) if "stock-market" in name else None)
    assert names(sources.open_archive("kaggle", STUDY)) == {"stocks/A.csv": "A Inc."}


def test_what_was_downloaded_once_needs_no_network(make_archive, monkeypatch, tmp_path):
    monkeypatch.setattr(paths, "DATA", tmp_path / "data")
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(kagglehub, "dataset_download", lambda name: pytest.fail("it was downloaded"))
    kept = "cache/datasets/jacksoncrow/stock-market-dataset"
    for version in (2, 10, 11):
        make_archive({f"stocks/V{version}.csv": ROWS}, name=f"{kept}/versions/{version}")
    for version in (2, 10):  # the download of 11 was broken off
        (tmp_path / kept / f"{version}.complete").touch()
    assert names(sources.open_archive("kaggle", STUDY)) == {"stocks/V10.csv": "V10 Inc."}


def test_a_folder_may_be_called_as_a_source_is(make_archive, monkeypatch):
    path = make_archive({"stocks/A.csv": ROWS}, name="kaggle")
    monkeypatch.setenv("STUDY_ARCHIVE", str(path))  # as the pipeline does; the notebook gets the name
    assert sources.open_archive("kaggle", STUDY).location == path


def test_a_zip_made_by_windows_is_read(tmp_path):
    path = tmp_path / "archive.zip"
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("stocks\\A.csv", price_csv("A", ROWS))
        made.writestr("./etfs/B.csv", price_csv("B", ROWS))
        made.writestr("symbols_valid_meta.csv", metadata_csv([("A", "A Inc.", "A")]))
    found = sources.open_archive(str(path), STUDY)
    assert names(found) == {"stocks/A.csv": "A Inc.", "etfs/B.csv": None}
    with read_price_files(found) as read:
        assert [read(file) for file in found.files] == [price_csv(symbol, ROWS).encode() for symbol in "AB"]


def test_a_folder_that_cannot_be_read_is_not_left_out(make_archive, monkeypatch):
    path = make_archive({"stocks/A.csv": ROWS, "etfs/B.csv": ROWS})
    scan = os.scandir

    def refusing(folder):
        if str(folder).rstrip("/").endswith("stocks"):
            raise PermissionError(13, "Permission denied", str(folder))
        return scan(folder)

    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.raises(ArchiveError, match=r"stocks: the folder cannot be read \(Permission denied\)"):
        sources.open_archive(str(path), STUDY)


def test_a_failed_download_says_how_to_do_it_by_hand(monkeypatch, tmp_path):
    def fail(name):
        raise ConnectionError("no route to host")

    monkeypatch.setattr(paths, "DATA", tmp_path / "data")
    monkeypatch.setattr(kagglehub, "dataset_download", fail)
    with pytest.raises(ArchiveError) as caught:
        sources.open_archive("kaggle", STUDY)
    for part in (
        "cannot be downloaded (ConnectionError: no route to host)",
        "open kaggle.com/datasets/jacksoncrow/stock-market-dataset, press Download",
        "put the zip at data/stock-market-dataset.zip",
    ):
        assert part in str(caught.value)


def test_an_archive_downloaded_by_hand_is_used(make_archive, monkeypatch, tmp_path):
    monkeypatch.setattr(paths, "DATA", tmp_path)
    monkeypatch.setattr(kagglehub, "dataset_download", lambda name: pytest.fail("it was downloaded"))
    make_archive({"stocks/A.csv": ROWS}, name="stock-market-dataset.zip")
    assert names(sources.open_archive("kaggle", STUDY)) == {"stocks/A.csv": "A Inc."}


def test_the_fingerprint_changes_with_any_byte(make_archive, location):
    files = {"stocks/A.csv": ROWS, "etfs/B.csv": ROWS}
    first = archive.fingerprint(archive.list_archive(make_archive(files, name=f"1-{location}")))
    seen = {first}
    for number, (changed, metadata) in enumerate(
        [
            ({"stocks/A.csv": price_csv("A", ROWS).replace("2000", "2001", 1)}, None),
            ({"stocks/A.csv": ROWS + 1}, None),
            ({"stocks/C.csv": ROWS}, None),
            ({}, "Symbol,Security Name\n"),
        ]
    ):
        path = make_archive({**files, **changed}, metadata, name=f"{number + 2}-{location}")
        seen.add(archive.fingerprint(archive.list_archive(path)))
    assert len(seen) == 5


def test_the_fingerprint_of_a_folder_does_not_depend_on_where_it_is(make_archive):
    locations = [make_archive({"stocks/A.csv": ROWS, "etfs/B.csv": ROWS}, name=name) for name in ("one", "two")]
    one, two = (archive.fingerprint(archive.list_archive(path)) for path in locations)
    assert one == two
    (locations[0] / "stocks" / "README.txt").write_text("counted in the report, and not read")
    assert archive.fingerprint(archive.list_archive(locations[0])) != two
