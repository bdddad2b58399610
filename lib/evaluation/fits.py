"""Fit and calibrate every model of a walk forward, one task a model, on the examples that the parts drew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lib.compute.engine import Engine
from lib.evaluation.draw import LEVEL_STEP, Drawn
from lib.evaluation.plan import Plan
from lib.features import definitions
from lib.models import forecaster
from lib.models.boosting import Boosting
from lib.models.examples import Examples, Floats, Known, joined, log_ratio
from lib.models.forecaster import Forecaster
from lib.models.linear import Linear
from lib.models.quantiles import weighted_median
from lib.models.ratio_by_quantile import RatioByQuantile

SHUFFLED_ROWS = 5000  # that show what each feature is worth


@dataclass(frozen=True)
class Fit:
    """One model to fit.

    Parameters
    ----------
    cut, share : float
        The rows drawn before the cut.
    place : int
        The horizon's place among the horizons.
    """

    cut: int
    share: float
    place: int


def fit(task: Fit, drawn: tuple[Examples, Floats]) -> forecaster.Model:
    """Fit one model on the rows drawn before its cut, of all examples and their tickets."""
    examples, ticket = drawn
    rows = np.flatnonzero((ticket < task.share) & past(vars(examples), task.cut, task.place))
    if len(rows) < forecaster.LEAST_ROWS:
        return forecaster.Nothing()
    average = examples.average[rows]
    target = log_ratio(examples.traded[rows, task.place], average)
    return Boosting.fit(examples.known[rows], average, target)


def past(stored: Mapping[str, NDArray[Any]], cut: int, place: int) -> NDArray[np.bool_]:
    """Examples whose horizon was over before the cut."""
    return ~np.isnan(stored["traded"][:, place]) & (stored["ended"][:, place] < cut)


@dataclass(frozen=True)
class Models:
    """Everything that the last pass forecasts with.

    Parameters
    ----------
    model, linear : list of list of Forecaster
        By cut and horizon; the first cut, which only calibrates, is left out, and the last one is for the forecasts.
    multiples : ndarray of float64, shape (cuts, horizons, 2)
        The best multiple of the average and of the exponential mean, on the days before each cut.
    two_features : list of list of RatioByQuantile or None
        The model of `lib.models.ratio_by_quantile` on the same rows, likewise by cut and horizon; None with too few rows.
    deciles : ndarray of float64, shape (9,)
        Of the averages of the judged rows.
    growth : dict of str to float
        See `importance`.
    """

    model: list[list[Forecaster]]
    linear: list[list[Forecaster]]
    multiples: Floats
    two_features: list[list[RatioByQuantile | None]]
    deciles: Floats
    growth: dict[str, float]


def fit_models(plan: Plan, drawn: Sequence[Drawn], engine: Engine) -> Models:
    """Fit and calibrate every model.

    Parameters
    ----------
    drawn : sequence of Drawn
        In the order of the parts.
    """
    examples = joined([part.examples for part in drawn])
    ticket = np.concatenate([part.ticket for part in drawn])
    gram = np.cumsum(sum(part.gram for part in drawn), axis=1)
    levels = np.cumsum(sum(part.levels for part in drawn))
    horizons = plan.settings.horizons
    linear: list[list[forecaster.Model]] = [
        [
            Linear.fit(gram[place, cut]) if gram[place, cut, -2, -2] > 0 else forecaster.Nothing()
            for place in range(len(horizons))
        ]
        for cut in range(len(plan.cuts))
    ]
    model = _boosted(plan, examples, ticket, engine) if plan.settings.model == "boosting" else linear
    multiples, two_features = _simple(plan, examples, ticket)
    shares = np.searchsorted(levels, levels[-1] * np.arange(1, 10) / 10)
    ready = calibrated(plan, examples, ticket, model)
    latest = examples.chosen(
        np.argsort(np.where(examples.session >= plan.cuts[-2], ticket, np.inf), kind="stable")[:SHUFFLED_ROWS]
    )
    return Models(
        ready,
        calibrated(plan, examples, ticket, linear),
        multiples,
        two_features,
        np.exp((shares + 1) * LEVEL_STEP),
        importance(ready[-2][0], latest.chosen(latest.session >= plan.cuts[-2])),
    )


def _boosted(plan: Plan, examples: Examples, ticket: Floats, engine: Engine) -> list[list[forecaster.Model]]:
    """By cut and horizon, fitted by the engine's workers."""
    count = len(plan.settings.horizons)
    tasks = [
        Fit(int(cut), float(plan.later_share[number] if place else plan.share[number]), place)
        for number, cut in enumerate(plan.cuts)
        for place in range(count)
    ]
    fitted = dict(engine.map(fit, tasks, (examples, ticket)))
    return [[fitted[cut * count + place] for place in range(count)] for cut in range(len(plan.cuts))]


def _simple(plan: Plan, examples: Examples, ticket: Floats) -> tuple[Floats, list[list[RatioByQuantile | None]]]:
    """The best multiples and the two-feature model, on the rows before each cut."""
    decay = examples.known[:, definitions.NAMES.index("volume_decay_30")].astype(np.float64)
    horizons = plan.settings.horizons
    multiples = np.ones((len(plan.cuts) - 1, len(horizons), 2))
    models: list[list[RatioByQuantile | None]] = [[None] * len(horizons) for _ in plan.cuts[1:]]
    for cut, place in np.ndindex(*multiples.shape[:2]):
        chosen = past(vars(examples), int(plan.cuts[cut + 1]), place) & (ticket < plan.share[cut + 1])
        average, traded = examples.average[chosen], examples.traded[chosen, place]
        for which, base in enumerate((average, average * np.exp(decay[chosen]))):
            if base.sum() > 0:
                multiples[cut, place, which] = weighted_median(traded / np.maximum(base, 1e-9), base)
        if len(average) >= forecaster.LEAST_ROWS:
            # Of its two features, the price is not used.
            models[cut][place] = RatioByQuantile().fit(np.column_stack([average, np.zeros(len(average))]), traded)
    return multiples, models


def importance(one: Forecaster, rows: Examples) -> dict[str, float]:
    """By which share the error of the first horizon grows when one feature is shuffled among rows that the model had not seen.

    Returns
    -------
    dict of str to float
        By feature; empty without rows.
    """

    def error(known: Known) -> float:
        return float(np.abs(one.forecast(known, rows.average)[0] - rows.traded[:, 0]).sum())

    if not len(rows) or not (whole := error(rows.known)):
        return {}
    order = np.random.default_rng(0).permutation(len(rows))
    growth = {}
    for column, name in enumerate(definitions.NAMES):
        shuffled = rows.known.copy()
        shuffled[:, column] = shuffled[order, column]
        growth[name] = error(shuffled) / whole - 1
    return growth


def calibrated(
    plan: Plan, examples: Examples, ticket: Floats, models: Sequence[Sequence[forecaster.Model]]
) -> list[list[Forecaster]]:
    """Each model with ranges from the last year before its cut, which an earlier model forecast without having seen it."""
    made: list[list[Forecaster]] = [[] for _ in plan.cuts[1:]]
    for place, horizon in enumerate(plan.settings.horizons):
        recent = np.flatnonzero(examples.session >= plan.cuts[0])
        chosen = examples.chosen(recent)
        used = np.searchsorted(plan.cuts, chosen.session, side="right") - 1
        predicted = np.zeros(len(chosen))
        for cut in np.unique(used):
            predicted[used == cut] = models[cut][place].predict(chosen.known[used == cut])
        for cut in range(1, len(plan.cuts)):
            year = (chosen.session >= plan.cuts[cut] - 365) & (ticket[recent] < plan.share[cut])
            year &= past(vars(chosen), int(plan.cuts[cut]), place)
            rows, forecasts = chosen.chosen(year), predicted[year]
            if len(rows) < forecaster.LEAST_ROWS:  # a short archive: the rows that it was fitted on
                rows = examples.chosen(past(vars(examples), int(plan.cuts[cut]), place))
                forecasts = models[cut][place].predict(rows.known) if len(rows) else np.zeros(0)
            target = log_ratio(rows.traded[:, place], rows.average)
            ranges = forecaster.calibrated(rows.known, rows.average, target, forecasts)
            made[cut - 1].append(Forecaster(horizon, models[cut][place], ranges))
    return made
