"""Orders and batches of prepared rows. Shape letters: N rows."""

from itertools import pairwise

import torch
from hypothesis import given
from hypothesis import strategies as st

from polyrec.core.batch import Dense
from polyrec.data.prepared import Items, Prepared
from polyrec.data.shuffle import TOGETHER


def prepared(group: list[int] | None = None, rows: int = 10) -> Prepared:
    rows = rows if group is None else len(group)
    numbers = torch.arange(rows)
    masks = {"like": torch.ones(rows, dtype=torch.bool)}
    items = Items(torch.tensor([3, 7]), {"like": torch.tensor([-2.0, -2.0])})
    group_N = None if group is None else torch.tensor(group)
    return Prepared({"number": Dense(numbers)}, {"like": numbers.double()}, masks, rows, group_N, items)


class TestOrder:
    @given(group=st.lists(st.integers(-1, 5), min_size=1, max_size=200), seed=st.integers(0, 1000))
    def test_has_every_row_once(self, group: list[int], seed: int):
        torch.manual_seed(seed)
        assert sorted(prepared(group).order().tolist()) == list(range(len(group)))

    @given(sizes=st.lists(st.integers(1, TOGETHER), min_size=1, max_size=12), seed=st.integers(0, 1000))
    def test_keeps_small_groups_in_one_piece(self, sizes: list[int], seed: int):
        group = [number for number, size in enumerate(sizes) for _ in range(size)]
        torch.manual_seed(seed)
        shuffled = torch.tensor(group)[torch.randperm(len(group))].tolist()
        met = [shuffled[row] for row in prepared(shuffled).order().tolist()]
        changes = sum(a != b for a, b in pairwise(met))
        assert changes == len(sizes) - 1

    def test_cuts_large_groups_and_spreads_the_pieces(self):
        torch.manual_seed(0)
        group = [0] * (4 * TOGETHER) + [1] * (4 * TOGETHER)
        met = [group[row] for row in prepared(group).order().tolist()]
        changes = sum(a != b for a, b in pairwise(met))
        assert changes > 1

    def test_differs_from_seed_to_seed_and_repeats_itself(self):
        orders = []
        for seed in (0, 1, 0):
            torch.manual_seed(seed)
            orders.append(prepared([0, 0, 1, 1, 2, 2, 3, 3]).order().tolist())
        assert orders[0] == orders[2] != orders[1]

    def test_without_groups_is_any_permutation(self):
        torch.manual_seed(0)
        assert sorted(prepared().order().tolist()) == list(range(10))


def test_rows_of_items_come_last_and_are_not_observed():
    batch = prepared().batch(torch.tensor([4, 5]), torch.tensor([1, 1, 0]))
    assert batch.size == 5
    assert batch.inputs["number"].tolist() == [4, 5, 7, 7, 3]
    assert batch.masks["like"].tolist() == [True, True, False, False, False]
    assert batch.targets["like"].tolist() == [4, 5, -2, -2, -2]
