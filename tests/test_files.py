"""A file is written whole or not at all."""

from __future__ import annotations

import errno
import os

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
