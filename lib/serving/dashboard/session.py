"""What the dashboard's tabs share: the study, its model and its symbols."""

from __future__ import annotations

from collections.abc import Callable

from lib import paths
from lib.features.recent_days import Symbols
from lib.serving.live_model import CurrentModel


class Session:
    """One visitor's view of a study.

    Parameters
    ----------
    study : str
        Its name.

    Attributes
    ----------
    model : CurrentModel
    symbols : Symbols
    on_new_model : list of callable
        Called without arguments when another model is in use.
    """

    def __init__(self, study: str) -> None:
        self.paths = paths.StudyPaths(study)
        self.model = CurrentModel(study)
        self.model.refresh()
        self.symbols = Symbols(self.paths.symbols)
        self.on_new_model: list[Callable[[], None]] = []

    def refresh(self) -> None:
        """Use the model that a run has written since, whichever tab asks first."""
        if self.model.refresh():
            for show in self.on_new_model:
                show()
