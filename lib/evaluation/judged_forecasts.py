"""What a study's forecasts were found to be worth: ``forecast_metrics.json``, read for people.

The standard library alone: the dashboard's kernels, which must stay small, import this module.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lib import files, paths


def judged_forecasts(study: paths.StudyPaths) -> dict[int, dict[str, Any]]:
    """What was measured, by horizon.

    Returns
    -------
    dict of int to dict
        See `lib.evaluation.forecast_metrics.by_horizon`; empty where no forecasts were made, or the file cannot be read.
    """
    try:
        horizons = files.read_json(study.forecast_metrics)["horizons"]
        return {int(horizon): dict(measured) for horizon, measured in horizons.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def verdicts(study: paths.StudyPaths, horizons: Sequence[int] | None = None) -> list[str]:
    """How good the forecasts are, a sentence or two a horizon.

    Parameters
    ----------
    horizons : sequence of int, optional
        Sessions; by default all that were judged.
    """
    found = judged_forecasts(study)
    wanted = found if horizons is None else horizons
    return [str(found[horizon]["verdict"]) for horizon in wanted if found.get(horizon, {}).get("verdict")]
