"""The raw archive to the dataset of prices, part by part: read, digest, parse, account for every row."""

from __future__ import annotations

import functools
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from blake3 import blake3

from lib import code, locations, paths
from lib.compute.engine import Engine
from lib.data import grown, multi_symbol, parse, quarantine, single_symbol
from lib.data.archive import Archive, PriceFile
from lib.data.grown import Earlier, Known
from lib.data.members import LARGEST, Member, is_folder, open_members
from lib.data.multi_symbol import StagedPart
from lib.data.schema import HEADER
from lib.locations import Location, Url
from lib.storage import dataset
from lib.storage.dataset import Dataset
from lib.text import printable


@dataclass(frozen=True)
class Ingested:
    """What `ingest` made: datasets of what `lib.data.parse.Parsed` has of one part."""

    prices: Dataset
    quarantine: Dataset
    files: Dataset


@dataclass
class IngestPart:
    """The raw files of one part, to prices, quarantined rows and an account of each file.

    Parameters
    ----------
    location, base :
        See `lib.data.archive.Archive`.
    files : list of PriceFile
        In symbol order.
    staged : StagedPart or None
        Rows of symbols between those, from files that hold several.
    names : dict of str to str
        Security names of those symbols.
    earlier : Earlier or None
        What an earlier run has read of these files.
    """

    location: str
    base: str
    files: Sequence[PriceFile]
    staged: StagedPart | None = None
    names: Mapping[str, str | None] = field(default_factory=dict)
    earlier: Earlier | None = None
    _other: list[single_symbol.Content] = field(default_factory=list, init=False, repr=False)
    _joined: memoryview = field(default=memoryview(b""), init=False, repr=False)
    _ends: list[int] = field(default_factory=list, init=False, repr=False)
    _sources: list[parse.Source] = field(default_factory=list, init=False, repr=False)
    _known: list[Known | None] = field(default_factory=list, init=False, repr=False)

    def read(self, shared: Any = None) -> str:
        """Read and digest each file once, the rows joined into one buffer: without a copy, where a file is regular."""
        location = locations.location(self.location)
        folder = is_folder(location)
        # Rows are shorter than files, by the headers: the buffer has room for all, and for a newline that is missing.
        # A zip only claims its members' sizes; damaged, it may claim gigabytes.
        as_kaggle = [file for file in self.files if file.plan is None and file.refused is None]
        sizes = (file.size for file in as_kaggle if file.size <= LARGEST)
        buffer = _buffer(sum(sizes) + 1 if folder else 1 << 20)
        self._ends, self._sources, self._known, self._other = [], [], [], []
        known = self.earlier.files if self.earlier else {}
        end = 0
        with open_members(location) as read:
            members = [Member(self.base + file.name, file.size, file.packed) for file in as_kaggle]
            fetched = locations.ahead(functools.partial(_read_any, read), members)
            for file, member in zip(as_kaggle, members, strict=True):
                found = None
                if isinstance(location, Path) and folder:
                    found = _read_regular(self.location, member.name, file.size, buffer, end, known.get(file.symbol))
                if found is None:
                    found, content = next(fetched) if isinstance(location, Url) else _read_any(read, member)
                    if quoted := single_symbol.quoted(file, content):
                        self._other.append(quoted)
                        continue
                if found.body.text:
                    start, end = end, end + len(found.body.text)
                    if end > len(buffer):  # a member of a zip, or a file that grew since it was listed
                        filled, buffer = buffer, _buffer(2 * end)
                        buffer[:start] = memoryview(filled)[:start]
                    buffer[start:end] = found.body.text
                else:
                    end += found.length
                self._ends.append(end)
                self._known.append(found.known)
                shown = printable(file.name)
                self._sources.append(
                    parse.Source(shown, file.symbol, file.security_name, found.blake3, found.size, found.body)
                )
        self._joined = memoryview(buffer)[:end]
        lines = [grown.described(s.file, s.symbol, s.security_name, s.blake3, s.body.refused) for s in self._sources]
        others = [file for file in self.files if file.plan or file.refused]
        mapped = locations.ahead if isinstance(location, Url) else map
        self._other += mapped(functools.partial(single_symbol.read, location, self.base), others)
        lines += [found.described() for found in self._other]
        if self.staged:
            lines.append(f"{self.staged.digest()}\t{sorted(self.names.items())}\n")
        return grown.input_digest(lines)

    def tables(self, shared: Any = None) -> Mapping[str, pa.Table]:
        """Parse what was read."""
        parts = [parse.parse(self._sources, self._joined, self._ends, self._known_rows())] if self._sources else []
        self._joined = memoryview(b"")
        parts += single_symbol.parse_contents(self._other)
        self._other = []
        if self.staged:
            parts.append(self.staged.parsed(self.names))
        parsed = parse.merged(parts)
        return {"quarantine": parsed.quarantine, "files": parsed.files, "prices": parsed.prices}

    def _known_rows(self) -> list[tuple[int, pa.Table] | None]:
        """Of each source the bytes of its rows that an earlier run read, and what they hold."""
        table = self.earlier.table() if self.earlier and any(self._known) else None
        if table is None:
            return []
        return [
            (known.size - len(HEADER), table.slice(known.start, known.rows)) if known else None for known in self._known
        ]


def ingest(
    archive: Archive, study: paths.StudyPaths, max_quarantined_share: float = 0.01, engine: Engine | None = None
) -> Ingested:
    """Make the datasets of prices, of quarantined rows and of the raw files' accounts.

    Raises
    ------
    lib.data.quarantine.QuarantineError
        More than ``max_quarantined_share`` of all raw rows is quarantined, none is left, or prices contradict each other. The dataset of prices stays what it was;
        the other two say what was found.
    """
    engine = engine or Engine()
    folders = {"quarantine": study.quarantine, "files": study.files, "prices": study.prices}
    digest = code.digest(__name__, {})
    try:
        works, sizes = _works(archive, study, digest, engine)
        built = dataset.build("ingest", works, sizes, "B", folders, digest, engine)
    finally:
        _remove(study.staging)
    refusal = quarantine.refusal(
        pa.concat_tables(_made(built.parts, study.files, "files")),
        functools.partial(_made, built.parts, study.quarantine, "quarantine"),
        max_quarantined_share,
    )
    if refusal:
        dataset.commit(built, {name: folder for name, folder in folders.items() if name != "prices"})
        raise quarantine.QuarantineError(
            f"{refusal}\nEvery row set aside, with its reason: {study.quarantine}; an account of each file: {study.files}"
        )
    datasets = dataset.commit(built, folders)
    return Ingested(datasets["prices"], datasets["quarantine"], datasets["files"])


def _works(archive: Archive, study: paths.StudyPaths, code: str, engine: Engine) -> tuple[list[IngestPart], list[int]]:
    """One part's work each, and how many bytes it reads."""
    location = archive.location
    by_symbol = {file.symbol: file for file in archive.files}
    stage = multi_symbol.stage_files(location, archive.tables, study.staging, engine) if archive.tables else None
    staged = stage.symbols if stage else ()
    if stage:
        stage.refuse_symbols_of({symbol: file.name for symbol, file in by_symbol.items()})
    regular = not isinstance(path := locations.location(str(location)), Url) and is_folder(path)
    before = grown.earlier_parts(study, code) if regular else []  # as `_read_regular` reads
    earlier = {symbol: part for part in before for symbol in part.files}
    works: list[IngestPart] = []
    sizes: list[int] = []
    for symbols in dataset.cut(sorted({*by_symbol, *staged})) or [[""]]:
        own = [by_symbol[symbol] for symbol in symbols if symbol in by_symbol]
        part = stage.part(symbols, first=not works) if stage else None
        names = {symbol: archive.names.get(symbol) or stage.names.get(symbol) for symbol in symbols} if stage else {}
        staged_part = part if part and part.rows else None
        read = grown.of_symbols(earlier, (file.symbol for file in own))
        works.append(IngestPart(str(location), archive.base, own, staged_part, names, read))
        sizes.append(sum(file.size for file in own) + (64 * part.rows if part else 0))
    return works, sizes


def _made(results: Sequence[dataset.PartResult], folder: Location, name: str) -> Iterator[pa.Table]:
    """The finished parts of one folder."""
    for part in (result.files[name] for result in results):
        yield part.stored(folder).table()


def _remove(folder: Location) -> None:
    if isinstance(folder, Url):
        locations.remove([folder / name for name in locations.everything(folder)])
    else:
        shutil.rmtree(folder, ignore_errors=True)


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

    body: parse.Body
    blake3: str
    size: int
    length: int = 0
    known: Known | None = None  # of its beginning


def _read_regular(
    folder: str, name: str, size: int, buffer: bytearray, start: int, known: Known | None
) -> _Found | None:
    """Read a file's rows straight into ``buffer`` at ``start``; None for a file that is not as Kaggle writes them.

    The header is read apart, so that the rows of one file stand right behind those of the file before.
    """
    header = bytearray(len(HEADER))
    length = size - len(header)
    if length <= 0 or size > LARGEST:
        return None
    end = start + length
    try:
        descriptor = os.open(f"{folder}/{name}", os.O_RDONLY | os.O_NONBLOCK)  # not to wait for a FIFO
        try:
            with memoryview(buffer) as view:
                # One byte more than is expected would show a file that grew.
                if os.preadv(descriptor, [header, view[start : end + 1]], 0) != size or header != HEADER:
                    return None
                digest = blake3(header)
                begun = start
                if known and len(header) < known.size <= size:
                    begun = start + known.size - len(header)
                    digest.update(view[start:begun])
                if known and digest.hexdigest() != known.blake3:
                    known = None
                digest.update(view[begun:end])
        finally:
            os.close(descriptor)
    except OSError:
        return None
    newline = np.frombuffer(buffer, dtype=np.uint8, count=length, offset=start) == ord("\n")
    blank_line = newline[0] or (newline[1:] & newline[:-1]).any()
    if blank_line or not newline[-1] or buffer.find(b"\r", start, end) >= 0:
        return None
    # Volumes such as "1,234". To look for quotes everywhere takes longer; a file that has them elsewhere is parsed row by row.
    for position in (start, (start + end) // 2, max(start, end - 4096)):
        if buffer.find(b'"', position, min(position + 4096, end)) >= 0:
            return None
    return _Found(parse.Body(b"", int(np.count_nonzero(newline))), digest.hexdigest(), size, length, known)


def _read_any(read: Callable[[Member], bytes], member: Member) -> tuple[_Found, bytes]:
    try:
        content = read(member)
    except OSError as error:
        return _Found(parse.Body(b"", refused=f"{quarantine.UNREADABLE}: {error.strerror or error}"), "", 0), b""
    return _Found(parse.split_body(content), blake3(content).hexdigest(), len(content)), content
