"""Run a study again in a scratch folder, nothing cached, and compare every artifact by its bytes.

What differs between two runs of the same is kept out of the artifacts when they are written, so that executed notebooks
and pages are compared by their bytes as datasets and models are. `lib.study.notebook.normalised` takes from an executed
notebook: papermill's and Jupyter's times and durations, the id that papermill draws for the cell of parameters, the engine and
its workers, Python's version, and the folders of this machine. Pages are made from that. The kernels run with their own HOME for settings, in
UTC, in the locale C.UTF-8 and with one seed of string hashes, whoever starts them from wherever. Only the record of the
run itself, ``run.json``, ``history.jsonl`` and the index page that shows it, holds times.

``params/STUDY.lock.json`` holds what a study is expected to give on any machine: the digests of its datasets, exactly, and
the metrics of its model within `TOLERANCE`. ``python -m lib lock STUDY`` writes it anew from a finished run.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from lib import files, paths, stage_records
from lib.params import Params
from lib.study import record
from lib.study.errors import REFUSED, StudyError
from lib.study.run import Options, run_study
from lib.text import flattened

# Another processor may round the sums of a fit otherwise: a thousandth is less than any difference that a report tells.
TOLERANCE = 1e-3


@dataclass(frozen=True)
class Comparison:
    """Two runs' artifacts, or a run's results and those expected.

    Parameters
    ----------
    same, different, missing, new : tuple of str
        Paths within the study's folder, or names of results: equal, other, only in the first, only in the second.
    """

    same: tuple[str, ...]
    different: tuple[str, ...]
    missing: tuple[str, ...]
    new: tuple[str, ...]

    @property
    def equal(self) -> bool:
        """Whether there is something, and all of it is the same."""
        return bool(self.same) and not (self.different or self.missing or self.new)

    def __str__(self) -> str:
        """Tell people: ``N of N``, and what was not."""
        total = len(self.same) + len(self.different) + len(self.missing) + len(self.new)
        lines = [f"{len(self.same)} of {total}"]
        lines += [f"  different: {path}" for path in self.different]
        lines += [f"  missing from the second run: {path}" for path in self.missing]
        lines += [f"  new in the second run: {path}" for path in self.new]
        return "\n".join(lines)


def compare(first: Mapping[str, Any], second: Mapping[str, Any], tolerance: float = 0.0) -> Comparison:
    """Compare two mappings by name; two floats count as the same within a relative difference of ``tolerance``.

    Examples
    --------
    >>> print(compare({"a": "1f", "b": "2e"}, {"a": "1f", "b": "2d"}))
    1 of 2
      different: b
    >>> compare({"mae": 1.0}, {"mae": 1.0001}, tolerance=1e-3).equal
    True
    """
    both = sorted(first.keys() & second.keys())
    same = tuple(name for name in both if _same(first[name], second[name], tolerance))
    return Comparison(
        same,
        tuple(name for name in both if name not in set(same)),
        tuple(sorted(first.keys() - second.keys())),
        tuple(sorted(second.keys() - first.keys())),
    )


def _same(first: Any, second: Any, tolerance: float) -> bool:
    if isinstance(first, float) and isinstance(second, float):
        return math.isclose(first, second, rel_tol=tolerance, abs_tol=tolerance * 1e-3)
    return bool(first == second)


def reproduce(name: str, params: Params, options: Options, caller: Path) -> Comparison:
    """Bring a study up to date, run it again from nothing elsewhere, and compare every artifact's digest."""
    run_study(name, params, replace(options, retrain=True), caller)
    first = _digests(name)
    before = os.environ.get("STUDY_OUTPUTS")
    _remove_left_behind()
    folder = tempfile.TemporaryDirectory(prefix=f".reproduce-{name}-", dir=paths.outputs())
    with folder as scratch, FileLock(Path(scratch, ".lock")):
        os.environ["STUDY_OUTPUTS"] = scratch
        try:
            print(f"{name}: again from scratch, in a scratch folder", file=sys.stderr)
            # Elsewhere, too, than on object storage.
            here = params.model_copy(update={"run": params.run.model_copy(update={"datasets": None})})
            run_study(name, here, Options(force=True, scratch=True, command=options.command), caller)
            return compare(first, _digests(name))
        except StudyError as error:
            raise StudyError(f"the second run, in a scratch folder: {error}", error.code) from None
        finally:
            if before is None:
                del os.environ["STUDY_OUTPUTS"]
            else:
                os.environ["STUDY_OUTPUTS"] = before


def _remove_left_behind() -> None:
    """Remove the scratch folders of runs that were killed: nobody holds their locks."""
    for lock in paths.outputs().glob(".reproduce-*/.lock"):
        with contextlib.suppress(Timeout, OSError), FileLock(lock).acquire(timeout=0):
            shutil.rmtree(lock.parent, ignore_errors=True)


def _digests(name: str) -> dict[str, str]:
    artifacts = record.artifact_record(paths.StudyPaths(name))
    return {path: entry["sha256"] for path, entry in artifacts.items()}


def compare_with_lock(name: str, params: Params) -> Comparison | None:
    """Compare a finished study with what is expected of it; None when nothing is expected of it, or of other params."""
    lock = paths.results_lock(name)
    try:
        expected = files.read_json(lock)
        if expected["params"] != _deciding(params):
            return None
        wanted, tolerance = flattened(expected["results"], " "), float(expected["tolerance"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise StudyError(
            f"{lock}: not what `python -m lib lock {name}` writes ({error!r}); write it again with that, or remove it",
            REFUSED,
        ) from None
    return compare(wanted, flattened(results(name, params), " "), tolerance)


def write_lock(name: str, params: Params) -> Path:
    """Make the results of a finished study those that are expected of it; returns their file, `lib.paths.results_lock`."""
    content = {
        "about": f"What the study {name} is expected to give; renewed by: python -m lib lock {name}",
        "tolerance": TOLERANCE,
        "params": _deciding(params),
        "results": results(name, params),
    }
    files.write_atomically(paths.results_lock(name), json.dumps(content, indent=2) + "\n")
    return paths.results_lock(name)


def results(name: str, params: Params) -> dict[str, Any]:
    """What a finished study gave.

    Returns
    -------
    dict
        ``data``: rows and digest of each dataset; ``metrics``: the headline metrics of each predictor.

    Raises
    ------
    lib.study.errors.StudyError
        The study is not finished, or its last run had other params.
    """
    from lib.storage.dataset import DatasetError, open_dataset

    study = paths.StudyPaths(name)
    if stale := stage_records.shown_notes(study):
        notes = "\n".join(f"  {stage}: {note}" for stage, note in stale.items())
        raise StudyError(f"{name}: its results are inconsistent\n{notes}", REFUSED)
    deciding = _deciding(params)
    try:
        ran = files.read_json(study.run_record)["params"]
        asked, had = (flattened({section: given[section] for section in deciding}) for given in (deciding, ran))
        other = sorted(key for key in asked.keys() | had.keys() if asked.get(key) != had.get(key))
        metrics = files.read_json(study.metrics)
        data: dict[str, Any] = {"symbols": {"sha256": files.sha256(study.symbols)}}
        for folder in (study.prices, study.quarantine, study.files, study.features):
            opened = open_dataset(folder)
            data[folder.name] = {"rows": opened.rows, "sha256": opened.digest}
        predictors = {row["predictor"]: row for row in metrics["headline"]}
    except (OSError, ValueError, TypeError, KeyError, DatasetError) as error:
        raise StudyError(f"{name}: not finished ({error}); first: bash run_all.sh {name}", REFUSED) from None
    if other:
        raise StudyError(f"{name}: {', '.join(other)} differed in its last run; first: bash run_all.sh {name}", REFUSED)
    return {"data": data, "metrics": predictors}


def _deciding(params: Params) -> dict[str, Any]:
    """The params that decide what is made: not who computes, nor how long it may take."""
    return params.model_dump(mode="json", exclude={"compute", "run"})
