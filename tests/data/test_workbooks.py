"""Workbooks are read as the CSV that saving them would give, or refused with what to do; hostile ones cost nothing."""

from __future__ import annotations

import datetime
import io
import re
import zipfile

import openpyxl
import pytest
from layout_files import truth
from raw_archives import HEADER

from lib.compute.engine import Engine
from lib.data import look, sources, workbooks
from lib.data.ingest import ingest
from lib.paths import StudyPaths


def workbook(*sheets: list[list[object]]) -> bytes:
    book = openpyxl.Workbook()
    book.remove(book.active)
    for number, rows in enumerate(sheets):
        sheet = book.create_sheet(f"sheet {number}")
        for row in rows:
            sheet.append(row)
    content = io.BytesIO()
    book.save(content)
    return content.getvalue()


def text(content: bytes, size: int = 1 << 20) -> str:
    return b"".join(workbooks.as_csv(content, size)).decode()


def test_each_kind_of_cell_is_written_as_it_reads():
    cells = [
        datetime.date(2021, 1, 4),
        datetime.datetime(2021, 1, 4),
        datetime.datetime(2021, 1, 4, 15, 30),
        12,
        0.1,
        1e22,
        'a "b", c',
        None,
        True,
    ]
    written = '2021-01-04,2021-01-04,2021-01-04 15:30:00,12,0.1,1e+22,"a ""b"", c",,TRUE\n'
    assert text(workbook([cells])) == written


def test_a_line_is_the_row_of_the_sheet_and_rows_without_a_value_at_the_end_are_none():
    content = workbook([], [[], ["Date"], [], [], [1], [None], [None, None]], [[None]])
    assert text(content) == "\nDate\n\n\n1\n"
    assert [len(block) for block in workbooks.as_csv(content, 1)] == [6, 4, 0]


def test_a_sheet_with_prices_is_read_beside_sheets_without():
    prices = [["Apple Inc."], [], ["Date", "Open", "High", "Low", "Close", "Volume"], ["2021-01-04", 1, 2, 1, 2, 3]]
    notes = [["Close", "of what we bought"], ["low", "risk"]]
    assert text(workbook(notes, prices, [[1, 2, 3]])) == text(workbook(prices))


def test_sheets_that_are_called_as_symbols_are_one_table(outputs, tmp_path):
    book = openpyxl.Workbook()
    book.active.title = "Notes"
    book.active.append(["of Friday"])
    columns = ["Date", "Open", "High", "Low", "Close", "Volume"]
    for number, symbol in enumerate(("MSFT", "BRK.B", "NAN")):
        sheet = book.create_sheet(symbol)
        for row in (["Prices of", symbol], [], columns) if number else [columns]:
            sheet.append(row)
        for day in range(4, 9):
            sheet.append([datetime.date(2021, 1, day), 10 + number, 12 + number, 9, 11 + number, 1000 + day])
    book.save(tmp_path / "prices.xlsx")
    found = ingest(
        sources.open_archive(str(tmp_path), StudyPaths("study")), StudyPaths("study"), 0.0, Engine(workers=1)
    )
    prices = found.prices.read().to_pandas()
    assert prices.groupby("Symbol", observed=True)["Open"].agg(["size", "max"]).to_dict("index") == {
        "BRK.B": {"size": 5, "max": 11},
        "MSFT": {"size": 5, "max": 10},
        "NAN": {"size": 5, "max": 12},
    }
    assert found.quarantine.rows == 0
    named = "named after it in capitals"
    for rename, told in (
        ("Sheet2", named),
        ("MSFT (2)", named),
        ("Q1 2021", named),
        ("X", ""),
        ("DEC", ""),
    ):
        book["NAN"].title = rename
        content = io.BytesIO()
        book.save(content)
        if told:
            with pytest.raises(OSError, match=told):
                text(content.getvalue())
        else:
            assert text(content.getvalue()).startswith("Symbol,Date,Open")
        book[rename].title = "NAN"


@pytest.mark.parametrize("names", [("2020", "2021"), ("JAN", "FEB"), ("DAILY", "WEEKLY"), ("AAPL", "AAPL (2)")])
def test_sheets_of_one_symbol_are_not_taken_for_several(names):
    book = openpyxl.Workbook()
    del book["Sheet"]
    for name in names:
        sheet = book.create_sheet(name)
        sheet.append(["Date", "Open", "High", "Low", "Close", "Volume"])
        sheet.append(["2021-01-04", 1, 2, 1, 2, 3])
    content = io.BytesIO()
    book.save(content)
    with pytest.raises(OSError, match=rf"2 sheets with prices \({', '.join(map(re.escape, names))}\)"):
        text(content.getvalue())


def test_sheets_of_tickers_that_look_like_years_are_of_symbols():
    rows = [["Date", "Open", "High", "Low", "Close", "Volume"], ["2021-01-04", 1, 2, 1, 2, 3]]
    book = openpyxl.Workbook()
    del book["Sheet"]
    for name in ("2330", "2002"):
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    content = io.BytesIO()
    book.save(content)
    assert text(content.getvalue()).splitlines()[1:] == ["2330,2021-01-04,1,2,1,2,3", "2002,2021-01-04,1,2,1,2,3"]


def test_sheets_with_a_column_of_symbols_are_one_table():
    header, row = ["Ticker", "Date", "Open", "High", "Low", "Close", "Volume"], ["A", "2021-01-04", 1, 2, 1, 2, 3]
    assert text(workbook([["2021"], header, row], [header, ["B", *row[1:]]])) == (
        "Ticker,Date,Open,High,Low,Close,Volume\nA,2021-01-04,1,2,1,2,3\nB,2021-01-04,1,2,1,2,3\n"
    )


def test_what_a_program_says_of_the_size_is_not_believed():
    content = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(workbook([[1, 2], [3, 4]]))) as made, zipfile.ZipFile(content, "w") as wrong:
        for name in made.namelist():
            part = made.read(name)
            assert "sheet1" not in name or b'<dimension ref="A1:B2"' in part
            wrong.writestr(name, part.replace(b'<dimension ref="A1:B2"', b'<dimension ref="A1"'))
    assert text(content.getvalue()) == "1,2\n3,4\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"Date,Open\n", "cannot be read .*take its password off, if it has one, or save it as CSV"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(2000), "cannot be read .*password"),  # encrypted, or an .xls
        (workbook([[1]])[:-30], "cannot be read"),
        (workbook([[1]], [[2]]), r"2 sheets with cells \(sheet 0, sheet 1\).*save each that holds prices"),
        (
            workbook([["notes"]], [["Date", "Open", "Close"]], [["Close", "High", "Low"]]),
            r"2 sheets with prices \(sheet 1, sheet 2\).*save each that holds prices",
        ),
        (workbook([], [[None]]), r"0 sheets with cells \(none\)"),
    ],
    ids=["text", "encrypted", "cut off", "two sheets", "two sheets with prices", "no cells"],
)
def test_what_cannot_be_read_says_what_to_do(content, message):
    with pytest.raises(OSError, match=message):
        text(content)


def test_what_unpacks_to_too_much_is_not_unpacked(monkeypatch):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("xl/worksheets/sheet1.xml", bytes(5 << 20))
    with pytest.raises(OSError, match="as a bomb does"):
        text(content.getvalue())
    monkeypatch.setattr(workbooks, "LARGEST", 100)
    with pytest.raises(OSError, match="too large"):
        text(workbook([[1]]))


def test_one_cell_far_out_is_no_table_of_all_cells_before_it():
    book = openpyxl.Workbook()
    book.active["A1"] = 1
    book.active["XFD1048576"] = 2
    content = io.BytesIO()
    book.save(content)
    assert sum(map(len, workbooks.as_csv(content.getvalue(), 1 << 20))) < 1 << 21


def test_a_row_set_aside_is_named_by_its_row_and_a_workbook_alone_or_in_a_zip_is_read(outputs, tmp_path):
    rows = truth(60)
    rows = rows[rows["Symbol"] == "AAPL"].drop(columns="Symbol")
    cells = [list(rows.columns), *rows.to_numpy().tolist()]
    cells[7][5] = "#N/A"
    (tmp_path / "AAPL.xlsx").write_bytes(workbook([[], *cells]))
    with zipfile.ZipFile(tmp_path / "prices.zip", "w") as packed:
        packed.write(tmp_path / "AAPL.xlsx", "AAPL.xlsx")
    for location in ("AAPL.xlsx", "prices.zip"):
        archive = sources.open_archive(str(tmp_path / location), StudyPaths("study"))
        made = ingest(archive, StudyPaths("study"), 1.0, Engine(workers=1))
        found = made.prices.read().to_pandas()
        assert set(found["Symbol"]) == {"AAPL"} and len(found) == 59
        assert found["Close"].tolist() == rows["Close"].drop(rows.index[6]).tolist()
        [aside] = made.quarantine.read().to_pylist()
        assert (aside["file"], aside["line"]) == ("AAPL.xlsx", 9)
        assert "#N/A" in aside["raw"]
        assert "1 .xlsx" in "\n".join(look.look(tmp_path / location).lines)


def test_a_workbook_with_the_ending_of_text_is_told_to_be_one(tmp_path):
    (tmp_path / "AAPL.csv").write_bytes(workbook([HEADER.split(",")]))
    assert "give it the ending .xlsx" in "\n".join(look.look(tmp_path / "AAPL.csv").lines)
