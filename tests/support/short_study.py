"""A study that runs in seconds, for tests of what happens around a stage: short notebooks and a small archive.

Its runs are forked from a process that has imported the packages once (`start`), and are the command that users type.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import psutil
from raw_archives import write_archive

from lib import __main__ as command_line
from lib import paths
from lib.params import Params, stage_parameters
from lib.stages import STAGES
from lib.study import kernels
from lib.study.record import artifact_record

CELLS = {
    "01_ingest": [
        "from lib.data.ingest import ingest\nfrom lib.paths import StudyPaths\nfrom lib.data.sources import open_archive",
        "made = ingest(open_archive(source, StudyPaths(study)), StudyPaths(study), max_quarantined_share)",
        "print(made.prices.rows, 'rows')",
    ],
    "02_features": [
        "from lib.features.build import build_features\nfrom lib.paths import StudyPaths",
        "from lib.features.recent_days import COLUMNS, write_recent_days\nfrom lib.features.summary import read_summary",
        "build_features(StudyPaths(study), window, min_periods)",
        "recent = read_summary(StudyPaths(study)).recent",
        "write_recent_days(recent.tables(COLUMNS), StudyPaths(study).symbols, window, min_periods)",
    ],
    "03_train": [
        "from lib.storage.dataset import open_dataset\nfrom lib.files import write_atomically\nfrom lib.paths import StudyPaths",
        "digest = open_dataset(StudyPaths(study).features).digest",
        "for path in (StudyPaths(study).estimator, StudyPaths(study).grid, StudyPaths(study).model_card):\n"
        "    write_atomically(path, f'{digest} {seed} ' * 9999)",
    ],
    "04_evaluate": [
        "import json\n\nfrom lib.files import sha256, write_atomically\nfrom lib.paths import StudyPaths",
        "digest = sha256(StudyPaths(study).grid)",
        "measured = {'mae': int(digest[:6], 16) / 1000, 'mae_moving_average': 20_000.0}",
        "write_atomically(StudyPaths(study).metrics, json.dumps(measured))",
    ],
    "05_forecast": [
        "from lib.storage.dataset import open_dataset\nfrom lib.files import write_atomically\nfrom lib.paths import StudyPaths",
        "write_atomically(StudyPaths(study).forecast_metrics, open_dataset(StudyPaths(study).features).digest)",
    ],
}
FILES = {f"stocks/{symbol}.csv": 60 + 7 * number for number, symbol in enumerate(("AA", "BB", "CC"))}


def cells_of(stage: str) -> list[str]:
    """Cells for a stage that `CELLS` does not have: each file that it makes gets what it reads as its content."""
    row = STAGES[stage]
    return [
        "from lib.files import write_atomically\nfrom lib.paths import StudyPaths\nfrom lib.stage_records import artifact_files, digests",
        f"read = digests(map(StudyPaths(study).artifact, {row.reads}), StudyPaths(study))",
        f"for name in {row.makes}:\n    write_atomically(StudyPaths(study).artifact(name), str(read))",
    ]


def write_notebooks(folder: Path, broken: Mapping[str, str] | None = None) -> Path:
    """Write the notebooks; the code that ``broken`` gives for a stage comes after its last cell but one."""
    folder.mkdir(parents=True, exist_ok=True)
    for stage in STAGES:
        cells = CELLS.get(stage) or cells_of(stage)
        parameters = "\n".join(f"{k} = {v!r}" for k, v in stage_parameters(Params(), stage, "sample").items())
        code = [*cells[:-1], *([broken[stage]] if broken and stage in broken else []), cells[-1]]
        notebook = nbformat.v4.new_notebook(
            cells=[
                nbformat.v4.new_markdown_cell(f"# {stage}", id="title"),
                nbformat.v4.new_code_cell(parameters, id="given", metadata={"tags": ["parameters"]}),
                *(nbformat.v4.new_code_cell(cell, id=f"cell-{place}") for place, cell in enumerate(code)),
            ],
            metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
        )
        nbformat.write(notebook, folder / f"{stage}.ipynb")
    return folder


@dataclass(frozen=True)
class Place:
    """Where the study is run."""

    base: Path

    @property
    def outputs(self) -> Path:
        """The folder in the place of outputs/."""
        return self.base / "outputs"

    @property
    def params(self) -> Path:
        """The params file."""
        return self.base / "short.yaml"

    @property
    def notebooks(self) -> Path:
        """The notebooks."""
        return self.base / "notebooks"

    def make(self) -> Place:
        """Write the archive, the params and the notebooks."""
        archive = write_archive(self.base / "archive", FILES)
        self.params.write_text(f"archive:\n  source: {archive}\n", encoding="utf-8")
        write_notebooks(self.notebooks)
        return self

    def copy(self, base: Path) -> Place:
        """The same, with what has been made of it, in another folder."""
        shutil.copytree(self.outputs, base / "outputs")
        (base / "short.yaml").write_bytes(self.params.read_bytes())
        write_notebooks(base / "notebooks")
        return Place(base)

    def artifacts(self) -> dict[str, str]:
        """The digest of every artifact, executed notebooks and pages among them."""
        before = os.environ.get("STUDY_OUTPUTS")
        os.environ["STUDY_OUTPUTS"] = str(self.outputs)
        try:
            record = artifact_record(paths.StudyPaths("short"))
        finally:
            os.environ.pop("STUDY_OUTPUTS")
            if before is not None:
                os.environ["STUDY_OUTPUTS"] = before
        return {path: entry["sha256"] for path, entry in record.items()}

    def left_behind(self) -> list[str]:
        """The processes of any run here that are still there after a while; there should be none."""
        deadline = time.monotonic() + 20
        while (found := self._processes()) and time.monotonic() < deadline:
            time.sleep(0.05)
        return found

    def _processes(self) -> list[str]:
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("STUDY_OUTPUTS") == str(self.outputs):
                    found.append(f"{process.pid} {' '.join(process.cmdline())}")
            except psutil.Error:
                continue
        return found


def checkout(base: Path, notebooks: bool = False) -> Path:
    """A copy of the repository in a folder whose name has a space, with the short notebooks or with those it has."""
    root = base / "another folder" / "study"
    shutil.copytree(paths.LIB, root / "lib", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(paths.PARAMS, root / "params")
    shutil.copy(paths.LOCK, root)
    if notebooks:
        shutil.copytree(paths.NOTEBOOKS, root / "notebooks")
    else:
        write_notebooks(root / "notebooks")
        write_archive(root / "archive", FILES)
        (root / "params" / "short.yaml").write_text("archive:\n  source: archive\n", encoding="utf-8")
    return root


def command(root: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command line in the repository at ``root``, with its own outputs/, as the user of a terminal runs it."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("STUDY_")}
    return subprocess.run(
        [sys.executable, "-m", "lib", *arguments],
        cwd=root,
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        timeout=500,
    )


class Run:
    """A run in a process of its own.

    Parameters
    ----------
    place : Place
    arguments : str
        Of the command line, behind the params file.
    memory : int, optional
        Bytes of address space that the run and each of its kernels may take.
    output : pathlib.Path, optional
        Where what the user is told is kept; by default beside the params file.
    """

    def __init__(self, place: Place, *arguments: str, memory: int = 0, output: Path | None = None) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(
            [
                "lib.study.run",
                "lib.reports.page",
                "lib.evaluation.latest",
                "exchange_calendars",
                "papermill",
                "short_study",
                "read_code",
            ]
        )
        self._output = output or place.base / "told.txt"
        command = ["run", str(place.params), "-p", "compute.workers", "1", *arguments]
        self.process: Any = context.Process(
            target=_run, args=(str(place.outputs), str(place.notebooks), str(self._output), command, memory)
        )
        self.process.start()

    def end(self) -> tuple[int, str]:
        """Wait for the end; the exit code, and what the user was told."""
        self.process.join(timeout=120)
        assert self.process.exitcode is not None, "the run has not ended"
        return self.process.exitcode, self._output.read_text(encoding="utf-8") if self._output.exists() else ""


def _run(outputs: str, notebooks: str, output: str, command: list[str], memory: int) -> None:
    os.environ["STUDY_OUTPUTS"] = outputs
    paths.NOTEBOOKS = Path(notebooks)
    kernels._TRAINING = ()  # the short notebooks train nothing
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    if memory:
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    sys.exit(command_line.main(command))
