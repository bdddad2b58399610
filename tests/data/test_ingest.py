"""Bad input gets a clear error or a record in quarantine, and every row is accounted for."""

from __future__ import annotations

import datetime
import zipfile

import pytest
from raw_archives import HEADER, metadata_csv, price_csv, price_rows

from lib import paths
from lib.compute.engine import Engine
from lib.data import archive, ingest, quarantine, schema
from lib.data import rows as row_rules
from lib.data.archive import PriceFile
from lib.data.ingest import IngestPart
from lib.data.quarantine import QuarantineError
from lib.storage import dataset

STUDY = paths.StudyPaths("s")
GOOD = "2020-01-02,1,2,0.5,1.5,1.25,100"


@pytest.fixture
def run(outputs, make_archive):
    """Ingest an archive of these files, in one process, whatever share is bad; every row must be accounted for."""

    def run(files, metadata=None, name="archive", share=1.0, location=None):
        location = location or make_archive(files, metadata, name)
        made = ingest.ingest(archive.list_archive(location), STUDY, share, Engine(workers=1))
        accounts, quarantined = made.files.read().to_pylist(), made.quarantine.read().to_pylist()
        kept = made.prices.read()
        assert kept.schema == schema.PRICES
        assert sum(account["rows_kept"] for account in accounts) == kept.num_rows == made.prices.rows
        for account in accounts:
            assert account["rows_read"] == account["rows_kept"] + account["rows_quarantined"]
            records = [record for record in quarantined if record["file"] == account["file"]]
            assert sum(record["line"] is not None for record in records) == account["rows_quarantined"]
        return kept, quarantined, {account["file"]: account for account in accounts}

    return run


def content(*rows: str) -> str:
    return "".join(f"{line}\n" for line in [HEADER, *rows])


def test_rows_are_sorted_by_symbol_and_date_and_named(run):
    kept, quarantined, accounts = run(
        {"stocks/B.csv": 3, "etfs/A.csv": 2, "stocks/AB.csv": content(*reversed(price_rows("AB", 4)))},
        metadata_csv([("A", "A fund", "A"), ("B", 'The "B", Inc. ', "B")]),
    )
    assert kept["Symbol"].to_pylist() == ["A"] * 2 + ["AB"] * 4 + ["B"] * 3
    assert kept["Security Name"].to_pylist() == ["A fund"] * 2 + [None] * 4 + ['The "B", Inc. '] * 3
    dates = kept["Date"].to_pylist()
    assert dates[2:6] == sorted(dates[2:6]) and dates[0] == datetime.date(2000, 1, 3)
    assert quarantined == []
    assert accounts["stocks/AB.csv"]["dates_out_of_order"] == 3


BAD_FILES = {
    "another header": (
        content(GOOD).replace("Low", "Bid"),
        "wrong header: no column is known to be Low; found: Date, Open, High, Bid",
        1,
    ),
    "a missing column": (
        "Date,Open,High,Low,Close\n2020-01-02,1,2,0.5,1.5\n",
        "wrong header: no column is known to be Volume",
        1,
    ),
    "no rows": (content(), "no rows: the header stands alone", 0),
    "nothing": ("", "empty file", 0),
}


@pytest.mark.parametrize(("bad", "reason", "rows"), BAD_FILES.values(), ids=BAD_FILES.keys())
def test_a_file_with(run, bad, reason, rows):
    kept, quarantined, accounts = run({"stocks/A.csv": bad, "stocks/B.csv": 5})
    assert quarantined[0]["reason"].startswith(reason)
    assert accounts["stocks/A.csv"]["rows_quarantined"] == rows
    assert accounts["stocks/B.csv"]["rows_kept"] == 5
    assert set(kept["Symbol"].to_pylist()) == ({"A", "B"} if accounts["stocks/A.csv"]["rows_kept"] else {"B"})


BAD_ROWS = {
    "a byte that is not UTF-8": (b"2020-01-03,1,2,0.5,1.5,1.25,10\xe9", "not UTF-8: byte 0xe9 at position 31"),
    "text in a number": (b"2020-01-03,1,2,0.5,n.a.,1.25,100", "unparsable value: Close is 'n.a.'"),
    "nulls": (b"2020-01-03,,,,,,", "null value: Open, High, Low, Close, Adj Close, Volume"),
    "a missing field": (b"2020-01-03,1,2,0.5,1.5,1.25", "wrong number of fields: 6, expected 7"),
    "a negative volume": (b"2020-01-03,1,2,0.5,1.5,1.25,-1", "negative volume: '-1'"),
    "a date that comes again": (b"2020-01-06,9,9,9,9,9,9", "repeated date: 2020-01-06 comes again further down"),
}


@pytest.mark.parametrize(("bad", "reason"), BAD_ROWS.values(), ids=BAD_ROWS.keys())
def test_a_row_with(run, bad, reason):
    text = content(GOOD).encode() + bad + b"\n" + GOOD.replace("01-02", "01-06").encode() + b"\n"
    kept, quarantined, accounts = run({"stocks/A.csv": text, "stocks/B.csv": 5})
    assert [record["reason"] for record in quarantined] == [reason]
    assert quarantined[0]["file"] == "stocks/A.csv" and quarantined[0]["line"] == 3
    assert quarantined[0]["raw"] == bad.decode("utf-8", "backslashreplace")
    assert [day.day for day in kept["Date"].to_pylist()[:2]] == [2, 6]
    assert accounts["stocks/A.csv"]["rows_kept"] == 2
    assert accounts["stocks/B.csv"]["rows_kept"] == 5


def test_volumes_written_as_floats(run):
    rows = [f"{row}.0" for row in price_rows("A", 4)]
    plain, _, _ = run({"stocks/A.csv": 4})
    floats, quarantined, _ = run({"stocks/A.csv": content(rows[0], *rows[1:])}, name="floats")
    assert floats == plain
    assert quarantined == []
    with_null, quarantined, _ = run({"stocks/A.csv": content(*rows[:2], "2001-01-02,,,,,,", *rows[2:])}, name="null")
    assert with_null == plain
    assert [record["line"] for record in quarantined] == [4]


def test_dates_out_of_order(run):
    rows = price_rows("A", 6)
    plain, _, _ = run({"stocks/A.csv": 6})
    shuffled, quarantined, accounts = run({"stocks/A.csv": content(*rows[3:], *rows[:3])}, name="shuffled")
    assert shuffled == plain
    assert quarantined == []
    assert accounts["stocks/A.csv"]["dates_out_of_order"] == 1


@pytest.mark.parametrize("symbol", ["NAN", "TRUE", "ON", "NULL"])
def test_a_symbol_that_looks_like_something_else(run, symbol):
    kept, _, _ = run({f"stocks/{symbol}.csv": 2, "stocks/B.csv": 2}, metadata_csv([(symbol, "A name", symbol)]))
    assert kept["Symbol"].to_pylist() == sorted(["B"] * 2 + [symbol] * 2)
    rows = zip(kept["Symbol"].to_pylist(), kept["Security Name"].to_pylist(), strict=True)
    assert {row for row in rows} == {("B", None), (symbol, "A name")}


def test_symbols_as_kaggle_spells_them(run):
    kept, _, _ = run(
        {"stocks/AGM-A.csv": 1, "stocks/LGF.B.csv": 1, "stocks/_PRN.csv": 1},
        metadata_csv([("AGM$A", "Preferred", "AGM-A"), ("LGF.B", "Lions Gate", "LGF.B"), ("PRN", "Invesco", "PRN")]),
    )
    rows = zip(kept["Symbol"].to_pylist(), kept["Security Name"].to_pylist(), strict=True)
    assert list(rows) == [("AGM-A", "Preferred"), ("LGF.B", "Lions Gate"), ("PRN", "Invesco")]


def test_a_zip_gives_the_bytes_that_a_folder_gives(outputs, make_archive):
    files = {"stocks/A.csv": 50, "stocks/B.csv": content(GOOD, "2020-01-03,,,,,,"), "etfs/C.csv": "", "etfs/D.csv": 9}
    digests = []
    for name, base in [("folder", ""), ("plain.zip", ""), ("wrapped.zip", "archive/")]:
        made = ingest.ingest(
            archive.list_archive(make_archive(files, name=name, base=base)), STUDY, 1.0, Engine(workers=1)
        )
        digests.append([made.prices.digest, made.quarantine.digest, made.files.digest])
    assert digests[0] == digests[1] == digests[2]


def test_a_damaged_zip_member_costs_only_itself(run, make_archive):
    location = make_archive({f"stocks/{symbol}.csv": 200 for symbol in "ABC"}, name="a.zip")
    with zipfile.ZipFile(location) as whole:
        member = whole.getinfo("stocks/B.csv")
        middle = member.header_offset + 30 + len(member.filename) + member.compress_size // 2
    damaged = bytearray(location.read_bytes())
    damaged[middle] ^= 0xFF
    location.write_bytes(damaged)
    kept, quarantined, accounts = run(None, location=location)
    assert kept.num_rows == 400
    assert quarantined[0]["file"] == "stocks/B.csv"
    assert quarantined[0]["reason"].startswith("unreadable file: zip member cannot be read: ")
    assert accounts["stocks/B.csv"]["refused"] == quarantined[0]["reason"]


def test_a_member_that_claims_to_be_huge_costs_no_memory(run, make_archive):
    location = make_archive({"stocks/A.csv": 20, "stocks/B.csv": 20}, name="a.zip")
    content = bytearray(location.read_bytes())
    entry = content.rindex(b"stocks/A.csv")
    content[entry - 22 : entry - 18] = (0x20000000).to_bytes(4, "little")  # the uncompressed size
    location.write_bytes(content)
    assert archive.list_archive(location).files[0].size == 0x20000000
    kept, quarantined, _ = run(None, location=location)
    assert len(ingest._BUFFER) < 1 << 28
    assert set(kept["Symbol"].to_pylist()) | {record["file"] for record in quarantined} >= {"B"}


def test_a_file_that_is_gone(run, make_archive):
    location = make_archive({"stocks/A.csv": 2, "stocks/B.csv": 2})
    (location / "stocks" / "A.csv").unlink()
    (location / "stocks" / "A.csv").symlink_to("nowhere")
    kept, quarantined, accounts = run(None, location=location)
    assert kept["Symbol"].to_pylist() == ["B"] * 2
    assert quarantined == [
        {
            "file": "stocks/A.csv",
            "line": None,
            "code": "unreadable_file",
            "reason": "unreadable file: No such file or directory",
            "raw": None,
        }
    ]
    assert accounts["stocks/A.csv"]["rows_read"] == 0


def test_files_that_change_after_they_were_listed(outputs, make_archive):
    location = make_archive({"stocks/A.csv": 300, "stocks/B.csv": 2, "stocks/C.csv": 2, "stocks/D.csv": 5})
    found = archive.list_archive(location)
    for symbol, rows in [("B", 900), ("C", 0), ("D", 4)]:
        (location / "stocks" / f"{symbol}.csv").write_text(price_csv(symbol, rows))
    # The part before holds on to the buffer that both share.
    before = IngestPart(str(location), "", found.files[:1])
    before.read()
    part = IngestPart(str(location), "", found.files)
    part.read()
    tables = part.tables()
    assert tables["files"]["rows_kept"].to_pylist() == [300, 900, 0, 4]
    assert [file.num_rows for file in (tables["prices"], tables["quarantine"])] == [1204, 1]
    assert before.tables()["prices"].num_rows == 300


def test_the_digest_of_a_part_changes_with_what_it_is_made_of(make_archive):
    def digest(files, metadata=None):
        found = archive.list_archive(make_archive(files, metadata, name=f"{len(seen)}"))
        seen.append(IngestPart(str(found.location), found.base, found.files).read())
        return seen[-1]

    seen: list[str] = []
    plain = digest({"stocks/A.csv": 3, "stocks/B.csv": 3})
    assert digest({"stocks/A.csv": 3, "stocks/B.csv": 3}) == plain
    assert digest({"stocks/A.csv": 3, "stocks/B.csv": 4}) != plain
    assert digest({"stocks/A.csv": 3, "etfs/B.csv": 3}) != plain
    assert digest({"stocks/A.csv": 3, "stocks/B.csv": 3}, metadata_csv([("A", "A", "A")])) != plain
    assert len(set(seen)) == 4


def test_a_regular_file_and_any_other_are_read_to_the_same(make_archive):
    regular = make_archive({"stocks/A.csv": 30, "stocks/B.csv": 30})
    other = make_archive({f"stocks/{symbol}.csv": "\ufeff" + price_csv(symbol, 30) for symbol in "AB"}, name="other")
    tables = []
    for location in (regular, other):
        found = archive.list_archive(location)
        part = IngestPart(str(location), "", found.files)
        part.read()
        tables.append(part.tables()["prices"])
    assert tables[0] == tables[1]


def test_too_many_bad_rows_stop_the_run_and_keep_the_prices(run, make_archive):
    run({"stocks/A.csv": 100, "stocks/B.csv": 100, "stocks/GOOD.csv": 100})
    before = {path: path.read_bytes() for path in STUDY.prices.rglob("*") if path.is_file()}
    bad = ["2021-01-01,,,,,,"] * 3
    files = {
        "stocks/A.csv": content(*price_rows("A", 97), "2021-01-01,1,1,1,1,1,-1"),
        "stocks/B.csv": content(*price_rows("B", 97), *bad),
        "stocks/GOOD.csv": 100,
    }
    with pytest.raises(QuarantineError) as caught:
        run(files, share=0.01, name="bad")
    message = str(caught.value)
    assert message.splitlines() == [
        "4 of 298 raw rows would be quarantined, 1.34%; ingest.max_quarantined_share allows 1.00%. "
        "The commonest reason: null value (3). Worst files:",
        "  stocks/B.csv: 3 of 100 rows: null value: Open, High, Low, Close, Adj Close, Volume; line 99: '2021-01-01,,,,,,'",
        "  stocks/A.csv: 1 of 98 rows: negative volume: '-1'; line 99: '2021-01-01,1,1,1,1,1,-1'",
        "Fix the files, or set archive.source to another archive, or allow more: -p ingest.max_quarantined_share 0.02",
        f"Every row set aside, with its reason: {STUDY.quarantine}; an account of each file: {STUDY.files}",
    ]
    assert {path: path.read_bytes() for path in before} == before
    assert dataset.open_dataset(STUDY.prices).read().num_rows == 300
    assert dataset.open_dataset(STUDY.quarantine).read()["line"].to_pylist() == [99, 99, 100, 101]
    assert dataset.open_dataset(STUDY.files).read()["rows_quarantined"].to_pylist() == [1, 3, 0]
    kept, _, _ = run(files, share=float(message.split("-p ingest.max_quarantined_share ")[1].split()[0]), name="bad")
    assert kept.num_rows == 294


def test_what_would_lose_a_symbol_is_not_advised(run):
    files = {"stocks/A.csv": 100, "stocks/C.csv": "Date\n2020-01-01\n2020-01-02\n"}
    with pytest.raises(QuarantineError) as caught:
        run(files, share=0.01)
    message = str(caught.value)
    assert (
        "stocks/C.csv: 2 of 2 rows: wrong header: no columns of dates and prices, separated by a comma, semicolon, tab or |: it begins 'Date'"
        in message
    )
    assert "line 2: '2020-01-01'" in message
    assert "to allow more (ingest.max_quarantined_share) would drop this symbol entirely: C" in message
    assert "-p ingest" not in message
    assert "stocks/A.csv" not in message


def test_superseded_rows_count_as_bad_only_where_they_are_many(run):
    rows = price_rows("A", 60)
    kept, quarantined, _ = run({"stocks/A.csv": content(*rows[:-1], rows[-1][:-1], rows[-1])}, share=0.0)
    assert kept["Volume"].to_pylist()[-1] == int(rows[-1].rpartition(",")[2])
    assert [record["code"] for record in quarantined] == ["repeated_date"]
    with pytest.raises(QuarantineError, match=r"4 of 64 raw rows would be quarantined, 6\.25%.*repeated date \(4\)"):
        run({"stocks/A.csv": content(*rows[:4], *rows)}, share=0.01, name="many")


def test_columns_in_another_order_than_the_header_says_stop_the_run(run):
    exchanged = [",".join(row.split(",")[n] for n in (0, 1, 3, 2, 4, 5, 6)) for row in price_rows("A", 180)]
    with pytest.raises(QuarantineError) as caught:
        run({"stocks/A.csv": content(*exchanged), "stocks/B.csv": 180})
    message = str(caught.value)
    assert (
        "1 price file contradicts itself; are the columns in an order other than that of the header, Date,Open,High,"
        in message
    )
    assert (
        "  stocks/A.csv: 180 of 180 rows contradict themselves (High is below Low in 180 and Open or Close" in message
    )
    assert f"line 2: {exchanged[0]!r}" in message
    assert "stocks/B.csv" not in message and "-p " not in message
    assert not paths.dataset_manifest(STUDY.prices).exists()
    assert dataset.open_dataset(STUDY.files).read()["contradictions"].to_pylist() == [180, 0]


def test_an_archive_most_of_which_cannot_be_read(outputs, make_archive):
    location = make_archive({f"stocks/{symbol}.csv": 40 for symbol in "ABCDE"})
    found = archive.list_archive(location)
    for symbol in "AB":
        (location / "stocks" / f"{symbol}.csv").unlink()
    assert ingest.ingest(found, paths.StudyPaths("s")).prices.rows == 120  # a few are set aside
    (location / "stocks" / "C.csv").unlink()
    with pytest.raises(QuarantineError) as caught:
        ingest.ingest(found, paths.StudyPaths("s"))
    assert "3 of 5 price files cannot be read:\n  stocks/A.csv: unreadable file: No such file" in str(caught.value)


def test_an_archive_of_which_nothing_can_be_kept(run):
    with pytest.raises(QuarantineError, match="no price is left: 1 raw rows were read") as caught:
        run({"stocks/A.csv": "Date\n1\n", "stocks/B.csv": ""}, share=1.0)
    assert "The commonest reason: wrong header (1)" in str(caught.value)
    assert (
        "stocks/A.csv: 1 of 1 rows: wrong header: no columns of dates and prices, separated by a comma, semicolon, tab or |: it begins 'Date'"
        in str(caught.value)
    )
    assert "stocks/B.csv: 0 of 0 rows: empty file" in str(caught.value)
    assert not paths.dataset_manifest(STUDY.prices).exists()


@pytest.mark.parametrize(
    "row",
    ["2021-01-04,x,1,1,1,1,5", "2021-01-04,1,,1,1,1,5", "2021-01-04,1,1,1,1,1,0.5"],
)
def test_the_smallest_archive_says_why_it_is_refused(run, row):
    with pytest.raises(QuarantineError) as caught:
        run({"stocks/A.csv": content(row)})
    assert f"line 2: {row!r}" in str(caught.value)
    assert str(row_rules.parse_row(row.encode())) in str(caught.value)


def test_only_rows_that_were_read_count_in_the_share(run):
    kept, _, _ = run({"stocks/A.csv": 100, "stocks/B.csv": ""}, share=0.0)
    assert kept.num_rows == 100


def test_a_price_file_is_described(make_archive):
    found = archive.list_archive(make_archive({"stocks/A.csv": 1}))
    assert found.files == (PriceFile("stocks/A.csv", "A", "A Inc.", len(price_csv("A", 1))),)


def test_files_of_which_nothing_was_kept_are_named(run):
    run(
        {
            "stocks/A.csv": 20,
            "stocks/B.csv": "",
            "etfs/C.csv": content("2020-01-03,,,,,,"),
            "etfs/D.csv": content(",,,,,,"),
        }
    )
    assert quarantine.remarks(dataset.open_dataset(STUDY.files).read()) == [
        "\n".join(
            [
                "3 of 4 price files were set aside entirely:",
                "  stocks/B.csv: 0 of 0 rows: empty file",
                "  etfs/C.csv: 1 of 1 rows: null value: Open, High, Low, Close, Adj Close, Volume; line 2: '2020-01-03,,,,,,'",
                "  etfs/D.csv: 0 of 0 rows: no rows",
            ]
        )
    ]
    run({"stocks/A.csv": 20}, name="good")
    assert quarantine.remarks(dataset.open_dataset(STUDY.files).read()) == []


def test_files_that_seem_cut_off_are_named(run):
    cut = content(*price_rows("A", 60))[:-1].rpartition(",")[0] + ",1"
    run({"stocks/A.csv": cut, "stocks/B.csv": 60})
    (remark,) = quarantine.remarks(dataset.open_dataset(STUDY.files).read())
    assert (
        remark.startswith("1 of 2 price files end without a newline, in a volume far below")
        and "  stocks/A.csv" in remark
    )


def test_a_volume_under_adj_close_is_called_so(run):
    rows = [",".join([*row.split(",")[:5], row.split(",")[6], "0"]) for row in price_rows("A", 60)]
    with pytest.raises(
        QuarantineError, match=r"rows contradict themselves \(Adj Close looks like a volume, not a price\); line 2: "
    ):
        run({"stocks/A.csv": content(*rows)})


def test_quotes_far_from_a_files_end_cost_no_row(run):
    rows = [f'2000-01-{day:02},1,2,0.5,1.5,1.25,"{day},234"' for day in range(1, 29)]
    rows += [
        f"{2001 + number // 336}-{1 + number // 28 % 12:02}-{1 + number % 28:02},1,2,0.5,1.5,1.25,100"
        for number in range(336)
    ]
    kept, quarantined, _ = run({"A.csv": "\n".join([HEADER.strip(), *rows, ""])})
    assert quarantined == []
    assert kept["Volume"].to_pylist()[:28] == [1000 * day + 234 for day in range(1, 29)]
