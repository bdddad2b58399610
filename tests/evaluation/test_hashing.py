"""Numbers from hashes: even, unrelated between purposes and seeds, and always the same."""

from __future__ import annotations

import numpy as np
import pytest

from lib.evaluation.hashing import symbol_seeds, uniform

SYMBOLS = [f"S{number}" for number in range(50)]
DAYS = np.arange(10_000, 12_000)


def drawn(purpose: str = "", seed: int = 0) -> np.ndarray:
    return np.concatenate([uniform(np.repeat(each, len(DAYS)), DAYS) for each in symbol_seeds(SYMBOLS, purpose, seed)])


def test_the_numbers_are_even_from_0_to_1() -> None:
    counts = np.histogram(drawn(), np.linspace(0, 1, 21))[0]
    assert counts.sum() == len(SYMBOLS) * len(DAYS)
    assert counts == pytest.approx(np.full(20, counts.sum() / 20), rel=0.05)


@pytest.mark.parametrize("other", [("random split", 0), ("", 1), ("random split", 1)])
def test_another_purpose_or_seed_has_nothing_to_do_with_it(other: tuple[str, int]) -> None:
    assert abs(np.corrcoef(drawn(), drawn(*other))[0, 1]) < 0.02


def test_the_numbers_are_always_the_same() -> None:
    # Written down: a change of these would draw other rows in every study.
    assert uniform(symbol_seeds(["AAPL"]), np.array([15000])).tolist() == [0.6307942787168371]
