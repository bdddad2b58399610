"""The raw archive: which price files there are, and what their symbols are called.

An archive is a folder or a ``.zip`` of price files in any of the layouts of `lib.data.layouts`, and of files that say what symbols
are called. The sample and Kaggle's download are laid out as ``stocks/*.csv``, ``etfs/*.csv`` and ``symbols_valid_meta.csv``.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path, PurePosixPath

from blake3 import blake3

from lib import locations
from lib.data import detect, unpack
from lib.data.detect import Found
from lib.data.headers import Options
from lib.data.members import LARGEST, ArchiveError, Member, NotRead, ZipMember, list_members
from lib.data.plans import Plan
from lib.locations import Location, Url
from lib.text import printable, shortened

KAGGLE_DATASET = "jacksoncrow/stock-market-dataset"
METADATA = "symbols_valid_meta.csv"
FOLDERS = ("etfs", "stocks")
NO_METADATA = f"no file with security names ({METADATA}, or another list), so no row has a Security Name"
_PACKED = (".gz", ".bz2", ".xz", ".zst", ".zip")
_SHOWN = 20  # files that a message names


@dataclass(frozen=True, slots=True)
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
    plan, refused :
        See `lib.data.detect.Found`.
    """

    name: str
    symbol: str
    security_name: str | None
    size: int
    packed: ZipMember | None = None
    plan: Plan | None = None
    refused: str | None = None


@dataclass(frozen=True)
class Archive:
    """An archive's price files and metadata.

    Parameters
    ----------
    location : pathlib.Path or Url
        The folder or the ``.zip``.
    base : str
        The folder within ``location`` that holds ``stocks/`` and ``etfs/``: empty, or it ends with ``/``.
    files : tuple of PriceFile
        Sorted by symbol; no symbol has two.
    metadata : tuple of Member
        The files that say what symbols are called.
    metadata_symbols : int
        Symbols that the metadata lists.
    metadata_without_file : tuple of str
        Those of them that have no price file.
    ignored : tuple of NotRead
        Files of the archive that are not read, by name, and why.
    tables : tuple of Found
        Price files that hold several symbols, or one of several files of a symbol: see `lib.data.multi_symbol`.
    names : dict of str to str
        Security names, by the spellings of their symbols.
    notes : tuple of str
        Which layouts there are, and what they lack.
    """

    location: Location
    base: str
    files: tuple[PriceFile, ...]
    metadata: tuple[Member, ...]
    metadata_symbols: int
    metadata_without_file: tuple[str, ...]
    ignored: tuple[NotRead, ...]
    tables: tuple[Found, ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def symbols_without_metadata(self) -> list[str]:
        """The symbols, in order, whose rows have no security name."""
        return [file.symbol for file in self.files if file.security_name is None]

    def remarks(self) -> list[str]:
        """What a user should know before the files are read: sentences, empty for an archive as Kaggle has it."""
        sentences = [*self.notes, *([] if self.metadata else [NO_METADATA])]
        if self.ignored:
            listed = [f"  {shortened(file.name, 80)}: {file.why}" for file in self.ignored[:_SHOWN]]
            if len(self.ignored) > _SHOWN:
                rest = _by_ending([file.name for file in self.ignored[_SHOWN:]])
                listed.append(f"  and {len(self.ignored) - _SHOWN:,} more, listed in the report of 01_ingest: {rest}")
            count = "1 file was" if len(self.ignored) == 1 else f"{len(self.ignored):,} files were"
            sentences.append("\n".join([f"{count} skipped:", *listed]))
        return sentences


def list_archive(
    location: Location, follow_links: bool = False, options: Options | None = None, only_files: str = ""
) -> Archive:
    """List an archive: a folder, a ``.zip`` or a price file; options and errors as for `lib.data.sources.open_archive`."""
    shown = printable(str(location))
    if detect.is_price_file(location):
        with locations.opened(location) as file:
            members, not_read = [Member(location.name, file.size)], list[NotRead]()
        location = location.parent
    else:
        members, not_read = list_members(location, follow_links)
    metadata = [member for member in members if member.name.rpartition("/")[2] == METADATA]
    found = detect.price_files(location, [m for m in members if m not in metadata], options or Options(), only_files)
    not_read += found.not_read
    if not found.found:
        raise ArchiveError(f"{shown}: {_nothing_found(members, not_read)}")
    if wrong := _wrong_choice(found.found):
        raise ArchiveError(wrong)
    names, listed = _read_metadata(location, metadata)
    names, listed = {**found.names, **names}, [*listed, *found.listed]
    base = _base(file.member.name for file in found.found)
    alone = [file for file in found.found if not detect.is_table(file)]
    tables = [replace(file, symbol=printable(file.symbol)) for file in found.found if detect.is_table(file)]
    price_files = [
        PriceFile(
            file.member.name[len(base) :],
            printable(file.symbol),
            names.get(file.symbol),
            file.member.size,
            file.member.packed,
            file.plan,
            file.refused,
        )
        for file in alone
    ]
    price_files.sort(key=lambda file: (file.symbol, file.name))
    _refuse_two_of_one_symbol(shown, price_files)
    with_file = {file.symbol for file in found.found}
    return Archive(
        location=location,
        base=base,
        files=tuple(price_files),
        metadata=tuple([*metadata, *found.metadata]),
        metadata_symbols=len(listed),
        metadata_without_file=()
        if any(not file.symbol for file in tables)
        else tuple(symbol for symbol, aliases in listed if not with_file.intersection(aliases)),
        ignored=tuple(sorted(not_read, key=lambda file: file.name)),
        tables=tuple(tables),
        names=names,
        notes=(*detect.notes(found.found), *found.remarks),
    )


def _wrong_choice(found: Sequence[Found]) -> str:
    """Why no file can be read as the params file has it, if that is why; else empty."""
    reasons = [(file.refused or "").partition("wrong header: ")[2] for file in found]
    if not all(re.search(r"archive\.(columns: [^{]|layout is )", reason) for reason in reasons):
        return ""
    rest = f" (and {len(found) - 1:,} more)" if len(found) > 1 else ""
    return f"{printable(found[0].member.name)}{rest}: {reasons[0]}"


def _read_metadata(
    location: Location, metadata: list[Member]
) -> tuple[dict[str, str], list[tuple[str, tuple[str, ...]]]]:
    """What the files of Kaggle's name say."""
    names: dict[str, str] = {}
    listed: list[tuple[str, tuple[str, ...]]] = []
    for member in metadata:
        where = f"{printable(str(location))}: {printable(member.name)}"
        try:
            content = unpack.whole(location, member)
            found = detect.read_names(location, member, content)
        except OSError as error:
            raise ArchiveError(f"{where}: cannot be read: {error.strerror or error}") from None
        if found is None:
            raise ArchiveError(_no_names(content, where))
        names = {**found.names, **names}
        listed += found.listed
    return names, listed


def _refuse_two_of_one_symbol(shown: str, found: list[PriceFile]) -> None:
    several = [[file.name for file in group] for _, group in groupby(found, key=lambda file: file.symbol)]
    several = [names for names in several if len(names) > 1]
    if several:
        listed = [f"  {' and '.join(printable(name) for name in names)}" for names in several[:_SHOWN]]
        listed += [f"  and {len(several) - _SHOWN:,} more symbols"] * (len(several) > _SHOWN)
        raise ArchiveError(
            f"{shown}: two price files claim the same symbol; rename or remove one of them, or name those to read with archive.only_files:\n"
            + "\n".join(listed)
        )


def _nothing_found(members: list[Member], not_read: list[NotRead]) -> str:
    names = [printable(member.name) for member in members if member.name.rpartition("/")[2] != METADATA]
    message = (
        f"no price files found; expected files of daily prices, one a symbol or with a column of symbols: {', '.join(detect.ENDINGS)}; "
        + (f"found {_by_ending(names)}" if names else "found no other files either")
    )
    if not_read:
        first = not_read[0]
        message += f"; {len(not_read):,} {'was' if len(not_read) == 1 else 'were'} skipped, such as {shortened(first.name, 80)}: {first.why}"
    return message


def _by_ending(names: Iterable[str]) -> str:
    """How many files of each ending there are, with one of them."""
    endings: Counter[str] = Counter()
    first: dict[str, str] = {}
    for name in sorted(names):
        endings[ending(name)] += 1
        first.setdefault(ending(name), name)
    return ", ".join(
        f"{count:,} {shortened(found, 20) or 'without an ending'} ({shortened(first[found], 80)})"
        for found, count in endings.most_common(5)
    )


def ending(name: str) -> str:
    """What a file's name ends with, before it is packed, too.

    Examples
    --------
    >>> ending("BRK.B.CSV.gz"), ending("BRK.B.csv")
    ('.csv.gz', '.csv')
    """
    path = PurePosixPath(name)
    inner = PurePosixPath(path.stem).suffix if path.suffix.lower() in _PACKED else ""
    return (inner + path.suffix).lower()


def _no_names(content: bytes, where: str) -> str:
    """Why a file of Kaggle's name gives no names."""
    reader = csv.reader(io.StringIO(content.decode("utf-8-sig", "replace"), newline=""))
    try:
        columns = next(reader, ["nothing"])
        list(reader)
    except csv.Error as error:
        return f"{where}, line {reader.line_num}: not CSV ({error}); is a quote never closed?"
    missing = " and ".join(sorted({"Symbol", "Security Name"} - set(columns))) or "Security Name"
    return f"{where}, line 1: column {missing} missing; found: {', '.join(columns)}"


def _base(price_files: Iterable[str]) -> str:
    """The folder that wraps the archive: above every ``stocks`` and ``etfs``, if all price files are in such; else empty."""
    bases = set()
    for name in price_files:
        *above, folder, _ = f"/{name}".split("/")
        if folder.lower() not in FOLDERS:
            return ""
        bases.add("/".join(above[1:]))
    return f"{bases.pop()}/" if len(bases) == 1 and bases != {""} else ""


def digest(entries: Iterable[tuple[str, str]]) -> str:
    """The digest of an archive's content, of each price file's name and digest in any order, as 64 hex digits.

    Examples
    --------
    >>> digest([("stocks/B.csv", "2"), ("stocks/A.csv", "1")]) == digest([("stocks/A.csv", "1"), ("stocks/B.csv", "2")])
    True
    """
    lines = "".join(f"{found}  {name}\n" for name, found in sorted(entries))
    return hashlib.sha256(lines.encode()).hexdigest()


def fingerprint(archive: Archive) -> str:
    """A digest of an archive's bytes, to tell whether anything in it has changed.

    Returns
    -------
    str
        64 hex digits: the zip's BLAKE3, or a digest over those of the metadata and of every price file, and the names of the
        other files, which the report counts. Of objects, which would all have to be fetched, over what their storage says:
        size and tag.
    """
    names = [archive.base + file.name for file in archive.files]
    names += [member.name for member in (*archive.metadata, *(file.member for file in archive.tables))]
    if isinstance(archive.location, Url):
        found = locations.everything(archive.location.parent if archive.location.is_file() else archive.location)
        names = [archive.location.name] if archive.location.is_file() else names
        digests = [f"{found[name]}" for name in names]
    elif archive.location.is_file():
        return _digest_or_error(archive.location, None)
    else:
        read = _digests([archive.location / name for name in names])
        digests = [read[archive.location / name] for name in names]
    entries = [(printable(name), found) for name, found in zip(names, digests, strict=True)]
    return digest([*entries, *((file.name, f"not read: {file.why}") for file in archive.ignored)])


def _digests(files: list[Path]) -> dict[Path, str]:
    """The files' digests, by several threads: hashing leaves Python's lock to the others.

    The threads end with the process, whatever they wait for: Ctrl-C must not wait for a disk that does not answer, as the
    threads of concurrent.futures make it.
    """
    found: dict[Path, str] = {}
    waiting = iter(files)  # one for all threads

    def work() -> None:
        for path in waiting:
            found[path] = _digest_or_error(path, LARGEST)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(8, len(files)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def _digest_or_error(path: Path, largest: int | None) -> str:
    # Raw data is digested in every run, to find what has changed: BLAKE3 takes a quarter of SHA-256's time.
    found = blake3()
    try:
        with locations.opened(path) as file:
            size, position = file.size, 0
            if largest is not None and size > largest:
                return f"not read: {size} bytes"
            while block := file.read(1 << 20, position):
                found.update(block)
                position += len(block)
    except OSError as error:
        return f"unreadable: {error.strerror or error}"
    return found.hexdigest()
