"""The raw archive: which price files there are, what their symbols are called, and their bytes.

An archive is a folder or a ``.zip`` in the layout of Kaggle's ``jacksoncrow/stock-market-dataset``: ``stocks/*.csv``,
``etfs/*.csv`` and ``symbols_valid_meta.csv``. The sample and the download are laid out the same way, so that one
path of code serves every source.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from blake3 import blake3

from lib import files, paths

KAGGLE_DATASET = "jacksoncrow/stock-market-dataset"
METADATA = "symbols_valid_meta.csv"
FOLDERS = ("etfs", "stocks")
# Names that Windows does not let a file have; the archive guards them with a leading "_".
_RESERVED = re.compile(r"_(CON|PRN|AUX|NUL|COM\d|LPT\d)", re.IGNORECASE)


class ArchiveError(ValueError):
    """An archive that is not there, or is not in Kaggle's layout."""


@dataclass(frozen=True)
class PriceFile:
    """One raw price file.

    Parameters
    ----------
    name : str
        Its path within the archive, such as ``stocks/AAPL.csv``.
    symbol : str
        The ticker: the file's stem without the guard of a reserved name (``_PRN.csv`` is ``PRN``).
    security_name : str or None
        From the metadata; None when the metadata has none.
    size : int
        Bytes.
    """

    name: str
    symbol: str
    security_name: str | None
    size: int


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
        Sorted by symbol, then name.
    metadata_symbols : int
        Symbols that the metadata lists.
    metadata_without_file : tuple of str
        Those of them that have no price file.
    ignored : tuple of str
        Files of the archive that are neither price files nor the metadata.
    """

    location: Path
    base: str
    files: tuple[PriceFile, ...]
    metadata_symbols: int
    metadata_without_file: tuple[str, ...]
    ignored: tuple[str, ...]

    @property
    def symbols_without_metadata(self) -> list[str]:
        """The symbols, in order, whose rows have no security name."""
        return [file.symbol for file in self.files if file.security_name is None]

    @contextmanager
    def reader(self) -> Iterator[Callable[[PriceFile], bytes]]:
        """Give a function that reads price files.

        Yields
        ------
        callable
            From a `PriceFile` to its bytes; it raises OSError for one that can't be read.
        """
        with open_members(self.location) as read:
            yield lambda file: read(self.base + file.name)


def open_archive(source: str, study: paths.StudyPaths) -> Archive:
    """Find the archive that ``archive.source`` names, and list it.

    Parameters
    ----------
    source : str
        ``sample``, ``kaggle``, or the path of a folder or ``.zip``; a relative path starts at the repository.
        ``STUDY_ARCHIVE``, set by the pipeline, says where a path given as a bare name is on this machine, so that no
        absolute path gets into a report.
    study : StudyPaths
        The sample is laid out in ``study.archive``.

    Returns
    -------
    Archive

    Raises
    ------
    ArchiveError
        No such folder or file, no price files in it, or no metadata.
    """
    if place := os.environ.get("STUDY_ARCHIVE"):  # first: a folder may be called kaggle
        location = Path(place)
    elif source == "sample":
        location = write_sample(study.archive)
    elif source == "kaggle":
        location = _kaggle()
    else:
        location = paths.ROOT / Path(source).expanduser()
    return list_archive(location)


def list_archive(location: Path) -> Archive:
    """List an archive.

    Parameters
    ----------
    location : pathlib.Path
        A folder or a ``.zip``.

    Returns
    -------
    Archive

    Raises
    ------
    ArchiveError
        As `open_archive` does.
    """
    members = _members(location)
    for name in members:
        try:
            name.encode()
        except UnicodeEncodeError:
            raise ArchiveError(f"{location}: the file name {name!r} is not UTF-8 text; rename the file") from None
    price_files = [name for name in members if _is_price_file(name)]
    if not price_files:
        raise ArchiveError(
            f"{location}: no price files found; expected stocks/*.csv and etfs/*.csv beside {METADATA}, "
            f"as Kaggle's {KAGGLE_DATASET} has them"
        )
    base = _base(price_files)
    if base + METADATA not in members:
        raise ArchiveError(
            f"{location}: {base}{METADATA} is missing; it gives each symbol its security name, and comes with Kaggle's "
            f"{KAGGLE_DATASET}: put it beside stocks/ and etfs/ (its columns: Symbol, Security Name, NASDAQ Symbol)"
        )
    with open_members(location) as read:
        try:
            content = read(base + METADATA)
        except OSError as error:
            raise ArchiveError(f"{location}: {base}{METADATA}: cannot be read: {error}") from None
    names, listed = parse_metadata(content, f"{location}: {base}{METADATA}")
    within = [name for name in price_files if name.startswith(base) and name.count("/") == base.count("/") + 1]
    found = []
    for name in within:
        symbol = symbol_of(name)
        found.append(PriceFile(name[len(base) :], symbol, names.get(symbol), members[name]))
    found.sort(key=lambda file: (file.symbol, file.name))
    with_file = {file.symbol for file in found}
    return Archive(
        location=location,
        base=base,
        files=tuple(found),
        metadata_symbols=len(listed),
        metadata_without_file=tuple(symbol for symbol, aliases in listed if not with_file.intersection(aliases)),
        ignored=tuple(sorted(members.keys() - set(within) - {base + METADATA})),
    )


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


@contextmanager
def open_members(location: Path) -> Iterator[Callable[[str], bytes]]:
    """Give a function that reads the members of a folder or zip.

    Parameters
    ----------
    location : pathlib.Path
        A folder or a ``.zip``.

    Yields
    ------
    callable
        From a member's POSIX name to its bytes; whatever keeps a member from being read is an OSError.

    Raises
    ------
    ArchiveError
        The zip cannot be opened.
    """
    if location.is_dir():
        yield lambda name: (location / name).read_bytes()
        return
    with _open_zip(location) as archive:
        members = {_plain(member.filename): member for member in archive.infolist()}

        def read(name: str) -> bytes:
            try:
                return archive.read(members[name])
            except Exception as error:  # zipfile passes on what zlib, bz2, lzma, struct and the codecs raise
                raise OSError(f"zip member cannot be read: {error}") from error

        yield read


def write_sample(folder: Path) -> Path:
    """Lay the sample out as an archive, unless it is there.

    The prices are real: those of AAPL, FB, GOOG, IBM and MSFT from 2000 to 2013 that the package bokeh-sampledata
    ships (from Quandl's WIKI prices, public domain). GOOG is Google before the split of 2014.

    Parameters
    ----------
    folder : pathlib.Path
        Where to.

    Returns
    -------
    pathlib.Path
        The same folder.
    """
    from bokeh_sampledata import stocks

    securities = {
        "AAPL": "Apple Inc. - Common Stock",
        "FB": "Facebook, Inc. - Class A Common Stock",
        "GOOG": "Google Inc. - Common Stock",
        "IBM": "International Business Machines Corporation Common Stock",
        "MSFT": "Microsoft Corporation - Common Stock",
    }
    columns = ("date", "open", "high", "low", "close", "adj_close", "volume")
    content = {METADATA: "Symbol,Security Name,NASDAQ Symbol,ETF\n"}
    for symbol, security in securities.items():
        series = getattr(stocks, symbol)
        rows = zip(*(series[column] for column in columns), strict=True)
        lines = ["Date,Open,High,Low,Close,Adj Close,Volume", *(",".join(map(str, row)) for row in rows)]
        content[f"stocks/{symbol}.csv"] = "\n".join(lines) + "\n"
        content[METADATA] += f'{symbol},"{security}",{symbol},N\n'
    (folder / "etfs").mkdir(parents=True, exist_ok=True)
    for name, text in content.items():
        path = folder / name
        if not path.exists() or path.read_bytes() != text.encode():
            files.write_atomically(path, text)
    return folder


def _kaggle() -> Path:
    by_hand = [paths.DATA / name for name in ("stock-market-dataset.zip", "archive.zip", "stock-market-dataset")]
    for location in by_hand:
        if location.exists():
            return location
    try:
        import kagglehub
        from kagglehub import cache, handle

        # What was downloaded once is used, whatever Kaggle has by now, and without a network.
        newest = handle.parse_dataset_handle(KAGGLE_DATASET)
        versions = Path(cache.get_cached_path(newest), "versions")
        for version in sorted((int(path.name) for path in versions.glob("*") if path.name.isdigit()), reverse=True):
            if found := cache.Cache().load_from_cache(newest.with_version(version)):
                return Path(found)
        return Path(kagglehub.dataset_download(KAGGLE_DATASET))
    except Exception as error:  # kagglehub raises whatever its HTTP client does
        raise ArchiveError(
            f"archive.source: kaggle: {KAGGLE_DATASET} cannot be downloaded ({type(error).__name__}: {error}). By hand: "
            f"open kaggle.com/datasets/{KAGGLE_DATASET}, press Download, and put the zip at "
            f"data/{by_hand[0].name} of this repository; or name a folder or zip you have as archive.source"
        ) from None


def _members(location: Path) -> dict[str, int]:
    """Every file of a folder or zip, by POSIX name, with its size in bytes."""
    if location.is_dir():
        found = {}
        for folder, _, names in os.walk(location, onerror=_unreadable, followlinks=True):
            base = "" if Path(folder) == location else Path(folder).relative_to(location).as_posix() + "/"
            for name in names:
                try:
                    found[base + name] = os.stat(f"{folder}/{name}").st_size
                except OSError:  # a link to nowhere is listed too, and refused when it is read
                    found[base + name] = 0
        return found
    if not location.exists():
        raise ArchiveError(f"{location}: no such folder or .zip; archive.source is sample, kaggle, or the path of one")
    with _open_zip(location) as archive:
        return {_plain(member.filename): member.file_size for member in archive.infolist() if not member.is_dir()}


def _unreadable(error: OSError) -> None:
    raise ArchiveError(f"{error.filename}: the folder cannot be read ({error.strerror}); may you read it?") from None


def _plain(member: str) -> str:
    """A zip member's name as other archives have it: Windows' own zips have backslashes, some start with ``./``."""
    return member.replace("\\", "/").removeprefix("./")


def _open_zip(location: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(location)
    except Exception as error:  # of a damaged directory: BadZipFile, UnicodeDecodeError, NotImplementedError, ...
        raise ArchiveError(f"{location}: not a readable .zip ({error}); download it again, or name a folder") from None


def _is_price_file(name: str) -> bool:
    *above, file = name.split("/")
    hidden = any(part.startswith((".", "__MACOSX")) for part in (*above, file))
    return bool(above) and above[-1] in FOLDERS and file.lower().endswith(".csv") and not hidden


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
        return _file_digest(archive.location)
    names = [archive.base + METADATA, *(archive.base + file.name for file in archive.files)]
    with ThreadPoolExecutor() as pool:  # hashing leaves Python's lock to the other threads
        digests = pool.map(lambda name: _digest_or_error(archive.location / name), names)
        return digest([*zip(names, digests, strict=True), *((name, "not read") for name in archive.ignored)])


def _digest_or_error(path: Path) -> str:
    try:
        return _file_digest(path)
    except OSError as error:
        return f"unreadable: {error.strerror}"


def _file_digest(path: Path) -> str:
    # Raw data is digested in every run, to find what has changed: BLAKE3 takes a quarter of SHA-256's time.
    found = blake3()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            found.update(block)
    return found.hexdigest()
