"""The bytes of an archive's files, whatever they are packed with: the beginning, the end, all of them, or a part.

Built on `lib.data.members`, which says which files there are; a member may itself be packed, as ``AAPL.csv.gz`` is.
"""

from __future__ import annotations

import lzma
import os
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from lib import locations
from lib.data import workbooks
from lib.data.members import LARGEST, LARGEST_RATIO, LOCAL_HEADER, Member, open_members, too_large
from lib.locations import Location

PACKINGS = {".gz": "gzip", ".zst": "zstd", ".bz2": "bz2", ".xz": "xz", ".xlsx": "workbook", ".xlsm": "workbook"}
_BLOCK = 1 << 20


def packing(name: str) -> str:
    """What a file's name says that it is packed with, empty for nothing.

    Examples
    --------
    >>> packing("A.csv.gz"), packing("A.xlsx"), packing("A.csv")
    ('gzip', 'workbook', '')
    """
    return PACKINGS.get(os.path.splitext(name)[1].lower(), "")


def source(location: Location, member: Member) -> Any:
    """What pyarrow reads a Parquet file from."""
    if member.packed is not None:
        return pa.BufferReader(whole(location, member))
    path = location / member.name
    # As text a path would have to be UTF-8.
    return pa.OSFile(os.fsencode(path)) if isinstance(path, Path) else locations.stream(path)


def beginning(location: Location, member: Member, size: int) -> tuple[bytes, bool]:
    """The first ``size`` bytes of a file, unpacked, and whether they are all of it; OSError where it cannot be read."""
    if member.packed is None and not packing(member.name):
        with locations.opened(location / member.name, member.size) as file:
            content = file.read(size + 1, 0)
    elif member.packed is not None and not packing(member.name):
        content = _beginning_in_zip(location, member, size + 1)
    else:
        content = next(_unpacked(location, member, size + 1), b"")
    return content[:size], len(content) <= size


def end(location: Location, member: Member, size: int) -> bytes:
    """The last ``size`` bytes of a file that is not packed; of one that is, nothing."""
    if member.packed is not None or packing(member.name):
        return b""
    with locations.opened(location / member.name, member.size) as file:
        return file.read(size, max(0, file.size - size))


def whole(location: Location, member: Member) -> bytes:
    """All bytes of a file, unpacked; OSError where it cannot be read, looks like a bomb, or has more than `lib.data.members.LARGEST`."""
    if not packing(member.name):
        with open_members(location) as read:
            return read(member)
    content = bytearray()
    for block in _unpacked(location, member, _BLOCK):
        content += block
        if len(content) > LARGEST:
            raise OSError(too_large(len(content)))
        _refuse_bomb(len(content), member)
    return bytes(content)


def spool(location: Location, member: Member, to: Path) -> int:
    """Unpack a file of any size into another, and return how many bytes that are; OSError for what looks like a bomb."""
    written = 0
    blocks = _unpacked(location, member, _BLOCK) if packing(member.name) else _zip_blocks(location, member)
    with to.open("wb") as file:
        for block in blocks:
            written += file.write(block)
            _refuse_bomb(written, member)
    return written


def _refuse_bomb(unpacked: int, member: Member) -> None:
    packed = member.packed.packed if member.packed else member.size
    if unpacked > max(_BLOCK, LARGEST_RATIO * packed):
        raise OSError(f"unpacks to more than {LARGEST_RATIO} times its {packed:,} bytes, as a bomb does")


def _unpacked(location: Location, member: Member, size: int) -> Iterator[bytes]:
    """The blocks of a packed file; it may be in a zip."""
    if member.packed is not None:
        with open_members(location) as read:
            source = pa.BufferReader(read(member))
    elif isinstance(location, Path):
        with locations.opened(path := location / member.name):  # no FIFO
            source = pa.OSFile(os.fsencode(path))
    else:
        source = locations.stream(location / member.name)
    how = packing(member.name)
    if how == "workbook":
        yield from workbooks.as_csv(source.read(), size)
        return
    try:
        with lzma.open(source) if how == "xz" else pa.CompressedInputStream(source, how) as unpacked:
            while block := unpacked.read(size):
                yield block
    except (OSError, pa.ArrowException, lzma.LZMAError, EOFError) as error:  # cut off, or damaged
        raise OSError(f"cannot be unpacked ({error}): download it again") from None


def _beginning_in_zip(location: Location, member: Member, size: int) -> bytes:
    if member.size <= size:
        return whole(location, member)
    content = b""
    for block in _zip_blocks(location, member):
        content += block
        if len(content) >= size:
            break
    return content[:size]


def _zip_blocks(location: Location, member: Member) -> Iterator[bytes]:
    """The blocks of a zip's member."""
    packed = member.packed
    assert packed is not None, "a member of a zip"
    if packed.method not in (zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED):
        yield whole(location, member)
        return
    unpack = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        with locations.opened(location) as file:
            _, name, extra = LOCAL_HEADER.unpack(file.read(LOCAL_HEADER.size, packed.offset))
            position = packed.offset + LOCAL_HEADER.size + name + extra
            stop = position + packed.packed
            while position < stop:
                block = file.read(min(_BLOCK, stop - position), position)
                position += len(block)
                if not block:
                    raise OSError("the zip ends within it: download it again")
                if packed.method == zipfile.ZIP_STORED:
                    yield block
                while packed.method != zipfile.ZIP_STORED and block:  # a block may unpack to a thousand
                    yield unpack.decompress(block, _BLOCK)
                    block = unpack.unconsumed_tail
            yield unpack.flush()
    except zlib.error as error:
        raise OSError(f"the zip is damaged here ({error}): download it again") from None
