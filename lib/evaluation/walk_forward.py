"""Forecasts of every symbol, judged by walking forward: fitted on what came before, refitted as time goes on.

Three passes through the engine: over parts of whole symbols, draw the examples and add up the Gram matrices; fit, one task a model; and over the parts
again, forecast, judge and write. What the driver holds are sums, the drawn examples, whose number is fixed, and the models. What was drawn, fitted or
judged in an earlier run is not done again where what it was made from is the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from lib import code, paths
from lib.compute.engine import Engine
from lib.evaluation import forecast_metrics, sums
from lib.evaluation.draw import drawn
from lib.evaluation.fits import fit_models
from lib.evaluation.judge import JudgedPart
from lib.evaluation.latest import forecast_again
from lib.evaluation.plan import Plan, Settings, make_plan
from lib.features.summary import date_counts
from lib.models import forecaster
from lib.models.forecaster import Served
from lib.storage import dataset
from lib.storage.dataset import Dataset


@dataclass(frozen=True)
class Forecasts:
    """What `make_forecasts` made.

    Parameters
    ----------
    walk_forward : Dataset
        Every judged forecast of the first horizon.
    forecasts : Dataset
        One row a symbol and horizon.
    sums : pandas.DataFrame
        See `lib.evaluation.sums.Total`.
    growth : dict of str to float
        See `lib.evaluation.fits.importance`.
    kept : dict of str to float
        By horizon, see `lib.models.forecaster.kept_share`: of the models that forecast what comes next.
    """

    walk_forward: Dataset
    forecasts: Dataset
    sums: pd.DataFrame
    plan: Plan
    growth: dict[str, float]
    kept: dict[str, float]


def make_forecasts(
    study: paths.StudyPaths, settings: Settings, calendar_name: str = "XNYS", engine: Engine | None = None
) -> Forecasts:
    """Walk forward through a study's features, and forecast what comes after them; writes the datasets, ``forecasts.csv`` and ``forecaster.skops``.

    Raises
    ------
    lib.storage.dataset.DatasetError
        No features, or features that have changed since they were written.
    ValueError
        The features have no rows.
    """
    engine = engine or Engine()
    source = dataset.open_dataset(study.features)
    if not source.rows:
        raise ValueError(f"{study.features}: no rows to forecast from")
    plan = make_plan(*date_counts(dataset.open_dataset(study.date_counts)), settings, calendar_name)
    models = fit_models(plan, drawn(source, plan, engine, study.kept / "evenings"), engine, study.kept / "fits")
    folders = {name: getattr(study, name) for name in ("walk_forward", "forecast_sums")}
    digest = code.digest(__name__, vars(settings))
    works = [
        JudgedPart(part, dates[1] if dates else None)
        for part, dates in zip(source.stored, source.extremes("Date"), strict=True)
    ]
    sizes = [part.rows for part in source.parts]
    built = dataset.build("forecasts", works, sizes, "rows", folders, digest, engine, (plan, models))
    datasets = dataset.commit(built, folders)
    added = sums.Total(datasets["forecast_sums"].tables()).lines()
    information = {
        "last": str(np.int64(plan.last).astype("datetime64[D]")),
        "model": settings.model,
        "level": forecaster.LEVEL,
        "judged": sorted({int(horizon) for horizon in added.loc[added["rows"] > 0, "horizon"]}),
    }
    served = Served(tuple(models.model[-1]), plan.calendar, information)
    forecaster.write_served(study.forecaster, served)
    kept = {str(one.horizon): one.ranges.kept for one in models.model[-1]}
    return Forecasts(datasets["walk_forward"], forecast_again(study), added, plan, models.growth, kept)


def metrics(forecasts: Forecasts) -> dict[str, Any]:
    """Every measured number, as ``forecast_metrics.json`` holds them; see `lib.evaluation.forecast_metrics.by_horizon`."""
    cuts = [str(day) for day in forecasts.plan.cuts.astype("datetime64[D]")]
    about = {"calendar": forecasts.plan.calendar.name, "test_first_date": cuts[1], "refits": cuts[1:-1]}
    return _known(
        {
            **about,
            "importance": forecasts.growth,
            "kept": forecasts.kept,
            "horizons": forecast_metrics.by_horizon(forecasts.sums, forecasts.plan.settings.horizons),
        }
    )


def _known(value: Any) -> Any:
    """``value`` with None for what is not a number, as of a group in which nothing traded: JSON has no NaN."""
    if isinstance(value, dict):
        return {key: _known(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_known(each) for each in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
