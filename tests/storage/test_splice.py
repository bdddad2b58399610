"""Columns beside those of a Parquet file: every reader sees one table, whatever the two files are like."""

from __future__ import annotations

import struct

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tools import lacking

from lib.storage import splice
from lib.storage.splice import SpliceError, add_columns

COLUMNS = {
    "text": st.none() | st.text("aé", max_size=3),
    "whole": st.none() | st.integers(-(2**63), 2**63 - 1),
    "float": st.none() | st.floats(allow_nan=False),
    "truth": st.none() | st.booleans(),
    "several": st.none() | st.lists(st.integers(0, 9), max_size=3),
}
TYPES = {
    "text": pa.string(),
    "whole": pa.int64(),
    "float": pa.float64(),
    "truth": pa.bool_(),
    "several": pa.list_(pa.int32()),
}


def written(table, **options):
    file = pa.BufferOutputStream()
    pq.write_table(table, file, **options)
    return memoryview(file.getvalue())


@st.composite
def tables(draw, rows, letter):
    """A table of some columns; more than fifteen, at times: Thrift writes the length of a longer list differently."""
    kinds = draw(st.lists(st.sampled_from(sorted(COLUMNS)), min_size=1, max_size=20))
    values = [draw(st.lists(COLUMNS[kind], min_size=rows, max_size=rows)) for kind in kinds]
    names = [f"{letter}{number}" for number in range(len(kinds))]
    return pa.table(
        [pa.array(column, TYPES[kind]) for column, kind in zip(values, kinds, strict=True)],
        names=names,
    )


@st.composite
def options(draw):
    return {
        "compression": draw(st.sampled_from(["none", "zstd", "snappy"])),
        "use_dictionary": draw(st.booleans()),
        "write_statistics": draw(st.booleans()),
        "write_page_index": draw(st.booleans()),
        "write_page_checksum": draw(st.booleans()),
        "store_schema": draw(st.booleans()),
        "data_page_version": draw(st.sampled_from(["1.0", "2.0"])),
    }


@st.composite
def pairs(draw):
    rows, group = draw(st.integers(0, 20)), draw(st.sampled_from([1, 7, 100]))
    found = [draw(tables(rows, letter)) for letter in "ab"]
    return found, [written(table, row_group_size=group, **draw(options())) for table in found]


@settings(max_examples=150)
@given(pair=pairs())
def test_the_file_holds_both_tables(pair):
    (first, second), files = pair
    both = b"".join(add_columns(*files))
    expected = first.to_pydict() | second.to_pydict()
    found = pq.ParquetFile(pa.BufferReader(both), page_checksum_verification=True)
    assert found.read().to_pydict() == expected
    groups = pq.read_metadata(pa.BufferReader(files[0])).num_row_groups
    assert found.metadata.num_row_groups == groups
    for number in range(groups):  # each where it says to be
        names = [first.column_names[-1], second.column_names[0]]
        part = found.read_row_group(number, columns=names)
        start = sum(found.metadata.row_group(earlier).num_rows for earlier in range(number))
        assert part.to_pydict() == {name: expected[name][start : start + part.num_rows] for name in names}


@settings(max_examples=150)
@given(first=tables(9, "a"), second=tables(9, "b"), group=st.sampled_from([1, 4, 100]), options=options())
def test_the_bytes_are_those_that_pyarrow_writes_of_the_joined_table(first, second, group, options):
    # But for what is left out, and for Arrow's own schema in the footer.
    options = {**options, "write_page_index": False, "store_schema": False, "row_group_size": group}
    joined = pa.table([*first.columns, *second.columns], names=[*first.column_names, *second.column_names])
    both = add_columns(written(first, **options), written(second, **options))
    assert b"".join(both) == bytes(written(joined, **options))


def test_other_readers_see_both(tmp_path):
    try:
        import duckdb
        import polars as pl
    except ImportError as error:
        lacking(f"{error.name} is not installed")
    rows = range(3000)
    first = pa.table({"Symbol": pa.array([f"S{row // 100:02}" for row in rows]), "Volume": pa.array(rows)})
    second = pa.table({"average": pa.array([row / 3 if row % 7 else None for row in rows])})
    path = tmp_path / "both.parquet"
    files = [written(table, row_group_size=500, compression="zstd") for table in (first, second)]
    path.write_bytes(b"".join(add_columns(*files)))
    expected = first.append_column("average", second["average"]).to_pydict()
    assert pl.read_parquet(path).to_dict(as_series=False) == expected
    late = pl.scan_parquet(path).filter(pl.col("Symbol") == "S29").select("average").collect()
    assert late["average"].to_list() == expected["average"][-100:]
    found = duckdb.sql(f"SELECT * FROM '{path}'").to_arrow_table()
    assert found.to_pydict() == expected
    late = duckdb.sql(f"SELECT average FROM '{path}' WHERE Symbol = 'S29'").fetchall()
    assert [value for (value,) in late] == expected["average"][-100:]


@settings(max_examples=50)
@given(table=tables(5, "a"), options=options())
def test_a_footer_put_together_again_is_what_it_was(table, options):
    content = written(table, row_group_size=1, **options)
    (length,) = struct.unpack("<I", content[-8:-4])
    assert splice._write_struct(splice._footer(content)) == bytes(content[-8 - length : -8])


@pytest.mark.parametrize("rows, groups", [(9, 5), (10, 4)])
def test_other_row_groups_are_refused(rows, groups):
    first, second = pa.table({"a": range(10)}), pa.table({"b": range(rows)})
    with pytest.raises(SpliceError, match=r"row groups of \[5, 5\] rows, and of .* they must be the same"):
        add_columns(written(first, row_group_size=5), written(second, row_group_size=groups))


@pytest.mark.parametrize("content", [b"", b"PAR1PAR1", b"Date,Open,High,Low\n"])
def test_what_is_no_parquet_is_refused(content):
    with pytest.raises(SpliceError, match="no Parquet file"):
        add_columns(memoryview(content), written(pa.table({"a": [1]})))
