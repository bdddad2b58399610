"""Fit and calibrate every model of a walk forward, one task a model, on the examples that the parts drew."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lib import code
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
from lib.storage.kept import digest, map_kept

SHUFFLED_ROWS = 5000  # that show what each feature is worth
WORKERS_ROWS = 20_000  # fits on fewer take less time than workers to start


@dataclass(frozen=True)
class Fit:
    """One model to fit.

    Parameters
    ----------
    cut : int
        The model is fitted on examples whose horizon ended before this day, in days since 1970-01-01.
    share : float
        The share of these examples that is drawn, from 0 to 1.
    index : int
        The horizon's index among the horizons.
    """

    cut: int
    share: float
    index: int

    def rows(self, examples: Examples, ticket: Floats) -> tuple[Known, Floats, Floats]:
        """Of the examples to fit on: what is known, the averages, the targets."""
        rows = np.flatnonzero((ticket < self.share) & past(examples, self.cut, self.index))
        average = examples.average[rows]
        return examples.known[rows], average, log_ratio(examples.traded[rows, self.index], average)


def fit(task: Fit, drawn: tuple[Examples, Floats]) -> forecaster.Model:
    """Fit one model on the rows drawn before its cut, of all examples and their tickets."""
    known, average, target = task.rows(*drawn)
    return Boosting.fit(known, average, target) if len(known) >= forecaster.LEAST_ROWS else forecaster.Nothing()


def past(examples: Examples, cut: int, index: int) -> NDArray[np.bool_]:
    """Examples whose horizon was over before the cut."""
    return ~np.isnan(examples.traded[:, index]) & (examples.ended[:, index] < cut)


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
    origin : str
        A digest of all that the models that judge were made of; those for the forecasts are left out.
    """

    model: list[list[Forecaster]]
    linear: list[list[Forecaster]]
    multiples: Floats
    two_features: list[list[RatioByQuantile | None]]
    deciles: Floats
    growth: dict[str, float]
    origin: str


def fit_models(plan: Plan, drawn: Iterable[Drawn], engine: Engine, kept: Path | None = None) -> Models:
    """Fit and calibrate every model.

    Parameters
    ----------
    drawn : iterable of Drawn
        In the order of the parts. They are added up as they come: a part's Gram matrices are as large as a thousand of its examples.
    kept : pathlib.Path, optional
        Where the boosted models are kept; see `lib.storage.kept.map_kept`.
    """
    examples, ticket, gram, levels = _added_up(drawn)
    horizons = plan.settings.horizons
    linear: list[list[forecaster.Model]] = [
        [
            Linear.fit(gram[index, cut]) if gram[index, cut, -2, -2] > 0 else forecaster.Nothing()
            for index in range(len(horizons))
        ]
        for cut in range(len(plan.cuts))
    ]
    model = _boosted(plan, examples, ticket, engine, kept) if plan.settings.model == "boosting" else linear
    multiples, two_features = _simple(plan, examples, ticket)
    shares = np.searchsorted(levels, levels[-1] * np.arange(1, 10) / 10)
    earlier = examples.session < plan.cuts[-2]
    judging = [plan.cuts[:-1], plan.share[:-1], plan.later_share[:-1], gram[:, :-1], shares]
    origin = digest(*judging, ticket[earlier], examples.chosen(earlier))
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
        origin,
    )


def _added_up(drawn: Iterable[Drawn]) -> tuple[Examples, Floats, Floats, NDArray[np.int64]]:
    """Of all parts the examples and their tickets, and the running sums of the Gram matrices over the cuts and of the levels."""
    examples, tickets = list[Examples](), list[Floats]()
    gram, levels = np.zeros(1), np.zeros(1, dtype=np.int64)
    for part in drawn:
        examples.append(part.examples)
        tickets.append(part.ticket)
        gram, levels = gram + part.gram, levels + part.levels
    return joined(examples), np.concatenate(tickets), np.cumsum(gram, axis=1), np.cumsum(levels)


def _boosted(
    plan: Plan, examples: Examples, ticket: Floats, engine: Engine, kept: Path | None
) -> list[list[forecaster.Model]]:
    """By cut and horizon, loaded, or else fitted by the engine's workers."""
    count = len(plan.settings.horizons)
    tasks = [
        Fit(int(cut), float(plan.later_share[number] if index else plan.share[number]), index)
        for number, cut in enumerate(plan.cuts)
        for index in range(count)
    ]
    how = code.digest("lib.models.boosting", {"least rows": forecaster.LEAST_ROWS})
    keys = [[digest(how, *task.rows(examples, ticket))] for task in tasks]
    workers = engine if len(examples) > WORKERS_ROWS else Engine(workers=1)
    fitted = map_kept(_fit_to_bytes, tasks, keys, workers, kept, (examples, ticket))
    models = [forecaster.read_model(content) for [content] in fitted]
    return [models[first : first + count] for first in range(0, len(models), count)]


def _fit_to_bytes(task: tuple[Fit, tuple[int, ...]], drawn: tuple[Examples, Floats]) -> list[bytes]:
    return [forecaster.model_to_bytes(fit(task[0], drawn))]


def _simple(plan: Plan, examples: Examples, ticket: Floats) -> tuple[Floats, list[list[RatioByQuantile | None]]]:
    """The best multiples and the two-feature model, on the rows before each cut."""
    decay = examples.known[:, definitions.NAMES.index("volume_decay_30")].astype(np.float64)
    horizons = plan.settings.horizons
    multiples = np.ones((len(plan.cuts) - 1, len(horizons), 2))
    models: list[list[RatioByQuantile | None]] = [[None] * len(horizons) for _ in plan.cuts[1:]]
    for cut, index in np.ndindex(*multiples.shape[:2]):
        chosen = past(examples, int(plan.cuts[cut + 1]), index) & (ticket < plan.share[cut + 1])
        average, traded = examples.average[chosen], examples.traded[chosen, index]
        for which, base in enumerate((average, average * np.exp(decay[chosen]))):
            if base.sum() > 0:
                multiples[cut, index, which] = weighted_median(traded / np.maximum(base, 1e-9), base)
        if len(average) >= forecaster.LEAST_ROWS:
            # Of its two features, the price is not used.
            models[cut][index] = RatioByQuantile().fit(np.column_stack([average, np.zeros(len(average))]), traded)
    return multiples, models


def importance(one: Forecaster, rows: Examples) -> dict[str, float]:
    """The share by which the error of the first horizon grows when one feature is shuffled among rows that the model had not seen.

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
    forecasters: list[list[Forecaster]] = [[] for _ in plan.cuts[1:]]
    for index, horizon in enumerate(plan.settings.horizons):
        recent = np.flatnonzero(examples.session >= plan.cuts[0])
        chosen = examples.chosen(recent)
        used = np.searchsorted(plan.cuts, chosen.session, side="right") - 1
        predicted = np.zeros(len(chosen))
        for cut in np.unique(used):
            predicted[used == cut] = models[cut][index].predict(chosen.known[used == cut])
        for cut in range(1, len(plan.cuts)):
            year = (chosen.session >= plan.cuts[cut] - 365) & (ticket[recent] < plan.share[cut])
            year &= past(chosen, int(plan.cuts[cut]), index)
            rows, forecasts = chosen.chosen(year), predicted[year]
            if len(rows) < forecaster.LEAST_ROWS:  # a short archive: the rows that it was fitted on
                rows = examples.chosen(past(examples, int(plan.cuts[cut]), index))
                forecasts = models[cut][index].predict(rows.known) if len(rows) else np.zeros(0)
            target = log_ratio(rows.traded[:, index], rows.average)
            overlap = max(1.0, horizon * float(plan.share[cut]))  # of each day's rows this share was drawn
            ranges = forecaster.calibrated(rows.known, rows.average, target, forecasts, overlap)
            forecasters[cut - 1].append(Forecaster(horizon, models[cut][index], ranges))
    return forecasters
