"""Chance without a generator: a number from 0 to 1 for each symbol and date, the same however rows are cut into parts. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Seeds = NDArray[np.uint64]


def symbol_seeds(symbols: Sequence[str], purpose: str = "", seed: int = 0) -> Seeds:
    """A number for each symbol, from a hash of its name.

    Parameters
    ----------
    purpose : str
        16 bytes at most: draws for different purposes are independent.
    seed : int
        Changes the draw.
    """
    settings: Any = {"person": purpose.encode(), "salt": seed.to_bytes(16, "little")}
    digests = (hashlib.blake2b(symbol.encode(), digest_size=8, **settings).digest() for symbol in symbols)
    return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)


def power_of_two(most: int, rows: int) -> float:
    """The share of ``rows`` to draw for about ``most`` or fewer: a power of two, so that a few rows more do not change which are drawn.

    Examples
    --------
    >>> power_of_two(1000, 6000), power_of_two(1000, 900)
    (0.125, 1.0)
    """
    return float(2.0 ** np.floor(np.log2(min(1.0, most / max(rows, 1)))))


def uniform(seeds: Seeds, days: NDArray[np.integer[Any]]) -> Floats:
    """A number from 0 to 1 for each row: its symbol's seed and its day, mixed as splitmix64 does.

    Parameters
    ----------
    seeds : ndarray of uint64, shape (rows,)
        From `symbol_seeds`.
    days : ndarray of int, shape (rows,)
        Days since 1970-01-01.

    Examples
    --------
    >>> seeds = symbol_seeds(["AAPL"]).repeat(1000)
    >>> bool(abs((uniform(seeds, np.arange(1000)) < 0.25).mean() - 0.25) < 0.05)
    True
    """
    with np.errstate(over="ignore"):
        mixed = seeds + days.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed ^= mixed >> np.uint64(31)
    return (mixed >> np.uint64(11)) * 2.0**-53
