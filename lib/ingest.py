"""The raw archive to the dataset of prices, part by part: read, digest, parse, account for every row."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from blake3 import blake3

from lib import dataset, paths, prices
from lib.archive import Archive, PriceFile, open_members
from lib.dataset import Dataset, PartResult
from lib.engine import Engine

UNREADABLE = "unreadable file"  # how the reason begins


class QuarantineError(RuntimeError):
    """More rows were quarantined than ``ingest.max_quarantined_share`` allows."""


@dataclass(frozen=True)
class Ingested:
    """What `ingest` made.

    Parameters
    ----------
    prices, quarantine, files : Dataset
        The rows kept, the rows set aside, and an account of each file: see `lib.prices.Parsed`.
    """

    prices: Dataset
    quarantine: Dataset
    files: Dataset


@dataclass
class IngestPart:
    """The raw files of one part, to prices, quarantined rows and an account of each file.

    Parameters
    ----------
    location : str
        The archive's folder or ``.zip``.
    base : str
        The folder of the price files within it.
    files : list of PriceFile
        In symbol order.
    """

    location: str
    base: str
    files: Sequence[PriceFile]
    _joined: memoryview = field(default=memoryview(b""), init=False, repr=False)
    _ends: list[int] = field(default_factory=list, init=False, repr=False)
    _sources: list[prices.Source] = field(default_factory=list, init=False, repr=False)

    def read(self) -> str:
        """Read and digest each file once, the rows joined into one buffer: without a copy, where a file is regular."""
        location = Path(self.location)
        folder = location.is_dir()
        # Rows are shorter than files, by the headers: the buffer has room for all, and for a newline that is missing.
        # A zip only claims its members' sizes; damaged, it may claim gigabytes.
        buffer = _buffer(sum(file.size for file in self.files) + 1 if folder else 1 << 20)
        self._ends, self._sources = [], []
        end = 0
        with open_members(location) as read:
            for file in self.files:
                name = self.base + file.name
                found = (folder and _read_regular(self.location, name, file.size, buffer, end)) or _read_any(read, name)
                if found.body.text:
                    start, end = end, end + len(found.body.text)
                    if end > len(buffer):  # a member of a zip, or a file that grew since it was listed
                        filled, buffer = buffer, _buffer(2 * end)
                        buffer[:start] = memoryview(filled)[:start]
                    buffer[start:end] = found.body.text
                else:
                    end += found.length
                self._ends.append(end)
                self._sources.append(
                    prices.Source(file.name, file.symbol, file.security_name, found.blake3, found.size, found.body)
                )
        self._joined = memoryview(buffer)[:end]
        lines = (f"{s.file}\t{s.symbol}\t{s.security_name}\t{s.blake3}\t{s.body.refused}\n" for s in self._sources)
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def tables(self) -> Mapping[str, pa.Table]:
        """Parse what was read."""
        parsed = prices.parse(self._sources, self._joined, self._ends)
        self._joined = memoryview(b"")
        return {"quarantine": parsed.quarantine, "files": parsed.files, "prices": parsed.prices}


def ingest(
    archive: Archive, study: paths.StudyPaths, max_quarantined_share: float = 0.01, engine: Engine | None = None
) -> Ingested:
    """Make the datasets of prices, of quarantined rows and of the raw files' accounts.

    Parameters
    ----------
    archive : Archive
    study : StudyPaths
    max_quarantined_share : float
        Of all raw rows.
    engine : Engine, optional

    Returns
    -------
    Ingested

    Raises
    ------
    QuarantineError
        Too many rows are quarantined, or none is left. The datasets of an earlier run stay as they were.
    """
    folders = {"quarantine": study.quarantine, "files": study.files, "prices": study.prices}
    by_symbol: dict[str, list[PriceFile]] = {}
    for file in archive.files:
        by_symbol.setdefault(file.symbol, []).append(file)
    works = [
        IngestPart(str(archive.location), archive.base, [file for symbol in part for file in by_symbol[symbol]])
        for part in dataset.cut(sorted(by_symbol))
    ]
    code = dataset.code_digest([paths.LIB / name for name in ("ingest.py", "prices.py", "text.py", "dataset.py")], {})
    sizes = [sum(file.size for file in work.files) for work in works]
    results = dataset.build("ingest", works, sizes, "B", folders, code, engine or Engine())
    _check_quarantine(results, study, max_quarantined_share)
    made = dataset.commit(results, folders)
    return Ingested(made["prices"], made["quarantine"], made["files"])


def _check_quarantine(results: Sequence[PartResult], study: paths.StudyPaths, most: float) -> None:
    accounts = pa.concat_tables(
        dataset.read_part(study.files / part.file, part.sha256)
        for part in (result.files["files"] for result in results)
    )
    read, kept = pc.sum(accounts["rows_read"]).as_py(), pc.sum(accounts["rows_kept"]).as_py()
    share = (read - kept) / read if read else 0.0
    # Of a file that cannot be read nobody knows how many rows it has. One or a few are set aside; most are a broken disk or download.
    unreadable = accounts.filter(pc.starts_with(accounts["refused"], UNREADABLE))
    if 2 * unreadable.num_rows > accounts.num_rows:
        first = unreadable.slice(0, 1).to_pylist()[0]
        raise QuarantineError(
            f"{unreadable.num_rows:,} of {accounts.num_rows:,} price files cannot be read, {first['file']} the first of them "
            f"({first['refused']}). Download or copy the archive again, or make the files readable"
        )
    if share <= most and kept:
        return
    worst = accounts.sort_by([("rows_quarantined", "descending")]).slice(0, 10).to_pylist()
    lines = [
        f"  {row['file']}: {row['rows_quarantined']:,} of {row['rows_read']:,} rows"
        + (f" ({row['refused']})" if row["refused"] else "")
        for row in worst
    ]
    if not kept:
        raise QuarantineError(
            f"no price is left: {read:,} raw rows were read, and none can be kept. Worst files:\n"
            + "\n".join(lines)
            + "\nMend the files, or name another archive as archive.source"
        )
    raise QuarantineError(
        f"{read - kept:,} of {read:,} raw rows would be quarantined, {share:.2%}; ingest.max_quarantined_share allows "
        f"{most:.2%}. Worst files:\n" + "\n".join(lines) + "\nMend the files, or allow more: "
        f"-p ingest.max_quarantined_share {min(1.0, round(share + 0.005, 2)):g}"
    )


_BUFFER = bytearray()


def _buffer(size: int) -> bytearray:
    """The worker's buffer, kept from part to part: fresh memory costs a page fault every 4 kB."""
    global _BUFFER
    if len(_BUFFER) < size:
        _BUFFER = bytearray(size)
    return _BUFFER


@dataclass(frozen=True)
class _Found:
    """A file that was read: its rows stand in the body's text or, ``length`` bytes of them, in the buffer already."""

    body: prices.Body
    blake3: str
    size: int
    length: int = 0


def _read_regular(folder: str, name: str, size: int, buffer: bytearray, start: int) -> _Found | None:
    """Read a file's rows straight into ``buffer`` at ``start``; None for a file that is not as Kaggle writes them.

    The header is read apart, so that the rows of one file stand right behind those of the file before.
    """
    header = bytearray(len(prices.HEADER))
    length = size - len(header)
    if length <= 0:
        return None
    end = start + length
    try:
        descriptor = os.open(f"{folder}/{name}", os.O_RDONLY)
        try:
            with memoryview(buffer) as view:
                # One byte more than is expected would show a file that grew.
                if os.preadv(descriptor, [header, view[start : end + 1]], 0) != size or header != prices.HEADER:
                    return None
                digest = blake3(header).update(view[start:end])
        finally:
            os.close(descriptor)
    except OSError:
        return None
    newline = np.frombuffer(buffer, dtype=np.uint8, count=length, offset=start) == ord("\n")
    blank_line = newline[0] or (newline[1:] & newline[:-1]).any()
    if blank_line or not newline[-1] or buffer.find(b"\r", start, end) >= 0:
        return None
    return _Found(prices.Body(b"", int(np.count_nonzero(newline))), digest.hexdigest(), size, length)


def _read_any(read: Callable[[str], bytes], name: str) -> _Found:
    try:
        content = read(name)
    except OSError as error:
        return _Found(prices.Body(b"", refused=f"{UNREADABLE}: {error.strerror or error}"), "", 0)
    return _Found(prices.split_body(content), blake3(content).hexdigest(), len(content))
