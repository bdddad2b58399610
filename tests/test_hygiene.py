"""What must never be committed: outputs in notebooks, functions in notebooks, machine paths, secrets."""

from __future__ import annotations

import ast
import json
import re
import subprocess

import nbformat
import pytest

from lib import paths
from lib.params import Params, stage_parameters
from lib.stages import STAGES
from lib.study import cache

NOTEBOOKS = sorted(paths.NOTEBOOKS.glob("*.ipynb"))
SECTIONS = ["Purpose", "Inputs", "Outputs", "Checks", "Summary", "Next"]


def tracked() -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=paths.ROOT,
        capture_output=True,
        text=True,
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [name for name in listed.stdout.splitlines() if (paths.ROOT / name).is_file()]


def test_every_stage_has_its_notebook():
    assert set(STAGES) <= {path.stem for path in NOTEBOOKS}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_stored_without_outputs(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None
        # Nothing of whoever ran it last: times, Python's version, the editor's notes.
        assert cell.metadata.keys() <= {"tags", "panel"}
    assert notebook.metadata.keys() <= {"kernelspec", "language_info", "title"}
    assert notebook.metadata.language_info == {"name": "python"}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_defines_nothing(path):
    tree = ast.parse(cache.notebook_code(path))
    defined = [
        node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    ]
    assert defined == []


@pytest.mark.parametrize("stage", STAGES)
def test_stage_notebook_tells_its_story(stage):
    notebook = nbformat.read(paths.stage_notebook(stage), as_version=4)
    prose = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    headings = re.findall(r"^## (.+)$", prose, re.MULTILINE)
    assert [heading for heading in headings if heading in SECTIONS] == SECTIONS


@pytest.mark.parametrize("stage", STAGES)
def test_parameters_cell_equals_the_params_model(stage):
    notebook = nbformat.read(paths.stage_notebook(stage), as_version=4)
    tagged = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    assert len(tagged) == 1
    tree = ast.parse(tagged[0].source)
    found = {node.targets[0].id: ast.literal_eval(node.value) for node in tree.body if isinstance(node, ast.Assign)}
    assert list(found.items()) == list(stage_parameters(Params(), stage, "sample").items())


def test_no_machine_path_or_registry_in_the_repository():
    # Spelt in pieces, so that this file does not find itself.
    forbidden = re.compile(
        "|".join(["/ro" + "ot/", "/wo" + "rk/", "files.python" + "hosted", "pypi" + r"\.org", "registry.npm" + "js"])
    )
    for name in tracked():
        try:
            text = (paths.ROOT / name).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found = forbidden.search(text)
        assert not found, f"{name}: {found and found.group()}"


def test_no_secret_in_the_repository():
    secret = re.compile(
        r"-----BEGIN [A-Z ]*PRIVATE KEY|\bAKIA[0-9A-Z]{16}\b|\bgh[pousr]_[A-Za-z0-9]{36}\b|"
        r"\bgithub_pat_\w{20,}|\bxox[abprs]-[A-Za-z0-9-]{10,}|\bsk-[A-Za-z0-9_-]{20,}|\bBearer [A-Za-z0-9._-]{20,}|"
        r"://[^/\s:@{}$]+:[^/\s:@{}$]+@|"  # a password in an address
        r"(?i:api[_-]?key|password|secret|token)['\"]?\s*[:=]\s*['\"][A-Za-z0-9+/_-]{20,}['\"]"
    )
    for name in tracked():
        try:
            text = (paths.ROOT / name).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        assert not secret.search(text), name


def test_no_data_in_the_repository():
    for name in tracked():
        path = paths.ROOT / name
        assert path.suffix not in {".csv", ".parquet", ".zip", ".npz", ".skops", ".pkl", ".pickle", ".joblib"}, name
        assert path.stat().st_size < 500_000, f"{name} has {path.stat().st_size:,} bytes"


def test_notebooks_are_json_with_stable_cell_ids():
    for path in NOTEBOOKS:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        identifiers = [cell["id"] for cell in cells]
        assert len(set(identifiers)) == len(identifiers)
        assert not any(re.fullmatch(r"[0-9a-f]{8}", identifier) for identifier in identifiers), path
