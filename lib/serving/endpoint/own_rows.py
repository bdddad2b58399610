"""The forecasts that follow a symbol's own rows, from a study's saved forecasters: what ``POST /forecast`` answers.

scikit-learn is imported at the first request, so a server that nobody asks stays small and starts quickly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from lib import paths
from lib.features import definitions
from lib.serving.live_model import Current

if TYPE_CHECKING:
    from pathlib import Path

    from lib.models.forecaster import Served


class OwnRows:
    """A study's forecasters, loaded when they are first asked and again when their file has changed.

    Not for several threads at once; `lib.serving.endpoint.app` answers one body at a time.
    """

    def __init__(self, study: str) -> None:
        message = f"study {study} has no forecaster yet; make it with: bash run_all.sh {study}"
        self._current = Current(paths.StudyPaths(study).forecaster, _load, message)

    def __call__(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Forecast every horizon from rows as `lib.serving.endpoint.answers.read_rows` makes them.

        Raises
        ------
        lib.serving.live_model.NotMadeError
            The study has no forecaster yet, or one that cannot be read.
        """
        self._current.refresh()
        served = self._current.value
        from lib.models.forecaster import forecast_rows

        columns = {name: np.array([row[name] for row in rows]) for name in definitions.COLUMNS}
        days = np.array([row["Date"] for row in rows], dtype="datetime64[D]")
        return forecast_rows(served, {"Date": days, **columns})


def _load(path: Path) -> Served:
    from lib.models.forecaster import read_served

    return read_served(path)
