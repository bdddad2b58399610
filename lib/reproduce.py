"""Run a study again in a scratch folder, nothing cached, and compare every artifact by its bytes.

What differs between two runs of the same is kept out of the artifacts when they are written (`lib.pipeline.normalised`:
times and this machine's paths), so that executed notebooks and pages are compared by their bytes as datasets are. Only
the record of the run itself, ``run.json``, ``history.jsonl`` and the index page that shows it, holds times.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lib import paths, provenance
from lib.params import Params
from lib.pipeline import Options, StudyError, run_study


@dataclass(frozen=True)
class Comparison:
    """The artifacts of two runs.

    Parameters
    ----------
    same, different, missing, new : tuple of str
        Paths within the study's folder: of equal bytes, of other bytes, only in the first run, only in the second.
    """

    same: tuple[str, ...]
    different: tuple[str, ...]
    missing: tuple[str, ...]
    new: tuple[str, ...]

    @property
    def reproduced(self) -> bool:
        """Whether every artifact has the same bytes."""
        return bool(self.same) and not (self.different or self.missing or self.new)

    def __str__(self) -> str:
        """Tell people: ``reproduced: N of N``, and what was not."""
        total = len(self.same) + len(self.different) + len(self.missing) + len(self.new)
        lines = [f"reproduced: {len(self.same)} of {total}"]
        lines += [f"  different: {path}" for path in self.different]
        lines += [f"  not made again: {path}" for path in self.missing]
        lines += [f"  not there before: {path}" for path in self.new]
        return "\n".join(lines)


def compare(first: Mapping[str, Any], second: Mapping[str, Any]) -> Comparison:
    """Compare two records of artifacts, as `lib.provenance.artifact_record` makes them.

    Examples
    --------
    >>> print(compare({"a": {"sha256": "1"}, "b": {"sha256": "1"}}, {"a": {"sha256": "1"}, "b": {"sha256": "2"}}))
    reproduced: 1 of 2
      different: b
    """
    both = sorted(first.keys() & second.keys())
    same = tuple(path for path in both if first[path]["sha256"] == second[path]["sha256"])
    return Comparison(
        same,
        tuple(path for path in both if path not in set(same)),
        tuple(sorted(first.keys() - second.keys())),
        tuple(sorted(second.keys() - first.keys())),
    )


def reproduce(name: str, params: Params, options: Options, caller: Path) -> Comparison:
    """Bring a study up to date, run it again from nothing elsewhere, and compare.

    Parameters
    ----------
    name : str
    params : Params
    options : Options
    caller : pathlib.Path

    Returns
    -------
    Comparison

    Raises
    ------
    lib.pipeline.StudyError
        Either run failed.
    """
    run_study(name, params, options, caller)
    kept = paths.StudyPaths(name)
    first = provenance.artifact_record(kept)
    before = os.environ.get("STUDY_OUTPUTS")
    with tempfile.TemporaryDirectory(prefix=f".reproduce-{name}-", dir=paths.outputs()) as scratch:
        os.environ["STUDY_OUTPUTS"] = scratch
        try:
            run_study(name, params, Options(force=True), caller)
            return compare(first, provenance.artifact_record(paths.StudyPaths(name)))
        except StudyError as error:
            raise StudyError(f"the second run, in a scratch folder: {error}", error.code) from None
        finally:
            if before is None:
                del os.environ["STUDY_OUTPUTS"]
            else:
                os.environ["STUDY_OUTPUTS"] = before
