"""Is one prediction better than another, by more than chance? Pure NumPy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

UNTESTED = "Too little data to tell this from chance."


def lead_over_blocks(differences: NDArray[np.float64], total: float) -> tuple[float, float]:
    """By which share one prediction's absolute error is below another's, and the standard error of that.

    Rows of one day or symbol are not independent, so the error is taken from block to block.

    Parameters
    ----------
    differences : ndarray of float64, shape (blocks,)
        The other's sum of errors minus the model's.
    total : float
        The other's whole sum.

    Returns
    -------
    (float, float)
        The standard error is NaN with fewer than three blocks.

    Examples
    --------
    >>> lead, error = lead_over_blocks(np.array([2.0, 0.0, 4.0]), 12.0)
    >>> lead, round(error, 4)
    (0.5, 0.2887)
    """
    if total == 0:
        return 0.0, float("nan")
    count = len(differences)
    error = float(np.std(differences, ddof=1) * count**0.5 / total) if count > 2 else float("nan")
    return float(differences.sum() / total), error


def beats(lead: float, error: float) -> str:
    """What a lead and its standard error say, as a verb: "beats" takes more than two standard errors.

    Parameters
    ----------
    error : float
        NaN where there were too few blocks to know it: then see `UNTESTED`.

    Examples
    --------
    >>> beats(0.02, 0.005), beats(0.02, 0.015), beats(0.0, 0.001), beats(0.02, float("nan"))
    ('beats', 'does not clearly beat', 'does not beat', 'is ahead of')
    """
    if np.isnan(error):
        return "is ahead of" if lead > 0 else "is not ahead of"
    if lead <= 0:
        return "does not beat"
    return "beats" if lead > 2 * error else "does not clearly beat"
