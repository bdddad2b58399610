"""What a stage depends on, and whether it must run: the stage cache.

A stage's ingredients are its notebook's code cells, the modules of ``lib`` that those import (found by following the
imports), its parameters, its input artifacts and the lock of the packages. When none has changed, and the artifacts
that it made are still what it made, it need not run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lib import files, paths
from lib.code import imported_modules
from lib.params import Params, stage_parameters
from lib.stage_records import Record, artifact_files, digests
from lib.stages import STAGES
from lib.study.errors import REFUSED, StudyError

COMPUTE = frozenset(Params().compute.model_dump())  # who computes does not change what is computed
INPUT = "input "  # before what a stage reads of those before it, in the ingredients' names
ARCHIVE = "raw archive"
ARCHIVE_CHANGED = f"{ARCHIVE} changed"
_NO_INGREDIENT = {"study", *COMPUTE}


def ingredients(stage: str, params: Params, study: paths.StudyPaths, archive_digest: str) -> dict[str, str]:
    """Everything that decides what ``stage`` makes.

    Parameters
    ----------
    stage : str
        A key of `lib.stages.STAGES`; the stages before it have been run.
    archive_digest : str
        Of the raw archive, for the first stage.
    """
    notebook = paths.stage_notebook(stage)
    code = notebook_code(notebook)
    found = {f"notebooks/{notebook.name}": hashlib.sha256(code.encode()).hexdigest()}
    for module in imported_modules(code):
        found[f"lib/{module.relative_to(paths.LIB).as_posix()}"] = files.sha256(module)
    for key, value in stage_parameters(params, stage, study.name).items():
        if key not in _NO_INGREDIENT:
            section = next(
                section for section in STAGES[stage].params if key in type(getattr(params, section)).model_fields
            )
            found[f"params {section}.{key}"] = json.dumps(value)
    found["requirements.lock"] = files.sha256(paths.LOCK)
    if not STAGES[stage].reads:
        found[ARCHIVE] = archive_digest
    for name in STAGES[stage].reads:
        for path, digest in digests([study.artifact(name)], study).items():
            found[f"{INPUT}{path}"] = digest
    return found


def params_of(of: Mapping[str, str]) -> dict[str, str]:
    """Those of a stage's ingredients that are params."""
    return {name: value for name, value in of.items() if name.startswith("params ")}


def page_ingredients(stage: str, study: paths.StudyPaths, note: str) -> dict[str, str]:
    """Everything that decides a stage's HTML page, as SHA-256 by name: its executed notebook, its note, and what makes pages."""
    return {**_page_makers(), "executed notebook": files.sha256(study.notebook(stage)), "note": note}


def index_ingredients(record: Mapping[str, Any]) -> dict[str, str]:
    """Everything that decides the index page but for the times of the run, as SHA-256 by name: ``run.json``, and what makes pages."""
    lasting = {key: value for key, value in record.items() if key not in ("started", "finished", "stages")}
    digest = hashlib.sha256(json.dumps(lasting, sort_keys=True).encode()).hexdigest()
    return {**_page_makers(), "record of the run": digest}


def _page_makers() -> dict[str, str]:
    makers = [
        *imported_modules("import lib.reports.page"),
        *artifact_files(paths.LIB / "reports" / "templates"),
        paths.LOCK,
    ]
    return {path.relative_to(paths.ROOT).as_posix(): files.sha256(path) for path in makers}


def reasons_to_run(now: Mapping[str, str], before: Record | None, artifacts_now: Mapping[str, str]) -> list[str]:
    """Why a stage must run; none when it need not.

    Examples
    --------
    >>> before = Record({"params features.window": "30"}, {"a.json": "1"})
    >>> reasons_to_run({"params features.window": "20"}, before, {"a.json": "1"})
    ['features.window 30 -> 20']
    >>> reasons_to_run({"params features.window": "30"}, before, {})
    ['output a.json is missing']
    """
    if before is None:
        return ["it has not run yet"]
    other = changed(now, before)
    reasons = _new_inputs([name for name in other if name.startswith(INPUT)], before.ingredients, now)
    reasons += [_change(name, before.ingredients, now) for name in other if not name.startswith(INPUT)]
    for path, digest in before.artifacts.items():
        if path not in artifacts_now:
            reasons.append(f"output {_shown(path)} is missing")
        elif artifacts_now[path] != digest:
            reasons.append(f"output {_shown(path)} was changed")
    reasons += [f"output {path} is not of this run" for path in sorted(artifacts_now.keys() - before.artifacts.keys())]
    return list(dict.fromkeys(reasons))


def changed(now: Mapping[str, str], before: Record) -> list[str]:
    """The ingredients that are not what they were, by name."""
    then = before.ingredients
    return [name for name in sorted(now.keys() | then.keys()) if now.get(name) != then.get(name)]


def artifact_of(ingredient: str) -> str:
    """The file or folder of an earlier stage that an ingredient is, or is in: a dataset's manifest, too, is in the dataset.

    Examples
    --------
    >>> artifact_of("input features/part-00000.parquet"), artifact_of("input .features/manifest.json")
    ('features', 'features')
    """
    return ingredient.removeprefix(INPUT).removeprefix(".").partition("/")[0]


def _new_inputs(names: Sequence[str], then: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """What stages before have made anew of what a stage reads; of each artifact the whole, as a part's name says nothing."""
    makers = {artifact: stage.name for stage in STAGES.values() for artifact in stage.makes}
    artifacts_by_stage: dict[str, list[str]] = {}
    for artifact in dict.fromkeys(map(artifact_of, names)):
        parts = [each for each in now if each.startswith(f"{INPUT}{artifact}/") and each.endswith(".parquet")]
        other = sum(now[each] != then.get(each) for each in parts)
        counts = f" ({other:,} of {len(parts):,} parts)" if len(parts) > 1 and other else ""
        artifacts_by_stage.setdefault(makers.get(artifact, "an earlier stage"), []).append(artifact + counts)
    return [f"new {', '.join(artifacts)} from {stage}" for stage, artifacts in artifacts_by_stage.items()]


def _change(name: str, then: Mapping[str, str], now: Mapping[str, str]) -> str:
    """What has happened to an ingredient that no stage makes."""
    kind, _, rest = name.partition(" ")
    old, new = then.get(name), now.get(name)
    shown = rest if kind == "params" else name
    if old is None or new is None:
        return f"{shown} is {'new' if old is None else 'gone'}"
    return f"{shown} {_value(old)} -> {_value(new)}" if kind == "params" else f"{shown} changed"


def _value(text: str) -> str:
    """A param's value, kept as JSON, as one types it."""
    return text[1:-1] if text.startswith('"') and len(text) > 2 else text


def _shown(path: str) -> str:
    """What a reader calls an artifact's file: not by the name of a part."""
    return path.partition("/")[0] if path.endswith(".parquet") else path


def notebook_code(notebook: Path) -> str:
    """The code cells of a notebook, one after the other: prose, outputs and metadata do not count.

    Raises
    ------
    StudyError
        The file is missing, or no notebook, as one with the marks of a merge's conflict is.
    """
    try:
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        return "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise StudyError(
            f"{paths.as_typed(notebook)} is not a notebook that can be read ({reason}); restore it", REFUSED
        ) from None
