"""Columns put beside those of a Parquet file, whose own are copied as they are: neither decoded nor encoded again.

A Parquet file is its column chunks, one a column and row group, and a footer that says where each is. So two files with
the same row groups are joined by copying chunks and writing one footer for both, at the speed of a copy; the bytes are
those that pyarrow would write of the joined table. parquet-java does the same in `ParquetRewriter
<https://github.com/apache/parquet-java>`_; pyarrow has nothing like it yet (`apache/arrow#47628 <https://github.com/apache/arrow/issues/47628>`_).

The footer is written in Thrift's `compact protocol
<https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md>`_, which says of each field its number
and its type: it is taken apart and put together again here without knowing what every field means. Those of which the
meaning counts are named after `parquet.thrift
<https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift>`_.
"""

from __future__ import annotations

import io
import struct
from typing import Any, BinaryIO

MAGIC = b"PAR1"

# A Thrift struct, as {field number: (type, value)}; a list's value is (type of its elements, elements).
Struct = dict[int, tuple[int, Any]]

# Thrift's types, by their numbers in the compact protocol.
_TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = range(1, 13)
# Fields of parquet.thrift.
_SCHEMA, _NUM_ROWS, _ROW_GROUPS, _COLUMN_ORDERS = 2, 3, 4, 7  # of FileMetaData
_NUM_CHILDREN = 5  # of SchemaElement
_COLUMNS, _TOTAL_BYTES, _GROUP_ROWS, _GROUP_OFFSET, _GROUP_COMPRESSED = 1, 2, 3, 5, 6  # of RowGroup
_CHUNK_OFFSET, _META_DATA, _INDEXES = 2, 3, (4, 5, 6, 7)  # of ColumnChunk
_COMPRESSED, _DATA_PAGE, _INDEX_PAGE, _DICTIONARY_PAGE, _BLOOM_FILTER = 7, 9, 10, 11, (14, 15)  # of ColumnMetaData


class SpliceError(ValueError):
    """The files are not Parquet, or not of the same row groups."""


def add_columns(content: memoryview, added: memoryview) -> list[memoryview]:
    """One Parquet file of the columns of two.

    Page indexes and Bloom filters, which neither file needs to have, are left out.

    Parameters
    ----------
    content, added : memoryview of bytes
        Parquet files of the same rows in the same row groups, and of different columns.

    Returns
    -------
    list of memoryview
        The file's bytes, piece by piece: the columns of ``content``, then those of ``added``. What else the footer says
        (who created it, key-value metadata) is what that of ``content`` says.

    Raises
    ------
    SpliceError
        They do not fit together.

    Examples
    --------
    >>> import pyarrow as pa, pyarrow.parquet as pq
    >>> files = []
    >>> for table in (pa.table({"a": [1, 2]}), pa.table({"b": ["x", "y"]})):
    ...     file = pa.BufferOutputStream()
    ...     pq.write_table(table, file)
    ...     files.append(memoryview(file.getvalue()))
    >>> both = b"".join(add_columns(*files))
    >>> pq.read_table(pa.BufferReader(both)).to_pydict()
    {'a': [1, 2], 'b': ['x', 'y']}
    """
    footer, other = _footer(content), _footer(added)
    groups, other_groups = footer[_ROW_GROUPS][1][1], other[_ROW_GROUPS][1][1]
    rows, other_rows = ([group[_GROUP_ROWS][1] for group in of] for of in (groups, other_groups))
    if rows != other_rows:
        raise SpliceError(f"row groups of {rows} rows, and of {other_rows} to put beside them: they must be the same")
    schema, other_schema = footer[_SCHEMA][1][1], other[_SCHEMA][1][1]
    schema[0][_NUM_CHILDREN] = (_I32, schema[0][_NUM_CHILDREN][1] + other_schema[0][_NUM_CHILDREN][1])
    schema += other_schema[1:]
    if _COLUMN_ORDERS in footer and _COLUMN_ORDERS in other:
        footer[_COLUMN_ORDERS][1][1].extend(other[_COLUMN_ORDERS][1][1])
    pieces = [memoryview(MAGIC)]
    position = len(MAGIC)
    for group, beside in zip(groups, other_groups, strict=True):
        start = position
        columns = group[_COLUMNS][1][1]
        for source, chunk in [*((content, chunk) for chunk in columns), *((added, c) for c in beside[_COLUMNS][1][1])]:
            piece = _move(source, chunk, position)
            pieces.append(piece)
            position += len(piece)
        columns += beside[_COLUMNS][1][1]
        group[_TOTAL_BYTES] = (_I64, group[_TOTAL_BYTES][1] + beside[_TOTAL_BYTES][1])
        if _GROUP_OFFSET in group:
            group[_GROUP_OFFSET] = (_I64, start)
        if _GROUP_COMPRESSED in group:
            group[_GROUP_COMPRESSED] = (_I64, position - start)
    written = _write_struct(footer)
    return [*pieces, memoryview(written + struct.pack("<I", len(written)) + MAGIC)]


def _move(source: memoryview, chunk: Struct, to: int) -> memoryview:
    """A column chunk's bytes; its metadata is made to say that they stand at ``to``."""
    about: Struct = chunk[_META_DATA][1]
    pages = [field for field in (_DATA_PAGE, _INDEX_PAGE, _DICTIONARY_PAGE) if field in about]
    start = min(about[field][1] for field in pages)
    for field in pages:
        about[field] = (_I64, about[field][1] - start + to)
    if chunk[_CHUNK_OFFSET][1]:  # deprecated: zero, or where the chunk starts
        chunk[_CHUNK_OFFSET] = (_I64, to)
    for field in _INDEXES:
        chunk.pop(field, None)
    for field in _BLOOM_FILTER:
        about.pop(field, None)
    return source[start : start + about[_COMPRESSED][1]]


def _footer(content: memoryview) -> Struct:
    if len(content) < 12 or content[:4] != MAGIC or content[-4:] != MAGIC:
        raise SpliceError(f"{len(content):,} bytes that do not start and end with {MAGIC.decode()}: no Parquet file")
    (length,) = struct.unpack("<I", content[-8:-4])
    return _read_struct(io.BytesIO(content[-8 - length : -8]))


def _read_struct(footer: BinaryIO) -> Struct:
    fields: Struct = {}
    number = 0
    while header := footer.read(1)[0]:
        delta, kind = header >> 4, header & 15
        number = number + delta if delta else _read_integer(footer)
        # Of a field, the type is the truth value; in a list it is a byte of its own.
        fields[number] = (kind, kind == _TRUE if kind in (_TRUE, _FALSE) else _read_value(footer, kind))
    return fields


def _read_value(footer: BinaryIO, kind: int) -> Any:
    if kind in (_TRUE, _FALSE, _BYTE):
        return footer.read(1)[0]
    if kind in (_I16, _I32, _I64):
        return _read_integer(footer)
    if kind == _STRUCT:
        return _read_struct(footer)
    if kind == _LIST:
        header = footer.read(1)[0]
        size, element = header >> 4, header & 15
        size = _read_varint(footer) if size == 15 else size
        return element, [_read_value(footer, element) for _ in range(size)]
    if kind in (_DOUBLE, _BINARY):
        return footer.read(8 if kind == _DOUBLE else _read_varint(footer))
    raise SpliceError(f"a footer with a Thrift field of type {kind}, which Parquet does not use")


def _read_varint(footer: BinaryIO) -> int:
    value = shift = 0
    while (byte := footer.read(1)[0]) > 127:
        value |= (byte & 127) << shift
        shift += 7
    return value | byte << shift


def _read_integer(footer: BinaryIO) -> int:
    value = _read_varint(footer)
    return (value >> 1) ^ -(value & 1)  # zigzag


def _write_struct(fields: Struct) -> bytes:
    pieces = []
    before = 0
    for number, (kind, value) in fields.items():
        delta = number - before
        pieces.append(bytes([delta << 4 | kind]) if 0 < delta < 16 else bytes([kind]) + _integer(number))
        pieces.append(b"" if kind in (_TRUE, _FALSE) else _write_value(kind, value))
        before = number
    return b"".join(pieces) + b"\0"


def _write_value(kind: int, value: Any) -> bytes:
    if kind in (_TRUE, _FALSE, _BYTE):
        return bytes([value])
    if kind in (_I16, _I32, _I64):
        return _integer(value)
    if kind == _STRUCT:
        return _write_struct(value)
    if kind == _LIST:
        element, elements = value
        size = len(elements)
        header = bytes([size << 4 | element]) if size < 15 else bytes([15 << 4 | element]) + _varint(size)
        return header + b"".join(_write_value(element, each) for each in elements)
    return value if kind == _DOUBLE else _varint(len(value)) + value


def _integer(value: int) -> bytes:
    return _varint(value << 1 if value >= 0 else ~(value << 1))


def _varint(value: int) -> bytes:
    sevens = []
    while value > 127:
        sevens.append(value & 127 | 128)
        value >>= 7
    return bytes([*sevens, value])
