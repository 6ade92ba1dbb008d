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
    sums: dict[str, list[float]] = {}
    for column, weights in enumerate((None, np.ones(5), ROWS)):
        for item, cells in enumerate(values):
            places = (item == LISTS).nonzero()[1]
            weight = sum(1 / math.log2(rank + 2) for rank in places) if weights is None else weights[item]
            for value in cells:
                sums.setdefault(value, [0.0, 0.0, 0.0])[column] += weight / len(cells)
    totals = np.sum(list(sums.values()), 0)
    return {value: list(row / totals) for value, row in sums.items()}


@pytest.mark.parametrize(
    ("column", "values"),
    [
        (PLAIN, [["war"], ["war"], ["null"], ["drama"], ["opera"]]),
        (SEVERAL, [["war", "drama"], ["war"], ["null"], ["null"], ["drama", "war", "opera"]]),
        (pl.Series([1990, 1990, None, 2000, 2010]), [["1990"], ["1990"], ["null"], ["2000"], ["2010"]]),
    ],
)
def test_shares_equal_a_loop_and_add_up_to_one(column: pl.Series, values: list[list[str]]):
    result, expected = exposures(LISTS, column, ROWS), loop(values)
    assert {row.value for row in result} == set(expected)
    for row in result:
        assert [row.exposure, row.catalogue, row.training] == pytest.approx(expected[row.value])
    np.testing.assert_allclose(np.sum([(row.exposure, row.catalogue, row.training) for row in result], 0), 1)
    assert [row.exposure for row in result] == sorted((row.exposure for row in result), reverse=True)


@pytest.mark.parametrize("column", [PLAIN, SEVERAL])
def test_diversity_by_categories_is_that_of_indicators(column: pl.Series):
    values = [[] if cell is None else [cell] if isinstance(cell, str) else cell for cell in column.to_list()]
    indicators = np.array([[float(name in cell) for name in ("war", "drama", "opera")] for cell in values])
    np.testing.assert_allclose(category_diversity(LISTS, column), diversity(LISTS, indicators))


def test_diversity_of_single_values_is_the_share_of_unequal_pairs():
    column = pl.Series(["a", "b", "a", "c"])
    items = [0, 1, 2, 3]
    unequal = [column[i] != column[j] for i, j in itertools.combinations(items, 2)]
    assert category_diversity(np.array([items]), column)[0] == pytest.approx(np.mean(unequal))
    assert category_diversity(np.array([[0, 2]]), column)[0] == pytest.approx(0)
