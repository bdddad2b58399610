"""The files of a folder or ``.zip``: which there are, which of them may be read, and their bytes.

An archive is whatever somebody gives: nothing but a regular file is opened, no link is followed out of the archive
unless that is allowed, and nothing is unpacked beyond a limit.
"""

from __future__ import annotations

import bz2
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from lib import locations
from lib.locations import Location, Opened, Url
from lib.text import printable, visible

LARGEST = 1 << 28  # bytes of one file: a daily price file of a century has 3 MB
LARGEST_RATIO = 200  # unpacked to packed, of members over a megabyte: prices reach 20
LOCAL_HEADER = struct.Struct("<4s22xHH")  # of a zip's member: signature, length of the name, length of the extra field
_DECOMPRESSORS: dict[int, Callable[[], object]] = {
    zipfile.ZIP_DEFLATED: lambda: zlib.decompressobj(-zlib.MAX_WBITS),
    zipfile.ZIP_BZIP2: bz2.BZ2Decompressor,
}


OTHER_WORKBOOKS = (".xls", ".xlsb", ".ods", ".numbers")
SAVE_AS_CSV = "save it as .xlsx or CSV"


class ArchiveError(ValueError):
    """An archive that is not there, cannot be read, or is not in Kaggle's layout."""

    def __init__(self, message: str) -> None:
        super().__init__(visible(message))  # it quotes what files hold


@dataclass(frozen=True, slots=True)
class ZipMember:
    """Where a member of a zip is, as the zip's directory says: a worker that has this need not read the directory.

    Parameters
    ----------
    offset : int
        Of its local header, in the zip.
    packed, crc, method, flags : int
        Bytes it takes in the zip, its checksum, how it is packed, and the zip format's flags.
    """

    offset: int
    packed: int
    crc: int
    method: int
    flags: int


@dataclass(frozen=True, slots=True)
class Member:
    """A file that can be read.

    Parameters
    ----------
    name : str
        Its POSIX path in the archive; as `os.fsdecode` has it, so it may hold anything but NUL.
    size : int
        Bytes; of a zip's member, as the directory claims.
    packed : ZipMember or None
        None in a folder.
    """

    name: str
    size: int
    packed: ZipMember | None = None


@dataclass(frozen=True, slots=True)
class NotRead:
    """A file that is not read.

    Parameters
    ----------
    name : str
        Its path in the archive, `lib.text.printable`.
    """

    name: str
    why: str


def list_members(location: Location, follow_links: bool = False) -> tuple[list[Member], list[NotRead]]:
    """List the files of a folder or ``.zip``.

    Parameters
    ----------
    follow_links : bool
        Read what links lead to outside the folder, too.

    Returns
    -------
    members : list of Member
        In no order.
    not_read : list of NotRead
        What is no regular file, or is behind a link that leaves the folder.

    Raises
    ------
    ArchiveError
        No such folder or zip, a folder in it cannot be read, or the zip's directory is damaged.
    """
    if isinstance(location, Url):
        if location.is_file():
            return _list_zip(location), []
        found = locations.everything(location)
        if not found:
            raise ArchiveError(
                f"{location}: nothing is there; archive.source is a prefix that holds price files, or one .zip"
            )
        return [Member(name, size) for name, (size, _) in found.items()], []
    if location.is_dir():
        return _list_folder(location, follow_links)
    if not location.exists():
        raise ArchiveError(
            f"{printable(str(location))}: no such folder or file; archive.source is sample, kaggle, yahoo, or the path of a folder, a .zip, a .tar or a "
            "price file"
        )
    return _list_zip(location), []


def is_folder(location: Location) -> bool:
    """Whether an archive is a folder, or a prefix of object storage, and not one file."""
    return not location.is_file() if isinstance(location, Url) else location.is_dir()


@contextmanager
def open_members(location: Location) -> Iterator[Callable[[Member], bytes]]:
    """Give a function that reads members of a folder or zip.

    Yields
    ------
    callable
        From a `Member` to its bytes; whatever keeps it from being read is an OSError.
    """
    if is_folder(location):
        yield lambda member: read_file(location / member.name, member.size)
        return
    with locations.opened(location) as file:
        yield lambda member: _unpack(file, member)


def read_file(path: Location, listed: int | None = None) -> bytes:
    """The bytes of a regular file of at most `LARGEST` bytes, of ``listed`` bytes when it was found; OSError for any other."""
    with locations.opened(path, listed) as file:
        size = file.size
        if size > LARGEST:
            raise OSError(too_large(size))
        content = bytearray()
        while block := file.read(max(1 << 16, size + 1 - len(content)), len(content)):
            content += block
            if len(content) > LARGEST:  # it grew, or has no size, as in /proc
                raise OSError(too_large(len(content)))
        return bytes(content)


def too_large(size: int) -> str:
    """The message about a file with so many bytes."""
    return (
        f"too large: {size:,} bytes, where {LARGEST:,} are allowed; a price file holds one symbol's daily prices, "
        "about a hundred bytes a day: split it, or take it out of the archive"
    )


def _list_folder(location: Path, follow_links: bool) -> tuple[list[Member], list[NotRead]]:
    root = os.path.realpath(location)
    members: list[Member] = []
    not_read: list[NotRead] = []
    visited: set[tuple[int, int]] = set()
    # Folders that are there themselves come first, so that what is reached through a link too has its own name.
    folders, linked = [""], list[str]()
    while folders or linked:
        folder = folders.pop() if folders else linked.pop(0)
        path = f"{location}/{folder}"
        try:
            found = os.stat(path)
            if (found.st_dev, found.st_ino) in visited:
                continue
            visited.add((found.st_dev, found.st_ino))
            entries = sorted(os.scandir(path), key=lambda entry: entry.name, reverse=True)
        except OSError as error:
            raise ArchiveError(
                f"{printable(path.rstrip('/'))}: the folder cannot be read ({error.strerror}); check its permissions"
            ) from None
        while entries:
            entry = entries.pop()  # it keeps what is asked of the file, ten times its name
            name = folder + entry.name
            link = entry.is_symlink()
            if link and not follow_links and not _within(root, os.path.realpath(entry.path)):
                not_read.append(
                    NotRead(printable(name), "a link out of the archive, which archive.follow_links: true would follow")
                )
            elif _is_folder(entry):
                (linked if link else folders).append(f"{name}/")
            else:
                _add_file(name, entry, members, not_read)
    return members, not_read


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # links that lead in a circle
        return False


def _add_file(name: str, entry: os.DirEntry[str], members: list[Member], not_read: list[NotRead]) -> None:
    try:
        found = entry.stat()
    except OSError:  # a link to nowhere is listed too, and refused when it is read
        members.append(Member(name, 0))
        return
    if stat.S_ISREG(found.st_mode):
        members.append(Member(name, found.st_size))
    else:
        kinds = {stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}
        not_read.append(NotRead(printable(name), f"{kinds.get(stat.S_IFMT(found.st_mode), 'no file')}, not a file"))


def _within(root: str, path: str) -> bool:
    return path == root or path.startswith(root.rstrip("/") + "/")


def _list_zip(location: Location) -> list[Member]:
    shown = printable(str(location))
    if not location.is_file():
        raise ArchiveError(f"{shown}: neither a folder nor a file; name a folder or a .zip as archive.source")
    try:
        with zipfile.ZipFile(locations.stream(location)) as archive:
            found = [member for member in archive.infolist() if not member.is_dir()]
    except Exception as error:  # of a damaged directory: BadZipFile, UnicodeDecodeError, NotImplementedError, ...
        raise ArchiveError(f"{shown}: {_no_zip(location, error)}") from None
    with locations.opened(location) as file:
        size = file.size
    ordered = sorted(found, key=lambda member: member.header_offset)
    starts = [*(member.header_offset for member in ordered), size]
    for (start, following), member in zip(pairwise(starts), ordered, strict=True):
        # Each member has bytes of its own: shared ones are how a small zip unpacks to any size.
        if start + LOCAL_HEADER.size + member.compress_size > following:
            raise ArchiveError(
                f"{shown}: {printable(_plain(member.filename))} overlaps what comes after it in the zip: it is damaged, "
                "or a zip bomb; download it again, or unpack it and name the folder"
            )
    return [
        Member(
            _plain(member.filename),
            member.file_size,
            ZipMember(member.header_offset, member.compress_size, member.CRC, member.compress_type, member.flag_bits),
        )
        for member in found
    ]


def _plain(name: str) -> str:
    """A zip member's name as other archives have it: Windows' own zips have backslashes, some start with ``./``."""
    return name.replace("\\", "/").removeprefix("./")


def _no_zip(location: Location, error: Exception) -> str:
    """What a file that is given as an archive is instead, and what to do."""
    try:
        with locations.opened(location) as file:
            start = file.read(8, 0)
    except OSError as reason:
        return f"cannot be read ({reason.strerror or reason}); check its permissions"
    if location.name.lower().endswith(OTHER_WORKBOOKS):
        return f"a workbook of a spreadsheet program: {SAVE_AS_CSV}"
    if start.startswith(b"PK") or location.name.lower().endswith(".zip"):
        return f"not a readable .zip ({error}); download it again, or name a folder"
    unpack = "unpack it, and name the folder as archive.source"
    packed = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "Zstandard", b"7z": "7z"}
    for magic, name in packed.items():
        if start.startswith(magic):
            return f"neither a folder nor a .zip, but packed with {name}: {unpack}"
    kind = "a Parquet file" if start.startswith(b"PAR1") else "another file"
    return (
        f"neither a folder nor a .zip, but {kind}. A single file of prices is called .csv, .txt, .tsv, .parquet or .xlsx, packed or not: rename it if it "
        "is one"
    )


def _unpack(file: Opened, member: Member) -> bytes:
    """Read a zip's member; never more of it than the directory claims, nor than the limits allow."""
    packed = member.packed
    assert packed is not None, "a member of a zip"
    try:
        if packed.flags & 0x1:
            raise ValueError("encrypted; unpack the zip with its password, and name the folder as archive.source")
        if max(member.size, packed.packed) > LARGEST:
            raise ValueError(too_large(max(member.size, packed.packed)))
        if member.size > max(1 << 20, LARGEST_RATIO * packed.packed):
            raise ValueError(
                f"{packed.packed:,} bytes that unpack to {member.size:,}, more than {LARGEST_RATIO} times as many, as a zip "
                "bomb does; if this is intended, unpack the zip and name the folder as archive.source"
            )
        signature, name, extra = LOCAL_HEADER.unpack(file.read(LOCAL_HEADER.size, packed.offset))
        if signature != b"PK\x03\x04":
            raise ValueError("the zip is damaged here: download it again")
        start = packed.offset + LOCAL_HEADER.size + name + extra
        content = file.read(packed.packed, start)
        if packed.method != zipfile.ZIP_STORED:
            if packed.method not in _DECOMPRESSORS:
                raise ValueError(
                    f"packed by a method, {packed.method}, that is not read; unpack the zip, and name the folder"
                )
            decompressor = _DECOMPRESSORS[packed.method]()
            content = decompressor.decompress(content, member.size + 1)  # type: ignore[attr-defined]
        if len(content) != member.size or zlib.crc32(content) != packed.crc:
            raise ValueError("checksum mismatch: the zip is damaged; download it again")
    except Exception as error:  # what zlib, bz2 and struct raise, too
        raise OSError(f"zip member cannot be read: {error}") from error
    return content
