"""The raw archive: which price files there are, and what their symbols are called.

An archive is a folder or a ``.zip`` in the layout of Kaggle's ``jacksoncrow/stock-market-dataset``: ``stocks/*.csv``,
``etfs/*.csv`` and, if there is one, ``symbols_valid_meta.csv``. The sample and the download are laid out the same way, so
that one path of code serves every source.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
import re
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path, PurePosixPath

from blake3 import blake3

from lib.members import LARGEST, ArchiveError, Member, NotRead, ZipMember, list_members, open_members, open_regular
from lib.text import printable, shortened

KAGGLE_DATASET = "jacksoncrow/stock-market-dataset"
METADATA = "symbols_valid_meta.csv"
FOLDERS = ("etfs", "stocks")
NO_METADATA = f"there is no {METADATA} beside stocks/ and etfs/, so no row has a Security Name"
# Names that Windows does not let a file have; the archive guards them with a leading "_".
_RESERVED = re.compile(r"_(CON|PRN|AUX|NUL|COM\d|LPT\d)", re.IGNORECASE)
_PACKED = (".gz", ".bz2", ".xz", ".zst", ".zip")
_SHOWN = 20  # files that a message names


@dataclass(frozen=True)
class PriceFile:
    """One raw price file.

    Parameters
    ----------
    name : str
        Its path within the archive, such as ``stocks/AAPL.csv``, as the file system has it.
    symbol : str
        The ticker: the file's stem without the guard of a reserved name (``_PRN.csv`` is ``PRN``), `lib.text.printable`.
    security_name : str or None
        From the metadata; None when the metadata has none.
    size : int
        Bytes.
    packed : ZipMember or None
        Where it is in a zip.
    """

    name: str
    symbol: str
    security_name: str | None
    size: int
    packed: ZipMember | None = None


@dataclass(frozen=True)
class Archive:
    """An archive's price files and metadata.

    Parameters
    ----------
    location : pathlib.Path
        The folder or the ``.zip``.
    base : str
        The folder within ``location`` that holds ``stocks/`` and ``etfs/``: empty, or it ends with ``/``.
    files : tuple of PriceFile
        Sorted by symbol; no symbol has two.
    metadata : Member or None
        The metadata's file, if there is one.
    metadata_symbols : int
        Symbols that the metadata lists.
    metadata_without_file : tuple of str
        Those of them that have no price file.
    ignored : tuple of NotRead
        Files of the archive that are not read, by name, and why.
    """

    location: Path
    base: str
    files: tuple[PriceFile, ...]
    metadata: Member | None
    metadata_symbols: int
    metadata_without_file: tuple[str, ...]
    ignored: tuple[NotRead, ...]

    @property
    def symbols_without_metadata(self) -> list[str]:
        """The symbols, in order, whose rows have no security name."""
        return [file.symbol for file in self.files if file.security_name is None]

    def remarks(self) -> list[str]:
        """What a user should know before the files are read: sentences, empty for an archive as Kaggle has it."""
        said = [] if self.metadata else [NO_METADATA]
        if self.ignored:
            listed = [f"  {shortened(file.name, 80)}: {file.why}" for file in self.ignored[:_SHOWN]]
            if len(self.ignored) > _SHOWN:
                rest = _by_ending([file.name for file in self.ignored[_SHOWN:]])
                listed.append(f"  and {len(self.ignored) - _SHOWN:,} more, which the report of 01_ingest names: {rest}")
            said.append("\n".join([f"{len(self.ignored):,} files are not read:", *listed]))
        return said


def list_archive(location: Path, follow_links: bool = False) -> Archive:
    """List an archive.

    Parameters
    ----------
    location : pathlib.Path
        A folder or a ``.zip``.
    follow_links : bool
        Read what links lead to outside the archive, too.

    Returns
    -------
    Archive

    Raises
    ------
    ArchiveError
        As `lib.sources.open_archive` does.
    """
    shown = printable(str(location))
    members, not_read = list_members(location, follow_links)
    price_files = [member for member in members if _is_price_file(member.name)]
    if not price_files:
        raise ArchiveError(f"{shown}: {_nothing_found(members, not_read)}")
    base = _base(member.name for member in price_files)
    metadata = next((member for member in members if member.name == base + METADATA), None)
    names, listed = _read_metadata(location, metadata)
    found = []
    for member in members:
        name = member.name
        if member is metadata:
            continue
        if _is_price_file(name) and name.startswith(base) and name.count("/") == base.count("/") + 1:
            symbol = symbol_of(name)
            security_name = names.get(symbol)
            found.append(PriceFile(name[len(base) :], printable(symbol), security_name, member.size, member.packed))
        else:
            not_read.append(NotRead(printable(name), _why_not_read(name, base)))
    found.sort(key=lambda file: (file.symbol, file.name))
    _refuse_two_of_one_symbol(shown, found)
    with_file = {symbol_of(file.name) for file in found}
    return Archive(
        location=location,
        base=base,
        files=tuple(found),
        metadata=metadata,
        metadata_symbols=len(listed),
        metadata_without_file=tuple(symbol for symbol, aliases in listed if not with_file.intersection(aliases)),
        ignored=tuple(sorted(not_read, key=lambda file: file.name)),
    )


def _read_metadata(location: Path, metadata: Member | None) -> tuple[dict[str, str], list[tuple[str, tuple[str, ...]]]]:
    if metadata is None:
        return {}, []
    place = f"{printable(str(location))}: {printable(metadata.name)}"
    try:
        with open_members(location) as read:
            content = read(metadata)
    except OSError as error:
        raise ArchiveError(f"{place}: cannot be read: {error.strerror or error}") from None
    return parse_metadata(content, place)


def _refuse_two_of_one_symbol(shown: str, found: list[PriceFile]) -> None:
    several = [[file.name for file in group] for _, group in groupby(found, key=lambda file: file.symbol)]
    several = [names for names in several if len(names) > 1]
    if several:
        listed = [f"  {' and '.join(printable(name) for name in names)}" for names in several[:_SHOWN]]
        listed += [f"  and so for {len(several) - _SHOWN:,} symbols more"] * (len(several) > _SHOWN)
        raise ArchiveError(
            f"{shown}: two price files claim the same symbol; rename or remove one of them:\n" + "\n".join(listed)
        )


def _nothing_found(members: list[Member], not_read: list[NotRead]) -> str:
    names = [printable(member.name) for member in members if member.name.rpartition("/")[2] != METADATA]
    said = f"no price files found; expected stocks/*.csv and etfs/*.csv, as Kaggle's {KAGGLE_DATASET} has them; " + (
        f"found {_by_ending(names)}" if names else "found no other files either"
    )
    if any(name.lower().endswith(".csv") for name in names):
        said += "; put the .csv files, one a symbol, into a folder stocks"
    if not_read:
        first = not_read[0]
        said += f"; {len(not_read):,} files cannot be read, such as {shortened(first.name, 80)} ({first.why})"
    return said


def _by_ending(names: Iterable[str]) -> str:
    """How many files of each ending there are, with one of them."""
    endings: Counter[str] = Counter()
    first: dict[str, str] = {}
    for name in sorted(names):
        path = PurePosixPath(name)
        inner = PurePosixPath(path.stem).suffix if path.suffix.lower() in _PACKED else ""
        ending = (inner + path.suffix).lower()
        endings[ending] += 1
        first.setdefault(ending, name)
    return ", ".join(
        f"{count:,} {shortened(ending, 20) or 'without an ending'} ({shortened(first[ending], 80)})"
        for ending, count in endings.most_common(5)
    )


def _why_not_read(name: str, base: str) -> str:
    *_, folder, file = f"/{name}".split("/")
    if any(part.startswith((".", "__MACOSX")) for part in name.split("/")):
        return "hidden, or one of macOS's own"
    if not file.lower().endswith(".csv"):
        return "not a .csv file"
    if folder.lower() in FOLDERS:
        return f"not in {shortened(printable(base), 80) or 'the archive'} itself, where most price files are"
    return "not in a folder stocks or etfs"


def symbol_of(name: str) -> str:
    """The symbol that a price file's name stands for.

    Examples
    --------
    >>> symbol_of("stocks/LGF.B.csv"), symbol_of("stocks/_PRN.csv"), symbol_of("stocks/AGM-A.csv")
    ('LGF.B', 'PRN', 'AGM-A')
    """
    stem = name.rpartition("/")[2][: -len(".csv")]
    return stem[1:] if _RESERVED.fullmatch(stem) else stem


def parse_metadata(content: bytes, place: str) -> tuple[dict[str, str], list[tuple[str, tuple[str, ...]]]]:
    """Read the symbols' metadata.

    Parameters
    ----------
    content : bytes
        ``symbols_valid_meta.csv``: CSV with a header that has Symbol, Security Name and perhaps NASDAQ Symbol.
    place : str
        What an error calls it.

    Returns
    -------
    names : dict of str to str
        Security name by NASDAQ Symbol, then by Symbol, where the two differ (``AGM$A`` is ``AGM-A``).
    listed : list of (str, tuple of str)
        Every row's Symbol, with the spellings that a file of it may have.

    Raises
    ------
    ArchiveError
        Not UTF-8, not CSV, or a column is missing.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ArchiveError(f"{place}, line {line}: not UTF-8 text; save it as UTF-8") from None
    # csv keeps every value as text: the symbols NAN, TRUE and ON stay symbols.
    reader = csv.DictReader(io.StringIO(text, newline=""))
    try:
        columns = reader.fieldnames or ["nothing"]
        # Only what is needed of each row: a list of the rows as they are would hold a dictionary a symbol.
        rows = [(row.get("Symbol"), row.get("NASDAQ Symbol"), row.get("Security Name")) for row in reader]
    except csv.Error as error:
        raise ArchiveError(f"{place}, line {reader.line_num}: not CSV ({error}); is a quote never closed?") from None
    missing = {"Symbol", "Security Name"} - set(columns)
    if missing:
        raise ArchiveError(
            f"{place}, line 1: column {' and '.join(sorted(missing))} missing; found: {', '.join(columns)}"
        )
    by_nasdaq: dict[str, str] = {}
    by_symbol: dict[str, str] = {}
    listed = []
    for symbol, nasdaq, name in rows:
        symbol, nasdaq, name = (symbol or "").strip(), (nasdaq or "").strip(), name or ""
        if symbol or nasdaq:
            listed.append((symbol or nasdaq, tuple(spelling for spelling in (nasdaq, symbol) if spelling)))
        if name.strip():  # kept as it is spelt, spaces and all
            by_nasdaq.setdefault(nasdaq, name)
            by_symbol.setdefault(symbol, name)
    return {**by_symbol, **by_nasdaq}, listed


def _is_price_file(name: str) -> bool:
    *above, file = name.split("/")
    hidden = any(part.startswith((".", "__MACOSX")) for part in (*above, file))
    return bool(above) and above[-1].lower() in FOLDERS and file.lower().endswith(".csv") and not hidden


def _base(price_files: Iterable[str]) -> str:
    """The shortest folder above a ``stocks`` or ``etfs``: an archive may be wrapped in a folder of its own."""
    bases = {name[: name.rindex("/", 0, name.rindex("/")) + 1] if name.count("/") > 1 else "" for name in price_files}
    return min(bases, key=lambda base: (base.count("/"), base))


def digest(entries: Iterable[tuple[str, str]]) -> str:
    """The digest of an archive's content.

    Parameters
    ----------
    entries : iterable of (str, str)
        Each price file's name and digest, in any order.

    Returns
    -------
    str
        64 hex digits.

    Examples
    --------
    >>> digest([("stocks/B.csv", "2"), ("stocks/A.csv", "1")]) == digest([("stocks/A.csv", "1"), ("stocks/B.csv", "2")])
    True
    """
    lines = "".join(f"{found}  {name}\n" for name, found in sorted(entries))
    return hashlib.sha256(lines.encode()).hexdigest()


def fingerprint(archive: Archive) -> str:
    """A digest of an archive's bytes, to tell whether anything in it has changed.

    Parameters
    ----------
    archive : Archive

    Returns
    -------
    str
        64 hex digits: the zip's BLAKE3, or a digest over those of the metadata and of every price file, and the names of the
        other files, which the report counts.
    """
    if archive.location.is_file():
        return _digest_or_error(archive.location, None)
    names = [archive.base + file.name for file in archive.files]
    if archive.metadata:
        names.append(archive.metadata.name)
    digests = _digests([archive.location / name for name in names])
    entries = [(printable(name), found) for name, found in zip(names, digests, strict=True)]
    return digest([*entries, *((file.name, f"not read: {file.why}") for file in archive.ignored)])


def _digests(places: list[Path]) -> list[str]:
    """The files' digests, by several threads: hashing leaves Python's lock to the others.

    The threads end with the process, whatever they wait for: Ctrl-C must not wait for a disk that does not answer, as the
    threads of concurrent.futures make it.
    """
    found: dict[int, str] = {}
    waiting: Iterator[tuple[int, Path]] = iter(enumerate(places))
    lock = threading.Lock()

    def work() -> None:
        while True:
            with lock:
                number, path = next(waiting, (-1, Path()))
            if number < 0:
                return
            found[number] = _digest_or_error(path, LARGEST)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(8, len(places)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [found[number] for number in range(len(places))]


def _digest_or_error(path: Path, largest: int | None) -> str:
    # Raw data is digested in every run, to find what has changed: BLAKE3 takes a quarter of SHA-256's time.
    found = blake3()
    try:
        with open_regular(path) as descriptor:
            size = os.fstat(descriptor).st_size
            if largest is not None and size > largest:
                return f"not read: {size} bytes"
            while block := os.read(descriptor, 1 << 20):
                found.update(block)
    except OSError as error:
        return f"unreadable: {error.strerror or error}"
    return found.hexdigest()
