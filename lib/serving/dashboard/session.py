"""What the dashboard's tabs share: the study, its model and its symbols."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from lib import paths, stage_records
from lib.features.recent_days import Symbols
from lib.serving.live_model import current_model


class Session:
    """One visitor's view of a study.

    Attributes
    ----------
    stale : dict of str to str
        `lib.stage_records.notes`: what is said beside each stage's result that is out of date.
    on_new_model : list of callable
        Called without arguments when another model is in use.
    on_new_results : list of callable
        Called without arguments, afterwards, when a run has made anything since.
    """

    def __init__(self, study: str) -> None:
        self.paths = paths.StudyPaths(study)
        self.model = current_model(study)
        self.model.refresh()
        self.symbols = Symbols(self.paths.symbols)
        self.on_new_model: list[Callable[[], None]] = []
        self.on_new_results: list[Callable[[], None]] = []
        self._recorded = self._records()
        self.stale = stage_records.notes(self.paths)

    def refresh(self) -> None:
        """Use the model that a run has written since, and learn what is out of date by now, whichever tab asks first."""
        new_model, recorded = self.model.refresh(), self._records()
        if new_model:
            for show in self.on_new_model:
                show()
        if new_model or recorded != self._recorded:
            self._recorded = recorded
            self.stale = stage_records.notes(self.paths)
            for show in self.on_new_results:
                show()

    def _records(self) -> list[int]:
        """When a run last recorded something; it replaces its records, so that their folder changes."""
        found = []
        for path in (self.paths.stage_records, self.paths.run_record):
            with contextlib.suppress(OSError):
                found.append(path.stat().st_mtime_ns)
        return found
