"""Files that hold several symbols, to rows sorted by symbol: the pass over the data before it can be cut into parts.

The files are read in pieces: a range of a long file's bytes, some row groups, or many small files. Each piece becomes one
Arrow file, sorted by symbol, so that a part's symbols are one slice of it, whatever the parts will be. What travels to
the workers and back is which pieces there are and which symbols they hold; the rows stay in the files.
"""

from __future__ import annotations

import functools
import json
import tempfile
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from blake3 import blake3

from lib import locations
from lib.compute.engine import Engine
from lib.data import parquet_files, parse, plans, text_files, unpack
from lib.data.columns import Rows
from lib.data.detect import Found
from lib.data.headers import VALUES
from lib.data.members import LARGEST, ArchiveError, Member
from lib.data.plans import Plan
from lib.data.quarantine import QuarantineError
from lib.data.rows import BLANK, places
from lib.data.text_files import Body
from lib.locations import Location, Url
from lib.text import printable

_PIECE = 1 << 24  # bytes of text
_PIECE_ROWS = 1 << 19  # of Parquet
_LONGEST_LINE = 1 << 20
_BATCH_ROWS = 1 << 12  # of a sorted object, from which each part fetches its rows


@dataclass(frozen=True)
class Piece:
    """What is read at once.

    Parameters
    ----------
    number : int
        Index among all pieces.
    file : int
        Index of its file among those that are staged.
    symbol : str
        The symbol of all rows; empty where each row names its own.
    start, stop : int
        Bytes of the file; 0 and 0 for all of it.
    groups : tuple of int
        Row groups of a Parquet file.
    first_row : int
        How many rows of the file come before those groups.
    spooled : str
        Where the file has been unpacked to, if so.
    """

    number: int
    file: int
    member: Member
    plan: Plan
    symbol: str
    start: int = 0
    stop: int = 0
    groups: tuple[int, ...] = ()
    first_row: int = 0
    spooled: str = ""


@dataclass(frozen=True)
class StageTask:
    """What one worker reads at a time; its rows go to files in the folder ``to``."""

    location: str
    pieces: tuple[Piece, ...]
    to: str


@dataclass(frozen=True)
class Sorted:
    """An Arrow file sorted by symbol.

    Parameters
    ----------
    symbols : tuple of str
        In order.
    starts : numpy.ndarray of int64
        Where the rows of each begin, and the number of all rows.
    """

    path: str
    symbols: tuple[str, ...]
    starts: npt.NDArray[np.int64]

    def range(self, first: str, last: str) -> tuple[int, int]:
        """The rows of the symbols from ``first`` to ``last``, both included: the first row, and the one after the last."""
        return int(self.starts[bisect_left(self.symbols, first)]), int(self.starts[bisect_right(self.symbols, last)])


@dataclass(frozen=True)
class Staged:
    """What came of a `StageTask`.

    Parameters
    ----------
    good, bad : tuple of Sorted
        The rows kept so far, and those set aside, the ones without a symbol first.
    lines : dict of int to int
        Lines of each piece.
    digests : dict of int to (str, int)
        BLAKE3 and bytes of each file that was read whole.
    names : dict of str to str
        Security names by symbol.
    no_adjusted : frozenset of int
        The files whose Adj Close is Close.
    """

    good: tuple[Sorted, ...]
    bad: tuple[Sorted, ...]
    lines: Mapping[int, int]
    digests: Mapping[int, tuple[str, int]]
    names: Mapping[str, str]
    no_adjusted: frozenset[int]


_GOOD = pa.schema(
    [
        ("Date", pa.date32()),
        *((name, pa.float64()) for name in VALUES[1:6]),
        ("Volume", pa.int64()),
        ("rounded", pa.bool_()),
        ("piece", pa.int32()),
        ("line", pa.int64()),
    ]
)
_BAD = pa.schema([("piece", pa.int32()), ("line", pa.int64()), ("reason", pa.string()), ("raw", pa.string())])


@dataclass(frozen=True)
class Stage:
    """All rows of the files that hold several symbols.

    Parameters
    ----------
    first_lines : tuple of int
        Lines of the file before each piece.
    files : tuple of str
        Names of the files.
    digests : tuple of (str, int)
        Of each file: BLAKE3 and bytes.
    symbols : tuple of str
        In order.
    """

    location: str
    pieces: tuple[Piece, ...]
    first_lines: tuple[int, ...]
    files: tuple[str, ...]
    digests: tuple[tuple[str, int], ...]
    staged: tuple[Staged, ...]
    symbols: tuple[str, ...]
    names: Mapping[str, str]

    def refuse_symbols_of(self, others: Mapping[str, str]) -> None:
        """Refuse a symbol that has a file of its own, too; ``others`` has the names of such files by symbol."""
        if both := sorted(others.keys() & set(self.symbols)):
            part = self.part(both[:1], first=False)
            entry, start, _ = (*part.good, *part.bad)[0]
            file = self.pieces[_slice(entry, start, start + 1)["piece"][0].as_py()].file
            raise QuarantineError(
                f"two price files claim the same symbol ({len(both):,} symbol{'s' * (len(both) != 1)}):\n"
                f"  {both[0]}: {printable(others[both[0]])} and {self.files[file]}\n"
                "Take one of them out of the archive, or name the files to read with archive.only_files"
            )

    def part(self, symbols: Sequence[str], first: bool) -> StagedPart:
        """What a worker needs for one part.

        Parameters
        ----------
        symbols : sequence of str
            Symbols that follow each other.
        first : bool
            The rows without a symbol go to this part, too.
        """
        good, bad = [], []
        for staged in self.staged:
            good += [(found, *found.range(symbols[0], symbols[-1])) for found in staged.good]
            bad += [(found, *found.range("" if first else symbols[0], symbols[-1])) for found in staged.bad]
        return StagedPart(
            replace(self, staged=(), symbols=(), names={}),
            tuple(entry for entry in good if entry[1] < entry[2]),
            tuple(entry for entry in bad if entry[1] < entry[2]),
            tuple(symbols),
            frozenset(number for staged in self.staged for number in staged.no_adjusted),
        )


def stage_files(location: Location, found: Sequence[Found], folder: Location, engine: Engine) -> Stage:
    """Read an archive's files that hold several symbols; their rows go to ``folder``."""
    if not isinstance(folder, Url):
        folder.mkdir(parents=True, exist_ok=True)
    pieces = tuple(replace(piece, number=n) for n, piece in enumerate(_pieces(location, found, folder)))
    tasks = [StageTask(str(location), task, str(folder)) for task in _tasks(pieces)]
    staged = tuple(engine.map_in_order(stage, tasks))
    lines = {number: count for result in staged for number, count in result.lines.items()}
    read = {number: digest for result in staged for number, digest in result.digests.items()}
    first_lines, before = [], dict[int, int]()
    for piece in pieces:
        first_lines.append(before.get(piece.file, 0))
        before[piece.file] = first_lines[-1] + lines.get(piece.number, 0)
    digests = [
        read.get(number) or (_digest(location / file.member.name), file.member.size)
        for number, file in enumerate(found)
    ]
    return _of(location, pieces, first_lines, found, digests, staged)


def stage_beginnings(
    location: Location, found: Sequence[Found], rows: Sequence[Rows], texts: Sequence[bytes], folder: Path
) -> Stage:
    """As `stage_files`, of rows that have been read from the beginning of each file.

    Parameters
    ----------
    texts : sequence of bytes
        Each file's beginning, unpacked; not needed of Parquet.
    """
    pieces = []
    for number, (file, text) in enumerate(zip(found, texts, strict=True)):
        assert file.plan is not None
        beginning = folder / f"beginning-{number}"
        beginning.write_bytes(text)
        pieces.append(
            Piece(number, number, file.member, file.plan, file.symbol, stop=len(text), spooled=str(beginning))
        )
    staged = _sorted((([piece], own) for piece, own in zip(pieces, rows, strict=True)), str(folder), {}, {})
    return _of(location, pieces, [0] * len(pieces), found, [("", file.member.size) for file in found], [staged])


def _of(
    location: Location,
    pieces: Sequence[Piece],
    first_lines: Sequence[int],
    found: Sequence[Found],
    digests: Sequence[tuple[str, int]],
    staged: Sequence[Staged],
) -> Stage:
    names = {symbol: name for result in reversed(staged) for symbol, name in result.names.items()}  # the first counts
    symbols = {symbol for result in staged for entry in (*result.good, *result.bad) for symbol in entry.symbols}
    files = tuple(printable(file.member.name) for file in found)
    in_order = tuple(sorted(symbols - {""}))
    return Stage(
        str(location), tuple(pieces), tuple(first_lines), files, tuple(digests), tuple(staged), in_order, names
    )


def _pieces(location: Location, found: Sequence[Found], folder: Location) -> Iterator[Piece]:
    """The pieces of some files, which are yet to be numbered."""
    for index, file in enumerate(found):
        plan, member = file.plan, file.member
        assert plan is not None
        piece = Piece(0, index, member, plan, file.symbol)
        size, spooled = member.size, ""
        packed = member.packed is not None or bool(unpack.packing(member.name))
        if packed and (size > _PIECE or unpack.packing(member.name)) and not plan.parquet:
            path = folder / f"unpacked-{index}"
            with _named(member):
                size, spooled = _spooled(location, member, path), str(path)
            if size <= _PIECE:
                spooled = ""
        if plan.parquet:
            for groups, first_row in _row_groups(location, member):
                yield replace(piece, groups=groups, first_row=first_row)
        elif size <= _PIECE or plan.encoding.startswith("utf-16"):
            if size > LARGEST:
                raise ArchiveError(
                    f"{printable(member.name)}: UTF-16 text of {size:,} bytes; save a file of more than {LARGEST:,} bytes as UTF-8"
                )
            yield piece
        else:
            for start in range(0, size, _PIECE):
                yield replace(piece, start=start, stop=min(start + _PIECE, size), spooled=spooled)


@contextmanager
def _named(member: Member) -> Iterator[None]:
    """What keeps a file from being read, with its name."""
    try:
        yield
    except OSError as error:
        raise ArchiveError(f"{printable(member.name)}: {' '.join(str(error).split())}") from None


def _spooled(location: Location, member: Member, to: Location) -> int:
    """Unpack a file to where every worker sees it, and return its size."""
    if not isinstance(to, Url):
        return unpack.spool(location, member, to)
    with tempfile.TemporaryDirectory() as folder:
        size = unpack.spool(location, member, unpacked := Path(folder, to.name))
        locations.upload(unpacked, to)
        return size


def _row_groups(location: Location, member: Member) -> Iterator[tuple[tuple[int, ...], int]]:
    metadata = pq.read_metadata(unpack.source(location, member))
    counts = [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]
    for groups in _neighbours(counts, _PIECE_ROWS):
        yield tuple(groups), sum(counts[: groups.start])


def _tasks(pieces: tuple[Piece, ...]) -> Iterator[tuple[Piece, ...]]:
    """Pieces together: ranges and row groups alone, many small files at once."""
    sizes = [_PIECE if piece.groups else piece.stop - piece.start or piece.member.size for piece in pieces]
    return (pieces[some.start : some.stop] for some in _neighbours(sizes, _PIECE))


def _neighbours(sizes: Sequence[int], most: int) -> Iterator[range]:
    """The indices of neighbours whose sizes add up to at most ``most``, or of one that is larger."""
    start = total = 0
    for index, size in enumerate(sizes):
        if index > start and total + size > most:
            yield range(start, index)
            start, total = index, 0
        total += size
    if sizes:
        yield range(start, len(sizes))


def stage(task: StageTask) -> Staged:
    """Read pieces, and write their rows sorted by symbol."""
    lines: dict[int, int] = {}
    digests: dict[int, tuple[str, int]] = {}
    return _sorted(_read(task, lines, digests), task.to, lines, digests)


def _sorted(
    read: Iterable[tuple[list[Piece], Rows]],
    to: str,
    lines: Mapping[int, int],
    digests: Mapping[int, tuple[str, int]],
) -> Staged:
    good: list[Sorted] = []
    bad: list[Sorted] = []
    names: dict[str, str] = {}
    no_adjusted: set[int] = set()
    for pieces, rows in read:
        no_adjusted |= {piece.file for piece, without in zip(pieces, rows.no_adjusted, strict=True) if without}
        table, symbols = _table(pieces, rows)
        _note_names(rows.table, symbols, names)
        stem = f"{to}/rows-{pieces[0].number}-{pieces[0].first_row}-{len(good)}"
        good.append(_write(f"{stem}.arrow", table, symbols))
        if rows.bad:
            bad.append(_write(f"{stem}-bad.arrow", *_bad_table(pieces, rows)))
    pa.default_memory_pool().release_unused()  # workers stay, and the parts need it
    return Staged(tuple(good), tuple(bad), lines, digests, names, frozenset(no_adjusted))


def _read(
    task: StageTask, lines: dict[int, int], digests: dict[int, tuple[str, int]]
) -> Iterator[tuple[list[Piece], Rows]]:
    location = locations.location(task.location)
    waiting: list[Piece] = []
    bodies: list[Body] = []
    for piece in task.pieces:
        if waiting and (piece.plan != waiting[0].plan or piece.plan.parquet):
            yield waiting, text_files.read_rows(bodies, waiting[0].plan)
            waiting, bodies = [], []
        if piece.plan.parquet:
            yield from (([piece], rows) for rows in _parquet_rows(location, piece))
            continue
        body = _body(location, piece, digests)
        lines[piece.number] = body.text.count(b"\n") + body.first_line - 1
        waiting.append(piece)
        bodies.append(body)
    if waiting:
        yield waiting, text_files.read_rows(bodies, waiting[0].plan)


def _parquet_rows(location: Location, piece: Piece) -> Iterator[Rows]:
    try:
        source = unpack.source(location, piece.member)
        yield from parquet_files.read_row_groups(source, piece.groups, piece.first_row, piece.plan, _PIECE_ROWS)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise ArchiveError(
            f"{printable(piece.member.name)}: damaged Parquet ({' '.join(str(error).split())}); write it again, or name the files to read with "
            "archive.only_files"
        ) from None


def _body(location: Location, piece: Piece, digests: dict[int, tuple[str, int]] | None = None) -> Body:
    """The rows of a piece of text; the lines of a range count from 1."""
    if not piece.stop:
        with _named(piece.member):
            content = unpack.whole(location, piece.member)
        if digests is not None:
            digests[piece.file] = blake3(content).hexdigest(), len(content)
        return text_files.body_of(content, piece.plan)
    with locations.opened(
        locations.location(piece.spooled) if piece.spooled else location / piece.member.name,
        None if piece.spooled else piece.member.size,
    ) as file:
        before = 1 if piece.start else 0
        content = file.read(piece.stop - piece.start + before, piece.start - before)
        if before and b"\n" not in content:
            return Body(b"", 1)  # no line begins here: all have been read with the first piece, if they end in CR alone
        step = _LONGEST_LINE
        while content and not content.endswith(b"\n"):  # the line that begins within the range belongs to it
            more = file.read(step, piece.start - before + len(content))
            if not more:
                break
            if len(content) > LARGEST:
                raise ArchiveError(
                    f"{printable(piece.member.name)}: {len(content):,} bytes without a line feed; save it with the line ends of Linux or Windows"
                )
            step *= 2
            content += more[: more.find(b"\n") + 1] if b"\n" in more else more
    if not piece.start:
        return text_files.body_of(content, piece.plan)
    text = plans.to_utf8(content[content.find(b"\n") + 1 :], piece.plan.encoding)
    return Body(text_files.ended(text), 1)


def _table(pieces: Sequence[Piece], rows: Rows) -> tuple[pa.Table, pa.Array]:
    """The good rows as `_GOOD`, and their symbols."""
    total = int(rows.counts.sum())
    mask = np.ones(total, dtype=bool)
    mask[list(rows.bad)] = False
    numbers = np.repeat(np.array([piece.number for piece in pieces], dtype=np.int32), rows.counts)[mask]
    lines = np.concatenate(rows.lines)[mask] if rows.lines else np.zeros(0, dtype=np.int64)
    if "Symbol" in rows.table.schema.names:
        symbols = rows.table["Symbol"].unify_dictionaries().combine_chunks()
    else:
        known = [piece.symbol for piece in pieces]
        codes = np.repeat(np.arange(len(pieces), dtype=np.int32), rows.counts)[mask]
        symbols = pa.DictionaryArray.from_arrays(pa.array(codes), pa.array(known, pa.string()))
    columns = [*(rows.table[name] for name in VALUES), *map(pa.array, (rows.rounded, numbers, lines))]
    return pa.table(columns, schema=_GOOD), symbols


def _bad_table(pieces: Sequence[Piece], rows: Rows) -> tuple[pa.Table, pa.Array]:
    records = []
    symbols = []
    in_order = sorted(row for row, reason in rows.bad.items() if reason != BLANK)
    for row, (file, number) in zip(in_order, places(in_order, rows.counts), strict=True):
        records.append((pieces[file].number, int(rows.lines[file][number]), rows.bad[row], rows.raw(file, number)))
        symbols.append(pieces[file].symbol or rows.bad_symbols.get(row, ""))
    columns = [pa.array([record[i] for record in records], kind) for i, kind in enumerate(_BAD.types)]
    return pa.table(columns, schema=_BAD), pa.array(symbols, pa.string()).dictionary_encode()


def _note_names(table: pa.Table, symbols: pa.Array, names: dict[str, str]) -> None:
    if "Security Name" not in table.schema.names or not table.num_rows:
        return
    symbols = table["Symbol"] if "Symbol" in table.schema.names else symbols  # those of the files' names
    pairs = pa.table({"symbol": symbols.cast(pa.string()), "name": table["Security Name"].cast(pa.string())})
    for pair in pairs.group_by(["symbol", "name"]).aggregate([]).to_pylist():
        if pair["name"]:
            names.setdefault(pair["symbol"], pair["name"])


def _write(path: str, table: pa.Table, symbols: pa.Array) -> Sorted:
    texts, ranks = np.unique(np.array(symbols.dictionary.to_pylist(), dtype=object), return_inverse=True)
    codes = ranks.astype(np.int32)[symbols.indices.to_numpy(zero_copy_only=False)]
    if (codes[1:] < codes[:-1]).any():
        order = np.argsort(codes, kind="stable")
        codes, table = codes[order], table.take(pa.array(order))
    counts = np.bincount(codes, minlength=len(texts))
    there = np.flatnonzero(counts)
    to = locations.location(path)
    sink = pa.BufferOutputStream() if isinstance(to, Url) else pa.OSFile(path, "wb")
    with sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table.combine_chunks(), _BATCH_ROWS if isinstance(to, Url) else None)
    if isinstance(to, Url):
        locations.write(to, memoryview(sink.getvalue()))
    starts = np.concatenate([[0], np.cumsum(counts[there])]).astype(np.int64)
    return Sorted(path, tuple(texts[there].tolist()), starts)


def _digest(path: Location) -> str:
    found, position = blake3(max_threads=blake3.AUTO), 0
    with locations.opened(path) as file:
        while block := file.read(1 << 24, position):
            found.update(block)
            position += len(block)
    return found.hexdigest()


@dataclass(frozen=True)
class StagedPart:
    """The staged rows of some symbols.

    Parameters
    ----------
    stage : Stage
        The files that they are from, without what else is staged.
    good, bad : tuple of (Sorted, int, int)
        Files, and which of their rows.
    """

    stage: Stage
    good: tuple[tuple[Sorted, int, int], ...]
    bad: tuple[tuple[Sorted, int, int], ...]
    symbols: tuple[str, ...]
    no_adjusted: frozenset[int]

    @property
    def rows(self) -> int:
        """Rows, good and bad."""
        return sum(stop - start for _, start, stop in (*self.good, *self.bad))

    def digest(self) -> str:
        """A digest of the rows and of the files' names."""
        found = blake3()
        for entry, start, stop in (*self.good, *self.bad):
            for column in _slice(entry, start, stop).columns:
                if pa.types.is_string(column.type):
                    found.update(json.dumps(column.to_pylist()).encode())
                else:
                    found.update(column.to_numpy().tobytes())
        stage = self.stage
        plans_used = [repr(piece.plan) for piece in stage.pieces]
        described = [self.symbols, stage.files, stage.digests, stage.first_lines, plans_used]
        return found.update(json.dumps(described).encode()).hexdigest()

    def parsed(self, names: Mapping[str, str | None]) -> parse.Parsed:
        """Make prices of the rows."""
        codes, table = self._in_order(self.good, _GOOD)
        bad_codes, bad_table = self._in_order(self.bad, _BAD)
        self._refuse_two_files(codes, table)
        shift = int((bad_codes < 0).any())
        groups = [""] * shift + list(self.symbols)
        codes, bad_codes = codes + shift, bad_codes + shift
        # In a sorted file the rows of a symbol stand as they were read; only among bad ones must each find its position.
        if len(bad_codes):
            keys = [np.concatenate([table[name].to_numpy(), bad_table[name].to_numpy()]) for name in ("line", "piece")]
            order = np.lexsort((*keys, np.concatenate([codes, bad_codes])))
        elif (codes[1:] < codes[:-1]).any():
            order = np.argsort(codes, kind="stable")
        else:
            order = np.arange(len(codes))
        is_bad = order >= len(codes)
        if len(bad_codes) or (order[1:] < order[:-1]).any():
            table = table.take(pa.array(order[~is_bad]))
        bad_rows = np.flatnonzero(is_bad).tolist()
        bad_table = bad_table.take(pa.array(order[is_bad] - len(codes)))
        bad, raw = (dict(zip(bad_rows, bad_table[name].to_pylist(), strict=True)) for name in ("reason", "raw"))
        piece, line = (_merged(table[name], bad_table[name], is_bad) for name in ("piece", "line"))
        counts = np.bincount(np.concatenate([codes, bad_codes]), minlength=len(groups))
        offsets, files = np.array(self.stage.first_lines), np.array([entry.file for entry in self.stage.pieces])
        lines, file_of_row = line + offsets[piece], files[piece]
        rounded = np.zeros(len(order), dtype=bool)
        rounded[~is_bad] = table["rounded"].to_numpy()
        starts = np.cumsum(counts) - counts
        own = [slice(start, start + count) for start, count in zip(starts, counts, strict=True)]
        sources = [
            self._source(symbol, names.get(symbol), lines[rows], file_of_row[rows], int(rounded[rows].sum()))
            for symbol, rows in zip(groups, own, strict=True)
            if rows.start < rows.stop
        ]
        texts = _Texts(self.stage, starts[counts > 0], piece, line, raw, table, np.flatnonzero(~is_bad))
        return parse.account(sources, table.select(list(VALUES)), bad, texts.shown)

    def _source(
        self, symbol: str, name: str | None, lines: npt.NDArray[np.int64], files: npt.NDArray[np.int64], rounded: int
    ) -> parse.Source:
        found = np.unique(files)
        first, last = self.stage.files[found[0]], self.stage.files[found[-1]]
        label = first if len(found) == 1 else f"{first} ... {last} ({len(found):,} files)"
        if not symbol:
            label += " (rows without a symbol)"
        digests = [self.stage.digests[number] for number in found]
        digest = (
            digests[0][0] if len(found) == 1 else blake3("\n".join(entry[0] for entry in digests).encode()).hexdigest()
        )
        body = parse.Body(b"", rows=len(lines), lines=lines, files=files)
        plan = next(piece.plan for piece in self.stage.pieces if piece.file == found[0])
        without = bool(self.no_adjusted.intersection(found.tolist()))
        titles = " or ".join(plan.reading.titles)
        size = sum(size for _, size in digests)
        return parse.Source(label, symbol, name, digest, size, body, self.stage.files, titles, without, rounded)

    def _in_order(
        self, entries: Sequence[tuple[Sorted, int, int]], kind: pa.Schema
    ) -> tuple[npt.NDArray[np.int64], pa.Table]:
        """The rows of some slices one after the other, and the index of each one's symbol; -1 for none."""
        codes = [np.zeros(0, dtype=np.int64)]
        tables = [kind.empty_table()]
        index = {symbol: number for number, symbol in enumerate(self.symbols)}
        for entry, start, stop in entries:
            first, last = np.searchsorted(entry.starts, [start, stop])
            counts = np.diff(entry.starts[first : last + 1])
            numbers = [index.get(symbol, -1) for symbol in entry.symbols[first:last]]
            codes.append(np.repeat(np.array(numbers, dtype=np.int64), counts))
            tables.append(_slice(entry, start, stop))
        return np.concatenate(codes), pa.concat_tables(tables)

    def _refuse_two_files(self, codes: npt.NDArray[np.int64], table: pa.Table) -> None:
        """Refuse a date that a symbol has in two files: there is no telling which of them is right."""
        files = np.array([entry.file for entry in self.stage.pieces])[table["piece"].to_numpy()]
        if not len(files) or (files == files[0]).all():
            return
        dates = table["Date"].cast(pa.int32()).to_numpy()
        order = np.lexsort((dates, codes))
        same = (np.diff(codes[order]) == 0) & (np.diff(dates[order]) == 0) & (np.diff(files[order]) != 0)
        if same.any():
            row = int(np.argmax(same))
            first, second = (self.stage.files[files[order[index]]] for index in (row, row + 1))
            day = np.datetime64(int(dates[order[row]]), "D")
            raise QuarantineError(
                f"two price files claim the same symbol and date: {self.symbols[codes[order[row]]]} on {day} is in {first} and in "
                f"{second}. Delete the rows that are there twice, take one of the files out of the archive, or name those to read: archive.only_files: '{first}'. If they "
                'are of different symbols, which their names say and no column: archive.columns: {Symbol: ""}'
            )


def _merged(good: pa.ChunkedArray, bad: pa.ChunkedArray, is_bad: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """A column of good rows, in order, with that of bad ones in between."""
    column = np.empty(len(is_bad), dtype=np.int64)
    column[~is_bad] = good.to_numpy()
    column[is_bad] = bad.to_numpy()
    return column


@dataclass
class _Texts:
    """The raw text of rows: of bad ones as it was staged, of others as it is in the file."""

    stage: Stage
    starts: npt.NDArray[np.int64]  # of each source's rows among all
    piece: npt.NDArray[np.int64]
    lines: npt.NDArray[np.int64]
    bad: Mapping[int, str]
    table: pa.Table
    good: npt.NDArray[np.int64]

    def shown(self, source: int, number: int) -> str:
        """The text of a source's row, shortened where it is very long."""
        row = int(self.starts[source]) + number
        if row in self.bad:
            return self.bad[row]
        piece = self.stage.pieces[int(self.piece[row])]
        if piece.plan.parquet:
            values = self.table.slice(int(np.searchsorted(self.good, row)), 1).select(list(VALUES)).to_pylist()[0]
            return ",".join(map(str, values.values()))
        lines, first = _lines(self.stage.location, piece)
        return parse.text_of(lines[int(self.lines[row]) - first])


@functools.lru_cache(maxsize=1)
def _lines(location: str, piece: Piece) -> tuple[list[bytes], int]:
    """The lines of a piece, and the number of the first."""
    body = _body(locations.location(location), piece)
    return body.text.split(b"\n"), body.first_line


def _slice(entry: Sorted, start: int, stop: int) -> pa.Table:
    """Some rows of a sorted file, copied: as a view they would keep its pages in memory."""
    at = locations.location(entry.path)
    with pa.PythonFile(locations.stream(at)) if isinstance(at, Url) else pa.memory_map(entry.path) as file:
        rows = pa.ipc.open_file(file)
        if isinstance(at, Url):
            first, last = start // _BATCH_ROWS, (stop - 1) // _BATCH_ROWS
            batches = [rows.get_batch(number) for number in range(first, last + 1)]
            table = pa.Table.from_batches(batches).slice(start - first * _BATCH_ROWS, stop - start)
        else:
            table = rows.read_all().slice(start, stop - start)
        columns = [
            pa.array(column.to_pylist(), column.type)
            if pa.types.is_string(column.type)
            else pa.array(column.to_numpy().copy(), column.type)
            for column in table.columns
        ]
        return pa.table(columns, schema=table.schema)
