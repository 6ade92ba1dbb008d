"""Exposure and diversity by a column, against loops."""

import itertools
import math

import numpy as np
import polars as pl
import pytest

from polyrec.evaluate.metrics.beyond_accuracy import diversity
from polyrec.evaluate.metrics.exposure import category_diversity, exposures

LISTS = np.array([[0, 1, 2], [3, 1, -1], [4, -1, -1]])
ROWS = np.array([4, 3, 2, 1, 0])
PLAIN = pl.Series(["war", "war", None, "drama", "opera"])
SEVERAL = pl.Series([["war", "drama"], ["war"], None, [], ["drama", "war", "opera"]])


def loop(values: list[list[str]]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for column, weights in enumerate((None, np.ones(5), ROWS)):
        for item, own in enumerate(values):
            places = (item == LISTS).nonzero()[1]
            weight = sum(1 / math.log2(rank + 2) for rank in places) if weights is None else weights[item]
            for value in own:
                found.setdefault(value, [0.0, 0.0, 0.0])[column] += weight / len(own)
    totals = np.sum(list(found.values()), 0)
    return {value: list(row / totals) for value, row in found.items()}


@pytest.mark.parametrize(
    ("column", "values"),
    [
        (PLAIN, [["war"], ["war"], ["null"], ["drama"], ["opera"]]),
        (SEVERAL, [["war", "drama"], ["war"], ["null"], ["null"], ["drama", "war", "opera"]]),
        (pl.Series([1990, 1990, None, 2000, 2010]), [["1990"], ["1990"], ["null"], ["2000"], ["2010"]]),
    ],
)
def test_shares_equal_a_loop_and_add_up_to_one(column: pl.Series, values: list[list[str]]):
    found, expected = exposures(LISTS, column, ROWS), loop(values)
    assert {own.value for own in found} == set(expected)
    for own in found:
        assert [own.exposure, own.catalogue, own.training] == pytest.approx(expected[own.value])
    np.testing.assert_allclose(np.sum([(own.exposure, own.catalogue, own.training) for own in found], 0), 1)
    assert [own.exposure for own in found] == sorted((own.exposure for own in found), reverse=True)


@pytest.mark.parametrize("column", [PLAIN, SEVERAL])
def test_diversity_by_categories_is_that_of_indicators(column: pl.Series):
    values = [[] if own is None else [own] if isinstance(own, str) else own for own in column.to_list()]
    indicators = np.array([[float(name in own) for name in ("war", "drama", "opera")] for own in values])
    np.testing.assert_allclose(category_diversity(LISTS, column), diversity(LISTS, indicators))


def test_diversity_of_single_values_is_the_share_of_unequal_pairs():
    column = pl.Series(["a", "b", "a", "c"])
    own = [0, 1, 2, 3]
    unequal = [column[i] != column[j] for i, j in itertools.combinations(own, 2)]
    assert category_diversity(np.array([own]), column)[0] == pytest.approx(np.mean(unequal))
    assert category_diversity(np.array([[0, 2]]), column)[0] == pytest.approx(0)
