"""Every layout, from files to prices: the right rows, or a message that says what to do."""

from __future__ import annotations

import datetime
import decimal
import gzip
import os
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from layout_files import SYMBOLS, WRITERS, truth

from lib.compute.engine import Engine
from lib.data import headers, look, multi_symbol, plans, sources
from lib.data.column_names import normalised, of_each_symbol
from lib.data.ingest import ingest
from lib.data.layouts import LAYOUTS, LayoutError, recognise
from lib.data.quarantine import QuarantineError
from lib.data.rows import CODES
from lib.data.schema import COLUMNS
from lib.paths import StudyPaths


def made_of(contents, folder, **options):
    """The datasets that some files make."""
    for name, content in contents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    only_files = options.pop("only_files", "")
    archive = sources.open_archive(
        str(folder), StudyPaths("study"), options=sources.reading_options(**options), only_files=only_files
    )
    return archive, ingest(archive, StudyPaths("study"), 1.0, Engine(workers=1))


@pytest.mark.parametrize("name", WRITERS)
def test_a_layout_gives_the_right_rows(name, outputs, tmp_path):
    files = WRITERS[name](truth())
    _, made = made_of(files.contents, tmp_path / "archive", **files.options)
    found = made.prices.read().to_pandas()
    wanted = files.rows.sort_values(["Symbol", "Date"]).reset_index(drop=True)
    assert found["Symbol"].tolist() == wanted["Symbol"].tolist()
    assert found["Date"].tolist() == [day.date() for day in wanted["Date"]]
    for column in COLUMNS[1:]:
        assert found[column].tolist() == wanted[column].tolist(), column
    accounts = made.files.read().to_pandas()
    assert accounts["rows_read"].sum() == accounts["rows_kept"].sum() == len(wanted)
    assert (accounts["adj_close"] == ("Close" if files.no_adjusted else "its own")).all() or not files.no_adjusted


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_an_entry_is_recognised_by_its_own_header(layout):
    header = layout.header.split() + (["volumebtc", "volumeusd"] if "volume*" in layout.optional else [])
    reading = recognise(header if layout.in_order else header[::-1])
    assert layout.title in reading.titles
    assert not layout.in_order or layout.title not in recognise(header[::-1]).titles
    assert all(normalised(name) == name for name in header)


def test_a_header_that_fits_two_layouts_read_differently_names_both():
    with pytest.raises(LayoutError, match="'price' and 'last' could both be Close; choose one"):
        recognise(["date", "open", "high", "low", "price", "last", "volume"])


def test_a_column_of_a_header_of_two_levels_is_named_by_the_params_file(outputs, tmp_path):
    rows = "".join(f"2021-01-{day:02},11,12,10,10.5,1000\n" for day in range(4, 9))
    text = f"Price,Close,High,Low,Opne,Volume\nTicker,OWN,OWN,OWN,OWN,OWN\nDate,,,,,\n{rows}"
    with pytest.raises(QuarantineError, match=r"no column is known to be Open; found: .* archive.columns"):
        made_of({"prices.csv": text.encode()}, tmp_path / "archive")
    for columns, message in (
        ({"Open": "4"}, "its columns named, not numbered"),
        ({"Open": "Opne", "Date": "Nonsense"}, "the dates are the first column"),
        ({"Open": "²"}, "there is none of that name"),
    ):
        with pytest.raises(sources.ArchiveError, match=rf"prices.csv: .*archive.columns: .*{message}"):
            made_of({"prices.csv": text.encode()}, tmp_path / "archive", columns=columns)
    _, made = made_of({"prices.csv": text.encode()}, tmp_path / "archive", columns={"Open": "Opne", "Date": "Date"})
    assert made.prices.read().select(["Symbol", "Open", "High"]).to_pylist()[0] == {
        "Symbol": "OWN",
        "Open": 10.5,
        "High": 12,
    }


def test_a_column_without_a_known_name_is_named_by_the_params_file():
    header = ["day", "o", "h", "l", "settle", "lots"]
    with pytest.raises(
        LayoutError, match=r"no column is known to be Close or Volume; found: day, o, h, l, settle, lots"
    ):
        recognise(header)
    assert recognise(header, chosen={"Close": "settle", "Volume": "6"}).columns["Volume"] == 5
    with pytest.raises(LayoutError, match="Close is 'setle', and there is none of that name; did you mean 'settle'"):
        recognise(header, chosen={"Close": "setle", "Volume": "lots"})


def test_all_columns_without_a_known_name_are_asked_for_at_once():
    with pytest.raises(LayoutError, match=r"-p archive.columns '{Date: COLUMN, Close: COLUMN, Volume: COLUMN}'"):
        recognise(["session", "open", "high", "low", "settle", "contracts_traded"])


def test_symbols_side_by_side_are_said_to_be():
    names = [f"{symbol}_{name}" for symbol in ("ABC", "XYZ") for name in ("Open", "High", "Low", "Close", "Volume")]
    with pytest.raises(LayoutError, match="several symbols side by side, such as ABC_Close and XYZ_Close"):
        recognise(["Date", *names])
    assert list(of_each_symbol(["Date", *names])) == ["ABC", "XYZ"]
    assert of_each_symbol(["Date", *names[:-1]]) == {}, "one has no volume"
    assert of_each_symbol([name.lower() for name in names]) == {}
    assert list(
        of_each_symbol([f"BRK.B.{name}" for name in ("Open", "High", "Low", "Close", "Volume", "Adjusted")])
    ) == ["BRK.B"]
    with pytest.raises(LayoutError, match="no column is known to be Close"):
        recognise(["Date", "Open", "High", "Low", "Close bid", "Close ask", "Volume"])


@pytest.mark.parametrize("name", ["A.csv", "A.csv.gz"])
def test_a_file_without_a_header_says_how_to_number_its_columns_and_is_read_so(name, outputs, tmp_path, monkeypatch):
    frame = WRITERS["camnugent"](truth()).rows
    rows = frame.assign(Date=frame["Date"].dt.strftime("%Y.%m.%d"), time="00:00")[
        ["Symbol", "Date", "time", *COLUMNS[1:5], "Volume"]
    ]
    content = b"# bars\n" + rows.to_csv(index=False, header=False, sep=";").encode()
    files = {name: gzip.compress(content) if name.endswith(".gz") else content}
    numbers = {"Symbol": 1, "Date": 2, "Open": 4, "High": 5, "Low": 6, "Close": 7, "Volume": 8}
    setting = "-p archive.columns '{" + ", ".join(f"{ours}: {number}" for ours, number in numbers.items()) + "}'"
    _, refused = made_of({**files, "B.csv": (HEADER + OPEN.format("2021-01-04")).encode()}, tmp_path / "refused")
    assert setting in refused.files.read()["refused"].to_pylist()[0]
    monkeypatch.setattr(multi_symbol, "_PIECE", 500)
    _, made = made_of(files, tmp_path / "archive", columns={ours: str(number) for ours, number in numbers.items()})
    found = made.prices.read().to_pandas()
    for column in ("Symbol", *COLUMNS[1:]):
        assert found[column].tolist() == frame[column].tolist(), column
    assert made.files.read()["rows_read"].to_pylist() == [40, 40, 40]
    lines = look.look(
        tmp_path / "archive", sources.reading_options(columns={ours: str(n) for ours, n in numbers.items()})
    ).lines
    assert any("without a header" in line for line in lines)


def test_numbers_for_some_columns_of_a_file_without_a_header_ask_for_the_rest():
    options = headers.Options(columns=(("Date", "1"), ("Close", "5")))
    with pytest.raises(
        headers.Refused, match="no column is known to be Open or High or Low or Volume; found: column 1, column 2"
    ):
        plans.plan_file(OPEN.format("2021-01-04").encode() * 3, options=options)


def test_times_of_opening_and_closing_are_not_taken_for_symbols_side_by_side():
    names = ["open_time", "open", "high", "low", "close", "close_time"]
    with pytest.raises(LayoutError, match="no column is known to be Volume; found: open_time"):
        recognise(names)
    assert recognise([*names, "volume"]).columns["Date"] == 0


@pytest.mark.parametrize(
    "header", ["<TICKER>,<DTYYYYMMDD>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>", "code,dt,time,o,h,l,c,v"]
)
def test_a_column_of_times_is_not_the_date_beside_one_of_dates(header):
    assert recognise(header.split(",")).columns["Date"] == 1


def test_days_as_a_spreadsheet_counts_them_are_told_to_be_that(tmp_path):
    (tmp_path / "A.csv").write_text(HEADER + "".join(OPEN.format(day) for day in range(45293, 45303)))
    text = "\n".join(look.look(tmp_path / "A.csv").lines)
    assert "unparsable date: '45293', expected a date; where a spreadsheet shows days as numbers" in text


def test_columns_apart_by_spaces_are_told_what_may_be_between_them():
    with pytest.raises(headers.NotPrices, match=r"separated by a comma, semicolon, tab or \|: it begins 'Date  Open"):
        plans.plan_file(b"Date  Open  High  Low  Close  Volume\n2024-01-02  1  2  1  2  5\n")


def test_names_in_another_script_do_not_read_as_no_name():
    with pytest.raises(LayoutError, match="no column is known to be Date"):
        recognise(["なし", "Open", "High", "Low", "Close", "Volume"])


def test_a_wrong_choice_of_columns_is_refused_before_anything_is_read(outputs, tmp_path):
    files = {name: (HEADER + OPEN.format("2021-01-04")).encode() for name in ("A.csv", "B.csv")}
    with pytest.raises(
        sources.ArchiveError, match=r"A.csv \(and 1 more\): archive.columns: Close is 'Clsoe'.*'Close'\?"
    ):
        made_of(files, tmp_path / "archive", columns={"Close": "Clsoe"})
    with pytest.raises(sources.ArchiveError, match="'close' is none of the names that are read; did you mean 'Close'"):
        sources.reading_options(columns={"close": "settle"})
    with pytest.raises(sources.ArchiveError, match="'vwap' is none of the names that are read; allowed: Date, Open"):
        sources.reading_options(columns={"vwap": "settle"})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (bytes(range(256)) * 20, "not text: .* control characters"),
        (b"PK\x03\x04" + bytes(range(256)) * 20, "a workbook or a zip: give it the ending .xlsx"),
    ],
)
def test_what_is_no_text_is_said_to_be_none(content, message):
    with pytest.raises(headers.NotPrices, match=message):
        plans.plan_file(content)


def test_no_message_has_control_characters_of_a_file_in_it(tmp_path):
    header = "Da\x1b[31mte,Open,High,Low,Close,Vol\x1b]0;x\x07ume"
    for name, text in (
        ("A.csv", f"{header}\n" + "1,2,3,4,5,6\n" * 99),
        ("B.csv", f"{header}\n" + "2021-01-04,1\n" * 99),
    ):
        (tmp_path / name).write_text(text)
        shown = "\n".join(look.look(tmp_path / name).lines)
        assert "\\x1b[31m" in shown and shown.replace("\n", "").isprintable()


def test_an_unknown_layout_names_the_nearest():
    with pytest.raises(LayoutError, match="did you mean 'stooq'"):
        recognise(["date"], layout="stoq")


OPEN = "{},10,11,9,10.5,100\n"
HEADER = "Date,Open,High,Low,Close,Volume\n"


def test_dates_that_no_file_settles_are_refused_and_the_params_file_settles_them(outputs, tmp_path):
    files = {"A.csv": (HEADER + OPEN.format("01/02/2021") + OPEN.format("02/02/2021")).encode()}
    with pytest.raises(
        sources.ArchiveError, match=r"'01/02/2021' can be read day first or month first.*archive.dates: day_first"
    ):
        made_of(files, tmp_path / "archive")
    _, made = made_of(files, tmp_path / "archive", dates="day_first")
    assert made.prices.read()["Date"].to_pylist() == [datetime.date(2021, 2, 1), datetime.date(2021, 2, 2)]


def test_one_files_dates_settle_anothers_and_contradicting_ones_are_named(outputs, tmp_path):
    files = {
        "A.csv": (HEADER + OPEN.format("01/02/2021")).encode(),
        "B.csv": (HEADER + "".join(OPEN.format(f"{day:02}/01/2021") for day in range(1, 29))).encode(),
    }
    archive, made = made_of(files, tmp_path / "archive")
    assert made.prices.read()["Date"][0].as_py() == datetime.date(2021, 2, 1)
    assert "dates have the day first" in archive.notes[0]
    files["C.csv"] = (HEADER + OPEN.format("01/31/2021")).encode()
    with pytest.raises(sources.ArchiveError, match=r"day first in B.csv and month first in C.csv"):
        made_of(files, tmp_path / "archive")


def test_dates_that_begin_with_a_year_of_two_digits_are_read_so_or_asked_for(outputs, tmp_path):
    days = [datetime.date(2024, 1, 2) + datetime.timedelta(number) for number in range(200)]
    rows = HEADER + "".join(OPEN.format(f"{day:%y/%m/%d}") for day in days)
    archive, made = made_of({"A.csv": rows.encode()}, tmp_path / "many")
    assert made.prices.read()["Date"].to_pylist() == days
    assert "dates have the year first" in archive.notes[0]
    few = {"A.csv": (HEADER + OPEN.format("09/01/02") + OPEN.format("09/01/05")).encode()}
    asked = r"'09/01/02' can be read day first or month first or year first.*archive.dates: year_first"
    with pytest.raises(sources.ArchiveError, match=asked):
        made_of(few, tmp_path / "few")
    _, made = made_of(few, tmp_path / "few", dates="year_first")
    assert made.prices.read()["Date"].to_pylist() == [datetime.date(2009, 1, 2), datetime.date(2009, 1, 5)]


def test_volumes_that_rounding_would_change_are_not_rounded_unasked(outputs, tmp_path):
    days = [datetime.date(2021, 1, 1) + datetime.timedelta(number) for number in range(60)]
    rows = "".join(f"{day},10,11,9,10.5,{0.031 + number / 1000:.3f}\n" for number, day in enumerate(days))
    (tmp_path / "BTC.csv").write_text(HEADER + rows)
    found = look.look(tmp_path / "BTC.csv")
    assert found.refused and "volume" not in found.params
    assert "rounding them would lose what they say. archive.volume_unit: 0.0001 counts" in "\n".join(found.lines)
    _, made = made_of({}, tmp_path, volume_unit=0.0001)
    assert made.prices.read()["Volume"].to_pylist() == [310 + 10 * number for number in range(60)]


def test_prices_as_decimals_in_parquet_are_the_nearest_doubles(outputs, tmp_path):
    chance = random.Random(0)
    texts = [f"{chance.randrange(10_000_000)}.{chance.randrange(10**4):04}" for _ in range(400)]
    days = [datetime.date(2021, 1, 1) + datetime.timedelta(number) for number in range(len(texts))]
    prices = pa.array([decimal.Decimal(text) for text in texts], pa.decimal128(18, 4))
    columns = {"Date": days, **dict.fromkeys(("Open", "High", "Low", "Close"), prices), "Volume": [5] * len(texts)}
    pq.write_table(pa.table(columns), tmp_path / "A.parquet")
    _, made = made_of({}, tmp_path)
    assert made.prices.read()["Close"].to_pylist() == list(map(float, texts))


def test_fractional_volumes_are_set_aside_or_rounded_and_counted(outputs, tmp_path):
    text = HEADER + "".join(f"2021-01-{day:02},10,11,9,10.5,{day}.5\n" for day in range(1, 21))
    _, made = made_of({"A.csv": text.encode()}, tmp_path / "archive", volume="rounded")
    assert made.prices.read()["Volume"].to_pylist()[:4] == [2, 2, 4, 4]  # half to even
    assert made.files.read()["volumes_rounded"].to_pylist() == [20]
    _, made = made_of({"A.csv": text.encode()}, tmp_path / "archive", volume_unit=0.5)
    assert made.prices.read()["Volume"].to_pylist()[:3] == [3, 5, 7]


def test_rounded_volumes_are_counted_by_symbol_in_a_file_of_several(outputs, tmp_path):
    rows = [f"2021-01-{day:02},{symbol},10,11,9,10.5,{day}.5\n" for day in range(1, 21) for symbol in "BA"]
    text = (
        "Date,Symbol,Open,High,Low,Close,Volume\n"
        + "".join(rows)
        + "2021-01-21,B,10,11,9,x,1.5\n2021-01-22,B,1,1,1,1,5\n"
    )
    _, made = made_of({"prices.csv": text.encode()}, tmp_path / "archive", volume="rounded")
    assert made.files.read().select(["symbol", "volumes_rounded"]).to_pydict() == {
        "symbol": ["A", "B"],
        "volumes_rounded": [20, 20],
    }


def test_rows_set_aside_have_the_text_of_their_own_archive(outputs, tmp_path):
    for name in ("first", "other"):
        row = f"2021-01-04,{name.upper()},10,10,9,11,5\n"
        _, made = made_of(
            {"prices.csv": f"date,symbol,open,close,low,high,volume\n{row * 3}".encode()}, tmp_path / name
        )
        assert made.quarantine.read()["raw"].to_pylist() == [row.strip()] * 2


def test_two_files_with_a_date_of_one_symbol_stop_the_run(outputs, tmp_path):
    text = "date,symbol,open,close,low,high,volume\n2021-01-04,A,10,10,9,11,5\n"
    files = {"prices.csv": text.encode(), "adjusted.csv": text.encode()}
    with pytest.raises(
        QuarantineError, match=r"A on 2021-01-04 is in adjusted.csv and in prices.csv.*archive.only_files"
    ):
        made_of(files, tmp_path / "archive")
    _, made = made_of(files, tmp_path / "archive", only_files="adjusted.csv")
    assert made.prices.rows == 1


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (HEADER + "".join(OPEN.format(f"2021-01-04 09:3{minute}") for minute in range(9)), "intraday rows"),
        ("".join(OPEN.format(f"2021-01-{day:02}") for day in range(1, 9)), "no header"),
        (HEADER, "no rows"),
        ("Date;Open;High;Low;Close;Volume\n2021-01-04;1,234;1,235;1,233;1,234;5\n", "undecided numbers"),
        ("Date,Open,High,Low,Close,Price,Volume\n2021-01-04,1,1,1,1,1,5\n", ""),
        ("Date,Open,High,Low,Volume\n2021-01-04,1,1,1,5\n", "wrong header"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(text, reason, outputs, tmp_path):
    files = {"A.csv": text.encode(), "B.csv": (HEADER + OPEN.format("2021-01-04")).encode()}
    try:
        _, made = made_of(files, tmp_path / "archive")
    except QuarantineError as error:
        pytest.fail(str(error))
    account = made.files.read().to_pylist()[0]
    assert (account["refused"] or "").startswith(reason)
    assert set(made.quarantine.read()["code"].to_pylist()) <= CODES
    assert account["rows_read"] == account["rows_kept"] + account["rows_quarantined"]


def test_the_same_bytes_from_one_long_file_as_from_a_file_a_symbol(outputs, tmp_path):
    each, long = WRITERS["eodhd"](truth()), WRITERS["Parquet long"](truth())
    _, first = made_of(each.contents, tmp_path / "each")
    digest = first.prices.digest
    _, second = made_of(long.contents, tmp_path / "long")
    assert second.prices.digest == digest


@pytest.mark.parametrize(
    ("header", "encoding"),
    [
        ("date,symbol,open,close,low,high,volume", "utf-8"),
        ("日期,股票代码,开盘价,收盘价,最低价,最高价,成交量", "gb18030"),
        ("日付,銘柄コード,始値,終値,安値,高値,出来高", "cp932"),
    ],
)
def test_a_long_file_is_cut_into_pieces_that_lose_no_line(header, encoding, outputs, tmp_path, monkeypatch):
    files = WRITERS["nyse"](truth())
    _, _, rows = files.contents["prices.csv"].rstrip(b"\n").partition(b"\n")
    content = header.encode(encoding) + b"\n" + rows + b"\nnonsense\n2021-09-01,TRUE,1,x,1,1,5"
    monkeypatch.setattr(multi_symbol, "_PIECE", 200)
    _, made = made_of({"prices.csv": content}, tmp_path / "archive")
    assert made.prices.rows == len(files.rows)
    quarantined = made.quarantine.read().to_pylist()
    lines = content.split(b"\n")
    assert [row["raw"].encode() for row in quarantined] == [lines[row["line"] - 1] for row in quarantined] != []
    assert {row["code"] for row in quarantined} == {"wrong_number_of_fields", "unparsable_value"}


@pytest.mark.parametrize("ends", [b"\r", b"\n", b"\r\n"])
def test_a_long_file_of_any_line_ends_is_read_once(ends, outputs, tmp_path, monkeypatch):
    files = WRITERS["nyse"](truth())
    content = files.contents["prices.csv"].replace(b"\n", ends) + b"nonsense" + ends
    mixed = content + files.contents["prices.csv"].partition(b"\n")[2].replace(b"2021-", b"2022-").replace(b"\n", b"\r")
    monkeypatch.setattr(multi_symbol, "_PIECE", 200)
    monkeypatch.setattr(multi_symbol, "_LONGEST_LINE", 50)
    for name, text, times in (("one", content, 1), ("mixed", mixed, 2)):
        _, made = made_of({"prices.csv": text}, tmp_path / name)
        assert made.prices.rows == times * len(files.rows)
        [stray] = made.quarantine.read().to_pylist()
        assert (stray["line"], stray["raw"]) == (len(files.rows) + 2, "nonsense")


@pytest.mark.parametrize("size", [1 << 24, 1 << 10], ids=["in one piece", "in pieces"])
def test_a_long_file_that_is_cut_off_where_it_is_packed_is_named(size, outputs, tmp_path, monkeypatch):
    monkeypatch.setattr(multi_symbol, "_PIECE", size)
    chance = random.Random(5)
    rows = "".join(
        f"{symbol},2021-01-{day:02},1,2,1,2,{chance.randrange(10**9)}\n" for symbol in "AB" for day in range(1, 29)
    )
    packed = gzip.compress(f"Symbol,{HEADER}{rows}".encode())
    (tmp_path / "all.csv.gz").write_bytes(packed)
    archive = sources.open_archive(str(tmp_path), StudyPaths("study"))
    (tmp_path / "all.csv.gz").write_bytes(packed[:-20])
    with pytest.raises(sources.ArchiveError, match=r"all.csv.gz: cannot be unpacked .*: download it again"):
        ingest(archive, StudyPaths("study"), engine=Engine(workers=1))


@pytest.mark.parametrize("name", ["yahoo", "nyse", "yfinance wide", "investing"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le"])
def test_files_put_together_with_their_byte_order_marks_lose_no_row(name, encoding, outputs, tmp_path):
    files = WRITERS[name](truth())
    texts = {path: content.decode("utf-8-sig") for path, content in files.contents.items()}
    together = {}
    for path, text in texts.items():
        header, _, rest = text.partition("\n")
        half = len(rest.splitlines()) // 2
        rows = rest.splitlines(keepends=True)
        head = f"\ufeff{header}\n" if name != "yfinance wide" else "\ufeff"
        together[path] = f"\ufeff{header}\n{''.join(rows[:half])}{head}{''.join(rows[half:])}".encode(encoding)
    _, made = made_of(together, tmp_path / "archive", **files.options)
    assert made.prices.rows == len(files.rows) and not made.quarantine.rows


def test_parquet_with_damaged_pages_is_named(outputs, tmp_path):
    files = WRITERS["Parquet long"](truth(days=200))
    path, content = next(iter(files.contents.items()))
    middle = len(content) // 3
    damaged = content[:middle] + b"\xff" * 400 + content[middle + 400 :]
    with pytest.raises(sources.ArchiveError, match=rf"{path}: damaged Parquet .*write it again"):
        made_of({path: damaged}, tmp_path / "archive", **files.options)


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("Adj Close (円)", "Adj Close"),
        ("Ticker代码", "Symbol"),
        ("Open (руб.)", "Open"),
        ("Date日期", "Date"),
        ("成交量(股)", "Volume"),
        ("Объём", "Volume"),
    ],
)
def test_a_unit_or_a_second_name_in_another_script_does_not_make_another_name(name, ours):
    header = {
        "Date": "Date",
        "Open": "Open",
        "High": "High",
        "Low": "Low",
        "Close": "Close",
        "Volume": "Volume",
        ours: name,
    }
    assert recognise(list(header.values())).columns[ours] == list(header).index(ours)


@pytest.mark.parametrize(
    "names",
    [
        ["AAPL_{}", "brk_{}"],
        ["('{}', 'AAPL')", "('{}', 'brk.b')"],
        ["{}_USD", "{}_EUR"],
        ["BID_{}", "ASK_{}"],
        ["AAPL_{}", "AAPL_{}"],
        ["Ticker", "AAPL_{}"],
    ],
)
def test_columns_that_are_not_clearly_of_symbols_side_by_side_are_not_read_as_such(names):
    header = ["Date", *(name.format(price) for name in names for price in ("Open", "High", "Low", "Close", "Volume"))]
    assert of_each_symbol(header) == {}
    with pytest.raises(headers.Refused):
        plans.plan_file(
            (",".join(f'"{name}"' for name in header) + "\n2021-01-04" + ",1" * (len(header) - 1) + "\n").encode()
        )


def test_hostile_names_of_columns_take_no_time():
    for name in ("A" + "_" * 200_000, "('" + "', '" * 50_000 + "x", "Close_" * 50_000):
        assert of_each_symbol(["Date", name]) == {}


def test_no_symbol_of_a_header_reaches_terminal_or_params_file_with_control_characters(outputs, tmp_path, monkeypatch):
    from lib import paths

    monkeypatch.setattr(paths, "PARAMS", tmp_path / "params")
    names = [
        f"{price}_{symbol}"
        for symbol in ("AAPL", "B\x1b[31;1H")
        for price in ("Open", "High", "Low", "Close", "Volume")
    ]
    (tmp_path / "a.csv").write_text(
        ",".join(["Date", *names]) + "\n" + "".join(f"2021-01-{d:02},{'1,' * 9}1\n" for d in range(4, 9))
    )
    found = look.look(tmp_path / "a.csv")
    assert "B\\x1b[31;1H" in "\n".join(found.lines) and all(line.isprintable() for line in found.lines)
    found.lines.append("symbols: A\ntrain:\n  x: 1")
    written = look.write_params("x", "a.csv", found, {}).read_text()
    assert "\ntrain:" not in written


NUMBERED = {"Date": "1", "Open": "2", "High": "3", "Low": "4", "Close": "5", "Volume": "6"}


@pytest.mark.parametrize(
    "rows",
    [
        [f"{d:02}.01.2021;10,00;10,50;9,50;10,10;1000" for d in range(10, 30)],
        ["2021-01-10,null,null,null,null,null", *(f"2021-01-{d},10,11,9,10,5" for d in range(11, 30))],
        [f"2021-01-{d},10,11,9,10,5" + ",7" * (d > 14) for d in range(10, 30)],
        ["2021-13-10,10,11,9,10,5", *(f"2021-01-{d},10,11,9,10,5" for d in range(11, 30))],
    ],
    ids=["decimal comma", "nulls first", "a field more after some rows", "no date first"],
)
def test_no_row_of_a_file_without_a_header_is_taken_for_one(rows, outputs, tmp_path):
    _, made = made_of({"A.csv": ("\n".join(rows) + "\n").encode()}, tmp_path / "archive", columns=NUMBERED)
    account = made.files.read().to_pylist()[0]
    assert account["rows_read"] == len(rows) == account["rows_kept"] + account["rows_quarantined"]
    assert account["rows_kept"] >= 15


@pytest.mark.parametrize(
    ("row", "setting"),
    [
        ("2021-01-04,10,11,9,10.5,100", "{Date: 1, Open: 2, High: 3, Low: 4, Close: 5, Volume: 6}"),
        ("2021-01-04,10,11,9,10.5,9.8,100", "{Date: 1, Open: 2, High: 3, Low: 4, Close: 5, Adj Close: 6, Volume: 7}"),
        ("20210104,000000,10,11,9,10.5,100", "{Date: 1, Open: 3, High: 4, Low: 5, Close: 6, Volume: 7}"),
        (
            "SAP;04.01.2021;10,1;11,2;9,3;10,5;100",
            "{Symbol: 1, Date: 2, Open: 3, High: 4, Low: 5, Close: 6, Volume: 7}",
        ),
        (
            "0000320193,2021-01-04,10,11,9,10.5,100",
            "{Symbol: 1, Date: 2, Open: 3, High: 4, Low: 5, Close: 6, Volume: 7}",
        ),
        ("2021-01-04,AAPL,10,11,9,10.5,100", "{Symbol: 2, Date: 1, Open: 3, High: 4, Low: 5, Close: 6, Volume: 7}"),
    ],
)
def test_the_usual_order_of_columns_is_offered_by_number(row, setting):
    with pytest.raises(headers.Refused, match="no header: line 1 is a row already") as caught:
        plans.plan_file(f"{row}\n{row}\n".encode())
    assert f"-p archive.columns '{setting}'" in str(caught.value)


def test_one_column_is_not_two():
    with pytest.raises(LayoutError, match=r"archive\.columns: Date and Open are both column 2"):
        recognise(["a", "b", "c"], chosen={"Date": "2", "Open": "b"})


def test_a_line_above_the_header_or_below_it_is_not_taken_for_tickers():
    rows = "".join(f"{n},2021-01-{n:02},1,2,1,1,5\n" for n in range(4, 20)).encode()
    header = b"Nr,Date,Open,High,Low,Close,Volume\n"
    assert plans.plan_file(header + b"-,,USD,USD,USD,USD,pcs\n" + rows).plan.tickers == ()
    assert plans.plan_file(b"Info,,Price,Price,Price,Price,Price\n" + header + rows).plan.tickers == ()


def test_parquet_with_columns_that_cannot_be_read_is_refused_and_the_others_are_read(outputs, tmp_path):
    import io

    import pandas as pd

    frame = pd.DataFrame(
        {"Date": pd.bdate_range("2021-01-04", periods=5), **dict.fromkeys(["Open", "High", "Low", "Volume"], 1.0)}
    )
    content = io.BytesIO()
    frame.assign(Close=[[1.0]] * 5).to_parquet(content)
    files = {"A.parquet": content.getvalue(), "B.csv": (HEADER + OPEN.format("2021-01-04")).encode()}
    _, made = made_of(files, tmp_path / "archive")
    assert [(row["file"], bool(row["refused"])) for row in made.files.read().to_pylist()] == [
        ("A.parquet", True),
        ("B.csv", False),
    ]


def test_a_look_says_what_a_run_would_stop_for(tmp_path):
    rows = [f"2021-01-{day:02},10,9,11,10,5\n" for day in range(4, 24)]
    (tmp_path / "A.csv").write_text(HEADER + "".join(rows + rows))
    found = look.look(tmp_path / "A.csv")
    assert found.refused
    assert "a run would stop: 1 price file contradicts itself" in "\n".join(found.lines)
    assert "a run would stop: 20 of 40 raw rows would be quarantined" in "\n".join(found.lines)
    assert any("{Symbol: COLUMN}" in line for line in found.lines)


def test_fractions_in_a_column_that_was_chosen_are_not_rounded_unasked(tmp_path):
    (tmp_path / "A.csv").write_text("".join(f"2021-01-{day:02},10,11,9,10,9.5,100\n" for day in range(4, 24)))
    found = look.look(tmp_path / "A.csv", sources.reading_options(columns=NUMBERED))
    assert found.refused and "volume" not in found.params


def test_names_with_a_byte_that_is_not_utf_8_are_read_and_stay_different(outputs, tmp_path):
    table = WRITERS["camnugent"](truth())
    day = "2021-01-04,10,11,9,10,5\n"
    names = [b"K\xfcrse/A.csv", b"B\xff.csv", b"B\\xff.csv", b"symbol=C\xff/part-0.csv", b"symbol=C\xfe/part-0.csv"]
    contents = {os.fsdecode(name): f"Date,Open,High,Low,Close,Volume\n{day}".encode() for name in names}
    contents[os.fsdecode(b"T\xff/all.csv")] = next(iter(table.contents.values()))
    contents[os.fsdecode(b"G\xff.csv.gz")] = gzip.compress(f"Date,Open,High,Low,Close,Volume\n{day}".encode())
    made = pa.BufferOutputStream()
    pq.write_table(pa.table({"Date": ["2021-01-04"], **{name: [1.0] for name in COLUMNS[1:]}}), made)
    contents[os.fsdecode(b"P\xff.parquet")] = made.getvalue().to_pybytes()
    _, found = made_of(contents, tmp_path / "archive")
    symbols = {"A", r"B\xff", r"B\\xff", r"C\xff", r"C\xfe", r"G\xff", r"P\xff", *SYMBOLS}
    assert set(found.prices.read(["Symbol"])["Symbol"].to_pylist()) == symbols
    files = found.files.read(["file"])["file"].to_pylist()
    assert files.count(r"T\xff/all.csv") == len(SYMBOLS) and len(set(files)) == len(names) + 3
    assert look.look(tmp_path / "archive").lines
