"""Where the raw prices come from: the sample, Kaggle's download, or a path."""

from __future__ import annotations

import hashlib
import lzma
import os
import shutil
import tarfile
import zlib
from collections.abc import Mapping
from pathlib import Path

from lib import files, locations, paths
from lib.data.archive import KAGGLE_DATASET, METADATA, Archive, list_archive
from lib.data.dates_and_numbers import DateOrder, DecimalMark
from lib.data.headers import Options
from lib.data.layouts import READ
from lib.data.members import LARGEST_RATIO, ArchiveError
from lib.locations import Location, Url
from lib.text import did_you_mean, near, printable


def reading_options(
    layout: str | None = None,
    columns: Mapping[str, str] | None = None,
    dates: DateOrder | None = None,
    decimal: DecimalMark | None = None,
    volume: str = "whole",
    volume_unit: float = 1.0,
) -> Options:
    """What the params file says about how price files are read: the keys of its section ``archive``.

    Parameters
    ----------
    volume : str
        ``whole`` or ``rounded``.

    Raises
    ------
    ArchiveError
        A column is chosen for a name that no price file needs.
    """
    for name in columns or {}:
        if name not in READ:
            hint = did_you_mean(near(name, READ, 1)) or f"; allowed: {', '.join(READ)}"
            raise ArchiveError(f"archive.columns: {name!r} is none of the names that are read{hint}")
    return Options(
        layout or "", tuple(sorted((columns or {}).items())), dates, decimal, volume == "rounded", float(volume_unit)
    )


def open_archive(
    source: str,
    study: paths.StudyPaths,
    follow_links: bool = False,
    options: Options | None = None,
    only_files: str | None = None,
) -> Archive:
    """Find the archive that ``archive.source`` names, and list it.

    Parameters
    ----------
    source : str
        ``sample``, ``kaggle``, ``yahoo`` (what `lib.data.yahoo` keeps), or the path of a folder, a ``.zip``, a ``.tar`` or a price
        file; a relative path starts at the repository. Or, on object storage, a prefix, a ``.zip`` or a price file.
        ``STUDY_ARCHIVE``, set by the pipeline, says where a path given as a bare name is on this machine, so that no
        absolute path gets into a report.
    study : StudyPaths
        The sample is laid out in ``study.archive``.
    follow_links : bool
        Read what links lead to outside the archive, too.
    only_files : str, optional
        Read only price files whose path matches this pattern.

    Raises
    ------
    ArchiveError
        No such folder or file, no price files in it, or two of one symbol.
    """
    location: Location
    if text := os.environ.get("STUDY_ARCHIVE"):  # first: a folder may be called kaggle
        location = locations.location(text)
    elif source == "sample":
        location = write_sample(study.archive)
    elif source == "kaggle":
        location = _kaggle()
    elif source == "yahoo":
        location = study.archive
    else:
        location = locations.location(source)
        if isinstance(location, Path):
            location = paths.ROOT / location.expanduser()
    if location.name.lower().endswith(TARS) and location.is_file():
        if isinstance(location, Url):
            raise ArchiveError(
                f"{location}: a .tar has to be unpacked first; put its files under a prefix, or into a .zip"
            )
        location = unpack_tar(location, study.unpacked)
    return list_archive(location, follow_links, options, only_files or "")


TARS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")


def unpack_tar(location: Path, to: Path) -> Path:
    """Unpack a ``.tar`` once, only regular files and none outside the folder; returns the folder with its files.

    Parameters
    ----------
    location : pathlib.Path
        The ``.tar``, packed or not.
    to : pathlib.Path
        A folder of ours; what it held before is removed.
    """
    found = location.stat()
    identity = f"{printable(str(location.resolve()))} {found.st_size} {found.st_mtime_ns}"
    folder = to / hashlib.sha256(identity.encode()).hexdigest()[:16]
    if folder.exists():
        return folder
    shutil.rmtree(to, ignore_errors=True)
    unfinished = folder.with_suffix(".unfinished")
    try:
        unfinished.mkdir(parents=True)
        written = 0
        with tarfile.open(location) as archive:
            for member in archive:
                if not member.isfile():
                    continue
                written += member.size
                if written > max(1 << 20, LARGEST_RATIO * found.st_size):
                    raise ArchiveError(
                        f"{printable(str(location))}: unpacks to more than {LARGEST_RATIO} times its size, as a bomb does; if it is "
                        "right, unpack it and name the folder"
                    )
                archive.extract(member, unfinished, filter="data")
        unfinished.rename(folder)
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, OSError) as error:
        raise ArchiveError(
            f"{printable(str(location))}: cannot be unpacked ({str(error).partition(chr(10))[0]}); download it again, or name a folder"
        ) from None
    return folder


def write_sample(folder: Path) -> Path:
    """Lay the sample out as an archive in ``folder``, unless it is there; returns ``folder``.

    The prices are real: those of AAPL, FB, GOOG, IBM and MSFT from 2000 to 2013 that the package bokeh-sampledata
    ships (from Quandl's WIKI prices, public domain). GOOG is Google before the split of 2014.
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
