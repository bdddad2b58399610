"""What a part contributes to the fits: how many evenings each date has, the examples drawn, and Gram matrices, which add up over parts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lib.evaluation.chunks import Days, chunks
from lib.evaluation.plan import Plan
from lib.features import definitions, windows
from lib.models import linear
from lib.models.examples import Examples, Floats, joined, log_ratio
from lib.storage.dataset import StoredPart

LEVEL_STEP, LEVEL_BINS = 0.005, 6000  # of the histogram of log averages that the deciles come from


def count_dates(part: StoredPart) -> tuple[Days, NDArray[np.int64]]:
    """The distinct dates of a part, and how many evenings of each may be drawn."""
    table = part.table(["Symbol", "Date"], dictionaries=("Symbol",))
    days = table["Date"].combine_chunks().cast(pa.int32()).to_numpy()
    position = windows.positions(windows.symbol_starts(table["Symbol"]), len(days))
    first = int(days.min()) if len(days) else 0
    rows = np.bincount(days - first)
    usable = np.bincount(days[position >= definitions.AVERAGE_ROWS - 1] - first, minlength=len(rows))
    dates = np.flatnonzero(rows)
    return (dates + first).astype(np.int32), usable[dates]


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


def draw(part: StoredPart, plan: Plan) -> Drawn:
    """Draw a part's examples, and add up its Gram matrices."""
    found, drawn_tickets = [], []
    horizons = plan.settings.horizons
    columns = linear.linear_inputs(np.zeros((1, len(definitions.NAMES)), dtype=np.float32)).shape[1] + 1
    gram = np.zeros((len(horizons), len(plan.cuts), columns, columns))
    levels = np.zeros(LEVEL_BINS, dtype=np.int64)
    for chunk in chunks(part):
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
    return Drawn(joined(found), np.concatenate(drawn_tickets), gram, levels)


def _add_gram(gram: Floats, examples: Examples, chosen: NDArray[np.bool_], cuts: Days) -> None:
    for place in range(gram.shape[0]):
        segment = np.searchsorted(cuts, examples.ended[:, place], side="right")
        whole = chosen & ~np.isnan(examples.traded[:, place])
        for cut in range(len(cuts)):
            some = examples.chosen(whole & (segment == cut))
            if len(some):
                target = log_ratio(some.traded[:, place], some.average)
                gram[place, cut] += linear.gram_matrix(some.known, some.average, target)
