"""The example of ``GET /predict`` that a server shows: the contract's, moved to where the served model was trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lib.features.definitions import BY_NAME, INPUTS
from lib.text import plain_number


def query(bounds: Mapping[str, Sequence[float]]) -> str:
    """A query that lies inside a model's training range, so that the first answer seen is no extrapolation.

    Parameters
    ----------
    bounds : mapping of str to (float, float)
        The smallest and the largest training value of each input.

    Examples
    --------
    >>> query({"vol_moving_avg": (1000, 2e8), "adj_close_rolling_med": (1, 600)})
    'vol_moving_avg=12345&adj_close_rolling_med=25'
    >>> query({"vol_moving_avg": (4e6, 1.6e7), "adj_close_rolling_med": (1, 600)})
    'vol_moving_avg=8000000&adj_close_rolling_med=25'
    """
    return "&".join(f"{name}={text}" for name, text in values(bounds).items())


def values(bounds: Mapping[str, Sequence[float]]) -> dict[str, str]:
    """Each input's number of `query`."""
    return {name: _inside(BY_NAME[name].example, *bounds[name]) for name in INPUTS}


def _inside(example: float, low: float, high: float) -> str:
    if low <= example <= high:
        return plain_number(example)
    middle = low**0.5 * high**0.5 if low > 0 else (low + high) / 2  # of what spans powers of ten, the middle one
    middle = min(max(middle, low), high)
    return next((text for text in (f"{middle:.0f}", plain_number(middle)) if low <= float(text) <= high), repr(middle))
