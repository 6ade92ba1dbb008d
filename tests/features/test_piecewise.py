"""Piecewise at values worked out by hand, and against the formula of the paper."""

from itertools import pairwise

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from polyrec import UserError
from polyrec.features.piecewise import Piecewise, PiecewiseEncoder


def bins(feature: Piecewise, training: list, column: list) -> torch.Tensor:
    """Return the bins (B, T) of a column, with the edges of the training column."""
    frame = pl.DataFrame({feature.columns[0]: pl.Series(column, dtype=pl.Float64)})
    state = feature.fit(pl.DataFrame({feature.columns[0]: training}))
    encoder = feature.build(state)
    assert isinstance(encoder, PiecewiseEncoder)
    return encoder.bins(feature.encode(frame, state).take(torch.arange(frame.height)))


def edges(feature: Piecewise, training: list) -> list[float]:
    return feature.fit(pl.DataFrame({feature.columns[0]: training}))["edge"].to_list()


def test_a_value_fills_the_bins_below_it_and_part_of_its_own():
    bins_BT = bins(Piecewise(name="x"), [0.0, 1.0, 3.0, 10.0], [0.0, 0.5, 2.5, 3.0, 10.0])
    by_hand = [[0, 0, 0], [0.5, 0, 0], [1, 0.75, 0], [1, 1, 0], [1, 1, 1]]
    torch.testing.assert_close(bins_BT, torch.tensor(by_hand))


def test_values_beyond_the_edges_are_read_as_the_edges_and_null_as_nothing():
    bins_BT = bins(Piecewise(name="x"), [0.0, 1.0, 3.0], [-1e9, 1e9, None])
    assert bins_BT.tolist() == [[0, 0], [1, 1], [0, 0]]


def test_is_the_formula_of_the_paper_between_the_edges():
    generator = np.random.default_rng(0)
    training, column = generator.lognormal(size=1000), generator.lognormal(size=200)
    feature = Piecewise(name="x", bins=16)
    edge = edges(feature, training.tolist())
    column = column.clip(edge[0], edge[-1])
    paper = [
        [0.0 if v < low else 1.0 if v >= high else (v - low) / (high - low) for low, high in pairwise(edge)] for v in column
    ]
    bins_BT = bins(feature, training.tolist(), column.tolist())
    torch.testing.assert_close(bins_BT, torch.tensor(paper, dtype=torch.float32), rtol=0, atol=1e-5)


def test_edges_of_distinct_numbers_are_their_quantiles():
    assert edges(Piecewise(name="x", bins=4), list(range(101))) == [0, 25, 50, 75, 100]


def test_a_heavy_value_takes_one_edge_and_the_rest_share_the_others():
    assert edges(Piecewise(name="x", bins=5), [0] * 900 + list(range(1, 102))) == [0, 1, 26, 51, 76, 101]


def test_few_distinct_values_are_the_edges():
    assert edges(Piecewise(name="x", bins=4), [3, 1, 1, 1, 2, None]) == [1, 2, 3]


def test_there_are_never_more_bins_than_declared():
    generator = np.random.default_rng(0)
    for size in (1, 3, 10, 1000):
        for most in (1, 2, 7, 64):
            column = np.round(generator.standard_cauchy(size=size)).tolist()
            edges_T = edges(Piecewise(name="x", bins=most), column)
            assert len(edges_T) <= most + 1
            assert edges_T == sorted(set(edges_T))
            assert (edges_T[0], edges_T[-1]) == (min(column), max(column))


def test_does_not_change_with_the_unit():
    column = np.random.default_rng(0).lognormal(size=300)
    here, there = (bins(Piecewise(name="x", bins=8), (unit * column).tolist(), (unit * column).tolist()) for unit in (1, 1000))
    torch.testing.assert_close(here, there)


numbers = st.lists(st.integers(-40, 40).map(lambda number: number / 4), min_size=1, max_size=60)
most = st.integers(1, 9)


@given(training=numbers, column=numbers, most=most)
def test_every_bin_rises_with_the_value_and_fills_only_once_the_one_below_is_full(
    training: list[float], column: list[float], most: int
):
    bins_BT = bins(Piecewise(name="x", bins=most), training, sorted(column))
    assert ((bins_BT >= 0) & (bins_BT <= 1)).all()
    assert (bins_BT.diff(dim=0) >= 0).all()
    assert ((bins_BT[:, 1:] == 0) | (bins_BT[:, :-1] == 1)).all()


@given(training=numbers, column=numbers, most=most, unit=st.sampled_from([-9, -2, 0, 3, 12]), shift=st.integers(-50, 50))
def test_bins_change_neither_with_the_unit_nor_with_the_origin(
    training: list[float], column: list[float], most: int, unit: int, shift: int
):
    """Powers of two and quarters, so that only what the feature does is rounded."""
    feature = Piecewise(name="x", bins=most)
    there = [[2.0**unit * (number + shift) for number in values] for values in (training, column)]
    torch.testing.assert_close(bins(feature, *there), bins(feature, training, column), rtol=0, atol=1e-4)


@given(training=numbers, most=most)
def test_edges_are_at_most_one_more_than_bins_and_span_what_was_seen(training: list[float], most: int):
    edges_T = edges(Piecewise(name="x", bins=most), training)
    assert len(edges_T) <= most + 1
    assert edges_T == sorted(set(edges_T))
    assert (edges_T[0], edges_T[-1]) == (min(training), max(training))
    if len(set(training)) <= most + 1:
        assert edges_T == sorted(set(training))


def test_a_constant_has_no_bins_and_still_tells_null():
    feature = Piecewise(name="x", width=4)
    state = feature.fit(pl.DataFrame({"x": [5.0, 5.0, None]}))
    frame = pl.DataFrame({"x": [5.0, 7.0, None]})
    with torch.no_grad():
        constant, other, null = feature.build(state)(feature.encode(frame, state).take(torch.arange(3)))
    assert torch.equal(constant, other)
    assert not torch.equal(constant, null)


def test_what_is_no_number_is_refused():
    with pytest.raises(
        UserError, match="column 'x' of the feature 'x': expected finite numbers or null, found NaN or infinity"
    ):
        bins(Piecewise(name="x"), [1.0, float("nan")], [1.0])
    with pytest.raises(UserError, match="expected numbers, found the type String"):
        bins(Piecewise(name="x"), ["a"], [1.0])
