"""Vocabularies against counting by hand: whole numbers near and far, words, nulls."""

from collections import Counter

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyrec.features.vocabulary import COUNT, VALUE, fit_vocabulary, lookup

near, far = st.integers(-5, 9), st.integers(-(2**63), 2**63 - 1)
values = st.one_of(*(st.lists(st.none() | integers, max_size=40) for integers in (near, far, near | far)))


def by_hand(seen: list[int | None], minimum_count: int) -> list[tuple[int, int]]:
    counts = Counter(value for value in seen if value is not None)
    return sorted(((value, n) for value, n in counts.items() if n >= minimum_count), key=lambda pair: (-pair[1], pair[0]))


@given(seen=values, requested=values, minimum_count=st.integers(1, 3))
def test_values_are_counted_and_numbered(seen: list[int | None], requested: list[int | None], minimum_count: int):
    state = fit_vocabulary(pl.Series(seen, dtype=pl.Int64), minimum_count)
    expected = by_hand(seen, minimum_count)
    assert state.rows() == expected
    assert state.schema == {VALUE: pl.Int64, COUNT: pl.UInt32}
    numbers = {value: number for number, (value, _) in enumerate(expected, 1)}
    result = lookup(pl.Series(requested, dtype=pl.Int64), state)
    assert result.dtype == pl.Int32
    assert result.to_list() == [numbers.get(value, 0) for value in requested]


@pytest.mark.parametrize("kind", [pl.Int8, pl.UInt8, pl.Int32, pl.UInt64, pl.Int128, pl.Boolean, pl.String])
def test_any_type_is_counted_and_numbered_alike(kind: type[pl.DataType]):
    seen = pl.Series([1, 0, 1, None, 1, 0]).cast(kind)
    state = fit_vocabulary(seen, 1)
    assert state[VALUE].dtype == kind
    assert state.rows() == [(seen[0], 3), (seen[1], 2)]
    assert lookup(pl.Series([0, 1, None, 7]).cast(kind, strict=False), state).to_list()[:3] == [2, 1, 0]


@pytest.mark.parametrize("edge", [2**63 - 1, -(2**63), 2**62, -(2**62)])
def test_numbers_at_the_edge_are_no_others(edge: int):
    near_edge = [edge + step for step in (0, 1 if edge < 0 else -1)]
    state = fit_vocabulary(pl.Series(near_edge * 2), 1)
    assert sorted(state[VALUE]) == sorted(near_edge)
    assert lookup(pl.Series([0, 5, -(2**63), 2**63 - 1]), state).to_list()[:2] == [0, 0]
    assert lookup(pl.Series(near_edge), fit_vocabulary(pl.Series([3, 4, 5]), 1)).to_list() == [0, 0]
