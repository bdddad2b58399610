"""Weighted quantiles, against sorting."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.models.quantiles import quantile_edges, weighted_median, weighted_quantiles

lists = st.lists(st.tuples(st.floats(0, 1000), st.floats(0.1, 10)), min_size=1, max_size=40)


@given(lists, st.floats(0.01, 1))
def test_a_weighted_quantile_is_the_least_value_with_its_share_of_the_weight(pairs: Any, share: float) -> None:
    values, weights = np.array(pairs).T
    groups = np.arange(len(values)) % 2
    found = weighted_quantiles(values, weights, groups, 3, share)
    assert np.isnan(found[2])
    for group in range(min(2, len(values))):
        here, weight = values[groups == group], weights[groups == group]
        wanted = share * weight.sum()
        reached = [value for value in np.sort(here) if weight[here <= value].sum() >= wanted * (1 - 1e-9)]
        assert found[group] in here
        assert found[group] == pytest.approx(reached[0]) or weight[here <= found[group]].sum() == pytest.approx(wanted)


def test_edges_cut_the_weight_into_equal_parts() -> None:
    values = np.arange(1000.0)
    edges = quantile_edges(values, np.ones(1000), 4)
    assert edges == pytest.approx([250, 500, 750], abs=2)
    assert quantile_edges(np.ones(10), np.ones(10), 4).tolist() == [1.0]


@pytest.mark.parametrize("size", [1, 2, 3, 50, 5000])
@pytest.mark.parametrize("decimals", [0, 1, 9])
@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e200])
def test_the_weighted_median_is_the_first_value_that_reaches_half_the_weight(
    size: int, decimals: int, scale: float
) -> None:
    chance = np.random.default_rng(size + decimals)
    values = np.round(chance.normal(size=size), decimals) * scale
    weights = chance.exponential(size=size) * (chance.random(size) < 0.8) + 1e-12
    order = np.argsort(values, kind="stable")
    total = np.cumsum(weights[order])
    assert weighted_median(values, weights) == values[order][np.searchsorted(total, total[-1] / 2)]


def test_the_weighted_median_without_weight_is_zero() -> None:
    assert weighted_median(np.array([3.0, 4.0]), np.zeros(2)) == 0
