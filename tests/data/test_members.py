"""Nothing but regular files within the archive is opened, and nothing is unpacked beyond the limits."""

from __future__ import annotations

import gzip
import os
import socket
import struct
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import pytest
from raw_archives import HEADER, metadata_csv, price_csv

from lib import paths
from lib.data import archive, members
from lib.data.members import ArchiveError, Member


def listed(location: Path, follow_links: bool = False) -> tuple[list[str], dict[str, str]]:
    """The names of the files that can be read, and of those that are not, with the reason."""
    found, not_read = members.list_members(location, follow_links)
    return sorted(member.name for member in found), {file.name: file.why for file in not_read}


def read_all(location: Path) -> dict[str, bytes | str]:
    """What each member holds, or why it cannot be read."""
    found: dict[str, bytes | str] = {}
    with members.open_members(location) as read:
        for member in members.list_members(location)[0]:
            try:
                found[member.name] = read(member)
            except OSError as error:
                found[member.name] = str(error)
    return found


# Folders.


def test_only_regular_files_are_read(make_archive):
    location = make_archive({"stocks/A.csv": 2})
    os.mkfifo(location / "stocks" / "F.csv")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(location / "stocks" / "S.csv"))
    (location / "stocks" / "Z.csv").symlink_to("/dev/zero")
    names, not_read = listed(location, follow_links=True)
    assert names == ["stocks/A.csv", "symbols_valid_meta.csv"]
    assert not_read == {
        "stocks/F.csv": "a FIFO, not a file",
        "stocks/S.csv": "a socket, not a file",
        "stocks/Z.csv": "a device, not a file",
    }
    assert listed(location)[1]["stocks/Z.csv"].startswith("a link out of the archive")


@pytest.mark.parametrize("kind", ["fifo", "device", "folder"])
def test_a_file_that_became_something_else_is_not_waited_for(make_archive, kind):
    location = make_archive({"stocks/A.csv": 2})
    found = archive.list_archive(location)
    path = location / "stocks" / "A.csv"
    path.unlink()
    {"fifo": os.mkfifo, "device": lambda path: path.symlink_to("/dev/zero"), "folder": os.mkdir}[kind](path)
    with members.open_members(location) as read, pytest.raises(OSError, match=r"not a regular file|Is a directory"):
        read(Member("stocks/A.csv", found.files[0].size))
    assert len(archive.fingerprint(found)) == 64


def test_links_that_leave_the_archive_are_named_and_not_read(make_archive, tmp_path):
    location = make_archive({"stocks/A.csv": 2})
    outside = make_archive({"B.csv": 2, "deep/C.csv": 2}, name="outside")
    secret = tmp_path / "secret"
    secret.write_text("root:x:0:0\n")
    (location / "stocks" / "B.csv").symlink_to(outside / "B.csv")
    (location / "stocks" / "SECRET.csv").symlink_to(f"../../{secret.name}")
    (location / "stocks" / "INSIDE.csv").symlink_to("A.csv")
    (location / "etfs").symlink_to(outside / "deep")
    names, not_read = listed(location)
    assert names == ["stocks/A.csv", "stocks/INSIDE.csv", "symbols_valid_meta.csv"]
    assert not_read.keys() == {"stocks/B.csv", "stocks/SECRET.csv", "etfs"}
    assert all("archive.follow_links: true" in why and str(tmp_path) not in why for why in not_read.values())
    names, not_read = listed(location, follow_links=True)
    assert {"stocks/B.csv", "stocks/SECRET.csv", "etfs/C.csv"} < set(names)
    assert not_read == {}


def test_an_archive_of_nothing_but_links_says_what_to_set(make_archive):
    outside = make_archive({"B.csv": 2}, name="outside")
    location = make_archive({})
    (location / "stocks").mkdir()
    (location / "stocks" / "B.csv").symlink_to(outside / "B.csv")
    with pytest.raises(ArchiveError, match=r"1 was skipped, such as stocks/B.csv: a link out of the archive, which"):
        archive.list_archive(location)
    assert [file.symbol for file in archive.list_archive(location, follow_links=True).files] == ["B"]


def test_loops_of_links_end_and_a_folder_is_visited_by_its_own_name(make_archive):
    location = make_archive({"stocks/A.csv": 2, "etfs/B.csv": 2})
    for name in ("a", "b", "stocks/up"):
        (location / name).symlink_to("." if "/" not in name else "..")
    (location / "alias").symlink_to("stocks")
    names, _ = listed(location)
    assert names == ["etfs/B.csv", "stocks/A.csv", "symbols_valid_meta.csv"]
    (location / "stocks" / "self.csv").symlink_to("self.csv")  # neither file nor folder: named where it is read
    names, _ = listed(location)
    assert names == ["etfs/B.csv", "stocks/A.csv", "stocks/self.csv", "symbols_valid_meta.csv"]


def test_a_huge_file_costs_no_memory_and_is_named(make_archive, monkeypatch):
    location = make_archive({"stocks/A.csv": 20, "stocks/B.csv": 20})
    with (location / "stocks" / "A.csv").open("ab") as file:
        file.truncate(1 << 42)
    assert read_all(location)["stocks/A.csv"].startswith(
        "too large: 4,398,046,511,104 bytes, where 268,435,456 are allowed"
    )
    assert len(archive.fingerprint(archive.list_archive(location))) == 64
    monkeypatch.setattr(members, "LARGEST", 10)
    assert "too large" in read_all(location)["stocks/B.csv"]


# Zips.


def test_a_member_is_read_without_the_directory(make_archive):
    location = make_archive({f"stocks/{symbol}.csv": 50 for symbol in "ABC"}, name="a.zip")
    found, _ = members.list_members(location)
    content = location.read_bytes()
    location.write_bytes(content[: content.rindex(b"PK\x01\x02")])  # most of the directory is gone
    with members.open_members(location) as read:
        for member in found[:3]:
            assert read(member) == price_csv(member.name[-5], 50).encode()


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
def test_members_are_read_as_zipfile_reads_them(tmp_path, method):
    location = tmp_path / "a.zip"
    contents = {"a": b"", "b": b"x" * 70_000, "c": os.urandom(5000), "d/é": price_csv("A", 400).encode()}
    location.write_bytes(b"#!/bin/sh\n")  # a zip may stand behind something else
    with zipfile.ZipFile(location, "a", method) as made:
        for name, content in contents.items():
            made.writestr(name, content)
        with made.open("streamed", "w") as member:  # its sizes stand behind it
            member.write(contents["d/é"])
    assert read_all(location) == {**contents, "streamed": contents["d/é"]}


def test_what_is_packed_in_another_way_is_named(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_LZMA) as made:
        made.writestr("a", "x")
    assert "packed by a method, 14, that is not read; unpack the zip" in read_all(tmp_path / "a.zip")["a"]


def test_an_encrypted_member_is_named(make_archive):
    location = make_archive({"stocks/A.csv": 20}, name="a.zip")
    content = bytearray(location.read_bytes())
    for signature, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + at] |= 1
    location.write_bytes(content)
    assert read_all(location)["stocks/A.csv"].endswith(
        "encrypted; unpack the zip with its password, and name the folder as archive.source"
    )


def bomb(location: Path, size: int, claim: int, method: int = zipfile.ZIP_DEFLATED) -> Path:
    """A zip of a price file of ``size`` bytes, of which the directory claims ``claim``."""
    with zipfile.ZipFile(location, "w", method) as made:
        made.writestr("stocks/A.csv", price_csv("A", 20))
        made.writestr("symbols_valid_meta.csv", metadata_csv([("A", "A", "A")]))
        with made.open("stocks/BOMB.csv", "w", force_zip64=False) as member:
            block = (HEADER + "\n").encode() + b"0" * (1 << 20)
            for _ in range(size // len(block)):
                member.write(block)
    content = bytearray(location.read_bytes())
    at = content.rindex(b"PK\x01\x02")
    content[at + 24 : at + 28] = struct.pack("<I", claim)
    location.write_bytes(content)
    return location


def memory_of(work: str, location: Path) -> tuple[list[str], int]:
    """The lines that ``work`` prints in a process of its own, which has ``location``, and the bytes by which that grows."""
    program = (
        "import resource, sys; from pathlib import Path; from lib.data import archive, members, unpack\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        f"location = Path(sys.argv[1])\n{work}"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    # By a shell, which is small: Linux gives a process its parent's peak for a start.
    command = ["sh", "-c", '"$@"; exit $?', "sh", sys.executable, "-c", program, str(location)]
    out = subprocess.run(command, cwd=paths.ROOT, capture_output=True, text=True, check=True, timeout=300).stdout
    *lines, grown = out.splitlines()
    return lines, int(grown) * (1024 if sys.platform == "linux" else 1)


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
@pytest.mark.parametrize(
    ("claim", "message"),
    [(200_000_000, "more than 200 times as many"), (1000, "checksum mismatch: the zip is damaged")],
)
def test_a_bomb_is_named_and_costs_no_memory(tmp_path, method, claim, message):
    location = bomb(tmp_path / "a.zip", 200_000_000, claim, method)
    assert location.stat().st_size < 1_000_000
    (named,), grown = memory_of(
        "with members.open_members(location) as read:\n"
        "    for member in members.list_members(location)[0]:\n"
        "        try: read(member)\n"
        "        except OSError as error: print(member.name, error)\n",
        location,
    )
    assert named.startswith("stocks/BOMB.csv zip member cannot be read: ") and message in named
    assert grown < 20_000_000


@pytest.mark.parametrize("packing", ["zip", "gz", "gz in a zip"])
def test_a_bomb_that_begins_like_prices_costs_no_memory_in_a_run(tmp_path, packing):
    """To see what a file is, its beginning is unpacked, and no more of it."""
    size = 250_000_000
    content = (price_csv("A", 20) + "0" * size).encode()
    folder = tmp_path / "archive"
    folder.mkdir()
    (folder / "A.csv").write_text(price_csv("A", 20))
    if packing == "zip":
        (folder / "BOMB.csv").write_bytes(content)
    else:
        (folder / "BOMB.csv.gz").write_bytes(gzip.compress(content))
    if "zip" in packing:
        with zipfile.ZipFile(tmp_path / "archive.zip", "w", zipfile.ZIP_DEFLATED) as made:
            for file in folder.iterdir():
                made.write(file, file.name)
        folder = tmp_path / "archive.zip"
    (message,), grown = memory_of(
        "found = archive.list_archive(location)\n"
        "bomb = next(file for file in found.files if file.name.startswith('BOMB'))\n"
        "try: unpack.whole(location, members.Member(bomb.name, bomb.size, bomb.packed))\n"
        "except OSError as error: print(error)\n",
        folder,
    )
    assert "bomb does" in message
    assert grown < 120_000_000


def test_members_that_share_bytes_are_refused(make_archive):
    location = make_archive({f"stocks/{symbol}.csv": 50 for symbol in "ABC"}, name="a.zip")
    content = bytearray(location.read_bytes())
    entries = [at for at in range(len(content)) if content[at : at + 4] == b"PK\x01\x02"]
    content[entries[1] + 42 : entries[1] + 46] = content[entries[0] + 42 : entries[0] + 46]
    location.write_bytes(content)
    with pytest.raises(
        ArchiveError, match=r"stocks/[AB].csv overlaps what comes after it in the zip: it is damaged, or a zip"
    ):
        archive.list_archive(location)


def test_a_quoted_overlap_is_refused(tmp_path):
    """As David Fifield's bombs are made: each member's data begins with the next one's header, quoted as stored text."""
    kernel = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = kernel.compress(b"0" * 1_000_000) + kernel.flush()
    inner = struct.pack("<4s5H3L2H", b"PK\x03\x04", 20, 0, 8, 0, 0, 0, len(packed), 10**6, 1, 0) + b"b" + packed
    quoted = struct.pack("<BHH", 0, len(inner) - len(packed), 0xFFFF ^ (len(inner) - len(packed))) + inner
    outer = struct.pack("<4s5H3L2H", b"PK\x03\x04", 20, 0, 8, 0, 0, 0, len(quoted), 10**6 + 31, 1, 0) + b"a" + quoted
    entry = "<4s6H3L5H2L"
    first = (
        struct.pack(entry, b"PK\x01\x02", 20, 20, 0, 8, 0, 0, 0, len(quoted), 10**6 + 31, 1, 0, 0, 0, 0, 0, 0) + b"a"
    )
    at = len(outer) - len(inner)
    second = struct.pack(entry, b"PK\x01\x02", 20, 20, 0, 8, 0, 0, 0, len(packed), 10**6, 1, 0, 0, 0, 0, 0, at) + b"b"
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 2, 2, len(first + second), len(outer), 0)
    location = tmp_path / "a.zip"
    location.write_bytes(outer + first + second + end)
    with pytest.raises(ArchiveError, match=r"a overlaps what comes after it in the zip"):
        members.list_members(location)
