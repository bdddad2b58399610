"""A file is written whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import time

import pytest

from lib import files


def test_content_is_written_as_it_is(tmp_path):
    path = tmp_path / "new folder" / "a.txt"
    files.write_atomically(path, "é\n")
    assert path.read_bytes() == b"\xc3\xa9\n"
    files.write_atomically(path, memoryview(b"\x00\x01"))
    assert path.read_bytes() == b"\x00\x01"
    assert os.listdir(path.parent) == ["a.txt"]
    assert files.sha256(path) == "b413f47d13ee2fe6c845b2ee141af81de858df4ec549a58b7970bb96645bc8d2"


def test_a_digest_is_of_what_the_file_holds_now(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    path.write_bytes(b"old")
    old = files.sha256(path)
    path.write_bytes(b"new")  # as long, within the same tick of the clock, and with the times of before
    os.utime(path, (0, 0))
    assert files.sha256(path) != old
    # A file that has been as it is for a while is read once.
    monkeypatch.setattr(files, "_SETTLED", -1.0)
    new = files.sha256(path)
    with monkeypatch.context() as patch:
        patch.setattr(hashlib, "file_digest", None)
        assert files.sha256(path) == new
    before = path.stat()
    time.sleep(0.05)  # a file system's clock ticks every few milliseconds
    path.write_bytes(b"old")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert files.sha256(path) == old
    path.unlink()
    with pytest.raises(FileNotFoundError):
        files.sha256(path)


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    files.write_atomically(path, "old")
    with pytest.raises(ZeroDivisionError), files.replacing(path) as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_readers_see_the_old_file_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "a.txt"
    files.write_atomically(path, "old")
    with files.replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"


def test_the_temporary_file_can_be_elsewhere(tmp_path):
    (tmp_path / "state").mkdir()
    with files.replacing(tmp_path / "data" / "a.txt", tmp_path / "state") as temporary:
        temporary.write_text("new")
        assert os.listdir(tmp_path / "data") == []
    assert os.listdir(tmp_path / "data") == ["a.txt"]
    assert os.listdir(tmp_path / "state") == []


def test_a_full_disk_is_reported_with_the_file(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*a\.txt'"):
        files.write_atomically(tmp_path / "a.txt", "content")
    assert os.listdir(tmp_path) == []
