"""The records of finished stages: what each was made of and what it made, and which of them are out of date.

The dashboard's kernels import this module: no pandas, no pyarrow.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import math
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lib import files, locations, paths
from lib.locations import Location, Url
from lib.stages import STAGES, before

OUT_OF_DATE = "Out of date"  # how a `note` begins
UNFINISHED = "its last run did not finish"


@dataclass(frozen=True)
class Kept:
    """A result's newer inputs, from which it is not made again because ``run.retrain`` does not ask for it yet.

    Parameters
    ----------
    retrain : str
        What ``run.retrain`` was.
    inputs : dict of str to str
        Those inputs, as a `Record` has them among its ingredients.
    """

    retrain: str
    inputs: Mapping[str, str]


@dataclass(frozen=True)
class Record:
    """What a stage was made of, and what it made: SHA-256 digests, or parameters' values, by name.

    Parameters
    ----------
    artifacts : dict of str to str
        By path within the study's folder.
    seconds : float
        How long it took.
    peak_memory_bytes : int
        What its kernel and workers held together at most.
    until, basis : str
        Of a stage that ``run.retrain`` is about: the last date of the prices that it was made from, and a digest of the
        params and the code that its inputs were made with.
    kept : Kept or None
        None, unless its inputs are newer.
    """

    ingredients: Mapping[str, str]
    artifacts: Mapping[str, str]
    seconds: float = 0.0
    peak_memory_bytes: int = 0
    until: str = ""
    basis: str = ""
    kept: Kept | None = None

    @property
    def inputs(self) -> dict[str, str]:
        """The digests of the files that its result stands beside, by their paths within the study's folder."""
        found = self.kept.inputs if self.kept else self.ingredients
        return {path: value for name, value in found.items() if (path := name.removeprefix("input ")) != name}

    @property
    def key(self) -> str:
        """One digest of all ingredients."""
        return hashlib.sha256(json.dumps(dict(self.ingredients), sort_keys=True).encode()).hexdigest()


def artifacts(stage: str, study: paths.StudyPaths) -> dict[str, str]:
    """SHA-256 of each file that a stage made, its executed notebook among them, by its path within the study's folder."""
    return digests([*map(study.artifact, STAGES[stage].makes), study.notebook(stage)], study)


def digests(outputs: Iterable[Location], study: paths.StudyPaths) -> dict[str, str]:
    """SHA-256 of each file that was made, by its path within the study's folder; what is not there is left out.

    Parameters
    ----------
    outputs : iterable of pathlib.Path or Url
        Files, folders or datasets. Of a dataset on object storage, only its manifest is read, and its parts are listed.
    """
    found: dict[str, str] = {}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for whole in outputs:
            if isinstance(whole, Url):
                found |= _object_digests(whole)
            there = artifact_files(whole)
            names = [path.relative_to(study.folder).as_posix() for path in there]
            found |= dict(zip(names, pool.map(files.sha256, there), strict=True))
    return found


def _object_digests(folder: Url) -> dict[str, str]:
    """The digests of a dataset on object storage, by the names that its files have on a disk: reading a part checks its bytes."""
    manifest = paths.dataset_manifest(folder)
    try:
        content = bytes(locations.read(manifest))
        parts = {part["file"]: (part["bytes"], part["sha256"]) for part in json.loads(content)["parts"]}
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return {}
    found = {}
    for name, size in sorted(locations.children(folder).items()):
        listed_size, sha256 = parts.get(name, (None, ""))
        found[f"{folder.name}/{name}"] = sha256 if size == listed_size else f"{size} bytes"
    return found | {f"{manifest.parent.name}/{manifest.name}": hashlib.sha256(content).hexdigest()}


def artifact_files(artifact: Location) -> list[Path]:
    """The files of an artifact, which is a file, a folder, or a dataset with its manifest; none when it is not there, or no file."""
    if isinstance(artifact, Url):
        return []
    found = artifact.rglob("*") if artifact.is_dir() else [artifact]
    return [path for path in (*sorted(found), paths.dataset_manifest(artifact)) if path.is_file()]


def read_record(path: Path) -> Record | None:
    """The record that `write_record` wrote; None when there is none, or it is damaged: the stage runs again then."""
    try:
        content = files.read_json(path)
        ingredients, made = dict(content["ingredients"]), dict(content["artifacts"])
        seconds, memory = float(content["seconds"]), int(content["peak_memory_bytes"])
        until, basis, kept = content.get("until", ""), content.get("basis", ""), content.get("kept")
        kept = None if kept is None else Kept(kept["retrain"], dict(kept["inputs"]))
        texts = [*ingredients, *ingredients.values(), *made, *made.values(), until, basis]
        texts += [] if kept is None else [kept.retrain, *kept.inputs, *kept.inputs.values()]
        if not all(isinstance(text, str) for text in texts) or not 0 <= seconds < math.inf:
            return None
        if until:
            datetime.date.fromisoformat(until)
        return Record(ingredients, made, seconds, memory, until, basis, kept)
    except (OSError, ValueError, TypeError, KeyError, OverflowError):
        return None


def write_record(path: Path, record: Record) -> None:
    """Keep the record of a finished stage."""
    files.write_atomically(path, json.dumps(asdict(record), indent=1, sort_keys=True) + "\n")


def out_of_date(study: paths.StudyPaths, last: Mapping[str, Any]) -> dict[str, list[str]]:
    """The stages whose results were not made from what is beside them now, each with the reasons.

    It takes milliseconds: of a dataset the manifest is looked at, which stands for its parts.

    Parameters
    ----------
    last : mapping
        What ``run.json`` holds, the record of the last run that ended; empty when there is none.

    Returns
    -------
    dict of str to list of str
        In the order of the stages. A stage of which there is nothing is not among them.
    """
    if not study.stage_records.is_dir():
        return {}
    records = {stage: read_record(study.stage_record(stage)) for stage in STAGES}
    digest = _Digests(study, records.values())
    found: dict[str, list[str]] = {}
    for stage, row in STAGES.items():
        record = records[stage]
        if record is None:
            if any(artifact_files(whole) for whole in (*map(study.artifact, row.makes), study.notebook(stage))):
                found[stage] = [UNFINISHED]
            continue
        reasons = [
            f"{path} has changed since" for path in record.artifacts if not digest.same(path, record.artifacts[path])
        ]
        reasons += [
            f"{path.removeprefix('.').partition('/')[0]} has been regenerated since"
            for path, value in record.inputs.items()
            if not digest.same(path, value)
        ]
        reasons += _other_params(stage, records, last)
        reasons = reasons or [f"{name} is out of date" for name in before(stage) if name in found]
        if reasons:
            found[stage] = list(dict.fromkeys(reasons))
    return found


class _Digests:
    """Whether files are still what they were, each digested once; of a part of a dataset, only whether it is there.

    Of a dataset on object storage, what the stage that made it found there.
    """

    def __init__(self, study: paths.StudyPaths, records: Iterable[Record | None]) -> None:
        self._folder = study.folder
        self._known: dict[str, str] = {}
        remote = isinstance(study.datasets, Url)
        for made in (record.artifacts for record in records if record and remote):
            datasets = {path.split("/")[0][1:] for path in made if path.endswith("/manifest.json")}
            self._known |= {path: made[path] for path in made if path.split("/")[0].removeprefix(".") in datasets}

    def same(self, path: str, digest: str) -> bool:
        file = self._folder / path
        if path not in self._known:
            try:
                there = file.is_file()  # and no pipe or device, which a record that was edited may name
                part = there and path.endswith(".parquet")
                self._known[path] = "part" if part else files.sha256(file) if there else ""
            except (OSError, ValueError):  # a name that no file can have
                self._known[path] = ""
        return self._known[path] in (digest, "part")


def _other_params(stage: str, records: Mapping[str, Record | None], last: Mapping[str, Any]) -> list[str]:
    """Which params differ from those that the stages before, or the last run, had."""
    record = records[stage]
    assert record is not None
    others = {name: _params(earlier.ingredients) for name in before(stage) if (earlier := records[name])}
    runs = last.get("stages")
    keys = [run.get("key") for run in runs if isinstance(run, Mapping)] if isinstance(runs, list) else []
    given = last.get("params")
    if record.key in keys and isinstance(given, Mapping):  # else this stage has run since
        others["the last run"] = {
            f"{section}.{key}": json.dumps(value)
            for section, values in given.items()
            if isinstance(values, Mapping)
            for key, value in values.items()
        }
    reasons: dict[str, str] = {}
    for name, theirs in others.items():
        for key, value in _params(record.ingredients).items():
            if theirs.get(key, value) != value:
                was, other = value.strip('"'), theirs[key].strip('"')
                reasons.setdefault(key, f"{key} was {was} here and is {other} in {name}")
    return list(reasons.values())


def _params(ingredients: Mapping[str, str]) -> dict[str, str]:
    return {key: value for name, value in ingredients.items() if (key := name.removeprefix("params ")) != name}


def note(study: str, reasons: Iterable[str], last: Mapping[str, Any]) -> str:
    """The message beside a result that is out of date; empty when there are no reasons.

    Parameters
    ----------
    last : mapping
        What ``run.json`` holds: its ``bring_up_to_date`` is the command to type.

    Examples
    --------
    >>> note("sample", ["model has been regenerated since"], {})
    'Out of date: model has been regenerated since. To bring it up to date: bash run_all.sh sample'
    >>> note("sample", [], {})
    ''
    """
    listed = "; ".join(reasons)
    command = last.get("bring_up_to_date")
    command = command if isinstance(command, str) else f"bash run_all.sh {study}"
    return f"{OUT_OF_DATE}: {listed}. To bring it up to date: {command}" if listed else ""


def notes(study: paths.StudyPaths) -> dict[str, str]:
    """The `note` of each stage that is out of date now, by its name, for display."""
    try:
        last = files.read_json(study.run_record)
    except (OSError, ValueError):
        last = {}
    last = last if isinstance(last, Mapping) else {}
    return {stage: note(study.name, reasons, last) for stage, reasons in out_of_date(study, last).items()}


def kept_notes(study: paths.StudyPaths) -> dict[str, str]:
    """The message beside each result that is kept although prices are newer, as ``run.retrain`` asks; by the stage's name."""
    records = {stage: read_record(study.stage_record(stage)) for stage in STAGES}
    return {
        stage: _kept_note(stage, record.until, record.kept)
        for stage, record in records.items()
        if record and record.kept
    }


def _kept_note(stage: str, until: str, kept: Kept) -> str:
    asked = f"data up to {until} (run.retrain: {kept.retrain})"
    if "forecasts" in STAGES[stage].makes:
        return f"Its models and its report are based on {asked}; forecasts.csv, and what is served, on newer data."
    return f"Based on {asked}; newer days are not included."


def shown_notes(study: paths.StudyPaths) -> dict[str, str]:
    """The message beside each stage's result: that it is out of date, or `kept_notes`; by the stage's name."""
    return {**kept_notes(study), **notes(study)}
