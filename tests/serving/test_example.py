"""The example that a server shows lies where its model was trained."""

from __future__ import annotations

from urllib.parse import parse_qsl

from hypothesis import given
from hypothesis import strategies as st

from lib.features.definitions import EXAMPLE_QUERY, INPUTS
from lib.features.inputs import number
from lib.serving import example


def bounds(least, most):
    return st.tuples(st.floats(least, most), st.floats(least, most)).map(sorted)


@given(bounds(0, 1e15), bounds(-1e6, 1e6))
def test_every_number_is_one_that_the_endpoint_takes_and_inside(volumes, prices):
    limits = dict(zip(INPUTS, (volumes, prices), strict=True))
    shown = dict(parse_qsl(example.query(limits).replace("+", "%2B")))
    assert [*shown] == [*INPUTS]
    for name, (low, high) in limits.items():
        assert low <= number(name, shown[name]) <= high


def test_the_contract_s_example_stays_where_it_is_inside():
    assert example.query(dict(zip(INPUTS, ((1e3, 2e8), (1, 600)), strict=True))) == EXAMPLE_QUERY
