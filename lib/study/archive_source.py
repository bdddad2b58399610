"""Where a study's archive is on this machine, and its price files listed."""

from __future__ import annotations

import os
from pathlib import Path

from rich.console import Console

from lib import locations, paths
from lib.data import archive, sources
from lib.locations import Url
from lib.params import Params
from lib.study.errors import REFUSED, StudyError


def open_archive(params: Params, study: paths.StudyPaths, caller: Path | None, console: Console) -> archive.Archive:
    """List the study's archive; Yahoo's is brought up to date first."""
    section = params.archive
    if section.source == "yahoo":
        from lib.data import yahoo

        symbols = yahoo.read_symbols(section.symbols, [caller or paths.ROOT, paths.ROOT])
        for remark in yahoo.update(study.archive, symbols, section.start):
            console.print(remark, markup=False)
    options = sources.reading_options(
        section.layout, section.columns, section.dates, section.decimal, section.volume, section.volume_unit
    )
    return sources.open_archive(section.source, study, section.follow_links, options, section.only_files)


def locate(params: Params, study: paths.StudyPaths, caller: Path | None) -> Params:
    """Keep the archive's absolute path out of the notebooks: they get its name, and the environment the place."""
    os.environ.pop("STUDY_ARCHIVE", None)
    source = params.archive.source
    if source in ("sample", "kaggle", "yahoo"):
        return params
    url = locations.location(source)
    if isinstance(url, Url):
        return _locate_objects(params, study, url)
    try:
        location = Path(source).expanduser()
        candidates = (
            [location] if location.is_absolute() else [(base or paths.ROOT) / location for base in (None, caller)]
        )
        found = next((candidate for candidate in candidates if candidate.exists()), candidates[0]).resolve()
    except (OSError, RuntimeError, ValueError) as error:  # a name too long, a user without a home, a NUL
        raise StudyError(f"archive.source: {source!r} is not a path of a folder or .zip ({error})", REFUSED) from None
    if written := _overlap(found, study):
        raise StudyError(
            f"archive.source: {paths.as_typed(found)} and {paths.as_typed(written)}, which a run of {study.name} writes and sweeps, are one "
            "inside the other: raw files would be lost. Move the archive elsewhere, such as data/, and name that",
            REFUSED,
        )
    if study.folder.resolve().is_relative_to(found):
        raise StudyError(
            f"archive.source: {paths.as_typed(found)} holds {paths.as_typed(study.folder)}, where a run of {study.name} puts its results: they would "
            "be read as raw files. Name the folder that holds nothing but the archive",
            REFUSED,
        )
    os.environ["STUDY_ARCHIVE"] = str(found)
    return params.model_copy(update={"archive": params.archive.model_copy(update={"source": found.name})})


def _locate_objects(params: Params, study: paths.StudyPaths, url: Url) -> Params:
    locations.check(url)
    datasets = study.datasets
    if isinstance(datasets, Url) and (url.is_relative_to(datasets) or datasets.is_relative_to(url)):
        raise StudyError(
            f"archive.source: {url} and {datasets}, where a run of {study.name} keeps its datasets, are one inside the other: parts would "
            "be read as raw files. Name another prefix as one of archive.source and run.datasets",
            REFUSED,
        )
    os.environ["STUDY_ARCHIVE"] = str(url)
    name = url.name or url.root.partition("://")[2]
    return params.model_copy(update={"archive": params.archive.model_copy(update={"source": name})})


def _overlap(location: Path, study: paths.StudyPaths) -> Path | None:
    """A folder that the study's run writes and that ``location`` lies in; or, for one that a link leads to, that lies in it."""
    folder = study.folder.resolve()
    if location.is_relative_to(folder):
        return study.folder
    for link in (path for path in (study.folder, *study.folder.iterdir()) if path.is_symlink()):
        written = link.resolve()
        if location.is_relative_to(written) or written.is_relative_to(location):
            return link
    return None
