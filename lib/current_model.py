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
        self.refused: str | None = None
        """What is wrong with the model's file that is there now; None while the file is the model in use."""

    def refresh(self) -> bool:
        """Load the model's file if it is not the one in use.

        A file that cannot be read, or is malformed, leaves the model in use as it is: `refused` and the log say why.

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
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)  # no path of this machine is served
            self.refused = reason or type(error).__name__
            log.error("the model's file is refused, what was loaded before stays in use: %s", self.refused)
            return False
        self.refused = None
        log.info("model %s of study %s is in use", self._predictor.information["digest"][:12], self.study)
        return True

    @property
    def predictor(self) -> Predictor:
        """The predictor in use; raises `NoModelError` when there is none."""
        if self._predictor is None:
            why = f" ({self.refused})" if self.refused else ""
            raise NoModelError(f"study {self.study} has no model yet{why}; make one with: bash run_all.sh {self.study}")
        return self._predictor
