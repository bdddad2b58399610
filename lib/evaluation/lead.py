"""Is one prediction better than another, by more than chance? In words."""

from __future__ import annotations

import math

UNTESTED = "Too little data to tell this from chance."


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
    if math.isnan(error):
        return "is ahead of" if lead > 0 else "is not ahead of"
    if lead <= 0:
        return "does not beat"
    return "beats" if lead > 2 * error else "does not clearly beat"
