"""A look at an archive before a run, and the params file that it writes."""

from __future__ import annotations

import gzip
import os
from datetime import date, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from layout_files import WRITERS, truth

from lib import __main__ as command_line
from lib import params, paths
from lib.data import archive, look, sources
from lib.data.ingest import ingest
from lib.data.quarantine import QuarantineError


def write(files, folder):
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def lines_that_begin(found, beginning):
    return [line for line in found.lines if line.startswith(beginning)]


@pytest.mark.parametrize("name", ["nasdaq", "yfinance wide", "Parquet in hive folders", "polygon", "stooq bulk"])
def test_a_look_says_what_a_run_would_keep(name, tmp_path):
    files = WRITERS[name](truth())
    found = look.look(write(files.contents, tmp_path / "archive"))
    assert f"{len(files.rows):,} kept" in lines_that_begin(found, "dates: 2021-01-04 to 2021-02-26")[0]
    assert lines_that_begin(found, "symbols: 3 (AAPL, BRK.B, TRUE)")
    assert not lines_that_begin(found, "based on a sample") and not lines_that_begin(found, "would be set aside")


def test_what_would_be_set_aside_and_what_is_not_read_is_said_with_reasons(tmp_path):
    files = dict(WRITERS["yahoo"](truth()).contents)
    files["stocks/AAPL.csv"] += b"2021-03-01,1,2,x,1,1,5\n"
    files["notes.md"] = files["fundamentals.csv"] = b"a,b\n1,2\n"
    files["stocks/BAD.csv"] = b"Date,Open\n"
    found = look.look(write(files, tmp_path / "archive"))
    assert (
        "  unparsable value (1): stocks/AAPL.csv, line 42: unparsable value: Low is 'x'; '2021-03-01,1,2,x,1,1,5'"
        in found.lines
    )
    assert lines_that_begin(found, "skipped: 2 other files") and lines_that_begin(found, "cannot be read: 1 price file")
    assert lines_that_begin(found, "  fundamentals.csv: no columns of dates and prices")


def test_prices_too_short_for_a_study_are_said_to_be(tmp_path):
    files = WRITERS["yahoo"](truth()).contents
    short = {name: b"\n".join(content.split(b"\n")[:18]) + b"\n" for name, content in files.items()}
    found = look.look(write(short, tmp_path / "short"))
    assert "no symbol has more than 17 rows" in lines_that_begin(found, "too short: ")[0]
    assert not lines_that_begin(look.look(write(files, tmp_path / "whole")), "too short: ")


def test_files_of_one_symbol_are_said_to_be_joined(tmp_path):
    head, *rows = WRITERS["yahoo"](truth()).contents["stocks/AAPL.csv"].splitlines(keepends=True)
    halves = {"AAPL_2021.csv": head + b"".join(rows[:20]), "AAPL_2022.csv": head + b"".join(rows[20:])}
    found = look.look(write(halves, tmp_path / "archive"))
    assert lines_that_begin(found, "joined: ") == [
        "joined: the files of 1 symbol, such as AAPL_2021.csv, AAPL_2022.csv"
    ]
    assert not lines_that_begin(look.look(write(WRITERS["yahoo"](truth()).contents, tmp_path / "whole")), "joined: ")


def test_a_workbook_is_counted_by_the_ending_of_its_name_alone(tmp_path):
    files = WRITERS["workbook"](truth()).contents
    found = look.look(write({"BRK.B.xlsx": next(iter(files.values()))}, tmp_path / "archive"))
    assert found.lines[0].startswith("1 price file (1 .xlsx), ")


def test_a_sample_is_said_to_be_one(tmp_path, monkeypatch):
    monkeypatch.setattr(look, "_MOST", 1000)
    found = look.look(write(WRITERS["yahoo"](truth()).contents, tmp_path / "archive"))
    assert lines_that_begin(found, "based on a sample: the beginning of 3 of 3 files")
    assert "about 1" in lines_that_begin(found, "dates: ")[0]  # hundred and twenty rows


def test_the_beginning_of_a_parquet_file_is_said_to_be_a_sample(tmp_path):
    days = [date(2000, 1, 3) + timedelta(day) for day in range(6000)]
    prices = {name: [1.0] * 6000 for name in ("Open", "High", "Low", "Close", "Volume")}
    pq.write_table(pa.table({"Date": days, **prices}), tmp_path / "A.parquet")
    found = look.look(tmp_path)
    assert lines_that_begin(found, "based on a sample: the beginning of 1 of 1 files, 5,000 rows")
    assert lines_that_begin(found, "dates: ")[0].endswith("about 6,000 rows in all")


@pytest.mark.parametrize("name", ["investing", "cryptodatadownload"])
def test_the_params_file_it_writes_is_read_as_it_is(name, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(paths, "PARAMS", tmp_path / "params")
    (tmp_path / "params").mkdir()
    location = write(WRITERS[name](truth()).contents, tmp_path / "archive")
    assert command_line.main(["run", "--look", str(location), "--as", "mine"]) == 0
    section = params.load(tmp_path / "params" / "mine.yaml").archive
    assert section.source == str(location)
    assert section.volume == ("rounded" if name == "cryptodatadownload" else "whole")
    assert "run it: bash run_all.sh mine" in capsys.readouterr().out
    assert command_line.main(["run", "--look", str(location), "--as", "mine"]) == 2
    assert "already exists" in capsys.readouterr().err


def test_whatever_the_look_is_told_is_in_the_params_file(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(paths, "PARAMS", tmp_path / "params")
    (tmp_path / "params").mkdir()
    location = write(WRITERS["yahoo"](truth()).contents, tmp_path / "archive")
    told = ["-p", "forecast.calendar", "XETR", "-p", "features.window", "20", "-p", "archive.decimal", "point"]
    assert command_line.main(["run", "--look", str(location), "--as", "mine", *told]) == 0
    written = params.load(tmp_path / "params" / "mine.yaml")
    assert (written.forecast.calendar, written.features.window, written.archive.decimal) == ("XETR", 20, "point")
    capsys.readouterr()
    assert command_line.main(["run", "--look", str(location), "--as", "mine"]) == 2
    output, error = capsys.readouterr()
    assert output == "" and "already exists; choose a name other than mine" in error


@pytest.mark.parametrize(
    ("row", "key", "values"),
    [
        ("01/02/2021,1,1,1,1,5", "dates", ("day_first", "month_first")),
        ('2021-02-01,"1,234","1,234","1,234","1,234",5', "decimal", ("comma", "point")),
    ],
)
def test_what_can_be_read_in_two_ways_is_left_for_the_user_to_choose(row, key, values, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(paths, "PARAMS", tmp_path / "params")
    (tmp_path / "params").mkdir()
    text = f"Date,Open,High,Low,Close,Volume\n{row}\n".encode()
    location = write({"A.csv": text}, tmp_path / "archive")
    assert command_line.main(["run", "--look", str(location)]) == 2
    assert capsys.readouterr().err.startswith("error: ")
    assert command_line.main(["run", "--look", str(location), "--as", "mine"]) == 0
    assert f"choose archive.{key} in it, and then run it" in capsys.readouterr().out
    written = tmp_path / "params" / "mine.yaml"
    assert getattr(params.load(written).archive, key) is None  # nothing is guessed
    for value in values:
        chosen = written.read_text().replace(f"  # {key}: {value}", f"  {key}: {value}")
        written.with_name("chosen.yaml").write_text(chosen)
        section = params.load(written.with_name("chosen.yaml")).archive
        assert getattr(section, key) == value
        options = sources.reading_options(section.layout, section.columns, section.dates, section.decimal)
        assert look.look(location, options).readable


def test_a_look_that_finds_no_file_it_can_read_begins_with_the_fault(tmp_path, capsys):
    location = write({"A.csv": b""}, tmp_path / "archive")
    assert command_line.main(["run", "--look", str(location)]) == 2
    first, *rest = capsys.readouterr().err.splitlines()
    assert first == f"error: {location}: no price file here can be read"
    assert any("A.csv: empty file" in line for line in rest)


def test_a_params_file_whose_run_would_stop_is_not_said_to_run(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(paths, "PARAMS", tmp_path / "params")
    (tmp_path / "params").mkdir()
    files = dict(WRITERS["yahoo"](truth()).contents)
    files["stocks/AAPL.csv"] += b"2021-03-01,1,2,x,1,1,5\n" * 10
    location = write(files, tmp_path / "archive")
    assert command_line.main(["run", "--look", str(location), "--as", "mine"]) == 0
    output = capsys.readouterr().out
    assert (
        "a run would stop: 10 of 130 raw rows would be quarantined" in output
        and "a run would stop because of the problems above" in output
        and "run it: " not in output
    )


def test_what_a_look_is_told_stands_in_the_params_file_it_writes(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(paths, "PARAMS", tmp_path / "params")
    (tmp_path / "params").mkdir()
    header = "session,open,high,low,settle: last,1\n"
    rows = "".join(f"01/{day:02}/2021,10,11,9,10,1000.5\n" for day in range(1, 9))
    location = write({"in/A.csv": (header + rows).encode(), "out/A.csv": b"Date,Close\n"}, tmp_path / "archive")
    settings = {
        "columns.Date": "session",
        "columns.Close": "settle: last",
        "columns.Volume": "6",
        "dates": "month_first",
    }
    settings |= {"only_files": "in/*", "volume": "rounded"}
    words = [word for key, value in settings.items() for word in ("-p", f"archive.{key}", value)]
    assert command_line.main(["run", "--look", str(location), "--as", "mine", *words]) == 0
    assert "8 kept" in capsys.readouterr().out
    section = params.load(tmp_path / "params" / "mine.yaml").archive
    assert section.columns == {"Date": "session", "Close": "settle: last", "Volume": "6"}
    assert (section.dates, section.only_files, section.volume) == ("month_first", "in/*", "rounded")
    again = look.look(
        location, sources.reading_options("", section.columns, section.dates), only_files=section.only_files
    )
    assert again.readable


@pytest.mark.parametrize(
    ("key", "value"), [("dates", "month_first"), ("volume", "rounded"), ("volume_unit", 0.5), ("follow_links", True)]
)
def test_one_key_that_a_look_is_told_can_be_read_again(key, value, tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "PARAMS", tmp_path / "params")
    (tmp_path / "params").mkdir()
    text = b"Date,Open,High,Low,Close,Volume\n01/02/2021,1,1,1,1,5\n13/02/2021,1,1,1,1,5\n"
    if key == "dates":
        text = text.replace(b"13/02", b"03/02")
    location = write({"A.csv": text}, tmp_path / "archive")
    written = str(value).lower()
    assert command_line.main(["run", "--look", str(location), "--as", "mine", "-p", f"archive.{key}", written]) == 0
    assert getattr(params.load(tmp_path / "params" / "mine.yaml").archive, key) == value


ODD = [
    "\x85",
    "\x7f",
    "\x9b",
    "\ufffe",
    "\ufeff",
    "\u2028",
    "\xa0",
    "\t",
    "\x1b",
    '"\\',
    "ü",
    "日",
    "\U0001f600",
    "\U000e0001",
]


@pytest.mark.parametrize("odd", ODD)
def test_a_name_of_any_characters_is_read_again_as_it_is(odd, tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "PARAMS", tmp_path / "params")
    (tmp_path / "params").mkdir()
    rows = "".join(f"2021-01-{day:02},10,11,9,10,5\n" for day in range(4, 9))
    location = write({f"x{odd}.csv": f"Date,Open,High,Low,last{odd}x,Volume\n{rows}".encode()}, tmp_path / f"a{odd}b")
    settings = {"only_files": f"x{odd}*", "columns.Close": f"last{odd}x"}
    words = [word for key, value in settings.items() for word in ("-p", f"archive.{key}", value)]
    assert command_line.main(["run", "--look", str(location), "--as", "mine", *words]) == 0
    section = params.load(tmp_path / "params" / "mine.yaml").archive
    assert (section.source, section.only_files) == (str(location), settings["only_files"])
    assert section.columns == {"Close": settings["columns.Close"]}


def test_a_byte_that_is_not_utf_8_in_a_path_is_looked_at_and_refused_in_a_params_file(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(paths, "PARAMS", tmp_path / "params")
    (tmp_path / "params").mkdir()
    rows = "".join(f"2021-01-{day:02},10,11,9,10,5\n" for day in range(4, 9))
    location = write(
        {"A.csv": f"Date,Open,High,Low,Close,Volume\n{rows}".encode()}, tmp_path / os.fsdecode(b"K\xfcrse")
    )
    assert command_line.main(["run", "--look", str(location)]) == 0
    assert command_line.main(["run", "--look", str(location), "--as", "mine"]) == 2
    message = capsys.readouterr().err
    assert (
        "a byte that is not UTF-8" in message and "K\\xfcrse" in message and not list((tmp_path / "params").iterdir())
    )


def rows_of(symbol="", prices="10,12,9,11", days=40, first=date(2021, 1, 4)):
    """A row a day, with the symbol where there is one: Open, High, Low, Close and a volume."""
    return [f"{first + timedelta(day)},{symbol}{',' * bool(symbol)}{prices},5\n" for day in range(days)]


ALONE, TABLE = "Date,Open,High,Low,Close,Volume\n", "Date,Symbol,Open,High,Low,Close,Volume\n"
GOOD = {f"{symbol}.csv": [ALONE, *rows_of(days=400)] for symbol in ("B", "C")}
LATER = date(2022, 1, 3)
# What the run says in which case; nothing where it does not stop.
STOPS = {
    "all is well": (GOOD, ""),
    "Open and High exchanged": (
        {"A.csv": [ALONE, *rows_of(prices="12,10,9,11")]},
        "Open or Close is outside Low to High",
    ),
    "one small file with High below Low": (
        {**GOOD, "A.csv": [ALONE, *rows_of(), *rows_of(prices="10,9,12,11", days=8, first=LATER)]},
        "A.csv: 8 of 48 rows contradict themselves",
    ),
    "as many rows of one large file": (
        {**GOOD, "B.csv": [*GOOD["B.csv"], *rows_of(prices="10,9,12,11", days=8, first=LATER + timedelta(400))]},
        "",
    ),
    "one small file with repeated dates": (
        {**GOOD, "A.csv": [ALONE, *rows_of(days=20), *rows_of(days=20)]},
        "20 of 840 raw rows would be quarantined",
    ),
    "repeated dates in few of all rows": ({**GOOD, "A.csv": [ALONE, *rows_of(), *rows_of(days=4)]}, ""),
    "one small symbol of a table with High below Low": (
        {"all.csv": [TABLE, *rows_of("A", days=400), *rows_of("B", "10,9,12,11", days=12)]},
        "12 of 12 rows contradict themselves",
    ),
    "a day of one symbol in two tables": (
        {"one.csv": [TABLE, *rows_of("A")], "two.csv": [TABLE, *rows_of("A", first=date(2021, 2, 12))]},
        "A on 2021-02-12 is in one.csv and in two.csv",
    ),
    "a symbol with days in two tables": (
        {"one.csv": [TABLE, *rows_of("A")], "two.csv": [TABLE, *rows_of("A", first=LATER)]},
        "",
    ),
    "a symbol with a file and in a table": (
        {"A.csv": [ALONE, *rows_of()], "all.csv": [TABLE, *rows_of("A"), *rows_of("B")]},
        "two price files claim the same symbol (1 symbol):\n  A: A.csv and all.csv",
    ),
    "only blank rows": (
        {"A.csv": ["Date,Open,High,Low,Close,Adj Close,Volume\n", *[" ,,,,,,\n"] * 40]},
        "no file has a row that is not blank",
    ),
    "a packed file cut off": (
        {"A.csv.gz": [gzip.compress("".join([ALONE, *rows_of(days=400)]).encode())[:-9].decode("latin-1")]},
        "1 of 1 price files cannot be read",
    ),
    "one file that cannot be read": ({**GOOD, "A.csv": [*rows_of()]}, "40 of 840 raw rows would be quarantined"),
}


@pytest.mark.parametrize("case", STOPS)
def test_a_look_at_all_rows_says_what_the_run_says(case, outputs, tmp_path):
    contents, expected = STOPS[case]
    location = write({name: "".join(rows).encode("latin-1") for name, rows in contents.items()}, tmp_path / "archive")
    found = look.look(location)
    assert found.refused == bool(expected), found.lines
    try:
        ingest(archive.list_archive(location), paths.StudyPaths("s"))
        message = ""
    except QuarantineError as error:
        message = str(error).partition("\nEvery row set aside")[0]
    assert expected in message and bool(expected) == bool(message)
    assert f"a run would stop: {message}" in "\n".join(found.lines) or not message


def test_prices_too_short_for_a_study_are_not_said_to_run(tmp_path):
    assert look.look(write({"A.csv": "".join([ALONE, *rows_of(days=19)]).encode()}, tmp_path / "short")).refused
    assert not look.look(write({"A.csv": "".join([ALONE, *rows_of()]).encode()}, tmp_path / "whole")).refused


def test_of_a_line_longer_than_what_is_looked_at_nothing_is_said(tmp_path):
    content = "".join([ALONE.replace("\n", f",{' ' * look._MOST}\n"), *(row.replace("\n", ",\n") for row in rows_of())])
    assert not look.look(write({"A.csv": content.encode()}, tmp_path / "archive")).refused


def test_the_beginning_of_a_packed_file_is_said_to_be_a_sample(tmp_path):
    days = [date(1950, 1, 2) + timedelta(day) for day in range(20_000)]
    text = "Date,Open,High,Low,Close,Volume\n" + "".join(f"{day},10.25,11.25,9.25,10.75,123456\n" for day in days)
    (tmp_path / "A.csv.gz").write_bytes(gzip.compress(text.encode()))
    assert lines_that_begin(look.look(tmp_path / "A.csv.gz"), "based on a sample: the beginning of 1 of 1 files")
    (tmp_path / "B.csv.gz").write_bytes(gzip.compress(text[:5000].rpartition("\n")[0].encode() + b"\n"))
    assert not lines_that_begin(look.look(tmp_path / "B.csv.gz"), "based on a sample")


@pytest.mark.parametrize(("days", "lines"), [(7, 1), (1, 0)])
def test_rows_of_weeks_are_said_to_be(days, lines, tmp_path):
    dates = [date(2018, 1, 5) + timedelta(days * number) for number in range(150)]
    rows = "".join(f"{day},1,2,1,2,{number + 1}\n" for number, day in enumerate(dates))
    content = f"Date,Open,High,Low,Close,Volume\n{rows}".encode()
    found = look.look(write({"X.csv": content, "Y.csv": content}, tmp_path / "archive"))
    assert len(lines_that_begin(found, "note: as a rule 7 days from one row of a symbol to the next")) == lines
