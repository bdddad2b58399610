"""What a part contributes to the fits: the examples drawn, and Gram matrices, which add up over parts."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lib import code
from lib.compute.engine import Engine
from lib.evaluation.chunks import Days, chunks
from lib.evaluation.plan import Plan
from lib.features import definitions
from lib.models import linear
from lib.models.examples import Examples, Floats, joined, log_ratio
from lib.storage import arrays
from lib.storage.dataset import Dataset, StoredPart
from lib.storage.kept import digest, map_kept

LEVEL_STEP, LEVEL_BINS = 0.005, 6000  # of the histogram of log averages that the deciles come from


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


def drawn(features: Dataset, plan: Plan, engine: Engine, kept: Path | None = None) -> Iterator[Drawn]:
    """What each part of features contributes, in order; a part that has not changed, nor what is drawn of it, is taken from ``kept``."""
    # That the last model is fitted on all there is does not change what is drawn: no evening's horizon ends later.
    how = [code.digest(__name__, {}), plan.cuts[:-1], plan.share, plan.linear_share, plan.settings.horizons]
    keys = [
        [digest(*how, part.sha256, *plan.calendar.until(dates[1] if dates else None))]
        for part, dates in zip(features.stored, features.extremes("Date"), strict=True)
    ]
    for [content] in map_kept(_draw_to_bytes, features.stored, keys, engine, kept, plan):
        found = arrays.from_bytes(content)
        examples = Examples(*(found[field.name] for field in dataclasses.fields(Examples)))
        yield Drawn(examples, found["ticket"], found["gram"], found["levels"])


def _draw_to_bytes(task: tuple[StoredPart, tuple[int, ...]], plan: Plan) -> list[bytes]:
    made = draw(task[0], plan)
    own = {"ticket": made.ticket, "gram": made.gram, "levels": made.levels}
    return [arrays.to_bytes(vars(made.examples) | own)]


def draw(part: StoredPart, plan: Plan) -> Drawn:
    """Draw a part's examples, and add up its Gram matrices."""
    horizons = plan.settings.horizons
    nothing = np.zeros((0, len(horizons)))
    no_features = np.zeros((0, len(definitions.NAMES)), dtype=np.float32)
    found = [Examples(no_features, np.zeros(0), nothing, np.zeros(0, dtype=np.int32), nothing.astype(np.int32))]
    tickets = [np.zeros(0)]
    columns = linear.linear_inputs(no_features).shape[1] + 1
    gram = np.zeros((len(horizons), len(plan.cuts), columns, columns))
    levels = np.zeros(LEVEL_BINS, dtype=np.int64)
    for chunk in chunks(part):
        evenings = chunk.evenings(plan.calendar)
        session = plan.calendar.sessions[evenings.session]
        usable = (evenings.position >= definitions.AVERAGE_ROWS - 1) & (chunk.left >= 1)
        judged = usable & (session >= plan.start)
        bins = np.clip(np.log(np.maximum(evenings.average[judged], 1)) / LEVEL_STEP, 0, LEVEL_BINS - 1)
        levels += np.bincount(bins.astype(np.int64), minlength=LEVEL_BINS)
        first_cut = np.searchsorted(plan.cuts, session, side="right")
        share = np.append(plan.share, 0.0)[first_cut]
        rows = np.flatnonzero(usable & (chunk.tickets < np.maximum(share, plan.linear_share)))
        traded = np.column_stack([chunk.traded(rows, horizon) for horizon in horizons])
        ended = np.column_stack([chunk.days[np.minimum(rows + h, len(chunk.days) - 1)] for h in horizons])
        known = np.ascontiguousarray(evenings.known[:, rows].T)
        examples = Examples(known, evenings.average[rows], traded, session[rows], ended)
        own = chunk.tickets[rows]
        _add_gram(gram, examples, own < plan.linear_share, plan.cuts)
        kept = own < share[rows]
        found.append(examples.chosen(kept))
        tickets.append(own[kept])
    return Drawn(joined(found), np.concatenate(tickets), gram, levels)


def _add_gram(gram: Floats, examples: Examples, chosen: NDArray[np.bool_], cuts: Days) -> None:
    for index in range(gram.shape[0]):
        segment = np.searchsorted(cuts, examples.ended[:, index], side="right")
        whole = chosen & ~np.isnan(examples.traded[:, index])
        for cut in range(len(cuts)):
            some = examples.chosen(whole & (segment == cut))
            if len(some):
                target = log_ratio(some.traded[:, index], some.average)
                gram[index, cut] += linear.gram_matrix(some.known, some.average, target)
