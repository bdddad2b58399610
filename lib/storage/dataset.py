"""A Parquet dataset in parts, with a manifest: made part by part, committed at once, resumed where it stopped.

A dataset's folder holds Parquet files and nothing else, so that every reader takes it for what it is; the manifest and
unfinished work are in `lib.paths.dataset_state`, a folder beside it.

The life of a part: `make_part`, in a worker, writes it there under a temporary name, flushes it, and renames it to a name
that holds its key and digest: finished, and not yet seen by any reader. When all parts are finished, `commit` links them
to their final names, writes the manifest, and sweeps everything else. A run killed anywhere leaves the dataset as it was,
and finished parts to go on from.

On object storage nothing is renamed. There a part is finished by one request that writes all of it or nothing, is copied
to its final name by the storage, and the manifest is written on the condition that it is still the one that the run began
with: of two runs at once one commits.

A part's key is a digest of its input, its code and its parameters: a part whose key is already there is not made again.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from lib import files, locations, paths
from lib.compute.engine import Engine
from lib.locations import Location, Url
from lib.storage import progress, splice

COMMITTING = "a-run-is-committing-or-was-stopped-here.parquet"
SYMBOLS_A_PART = 384  # at most: 0.8 M rows on average, 1.5 M at most, at the length of Kaggle's files


class DatasetError(RuntimeError):
    """A dataset that is not there, or is not what its manifest says."""


@dataclass(frozen=True)
class Beside:
    """A table that is to be written beside the columns of a part that is there; those are copied as they are.

    Parameters
    ----------
    content : memoryview of bytes
        Of the part, see `StoredPart.content`.
    table : pyarrow.Table
        As many rows, in the same order.
    """

    content: memoryview
    table: pa.Table


class Work(Protocol):
    """What makes one part: an object that can be pickled, sent to a worker, and run there, more than once if need be."""

    def read(self, shared: Any) -> str:
        """Read the part's input, and return a digest of it; what all parts share is no part of it, but may decide it."""

    def tables(self, shared: Any) -> Mapping[str, pa.Table | Beside]:
        """Compute the part's table for each folder of the dataset, with what all parts share; called after `read`."""


@dataclass(frozen=True)
class StoredPart:
    """Where one part is, and what its bytes are: all that a task, wherever it runs, needs to read it."""

    path: str
    sha256: str

    def content(self) -> memoryview:
        """Its bytes, once they are found to be those that were written.

        Raises
        ------
        DatasetError
            It cannot be read, or its bytes have another digest.
        """
        path = locations.location(self.path)
        try:
            if isinstance(path, Url):
                content = locations.read(path)
            else:
                with pa.OSFile(str(path)) as file:
                    content = memoryview(file.read_buffer())
        except OSError as error:
            raise DatasetError(f"{path}: cannot be read ({error}); run the stage that makes it again") from None
        if hashlib.sha256(content).hexdigest() != self.sha256:
            raise DatasetError(f"{path}: its bytes are not those that were written; run the stage that makes it again")
        return content

    def table(self, columns: Sequence[str] | None = None, dictionaries: Sequence[str] = ()) -> pa.Table:
        """Its rows; see `content` and `decode`."""
        return decode(self.content(), columns, dictionaries)


@dataclass(frozen=True)
class PartFile:
    """One file of a dataset.

    Parameters
    ----------
    file : str
        Its path from the dataset's folder.
    key : str
        Digest of what it was made of.
    sha256 : str
        Of its bytes.
    """

    file: str
    key: str
    sha256: str
    rows: int
    bytes: int

    def stored(self, folder: Location) -> StoredPart:
        """The same as a task gets it, of the dataset in ``folder``."""
        return StoredPart(str(folder / self.file), self.sha256)


@dataclass(frozen=True)
class PartResult:
    """A finished part: the digest of what it was made of, and its file in each folder, by the folder's name."""

    key: str
    files: Mapping[str, PartFile]


@dataclass(frozen=True)
class Dataset:
    """A committed dataset. Only the files that its manifest lists are read; one whose digest has changed is a `DatasetError`.

    Parameters
    ----------
    parts : tuple of PartFile
        In symbol order.
    """

    folder: Location
    parts: tuple[PartFile, ...]

    @property
    def rows(self) -> int:
        """Rows of all parts."""
        return sum(part.rows for part in self.parts)

    @property
    def digest(self) -> str:
        """SHA-256 over the parts' SHA-256, in order."""
        return hashlib.sha256("".join(f"{part.sha256}\n" for part in self.parts).encode()).hexdigest()

    @property
    def paths(self) -> list[Location]:
        """The parts' files or objects, in symbol order."""
        return [self.folder / part.file for part in self.parts]

    @property
    def stored(self) -> list[StoredPart]:
        """The parts, in symbol order, as a task gets them."""
        return [part.stored(self.folder) for part in self.parts]

    def tables(self, columns: Sequence[str] | None = None, symbols: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Read part by part, in symbol order, without the parts that hold none of ``symbols``."""

        def read(part: StoredPart) -> list[pa.Table]:
            content = part.content()
            return [decode(content, columns)] if symbols is None or _may_hold(content, symbols) else []

        for found in locations.ahead(read, self.stored, at_once=1):  # the next while the caller uses this one
            yield from found

    def read(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Read the whole dataset as one table; at full scale, name the columns that are needed."""
        return pa.concat_tables(self.tables(columns))

    def extremes(self, column: str) -> list[tuple[Any, Any] | None]:
        """The least and the largest value of a column in each part, as the files' statistics say; None for a part without rows.

        The parts' bytes are not checked.
        """
        try:
            found = [_statistics(pq.read_metadata(locations.stream(path)), column) for path in self.paths]
        except (OSError, pa.ArrowInvalid):
            for part in self.stored:
                part.content()  # it says which is damaged, and what to do
            raise
        return [(min(least for least, _ in part), max(most for _, most in part)) if part else None for part in found]

    def schemas(self) -> Iterator[pa.Schema]:
        """The schema of each part, in symbol order, as every reader of Parquet finds it; nothing else of the part is read."""
        return (pq.read_schema(locations.stream(path)) for path in self.paths)


def open_dataset(folder: Location) -> Dataset:
    """Open the dataset in ``folder``.

    Raises
    ------
    DatasetError
        There is none, or its manifest is not what was written.
    """
    manifest = paths.dataset_manifest(folder)
    try:
        if isinstance(manifest, Url):
            return Dataset(folder, _listed(json.loads(bytes(locations.read(manifest)))))
        return Dataset(folder, _listed(files.read_json(manifest)))
    except FileNotFoundError:
        raise DatasetError(
            f"{folder}: no dataset here (no {manifest.parent.name}/{manifest.name} beside it); run the stage that makes it"
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"{manifest}: damaged ({error}); run the stage that makes it again") from None


def _listed(manifest: Any) -> tuple[PartFile, ...]:
    """The parts that a manifest lists."""
    if manifest["sha256"] != _digest(manifest["parts"]):
        raise ValueError("its digest does not match")
    return tuple(PartFile(**part) for part in manifest["parts"])


def decode(content: memoryview, columns: Sequence[str] | None = None, dictionaries: Sequence[str] = ()) -> pa.Table:
    """The table that a part's bytes hold, see `StoredPart.content`; the string columns ``dictionaries`` stay dictionary-encoded."""
    file = pq.ParquetFile(pa.BufferReader(pa.py_buffer(content)), read_dictionary=list(dictionaries))
    return file.read(columns=None if columns is None else list(columns), use_threads=False)


def _may_hold(content: memoryview, symbols: Sequence[str]) -> bool:
    """Whether a part may have rows of one of some symbols, by the statistics that it was written with."""
    ranges = _statistics(pq.ParquetFile(pa.BufferReader(pa.py_buffer(content))).metadata, "Symbol")
    return not ranges or any(least <= symbol <= most for least, most in ranges for symbol in symbols)


def _statistics(metadata: pq.FileMetaData, column: str) -> list[tuple[Any, Any]]:
    """The least and the largest value of a column in each row group; empty where the file does not say them of each."""
    groups = (metadata.row_group(number) for number in range(metadata.num_row_groups))
    found = (group.column(index) for group in groups for index in range(group.num_columns))
    of_chunks = [chunk.statistics for chunk in found if chunk.path_in_schema == column]
    whole = all(statistics and statistics.has_min_max for statistics in of_chunks)
    return [(statistics.min, statistics.max) for statistics in of_chunks] if whole else []


def cut(symbols: Sequence[str], most: int = SYMBOLS_A_PART) -> list[list[str]]:
    """Cut symbols into parts at boundaries that the names alone decide.

    A range of more than ``most`` symbols is cut before its symbol of least digest, and so on: every cut falls at the
    same names whatever else the archive holds, so a new symbol changes the part it falls into, and no other (but for
    the few names in a thousand that are themselves a new boundary).

    Parameters
    ----------
    symbols : sequence of str
        Distinct, in order.
    most : int
        Symbols of the largest part.

    Examples
    --------
    >>> [len(part) for part in cut([f"S{i:04}" for i in range(1000)], most=400)]
    [255, 368, 377]
    """
    digests = [hashlib.sha256(symbol.encode()).digest() for symbol in symbols]
    parts: list[list[str]] = []
    waiting = [(0, len(symbols))]
    while waiting:
        start, end = waiting.pop()
        if end - start > most:
            boundary = min(range(start + 1, end), key=digests.__getitem__)
            waiting += [(boundary, end), (start, boundary)]
        elif end > start:
            parts.append(list(symbols[start:end]))
    return parts


@dataclass(frozen=True)
class Built:
    """Finished parts, not yet seen by readers: see `commit`.

    Parameters
    ----------
    parts : list of PartResult
        In symbol order.
    versions : dict of str to dict
        By folder on object storage, the version of the manifest that the run began with; of a folder without one, none.
    """

    parts: list[PartResult]
    versions: Mapping[str, Mapping[str, str]]


@dataclass(frozen=True)
class _Common:
    """What every task of a `build` needs; see its parameters."""

    code: str
    folders: Mapping[str, Location]
    known: Mapping[str, Mapping[str, PartFile]]  # the parts that are there, by folder and key
    shared: Any


def build(
    title: str,
    works: Sequence[Work],
    sizes: Sequence[int],
    unit: str,
    folders: Mapping[str, Location],
    code: str,
    engine: Engine,
    shared: Any = None,
) -> Built:
    """Make every part that is not there yet.

    Parameters
    ----------
    title : str
        What the progress bar calls the work.
    works : sequence of Work
        One a part, in symbol order.
    sizes : sequence of int
        How much each part's input is, in ``unit``: the largest go first, so that no core waits for one at the end.
    folders : dict of str to pathlib.Path or Url
        Where the tables of each name go.
    code : str
        See `lib.code.digest`.
    shared : object, optional
        What the ``tables`` of every work gets, sent to each worker once.
    """
    versions = {}
    for name, folder in folders.items():
        if isinstance(folder, Url):
            with suppress(FileNotFoundError):
                versions[name] = locations.read_version(paths.dataset_manifest(folder))[1]
        else:
            for needed in (folder, paths.dataset_state(folder)):
                needed.mkdir(parents=True, exist_ok=True)
    known = {name: {p.key: p for p in [*_finished(f), *_committed(f)]} for name, f in folders.items()}
    largest_first = sorted(range(len(works)), key=lambda index: -sizes[index])
    tasks = [works[index] for index in largest_first]
    results: dict[int, PartResult] = {}
    with progress.bar(title, sum(sizes), unit) as advance:
        for turn, result in engine.map(make_part, tasks, _Common(code, folders, known, shared)):
            results[largest_first[turn]] = result
            advance(sizes[largest_first[turn]])
    return Built([results[index] for index in range(len(works))], versions)


def make_part(work: Work, common: _Common) -> PartResult:
    """Make one part, or find that it is there; anywhere and any number of times: the bytes are the same."""
    key = part_key(common.code, work.read(common.shared))
    folders = common.folders
    known = {name: common.known[name][key] for name in folders if key in common.known[name]}
    if known.keys() == folders.keys() and all(_intact(folders[name], part) for name, part in known.items()):
        return PartResult(key, known)
    parts = {name: _write(folders[name], key, table) for name, table in work.tables(common.shared).items()}
    return PartResult(key, parts)


def part_key(code: str, input_digest: str) -> str:
    """The key of a part that ``code`` makes of an input with this digest."""
    return hashlib.sha256(f"{code}\n{input_digest}".encode()).hexdigest()


def commit(built: Built, folders: Mapping[str, Location]) -> dict[str, Dataset]:
    """Make the finished parts, in order, the dataset of each folder, and sweep what is left of other runs.

    While old and new parts stand side by side, a reader that knows no manifest would take both for the dataset. So a
    file that is no Parquet stands there too, and makes that reader fail; `open_dataset` reads the old or the new.

    Raises
    ------
    DatasetError
        On object storage: another run has committed since this one began.
    """
    datasets = {}
    for name, folder in folders.items():
        finished = [result.files[name] for result in built.parts]
        parts = [
            replace(part, file=f"part-{number:05d}-{part.key[:12]}.parquet") for number, part in enumerate(finished)
        ]
        listing = [asdict(part) for part in parts]
        content = json.dumps({"parts": listing, "sha256": _digest(listing)}, indent=1) + "\n"
        if isinstance(folder, Url):
            _commit_objects(folder, finished, parts, content.encode(), built.versions.get(name))
        else:
            _commit_files(folder, finished, parts, content)
        datasets[name] = Dataset(folder, tuple(parts))
    return datasets


_NOT_PARQUET = "Not Parquet, so that nobody reads half a commit. Run the stage again.\n"


def _commit_files(folder: Path, finished: Sequence[PartFile], parts: Sequence[PartFile], content: str) -> None:
    manifest = paths.dataset_manifest(folder)
    listed = {part.file for part in parts}
    if finished != parts or _unlisted(folder, listed):
        with files.replacing(folder / COMMITTING, manifest.parent) as temporary:
            temporary.write_text(_NOT_PARQUET)
    for old, new in zip(finished, parts, strict=True):
        if old.file != new.file:  # what has that name already may be damaged
            _link(folder / old.file, folder / new.file)
    files.write_atomically(manifest, content)
    for path in [*_unlisted(manifest.parent, {manifest.name}), *_unlisted(folder, listed)]:
        path.unlink(missing_ok=True)  # a second attempt at a part may still have renamed it


def _commit_objects(
    folder: Url,
    finished: Sequence[PartFile],
    parts: Sequence[PartFile],
    content: bytes,
    version: Mapping[str, str] | None,
) -> None:
    manifest, marker = paths.dataset_manifest(folder), folder / COMMITTING
    listed = {part.file for part in parts}
    # Listed before the commit: what another run, which begins after it, has made by the time of the sweep stays.
    beside = [folder / name for name in locations.children(folder) if name not in listed | {COMMITTING}]
    state = [manifest.parent / name for name in locations.children(manifest.parent) if name != manifest.name]
    moved = {
        folder / new.file: folder / old.file for old, new in zip(finished, parts, strict=True) if old.file != new.file
    }
    if moved or beside:
        locations.write(marker, _NOT_PARQUET.encode())
    try:
        list(locations.ahead(lambda pair: locations.copy(pair[1], pair[0]), moved.items()))
        locations.replace(manifest, content, version)
    except (FileNotFoundError, locations.ChangedError):
        # The same run twice, or an answer that got lost, does no harm. The other run has swept our parts, or else does not know them.
        theirs = open_dataset(folder)
        if theirs.parts != tuple(parts):
            locations.remove([url for url in moved if url not in theirs.paths])
            locations.remove([marker])
            raise DatasetError(
                f"{folder}: another run has committed this dataset since this one began; see that it is the only one, and run it again"
            ) from None
    locations.remove([*beside, *state])
    locations.remove([marker])


def _unlisted(folder: Path, listed: set[str]) -> list[Path]:
    """The files of a folder but for those listed; `COMMITTING` is the last. A folder in it is none of ours."""
    found = [path for path in folder.iterdir() if path.name not in listed and not path.is_dir()]
    return sorted(found, key=lambda path: path.name == COMMITTING)


def _digest(listing: list[dict[str, Any]]) -> str:
    return hashlib.sha256(json.dumps(listing, sort_keys=True).encode()).hexdigest()


def _write(folder: Location, key: str, made: pa.Table | Beside) -> PartFile:
    table = made.table if isinstance(made, Beside) else made
    content = memoryview(_encode(table))
    pieces = splice.add_columns(made.content, content) if isinstance(made, Beside) else [content]
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    sha256 = digest.hexdigest()
    state = paths.dataset_state(folder)
    finished = f"finished-{key}-{sha256}-{table.num_rows}"
    if isinstance(state, Url):
        locations.write(state / finished, b"".join(pieces))
    else:
        with files.replacing(state / finished) as temporary, temporary.open("wb") as file:
            file.writelines(pieces)
    return PartFile(f"../{state.name}/{finished}", key, sha256, table.num_rows, sum(map(len, pieces)))


def _encode(table: pa.Table) -> pa.Buffer:
    floats = [field.name for field in table.schema if pa.types.is_floating(field.type)]
    texts = [field.name for field in table.schema if not pa.types.is_primitive(field.type)]
    integers = [field.name for field in table.schema if pa.types.is_integer(field.type) or pa.types.is_date(field.type)]
    content = pa.BufferOutputStream()
    # Without Arrow's own schema in the file, the dictionary-encoded columns are plain strings to every reader.
    pq.write_table(
        table,
        content,
        # A volume's digits, packed, do not get smaller: to try costs a twentieth of the time.
        compression={name: "none" if name == "Volume" else "zstd" for name in table.schema.names},
        compression_level={name: 1 for name in table.schema.names if name != "Volume"},
        use_dictionary=texts,
        use_byte_stream_split=floats,
        column_encoding=dict.fromkeys(integers, "DELTA_BINARY_PACKED") or None,
        row_group_size=1 << 20,
        # A page of float64 is 1 MB; by default it would be 160 kB, written in batches of 1,024 values: a fifth slower.
        max_rows_per_page=1 << 17,
        write_batch_size=1 << 17,
        # Readers skip row groups by symbol and date; the statistics of the other columns would double the time.
        write_statistics=[name for name in ("Symbol", "Date") if name in table.schema.names],
        store_schema=False,
        write_page_checksum=True,
    )
    return content.getvalue()


def _finished(folder: Location) -> list[PartFile]:
    """The parts that runs finished and did not commit; their keys and digests are in their names."""
    found = []
    state = paths.dataset_state(folder)
    if isinstance(state, Url):
        sizes = locations.children(state)
    else:
        sizes = {path.name: path.stat().st_size for path in state.glob("finished-*")}
    for name in sizes:
        if name.startswith("finished-"):
            _, key, sha256, rows = name.split("-")
            found.append(PartFile(f"../{state.name}/{name}", key, sha256, int(rows), sizes[name]))
    return found


def _committed(folder: Location) -> tuple[PartFile, ...]:
    try:
        return open_dataset(folder).parts
    except DatasetError:
        return ()


def _intact(folder: Location, part: PartFile) -> bool:
    path = folder / part.file
    try:
        if isinstance(path, Url):
            return hashlib.sha256(locations.read(path)).hexdigest() == part.sha256
        return files.sha256(path) == part.sha256
    except OSError:
        return False


def _link(source: Path, target: Path) -> None:
    with files.replacing(target, paths.dataset_state(target.parent)) as temporary:
        try:
            os.link(source, temporary)
        except OSError:  # a file system without hard links
            shutil.copyfile(source, temporary)
