"""Columns in a file: mapped rows and rows read in blocks equal the rows written."""

from pathlib import Path

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from polyrec.core.batch import Bag, Column, Dense, Indexed, Input, Lookup, Padded, Ragged, Repeated, Sequence
from polyrec.data.prepared import Items, Prepared
from polyrec.prepare.blocks import BlockReader
from polyrec.prepare.columns_file import ColumnsWriter, read_tree
from polyrec.prepare.stage import keep_column

ROWS = 23


def columns(rows: int = ROWS) -> dict[str, Column]:
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(4, (rows,), generator=generator)
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
    ids = torch.arange(rows, dtype=torch.int32)
    bag = Ragged(torch.arange(int(offsets[-1]), dtype=torch.int32), offsets)
    return {
        "id": Dense(ids),
        "number": Dense(torch.rand(rows, 2, generator=generator)),
        "text": Indexed(torch.rand(3, 5, generator=generator), torch.randint(3, (rows,), generator=generator).int()),
        "bag": bag,
        "shared": Lookup(bag, torch.randint(rows, (rows,), generator=generator).int()),
        "history": Sequence(Dense(ids), torch.arange(rows), torch.arange(rows).clamp(max=4)),
        "bags": Sequence(bag, torch.arange(rows), torch.arange(rows).clamp(max=2)),
    }


def flat(value: Input) -> list[Tensor]:
    if isinstance(value, Bag):
        return [value.values, value.offsets_B]
    if isinstance(value, Repeated):
        return [*flat(value.elements), value.index_B]
    return [*flat(value.elements), value.mask_BL] if isinstance(value, Padded) else [value]


def same(first: Input, second: Input) -> bool:
    return all(torch.equal(a, b) and a.dtype == b.dtype for a, b in zip(flat(first), flat(second), strict=True))


def write(path: Path) -> tuple[Prepared, Prepared, BlockReader]:
    """Write a table; return it, the table mapped from the file, and a reader of its blocks."""
    targets = {"like": torch.rand(ROWS), "pair": torch.rand(ROWS, 2).double()}
    masks = {name: torch.rand(ROWS) > 0.5 for name in targets}
    items = Items(torch.tensor([4, 2]), {"like": torch.zeros(2), "pair": torch.ones(2, 2)})
    table = Prepared(columns(), targets, masks, ROWS, torch.arange(ROWS) // 3, items)
    with ColumnsWriter(path) as keep:
        kept = Prepared(
            {name: keep_column(column, keep) for name, column in table.columns.items()},
            {name: keep(target) for name, target in targets.items()},
            {name: keep(mask) for name, mask in masks.items()},
            ROWS,
            keep(table.group_N),
            Items(keep(items.rows_I), {name: keep(target) for name, target in items.targets.items()}),
        )
        tree = keep.tree(kept)
    with path.open("rb") as file:
        mapped = read_tree(file, tree)
    return table, mapped, BlockReader(path, tree, mapped)


def assert_same_rows(first: Prepared, second: Prepared, rows: Tensor) -> None:
    for name, column in first.columns.items():
        assert same(column.take(rows), second.columns[name].take(rows)), name
    for name in first.targets:
        assert torch.equal(first.targets[name][rows], second.targets[name][rows])
        assert torch.equal(first.masks[name][rows], second.masks[name][rows])
    assert torch.equal(first.group_N[rows], second.group_N[rows])


def test_what_is_mapped_is_what_was_written(tmp_path: Path):
    table, mapped, _ = write(tmp_path / "rows.bin")
    assert_same_rows(table, mapped, torch.arange(ROWS))
    assert mapped.items.rows_I.tolist() == [4, 2]
    assert mapped.items.targets["pair"].tolist() == [[1, 1], [1, 1]]


@settings(max_examples=50)
@given(cuts=st.lists(st.tuples(st.integers(0, ROWS - 1), st.integers(1, 9)), min_size=1, max_size=4), after=st.booleans())
def test_blocks_are_the_rows_of_their_ranges(tmp_path_factory, cuts: list[tuple[int, int]], after: bool):
    table, mapped, read = write(tmp_path_factory.mktemp("blocks") / "rows.bin")
    ranges = [(start, min(start + length, ROWS)) for start, length in cuts]
    before = torch.tensor([7, 3]) if after else torch.zeros(0, dtype=torch.int64)
    part = read(ranges, mapped.at(before) if after else None)
    rows = torch.cat([before, *(torch.arange(start, stop) for start, stop in ranges)])
    assert part.rows == len(rows)
    assert_same_rows(table.at(rows), part, torch.arange(len(rows)))


def test_rows_alone_and_pieces_are_what_is_taken():
    rows = torch.tensor([5, 0, 5, 22, 9])
    for name, column in columns().items():
        alone = column.at(rows)
        assert same(alone.take(torch.arange(5)), column.take(rows)), name
        pieces = alone.pieces(2)
        assert len(pieces) == 3
        for number, piece in enumerate(pieces):
            assert same(piece, column.take(rows[number * 2 : number * 2 + 2])), name


def test_an_empty_column_can_be_written(tmp_path: Path):
    with ColumnsWriter(tmp_path / "rows.bin") as keep:
        kept = Prepared.of_inputs({"bag": keep_column(Ragged(torch.zeros(0).int(), torch.zeros(3).long()), keep)}, 2)
        tree = keep.tree(kept)
    with (tmp_path / "rows.bin").open("rb") as file:
        read = read_tree(file, tree).columns["bag"]
    assert read.take(torch.tensor([1, 0])).values.dtype == torch.int32
