"""Every Jupyter tool runs the notebooks from anywhere, and a notebook that one of them saved is what the checks want."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from jupyter_client.manager import start_new_kernel
from tools import CLEAN, lacking

from lib import paths
from lib.storage.dataset import open_dataset
from lib.study import cache

NOTEBOOKS = sorted(paths.NOTEBOOKS.glob("*.ipynb"))


@pytest.fixture(autouse=True)
def _the_environment_of_this_checkout():
    listed = [file.read_text().strip() for file in Path(sys.prefix).glob("lib/python*/site-packages/market_study.pth")]
    if listed != [str(paths.ROOT)]:
        lacking("this Python is not the environment that run_all.sh makes for this checkout")


def imports(path: Path) -> str:
    """The import statements of a notebook."""
    tree = ast.parse(cache.notebook_code(path))
    found = [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    return "\n".join(found)


def test_a_kernel_in_the_notebooks_folder_imports_what_the_notebooks_do():
    manager, client = start_new_kernel(kernel_name="python3", cwd=str(paths.NOTEBOOKS), env=CLEAN)
    try:
        for path in NOTEBOOKS:
            replies: list[dict] = []
            client.execute_interactive(imports(path), timeout=120, output_hook=replies.append)
            assert [reply["content"] for reply in replies if reply["msg_type"] == "error"] == [], path.name
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def test_nbconvert_and_papermill_run_the_notebooks_from_their_own_folder(tmp_path):
    environment = {**CLEAN, "STUDY_OUTPUTS": str(tmp_path / "outputs")}
    tools = [
        ["jupyter", "nbconvert", "--execute", "--to", "notebook", "--output-dir", str(tmp_path), "01_ingest.ipynb"],
        ["papermill", "--no-progress-bar", "02_features.ipynb", str(tmp_path / "02_features.ipynb")],
    ]
    for tool, *words in tools:
        # The scripts' first line may name another folder that this environment was copied from.
        command = [sys.executable, str(Path(sys.prefix) / "bin" / tool), *words]
        done = subprocess.run(
            command, cwd=paths.NOTEBOOKS, env=environment, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr
    assert open_dataset(tmp_path / "outputs" / "sample" / "features").rows > 10_000
    # An executed copy runs where it lies.
    executed = tmp_path / "outputs" / "sample" / "notebooks"
    executed.mkdir()
    shutil.copy(tmp_path / "02_features.ipynb", executed)
    command = [sys.executable, "-m", "papermill", "--no-progress-bar", "02_features.ipynb", "again.ipynb"]
    done = subprocess.run(command, cwd=executed, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def test_the_command_line_starts_from_any_folder(tmp_path):
    command = [sys.executable, "-m", "lib", "--help"]
    done = subprocess.run(command, cwd=tmp_path, env=CLEAN, capture_output=True, text=True)
    assert done.returncode == 0 and "studies of daily market data" in done.stdout, done.stderr


def test_pip_can_install_the_checkout(tmp_path):
    clone = tmp_path / "clone"
    shutil.copytree(paths.LIB, clone / "lib", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(paths.ROOT / name, clone)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    done = subprocess.run(
        [*command, "--target", str(tmp_path / "installed"), str(clone)], env=CLEAN, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    installed = tmp_path / "installed" / "lib"
    wanted = {
        path.relative_to(clone / "lib")
        for path in (clone / "lib").rglob("*")
        if path.suffix == ".py" or "templates" in path.parts
    }
    assert {path.relative_to(installed) for path in installed.rglob("*")} >= wanted


def test_a_notebook_saved_by_jupyterlab_is_what_the_checks_want_after_formatting(tmp_path):
    clone = tmp_path / "clone"
    for name in (
        "pyproject.toml",
        "requirements.lock",
        "lib/installer.txt",
        "lib/__init__.py",
        "lib/bootstrap.sh",
        "lib/checks.sh",
    ):
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(paths.ROOT / name, clone / name)
    shutil.copytree(paths.NOTEBOOKS, clone / "notebooks")
    (clone / ".venv").symlink_to(sys.prefix)
    for path in (clone / "notebooks").glob("*.ipynb"):
        notebook = nbformat.read(path, as_version=4)
        notebook.metadata["language_info"] = {
            "codemirror_mode": {"name": "ipython", "version": 3},
            "file_extension": ".py",
            "mimetype": "text/x-python",
            "name": "python",
            "nbconvert_exporter": "python",
            "pygments_lexer": "ipython3",
            "version": "3.13.1",
        }
        notebook.metadata["widgets"] = {"application/vnd.jupyter.widget-state+json": {"state": {}}}
        for cell in notebook.cells:
            cell.metadata |= {"editable": True, "slideshow": {"slide_type": ""}, "scrolled": True, "trusted": True}
            if cell.cell_type == "code":
                cell.execution_count = 3
                cell.metadata["execution"] = {"iopub.execute_input": "2026-01-01T00:00:00Z"}
                cell.outputs = [nbformat.v4.new_output("stream", text="12\n")]
        nbformat.write(notebook, path)
    done = subprocess.run(
        ["bash", "lib/checks.sh", "--fix"], cwd=clone, env=CLEAN, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    for path in NOTEBOOKS:
        assert (clone / "notebooks" / path.name).read_bytes() == path.read_bytes(), path.name
