"""What a server answers from, replaced while it runs when a run of the study has written another one."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from lib import paths
from lib.models.predictor import Predictor
from lib.serving.endpoint.forecast_table import ForecastTable

log = logging.getLogger("market-study")
T = TypeVar("T")


class NotMadeError(Exception):
    """The study has not made what an answer needs; the message says which command makes it."""


class Current(Generic[T]):
    """What a file of a study holds, and whether the file has changed.

    Parameters
    ----------
    load : callable
        Reads the file; an exception means that it is not to be used.
    missing : str
        What `NotMadeError` says where nothing was loaded yet; what is wrong with a file that was refused is added.
    """

    def __init__(self, path: Path, load: Callable[[Path], T], missing: str) -> None:
        self.problem = ""  # why the newest file is not in use
        self._path = path
        self._load = load
        self._missing = missing
        self._value: T | None = None
        self._seen: tuple[int, int, int] | None = None

    def refresh(self) -> bool:
        """Load the file if it is not the one in use; returns whether another one is in use now.

        A file that cannot be used leaves what is in use as it is, with `problem` and a line in the log.
        """
        try:
            status = self._path.stat()
        except OSError:
            return False
        seen = (status.st_mtime_ns, status.st_size, status.st_ino)
        if seen == self._seen:
            return False
        self._seen = seen
        try:
            self._value = self._load(self._path)
        except Exception as error:
            # No path of this machine is served.
            reason = f"{self._path.name}: {error.strerror}" if isinstance(error, OSError) else str(error)
            self.problem = f"{reason}. What was loaded before stays in use"
            log.error("%s", self.problem)
            return False
        self.problem = ""
        return True

    @property
    def value(self) -> T:
        """What is in use; raises `NotMadeError` when nothing is."""
        if self._value is None:
            raise NotMadeError(f"{self._missing} ({self.problem})" if self.problem else self._missing)
        return self._value


def current_model(study: str) -> Current[Predictor]:
    """The study's predictor; each one that is loaded is named in the log.

    Examples
    --------
    >>> current_model("no-such-study").value
    Traceback (most recent call last):
    lib.serving.live_model.NotMadeError: study no-such-study has no model yet; make one with: bash run_all.sh no-such-study
    """

    def load_model(path: Path) -> Predictor:
        predictor = Predictor.load(path)
        log.info("model %s of study %s is in use", predictor.information["digest"][:12], study)
        return predictor

    message = f"study {study} has no model yet; make one with: bash run_all.sh {study}"
    return Current(paths.StudyPaths(study).grid, load_model, message)


def current_forecasts(study: str) -> Current[ForecastTable]:
    """The study's forecasts."""
    message = f"study {study} has no forecasts yet; make them with: bash run_all.sh {study}"
    return Current(paths.StudyPaths(study).forecasts_csv, ForecastTable.load, message)
