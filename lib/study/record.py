"""Where a study's artifacts come from: the record of a run."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import importlib.metadata
import platform
import subprocess
from pathlib import Path
from typing import Any

from lib import files, paths, stage_records
from lib.compute.processes import EngineError, available_cores
from lib.data import archive
from lib.evaluation.judged_forecasts import judged_forecasts
from lib.params import Params
from lib.stages import STAGES, maker
from lib.study import cache
from lib.study.errors import StudyError

# The packages whose versions a reader asks for first; the lock's digest stands for all.
PACKAGES = (
    *("numpy", "pandas", "pyarrow", "bottleneck", "scikit-learn"),
    *("papermill", "nbconvert", "matplotlib", "pyspark"),
)

# What a run's record calls the rows that each column of the accounts counts.
_ROWS = {"read": "rows_read", "kept": "rows_kept", "quarantined": "rows_quarantined"}


def run_record(
    study: paths.StudyPaths,
    params: Params,
    raw: archive.Archive,
    stages: list[dict[str, Any]],
    started: datetime.datetime,
) -> dict[str, Any]:
    """The content of ``run.json``.

    Returns
    -------
    dict
        Params, code, lock, Python, packages, Java, platform, archive, artifacts, stages and times. No path of this
        machine is in it.
    """
    artifacts, metrics = artifact_record(study), read_metrics(study)
    counted = _counted(study)
    return {
        "study": study.name,
        "started": started.isoformat(timespec="seconds"),
        "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "params": params.model_dump(),
        "code": {"version": _code_version(), "digest": code_digest()},
        "lock": files.sha256(paths.LOCK),
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
        "java": _java_version(params),
        "platform": {"system": platform.system(), "machine": platform.machine(), "cores": available_cores()},
        "archive": {
            "source": params.archive.source,
            "digest": counted["digest"],
            "files": len(raw.files) + len(raw.tables),
            "metadata_symbols": raw.metadata_symbols,
            "symbols_without_metadata": len(raw.symbols_without_metadata),
            "metadata_without_file": len(raw.metadata_without_file),
            "ignored_files": len(raw.ignored),
        },
        "rows": counted["rows"],
        "metrics": {key: metrics[key] for key in ("mae", "mae_moving_average") if key in metrics},
        "forecasts": {
            str(horizon): {key: value for key, value in measured.items() if key not in ("verdict", "rows")}
            for horizon, measured in judged_forecasts(study).items()
        },
        "stages": stages,
        "artifacts": artifacts,
    }


def artifact_record(study: paths.StudyPaths) -> dict[str, dict[str, Any]]:
    """The digests of what a study made.

    Returns
    -------
    dict of str to dict
        ``sha256``, ``bytes`` and, for Parquet, ``rows`` of each artifact, by its path within the study's folder.
    """
    from lib.storage.dataset import DatasetError, PartFile, open_dataset

    parts: dict[str, PartFile] = {}
    datasets = ("prices", "quarantine", "files", "features", "recent", "feature_counts", "date_counts")
    for name in (*datasets, "walk_forward", "forecasts", "forecast_sums"):
        with contextlib.suppress(DatasetError):  # it is not there, or damaged, which makes its stage run again
            parts |= {f"{name}/{part.file}": part for part in open_dataset(getattr(study, name)).parts}
    record = {}
    for stage in STAGES:
        digests = stage_records.artifacts(stage, study) | stage_records.digests([study.report(stage)], study)
        for path, sha256 in digests.items():
            entry: dict[str, Any] = {"sha256": sha256}
            if path in parts:
                record[path] = {**entry, "bytes": parts[path].bytes, "rows": parts[path].rows}
            else:  # of a manifest on object storage nobody asks for the size
                file = study.folder / path
                record[path] = {**entry, "bytes": file.stat().st_size} if file.exists() else entry
    return record


def history_line(record: dict[str, Any]) -> dict[str, Any]:
    """What ``history.jsonl`` keeps of a run: enough to tell two runs apart."""
    kept = (
        *("started", "finished", "failure", "params", "overrides", "code", "python", "archive"),
        *("rows", "metrics", "forecasts", "stages", "out_of_date", "kept"),
    )
    line = {key: record[key] for key in kept if key in record}
    return {**line, "artifacts": {path: entry["sha256"] for path, entry in record["artifacts"].items()}}


def code_digest() -> str:
    """One digest of every module of lib and every notebook's code."""
    digest = hashlib.sha256()
    for path in sorted(paths.LIB.rglob("*.py")):
        digest.update(f"{path.relative_to(paths.ROOT).as_posix()} {files.sha256(path)}\n".encode())
    for path in sorted(paths.NOTEBOOKS.glob("*.ipynb")):
        try:
            code = cache.notebook_code(path)
        except StudyError:  # the record of a run that failed for it says that something is there
            code = files.sha256(path)
        digest.update(f"{path.name}\n{code}\n".encode())
    return digest.hexdigest()


def _counted(study: paths.StudyPaths) -> dict[str, Any]:
    """The digest of the archive and the rows read, kept and quarantined, from the accounts of its files."""
    from lib.storage.dataset import DatasetError, open_dataset

    rows: list[dict[str, Any]] = []
    with contextlib.suppress(DatasetError):  # of a run that failed before there was any
        rows = open_dataset(study.files).read(["file", "blake3", *_ROWS.values()]).to_pylist()
    return {
        "digest": archive.digest((row["file"], row["blake3"]) for row in rows),
        "rows": {name: sum(row[column] for row in rows) for name, column in _ROWS.items()},
    }


def read_metrics(study: paths.StudyPaths) -> dict[str, Any]:
    """What ``metrics.json`` holds; nothing when it is not there, or was edited, which makes its stage run again."""
    record = stage_records.read_record(study.stage_record(maker("metrics")))
    try:
        if record is None or files.sha256(study.metrics) != record.artifacts.get(study.metrics.name):
            return {}
        metrics = files.read_json(study.metrics)
    except (OSError, ValueError):
        return {}
    return metrics if isinstance(metrics, dict) else {}


def _code_version() -> str:
    """The commit, marked when files differ from it; empty outside a git checkout."""
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],
            cwd=paths.ROOT,
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return found.stdout.strip()


def _java_version(params: Params) -> str | None:
    if params.compute.engine != "spark":
        return None
    from lib.compute import spark

    try:
        java = Path(spark.java_home()) / "bin" / "java"
        text = subprocess.run([str(java), "-version"], capture_output=True, text=True, check=False).stderr
    except (EngineError, OSError):  # the stage that needed it has failed and said so
        return None
    # JAVA_TOOL_OPTIONS and the like print lines of their own first.
    return next((line for line in text.splitlines() if " version " in line), None)
