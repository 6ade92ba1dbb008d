"""Columns in memory, and batches gathered from them.

Shape letters: N rows of a table, B rows of a batch, L length of a sequence, U rows of a lookup table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


@dataclass(frozen=True)
class Bag:
    """Several values per row, flat: row b holds `values[offsets[b]:offsets[b + 1]]`; the last offset is omitted."""

    values: Tensor
    offsets_B: Tensor


@dataclass(frozen=True)
class Padded:
    """One sequence per row: B times L elements, oldest first, padded at the front; `mask_BL` is false for padding."""

    elements: Input
    mask_BL: Tensor


@dataclass(frozen=True)
class Pair:
    """Two inputs of the same rows: an id and its content."""

    first: Input
    second: Input


@dataclass(frozen=True)
class Repeated:
    """Distinct values shared by several rows: row b holds element `index_B[b]` of `elements`."""

    elements: Input
    index_B: Tensor


Input = Tensor | Bag | Padded | Pair | Repeated
"""Input of an encoder: the values of one feature in one batch."""


class Column(Protocol):
    """A feature's values for all rows of a table."""

    def take(self, rows_B: Tensor) -> Input:
        """Gather the values of some rows."""
        ...

    def at(self, rows_N: Tensor) -> Column:
        """Return a column of the given rows, in their order."""
        ...

    def pieces(self, size: int) -> list[Input]:
        """Return the values of all rows in order, `size` rows at a time, as views where possible."""
        ...


@dataclass(frozen=True)
class Dense:
    """One value or vector per row: `values_N` of shape (N,) or (N, …); integers have 32 or 64 bits."""

    values_N: Tensor

    def take(self, rows_B: Tensor) -> Tensor:
        return self.values_N.index_select(0, rows_B)

    def at(self, rows_N: Tensor) -> Dense:
        return Dense(self.take(rows_N))

    def pieces(self, size: int) -> list[Input]:
        return list(self.values_N.split(size))


@dataclass(frozen=True)
class Indexed:
    """Rows that share few distinct vectors: row n holds `table_U[index_N[n]]`."""

    table_U: Tensor
    index_N: Tensor

    def take(self, rows_B: Tensor) -> Tensor:
        return self.table_U[self.index_N[rows_B].long()]

    def at(self, rows_N: Tensor) -> Indexed:
        return Indexed(self.table_U, self.index_N[rows_N])

    def pieces(self, size: int) -> list[Input]:
        return [self.table_U[index_B.long()] for index_B in self.index_N.split(size)]


@dataclass(frozen=True)
class Ragged:
    """Several values per row: row n holds `values[offsets[n]:offsets[n + 1]]`, with N + 1 offsets."""

    values: Tensor
    offsets: Tensor

    def take(self, rows_B: Tensor) -> Bag:
        starts_B, lengths_B = self.offsets[rows_B], self.offsets[rows_B + 1] - self.offsets[rows_B]
        offsets_B = torch.cumsum(lengths_B, 0) - lengths_B
        within = torch.arange(int(lengths_B.sum())) - torch.repeat_interleave(offsets_B, lengths_B)
        return Bag(self.values[torch.repeat_interleave(starts_B, lengths_B) + within], offsets_B)

    def at(self, rows_N: Tensor) -> Ragged:
        taken = self.take(rows_N)
        return Ragged(taken.values, torch.cat([taken.offsets_B, torch.tensor([len(taken.values)])]))

    def pieces(self, size: int) -> list[Input]:
        starts_B = self.offsets[:-1].split(size)
        ends = [*(int(start_B[0]) for start_B in starts_B[1:]), int(self.offsets[-1])]
        return [
            Bag(self.values[int(start_B[0]) : end], start_B - start_B[0]) for start_B, end in zip(starts_B, ends, strict=True)
        ]


@dataclass(frozen=True)
class Paired:
    """Two columns of the same rows."""

    first: Column
    second: Column

    def take(self, rows_B: Tensor) -> Pair:
        return Pair(self.first.take(rows_B), self.second.take(rows_B))

    def at(self, rows_N: Tensor) -> Paired:
        return Paired(self.first.at(rows_N), self.second.at(rows_N))

    def pieces(self, size: int) -> list[Input]:
        return [Pair(*pair) for pair in zip(self.first.pieces(size), self.second.pieces(size), strict=True)]


@dataclass(frozen=True)
class Lookup:
    """Rows that share few distinct values of another column: row n holds element `index_N[n]`, gathered once per batch."""

    elements: Column
    index_N: Tensor

    def take(self, rows_B: Tensor) -> Repeated:
        used_U, index_B = self.index_N[rows_B].unique(return_inverse=True)
        return Repeated(self.elements.take(used_U.long()), index_B)

    def at(self, rows_N: Tensor) -> Lookup:
        return Lookup(self.elements, self.index_N[rows_N])

    def pieces(self, size: int) -> list[Input]:
        return [self.take(rows_B) for rows_B in torch.arange(len(self.index_N)).split(size)]


@dataclass(frozen=True)
class Sequence:
    """Consecutive elements of another column per row: row n holds elements `ends_N[n] - lengths_N[n]` up to `ends_N[n]`.

    Histories are stored this way: the storage per row does not depend on the length of its history.
    """

    elements: Column
    ends_N: Tensor
    lengths_N: Tensor

    def take(self, rows_B: Tensor) -> Padded:
        ends_B, lengths_B = self.ends_N[rows_B], self.lengths_N[rows_B]
        longest = max(int(lengths_B.max()) if len(lengths_B) else 0, 1)
        back_L = torch.arange(longest, 0, -1)
        mask_BL = back_L <= lengths_B[:, None]
        positions_BL = torch.where(mask_BL, ends_B[:, None] - back_L, 0)
        return Padded(self.elements.take(positions_BL.reshape(-1)), mask_BL)

    def at(self, rows_N: Tensor) -> Sequence:
        return Sequence(self.elements, self.ends_N[rows_N], self.lengths_N[rows_N])

    def pieces(self, size: int) -> list[Input]:
        return [self.take(rows_B) for rows_B in torch.arange(len(self.ends_N)).split(size)]


@dataclass(frozen=True)
class Batch:
    """The inputs of some rows by feature and, for training, the encoded labels and masks by task.

    Targets have shape (B,) or (B, classes); masks (B,) are false where the label is null.
    """

    inputs: dict[str, Input]
    targets: dict[str, Tensor]
    masks: dict[str, Tensor]
    size: int

    def split(self, size: int) -> list[Batch]:
        """Split the batch into pieces of `size` rows; the last piece may be smaller."""
        if self.size <= size:
            return [self]
        inputs = {name: _split(values, size) for name, values in self.inputs.items()}
        targets = {name: target.split(size) for name, target in self.targets.items()}
        masks = {name: mask.split(size) for name, mask in self.masks.items()}
        return [
            Batch(
                {name: pieces[number] for name, pieces in inputs.items()},
                {name: pieces[number] for name, pieces in targets.items()},
                {name: pieces[number] for name, pieces in masks.items()},
                min(size, self.size - start),
            )
            for number, start in enumerate(range(0, self.size, size))
        ]


def _split(values: Input, size: int) -> list[Input]:
    """Split an encoder's input into pieces of `size` rows."""
    if isinstance(values, Tensor):
        return list(values.split(size))
    if isinstance(values, Padded):
        elements = _split(values.elements, size * values.mask_BL.shape[1])
        return [Padded(piece, mask_BL) for piece, mask_BL in zip(elements, values.mask_BL.split(size), strict=True)]
    if isinstance(values, Pair):
        return [Pair(*pair) for pair in zip(_split(values.first, size), _split(values.second, size), strict=True)]
    if isinstance(values, Repeated):
        return [_used(values.elements, index_B) for index_B in values.index_B.split(size)]
    offsets_B = torch.cat([values.offsets_B, torch.tensor([len(values.values)])])
    return Ragged(values.values, offsets_B).pieces(size)


def _used(elements: Input, index_B: Tensor) -> Repeated:
    """Return only the elements that the given rows hold."""
    used_U, index_B = index_B.unique(return_inverse=True)
    if isinstance(elements, Tensor):
        return Repeated(elements[used_U], index_B)
    assert isinstance(elements, Bag), "rows share vectors or lists of values"
    offsets = torch.cat([elements.offsets_B, torch.tensor([len(elements.values)])])
    return Repeated(Ragged(elements.values, offsets).take(used_U), index_B)


@dataclass(frozen=True)
class Constant:
    """One row of another column, repeated for every row: one user for many items."""

    column: Column
    row: int = 0

    def take(self, rows_B: Tensor) -> Input:
        return self.column.take(torch.full_like(rows_B, self.row))

    def at(self, rows_N: Tensor) -> Column:
        return self.column.at(torch.full_like(rows_N, self.row))

    def pieces(self, size: int) -> list[Input]:
        raise NotImplementedError("a constant has no rows")


def few(column: Column, rows_N: Tensor) -> Column:
    """Return a column of a few rows that stores no values of other rows."""
    if isinstance(column, Paired):
        return Paired(few(column.first, rows_N), few(column.second, rows_N))
    if isinstance(column, Indexed):
        return few(Lookup(Dense(column.table_U), column.index_N), rows_N)
    if isinstance(column, Lookup):
        used_U, index_N = column.index_N[rows_N].unique(return_inverse=True)
        return Lookup(column.elements.at(used_U.long()), index_N)
    return column.at(rows_N)


def appended(first: Column, second: Column) -> Column:
    """Concatenate the rows of two columns of one feature."""
    match first, second:
        case Dense(), Dense():
            return Dense(torch.cat([first.values_N, second.values_N]))
        case Ragged(), Ragged():
            offsets = torch.cat([first.offsets, second.offsets[1:] + first.offsets[-1]])
            return Ragged(torch.cat([first.values, second.values]), offsets)
        case Indexed(), Indexed():
            index_N = torch.cat([first.index_N, second.index_N + len(first.table_U)])
            return Indexed(torch.cat([first.table_U, second.table_U]), index_N)
        case Lookup(), Lookup():
            index_N = torch.cat([first.index_N, second.index_N + _rows(first.elements)])
            return Lookup(appended(first.elements, second.elements), index_N)
        case Paired(), Paired():
            return Paired(appended(first.first, second.first), appended(first.second, second.second))
    raise AssertionError(f"columns of the same class expected, found {type(first).__name__} and {type(second).__name__}")


def _rows(column: Column) -> int:
    assert isinstance(column, Dense | Ragged), "rows share vectors or lists of values"
    return len(column.values_N) if isinstance(column, Dense) else len(column.offsets) - 1
