"""Forecasts of every symbol, judged by walking forward: fitted on what came before, refitted as time goes on.

Four passes, each over parts of whole symbols and through the engine: count the evenings by date; draw the examples and add up the Gram matrices; fit,
one task a model; forecast, judge and write. What the driver holds are sums, the drawn examples, whose number is fixed, and the models.

The dates at which models are refitted lie on a grid of the calendar (every so many months, or weeks, or days in a short archive), and the rows that
are drawn are chosen by a hash of symbol and date: so a day more or less at the archive's end leaves the forecasts before it as they are.
"""

from __future__ import annotations

import functools
import hashlib
import pickle
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
from numpy.typing import NDArray

from lib import code, files, paths
from lib.compute.engine import Engine
from lib.evaluation import forecast_metrics, sums
from lib.evaluation.forecast_metrics import (
    AVERAGE,
    DECAY,
    DECAY_MULTIPLE,
    LAST,
    LINEAR,
    MEAN_5,
    MODEL,
    MULTIPLE,
    WEEKDAY,
)
from lib.features import definitions, evening, windows
from lib.features.definitions import VOLUME_AVERAGE
from lib.features.sessions import Calendar, calendar_for
from lib.models import forecaster
from lib.models.forecaster import Examples, Floats, Forecaster, Served
from lib.storage import dataset
from lib.storage.dataset import Dataset

Days = NDArray[np.int32]
TEST_SHARE = 0.2  # of the dates, the last ones, at least
JUDGED_SHARE = 0.25  # of the rows, by hash, at horizons beyond the first
LINEAR_ROWS = 2_000_000  # that the Gram matrices are made of, at most
SHUFFLED_ROWS = 5000  # that show what each feature is worth
CHUNK = 1 << 17  # rows whose features are computed at a time
LEVEL_STEP, LEVEL_BINS = 0.005, 6000  # of the histogram of log averages that the deciles come from
# Months between refits, and days where even a month is too long.
GRID_MONTHS, GRID_DAYS = (36, 24, 18, 12, 6, 4, 3, 2, 1), (7, 1)

WALK_FORWARD_SCHEMA = pa.schema(
    [
        pa.field("Symbol", pa.string(), nullable=False),
        pa.field("Date", pa.date32(), nullable=False),
        *(pa.field(name, pa.int64(), nullable=False) for name in ("forecast", "low", "high")),
    ]
)
FORECAST_SCHEMA = pa.schema(
    [
        pa.field("Symbol", pa.string(), nullable=False),
        pa.field("Security Name", pa.string()),
        *(pa.field(name, pa.date32(), nullable=False) for name in ("as_of", "for_from", "for_to")),
        pa.field("horizon", pa.int32(), nullable=False),
        *(pa.field(name, pa.int64(), nullable=False) for name in ("forecast", "low", "high")),
        (VOLUME_AVERAGE.name, pa.float64()),
        ("ratio", pa.float64()),
        pa.field("stale", pa.bool_(), nullable=False),
    ]
)


@dataclass(frozen=True)
class Settings:
    """What a study sets; see the section ``forecast`` of `lib.params`."""

    horizons: tuple[int, ...] = (1, 5, 21)
    model: str = "boosting"
    training_rows: int = 250_000
    refits: int = 4


@dataclass(frozen=True)
class Plan:
    """When models are fitted, and on which rows.

    Parameters
    ----------
    last : int
        The archive's last date; like all dates here in days since 1970-01-01.
    cuts : ndarray of int32
        A model is fitted on the days before each: first the one that only calibrates, a year before the test; then the test's first day and the refits;
        last, for the forecasts, the day after the archive's.
    share : ndarray of float64
        For each cut, the share of the evenings before it that is drawn.
    linear_share : float
        The share of the evenings that goes into the Gram matrices.
    """

    settings: Settings
    calendar: Calendar
    last: int
    cuts: Days
    share: Floats
    linear_share: float

    @property
    def start(self) -> int:
        """The first day of the test."""
        return int(self.cuts[1])


def refit_dates(dates: Days, refits: int) -> Days:
    """The first day of the test and the days at which the model is refitted.

    Parameters
    ----------
    dates : ndarray of int32
        The archive's distinct dates, ascending.
    refits : int
        How many there are at least, where the test has so many dates.

    Returns
    -------
    ndarray of int32
        Ascending; the first is the test's, at the beginning of a quarter or of a shorter period.

    Examples
    --------
    >>> dates = np.arange("2000-01-01", "2010-01-01", dtype="datetime64[D]").astype("int32")
    >>> refit_dates(dates, 4).astype("datetime64[D]").astype(str).tolist()
    ['2008-01-01', '2008-05-01', '2008-09-01', '2009-01-01', '2009-05-01', '2009-09-01']
    """
    last = int(dates[-1])
    edge = int(dates[min(len(dates) - 1, int(len(dates) * (1 - TEST_SHARE)))])
    months = np.arange(0, 12 * 300)  # from 1900 on
    first_days = np.datetime64("1900-01", "M") + months
    grids = [(first_days[::step], first_days[:: min(step, 3)]) for step in GRID_MONTHS]
    found = np.array([edge], dtype=np.int32)
    days = [np.arange(edge - edge % step, last + 1, step).astype("datetime64[D]") for step in GRID_DAYS]
    for coarse, fine in [*grids, *zip(days, days, strict=True)]:
        refit_grid, start_grid = _days(coarse), _days(fine)
        start = start_grid[np.searchsorted(start_grid, edge, side="right") - 1]
        later = refit_grid[(refit_grid > start) & (refit_grid <= last)]
        found = np.append(start, later).astype(np.int32)
        if len(later) >= refits:
            break
    return found


def _days(dates: NDArray[Any]) -> Days:
    return dates.astype("datetime64[D]").astype(np.int32)


def tickets(symbols: Sequence[str], starts: NDArray[np.int64], days: Days) -> Floats:
    """A number from 0 to 1 for each row, from a hash of its symbol and date alone: draws compare it with a share.

    Parameters
    ----------
    starts : ndarray of int64
        The row at which each symbol starts.
    """
    seeds = [int.from_bytes(hashlib.blake2b(symbol.encode(), digest_size=8).digest(), "little") for symbol in symbols]
    counts = np.diff(np.append(starts, len(days)))
    with np.errstate(over="ignore"):  # splitmix64
        mixed = np.repeat(np.array(seeds, dtype=np.uint64), counts) + days.astype(np.uint64) * np.uint64(
            0x9E3779B97F4A7C15
        )
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed ^= mixed >> np.uint64(31)
    return (mixed >> np.uint64(11)) * 2.0**-53


@dataclass(frozen=True)
class _Chunk:
    """Some whole symbols of a part, or the last rows of each.

    Parameters
    ----------
    starts : ndarray of int64
        The row at which each symbol starts.
    skipped : ndarray of int64, shape (rows,)
        Rows of the symbol that were left out before.
    rows : slice or ndarray of int64
        The chunk's rows within the part.
    """

    symbols: list[str]
    starts: NDArray[np.int64]
    skipped: NDArray[np.int64]
    table: pa.Table

    @functools.cached_property
    def days(self) -> Days:
        return self.table["Date"].combine_chunks().cast(pa.int32()).to_numpy()

    @functools.cached_property
    def volume(self) -> NDArray[np.int64]:
        return np.maximum(self.table["Volume"].to_numpy(), 0)

    @functools.cached_property
    def tickets(self) -> Floats:
        return tickets(self.symbols, self.starts, self.days)

    @functools.cached_property
    def left(self) -> NDArray[np.int64]:
        """Rows of the symbol after each row."""
        ends = np.append(self.starts[1:], len(self.days))
        return np.repeat(ends, ends - self.starts) - 1 - np.arange(len(self.days))

    def evenings(self, calendar: Calendar) -> evening.Evenings:
        columns = {name: self.table[name].to_numpy() for name in definitions.COLUMNS}
        return evening.evenings(columns, self.starts, self.days, calendar)

    def traded(self, rows: NDArray[np.int64], horizon: int) -> Floats:
        """Mean Volume over the ``horizon`` rows after each of ``rows``; NaN where the symbol ends before."""
        total = np.append(0, np.cumsum(self.volume))
        whole = self.left[rows] >= horizon
        end = np.where(whole, rows + 1 + horizon, 0)
        return np.where(whole, (total[end] - total[np.where(whole, rows + 1, 0)]) / horizon, np.nan)


def _chunks(path: str, sha256: str, since: int | None = None) -> Iterator[_Chunk]:
    """The part's symbols, some at a time; ``since``: without rows that only tell of evenings before that day."""
    content = dataset.read_content(Path(path), sha256)
    columns = ["Symbol", "Security Name", "Date", *definitions.COLUMNS, VOLUME_AVERAGE.name]
    table = dataset.decode(content, columns, dictionaries=("Symbol", "Security Name"))
    if not table.num_rows:
        return
    starts = windows.symbol_starts(table["Symbol"])
    ends = np.append(starts[1:], table.num_rows)
    names = table["Symbol"].take(starts).to_pylist()
    begins = starts
    if since is not None:
        days = table["Date"].combine_chunks().cast(pa.int32()).to_numpy()
        late = np.append(0, np.cumsum(days >= since))
        recent = np.maximum(late[ends] - late[starts], 1)  # at least the last row, for the forecasts
        begins = np.maximum(starts, ends - recent - definitions.LONGEST)
    first = 0
    while first < len(starts):
        sizes = np.cumsum(ends[first:] - begins[first:])
        end = first + max(1, int(np.searchsorted(sizes, CHUNK, side="right")))
        counts = (ends - begins)[first:end]
        kept = np.append(0, np.cumsum(counts)[:-1])
        part = table.slice(starts[first], ends[end - 1] - starts[first])
        if (begins[first:end] > starts[first:end]).any():
            rows = np.repeat(begins[first:end] - starts[first] - kept, counts) + np.arange(counts.sum())
            part = part.take(rows)
        yield _Chunk(names[first:end], kept, np.repeat((begins - starts)[first:end], counts), part.combine_chunks())
        first = end


@dataclass(frozen=True)
class _Task:
    """One part, and what to do with it."""

    path: str
    sha256: str
    plan: Plan | None = None


def count_dates(task: _Task) -> tuple[Days, NDArray[np.int64], NDArray[np.int64]]:
    """The distinct dates of a part, how many rows each has, and how many evenings that may be drawn."""
    content = dataset.read_content(Path(task.path), task.sha256)
    table = dataset.decode(content, ["Symbol", "Date"], dictionaries=("Symbol",))
    days = table["Date"].combine_chunks().cast(pa.int32()).to_numpy()
    starts = windows.symbol_starts(table["Symbol"])
    position = np.arange(len(days)) - np.repeat(starts, np.diff(np.append(starts, len(days))))
    dates, place = np.unique(days, return_inverse=True)
    usable = np.bincount(place, position >= definitions.AVERAGE_ROWS - 1, len(dates)).astype(np.int64)
    return dates, np.bincount(place, minlength=len(dates)), usable


def make_plan(dates: Days, usable: NDArray[np.int64], settings: Settings, calendar_name: str) -> Plan:
    """Decide when models are fitted, and which share of the rows is drawn for each.

    Parameters
    ----------
    dates : ndarray of int32
        The archive's distinct dates, ascending.
    usable : ndarray of int64
        Of each date, the evenings that may be drawn.
    """
    tests = refit_dates(dates, settings.refits)
    last = int(dates[-1])
    cuts = np.concatenate([[tests[0] - 365], tests, [last + 1]]).astype(np.int32)
    before = np.append(0, np.cumsum(usable))[np.searchsorted(dates, cuts)]
    share = np.minimum(1.0, settings.training_rows / np.maximum(before, 1))
    linear = min(1.0, LINEAR_ROWS / max(int(before[-1]), 1))
    # Powers of two: a day more or less does not change which rows are drawn, but for once in a long while.
    return Plan(settings, calendar_for(calendar_name, dates), last, cuts, share, 2.0 ** np.floor(np.log2(linear)))


@dataclass(frozen=True)
class Drawn:
    """What a part contributes to the fits.

    Parameters
    ----------
    ticket : ndarray of float64, shape (rows,)
        Of each example.
    gram : ndarray of float64, shape (horizons, cuts, columns, columns)
        Gram matrices of the evenings whose horizon ended between a cut and the one before.
    levels : ndarray of int64, shape (LEVEL_BINS,)
        Judged rows by the logarithm of their average.
    """

    examples: Examples
    ticket: Floats
    gram: Floats
    levels: NDArray[np.int64]


def draw(task: _Task) -> Drawn:
    """Draw a part's examples, and add up its Gram matrices."""
    plan = task.plan
    assert plan is not None
    found, drawn_tickets = [], []
    horizons = plan.settings.horizons
    columns = forecaster.linear_inputs(np.zeros((1, len(definitions.NAMES)), dtype=np.float32)).shape[1] + 1
    gram = np.zeros((len(horizons), len(plan.cuts), columns, columns))
    levels = np.zeros(LEVEL_BINS, dtype=np.int64)
    for chunk in _chunks(task.path, task.sha256):
        made = chunk.evenings(plan.calendar)
        session = plan.calendar.sessions[made.session]
        usable = (made.position >= definitions.AVERAGE_ROWS - 1) & (chunk.left >= 1)
        judged = usable & (session >= plan.start)
        bins = np.clip(np.log(np.maximum(made.average[judged], 1)) / LEVEL_STEP, 0, LEVEL_BINS - 1)
        levels += np.bincount(bins.astype(np.int64), minlength=LEVEL_BINS)
        first_cut = np.searchsorted(plan.cuts, session, side="right")
        share = np.append(plan.share, 0.0)[first_cut]
        rows = np.flatnonzero(usable & (chunk.tickets < np.maximum(share, plan.linear_share)))
        traded = np.column_stack([chunk.traded(rows, horizon) for horizon in horizons])
        ended = np.column_stack([chunk.days[np.minimum(rows + h, len(chunk.days) - 1)] for h in horizons])
        known = np.ascontiguousarray(made.known[:, rows].T)
        examples = Examples(known, made.average[rows], traded, session[rows], ended)
        own = chunk.tickets[rows]
        _add_gram(gram, examples, own < plan.linear_share, plan.cuts)
        kept = own < share[rows]
        found.append(examples.chosen(kept))
        drawn_tickets.append(own[kept])
    if not found:
        nothing = np.zeros((0, len(horizons)))
        empty = np.zeros((0, len(definitions.NAMES)), dtype=np.float32)
        found = [Examples(empty, np.zeros(0), nothing, np.zeros(0, dtype=np.int32), nothing.astype(np.int32))]
        drawn_tickets = [np.zeros(0)]
    return Drawn(forecaster.joined(found), np.concatenate(drawn_tickets), gram, levels)


def _add_gram(gram: Floats, examples: Examples, chosen: NDArray[np.bool_], cuts: Days) -> None:
    for place in range(gram.shape[0]):
        segment = np.searchsorted(cuts, examples.ended[:, place], side="right")
        whole = chosen & ~np.isnan(examples.traded[:, place])
        for cut in range(len(cuts)):
            some = examples.chosen(whole & (segment == cut))
            if len(some):
                target = forecaster.log_ratio(some.traded[:, place], some.average)
                gram[place, cut] += forecaster.gram_matrix(some.known, some.average, target)


@dataclass(frozen=True)
class Fit:
    """One model to fit: the rows are in a file that every worker reads.

    Parameters
    ----------
    path : str
        What `_store_examples` wrote.
    cut, share : float
        The rows drawn before the cut.
    place : int
        The horizon's place among the horizons.
    """

    path: str
    cut: int
    share: float
    place: int


def fit(task: Fit) -> forecaster.Model:
    """Fit one model on the rows drawn before its cut."""
    with np.load(task.path) as stored:
        rows = np.flatnonzero((stored["ticket"] < task.share) & _past(stored, task.cut, task.place))
        if len(rows) < forecaster.LEAST_ROWS:
            return forecaster.Nothing()
        average = stored["average"][rows]
        target = forecaster.log_ratio(stored["traded"][rows, task.place], average)
        return forecaster.Boosting.fit(stored["known"][rows], average, target)


def _past(stored: Mapping[str, NDArray[Any]], cut: int, place: int) -> NDArray[np.bool_]:
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
    deciles : ndarray of float64, shape (9,)
        Of the averages of the judged rows.
    growth : dict of str to float
        See `importance`.
    """

    model: list[list[Forecaster]]
    linear: list[list[Forecaster]]
    multiples: Floats
    deciles: Floats
    growth: dict[str, float]


def fit_models(plan: Plan, drawn: Sequence[Drawn], engine: Engine, folder: Path) -> Models:
    """Fit and calibrate every model.

    Parameters
    ----------
    drawn : sequence of Drawn
        In the order of the parts.
    folder : pathlib.Path
        Where the examples are put for the workers.
    """
    examples = forecaster.joined([part.examples for part in drawn])
    ticket = np.concatenate([part.ticket for part in drawn])
    gram = np.cumsum(sum(part.gram for part in drawn), axis=1)
    levels = np.cumsum(sum(part.levels for part in drawn))
    horizons = plan.settings.horizons
    linear: list[list[forecaster.Model]] = [
        [
            forecaster.Linear.fit(gram[place, cut]) if gram[place, cut, -2, -2] > 0 else forecaster.Nothing()
            for place in range(len(horizons))
        ]
        for cut in range(len(plan.cuts))
    ]
    model = linear
    if plan.settings.model == "boosting":
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "examples.npz"
        with files.replacing(path) as temporary, temporary.open("wb") as file:
            np.savez(file, ticket=ticket, **vars(examples))
        tasks = [
            Fit(str(path), int(cut), float(share), place)
            for cut, share in zip(plan.cuts, plan.share, strict=True)
            for place in range(len(horizons))
        ]
        fitted = dict(engine.map(fit, tasks))
        path.unlink()
        model = [
            [fitted[cut * len(horizons) + place] for place in range(len(horizons))] for cut in range(len(plan.cuts))
        ]
    decay = examples.known[:, definitions.NAMES.index("volume_decay_30")].astype(np.float64)
    multiples = np.ones((len(plan.cuts) - 1, len(horizons), 2))
    for cut, place in np.ndindex(*multiples.shape[:2]):
        past = _past(vars(examples), int(plan.cuts[cut + 1]), place) & (ticket < plan.share[cut + 1])
        for which, base in enumerate((examples.average[past], (examples.average * np.exp(decay))[past])):
            if base.sum() > 0:
                ratio = examples.traded[past, place] / np.maximum(base, 1e-9)
                multiples[cut, place, which] = forecaster.weighted_median(ratio, base)
    shares = np.searchsorted(levels, levels[-1] * np.arange(1, 10) / 10)
    ready = _calibrated(plan, examples, ticket, model)
    latest = examples.chosen(
        np.argsort(np.where(examples.session >= plan.cuts[-2], ticket, np.inf), kind="stable")[:SHUFFLED_ROWS]
    )
    return Models(
        ready,
        _calibrated(plan, examples, ticket, linear),
        multiples,
        np.exp((shares + 1) * LEVEL_STEP),
        importance(ready[-2][0], latest.chosen(latest.session >= plan.cuts[-2])),
    )


def importance(one: Forecaster, rows: Examples) -> dict[str, float]:
    """By which share the error of the first horizon grows when one feature is shuffled among rows that the model had not seen.

    Returns
    -------
    dict of str to float
        By feature; empty without rows.
    """

    def error(known: forecaster.Known) -> float:
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


def _calibrated(
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
            year &= _past(vars(chosen), int(plan.cuts[cut]), place)
            rows, forecasts = chosen.chosen(year), predicted[year]
            if len(rows) < forecaster.LEAST_ROWS:  # a short archive: the rows that it was fitted on
                rows = examples.chosen(_past(vars(examples), int(plan.cuts[cut]), place))
                forecasts = models[cut][place].predict(rows.known) if len(rows) else np.zeros(0)
            target = forecaster.log_ratio(rows.traded[:, place], rows.average)
            ranges = forecaster.calibrated(rows.known, rows.average, target, forecasts)
            made[cut - 1].append(Forecaster(horizon, models[cut][place], ranges))
    return made


@dataclass
class ForecastPart:
    """One part of features, to the same part of forecasts, of judged rows, and of sums.

    Parameters
    ----------
    path, sha256 : str
        The part of features.
    models : str
        The file that holds the `Models`.
    origin : str
        A digest of all that the models were fitted on.
    """

    path: str
    sha256: str
    plan: Plan
    models: str
    origin: str

    def read(self) -> str:
        """A digest of the part and of what the models come from."""
        return f"{self.sha256} {self.origin}"

    def tables(self) -> Mapping[str, pa.Table]:
        """Forecast and judge, some symbols at a time."""
        models = _load_models(self.models)
        tables: dict[str, list[pa.Table]] = {
            "walk_forward": [WALK_FORWARD_SCHEMA.empty_table()],
            "forecasts": [FORECAST_SCHEMA.empty_table()],
            "forecast_sums": [sums.SCHEMA.empty_table()],
        }
        for chunk in _chunks(self.path, self.sha256, self.plan.start - 10):
            made = chunk.evenings(self.plan.calendar)
            position = made.position + chunk.skipped
            session = self.plan.calendar.sessions[made.session]
            judged = np.flatnonzero(
                (position >= definitions.AVERAGE_ROWS - 1) & (chunk.left >= 1) & (session >= self.plan.start)
            )
            for place, horizon in enumerate(self.plan.settings.horizons):
                rows = judged
                if place:
                    rows = rows[(chunk.tickets[rows] < JUDGED_SHARE) & (chunk.left[rows] >= horizon)]
                walked, summed = _judge(chunk, made, session, rows, self.plan, models, place)
                tables["forecast_sums"].append(summed)
                if not place:
                    tables["walk_forward"].append(walked)
            tables["forecasts"].append(_forecasts(chunk, made, self.plan, models))
        return {name: pa.concat_tables(parts).combine_chunks() for name, parts in tables.items()}


@functools.lru_cache(maxsize=1)
def _load_models(path: str) -> Models:
    models: Models = pickle.loads(Path(path).read_bytes())  # our own, written by this run for its workers
    return models


def _judge(
    chunk: _Chunk,
    made: evening.Evenings,
    session: Days,
    rows: NDArray[np.int64],
    plan: Plan,
    models: Models,
    place: int,
) -> tuple[pa.Table, pa.Table]:
    """Forecast the day after each of ``rows`` with the models of its time, and judge them: the rows, and their sums."""
    average = made.average[rows]
    known = np.ascontiguousarray(made.known[:, rows].T)
    cut = np.searchsorted(plan.cuts[1:], session[rows], side="right") - 1
    point, low, high = np.zeros((3, len(rows)))
    straight = np.zeros(len(rows))
    for which in np.unique(cut):
        some = cut == which
        point[some], low[some], high[some] = models.model[which][place].forecast(known[some], average[some])
        straight[some] = models.linear[which][place].forecast(known[some], average[some])[0]
    decay, same_weekday = (
        average * np.exp(known[:, definitions.NAMES.index(name)].astype(np.float64))
        for name in ("volume_decay_30", "volume_weekday")
    )
    multiple = models.multiples[cut, place]
    predictions = {
        AVERAGE: average,
        MULTIPLE: average * multiple[:, 0],
        LAST: chunk.volume[rows].astype(np.float64),
        MEAN_5: windows.moving_average(chunk.volume, chunk.starts, 5)[rows],
        DECAY: decay,
        DECAY_MULTIPLE: decay * multiple[:, 1],
        WEEKDAY: np.where(np.isnan(same_weekday), average, same_weekday),
        LINEAR: straight,
        MODEL: point,
    }
    days = chunk.days[rows + 1]
    month = days.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)
    calendar_known = dict(
        zip((entry.name for entry in definitions.CALENDAR), plan.calendar.known[made.session[rows]].T, strict=True)
    )
    special = np.where(
        calendar_known["early_close"] > 0, sums.EARLY_CLOSE, (calendar_known["third_friday"] > 0) * sums.THIRD_FRIDAY
    )
    groups: dict[str, NDArray[Any]] = {
        "year": month // 12 + 1970,
        "quarter": month // 3,
        "weekday": (days + 3) % 7,
        "decile": np.searchsorted(models.deciles, average, side="right") + 1,
        "special": special.astype(np.int64),
    }
    judged = sums.Judged(
        plan.settings.horizons[place], chunk.traded(rows, plan.settings.horizons[place]), groups, predictions
    )
    summed = sums.error_sums(judged, {MODEL: (low, high)}, (1 - forecaster.LEVEL) / 2)
    walked = pa.table(
        {
            "Symbol": chunk.table["Symbol"].take(pa.array(rows)).cast(pa.string()),
            "Date": pa.array(days).cast(pa.date32()),
            **{name: _whole(values) for name, values in (("forecast", point), ("low", low), ("high", high))},
        },
        schema=WALK_FORWARD_SCHEMA,
    )
    return walked, summed


def _whole(values: Floats) -> NDArray[np.int64]:
    return np.minimum(values, 2.0**62).astype(np.int64)


def _forecasts(chunk: _Chunk, made: evening.Evenings, plan: Plan, models: Models) -> pa.Table:
    """One row a symbol and horizon, from the symbol's last evening."""
    rows = np.append(chunk.starts[1:], len(chunk.days)) - 1
    known, average = np.ascontiguousarray(made.known[:, rows].T), made.average[rows]
    shown = chunk.table.take(pa.array(rows))
    moving = shown[VOLUME_AVERAGE.name].to_numpy()
    count = len(plan.settings.horizons)
    order = np.arange(len(rows) * count).reshape(count, -1).T.ravel()  # by symbol, then by horizon
    tables = []
    for place, horizon in enumerate(plan.settings.horizons):
        point, low, high = models.model[-1][place].forecast(known, average)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.round(point / moving, 4)
        session = made.session[rows]
        columns = {
            "Symbol": shown["Symbol"].cast(pa.string()),
            "Security Name": shown["Security Name"].cast(pa.string()),
            "as_of": shown["Date"],
            "for_from": pa.array(plan.calendar.sessions[session]).cast(pa.date32()),
            "for_to": pa.array(plan.calendar.sessions[session + horizon - 1]).cast(pa.date32()),
            "horizon": np.full(len(rows), horizon, dtype=np.int32),
            "forecast": _whole(point),
            "low": _whole(low),
            "high": _whole(high),
            VOLUME_AVERAGE.name: shown[VOLUME_AVERAGE.name],
            "ratio": pa.array(ratio, mask=~np.isfinite(ratio)),
            "stale": chunk.days[rows] < plan.last,
        }
        tables.append(pa.table(columns, schema=FORECAST_SCHEMA))
    return pa.concat_tables(tables).take(pa.array(order))


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
        See `lib.evaluation.sums.added`.
    growth : dict of str to float
        See `importance`.
    """

    walk_forward: Dataset
    forecasts: Dataset
    sums: pd.DataFrame
    plan: Plan
    served: Served
    growth: dict[str, float]


def make_forecasts(
    study: paths.StudyPaths, settings: Settings, calendar_name: str = "XNYS", engine: Engine | None = None
) -> Forecasts:
    """Walk forward through a study's features, and forecast what comes after them.

    Parameters
    ----------
    calendar_name : str
        See `lib.features.sessions.calendar_for`.

    Returns
    -------
    Forecasts
        The datasets, ``forecasts.csv`` and ``forecaster.skops`` are written.

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
    files_of_parts = list(zip(source.paths, source.parts, strict=True))
    counted = _in_order(engine.map(count_dates, [_Task(str(path), part.sha256) for path, part in files_of_parts]))
    dates, place = np.unique(np.concatenate([found for found, _, _ in counted]), return_inverse=True)
    usable = np.bincount(place, np.concatenate([some for _, _, some in counted]), len(dates)).astype(np.int64)
    plan = make_plan(dates, usable, settings, calendar_name)
    drawn = _in_order(engine.map(draw, [_Task(str(path), part.sha256, plan) for path, part in files_of_parts]))
    folders = {name: getattr(study, name) for name in ("walk_forward", "forecasts", "forecast_sums")}
    state = paths.dataset_state(study.walk_forward)
    models = fit_models(plan, drawn, engine, state)
    drawn.clear()
    stored = state / "models.pickle"  # swept by `dataset.commit`
    files.write_atomically(stored, pickle.dumps(models))
    settings_plain = vars(settings) | {"calendar": plan.calendar.name}
    digest = code.digest(__name__, settings_plain)
    works = [ForecastPart(str(path), part.sha256, plan, str(stored), source.digest) for path, part in files_of_parts]
    sizes = [part.rows for part in source.parts]
    results = dataset.build("forecasts", works, sizes, "rows", folders, digest, engine)
    made = dataset.commit(results, folders)
    added = sums.added(list(made["forecast_sums"].tables()))
    information = {
        "last": str(np.int64(plan.last).astype("datetime64[D]")),
        "model": settings.model,
        "level": forecaster.LEVEL,
    }
    served = Served(tuple(models.model[-1]), plan.calendar, information)
    forecaster.write_served(study.forecaster, served)
    _write_csv(study.forecasts_csv, made["forecasts"])
    return Forecasts(made["walk_forward"], made["forecasts"], added, plan, served, models.growth)


def _in_order(results: Iterator[tuple[int, Any]]) -> list[Any]:
    return [result for _, result in sorted(results, key=lambda pair: pair[0])]


def _write_csv(path: Path, forecasts: Dataset) -> None:
    buffer = pa.BufferOutputStream()
    pyarrow.csv.write_csv(forecasts.read(), buffer, pyarrow.csv.WriteOptions(quoting_style="needed"))
    files.write_atomically(path, buffer.getvalue().to_pybytes())


def metrics(made: Forecasts) -> dict[str, Any]:
    """Every measured number, as ``forecast_metrics.json`` holds them; see `lib.evaluation.forecast_metrics.by_horizon`."""
    cuts = [str(day) for day in made.plan.cuts.astype("datetime64[D]")]
    about = {"calendar": made.plan.calendar.name, "test_first_date": cuts[1], "refits": cuts[1:-1]}
    return {
        **about,
        "importance": made.growth,
        "horizons": forecast_metrics.by_horizon(made.sums, made.plan.settings.horizons),
    }
