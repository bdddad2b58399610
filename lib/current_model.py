"""The study's predictor, replaced in a running server when a run has written another one."""

from __future__ import annotations

import logging

from lib import paths
from lib.predictor import Predictor

log = logging.getLogger("market-study")


class NoModelError(Exception):
    """There is no model to predict with; the message says which command makes one."""


class CurrentModel:
    """The study's predictor and whether its file has changed.

    Parameters
    ----------
    study : str
        The study's name.

    Examples
    --------
    >>> CurrentModel("no-such-study").predictor
    Traceback (most recent call last):
    lib.current_model.NoModelError: study no-such-study has no model yet; make one with: bash run_all.sh no-such-study
    """

    def __init__(self, study: str) -> None:
        self.study = study
        self._path = paths.StudyPaths(study).grid
        self._predictor: Predictor | None = None
        self._seen: tuple[int, int, int] | None = None

    def refresh(self) -> bool:
        """Load the model's file if it is not the one in use.

        A file that cannot be read leaves the model in use as it is, with a line in the log.

        Returns
        -------
        bool
            Whether another model is in use now.
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
            self._predictor = Predictor.load(self._path)
        except Exception:
            log.exception("%s cannot be loaded; what was loaded before stays in use", self._path.name)
            return False
        log.info("model %s of study %s is in use", self._predictor.information["digest"][:12], self.study)
        return True

    @property
    def predictor(self) -> Predictor:
        """The predictor in use; raises `NoModelError` when there is none."""
        if self._predictor is None:
            raise NoModelError(f"study {self.study} has no model yet; make one with: bash run_all.sh {self.study}")
        return self._predictor
