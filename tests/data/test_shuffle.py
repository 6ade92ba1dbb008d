"""One pass over a table, in memory and window by window: every row once, whole batches, groups together."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain, pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from polyrec.core.batch import Dense
from polyrec.data import prepared, shuffle
from polyrec.data.prepared import Items, Prepared
from polyrec.data.shuffle import TOGETHER, block_starts


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows of 3 blocks of 40 rows, 50 rows gathered at once, so that small tables have many of them."""
    for module, name, value in ((shuffle, "BLOCK", 40), (prepared, "WINDOW", 3), (prepared, "GATHERED_ROWS", 50)):
        monkeypatch.setattr(module, name, value)


def in_memory(rows: int, group: Sequence[int] | None = None, items: bool = False) -> Prepared:
    numbers = torch.arange(rows)
    masks = {"like": torch.ones(rows, dtype=torch.bool)}
    drawn = Items(torch.tensor([rows // 2, 0]), {"like": torch.tensor([-1.0, -2.0])})
    given = {"items": drawn} if items else {}
    group_N = None if group is None else torch.tensor(group)
    return Prepared({"number": Dense(numbers)}, {"like": numbers.float()}, masks, rows, group_N, **given)


class Blocks:
    """Reads blocks of a table, and notes which rows."""

    def __init__(self, table: Prepared) -> None:
        self.table, self.read, self.most = table, [], 0

    def __call__(self, ranges: Sequence[tuple[int, int]], before: Prepared | None) -> Prepared:
        rows = torch.cat([torch.arange(start, stop) for start, stop in ranges])
        self.read += rows.tolist()
        part = self.table.at(rows)
        if before is None:
            return part
        own, other = (table.columns["number"].take(torch.arange(table.rows)) for table in (before, part))
        self.most = max(self.most, before.rows + part.rows)
        return Prepared(
            {"number": Dense(torch.cat([own, other]))},
            {"like": torch.cat([before.targets["like"], part.targets["like"]])},
            {"like": torch.cat([before.masks["like"], part.masks["like"]])},
            before.rows + part.rows,
            None if part.group_N is None else torch.cat([before.group_N, part.group_N]),
        )


def in_blocks(rows: int, group: Sequence[int] | None = None, items: bool = False) -> Prepared:
    table = in_memory(rows, group, items)
    return replace(table, read_blocks=Blocks(table))


def met(table: Prepared, size: int, seed: int, skip: int = 0) -> list[list[int]]:
    """Return the numbers of the rows of each batch, which must agree in all of its parts."""
    torch.manual_seed(seed)
    found = []
    for part, rows_B in table.epoch(size, skip):
        batch = part.batch(rows_B)
        assert batch.size == len(rows_B)
        assert batch.inputs["number"].tolist() == batch.targets["like"].tolist()
        assert part.columns["number"].take(rows_B).tolist() == batch.inputs["number"].tolist()
        found.append(batch.inputs["number"].tolist())
    return found


def flat(batches: list[list[int]]) -> list[int]:
    return list(chain.from_iterable(batches))


kinds = pytest.mark.parametrize("make", [in_memory, in_blocks])


@kinds
@settings(max_examples=50)
@given(rows=st.integers(1, 700), size=st.integers(1, 300), seed=st.integers(0, 999), items=st.booleans())
def test_every_row_is_met_once_in_whole_batches(make, rows: int, size: int, seed: int, items: bool):
    batches = met(make(rows, items=items), size, seed)
    assert sorted(flat(batches)) == list(range(rows))
    assert [len(batch) for batch in batches[:-1]] == [size] * (len(batches) - 1)


@kinds
@settings(max_examples=50)
@given(rows=st.integers(1, 700), size=st.integers(1, 300), skip=st.integers(0, 12), seed=st.integers(0, 999))
def test_skipping_leaves_out_the_first_batches_and_changes_no_other(make, rows: int, size: int, skip: int, seed: int):
    assert met(make(rows), size, seed, skip) == met(make(rows), size, seed)[skip:]


def test_windows_that_are_skipped_are_not_read():
    table = in_blocks(720)
    batches = met(table, 100, 0, skip=5)
    assert set(table.read_blocks.read) >= set(flat(batches))
    assert len(table.read_blocks.read) == 720 - 4 * 120


@kinds
@settings(max_examples=50)
@given(sizes=st.lists(st.integers(1, TOGETHER), min_size=1, max_size=40), seed=st.integers(0, 999))
def test_groups_stay_together(make, sizes: list[int], seed: int):
    group = [number for number, size in enumerate(sizes) for _ in range(size)]
    order = flat(met(make(len(group), group), 7, seed))
    changes = sum(group[a] != group[b] for a, b in pairwise(order))
    assert changes == len(sizes) - 1


@settings(max_examples=50)
@given(group=st.lists(st.integers(0, 3), min_size=1, max_size=400), seed=st.integers(0, 99))
def test_any_groups_are_met_once(group: list[int], seed: int):
    assert sorted(flat(met(in_blocks(len(group), sorted(group)), 16, seed))) == list(range(len(group)))


@kinds
def test_the_order_is_that_of_the_generator_at_the_call(make):
    table = make(500)
    assert met(table, 32, 0) == met(table, 32, 0) != met(table, 32, 1)
    torch.manual_seed(0)
    batches = table.epoch(32)
    torch.manual_seed(99)
    assert [part.batch(rows_B).inputs["number"].tolist() for part, rows_B in batches] == met(table, 32, 0)


def test_in_memory_the_order_is_that_of_all_rows():
    table = in_memory(500)
    torch.manual_seed(3)
    assert table.order().tolist() == flat(met(table, 32, 3))


def test_no_more_than_a_window_is_in_memory():
    table = in_blocks(4000)
    met(table, 100, 0)
    assert len(table.read_blocks.read) == 4000
    assert table.read_blocks.most < 3 * 40 + 100


def test_rows_of_all_blocks_are_mixed_within_a_window():
    order = flat(met(in_blocks(4000), 10, 0))
    blocks = [len({row // 40 for row in order[start : start + 60]}) for start in range(0, 3960, 120)]
    assert set(blocks) == {3}
    assert sum(b - a == 1 for a, b in pairwise(order)) < 100


def test_items_are_drawn_in_every_window():
    torch.manual_seed(0)
    for part, rows_B in in_blocks(500, items=True).epoch(64):
        batch = part.batch(rows_B, torch.tensor([1, 0]))
        assert batch.inputs["number"].tolist()[-2:] == [0, 250]
        assert batch.targets["like"].tolist()[-2:] == [-2.0, -1.0]
        assert batch.masks["like"].tolist() == [True] * len(rows_B) + [False, False]


def test_blocks_end_where_a_small_group_does():
    assert block_starts(100, None) == [0, 40, 80, 100]
    assert block_starts(100, torch.arange(100)) == [0, 40, 80, 100]
    group = torch.tensor([0] * 38 + [1] * 5 + [2] * 57)
    assert block_starts(100, group) == [0, 43, 80, 100]
